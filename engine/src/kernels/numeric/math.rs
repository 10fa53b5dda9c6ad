//! sqrt, ln, exp, log and power, to the digits that Postgres chooses.
//!
//! The number of digits after the point is Postgres's: about 16 significant ones, and no fewer than the arguments show. The values are computed
//! in binary fixed point with enough bits more than those digits need that the last one is rounded rightly: exp by its series after
//! taking out powers of two, ln by that of the inverse hyperbolic tangent.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::arith::{div_round, division_by_zero};
use super::{MAX_RESULT_SCALE, MIN_SIGNIFICANT_DIGITS, Numeric, overflow, pow10};
use crate::error::{Error, ErrorKind, Result};

/// Beyond this e^x overflows a numeric, or is zero.
const EXPONENT_MAX: f64 = 6000.0;
/// A whole power is taken by multiplication up to so many digits after the point.
const EXACT_DECIMALS_MAX: u64 = 100_000;
/// Bits beyond those that the digits need.
const GUARD_BITS: u64 = 64;

/// A scale that shows `significant` digits of a number whose first digit stands at `weight`, and no fewer than `least`.
fn scale_for(weight: i64, least: u16) -> i64 {
    (MIN_SIGNIFICANT_DIGITS - weight).max(i64::from(least)).clamp(0, MAX_RESULT_SCALE)
}

/// The bits that so many decimal digits take.
fn bits_of(digits: i64) -> u64 {
    (digits.max(0) as f64 * std::f64::consts::LOG2_10) as u64 + GUARD_BITS
}

/// A positive finite number in fixed point with `bits` bits after the point.
fn fixed(value: &Numeric, bits: u64) -> BigInt {
    (value.unscaled() << bits).div_floor(&pow10(value.scale().into()))
}

/// Fixed point as a numeric of this scale.
fn to_numeric(value: &BigInt, bits: i64, scale: i64) -> Result<Numeric> {
    let scaled = value * pow10(scale as u32);
    let rounded = match bits {
        bits if bits > 0 => div_round(&scaled, &(BigInt::one() << bits as u64)),
        bits => scaled << bits.unsigned_abs(),
    };
    Numeric::checked(rounded, scale as u16)
}

/// Twice the inverse hyperbolic tangent, in fixed point.
fn twice_atanh(y: &BigInt, bits: u64) -> BigInt {
    let square: BigInt = (y * y) >> bits;
    let (mut power, mut sum, mut n) = (y.clone(), y.clone(), 1u32);
    loop {
        power = (&power * &square) >> bits;
        // Shifting right rounds down, so a negative power ends at -1.
        if power.is_zero() || power == BigInt::from(-1) {
            return sum << 1;
        }
        n += 2;
        sum += &power / n;
    }
}

/// ln 2 in fixed point.
fn ln_two(bits: u64) -> BigInt {
    twice_atanh(&((BigInt::one() << bits) / 3), bits)
}

/// The natural logarithm of a positive finite number, in fixed point.
fn ln_fixed(value: &Numeric, bits: u64) -> BigInt {
    // value = m * 2^k with m near 1, so that the series is short.
    let magnitude = fixed(value, bits.max(u64::from(value.scale()) * 4 + 64));
    let own_bits = bits.max(u64::from(value.scale()) * 4 + 64);
    let mut k = magnitude.bits() as i64 - 1 - own_bits as i64;
    let mantissa = |k: i64| {
        let shift = bits as i64 - k;
        let (up, down) = (shift.max(0) as u64, (-shift).max(0) as u64);
        (value.unscaled() << up).div_floor(&(pow10(value.scale().into()) << down))
    };
    let one = BigInt::one() << bits;
    let mut m = mantissa(k);
    if &m + (&m >> 1) > (&one << 1) {
        k += 1;
        m = mantissa(k);
    }
    let y = ((&m - &one) << bits).div_floor(&(&m + &one));
    let ln = if y.is_zero() { BigInt::zero() } else { twice_atanh(&y, bits) };
    if k == 0 { ln } else { ln + ln_two(bits) * k }
}

/// e to a power in fixed point: the result, and the power of two it is to be multiplied by.
fn exp_fixed(x: &BigInt, bits: u64) -> (BigInt, i64) {
    /// The argument of the series is halved so often, and its result squared as often.
    const HALVINGS: u64 = 8;
    let ln_two = ln_two(bits);
    let (k, rest) = x.div_mod_floor(&ln_two);
    let rest = rest >> HALVINGS;
    let one = BigInt::one() << bits;
    let (mut term, mut sum, mut n) = (one.clone(), one, 1u32);
    loop {
        term = ((&term * &rest) >> bits) / n;
        if term.is_zero() {
            break;
        }
        sum += &term;
        n += 1;
    }
    for _ in 0..HALVINGS {
        sum = (&sum * &sum) >> bits;
    }
    (sum, k.to_i64().unwrap_or(0))
}

