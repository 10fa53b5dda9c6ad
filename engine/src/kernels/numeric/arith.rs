//! `+ - * / %` and rounding, with Postgres's rules for the display scale of results.
//!
//! Sums and remainders have the larger scale of the two, products the sum of the scales, quotients what [`div_scale`] says. Each has a
//! path in `i128`; big integers take over where that would overflow.

use std::cmp::Ordering;

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{Signed, ToPrimitive, Zero};

use super::{MAX_RESULT_SCALE, MAX_SCALE, MIN_SIGNIFICANT_DIGITS, Numeric, overflow, pow10, pow10_i128};
use crate::error::{Error, ErrorKind, Result};

/// "division by zero".
pub(crate) fn division_by_zero() -> Error {
    Error::new(ErrorKind::DivisionByZero, "division by zero")
}

impl Numeric {
    /// The unscaled value at a scale that is not smaller than its own.
    pub(crate) fn unscaled_at(&self, scale: u16) -> BigInt {
        let own = self.scale();
        debug_assert!(scale >= own);
        if scale == own { self.unscaled() } else { self.unscaled() * pow10(u32::from(scale - own)) }
    }

    /// The sum.
    #[allow(clippy::should_implement_trait)]
    pub fn add(&self, other: &Numeric) -> Result<Numeric> {
        use Numeric::{Infinity, NaN, NegInfinity, Small};
        match (self, other) {
            (Small(a, s), Small(b, t)) => {
                if let Some((a, b, scale)) = aligned(*a, *s, *b, *t)
                    && let Some(sum) = a.checked_add(b)
                {
                    return Ok(Small(sum, scale));
                }
            }
            (NaN, _) | (_, NaN) | (Infinity, NegInfinity) | (NegInfinity, Infinity) => return Ok(NaN),
            (Infinity, _) | (_, Infinity) => return Ok(Infinity),
            (NegInfinity, _) | (_, NegInfinity) => return Ok(NegInfinity),
            _ => {}
        }
        let scale = self.scale().max(other.scale());
        Numeric::checked(self.unscaled_at(scale) + other.unscaled_at(scale), scale)
    }

    /// The difference.
    #[allow(clippy::should_implement_trait)]
    pub fn sub(&self, other: &Numeric) -> Result<Numeric> {
        self.add(&other.neg())
    }

    /// The same with the other sign.
    #[allow(clippy::should_implement_trait)]
    pub fn neg(&self) -> Numeric {
        match self {
            Numeric::NegInfinity => Numeric::Infinity,
            Numeric::Infinity => Numeric::NegInfinity,
            Numeric::NaN => Numeric::NaN,
            Numeric::Small(m, scale) => match m.checked_neg() {
                Some(m) => Numeric::Small(m, *scale),
                None => Numeric::Big(-BigInt::from(*m), *scale),
            },
            Numeric::Big(m, scale) => Numeric::finite(-m, *scale),
        }
    }

    /// Without its sign.
    pub fn abs(&self) -> Numeric {
        if self.signum() < 0 { self.neg() } else { self.clone() }
    }

    /// The product.
    #[allow(clippy::should_implement_trait)]
    pub fn mul(&self, other: &Numeric) -> Result<Numeric> {
        if !self.is_finite() || !other.is_finite() {
            if self.is_nan() || other.is_nan() {
                return Ok(Numeric::NaN);
            }
            return Ok(match self.signum() * other.signum() {
                0 => Numeric::NaN,
                1 => Numeric::Infinity,
                _ => Numeric::NegInfinity,
            });
        }
        let scale = u32::from(self.scale()) + u32::from(other.scale());
        if let (Numeric::Small(a, _), Numeric::Small(b, _)) = (self, other)
            && let (Some(product), true) = (a.checked_mul(*b), scale <= u32::from(MAX_SCALE))
        {
            return Ok(Numeric::Small(product, scale as u16));
        }
        let product = self.unscaled() * other.unscaled();
        if scale > u32::from(MAX_SCALE) {
            return Numeric::checked(div_round(&product, &pow10(scale - u32::from(MAX_SCALE))), MAX_SCALE);
        }
        Numeric::checked(product, scale as u16)
    }

