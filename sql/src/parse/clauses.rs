//! Clauses of a SELECT that `sqlparser` does not read, written by the lexer with words that it knows.
//!
//! * `ROWS FROM (f(…), g(…))` becomes a call of [`ROWS_FROM`], a name that nobody can write.
//! * `GROUP BY … WITH TOTALS`, `WITH ROLLUP` and `WITH CUBE` become one more key, of a name that nobody can write: [`group_modifier`].
//! * ClickHouse's `* EXCEPT (a, b)` becomes DuckDB's EXCLUDE, and its `LIMIT n WITH TIES` the standard's `FETCH FIRST n ROWS WITH TIES`.
//! * DuckDB's `FROM t [WHERE …]` without SELECT gets its `SELECT *`. With one after it, `sqlparser` reads it.

use sqlparser::ast::{Expr, GroupByWithModifier};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace, Word};

use super::cursor::is_word;

/// What ROWS FROM is called in the syntax tree. No text has a NUL.
pub(crate) const ROWS_FROM: &str = "\0rows from";

/// How the name of the key begins that a modifier of GROUP BY is in the syntax tree.
const MODIFIER: &str = "\0with ";

/// The modifier that a key of GROUP BY stands for.
pub(crate) fn group_modifier(key: &Expr) -> Option<GroupByWithModifier> {
    let Expr::Identifier(ident) = key else { return None };
    match ident.value.strip_prefix(MODIFIER)? {
        "TOTALS" => Some(GroupByWithModifier::Totals),
        "ROLLUP" => Some(GroupByWithModifier::Rollup),
        _ => Some(GroupByWithModifier::Cube),
    }
}

/// Rewrites a statement's tokens. `bytes` has a place for each.
pub(super) fn rewrite(tokens: &mut Vec<TokenWithSpan>, bytes: &mut Vec<(usize, usize)>) {
    rows_from(tokens);
    except_columns(tokens);
    limit_ties(tokens, bytes);
    group_modifiers(tokens);
    from_first(tokens, bytes);
}

fn rows_from(tokens: &mut [TokenWithSpan]) {
    for at in 0..tokens.len() {
        if !is_word(&tokens[at].token, "ROWS") {
            continue;
        }
        let mut after = (at + 1..tokens.len()).filter(|&next| !matches!(tokens[next].token, Token::Whitespace(_)));
        if let (Some(from), Some(open)) = (after.next(), after.next())
            && is_word(&tokens[from].token, "FROM")
            && tokens[open].token == Token::LParen
        {
            let name = Word { value: ROWS_FROM.to_string(), quote_style: Some('"'), keyword: Keyword::NoKeyword };
            tokens[at].token = Token::Word(name);
            tokens[from].token = Token::Whitespace(Whitespace::Space);
        }
    }
}

/// The places of the tokens after one that are not white space.
fn after(tokens: &[TokenWithSpan], at: usize) -> impl Iterator<Item = usize> {
    (at + 1..tokens.len()).filter(|&next| !matches!(tokens[next].token, Token::Whitespace(_)))
}

fn except_columns(tokens: &mut [TokenWithSpan]) {
    for at in 0..tokens.len() {
        if tokens[at].token != Token::Mul {
            continue;
        }
        let mut next = after(tokens, at);
        let (Some(except), Some(open), Some(first)) = (next.next(), next.next(), next.next()) else { continue };
        drop(next);
        let is_query =
            ["SELECT", "VALUES", "WITH", "TABLE", "FROM"].iter().any(|word| is_word(&tokens[first].token, word));
        if is_word(&tokens[except].token, "EXCEPT")
            && tokens[open].token == Token::LParen
            && matches!(tokens[first].token, Token::Word(_))
            && !is_query
        {
            let exclude = Word { value: "EXCLUDE".into(), quote_style: None, keyword: Keyword::EXCLUDE };
            tokens[except].token = Token::Word(exclude);
        }
    }
}

/// Only a number, which is what people write, is looked past.
fn limit_ties(tokens: &mut Vec<TokenWithSpan>, bytes: &mut Vec<(usize, usize)>) {
    let word = |value: &str, keyword| Token::Word(Word { value: value.into(), quote_style: None, keyword });
    for at in (0..tokens.len()).rev() {
        if !is_word(&tokens[at].token, "LIMIT") {
            continue;
        }
        let mut next = after(tokens, at);
        let (Some(number), Some(with), Some(ties)) = (next.next(), next.next(), next.next()) else { continue };
        drop(next);
        if matches!(tokens[number].token, Token::Number(..))
            && is_word(&tokens[with].token, "WITH")
            && is_word(&tokens[ties].token, "TIES")
        {
            let rows = TokenWithSpan { token: word("ROWS", Keyword::ROWS), span: tokens[with].span };
            tokens.insert(with, rows);
            bytes.insert(with, bytes[with]);
            let first = TokenWithSpan { token: word("FIRST", Keyword::FIRST), span: tokens[number].span };
            tokens.insert(number, first);
            bytes.insert(number, bytes[number]);
            tokens[at].token = word("FETCH", Keyword::FETCH);
        }
    }
}

