//! Functions of aggregate states, the values of AggregateFunction(f, T…).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, Int64Array, UInt32Array};
use arrow::compute::take;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};
use weir_sql::types::StateType;

use super::declare::function;
use super::{Context, Datum, Overload, ScalarFunction, Types};
use crate::aggregates::{Sketch as _, StateOf, ThetaSketch, pack, unpack};
use crate::error::{Error, ErrorKind, Result};

pub(crate) fn functions() -> Vec<ScalarFunction> {
    vec![
        function(
            &["finalizeAggregation"],
            "aggregate",
            "The result of an aggregate's state.",
            ("(SELECT finalizeAggregation(sumState(x)) FROM (VALUES (1), (2)) AS v (x))", "3"),
            vec![
                Overload::new(vec![Param::AnyState], Returns::Computed(result_of), |ctx, a, n, ty| {
                    let states = a[0].clone().into_array(n)?;
                    Ok(Datum::Array(StateOf::new(state_of(ty)?)?.finalized(&states, ctx)?))
                })
                .lax(),
            ],
        ),
        function(
            &["mergeStates"],
            "aggregate",
            "Two states of one aggregate as one.",
            (
                "(SELECT finalizeAggregation(mergeStates(sumState(x), sumState(x))) FROM (VALUES (1), (2)) AS v (x))",
                "6",
            ),
            vec![
                Overload::new(vec![Param::AnyState; 2], Returns::Argument(0), |ctx, a, n, ty| {
                    if ty.args[0] != ty.args[1] {
                        let message = format!("states of {} and {} cannot be merged", ty.args[0], ty.args[1]);
                        return Err(Error::new(ErrorKind::InvalidParameter, message));
                    }
                    let (left, right) = (a[0].clone().into_array(n)?, a[1].clone().into_array(n)?);
                    Ok(Datum::Array(StateOf::new(state_of(ty)?)?.merged(&left, &right, ctx)?))
                })
                .lax(),
            ],
        ),
        function(
            &["uniqThetaUnion", "theta_sketch_union"],
            "aggregate",
            "The union of two or more sets, as states of uniqTheta.",
            (
                "(SELECT finalizeAggregation(uniqThetaUnion(a, b)) FROM (SELECT uniqThetaState(x) FILTER (WHERE x < 4) AS a, uniqThetaState(x) FILTER (WHERE x > 1) AS b FROM generate_series(1, 4) AS t (x)) AS s)",
                "4",
            ),
            vec![
                Overload::new(vec![Param::AnyState; 2], Returns::Argument(0), |ctx, a, n, ty| {
                    sets(ctx, a, n, ty, |mut a, b| {
                        a.union(&b);
                        a
                    })
                })
                .variadic()
                .lax(),
            ],
        ),
        function(
            &["uniqThetaIntersect", "theta_sketch_intersect"],
            "aggregate",
            "What is in all of two or more sets, as states of uniqTheta.",
            (
                "(SELECT finalizeAggregation(uniqThetaIntersect(a, b)) FROM (SELECT uniqThetaState(x) FILTER (WHERE x < 4) AS a, uniqThetaState(x) FILTER (WHERE x > 1) AS b FROM generate_series(1, 4) AS t (x)) AS s)",
                "2",
            ),
            vec![
                Overload::new(vec![Param::AnyState; 2], Returns::Argument(0), |ctx, a, n, ty| {
                    sets(ctx, a, n, ty, |a, b| a.without(&b, true))
                })
                .variadic()
                .lax(),
            ],
        ),
        function(
            &["uniqThetaNot", "theta_sketch_not"],
            "aggregate",
            "What is in the first set and in none of the others, as states of uniqTheta.",
            (
                "(SELECT finalizeAggregation(uniqThetaNot(a, b)) FROM (SELECT uniqThetaState(x) FILTER (WHERE x < 4) AS a, uniqThetaState(x) FILTER (WHERE x > 1) AS b FROM generate_series(1, 4) AS t (x)) AS s)",
                "1",
            ),
            vec![
                Overload::new(vec![Param::AnyState; 2], Returns::Argument(0), |ctx, a, n, ty| {
                    sets(ctx, a, n, ty, |a, b| a.without(&b, false))
                })
                .variadic()
                .lax(),
            ],
        ),
        function(
            &["theta_sketch_estimate"],
            "aggregate",
            "About how many values a set has, of a state of uniqTheta.",
            ("(SELECT theta_sketch_estimate(uniqThetaState(x)) FROM (VALUES (1), (2)) AS v (x))", "2"),
            vec![
                Overload::new(vec![Param::AnyState], Returns::Exact(Type::Int8), |ctx, a, n, ty| {
                    let sketches = sketches(ctx, a, n, ty, 0)?;
                    let counts = sketches.iter().map(|sketch| sketch.count());
                    Ok(Datum::Array(Arc::new(Int64Array::from_iter_values(counts))))
                })
                .lax(),
            ],
        ),
    ]
}

/// The sketches of an argument's states; no state is the empty set.
fn sketches(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>, at: usize) -> Result<Vec<ThetaSketch>> {
    match types.args.get(at) {
        Some(Type::State(state)) if state.function == "uniqTheta" && types.args[at] == types.args[0] => {}
        other => {
            let other = other.map_or_else(String::new, Type::to_string);
            let message = format!("sets are states of uniqTheta over one type, not {other}");
            return Err(Error::new(ErrorKind::InvalidParameter, message));
        }
    }
    let states = args[at].clone().into_array(rows)?;
    let there = (0..rows).filter(|&row| states.is_valid(row));
    let there: Vec<u32> = there.map(|row| row as u32).collect();
    let packed = take(&states, &UInt32Array::from(there.clone()), None)?;
    let columns = unpack(&[Type::Bytea], &packed, context)?;
    let mut sketches = vec![ThetaSketch::default(); rows];
    for (at, row) in there.into_iter().enumerate() {
        sketches[row as usize] = ThetaSketch::read(columns[0].as_binary_view().value(at))?;
    }
    Ok(sketches)
}

/// A state of what is made of each row's sets, from the first to the last.
fn sets(
    context: &Context,
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    of: fn(ThetaSketch, ThetaSketch) -> ThetaSketch,
) -> Result<Datum> {
    let mut made = sketches(context, args, rows, types, 0)?;
    for at in 1..args.len() {
        let others = sketches(context, args, rows, types, at)?;
        made = made.into_iter().zip(others).map(|(made, other)| of(made, other)).collect();
    }
    let states: ArrayRef = Arc::new(BinaryViewArray::from_iter_values(made.iter().map(|made| made.write())));
    Ok(Datum::Array(pack(&[Type::Bytea], &[states], rows)?))
}

fn result_of(args: &[Type]) -> Type {
    match args.first() {
        Some(Type::State(state)) => StateOf::new(state).map_or(Type::Text, |of| of.returns().clone()),
        _ => Type::Text,
    }
}

fn state_of<'a>(types: &Types<'a>) -> Result<&'a StateType> {
    match types.args.first() {
        Some(Type::State(state)) => Ok(state),
        _ => Err(Error::internal("an argument that must be a state is none")),
    }
}
