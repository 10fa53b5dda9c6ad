//! Hypothetical-set aggregates: `rank(value, …) WITHIN GROUP (ORDER BY key, …)` is the rank that a row of these values would have among the
//! group's. It is written as a count of the rows that come before it.

use sqlparser::ast::{self, FunctionArguments};

use super::Binder;
use super::call::CallName;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::Expr;

impl Binder<'_> {
    /// The call, if it is one.
    pub(super) fn bind_hypothetical(&mut self, function: &ast::Function, name: &CallName) -> Result<Option<Expr>> {
        let keys = &function.within_group;
        if keys.is_empty() || !matches!(name.folded.as_str(), "rank" | "dense_rank" | "percent_rank" | "cume_dist") {
            return Ok(None);
        }
        let FunctionArguments::List(list) = &function.args else { return Ok(None) };
        if list.args.len() != keys.len() {
            let message = format!(
                "To use the hypothetical-set aggregate {}, the number of hypothetical direct arguments (here {}) must match the number \
                 of ordering columns (here {}).",
                name.shown,
                list.args.len(),
                keys.len()
            );
            let error = Error::new(ErrorKind::UndefinedFunction, format!("function {}(…) does not exist", name.shown));
            return Err(error.with_hint(message));
        }
        // Whether a row comes before the values, or beside them: key by key, from the last to the first.
        let (mut before, mut beside) = ("false".to_string(), "true".to_string());
        for (value, key) in list.args.iter().zip(keys).rev() {
            let (key, options) = (&key.expr, &key.options);
            let descending = match &options.sort {
                Some(ast::OrderBySort::Using(operator)) => operator.to_string() == ">",
                sort => *sort == Some(ast::OrderBySort::Desc),
            };
            let less = if descending { ">" } else { "<" };
            let (null, other) = match options.nulls_first.unwrap_or(descending) {
                true => (key.to_string(), value.to_string()),
                false => (value.to_string(), key.to_string()),
            };
            let first = format!("coalesce(({key}) {less} ({value}), ({null}) IS NULL AND ({other}) IS NOT NULL)");
            let same = format!("({key}) IS NOT DISTINCT FROM ({value})");
            before = format!("({first} OR {same} AND {before})");
            beside = format!("({same} AND {beside})");
        }
        let among = function.filter.as_ref().map_or("true".to_string(), |filter| format!("({filter})"));
        let count = |what: &str, which: &str| format!("count({what}) FILTER (WHERE {among} AND {which})");
        let row = keys.iter().map(|key| key.expr.to_string()).collect::<Vec<_>>().join(", ");
        let all = count("*", "true");
        let sql = match name.folded.as_str() {
            "rank" => format!("{} + 1", count("*", &before)),
            "dense_rank" => format!("{} + 1", count(&format!("DISTINCT ROW({row})"), &before)),
            "percent_rank" => format!("coalesce({}::float8 / nullif({all}, 0), 0)", count("*", &before)),
            _ => {
                let to_it = count("*", &format!("({before} OR {beside})"));
                format!("({to_it} + 1)::float8 / ({all} + 1)")
            }
        };
        self.bind_expr(&crate::parse::expr(&sql)?).map(Some)
    }
}
