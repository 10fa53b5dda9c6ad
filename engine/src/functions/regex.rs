//! Regular expressions: `~ ~* !~ !~*`, SIMILAR TO, the `regexp_*` functions, and ClickHouse's `match`, `extract`, `replaceRegexp…`.
//!
//! Patterns are Postgres's advanced ones, ClickHouse's in its own functions (see [`super::regex_syntax`]). Matches follow each other as in
//! Postgres: after an empty match the search moves on by one character, after another it goes on at its end.

use std::rc::Rc;

use arrow::datatypes::Int32Type;
use weir_sql::Type;

use super::declare::{INT4, PATTERN, TEXT, function, strict, text_array};
use super::like::escape_char;
use super::regex_engine::{Expression, Found};
use super::regex_similar::similar_pattern;
use super::regex_syntax::{Flavour, Options, compile};
use super::rows::{Column, bool_rows, invalid_parameter, primitive, primitive_rows, slice_rows, text, text_rows};
use super::string::{Texts, char_count};
use super::string_parts::byte_offset;
use super::text_list::list_rows;
use super::{Context, Datum, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let mut functions = operators();
    functions.extend(postgres());
    functions.extend(super::regex_clickhouse::functions());
    functions
}

fn operators() -> Vec<ScalarFunction> {
    let operator = |names, doc, example, kernel: super::Kernel| {
        function(names, PATTERN, doc, example, vec![strict([TEXT, TEXT], Type::Bool, kernel)])
    };
    vec![
        operator(
            &["~"],
            "Whether the text has a match of a regular expression.",
            ("'thomas' ~ 't.*ma'", "t"),
            |_, a, n, ty| matches(a, n, ty, false, false),
        ),
        operator(
            &["~*"],
            "Whether the text has a match of a regular expression, whatever the case.",
            ("'thomas' ~* 'T.*ma'", "t"),
            |_, a, n, ty| matches(a, n, ty, true, false),
        ),
        operator(
            &["!~"],
            "Whether the text has no match of a regular expression.",
            ("'thomas' !~ 'T'", "t"),
            |_, a, n, ty| matches(a, n, ty, false, true),
        ),
        operator(
            &["!~*"],
            "Whether the text has no match of a regular expression, whatever the case.",
            ("'thomas' !~* 'x'", "t"),
            |_, a, n, ty| matches(a, n, ty, true, true),
        ),
        function(
            &["similar_to_escape", "similar_escape"],
            PATTERN,
            "A SIMILAR TO pattern as a regular expression.",
            ("similar_to_escape('a%')", "^(?:a.*)$"),
            vec![strict([TEXT, TEXT], Type::Text, similar_to_escape).optional(1)],
        ),
    ]
}

