//! Exact sums of floats.
//!
//! Floating-point addition is not associative, so a plain sum depends on batches, threads and commits. Here every group holds its sum
//! without any rounding: `high + low`, kept by two error-free additions (Knuth's TwoSum), and, rarely, what even `low` could not hold, in
//! a list on the side (a Shewchuk expansion). Only the end rounds, once and correctly, so that the answer is the float nearest the
//! true sum whatever the order was.
//!
//! State: a list of floats whose exact sum it is; infinities and NaN are in it as they are.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::Float64Type;
use hashbrown::HashMap;
use weir_sql::Type;

use super::states::lists;
use crate::error::Result;

/// The sum and what rounding took from it.
#[inline]
pub(super) fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    let a_part = sum - b_part;
    (sum, (a - a_part) + (b - b_part))
}

/// The product and what rounding took from it (Dekker, with Veltkamp's split; no fused multiply-add is needed).
#[inline]
pub(super) fn two_product(a: f64, b: f64) -> (f64, f64) {
    const SPLIT: f64 = 134_217_729.0;
    let product = a * b;
    if !product.is_finite() || a.abs() > 1e290 || b.abs() > 1e290 {
        return (product, if product.is_finite() { a.mul_add(b, -product) } else { 0.0 });
    }
    let halves = |v: f64| {
        let big = SPLIT * v;
        let high = big - (big - v);
        (high, v - high)
    };
    let ((ah, al), (bh, bl)) = (halves(a), halves(b));
    (product, ((ah * bh - product) + ah * bl + al * bh) + al * bl)
}

/// Exact sums, one a group.
#[derive(Debug, Default)]
pub(super) struct ExactSums {
    sums: Vec<(f64, f64)>,
    spilled: HashMap<u32, Vec<f64>>,
    /// The sum of a group's infinities and NaNs.
    special: HashMap<u32, f64>,
}

impl ExactSums {
    pub(super) fn resize(&mut self, n_groups: usize) {
        if self.sums.len() < n_groups {
            self.sums.resize(n_groups, (0.0, 0.0));
        }
    }

    #[inline]
    pub(super) fn add(&mut self, group: usize, value: f64) {
        let (high, low) = self.sums[group];
        let (high, rest) = two_sum(high, value);
        let (low, lost) = two_sum(low, rest);
        if lost == 0.0 {
            self.sums[group] = (high, low);
        } else {
            self.add_slowly(group, value);
        }
    }

    /// The value is not finite, or the sum is, or two floats cannot hold it.
    #[cold]
    fn add_slowly(&mut self, group: usize, value: f64) {
        if !value.is_finite() {
            *self.special.entry(group as u32).or_insert(0.0) += value;
            return;
        }
        let (high, low) = self.sums[group];
        let (sum, rest) = two_sum(high, value);
        if !sum.is_finite() {
            self.spilled.entry(group as u32).or_default().push(value);
            return;
        }
        let (low, lost) = two_sum(low, rest);
        self.sums[group] = (sum, low);
        let spilled = self.spilled.entry(group as u32).or_default();
        spilled.push(lost);
        if spilled.len() > 64 {
            *spilled = expansion(spilled);
        }
    }

    /// A product, exactly.
    #[inline]
    pub(super) fn add_product(&mut self, group: usize, a: f64, b: f64) {
        let (product, rest) = two_product(a, b);
        self.add(group, product);
        if rest != 0.0 {
            self.add(group, rest);
        }
    }

    /// A group's sum, rounded once. Infinite if it is too large, though its values are finite.
    pub(super) fn value(&self, group: usize) -> f64 {
        self.double(group).0
    }

    /// A group's sum as two floats: rounded, and what that lacks, rounded.
    pub(super) fn double(&self, group: usize) -> (f64, f64) {
        let key = group as u32;
        if let Some(&special) = self.special.get(&key) {
            return (special, 0.0);
        }
        let Some(&(high, low)) = self.sums.get(group) else { return (0.0, 0.0) };
        match self.spilled.get(&key) {
            None => two_sum(high, low),
            Some(spilled) => {
                let mut parts = vec![high, low];
                parts.extend(spilled);
                let top = round(&expansion(&parts));
                if !top.is_finite() {
                    return (top, 0.0);
                }
                parts.push(-top);
                (top, round(&expansion(&parts)))
            }
        }
    }

    /// Whether a group's values were all finite.
    pub(super) fn is_finite(&self, group: usize) -> bool {
        !self.special.contains_key(&(group as u32))
    }

