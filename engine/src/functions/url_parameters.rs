//! Parts of a URL that [`super::url`] has not: parameters, fragments, ports, escapes; by ClickHouse's names.

use std::ops::Range;

use arrow::datatypes::Int64Type;
use weir_sql::Type;

use super::declare::{INT8, STRING, TEXT, function, strict, text_array};
use super::rows::{primitive, primitive_rows, slice_rows, text, text_rows};
use super::text_list::list_rows;
use super::url::{after_protocol, domain};
use super::{Datum, Kernel, ScalarFunction};
use crate::error::Result;

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let mut all = parts();
    all.extend(parameters());
    all.extend(escapes());
    all
}

fn of_text(
    names: &'static [&'static str],
    doc: &'static str,
    example: (&'static str, &'static str),
    kernel: Kernel,
) -> ScalarFunction {
    function(names, STRING, doc, example, vec![strict([TEXT], Type::Text, kernel)])
}

fn slices(args: &[Datum], rows: usize, ty: &Type, part: fn(&str) -> Range<usize>) -> Result<Datum> {
    slice_rows(args, rows, ty, |_, url| Ok(Some(part(url))))
}

/// Where the first of some characters is, or the end.
fn first(url: &str, from: usize, of: &[char]) -> usize {
    url[from..].find(of).map_or(url.len(), |at| from + at)
}

fn parts() -> Vec<ScalarFunction> {
    vec![
        of_text(
            &["fragment"],
            "A URL's fragment, without the #.",
            ("fragment('https://x.com/a#b')", "b"),
            |_, a, n, ty| slices(a, n, ty, |url| (first(url, 0, &['#']) + 1).min(url.len())..url.len()),
        ),
        of_text(
            &["queryStringAndFragment"],
            "A URL's query string and fragment.",
            ("queryStringAndFragment('https://x.com/a?c=1#d')", "c=1#d"),
            |_, a, n, ty| slices(a, n, ty, |url| (first(url, 0, &['?']) + 1).min(url.len())..url.len()),
        ),
        of_text(
            &["pathFull"],
            "A URL's path, with its query string and fragment.",
            ("pathFull('https://x.com/a?c=1#d')", "/a?c=1#d"),
            |_, a, n, ty| slices(a, n, ty, |url| first(url, after_protocol(url), &['/'])..url.len()),
        ),
        of_text(
            &["netloc"],
            "A URL's user, host and port.",
            ("netloc('https://user@x.com:80/a')", "user@x.com:80"),
            |_, a, n, ty| {
                slices(a, n, ty, |url| after_protocol(url)..first(url, after_protocol(url), &['/', '?', '#']))
            },
        ),
        of_text(
            &["cutFragment"],
            "A URL without its fragment.",
            ("cutFragment('https://x.com/a#b')", "https://x.com/a"),
            |_, a, n, ty| slices(a, n, ty, |url| 0..first(url, 0, &['#'])),
        ),
        of_text(
            &["cutQueryStringAndFragment"],
            "A URL without its query string and fragment.",
            ("cutQueryStringAndFragment('https://x.com/a?c=1#d')", "https://x.com/a"),
            |_, a, n, ty| slices(a, n, ty, |url| 0..first(url, 0, &['?', '#'])),
        ),
        of_text(
            &["cutWWW"],
            "A URL without www. in front of its host name.",
            ("cutWWW('https://www.x.com/')", "https://x.com/"),
            |_, a, n, ty| {
                let urls = text(a, 0)?;
                text_rows(a, n, ty, |row, out| {
                    let url = urls.at(row);
                    let host = after_protocol(url);
                    out.push_str(&url[..host]);
                    out.push_str(url[host..].strip_prefix("www.").unwrap_or(&url[host..]));
                    Ok(true)
                })
            },
        ),
        of_text(
            &["firstSignificantSubdomain"],
            "The part of a URL's host name before its top-level domain, and before com, net, org and co above that.",
            ("firstSignificantSubdomain('https://news.x.co.uk/')", "x"),
            |_, a, n, ty| slices(a, n, ty, |url| significant(url).0),
        ),
        of_text(
            &["cutToFirstSignificantSubdomain"],
            "A URL's host name from its first significant part on.",
            ("cutToFirstSignificantSubdomain('https://news.x.co.uk/')", "x.co.uk"),
            |_, a, n, ty| {
                slices(a, n, ty, |url| {
                    let (part, host) = significant(url);
                    if part.is_empty() { part } else { part.start..host.end }
                })
            },
        ),
        function(
            &["port"],
            STRING,
            "A URL's port; the second argument, or 0, if it names none.",
            ("port('https://x.com:8443/')", "8443"),
            vec![
                strict([TEXT, INT8], Type::Int8, |_, a, n, ty| {
                    let urls = text(a, 0)?;
                    let otherwise = if a.len() > 1 { Some(primitive::<Int64Type>(a, 1)?) } else { None };
                    primitive_rows::<Int64Type>(a, n, ty, |row| {
                        let url = urls.at(row);
                        let host = domain(url).end;
                        let end = first(url, host, &['/', '?', '#']);
                        let port = url[host..end].strip_prefix(':').and_then(|port| port.parse::<u16>().ok());
                        Ok(Some(port.map_or_else(|| otherwise.map_or(0, |o| o.at(row)), i64::from)))
                    })
                })
                .optional(1),
            ],
        ),
    ]
}

