//! numeric without a declared scale: each value carries its own display scale, as in Postgres.
//!
//! A column of `Type::Numeric(None)` is a `BinaryView` array. One value is
//!
//! ```text
//! byte 0     class: 0 -Infinity, 1 negative, 2 zero, 3 positive, 4 Infinity, 5 NaN
//! byte 1..3  display scale, little-endian (0..=16383); absent for classes 0, 4 and 5
//! byte 3..   magnitude of the unscaled value, little-endian, without zero bytes at the top; absent for zero
//! ```
//!
//! Invariants: a value has exactly one encoding per display scale, so 1.0 and 1.00 differ in bytes but [`Numeric`] compares them
//! equal; whoever hashes or sorts bytes uses [`normalize_key`] or [`sort_key`]. Up to 72 bits of magnitude fit inside the 16-byte view.
//! In memory a value whose unscaled magnitude fits an `i128` is always `Small`: the arithmetic has a fast path for those.

mod arith;
mod column;
mod key;
mod math;
mod text;

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use num_bigint::{BigInt, Sign};
use num_traits::{Signed, ToPrimitive, Zero};

use crate::error::{Error, ErrorKind, Result};

pub use arith::{div_scale, factorial};
pub(crate) use arith::{division_by_zero, round_div_i128};
pub use column::{NumericBuilder, decimal_to_numeric, decode_at, from_values, numeric_to_decimal, value_at};
pub(crate) use column::{field_overflow, of_decimal};
pub(crate) use key::write_sort_key;
pub use key::{normalize_key, sort_key};
pub use text::write_decimal;

/// The largest display scale a value can have.
pub const MAX_SCALE: u16 = 16383;
/// The largest display scale that division and the like choose by themselves.
pub const MAX_RESULT_SCALE: i64 = 1000;
/// The significant digits that division and the like give at the least.
pub const MIN_SIGNIFICANT_DIGITS: i64 = 16;
/// The most digits before the decimal point.
const MAX_INTEGER_DIGITS: i64 = 131_072;

/// One numeric.
#[derive(Debug, Clone)]
pub enum Numeric {
    /// -Infinity
    NegInfinity,
    /// `unscaled * 10^-scale`, where the unscaled value fits.
    Small(i128, u16),
    /// `unscaled * 10^-scale`, where it does not.
    Big(BigInt, u16),
    /// Infinity
    Infinity,
    /// NaN: equal to itself and larger than all else.
    NaN,
}

impl Numeric {
    /// `unscaled * 10^-scale`, in its one form.
    pub fn finite(unscaled: BigInt, scale: u16) -> Numeric {
        match unscaled.to_i128() {
            Some(small) => Numeric::Small(small, scale),
            None => Numeric::Big(unscaled, scale),
        }
    }

    /// The same, refused where Postgres's format would overflow.
    pub fn checked(unscaled: BigInt, scale: u16) -> Result<Numeric> {
        let value = Numeric::finite(unscaled, scale);
        if let Numeric::Big(m, scale) = &value {
            // 2^bits bounds the number of digits; counted exactly only when near the limit.
            let digits = (m.bits() as f64 * std::f64::consts::LOG10_2) as i64 + 1;
            if digits - i64::from(*scale) > MAX_INTEGER_DIGITS + 1 {
                return Err(overflow());
            }
        }
        Ok(value)
    }

    /// Zero with no digits after the point.
    pub const ZERO: Numeric = Numeric::Small(0, 0);

    /// The display scale; zero for NaN and the infinities.
    pub fn scale(&self) -> u16 {
        match self {
            Numeric::Small(_, scale) | Numeric::Big(_, scale) => *scale,
            _ => 0,
        }
    }

    /// Whether it is neither NaN nor infinite.
    pub fn is_finite(&self) -> bool {
        matches!(self, Numeric::Small(..) | Numeric::Big(..))
    }

