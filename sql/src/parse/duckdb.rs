//! DuckDB's statements that are queries: PIVOT, UNPIVOT, SUMMARIZE and DESCRIBE of a query, wherever a query may stand.
//!
//! Behind a table in FROM `sqlparser` reads PIVOT, but one FOR and no GROUP BY: [`pivot_clauses`] writes what is more as calls among the
//! aggregates. The lexer writes each statement as `SELECT * FROM` a call of a name that nobody can write, whose first argument is the source as a query and whose
//! others are calls that hold the clauses' items: `PIVOT t ON year USING sum(pop) GROUP BY country ORDER BY 1` becomes
//! `SELECT * FROM "pivot"((SELECT * FROM t), "on"(year), "using"(sum(pop)), "group"(country)) ORDER BY 1`. The binder reads them.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Whitespace, Word};

use super::clauses::stands_before;
use super::cursor::is_word;

/// PIVOT. No text has a NUL.
pub(crate) const PIVOT: &str = "\0pivot";
/// UNPIVOT.
pub(crate) const UNPIVOT: &str = "\0unpivot";
/// SUMMARIZE.
pub(crate) const SUMMARIZE: &str = "\0summarize";
/// DESCRIBE of a query.
pub(crate) const DESCRIBE: &str = "\0describe";
/// The clause that an argument of these holds.
pub(crate) const ON: &str = "\0on";
/// See [`ON`].
pub(crate) const USING: &str = "\0using";
/// See [`ON`].
pub(crate) const GROUP: &str = "\0group";
/// See [`ON`].
pub(crate) const INTO: &str = "\0into";

type Placed = (TokenWithSpan, (usize, usize));

/// Rewrites a statement's tokens. `bytes` has a place for each.
pub(super) fn rewrite(tokens: &mut Vec<TokenWithSpan>, bytes: &mut Vec<(usize, usize)>) {
    pivot_clauses(tokens, bytes);
    let mut at = 0;
    while at < tokens.len() {
        if let Some(word) = statement(tokens, at) {
            let rest: Vec<Placed> = tokens.drain(at..).zip(bytes.drain(at..)).collect();
            for (token, place) in rewritten(rest, word) {
                tokens.push(token);
                bytes.push(place);
            }
        }
        at += 1;
    }
}

/// `t PIVOT (sum(x) FOR a IN (…) b IN (…) GROUP BY c)` becomes `t PIVOT ("on"(b IN (…)), "group"(c), sum(x) FOR a IN (…))`.
fn pivot_clauses(tokens: &mut Vec<TokenWithSpan>, bytes: &mut Vec<(usize, usize)>) {
    for at in 0..tokens.len() {
        let solid = |at: &usize| !matches!(tokens[*at].token, Token::Whitespace(_));
        let open = (at + 1..tokens.len()).find(solid).filter(|&next| tokens[next].token == Token::LParen);
        let (true, Some(open)) = (is_word(&tokens[at].token, "PIVOT"), open) else { continue };
        let places = |from: usize, test: &dyn Fn(&Token) -> bool| {
            let mut depth = 0_usize;
            (from..tokens.len()).find(|&at| {
                let token = &tokens[at].token;
                let found = depth == 0 && test(token);
                match token {
                    Token::LParen => depth += 1,
                    Token::RParen => depth = depth.saturating_sub(1),
                    _ => {}
                }
                found
            })
        };
        let is_close = |token: &Token| *token == Token::RParen;
        let Some(close) = places(open + 1, &is_close) else { return };
        let list = |from: usize| {
            let within = places(from, &|token| is_word(token, "IN")).filter(|&at| at < close)?;
            let open = (within + 1..close).find(solid).filter(|&at| tokens[at].token == Token::LParen)?;
            places(open + 1, &is_close)
        };
        let Some(mut end) = places(open + 1, &|token| is_word(token, "FOR")).filter(|&at| at < close).and_then(list)
        else {
            continue;
        };
        let first_end = end;
        let mut out = Out { tokens: Vec::new(), span: tokens[open].span, place: bytes[open] };
        let taken = |from: usize, to: usize| -> Vec<Placed> {
            tokens[from..to].iter().cloned().zip(bytes[from..to].iter().copied()).collect()
        };
        while let Some(next) = (end + 1..close).find(solid) {
            let (name, from, to) = match is_word(&tokens[next].token, "GROUP") {
                true => {
                    let by = (next + 1..close).find(solid).map_or(close, |by| by + 1);
                    (GROUP, by.min(close), close)
                }
                false => match list(next) {
                    Some(end) => (ON, next, end + 1),
                    None => break,
                },
            };
            out.name(name);
            out.token(Token::LParen);
            out.tokens.extend(taken(from, to));
            out.token(Token::RParen);
            out.token(Token::Comma);
            end = to - 1;
        }
        if out.tokens.is_empty() {
            continue;
        }
        tokens[first_end + 1..=end.min(close - 1)]
            .iter_mut()
            .for_each(|token| token.token = Token::Whitespace(Whitespace::Space));
        let (added, places): (Vec<_>, Vec<_>) = out.tokens.into_iter().unzip();
        tokens.splice(open + 1..open + 1, added);
        bytes.splice(open + 1..open + 1, places);
    }
}

