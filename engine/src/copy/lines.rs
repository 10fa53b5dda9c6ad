//! Bytes of text and CSV into lines, as PostgreSQL's COPY finds them.
//!
//! The first line's end decides what ends all of them (`\n`, `\r` or `\r\n`); another kind later is an error, since it is more likely
//! data that was not escaped. In text a backslash takes its next byte along, whatever that is; in CSV line ends inside quotes are
//! data. `\.` on a line of its own ends the data. Bytes may come in any pieces: what is not a whole line waits.

use memchr::{memchr, memchr3};

use crate::error::{Error, ErrorKind, Result};

/// The longest line, as in PostgreSQL, whose strings end at a gigabyte.
const LINE_BYTES_MAX: usize = 0x3fff_fffe;

/// What ends a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Unknown,
    Newline,
    Return,
    Both,
}

/// How CSV quotes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quoting {
    /// QUOTE
    pub(crate) quote: u8,
    /// ESCAPE
    pub(crate) escape: u8,
}

/// Takes bytes, gives lines.
#[derive(Debug)]
pub(crate) struct Lines {
    buffer: Vec<u8>,
    /// Where the line that is being read begins.
    start: usize,
    /// Up to where it was looked at.
    at: usize,
    csv: Option<Quoting>,
    /// `\n` ends a line, with or without `\r` before it, and there is no end marker.
    lenient: bool,
    in_quotes: bool,
    end: LineEnd,
    /// The number of the line that was given last; in CSV line ends inside quotes count, as in an editor.
    line: u64,
    /// Whether the line that is being read is counted already.
    counted: bool,
    finished: bool,
}

/// What one look at the buffer found.
enum Found {
    /// A line up to here, and where the next begins.
    Line(usize, usize),
    /// `\.`: the data ends here; what is before it in its line is the last line.
    Marker(usize),
    /// There is no whole line.
    More,
}

impl Lines {
    /// Of text, or of CSV.
    pub(crate) fn new(csv: Option<Quoting>) -> Lines {
        Lines {
            buffer: Vec::new(),
            start: 0,
            at: 0,
            csv,
            lenient: false,
            in_quotes: false,
            end: LineEnd::Unknown,
            line: 0,
            counted: false,
            finished: false,
        }
    }

    /// Of a CSV file of any origin.
    pub(crate) fn lenient(quoting: Quoting) -> Lines {
        Lines { lenient: true, end: LineEnd::Newline, ..Lines::new(Some(quoting)) }
    }

