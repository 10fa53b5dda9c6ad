//! COPY FROM: bytes to rows of a table.
//!
//! Each column of the data has a [`ColumnBuilder`]; once some thousand rows are there they become a batch, whose other columns are the
//! defaults, and go to the statement's [`Writer`], which turns what is much into parts. Nothing is kept per row, and no more bytes
//! are held than a batch and one line. An error carries PostgreSQL's CONTEXT: `COPY t, line 3, column a: "x"`.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use weir_sql::plan::Expr;
use weir_sql::statement::{CopyFormat, CopyHeader, CopyOptions};

use super::binary::Tuples;
use super::lines::{self, Lines, Quoting};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::{self, QueryContext};
use crate::format::ColumnBuilder;
use crate::statement::writer::{Base, Writer};
use crate::transaction::Pending;

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;
/// Bytes of a batch's data.
const BATCH_BYTES: usize = 8 << 20;
/// How much of a value or line a CONTEXT shows, as in PostgreSQL.
const SHOWN_BYTES: usize = 100;

/// The inward side of one COPY.
pub(crate) struct Input {
    source: Source,
    rows: Rows,
    /// Whether all data has become rows.
    ended: bool,
}

/// Bytes that are not rows yet.
enum Source {
    Text(Lines),
    Csv(Lines, Quoting),
    Binary(Tuples),
}

/// A column of the data.
pub(crate) struct Field {
    /// Its place in the table.
    pub(crate) column: usize,
    pub(crate) name: String,
    pub(crate) nullable: bool,
    pub(crate) builder: ColumnBuilder,
    force_not_null: bool,
    force_null: bool,
}

/// A field as the data has it.
enum Raw<'a> {
    /// Of text.
    Text(Option<&'a str>),
    /// Of CSV, and whether it was quoted.
    Csv(&'a str, bool),
}

/// Rows in the making.
struct Rows {
    relation: String,
    options: CopyOptions,
    fields: Vec<Field>,
    /// For each column that is not in the data: its default, or none.
    defaults: Vec<Option<Expr>>,
    width: usize,
    /// Whether a column that is not in the data has neither a default nor admits NULL: every row fails.
    always_fails: bool,
    count: usize,
    bytes: usize,
    scratch: Vec<u8>,
    header: bool,
    writer: Writer,
    context: Arc<QueryContext>,
}

impl Input {
    /// For rows of these columns of the writer's table.
    pub(crate) fn new(
        writer: Writer,
        columns: &[usize],
        defaults: &[Option<Expr>],
        options: &CopyOptions,
        context: Arc<QueryContext>,
    ) -> Result<Input> {
        let quoting = Quoting { quote: options.quote, escape: options.escape };
        let source = match options.format {
            CopyFormat::Text => Source::Text(Lines::new(None)),
            CopyFormat::Csv => Source::Csv(Lines::new(Some(quoting)), quoting),
            CopyFormat::Binary => Source::Binary(Tuples::default()),
            CopyFormat::Parquet | CopyFormat::Json => return Err(Error::internal("COPY of this format is a query")),
        };
        let entry = writer.target().entry.clone();
        let table = &entry.relation.columns;
        let forced = |list: &[String], what: &str| -> Result<Vec<bool>> { forced(list, columns, table, what) };
        let not_null = forced(&options.force_not_null, "NOT NULL")?;
        let null = forced(&options.force_null, "NULL")?;
        let fields = columns
            .iter()
            .zip(not_null.into_iter().zip(null))
            .map(|(&column, (force_not_null, force_null))| Field {
                column,
                name: table[column].name.clone(),
                nullable: table[column].nullable,
                builder: ColumnBuilder::new(&table[column].ty, BATCH_ROWS, &context.functions),
                force_not_null,
                force_null,
            })
            .collect();
        let missing = |at: usize| !columns.contains(&at) && defaults[at].is_none() && !table[at].nullable;
        Ok(Input {
            source,
            rows: Rows {
                relation: entry.def.name.clone(),
                options: options.clone(),
                fields,
                defaults: defaults.to_vec(),
                width: table.len(),
                always_fails: (0..table.len()).any(missing),
                count: 0,
                bytes: 0,
                scratch: Vec::new(),
                header: options.header != CopyHeader::No,
                writer,
                context,
            },
            ended: false,
        })
    }

    /// Takes the next bytes, cut anywhere.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.rows.context.cancel.check()?;
        match &mut self.source {
            Source::Text(lines) | Source::Csv(lines, _) => lines.push(bytes),
            Source::Binary(tuples) => tuples.push(bytes),
        }
        self.take(false)
    }

    /// The data has ended: its rows become changes of a transaction. How many there were.
    pub(crate) fn finish(&mut self, pending: &mut Pending) -> Result<u64> {
        if !std::mem::replace(&mut self.ended, true) {
            self.take(true)?;
            self.rows.flush()?;
        }
        Ok(self.rows.writer.finish(pending)?.count)
    }

    /// Lets the COPY see this instead, if its rows are still at hand: see [`Writer::see`].
    pub(crate) fn see(&mut self, base: Base) -> Result<bool> {
        self.rows.writer.see(base)
    }

    fn take(&mut self, at_end: bool) -> Result<()> {
        let rows = &mut self.rows;
        match &mut self.source {
            Source::Text(lines) => rows.take_lines(lines, None, at_end),
            Source::Csv(lines, quoting) => rows.take_lines(lines, Some(*quoting), at_end),
            Source::Binary(tuples) => loop {
                let taken = tuples.next(&mut rows.fields, at_end).map_err(|wrong| {
                    let (error, column) = *wrong;
                    let place = format!("COPY {}, line {}", rows.relation, tuples.line());
                    match column {
                        Some(column) => error.with_context(format!("{place}, column {}", rows.fields[column].name)),
                        // Before the first row there is no place to name.
                        None if tuples.line() == 0 => error,
                        None => error.with_context(place),
                    }
                })?;
                let Some((bytes, has_null)) = taken else { return Ok(()) };
                let place = || format!("COPY {}, line {}", rows.relation, tuples.line());
                let context = (has_null || rows.always_fails).then(place);
                rows.end_row(bytes, context)?;
            },
        }
    }
}