fn postgres() -> Vec<ScalarFunction> {
    let optional = |params: Vec<_>, optional, returns, kernel: super::Kernel| {
        vec![strict(params, returns, kernel).optional(optional)]
    };
    vec![
        function(
            &["regexp_like"],
            PATTERN,
            "Whether the text has a match of a regular expression, with flags.",
            ("regexp_like('Hello World', 'world$', 'i')", "t"),
            optional(vec![TEXT, TEXT, TEXT], 1, Type::Bool, regexp_like),
        ),
        function(
            &["regexp_match"],
            PATTERN,
            "The groups of the first match, or the whole match if there are none; NULL without a match.",
            ("regexp_match('foobarbequebaz', '(bar)(beque)')", "{bar,beque}"),
            optional(vec![TEXT, TEXT, TEXT], 1, text_array(), regexp_match),
        ),
        function(
            &["regexp_replace"],
            PATTERN,
            "The text with the first match (all with flag g) replaced; \\1 … \\9 and \\& stand for groups and the match.",
            ("regexp_replace('Thomas', '.[mN]a.', 'M')", "ThM"),
            vec![
                strict([TEXT, TEXT, TEXT, TEXT], Type::Text, regexp_replace).optional(1),
                strict([TEXT, TEXT, TEXT, INT4, INT4, TEXT], Type::Text, regexp_replace_nth).optional(2),
            ],
        ),
        function(
            &["regexp_count"],
            PATTERN,
            "How many matches the text has.",
            ("regexp_count('123456789012', '\\d\\d\\d', 2)", "3"),
            optional(vec![TEXT, TEXT, INT4, TEXT], 2, Type::Int4, regexp_count),
        ),
        function(
            &["regexp_instr"],
            PATTERN,
            "Where the n-th match (or a group of it) begins or ends, counted from 1; 0 without a match.",
            ("regexp_instr('ABCDEF', 'c(.)(..)', 1, 1, 0, 'i')", "3"),
            optional(vec![TEXT, TEXT, INT4, INT4, INT4, TEXT, INT4], 5, Type::Int4, regexp_instr),
        ),
        function(
            &["regexp_substr"],
            PATTERN,
            "The n-th match, or a group of it; NULL if there is none.",
            ("regexp_substr('ABCDEF', 'c(.)(..)', 1, 1, 'i', 2)", "EF"),
            optional(vec![TEXT, TEXT, INT4, INT4, TEXT, INT4], 4, Type::Text, regexp_substr),
        ),
        function(
            &["regexp_split_to_array"],
            PATTERN,
            "The parts of the text between the matches.",
            ("regexp_split_to_array('hello world', '\\s+')", "{hello,world}"),
            optional(vec![TEXT, TEXT, TEXT], 1, text_array(), regexp_split),
        ),
        function(
            &["substring"],
            PATTERN,
            "The first match of a regular expression, or its first group; with an escape, of an SQL pattern.",
            ("substring('Thomas', '...$')", "mas"),
            vec![
                strict([TEXT, TEXT], Type::Text, substring_match),
                strict([TEXT, TEXT, TEXT], Type::Text, substring_similar),
            ],
        ),
    ]
}

/// The regular expressions of a batch: compiled again only when pattern or flags change from one row to the next.
pub(crate) struct Patterns<'a> {
    patterns: Column<'a, Texts>,
    flags: Option<Column<'a, Texts>>,
    base: Options,
    flavour: Flavour,
    last: Option<(&'a str, &'a str, Options, Rc<Expression>)>,
}

impl<'a> Patterns<'a> {
    pub(crate) fn new(
        args: &'a [Datum],
        pattern: usize,
        flags: Option<usize>,
        flavour: Flavour,
    ) -> Result<Patterns<'a>> {
        let flags = flags.filter(|&index| index < args.len()).map(|index| text(args, index)).transpose()?;
        Ok(Patterns { patterns: text(args, pattern)?, flags, base: Options::default(), flavour, last: None })
    }

    /// As [`Patterns::new`] without flags: case makes no difference.
    pub(crate) fn in_any_case(args: &'a [Datum], pattern: usize, flavour: Flavour) -> Result<Patterns<'a>> {
        let base = Options { ignore_case: true, ..Options::default() };
        Ok(Patterns { base, ..Patterns::new(args, pattern, None, flavour)? })
    }

    /// The expression of a row. `global` names the function if it does not take the flag g.
    pub(crate) fn at(&mut self, row: usize, refuses_global: &str) -> Result<(Rc<Expression>, Options)> {
        let pattern = self.patterns.at(row);
        let flags = self.flags.map_or("", |flags| flags.at(row));
        if let Some((last_pattern, last_flags, options, regex)) = &self.last
            && *last_pattern == pattern
            && *last_flags == flags
        {
            return Ok((regex.clone(), *options));
        }
        let mut options = Options::parse(flags)?;
        if options.global && !refuses_global.is_empty() {
            let error = format!("{refuses_global}() does not support the \"global\" option");
            let error = invalid_parameter(error);
            return Err(match refuses_global {
                "regexp_match" => error.with_hint("Use the regexp_matches function instead."),
                _ => error,
            });
        }
        options.ignore_case |= self.base.ignore_case;
        let regex = compile(pattern, options, self.flavour)?;
        self.last = Some((pattern, flags, options, regex.clone()));
        Ok((regex, options))
    }
}

