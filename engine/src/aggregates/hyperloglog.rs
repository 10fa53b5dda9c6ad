//! approx_count_distinct: HyperLogLog of 2^14 registers, a standard error of 0.8 %, in at most 16 KiB a group.
//!
//! A value's hash (xxh3 of its bytes) chooses a register by its highest bits; the register keeps the longest run of zeros seen below them.
//! Up to [`FEW`] hashes are kept as they are, which counts exactly. The count is estimated from the registers alone, by Ertl's
//! improved raw estimator ("New cardinality estimation algorithms for HyperLogLog sketches", 2017): sketches that follow the order of
//! rows, as those with HIP estimators do, would break the promise that neither order nor splits matter.
//!
//! State: one bytea. The registers, a byte each, or shorter: the hashes, ascending, each eight bytes, little endian.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewBuilder, BooleanArray, Int64Array};
use arrow::datatypes::DataType;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};
use xxhash_rust::xxh3::xxh3_64;

use super::states::each_row;
use super::{Accumulator, AggregateFunction, AggregateOverload, function};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::keys;

pub(super) fn functions() -> Vec<AggregateFunction> {
    let overload = AggregateOverload::new(
        vec![Param::AnyNonArray],
        Returns::Exact(Type::Int8),
        |_, _| vec![Type::Bytea],
        |call| Ok(Box::new(HyperLogLog { ty: call.args[0].clone(), sketches: Vec::new() })),
    );
    vec![function(
        &["approx_count_distinct", "approx_distinct", "uniqCombined64"],
        "About how many distinct values that are not NULL there are, within 1 % or so, in 16 KiB a group; exactly up to 512.",
        ("approx_count_distinct(x)", "3"),
        vec![overload.idempotent()],
    )]
}

/// The bits of a hash that choose the register.
const BITS: u32 = 14;
pub(super) const REGISTERS: usize = 1 << BITS;
/// The greatest value of a register.
const LONGEST: usize = 64 - BITS as usize + 1;
/// So many hashes are kept as they are.
pub(super) const FEW: usize = 512;

enum Sketch {
    /// Ascending.
    Few(Vec<u64>),
    Many(Box<[u8]>),
}

impl Sketch {
    fn add(&mut self, hash: u64) {
        match self {
            Sketch::Many(registers) => raise(registers, hash),
            Sketch::Few(hashes) => {
                let Err(place) = hashes.binary_search(&hash) else { return };
                hashes.insert(place, hash);
                if hashes.len() > FEW {
                    *self = Sketch::Many(dense(hashes));
                }
            }
        }
    }

    fn merge(&mut self, state: &[u8]) -> Result<()> {
        if state.len() != REGISTERS {
            let (hashes, rest) = state.as_chunks::<8>();
            if !rest.is_empty() || hashes.len() > FEW {
                return Err(Error::new(ErrorKind::DataCorrupted, "a state of approx_count_distinct is damaged"));
            }
            hashes.iter().for_each(|hash| self.add(u64::from_le_bytes(*hash)));
            return Ok(());
        }
        if let Sketch::Few(hashes) = self {
            *self = Sketch::Many(dense(hashes));
        }
        if let Sketch::Many(registers) = self {
            registers.iter_mut().zip(state).for_each(|(own, other)| *own = (*own).max(*other));
        }
        Ok(())
    }

    fn count(&self) -> i64 {
        match self {
            Sketch::Few(hashes) => hashes.len() as i64,
            Sketch::Many(registers) => estimate(registers).round() as i64,
        }
    }
}

fn raise(registers: &mut [u8], hash: u64) {
    let register = &mut registers[(hash >> (64 - BITS)) as usize];
    // A bit below the last ends a run that has no other end.
    let run = (hash << BITS | 1 << (BITS - 1)).leading_zeros() + 1;
    *register = (*register).max(run as u8);
}

fn dense(hashes: &[u64]) -> Box<[u8]> {
    let mut registers = vec![0; REGISTERS].into_boxed_slice();
    hashes.iter().for_each(|hash| raise(&mut registers, *hash));
    registers
}

/// Ertl's estimate, from how many registers have each value.
fn estimate(registers: &[u8]) -> f64 {
    let mut counts = [0.0; LONGEST + 1];
    registers.iter().for_each(|value| counts[usize::from(*value).min(LONGEST)] += 1.0);
    let m = REGISTERS as f64;
    let mut z = m * tau(1.0 - counts[LONGEST] / m);
    for count in counts[1..LONGEST].iter().rev() {
        z = 0.5 * (z + count);
    }
    z += m * sigma(counts[0] / m);
    m * m / (2.0 * std::f64::consts::LN_2 * z)
}

/// The part of registers that are zero.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

/// The part of registers that are full.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

/// The hashes of a column's values, equal for equal ones, whenever and wherever they are computed.
pub(super) fn hashes(ty: &Type, column: &ArrayRef) -> Result<Vec<u64>> {
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

struct HyperLogLog {
    ty: Type,
    sketches: Vec<Sketch>,
}

impl HyperLogLog {
    fn resize(&mut self, n_groups: usize) {
        let n_groups = n_groups.max(self.sketches.len());
        self.sketches.resize_with(n_groups, || Sketch::Few(Vec::new()));
    }
}

impl Accumulator for HyperLogLog {
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
        self.resize(n_groups);
        let mut states = BinaryViewBuilder::with_capacity(n_groups);
        for sketch in std::mem::take(&mut self.sketches).drain(..n_groups) {
            match sketch {
                Sketch::Many(registers) => states.try_append_value(&registers)?,
                Sketch::Few(hashes) => {
                    let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect();
                    states.try_append_value(&bytes)?;
                }
            }
        }
        Ok(vec![Arc::new(states.finish())])
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        self.resize(n_groups);
        let counts = std::mem::take(&mut self.sketches);
        Ok(Arc::new(Int64Array::from_iter_values(counts[..n_groups].iter().map(Sketch::count))))
    }

    fn memory(&self) -> usize {
        let bytes = |sketch: &Sketch| match sketch {
            Sketch::Few(hashes) => hashes.capacity() * 8,
            Sketch::Many(registers) => registers.len(),
        };
        self.sketches.iter().map(|sketch| size_of::<Sketch>() + bytes(sketch)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_within_a_few_standard_errors_and_do_not_depend_on_order_or_splits() {
        for n in [0_u64, 1, 512, 513, 5_000, 40_000, 1_000_000] {
            let hash = |value: u64| xxh3_64(&value.to_le_bytes());
            let mut forward = Sketch::Few(Vec::new());
            (0..n).for_each(|value| forward.add(hash(value)));
            let mut parts = [Sketch::Few(Vec::new()), Sketch::Few(Vec::new())];
            (0..n).rev().for_each(|value| parts[(value % 3 == 0) as usize].add(hash(value)));
            let [mut merged, other] = parts;
            match &other {
                Sketch::Many(registers) => merged.merge(registers),
                Sketch::Few(hashes) => {
                    merged.merge(&hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect::<Vec<_>>())
                }
            }
            .expect("it is a state");
            assert_eq!(forward.count(), merged.count());
            let error = (forward.count() - n as i64).abs() as f64;
            assert!(error <= 0.03 * n as f64, "{n}: {}", forward.count());
        }
    }
}
