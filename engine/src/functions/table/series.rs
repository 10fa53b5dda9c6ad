//! generate_series over integers, numerics, timestamps; ClickHouse's numbers.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{Int32Type, Int64Type, IntervalMonthDayNanoType, TimestampMicrosecondType};
use weir_sql::catalog::{Param, Returns};
use weir_sql::{Type, Value};

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::batch::schema_of;
use crate::exec::context::{TableCall, TableFunction, TableOverload, TableRows};
use crate::functions::declare::{INT4, INT8, INTERVAL, NUMERIC, TIMESTAMP, TIMESTAMPTZ};
use crate::kernels::datetime::add_interval;
use crate::kernels::numeric::{Numeric, from_values, value_at};

use super::ready;

pub(super) fn functions() -> Vec<TableFunction> {
    let series = |params: [Param; 3], ty: Type, optional, open| TableOverload {
        params: params.to_vec(),
        optional,
        variadic: false,
        returns: Returns::Exact(ty),
        open,
    };
    vec![
        TableFunction {
            names: &["generate_series"],
            family: "set returning",
            doc: "The values from a start to a stop, both included, in steps.",
            example: ("generate_series(1, 5, 2)", "1, 3, 5"),
            overloads: vec![
                series([INT4, INT4, INT4], Type::Int4, 1, integers),
                series([INT8, INT8, INT8], Type::Int8, 1, integers),
                series([NUMERIC, NUMERIC, NUMERIC], Type::Numeric(None), 1, numerics),
                series([TIMESTAMP, TIMESTAMP, INTERVAL], Type::Timestamp, 0, timestamps),
                series([TIMESTAMPTZ, TIMESTAMPTZ, INTERVAL], Type::Timestamptz, 0, timestamps),
            ],
        },
        TableFunction {
            names: &["numbers"],
            family: "set returning",
            doc: "The numbers from 0, or from an offset, so many of them.",
            example: ("numbers(3)", "0, 1, 2"),
            overloads: vec![
                TableOverload {
                    params: vec![INT8],
                    optional: 0,
                    variadic: false,
                    returns: Returns::Exact(Type::Int8),
                    open: |call| numbers(call, 0, 0),
                },
                TableOverload {
                    params: vec![INT8, INT8],
                    optional: 0,
                    variadic: false,
                    returns: Returns::Exact(Type::Int8),
                    open: |call| match int(&call.args[0])? {
                        Some(offset) => numbers(call, offset, 1),
                        None => numbers(call, 0, 1),
                    },
                },
            ],
        },
    ]
}

/// Rows of a batch.
const BATCH: usize = 8192;

/// A value of an integer type; `None` for NULL.
fn int(value: &Value) -> Result<Option<i64>> {
    if value.is_null() {
        return Ok(None);
    }
    Ok(Some(match value.ty {
        Type::Int4 => value.array.as_primitive::<Int32Type>().value(0).into(),
        Type::Int8 => value.array.as_primitive::<Int64Type>().value(0),
        _ => return Err(Error::internal(format!("{} is no integer", value.ty))),
    }))
}

fn zero_step() -> Error {
    Error::new(ErrorKind::InvalidParameter, "step size cannot equal zero")
}

fn integers(call: &TableCall<'_>) -> Result<Box<dyn TableRows>> {
    let step = match call.args.get(2) {
        Some(step) => int(step)?,
        None => Some(1),
    };
    let (Some(start), Some(stop), Some(step)) = (int(&call.args[0])?, int(&call.args[1])?, step) else {
        return ready(call.columns, vec![arrow::array::new_empty_array(&call.columns[0].ty.to_arrow())], 0);
    };
    if step == 0 {
        return Err(zero_step());
    }
    Ok(Box::new(Integers {
        next: Some(start),
        stop,
        step,
        narrow: call.columns[0].ty == Type::Int4,
        schema: schema_of(call.columns),
        cancel: call.context.cancel.clone(),
    }))
}

fn numbers(call: &TableCall<'_>, offset: i64, count_at: usize) -> Result<Box<dyn TableRows>> {
    let count = int(&call.args[count_at])?.unwrap_or(0).max(0);
    Ok(Box::new(Integers {
        next: (count > 0).then_some(offset),
        stop: offset.saturating_add(count - 1),
        step: 1,
        narrow: false,
        schema: schema_of(call.columns),
        cancel: call.context.cancel.clone(),
    }))
}