/// Where the first digit of ln(value) stands, as Postgres estimates it.
fn ln_weight(value: &Numeric) -> i64 {
    if value.signum() <= 0 {
        return 0;
    }
    let near_one = *value >= Numeric::Small(9, 1) && *value <= Numeric::Small(11, 1);
    if near_one {
        return match value.sub(&Numeric::Small(1, 0)) {
            Ok(x) if !x.is_zero() => x.decimal_exponent(),
            _ => 0,
        };
    }
    let ln = value.unscaled().bits() as f64;
    let ln = if ln < 1000.0 { value.unscaled().to_f64().unwrap_or(1.0).ln() } else { ln * std::f64::consts::LN_2 }
        - f64::from(value.scale()) * std::f64::consts::LN_10;
    ln.abs().log10() as i64
}

fn power_error(message: &str) -> Error {
    Error::new(ErrorKind::InvalidArgumentForPower, message)
}

fn check_logarithm(value: &Numeric) -> Result<()> {
    let what = match value.signum() {
        0 => "zero",
        -1 => "a negative number",
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::InvalidArgumentForLogarithm, format!("cannot take logarithm of {what}")))
}

impl Numeric {
    /// The square root; 2201F of a negative number.
    pub fn sqrt(&self) -> Result<Numeric> {
        if self.signum() < 0 {
            return Err(power_error("cannot take square root of a negative number"));
        }
        if !self.is_finite() {
            return Ok(self.clone());
        }
        let (weight, _) = self.first_digit();
        let scale = scale_for((weight + 1) * 2 - 1, self.scale());
        let scaled = self.unscaled() * pow10((scale * 2 - i64::from(self.scale())) as u32);
        let root = scaled.sqrt();
        let rest = &scaled - &root * &root;
        let rounded = if rest > root { root + 1 } else { root };
        Numeric::checked(rounded, scale as u16)
    }

    /// The natural logarithm; 2201E of zero and less.
    pub fn ln(&self) -> Result<Numeric> {
        check_logarithm(self)?;
        if !self.is_finite() {
            return Ok(self.clone());
        }
        let scale = scale_for(ln_weight(self), self.scale());
        let bits = bits_of(scale);
        to_numeric(&ln_fixed(self, bits), bits as i64, scale)
    }

    /// e to this power; 22003 where it is too large.
    pub fn exp(&self) -> Result<Numeric> {
        match self {
            Numeric::NegInfinity => return Ok(Numeric::ZERO),
            Numeric::Infinity | Numeric::NaN => return Ok(self.clone()),
            _ => {}
        }
        let value = self.to_f64();
        let weight = (value * std::f64::consts::LOG10_E).clamp(-2000.0, 2000.0) as i64;
        let scale = scale_for(weight, self.scale());
        if value.abs() >= EXPONENT_MAX {
            return if value > 0.0 { Err(overflow()) } else { Ok(Numeric::Small(0, scale as u16)) };
        }
        let bits = bits_of(scale + weight.max(0));
        exp_at(&fixed(self, bits), bits, scale)
    }

    /// The logarithm to a base; 2201E where one of them is zero or less, 22012 for the base 1.
    pub fn log(base: &Numeric, value: &Numeric) -> Result<Numeric> {
        if base.is_nan() || value.is_nan() {
            return Ok(Numeric::NaN);
        }
        check_logarithm(base)?;
        check_logarithm(value)?;
        match (base.is_finite(), value.is_finite()) {
            (true, true) => {}
            // log(Inf, Inf) reduces to Inf/Inf, so it's NaN; log(Inf, finite-positive) reduces to zero.
            (false, false) => return Ok(Numeric::NaN),
            (false, true) => return Ok(Numeric::ZERO),
            (true, false) => return Ok(Numeric::Infinity),
        }
        let weight = ln_weight(value) - ln_weight(base);
        let scale = scale_for(weight, base.scale().max(value.scale()));
        // Enough for the digits of the quotient, whichever logarithm is the smaller.
        let bits = bits_of(scale + weight.abs() + ln_weight(base).abs() + ln_weight(value).abs() + 8);
        let divisor = ln_fixed(base, bits);
        if divisor.is_zero() {
            return Err(division_by_zero());
        }
        let quotient = div_round(&(ln_fixed(value, bits) * pow10(scale as u32)), &divisor);
        Numeric::checked(quotient, scale as u16)
    }

