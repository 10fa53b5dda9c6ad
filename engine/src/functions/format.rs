//! Texts made of values of any type: concat, concat_ws, format, quote_literal of what is no text.

use arrow::array::{Array, StringViewArray};
use arrow::datatypes::Int32Type;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::declare::{STRING, TEXT, function, strict};
use super::quote::{quote_ident, quote_literal};
use super::rows::{Column, invalid_parameter, text, text_rows, text_rows_with_nulls};
use super::string::char_count;
use super::{Context, Datum, Overload, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::cast::cast;

/// A width over this would make a text of more than Postgres's limit.
const WIDTH_MAX: i64 = 1 << 28;

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let any = |first: Vec<Param>, kernel| {
        let params = first.into_iter().chain([Param::Any]).collect();
        Overload::new(params, Returns::Exact(Type::Text), kernel).variadic().lax()
    };
    vec![
        function(
            &["concat"],
            STRING,
            "The arguments as one text; NULLs are left out.",
            ("concat('abc', 2, NULL, 22)", "abc222"),
            vec![any(vec![], concat)],
        ),
        function(
            &["concat_ws", "concatWithSeparator"],
            STRING,
            "The arguments as one text, with the first between them; NULLs are left out.",
            ("concat_ws(',', 'abcde', 2, NULL, 22)", "abcde,2,22"),
            vec![any(vec![TEXT], concat_ws)],
        ),
        function(
            &["format"],
            STRING,
            "The text with %s, %I and %L replaced by the arguments, as they are, as identifiers, as literals.",
            ("format('Hello %s, %1$s', 'World')", "Hello World, World"),
            vec![any(vec![TEXT], format).optional(1)],
        ),
        function(
            &["quote_literal"],
            STRING,
            "The value as a string literal.",
            ("quote_literal(42.5)", "'42.5'"),
            vec![strict([Param::Any], Type::Text, |ctx, args, rows, types| {
                let texts = texts_of(ctx, args, types)?;
                let values = text(&texts, 0)?;
                text_rows(&texts, rows, types, |row, out| {
                    quote_literal(values.at(row), out);
                    Ok(true)
                })
            })],
        ),
        function(
            &["quote_nullable"],
            STRING,
            "The value as a string literal, or the word NULL.",
            ("quote_nullable(42.5)", "'42.5'"),
            vec![
                strict([Param::Any], Type::Text, |ctx, args, rows, types| {
                    let texts = texts_of(ctx, args, types)?;
                    let values = text(&texts, 0)?;
                    text_rows_with_nulls(&texts, rows, types, |row, out| {
                        match values.is_null(row) {
                            true => out.push_str("NULL"),
                            false => quote_literal(values.at(row), out),
                        }
                        Ok(true)
                    })
                })
                .lax(),
            ],
        ),
    ]
}

/// The arguments as Postgres's text output shows them.
fn texts_of(context: &Context, args: &[Datum], types: &Types<'_>) -> Result<Vec<Datum>> {
    let to_text = |(arg, ty): (&Datum, &Type)| match ty {
        // A boolean's cast gives "true", its output "t".
        Type::Bool => shown_bool(arg),
        // Its cast would cut blanks off.
        Type::Bpchar(_) => Ok(arg.clone()),
        ty => cast(context, arg, ty, &Type::Text, true, false),
    };
    args.iter().zip(types.args).map(to_text).collect()
}

fn shown_bool(arg: &Datum) -> Result<Datum> {
    let array = arg.array().as_any().downcast_ref::<arrow::array::BooleanArray>();
    let array = array.ok_or_else(|| Error::internal("the argument is not boolean"))?;
    let texts: StringViewArray = array.iter().map(|value| value.map(|value| if value { "t" } else { "f" })).collect();
    let texts = std::sync::Arc::new(texts);
    Ok(match arg {
        Datum::Array(_) => Datum::Array(texts),
        Datum::Scalar(_) => Datum::Scalar(weir_sql::Value::new(Type::Text, texts)),
    })
}

fn columns(texts: &[Datum]) -> Result<Vec<Column<'_, StringViewArray>>> {
    (0..texts.len()).map(|i| text(texts, i)).collect()
}

fn concat(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let texts = texts_of(context, args, types)?;
    let columns = columns(&texts)?;
    text_rows_with_nulls(&texts, rows, types, |row, out| {
        columns.iter().filter(|column| !column.is_null(row)).for_each(|column| out.push_str(column.at(row)));
        Ok(true)
    })
}

fn concat_ws(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let texts = texts_of(context, args, types)?;
    let columns = columns(&texts)?;
    text_rows_with_nulls(&texts, rows, types, |row, out| {
        if columns[0].is_null(row) {
            return Ok(false);
        }
        let mut first = true;
        for column in columns[1..].iter().filter(|column| !column.is_null(row)) {
            if !first {
                out.push_str(columns[0].at(row));
            }
            first = false;
            out.push_str(column.at(row));
        }
        Ok(true)
    })
}

/// A conversion: `%[position$][-][width]type`.
#[derive(Debug, Default)]
struct Conversion {
    /// The argument's number, from 1; the next one if there is none.
    position: Option<usize>,
    left: bool,
    width: Width,
    /// `s`, `I` or `L`.
    kind: char,
}