    /// Adds bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.finished {
            return;
        }
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.at -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next line, without its end, and its number; `None` if there is no whole one. At the end of the data what is left is a line.
    pub(crate) fn next(&mut self, at_end: bool) -> Result<Option<(u64, &[u8])>> {
        if self.finished {
            return Ok(None);
        }
        let start = self.start;
        if !self.counted && start < self.buffer.len() {
            self.counted = true;
            self.line += 1;
        }
        let found = match self.csv {
            None => self.find_text(at_end)?,
            Some(quoting) => self.find_csv(quoting, at_end)?,
        };
        match found {
            Found::Line(end, next) => {
                let returned = self.lenient && end > start && self.buffer[end - 1] == b'\r';
                let end = end - usize::from(returned);
                (self.start, self.at) = (next, next);
                self.counted = false;
                Ok(Some((self.line, &self.buffer[start..end])))
            }
            Found::Marker(end) => {
                self.finished = true;
                Ok((end > start).then(|| (self.line, &self.buffer[start..end])))
            }
            Found::More if at_end => {
                self.finished = true;
                let rest = &self.buffer[start..];
                let rest = if self.lenient { rest.strip_suffix(b"\r").unwrap_or(rest) } else { rest };
                Ok((!rest.is_empty()).then_some((self.line, rest)))
            }
            Found::More if self.buffer.len() - start > LINE_BYTES_MAX => {
                Err(Error::new(ErrorKind::ProgramLimit, "a line of COPY data is longer than 1 GB"))
            }
            Found::More => Ok(None),
        }
    }

    /// The number of the line given last, or in which an error was found; from 1.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    fn find_text(&mut self, at_end: bool) -> Result<Found> {
        loop {
            let Some(offset) = memchr3(b'\n', b'\r', b'\\', &self.buffer[self.at..]) else {
                self.at = self.buffer.len();
                return Ok(Found::More);
            };
            self.at += offset;
            match self.buffer[self.at] {
                b'\\' => match self.buffer.get(self.at + 1) {
                    None => return Ok(Found::More),
                    Some(b'.') => return self.marker(at_end),
                    Some(_) => self.at += 2,
                },
                _ => return self.line_end(at_end),
            }
        }
    }

    fn find_csv(&mut self, quoting: Quoting, at_end: bool) -> Result<Found> {
        let Quoting { quote, escape } = quoting;
        loop {
            let rest = &self.buffer[self.at..];
            if self.in_quotes {
                // A line end in quotes is counted as PostgreSQL does: the byte that ends a line here.
                let counted = if self.end == LineEnd::Newline { b'\n' } else { b'\r' };
                let Some(offset) = memchr3(quote, escape, counted, rest) else {
                    self.at = self.buffer.len();
                    return Ok(Found::More);
                };
                let byte = rest[offset];
                if byte == escape && escape != quote {
                    match rest.get(offset + 1) {
                        None => {
                            self.at += offset;
                            return Ok(Found::More);
                        }
                        Some(next) if *next == quote || *next == escape => self.at += offset + 2,
                        Some(_) => self.at += offset + 1,
                    }
                    continue;
                }
                self.in_quotes = byte != quote;
                self.line += u64::from(byte == counted);
                self.at += offset + 1;
                continue;
            }
            if !self.lenient && self.at == self.start && rest.first() == Some(&b'\\') {
                match rest.get(1) {
                    None => return Ok(Found::More),
                    Some(b'.') => match self.csv_marker(at_end)? {
                        Some(found) => return Ok(found),
                        None => self.at += 2,
                    },
                    Some(_) => self.at += 1,
                }
                continue;
            }
            let found = match self.lenient {
                true => memchr::memchr2(b'\n', quote, rest),
                false => memchr3(b'\n', b'\r', quote, rest),
            };
            let Some(offset) = found else {
                self.at = self.buffer.len();
                return Ok(Found::More);
            };
            self.at += offset;
            if self.buffer[self.at] != quote {
                return self.line_end(at_end);
            }
            self.in_quotes = true;
            self.at += 1;
        }
    }

    /// A line end at `at`.
    fn line_end(&mut self, at_end: bool) -> Result<Found> {
        let at = self.at;
        if self.buffer[at] == b'\n' {
            if matches!(self.end, LineEnd::Return | LineEnd::Both) {
                return Err(self.unexpected_end("newline", "\\n"));
            }
            self.end = LineEnd::Newline;
            return Ok(Found::Line(at, at + 1));
        }
        match self.end {
            LineEnd::Newline => Err(self.unexpected_end("carriage return", "\\r")),
            LineEnd::Return => Ok(Found::Line(at, at + 1)),
            LineEnd::Unknown | LineEnd::Both => match self.buffer.get(at + 1) {
                None if !at_end => Ok(Found::More),
                Some(b'\n') => {
                    self.end = LineEnd::Both;
                    Ok(Found::Line(at, at + 2))
                }
                _ if self.end == LineEnd::Both => Err(self.unexpected_end("carriage return", "\\r")),
                _ => {
                    self.end = LineEnd::Return;
                    Ok(Found::Line(at, at + 1))
                }
            },
        }
    }

    fn unexpected_end(&self, what: &str, escaped: &str) -> Error {
        match self.csv {
            None => Error::new(ErrorKind::BadCopyFile, format!("literal {what} found in data"))
                .with_hint(format!("Use \"{escaped}\" to represent {what}.")),
            Some(_) => Error::new(ErrorKind::BadCopyFile, format!("unquoted {what} found in data"))
                .with_hint(format!("Use quoted CSV field to represent {what}.")),
        }
    }

    /// `\.` at `at`, in text: it must end its line, and as all lines end.
    fn marker(&mut self, at_end: bool) -> Result<Found> {
        let corrupt = |message: &str| Err(Error::new(ErrorKind::BadCopyFile, message));
        const STYLE: &str = "end-of-copy marker does not match previous newline style";
        let mut next = self.at + 2;
        if self.end == LineEnd::Both {
            match self.buffer.get(next) {
                None if !at_end => return Ok(Found::More),
                Some(b'\r') => next += 1,
                Some(b'\n') => return corrupt(STYLE),
                _ => return corrupt("end-of-copy marker corrupt"),
            }
        }
        match (self.buffer.get(next), self.end) {
            (None, _) if !at_end => Ok(Found::More),
            (Some(b'\n'), LineEnd::Return) => corrupt(STYLE),
            (Some(b'\r'), LineEnd::Newline | LineEnd::Both) => corrupt(STYLE),
            (Some(b'\n' | b'\r'), _) => Ok(Found::Marker(self.at)),
            _ => corrupt("end-of-copy marker corrupt"),
        }
    }

    /// The same at the start of a line of CSV, where everything but a whole marker is data: `None`.
    fn csv_marker(&mut self, at_end: bool) -> Result<Option<Found>> {
        let mut next = self.at + 2;
        if self.end == LineEnd::Both {
            match self.buffer.get(next) {
                None if !at_end => return Ok(Some(Found::More)),
                Some(b'\r') => next += 1,
                _ => return Ok(None),
            }
        }
        match (self.buffer.get(next), self.end) {
            (None, _) if !at_end => Ok(Some(Found::More)),
            (Some(b'\n'), LineEnd::Return) | (Some(b'\r'), LineEnd::Newline | LineEnd::Both) => {
                let message = "end-of-copy marker does not match previous newline style";
                Err(Error::new(ErrorKind::BadCopyFile, message))
            }
            (Some(b'\n' | b'\r'), _) => Ok(Some(Found::Marker(self.at))),
            _ => Ok(None),
        }
    }
}

