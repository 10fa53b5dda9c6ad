//! An accumulator of one sketch of hashes a group, whatever the sketch: approx_count_distinct's and uniqTheta's.
//!
//! State: one bytea, as the sketch writes it. Hashes are of normalised values, the same whenever and wherever they are computed.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewBuilder, BooleanArray, Int64Array};
use arrow::datatypes::DataType;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};
use xxhash_rust::xxh3::xxh3_64;

use super::states::each_row;
use super::{Accumulator, AggregateOverload, Create};
use crate::error::Result;
use crate::exec::keys;

/// What is known of a set by the hashes of its values.
pub(crate) trait Sketch: Default + Send {
    fn add(&mut self, hash: u64);

    /// Adds what a state says.
    fn merge(&mut self, state: &[u8]) -> Result<()>;

    /// Brings it into the form that is written and counted, after the last hash.
    fn settle(&mut self) {}

    /// The state.
    fn write(&self) -> Vec<u8>;

    /// About how many values there are.
    fn count(&self) -> i64;

    /// Bytes that it holds besides itself.
    fn memory(&self) -> usize;
}

/// The overload that counts values of any type; `create` makes [`Sketches`].
pub(super) fn overload(create: Create) -> AggregateOverload {
    AggregateOverload::new(vec![Param::AnyNonArray], Returns::Exact(Type::Int8), |_, _| vec![Type::Bytea], create)
        .idempotent()
}

pub(super) struct Sketches<S> {
    ty: Type,
    sketches: Vec<S>,
}

impl<S: Sketch> Sketches<S> {
    pub(super) fn new(ty: &Type) -> Sketches<S> {
        Sketches { ty: ty.clone(), sketches: Vec::new() }
    }

    fn resize(&mut self, n_groups: usize) {
        self.sketches.resize_with(n_groups.max(self.sketches.len()), S::default);
    }

    fn settled(&mut self, n_groups: usize) -> Vec<S> {
        self.resize(n_groups);
        let mut sketches = std::mem::take(&mut self.sketches);
        sketches.truncate(n_groups);
        sketches.iter_mut().for_each(S::settle);
        sketches
    }
}

impl<S: Sketch> Accumulator for Sketches<S> {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.resize(n_groups);
        let hashes = hashes(&self.ty, &args[0])?;
        let sketches = &mut self.sketches;
        each_row(groups, args[0].logical_nulls().as_ref(), filter, |row, group| sketches[group].add(hashes[row]));
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        self.resize(n_groups);
        let states = states[0].as_binary_view();
        groups.iter().enumerate().try_for_each(|(row, &group)| self.sketches[group as usize].merge(states.value(row)))
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        let mut states = BinaryViewBuilder::with_capacity(n_groups);
        for sketch in self.settled(n_groups) {
            states.try_append_value(sketch.write())?;
        }
        Ok(vec![Arc::new(states.finish())])
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from_iter_values(self.settled(n_groups).iter().map(S::count))))
    }

    fn memory(&self) -> usize {
        self.sketches.iter().map(|sketch| size_of::<S>() + sketch.memory()).sum()
    }
}

/// The hashes of a column's values, equal for equal ones, whenever and wherever they are computed.
fn hashes(ty: &Type, column: &ArrayRef) -> Result<Vec<u64>> {
    let normal = keys::normalize(ty, column)?;
    if keys::width(ty).is_some() {
        let mut words = vec![0_u128; normal.len()];
        keys::pack::<u128>(&normal, 0, &mut words)?;
        return Ok(words.iter().map(|word| xxh3_64(&word.to_le_bytes())).collect());
    }
    Ok(match normal.data_type() {
        DataType::Utf8View => {
            let texts = normal.as_string_view();
            (0..texts.len()).map(|row| xxh3_64(texts.value(row).as_bytes())).collect()
        }
        DataType::BinaryView => {
            let bytes = normal.as_binary_view();
            (0..bytes.len()).map(|row| xxh3_64(bytes.value(row))).collect()
        }
        _ => {
            let rows =
                keys::row_converter(std::slice::from_ref(ty), &[Default::default()])?.convert_columns(&[normal])?;
            rows.iter().map(|row| xxh3_64(row.as_ref())).collect()
        }
    })
}