fn is_any(token: &Token, words: &[&str]) -> bool {
    words.iter().any(|word| is_word(token, word))
}

/// Which of the statements begins at a place, if one does.
fn statement(tokens: &[TokenWithSpan], at: usize) -> Option<&'static str> {
    let solid = |at: &usize| !matches!(tokens[*at].token, Token::Whitespace(_));
    let word =
        ["PIVOT", "UNPIVOT", "SUMMARIZE", "DESCRIBE"].into_iter().find(|word| is_word(&tokens[at].token, word))?;
    let before = (0..at).rev().find(solid).map(|at| &tokens[at].token);
    let next = (at + 1..tokens.len()).find(solid).map(|at| &tokens[at].token)?;
    let begins = match before {
        None | Some(Token::LParen) => true,
        // A query follows the names that WITH gives, and what AS makes of it.
        Some(Token::RParen) => tokens
            .iter()
            .find(|token| !matches!(token.token, Token::Whitespace(_)))
            .is_some_and(|first| is_word(&first.token, "WITH")),
        Some(before) => is_any(before, &["AS", "EXPLAIN", "ANALYZE"]) && word != "DESCRIBE",
    };
    let query = *next == Token::LParen || is_any(next, &["SELECT", "FROM", "WITH", "VALUES"]);
    let source = match word {
        "DESCRIBE" => query,
        "PIVOT" | "UNPIVOT" => {
            matches!(next, Token::Word(_) | Token::SingleQuotedString(_) | Token::LParen) && has_on(&tokens[at..])
        }
        _ => matches!(next, Token::Word(_) | Token::SingleQuotedString(_) | Token::LParen),
    };
    (begins && source).then_some(word)
}

/// Whether ON stands before the query ends.
fn has_on(tokens: &[TokenWithSpan]) -> bool {
    stands_before(tokens, "ON", &[])
}

/// Words that follow a query's body.
const TAIL: [&str; 7] = ["ORDER", "LIMIT", "OFFSET", "FETCH", "UNION", "EXCEPT", "INTERSECT"];

/// Takes tokens up to one of these words, or the end of the query, outside of parentheses.
fn until(rest: &mut std::iter::Peekable<std::vec::IntoIter<Placed>>, words: &[&str]) -> Vec<Placed> {
    let (mut taken, mut depth) = (Vec::new(), 0_usize);
    while let Some((token, _)) = rest.peek() {
        match &token.token {
            Token::RParen if depth == 0 => break,
            Token::RParen => depth -= 1,
            Token::LParen => depth += 1,
            found if depth == 0 && (is_any(found, words) || is_any(found, &TAIL)) => break,
            _ => {}
        }
        taken.extend(rest.next());
    }
    taken
}

