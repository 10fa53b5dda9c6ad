//! Functions of aggregate states, the values of AggregateFunction(f, T…).

use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};
use weir_sql::types::StateType;

use super::declare::function;
use super::{Datum, Overload, ScalarFunction, Types};
use crate::aggregates::StateOf;
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
    ]
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