    /// The quotient, rounded to [`div_scale`] digits.
    #[allow(clippy::should_implement_trait)]
    pub fn div(&self, other: &Numeric) -> Result<Numeric> {
        if let Some(special) = self.div_special(other)? {
            return Ok(special);
        }
        if other.is_zero() {
            return Err(division_by_zero());
        }
        self.div_at(other, div_scale(self, other))
    }

    /// The quotient of finite numbers at this scale, rounded half away from zero.
    pub fn div_at(&self, other: &Numeric, scale: i64) -> Result<Numeric> {
        let scale = scale.clamp(0, i64::from(MAX_SCALE)) as u16;
        // a*10^-s / b*10^-t * 10^scale = a * 10^(scale+t-s) / b
        let shift = i64::from(scale) + i64::from(other.scale()) - i64::from(self.scale());
        if let (Numeric::Small(a, _), Numeric::Small(b, _)) = (self, other)
            && let Some(quotient) = div_small(*a, *b, shift)
        {
            return Ok(Numeric::Small(quotient, scale));
        }
        let (mut a, mut b) = (self.unscaled(), other.unscaled());
        if shift >= 0 {
            a *= pow10(shift as u32);
        } else {
            b *= pow10(-shift as u32);
        }
        Numeric::checked(div_round(&a, &b), scale)
    }

    /// The quotient cut off to a whole number (`div`).
    pub fn div_trunc(&self, other: &Numeric) -> Result<Numeric> {
        if let Some(special) = self.div_special(other)? {
            return Ok(special);
        }
        if other.is_zero() {
            return Err(division_by_zero());
        }
        let scale = self.scale().max(other.scale());
        Numeric::checked(self.unscaled_at(scale) / other.unscaled_at(scale), 0)
    }

    fn div_special(&self, other: &Numeric) -> Result<Option<Numeric>> {
        if self.is_finite() && other.is_finite() {
            return Ok(None);
        }
        if self.is_nan() || other.is_nan() {
            return Ok(Some(Numeric::NaN));
        }
        if self.is_finite() {
            return Ok(Some(Numeric::ZERO));
        }
        if !other.is_finite() {
            return Ok(Some(Numeric::NaN));
        }
        match self.signum() * other.signum() {
            0 => Err(division_by_zero()),
            1 => Ok(Some(Numeric::Infinity)),
            _ => Ok(Some(Numeric::NegInfinity)),
        }
    }

    /// The remainder of division cut off towards zero; it has the sign of the dividend.
    #[allow(clippy::should_implement_trait)]
    pub fn rem(&self, other: &Numeric) -> Result<Numeric> {
        if self.is_nan() || other.is_nan() {
            return Ok(Numeric::NaN);
        }
        if other.is_zero() {
            return Err(division_by_zero());
        }
        if !self.is_finite() {
            return Ok(Numeric::NaN);
        }
        if !other.is_finite() {
            return Ok(self.clone());
        }
        if let (Numeric::Small(a, s), Numeric::Small(b, t)) = (self, other)
            && let Some((a, b, scale)) = aligned(*a, *s, *b, *t)
        {
            return Ok(Numeric::Small(a.wrapping_rem(b), scale));
        }
        let scale = self.scale().max(other.scale());
        Ok(Numeric::finite(self.unscaled_at(scale) % other.unscaled_at(scale), scale))
    }

    /// Rounded half away from zero to this many digits after the point; a negative number rounds before it.
    pub fn round(&self, digits: i32) -> Numeric {
        self.to_digits(digits, Rounding::HalfAway)
    }

    /// Cut off after this many digits.
    pub fn trunc(&self, digits: i32) -> Numeric {
        self.to_digits(digits, Rounding::Truncate)
    }

    /// The smallest whole number that is not smaller.
    pub fn ceil(&self) -> Numeric {
        self.to_digits(0, Rounding::Up)
    }