/// Calls `each` for the matches from byte `start` on, until it says `false`.
pub(crate) fn for_each_match<'t>(
    regex: &Expression,
    text: &'t str,
    start: usize,
    mut each: impl FnMut(&Found<'t>) -> bool,
) -> Result<()> {
    let mut at = start;
    while at <= text.len() {
        let Some(found) = regex.captures_at(text, at)? else { break };
        if !each(&found) {
            break;
        }
        let whole = found.whole().range();
        at = match whole.is_empty() {
            false => whole.end,
            true => match text[whole.end..].chars().next() {
                Some(c) => whole.end + c.len_utf8(),
                None => break,
            },
        };
    }
    Ok(())
}

fn matches(args: &[Datum], rows: usize, ty: &Type, ignore_case: bool, negated: bool) -> Result<Datum> {
    let texts = text(args, 0)?;
    let mut patterns = Patterns::new(args, 1, None, Flavour::Postgres)?;
    patterns.base.ignore_case = ignore_case;
    bool_rows(args, rows, ty, |row| Ok(Some(patterns.at(row, "")?.0.is_match(texts.at(row))? != negated)))
}

fn similar_to_escape(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let patterns = text(args, 0)?;
    let escapes = if args.len() > 1 { Some(text(args, 1)?) } else { None };
    text_rows(args, rows, ty, |row, out| {
        let escape = escape_char(escapes.map_or("\\", |escapes| escapes.at(row)))?;
        out.push_str(&similar_pattern(patterns.at(row), escape)?);
        Ok(true)
    })
}

fn regexp_like(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let texts = text(args, 0)?;
    let mut patterns = Patterns::new(args, 1, Some(2), Flavour::Postgres)?;
    bool_rows(args, rows, ty, |row| Ok(Some(patterns.at(row, "regexp_like")?.0.is_match(texts.at(row))?)))
}

fn regexp_match(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let texts = text(args, 0)?;
    let mut patterns = Patterns::new(args, 1, Some(2), Flavour::Postgres)?;
    list_rows(args, rows, ty, |row, out| {
        let (regex, _) = patterns.at(row, "regexp_match")?;
        let Some(found) = regex.captures_at(texts.at(row), 0)? else { return Ok(false) };
        if found.len() == 1 {
            out.push(found.whole().as_str());
        }
        for group in found.groups() {
            match group {
                Some(group) => out.push(group.as_str()),
                None => out.push_null(),
            }
        }
        Ok(true)
    })
}

/// A replacement text: literal runs and references.
enum Piece<'r> {
    Text(&'r str),
    Group(usize),
}

/// Cuts `\1`, `\&` and `\\` out of a replacement; in ClickHouse's, `\0` is the match and `\&` is nothing special.
fn pieces(replacement: &str, flavour: Flavour) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut rest, mut from) = (replacement, 0);
    while let Some(at) = rest[from..].find('\\').map(|at| from + at) {
        let piece = match rest.as_bytes().get(at + 1) {
            Some(&digit @ b'1'..=b'9') => Piece::Group(usize::from(digit - b'0')),
            Some(b'0') if flavour == Flavour::Re2 => Piece::Group(0),
            Some(b'&') if flavour == Flavour::Postgres => Piece::Group(0),
            Some(b'\\') => Piece::Text("\\"),
            _ => {
                from = at + 1;
                continue;
            }
        };
        pieces.push(Piece::Text(&rest[..at]));
        pieces.push(piece);
        (rest, from) = (&rest[at + 2..], 0);
    }
    pieces.push(Piece::Text(rest));
    pieces
}

