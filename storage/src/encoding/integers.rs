//! Integers: the choice among constant, packed, patched, delta, scaled and plain, and writing what was chosen.
//!
//! A [`Plan`] says how a run of integers is written and how many bits that takes. It is made from one look at all values (least
//! and greatest) and a look at samples for the rest, so that what does not fit the data costs little to rule out:
//!
//! - **scaled**: all distances from the base have a common factor (timestamps of whole seconds, amounts of whole units);
//! - **patched**: packed in the width of most values; the bits that the others have above it are kept aside;
//! - **delta**: differences between neighbours, which are integers again and get a plan of their own, so that a delta of
//!   deltas, or a delta with outliers, needs no code here.
//!
//! Delta has no random access and is read value after value: it must save a quarter. Patches must save a twentieth.

use super::Encoding;
use super::bitpack;
use super::numbers::{self, Frame};
use crate::bytes::Write;

/// What a patch takes besides its bits: its row.
const PATCH_ROW_BITS: usize = 13;
/// What patches take in any case.
const PATCHES_BITS: usize = 40 * 8;
/// What a nested chunk takes besides its values.
const NESTED_BITS: usize = 24 * 8;
/// How many values are looked at before all are.
const SAMPLE: usize = 256;
/// Differences are looked at in windows of this many values.
const WINDOW: usize = 33;

/// What integers are on disk: bytes of a value (16 is sign-extended from 8), and how they compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) width: usize,
    pub(super) signed: bool,
}

impl Shape {
    pub(super) const U32: Shape = Shape { width: 4, signed: false };
    pub(super) const U64: Shape = Shape { width: 8, signed: false };
    pub(super) const I64: Shape = Shape { width: 8, signed: true };

    /// A value's bytes.
    pub(super) fn put(self, value: u64, out: &mut Vec<u8>) {
        match self.width {
            16 => out.extend_from_slice(&i128::from(value as i64).to_le_bytes()),
            width => out.extend_from_slice(&value.to_le_bytes()[..width]),
        }
    }
}

/// What a plan may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tries {
    pub(super) scale: bool,
    pub(super) patch: bool,
    /// How often differences may be taken.
    pub(super) deltas: u8,
}

impl Tries {
    pub(super) const ALL: Tries = Tries { scale: true, patch: true, deltas: 2 };
    /// Rows on their way through the log: what is found at once.
    pub(super) const QUICK: Tries = Tries { scale: false, patch: false, deltas: 1 };
    /// Distances alone.
    pub(super) const PACKED: Tries = Tries { scale: false, patch: false, deltas: 0 };
    /// Codes and lengths.
    pub(super) const INNER: Tries = Tries { scale: false, patch: true, deltas: 1 };
}

/// How integers are written.
pub(super) struct Plan {
    how: How,
    /// The size of the body.
    pub(super) bits: usize,
}

enum How {
    Constant,
    Plain,
    Packed(Frame),
    Patched(Frame),
    Delta { differences: Vec<u64>, rest: Box<Plan> },
    Scaled { base: u64, factor: u64, quotients: Vec<u64>, rest: Box<Plan> },
}

impl Plan {
    /// All values are equal.
    pub(super) fn is_constant(&self) -> bool {
        matches!(self.how, How::Constant)
    }
}

/// The plan for at least one value.
pub(super) fn plan(values: &[u64], shape: Shape, tries: Tries) -> Plan {
    let (rows, frame) = (values.len(), numbers::frame(values, shape.signed));
    if frame.width == 0 {
        return Plan { how: How::Constant, bits: 8 * shape.width };
    }
    if tries.scale
        && frame.width > 4
        && let Some((factor, quotients)) = scale(values, frame.base)
    {
        let rest = plan(&quotients, Shape::U64, Tries { scale: false, ..tries });
        let bits = rest.bits + NESTED_BITS;
        return Plan { how: How::Scaled { base: frame.base, factor, quotients, rest: Box::new(rest) }, bits };
    }
    let mut best = match usize::from(frame.width) < 8 * shape.width {
        true => Plan { how: How::Packed(frame), bits: rows * usize::from(frame.width) + 8 * shape.width + 8 },
        false => Plan { how: How::Plain, bits: rows * 8 * shape.width },
    };
    if tries.patch
        && rows >= 32
        && let Some(plan) = patched(values, shape, best.bits * 19 / 20)
    {
        best = plan;
    }
    if tries.deltas > 0
        && rows >= 16
        && let Some(plan) = delta(values, tries, best.bits * 3 / 4)
    {
        best = plan;
    }
    best
}

