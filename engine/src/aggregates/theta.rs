//! uniqTheta: the count of distinct values by a theta sketch, which sets can be computed with; theta_sketch, DS_THETA in Druid, gives the sketch itself,
//! which is a state of uniqTheta.
//!
//! A sketch keeps the [`NOMINAL`] least hashes, and theta, the least hash that it dropped: a hash is kept if it is below theta. Which these are
//! depends on the values alone, not on their order nor on how they were split; hashes have no seed. The count is how many are kept over the part of all hashes that is below theta (K minimum values: Bar-Yossef and
//! others, "Counting Distinct Elements in a Data Stream", 2002); a union takes the least theta of both, an intersection and a difference the
//! hashes below it (Dasgupta, Lang, Rhodes, Thaler: "A Framework for Estimating Stream Expression Cardinalities", 2016). The standard error
//! of a count is 1 / sqrt(NOMINAL), 1.6 %; up to NOMINAL values it is exact. Hashes are those of `sketches`.
//!
//! State: one bytea: the byte 1 for the format, theta (u64, little endian, `u64::MAX` where nothing was dropped), and the hashes, ascending, eight bytes
//! each. Before there was this format uniqTheta had approx_count_distinct's state: its lists of few hashes are read, its registers are refused.

use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};
use weir_sql::plan::Combinator;
use weir_sql::types::StateType;

use super::sketches::{Sketches, overload};
use super::{Accumulator, AggregateFunction, AggregateOverload, Call, Sketch as _, StateOf, function};
use crate::error::{Error, ErrorKind, Result};

/// How many hashes are kept.
const NOMINAL: usize = 4096;
/// The first byte of a state.
const FORMAT: u8 = 1;

pub(super) fn functions() -> Vec<AggregateFunction> {
    let of = |param, returns, create| {
        vec![AggregateOverload::new(vec![param], returns, |_, _| vec![Type::Bytea], create).idempotent()]
    };
    vec![
        function(
            &["uniqTheta"],
            "About how many distinct values that are not NULL there are, by a theta sketch: within 3 % or so, exactly up to 4096. Its states are sets: uniqThetaUnion, uniqThetaIntersect, uniqThetaNot.",
            ("uniqTheta(x)", "3"),
            vec![overload(|call| Ok(Box::new(Sketches::<Sketch>::new(&call.args[0]))))],
        ),
        function(
            &["approx_count_distinct_ds_theta"],
            "uniqTheta, as Druid calls it; of theta sketches, about how many distinct values they have together.",
            ("approx_count_distinct_ds_theta(x)", "3"),
            of(Param::AnyNonArray, Returns::Exact(Type::Int8), |call| match &call.args[0] {
                sketches @ Type::State(_) => over_states(sketches, Combinator::Merge, call),
                ty => Ok(Box::new(Sketches::<Sketch>::new(ty))),
            }),
        ),
        function(
            &["theta_sketch", "ds_theta"],
            "The theta sketch of the distinct values that are not NULL, a state of uniqTheta; of theta sketches, their union. theta_sketch_estimate counts it.",
            ("theta_sketch_estimate(theta_sketch(x))", "3"),
            of(Param::AnyNonArray, Returns::Computed(|args| sketch_of(&args[0])), |call| match &call.args[0] {
                sketches @ Type::State(_) => over_states(sketches, Combinator::MergeState, call),
                _ => over_states(call.returns, Combinator::State, call),
            }),
        ),
        function(
            &["theta_sketch_merge"],
            "The union of theta sketches.",
            (
                "theta_sketch_estimate(theta_sketch_merge((SELECT theta_sketch(v) FROM (VALUES (1), (2)) AS w (v))))",
                "2",
            ),
            of(Param::AnyState, Returns::Argument(0), |call| over_states(&call.args[0], Combinator::MergeState, call)),
        ),
    ]
}

/// The type of a sketch of values, or of sketches.
fn sketch_of(values: &Type) -> Type {
    let values = match values {
        Type::State(_) => return values.clone(),
        Type::Varchar(_) => Type::Text,
        ty => ty.clone(),
    };
    Type::State(Box::new(StateType { function: "uniqTheta".into(), params: Vec::new(), args: vec![values] }))
}

/// What takes or gives sketches in place of values or of their count.
fn over_states(sketch: &Type, combinator: Combinator, call: &Call<'_>) -> Result<Box<dyn Accumulator>> {
    match sketch {
        Type::State(state) if state.function == "uniqTheta" => {
            StateOf::new(state)?.combined(&combinator, sketch, call.context)
        }
        other => {
            let message = format!("sketches are states of uniqTheta, not {other}");
            Err(Error::new(ErrorKind::InvalidParameter, message))
        }
    }
}

/// The least hashes of a set.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sketch {
    /// All hashes below it were kept.
    theta: u64,
    /// Ascending once it is settled; before that, up to twice as many as are kept, in any order after the first `sorted`.
    hashes: Vec<u64>,
    sorted: usize,
}

impl Default for Sketch {
    fn default() -> Self {
        Sketch { theta: u64::MAX, hashes: Vec::new(), sorted: 0 }
    }
}

