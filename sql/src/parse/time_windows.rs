//! Windows of time in FROM, whose arguments `sqlparser` does not read: Flink's `SESSION(TABLE t PARTITION BY a, b, DESCRIPTOR(ts), INTERVAL '5' MINUTE)`.
//!
//! The lexer takes TABLE out, makes PARTITION BY a call of a name that nobody can write ([`PARTITION`]), one more argument, and quotes the names of
//! arguments (`SIZE => …`), some of which are reserved.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace, Word};

use super::cursor::is_word;

/// What PARTITION BY is called in the syntax tree. No text has a NUL.
pub(crate) const PARTITION: &str = "\0partition";

/// The functions, in lower case.
pub(crate) const WINDOWS: [&str; 4] = ["tumble", "hop", "cumulate", "session"];

/// Rewrites a statement's tokens. `bytes` has a place for each.
pub(super) fn rewrite(tokens: &mut Vec<TokenWithSpan>, bytes: &mut Vec<(usize, usize)>) {
    for at in (0..tokens.len()).rev() {
        let is_call = WINDOWS.iter().any(|name| is_word(&tokens[at].token, name));
        if is_call
            && let Some(open) = solid(tokens, at + 1)
            && tokens[open].token == Token::LParen
        {
            arguments(tokens, bytes, open + 1);
        }
    }
}

/// The next place from here on that is not white space.
fn solid(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    (from..tokens.len()).find(|&at| !matches!(tokens[at].token, Token::Whitespace(_)))
}

fn name(value: String) -> Token {
    Token::Word(Word { value, quote_style: Some('"'), keyword: Keyword::NoKeyword })
}

/// Rewrites what stands between the parentheses of a call.
fn arguments(tokens: &mut Vec<TokenWithSpan>, bytes: &mut Vec<(usize, usize)>, from: usize) {
    let (mut depth, mut begins) = (0_usize, true);
    let mut partition = None;
    let mut at = from;
    while let Some(place) = solid(tokens, at) {
        at = place + 1;
        let next = solid(tokens, at).map(|next| tokens[next].token.clone());
        match &tokens[place].token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => break,
            Token::RParen => depth -= 1,
            Token::Comma | Token::RArrow if depth == 0 => {
                begins = true;
                continue;
            }
            token if depth > 0 || !matches!(token, Token::Word(_)) => {}
            token if begins && is_word(token, "TABLE") => {
                tokens[place].token = Token::Whitespace(Whitespace::Space);
            }
            Token::Word(word) if begins && next == Some(Token::RArrow) => {
                tokens[place].token = name(word.value.to_lowercase());
            }
            token if is_word(token, "PARTITION") && next.as_ref().is_some_and(|next| is_word(next, "BY")) => {
                partition = Some(place);
            }
            _ => {}
        }
        begins = false;
    }
    let Some(partition) = partition else { return };
    let Some(by) = solid(tokens, partition + 1) else { return };
    let end = keys_end(tokens, by + 1);
    tokens[partition].token = Token::Comma;
    tokens[by].token = name(PARTITION.to_string());
    for (place, token) in [(end, Token::RParen), (by + 1, Token::LParen)] {
        let before = place - 1;
        tokens.insert(place, TokenWithSpan { token, span: tokens[before].span });
        bytes.insert(place, (bytes[before].1, bytes[before].1));
    }
}

/// Where the keys of PARTITION BY end: before the argument that is a DESCRIPTOR or has a name, or else after the first.
fn keys_end(tokens: &[TokenWithSpan], from: usize) -> usize {
    let (mut depth, mut first) = (0_usize, None);
    for at in from..tokens.len() {
        match &tokens[at].token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return first.unwrap_or(at),
            Token::RParen => depth -= 1,
            Token::Comma if depth == 0 => {
                let argument = solid(tokens, at + 1);
                let is_named = argument
                    .and_then(|argument| solid(tokens, argument + 1))
                    .is_some_and(|after| tokens[after].token == Token::RArrow);
                if is_named || argument.is_some_and(|argument| is_word(&tokens[argument].token, "DESCRIPTOR")) {
                    return at;
                }
                first = first.or(Some(at));
            }
            _ => {}
        }
    }
    first.unwrap_or(tokens.len())
}