/// The first significant part of the host name, and the host name.
fn significant(url: &str) -> (Range<usize>, Range<usize>) {
    let host = domain(url);
    let name = &url[host.clone()];
    let mut dots = name.rmatch_indices('.').map(|(at, _)| at);
    let Some(top) = dots.next() else { return (host.end..host.end, host) };
    let (mut start, mut end) = (dots.next().map_or(0, |at| at + 1), top);
    if start > 0 && matches!(&name[start..end], "com" | "net" | "org" | "co" | "biz") {
        end = start - 1;
        start = name[..end].rfind('.').map_or(0, |at| at + 1);
    }
    (host.start + start..host.start + end, host)
}

/// The parameters of a URL's query string and fragment: name, value, and where each is.
fn pairs(url: &str) -> impl Iterator<Item = (Range<usize>, &str, &str)> {
    let start = (first(url, 0, &['?', '#']) + 1).min(url.len());
    let mut at = start;
    url[start..].split(['&', '#', '?', ';']).filter_map(move |pair| {
        let range = at..at + pair.len();
        at = range.end + 1;
        pair.split_once('=').map(|(name, value)| (range, name, value))
    })
}

fn parameters() -> Vec<ScalarFunction> {
    let two = |names, doc, example, kernel: Kernel| {
        function(names, STRING, doc, example, vec![strict([TEXT, TEXT], Type::Text, kernel)])
    };
    let list = |names, doc, example, kernel: Kernel| {
        function(names, STRING, doc, example, vec![strict([TEXT], text_array(), kernel)])
    };
    vec![
        two(
            &["extractURLParameter"],
            "The value of a URL's parameter; empty if there is none.",
            ("extractURLParameter('https://x.com/?a=1&b=2', 'b')", "2"),
            |_, a, n, ty| {
                let names = text(a, 1)?;
                let urls = text(a, 0)?;
                text_rows(a, n, ty, |row, out| {
                    let found = pairs(urls.at(row)).find(|(_, name, _)| *name == names.at(row));
                    out.push_str(found.map_or("", |(_, _, value)| value));
                    Ok(true)
                })
            },
        ),
        two(
            &["cutURLParameter"],
            "A URL without a parameter.",
            ("cutURLParameter('https://x.com/?a=1&b=2', 'a')", "https://x.com/?b=2"),
            |_, a, n, ty| {
                let (urls, names) = (text(a, 0)?, text(a, 1)?);
                text_rows(a, n, ty, |row, out| {
                    let url = urls.at(row);
                    let Some((range, ..)) = pairs(url).find(|(_, name, _)| *name == names.at(row)) else {
                        out.push_str(url);
                        return Ok(true);
                    };
                    // With the sign after it, or the one before it if it is the last.
                    let next = url[range.end..].chars().next();
                    let (start, end) = match next {
                        Some('&' | ';') => (range.start, range.end + 1),
                        _ if url[..range.start].ends_with(['&', ';']) => (range.start - 1, range.end),
                        _ => (range.start, range.end),
                    };
                    out.push_str(&url[..start]);
                    out.push_str(&url[end..]);
                    Ok(true)
                })
            },
        ),
        list(
            &["extractURLParameters"],
            "A URL's parameters, each with its value.",
            ("extractURLParameters('https://x.com/?a=1&b=2')", "{a=1,b=2}"),
            |_, a, n, ty| {
                let urls = text(a, 0)?;
                list_rows(a, n, ty, |row, out| {
                    let url = urls.at(row);
                    pairs(url).for_each(|(range, ..)| out.push(&url[range]));
                    Ok(true)
                })
            },
        ),
        list(
            &["extractURLParameterNames"],
            "The names of a URL's parameters.",
            ("extractURLParameterNames('https://x.com/?a=1&b=2')", "{a,b}"),
            |_, a, n, ty| {
                let urls = text(a, 0)?;
                list_rows(a, n, ty, |row, out| {
                    pairs(urls.at(row)).for_each(|(_, name, _)| out.push(name));
                    Ok(true)
                })
            },
        ),
        list(
            &["URLHierarchy"],
            "A URL, and before it what is left of it up to each / and ? in its path.",
            ("URLHierarchy('https://x.com/a/b')", "{https://x.com/,https://x.com/a/,https://x.com/a/b}"),
            |_, a, n, ty| {
                let urls = text(a, 0)?;
                list_rows(a, n, ty, |row, out| {
                    let url = urls.at(row);
                    hierarchy(url, first(url, after_protocol(url), &['/'])).for_each(|end| out.push(&url[..end]));
                    Ok(true)
                })
            },
        ),
        list(
            &["URLPathHierarchy"],
            "As URLHierarchy, without protocol and host, and without the root.",
            ("URLPathHierarchy('https://x.com/a/b')", "{/a/,/a/b}"),
            |_, a, n, ty| {
                let urls = text(a, 0)?;
                list_rows(a, n, ty, |row, out| {
                    let url = urls.at(row);
                    let root = first(url, after_protocol(url), &['/']);
                    hierarchy(url, root).filter(|end| *end > root + 1).for_each(|end| out.push(&url[root..end]));
                    Ok(true)
                })
            },
        ),
    ]
}