/// The fields of a line of text, escapes resolved; NULL is `None`. `each` is given the field's number.
pub(crate) fn text_fields(
    line: &str,
    delimiter: u8,
    null: &str,
    scratch: &mut Vec<u8>,
    mut each: impl FnMut(usize, Option<&str>) -> Result<()>,
) -> Result<usize> {
    let bytes = line.as_bytes();
    let (mut number, mut start) = (0, 0);
    loop {
        let end = memchr::memchr2(delimiter, b'\\', &bytes[start..]).map_or(bytes.len(), |offset| start + offset);
        let next = if bytes.get(end) == Some(&b'\\') {
            scratch.clear();
            let (end, checked) = unescape(bytes, start, end, delimiter, scratch);
            let raw = &line[start..end];
            if raw == null {
                each(number, None)?;
            } else if checked {
                each(number, Some(utf8(scratch)?))?;
            } else {
                // No escape gave a byte that is not ASCII, and the line is UTF-8.
                each(number, Some(std::str::from_utf8(scratch).map_err(|e| Error::internal(e.to_string()))?))?;
            }
            end
        } else {
            let raw = &line[start..end];
            each(number, (raw != null).then_some(raw))?;
            end
        };
        number += 1;
        if next >= bytes.len() {
            return Ok(number);
        }
        start = next + 1;
    }
}

/// Resolves escapes from `start` to the delimiter, the first of them at `at`. Where the field ends, and whether the result must be checked
/// to be text.
fn unescape(line: &[u8], start: usize, mut at: usize, delimiter: u8, out: &mut Vec<u8>) -> (usize, bool) {
    let mut from = start;
    let mut checked = false;
    loop {
        match line.get(at) {
            None => break,
            Some(byte) if *byte == delimiter => break,
            Some(b'\\') => {}
            Some(_) => {
                at += 1;
                continue;
            }
        }
        out.extend_from_slice(&line[from..at]);
        at += 1;
        let Some(&escaped) = line.get(at) else {
            // A backslash that ends the line is nothing.
            from = at;
            break;
        };
        at += 1;
        let digits = |at: usize, most: usize, is: fn(u8) -> bool| {
            line[at..].iter().take(most).take_while(|byte| is(**byte)).count()
        };
        match escaped {
            b'0'..=b'7' => {
                let count = digits(at, 2, |b| matches!(b, b'0'..=b'7'));
                let octal = line[at - 1..at + count].iter().fold(0u32, |n, b| n * 8 + u32::from(b - b'0'));
                at += count;
                let byte = octal as u8;
                checked |= byte == 0 || byte >= 0x80;
                out.push(byte);
            }
            b'x' => {
                let count = digits(at, 2, |b| b.is_ascii_hexdigit());
                if count == 0 {
                    out.push(b'x');
                } else {
                    let hex = line[at..at + count]
                        .iter()
                        .fold(0u32, |n, b| n * 16 + char::from(*b).to_digit(16).unwrap_or_default());
                    at += count;
                    checked |= hex == 0 || hex >= 0x80;
                    out.push(hex as u8);
                }
            }
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'v' => out.push(11),
            other => out.push(other),
        }
        from = at;
    }
    out.extend_from_slice(&line[from..at]);
    (at, checked)
}

