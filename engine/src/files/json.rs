//! JSON files: objects one after the other (one a line, or however they stand), or one array of them.
//!
//! A reader finds where each top-level object ends, looking at brackets and quotes alone; whoever takes a run of objects parses them with
//! `sonic-rs`, which walks an object without building it: a value is read from its own text, so that numbers keep every digit and
//! nested values are jsonb of what was written.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memchr::memchr2;
use sonic_rs::{JsonType, JsonValueTrait, LazyValue, to_array_iter, to_object_iter};
use weir_sql::Type;

use super::infer::Guess;
use super::options::Options;
use super::scan::{FileReader, Piece, Wanted};
use super::{distinct, source};
use crate::copy::file_error;
use crate::copy::lines::utf8;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{ColumnBuilder, push_element};

/// Bytes of a run of objects.
const RUN_BYTES: usize = 1 << 20;
/// Bytes that types are told from, at the most.
const SAMPLE_BYTES: usize = 16 << 20;

/// What the values of a field are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// One and the same kind of scalar.
    Scalar(Guess),
    /// Whether they are texts as well as what they look like: a date in quotes.
    Nested,
}

impl Shape {
    fn of(value: &LazyValue<'_>) -> Shape {
        Shape::Scalar(match value.get_type() {
            JsonType::Null => Guess::Null,
            JsonType::Boolean => Guess::Bool,
            JsonType::Number => Guess::of(value.as_raw_str()),
            // A number in quotes is meant as a text.
            JsonType::String => match value.as_str().map(Guess::of) {
                Some(guess @ (Guess::Date | Guess::Timestamp | Guess::Timestamptz)) => guess,
                _ => Guess::Text,
            },
            JsonType::Object | JsonType::Array => return Shape::Nested,
        })
    }

    fn and(self, other: Shape) -> Shape {
        use Guess::*;
        let (Shape::Scalar(a), Shape::Scalar(b)) = (self, other) else {
            return match (self, other) {
                (Shape::Scalar(Null), other) | (other, Shape::Scalar(Null)) => other,
                _ => Shape::Nested,
            };
        };
        match (a, b, a.and(b)) {
            // Texts of several kinds are texts; anything else that differs is kept as it was written.
            (Date | Timestamp | Timestamptz | Text, Date | Timestamp | Timestamptz | Text, both) => Shape::Scalar(both),
            (_, _, Text) => Shape::Nested,
            (_, _, both) => Shape::Scalar(both),
        }
    }

    fn ty(self) -> Type {
        match self {
            Shape::Scalar(guess) => guess.ty(),
            Shape::Nested => Type::Jsonb,
        }
    }
}

/// The columns of a file.
pub(super) fn columns(path: &Path, options: &Options) -> Result<Vec<(String, Type)>> {
    if let Some(columns) = &options.columns {
        return Ok(columns.clone());
    }
    let mut file = source::open(path)?;
    let mut objects = Objects::default();
    let mut buffer = vec![0; 64 << 10];
    let mut fields: Vec<(String, Shape)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let (mut seen, mut read) = (0, 0);
    'read: loop {
        let count = file.read(&mut buffer).map_err(|e| file_error("read", path, &e))?;
        read += count;
        objects.push(&buffer[..count]);
        while let Some((line, object)) =
            objects.next(count == 0).map_err(|wrong| place(wrong.0, path, wrong.1, None))?
        {
            for field in to_object_iter(object) {
                let (name, value) = field.map_err(|e| place(malformed(&e), path, line, None))?;
                let shape = Shape::of(&value);
                match places.get(name.as_ref() as &str) {
                    Some(&at) => fields[at].1 = fields[at].1.and(shape),
                    None => {
                        places.insert(name.to_string(), fields.len());
                        fields.push((name.to_string(), shape));
                    }
                }
            }
            seen += 1;
            if seen >= options.sample {
                break 'read;
            }
        }
        if count == 0 || (options.sample != usize::MAX && read > SAMPLE_BYTES) {
            break;
        }
    }
    let names = distinct(fields.iter().map(|(name, _)| name.clone()));
    Ok(names.into_iter().zip(fields).map(|(name, (_, shape))| (name, shape.ty())).collect())
}