/// A run of integers.
struct Integers {
    next: Option<i64>,
    stop: i64,
    step: i64,
    narrow: bool,
    schema: arrow::datatypes::SchemaRef,
    cancel: Cancel,
}

impl TableRows for Integers {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        self.cancel.check()?;
        let mut values = Vec::new();
        while let Some(value) = self.next {
            let inside = if self.step > 0 { value <= self.stop } else { value >= self.stop };
            if !inside || values.len() == BATCH {
                break;
            }
            values.push(value);
            self.next = value.checked_add(self.step);
        }
        if values.is_empty() {
            return Ok(None);
        }
        let array: ArrayRef = match self.narrow {
            true => Arc::new(values.into_iter().map(|v| v as i32).collect::<Int32Array>()),
            false => Arc::new(Int64Array::from(values)),
        };
        Ok(Some(RecordBatch::try_new(self.schema.clone(), vec![array])?))
    }
}

fn numerics(call: &TableCall<'_>) -> Result<Box<dyn TableRows>> {
    if call.args.iter().any(Value::is_null) {
        return ready(call.columns, vec![arrow::array::new_empty_array(&call.columns[0].ty.to_arrow())], 0);
    }
    let value = |at: usize, name: &str| {
        let value = call.args.get(at).map_or(Numeric::from(1_i128), |arg| value_at(arg.array.as_ref(), 0));
        let not = match (value.is_finite(), value.is_nan()) {
            (true, _) => return Ok(value),
            (false, true) => "NaN",
            (false, false) => "infinity",
        };
        Err(Error::new(ErrorKind::InvalidParameter, format!("{name} cannot be {not}")))
    };
    let (start, stop, step) = (value(0, "start value")?, value(1, "stop value")?, value(2, "step size")?);
    if step.is_zero() {
        return Err(zero_step());
    }
    let forward = step > Numeric::from(0_i128);
    Ok(Box::new(Numerics {
        next: start,
        stop,
        step,
        forward,
        schema: schema_of(call.columns),
        cancel: call.context.cancel.clone(),
    }))
}

/// A run of numerics.
struct Numerics {
    next: Numeric,
    stop: Numeric,
    step: Numeric,
    forward: bool,
    schema: arrow::datatypes::SchemaRef,
    cancel: Cancel,
}

impl TableRows for Numerics {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        self.cancel.check()?;
        let mut values = Vec::new();
        while values.len() < BATCH && if self.forward { self.next <= self.stop } else { self.next >= self.stop } {
            let after = self.next.add(&self.step)?;
            values.push(Some(std::mem::replace(&mut self.next, after)));
        }
        match values.is_empty() {
            true => Ok(None),
            false => Ok(Some(RecordBatch::try_new(self.schema.clone(), vec![Arc::new(from_values(values))])?)),
        }
    }
}

fn timestamps(call: &TableCall<'_>) -> Result<Box<dyn TableRows>> {
    let ty = call.columns[0].ty.clone();
    if call.args.iter().any(Value::is_null) {
        return ready(call.columns, vec![arrow::array::new_empty_array(&ty.to_arrow())], 0);
    }
    let time = |i: usize| call.args[i].array.as_primitive::<TimestampMicrosecondType>().value(0);
    let step = call.args[2].array.as_primitive::<IntervalMonthDayNanoType>().value(0);
    let zone = match ty {
        Type::Timestamptz => Some(&call.context.functions.time_zone),
        _ => None,
    };
    let advance = |at: i64| add_interval(at, step, zone);
    let (start, stop) = (time(0), time(1));
    let second = advance(start)?;
    if second == start {
        return Err(zero_step());
    }
    let forward = second > start;
    let mut values = Vec::new();
    let mut at = start;
    while if forward { at <= stop } else { at >= stop } {
        if values.len() % BATCH == 0 {
            call.context.cancel.check()?;
        }
        values.push(at);
        at = advance(at)?;
    }
    let rows = values.len();
    let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(values).with_data_type(ty.to_arrow()));
    ready(call.columns, vec![array], rows)
}
