//! Rows as the lines of ClickHouse's formats for people and programs: JSON documents, tables drawn with lines, Vertical, Markdown, Values.
//!
//! A [`Document`] is given batch after batch and adds whole lines to a list of its caller's. Tables are as wide as their rows, so that rows wait until
//! [`BLOCK`] of them are there: a long answer is several tables whose rows are numbered on, as ClickHouse's blocks are. Texts are Weir's: arrays as
//! PostgreSQL writes them, booleans `t` and `f`; types have PostgreSQL's names.

use arrow::array::RecordBatch;
use unicode_width::UnicodeWidthStr;
use weir_sql::Type;
use weir_sql::plan::OutputColumn;
use weir_sql::statement::DocumentFormat;

use super::output::{JsonColumn, text_field};
use crate::format::json::write_string;
use crate::format::{FormatSettings, TextEncoder};

/// The rows of a table.
const BLOCK: usize = 10_000;

/// NULL where there is no other sign for it, as ClickHouse has it.
const NULL: &str = "ᴺᵁᴸᴸ";

/// Writes rows in one of the formats.
pub(crate) struct Document {
    format: DocumentFormat,
    names: Vec<String>,
    types: Vec<Type>,
    settings: FormatSettings,
    /// Rows that were written.
    rows: usize,
    /// Rows of a table that is not drawn yet.
    waiting: Vec<Vec<String>>,
    /// A line whose end depends on whether another follows.
    open: Option<String>,
}

impl Document {
    pub(crate) fn new(format: DocumentFormat, columns: &[OutputColumn], settings: FormatSettings) -> Document {
        Document {
            format,
            names: columns.iter().map(|column| column.name.clone()).collect(),
            types: columns.iter().map(|column| column.ty.clone()).collect(),
            settings,
            rows: 0,
            waiting: Vec::new(),
            open: None,
        }
    }

    /// What comes before the first row.
    pub(crate) fn begin(&self, out: &mut Vec<String>) {
        match self.format {
            DocumentFormat::Json | DocumentFormat::JsonCompact => {
                out.extend(["{", "\t\"meta\":", "\t["].map(String::from));
                for (at, (name, ty)) in self.names.iter().zip(&self.types).enumerate() {
                    let end = if at + 1 < self.names.len() { "," } else { "" };
                    let (name, ty) = (quoted(name), quoted(&ty.to_string()));
                    out.push("\t\t{".into());
                    out.extend([format!("\t\t\t\"name\": {name},"), format!("\t\t\t\"type\": {ty}")]);
                    out.push(format!("\t\t}}{end}"));
                }
                out.extend(["\t],", "", "\t\"data\":", "\t["].map(String::from));
            }
            DocumentFormat::JsonCompactEachRow { names: true } => {
                let names: Vec<String> = self.names.iter().map(|name| quoted(name)).collect();
                out.push(format!("[{}]", names.join(", ")));
            }
            DocumentFormat::Markdown => {
                out.push(format!("| {} |", self.names.join(" | ")));
                let sides: Vec<&str> = self.types.iter().map(|ty| if is_right(ty) { "-:" } else { ":-" }).collect();
                out.push(format!("|{}|", sides.join("|")));
            }
            _ => {}
        }
    }

    /// Rows of a batch.
    pub(crate) fn rows(&mut self, batch: &RecordBatch, out: &mut Vec<String>) {
        match self.format {
            DocumentFormat::Null => {}
            DocumentFormat::Json | DocumentFormat::JsonCompact | DocumentFormat::JsonCompactEachRow { .. } => {
                let columns = self.types.iter().zip(batch.columns());
                let columns: Vec<JsonColumn> =
                    columns.map(|(ty, array)| JsonColumn::new(ty, array, &self.settings)).collect();
                let mut scratch = Vec::new();
                for row in 0..batch.num_rows() {
                    let values = columns.iter().map(|column| {
                        let mut value = Vec::new();
                        column.write(row, &mut scratch, &mut value);
                        text(value)
                    });
                    let values = values.collect();
                    self.json_row(values, out);
                    self.rows += 1;
                }
            }
            _ => {
                let columns = self.types.iter().zip(batch.columns());
                let encoders: Vec<TextEncoder> =
                    columns.map(|(ty, array)| TextEncoder::new(ty, array, &self.settings)).collect();
                for row in 0..batch.num_rows() {
                    let value = |encoder: &TextEncoder| {
                        (!encoder.is_null(row)).then(|| {
                            let mut value = Vec::new();
                            encoder.write(row, &mut value);
                            text(value)
                        })
                    };
                    let values = encoders.iter().map(value).collect();
                    self.text_row(values, out);
                }
            }
        }
    }

    /// What comes after the last row.
    pub(crate) fn end(&mut self, out: &mut Vec<String>) {
        match self.format {
            DocumentFormat::Json | DocumentFormat::JsonCompact => {
                out.push(match self.open.take() {
                    Some(line) => line,
                    None if self.rows > 0 => "\t\t}".into(),
                    None => String::new(),
                });
                out.extend(["\t],", ""].map(String::from));
                out.extend([format!("\t\"rows\": {}", self.rows), "}".into()]);
            }
            DocumentFormat::Pretty | DocumentFormat::PrettyCompact | DocumentFormat::PrettySpace => self.table(out),
            _ => {}
        }
    }