fn malformed(error: &sonic_rs::Error) -> Error {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or(&text).trim_end_matches(|c: char| !c.is_alphanumeric());
    Error::new(ErrorKind::InvalidText, "invalid input syntax for type json").with_detail(format!("{text}."))
}

/// An error of an object, with the place it was found at.
fn place(error: Error, path: &Path, line: u64, column: Option<&str>) -> Error {
    let place = format!("file \"{}\", line {line}", path.display());
    error.with_context(match column {
        Some(column) => format!("{place}, column {column}"),
        None => place,
    })
}

/// An error and the line it is in.
type Wrong = Box<(Error, u64)>;

/// The line that an object begins in, and the object.
type Found<'a> = std::result::Result<Option<(u64, &'a [u8])>, Wrong>;

/// Bytes into top-level objects.
#[derive(Debug)]
struct Objects {
    buffer: Vec<u8>,
    /// Where the object that is being read begins, and its line.
    start: usize,
    /// Up to where it was looked at.
    at: usize,
    line: u64,
    first_line: u64,
    depth: usize,
    in_string: bool,
    began: bool,
    array: bool,
    ended: bool,
}

impl Default for Objects {
    fn default() -> Objects {
        Objects {
            buffer: Vec::new(),
            start: 0,
            at: 0,
            line: 1,
            first_line: 1,
            depth: 0,
            in_string: false,
            began: false,
            array: false,
            ended: false,
        }
    }
}

impl Objects {
    fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.at -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next object and the line that it begins in; `None` if there is no whole one.
    fn next(&mut self, at_end: bool) -> Found<'_> {
        if self.depth == 0 && !self.find_start()? {
            return match at_end && self.array && !self.ended {
                true => Err(Box::new((self.wrong("The array does not end."), self.line))),
                false => Ok(None),
            };
        }
        if !self.find_end() {
            return match at_end {
                true => Err(Box::new((self.wrong("The object does not end."), self.first_line))),
                false => Ok(None),
            };
        }
        let start = std::mem::replace(&mut self.start, self.at);
        Ok(Some((self.first_line, &self.buffer[start..self.at])))
    }

    fn wrong(&self, detail: &str) -> Error {
        Error::new(ErrorKind::InvalidText, "invalid input syntax for type json").with_detail(detail)
    }

    /// Passes over what stands between objects; whether one begins.
    fn find_start(&mut self) -> std::result::Result<bool, Wrong> {
        while let Some(&byte) = self.buffer.get(self.at) {
            match byte {
                b'\n' => self.line += 1,
                b' ' | b'\t' | b'\r' => {}
                // A byte order mark.
                0xef | 0xbb | 0xbf if !self.began => {}
                b',' if self.array && !self.ended => {}
                b'[' if !self.began => (self.began, self.array) = (true, true),
                b']' if self.array && !self.ended => self.ended = true,
                b'{' if !self.ended => {
                    self.began = true;
                    self.start = self.at;
                    self.first_line = self.line;
                    return Ok(true);
                }
                _ => return Err(Box::new((self.wrong("An object is expected here."), self.line))),
            }
            self.at += 1;
        }
        self.start = self.at;
        Ok(false)
    }

    /// Goes on to the end of the object; whether it is there.
    fn find_end(&mut self) -> bool {
        loop {
            if self.in_string {
                let Some(offset) = memchr2(b'"', b'\\', &self.buffer[self.at..]) else {
                    self.at = self.buffer.len();
                    return false;
                };
                self.at += offset;
                if self.buffer[self.at] == b'\\' {
                    if self.at + 1 >= self.buffer.len() {
                        return false;
                    }
                    self.at += 2;
                    continue;
                }
                self.in_string = false;
                self.at += 1;
            }
            let Some(&byte) = self.buffer.get(self.at) else { return false };
            self.at += 1;
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return true;
                    }
                }
                b'\n' => self.line += 1,
                _ => {}
            }
        }
    }
}

