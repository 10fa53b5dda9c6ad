//! Aggregates made of others: sumCount, whose state is those of sum and count, and uniqUpTo, which is uniqExact up to a number.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::keyed::inner;
use super::{Accumulator, AggregateFunction, AggregateOverload, Call, function};
use crate::error::{Error, ErrorKind, Result};

/// The aggregates of sumCount.
const PARTS: [&str; 2] = ["sum", "count"];

pub(super) fn functions() -> Vec<AggregateFunction> {
    let record = |args: &[Type]| {
        let field = |name: &str| (name.to_string(), inner(name, args).map_or(Type::Int8, |(_, returns)| returns));
        Type::Record(PARTS.map(field).to_vec())
    };
    let states = |args: &[Type], _: &Type| PARTS.iter().flat_map(|name| states_of(name, args)).collect();
    let distinct = |args: &[Type], _: &Type| states_of("uniqExact", args);
    let both = AggregateOverload::new(vec![Param::AnyNumber], Returns::Computed(record), states, |call| {
        let parts = PARTS.iter().map(|name| Ok((part(name, call)?, states_of(name, call.args).len())));
        let parts = parts.collect::<Result<_>>()?;
        Ok(Box::new(Composite { parts, returns: call.returns.clone() }))
    });
    let up_to = AggregateOverload::new(vec![Param::Any], Returns::Exact(Type::Int8), distinct, |call| {
        let most = call.params.first().and_then(super::moments::float_of).filter(|most| (1.0..=100.0).contains(most));
        let most = most.ok_or_else(|| {
            Error::new(ErrorKind::InvalidParameter, "uniqUpTo takes a number between 1 and 100: uniqUpTo(10)(x)")
        })?;
        Ok(Box::new(UpTo { most: most as i64, inner: part("uniqExact", call)? }))
    });
    vec![
        function(
            &["sumCount"],
            "The sum of the values and how many there are, as a record.",
            ("sumCount(x)", "(6,3)"),
            vec![both],
        ),
        function(
            &["uniqUpTo"],
            "How many different values there are, or one more than so many if there are more: uniqUpTo(10)(x).",
            ("uniqUpTo(2)(x)", "3"),
            vec![up_to],
        ),
    ]
}

fn states_of(name: &str, args: &[Type]) -> Vec<Type> {
    inner(name, args).map_or_else(Vec::new, |(overload, returns)| overload.state_types(args, &returns, false, &[]))
}

/// The accumulator of an aggregate over the same arguments.
fn part(name: &str, call: &Call<'_>) -> Result<Box<dyn Accumulator>> {
    let (overload, returns) = inner(name, call.args).ok_or_else(|| {
        let types: Vec<String> = call.args.iter().map(Type::to_string).collect();
        let message = format!("function {name}({}) does not exist", types.join(", "));
        Error::new(ErrorKind::Sql(weir_sql::ErrorKind::UndefinedFunction), message)
    })?;
    overload.accumulator(&Call { returns: &returns, params: &[], ..*call }, false, &[])
}

/// Several aggregates, and how many columns the state of each has.
struct Composite {
    parts: Vec<(Box<dyn Accumulator>, usize)>,
    returns: Type,
}

impl Accumulator for Composite {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.parts.iter_mut().try_for_each(|(part, _)| part.update(args, groups, n_groups, filter))
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        let mut left = states;
        for (part, columns) in &mut self.parts {
            let (own, rest) = left.split_at(*columns);
            left = rest;
            part.merge(own, groups, n_groups)?;
        }
        Ok(())
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        let states = self.parts.iter_mut().map(|(part, _)| part.state(n_groups));
        Ok(states.collect::<Result<Vec<_>>>()?.concat())
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        let DataType::Struct(fields) = self.returns.to_arrow() else {
            return Err(Error::internal("several aggregates give a record"));
        };
        let columns = self.parts.iter_mut().map(|(part, _)| part.finish(n_groups)).collect::<Result<_>>()?;
        Ok(Arc::new(StructArray::try_new_with_length(fields, columns, None, n_groups)?))
    }

    fn memory(&self) -> usize {
        self.parts.iter().map(|(part, _)| part.memory()).sum()
    }
}

/// A count that is no more than one above a number.
struct UpTo {
    most: i64,
    inner: Box<dyn Accumulator>,
}

impl Accumulator for UpTo {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.inner.update(args, groups, n_groups, filter)
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        self.inner.merge(states, groups, n_groups)
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        self.inner.state(n_groups)
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        let counts = cast(&self.inner.finish(n_groups)?, &DataType::Int64)?;
        let most = self.most;
        Ok(Arc::new(counts.as_primitive::<Int64Type>().unary::<_, Int64Type>(|count| count.min(most + 1))))
    }

    fn memory(&self) -> usize {
        self.inner.memory()
    }
}
