//! Templates of numbers (`FM999,990.00`): their patterns, and what a template says as a whole.
//!
//! The patterns and the rules about which go together are those of PostgreSQL's formatting.c. Its C locale holds: the decimal point is
//! `.`, the thousands' separator `,`, the currency symbol a space.

use crate::error::{Error, ErrorKind, Result};

/// A pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    /// `,`
    Comma,
    /// `.`
    Point,
    Zero,
    Nine,
    /// B: blank where the whole part is zero.
    Blank,
    /// D: the locale's decimal point.
    Decimal,
    /// EEEE: scientific notation.
    Exponent,
    /// FM: without padding.
    Fill,
    /// G: the locale's thousands' separator.
    Group,
    /// L: the locale's currency symbol.
    Currency,
    /// MI: a minus sign.
    Minus,
    /// PL: a plus sign.
    Plus,
    /// PR: negative numbers in angle brackets.
    Bracket,
    /// RN and rn.
    Roman {
        upper: bool,
    },
    /// SG: a sign of either kind.
    Sign,
    /// S: the locale's sign, next to the number.
    LocaleSign,
    /// SP: not implemented in Postgres either; it puts out nothing.
    Spell,
    /// TH and th.
    Ordinal {
        upper: bool,
    },
    /// V: times ten for each 9 behind it.
    Shift,
}

/// A piece of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Pattern(Pattern),
    Text(char),
}

/// Where S stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum LocaleSign {
    #[default]
    None,
    Before,
    After,
}

/// What a template says as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Template {
    pub(super) nodes: Vec<Node>,
    /// Digits before the point.
    pub(super) before: i32,
    /// Digits after it.
    pub(super) after: i32,
    pub(super) locale_sign: LocaleSign,
    /// How many digits stood before S.
    pub(super) before_sign: i32,
    /// Which digit the first 0 is (from 1); 0 if there is none.
    pub(super) zero_start: i32,
    /// Which digit the last 0 is.
    pub(super) zero_end: i32,
    /// How many 9 follow V.
    pub(super) shift: i32,
    pub(super) decimal: bool,
    pub(super) fill: bool,
    pub(super) has_locale_sign: bool,
    pub(super) bracket: bool,
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) zero: bool,
    pub(super) blank: bool,
    pub(super) roman: bool,
    pub(super) has_shift: bool,
    pub(super) exponent: bool,
}

/// The longer before those they begin with.
const PATTERNS: &[(&str, Pattern)] = &[
    (",", Pattern::Comma),
    (".", Pattern::Point),
    ("0", Pattern::Zero),
    ("9", Pattern::Nine),
    ("B", Pattern::Blank),
    ("D", Pattern::Decimal),
    ("EEEE", Pattern::Exponent),
    ("FM", Pattern::Fill),
    ("G", Pattern::Group),
    ("L", Pattern::Currency),
    ("MI", Pattern::Minus),
    ("PL", Pattern::Plus),
    ("PR", Pattern::Bracket),
    ("RN", Pattern::Roman { upper: true }),
    ("SG", Pattern::Sign),
    ("SP", Pattern::Spell),
    ("S", Pattern::LocaleSign),
    ("TH", Pattern::Ordinal { upper: true }),
    ("V", Pattern::Shift),
    ("b", Pattern::Blank),
    ("d", Pattern::Decimal),
    ("eeee", Pattern::Exponent),
    ("fm", Pattern::Fill),
    ("g", Pattern::Group),
    ("l", Pattern::Currency),
    ("mi", Pattern::Minus),
    ("pl", Pattern::Plus),
    ("pr", Pattern::Bracket),
    ("rn", Pattern::Roman { upper: false }),
    ("sg", Pattern::Sign),
    ("sp", Pattern::Spell),
    ("s", Pattern::LocaleSign),
    ("th", Pattern::Ordinal { upper: false }),
    ("v", Pattern::Shift),
];

fn syntax(message: &str) -> Error {
    Error::new(ErrorKind::Sql(weir_sql::ErrorKind::Syntax), message)
}

