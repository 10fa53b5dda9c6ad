//! Floats that are decimal fractions, or nearly so (prices, coordinates, measurements, differences of such).
//!
//! After ALP (Afroozeh, Kuffo, Boncz: "ALP: Adaptive Lossless floating-Point Compression", SIGMOD 2023): a value becomes the
//! integer n = round(value · 10^e), and the integers pack well. Two things differ. Decoding divides by 10^e instead of
//! multiplying with its inverse; division rounds correctly, so every decimal of up to 15 digits is exact. And what is not exact
//! is no exception kept aside: the **residual** is the difference between the value's bits and those of n / 10^e, as an
//! integer. It is zero for a decimal, a few units in the last place for a sum or difference of decimals, and anything for NaN,
//! −0, infinities and noise; residuals are integers as others, so that rare ones become patches and absent ones take nothing.
//!
//! The exponent is chosen on a sample, by the bits that integers and residuals take together.

use arrow::buffer::{Buffer, ScalarBuffer};

use super::integers::{self, Plan, Shape, Tries};
use super::{bitpack, numbers};
use crate::bytes::{Reader, Write};
use crate::error::{Decoded, damaged};

const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
/// Adding and taking away this rounds to an integer, for floats that are less than 2^51.
const ROUNDER: f64 = 6_755_399_441_055_744.0;
const ROUNDED_MAX: f64 = (1u64 << 51) as f64;
const SAMPLE: usize = 64;

/// The bits of n / 10^e.
#[inline]
fn quotient(n: i64, power: f64, width: usize) -> u64 {
    let value = n as f64 / power;
    if width == 4 { u64::from((value as f32).to_bits()) } else { value.to_bits() }
}

/// The float of these bits.
#[inline]
fn float(bits: u64, width: usize) -> f64 {
    if width == 4 { f64::from(f32::from_bits(bits as u32)) } else { f64::from_bits(bits) }
}

/// The nearest integer to value · 10^e, or 0 where there is none.
#[inline]
fn scaled(value: f64, power: f64) -> i64 {
    let product = value * power;
    // False for NaN too.
    let rounded = if product.abs() < ROUNDED_MAX { (product + ROUNDER) - ROUNDER } else { 0.0 };
    rounded as i64
}

/// Floats as integers and residuals.
pub(super) struct Decimals {
    exponent: usize,
    integers: (Vec<u64>, Plan),
    /// `None` when all are zero.
    residuals: Option<(Vec<u64>, Plan)>,
}

impl Decimals {
    /// The size of the body in bits.
    pub(super) fn bits(&self) -> usize {
        self.integers.1.bits + self.residuals.as_ref().map_or(0, |residuals| residuals.1.bits) + 64
    }

    /// The floats of these bits as decimals, if a sample says that they take fewer than `bits_max` a value.
    pub(super) fn of(values: &[u64], width: usize, bits_max: usize) -> Option<Decimals> {
        let sample: Vec<u64> = values.iter().step_by(values.len().div_ceil(SAMPLE)).copied().collect();
        let costs = (0..POWERS.len()).map(|exponent| (estimate(&sample, exponent, width), exponent));
        let (bits, exponent) = costs.min()?;
        if bits >= bits_max * sample.len() {
            return None;
        }
        let power = POWERS[exponent];
        let mut integers: Vec<u64> = Vec::with_capacity(values.len());
        let mut residuals: Vec<u64> = Vec::with_capacity(values.len());
        let mut any = 0;
        for &bits in values {
            let n = scaled(float(bits, width), power);
            let residual = bits.wrapping_sub(quotient(n, power, width));
            integers.push(n as u64);
            residuals.push(residual);
            any |= residual;
        }
        if any != 0 {
            near(&mut integers, &mut residuals, values, power, width);
        }
        let plan = |values: Vec<u64>| {
            let plan = integers::plan(&values, Shape::I64, Tries::INNER);
            (values, plan)
        };
        Some(Decimals { exponent, integers: plan(integers), residuals: (any != 0).then(|| plan(residuals)) })
    }

    /// Appends the body.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.put_u8(self.exponent as u8);
        integers::write_nested(&self.integers.0, &self.integers.1, Shape::I64, out);
        out.put_u8(u8::from(self.residuals.is_some()));
        if let Some((residuals, plan)) = &self.residuals {
            integers::write_nested(residuals, plan, Shape::I64, out);
        }
    }
}

/// The bits that the sample takes with an exponent.
fn estimate(sample: &[u64], exponent: usize, width: usize) -> usize {
    let power = POWERS[exponent];
    let (mut least, mut greatest) = (i64::MAX, i64::MIN);
    let mut widths = [0usize; 65];
    for &bits in sample {
        let n = scaled(float(bits, width), power);
        let residual = bits.wrapping_sub(quotient(n, power, width)) as i64;
        // With the sign's bit.
        widths[usize::from(bitpack::width_of((residual ^ residual >> 63) as u64)) + usize::from(residual != 0)] += 1;
        if residual.unsigned_abs() < 1 << 40 {
            (least, greatest) = (least.min(n), greatest.max(n));
        }
    }
    let integer = usize::from(bitpack::width_of(greatest.wrapping_sub(least) as u64));
    if least > greatest {
        return usize::MAX;
    }
    let (mut best, mut over) = (usize::MAX, 0);
    for width in (0..=64).rev() {
        best = best.min(sample.len() * width + over * 72);
        over += widths[width];
    }
    sample.len() * integer + best
}

/// Gives values that are no decimals the integer of the value before them, which widens no range.
fn near(integers: &mut [u64], residuals: &mut [u64], values: &[u64], power: f64, width: usize) {
    let far = |residual: u64| (residual as i64).unsigned_abs() >= 1 << 40;
    let Some(first) = residuals.iter().position(|&residual| !far(residual)) else { return };
    let mut last = integers[first];
    for row in 0..values.len() {
        if far(residuals[row]) {
            integers[row] = last;
            residuals[row] = values[row].wrapping_sub(quotient(last as i64, power, width));
        }
        last = integers[row];
    }
}

/// Reads the body back into floats.
pub(super) fn decode(
    width: usize,
    rows: usize,
    body: &Buffer,
    selection: Option<&[u32]>,
    level: u8,
) -> Decoded<Buffer> {
    let mut reader = Reader::new(body);
    let Some(&power) = POWERS.get(usize::from(reader.u8()?)) else { return damaged("an exponent over 15") };
    let integers = numbers::nested_i64(&mut reader, body, rows, selection, level)?;
    let residuals = match reader.bool()? {
        true => Some(numbers::nested_i64(&mut reader, body, rows, selection, level)?),
        false => None,
    };
    Ok(match width {
        4 => floats(&integers, residuals, |n, residual| {
            f32::from_bits(((n as f64 / power) as f32).to_bits().wrapping_add(residual as u32))
        }),
        _ => floats(&integers, residuals, |n, residual| {
            f64::from_bits((n as f64 / power).to_bits().wrapping_add(residual as u64))
        }),
    })
}

fn floats<T: arrow::datatypes::ArrowNativeType>(
    integers: &[i64],
    residuals: Option<ScalarBuffer<i64>>,
    float: impl Fn(i64, i64) -> T,
) -> Buffer {
    match residuals {
        None => integers.iter().map(|&n| float(n, 0)).collect::<Vec<_>>().into(),
        Some(residuals) => {
            integers.iter().zip(&*residuals).map(|(&n, &rest)| float(n, rest)).collect::<Vec<_>>().into()
        }
    }
}
