//! bool_and, bool_or, bit_and, bit_or, bit_xor.
//!
//! State: the value so far, NULL if there is none.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::states::{Optional, each_row};
use super::{Accumulator, AggregateFunction, AggregateOverload, Call, function};
use crate::error::{Error, Result};

pub(super) fn functions() -> Vec<AggregateFunction> {
    let same = |args: &[Type], _: &Type| vec![args[0].clone()];
    let bools = |create| {
        let params = vec![Param::Exact(Type::Bool)];
        vec![AggregateOverload::new(params, Returns::Exact(Type::Bool), same, create).idempotent()]
    };
    let bits = |create| {
        let overload = AggregateOverload::new(vec![Param::AnyInteger], Returns::Argument(0), same, create);
        vec![overload]
    };
    vec![
        function(
            &["bool_and", "every"],
            "Whether all values that are not NULL are true.",
            ("bool_and(x < 3)", "f"),
            bools(|_| Ok(Box::new(Bools { all: true, best: Optional::default() }))),
        ),
        function(
            &["bool_or"],
            "Whether a value is true.",
            ("bool_or(x < 3)", "t"),
            bools(|_| Ok(Box::new(Bools { all: false, best: Optional::default() }))),
        ),
        function(
            &["bit_and", "groupBitAnd"],
            "The bits that all values have.",
            ("bit_and(x)", "0"),
            bits(|call| integers(call, Bit::And)).into_iter().map(AggregateOverload::idempotent).collect(),
        ),
        function(
            &["bit_or", "groupBitOr"],
            "The bits that any value has.",
            ("bit_or(x)", "3"),
            bits(|call| integers(call, Bit::Or)).into_iter().map(AggregateOverload::idempotent).collect(),
        ),
        function(
            &["bit_xor", "groupBitXor"],
            "The bits that an odd number of values has.",
            ("bit_xor(x)", "0"),
            bits(|call| integers(call, Bit::Xor)),
        ),
    ]
}

struct Bools {
    all: bool,
    best: Optional<bool>,
}

impl Accumulator for Bools {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.best.resize(n_groups, self.all);
        let array = args[0].as_boolean();
        let (best, all) = (&mut self.best, self.all);
        each_row(groups, array.nulls(), filter, |row, group| {
            let v = array.values().value(row);
            best.values[group] = if all { best.values[group] & v } else { best.values[group] | v };
            best.there[group] = true;
        });
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        self.update(states, groups, n_groups, None)
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.finish(n_groups)?])
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        self.best.resize(n_groups, false);
        let best = std::mem::take(&mut self.best);
        Ok(Arc::new(BooleanArray::new(best.values.iter().copied().collect(), best.nulls())))
    }

    fn memory(&self) -> usize {
        self.best.memory()
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Bit {
    And,
    Or,
    Xor,
}

fn integers(call: &Call<'_>, bit: Bit) -> Result<Box<dyn Accumulator>> {
    Ok(match call.args[0].to_arrow() {
        DataType::Int16 => Box::new(Bits::<Int16Type> { bit, best: Optional::default() }),
        DataType::Int32 => Box::new(Bits::<Int32Type> { bit, best: Optional::default() }),
        DataType::Int64 => Box::new(Bits::<Int64Type> { bit, best: Optional::default() }),
        DataType::UInt8 => Box::new(Bits::<UInt8Type> { bit, best: Optional::default() }),
        DataType::UInt16 => Box::new(Bits::<UInt16Type> { bit, best: Optional::default() }),
        DataType::UInt32 => Box::new(Bits::<UInt32Type> { bit, best: Optional::default() }),
        DataType::UInt64 => Box::new(Bits::<UInt64Type> { bit, best: Optional::default() }),
        other => return Err(Error::internal(format!("no bits of {other}"))),
    })
}

struct Bits<T: ArrowPrimitiveType> {
    bit: Bit,
    best: Optional<T::Native>,
}

impl<T: ArrowPrimitiveType> Accumulator for Bits<T>
where
    T::Native: std::ops::BitAnd<Output = T::Native>
        + std::ops::BitOr<Output = T::Native>
        + std::ops::BitXor<Output = T::Native>,
{
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.best.resize(n_groups, T::default_value());
        let array = args[0].as_primitive::<T>();
        let (values, best, bit) = (array.values(), &mut self.best, self.bit);
        each_row(groups, array.nulls(), filter, |row, group| {
            let (v, so_far) = (values[row], best.values[group]);
            best.values[group] = match bit {
                _ if !best.there[group] => v,
                Bit::And => so_far & v,
                Bit::Or => so_far | v,
                Bit::Xor => so_far ^ v,
            };
            best.there[group] = true;
        });
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        self.update(states, groups, n_groups, None)
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.finish(n_groups)?])
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        self.best.resize(n_groups, T::default_value());
        Ok(self.best.take::<T>(&T::DATA_TYPE))
    }

    fn memory(&self) -> usize {
        self.best.memory()
    }
}
