//! to_char of numbers: digits put into a template.
//!
//! [`Shown`] is a number as digits, made ready for a template (rounded to its places, or `#` where it does not fit); [`write`] walks the
//! template with it, as PostgreSQL's NUM_processor does: the sign is written before the first digit, spaces or zeros stand for digits that
//! the number does not have, and with FM zeros at the end are left off.

use num_bigint::BigInt;

use super::datetime::ordinal_ending;
use super::number::{LocaleSign, Node, Pattern, Template};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::numeric::{Numeric, pow10};

/// A number made ready for a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    negative: bool,
    /// Digits with a point, without sign; or the whole text for EEEE and RN.
    digits: String,
    /// How many digits the template has before the point that the number does not.
    missing: i32,
    /// Digits after the point, where they are fewer than the template's.
    after: i32,
    /// Digits before the point, with those of V.
    before: i32,
}

impl Shown {
    fn whole(digits: String, template: &Template) -> Shown {
        Shown { negative: false, digits, missing: 0, after: template.after, before: template.before }
    }

    /// Digits (with a minus sign and a point, perhaps) at the template's places.
    fn fitted(text: &str, before: i32, after: i32) -> Shown {
        let negative = text.starts_with('-');
        let digits = text.trim_start_matches('-');
        let length = digits.find('.').unwrap_or(digits.len()) as i32;
        if length > before {
            let hashes = |count: i32| "#".repeat(count.max(0) as usize);
            let digits = format!("{}.{}", hashes(before), hashes(after));
            return Shown { negative, digits, missing: 0, after, before };
        }
        Shown { negative, digits: digits.to_string(), missing: before - length, after, before }
    }

    /// Of a numeric.
    pub(super) fn numeric(value: &Numeric, template: &Template) -> Result<Shown> {
        if template.roman {
            let rounded = value.round(0);
            let number = match rounded.to_i128() {
                Some(number) => i32::try_from(number)
                    .map_err(|_| Error::new(ErrorKind::NumericOutOfRange, "integer out of range"))?,
                None => {
                    let what = if value.is_nan() { "NaN" } else { "infinity" };
                    let message = format!("cannot convert {what} to integer");
                    return Err(Error::new(ErrorKind::Sql(weir_sql::ErrorKind::Unsupported), message));
                }
            };
            return Ok(Shown::whole(roman(number), template));
        }
        if template.exponent {
            return Ok(match value.is_finite() {
                true => Shown::whole(padded(scientific(value, template.after)), template),
                false => Shown::no_number(template),
            });
        }
        if template.has_shift {
            let shifted = value.mul(&Numeric::finite(pow10(template.shift as u32), 0))?;
            return Ok(Shown::fitted(&shifted.round(0).to_string(), template.before + template.shift, template.after));
        }
        Ok(Shown::fitted(&value.round(template.after).to_string(), template.before, template.after))
    }

    /// Of an integer.
    pub(super) fn integer(value: i64, ty: &weir_sql::Type, template: &Template) -> Result<Shown> {
        if template.roman {
            let number =
                i32::try_from(value).map_err(|_| Error::new(ErrorKind::NumericOutOfRange, "integer out of range"))?;
            return Ok(Shown::whole(roman(number), template));
        }
        if template.exponent {
            return Shown::numeric(&Numeric::from(value), template);
        }
        if template.has_shift {
            let shifted = u32::try_from(template.shift)
                .ok()
                .and_then(|shift| 10_i64.checked_pow(shift))
                .and_then(|power| value.checked_mul(power))
                .ok_or_else(|| Error::new(ErrorKind::NumericOutOfRange, format!("{ty} out of range")))?;
            return Ok(Shown::fitted(&shifted.to_string(), template.before + template.shift, template.after));
        }
        let mut text = value.to_string();
        if template.after > 0 {
            text.push('.');
            text.push_str(&"0".repeat(template.after as usize));
        }
        Ok(Shown::fitted(&text, template.before, template.after))
    }

    /// Of a float, of which so many digits (6 of a real, 15 of a double) are shown at most.
    pub(super) fn float(value: f64, precise: i32, template: &Template) -> Shown {
        if template.roman {
            let rounded = value.round_ties_even();
            let number = if (1.0..4000.0).contains(&rounded) { rounded as i32 } else { 0 };
            return Shown::whole(roman(number), template);
        }
        if template.exponent {
            if !value.is_finite() {
                return Shown::no_number(template);
            }
            return Shown::whole(padded(c_exponent(value, template.after)), template);
        }
        let mut before = template.before;
        let mut value = value;
        if template.has_shift {
            value *= 10_f64.powi(template.shift);
            before += template.shift;
        }
        let text = |digits: i32| match value {
            v if v.is_nan() => "NaN".to_string(),
            v if v.is_infinite() => if v < 0.0 { "-Infinity" } else { "Infinity" }.to_string(),
            v => format!("{v:.*}", digits as usize),
        };
        let length = text(0).trim_start_matches('-').len() as i32;
        let after = if length >= precise { 0 } else { template.after.min(precise - length) };
        Shown::fitted(&text(after), before, after)
    }

