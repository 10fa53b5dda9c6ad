//! Postgres's regular expressions in the spelling of the `regex` crate.
//!
//! [`compile`] walks an advanced regular expression once and writes the same pattern for `regex`: character classes in Unicode, `\m \M \y`
//! as word boundaries, bounds checked, embedded options read. Matching is then linear in the text. What such a matcher cannot do
//! (back-references, lookahead and lookbehind) is left to `fancy-regex`, whose spelling is the same. One difference stays: among alternatives
//! that match at the same place the first one wins, not the longest; whether there is a match is the same.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use regex::RegexBuilder;

use super::regex_engine::Expression;
use crate::error::{Error, ErrorKind, Result};

/// Whose regular expressions they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Flavour {
    /// Postgres's advanced regular expressions.
    Postgres,
    /// ClickHouse's, which are RE2's, as is the `regex` crate's syntax.
    Re2,
}

/// Options that a flags argument or `(?…)` sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Options {
    /// `g`: all matches; only some functions take it.
    pub(crate) global: bool,
    /// `i`
    pub(crate) ignore_case: bool,
    /// `x`
    pub(crate) expanded: bool,
    /// `q`: no character is special.
    pub(crate) literal: bool,
    /// `p` and `n`: neither `.` nor `[^…]` matches a newline.
    pub(crate) newline_stops: bool,
    /// `w` and `n`: `^` and `$` match at each line.
    pub(crate) lines: bool,
}

impl Options {
    /// Reads a flags argument.
    pub(crate) fn parse(flags: &str) -> Result<Options> {
        let mut options = Options::default();
        for c in flags.chars() {
            if c == 'g' {
                options.global = true;
            } else if !options.set(c) {
                return Err(Error::new(
                    ErrorKind::InvalidParameter,
                    format!("invalid regular expression option: \"{c}\""),
                ));
            }
        }
        Ok(options)
    }

    fn set(&mut self, c: char) -> bool {
        match c {
            'i' => self.ignore_case = true,
            'c' => self.ignore_case = false,
            'x' => self.expanded = true,
            't' => self.expanded = false,
            'q' => self.literal = true,
            'n' | 'm' => (self.newline_stops, self.lines) = (true, true),
            'p' => (self.newline_stops, self.lines) = (true, false),
            'w' => (self.newline_stops, self.lines) = (false, true),
            's' => (self.newline_stops, self.lines) = (false, false),
            // Basic and extended expressions are read as advanced ones.
            'b' | 'e' => {}
            _ => return false,
        }
        true
    }
}

/// What names a compiled expression: its text, its options and whose it is.
type CacheKey = (String, Options, Flavour);

thread_local! {
    static CACHE: RefCell<HashMap<CacheKey, Rc<Expression>>> = RefCell::new(HashMap::new());
}

/// The compiled form of a pattern; the last few are kept.
pub(crate) fn compile(pattern: &str, options: Options, flavour: Flavour) -> Result<Rc<Expression>> {
    const KEPT_MAX: usize = 64;
    let key = (pattern.to_string(), Options { global: false, ..options }, flavour);
    if let Some(regex) = CACHE.with_borrow(|cache| cache.get(&key).cloned()) {
        return Ok(regex);
    }
    let regex = Rc::new(match flavour {
        Flavour::Postgres => Translator::new(pattern, options).compile()?,
        Flavour::Re2 => RegexBuilder::new(pattern)
            .dot_matches_new_line(true)
            .case_insensitive(options.ignore_case)
            .build()
            .map(Expression::Linear)
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => invalid("regular expression is too complex"),
                error => invalid(error.to_string().lines().last().unwrap_or_default()),
            })?,
    });
    CACHE.with_borrow_mut(|cache| {
        if cache.len() >= KEPT_MAX {
            cache.clear();
        }
        cache.insert(key, regex.clone());
    });
    Ok(regex)
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::InvalidRegularExpression, format!("invalid regular expression: {what}"))
}

struct Translator<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    options: Options,
    out: String,
    /// Whether a quantifier may follow: there is something to repeat.
    operand: bool,
    groups: usize,
    /// The groups that are open: the number of one that captures, and whether it is one that looks around.
    open: Vec<(Option<usize>, bool)>,
    /// The numbers of the groups that are closed.
    closed: Vec<usize>,
    /// Whether the pattern looks around or back.
    backtracks: bool,
}