    /// Whether it is NaN.
    pub fn is_nan(&self) -> bool {
        matches!(self, Numeric::NaN)
    }

    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        matches!(self, Numeric::Small(0, _))
    }

    /// -1, 0 or 1; NaN counts as 1.
    pub fn signum(&self) -> i32 {
        match self {
            Numeric::NegInfinity => -1,
            Numeric::Small(m, _) => m.signum() as i32,
            Numeric::Big(m, _) => {
                if m.is_negative() {
                    -1
                } else {
                    1
                }
            }
            Numeric::Infinity | Numeric::NaN => 1,
        }
    }

    /// The unscaled value of a finite number; zero for the others.
    pub fn unscaled(&self) -> BigInt {
        match self {
            Numeric::Small(m, _) => BigInt::from(*m),
            Numeric::Big(m, _) => m.clone(),
            _ => BigInt::zero(),
        }
    }

    /// Appends the encoding to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Numeric::NegInfinity => out.push(0),
            Numeric::Infinity => out.push(4),
            Numeric::NaN => out.push(5),
            Numeric::Small(m, scale) => {
                out.push(class_of(m.cmp(&0)));
                out.extend_from_slice(&scale.to_le_bytes());
                let bytes = m.unsigned_abs().to_le_bytes();
                let used = bytes.len() - (m.unsigned_abs().leading_zeros() / 8) as usize;
                out.extend_from_slice(&bytes[..used]);
            }
            Numeric::Big(m, scale) => {
                out.push(class_of(if m.is_negative() { Ordering::Less } else { Ordering::Greater }));
                out.extend_from_slice(&scale.to_le_bytes());
                out.extend_from_slice(&m.magnitude().to_bytes_le());
            }
        }
    }

    /// The value of an encoding. Panics on bytes that [`Numeric::encode`] did not make.
    #[inline]
    pub fn decode(bytes: &[u8]) -> Numeric {
        match bytes[0] {
            0 => Numeric::NegInfinity,
            4 => Numeric::Infinity,
            5 => Numeric::NaN,
            class => {
                let scale = u16::from_le_bytes([bytes[1], bytes[2]]);
                let magnitude = &bytes[3..];
                let negative = class == 1;
                if magnitude.len() < 16 {
                    let mut wide = [0u8; 16];
                    wide[..magnitude.len()].copy_from_slice(magnitude);
                    let m = i128::from_le_bytes(wide);
                    Numeric::Small(if negative { -m } else { m }, scale)
                } else {
                    let sign = if negative { Sign::Minus } else { Sign::Plus };
                    Numeric::finite(BigInt::from_bytes_le(sign, magnitude), scale)
                }
            }
        }
    }

    /// Whether bytes are an encoding of a numeric: storage may have been damaged, or the bytes may come from elsewhere.
    pub fn is_valid(bytes: &[u8]) -> bool {
        match bytes {
            [0 | 4 | 5] | [2, _, _] => true,
            [1 | 3, _, _, .., last] => *last != 0,
            _ => false,
        }
    }
}

fn class_of(sign: Ordering) -> u8 {
    match sign {
        Ordering::Less => 1,
        Ordering::Equal => 2,
        Ordering::Greater => 3,
    }
}

/// "value overflows numeric format", Postgres's message for a result with too many digits.
pub(crate) fn overflow() -> Error {
    Error::new(ErrorKind::NumericOutOfRange, "value overflows numeric format")
}

/// `10^n`, where it fits an i128.
#[inline]
pub(crate) fn pow10_i128(n: u32) -> Option<i128> {
    const POWERS: [i128; 39] = {
        let mut powers = [1i128; 39];
        let mut i = 1;
        while i < 39 {
            powers[i] = powers[i - 1] * 10;
            i += 1;
        }
        powers
    };
    POWERS.get(n as usize).copied()
}

/// `10^n`.
pub(crate) fn pow10(n: u32) -> BigInt {
    match pow10_i128(n) {
        Some(small) => BigInt::from(small),
        None => BigInt::from(10u8).pow(n),
    }
}

impl PartialEq for Numeric {
    fn eq(&self, other: &Numeric) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Numeric {}

impl PartialOrd for Numeric {
    fn partial_cmp(&self, other: &Numeric) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Postgres's order: -Infinity, the finite numbers, Infinity, NaN.
impl Ord for Numeric {
    fn cmp(&self, other: &Numeric) -> Ordering {
        use Numeric::{Infinity, NaN, NegInfinity, Small};
        match (self, other) {
            (Small(a, s), Small(b, t)) if s == t => a.cmp(b),
            (Small(a, s), Small(b, t)) => {
                let (a, b) = (*a, *b);
                let rescaled = if s < t {
                    pow10_i128(u32::from(t - s)).and_then(|p| a.checked_mul(p)).map(|a| a.cmp(&b))
                } else {
                    pow10_i128(u32::from(s - t)).and_then(|p| b.checked_mul(p)).map(|b| a.cmp(&b))
                };
                rescaled.unwrap_or_else(|| compare_big(self, other))
            }
            (NaN, NaN) | (Infinity, Infinity) | (NegInfinity, NegInfinity) => Ordering::Equal,
            (NaN, _) | (_, NegInfinity) => Ordering::Greater,
            (_, NaN) | (NegInfinity, _) => Ordering::Less,
            (Infinity, _) => Ordering::Greater,
            (_, Infinity) => Ordering::Less,
            _ => compare_big(self, other),
        }
    }
}

fn compare_big(a: &Numeric, b: &Numeric) -> Ordering {
    match a.signum().cmp(&b.signum()) {
        Ordering::Equal => {}
        different => return different,
    }
    let scale = a.scale().max(b.scale());
    a.unscaled_at(scale).cmp(&b.unscaled_at(scale))
}

/// Equal numerics hash alike, whatever their display scale.
impl Hash for Numeric {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut bytes = Vec::with_capacity(24);
        self.trimmed().encode(&mut bytes);
        bytes.hash(state);
    }
}

impl From<i128> for Numeric {
    fn from(v: i128) -> Numeric {
        Numeric::Small(v, 0)
    }
}

macro_rules! from_integer {
    ($($t:ty),*) => {$(
        impl From<$t> for Numeric {
            fn from(v: $t) -> Numeric {
                Numeric::Small(i128::from(v), 0)
            }
        }
    )*};
}
from_integer!(i8, i16, i32, i64, u8, u16, u32, u64);
