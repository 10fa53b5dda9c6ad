//! LIKE and ILIKE, which the grammar writes and the operators `~~ !~~ ~~* !~~*` compute.
//!
//! A pattern is cut at its `%` into segments, once for a run of equal patterns. The first segment is anchored at the text's start and
//! the last at its end; those between are searched for from the left, each after the one before: with wildcards that match anything,
//! the leftmost place is as good as any. A segment without `_` is found by `memchr`'s substring search. ILIKE folds both sides to
//! lower case first, as Postgres does.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::buffer::BooleanBuffer;
use memchr::memmem::{self, Finder};
use weir_sql::Type;

use super::declare::{PATTERN, TEXT, function, strict};
use super::rows::{batch, is_valid, nulls_of, text, text_rows};
use super::string::{Texts, lower};
use super::{Context, Datum, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::views::ViewMemo;

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let like = |names, doc, example, kernel: super::Kernel| {
        let overloads = vec![strict([TEXT, TEXT, TEXT], Type::Bool, kernel).optional(1)];
        function(names, PATTERN, doc, example, overloads)
    };
    vec![
        like(
            &["~~", "like"],
            "Whether the text matches a LIKE pattern: % stands for any characters, _ for one.",
            ("'abc' LIKE 'a%'", "t"),
            |_, a, n, ty| like_rows(a, n, ty, false, false),
        ),
        like(
            &["!~~", "notLike"],
            "Whether the text does not match a LIKE pattern.",
            ("'abc' NOT LIKE 'a_'", "t"),
            |_, a, n, ty| like_rows(a, n, ty, false, true),
        ),
        like(
            &["~~*", "ilike"],
            "Whether the text matches a LIKE pattern whatever the case.",
            ("'ABC' ILIKE 'a%'", "t"),
            |_, a, n, ty| like_rows(a, n, ty, true, false),
        ),
        like(
            &["!~~*", "notILike"],
            "Whether the text does not match a LIKE pattern, whatever the case.",
            ("'ABC' NOT ILIKE 'b%'", "t"),
            |_, a, n, ty| like_rows(a, n, ty, true, true),
        ),
        function(
            &["like_escape"],
            PATTERN,
            "A LIKE pattern written with another escape character, as one with the usual backslash.",
            ("like_escape('10#%', '#')", "10\\%"),
            vec![strict([TEXT, TEXT], Type::Text, like_escape)],
        ),
    ]
}

/// One part of a pattern between two `%`.
#[derive(Debug)]
enum Segment {
    /// Only literal characters.
    Literal(Box<Finder<'static>>),
    /// Characters, `None` for `_`; and the same as bytes, if all are ASCII.
    Wild(Vec<Option<char>>, Option<Vec<Option<u8>>>),
}

/// A compiled LIKE pattern.
#[derive(Debug)]
pub(crate) struct LikePattern {
    /// Never empty; one segment means there was no `%`.
    segments: Vec<Segment>,
}

impl LikePattern {
    /// Compiles `pattern`; `escape` makes the next character literal.
    pub(crate) fn compile(pattern: &str, escape: Option<char>) -> Result<LikePattern> {
        let mut segments = Vec::new();
        let mut current: Vec<Option<char>> = Vec::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            if Some(c) == escape {
                let Some(literal) = chars.next() else {
                    let message = "LIKE pattern must not end with escape character";
                    return Err(Error::new(ErrorKind::InvalidEscape, message));
                };
                current.push(Some(literal));
            } else if c == '%' {
                segments.push(Segment::new(&current));
                current.clear();
            } else {
                current.push(Some(c).filter(|&c| c != '_'));
            }
        }
        segments.push(Segment::new(&current));
        // Runs of % are one; empty segments between others say nothing.
        let last = segments.len() - 1;
        let mut index = 0;
        segments.retain(|segment| {
            index += 1;
            index == 1 || index == last + 1 || !segment.is_empty()
        });
        Ok(LikePattern { segments })
    }

    /// Whether the whole text matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let (first, rest) = self.segments.split_first().expect("a pattern has a segment");
        let Some((last, middle)) = rest.split_last() else { return first.prefix(text) == Some(text.len()) };
        let Some(start) = first.prefix(text) else { return false };
        let mut text = &text[start..];
        for segment in middle {
            let Some((_, end)) = segment.find(text) else { return false };
            text = &text[end..];
        }
        last.is_suffix(text)
    }
}

