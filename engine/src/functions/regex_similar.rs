//! SIMILAR TO's patterns as regular expressions.

use crate::error::{Error, ErrorKind, Result};

/// SIMILAR TO's pattern as a regular expression, as `similar_to_escape` in Postgres: `%` and `_` become `.*` and `.`, and `escape "`
/// marks the part that `substring` gives.
pub(crate) fn similar_pattern(pattern: &str, escape: Option<char>) -> Result<String> {
    let mut out = String::from("^(?:");
    let (mut after_escape, mut in_brackets, mut marks) = (false, false, 0);
    for c in pattern.chars() {
        if after_escape {
            after_escape = false;
            if c == '"' && !in_brackets {
                marks += 1;
                match marks {
                    1 => out.push_str("){1,1}?("),
                    2 => out.push_str("){1,1}(?:"),
                    _ => {
                        let message =
                            "SQL regular expression may not contain more than two escape-double-quote separators";
                        return Err(Error::new(ErrorKind::InvalidEscape, message));
                    }
                }
                continue;
            }
            out.push('\\');
            out.push(c);
        } else if Some(c) == escape {
            after_escape = true;
        } else if in_brackets {
            if c == '\\' {
                out.push('\\');
            }
            out.push(c);
            in_brackets = c != ']';
        } else {
            match c {
                '[' => {
                    out.push(c);
                    in_brackets = true;
                }
                '%' => out.push_str(".*"),
                '_' => out.push('.'),
                '(' => out.push_str("(?:"),
                '\\' | '.' | '^' | '$' => {
                    out.push('\\');
                    out.push(c);
                }
                c => out.push(c),
            }
        }
    }
    out.push_str(")$");
    Ok(out)
}
