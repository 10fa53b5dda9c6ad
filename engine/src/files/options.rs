//! Arguments of the functions that read files: names of files, and options by name.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type};
use weir_sql::{Type, Value};

use super::Kind;
use crate::error::{Error, ErrorKind, Result};

/// How many rows decide what the types of columns are.
const SAMPLE_ROWS: usize = 20_480;

/// What one call asks for.
#[derive(Debug, Clone)]
pub(super) struct Options {
    /// File names and patterns.
    pub(super) patterns: Vec<String>,
    /// header: whether the first line has names; told from the data if absent.
    pub(super) header: Option<bool>,
    /// delim; told from the data if absent.
    pub(super) delimiter: Option<u8>,
    /// quote; 0 is none.
    pub(super) quote: Option<u8>,
    /// escape; the quote if absent.
    pub(super) escape: Option<u8>,
    /// nullstr: unquoted fields that are NULL.
    pub(super) nulls: Vec<String>,
    /// columns: their names and types.
    pub(super) columns: Option<Vec<(String, Type)>>,
    /// names: of columns whose types are told from the data.
    pub(super) names: Option<Vec<String>>,
    /// skip: lines before the data.
    pub(super) skip: usize,
    /// all_varchar: every column is text.
    pub(super) all_text: bool,
    /// sample_size; everything if it is -1.
    pub(super) sample: usize,
    /// union_by_name: the columns of all files.
    pub(super) union_by_name: bool,
    /// filename: a column with the file's name.
    pub(super) filename: bool,
    /// null_padding: short lines end with NULLs.
    pub(super) padding: bool,
}

impl Options {
    /// Of a call's arguments.
    pub(super) fn new(kind: Kind, function: &str, args: &[Value], named: &[(String, Value)]) -> Result<Options> {
        let mut options = Options {
            patterns: args.first().map(texts).transpose()?.unwrap_or_default(),
            header: None,
            delimiter: None,
            quote: None,
            escape: None,
            nulls: vec![String::new()],
            columns: None,
            names: None,
            skip: 0,
            all_text: false,
            sample: SAMPLE_ROWS,
            union_by_name: false,
            filename: false,
            padding: false,
        };
        if options.patterns.is_empty() {
            return Err(invalid(format!("{function} needs the name of a file")));
        }
        for (name, value) in named {
            if !options.set(kind, name, value)? {
                let error = weir_sql::ErrorKind::UndefinedFunction;
                let message = format!("function {function} has no argument named \"{name}\"");
                return Err(Error::new(ErrorKind::Sql(error), message));
            }
        }
        Ok(options)
    }

    /// Sets an option; false if the function does not have it.
    fn set(&mut self, kind: Kind, name: &str, value: &Value) -> Result<bool> {
        match (name, kind) {
            ("filename", _) => self.filename = boolean(name, value)?,
            ("union_by_name", _) => self.union_by_name = boolean(name, value)?,
            // Told from the file's first bytes, whatever is said.
            ("compression", Kind::Csv | Kind::Json) => drop(text(name, value)?),
            ("columns" | "types" | "dtypes", Kind::Csv | Kind::Json) => self.columns = Some(columns(name, value)?),
            ("sample_size", Kind::Csv | Kind::Json) => {
                self.sample = usize::try_from(integer(name, value)?).unwrap_or(usize::MAX);
            }
            ("auto_detect", Kind::Csv | Kind::Json) => drop(boolean(name, value)?),
            ("format", Kind::Json) => drop(text(name, value)?),
            ("header", Kind::Csv) => self.header = Some(boolean(name, value)?),
            ("delim" | "sep" | "delimiter", Kind::Csv) => self.delimiter = Some(byte(name, value)?),
            ("quote", Kind::Csv) => self.quote = Some(byte(name, value)?),
            ("escape", Kind::Csv) => self.escape = Some(byte(name, value)?),
            ("nullstr" | "null", Kind::Csv) => self.nulls = texts(value)?,
            ("names", Kind::Csv) => self.names = Some(texts(value)?),
            ("all_varchar", Kind::Csv) => self.all_text = boolean(name, value)?,
            ("null_padding", Kind::Csv) => self.padding = boolean(name, value)?,
            ("skip", Kind::Csv) => self.skip = usize::try_from(integer(name, value)?).unwrap_or(0),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidParameter, message)
}

fn text<'v>(name: &str, value: &'v Value) -> Result<&'v str> {
    value.as_str().ok_or_else(|| invalid(format!("argument \"{name}\" must be a text")))
}

