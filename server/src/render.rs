//! Rows for people and scripts: an aligned table as psql prints it, CSV, or one JSON object a line.

use std::io::{self, Write};
use std::str::FromStr;

use comfy_table::{Cell, CellAlignment, ContentLineStyle, LineStyle, Table, TableStyle};
use weir_engine::Rows;
use weir_engine::copy::RowWriter;
use weir_engine::format::FormatSettings;
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
pub(crate) fn rows(rows: Rows, form: Form, settings: &FormatSettings, out: &mut impl Write) -> Result<u64, Trouble> {
    let columns = rows.columns().to_vec();
    match form {
        Form::Table => table(rows, &columns, settings, out),
        Form::Csv => stream(rows, RowWriter::csv(&columns, settings.clone())?, out),
        Form::Json => stream(rows, RowWriter::json(&columns, settings.clone())?, out),
    }
}

/// As COPY writes them, batch after batch.
fn stream(mut rows: Rows, mut writer: RowWriter, out: &mut impl Write) -> Result<u64, Trouble> {
    let (mut buffer, mut ends, mut count) = (Vec::new(), Vec::new(), 0);
    writer.header(&mut buffer);
    while let Some(batch) = rows.next()? {
        writer.rows(&batch, 0..batch.num_rows(), &mut buffer, &mut ends);
        out.write_all(&buffer)?;
        buffer.clear();
        ends.clear();
        count += batch.num_rows() as u64;
    }
    out.write_all(&buffer)?;
    Ok(count)
}

fn table(
    mut rows: Rows,
    columns: &[OutputColumn],
    settings: &FormatSettings,
    out: &mut impl Write,
) -> Result<u64, Trouble> {
    let mut count = 0;
    let mut table = Table::new();
    start_table(&mut table, columns);
    while let Some(batch) = rows.next()? {
        let encoders = values::texts(columns, &batch, settings);
        for row in 0..batch.num_rows() {
            table.add_row(table_row(columns, &encoders, row));
        }
        count += batch.num_rows() as u64;
    }
    finish_table(&mut table, count, out)?;
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
