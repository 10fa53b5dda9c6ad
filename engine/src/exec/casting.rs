//! Casts until the kernels have all of them: what Arrow casts as SQL does.

use arrow::compute::{CastOptions, cast_with_options};
use weir_sql::{Type, Value};

use crate::error::{Error, Result};
use crate::functions::{Context, Datum};

/// The datum as another type.
pub(crate) fn cast(
    _context: &Context,
    datum: &Datum,
    _rows: usize,
    from: &Type,
    to: &Type,
    _explicit: bool,
    lenient: bool,
) -> Result<Datum> {
    let target = to.to_arrow();
    if matches!(from, Type::Numeric(None)) || matches!(to, Type::Numeric(None)) {
        return Err(Error::internal(format!("no cast from {from} to {to}")));
    }
    let options = CastOptions { safe: lenient, ..Default::default() };
    let array = match datum.array().data_type() == &target {
        true => datum.array().clone(),
        false => cast_with_options(datum.array(), &target, &options)?,
    };
    Ok(match datum {
        Datum::Array(_) => Datum::Array(array),
        Datum::Scalar(_) => Datum::Scalar(Value { ty: to.clone(), array }),
    })
}
