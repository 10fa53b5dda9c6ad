//! How far the event time of a relation has come.

use arrow::datatypes::{TimestampMicrosecondType, UInt32Type};
use weir_sql::Type;
use weir_sql::catalog::Param;

use super::ScalarFunction;
use super::declare::{SYSTEM, function, strict};
use super::rows::{primitive, primitive_rows};

/// The name by which EMIT ON WINDOW CLOSE asks.
pub(crate) const WATERMARK: &str = "weir_watermark";

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let watermark = strict([Param::Exact(Type::Regclass)], Type::Timestamptz, |ctx, args, rows, ty| {
        let oids = primitive::<UInt32Type>(args, 0)?;
        primitive_rows::<TimestampMicrosecondType>(args, rows, ty, |row| Ok(ctx.catalog.watermark(oids.at(row))))
    });
    let doc = "The watermark of a table, or the least of those that a view reads; NULL before there is one.";
    vec![function(&[WATERMARK], SYSTEM, doc, ("weir_watermark('pg_class') IS NULL", "t"), vec![watermark]).stable()]
}