fn rewritten(tokens: Vec<Placed>, word: &str) -> Vec<Placed> {
    let (span, place) = (tokens[0].0.span, (tokens[0].1.0, tokens[0].1.0));
    let mut rest = tokens.into_iter().peekable();
    rest.next();
    let mut out = Out { tokens: Vec::new(), span, place };
    out.word("SELECT", Keyword::SELECT);
    out.token(Token::Mul);
    out.word("FROM", Keyword::FROM);
    match word {
        "SUMMARIZE" | "DESCRIBE" => {
            out.name(if word == "SUMMARIZE" { SUMMARIZE } else { DESCRIBE });
            let begins =
                rest.clone().map(|(token, _)| token.token).find(|token| !matches!(token, Token::Whitespace(_)));
            let query =
                begins.is_some_and(|token| is_any(&token, &["SELECT", "FROM", "WITH", "VALUES", "PIVOT", "UNPIVOT"]));
            // A query is meant with its ORDER BY.
            let source = if query { to_end(&mut rest) } else { until(&mut rest, &[]) };
            out.token(Token::LParen);
            out.source(source, query);
        }
        "PIVOT" => {
            out.name(PIVOT);
            out.token(Token::LParen);
            let source = until(&mut rest, &["ON"]);
            out.source(source, false);
            for (begin, name) in [("ON", ON), ("USING", USING), ("GROUP", GROUP)] {
                if rest.peek().is_some_and(|(token, _)| is_word(&token.token, begin)) {
                    rest.next();
                    let mut items = until(&mut rest, &["USING", "GROUP"]);
                    if begin == "GROUP" {
                        let by = items.iter().position(|(token, _)| is_word(&token.token, "BY")).map_or(0, |at| at + 1);
                        items.drain(..by);
                    }
                    out.clause(name, items);
                }
            }
        }
        _ => {
            out.name(UNPIVOT);
            out.token(Token::LParen);
            let source = until(&mut rest, &["ON"]);
            out.source(source, false);
            rest.next();
            out.clause(ON, until(&mut rest, &["INTO"]));
            if rest.peek().is_some_and(|(token, _)| is_word(&token.token, "INTO")) {
                rest.next();
                let mut items = until(&mut rest, &[]);
                items.retain(|(token, _)| !is_word(&token.token, "NAME"));
                for (token, _) in &mut items {
                    if is_word(&token.token, "VALUE") {
                        token.token = Token::Comma;
                    }
                }
                out.clause(INTO, items);
            }
        }
    }
    out.token(Token::RParen);
    out.tokens.extend(rest);
    out.tokens
}

/// Takes tokens up to the end of the query.
fn to_end(rest: &mut std::iter::Peekable<std::vec::IntoIter<Placed>>) -> Vec<Placed> {
    let (mut taken, mut depth) = (Vec::new(), 0_usize);
    while let Some((token, _)) = rest.peek() {
        match &token.token {
            Token::RParen if depth == 0 => break,
            Token::RParen => depth -= 1,
            Token::LParen => depth += 1,
            _ => {}
        }
        taken.extend(rest.next());
    }
    taken
}

/// The tokens that are written, at the place of the statement's first word.
struct Out {
    tokens: Vec<Placed>,
    span: Span,
    place: (usize, usize),
}

impl Out {
    fn token(&mut self, token: Token) {
        self.tokens.push((TokenWithSpan { token, span: self.span }, self.place));
        self.tokens.push((TokenWithSpan { token: Token::Whitespace(Whitespace::Space), span: self.span }, self.place));
    }

    fn word(&mut self, text: &str, keyword: Keyword) {
        self.token(Token::Word(Word { value: text.to_string(), quote_style: None, keyword }));
    }

    fn name(&mut self, name: &str) {
        let word = Word { value: name.to_string(), quote_style: Some('"'), keyword: Keyword::NoKeyword };
        self.token(Token::Word(word));
    }

    /// `(SELECT * FROM source)`, or the query that it is.
    fn source(&mut self, source: Vec<Placed>, query: bool) {
        self.token(Token::LParen);
        if !query {
            self.word("SELECT", Keyword::SELECT);
            self.token(Token::Mul);
            self.word("FROM", Keyword::FROM);
        }
        self.tokens.extend(source);
        self.token(Token::RParen);
    }

    fn clause(&mut self, name: &str, items: Vec<Placed>) {
        self.token(Token::Comma);
        self.name(name);
        self.token(Token::LParen);
        self.tokens.extend(items);
        self.token(Token::RParen);
    }
}
