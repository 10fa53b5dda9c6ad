//! ClickHouse's `[LEFT] ARRAY JOIN e [AS a], …`, which `sqlparser` does not read.
//!
//! The lexer writes it as a cross join with a call of a name that nobody can write, whose arguments are each expression and its alias: as a text,
//! empty where there is none.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace, Word};

use super::cursor::is_word;

/// What ARRAY JOIN is called in the syntax tree, and LEFT ARRAY JOIN. No text has a NUL.
pub(crate) const ARRAY_JOIN: [&str; 2] = ["\0array join", "\0left array join"];

/// Words that end the list of arrays.
const ENDS: [&str; 26] = [
    "WHERE",
    "PREWHERE",
    "GROUP",
    "HAVING",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "FETCH",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "SETTINGS",
    "FORMAT",
    "WINDOW",
    "QUALIFY",
    "ARRAY",
    "LEFT",
    "RIGHT",
    "FULL",
    "INNER",
    "CROSS",
    "JOIN",
    "GLOBAL",
    "ANY",
    "ASOF",
    "SELECT",
];

/// Rewrites the joins of a statement. `bytes` has a place for each token.
pub(super) fn rewrite(tokens: &mut Vec<TokenWithSpan>, bytes: &mut Vec<(usize, usize)>) {
    let mut at = 0;
    while at < tokens.len() {
        if let Some(end) = list(tokens, at) {
            at = replace(tokens, bytes, at, end);
        }
        at += 1;
    }
}

fn after(tokens: &[TokenWithSpan], at: usize) -> Option<usize> {
    (at + 1..tokens.len()).find(|&next| !matches!(tokens[next].token, Token::Whitespace(_)))
}

/// Where the arrays end of an ARRAY JOIN whose first word is at a place.
fn list(tokens: &[TokenWithSpan], array: usize) -> Option<usize> {
    if !is_word(&tokens[array].token, "ARRAY") {
        return None;
    }
    let join = after(tokens, array).filter(|&next| is_word(&tokens[next].token, "JOIN"))?;
    let mut depth = 0_usize;
    let ends = |token: &Token, next: usize| match token {
        Token::SemiColon | Token::EOF => true,
        // `ARRAY[…]` is a value.
        token if is_word(token, "ARRAY") => {
            after(tokens, next).is_some_and(|next| is_word(&tokens[next].token, "JOIN"))
        }
        Token::Word(_) => {
            // Of these there are functions, too.
            let named = ["LEFT", "RIGHT", "ANY", "FORMAT"].iter().any(|word| is_word(token, word));
            let calls = named && after(tokens, next).is_some_and(|next| tokens[next].token == Token::LParen);
            !calls && ENDS.iter().any(|end| is_word(token, end))
        }
        _ => false,
    };
    for (next, TokenWithSpan { token, .. }) in tokens.iter().enumerate().skip(join + 1) {
        match token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket if depth == 0 => return Some(next),
            Token::RParen | Token::RBracket => depth -= 1,
            token if depth == 0 && ends(token, next) => return Some(next),
            _ => {}
        }
    }
    Some(tokens.len())
}

/// Writes the join from ARRAY on, up to `end`; tells where its last token stands then.
fn replace(tokens: &mut Vec<TokenWithSpan>, bytes: &mut Vec<(usize, usize)>, array: usize, end: usize) -> usize {
    let before = (0..array).rev().find(|&at| !matches!(tokens[at].token, Token::Whitespace(_)));
    let left = before.filter(|&at| is_word(&tokens[at].token, "LEFT"));
    let first = left.unwrap_or(array);
    let mut written: Vec<(TokenWithSpan, (usize, usize))> = Vec::new();
    let mut write = |token: Token, at: usize| {
        written.push((TokenWithSpan { token, span: tokens[at].span }, bytes[at]));
    };
    let word = |text: &str, keyword: Keyword| {
        let quote_style = if keyword == Keyword::NoKeyword { Some('"') } else { None };
        Token::Word(Word { value: text.into(), quote_style, keyword })
    };
    for (text, keyword) in [("CROSS", Keyword::CROSS), ("JOIN", Keyword::JOIN)] {
        write(word(text, keyword), first);
        write(Token::Whitespace(Whitespace::Space), first);
    }
    write(word(ARRAY_JOIN[usize::from(left.is_some())], Keyword::NoKeyword), array);
    write(Token::LParen, array);
    let join = after(tokens, array).unwrap_or(array);
    let (mut depth, mut alias, mut last) = (0_usize, None, array);
    for (at, TokenWithSpan { token, .. }) in tokens.iter().enumerate().take(end).skip(join + 1) {
        match token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            Token::Whitespace(_) => continue,
            _ => {}
        }
        match token {
            // Before the next array, or after AS.
            Token::Comma if depth == 0 => {
                write(Token::Comma, at);
                write(Token::SingleQuotedString(alias.take().unwrap_or_default()), last);
                write(Token::Comma, at);
            }
            token if depth == 0 && is_word(token, "AS") => alias = Some(String::new()),
            Token::Word(name) if depth == 0 && alias.is_some() => alias = Some(name.value.clone()),
            _ => {
                write(token.clone(), at);
                write(Token::Whitespace(Whitespace::Space), at);
            }
        }
        last = at;
    }
    write(Token::Comma, last);
    write(Token::SingleQuotedString(alias.unwrap_or_default()), last);
    write(Token::RParen, last);
    write(Token::Whitespace(Whitespace::Space), last);
    let (added, places): (Vec<TokenWithSpan>, Vec<(usize, usize)>) = written.into_iter().unzip();
    let count = added.len();
    bytes.splice(first..end, places);
    tokens.splice(first..end, added);
    first + count - 1
}
