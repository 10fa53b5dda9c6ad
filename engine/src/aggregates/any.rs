//! any_value and anyLast: the first and the last value that is not NULL, in the order of the input.
//!
//! State: the value, and its position (bigint).

use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::pick::Extreme;
use super::{Accumulator, AggregateFunction, AggregateOverload, Call, Order, function};
use crate::error::Result;

pub(super) fn functions() -> Vec<AggregateFunction> {
    let state = |args: &[Type], _: &Type| vec![args[0].clone(), Type::Int8];
    let overloads = |create| {
        vec![
            AggregateOverload::new(vec![Param::Any], Returns::Argument(0), state, create)
                .order(Order::Position)
                .idempotent(),
        ]
    };
    vec![
        function(
            &["any_value", "any", "anyValue", "arbitrary"],
            "Some value that is not NULL: the first in the order of the input.",
            ("any_value(x)", "1"),
            overloads(|call| one(call, false)),
        ),
        function(
            &["anyLast"],
            "The last value that is not NULL in the order of the input.",
            ("anyLast(x)", "3"),
            overloads(|call| one(call, true)),
        ),
    ]
}

fn one(call: &Call<'_>, last: bool) -> Result<Box<dyn Accumulator>> {
    Ok(Box::new(Extreme::new(&[call.args[0].clone(), Type::Int8], &[(1, false, last)], &[0])?))
}
