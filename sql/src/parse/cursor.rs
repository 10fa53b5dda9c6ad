//! [`Cursor`]: a `sqlparser` parser over one statement, with the steps that our own grammar takes on it.
//!
//! Words are compared by their text, not by `sqlparser`'s keywords: ClickHouse's and Flink's words need no entry there. A quoted word is never
//! a keyword.

use sqlparser::ast::{Expr, Query};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::ast::{Name, Written};
use super::dialect::WeirDialect;
use super::error;
use super::lexer::Lexed;
use super::names::fold;
use crate::error::{Error, ErrorKind, Result};
use crate::statement::ObjectName;

/// A place in one statement.
pub(super) struct Cursor<'a> {
    parser: Parser<'a>,
    lexed: &'a Lexed<'a>,
}

/// Nesting that is parsed at the most; each level of parentheses in an expression is one or two.
const DEPTH: usize = 120;

impl<'a> Cursor<'a> {
    pub(super) fn new(lexed: &'a Lexed<'a>) -> Cursor<'a> {
        let parser = Parser::new(&WeirDialect).with_recursion_limit(DEPTH);
        Cursor { parser: parser.with_tokens_with_locations(lexed.tokens.clone()), lexed }
    }

    /// The next token.
    pub(super) fn peek(&self) -> &Token {
        &self.parser.peek_token_ref().token
    }

    /// The token after `n` others.
    pub(super) fn peek_nth(&self, n: usize) -> &Token {
        &self.parser.peek_nth_token_ref(n).token
    }

    /// Whether the token after `n` others is this word.
    pub(super) fn is_word_at(&self, n: usize, word: &str) -> bool {
        is_word(self.peek_nth(n), word)
    }

    /// Whether this word is next.
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.is_word_at(0, word)
    }

    /// Whether these words are next.
    pub(super) fn is_words(&self, words: &str) -> bool {
        words.split(' ').enumerate().all(|(n, word)| self.is_word_at(n, word))
    }

    /// Whether one of these words is next.
    pub(super) fn is_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is_word(word))
    }

    /// Takes these words (parted by one space) if all of them are next.
    pub(super) fn words(&mut self, words: &str) -> bool {
        let found = self.is_words(words);
        if found {
            words.split(' ').for_each(|_| self.parser.advance_token());
        }
        found
    }

    /// Takes the first of these that is next.
    pub(super) fn one_of(&mut self, words: &[&'static str]) -> Option<&'static str> {
        words.iter().copied().find(|word| self.words(word))
    }

    /// Takes these words, or fails.
    pub(super) fn expect_words(&mut self, words: &str) -> Result<()> {
        for word in words.split(' ') {
            if !self.words(word) {
                return Err(self.unexpected());
            }
        }
        Ok(())
    }

    /// Takes this token if it is next.
    pub(super) fn token(&mut self, token: &Token) -> bool {
        self.parser.consume_token(token)
    }

    /// Takes this token, or fails.
    pub(super) fn expect(&mut self, token: &Token) -> Result<()> {
        if self.token(token) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Whether nothing is left.
    pub(super) fn at_end(&self) -> bool {
        *self.peek() == Token::EOF
    }

    /// Fails unless nothing is left.
    pub(super) fn expect_end(&self) -> Result<()> {
        if self.at_end() { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Takes the next token, whatever it is.
    pub(super) fn advance(&mut self) {
        self.parser.advance_token();
    }

    /// `syntax error at or near` the next token.
    pub(super) fn unexpected(&self) -> Error {
        match self.at_end() {
            true => error::at_end(self.lexed),
            false => error::near(self.lexed, self.position()),
        }
    }

    /// The next token's character position.
    pub(super) fn position(&self) -> usize {
        match self.parser.peek_token_ref() {
            token if token.token == Token::EOF => self.lexed.text.chars().count() + 1,
            token => token.span.start.column as usize,
        }
    }

    /// An error of this kind at the next token.
    pub(super) fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::new(kind, message).at(self.position())
    }

    /// 0A000 at the next token.
    pub(super) fn unsupported(&self, what: &str) -> Error {
        self.error(ErrorKind::Unsupported, format!("{what} is not supported"))
    }

    /// A mark for [`Cursor::text_since`]: the next token.
    pub(super) fn mark(&self) -> usize {
        (self.parser.index()..self.lexed.tokens.len())
            .find(|&at| !matches!(self.lexed.tokens[at].token, Token::Whitespace(_)))
            .unwrap_or(self.lexed.tokens.len())
    }

    /// The text from a mark to the last token that was taken.
    pub(super) fn text_since(&self, mark: usize) -> String {
        let end = self.parser.index().min(self.lexed.bytes.len());
        let last = (mark..end).rev().find(|&at| !matches!(self.lexed.tokens[at].token, Token::Whitespace(_)));
        match last {
            Some(last) => self.lexed.text[self.lexed.bytes[mark].0..self.lexed.bytes[last].1].to_string(),
            None => String::new(),
        }
    }

    /// The text from the token at a character position to the last token that was taken.
    pub(super) fn text_from(&self, position: u64) -> Option<String> {
        let at = self.lexed.tokens.iter().position(|token| token.span.start.column == position)?;
        Some(self.text_since(at))
    }

    /// The text from the next token to the end of the statement, taken.
    pub(super) fn rest(&mut self) -> String {
        let mark = self.mark();
        while !self.at_end() {
            self.advance();
        }
        self.text_since(mark)
    }

    /// Runs one of `sqlparser`'s own rules.
    pub(super) fn rule<T>(
        &mut self,
        rule: impl FnOnce(&mut Parser<'a>) -> std::result::Result<T, ParserError>,
    ) -> Result<T> {
        rule(&mut self.parser).map_err(|error| error::convert(self.lexed, error))
    }

    /// An identifier, folded.
    pub(super) fn ident(&mut self) -> Result<String> {
        self.name().map(|name| name.name)
    }

    /// An identifier with its place.
    pub(super) fn name(&mut self) -> Result<Name> {
        let at = self.position();
        match self.peek() {
            Token::Word(_) => {
                let ident = self.rule(|p| p.parse_identifier())?;
                Ok(Name { name: fold(&ident), at })
            }
            _ => Err(self.unexpected()),
        }
    }

    /// `(a, b)`.
    pub(super) fn names(&mut self) -> Result<Vec<Name>> {
        self.expect(&Token::LParen)?;
        let names = self.comma_separated(Cursor::name)?;
        self.expect(&Token::RParen)?;
        Ok(names)
    }

    /// `name` or `schema.name`.
    pub(super) fn object_name(&mut self) -> Result<ObjectName> {
        if !matches!(self.peek(), Token::Word(_)) {
            return Err(self.unexpected());
        }
        let name = self.rule(|p| p.parse_object_name(false))?;
        super::names::object_name(&name)
    }

    /// One or more, parted by commas.
    pub(super) fn comma_separated<T>(&mut self, mut item: impl FnMut(&mut Cursor<'a>) -> Result<T>) -> Result<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.token(&Token::Comma) {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// An expression.
    pub(super) fn expr(&mut self) -> Result<Expr> {
        self.rule(|p| p.parse_expr())
    }

    /// An expression with its text.
    pub(super) fn written(&mut self) -> Result<Written> {
        let mark = self.mark();
        let expr = self.expr()?;
        Ok(Written { expr, text: self.text_since(mark) })
    }

    /// A query.
    pub(super) fn query(&mut self) -> Result<Box<Query>> {
        match self.peek() {
            Token::LParen => {}
            _ if self.is_any(&["SELECT", "WITH", "VALUES", "TABLE", "FROM"]) => {}
            _ => return Err(self.unexpected()),
        }
        self.rule(|p| p.parse_query())
    }

    /// A string constant: quoted, `E'…'` or dollar-quoted.
    pub(super) fn string(&mut self) -> Result<String> {
        let text = match self.peek() {
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text.clone(),
            Token::DollarQuotedString(text) => text.value.clone(),
            _ => return Err(self.unexpected()),
        };
        self.advance();
        Ok(text)
    }

    /// Whether a string constant is next.
    pub(super) fn is_string(&self) -> bool {
        matches!(
            self.peek(),
            Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) | Token::DollarQuotedString(_)
        )
    }

    /// Takes a balanced `( … )` and gives the text between the parentheses.
    pub(super) fn parenthesised_text(&mut self) -> Result<String> {
        self.expect(&Token::LParen)?;
        let mark = self.mark();
        let mut depth = 0usize;
        loop {
            match self.peek() {
                Token::EOF => return Err(self.unexpected()),
                Token::RParen if depth == 0 => break,
                Token::RParen => depth -= 1,
                Token::LParen => depth += 1,
                _ => {}
            }
            self.advance();
        }
        let text = self.text_since(mark);
        self.expect(&Token::RParen)?;
        Ok(text)
    }
}

/// Whether a token is this word, unquoted, in any case.
pub(super) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}
