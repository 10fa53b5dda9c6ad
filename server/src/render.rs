//! Rows for people and scripts: an aligned table as psql prints it, CSV, or one JSON object a line.

use std::io::{self, Write};
use std::str::FromStr;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use comfy_table::{Cell, CellAlignment, ContentLineStyle, LineStyle, Table, TableStyle};
use weir_engine::Rows;
use weir_engine::format::FormatSettings;
use weir_sql::Type;
use weir_sql::plan::OutputColumn;

use crate::statements::Trouble;
use crate::values::{self, Encoder};

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Aligned columns, and the number of rows.
    Table,
    /// RFC 4180, with a header; NULL is an empty field, an empty text is `""`.
    Csv,
    /// One object a line.
    Json,
}

impl FromStr for Form {
    type Err = String;

    fn from_str(text: &str) -> Result<Form, String> {
        match text {
            "table" => Ok(Form::Table),
            "csv" => Ok(Form::Csv),
            "json" => Ok(Form::Json),
            other => Err(format!("format \"{other}\" does not exist: use table, csv or json")),
        }
    }
}

/// psql's lines: a rule under the header, bars between columns, nothing else.
const PSQL_STYLE: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none().junction('|'))
    .header_separator(LineStyle::none().fill('-').junction('+'))
    .content_lines(ContentLineStyle::none().junction('|'));

/// Writes all rows; how many there were.
pub(crate) fn rows(
    mut rows: Rows,
    form: Form,
    settings: &FormatSettings,
    out: &mut impl Write,
) -> Result<u64, Trouble> {
    let columns = rows.columns().to_vec();
    let mut count = 0;
    let mut line = Vec::new();
    let mut table = Table::new();
    match form {
        Form::Table => start_table(&mut table, &columns),
        Form::Csv => csv_header(&columns, out)?,
        Form::Json => {}
    }
    while let Some(batch) = rows.next()? {
        let encoders = values::texts(&columns, &batch, settings);
        for row in 0..batch.num_rows() {
            line.clear();
            match form {
                Form::Table => {
                    table.add_row(table_row(&columns, &encoders, row));
                }
                Form::Csv => csv_row(&encoders, row, &mut line),
                Form::Json => json_row(&columns, &batch, &encoders, row, settings, &mut line),
            }
            out.write_all(&line)?;
        }
        count += batch.num_rows() as u64;
    }
    if form == Form::Table {
        finish_table(&mut table, count, out)?;
    }
    Ok(count)
}

fn start_table(table: &mut Table, columns: &[OutputColumn]) {
    table.load_style(PSQL_STYLE);
    table.set_header(columns.iter().map(|c| Cell::new(&c.name).set_alignment(CellAlignment::Center)));
}

fn table_row(columns: &[OutputColumn], encoders: &[Encoder], row: usize) -> Vec<Cell> {
    let mut text = Vec::new();
    let cell = |(column, encoder): (&OutputColumn, &Encoder)| {
        text.clear();
        encoder.write(row, &mut text);
        let right = column.ty.is_number() || column.ty.is_oid();
        let alignment = if right { CellAlignment::Right } else { CellAlignment::Left };
        Cell::new(String::from_utf8_lossy(&text)).set_alignment(alignment)
    };
    columns.iter().zip(encoders).map(cell).collect()
}

fn finish_table(table: &mut Table, count: u64, out: &mut impl Write) -> io::Result<()> {
    if table.column_count() > 0 {
        for line in table.lines() {
            writeln!(out, "{}", line.trim_end())?;
        }
    }
    match count {
        1 => writeln!(out, "(1 row)\n"),
        n => writeln!(out, "({n} rows)\n"),
    }
}

fn csv_header(columns: &[OutputColumn], out: &mut impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        csv_field(column.name.as_bytes(), index, &mut line);
    }
    line.push(b'\n');
    out.write_all(&line)
}

fn csv_row(encoders: &[Encoder], row: usize, line: &mut Vec<u8>) {
    let mut text = Vec::new();
    for (index, encoder) in encoders.iter().enumerate() {
        text.clear();
        match encoder.write(row, &mut text) {
            true => csv_field(&text, index, line),
            false => line.extend((index > 0).then_some(b',')),
        }
    }
    line.push(b'\n');
}

fn csv_field(text: &[u8], index: usize, line: &mut Vec<u8>) {
    line.extend((index > 0).then_some(b','));
    if !text.is_empty() && !text.iter().any(|b| matches!(b, b',' | b'"' | b'\n' | b'\r')) {
        line.extend_from_slice(text);
        return;
    }
    line.push(b'"');
    for &byte in text {
        line.extend((byte == b'"').then_some(b'"'));
        line.push(byte);
    }
    line.push(b'"');
}

fn json_row(
    columns: &[OutputColumn],
    batch: &RecordBatch,
    encoders: &[Encoder],
    row: usize,
    settings: &FormatSettings,
    line: &mut Vec<u8>,
) {
    line.push(b'{');
    for (index, ((column, array), encoder)) in columns.iter().zip(batch.columns()).zip(encoders).enumerate() {
        line.extend((index > 0).then_some(b','));
        json_text(&column.name, line);
        line.push(b':');
        json_value(&column.ty, array, encoder, row, settings, line);
    }
    line.extend_from_slice(b"}\n");
}

fn json_text(text: &str, line: &mut Vec<u8>) {
    // Writing a text to memory does not fail.
    let _ = serde_json::to_writer(line, text);
}

/// Numbers, booleans, json, arrays and records are themselves; everything else is its text in quotes, and so are NaN and the infinities.
fn json_value(
    ty: &Type,
    array: &ArrayRef,
    encoder: &Encoder,
    row: usize,
    settings: &FormatSettings,
    line: &mut Vec<u8>,
) {
    if array.is_null(row) {
        return line.extend_from_slice(b"null");
    }
    match ty {
        Type::Bool => line.extend_from_slice(if array.as_boolean().value(row) { b"true" } else { b"false" }),
        Type::Json | Type::Jsonb => drop(encoder.write(row, line)),
        Type::Array(element) => {
            let items = array.as_list::<i32>().value(row);
            let encoder = values::text(element, &items, settings);
            line.push(b'[');
            for item in 0..items.len() {
                line.extend((item > 0).then_some(b','));
                json_value(element, &items, &encoder, item, settings, line);
            }
            line.push(b']');
        }
        Type::Record(fields) => {
            line.push(b'{');
            for (index, ((name, ty), column)) in fields.iter().zip(array.as_struct().columns()).enumerate() {
                line.extend((index > 0).then_some(b','));
                json_text(name, line);
                line.push(b':');
                json_value(ty, column, &values::text(ty, column, settings), row, settings, line);
            }
            line.push(b'}');
        }
        ty => {
            let mut text = Vec::new();
            encoder.write(row, &mut text);
            let digits = text.strip_prefix(b"-").unwrap_or(&text);
            match ty.is_number() && digits.first().is_some_and(u8::is_ascii_digit) {
                true => line.extend_from_slice(&text),
                false => json_text(&String::from_utf8_lossy(&text), line),
            }
        }
    }
}