    /// The power; 2201F for what is undefined or complex, 22003 where it is too large.
    pub fn power(base: &Numeric, exponent: &Numeric) -> Result<Numeric> {
        if !base.is_finite() || !exponent.is_finite() {
            return special_power(base, exponent);
        }
        let whole = exponent.trunc(0);
        let is_whole = whole == *exponent;
        if base.is_zero() && exponent.signum() < 0 {
            return Err(power_error("zero raised to a negative power is undefined"));
        }
        if base.signum() < 0 && !is_whole {
            return Err(power_error("a negative number raised to a non-integer power yields a complex result"));
        }
        let integer = whole.to_i128().and_then(|n| i32::try_from(n).ok()).filter(|_| is_whole);
        if let Some(n) = integer {
            // Very many digits after the point are cheaper by logarithms.
            if u64::from(n.unsigned_abs()) * u64::from(base.scale()) <= EXACT_DECIMALS_MAX || base.is_zero() {
                return integer_power(base, n);
            }
        }
        if base.is_zero() {
            return Ok(Numeric::Small(0, MIN_SIGNIFICANT_DIGITS as u16));
        }
        let negative = base.signum() < 0 && whole.unscaled().is_odd() && whole.scale() == 0;
        let base = base.abs();
        // A first look, with few digits, says how large the result is.
        let rough_bits = bits_of(24 - ln_weight(&base).min(0));
        let rough = Numeric::finite(ln_fixed(&base, rough_bits), 0).to_f64() / 2f64.powi(rough_bits as i32);
        let value = rough * exponent.to_f64();
        if !value.is_finite() || value.abs() > EXPONENT_MAX * 1.003 {
            return if value > 0.0 { Err(overflow()) } else { Ok(Numeric::Small(0, MAX_RESULT_SCALE as u16)) };
        }
        let weight = (value * std::f64::consts::LOG10_E) as i64;
        let scale = match integer {
            Some(_) => scale_for(0, base.scale()),
            None => scale_for(weight, base.scale().max(exponent.scale())),
        };
        let exponent_digits = exponent.decimal_exponent().max(0) + 1;
        let bits = bits_of(scale + weight.max(0) + exponent_digits);
        let product = (ln_fixed(&base, bits) * exponent.unscaled()).div_floor(&pow10(exponent.scale().into()));
        let result = exp_at(&product, bits, scale)?;
        Ok(if negative { result.neg() } else { result })
    }

    /// The greatest common divisor, also of fractions.
    pub fn gcd(&self, other: &Numeric) -> Numeric {
        if !self.is_finite() || !other.is_finite() {
            return Numeric::NaN;
        }
        let scale = self.scale().max(other.scale());
        Numeric::finite(self.unscaled_at(scale).gcd(&other.unscaled_at(scale)), scale)
    }

    /// The least common multiple, also of fractions.
    pub fn lcm(&self, other: &Numeric) -> Result<Numeric> {
        if !self.is_finite() || !other.is_finite() {
            return Ok(Numeric::NaN);
        }
        let scale = self.scale().max(other.scale());
        let (a, b) = (self.unscaled_at(scale), other.unscaled_at(scale));
        if a.is_zero() || b.is_zero() {
            return Ok(Numeric::Small(0, scale));
        }
        Numeric::checked((&a / a.gcd(&b) * b).abs(), scale)
    }
}

fn exp_at(x: &BigInt, bits: u64, scale: i64) -> Result<Numeric> {
    let (value, k) = exp_fixed(x, bits);
    to_numeric(&value, bits as i64 - k, scale)
}

/// Powers with NaN and infinities, as POSIX has them.
fn special_power(base: &Numeric, exponent: &Numeric) -> Result<Numeric> {
    let one = Numeric::Small(1, 0);
    if base.is_nan() {
        return Ok(if exponent.is_zero() { one } else { Numeric::NaN });
    }
    if exponent.is_nan() {
        return Ok(if *base == one { one } else { Numeric::NaN });
    }
    if exponent.is_zero() || *base == one {
        return Ok(one);
    }
    if base.is_zero() && exponent.signum() < 0 {
        return Err(power_error("zero raised to a negative power is undefined"));
    }
    let whole = exponent.is_finite() && exponent.trunc(0) == *exponent;
    if base.signum() < 0 && exponent.is_finite() && !whole {
        return Err(power_error("a negative number raised to a non-integer power yields a complex result"));
    }
    if !exponent.is_finite() {
        let size = base.abs();
        return Ok(match (size.cmp(&one), exponent.signum() > 0) {
            (std::cmp::Ordering::Equal, _) => one,
            (std::cmp::Ordering::Greater, true) | (std::cmp::Ordering::Less, false) => Numeric::Infinity,
            _ => Numeric::ZERO,
        });
    }
    // The base is infinite.
    Ok(match (exponent.signum() > 0, base.signum() > 0 || exponent.unscaled().is_even()) {
        (false, _) => Numeric::ZERO,
        (true, true) => Numeric::Infinity,
        (true, false) => Numeric::NegInfinity,
    })
}