/// The fields of a line of CSV, with whether any part of them was quoted.
pub(crate) fn csv_fields(
    line: &str,
    delimiter: u8,
    quoting: Quoting,
    scratch: &mut Vec<u8>,
    mut each: impl FnMut(usize, &str, bool) -> Result<()>,
) -> Result<usize> {
    let Quoting { quote, escape } = quoting;
    let bytes = line.as_bytes();
    let (mut number, mut start) = (0, 0);
    loop {
        let end = memchr::memchr2(delimiter, quote, &bytes[start..]).map_or(bytes.len(), |offset| start + offset);
        if bytes.get(end) != Some(&quote) {
            each(number, &line[start..end], false)?;
            number += 1;
            if end >= bytes.len() {
                return Ok(number);
            }
            start = end + 1;
            continue;
        }
        // The usual quoted field: quotes around all of it and none inside.
        if end == start
            && let Some(length) = memchr(quote, &bytes[start + 1..])
            && (escape == quote || memchr(escape, &bytes[start + 1..start + 1 + length]).is_none())
        {
            let close = start + 1 + length;
            match bytes.get(close + 1) {
                None => {
                    each(number, &line[start + 1..close], true)?;
                    return Ok(number + 1);
                }
                Some(byte) if *byte == delimiter => {
                    each(number, &line[start + 1..close], true)?;
                    number += 1;
                    start = close + 2;
                    continue;
                }
                Some(_) => {}
            }
        }
        scratch.clear();
        let end = unquote(bytes, start, delimiter, quoting, scratch)?;
        // Quotes, escapes and delimiters are ASCII: without them the field is text as the line is.
        let text = std::str::from_utf8(scratch).map_err(|e| Error::internal(e.to_string()))?;
        each(number, text, true)?;
        number += 1;
        if end >= bytes.len() {
            return Ok(number);
        }
        start = end + 1;
    }
}

fn unquote(line: &[u8], mut at: usize, delimiter: u8, quoting: Quoting, out: &mut Vec<u8>) -> Result<usize> {
    let Quoting { quote, escape } = quoting;
    let mut quoted = false;
    loop {
        let Some(&byte) = line.get(at) else {
            return match quoted {
                false => Ok(at),
                true => Err(Error::new(ErrorKind::BadCopyFile, "unterminated CSV quoted field")),
            };
        };
        if !quoted {
            if byte == delimiter {
                return Ok(at);
            }
            at += 1;
            if byte == quote {
                quoted = true;
            } else {
                out.push(byte);
            }
            continue;
        }
        at += 1;
        if byte == escape
            && let Some(&next) = line.get(at)
            && (next == escape || next == quote)
        {
            out.push(next);
            at += 1;
        } else if byte == quote {
            quoted = false;
        } else {
            out.push(byte);
        }
    }
}

