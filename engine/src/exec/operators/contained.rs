//! Texts that every row must have in it for which a condition is true: of LIKE and of regular expressions, their runs of literal characters.
//!
//! Storage finds those in many values at once, and in documents without putting them together ([`weir_storage::Scan::containing`]). For
//! `LIKE '%text%'` that is the answer; otherwise only the rows that are left have to be looked at.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::buffer::BooleanBuffer;
use regex_syntax::hir::{Hir, HirKind};
use weir_sql::Type;
use weir_sql::plan::{Expr, ExprKind};

use super::prune::{constant_side, pieces};
use crate::error::Result;
use crate::exec::context::QueryContext;
use crate::functions::regex_engine::Expression;
use crate::functions::regex_syntax::{Flavour, Options, compile};

/// What a condition on a column requires.
pub(super) struct Contained {
    pub(super) column: usize,
    /// The texts, the longest first.
    pub(super) texts: Vec<String>,
    /// Whether a row that has the first passes.
    pub(super) is_enough: bool,
}

impl Contained {
    pub(super) fn new(
        filter: &Expr,
        is_plain: impl Fn(usize) -> bool,
        context: &Arc<QueryContext>,
    ) -> Option<Contained> {
        let ExprKind::Call { name, args, .. } = &filter.kind else { return None };
        let [text, pattern] = args.as_slice() else { return None };
        let ExprKind::Column(column) = text.kind else { return None };
        if !is_plain(column) || !matches!(text.ty, Type::Text | Type::Varchar(_)) {
            return None;
        }
        let pattern = constant_side(pattern, context).filter(|pattern| !pattern.is_null())?;
        let pattern = pattern.array.as_string_view_opt()?.value(0);
        let (mut texts, is_enough) = match &**name {
            "~~" => {
                let pieces = pieces(pattern)?;
                let is_whole = matches!(&pieces[..], [piece] if !piece.starts && !piece.ends) && !pattern.contains('_');
                (pieces.into_iter().map(|piece| piece.text).collect(), is_whole)
            }
            "~" => (of_expression(pattern, Flavour::Postgres)?, false),
            "match" => (of_expression(pattern, Flavour::Re2)?, false),
            _ => return None,
        };
        texts.sort_by_key(|text: &String| std::cmp::Reverse(text.len()));
        (!texts.is_empty()).then_some(Contained { column, texts, is_enough })
    }

    /// The rows that have the first of the texts that can be looked for.
    pub(super) fn find(
        &self,
        look_for: impl Fn(&str) -> Result<Option<BooleanBuffer>>,
    ) -> Result<Option<BooleanBuffer>> {
        self.texts.iter().find_map(|text| look_for(text).transpose()).transpose()
    }
}

/// The literals that each match of a regular expression has. Options within it may say that case does not matter.
fn of_expression(pattern: &str, flavour: Flavour) -> Option<Vec<String>> {
    let has_options = flavour == Flavour::Postgres && (pattern.starts_with("(?") || pattern.starts_with("***"));
    if has_options {
        return None;
    }
    let compiled = compile(pattern, Options::default(), flavour).ok()?;
    let Expression::Linear(compiled) = &*compiled else { return None };
    let mut found = Vec::new();
    literals(&regex_syntax::parse(compiled.as_str()).ok()?, &mut found);
    Some(found)
}

fn literals(part: &Hir, found: &mut Vec<String>) {
    match part.kind() {
        HirKind::Literal(literal) => found.extend(std::str::from_utf8(&literal.0).ok().map(str::to_string)),
        HirKind::Concat(parts) => parts.iter().for_each(|part| literals(part, found)),
        HirKind::Capture(capture) => literals(&capture.sub, found),
        HirKind::Repetition(repetition) if repetition.min > 0 => literals(&repetition.sub, found),
        _ => {}
    }
}