    /// The state's column, and forgets the sums.
    pub(super) fn state(&mut self, n_groups: usize) -> Result<ArrayRef> {
        let mut values = Vec::with_capacity(n_groups);
        let mut lengths = Vec::with_capacity(n_groups);
        self.resize(n_groups);
        for group in 0..n_groups {
            let before = values.len();
            let (high, low) = self.sums[group];
            let mut parts = vec![high, low];
            parts.extend(self.spilled.get(&(group as u32)).into_iter().flatten());
            values.extend(expansion(&parts).into_iter().filter(|v| *v != 0.0));
            values.extend(self.special.get(&(group as u32)));
            lengths.push(values.len() - before);
        }
        *self = ExactSums::default();
        lists(Type::Float8.element_field(), Arc::new(Float64Array::from(values)), &lengths, false)
    }

    /// Adds states.
    pub(super) fn merge(&mut self, states: &ArrayRef, groups: &[u32], n_groups: usize) {
        self.resize(n_groups);
        let lists = states.as_list::<i32>();
        let values = lists.values().as_primitive::<Float64Type>().values();
        let offsets = lists.value_offsets();
        for (row, &group) in groups.iter().enumerate() {
            for &value in &values[offsets[row] as usize..offsets[row + 1] as usize] {
                self.add(group as usize, value);
            }
        }
    }

    pub(super) fn memory(&self) -> usize {
        self.sums.capacity() * 16 + (self.spilled.len() + self.special.len()) * 64
    }
}

/// Floats of increasing magnitude that do not overlap, of the same exact sum.
fn expansion(parts: &[f64]) -> Vec<f64> {
    let mut partials: Vec<f64> = Vec::with_capacity(parts.len());
    for &part in parts {
        let mut carry = part;
        let mut kept = 0;
        for i in 0..partials.len() {
            let (sum, rest) = two_sum(carry, partials[i]);
            if rest != 0.0 {
                partials[kept] = rest;
                kept += 1;
            }
            carry = sum;
        }
        partials.truncate(kept);
        partials.push(carry);
    }
    partials
}

/// The float nearest to the sum of an expansion; ties to even.
fn round(partials: &[f64]) -> f64 {
    let mut rest = partials.iter().rev();
    let Some(&first) = rest.next() else { return 0.0 };
    let (mut high, mut low) = (first, 0.0);
    for &next in rest.by_ref() {
        let (sum, error) = two_sum(high, next);
        (high, low) = (sum, error);
        if low != 0.0 {
            break;
        }
    }
    // What is below may break a tie that `high + low` rounded the other way.
    if let Some(&below) = rest.next()
        && ((low < 0.0 && below < 0.0) || (low > 0.0 && below > 0.0))
    {
        let twice = low * 2.0;
        let up = high + twice;
        if twice == up - high {
            high = up;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(values: &[f64]) -> f64 {
        let mut sums = ExactSums::default();
        sums.resize(1);
        values.iter().for_each(|&v| sums.add(0, v));
        sums.value(0)
    }

    #[test]
    fn nothing_is_lost() {
        assert_eq!(sum(&[1e100, 1.0, -1e100, 1e-100, -1.0]), 1e-100);
        assert_eq!(sum(&[0.1; 10]), 1.0);
        assert_eq!(sum(&[f64::MAX, f64::MAX, -f64::MAX]), f64::MAX);
        assert_eq!(sum(&[1.0, f64::INFINITY]), f64::INFINITY);
        assert!(sum(&[f64::NEG_INFINITY, f64::INFINITY]).is_nan());
    }

    proptest! {
        #[test]
        fn order_and_splits_do_not_matter(
            mut values in prop::collection::vec((any::<i32>(), -60..60_i32), 1..200),
            split in 0..200_usize,
        ) {
            let floats: Vec<f64> = values.iter().map(|(m, e)| f64::from(*m) * f64::from(*e).exp2()).collect();
            let whole = sum(&floats);
            values.sort();
            let sorted: Vec<f64> = values.iter().map(|(m, e)| f64::from(*m) * f64::from(*e).exp2()).collect();
            prop_assert_eq!(whole, sum(&sorted));
            let split = split.min(floats.len());
            let mut all = ExactSums::default();
            for part in [&floats[..split], &floats[split..]] {
                let mut sums = ExactSums::default();
                sums.resize(1);
                part.iter().for_each(|&v| sums.add(0, v));
                let state = sums.state(1).unwrap();
                all.merge(&state, &[0], 1);
            }
            prop_assert_eq!(whole, all.value(0));
        }
    }
}
