//! Rows to COPY's formats: text, CSV, binary, and JSON as one object a line.
//!
//! A [`RowWriter`] is made once for a result and writes batch after batch into a buffer of its caller's; it is also what `weir sql` and
//! HTTP print CSV and JSON with. Bytes are PostgreSQL's own, to the byte.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use weir_sql::Type;
use weir_sql::plan::OutputColumn;
use weir_sql::statement::{CopyFormat, CopyHeader, CopyOptions};

use super::binary;
use crate::error::{Error, ErrorKind, Result};
use crate::format::json::write_string;
use crate::format::{BinaryEncoder, FormatSettings, TextEncoder};

/// Writes rows in one of COPY's formats.
#[derive(Debug)]
pub struct RowWriter {
    options: CopyOptions,
    names: Vec<String>,
    types: Vec<Type>,
    force_quote: Vec<bool>,
    settings: FormatSettings,
    field: Vec<u8>,
}

impl RowWriter {
    /// For rows of these columns.
    pub fn new(columns: &[OutputColumn], options: &CopyOptions, settings: FormatSettings) -> Result<RowWriter> {
        for name in options.force_quote.iter().filter(|name| *name != "*") {
            if !columns.iter().any(|column| column.name == *name) {
                let kind = ErrorKind::Sql(weir_sql::ErrorKind::InvalidColumnReference);
                return Err(Error::new(kind, format!("FORCE_QUOTE column \"{name}\" not referenced by COPY")));
            }
        }
        let all = options.force_quote.iter().any(|name| name == "*");
        Ok(RowWriter {
            options: options.clone(),
            names: columns.iter().map(|c| c.name.clone()).collect(),
            types: columns.iter().map(|c| c.ty.clone()).collect(),
            force_quote: columns.iter().map(|c| all || options.force_quote.contains(&c.name)).collect(),
            settings,
            field: Vec::new(),
        })
    }

    /// CSV as `weir sql` and HTTP have it: a header, NULL as an empty field.
    pub fn csv(columns: &[OutputColumn], settings: FormatSettings) -> Result<RowWriter> {
        RowWriter::new(columns, &plain(CopyFormat::Csv), settings)
    }

    /// One JSON object a line.
    pub fn json(columns: &[OutputColumn], settings: FormatSettings) -> Result<RowWriter> {
        RowWriter::new(columns, &plain(CopyFormat::Json), settings)
    }

    /// What comes before the first row: a line of names, or the binary header.
    pub fn header(&mut self, out: &mut Vec<u8>) {
        match self.options.format {
            CopyFormat::Binary => binary::write_header(out),
            CopyFormat::Text | CopyFormat::Csv if self.options.header != CopyHeader::No => {
                for at in 0..self.names.len() {
                    out.extend((at > 0).then_some(self.options.delimiter));
                    self.field.clear();
                    self.field.extend_from_slice(self.names[at].as_bytes());
                    match self.options.format {
                        CopyFormat::Csv => self.csv_field(false, out),
                        _ => text_field(&self.field, self.options.delimiter, out),
                    }
                }
                out.push(b'\n');
            }
            _ => {}
        }
    }

    /// What comes after the last row: binary's trailer.
    pub fn trailer(&self, out: &mut Vec<u8>) {
        if self.options.format == CopyFormat::Binary {
            out.extend_from_slice(&(-1i16).to_be_bytes());
        }
    }

    /// Some rows of a batch; where each ends in `out` is added to `ends`.
    pub fn rows(&mut self, batch: &RecordBatch, rows: Range<usize>, out: &mut Vec<u8>, ends: &mut Vec<usize>) {
        match self.options.format {
            CopyFormat::Binary => self.binary(batch, rows, out, ends),
            CopyFormat::Json => {
                let columns: Vec<JsonColumn> = self.json_columns(batch);
                for row in rows {
                    for (at, column) in columns.iter().enumerate() {
                        out.push(if at == 0 { b'{' } else { b',' });
                        write_string(&self.names[at], out);
                        out.push(b':');
                        column.write(row, &mut self.field, out);
                    }
                    out.extend_from_slice(if columns.is_empty() { b"{}\n" } else { b"}\n" });
                    ends.push(out.len());
                }
            }
            _ => {
                let encoders: Vec<TextEncoder> = self
                    .types
                    .iter()
                    .zip(batch.columns())
                    .map(|(ty, array)| TextEncoder::new(ty, array, &self.settings))
                    .collect();
                for row in rows {
                    self.line(&encoders, row, out);
                    ends.push(out.len());
                }
            }
        }
    }