impl Template {
    /// Cuts a template into nodes; 42601 for patterns that do not go together.
    pub(super) fn parse(text: &str) -> Result<Template> {
        let mut template = Template::default();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some((name, pattern)) = PATTERNS.iter().find(|(name, _)| rest.starts_with(name)) {
                template.add(*pattern)?;
                template.nodes.push(Node::Pattern(*pattern));
                rest = &rest[name.len()..];
                continue;
            }
            let mut chars = rest.chars();
            match chars.next() {
                None => break,
                Some('"') => {
                    while let Some(c) = chars.next() {
                        match c {
                            '"' => break,
                            '\\' => template.nodes.push(Node::Text(chars.next().unwrap_or('\\'))),
                            c => template.nodes.push(Node::Text(c)),
                        }
                    }
                }
                Some(c) => {
                    let c = if c == '\\' && chars.as_str().starts_with('"') { chars.next().unwrap_or(c) } else { c };
                    template.nodes.push(Node::Text(c));
                }
            }
            rest = chars.as_str();
        }
        Ok(template)
    }

    fn add(&mut self, pattern: Pattern) -> Result<()> {
        if self.exponent && pattern != Pattern::Exponent {
            return Err(syntax("\"EEEE\" must be the last pattern used"));
        }
        match pattern {
            Pattern::Nine if self.bracket => return Err(syntax("\"9\" must be ahead of \"PR\"")),
            Pattern::Nine if self.has_shift => self.shift += 1,
            Pattern::Nine if self.decimal => self.after += 1,
            Pattern::Nine => self.before += 1,
            Pattern::Zero if self.bracket => return Err(syntax("\"0\" must be ahead of \"PR\"")),
            Pattern::Zero => {
                if !self.zero && !self.decimal {
                    self.zero = true;
                    self.zero_start = self.before + 1;
                }
                if self.decimal {
                    self.after += 1;
                } else {
                    self.before += 1;
                }
                self.zero_end = self.before + self.after;
            }
            Pattern::Blank => self.blank |= self.before == 0 && self.after == 0 && !self.zero,
            Pattern::Decimal | Pattern::Point => {
                if self.decimal {
                    return Err(syntax("multiple decimal points"));
                }
                if self.has_shift {
                    return Err(syntax("cannot use \"V\" and decimal point together"));
                }
                self.decimal = true;
            }
            Pattern::Fill => self.fill = true,
            Pattern::LocaleSign => {
                if self.has_locale_sign {
                    return Err(syntax("cannot use \"S\" twice"));
                }
                if self.plus || self.minus || self.bracket {
                    return Err(syntax("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together"));
                }
                if self.decimal {
                    self.locale_sign = LocaleSign::After;
                } else {
                    self.locale_sign = LocaleSign::Before;
                    self.before_sign = self.before;
                }
                self.has_locale_sign = true;
            }
            Pattern::Minus | Pattern::Plus | Pattern::Sign if self.has_locale_sign => {
                return Err(syntax(match pattern {
                    Pattern::Minus => "cannot use \"S\" and \"MI\" together",
                    Pattern::Plus => "cannot use \"S\" and \"PL\" together",
                    _ => "cannot use \"S\" and \"SG\" together",
                }));
            }
            Pattern::Minus => self.minus = true,
            Pattern::Plus => self.plus = true,
            Pattern::Sign => (self.minus, self.plus) = (true, true),
            Pattern::Bracket => {
                if self.has_locale_sign || self.plus || self.minus {
                    return Err(syntax("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together"));
                }
                self.bracket = true;
            }
            Pattern::Roman { .. } => self.roman = true,
            Pattern::Shift => {
                if self.decimal {
                    return Err(syntax("cannot use \"V\" and decimal point together"));
                }
                self.has_shift = true;
            }
            Pattern::Exponent => {
                if self.exponent {
                    return Err(syntax("cannot use \"EEEE\" twice"));
                }
                let others = self.blank
                    || self.fill
                    || self.has_locale_sign
                    || self.bracket
                    || self.minus
                    || self.plus
                    || self.roman
                    || self.has_shift;
                if others {
                    return Err(syntax("\"EEEE\" is incompatible with other formats")
                        .with_detail("\"EEEE\" may only be used together with digit and decimal point patterns."));
                }
                self.exponent = true;
            }
            Pattern::Comma | Pattern::Group | Pattern::Currency | Pattern::Spell | Pattern::Ordinal { .. } => {}
        }
        Ok(())
    }
}
