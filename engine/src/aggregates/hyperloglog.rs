//! approx_count_distinct: HyperLogLog of 2^14 registers, a standard error of 0.8 %, in at most 16 KiB a group.
//!
//! A value's hash (xxh3 of its bytes) chooses a register by its highest bits; the register keeps the longest run of zeros seen below them.
//! Up to [`FEW`] hashes are kept as they are, which counts exactly. The count is estimated from the registers alone, by Ertl's
//! improved raw estimator ("New cardinality estimation algorithms for HyperLogLog sketches", 2017): sketches that follow the order of
//! rows, as those with HIP estimators do, would break the promise that neither order nor splits matter.
//!
//! State: one bytea. The registers, a byte each, or shorter: the hashes, ascending, each eight bytes, little endian.

use super::sketches::{Sketch, Sketches, overload};
use super::{AggregateFunction, function};
use crate::error::{Error, ErrorKind, Result};

pub(super) fn functions() -> Vec<AggregateFunction> {
    vec![function(
        &["approx_count_distinct", "approx_distinct", "uniqCombined64"],
        "About how many distinct values that are not NULL there are, within 1 % or so, in 16 KiB a group; exactly up to 512.",
        ("approx_count_distinct(x)", "3"),
        vec![overload(|call| Ok(Box::new(Sketches::<Registers>::new(&call.args[0]))))],
    )]
}

/// The bits of a hash that choose the register.
const BITS: u32 = 14;
pub(super) const REGISTERS: usize = 1 << BITS;
/// The greatest value of a register.
const LONGEST: usize = 64 - BITS as usize + 1;
/// So many hashes are kept as they are.
pub(super) const FEW: usize = 512;

enum Registers {
    /// Ascending.
    Few(Vec<u64>),
    Many(Box<[u8]>),
}

impl Default for Registers {
    fn default() -> Self {
        Registers::Few(Vec::new())
    }
}

impl Sketch for Registers {
    fn add(&mut self, hash: u64) {
        match self {
            Registers::Many(registers) => raise(registers, hash),
            Registers::Few(hashes) => {
                let Err(place) = hashes.binary_search(&hash) else { return };
                hashes.insert(place, hash);
                if hashes.len() > FEW {
                    *self = Registers::Many(dense(hashes));
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
        if let Registers::Few(hashes) = self {
            *self = Registers::Many(dense(hashes));
        }
        if let Registers::Many(registers) = self {
            registers.iter_mut().zip(state).for_each(|(own, other)| *own = (*own).max(*other));
        }
        Ok(())
    }

    fn write(&self) -> Vec<u8> {
        match self {
            Registers::Few(hashes) => hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect(),
            Registers::Many(registers) => registers.to_vec(),
        }
    }

    fn memory(&self) -> usize {
        match self {
            Registers::Few(hashes) => hashes.capacity() * 8,
            Registers::Many(registers) => registers.len(),
        }
    }

    fn count(&self) -> i64 {
        match self {
            Registers::Few(hashes) => hashes.len() as i64,
            Registers::Many(registers) => estimate(registers).round() as i64,
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

#[cfg(test)]
mod tests {
    use super::*;
    use xxhash_rust::xxh3::xxh3_64;

    #[test]
    fn counts_are_within_a_few_standard_errors_and_do_not_depend_on_order_or_splits() {
        for n in [0_u64, 1, 512, 513, 5_000, 40_000, 1_000_000] {
            let hash = |value: u64| xxh3_64(&value.to_le_bytes());
            let mut forward = Registers::Few(Vec::new());
            (0..n).for_each(|value| forward.add(hash(value)));
            let mut parts = [Registers::Few(Vec::new()), Registers::Few(Vec::new())];
            (0..n).rev().for_each(|value| parts[(value % 3 == 0) as usize].add(hash(value)));
            let [mut merged, other] = parts;
            merged.merge(&other.write()).expect("it is a state");
            assert_eq!(forward.count(), merged.count());
            let error = (forward.count() - n as i64).abs() as f64;
            assert!(error <= 0.03 * n as f64, "{n}: {}", forward.count());
        }
    }
}