impl Sketch {
    /// A sketch from a state.
    pub(crate) fn read(state: &[u8]) -> Result<Sketch> {
        let damaged = || Error::new(ErrorKind::DataCorrupted, "a state of uniqTheta is damaged");
        let (theta, bytes) = match state {
            [FORMAT, rest @ ..] if rest.len() % 8 == 0 => {
                let (theta, hashes) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
                (u64::from_le_bytes(*theta), hashes)
            }
            // What approx_count_distinct keeps of few values.
            few if few.len() % 8 == 0 && few.len() <= 8 * super::hyperloglog::FEW => (u64::MAX, few),
            registers if registers.len() == super::hyperloglog::REGISTERS => {
                let message = "a state of uniqTheta is of a format that has no sets";
                return Err(Error::new(ErrorKind::DataCorrupted, message)
                    .with_hint("It was made when uniqTheta was approx_count_distinct; make the view or column anew."));
            }
            _ => return Err(damaged()),
        };
        let hashes: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|hash| u64::from_le_bytes(*hash)).collect();
        if !hashes.is_sorted_by(|a, b| a < b) || hashes.last().is_some_and(|last| *last >= theta && theta != u64::MAX) {
            return Err(damaged());
        }
        let sorted = hashes.len();
        Ok(Sketch { theta, hashes, sorted })
    }

    /// Makes it the union of both.
    pub(crate) fn union(&mut self, other: &Sketch) {
        self.settle();
        if other.theta < self.theta {
            self.theta = other.theta;
            self.hashes.truncate(self.hashes.partition_point(|hash| *hash < other.theta));
        }
        let theta = self.theta;
        self.hashes.extend(other.hashes.iter().copied().take_while(|hash| *hash < theta));
        self.sorted = 0;
        self.settle();
    }

    /// What is in both, or in this one and not in the other; both are settled.
    pub(crate) fn without(&self, other: &Sketch, both: bool) -> Sketch {
        let theta = self.theta.min(other.theta);
        let kept = self.hashes.iter().copied().take_while(|hash| *hash < theta);
        let hashes: Vec<u64> = kept.filter(|hash| other.hashes.binary_search(hash).is_ok() == both).collect();
        Sketch { theta, sorted: hashes.len(), hashes }
    }
}

impl super::Sketch for Sketch {
    #[inline]
    fn add(&mut self, hash: u64) {
        if hash >= self.theta {
            return;
        }
        self.hashes.push(hash);
        if self.hashes.len() >= 2 * NOMINAL && self.hashes.len() >= 2 * self.sorted {
            self.settle();
        }
    }

    fn merge(&mut self, state: &[u8]) -> Result<()> {
        self.union(&Sketch::read(state)?);
        Ok(())
    }

    /// Puts the hashes in order, each once, and drops those that are too many.
    fn settle(&mut self) {
        if self.sorted < self.hashes.len() {
            self.hashes.sort_unstable();
            self.hashes.dedup();
        }
        if self.hashes.len() > NOMINAL {
            self.theta = self.hashes[NOMINAL];
            self.hashes.truncate(NOMINAL);
        }
        self.sorted = self.hashes.len();
    }

    fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(9 + self.hashes.len() * 8);
        out.push(FORMAT);
        out.extend_from_slice(&self.theta.to_le_bytes());
        self.hashes.iter().for_each(|hash| out.extend_from_slice(&hash.to_le_bytes()));
        out
    }

    fn count(&self) -> i64 {
        if self.theta == u64::MAX {
            return self.hashes.len() as i64;
        }
        (self.hashes.len() as f64 / (self.theta as f64 / 2_f64.powi(64))).round() as i64
    }

    fn memory(&self) -> usize {
        self.hashes.capacity() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxhash_rust::xxh3::xxh3_64;

    fn of(values: impl Iterator<Item = u64>) -> Sketch {
        let mut sketch = Sketch::default();
        values.for_each(|value| sketch.add(xxh3_64(&value.to_le_bytes())));
        sketch.settle();
        sketch
    }

    #[test]
    fn sketches_are_of_the_values_alone_and_sets_are_near() {
        for n in [0_u64, 1, 4096, 4097, 100_000] {
            let whole = of(0..n);
            let mut merged = of((0..n).rev().filter(|v| v % 3 == 0));
            merged.union(&of((0..n).filter(|v| v % 3 != 0).chain(0..n.min(9))));
            assert_eq!(whole, merged);
            assert_eq!(Sketch::read(&whole.write()).expect("its own state"), whole);
            let near = |estimate: i64, truth: u64| (estimate as f64 - truth as f64).abs() <= 0.06 * n as f64;
            assert!(near(whole.count(), n));
            let (low, high) = (of(0..n), of(n / 2..n * 2));
            assert!(near(low.without(&high, true).count(), n - n / 2), "{n}");
            assert!(near(low.without(&high, false).count(), n / 2), "{n}");
        }
        assert!(Sketch::read(&[2; 9]).is_err());
        assert_eq!(Sketch::read(&7_u64.to_le_bytes()).expect("few hashes").count(), 1);
    }
}