/// Appends `value` with its `nth` match from byte `start` on replaced, or all of them if `nth` is 0.
pub(crate) fn replace_matches(
    out: &mut String,
    regex: &Expression,
    value: &str,
    replacement: &str,
    flavour: Flavour,
    start: usize,
    nth: usize,
) -> Result<()> {
    let pieces = pieces(replacement, flavour);
    let (mut copied, mut count) = (0, 0);
    for_each_match(regex, value, start, |found| {
        count += 1;
        if nth > 0 && count < nth {
            return true;
        }
        let whole = found.whole().range();
        out.push_str(&value[copied..whole.start]);
        for piece in &pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Group(group) => out.push_str(found.get(*group).map_or("", |group| group.as_str())),
            }
        }
        copied = whole.end;
        nth == 0
    })?;
    out.push_str(&value[copied..]);
    Ok(())
}

fn regexp_replace(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let (texts, replacements) = (text(args, 0)?, text(args, 2)?);
    let mut patterns = Patterns::new(args, 1, Some(3), Flavour::Postgres)?;
    if args.len() > 3 && text(args, 3)?.constant().is_some_and(|flags| flags.starts_with(|c: char| c.is_ascii_digit()))
    {
        return Err(invalid_parameter(format!(
            "invalid regular expression option: \"{}\"",
            text(args, 3)?.at(0).chars().next().unwrap_or_default()
        ))
        .with_hint("If you meant to use regexp_replace() with a start parameter, cast the fourth argument to integer explicitly."));
    }
    text_rows(args, rows, ty, |row, out| {
        let (regex, options) = patterns.at(row, "")?;
        let nth = usize::from(!options.global);
        replace_matches(out, &regex, texts.at(row), replacements.at(row), Flavour::Postgres, 0, nth)?;
        Ok(true)
    })
}

fn regexp_replace_nth(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let (texts, replacements) = (text(args, 0)?, text(args, 2)?);
    let numbers = Numbers::new(args)?;
    let mut patterns = Patterns::new(args, 1, Some(5), Flavour::Postgres)?;
    text_rows(args, rows, ty, |row, out| {
        let (regex, options) = patterns.at(row, "")?;
        let value = texts.at(row);
        let start = numbers.at(row, 3, "start", 1)?;
        // Without n, the flag g decides.
        let nth = if args.len() > 4 { numbers.count(row, 4, "n", 0)? } else { usize::from(!options.global) };
        let start = byte_offset(value, start - 1);
        replace_matches(out, &regex, value, replacements.at(row), Flavour::Postgres, start, nth)?;
        Ok(true)
    })
}

/// Optional integer arguments with their defaults and ranges.
struct Numbers<'a> {
    args: &'a [Datum],
}

