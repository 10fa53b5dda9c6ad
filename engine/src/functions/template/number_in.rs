//! to_number: a text read by a template.
//!
//! The text is walked with the template, as PostgreSQL's NUM_processor does: what is not part of a number is passed over where the template
//! has something else, and the digits found are a numeric of the template's precision.

use super::number::{LocaleSign, Node, Pattern, Template};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::numeric::{MAX_SCALE, Numeric, field_overflow, pow10};

/// Reads a text by a template.
pub(super) fn parse(template: &Template, text: &str) -> Result<Numeric> {
    let unsupported = |what: &str| {
        let message = format!("\"{what}\" not supported for input");
        Err(Error::new(ErrorKind::Sql(weir_sql::ErrorKind::Unsupported), message))
    };
    if template.exponent {
        return unsupported("EEEE");
    }
    if template.roman {
        return unsupported("RN");
    }
    let mut reader =
        Reader { template, text, at: 0, sign: ' ', digits: String::new(), before: 0, after: 0, has_point: false };
    for node in &template.nodes {
        if reader.peek().is_none() {
            break;
        }
        reader.node(*node);
    }
    reader.finish()
}

struct Reader<'a> {
    template: &'a Template,
    text: &'a str,
    at: usize,
    /// A space until one is read.
    sign: char,
    digits: String,
    before: i32,
    after: i32,
    has_point: bool,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    /// Passes over so many characters that cannot be part of a number.
    fn skip_other(&mut self, count: usize) {
        for _ in 0..count {
            match self.peek() {
                Some(c) if !"0123456789.,+-".contains(c) => self.skip(),
                _ => return,
            }
        }
    }

    fn node(&mut self, node: Node) {
        let pattern = match node {
            Node::Text(_) => return self.skip(),
            Node::Pattern(pattern) => pattern,
        };
        match pattern {
            Pattern::Nine | Pattern::Zero | Pattern::Point | Pattern::Decimal => {
                self.digit(matches!(pattern, Pattern::Nine | Pattern::Zero));
                self.skip();
            }
            Pattern::Comma | Pattern::Group
                // Nothing was "inside a number" when reading, so with FM a separator in the template matches nothing.
                if !self.template.fill && self.peek() == Some(',') => {
                    self.skip();
                }
            Pattern::Currency => self.skip_other(1),
            Pattern::Ordinal { .. } => self.skip_other(2),
            Pattern::Minus | Pattern::Plus | Pattern::Sign => match self.peek() {
                Some('-') if pattern != Pattern::Plus => {
                    self.sign = '-';
                    self.skip();
                }
                Some('+') if pattern != Pattern::Minus => {
                    self.sign = '+';
                    self.skip();
                }
                _ => self.skip_other(1),
            },
            _ => {}
        }
    }

    /// A digit or the point, with a sign before or behind it. The character it ends on is passed over by the caller.
    fn digit(&mut self, is_digit: bool) {
        if self.peek() == Some(' ') {
            self.skip();
        }
        if self.sign == ' ' && is_digit && self.before + self.after == 0 {
            let by_locale = self.template.locale_sign == LocaleSign::Before;
            match self.peek() {
                Some('-') => self.sign = '-',
                Some('+') => self.sign = '+',
                Some('<') if self.template.bracket && !by_locale => self.sign = '-',
                _ => {}
            }
            if self.sign != ' ' {
                self.skip();
            }
        }
        let Some(next) = self.peek() else { return };
        let mut read = false;
        if next.is_ascii_digit() {
            if self.has_point && self.after == self.template.after {
                return;
            }
            self.digits.push(next);
            *if self.has_point { &mut self.after } else { &mut self.before } += 1;
            read = true;
        } else if next == '.' && self.template.decimal && !self.has_point {
            self.digits.push('.');
            self.has_point = true;
            read = true;
        }
        if self.sign != ' ' || self.before + self.after == 0 {
            return;
        }
        let locale = self.template.has_locale_sign;
        if locale && read {
            // S behind the last digit.
            let sign = self.rest().chars().nth(1).filter(|c| matches!(c, '+' | '-'));
            if let Some(sign) = sign {
                self.sign = sign;
                self.at += 1;
            }
        } else if !read && !locale && (self.template.plus || self.template.minus) && matches!(next, '+' | '-') {
            self.sign = next;
        }
    }

    fn finish(&self) -> Result<Numeric> {
        let digits = self.digits.strip_suffix('.').unwrap_or(&self.digits);
        let value: Numeric = format!("{}{digits}", self.sign).parse()?;
        let precision = self.template.before + self.template.shift + self.after;
        let scale = self.after.min(MAX_SCALE.into());
        let value = value.round(scale);
        if value.abs() >= Numeric::finite(pow10((precision - scale).max(0) as u32), 0) {
            return Err(field_overflow(precision, scale));
        }
        match self.template.has_shift {
            true => value.mul(&Numeric::finite(1.into(), self.template.shift as u16)),
            false => Ok(value),
        }
    }
}
