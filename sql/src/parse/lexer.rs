//! A query text into statements' tokens.
//!
//! `sqlparser` tells places by line and column. Here every token's span is rewritten to line 1 and the column that is its *character position
//! in its own statement's text, counted from 1*: so a span anywhere in a syntax tree is at once what Postgres calls the position of an error
//! (`span.start.column`), and errors of `sqlparser` carry it too.
//!
//! `FINAL` after a table in FROM is taken out here: a keyed table is read deduplicated anyway, and PostgreSQL's grammar would read it as
//! an alias.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Whitespace};

use super::dialect::WeirDialect;
use super::{array_join, clauses, duckdb, exclude, joins, time_windows, traversal};
use crate::error::{Error, ErrorKind, Result};

/// One statement's tokens.
#[derive(Debug)]
pub(super) struct Lexed<'a> {
    /// The statement's text: from its first token to its last.
    pub(super) text: &'a str,
    /// How many characters of the query text come before it.
    pub(super) offset: usize,
    /// Tokens, white space too, with character positions as columns.
    pub(super) tokens: Vec<TokenWithSpan>,
    /// For each token, where it starts and ends in `text`, in bytes.
    pub(super) bytes: Vec<(usize, usize)>,
}

/// Splits a query text at its semicolons. Parts without a token (only white space and comments) are left out.
pub(super) fn lex(sql: &str) -> Result<Vec<Lexed<'_>>> {
    let raw = Tokenizer::new(&WeirDialect, sql).tokenize_with_location().map_err(|error| broken(sql, error))?;
    let mut walk = Walk::new(sql);
    let mut statements = Vec::new();
    let mut tokens: Vec<(TokenWithSpan, Place, Place)> = Vec::new();
    for token in raw {
        let (start, end) = (walk.to(token.span.start), walk.to(token.span.end));
        match token.token {
            Token::SemiColon => statements.extend(statement(sql, std::mem::take(&mut tokens))),
            Token::EOF => {}
            Token::Whitespace(_) if tokens.is_empty() => {}
            _ => tokens.push((token, start, end)),
        }
    }
    statements.extend(statement(sql, tokens));
    Ok(statements)
}

fn statement(sql: &str, mut tokens: Vec<(TokenWithSpan, Place, Place)>) -> Option<Lexed<'_>> {
    while tokens.last().is_some_and(|(token, ..)| matches!(token.token, Token::Whitespace(_))) {
        tokens.pop();
    }
    let (first, last) = (tokens.first()?.1, tokens.last()?.2);
    let location = |place: Place| Location::new(1, (place.char - first.char + 1) as u64);
    let mut bytes = tokens.iter().map(|(_, start, end)| (start.byte - first.byte, end.byte - first.byte)).collect();
    let mut tokens: Vec<TokenWithSpan> = tokens
        .into_iter()
        .map(|(token, start, end)| TokenWithSpan {
            token: token.token,
            span: Span::new(location(start), location(end)),
        })
        .collect();
    drop_final(&mut tokens);
    exclude::move_marks(&mut tokens, &mut bytes);
    duckdb::rewrite(&mut tokens, &mut bytes);
    array_join::rewrite(&mut tokens, &mut bytes);
    joins::rewrite(&mut tokens, &mut bytes);
    clauses::rewrite(&mut tokens, &mut bytes);
    time_windows::rewrite(&mut tokens, &mut bytes);
    let text = &sql[first.byte..last.byte];
    traversal::rewrite(text, &mut tokens, &mut bytes);
    Some(Lexed { text, offset: first.char, tokens, bytes })
}

/// A place in a text.
#[derive(Debug, Clone, Copy)]
struct Place {
    byte: usize,
    char: usize,
}

/// Finds the places of lines and columns that come in ascending order, in one pass.
struct Walk<'a> {
    rest: std::str::Chars<'a>,
    length: usize,
    char: usize,
    line: u64,
    column: u64,
}