impl Segment {
    fn new(chars: &[Option<char>]) -> Segment {
        match chars.iter().copied().collect::<Option<String>>() {
            Some(literal) => Segment::Literal(Box::new(Finder::new(literal.as_bytes()).into_owned())),
            None => {
                let byte = |wanted: &Option<char>| match wanted {
                    Some(c) if c.is_ascii() => Some(Some(*c as u8)),
                    Some(_) => None,
                    None => Some(None),
                };
                Segment::Wild(chars.to_vec(), chars.iter().map(byte).collect())
            }
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Segment::Literal(finder) if finder.needle().is_empty())
    }

    /// Where this segment ends if the text begins with it.
    fn prefix(&self, text: &str) -> Option<usize> {
        match self {
            // Comparing no bytes at a pointer to none takes a hundred times as long as comparing some: a masked load whose page is not there.
            Segment::Literal(finder) if finder.needle().is_empty() => Some(0),
            Segment::Literal(finder) => text.as_bytes().starts_with(finder.needle()).then(|| finder.needle().len()),
            Segment::Wild(chars, bytes) => {
                // As long as all is ASCII, bytes are characters.
                if let Some(bytes) = bytes
                    && let Some(start) = text.as_bytes().get(..bytes.len())
                    && start.is_ascii()
                {
                    let same = |(wanted, byte): (&Option<u8>, &u8)| wanted.is_none_or(|wanted| wanted == *byte);
                    return bytes.iter().zip(start).all(same).then_some(bytes.len());
                }
                let mut rest = text.chars();
                for wanted in chars {
                    let c = rest.next()?;
                    if wanted.is_some_and(|wanted| wanted != c) {
                        return None;
                    }
                }
                Some(text.len() - rest.as_str().len())
            }
        }
    }

    fn is_suffix(&self, text: &str) -> bool {
        match self {
            Segment::Literal(finder) => finder.needle().is_empty() || text.as_bytes().ends_with(finder.needle()),
            Segment::Wild(chars, _) => {
                let mut rest = text.chars();
                chars.iter().rev().all(|wanted| match (rest.next_back(), wanted) {
                    (Some(c), Some(wanted)) => c == *wanted,
                    (Some(_), None) => true,
                    (None, _) => false,
                })
            }
        }
    }

    /// Where this segment first occurs.
    fn find(&self, text: &str) -> Option<(usize, usize)> {
        match self {
            Segment::Literal(finder) => finder.find(text.as_bytes()).map(|at| (at, at + finder.needle().len())),
            Segment::Wild(..) => {
                text.char_indices().find_map(|(at, _)| self.prefix(&text[at..]).map(|length| (at, at + length)))
            }
        }
    }
}

/// The compiled form of the pattern last seen, so that a constant pattern is compiled once.
#[derive(Default)]
struct Compiled {
    source: Option<(String, String)>,
    pattern: Option<LikePattern>,
    folded: String,
}

impl Compiled {
    fn get(&mut self, pattern: &str, escape: Option<&str>, fold_case: bool) -> Result<&LikePattern> {
        let escape_text = escape.unwrap_or("\\");
        let is_same = self.source.as_ref().is_some_and(|(p, e)| p == pattern && e == escape_text);
        if !is_same || self.pattern.is_none() {
            let mut wanted = pattern;
            if fold_case {
                self.folded.clear();
                lower(pattern, &mut self.folded);
                wanted = &self.folded;
            }
            self.pattern = Some(LikePattern::compile(wanted, escape_char(escape_text)?)?);
            self.source = Some((pattern.into(), escape_text.into()));
        }
        self.pattern.as_ref().ok_or_else(|| Error::internal("no compiled pattern"))
    }
}

/// The escape character that ESCAPE names; none for an empty text.
pub(crate) fn escape_char(escape: &str) -> Result<Option<char>> {
    let mut chars = escape.chars();
    let first = chars.next();
    if chars.next().is_some() {
        return Err(Error::new(ErrorKind::InvalidEscape, "invalid escape string")
            .with_hint("Escape string must be empty or one character."));
    }
    Ok(first)
}

