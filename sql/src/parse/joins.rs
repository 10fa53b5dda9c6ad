//! Joins that `sqlparser` does not read: DuckDB's and ClickHouse's ASOF, ClickHouse's ANY, ALL and GLOBAL.
//!
//! The lexer writes each with words that `sqlparser` knows and that nobody can have written: GLOBAL, which means nothing on one node, is
//! taken out wherever it stands, and put before a join that is more than its words say. [`strictness`] reads it back.

use sqlparser::ast::{Join, JoinOperator};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace, Word};

use super::cursor::is_word;

/// Which of the rows that match are a join's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// All.
    All,
    /// For each left row, the one that is nearest by the join's inequality.
    Asof,
    /// For each left row, one.
    Any,
}

/// What the words before JOIN said.
pub(crate) fn strictness(join: &Join) -> Strictness {
    match (join.global, &join.join_operator) {
        (false, _) => Strictness::All,
        (true, JoinOperator::Inner(_) | JoinOperator::LeftOuter(_) | JoinOperator::RightOuter(_)) => Strictness::Any,
        (true, JoinOperator::RightSemi(_)) => Strictness::Any,
        (true, _) => Strictness::Asof,
    }
}

/// Rewrites the joins of a statement. `bytes` has a place for each token.
pub(super) fn rewrite(tokens: &mut Vec<TokenWithSpan>, bytes: &mut Vec<(usize, usize)>) {
    let mut at = 0;
    while at < tokens.len() {
        if is_word(&tokens[at].token, "JOIN") {
            let words = words_before(tokens, at);
            let said = |word: &str| words.iter().any(|&place| is_word(&tokens[place].token, word));
            // A word that names an alias of the table before it is none of the join's.
            let own = !said("AS");
            let (asof, any) = (own && said("ASOF"), own && said("ANY"));
            if own && (said("GLOBAL") || said("ALL") || asof || any) {
                at = replace(tokens, bytes, &words, at, asof, any);
            }
        }
        at += 1;
    }
}

/// The places of the words that make a JOIN what it is, from the first.
fn words_before(tokens: &[TokenWithSpan], join: usize) -> Vec<usize> {
    const WORDS: [&str; 11] =
        ["GLOBAL", "ASOF", "ANY", "ALL", "LEFT", "RIGHT", "FULL", "INNER", "OUTER", "SEMI", "ANTI"];
    let mut words = Vec::new();
    for at in (0..join).rev() {
        match &tokens[at].token {
            Token::Whitespace(_) => {}
            token if WORDS.iter().any(|word| is_word(token, word)) => words.insert(0, at),
            // `t AS asof JOIN u`
            token if is_word(token, "AS") && !words.is_empty() => {
                words.insert(0, at);
                break;
            }
            _ => break,
        }
    }
    words
}

/// Puts other words before the JOIN at a place, and tells where it then stands.
fn replace(
    tokens: &mut Vec<TokenWithSpan>,
    bytes: &mut Vec<(usize, usize)>,
    words: &[usize],
    join: usize,
    asof: bool,
    any: bool,
) -> usize {
    let (first, span) = (words[0], tokens[words[0]].span);
    let mut kept: Vec<(&str, Keyword)> = Vec::new();
    for &place in words {
        let known = [
            ("LEFT", Keyword::LEFT),
            ("RIGHT", Keyword::RIGHT),
            ("FULL", Keyword::FULL),
            ("INNER", Keyword::INNER),
            ("SEMI", Keyword::SEMI),
            ("ANTI", Keyword::ANTI),
        ];
        kept.extend(known.into_iter().filter(|(word, _)| is_word(&tokens[place].token, word)));
    }
    // `SEMI LEFT JOIN` is `LEFT SEMI JOIN`.
    kept.sort_by_key(|(word, _)| matches!(*word, "SEMI" | "ANTI"));
    let inner = kept.iter().all(|(word, _)| *word == "INNER");
    if asof || any {
        kept.retain(|(word, _)| *word != "INNER");
        // FULL JOIN is FULL OUTER JOIN to `sqlparser`: what no one has, ANY FULL, goes by what no one has with ANY either.
        if any && kept.iter().any(|(word, _)| *word == "FULL") {
            kept = vec![("RIGHT", Keyword::RIGHT), ("SEMI", Keyword::SEMI)];
        }
        match (any, inner) {
            (true, true) => kept.push(("INNER", Keyword::INNER)),
            (true, false) if !kept.iter().any(|(word, _)| matches!(*word, "SEMI" | "ANTI")) => {
                kept.push(("OUTER", Keyword::OUTER));
            }
            (true, false) => {}
            (false, _) => {}
        }
        kept.insert(0, ("GLOBAL", Keyword::GLOBAL));
    }
    let word = |(text, keyword): &(&str, Keyword)| TokenWithSpan {
        token: Token::Word(Word { value: text.to_string(), quote_style: None, keyword: *keyword }),
        span,
    };
    let mut added: Vec<TokenWithSpan> = Vec::new();
    for kept in &kept {
        added.push(word(kept));
        added.push(TokenWithSpan { token: Token::Whitespace(Whitespace::Space), span });
    }
    let place = bytes[first];
    bytes.splice(first..join, added.iter().map(|_| place));
    let count = added.len();
    tokens.splice(first..join, added);
    first + count
}