/// Reads one file.
pub(super) struct Reader {
    file: Box<dyn Read + Send>,
    objects: Objects,
    parser: Arc<Parser>,
    buffer: Vec<u8>,
    at_end: bool,
}

struct Parser {
    path: PathBuf,
    places: HashMap<String, usize>,
    wanted: Arc<Wanted>,
}

/// Objects: their bytes, where each ends and the line it begins in.
struct Run {
    bytes: Vec<u8>,
    ends: Vec<(usize, u64)>,
}

impl Reader {
    pub(super) fn open(path: &Path, wanted: &Arc<Wanted>) -> Result<Reader> {
        let places = wanted.columns.iter().enumerate().map(|(at, c)| (c.name.clone(), at)).collect();
        Ok(Reader {
            file: source::open(path)?,
            objects: Objects::default(),
            parser: Arc::new(Parser { path: path.to_path_buf(), places, wanted: wanted.clone() }),
            buffer: vec![0; 256 << 10],
            at_end: false,
        })
    }
}

impl FileReader for Reader {
    fn claim(&mut self) -> Result<Option<Piece>> {
        let mut run = Run { bytes: Vec::with_capacity(RUN_BYTES), ends: Vec::new() };
        while !self.at_end && run.bytes.len() < RUN_BYTES {
            self.parser.wanted.cancel.check()?;
            let path = &self.parser.path;
            let count = self.file.read(&mut self.buffer).map_err(|e| file_error("read", path, &e))?;
            self.at_end = count == 0;
            self.objects.push(&self.buffer[..count]);
            while let Some((line, object)) =
                self.objects.next(self.at_end).map_err(|wrong| place(wrong.0, path, wrong.1, None))?
            {
                run.bytes.extend_from_slice(object);
                run.ends.push((run.bytes.len(), line));
            }
        }
        if run.ends.is_empty() {
            return Ok(None);
        }
        let parser = self.parser.clone();
        Ok(Some(Box::new(move |emit| parser.parse(&run, emit))))
    }
}

impl Parser {
    fn parse(&self, run: &Run, emit: &mut dyn FnMut(super::scan::Columns) -> Result<()>) -> Result<()> {
        let wanted = &self.wanted;
        let rows = wanted.batch_rows.min(run.ends.len());
        let builder = |c: &weir_sql::plan::OutputColumn| ColumnBuilder::new(&c.ty, rows, &wanted.context);
        let mut builders: Vec<ColumnBuilder> = wanted.columns.iter().map(builder).collect();
        // Objects mostly have their fields in one order: the column of each field of the last object.
        let mut order: Vec<(String, Option<usize>)> = Vec::new();
        let (mut start, mut count) = (0, 0);
        for &(end, line) in &run.ends {
            let object = utf8(&run.bytes[start..end]).map_err(|e| place(e, &self.path, line, None))?;
            start = end;
            for (position, field) in to_object_iter(object).enumerate() {
                let (name, value) = field.map_err(|e| place(malformed(&e), &self.path, line, None))?;
                let name: &str = name.as_ref();
                let at = match order.get(position) {
                    Some((known, at)) if known == name => *at,
                    _ => {
                        let at = self.places.get(name).copied();
                        order.truncate(position);
                        order.push((name.to_string(), at));
                        at
                    }
                };
                // Of fields of the same name the first counts.
                let Some(at) = at.filter(|at| builders[*at].len() == count) else { continue };
                append(&mut builders[at], &value).map_err(|e| {
                    let e = match &e.hint {
                        None if wanted.options.columns.is_none() => e.with_hint(
                            "The type was told from the first objects: give columns => '…', or sample_size => -1 to look at all.",
                        ),
                        _ => e,
                    };
                    place(e, &self.path, line, Some(&wanted.columns[at].name))
                })?;
            }
            count += 1;
            for builder in builders.iter_mut().filter(|builder| builder.len() < count) {
                builder.append_null();
            }
            if count == wanted.batch_rows {
                emit((builders.iter_mut().map(ColumnBuilder::finish).collect(), std::mem::take(&mut count)))?;
            }
        }
        if count > 0 {
            emit((builders.iter_mut().map(ColumnBuilder::finish).collect(), count))?;
        }
        Ok(())
    }
}

