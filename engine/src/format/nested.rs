//! The quoting of arrays (`{1,NULL,"a b"}`) and records (`(1,"a b",)`), both ways.

use crate::error::{Error, ErrorKind, Result};

/// Quotes the array element that `out` ends with, from `from` on, if it needs it.
pub(crate) fn quote_element(out: &mut Vec<u8>, from: usize) {
    let element = &out[from..];
    let plain = !element.is_empty()
        && !element.eq_ignore_ascii_case(b"null")
        && !element.iter().any(|b| matches!(b, b'{' | b'}' | b',' | b'"' | b'\\' | b' ' | b'\t'..=b'\r'));
    if !plain {
        quote(out, from, |b| if matches!(b, b'"' | b'\\') { Some(b'\\') } else { None });
    }
}

/// Adds an array's element, in quotes whatever it is.
pub(crate) fn push_element(out: &mut String, element: &str) {
    out.push('"');
    for c in element.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

/// Quotes the record field that `out` ends with, from `from` on, if it needs it.
pub(crate) fn quote_field(out: &mut Vec<u8>, from: usize) {
    let field = &out[from..];
    let plain = !field.is_empty()
        && !field.iter().any(|b| matches!(b, b'(' | b')' | b',' | b'"' | b'\\' | b' ' | b'\t'..=b'\r'));
    if !plain {
        quote(out, from, |b| if matches!(b, b'"' | b'\\') { Some(b) } else { None });
    }
}

fn quote(out: &mut Vec<u8>, from: usize, escape: impl Fn(u8) -> Option<u8>) {
    let text = out.split_off(from);
    out.push(b'"');
    for b in text {
        out.extend(escape(b));
        out.push(b);
    }
    out.push(b'"');
}

/// Splits the text of an array of one dimension. `each` gets every element's text, or `None` for NULL; an element that is itself in braces is
/// given as written, if the elements are arrays.
pub(crate) fn split_array(text: &str, of_arrays: bool, mut each: impl FnMut(Option<&str>) -> Result<()>) -> Result<()> {
    let malformed = |detail: &str| {
        Error::new(ErrorKind::InvalidText, format!("malformed array literal: \"{text}\"")).with_detail(detail)
    };
    let mut body = super::trim(text);
    if body.starts_with('[') {
        let (bounds, after) = body.split_once('=').ok_or_else(|| malformed("Missing \"=\" after array dimensions."))?;
        if !bounds.starts_with("[1:") {
            return Err(Error::new(
                ErrorKind::Sql(weir_sql::ErrorKind::Unsupported),
                "arrays that do not start at 1 are not supported",
            ));
        }
        body = super::trim(after);
    }
    let Some(inner) = body.strip_prefix('{') else {
        return Err(malformed("Array value must start with \"{\" or dimension information."));
    };
    let Some(inner) = inner.strip_suffix('}') else {
        return Err(malformed("Unexpected end of input."));
    };
    if super::trim(inner).is_empty() {
        return Ok(());
    }
    let bytes = inner.as_bytes();
    let mut element = Vec::new();
    let mut at = 0;
    loop {
        while at < bytes.len() && bytes[at].is_ascii_whitespace() {
            at += 1;
        }
        element.clear();
        let mut quoted = false;
        // What of `element` is kept even if it is white space.
        let mut solid = 0;
        if bytes.get(at) == Some(&b'{') {
            if !of_arrays {
                let message = "arrays of more than one dimension are not supported";
                return Err(Error::new(ErrorKind::Sql(weir_sql::ErrorKind::Unsupported), message));
            }
            let end = closing_brace(bytes, at).ok_or_else(|| malformed("Unexpected end of input."))?;
            element.extend_from_slice(&bytes[at..=end]);
            solid = element.len();
            at = end + 1;
            quoted = true;
        }
        while at < bytes.len() && bytes[at] != b',' {
            match bytes[at] {
                b'"' => {
                    quoted = true;
                    at += 1;
                    loop {
                        match bytes.get(at) {
                            None => return Err(malformed("Unexpected end of input.")),
                            Some(b'"') => break,
                            Some(b'\\') if at + 1 < bytes.len() => {
                                element.push(bytes[at + 1]);
                                at += 2;
                            }
                            Some(&b) => {
                                element.push(b);
                                at += 1;
                            }
                        }
                    }
                    at += 1;
                    solid = element.len();
                }
                b'\\' if at + 1 < bytes.len() => {
                    element.push(bytes[at + 1]);
                    at += 2;
                    solid = element.len();
                }
                b'{' | b'}' => {
                    return Err(malformed(&format!("Unexpected \"{}\" character.", char::from(bytes[at]))));
                }
                b => {
                    element.push(b);
                    at += 1;
                    if !b.is_ascii_whitespace() {
                        solid = element.len();
                    }
                }
            }
        }
        element.truncate(solid);
        if element.is_empty() && !quoted {
            return Err(malformed(&format!("Unexpected \"{}\" character.", if at < bytes.len() { ',' } else { '}' })));
        }
        let value = std::str::from_utf8(&element).map_err(|_| malformed("Unexpected array element."))?;
        each(if !quoted && value.eq_ignore_ascii_case("null") { None } else { Some(value) })?;
        if at >= bytes.len() {
            return Ok(());
        }
        at += 1;
    }
}

/// Where the brace that opens at `start` closes.
fn closing_brace(bytes: &[u8], start: usize) -> Option<usize> {
    let (mut depth, mut quoted, mut at) = (0, false, start);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'"' => quoted = !quoted,
            b'{' if !quoted => depth += 1,
            b'}' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Splits the text of a record into its fields' texts; `None` for NULL.
pub(crate) fn split_record(text: &str) -> Result<Vec<Option<String>>> {
    let malformed = |detail: &str| {
        Error::new(ErrorKind::InvalidText, format!("malformed record literal: \"{text}\"")).with_detail(detail)
    };
    let body = super::trim(text);
    let inner = body.strip_prefix('(').ok_or_else(|| malformed("Missing left parenthesis."))?;
    let mut fields = Vec::new();
    let mut chars = inner.chars().peekable();
    loop {
        let (mut field, mut quoted) = (String::new(), false);
        let end = loop {
            match chars.next().ok_or_else(|| malformed("Unexpected end of input."))? {
                c @ (',' | ')') => break c,
                '"' => {
                    quoted = true;
                    loop {
                        match chars.next().ok_or_else(|| malformed("Unexpected end of input."))? {
                            '"' if chars.peek() == Some(&'"') => {
                                field.push('"');
                                chars.next();
                            }
                            '"' => break,
                            '\\' => field.extend(chars.next()),
                            c => field.push(c),
                        }
                    }
                }
                '\\' => field.extend(chars.next()),
                c => field.push(c),
            }
        };
        fields.push(if field.is_empty() && !quoted { None } else { Some(field) });
        if end == ')' {
            return if chars.next().is_none() { Ok(fields) } else { Err(malformed("Junk after right parenthesis.")) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(text: &str) -> Result<Vec<Option<String>>> {
        let mut elements = Vec::new();
        split_array(text, true, |e| {
            elements.push(e.map(str::to_string));
            Ok(())
        })?;
        Ok(elements)
    }

    #[test]
    fn arrays_are_split_as_postgres_does() {
        let some = |s: &str| Some(s.to_string());
        assert_eq!(array("{}").expect("empty"), vec![]);
        assert_eq!(
            array(r#" { 1, NULL ,"NULL","a b", c d ,"q\"\\",x\,y} "#).expect("an array"),
            vec![some("1"), None, some("NULL"), some("a b"), some("c d"), some("q\"\\"), some("x,y")]
        );
        assert_eq!(array("{{1,2},{3}}").expect("nested"), vec![some("{1,2}"), some("{3}")]);
        assert_eq!(array("[1:2]={7,8}").expect("bounds"), vec![some("7"), some("8")]);
        for bad in ["[0:1]={7,8}", "", "1", "{1", "{1,}", "{,1}", "{\"a}", "{1}}"] {
            assert!(array(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn records_are_split_as_postgres_does() {
        let some = |s: &str| Some(s.to_string());
        assert_eq!(
            split_record(r#"(1,,"a ""b\\",x y)"#).expect("a record"),
            vec![some("1"), None, some("a \"b\\"), some("x y")]
        );
        assert!(split_record("1").is_err());
        assert!(split_record("(1").is_err());
    }
}