impl<'a> Translator<'a> {
    fn new(mut pattern: &'a str, mut options: Options) -> Translator<'a> {
        if let Some(rest) = pattern.strip_prefix("***:") {
            pattern = rest;
        } else if let Some(rest) = pattern.strip_prefix("***=") {
            (pattern, options.literal) = (rest, true);
        }
        Translator {
            chars: pattern.chars().peekable(),
            options,
            out: String::new(),
            operand: false,
            groups: 0,
            open: Vec::new(),
            closed: Vec::new(),
            backtracks: false,
        }
    }

    fn compile(mut self) -> Result<Expression> {
        self.embedded_options()?;
        if self.options.literal {
            self.out = regex::escape(&self.chars.by_ref().collect::<String>());
        } else {
            self.expression()?;
        }
        if self.backtracks {
            let built = fancy_regex::RegexBuilder::new(&self.out)
                .case_insensitive(self.options.ignore_case)
                .dot_matches_new_line(!self.options.newline_stops)
                .multi_line(self.options.lines)
                .build();
            let built = built.map_err(|error| invalid(error.to_string().lines().last().unwrap_or_default()))?;
            return Ok(Expression::Backtracking(Box::new(built)));
        }
        let built = RegexBuilder::new(&self.out)
            .case_insensitive(self.options.ignore_case)
            .dot_matches_new_line(!self.options.newline_stops)
            .multi_line(self.options.lines)
            .build();
        built.map(Expression::Linear).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => invalid("regular expression is too complex"),
            error => invalid(error.to_string().lines().last().unwrap_or_default()),
        })
    }

    /// `(?i)` and the like, at the very start only.
    fn embedded_options(&mut self) -> Result<()> {
        let mut ahead = self.chars.clone();
        if ahead.next() != Some('(') || ahead.next() != Some('?') || !ahead.peek().is_some_and(|c| c.is_alphabetic()) {
            return Ok(());
        }
        loop {
            match ahead.next() {
                Some(')') => break,
                Some(c) if self.options.set(c) => {}
                _ => return Err(invalid("invalid embedded option")),
            }
        }
        self.chars = ahead;
        Ok(())
    }

    fn expression(&mut self) -> Result<()> {
        while let Some(c) = self.chars.next() {
            match c {
                '\\' => self.escape()?,
                '[' => self.bracket()?,
                '(' => self.open_group()?,
                ')' => {
                    let (group, around) = self.open.pop().ok_or_else(|| invalid("parentheses () not balanced"))?;
                    self.closed.extend(group);
                    self.out.push(')');
                    self.operand = !around;
                }
                '|' => {
                    self.out.push('|');
                    self.operand = false;
                }
                '*' | '+' | '?' => {
                    self.out.push(c);
                    self.end_quantifier()?;
                }
                '{' if self.chars.peek().is_some_and(char::is_ascii_digit) => self.bounds()?,
                '^' => {
                    self.out.push('^');
                    self.operand = false;
                }
                '$' => {
                    self.out.push('$');
                    self.operand = false;
                }
                '.' => {
                    self.out.push('.');
                    self.operand = true;
                }
                c if self.options.expanded && c.is_whitespace() => {}
                '#' if self.options.expanded => while self.chars.next().is_some_and(|c| c != '\n') {},
                c => self.literal(c),
            }
        }
        if !self.open.is_empty() {
            return Err(invalid("parentheses () not balanced"));
        }
        Ok(())
    }

    fn literal(&mut self, c: char) {
        self.out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
        self.operand = true;
    }

    fn open_group(&mut self) -> Result<()> {
        let (mut group, mut around) = (None, false);
        if self.chars.peek() != Some(&'?') {
            // Within what looks around nothing is captured.
            if self.looks_around() {
                self.out.push_str("(?:");
            } else {
                self.out.push('(');
                self.groups += 1;
                group = Some(self.groups);
            }
        } else {
            self.chars.next();
            match self.chars.next() {
                Some(':') => self.out.push_str("(?:"),
                Some('#') => {
                    while self.chars.next().is_some_and(|c| c != ')') {}
                    return Ok(());
                }
                Some(sign @ ('=' | '!')) => {
                    self.out.extend(['(', '?', sign]);
                    around = true;
                }
                Some('<') if matches!(self.chars.peek(), Some('=' | '!')) => {
                    self.out.push_str("(?<");
                    self.out.extend(self.chars.next());
                    around = true;
                }
                _ => return Err(invalid("quantifier operand invalid")),
            }
        }
        self.backtracks |= around;
        self.open.push((group, around));
        self.operand = false;
        Ok(())
    }

    /// Whether this is within a group that looks around.
    fn looks_around(&self) -> bool {
        self.open.iter().any(|(_, around)| *around)
    }

    /// `\1` and the like; whether it is one. A number of several digits that is no group's is a character's.
    fn back_reference(&mut self, digit: u32) -> Result<bool> {
        let (mut number, mut ahead, mut digits) = (digit as usize, self.chars.clone(), 1);
        while let Some(next) = ahead.peek().and_then(|c| c.to_digit(10)) {
            number = number.saturating_mul(10).saturating_add(next as usize);
            digits += 1;
            ahead.next();
        }
        let known = self.closed.contains(&number) && !self.looks_around();
        if !known && digits > 1 {
            return Ok(false);
        }
        if !known {
            return Err(invalid("invalid backreference number"));
        }
        self.chars = ahead;
        // In a group of its own, so that a digit after it is none of its.
        self.out.push_str(&format!("(?:\\{number})"));
        self.backtracks = true;
        self.operand = true;
        Ok(true)
    }

    /// After a quantifier: `?` makes it non-greedy, and no other may follow.
    fn end_quantifier(&mut self) -> Result<()> {
        if !self.operand {
            return Err(invalid("quantifier operand invalid"));
        }
        if self.chars.peek() == Some(&'?') {
            self.chars.next();
            self.out.push('?');
        }
        self.operand = false;
        Ok(())
    }

    fn bounds(&mut self) -> Result<()> {
        const REPETITIONS_MAX: u32 = 255;
        let least = self.number().unwrap_or(0);
        let mut most = Some(least);
        if self.chars.peek() == Some(&',') {
            self.chars.next();
            most = self.number();
        }
        match self.chars.next() {
            Some('}') => {}
            None => return Err(invalid("braces {} not balanced")),
            Some(_) => return Err(invalid("invalid repetition count(s)")),
        }
        if least > REPETITIONS_MAX || most.is_some_and(|most| most < least || most > REPETITIONS_MAX) {
            return Err(invalid("invalid repetition count(s)"));
        }
        let most = most.map_or(String::new(), |most| most.to_string());
        self.out.push_str(&format!("{{{least},{most}}}"));
        self.end_quantifier()
    }

    fn number(&mut self) -> Option<u32> {
        let mut number = None;
        while let Some(digit) = self.chars.peek().and_then(|c| c.to_digit(10)) {
            self.chars.next();
            number = Some(number.unwrap_or(0u32).saturating_mul(10).saturating_add(digit));
        }
        number
    }

    fn escape(&mut self) -> Result<()> {
        let bad = || invalid("invalid escape \\ sequence");
        let c = self.chars.next().ok_or_else(bad)?;
        if let Some(class) = shorthand(c) {
            self.out.push_str(class);
            self.operand = true;
            return Ok(());
        }
        let constraint = match c {
            'A' => "\\A",
            'Z' => "\\z",
            'm' => "\\b{start}",
            'M' => "\\b{end}",
            'y' => "\\b",
            'Y' => "\\B",
            _ => "",
        };
        if !constraint.is_empty() {
            self.out.push_str(constraint);
            self.operand = false;
            return Ok(());
        }
        if let Some(digit) = c.to_digit(10).filter(|&digit| digit > 0)
            && self.back_reference(digit)?
        {
            return Ok(());
        }
        let literal = self.escaped_char(c)?.ok_or_else(bad)?;
        self.literal(literal);
        Ok(())
    }

    /// The character that `\c` and what follows stand for.
    fn escaped_char(&mut self, c: char) -> Result<Option<char>> {
        let bad = || invalid("invalid escape \\ sequence");
        Ok(match c {
            'a' => Some('\x07'),
            'b' => Some('\x08'),
            'B' => Some('\\'),
            'e' => Some('\x1b'),
            'f' => Some('\x0c'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\x0b'),
            'c' => {
                let control = self.chars.next().ok_or_else(bad)?;
                char::from_u32(control as u32 & 0x1f)
            }
            'u' => Some(self.code(16, 4, 4)?),
            'U' => Some(self.code(16, 8, 8)?),
            'x' => Some(self.code(16, 1, 255)?),
            '0'..='7' => {
                let mut code = c as u32 - '0' as u32;
                for _ in 0..2 {
                    let Some(digit) = self.chars.peek().and_then(|c| c.to_digit(8)) else { break };
                    self.chars.next();
                    code = code * 8 + digit;
                }
                char::from_u32(code)
            }
            c if c.is_alphanumeric() => None,
            c => Some(c),
        })
    }

    fn code(&mut self, radix: u32, least: usize, most: usize) -> Result<char> {
        let bad = || invalid("invalid escape \\ sequence");
        let (mut code, mut digits) = (0u32, 0);
        while digits < most
            && let Some(digit) = self.chars.peek().and_then(|c| c.to_digit(radix))
        {
            self.chars.next();
            code = code.checked_mul(radix).ok_or_else(bad)? + digit;
            digits += 1;
        }
        if digits < least {
            return Err(bad());
        }
        char::from_u32(code).ok_or_else(bad)
    }

    fn bracket(&mut self) -> Result<()> {
        let rest: String = self.chars.clone().take(6).collect();
        for (spelling, boundary) in [("[:<:]]", "\\b{start}"), ("[:>:]]", "\\b{end}")] {
            if rest == spelling {
                self.chars.nth(spelling.len() - 1);
                self.out.push_str(boundary);
                self.operand = false;
                return Ok(());
            }
        }
        let unbalanced = || invalid("brackets [] not balanced");
        self.out.push('[');
        if self.chars.peek() == Some(&'^') {
            self.chars.next();
            self.out.push('^');
            if self.options.newline_stops {
                self.out.push_str("\\n");
            }
        }
        let mut is_first = true;
        loop {
            let c = self.chars.next().ok_or_else(unbalanced)?;
            if c == ']' && !is_first {
                break;
            }
            is_first = false;
            let Some(low) = self.bracket_item(c)? else { continue };
            let mut ahead = self.chars.clone();
            let is_range = ahead.next() == Some('-') && ahead.next().is_some_and(|c| c != ']');
            if !is_range {
                push_class_char(&mut self.out, low);
                continue;
            }
            self.chars.next();
            let c = self.chars.next().ok_or_else(unbalanced)?;
            let Some(high) = self.bracket_item(c)? else { return Err(invalid("invalid character range")) };
            if high < low {
                return Err(invalid("invalid character range"));
            }
            push_class_char(&mut self.out, low);
            self.out.push('-');
            push_class_char(&mut self.out, high);
        }
        self.out.push(']');
        self.operand = true;
        Ok(())
    }

    /// One item of a bracket expression: a character, or `None` after a class has been written.
    fn bracket_item(&mut self, c: char) -> Result<Option<char>> {
        match (c, self.chars.peek()) {
            ('[', Some(&kind @ (':' | '.' | '='))) => {
                self.chars.next();
                let mut name = String::new();
                loop {
                    let c = self.chars.next().ok_or_else(|| invalid("brackets [] not balanced"))?;
                    if c == kind && self.chars.peek() == Some(&']') {
                        self.chars.next();
                        break;
                    }
                    name.push(c);
                }
                if kind == ':' {
                    let class = named_class(&name).ok_or_else(|| invalid("invalid character class"))?;
                    self.out.push_str(class);
                    return Ok(None);
                }
                let mut chars = name.chars();
                match (chars.next(), chars.next()) {
                    (Some(only), None) => Ok(Some(only)),
                    _ => Err(invalid("invalid collating element")),
                }
            }
            ('\\', _) => {
                let bad = || invalid("invalid escape \\ sequence");
                let c = self.chars.next().ok_or_else(bad)?;
                if let Some(class) = shorthand(c) {
                    self.out.push_str(class);
                    return Ok(None);
                }
                self.escaped_char(c)?.ok_or_else(bad).map(Some)
            }
            _ => Ok(Some(c)),
        }
    }
}

fn shorthand(c: char) -> Option<&'static str> {
    Some(match c {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        's' => "\\s",
        'S' => "\\S",
        'w' => "\\w",
        'W' => "\\W",
        _ => return None,
    })
}

fn named_class(name: &str) -> Option<&'static str> {
    Some(match name {
        "alpha" => "\\p{Alphabetic}",
        "alnum" => "\\p{Alphabetic}\\p{Nd}",
        "upper" => "\\p{Uppercase}",
        "lower" => "\\p{Lowercase}",
        "digit" => "0-9",
        "space" => "\\s",
        "blank" => " \\t",
        "punct" => "!-/:-@\\[-`{-~\\p{P}",
        "cntrl" => "\\p{Cc}",
        "graph" => "[^\\s\\p{C}]",
        "print" => "[^\\p{C}]",
        "xdigit" => "0-9A-Fa-f",
        "word" => "\\w",
        _ => return None,
    })
}

fn push_class_char(out: &mut String, c: char) {
    if c.is_ascii_punctuation() {
        out.push('\\');
    }
    out.push(c);
}