/// Where each level of a path from `root` on ends.
fn hierarchy(url: &str, root: usize) -> impl Iterator<Item = usize> {
    let ends =
        url[root..].char_indices().filter(|(_, c)| matches!(c, '/' | '?' | '#')).map(move |(at, _)| root + at + 1);
    let whole = (!url[root..].ends_with(['/', '?', '#'])).then_some(url.len());
    ends.chain(whole)
}

fn escapes() -> Vec<ScalarFunction> {
    vec![
        of_text(
            &["encodeURLComponent", "url_encode"],
            "The text with what a URL cannot hold as %XX.",
            ("encodeURLComponent('a b&c')", "a%20b%26c"),
            |_, a, n, ty| encode(a, n, ty, "%20"),
        ),
        of_text(
            &["encodeURLFormComponent"],
            "As encodeURLComponent, with + for a space.",
            ("encodeURLFormComponent('a b&c')", "a+b%26c"),
            |_, a, n, ty| encode(a, n, ty, "+"),
        ),
        of_text(
            &["decodeURLComponent", "url_decode"],
            "The text with the characters that %XX stands for; what is no character stays.",
            ("decodeURLComponent('a%20b%26c')", "a b&c"),
            |_, a, n, ty| decode(a, n, ty, false),
        ),
        of_text(
            &["decodeURLFormComponent"],
            "As decodeURLComponent, with a space for +.",
            ("decodeURLFormComponent('a+b%26c')", "a b&c"),
            |_, a, n, ty| decode(a, n, ty, true),
        ),
    ]
}

fn encode(args: &[Datum], rows: usize, ty: &Type, space: &str) -> Result<Datum> {
    let texts = text(args, 0)?;
    text_rows(args, rows, ty, |row, out| {
        for byte in texts.at(row).bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
                b' ' => out.push_str(space),
                byte => {
                    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0').to_ascii_uppercase();
                    out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
                }
            }
        }
        Ok(true)
    })
}

fn decode(args: &[Datum], rows: usize, ty: &Type, form: bool) -> Result<Datum> {
    let texts = text(args, 0)?;
    let mut bytes = Vec::new();
    text_rows(args, rows, ty, |row, out| {
        let value = texts.at(row).as_bytes();
        bytes.clear();
        let mut at = 0;
        while let Some(&byte) = value.get(at) {
            let digit = |offset: usize| value.get(at + offset).and_then(|digit| char::from(*digit).to_digit(16));
            match (byte, digit(1), digit(2)) {
                (b'%', Some(high), Some(low)) => {
                    bytes.push((high * 16 + low) as u8);
                    at += 3;
                    continue;
                }
                (b'+', ..) if form => bytes.push(b' '),
                (byte, ..) => bytes.push(byte),
            }
            at += 1;
        }
        out.push_str(&String::from_utf8_lossy(&bytes));
        Ok(true)
    })
}
