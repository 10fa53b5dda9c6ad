//! Parts of a URL, by ClickHouse's names: no check that it is a good one, as there.

use std::ops::Range;

use weir_sql::Type;

use super::declare::{STRING, TEXT, function, strict};
use super::rows::slice_rows;
use super::{Datum, ScalarFunction};
use crate::error::Result;

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let part = |names, doc, example, kernel: super::Kernel| {
        function(names, STRING, doc, example, vec![strict([TEXT], Type::Text, kernel)])
    };
    vec![
        part(&["protocol"], "A URL's protocol.", ("protocol('https://x.com/')", "https"), |_, a, n, ty| {
            slices(a, n, ty, |url| 0..url.find("://").unwrap_or(0))
        }),
        part(
            &["domain"],
            "A URL's host name, without its port.",
            ("domain('https://www.x.com:8080/a?b')", "www.x.com"),
            |_, a, n, ty| slices(a, n, ty, domain),
        ),
        part(
            &["domainWithoutWWW"],
            "A URL's host name, without www. in front.",
            ("domainWithoutWWW('https://www.x.com/')", "x.com"),
            |_, a, n, ty| {
                slices(a, n, ty, |url| {
                    let host = domain(url);
                    let www = if url[host.clone()].starts_with("www.") { 4 } else { 0 };
                    host.start + www..host.end
                })
            },
        ),
        part(
            &["topLevelDomain"],
            "The last part of a URL's host name.",
            ("topLevelDomain('https://www.x.com/')", "com"),
            |_, a, n, ty| {
                slices(a, n, ty, |url| {
                    let host = domain(url);
                    match url[host.clone()].rsplit_once('.') {
                        // The last part of an address is no name.
                        Some((_, last)) if !last.starts_with(|c: char| c.is_ascii_digit()) => {
                            host.end - last.len()..host.end
                        }
                        _ => host.end..host.end,
                    }
                })
            },
        ),
        part(
            &["path"],
            "A URL's path, without its query string.",
            ("path('https://x.com/a/b?c=1')", "/a/b"),
            |_, a, n, ty| slices(a, n, ty, path),
        ),
        part(
            &["queryString"],
            "A URL's query string, without the question mark.",
            ("queryString('https://x.com/a?c=1#d')", "c=1"),
            |_, a, n, ty| {
                slices(a, n, ty, |url| match url.find('?') {
                    Some(at) => at + 1..url[at..].find('#').map_or(url.len(), |end| at + end),
                    None => url.len()..url.len(),
                })
            },
        ),
        part(
            &["cutQueryString"],
            "A URL without its query string.",
            ("cutQueryString('https://x.com/a?c=1')", "https://x.com/a"),
            |_, a, n, ty| slices(a, n, ty, |url| 0..url.find('?').unwrap_or(url.len())),
        ),
    ]
}

fn slices(args: &[Datum], rows: usize, ty: &Type, part: fn(&str) -> Range<usize>) -> Result<Datum> {
    slice_rows(args, rows, ty, |_, url| Ok(Some(part(url))))
}

/// Where what follows the protocol begins.
pub(super) fn after_protocol(url: &str) -> usize {
    url.find("://").map_or_else(|| if url.starts_with("//") { 2 } else { 0 }, |at| at + 3)
}

/// Where the host name is; nowhere if what stands there is none, as ClickHouse has it: a name has a dot, and no character that a URL must escape.
pub(super) fn domain(url: &str) -> Range<usize> {
    let none = url.len()..url.len();
    let mut start = after_scheme(url);
    let mut dot = None;
    let mut end = url.len();
    for (at, byte) in url.bytes().enumerate().skip(start) {
        match byte {
            b'.' => dot = Some(at).filter(|_| at + 1 < url.len()).or(dot),
            b'@' => start = at + 1,
            b':' | b'/' | b'?' | b'#' => {
                end = at;
                break;
            }
            _ if is_escaped(byte) => return none,
            _ => {}
        }
    }
    match dot {
        Some(dot) if start < end && dot + 1 < end => start..end,
        _ => none,
    }
}

/// Where what follows `//` or a protocol begins, and 0 without these.
fn after_scheme(url: &str) -> usize {
    if url.starts_with("//") {
        return 2;
    }
    let is_scheme = |scheme: &str| scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+'));
    match url.find("://") {
        // No protocol's name is longer.
        Some(at) if at <= 13 && is_scheme(&url[..at]) => at + 3,
        _ => 0,
    }
}

/// Characters that stand in no URL.
fn is_escaped(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t' | b'<' | b'>' | b'%' | b'{' | b'}' | b'|' | b'\\' | b'^' | b'~' | b'[' | b']' | b';' | b'=' | b'&'
    )
}

fn path(url: &str) -> Range<usize> {
    let start = after_protocol(url);
    let Some(slash) = url[start..].find('/').map(|at| start + at) else { return url.len()..url.len() };
    slash..url[slash..].find(['?', '#']).map_or(url.len(), |at| slash + at)
}
