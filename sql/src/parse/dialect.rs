//! [`WeirDialect`]: PostgreSQL's grammar as `sqlparser` knows it, with what ClickHouse and Flink add to it.
//!
//! Every question that `sqlparser` asks of a dialect is passed on to its `PostgreSqlDialect`, except for these additions:
//!
//! * backquoted identifiers, `==`, adjacent string literals on separate lines;
//! * `quantile(0.9)(x)`: an argument list straight after a call ([`Dialect::parse_infix`]); what was called becomes the parameters;
//! * `PREWHERE`, `LIMIT n BY`, `SETTINGS`, `SELECT * EXCLUDE`, `REPLACE`, `ORDER BY ALL`;
//! * `INTERVAL 2 WEEK`, `INTERVAL 5 MINUTES` and the like;
//! * types: see [`super::datatype`].
//!
//! Invariant: a text that PostgreSQL accepts keeps PostgreSQL's meaning.

use std::any::TypeId;

use sqlparser::ast::{BinaryOperator, ColumnOption, DataType, Expr};
use sqlparser::dialect::{BindPlaceholderStyle, Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::datatype;

/// The dialect. See the module's page.
#[derive(Debug, Default, Clone, Copy)]
pub struct WeirDialect;

const POSTGRES: PostgreSqlDialect = PostgreSqlDialect {};

/// Binds tighter than every operator: an argument list after a call.
const PARAMETRIC_CALL_PRECEDENCE: u8 = 210;

/// Words that PostgreSQL reserves and that cannot start an expression.
const STARTS_NO_EXPRESSION: &[Keyword] = &[
    Keyword::AND,
    Keyword::AS,
    Keyword::ASC,
    Keyword::DESC,
    Keyword::DO,
    Keyword::ELSE,
    Keyword::END,
    Keyword::EXCEPT,
    Keyword::FETCH,
    Keyword::FOR,
    Keyword::FROM,
    Keyword::GROUP,
    Keyword::HAVING,
    Keyword::IN,
    Keyword::INTERSECT,
    Keyword::INTO,
    Keyword::LIMIT,
    Keyword::OFFSET,
    Keyword::ON,
    Keyword::OR,
    Keyword::ORDER,
    Keyword::RETURNING,
    Keyword::THEN,
    Keyword::TO,
    Keyword::UNION,
    Keyword::USING,
    Keyword::WHEN,
    Keyword::WHERE,
    Keyword::WINDOW,
];

/// Passes yes-or-no questions on to PostgreSQL's dialect.
macro_rules! as_postgres {
    ($($question:ident),* $(,)?) => {
        $(fn $question(&self) -> bool { POSTGRES.$question() })*
    };
}

impl Dialect for WeirDialect {
    /// `sqlparser` asks for the dialect's type in some places: there we are PostgreSQL.
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    as_postgres!(
        supports_cte_materialization,
        supports_unicode_string_literal,
        supports_filter_during_aggregation,
        supports_group_by_expr,
        supports_drop_group,
        supports_alter_user_as_alter_role,
        supports_create_group,
        supports_create_role_if_not_exists,
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_create_index_with_clause,
        supports_sql_option_without_value,
        supports_explain_with_utility_options,
        supports_listen_notify,
        supports_exclude_constraint,
        supports_factorial_operator,
        supports_bitwise_shift_operators,
        supports_tilde_like_match_operator,
        supports_comparison_in_between_low_bound,
        supports_comment_on,
        supports_load_extension,
        supports_named_fn_args_with_colon_operator,
        supports_named_fn_args_with_expr_name,
        supports_named_fn_args_with_assignment_operator,
        supports_empty_projections,
        supports_nested_comments,
        supports_string_escape_constant,
        supports_numeric_literal_underscores,
        supports_non_decimal_integer_literals,
        supports_array_typedef_with_brackets,
        supports_geometric_types,
        supports_order_by_using_operator,
        supports_set_names,
        supports_alter_column_type_using,
        supports_left_associative_joins_without_parens,
        supports_notnull_operator,
        supports_interval_options,
        supports_insert_table_alias,
        supports_create_table_like_parenthesized,
        supports_select_wildcard_with_alias,
        supports_comma_separated_trim,
        supports_xml_expressions,
        supports_aliased_function_args,
        supports_add_column_if_not_exists,
        supports_attach_partition_of,
        supports_detach_partition_of,
        supports_table_inheritance_markers,
        supports_column_generic_options,
    );

    /// DuckDB's `lambda x : x + 1`. The arrow's form is the binder's matter: here it is an operator.
    fn supports_lambda_keyword_syntax(&self) -> bool {
        true
    }

    fn supports_select_wildcard_exclude(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_limit_comma(&self) -> bool {
        true
    }

    fn supports_select_wildcard_replace(&self) -> bool {
        true
    }

    fn supports_order_by_all(&self) -> bool {
        true
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        POSTGRES.identifier_quote_style(identifier)
    }

    fn ordered_bind_placeholder_style(&self) -> Option<BindPlaceholderStyle> {
        POSTGRES.ordered_bind_placeholder_style()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"' || ch == '`'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        POSTGRES.is_identifier_part(ch)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        ch != '`' && POSTGRES.is_custom_operator_part(ch)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        POSTGRES.is_reserved_for_identifier(keyword)
    }

    /// ClickHouse's FINAL and `SAMPLE 0.1` are no aliases.
    fn is_table_alias(&self, keyword: &Keyword, parser: &mut Parser) -> bool {
        let sampled = *keyword == Keyword::SAMPLE && matches!(parser.peek_token_ref().token, Token::Number(..));
        !matches!(keyword, Keyword::ANY | Keyword::ALL | Keyword::FINAL)
            && !sampled
            && !names_format(keyword, parser)
            && !is_emit(parser)
            && POSTGRES.is_table_alias(keyword, parser)
    }

    fn support_map_literal_syntax(&self) -> bool {
        true
    }

    // DuckDB's `columns = {'a': 'BIGINT'}` in functions that read files.
    fn supports_dictionary_syntax(&self) -> bool {
        true
    }

    fn supports_string_literal_column_alias(&self, explicit: bool) -> bool {
        POSTGRES.supports_string_literal_column_alias(explicit)
    }

    fn supports_string_literal_table_alias(&self, explicit: bool) -> bool {
        POSTGRES.supports_string_literal_table_alias(explicit)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        POSTGRES.prec_value(precedence)
    }

    fn is_custom_type_typed_string(&self, first: Keyword, qualified: bool) -> bool {
        POSTGRES.is_custom_type_typed_string(first, qualified)
    }

    fn parse_column_option(
        &self,
        parser: &mut Parser,
    ) -> Result<Option<Result<Option<ColumnOption>, ParserError>>, ParserError> {
        POSTGRES.parse_column_option(parser)
    }

    fn is_interval_qualifier(&self, keyword: Keyword) -> bool {
        POSTGRES.is_interval_qualifier(keyword)
            || matches!(
                keyword,
                Keyword::YEARS
                    | Keyword::QUARTER
                    | Keyword::MONTHS
                    | Keyword::WEEK
                    | Keyword::WEEKS
                    | Keyword::DAYS
                    | Keyword::HOURS
                    | Keyword::MINUTES
                    | Keyword::SECONDS
                    | Keyword::MILLISECOND
                    | Keyword::MILLISECONDS
                    | Keyword::MICROSECOND
                    | Keyword::MICROSECONDS
            )
    }

    // What a client sends after COPY … FROM STDIN is not part of the statement's text.
    fn supports_copy_from_stdin_data(&self) -> bool {
        false
    }

    fn supports_string_literal_concatenation_with_newline(&self) -> bool {
        true
    }

    fn supports_select_format(&self) -> bool {
        true
    }

    /// A format is named after FORMAT at the end of a query: then it is no alias.
    fn is_column_alias(&self, keyword: &Keyword, parser: &mut Parser) -> bool {
        !names_format(keyword, parser) && !is_emit(parser) && POSTGRES.is_column_alias(keyword, parser)
    }

    fn supports_with_fill(&self) -> bool {
        true
    }

    fn supports_interpolate(&self) -> bool {
        true
    }

    fn supports_from_first_select(&self) -> bool {
        true
    }

    fn supports_prewhere(&self) -> bool {
        true
    }

    fn supports_limit_by(&self) -> bool {
        true
    }

    fn supports_settings(&self) -> bool {
        true
    }

    fn supports_map_literal_with_angle_brackets(&self) -> bool {
        true
    }

    /// Plain literals are read here: `sqlparser` would first try each as the name of a type, which costs more than the literal and shows in
    /// an INSERT of many rows. Reserved words that start no expression are refused: `sqlparser` would take them for columns.
    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        match &parser.peek_token_ref().token {
            Token::Number(..) | Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) => {
                Some(parser.parse_value().map(Expr::Value))
            }
            Token::LBrace if matches!(parser.peek_nth_token_ref(1).token, Token::Number(..)) => {
                Some(map_of_numbers(parser))
            }
            Token::Word(word) if STARTS_NO_EXPRESSION.contains(&word.keyword) => {
                let call = parser.peek_nth_token_ref(1).token == Token::LParen;
                (!call).then(|| parser.expected_ref("an expression", parser.peek_token_ref()))
            }
            _ => None,
        }
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        match (&parser.get_current_token().token, &parser.peek_token_ref().token) {
            (Token::RParen, Token::LParen) => Some(Ok(PARAMETRIC_CALL_PRECEDENCE)),
            _ => POSTGRES.get_next_precedence(parser),
        }
    }

    /// `f(parameters)(arguments)`, and BETWEEN SYMMETRIC.
    fn parse_infix(&self, parser: &mut Parser, left: &Expr, _precedence: u8) -> Option<Result<Expr, ParserError>> {
        if let Some(between) = parse_between_symmetric(parser, left) {
            return Some(between);
        }
        if parser.peek_token_ref().token != Token::LParen {
            return None;
        }
        let Expr::Function(call) = left else {
            let found = parser.peek_token();
            return Some(parser.expected("an operator", found));
        };
        Some(parser.parse_function(call.name.clone()).map(|expr| match expr {
            Expr::Function(mut function) => {
                function.parameters = call.args.clone();
                Expr::Function(function)
            }
            other => other,
        }))
    }

    fn parse_data_type(&self, parser: &mut Parser) -> Option<Result<DataType, ParserError>> {
        datatype::parse(parser)
    }
}