/// For each column of the data whether it is in an option's list.
fn forced(
    list: &[String],
    columns: &[usize],
    table: &[weir_sql::catalog::ColumnInfo],
    what: &str,
) -> Result<Vec<bool>> {
    for name in list.iter().filter(|name| *name != "*") {
        let Some(at) = table.iter().position(|column| column.name == *name) else {
            let kind = ErrorKind::Sql(weir_sql::ErrorKind::UndefinedColumn);
            return Err(Error::new(kind, format!("column \"{name}\" does not exist")));
        };
        if !columns.contains(&at) {
            let kind = ErrorKind::Sql(weir_sql::ErrorKind::InvalidColumnReference);
            return Err(Error::new(
                kind,
                format!("FORCE_{} column \"{name}\" not referenced by COPY", what.replace(' ', "_")),
            ));
        }
    }
    let all = list.iter().any(|name| name == "*");
    Ok(columns.iter().map(|&at| all || list.contains(&table[at].name)).collect())
}

impl Rows {
    fn take_lines(&mut self, lines: &mut Lines, csv: Option<Quoting>, at_end: bool) -> Result<()> {
        loop {
            let (number, line) = match lines.next(at_end) {
                Ok(Some(next)) => next,
                Ok(None) => return Ok(()),
                Err(error) => {
                    let place = format!("COPY {}, line {}", self.relation, lines.line());
                    return Err(error.with_context(place));
                }
            };
            let line =
                lines::utf8(line).map_err(|e| e.with_context(format!("COPY {}, line {number}", self.relation)))?;
            if !std::mem::take(&mut self.header) {
                self.row(line, csv, number)?;
            } else if self.options.header == CopyHeader::Match {
                let checked = self.check_header(line, csv);
                checked.map_err(|e| e.with_context(self.place(number, line)))?;
            }
        }
    }

    fn place(&self, number: u64, line: &str) -> String {
        format!("COPY {}, line {number}: \"{}\"", self.relation, shortened(line))
    }

    fn check_header(&mut self, line: &str, csv: Option<Quoting>) -> Result<()> {
        let mut names = Vec::new();
        let null = self.options.null.clone();
        let delimiter = self.options.delimiter;
        match csv {
            None => lines::text_fields(line, delimiter, &null, &mut self.scratch, |_, name| {
                names.push(name.map(str::to_string));
                Ok(())
            })?,
            Some(quoting) => lines::csv_fields(line, delimiter, quoting, &mut self.scratch, |_, name, quoted| {
                names.push((quoted || name != null).then(|| name.to_string()));
                Ok(())
            })?,
        };
        let wrong = |message: String| Err(Error::new(ErrorKind::BadCopyFile, message));
        if names.len() != self.fields.len() {
            return wrong(format!(
                "wrong number of fields in header line: got {}, expected {}",
                names.len(),
                self.fields.len()
            ));
        }
        for (number, (name, field)) in names.iter().zip(&self.fields).enumerate() {
            let (at, expected) = (number + 1, &field.name);
            match name {
                Some(name) if name == expected => {}
                Some(name) => {
                    return wrong(format!(
                        "column name mismatch in header line field {at}: got \"{name}\", expected \"{expected}\""
                    ));
                }
                None => {
                    return wrong(format!(
                        "column name mismatch in header line field {at}: got null value (\"{null}\"), expected \"{expected}\""
                    ));
                }
            }
        }
        Ok(())
    }