    /// The largest whole number that is not larger.
    pub fn floor(&self) -> Numeric {
        self.to_digits(0, Rounding::Down)
    }

    fn to_digits(&self, digits: i32, rounding: Rounding) -> Numeric {
        if !self.is_finite() {
            return self.clone();
        }
        let digits = digits.clamp(-2000, 2000);
        let scale = i32::from(self.scale());
        if digits >= scale {
            return self.with_scale(digits as u16);
        }
        let drop = (scale - digits) as u32;
        let kept = match (self, pow10_i128(drop)) {
            (Numeric::Small(m, _), Some(divisor)) => BigInt::from(rounding.apply_i128(*m, divisor)),
            _ => rounding.apply(&self.unscaled(), &pow10(drop)),
        };
        match u16::try_from(digits) {
            Ok(scale) => Numeric::finite(kept, scale),
            Err(_) => Numeric::finite(kept * pow10(-digits as u32), 0),
        }
    }

    /// The same value with more digits after the point.
    fn with_scale(&self, scale: u16) -> Numeric {
        if scale == self.scale() { self.clone() } else { Numeric::finite(self.unscaled_at(scale), scale) }
    }

    /// The unscaled value at this scale, rounded half away from zero, if it fits.
    pub(crate) fn rescale(&self, scale: i32) -> Option<i128> {
        let own = i32::from(self.scale());
        if let Numeric::Small(m, _) = self {
            if scale >= own {
                if let Some(p) = pow10_i128((scale - own) as u32) {
                    return m.checked_mul(p);
                }
            } else if let Some(divisor) = pow10_i128((own - scale) as u32) {
                return Some(Rounding::HalfAway.apply_i128(*m, divisor));
            }
        }
        if scale >= own {
            (self.unscaled() * pow10((scale - own) as u32)).to_i128()
        } else {
            div_round(&self.unscaled(), &pow10((own - scale) as u32)).to_i128()
        }
    }

    /// The same value with the smallest scale that shows it (`trim_scale`).
    pub fn trimmed(&self) -> Numeric {
        match self {
            Numeric::Small(0, _) => Numeric::ZERO,
            Numeric::Small(m, scale) => {
                let (mut m, mut scale) = (*m, *scale);
                while scale > 0 && m % 10 == 0 {
                    m /= 10;
                    scale -= 1;
                }
                Numeric::Small(m, scale)
            }
            Numeric::Big(m, scale) => {
                let (mut m, mut scale) = (m.clone(), *scale);
                let ten = BigInt::from(10);
                while scale > 0 {
                    let (quotient, remainder) = m.div_rem(&ten);
                    if !remainder.is_zero() {
                        break;
                    }
                    m = quotient;
                    scale -= 1;
                }
                Numeric::finite(m, scale)
            }
            other => other.clone(),
        }
    }

    /// The exponent of the first digit in base 10000 and that digit, as Postgres keeps numbers; `(0, 0)` for zero.
    pub(crate) fn first_digit(&self) -> (i64, i64) {
        if self.is_zero() {
            return (0, 0);
        }
        let exponent = self.decimal_exponent();
        let weight = exponent.div_euclid(4);
        // magnitude * 10^-scale / 10^(4*weight), which is less than 10000
        let shift = i64::from(self.scale()) + 4 * weight;
        if let Numeric::Small(m, _) = self
            && let Some(power) = u32::try_from(shift.abs()).ok().and_then(pow10_i128)
        {
            let (magnitude, power) = (m.unsigned_abs(), power.unsigned_abs());
            return (weight, if shift >= 0 { magnitude / power } else { magnitude * power } as i64);
        }
        let magnitude = self.unscaled().abs();
        let digit = if shift >= 0 { magnitude / pow10(shift as u32) } else { magnitude * pow10(-shift as u32) };
        (weight, digit.to_i64().unwrap_or(0))
    }