/// Bytes as text, or 22021.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str> {
    crate::format::utf8(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(data: &[u8], csv: bool, piece: usize) -> Result<Vec<String>> {
        let quoting = csv.then_some(Quoting { quote: b'"', escape: b'"' });
        let mut lines = Lines::new(quoting);
        let mut found = Vec::new();
        for bytes in data.chunks(piece) {
            lines.push(bytes);
            while let Some((_, line)) = lines.next(false)? {
                found.push(String::from_utf8_lossy(line).into_owned());
            }
        }
        while let Some((_, line)) = lines.next(true)? {
            found.push(String::from_utf8_lossy(line).into_owned());
        }
        Ok(found)
    }

    #[test]
    fn lines_do_not_depend_on_how_bytes_arrive() {
        for (data, csv, expected) in [
            ("a\nb\n", false, vec!["a", "b"]),
            ("a\r\nb\r\n", false, vec!["a", "b"]),
            ("a\rb", false, vec!["a", "b"]),
            ("a\\\nb\nc", false, vec!["a\\\nb", "c"]),
            ("a\n\n\\.\nrest", false, vec!["a", ""]),
            ("a\\.\nrest", false, vec!["a"]),
            ("\"a\nb\",c\nd\n", true, vec!["\"a\nb\",c", "d"]),
            ("\"a\"\"\n\",c\n\\.\nd\n", true, vec!["\"a\"\"\n\",c"]),
            ("\\.x\n", true, vec!["\\.x"]),
        ] {
            for piece in 1..=data.len() {
                assert_eq!(lines(data.as_bytes(), csv, piece).expect(data), expected, "{data:?} by {piece}");
            }
        }
    }

    #[test]
    fn another_line_end_than_the_first_is_refused() {
        for (data, csv, message) in [
            ("a\nb\rc\n", false, "literal carriage return found in data"),
            ("a\r\nb\nc\n", false, "literal newline found in data"),
            ("a\r\nb\rc", true, "unquoted carriage return found in data"),
            ("a\rb\nc", true, "unquoted newline found in data"),
            ("a\n\\.b\n", false, "end-of-copy marker corrupt"),
            ("a\r\n\\.\n", false, "end-of-copy marker does not match previous newline style"),
        ] {
            for piece in 1..=data.len() {
                let error = lines(data.as_bytes(), csv, piece).expect_err(data);
                assert_eq!((error.kind, error.message.as_str()), (ErrorKind::BadCopyFile, message), "{data:?}");
            }
        }
    }

    #[test]
    fn escapes_of_text() {
        let fields = |line: &str| {
            let (mut scratch, mut all) = (Vec::new(), Vec::new());
            text_fields(line, b'\t', "\\N", &mut scratch, |_, field| {
                all.push(field.map(str::to_string));
                Ok(())
            })
            .map(|_| all)
        };
        let some = |texts: &[&str]| texts.iter().map(|t| Some(t.to_string())).collect::<Vec<_>>();
        assert_eq!(fields("a\\tb\t\\\\\t\\x41\\102\\q").unwrap(), some(&["a\tb", "\\", "ABq"]));
        assert_eq!(fields("a\\\tb\té\\n").unwrap(), some(&["a\tb", "é\n"]));
        assert_eq!(fields("\\N\t\\\\N\t").unwrap(), [None, Some("\\N".into()), Some(String::new())]);
        assert_eq!(fields("\\303\\251").unwrap(), some(&["é"]));
        assert_eq!(fields("\\xff").unwrap_err().kind, ErrorKind::CharacterNotInRepertoire);
        assert_eq!(fields("\\0").unwrap_err().kind, ErrorKind::CharacterNotInRepertoire);
    }

    #[test]
    fn quotes_of_csv() {
        let fields = |line: &str, escape| {
            let (mut scratch, mut all) = (Vec::new(), Vec::new());
            csv_fields(line, b',', Quoting { quote: b'"', escape }, &mut scratch, |_, field, quoted| {
                all.push((field.to_string(), quoted));
                Ok(())
            })
            .map(|_| all)
        };
        let plain = |text: &str| (text.to_string(), false);
        let quoted = |text: &str| (text.to_string(), true);
        assert_eq!(fields("a,\"b\",", b'"').unwrap(), [plain("a"), quoted("b"), plain("")]);
        assert_eq!(fields("\"a\"\"b\",c\"d,e\"f", b'"').unwrap(), [quoted("a\"b"), quoted("cd,ef")]);
        assert_eq!(fields("\"a\\\"b\\\\\",\"c\\d\"", b'\\').unwrap(), [quoted("a\"b\\"), quoted("c\\d")]);
        assert_eq!(fields("\"a", b'"').unwrap_err().message, "unterminated CSV quoted field");
    }
}
