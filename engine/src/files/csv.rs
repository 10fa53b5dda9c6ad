//! CSV files: what they look like, and their rows.
//!
//! The delimiter, a header and the types are told from the first lines, unless they are given. A reader cuts the file into runs of whole
//! lines (quotes are looked at, nothing else); the lines of a run are parsed by whoever takes it. Line ends may differ within a file, as
//! they do in files that several programs wrote.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_sql::Type;

use super::infer::Guess;
use super::options::Options;
use super::scan::{FileReader, Piece, Wanted};
use super::{distinct, missing_column, source};
use crate::copy::file_error;
use crate::copy::lines::{Lines, Quoting, csv_fields, utf8};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ColumnBuilder;

/// Bytes of a run of lines.
const RUN_BYTES: usize = 1 << 20;
/// Bytes that are looked at, at the most, to tell what a file looks like.
const SAMPLE_BYTES: usize = 16 << 20;
/// Lines by which the delimiter is chosen.
const DIALECT_LINES: usize = 200;

/// In place of a quote: this byte is in no text.
const NO_QUOTE: u8 = 0;

/// How a file is written.
#[derive(Debug, Clone, Copy)]
struct Dialect {
    delimiter: u8,
    quoting: Quoting,
    header: bool,
}

/// A file as it is understood.
struct Shape {
    dialect: Dialect,
    columns: Vec<(String, Type)>,
}

/// The columns of a file.
pub(super) fn columns(path: &Path, options: &Options) -> Result<Vec<(String, Type)>> {
    if let (Some(columns), Some(_)) = (&options.columns, options.header) {
        return Ok(columns.clone());
    }
    Ok(shape(path, options)?.columns)
}

fn shape(path: &Path, options: &Options) -> Result<Shape> {
    let (dialect, lines) = dialect(path, options)?;
    let mut rows = Vec::with_capacity(lines.len());
    for line in &lines {
        rows.push(fields(line, dialect));
    }
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    let null = |field: &(String, bool)| !field.1 && options.nulls.contains(&field.0);
    let guess = |rows: &[Vec<(String, bool)>], at: usize| {
        rows.iter()
            .filter_map(|row| row.get(at))
            .filter(|field| !null(field))
            .fold(Guess::Null, |guess, field| guess.and(Guess::of(&field.0)))
    };
    let header = match (options.header, rows.first()) {
        (Some(header), _) => header,
        (None, None) => false,
        (None, Some(first)) => {
            let named = !first.is_empty()
                && first.iter().all(|field| !null(field) && Guess::of(&field.0) == Guess::Text)
                && distinct(first.iter().map(|f| f.0.clone())).iter().zip(first).all(|(a, b)| *a == b.0);
            // Names stand over values of another kind, or look like names and are no values.
            let typed = (0..width).any(|at| !matches!(guess(&rows[1..], at), Guess::Text | Guess::Null));
            let like_names = first.iter().enumerate().all(|(at, (name, _))| {
                name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b' ' | b'-' | b'.'))
                    && rows[1..].iter().all(|row| row.get(at).is_none_or(|value| value.0 != *name))
            });
            named && (typed || (like_names && rows.len() > 1))
        }
    };
    let dialect = Dialect { header, ..dialect };
    if let Some(columns) = &options.columns {
        return Ok(Shape { dialect, columns: columns.clone() });
    }
    let data = if header { &rows[1.min(rows.len())..] } else { &rows[..] };
    let named: Vec<String> = match (&options.names, header, rows.first()) {
        (Some(names), ..) => names.clone(),
        (None, true, Some(first)) => first.iter().map(|field| field.0.clone()).collect(),
        _ => Vec::new(),
    };
    let names = (0..width.max(named.len())).map(|at| match named.get(at) {
        Some(name) if !name.is_empty() => name.clone(),
        _ => format!("column{at}"),
    });
    let columns = distinct(names).into_iter().enumerate().map(|(at, name)| {
        let ty = if options.all_text { Type::Text } else { guess(data, at).ty() };
        (name, ty)
    });
    Ok(Shape { dialect, columns: columns.collect() })
}

