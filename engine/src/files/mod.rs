//! Files as rows: `read_parquet`, `read_csv` and `read_json`.
//!
//! | file | is |
//! |---|---|
//! | `source` | names, globs, compression |
//! | `options` | arguments |
//! | `scan` | the rows of several files, as morsels |
//! | `parquet`, `csv`, `json` | one format each: columns when a query is bound, rows when it runs |
//! | `convert`, `nested` | Arrow's types to Weir's |
//! | `infer` | types of text |
//!
//! A reader cuts its file into pieces in order (a row group, a megabyte of lines) under a lock; what a piece costs to decode is paid by
//! the thread that takes it. No more than the pieces in flight are ever in memory.

mod convert;
mod csv;
mod infer;
mod json;
mod nested;
mod options;
mod parquet;
mod scan;
pub(crate) mod source;

use std::path::Path;

use weir_sql::catalog::{Param, Returns};
use weir_sql::{Type, Value};

use crate::error::{Error, Result};
use crate::exec::context::{TableCall, TableFunction, TableOverload, TableRows};
use options::Options;

/// A format of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Parquet,
    Csv,
    Json,
}

const PARQUET: &[&str] = &["read_parquet", "parquet_scan"];
const CSV: &[&str] = &["read_csv", "read_csv_auto"];
const JSON: &[&str] = &["read_json", "read_json_auto", "read_ndjson", "read_ndjson_auto"];

/// The functions that read files.
pub(crate) fn functions() -> Vec<TableFunction> {
    let function = |names, doc, example, open: fn(&TableCall<'_>) -> Result<Box<dyn TableRows>>| TableFunction {
        names,
        family: "files",
        doc,
        example,
        overloads: [Type::Text, Type::Array(Box::new(Type::Text))]
            .map(|ty| TableOverload {
                params: vec![Param::Exact(ty)],
                optional: 0,
                variadic: false,
                // The binder asks `columns` for the real ones.
                returns: Returns::Exact(Type::Record(Vec::new())),
                open,
            })
            .to_vec(),
    };
    vec![
        function(
            PARQUET,
            "The rows of Parquet files. Options: union_by_name, filename.",
            ("read_parquet('example.parquet')", "1, one"),
            |call| open(Kind::Parquet, call),
        ),
        function(
            CSV,
            "The rows of CSV files. Options: header, delim, quote, escape, nullstr, columns, names, skip, all_varchar, \
             null_padding, sample_size, union_by_name, filename.",
            ("read_csv('example.csv')", "1, one, 2, two"),
            |call| open(Kind::Csv, call),
        ),
        function(
            JSON,
            "The rows of JSON files: objects one after the other, or an array of them. Options: columns, sample_size, \
             union_by_name, filename.",
            ("read_json('example.json')", "1, one"),
            |call| open(Kind::Json, call),
        ),
    ]
}

/// The format that a function reads; `None` if it reads no files.
pub(crate) fn kind_of(function: &str) -> Option<Kind> {
    [(PARQUET, Kind::Parquet), (CSV, Kind::Csv), (JSON, Kind::Json)]
        .into_iter()
        .find(|(names, _)| names.contains(&function))
        .map(|(_, kind)| kind)
}

/// The name of the column that the option `filename` adds.
const FILENAME: &str = "filename";

/// The columns of a file, for the binder; `None` if the function is none of these.
pub(crate) fn columns(name: &str, args: &[Value], named: &[(String, Value)]) -> Result<Option<Vec<(String, Type)>>> {
    let Some(kind) = kind_of(name) else { return Ok(None) };
    let options = Options::new(kind, name, args, named)?;
    let files = source::expand(&options.patterns)?;
    let mut columns: Vec<(String, Type)> = Vec::new();
    for (at, file) in files.iter().enumerate() {
        if at > 0 && !options.union_by_name {
            break;
        }
        for (name, ty) in columns_of(kind, file, &options)? {
            match columns.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = infer::common(known, &ty),
                None => columns.push((name, ty)),
            }
        }
    }
    if options.filename {
        columns.push((FILENAME.into(), Type::Text));
    }
    Ok(Some(columns))
}

fn columns_of(kind: Kind, file: &Path, options: &Options) -> Result<Vec<(String, Type)>> {
    match kind {
        Kind::Parquet => parquet::columns(file),
        Kind::Csv => csv::columns(file, options),
        Kind::Json => json::columns(file, options),
    }
}

fn open(kind: Kind, call: &TableCall<'_>) -> Result<Box<dyn TableRows>> {
    let options = Options::new(kind, call_name(kind), call.args, call.named)?;
    let files = source::expand(&options.patterns)?;
    Ok(Box::new(scan::Scan::new(kind, files, options, call)))
}

fn call_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Parquet => PARQUET[0],
        Kind::Csv => CSV[0],
        Kind::Json => JSON[0],
    }
}

/// Names, each made to differ from those before it.
fn distinct(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in names {
        let mut candidate = name.clone();
        let mut number = 0;
        while all.contains(&candidate) {
            number += 1;
            candidate = format!("{name}_{number}");
        }
        all.push(candidate);
    }
    all
}

/// A file that lacks a column which the first file, or the query, has.
fn missing_column(file: &Path, column: &str) -> Error {
    let kind = crate::ErrorKind::Sql(weir_sql::ErrorKind::UndefinedColumn);
    Error::new(kind, format!("file \"{}\" has no column \"{column}\"", file.display()))
        .with_hint("Use union_by_name => true to read files whose columns differ.")
}