/// A text, or an array of texts.
fn texts(value: &Value) -> Result<Vec<String>> {
    if let Some(text) = value.as_str() {
        return Ok(vec![text.to_string()]);
    }
    let wrong = || invalid("a text or an array of texts is needed".to_string());
    let list = value.array.as_list_opt::<i32>().filter(|list| !list.is_null(0)).ok_or_else(wrong)?;
    let items = list.value(0);
    let items = items.as_string_view_opt().ok_or_else(wrong)?;
    Ok(items.iter().flatten().map(str::to_string).collect())
}

fn boolean(name: &str, value: &Value) -> Result<bool> {
    if let (Type::Bool, false) = (&value.ty, value.is_null()) {
        return Ok(value.array.as_boolean().value(0));
    }
    match value.as_str().map(crate::format::parse_bool) {
        Some(Ok(value)) => Ok(value),
        _ => Err(invalid(format!("argument \"{name}\" must be true or false"))),
    }
}

fn integer(name: &str, value: &Value) -> Result<i64> {
    match value.ty {
        _ if value.is_null() => Err(invalid(format!("argument \"{name}\" must be an integer"))),
        Type::Int4 => Ok(value.array.as_primitive::<Int32Type>().value(0).into()),
        Type::Int8 => Ok(value.array.as_primitive::<Int64Type>().value(0)),
        _ => Err(invalid(format!("argument \"{name}\" must be an integer"))),
    }
}

/// One byte; `\t` may be written out, and an empty text is none.
fn byte(name: &str, value: &Value) -> Result<u8> {
    match text(name, value)?.as_bytes() {
        [] => Ok(0),
        b"\\t" => Ok(b'\t'),
        [one] if one.is_ascii() => Ok(*one),
        _ => Err(invalid(format!("argument \"{name}\" must be a single one-byte character"))),
    }
}

/// Columns as `'a bigint, b text'`, as an array of such pairs, or as a JSON object of names and types.
fn columns(name: &str, value: &Value) -> Result<Vec<(String, Type)>> {
    let wrong = || {
        invalid(format!("argument \"{name}\" must list names and types"))
            .with_hint("Write columns => 'a bigint, b text' or columns => '{\"a\": \"bigint\"}'.")
    };
    let list = texts(value)?;
    if let [one] = list.as_slice()
        && let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(one)
    {
        let field = |(name, ty): (String, serde_json::Value)| {
            Ok((name, weir_sql::parse::datatype::type_named(ty.as_str().ok_or_else(wrong)?)?))
        };
        return fields.into_iter().map(field).collect();
    }
    let mut columns = Vec::new();
    for definition in list.iter().flat_map(|list| split(list)) {
        let definition = definition.trim();
        let (name, ty) = match definition.strip_prefix('"') {
            Some(rest) => {
                // A quote inside a quoted name is doubled.
                let mut end = 0;
                loop {
                    end += rest[end..].find('"').ok_or_else(wrong)?;
                    if !rest[end + 1..].starts_with('"') {
                        break;
                    }
                    end += 2;
                }
                (rest[..end].replace("\"\"", "\""), &rest[end + 1..])
            }
            None => {
                let (name, ty) = definition.split_once(char::is_whitespace).ok_or_else(wrong)?;
                (name.to_lowercase(), ty)
            }
        };
        columns.push((name, weir_sql::parse::datatype::type_named(ty.trim())?));
    }
    match columns.is_empty() {
        true => Err(wrong()),
        false => Ok(columns),
    }
}

/// Splits at commas outside parentheses and quotes.
fn split(list: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut quoted, mut from) = (Vec::new(), 0, false, 0);
    for (at, byte) in list.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth -= 1,
            b',' if !quoted && depth == 0 => {
                parts.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[from..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_listed_in_three_ways() {
        let expected = [("a".to_string(), Type::Int8), ("B \"c".to_string(), Type::Numeric(Some((10, 2))))];
        for list in ["A bigint, \"B \"\"c\" numeric(10,2)", "{\"a\": \"bigint\", \"B \\\"c\": \"numeric(10,2)\"}"] {
            assert_eq!(columns("columns", &Value::text(list)).expect(list), expected, "{list}");
        }
        assert!(columns("columns", &Value::text("a")).is_err());
    }

    #[test]
    fn an_option_that_the_function_has_not_is_refused() {
        let args = [Value::text("x.parquet")];
        let named = [("header".to_string(), Value::bool(true))];
        let error = Options::new(Kind::Parquet, "read_parquet", &args, &named).expect_err("no header in Parquet");
        assert_eq!(error.message, "function read_parquet has no argument named \"header\"");
        assert_eq!(Options::new(Kind::Csv, "read_csv", &args, &named).expect("it has").header, Some(true));
    }
}