/// A whole power, by squaring with as many digits as the result needs.
fn integer_power(base: &Numeric, exponent: i32) -> Result<Numeric> {
    let scale = scale_for(0, base.scale());
    match exponent {
        0 => return Numeric::checked(pow10(scale as u32), scale as u16),
        1 => return Ok(base.round(scale as i32)),
        -1 => return Numeric::Small(1, 0).div_at(base, scale),
        2 => return Ok(base.mul(base)?.round(scale as i32)),
        _ => {}
    }
    if base.is_zero() {
        return Ok(Numeric::Small(0, scale as u16));
    }
    let magnitude = base.unscaled().abs();
    let exact_log = f64::from(exponent) * decimal_log(&magnitude, base.scale());
    if exact_log + 1.0 < -(scale as f64) {
        return Ok(Numeric::Small(0, scale as u16));
    }
    if exact_log > 3.0 * 32_767.0 * 4.0 {
        return Err(overflow());
    }
    let digits = scale + exact_log.max(0.0) as i64 + 24;
    let bits_max = bits_of(digits) + 32;
    // value = m * 2^e * 10^-s: bits below those that matter are dropped as they come.
    let trim = |(m, e): (BigInt, i64)| -> (BigInt, i64) {
        let excess = m.bits().saturating_sub(bits_max);
        (m >> excess, e + excess as i64)
    };
    let (mut result, mut square) = ((BigInt::one(), 0i64), (magnitude, 0i64));
    let mut rest = exponent.unsigned_abs();
    while rest > 0 {
        if rest & 1 == 1 {
            result = trim((&result.0 * &square.0, result.1 + square.1));
        }
        rest >>= 1;
        if rest > 0 {
            square = trim((&square.0 * &square.0, square.1 * 2));
        }
    }
    let (mantissa, binary) = result;
    let decimals = u32::from(base.scale()).checked_mul(exponent.unsigned_abs()).ok_or_else(overflow)?;
    let (mut up, mut down) = (mantissa, pow10(decimals));
    if exponent < 0 {
        std::mem::swap(&mut up, &mut down);
    }
    let binary = if exponent < 0 { -binary } else { binary };
    up *= pow10(scale as u32);
    if binary >= 0 {
        up <<= binary as u64;
    } else {
        down <<= binary.unsigned_abs();
    }
    let rounded = div_round(&up, &down);
    let negative = base.signum() < 0 && exponent % 2 != 0;
    Numeric::checked(if negative { -rounded } else { rounded }, scale as u16)
}

/// The decimal logarithm of `magnitude * 10^-scale`.
fn decimal_log(magnitude: &BigInt, scale: u16) -> f64 {
    let excess = magnitude.bits().saturating_sub(64);
    let top = (magnitude >> excess).to_f64().unwrap_or(1.0);
    top.log10() + excess as f64 * std::f64::consts::LOG10_2 - f64::from(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: Result<Numeric>) -> String {
        value.expect("it has a value").to_string()
    }

    fn number(text: &str) -> Numeric {
        text.parse().expect("it is a number")
    }

    #[test]
    fn digits_are_those_of_postgres() {
        assert_eq!(shown(number("2").sqrt()), "1.414213562373095");
        assert_eq!(shown(number("10.0").ln()), "2.3025850929940457");
        assert_eq!(shown(number("32.999").exp()), "214429043492155.053");
        assert_eq!(
            shown(number("-123.456").exp()),
            "0.000000000000000000000000000000000000000000000000000002419582541264601"
        );
        assert_eq!(shown(Numeric::log(&number("7.1"), &number("9.7"))), "1.1591918431708568");
        assert_eq!(shown(Numeric::power(&number("2.5"), &number("3.7"))), "29.674132536420854");
        assert_eq!(shown(Numeric::power(&number("1.0001"), &number("10000"))), "2.7181459268252249");
        assert_eq!(shown(number("12.5").lcm(&number("7.5"))), "37.5");
    }

    #[test]
    fn exp_and_ln_are_each_others_inverse() {
        for text in ["0.001", "0.999999", "1.5", "123.456", "98765432.1"] {
            let value = number(text);
            let back = value.ln().and_then(|ln| ln.exp()).expect("it is in range");
            let difference = back.sub(&value).expect("it is finite").abs().to_f64();
            assert!(difference <= value.to_f64() * 1e-14, "{text} comes back as {back}");
        }
    }
}