fn group_modifiers(tokens: &mut [TokenWithSpan]) {
    for at in 0..tokens.len() {
        if !is_word(&tokens[at].token, "WITH") {
            continue;
        }
        let next = (at + 1..tokens.len()).find(|&next| !matches!(tokens[next].token, Token::Whitespace(_)));
        let Some(next) = next else { return };
        if let Some(word) = ["TOTALS", "ROLLUP", "CUBE"].into_iter().find(|word| is_word(&tokens[next].token, word)) {
            let value = format!("{MODIFIER}{word}");
            tokens[at].token = Token::Comma;
            tokens[next].token = Token::Word(Word { value, quote_style: Some('"'), keyword: Keyword::NoKeyword });
        }
    }
}

/// One query in parentheses, or the statement.
#[derive(Clone, Copy, Default)]
struct Level {
    /// Whether SELECT was there since the query began.
    selects: bool,
    /// Whether it begins with WITH.
    with: bool,
    /// Whether UNION or its like was just there.
    joined: bool,
    /// Whether it is an INSERT.
    insert: bool,
    /// Whether it is a call's arguments.
    call: bool,
}

fn from_first(tokens: &mut Vec<TokenWithSpan>, bytes: &mut Vec<(usize, usize)>) {
    let mut levels = vec![Level::default()];
    let mut before: Option<Token> = None;
    let mut at = 0;
    while at < tokens.len() {
        let token = tokens[at].token.clone();
        let Some(level) = levels.last_mut() else { return };
        match &token {
            Token::Whitespace(_) => {
                at += 1;
                continue;
            }
            Token::LParen => {
                let name = |word: &Word| word.quote_style.is_some() || word.keyword == Keyword::NoKeyword;
                let call = match &before {
                    Some(Token::Word(word)) => {
                        name(word)
                            || ["TRIM", "SUBSTRING", "EXTRACT", "OVERLAY"]
                                .iter()
                                .any(|call| is_word(&token_of(word), call))
                    }
                    _ => false,
                };
                levels.push(Level { call, ..Level::default() });
            }
            Token::RParen => {
                levels.pop();
            }
            token if is_word(token, "SELECT") => (level.selects, level.joined) = (true, false),
            token if is_word(token, "WITH") && before.is_none() => level.with = true,
            token if is_word(token, "INSERT") && before.is_none() => level.insert = true,
            token if ["UNION", "EXCEPT", "INTERSECT"].iter().any(|word| is_word(token, word)) => {
                (level.selects, level.joined) = (false, true);
            }
            token
                if is_word(token, "FROM") && !level.selects && !level.call && begins_query(before.as_ref(), *level) =>
            {
                (level.selects, level.joined) = (true, false);
                if !selects_later(&tokens[at + 1..]) {
                    let span = tokens[at].span;
                    let select = Word { value: "SELECT".into(), quote_style: None, keyword: Keyword::SELECT };
                    let space = Token::Whitespace(Whitespace::Space);
                    let added = [Token::Word(select), space.clone(), Token::Mul, space];
                    let place = (bytes[at].0, bytes[at].0);
                    bytes.splice(at..at, added.iter().map(|_| place));
                    let count = added.len();
                    tokens.splice(at..at, added.into_iter().map(|token| TokenWithSpan { token, span }));
                    at += count;
                }
            }
            _ => {}
        }
        before = Some(token);
        at += 1;
    }
}

fn token_of(word: &Word) -> Token {
    Token::Word(word.clone())
}

/// Whether a query may begin after this token.
fn begins_query(before: Option<&Token>, level: Level) -> bool {
    const WORDS: [&str; 7] = ["UNION", "EXCEPT", "INTERSECT", "AS", "EXPLAIN", "ANALYZE", "SUMMARIZE"];
    match before {
        None | Some(Token::LParen) => true,
        Some(Token::RParen) => level.with || level.insert,
        Some(token) if is_word(token, "ALL") || is_word(token, "DISTINCT") => level.joined,
        Some(Token::Word(_)) if level.insert => true,
        Some(token) => WORDS.iter().any(|word| is_word(token, word)),
    }
}

/// Whether SELECT follows in the same query.
fn selects_later(tokens: &[TokenWithSpan]) -> bool {
    stands_before(tokens, "SELECT", &["UNION", "EXCEPT", "INTERSECT"])
}

/// Whether a word stands outside of parentheses before the query ends, and before one of `ends`.
pub(super) fn stands_before(tokens: &[TokenWithSpan], word: &str, ends: &[&str]) -> bool {
    let mut depth = 0_usize;
    for TokenWithSpan { token, .. } in tokens {
        match token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return false,
            Token::RParen => depth -= 1,
            token if depth == 0 && is_word(token, word) => return true,
            token if depth == 0 && ends.iter().any(|end| is_word(token, end)) => return false,
            _ => {}
        }
    }
    false
}