/// The first lines, `skip` not among them.
fn sample(path: &Path, options: &Options, quote: u8) -> Result<Vec<String>> {
    let mut file = source::open(path)?;
    let mut lines = Lines::lenient(quoting(options, quote));
    let (mut found, mut skipped, mut read) = (Vec::new(), 0, 0);
    let mut buffer = vec![0; 64 << 10];
    while found.len() <= options.sample {
        let count = file.read(&mut buffer).map_err(|e| file_error("read", path, &e))?;
        read += count;
        lines.push(&buffer[..count]);
        while let Some((number, line)) = lines.next(count == 0)? {
            let line = if number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
            if skipped < options.skip {
                skipped += 1;
                continue;
            }
            if line.is_empty() {
                continue;
            }
            found.push(utf8(line).map_err(|e| place(e, path, number, None))?.to_string());
        }
        if count == 0 || (options.sample != usize::MAX && read > SAMPLE_BYTES) {
            break;
        }
    }
    found.truncate(options.sample.saturating_add(1));
    Ok(found)
}

fn quoting(options: &Options, quote: u8) -> Quoting {
    Quoting { quote, escape: options.escape.unwrap_or(quote) }
}

fn fields(line: &str, dialect: Dialect) -> Vec<(String, bool)> {
    let (mut all, mut scratch) = (Vec::new(), Vec::new());
    let split = csv_fields(line, dialect.delimiter, dialect.quoting, &mut scratch, |_, value, quoted| {
        all.push((value.to_string(), quoted));
        Ok(())
    });
    if split.is_err() {
        // A quote that is never closed: the reader will say so, with its line.
        all = vec![(line.to_string(), true)];
    }
    all
}

/// How the file is written, and its first lines: the delimiter that cuts most lines into equally many fields, more of them if there is a
/// choice. Quotes are taken for quotes unless the lines agree better without: files of tab-separated values have them as plain bytes.
fn dialect(path: &Path, options: &Options) -> Result<(Dialect, Vec<String>)> {
    let name = path.to_string_lossy();
    let tabs = name.contains(".tsv") || name.contains(".tab");
    let delimiters: Vec<u8> = match options.delimiter {
        Some(delimiter) => vec![delimiter],
        None if tabs => b"\t,;|".to_vec(),
        None => b",\t;|".to_vec(),
    };
    let quotes = match options.quote {
        Some(quote) => vec![quote],
        None => vec![b'"', NO_QUOTE],
    };
    let mut best: Option<((f64, usize), Dialect, Vec<String>)> = None;
    for quote in quotes {
        let lines = sample(path, options, quote)?;
        let quoting = quoting(options, quote);
        let mut chosen = ((0.0, 0), Dialect { delimiter: delimiters[0], quoting, header: false });
        for &delimiter in &delimiters {
            let dialect = Dialect { delimiter, quoting, header: false };
            let first = &lines[..lines.len().min(DIALECT_LINES)];
            let widths: Vec<usize> = first.iter().map(|line| fields(line, dialect).len()).collect();
            let width = widths.iter().copied().max().unwrap_or(1);
            let agreeing = widths.iter().filter(|w| **w == width).count() as f64 / widths.len().max(1) as f64;
            // One field a line agrees with anything.
            if width > 1 && (agreeing, width) > chosen.0 {
                chosen = ((agreeing, width), dialect);
            }
        }
        // A line that takes more than one of the file's, if quotes are quotes, must be worth it.
        if best.as_ref().is_none_or(|best| chosen.0.0 > best.0.0) {
            best = Some((chosen.0, chosen.1, lines));
        }
    }
    best.map(|(_, dialect, lines)| (dialect, lines)).ok_or_else(|| Error::internal("there is a dialect to choose"))
}

/// An error of a line, with the place it was found at.
fn place(error: Error, path: &Path, line: u64, column: Option<(&str, &str)>) -> Error {
    let place = format!("file \"{}\", line {line}", path.display());
    error.with_context(match column {
        Some((name, value)) => {
            let shown: String = value.chars().take(100).collect();
            let more = if shown.len() < value.len() { "..." } else { "" };
            format!("{place}, column {name}: \"{shown}{more}\"")
        }
        None => place,
    })
}