/// A JSON value as one of a column.
fn append(builder: &mut ColumnBuilder, value: &LazyValue<'_>) -> Result<()> {
    let raw = value.as_raw_str();
    match (builder.ty(), value.get_type()) {
        (_, JsonType::Null) => {
            builder.append_null();
            Ok(())
        }
        (Type::Json | Type::Jsonb | Type::Map(_), _) => builder.append_text(raw),
        (Type::Array(_), JsonType::Array) => {
            let mut text = String::with_capacity(raw.len());
            array_text(raw, &mut text)?;
            builder.append_text(&text)
        }
        (_, JsonType::String) => match value.as_str() {
            Some(text) => builder.append_text(text),
            None => Err(Error::new(ErrorKind::InvalidText, "invalid input syntax for type json")),
        },
        _ => builder.append_text(raw),
    }
}

/// A JSON array as PostgreSQL writes an array's text.
fn array_text(raw: &str, out: &mut String) -> Result<()> {
    out.push('{');
    for (at, item) in to_array_iter(raw).enumerate() {
        let item = item.map_err(|e| malformed(&e))?;
        if at > 0 {
            out.push(',');
        }
        let text = item.as_raw_str();
        match item.get_type() {
            JsonType::Null => out.push_str("NULL"),
            JsonType::Array => array_text(text, out)?,
            JsonType::Boolean | JsonType::Number => out.push_str(text),
            JsonType::String | JsonType::Object => {
                push_element(out, item.as_str().unwrap_or(text));
            }
        }
    }
    out.push('}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(data: &str, piece: usize) -> std::result::Result<Vec<(u64, String)>, String> {
        let mut objects = Objects::default();
        let mut found = Vec::new();
        let pieces: Vec<&[u8]> = data.as_bytes().chunks(piece).chain([&b""[..]]).collect();
        for (at, bytes) in pieces.iter().enumerate() {
            objects.push(bytes);
            let end = at + 1 == pieces.len();
            while let Some((line, object)) = objects.next(end).map_err(|wrong| wrong.0.detail.unwrap_or_default())? {
                found.push((line, String::from_utf8_lossy(object).into_owned()));
            }
        }
        Ok(found)
    }

    #[test]
    fn objects_however_they_stand() {
        let expected = [(1, "{\"a\":1}".to_string()), (2, "{\"b\":\n[\"}\\\"\"]}".to_string()), (4, "{}".to_string())];
        for data in [
            "{\"a\":1}\n{\"b\":\n[\"}\\\"\"]}\n{}\n",
            "[{\"a\":1},\n{\"b\":\n[\"}\\\"\"]}\n,{}]\n",
            "\u{feff}{\"a\":1}\n {\"b\":\n[\"}\\\"\"]} \n{}",
        ] {
            for piece in 1..data.len() {
                assert_eq!(objects(data, piece).expect(data), expected, "{data:?} by {piece}");
            }
        }
        assert_eq!(objects("{\"a\":", 2), Err("The object does not end.".into()));
        assert_eq!(objects("[{}", 2), Err("The array does not end.".into()));
        assert_eq!(objects("{} 7", 2), Err("An object is expected here.".into()));
        assert_eq!(objects(" \n", 1), Ok(vec![]));
    }

    #[test]
    fn an_array_has_postgres_text() {
        let mut out = String::new();
        array_text(r#"[1, null, "a\"b,é", [true], {"x": 1}]"#, &mut out).expect("an array");
        assert_eq!(out, r#"{1,NULL,"a\"b,é",{true},"{\"x\": 1}"}"#);
    }
}