/// The distances from `base` over their common factor, if there is one.
fn scale(values: &[u64], base: u64) -> Option<(u64, Vec<u64>)> {
    let mut factor = 0;
    for &value in values.iter().step_by(values.len().div_ceil(64)) {
        factor = gcd(factor, value.wrapping_sub(base));
        if factor == 1 {
            return None;
        }
    }
    // Only one value was seen: its distance is no factor of others.
    if factor == 0 {
        factor = values.iter().map(|value| value.wrapping_sub(base)).find(|&distance| distance > 0)?;
    }
    let mut quotients = Vec::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        let distance = value.wrapping_sub(base);
        let mut quotient = distance / factor;
        if quotient * factor != distance {
            // The sample's factor is too great: what is common to this value too may still do.
            let smaller = gcd(factor, distance);
            if smaller == 1 {
                return None;
            }
            quotients[..row].iter_mut().for_each(|quotient| *quotient *= factor / smaller);
            factor = smaller;
            quotient = distance / factor;
        }
        quotients.push(quotient);
    }
    Some((factor, quotients))
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Packed with patches, if that takes fewer than `bits_max`.
fn patched(values: &[u64], shape: Shape, bits_max: usize) -> Option<Plan> {
    let step = values.len().div_ceil(SAMPLE);
    let mut sample: Vec<u64> = values.iter().step_by(step).copied().collect();
    let (base, bits) = estimate(&mut sample, shape.signed);
    if bits * values.len() / sample.len() + PATCHES_BITS >= bits_max {
        return None;
    }
    let (width, bits) = best_width(values, base);
    let bits = bits + PATCHES_BITS + 8 * shape.width;
    (bits < bits_max).then_some(Plan { how: How::Patched(Frame { base, width }), bits })
}

/// The better of two bases for a sample (the least value, and one that leaves the few least ones out), and the bits that packing it
/// with patches takes.
fn estimate(sample: &mut [u64], signed: bool) -> (u64, usize) {
    let bias = if signed { 1 << 63 } else { 0 };
    sample.sort_unstable_by_key(|value| value ^ bias);
    let bases = [sample[0], sample[sample.len() / 64], sample[sample.len() / 16]];
    let tried = bases.map(|base| (base, best_width(sample, base).1));
    tried.into_iter().min_by_key(|&(_, bits)| bits).unwrap_or((sample[0], usize::MAX / 2))
}

/// The width for which packing with patches takes the fewest bits, and these.
fn best_width(values: &[u64], base: u64) -> (u8, usize) {
    let mut counts = [0usize; 65];
    for value in values {
        counts[usize::from(bitpack::width_of(value.wrapping_sub(base)))] += 1;
    }
    let widest = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
    let (mut best, mut over) = ((widest, values.len() * widest), 0);
    for width in (0..widest).rev() {
        over += counts[width + 1];
        let bits = values.len() * width + over * (PATCH_ROW_BITS + widest - width);
        if bits < best.1 {
            best = (width, bits);
        }
    }
    (best.0 as u8, best.1)
}

/// Differences, if they take fewer than `bits_max`.
fn delta(values: &[u64], tries: Tries, bits_max: usize) -> Option<Plan> {
    let rows = values.len();
    let windows = (SAMPLE / (WINDOW - 1)).min(rows / WINDOW).max(1);
    let mut sample: Vec<u64> = (0..windows)
        .flat_map(|window| {
            let from = window * (rows / windows);
            values[from..rows.min(from + WINDOW)].windows(2).map(|pair| pair[1].wrapping_sub(pair[0]))
        })
        .collect();
    let (_, bits) = estimate(&mut sample, true);
    // Differences of differences may be smaller still; a sample cannot tell, but then the values are spread widely.
    let hopeful = bits * rows / sample.len() + NESTED_BITS < bits_max;
    if !hopeful {
        return None;
    }
    let differences: Vec<u64> = values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    let rest = plan(&differences, Shape::I64, Tries { scale: false, deltas: tries.deltas - 1, ..tries });
    let bits = rest.bits + NESTED_BITS;
    (bits < bits_max).then(|| Plan { how: How::Delta { differences, rest: Box::new(rest) }, bits })
}