/// Reads one file.
pub(super) struct Reader {
    file: Box<dyn Read + Send>,
    lines: Lines,
    parser: Arc<Parser>,
    /// Lines to pass over.
    skip: usize,
    buffer: Vec<u8>,
    at_end: bool,
}

/// What the lines of a file are parsed with.
struct Parser {
    path: PathBuf,
    dialect: Dialect,
    width: usize,
    names: Vec<String>,
    /// For each field its place among the wanted columns.
    slots: Vec<Option<usize>>,
    wanted: Arc<Wanted>,
}

/// Lines: their bytes, where each ends and its number.
struct Run {
    bytes: Vec<u8>,
    ends: Vec<(usize, u64)>,
}

impl Reader {
    pub(super) fn open(path: &Path, wanted: &Arc<Wanted>) -> Result<Reader> {
        let options = &wanted.options;
        let Shape { dialect, columns } = shape(path, options)?;
        let mut slots = vec![None; columns.len()];
        for (slot, column) in wanted.columns.iter().enumerate() {
            match columns.iter().position(|(name, _)| *name == column.name) {
                Some(at) => slots[at] = Some(slot),
                None if options.union_by_name => {}
                None => return Err(missing_column(path, &column.name)),
            }
        }
        let parser = Parser {
            path: path.to_path_buf(),
            dialect,
            width: columns.len(),
            names: columns.into_iter().map(|(name, _)| name).collect(),
            slots,
            wanted: wanted.clone(),
        };
        Ok(Reader {
            file: source::open(path)?,
            lines: Lines::lenient(dialect.quoting),
            parser: Arc::new(parser),
            skip: options.skip + usize::from(dialect.header),
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
            let count = self.file.read(&mut self.buffer).map_err(|e| file_error("read", &self.parser.path, &e))?;
            self.at_end = count == 0;
            self.lines.push(&self.buffer[..count]);
            loop {
                let next = self.lines.next(self.at_end).map_err(|e| place(e, &self.parser.path, 0, None))?;
                let Some((number, line)) = next else { break };
                let line = if number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
                if line.is_empty() && (self.parser.width != 1 || self.skip > 0) {
                    continue;
                }
                if self.skip > 0 {
                    self.skip -= 1;
                    continue;
                }
                run.bytes.extend_from_slice(line);
                run.ends.push((run.bytes.len(), number));
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
        let (mut start, mut count, mut scratch) = (0, 0, Vec::new());
        for &(end, number) in &run.ends {
            let bytes = &run.bytes[start..end];
            start = end;
            let line = utf8(bytes).map_err(|e| place(e, &self.path, number, None))?;
            self.line(line, number, &mut builders, &mut scratch)?;
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

    fn line(&self, line: &str, number: u64, builders: &mut [ColumnBuilder], scratch: &mut Vec<u8>) -> Result<()> {
        let Parser { dialect, wanted, .. } = self;
        let simple = matches!(wanted.options.nulls.as_slice(), [one] if one.is_empty());
        let split = csv_fields(line, dialect.delimiter, dialect.quoting, scratch, |at, value, quoted| {
            let Some(Some(slot)) = self.slots.get(at) else { return Ok(()) };
            let builder = &mut builders[*slot];
            let null = !quoted
                && match simple {
                    true => value.is_empty(),
                    false => wanted.options.nulls.iter().any(|null| null == value),
                };
            if null {
                builder.append_null();
                return Ok(());
            }
            builder.append_text(value).map_err(|e| {
                let e = match &e.hint {
                    None if wanted.options.columns.is_none() => e.with_hint(
                        "The type was told from the first rows: give columns => '…', or sample_size => -1 to look at all.",
                    ),
                    _ => e,
                };
                place(e, &self.path, number, Some((&self.names[at], value)))
            })
        });
        let found = split.map_err(|e| place(e, &self.path, number, None))?;
        if found == self.width || (found < self.width && wanted.options.padding) {
            return Ok(());
        }
        let message = match found < self.width {
            true => format!("missing data for column \"{}\"", self.names[found]),
            false => "extra data after last expected column".to_string(),
        };
        let error = Error::new(ErrorKind::BadCopyFile, message)
            .with_detail(format!("The line has {found} fields, the file has {} columns.", self.width));
        Err(place(error, &self.path, number, None))
    }
}