#[derive(Debug, Default)]
enum Width {
    #[default]
    None,
    Fixed(i64),
    /// `*`: the next argument, or the one of this number.
    Argument(Option<usize>),
}

/// A number at the start of a text, and what follows.
fn leading_number(text: &str) -> Result<(Option<i64>, &str)> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    if end == 0 {
        return Ok((None, text));
    }
    match text[..end].parse::<i32>() {
        Ok(number) => Ok((Some(number.into()), &text[end..])),
        Err(_) => Err(Error::new(ErrorKind::NumericOutOfRange, "number is out of range")),
    }
}

fn unterminated() -> Error {
    invalid_parameter("unterminated format() type specifier").with_hint("For a single \"%\" use \"%%\".")
}

fn position(number: i64) -> Result<usize> {
    match number {
        0 => Err(invalid_parameter("format specifies argument 0, but arguments are numbered from 1")),
        number => Ok(number as usize),
    }
}

/// The conversion after a `%`, and what follows it.
fn conversion(text: &str) -> Result<(Conversion, &str)> {
    let mut found = Conversion::default();
    let (number, mut rest) = leading_number(text)?;
    let mut width = number;
    if let (Some(number), Some(after)) = (number, rest.strip_prefix('$')) {
        found.position = Some(position(number)?);
        (width, rest) = (None, after);
    }
    if width.is_none() {
        while let Some(after) = rest.strip_prefix('-') {
            found.left = true;
            rest = after;
        }
        if let Some(after) = rest.strip_prefix('*') {
            let (number, after) = leading_number(after)?;
            rest = after;
            found.width = Width::Argument(match number {
                None => None,
                Some(number) => {
                    rest = rest
                        .strip_prefix('$')
                        .ok_or_else(|| invalid_parameter("width argument position must be ended by \"$\""))?;
                    Some(position(number)?)
                }
            });
        } else {
            (width, rest) = leading_number(rest)?;
        }
    }
    if let Some(width) = width {
        found.width = Width::Fixed(width);
    }
    let mut chars = rest.chars();
    found.kind = chars.next().ok_or_else(unterminated)?;
    if !matches!(found.kind, 's' | 'I' | 'L') {
        let message = format!("unrecognized format() type specifier \"{}\"", found.kind);
        return Err(invalid_parameter(message).with_hint("For a single \"%\" use \"%%\"."));
    }
    Ok((found, chars.as_str()))
}

fn format(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let texts = texts_of(context, args, types)?;
    let columns = columns(&texts)?;
    text_rows_with_nulls(&texts, rows, types, |row, out| {
        if columns[0].is_null(row) {
            return Ok(false);
        }
        let mut rest = columns[0].at(row);
        // The argument that a conversion without a number takes: after the one that came last.
        let mut next = 1;
        let mut argument = |wanted: Option<usize>| -> Result<usize> {
            let index = wanted.unwrap_or(next);
            next = index + 1;
            if index < columns.len() { Ok(index) } else { Err(invalid_parameter("too few arguments for format()")) }
        };
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                out.push('%');
                rest = after;
                continue;
            }
            if rest.is_empty() {
                return Err(unterminated());
            }
            let (found, after) = conversion(rest)?;
            rest = after;
            let mut left = found.left;
            let width = match found.width {
                Width::None => 0,
                Width::Fixed(width) => width,
                Width::Argument(wanted) => {
                    let index = argument(wanted)?;
                    let width = width_argument(&args[index], &types.args[index], &columns[index], row)?;
                    left |= width < 0;
                    width.abs()
                }
            };
            if width > WIDTH_MAX {
                return Err(Error::new(ErrorKind::NumericOutOfRange, "number is out of range"));
            }
            let column = &columns[argument(found.position)?];
            let shown = converted(found.kind, (!column.is_null(row)).then(|| column.at(row)))?;
            let missing = (width as usize).saturating_sub(char_count(&shown));
            if !left {
                out.extend(std::iter::repeat_n(' ', missing));
            }
            out.push_str(&shown);
            if left {
                out.extend(std::iter::repeat_n(' ', missing));
            }
        }
        out.push_str(rest);
        Ok(true)
    })
}

/// The width that an argument gives; NULL is none.
fn width_argument(arg: &Datum, ty: &Type, column: &Column<'_, StringViewArray>, row: usize) -> Result<i64> {
    if column.is_null(row) {
        return Ok(0);
    }
    if *ty == Type::Int4
        && let Ok(widths) = super::rows::primitive::<Int32Type>(std::slice::from_ref(arg), 0)
    {
        return Ok(widths.at(row).into());
    }
    let shown = column.at(row);
    shown
        .trim()
        .parse::<i32>()
        .map(i64::from)
        .map_err(|_| Error::new(ErrorKind::InvalidText, format!("invalid input syntax for type integer: \"{shown}\"")))
}

fn converted(kind: char, value: Option<&str>) -> Result<String> {
    let mut out = String::new();
    match (kind, value) {
        ('s', value) => out.push_str(value.unwrap_or_default()),
        ('I', Some(value)) => quote_ident(value, &mut out),
        ('I', None) => {
            let message = "null values cannot be formatted as an SQL identifier";
            return Err(Error::new(ErrorKind::NullNotAllowed, message));
        }
        (_, Some(value)) => quote_literal(value, &mut out),
        (_, None) => out.push_str("NULL"),
    }
    Ok(out)
}