    /// The exponent of ten of the first digit of a finite number that is not zero.
    pub(crate) fn decimal_exponent(&self) -> i64 {
        let digits = match self {
            Numeric::Small(m, _) => i64::from(m.unsigned_abs().checked_ilog10().unwrap_or(0)) + 1,
            Numeric::Big(m, _) => m.magnitude().to_string().len() as i64,
            _ => 1,
        };
        digits - 1 - i64::from(self.scale())
    }
}

/// The digits after the point of a quotient: at least 16 significant digits, and no fewer than either operand shows.
pub fn div_scale(a: &Numeric, b: &Numeric) -> i64 {
    let ((weight_a, first_a), (weight_b, first_b)) = (a.first_digit(), b.first_digit());
    let mut weight = weight_a - weight_b;
    if first_a <= first_b {
        weight -= 1;
    }
    let scale = MIN_SIGNIFICANT_DIGITS - weight * 4;
    scale.max(i64::from(a.scale())).max(i64::from(b.scale())).clamp(0, MAX_RESULT_SCALE)
}

/// Both at the larger scale, if that fits.
#[inline]
fn aligned(a: i128, s: u16, b: i128, t: u16) -> Option<(i128, i128, u16)> {
    match s.cmp(&t) {
        Ordering::Equal => Some((a, b, s)),
        Ordering::Less => Some((a.checked_mul(pow10_i128(u32::from(t - s))?)?, b, t)),
        Ordering::Greater => Some((a, b.checked_mul(pow10_i128(u32::from(s - t))?)?, s)),
    }
}

fn div_small(a: i128, b: i128, shift: i64) -> Option<i128> {
    let power = pow10_i128(u32::try_from(shift.unsigned_abs()).ok()?)?;
    let (a, b) = if shift >= 0 { (a.checked_mul(power)?, b) } else { (a, b.checked_mul(power)?) };
    // The half-way test doubles the remainder, which is smaller than b.
    if b.unsigned_abs() > i128::MAX as u128 / 2 {
        return None;
    }
    Some(round_div_i128(a, b))
}

/// `a / b` rounded half away from zero.
#[inline]
pub(crate) fn round_div_i128(a: i128, b: i128) -> i128 {
    let (quotient, remainder) = (a / b, a % b);
    if remainder.unsigned_abs() >= b.unsigned_abs() - remainder.unsigned_abs() {
        quotient + if (a < 0) == (b < 0) { 1 } else { -1 }
    } else {
        quotient
    }
}

/// `a / b` rounded half away from zero.
pub(crate) fn div_round(a: &BigInt, b: &BigInt) -> BigInt {
    let (quotient, remainder) = a.div_rem(b);
    if (remainder.abs() * 2u8).cmp(&b.abs()) == Ordering::Less {
        quotient
    } else if a.is_negative() == b.is_negative() {
        quotient + 1
    } else {
        quotient - 1
    }
}

#[derive(Clone, Copy)]
enum Rounding {
    HalfAway,
    Truncate,
    Up,
    Down,
}

impl Rounding {
    fn apply_i128(self, m: i128, divisor: i128) -> i128 {
        match self {
            Rounding::HalfAway => round_div_i128(m, divisor),
            Rounding::Truncate => m / divisor,
            Rounding::Up => Integer::div_ceil(&m, &divisor),
            Rounding::Down => Integer::div_floor(&m, &divisor),
        }
    }

    fn apply(self, m: &BigInt, divisor: &BigInt) -> BigInt {
        match self {
            Rounding::HalfAway => div_round(m, divisor),
            Rounding::Truncate => m / divisor,
            Rounding::Up => Integer::div_ceil(m, divisor),
            Rounding::Down => Integer::div_floor(m, divisor),
        }
    }
}

/// `n!`; refused where Postgres refuses it.
pub fn factorial(n: i64) -> Result<Numeric> {
    if n < 0 {
        return Err(Error::new(ErrorKind::NumericOutOfRange, "factorial of a negative number is undefined"));
    }
    if n > 32177 {
        return Err(overflow());
    }
    let mut product = BigInt::from(1);
    for factor in 2..=n {
        product *= factor;
    }
    Ok(Numeric::finite(product, 0))
}