impl<'a> Walk<'a> {
    fn new(text: &'a str) -> Walk<'a> {
        Walk { rest: text.chars(), length: text.len(), char: 0, line: 1, column: 1 }
    }

    fn to(&mut self, location: Location) -> Place {
        while (self.line, self.column) < (location.line, location.column) {
            match self.rest.next() {
                Some('\n') => (self.line, self.column) = (self.line + 1, 1),
                Some(_) => self.column += 1,
                None => break,
            }
            self.char += 1;
        }
        Place { byte: self.length - self.rest.as_str().len(), char: self.char }
    }
}

/// Text that is not even tokens: a string, quoted name or comment without its end.
fn broken(sql: &str, error: sqlparser::tokenizer::TokenizerError) -> Error {
    let lower = error.message.to_ascii_lowercase();
    let mut place = Walk::new(sql).to(error.location);
    if lower.contains("comment") {
        // The tokenizer tells where the text ends; PostgreSQL where the comment starts.
        place.byte = sql.rfind("/*").unwrap_or(place.byte);
        place.char = sql[..place.byte].chars().count();
    }
    let rest = &sql[place.byte..];
    let message = if lower.contains("comment") {
        format!("unterminated /* comment at or near \"{rest}\"")
    } else if lower.contains("unterminated dollar") {
        format!("unterminated dollar-quoted string at or near \"{rest}\"")
    } else if lower.contains("unterminated") && lower.contains("string") {
        format!("unterminated quoted string at or near \"{rest}\"")
    } else if lower.contains("close delimiter") || rest.starts_with(['"', '`']) {
        format!("unterminated quoted identifier at or near \"{rest}\"")
    } else {
        format!("syntax error at or near \"{}\"", rest.split_whitespace().next().unwrap_or(rest))
    };
    Error::new(ErrorKind::Syntax, message).at(place.char + 1)
}

/// In which clause of a SELECT we are, as far as it takes to tell whether FINAL follows a table.
#[derive(Clone, Copy, PartialEq)]
enum Clause {
    From,
    Other,
}

fn drop_final(tokens: &mut [TokenWithSpan]) {
    let is_final =
        |token: &Token| matches!(token, Token::Word(w) if w.keyword == Keyword::FINAL && w.quote_style.is_none());
    if !tokens.iter().any(|token| is_final(&token.token)) {
        return;
    }
    let mut clauses = vec![Clause::Other];
    let mut after_table = false;
    for at in 0..tokens.len() {
        let next = tokens[at + 1..].iter().map(|t| &t.token).find(|t| !matches!(t, Token::Whitespace(_))).cloned();
        let token = &tokens[at].token;
        let top = clauses.last().copied().unwrap_or(Clause::Other);
        match token {
            Token::Whitespace(_) => continue,
            Token::LParen => clauses.push(Clause::Other),
            Token::RParen => {
                clauses.pop();
            }
            token if is_final(token) && top == Clause::From && after_table && ends_table(next.as_ref()) => {
                tokens[at].token = Token::Whitespace(Whitespace::Space);
                continue;
            }
            Token::Word(word) if word.quote_style.is_none() => {
                let clause = match word.keyword {
                    Keyword::FROM | Keyword::JOIN => Some(Clause::From),
                    Keyword::SELECT | Keyword::WHERE | Keyword::PREWHERE | Keyword::GROUP | Keyword::HAVING => {
                        Some(Clause::Other)
                    }
                    Keyword::ORDER | Keyword::LIMIT | Keyword::OFFSET | Keyword::ON | Keyword::USING => {
                        Some(Clause::Other)
                    }
                    _ => None,
                };
                if let (Some(clause), Some(top)) = (clause, clauses.last_mut()) {
                    *top = clause;
                }
                after_table = !matches!(word.keyword, Keyword::FROM | Keyword::JOIN | Keyword::AS);
                continue;
            }
            _ => {}
        }
        after_table = matches!(tokens[at].token, Token::Word(_) | Token::RParen);
    }
}

/// Whether this may follow a table in FROM (where it cannot, FINAL was an identifier).
fn ends_table(next: Option<&Token>) -> bool {
    match next {
        None | Some(Token::RParen | Token::Comma) => true,
        Some(Token::Word(word)) => word.quote_style.is_none() && word.keyword != Keyword::NoKeyword,
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<(usize, &str)> {
        lex(sql).expect("tokens").into_iter().map(|s| (s.offset, s.text)).collect()
    }

    #[test]
    fn semicolons_split_and_comments_vanish() {
        assert_eq!(texts(" ; -- nothing\n ;"), []);
        assert_eq!(
            texts("select 1; /* é; */ select ';', $$;$$ -- end\n;\nselect 2"),
            [(0, "select 1"), (19, "select ';', $$;$$"), (46, "select 2")]
        );
    }

    #[test]
    fn columns_are_character_positions_in_the_statement() {
        let lexed = lex("x;\n\n select 'ä\nö', b").expect("tokens").remove(1);
        assert_eq!(lexed.text, "select 'ä\nö', b");
        let last = lexed.tokens.last().expect("a token");
        assert_eq!((last.span.start.line, last.span.start.column), (1, 15));
        assert_eq!(lexed.bytes.last(), Some(&(16, 17)));
    }

    #[test]
    fn text_without_an_end_is_told_with_its_place() {
        for (sql, message, position) in [
            ("select 'abc", "unterminated quoted string at or near \"'abc\"", 8),
            ("select \"abc", "unterminated quoted identifier at or near \"\"abc\"", 8),
            ("select 1 /* abc", "unterminated /* comment at or near \"/* abc\"", 10),
        ] {
            let error = lex(sql).expect_err(sql);
            assert_eq!((error.message.as_str(), error.position), (message, Some(position)), "{sql}");
        }
    }

    #[test]
    fn final_goes_only_after_a_table() {
        let words = |sql: &str| {
            let mut lexed = lex(sql).expect("tokens");
            let words =
                lexed.remove(0).tokens.into_iter().filter(|t| t.token.to_string().eq_ignore_ascii_case("final"));
            words.count()
        };
        assert_eq!(words("select * from t final where a = 1"), 0);
        assert_eq!(words("select * from (select * from t as x FINAL) y final join u final on true"), 0);
        assert_eq!(words("select final from t"), 1);
        assert_eq!(words("select a final from t where final = 1"), 2);
        assert_eq!(words("select * from final"), 1);
        assert_eq!(words("select * from t as final"), 1);
    }
}