    fn line(&mut self, encoders: &[TextEncoder], row: usize, out: &mut Vec<u8>) {
        let csv = self.options.format == CopyFormat::Csv;
        for (at, encoder) in encoders.iter().enumerate() {
            out.extend((at > 0).then_some(self.options.delimiter));
            if encoder.is_null(row) {
                out.extend_from_slice(self.options.null.as_bytes());
                continue;
            }
            self.field.clear();
            encoder.write(row, &mut self.field);
            match csv {
                true => self.csv_field(self.force_quote[at], out),
                false => text_field(&self.field, self.options.delimiter, out),
            }
        }
        out.push(b'\n');
    }

    /// The field as CSV: quoted where it must be, or would be read as NULL or as the end of the data.
    fn csv_field(&self, force: bool, out: &mut Vec<u8>) {
        let CopyOptions { delimiter, quote, escape, ref null, .. } = self.options;
        let text = self.field.as_slice();
        let special = |byte: &u8| *byte == delimiter || *byte == quote || matches!(byte, b'\n' | b'\r');
        let alone = self.names.len() == 1 && text == b"\\.";
        if !(force || alone || text == null.as_bytes() || text.iter().any(special)) {
            out.extend_from_slice(text);
            return;
        }
        out.push(quote);
        for &byte in text {
            if byte == quote || byte == escape {
                out.push(escape);
            }
            out.push(byte);
        }
        out.push(quote);
    }

    fn binary(&mut self, batch: &RecordBatch, rows: Range<usize>, out: &mut Vec<u8>, ends: &mut Vec<usize>) {
        let encoders: Vec<BinaryEncoder> =
            self.types.iter().zip(batch.columns()).map(|(ty, array)| BinaryEncoder::new(ty, array)).collect();
        for row in rows {
            out.extend_from_slice(&(encoders.len() as i16).to_be_bytes());
            for encoder in &encoders {
                if encoder.is_null(row) {
                    out.extend_from_slice(&(-1i32).to_be_bytes());
                    continue;
                }
                let at = out.len();
                out.extend_from_slice(&[0; 4]);
                encoder.write(row, out);
                let length = (out.len() - at - 4) as i32;
                out[at..at + 4].copy_from_slice(&length.to_be_bytes());
            }
            ends.push(out.len());
        }
    }

    fn json_columns(&self, batch: &RecordBatch) -> Vec<JsonColumn> {
        let columns = self.types.iter().zip(batch.columns());
        columns.map(|(ty, array)| JsonColumn::new(ty, array, &self.settings)).collect()
    }
}

fn plain(format: CopyFormat) -> CopyOptions {
    CopyOptions {
        format,
        header: if format == CopyFormat::Csv { CopyHeader::Yes } else { CopyHeader::No },
        delimiter: b',',
        null: String::new(),
        quote: b'"',
        escape: b'"',
        force_quote: Vec::new(),
        force_not_null: Vec::new(),
        force_null: Vec::new(),
    }
}

/// A field as text: what would end it, and control characters that have names, after a backslash.
pub(super) fn text_field(text: &[u8], delimiter: u8, out: &mut Vec<u8>) {
    let named = |byte: u8| match byte {
        8 => Some(b'b'),
        9 => Some(b't'),
        10 => Some(b'n'),
        11 => Some(b'v'),
        12 => Some(b'f'),
        13 => Some(b'r'),
        b'\\' => Some(b'\\'),
        byte if byte == delimiter => Some(byte),
        _ => None,
    };
    let mut from = 0;
    for (at, &byte) in text.iter().enumerate() {
        // Most bytes are neither control characters nor one of the two.
        if (byte < 0x20 || byte == b'\\' || byte == delimiter)
            && let Some(name) = named(byte)
        {
            out.extend_from_slice(&text[from..at]);
            out.extend_from_slice(&[b'\\', name]);
            from = at + 1;
        }
    }
    out.extend_from_slice(&text[from..]);
}

/// A column's values as JSON: numbers, booleans, json, arrays and records are themselves; everything else is its text in quotes, and so are
/// NaN and the infinities.
pub(super) struct JsonColumn {
    array: ArrayRef,
    form: JsonForm,
}

enum JsonForm {
    /// What the text encoder says, as it is.
    Raw(TextEncoder),
    Number(TextEncoder),
    Bool,
    Quoted(TextEncoder),
    Array(Box<JsonColumn>),
    Record(Vec<(String, JsonColumn)>),
}