/// Whether the word is FORMAT, and a name that ends the query follows.
fn names_format(keyword: &Keyword, parser: &Parser) -> bool {
    *keyword == Keyword::FORMAT
        && matches!(&parser.peek_token_ref().token, Token::Word(word) if word.keyword == Keyword::NoKeyword || word.keyword == Keyword::CSV)
        && matches!(parser.peek_nth_token_ref(1).token, Token::EOF | Token::RParen)
}

/// Whether the word that was taken begins EMIT after a query, and is no alias.
fn is_emit(parser: &Parser) -> bool {
    let is = |token: &Token, word: &str| matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word));
    let next = |n: usize, word: &str| is(&parser.peek_nth_token_ref(n).token, word);
    is(&parser.get_current_token().token, "EMIT")
        && (next(0, "CHANGES")
            || (next(0, "EVERY") && !matches!(parser.peek_nth_token_ref(1).token, Token::EOF))
            || (next(0, "ON") && next(1, "WINDOW") && next(2, "CLOSE")))
}

/// `[NOT] BETWEEN SYMMETRIC a AND b`: between them in one order or the other.
fn parse_between_symmetric(parser: &mut Parser, left: &Expr) -> Option<Result<Expr, ParserError>> {
    let is = |token: &Token, word: &str| matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word));
    let negated = is(&parser.peek_token_ref().token, "NOT");
    let at = usize::from(negated);
    let symmetric = is(&parser.peek_nth_token_ref(at + 1).token, "SYMMETRIC");
    let asymmetric = is(&parser.peek_nth_token_ref(at + 1).token, "ASYMMETRIC");
    if !is(&parser.peek_nth_token_ref(at).token, "BETWEEN") || !(symmetric || asymmetric) {
        return None;
    }
    (0..at + 2).for_each(|_| {
        parser.next_token();
    });
    let bounds = |parser: &mut Parser| {
        let precedence = POSTGRES.prec_value(Precedence::Between);
        let low = parser.parse_subexpr(precedence)?;
        parser.expect_keyword_is(Keyword::AND)?;
        Ok((low, parser.parse_subexpr(precedence)?))
    };
    Some(bounds(parser).map(|(low, high)| {
        let between = |low: &Expr, high: &Expr, negated| Expr::Between {
            expr: Box::new(left.clone()),
            negated,
            low: Box::new(low.clone()),
            high: Box::new(high.clone()),
        };
        if asymmetric {
            return between(&low, &high, negated);
        }
        Expr::Nested(Box::new(Expr::BinaryOp {
            left: Box::new(between(&low, &high, negated)),
            op: if negated { BinaryOperator::And } else { BinaryOperator::Or },
            right: Box::new(between(&high, &low, negated)),
        }))
    }))
}

/// ClickHouse's `{1: 'a', 2: 'b'}`, whose keys are no names.
fn map_of_numbers(parser: &mut Parser) -> Result<Expr, ParserError> {
    parser.expect_token(&Token::LBrace)?;
    let entries = parser.parse_comma_separated(|p| {
        let key = p.parse_value().map(Expr::Value)?;
        p.expect_token(&Token::Colon)?;
        Ok(format!("{key}, {}", p.parse_expr()?))
    })?;
    parser.expect_token(&Token::RBrace)?;
    super::expr(&format!("map({})", entries.join(", "))).map_err(|error| ParserError::ParserError(error.message))
}