    /// NaN and infinities in scientific notation.
    fn no_number(template: &Template) -> Shown {
        let mut hashes = vec![b'#'; (template.before + template.after + 6) as usize];
        hashes[0] = b' ';
        if let Some(point) = hashes.get_mut(template.before as usize + 1) {
            *point = b'.';
        }
        Shown::whole(String::from_utf8_lossy(&hashes).into_owned(), template)
    }
}

/// A space in the place of a minus sign, so that both kinds of number are aligned.
fn padded(text: String) -> String {
    if text.starts_with('-') { text } else { format!(" {text}") }
}

/// printf's `%.*e`.
fn c_exponent(value: f64, digits: i32) -> String {
    let text = format!("{value:.*e}", digits as usize);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// A numeric in scientific notation. As in Postgres, a mantissa that rounds up to 10 stays 10.
fn scientific(value: &Numeric, digits: i32) -> String {
    let exponent = if value.is_zero() { 0 } else { value.decimal_exponent() };
    let shift = i64::from(value.scale()) + exponent;
    let mantissa = match u16::try_from(shift) {
        Ok(scale) => Numeric::finite(value.unscaled(), scale),
        // Zeros in front of the first digit, or a scale past the largest: as many digits as are shown are enough.
        Err(_) if shift < 0 => Numeric::finite(value.unscaled() * pow10(shift.unsigned_abs() as u32), 0),
        Err(_) => {
            let excess = shift - i64::from(u16::MAX);
            Numeric::finite(value.unscaled() / BigInt::from(10).pow(excess as u32), u16::MAX)
        }
    };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", mantissa.round(digits), exponent.abs())
}

/// A Roman number, or `#` for what has none.
fn roman(number: i32) -> String {
    const NUMERALS: [(i32, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    if !(1..4000).contains(&number) {
        return "#".repeat(15);
    }
    let (mut rest, mut out) = (number, String::new());
    for (value, numeral) in NUMERALS {
        while rest >= value {
            out.push_str(numeral);
            rest -= value;
        }
    }
    out
}

/// The last digit after the point that is not a zero (the point itself if there is none), by its place; `None` without a point.
fn last_relevant(digits: &[u8]) -> Option<usize> {
    let point = digits.iter().position(|&b| b == b'.')?;
    Some(digits.iter().rposition(|&b| b != b'0').map_or(point, |at| at.max(point)))
}

/// Appends a number by its template.
pub(super) fn write(template: &Template, shown: &Shown, out: &mut String) {
    if template.exponent {
        out.push_str(&shown.digits);
        return;
    }
    let mut writer = Writer::new(template, shown, out);
    for node in &template.nodes {
        writer.node(*node);
    }
}

struct Writer<'a> {
    template: &'a Template,
    digits: &'a [u8],
    /// Where in `digits` the writer is.
    at: usize,
    negative: bool,
    missing: i32,
    after: i32,
    locale_sign: LocaleSign,
    bracket: bool,
    zero_start: i32,
    last_relevant: Option<usize>,
    sign_written: bool,
    /// How many digit positions there are, the sign's among them.
    count: i32,
    /// The digit position that comes next.
    position: i32,
    /// Whether a digit was written: separators before it are spaces.
    inside: bool,
    /// The number was cut short by its precision and has run out: nothing more is put out.
    ended: bool,
    out: &'a mut String,
}

impl<'a> Writer<'a> {
    fn new(template: &'a Template, shown: &'a Shown, out: &'a mut String) -> Writer<'a> {
        let digits = shown.digits.as_bytes();
        let mut locale_sign = template.locale_sign;
        let mut bracket = template.bracket;
        let sign_written = if template.plus || template.minus {
            !template.plus || template.minus
        } else {
            if !shown.negative && template.fill {
                bracket = false;
            }
            if locale_sign == LocaleSign::Before && shown.before == template.before_sign {
                locale_sign = LocaleSign::After;
            }
            !shown.negative && template.fill && !template.has_locale_sign
        };
        let mut relevant = None;
        if template.fill && template.decimal {
            relevant = last_relevant(digits);
            if let Some(at) = relevant
                && template.zero_end > shown.missing
            {
                // What a 0 stands for is not left off.
                let last_zero = (digits.len() - 1).min((template.zero_end - shown.missing) as usize);
                relevant = Some(at.max(last_zero));
            }
        }
        let mut count = shown.after + shown.before - 1;
        if !sign_written && shown.missing == 0 {
            count += 1;
        }
        Writer {
            template,
            digits,
            at: 0,
            negative: shown.negative,
            missing: shown.missing,
            after: shown.after,
            locale_sign,
            bracket,
            zero_start: (template.zero_start - 1).max(0),
            last_relevant: relevant,
            sign_written,
            count,
            position: 0,
            inside: false,
            ended: false,
            out,
        }
    }

    fn push(&mut self, c: char) {
        if !self.ended {
            self.out.push(c);
        }
    }

    fn push_str(&mut self, text: &str) {
        text.chars().for_each(|c| self.push(c));
    }

    fn node(&mut self, node: Node) {
        let fill = self.template.fill;
        let pattern = match node {
            Node::Text(c) => return self.push(c),
            Node::Pattern(pattern) => pattern,
        };
        match pattern {
            Pattern::Nine | Pattern::Zero | Pattern::Point | Pattern::Decimal => {
                if !self.template.roman {
                    self.digit(pattern);
                }
            }
            Pattern::Comma | Pattern::Group => match (self.inside, fill) {
                (true, _) => self.push(','),
                (false, false) => self.push(' '),
                (false, true) => {}
            },
            Pattern::Currency => self.push(' '),
            Pattern::Roman { upper } => {
                let text = String::from_utf8_lossy(self.digits).into_owned();
                let text = if upper { text } else { text.to_ascii_lowercase() };
                self.push_str(&if fill { text } else { format!("{text:>15}") });
            }
            Pattern::Ordinal { upper } => {
                let no_ordinal = self.template.roman || self.digits.first() == Some(&b'#') || self.negative;
                if !no_ordinal && !self.template.decimal {
                    let number = String::from_utf8_lossy(self.digits).into_owned();
                    self.push_str(ordinal_ending(&number, upper));
                }
            }
            Pattern::Minus if self.negative => self.push('-'),
            Pattern::Plus if !self.negative => self.push('+'),
            Pattern::Minus | Pattern::Plus if fill => {}
            Pattern::Minus | Pattern::Plus => self.push(' '),
            Pattern::Sign => self.push(if self.negative { '-' } else { '+' }),
            Pattern::Blank
            | Pattern::Exponent
            | Pattern::Fill
            | Pattern::Bracket
            | Pattern::LocaleSign
            | Pattern::Spell
            | Pattern::Shift => {}
        }
    }

    /// Whether a zero before the point stands where the template has a 9: `0.1` by `9.9` is ` .1`.
    fn is_leading_zero(&self) -> bool {
        !self.template.zero && self.at == 0 && self.digits.first() == Some(&b'0') && self.after != 0
    }

    fn ends_at_point(&self) -> bool {
        self.last_relevant.is_some_and(|at| self.digits.get(at) == Some(&b'.'))
    }

    fn sign(&mut self) {
        if self.template.has_locale_sign {
            if self.locale_sign == LocaleSign::Before {
                self.push(if self.negative { '-' } else { '+' });
                self.sign_written = true;
            }
            return;
        }
        match (self.bracket, self.negative) {
            (true, true) => self.push('<'),
            (true, false) => self.push(' '),
            (false, true) => self.push('-'),
            (false, false) if !self.template.fill => self.push(' '),
            (false, false) => {}
        }
        self.sign_written = true;
    }

    fn digit(&mut self, pattern: Pattern) {
        let (template, fill) = (self.template, self.template.fill);
        self.inside = false;
        let starts = self.position >= self.missing || (template.zero && self.zero_start == self.position);
        if !self.sign_written && starts && (!self.is_leading_zero() || self.ends_at_point()) {
            self.sign();
        }
        if self.position < self.missing && (self.zero_start > self.position || !template.zero) {
            if !fill {
                self.push(' ');
            }
        } else if template.zero && self.position < self.missing {
            self.push('0');
            self.inside = true;
        } else {
            self.number_digit(pattern);
        }
        let mut end = self.count + i32::from(self.missing != 0) + i32::from(template.decimal);
        if self.last_relevant == Some(self.at) {
            end = self.position;
        }
        if self.position + 1 == end {
            if self.sign_written && self.bracket {
                self.push(if self.negative { '>' } else { ' ' });
            } else if template.has_locale_sign && self.locale_sign == LocaleSign::After {
                self.push(if self.negative { '-' } else { '+' });
            }
        }
        self.position += 1;
    }

    /// The number's next digit or point.
    fn number_digit(&mut self, pattern: Pattern) {
        let Some(&digit) = self.digits.get(self.at) else {
            if self.last_relevant.is_none_or(|last| self.at <= last || pattern == Pattern::Zero) {
                self.ended = true;
            }
            return;
        };
        if digit == b'.' {
            if !self.ends_at_point() || self.template.fill {
                self.push('.');
            }
        } else if self.last_relevant.is_some_and(|last| self.at > last) && pattern != Pattern::Zero {
            // A zero at the end.
        } else if self.is_leading_zero() {
            if !self.template.fill {
                self.push(' ');
            } else if self.ends_at_point() {
                self.push('0');
            }
        } else {
            self.push(char::from(digit));
            self.inside = true;
        }
        self.at += 1;
    }
}
