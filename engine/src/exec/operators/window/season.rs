//! Window functions that carry on from row to row or look back by time: ewma and seasonal_lag.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Float64Type, IntervalMonthDayNanoType, TimestampMicrosecondType};
use weir_sql::Type;

use super::frame::Layout;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::QueryContext;
use crate::functions::moments::earlier;

/// The exponentially weighted moving average: the first value, then alpha times each plus (1 - alpha) times what was before. `before` is
/// that of the row before the first one, if it is of the same partition.
pub(super) fn ewma(args: &[ArrayRef], layout: &Layout, before: Option<&ArrayRef>) -> Result<ArrayRef> {
    let (values, alphas) = (args[0].as_primitive::<Float64Type>(), args[1].as_primitive::<Float64Type>());
    let before = before.map(|before| before.as_primitive::<Float64Type>());
    let mut carried = before.filter(|before| before.is_valid(0)).map(|before| before.value(0));
    let mut means = Vec::with_capacity(values.len());
    for partition in &layout.partitions {
        for row in partition.clone() {
            if alphas.is_valid(row) {
                let alpha = alphas.value(row);
                if !(alpha > 0.0 && alpha <= 1.0) {
                    let message = format!("alpha of ewma must be greater than 0 and at most 1, not {alpha}");
                    return Err(Error::new(ErrorKind::InvalidParameter, message));
                }
                if values.is_valid(row) {
                    let value = values.value(row);
                    // A value that stays is its own mean, without rounding.
                    let next = |mean: f64| if mean == value { mean } else { (1.0 - alpha) * mean + alpha * value };
                    carried = Some(carried.map_or(value, next));
                }
            }
            means.push(carried);
        }
        carried = None;
    }
    Ok(Arc::new(Float64Array::from(means)))
}

/// The value of the last row of the partition whose moment is exactly one interval before the row's.
pub(super) fn seasonal_lag(
    args: &[ArrayRef],
    moment: &Type,
    layout: &Layout,
    context: &Arc<QueryContext>,
) -> Result<ArrayRef> {
    let moments = args[1].as_primitive::<TimestampMicrosecondType>();
    let spans = args[2].as_primitive::<IntervalMonthDayNanoType>();
    let zone = (*moment == Type::Timestamptz).then_some(&context.functions.time_zone);
    let mut places: Vec<Option<u32>> = Vec::with_capacity(moments.len());
    for partition in &layout.partitions {
        context.cancel.check()?;
        // By moment, equal ones in the window's order.
        let mut order: Vec<u32> =
            partition.clone().filter(|&row| moments.is_valid(row)).map(|row| row as u32).collect();
        order.sort_by_key(|&row| moments.value(row as usize));
        for row in partition.clone() {
            if moments.is_null(row) || spans.is_null(row) {
                places.push(None);
                continue;
            }
            let wanted = earlier(moments.value(row), spans.value(row), zone)?;
            let end = order.partition_point(|&at| moments.value(at as usize) <= wanted);
            let last = order[..end].last().copied();
            places.push(last.filter(|&at| moments.value(at as usize) == wanted));
        }
    }
    Ok(take(&args[0], &UInt32Array::from(places), None)?)
}
