//! arrayZip: arrays side by side as one array of records.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, StructArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::DataType;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::super::declare::{ARRAY, function};
use super::super::rows::{batch, column, invalid_parameter, is_valid, nulls_of};
use super::super::{Context, Datum, Overload, ScalarFunction, Types};
use super::element_of;
use crate::error::{Error, Result};

pub(super) fn functions() -> Vec<ScalarFunction> {
    vec![function(
        &["arrayZip", "list_zip", "array_zip"],
        ARRAY,
        "The elements of arrays of one length, side by side.",
        ("arrayZip(ARRAY[1, 2], ARRAY['a', 'b'])", "{\"(1,a)\",\"(2,b)\"}"),
        vec![Overload::new(vec![Param::Any], Returns::Computed(zipped), zip).variadic()],
    )]
}

/// Fields are named as a row's are.
fn zipped(args: &[Type]) -> Type {
    let element = |ty: &Type| match ty {
        Type::Array(element) => (**element).clone(),
        other => other.clone(),
    };
    let fields = args.iter().enumerate().map(|(at, ty)| (format!("f{}", at + 1), element(ty)));
    Type::Array(Box::new(Type::Record(fields.collect())))
}

fn zip(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    if let Some(other) = types.args.iter().find(|ty| !matches!(ty, Type::Array(_))) {
        return Err(invalid_parameter(format!("arrayZip is over arrays, not over {other}")));
    }
    let element = element_of(types.result)?;
    let DataType::Struct(fields) = element.to_arrow() else { return Err(Error::internal("elements are records")) };
    let all = (0..args.len()).map(|at| column::<ListArray>(args, at)).collect::<Result<Vec<_>>>()?;
    batch(args, rows, types, |rows| {
        let nulls = nulls_of(args, rows);
        let mut places: Vec<Vec<u32>> = vec![Vec::new(); all.len()];
        let mut lengths = Vec::with_capacity(rows);
        for row in 0..rows {
            let valid = is_valid(&nulls, row);
            let length = if valid { all[0].range(row).len() } else { 0 };
            for (lists, places) in all.iter().zip(&mut places).filter(|_| valid) {
                let range = lists.range(row);
                if range.len() != length {
                    return Err(invalid_parameter("the arrays of arrayZip must have equal lengths"));
                }
                places.extend(range.map(|at| at as u32));
            }
            lengths.push(length);
        }
        let columns: Vec<ArrayRef> = all
            .iter()
            .zip(places)
            .map(|(lists, places)| take(lists.values(), &UInt32Array::from(places), None))
            .collect::<std::result::Result<_, _>>()?;
        let records = StructArray::try_new(fields.clone(), columns, None)?;
        debug_assert_eq!(records.null_count(), 0);
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(ListArray::try_new(element.element_field(), offsets, Arc::new(records), nulls)?))
    })
}