    fn json_row(&mut self, values: Vec<String>, out: &mut Vec<String>) {
        match self.format {
            DocumentFormat::Json => {
                out.extend((self.rows > 0).then(|| "\t\t},".to_string()));
                out.push("\t\t{".into());
                for (at, (name, value)) in self.names.iter().zip(&values).enumerate() {
                    let end = if at + 1 < values.len() { "," } else { "" };
                    out.push(format!("\t\t\t{}: {value}{end}", quoted(name)));
                }
            }
            DocumentFormat::JsonCompact => {
                out.extend(self.open.take().map(|line| line + ","));
                self.open = Some(format!("\t\t[{}]", values.join(", ")));
            }
            _ => out.push(format!("[{}]", values.join(", "))),
        }
    }

    fn text_row(&mut self, values: Vec<Option<String>>, out: &mut Vec<String>) {
        self.rows += 1;
        match self.format {
            DocumentFormat::Vertical => {
                let (head, line) = (format!("Row {}:", self.rows), "─".repeat(5 + self.rows.to_string().len()));
                out.extend((self.rows > 1).then(String::new));
                out.extend([head, line]);
                let width = self.names.iter().map(|name| name.width()).max().unwrap_or(0);
                for (name, value) in self.names.iter().zip(values) {
                    let space = " ".repeat(width - name.width());
                    out.push(format!("{name}:{space} {}", value.as_deref().unwrap_or(NULL)));
                }
            }
            DocumentFormat::Markdown => {
                let cells = values.into_iter().map(|value| match value {
                    Some(value) => {
                        let mut cell = Vec::new();
                        text_field(value.as_bytes(), b'|', &mut cell);
                        text(cell)
                    }
                    None => "\\N".to_string(),
                });
                out.push(format!("| {} |", cells.collect::<Vec<_>>().join(" | ")));
            }
            DocumentFormat::Values => {
                let literal = |(ty, value): (&Type, Option<String>)| match value {
                    None => "NULL".to_string(),
                    Some(value) if ty.is_number() && value.ends_with(|c: char| c.is_ascii_digit()) => value,
                    Some(value) => format!("'{}'", value.replace('\'', "''")),
                };
                let literals: Vec<String> = self.types.iter().zip(values).map(literal).collect();
                let comma = if self.rows > 1 { "," } else { "" };
                out.push(format!("{comma}({})", literals.join(", ")));
            }
            _ => {
                let cell = |value: Option<String>| match value {
                    // A cell is one line.
                    Some(value) => value.replace('\n', "\\n"),
                    None => NULL.to_string(),
                };
                self.waiting.push(values.into_iter().map(cell).collect());
                if self.waiting.len() == BLOCK {
                    self.table(out);
                }
            }
        }
    }

    /// Draws the rows that wait.
    fn table(&mut self, out: &mut Vec<String>) {
        let rows = std::mem::take(&mut self.waiting);
        if rows.is_empty() {
            return;
        }
        let first = self.rows - rows.len() + 1;
        let margin = self.rows.to_string().len() + 2;
        let widths: Vec<usize> = (0..self.names.len())
            .map(|column| {
                let cells = rows.iter().map(|row| row[column].width());
                cells.chain([self.names[column].width()]).max().unwrap_or(0)
            })
            .collect();
        let cells = |cells: &[String], fill: char| -> Vec<String> {
            let padded = cells.iter().zip(&widths).zip(&self.types).map(|((cell, width), ty)| {
                let space = fill.to_string().repeat(width - cell.width());
                if is_right(ty) { space + cell } else { cell.clone() + &space }
            });
            padded.collect()
        };
        let blank = " ".repeat(margin);
        // A line of a box: its left end, what is between columns, its right end.
        let line = |fill: &str, [left, between, right]: [&str; 3]| {
            let runs: Vec<String> = widths.iter().map(|width| fill.repeat(width + 2)).collect();
            format!("{blank}{left}{}{right}", runs.join(between))
        };
        let (head, bold) = (cells(&self.names, ' '), self.format == DocumentFormat::Pretty);
        match self.format {
            DocumentFormat::Pretty => {
                out.push(line("━", ["┏", "┳", "┓"]));
                out.push(format!("{blank}┃ {} ┃", head.join(" ┃ ")));
                out.push(line("━", ["┡", "╇", "┩"]));
            }
            DocumentFormat::PrettyCompact => {
                out.push(format!("{blank}┌─{}─┐", cells(&self.names, '─').join("─┬─")));
            }
            _ => {
                out.push(format!("{blank} {}", head.join("   ")));
                out.push(String::new());
            }
        }
        for (at, row) in rows.iter().enumerate() {
            out.extend((at > 0 && bold).then(|| line("─", ["├", "┼", "┤"])));
            let number = format!("{:>width$}. ", first + at, width = margin - 2);
            let row = cells(row, ' ');
            out.push(match self.format {
                DocumentFormat::PrettySpace => format!("{number} {}", row.join("   ")),
                _ => format!("{number}│ {} │", row.join(" │ ")),
            });
        }
        if self.format != DocumentFormat::PrettySpace {
            out.push(line("─", ["└", "┴", "┘"]));
        }
    }
}

/// Whether a type's values stand at the right of their column.
fn is_right(ty: &Type) -> bool {
    ty.is_number() || matches!(ty, Type::Date | Type::Timestamp | Type::Timestamptz)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn quoted(value: &str) -> String {
    let mut out = Vec::new();
    write_string(value, &mut out);
    text(out)
}