impl<'a> Numbers<'a> {
    fn new(args: &'a [Datum]) -> Result<Numbers<'a>> {
        Ok(Numbers { args })
    }

    /// A number that is at least 1; 1 if left off.
    fn at(&self, row: usize, index: usize, name: &str, least: i32) -> Result<usize> {
        if index >= self.args.len() {
            return Ok(least as usize);
        }
        let value = primitive::<Int32Type>(self.args, index)?.at(row);
        if value < least {
            return Err(invalid_parameter(format!("invalid value for parameter \"{name}\": {value}")));
        }
        Ok(value as usize)
    }

    /// A number that is at least `least`.
    fn count(&self, row: usize, index: usize, name: &str, least: i32) -> Result<usize> {
        self.at(row, index, name, least)
    }
}

fn regexp_count(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let texts = text(args, 0)?;
    let numbers = Numbers::new(args)?;
    let mut patterns = Patterns::new(args, 1, Some(3), Flavour::Postgres)?;
    primitive_rows::<Int32Type>(args, rows, ty, |row| {
        let start = byte_offset(texts.at(row), numbers.at(row, 2, "start", 1)? - 1);
        let (regex, _) = patterns.at(row, "regexp_count")?;
        let mut count = 0;
        for_each_match(&regex, texts.at(row), start, |_| {
            count += 1;
            true
        })?;
        Ok(Some(count))
    })
}

/// The byte range of group `group` of the `nth` match from character `start` on.
fn nth_match(
    regex: &Expression,
    value: &str,
    start: usize,
    nth: usize,
    group: usize,
) -> Result<Option<std::ops::Range<usize>>> {
    let (mut count, mut range) = (0, None);
    for_each_match(regex, value, byte_offset(value, start - 1), |found| {
        count += 1;
        if count == nth {
            range = found.get(group).map(|group| group.range());
        }
        count < nth
    })?;
    Ok(range)
}

fn regexp_instr(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let texts = text(args, 0)?;
    let numbers = Numbers::new(args)?;
    let mut patterns = Patterns::new(args, 1, Some(5), Flavour::Postgres)?;
    primitive_rows::<Int32Type>(args, rows, ty, |row| {
        let start = numbers.at(row, 2, "start", 1)?;
        let nth = numbers.at(row, 3, "n", 1)?;
        let end = numbers.count(row, 4, "endoption", 0)?;
        if end > 1 {
            return Err(invalid_parameter(format!("invalid value for parameter \"endoption\": {end}")));
        }
        let group = numbers.count(row, 6, "subexpr", 0)?;
        let (regex, _) = patterns.at(row, "regexp_instr")?;
        let found = nth_match(&regex, texts.at(row), start, nth, group)?;
        let at = found.map(|range| if end == 1 { range.end } else { range.start });
        Ok(Some(at.map_or(0, |at| char_count(&texts.at(row)[..at]) as i32 + 1)))
    })
}

fn regexp_substr(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let numbers = Numbers::new(args)?;
    let mut patterns = Patterns::new(args, 1, Some(4), Flavour::Postgres)?;
    slice_rows(args, rows, ty, |row, value| {
        let start = numbers.at(row, 2, "start", 1)?;
        let nth = numbers.at(row, 3, "n", 1)?;
        let group = numbers.count(row, 5, "subexpr", 0)?;
        let (regex, _) = patterns.at(row, "regexp_substr")?;
        nth_match(&regex, value, start, nth, group)
    })
}

fn regexp_split(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let texts = text(args, 0)?;
    let mut patterns = Patterns::new(args, 1, Some(2), Flavour::Postgres)?;
    list_rows(args, rows, ty, |row, out| {
        let (regex, _) = patterns.at(row, "regexp_split_to_array")?;
        split_at_matches(&regex, texts.at(row), |part| out.push(part))?;
        Ok(true)
    })
}

/// Calls `each` for the parts between matches. Empty matches at the start, at the end or right after another match split nothing.
pub(crate) fn split_at_matches<'t>(regex: &Expression, value: &'t str, mut each: impl FnMut(&'t str)) -> Result<()> {
    let mut from = 0;
    for_each_match(regex, value, 0, |found| {
        let whole = found.whole().range();
        let is_degenerate = whole.is_empty() && (whole.start == from || whole.start == value.len());
        if !is_degenerate {
            each(&value[from..whole.start]);
            from = whole.end;
        }
        true
    })?;
    each(&value[from..]);
    Ok(())
}

/// The range that `substring(… from pattern)` gives.
fn first_group(regex: &Expression, value: &str) -> Result<Option<std::ops::Range<usize>>> {
    if regex.captures_len() == 1 {
        return regex.find(value);
    }
    Ok(regex.captures_at(value, 0)?.and_then(|found| found.get(1)).map(|group| group.range()))
}

fn substring_match(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let mut patterns = Patterns::new(args, 1, None, Flavour::Postgres)?;
    slice_rows(args, rows, ty, |row, value| first_group(&patterns.at(row, "")?.0, value))
}

fn substring_similar(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let (patterns, escapes) = (text(args, 1)?, text(args, 2)?);
    slice_rows(args, rows, ty, |row, value| {
        let escape = escape_char(escapes.at(row)).map_err(|error| Error { kind: ErrorKind::InvalidEscape, ..error })?;
        let pattern = similar_pattern(patterns.at(row), escape)?;
        first_group(&*compile(&pattern, Options::default(), Flavour::Postgres)?, value)
    })
}
