//! EXCLUDE of a window's frame, which `sqlparser` does not know.
//!
//! The lexer takes `EXCLUDE …` out and leaves, before the frame, one more ORDER BY key whose name nobody can write: [`take`] finds it in the syntax
//! tree and takes it out again.

use sqlparser::ast::{Expr, WindowSpec};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace, Word};

use crate::plan::Exclude;

/// How the key's name begins. No text has a NUL.
const MARK: &str = "\0exclude ";

/// What may be excluded.
const EXCLUSIONS: [(&str, Exclude); 4] = [
    ("NO OTHERS", Exclude::NoOthers),
    ("CURRENT ROW", Exclude::CurrentRow),
    ("GROUP", Exclude::Group),
    ("TIES", Exclude::Ties),
];

/// What a window's frame excludes; the window is then as if nothing had been.
pub(crate) fn take(spec: &mut WindowSpec) -> Exclude {
    let marked = |expr: &Expr| match expr {
        Expr::Identifier(ident) => ident.value.strip_prefix(MARK).map(str::to_string),
        _ => None,
    };
    let Some(words) = spec.order_by.last().and_then(|key| marked(&key.expr)) else { return Exclude::NoOthers };
    spec.order_by.pop();
    EXCLUSIONS.iter().find(|(known, _)| *known == words).map_or(Exclude::NoOthers, |(_, exclude)| *exclude)
}

/// Moves each EXCLUDE before its frame. `bytes` has a place for each token.
pub(super) fn move_marks(tokens: &mut Vec<TokenWithSpan>, bytes: &mut Vec<(usize, usize)>) {
    let mut at = 0;
    while at < tokens.len() {
        if word(&tokens[at].token).is_some_and(|word| word == "EXCLUDE")
            && let Some((words, end)) = exclusion(tokens, at + 1)
            && let Some((frame, has_order)) = frame_before(tokens, at)
        {
            tokens[at..end].iter_mut().for_each(|token| token.token = Token::Whitespace(Whitespace::Space));
            let keyword =
                |text: &str, keyword| Token::Word(Word { value: text.to_string(), quote_style: None, keyword });
            let name = Word { value: format!("{MARK}{words}"), quote_style: Some('"'), keyword: Keyword::NoKeyword };
            let mut added = match has_order {
                true => vec![Token::Comma],
                false => vec![keyword("ORDER", Keyword::ORDER), keyword("BY", Keyword::BY)],
            };
            added.push(Token::Word(name));
            let (span, place) = (tokens[frame].span, bytes[frame].0);
            bytes.splice(frame..frame, added.iter().map(|_| (place, place)));
            tokens.splice(frame..frame, added.into_iter().map(|token| TokenWithSpan { token, span }));
        }
        at += 1;
    }
}

/// A word that is not quoted, in capitals.
fn word(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
        _ => None,
    }
}

/// What is excluded, if this and a closing parenthesis stand here, and where it ends.
fn exclusion(tokens: &[TokenWithSpan], from: usize) -> Option<(&'static str, usize)> {
    let mut rest = (from..tokens.len()).filter(|&at| !matches!(tokens[at].token, Token::Whitespace(_)));
    let (first, second, third) = (rest.next()?, rest.next()?, rest.next());
    let is_end = |at: usize| tokens[at].token == Token::RParen;
    let one = word(&tokens[first].token)?;
    EXCLUSIONS.iter().find_map(|(known, _)| match word(&tokens[second].token) {
        None => (*known == one && is_end(second)).then_some((*known, second)),
        Some(two) => {
            let end = third.filter(|&at| is_end(at))?;
            (*known == format!("{one} {two}")).then_some((*known, end))
        }
    })
}

/// Where the frame begins that a place is in, and whether ORDER BY stands before it in the same parentheses.
fn frame_before(tokens: &[TokenWithSpan], at: usize) -> Option<(usize, bool)> {
    let (mut depth, mut frame) = (0, None);
    for before in (0..at).rev() {
        match &tokens[before].token {
            Token::RParen => depth += 1,
            Token::LParen if depth == 0 => break,
            Token::LParen => depth -= 1,
            Token::Word(word) if depth == 0 && word.quote_style.is_none() => match word.keyword {
                Keyword::ROWS | Keyword::RANGE | Keyword::GROUPS if frame.is_none() => frame = Some(before),
                Keyword::ORDER if frame.is_some() => return Some((frame?, true)),
                _ => {}
            },
            _ => {}
        }
    }
    frame.map(|frame| (frame, false))
}
