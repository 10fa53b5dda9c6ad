//! Rows to a Parquet file.
//!
//! Every type that Parquet knows is written as its own; numerics without a precision and intervals, which it does not, are written as
//! text. The Arrow schema that the file carries names the SQL types, so that a file read back has the types it was written with.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use weir_sql::Type;
use weir_sql::types::TYPE_KEY;

use super::file::{NewFile, file_error};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::RowStream;
use crate::format::{FormatSettings, TextEncoder};

/// Bytes of a row group before it is written.
const GROUP_BYTES: usize = 64 << 20;

/// Writes a query's rows to a file; how many there were.
pub(super) fn write(path: &Path, mut stream: RowStream) -> Result<u64> {
    let columns = stream.columns().to_vec();
    let schema: Schema = Schema::new(columns.iter().map(|c| field(&c.name, &c.ty)).collect::<Vec<_>>());
    let schema = Arc::new(schema);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by(format!("weir {}", env!("CARGO_PKG_VERSION")))
        .build();
    let file = NewFile::create(path, true)?;
    let failed = |e: parquet::errors::ParquetError| write_error(path, e);
    let mut writer = ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(failed)?;
    let mut rows = 0;
    while let Some(batch) = stream.next()? {
        let arrays =
            columns.iter().zip(batch.columns()).map(|(c, array)| portable(&c.ty, array)).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?;
        rows += batch.num_rows() as u64;
        writer.write(&batch).map_err(failed)?;
        if writer.in_progress_size() > GROUP_BYTES {
            writer.flush().map_err(failed)?;
        }
    }
    writer.into_inner().map_err(failed)?.finish()?;
    Ok(rows)
}

fn write_error(path: &Path, error: parquet::errors::ParquetError) -> Error {
    use parquet::errors::ParquetError;
    match error {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(io) => file_error("write", path, &io),
            Err(other) => Error::new(ErrorKind::Io, format!("could not write file \"{}\": {other}", path.display())),
        },
        other => Error::new(ErrorKind::Io, format!("could not write file \"{}\": {other}", path.display())),
    }
}

/// The field that a column is written as.
fn field(name: &str, ty: &Type) -> Field {
    let tagged = |tag: &str| {
        Field::new(name, DataType::Utf8, true).with_metadata(HashMap::from([(TYPE_KEY.to_string(), tag.to_string())]))
    };
    match ty {
        Type::Numeric(None) => tagged("numeric"),
        Type::Interval => tagged("interval"),
        Type::Array(element) => Field::new(name, DataType::List(item(element)), true),
        Type::Record(fields) => Field::new(name, DataType::Struct(record(fields)), true),
        Type::Uuid => ty.field(name, true).with_metadata(HashMap::from([(TYPE_KEY.to_string(), "uuid".to_string())])),
        other => other.field(name, true),
    }
}

fn item(element: &Type) -> FieldRef {
    Arc::new(field("item", element))
}

fn record(fields: &[(String, Type)]) -> Fields {
    fields.iter().map(|(name, ty)| field(name, ty)).collect()
}

/// The array in the form of its field.
fn portable(ty: &Type, array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match ty {
        Type::Numeric(None) | Type::Interval => {
            let encoder = TextEncoder::new(ty, array, &FormatSettings::default());
            let mut text = Vec::new();
            let texts = (0..array.len()).map(|row| {
                if encoder.is_null(row) {
                    return None;
                }
                text.clear();
                encoder.write(row, &mut text);
                Some(String::from_utf8_lossy(&text).into_owned())
            });
            Arc::new(texts.collect::<StringArray>())
        }
        Type::Array(element) => {
            let list = array.as_list::<i32>();
            let values = portable(element, list.values())?;
            Arc::new(ListArray::try_new(item(element), list.offsets().clone(), values, list.nulls().cloned())?)
        }
        Type::Record(fields) => {
            let row = array.as_struct();
            let columns =
                fields.iter().zip(row.columns()).map(|((_, ty), c)| portable(ty, c)).collect::<Result<_>>()?;
            Arc::new(StructArray::try_new(record(fields), columns, row.nulls().cloned())?)
        }
        _ => array.clone(),
    })
}