fn like_rows(args: &[Datum], rows: usize, ty: &Type, fold_case: bool, negated: bool) -> Result<Datum> {
    let (texts, patterns) = (text(args, 0)?, text(args, 1)?);
    let escapes = if args.len() > 2 { Some(text(args, 2)?) } else { None };
    let mut compiled = Compiled::default();
    let mut folded = String::new();
    batch(args, rows, ty, |rows| {
        let nulls = nulls_of(args, rows);
        if let Some(pattern) = patterns.constant()
            && !fold_case
            && escapes.is_none_or(|escapes| escapes.is_constant())
            && (0..rows).any(|row| is_valid(&nulls, row))
        {
            let pattern = compiled.get(pattern, escapes.and_then(|escapes| escapes.constant()), false)?;
            return Ok(Arc::new(BooleanArray::new(constant_like(texts.array, rows, pattern, negated), nulls)));
        }
        let mut failure = None;
        let matched = BooleanBuffer::collect_bool(rows, |row| {
            if failure.is_some() || !is_valid(&nulls, row) {
                return false;
            }
            let escape = escapes.map(|escapes| escapes.at(row));
            match compiled.get(patterns.at(row), escape, fold_case) {
                Ok(pattern) if fold_case => {
                    folded.clear();
                    lower(texts.at(row), &mut folded);
                    pattern.matches(&folded) != negated
                }
                Ok(pattern) => pattern.matches(texts.at(row)) != negated,
                Err(error) => {
                    failure = Some(error);
                    false
                }
            }
        });
        match failure {
            Some(error) => Err(error),
            None => Ok(Arc::new(BooleanArray::new(matched, nulls))),
        }
    })
}

/// The commonest case, a column and one pattern, with the shape of the pattern chosen outside the loop.
fn constant_like(texts: &Texts, rows: usize, pattern: &LikePattern, negated: bool) -> BooleanBuffer {
    use Segment::Literal;
    match pattern.segments.as_slice() {
        [Literal(exact)] => each_text(texts, rows, negated, |text| text.as_bytes() == exact.needle()),
        [Literal(first), Literal(last)] if last.needle().is_empty() => {
            each_text(texts, rows, negated, |text| text.as_bytes().starts_with(first.needle()))
        }
        [Literal(first), Literal(last)] if first.needle().is_empty() => {
            each_text(texts, rows, negated, |text| text.as_bytes().ends_with(last.needle()))
        }
        [Literal(first), Literal(middle), Literal(last)]
            if first.needle().is_empty() && last.needle().is_empty() && !middle.needle().is_empty() =>
        {
            let finder: &memmem::Finder<'_> = middle;
            each_text(texts, rows, negated, |text| finder.find(text.as_bytes()).is_some())
        }
        _ => each_text(texts, rows, negated, |text| pattern.matches(text)),
    }
}

/// Whether each text passes (or not) a test that is of the text alone.
pub(super) fn each_text(texts: &Texts, rows: usize, negated: bool, test: impl Fn(&str) -> bool) -> BooleanBuffer {
    let views = texts.views();
    let mut memo = ViewMemo::new();
    BooleanBuffer::collect_bool(rows, |row| memo.get(views[row], || test(texts.value(row))) != negated)
}

fn like_escape(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let (patterns, escapes) = (text(args, 0)?, text(args, 1)?);
    text_rows(args, rows, ty, |row, out| {
        let escape = escape_char(escapes.at(row))?;
        let mut after_escape = false;
        for c in patterns.at(row).chars() {
            if Some(c) == escape && !after_escape {
                out.push('\\');
                after_escape = true;
                continue;
            }
            if c == '\\' && !after_escape {
                out.push('\\');
            }
            out.push(c);
            after_escape = false;
        }
        Ok(true)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts() {
        let matches = |text: &str, pattern: &str| LikePattern::compile(pattern, Some('\\')).unwrap().matches(text);
        for (text, pattern) in [
            ("", ""),
            ("", "%"),
            ("abc", "abc"),
            ("abc", "a%"),
            ("abc", "%c"),
            ("abc", "%b%"),
            ("abc", "a%c"),
            ("aba", "a%a"),
            ("größe", "gr__e"),
            ("größe", "%ö_e"),
            ("abcabc", "%b%b%"),
            ("abcabd", "a%b_"),
            ("10%", "10\\%"),
            ("a_b", "a\\_b"),
            ("xay", "%_a_%"),
            ("aab", "%ab"),
        ] {
            assert!(matches(text, pattern), "{text:?} LIKE {pattern:?}");
        }
        for (text, pattern) in [
            ("a", "a%a"),
            ("abc", "b%"),
            ("abc", "%b"),
            ("abc", "_"),
            ("", "_"),
            ("ab", "%_a_%"),
            ("10x", "10\\%"),
            ("abc", "%bb%"),
        ] {
            assert!(!matches(text, pattern), "{text:?} NOT LIKE {pattern:?}");
        }
        assert_eq!(LikePattern::compile("a\\", Some('\\')).unwrap_err().kind, ErrorKind::InvalidEscape);
    }
}