/// Appends the body that the plan says.
pub(super) fn write(values: &[u64], plan: &Plan, shape: Shape, out: &mut Vec<u8>) -> Encoding {
    match &plan.how {
        How::Constant => {
            shape.put(values[0], out);
            Encoding::Constant
        }
        How::Plain => {
            values.iter().for_each(|&value| shape.put(value, out));
            Encoding::Plain
        }
        How::Packed(frame) => {
            shape.put(frame.base, out);
            out.put_u8(frame.width);
            pack(values, *frame, out);
            Encoding::Packed
        }
        How::Patched(frame) => {
            out.put_u64(frame.base);
            out.put_u8(frame.width);
            write_patched(values, *frame, out);
            Encoding::Patched
        }
        How::Delta { differences, rest } => {
            out.put_u64(values[0]);
            write_nested(differences, rest, Shape::I64, out);
            Encoding::Delta
        }
        How::Scaled { base, factor, quotients, rest } => {
            out.put_u64(*base);
            out.put_u64(*factor);
            write_nested(quotients, rest, Shape::U64, out);
            Encoding::Scaled
        }
    }
}

/// Appends a nested chunk of integers, by the plan made for them.
pub(super) fn write_nested(values: &[u64], plan: &Plan, shape: Shape, out: &mut Vec<u8>) {
    let mut chunk = vec![0, 0];
    chunk[0] = write(values, plan, shape, &mut chunk) as u8;
    out.put_bytes(&chunk);
}

/// Appends a nested chunk of integers; without values, of none.
pub(super) fn nest(values: &[u64], shape: Shape, out: &mut Vec<u8>) {
    match values.is_empty() {
        true => out.put_bytes(&[Encoding::Constant as u8, super::NULLS_ALL]),
        false => write_nested(values, &plan(values, shape, Tries::INNER), shape, out),
    }
}

/// Forces differences, taken `times` times, whatever they cost.
pub(super) fn plan_delta(values: &[u64], times: u8) -> Plan {
    let differences: Vec<u64> = values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    let rest = match times {
        2.. if differences.len() > 1 => plan_delta(&differences, times - 1),
        _ if differences.is_empty() => Plan { how: How::Constant, bits: 0 },
        _ => plan(&differences, Shape::I64, Tries { scale: false, patch: true, deltas: 0 }),
    };
    let bits = rest.bits + NESTED_BITS;
    Plan { how: How::Delta { differences, rest: Box::new(rest) }, bits }
}

fn pack(values: &[u64], frame: Frame, out: &mut Vec<u8>) {
    let distances: Vec<u64> = values.iter().map(|value| value.wrapping_sub(frame.base)).collect();
    bitpack::pack(&distances, frame.width, out);
}

/// The low bits of all distances, then the rows and the other bits of those that have any.
fn write_patched(values: &[u64], frame: Frame, out: &mut Vec<u8>) {
    let mask = if frame.width >= 64 { u64::MAX } else { (1 << frame.width) - 1 };
    let (mut rows, mut rest) = (Vec::new(), Vec::new());
    let low: Vec<u64> = values
        .iter()
        .enumerate()
        .map(|(row, value)| {
            let distance = value.wrapping_sub(frame.base);
            if distance > mask {
                rows.push(row as u64);
                rest.push(distance >> frame.width);
            }
            distance & mask
        })
        .collect();
    bitpack::pack(&low, frame.width, out);
    out.put_varint(rows.len() as u64);
    nest(&rows, Shape::U32, out);
    nest(&rest, Shape::U64, out);
}
