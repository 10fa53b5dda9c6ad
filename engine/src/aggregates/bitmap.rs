//! groupBitmap: the exact count of distinct integers, whose state is the set of them, a roaring bitmap; and groupBitmapAnd, -Or and -Xor over
//! such states. The functions over sets are in `functions::bitmap`.
//!
//! State: one bytea, the portable serialization of a 64-bit roaring bitmap (RoaringFormatSpec). Integers below zero are those of the same bits.
//! Of groupBitmapAnd and its kin: NULL where there was no set.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewBuilder, BooleanArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, UInt64Type};
use roaring::RoaringTreemap;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::states::each_row;
use super::{Accumulator, AggregateFunction, AggregateOverload, Call, Create, function, unpack};
use crate::error::{Error, ErrorKind, Result};
use crate::functions::Context;

pub(super) fn functions() -> Vec<AggregateFunction> {
    let overload = |param: Param, create: Create| {
        let of = AggregateOverload::new(vec![param], Returns::Exact(Type::Int8), |_, _| vec![Type::Bytea], create);
        vec![of]
    };
    let sets = |name: &'static [&'static str], doc, example, create: Create| {
        function(name, doc, example, overload(Param::AnyState, create))
    };
    vec![
        function(
            &["groupBitmap"],
            "How many distinct integers that are not NULL there are; its states are sets for bitmapAnd and its kin.",
            ("groupBitmap(x)", "3"),
            overload(Param::AnyInteger, |_| Ok(Box::new(Sets { how: How::Build, context: None, sets: Vec::new() })))
                .into_iter()
                .map(AggregateOverload::idempotent)
                .collect(),
        ),
        sets(&["groupBitmapOr"], "How many integers are in any of the sets, states of groupBitmap.", ("", ""), |c| {
            combined(c, How::Or)
        }),
        sets(&["groupBitmapAnd"], "How many integers are in all of the sets, states of groupBitmap.", ("", ""), |c| {
            combined(c, How::And)
        }),
        sets(
            &["groupBitmapXor"],
            "How many integers are in an odd number of the sets, states of groupBitmap.",
            ("", ""),
            |c| combined(c, How::Xor),
        ),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    /// Of integers.
    Build,
    Or,
    And,
    Xor,
}

fn combined(call: &Call<'_>, how: How) -> Result<Box<dyn Accumulator>> {
    match &call.args[0] {
        Type::State(state) if state.function == "groupBitmap" => {
            Ok(Box::new(Sets { how, context: Some(call.context.clone()), sets: Vec::new() }))
        }
        other => {
            let message = format!("sets are states of groupBitmap, not {other}");
            Err(Error::new(ErrorKind::InvalidParameter, message))
        }
    }
}

/// A set from its bytes.
pub(crate) fn read(bytes: &[u8]) -> Result<RoaringTreemap> {
    RoaringTreemap::deserialize_from(bytes)
        .map_err(|_| Error::new(ErrorKind::DataCorrupted, "a state of groupBitmap is damaged"))
}

/// A set's bytes.
pub(crate) fn write(set: &RoaringTreemap) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(set.serialized_size());
    set.serialize_into(&mut bytes).map_err(|error| Error::internal(format!("a bitmap cannot be written: {error}")))?;
    Ok(bytes)
}

/// Integers as a set has them.
pub(crate) fn words(array: &ArrayRef) -> Result<Vec<u64>> {
    Ok(match array.data_type() {
        DataType::UInt64 => array.as_primitive::<UInt64Type>().values().to_vec(),
        _ => cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().values().iter().map(|v| *v as u64).collect(),
    })
}

struct Sets {
    how: How,
    /// For reading states.
    context: Option<Context>,
    sets: Vec<Option<RoaringTreemap>>,
}

impl Sets {
    fn resize(&mut self, n_groups: usize) {
        let empty = (self.how == How::Build).then(RoaringTreemap::new);
        self.sets.resize(n_groups.max(self.sets.len()), empty);
    }

    fn combine(&mut self, group: usize, set: RoaringTreemap) {
        match &mut self.sets[group] {
            None => self.sets[group] = Some(set),
            Some(known) => match self.how {
                How::Build | How::Or => *known |= set,
                How::And => *known &= set,
                How::Xor => *known ^= set,
            },
        }
    }
}

impl Accumulator for Sets {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.resize(n_groups);
        let nulls = args[0].logical_nulls();
        let Some(context) = &self.context else {
            let words = words(&args[0])?;
            let sets = &mut self.sets;
            each_row(groups, nulls.as_ref(), filter, |row, group| {
                if let Some(set) = &mut sets[group] {
                    set.insert(words[row]);
                }
            });
            return Ok(());
        };
        let mut rows = Vec::new();
        each_row(groups, nulls.as_ref(), filter, |row, group| rows.push((row as u32, group)));
        let there = arrow::array::UInt32Array::from_iter_values(rows.iter().map(|(row, _)| *row));
        let states = unpack(&[Type::Bytea], &arrow::compute::take(&args[0], &there, None)?, context)?;
        for (at, (_, group)) in rows.into_iter().enumerate() {
            self.combine(group, read(states[0].as_binary_view().value(at))?);
        }
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        self.resize(n_groups);
        let states = states[0].as_binary_view();
        for (row, &group) in groups.iter().enumerate().filter(|(row, _)| states.is_valid(*row)) {
            self.combine(group as usize, read(states.value(row))?);
        }
        Ok(())
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        self.resize(n_groups);
        let mut states = BinaryViewBuilder::with_capacity(n_groups);
        for set in std::mem::take(&mut self.sets).iter().take(n_groups) {
            match set {
                Some(set) => states.try_append_value(write(set)?)?,
                None => states.append_null(),
            }
        }
        Ok(vec![Arc::new(states.finish())])
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        self.resize(n_groups);
        let sets = std::mem::take(&mut self.sets);
        let counts = sets.iter().take(n_groups).map(|set| set.as_ref().map_or(0, |set| set.len() as i64));
        Ok(Arc::new(Int64Array::from_iter_values(counts)))
    }

    fn memory(&self) -> usize {
        let bytes = |set: &Option<RoaringTreemap>| set.as_ref().map_or(0, RoaringTreemap::serialized_size);
        self.sets.iter().map(|set| size_of::<Option<RoaringTreemap>>() + bytes(set)).sum()
    }
}