    /// One line of text or CSV.
    fn row(&mut self, line: &str, csv: Option<Quoting>, number: u64) -> Result<()> {
        let Rows { relation, options, fields, scratch, .. } = self;
        let expected = fields.len();
        let mut has_null = false;
        let mut append = |at: usize, value: Raw<'_>| {
            let Some(field) = fields.get_mut(at) else {
                return Err(Error::new(ErrorKind::BadCopyFile, "extra data after last expected column"));
            };
            let value = match value {
                Raw::Text(value) => value,
                Raw::Csv(value, _) if value != options.null => Some(value),
                Raw::Csv(value, true) => (!field.force_null).then_some(value),
                Raw::Csv(value, false) => field.force_not_null.then_some(value),
            };
            let Some(value) = value else {
                has_null |= !field.nullable;
                field.builder.append_null();
                return Ok(());
            };
            field.builder.append_text(value).map_err(|e| {
                let (name, shown) = (&field.name, shortened(value));
                e.with_context(format!("COPY {relation}, line {number}, column {name}: \"{shown}\""))
            })
        };
        let split = match csv {
            _ if expected == 0 && line.is_empty() => Ok(0),
            None => lines::text_fields(line, options.delimiter, &options.null, scratch, |at, value| {
                append(at, Raw::Text(value))
            }),
            Some(quoting) => lines::csv_fields(line, options.delimiter, quoting, scratch, |at, value, quoted| {
                append(at, Raw::Csv(value, quoted))
            }),
        };
        let count = match split {
            Ok(count) => count,
            Err(error) => return Err(self.first_error(line, csv, error).with_context(self.place(number, line))),
        };
        if count < expected {
            let message = format!("missing data for column \"{}\"", self.fields[count].name);
            return Err(Error::new(ErrorKind::BadCopyFile, message).with_context(self.place(number, line)));
        }
        let context = (has_null || self.always_fails).then(|| self.place(number, line));
        self.end_row(line.len(), context)
    }

    /// What PostgreSQL says of a line with an error: it takes the whole line apart and counts its fields before it reads any of them.
    fn first_error(&mut self, line: &str, csv: Option<Quoting>, error: Error) -> Error {
        let delimiter = self.options.delimiter;
        let fields = match csv {
            None => lines::text_fields(line, delimiter, &self.options.null, &mut self.scratch, |_, _| Ok(())),
            Some(quoting) => lines::csv_fields(line, delimiter, quoting, &mut self.scratch, |_, _, _| Ok(())),
        };
        match fields {
            Err(malformed) => malformed,
            Ok(count) if count > self.fields.len() => {
                Error::new(ErrorKind::BadCopyFile, "extra data after last expected column")
            }
            Ok(_) => error,
        }
    }

    /// A row is complete. `context` is given if it breaks a NOT NULL.
    fn end_row(&mut self, bytes: usize, context: Option<String>) -> Result<()> {
        self.count += 1;
        self.bytes += bytes;
        if let Some(context) = context {
            let batch = self.batch()?;
            let last = batch.slice(batch.num_rows() - 1, 1);
            self.writer.target().conform(&last).map_err(|e| e.with_context(context))?;
            return self.write(&batch);
        }
        if self.count >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let batch = self.batch()?;
        self.write(&batch)
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.context.cancel.check()?;
        self.writer.push(batch)
    }

    /// The rows so far with all columns of the table.
    fn batch(&mut self) -> Result<RecordBatch> {
        let rows = std::mem::take(&mut self.count);
        self.bytes = 0;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let none = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.width];
        for field in &mut self.fields {
            columns[field.column] = Some(field.builder.finish());
        }
        let schema = self.writer.target().schema.clone();
        let mut arrays = Vec::with_capacity(self.width);
        for (at, column) in columns.into_iter().enumerate() {
            arrays.push(match (column, &self.defaults[at]) {
                (Some(array), _) => array,
                (None, Some(default)) => exec::evaluate(default, &none, &self.context)?,
                (None, None) => arrow::array::new_null_array(schema.field(at).data_type(), rows),
            });
        }
        // Columns that may not be NULL are looked at by the writer, which says which row is wrong.
        let open = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let open = Arc::new(Schema::new(open.collect::<Vec<_>>()));
        Ok(RecordBatch::try_new_with_options(open, arrays, &options)?)
    }
}

/// A value as a CONTEXT shows it.
fn shortened(text: &str) -> String {
    if text.len() <= SHOWN_BYTES {
        return text.to_string();
    }
    let mut end = SHOWN_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &text[..end])
}
