//! SEARCH and CYCLE after a query of WITH RECURSIVE, which `sqlparser` does not read.
//!
//! The lexer moves their text into the query's parentheses, as a FORMAT of a name that nobody can write; [`taken`] reads it there.

use sqlparser::ast::{Expr, FormatClause, Ident, Query};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace, Word};

use super::cursor::{Cursor, is_word};
use crate::error::Result;

/// How the name begins. No text has a NUL.
const MARK: &str = "\0traversal ";

/// What stands after a recursive query.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traversal {
    pub(crate) search: Option<Search>,
    pub(crate) cycle: Option<Cycle>,
}

/// `SEARCH DEPTH | BREADTH FIRST BY columns SET sequence`
#[derive(Debug, Clone)]
pub(crate) struct Search {
    pub(crate) breadth: bool,
    pub(crate) columns: Vec<Ident>,
    pub(crate) sequence: Ident,
}

/// `CYCLE columns SET mark [TO value DEFAULT default] USING path`
#[derive(Debug, Clone)]
pub(crate) struct Cycle {
    pub(crate) columns: Vec<Ident>,
    pub(crate) mark: Ident,
    /// What the mark is where a cycle closes, and elsewhere.
    pub(crate) values: Option<(Expr, Expr)>,
    pub(crate) path: Ident,
}

/// A query of WITH without what stands after it, and that.
pub(crate) fn taken(query: &Query) -> Result<Option<(Query, Traversal)>> {
    let Some(FormatClause::Identifier(Ident { value, .. })) = &query.format_clause else { return Ok(None) };
    let Some(text) = value.strip_prefix(MARK) else { return Ok(None) };
    let lexed = super::one(super::lexer::lex(text)?)?;
    let traversal = traversal(&mut Cursor::new(&lexed))?;
    Ok(Some((Query { format_clause: None, ..query.clone() }, traversal)))
}

fn traversal(c: &mut Cursor<'_>) -> Result<Traversal> {
    let mut traversal = Traversal::default();
    let columns = |c: &mut Cursor<'_>| c.comma_separated(|c| c.rule(|p| p.parse_identifier()));
    if c.words("SEARCH") {
        let breadth = c.words("BREADTH FIRST BY");
        if !breadth {
            c.expect_words("DEPTH FIRST BY")?;
        }
        let columns = columns(c)?;
        c.expect_words("SET")?;
        traversal.search = Some(Search { breadth, columns, sequence: c.rule(|p| p.parse_identifier())? });
    }
    if c.words("CYCLE") {
        let columns = columns(c)?;
        c.expect_words("SET")?;
        let mark = c.rule(|p| p.parse_identifier())?;
        let values = match c.words("TO") {
            true => {
                let value = c.expr()?;
                c.expect_words("DEFAULT")?;
                Some((value, c.expr()?))
            }
            false => None,
        };
        c.expect_words("USING")?;
        traversal.cycle = Some(Cycle { columns, mark, values, path: c.rule(|p| p.parse_identifier())? });
    }
    c.expect_end()?;
    Ok(traversal)
}

/// Moves the clauses of a statement. `text` is the statement's, `bytes` has a place in it for each token.
pub(super) fn rewrite(text: &str, tokens: &mut Vec<TokenWithSpan>, bytes: &mut Vec<(usize, usize)>) {
    let solid = |tokens: &[TokenWithSpan], at: &usize| !matches!(tokens[*at].token, Token::Whitespace(_));
    let mut at = 0;
    while at < tokens.len() {
        let begins = ["SEARCH", "CYCLE"].iter().any(|word| is_word(&tokens[at].token, word));
        let close = (0..at).rev().find(|at| solid(tokens, at)).filter(|&at| tokens[at].token == Token::RParen);
        if let (true, Some(close), Some(end)) = (begins, close, end_of(tokens, at)) {
            let words = &text[bytes[at].0..bytes[end].1];
            let name = Word { value: format!("{MARK}{words}"), quote_style: Some('"'), keyword: Keyword::NoKeyword };
            let format = Word { value: "FORMAT".into(), quote_style: None, keyword: Keyword::FORMAT };
            tokens[at..=end].iter_mut().for_each(|token| token.token = Token::Whitespace(Whitespace::Space));
            let space = Token::Whitespace(Whitespace::Space);
            let added = [space.clone(), Token::Word(format), space, Token::Word(name)];
            let (span, place) = (tokens[close].span, bytes[close].0);
            bytes.splice(close..close, added.iter().map(|_| (place, place)));
            tokens.splice(close..close, added.into_iter().map(|token| TokenWithSpan { token, span }));
        }
        at += 1;
    }
}

/// The last token of the clauses that begin at a place; `None` if none do: SEARCH and CYCLE may be names.
fn end_of(tokens: &[TokenWithSpan], at: usize) -> Option<usize> {
    let mut words = Words { tokens, next: at, last: at };
    if words.word("SEARCH") {
        let how = words.word("DEPTH") || words.word("BREADTH");
        if !(how && words.word("FIRST") && words.word("BY") && words.names() && words.word("SET") && words.name()) {
            return None;
        }
        let end = words.last;
        return Some(words.cycle().unwrap_or(end));
    }
    words.cycle()
}

/// Looks along tokens, past white space.
struct Words<'a> {
    tokens: &'a [TokenWithSpan],
    next: usize,
    /// The token that was taken last.
    last: usize,
}

impl Words<'_> {
    /// Takes the next token if it passes a test.
    fn takes(&mut self, test: impl Fn(&Token) -> bool) -> bool {
        let solid = |at: &usize| !matches!(self.tokens[*at].token, Token::Whitespace(_));
        let found = (self.next..self.tokens.len()).find(solid).filter(|&at| test(&self.tokens[at].token));
        if let Some(at) = found {
            (self.last, self.next) = (at, at + 1);
        }
        found.is_some()
    }

    fn word(&mut self, word: &str) -> bool {
        self.takes(|token| is_word(token, word))
    }

    fn name(&mut self) -> bool {
        self.takes(|token| matches!(token, Token::Word(_)))
    }

    fn names(&mut self) -> bool {
        let mut named = self.name();
        while named && self.takes(|token| *token == Token::Comma) {
            named = self.name();
        }
        named
    }

    /// Takes all up to a word outside of parentheses, and that.
    fn past(&mut self, word: &str) -> bool {
        let mut depth = 0_usize;
        while !(depth == 0 && self.word(word)) {
            let mut open = true;
            let taken = self.takes(|_| true);
            match self.tokens[self.last].token {
                Token::LParen => depth += 1,
                Token::RParen => open = depth > 0,
                _ => {}
            }
            if !taken || !open {
                return false;
            }
            if self.tokens[self.last].token == Token::RParen {
                depth -= 1;
            }
        }
        true
    }

    /// The last token of a CYCLE that is next.
    fn cycle(&mut self) -> Option<usize> {
        let begins = self.word("CYCLE") && self.names() && self.word("SET") && self.name();
        let values = begins && (!self.word("TO") || self.past("DEFAULT"));
        (values && self.past("USING") && self.name()).then_some(self.last)
    }
}
