//! The text of a path to its tree: recursive descent, one function for each level of precedence.

use std::rc::Rc;

use serde_json::Value;

use super::{Comparison, Method, Node, Path, Step};
use crate::error::{Error, ErrorKind, Result};
use crate::functions::regex_engine::Expression;
use crate::functions::regex_syntax::{Flavour, Options, compile};

/// How deep parentheses may nest.
const DEPTH_MAX: usize = 100;

impl Path {
    /// The path that a text says.
    pub(crate) fn parse(text: &str) -> Result<Path> {
        let mut parser = Parser { text, at: 0, depth: 0, subscripts: 0 };
        let strict = parser.word("strict");
        if !strict {
            parser.word("lax");
        }
        let root = parser.or()?;
        match parser.peek() {
            None => Ok(Path { strict, root }),
            Some(_) => Err(parser.wrong()),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// How many subscripts this is within.
    subscripts: usize,
}

/// Characters that end a name.
fn is_special(c: char) -> bool {
    c.is_whitespace() || "?%$.[]{}()|&!=<>@#,*:-+/\"\\".contains(c)
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            match trimmed.strip_prefix("/*").and_then(|comment| comment.find("*/")) {
                Some(end) => self.at += end + 4,
                None => return,
            }
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.skip();
        self.rest().chars().next()
    }

    /// Passes over a sign, if it is next.
    fn sign(&mut self, sign: &str) -> bool {
        self.skip();
        let found = self.rest().starts_with(sign);
        if found {
            self.at += sign.len();
        }
        found
    }

    fn expect(&mut self, sign: &str) -> Result<()> {
        if self.sign(sign) { Ok(()) } else { Err(self.wrong()) }
    }

    /// Passes over a word, if it is next.
    fn word(&mut self, word: &str) -> bool {
        self.skip();
        let Some(rest) = self.rest().strip_prefix(word) else { return false };
        let ends = rest.chars().next().is_none_or(is_special);
        if ends {
            self.at += word.len();
        }
        ends
    }

    fn wrong(&mut self) -> Error {
        self.skip();
        let rest = self.rest();
        let end = rest.char_indices().find(|(at, c)| *at > 0 && is_special(*c)).map_or(rest.len(), |(at, _)| at);
        let message = match &rest[..end] {
            "" => "syntax error at end of jsonpath input".to_string(),
            token => format!("syntax error at or near \"{token}\" of jsonpath input"),
        };
        Error::new(ErrorKind::Sql(weir_sql::ErrorKind::Syntax), message)
    }

    fn or(&mut self) -> Result<Node> {
        let mut left = self.and()?;
        while self.sign("||") {
            left = Node::Or(Box::new(condition(left, self)?), Box::new(self.and().and_then(|n| condition(n, self))?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Node> {
        let mut left = self.comparison()?;
        while self.sign("&&") {
            let right = self.comparison()?;
            left = Node::And(Box::new(condition(left, self)?), Box::new(condition(right, self)?));
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Result<Node> {
        const SIGNS: [(&str, Comparison); 8] = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<>", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
            ("=", Comparison::Equal),
        ];
        let left = self.sum()?;
        if left.is_condition() {
            return Ok(left);
        }
        if let Some((_, comparison)) = SIGNS.iter().find(|(sign, _)| self.sign(sign)) {
            return Ok(Node::Compare(*comparison, Box::new(left), Box::new(self.sum()?)));
        }
        if self.word("starts") {
            if !self.word("with") {
                return Err(self.wrong());
            }
            return Ok(Node::StartsWith(Box::new(left), Box::new(self.primary()?)));
        }
        if self.word("like_regex") {
            let pattern = self.string()?;
            let flags = if self.word("flag") { self.string()? } else { String::new() };
            return Ok(Node::LikeRegex(Box::new(left), regex(&pattern, &flags)?));
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<Node> {
        let mut left = self.product()?;
        while let Some(sign @ ('+' | '-')) = self.peek() {
            self.at += 1;
            left = Node::Arithmetic(sign, Box::new(left), Box::new(self.product()?));
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Node> {
        let mut left = self.unary()?;
        while let Some(sign @ ('*' | '/' | '%')) = self.peek() {
            self.at += 1;
            left = Node::Arithmetic(sign, Box::new(left), Box::new(self.unary()?));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Node> {
        match self.peek() {
            Some(sign @ ('+' | '-')) => {
                self.at += 1;
                Ok(Node::Sign(sign, Box::new(self.unary()?)))
            }
            Some('!') => {
                self.at += 1;
                let inner = self.unary()?;
                Ok(Node::Not(Box::new(condition(inner, self)?)))
            }
            _ => self.chain(),
        }
    }

    /// A primary and the accessors after it.
    fn chain(&mut self) -> Result<Node> {
        let mut node = self.primary()?;
        loop {
            let step = match self.peek() {
                Some('.') => {
                    self.at += 1;
                    self.member()?
                }
                Some('[') => {
                    self.at += 1;
                    self.elements()?
                }
                Some('?') => {
                    self.at += 1;
                    self.expect("(")?;
                    let inner = self.nested(Parser::or)?;
                    self.expect(")")?;
                    Step::Filter(Box::new(condition(inner, self)?))
                }
                Some('i') if node.is_condition() && self.word("is") => {
                    if !self.word("unknown") {
                        return Err(self.wrong());
                    }
                    node = Node::IsUnknown(Box::new(node));
                    continue;
                }
                _ => return Ok(node),
            };
            node = Node::Step(Box::new(node), step);
        }
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let message = "the jsonpath is nested too deeply";
            return Err(Error::new(ErrorKind::Sql(weir_sql::ErrorKind::TooComplex), message));
        }
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn member(&mut self) -> Result<Step> {
        if self.sign("**") {
            let (mut from, mut to) = (0, u32::MAX);
            if self.sign("{") {
                from = self.level()?;
                to = if self.word("to") { self.level()? } else { from };
                self.expect("}")?;
            }
            return Ok(Step::Descendants(from, to));
        }
        if self.sign("*") {
            return Ok(Step::AnyMember);
        }
        if self.peek() == Some('"') {
            return Ok(Step::Member(self.string()?));
        }
        let name = self.name()?;
        let method = Method::ALL.into_iter().find(|method| method.name() == name);
        match method {
            Some(method) if self.sign("(") => {
                self.expect(")")?;
                Ok(Step::Method(method))
            }
            None if name == "datetime" && self.sign("(") => {
                let template = if self.peek() == Some('"') { Some(self.string()?) } else { None };
                self.expect(")")?;
                Ok(Step::Datetime(template))
            }
            None if self.peek() == Some('(') => {
                let message = format!("jsonpath item method .{name}() is not supported");
                Err(Error::new(ErrorKind::Sql(weir_sql::ErrorKind::Unsupported), message))
            }
            _ => Ok(Step::Member(name)),
        }
    }

    fn level(&mut self) -> Result<u32> {
        if self.word("last") {
            return Ok(u32::MAX);
        }
        self.name()?.parse().map_err(|_| self.wrong())
    }

    fn elements(&mut self) -> Result<Step> {
        if self.sign("*") {
            self.expect("]")?;
            return Ok(Step::AnyElement);
        }
        let mut subscripts = Vec::new();
        self.subscripts += 1;
        loop {
            let from = self.nested(Parser::sum)?;
            let to = if self.word("to") { Some(self.nested(Parser::sum)?) } else { None };
            subscripts.push((from, to));
            if !self.sign(",") {
                break;
            }
        }
        self.expect("]")?;
        self.subscripts -= 1;
        Ok(Step::Elements(subscripts))
    }

    fn primary(&mut self) -> Result<Node> {
        match self.peek() {
            Some('(') => {
                self.at += 1;
                let inner = self.nested(Parser::or)?;
                self.expect(")")?;
                Ok(inner)
            }
            Some('$') => {
                self.at += 1;
                match self.rest().chars().next() {
                    Some('"') => Ok(Node::Variable(self.string()?)),
                    Some(c) if !is_special(c) => Ok(Node::Variable(self.name()?)),
                    _ => Ok(Node::Root),
                }
            }
            Some('@') => {
                self.at += 1;
                Ok(Node::Current)
            }
            Some('"') => Ok(Node::Literal(Value::String(self.string()?))),
            Some('0'..='9' | '.') => self.number(),
            _ if self.word("exists") => {
                self.expect("(")?;
                let inner = self.nested(Parser::sum)?;
                self.expect(")")?;
                Ok(Node::Exists(Box::new(inner)))
            }
            _ if self.word("last") => match self.subscripts {
                0 => {
                    let message = "LAST is allowed only in array subscripts";
                    Err(Error::new(ErrorKind::Sql(weir_sql::ErrorKind::Syntax), message))
                }
                _ => Ok(Node::Last),
            },
            _ if self.word("true") => Ok(Node::Literal(Value::Bool(true))),
            _ if self.word("false") => Ok(Node::Literal(Value::Bool(false))),
            _ if self.word("null") => Ok(Node::Literal(Value::Null)),
            _ => Err(self.wrong()),
        }
    }

    fn name(&mut self) -> Result<String> {
        self.skip();
        let rest = self.rest();
        let end = rest.find(is_special).unwrap_or(rest.len());
        if end == 0 {
            return Err(self.wrong());
        }
        self.at += end;
        Ok(rest[..end].to_string())
    }

    /// A text in double quotes, with JSON's escapes.
    fn string(&mut self) -> Result<String> {
        self.skip();
        let rest = self.rest();
        let mut escaped = false;
        let end = rest.char_indices().skip(1).find(|(_, c)| match (escaped, c) {
            (false, '"') => true,
            (before, c) => {
                escaped = !before && *c == '\\';
                false
            }
        });
        let (true, Some((end, _))) = (rest.starts_with('"'), end) else { return Err(self.wrong()) };
        let text = serde_json::from_str(&rest[..=end]).map_err(|_| self.wrong())?;
        self.at += end + 1;
        Ok(text)
    }

    fn number(&mut self) -> Result<Node> {
        let rest = self.rest();
        let mut end = 0;
        for (at, c) in rest.char_indices() {
            let exponent = matches!(c, '+' | '-') && rest[..at].ends_with(['e', 'E']);
            if !(c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E') || exponent) {
                break;
            }
            end = at + 1;
        }
        // JSON wants digits on both sides of the point; a point before a name is an accessor's.
        let text = rest[..end].trim_end_matches('.');
        let full = if text.starts_with('.') { format!("0{text}") } else { text.to_string() };
        let number = serde_json::from_str(&full).map_err(|_| self.wrong())?;
        self.at += text.len();
        Ok(Node::Literal(number))
    }
}

/// The node, which is to be a condition.
fn condition(node: Node, parser: &mut Parser<'_>) -> Result<Node> {
    if node.is_condition() { Ok(node) } else { Err(parser.wrong()) }
}

/// XQuery's flags, of a pattern that is Postgres's.
fn regex(pattern: &str, flags: &str) -> Result<Rc<Expression>> {
    let mut options = Options { newline_stops: true, ..Options::default() };
    let mut spaced = false;
    for flag in flags.chars() {
        match flag {
            'i' => options.ignore_case = true,
            's' => options.newline_stops = false,
            'm' => options.lines = true,
            'x' => spaced = true,
            'q' => options.literal = true,
            other => {
                let message = "invalid input syntax for type jsonpath";
                let detail = format!("Unrecognized flag character \"{other}\" in LIKE_REGEX predicate.");
                return Err(Error::new(ErrorKind::Sql(weir_sql::ErrorKind::Syntax), message).with_detail(detail));
            }
        }
    }
    if spaced && !options.literal {
        let message = "XQuery \"x\" flag (expanded regular expressions) is not implemented";
        return Err(Error::new(ErrorKind::Sql(weir_sql::ErrorKind::Unsupported), message));
    }
    compile(pattern, options, Flavour::Postgres)
}