impl JsonColumn {
    pub(super) fn new(ty: &Type, array: &ArrayRef, settings: &FormatSettings) -> JsonColumn {
        let encoder = || TextEncoder::new(ty, array, settings);
        let form = match ty {
            Type::Bool => JsonForm::Bool,
            Type::Json | Type::Jsonb | Type::Map(_) => JsonForm::Raw(encoder()),
            Type::Array(element) => {
                JsonForm::Array(Box::new(JsonColumn::new(element, array.as_list::<i32>().values(), settings)))
            }
            Type::Record(fields) => {
                let columns = fields.iter().zip(array.as_struct().columns());
                let column = |((name, ty), array): (&(String, Type), &ArrayRef)| {
                    (name.clone(), JsonColumn::new(ty, array, settings))
                };
                JsonForm::Record(columns.map(column).collect())
            }
            ty if ty.is_number() => JsonForm::Number(encoder()),
            _ => JsonForm::Quoted(encoder()),
        };
        JsonColumn { array: array.clone(), form }
    }

    pub(super) fn write(&self, row: usize, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        if self.array.is_null(row) {
            return out.extend_from_slice(b"null");
        }
        match &self.form {
            JsonForm::Raw(encoder) => encoder.write(row, out),
            JsonForm::Bool => {
                let value = self.array.as_boolean().value(row);
                out.extend_from_slice(if value { b"true" } else { b"false" });
            }
            JsonForm::Number(encoder) => {
                let from = out.len();
                encoder.write(row, out);
                let text = out[from..].strip_prefix(b"-").unwrap_or(&out[from..]);
                if !text.first().is_some_and(u8::is_ascii_digit) {
                    out.insert(from, b'"');
                    out.push(b'"');
                }
            }
            JsonForm::Quoted(encoder) => {
                scratch.clear();
                encoder.write(row, scratch);
                write_string(&String::from_utf8_lossy(scratch), out);
            }
            JsonForm::Array(element) => {
                let offsets = self.array.as_list::<i32>().value_offsets();
                let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
                out.push(b'[');
                for item in start..end {
                    out.extend((item > start).then_some(b','));
                    element.write(item, scratch, out);
                }
                out.push(b']');
            }
            JsonForm::Record(fields) => {
                out.push(b'{');
                for (at, (name, column)) in fields.iter().enumerate() {
                    out.extend((at > 0).then_some(b','));
                    write_string(name, out);
                    out.push(b':');
                    column.write(row, scratch, out);
                }
                out.push(b'}');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn written(options: &CopyOptions, texts: &[Option<&str>]) -> String {
        let column = OutputColumn::computed("a", Type::Text);
        let array: ArrayRef = Arc::new(arrow::array::StringViewArray::from(texts.to_vec()));
        let batch = RecordBatch::try_from_iter_with_nullable([("a", array, true)]).unwrap();
        let mut writer = RowWriter::new(&[column], options, FormatSettings::default()).unwrap();
        let (mut out, mut ends) = (Vec::new(), Vec::new());
        writer.header(&mut out);
        writer.rows(&batch, 0..batch.num_rows(), &mut out, &mut ends);
        writer.trailer(&mut out);
        assert_eq!(ends.len(), texts.len());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_escapes_what_would_end_a_field() {
        let options = CopyOptions { delimiter: b'|', null: "\\N".into(), ..plain(CopyFormat::Text) };
        let out = written(&options, &[Some("a\tb\\c\n|\u{1}"), None, Some("\\N"), Some("")]);
        assert_eq!(out, "a\\tb\\\\c\\n\\|\u{1}\n\\N\n\\\\N\n\n");
    }

    #[test]
    fn csv_quotes_what_needs_it_and_what_would_be_null() {
        let options = CopyOptions { header: CopyHeader::No, ..plain(CopyFormat::Csv) };
        let out = written(&options, &[Some("a"), Some("a,b"), Some("\""), Some(""), None, Some("\\."), Some("x\ny")]);
        assert_eq!(out, "a\n\"a,b\"\n\"\"\"\"\n\"\"\n\n\"\\.\"\n\"x\ny\"\n");
        let all = CopyOptions { force_quote: vec!["*".into()], escape: b'\\', ..options };
        assert_eq!(written(&all, &[Some("a\"\\"), None]), "\"a\\\"\\\\\"\n\n");
    }

    #[test]
    fn json_is_an_object_a_line() {
        let out = written(&plain(CopyFormat::Json), &[Some("a\"\n"), None]);
        assert_eq!(out, "{\"a\":\"a\\\"\\n\"}\n{\"a\":null}\n");
    }
}
