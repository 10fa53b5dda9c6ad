//! SEARCH and CYCLE of a recursive query: columns that tell in which order rows were come to, and which rows were come to twice.
//!
//! Both halves of the UNION are wrapped, as PostgreSQL's rewriter does it: the base begins the columns, the step carries on those of the row that
//! it comes from. Depth first that is the array of the rows on the way; breadth first how many there are, and the row; a
//! cycle's path is the array as well, and its mark whether the row is in the path already. No step starts from a marked row.

use sqlparser::ast::{self, Cte, Expr, Ident, SelectItem, SetExpr, TableFactor, TableWithJoins};

use super::Binder;
use super::names::at;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::names::{fold, quoted};
use crate::parse::traversal::Traversal;
use crate::plan::OutputColumn;

/// A column that is added: what it is, its name, its first value, and the next, over `s`, the step's row with the columns of the row before.
struct Added {
    what: &'static str,
    name: String,
    first: String,
    next: String,
}

impl Binder<'_> {
    /// The base and step of a recursive query, with the columns that SEARCH and CYCLE add, and the names of all of its columns. `columns` are
    /// those of the base.
    pub(super) fn traversed(
        &mut self,
        cte: &Cte,
        traversal: &Traversal,
        base: &SetExpr,
        step: &SetExpr,
        columns: &[OutputColumn],
    ) -> Result<(SetExpr, SetExpr, Vec<ast::TableAliasColumnDef>)> {
        let name = fold(&cte.alias.name);
        let side = |side: &str| {
            let message = format!("with a SEARCH or CYCLE clause, the {side} side of the UNION must be a SELECT");
            Error::new(ErrorKind::Unsupported, message)
        };
        if matches!(base, SetExpr::SetOperation { .. }) {
            return Err(side("left"));
        }
        let SetExpr::Select(own) = step else { return Err(side("right")) };
        let Some(alias) = own.from.iter().find_map(|from| working_name(from, &name)) else {
            let message = format!(
                "with a SEARCH or CYCLE clause, the recursive reference to WITH query \"{name}\" must be at the top level of its right-hand SELECT"
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        };
        let row = |of: &[Ident], what: &str, table: &str, first: Option<String>| -> Result<String> {
            let mut fields: Vec<String> = first.into_iter().collect();
            for (index, ident) in of.iter().enumerate() {
                let column = fold(ident);
                if of[..index].iter().any(|before| fold(before) == column) {
                    let message = format!("{what} column \"{column}\" specified more than once");
                    return Err(Error::new(ErrorKind::DuplicateColumn, message));
                }
                let Some(known) = columns.iter().find(|known| known.name == column) else {
                    let message = format!("{what} column \"{column}\" not in WITH query column list");
                    return Err(Error::new(ErrorKind::Syntax, message));
                };
                fields.push(format!("CAST({table}.{} AS {})", quoted(&column), known.ty));
            }
            Ok(format!("ROW({})", fields.join(", ")))
        };
        let mut added: Vec<Added> = Vec::new();
        let mut condition = None;
        if let Some(search) = &traversal.search {
            let sequence = fold(&search.sequence);
            let before = format!("s.{}", quoted(&sequence));
            let (first, next) = match search.breadth {
                true => {
                    let depth = Some("0::bigint".to_string());
                    let deeper = Some(format!("({before}).f1 + 1"));
                    (row(&search.columns, "search", "s", depth)?, row(&search.columns, "search", "s", deeper)?)
                }
                false => {
                    let row = row(&search.columns, "search", "s", None)?;
                    (format!("ARRAY[{row}]"), format!("{before} || {row}"))
                }
            };
            added.push(Added { what: "search sequence", name: sequence, first, next });
        }
        if let Some(cycle) = &traversal.cycle {
            let (mark, path) = (fold(&cycle.mark), fold(&cycle.path));
            let row = row(&cycle.columns, "cycle", "s", None)?;
            let (yes, no) = match &cycle.values {
                Some((yes, no)) => (yes.to_string(), no.to_string()),
                None => ("true".to_string(), "false".to_string()),
            };
            let before = format!("s.{}", quoted(&path));
            let next = format!("CASE WHEN {row} = ANY({before}) THEN {yes} ELSE {no} END");
            // The mark's type is that of both values.
            let first = format!("CASE WHEN false THEN {yes} ELSE {no} END");
            condition = Some(format!("{}.{} <> {yes}", quoted(&alias), quoted(&mark)));
            added.push(Added { what: "cycle mark", name: mark, first, next });
            let (first, next) = (format!("ARRAY[{row}]"), format!("{before} || {row}"));
            added.push(Added { what: "cycle path", name: path, first, next });
        }
        let mut names: Vec<Ident> = columns.iter().map(|column| Ident::with_quote('"', &column.name)).collect();
        for Added { what, name, .. } in &added {
            if names.iter().any(|known| known.value == *name) {
                let message = format!("{what} column name \"{name}\" already used in WITH query column list");
                return Err(at(Error::new(ErrorKind::Syntax, message), &cte.alias.name));
            }
            names.push(Ident::with_quote('"', name));
        }
        let first: Vec<&str> = added.iter().map(|column| column.first.as_str()).collect();
        let base = wrapped(base.clone(), &names[..columns.len()], columns, &first)?;
        let mut own = own.as_ref().clone();
        for column in &added {
            let carried = crate::parse::expr(&format!("{}.{}", quoted(&alias), quoted(&column.name)))?;
            own.projection.push(SelectItem::UnnamedExpr(carried));
        }
        if let Some(condition) = condition {
            let condition = crate::parse::expr(&condition)?;
            own.selection = Some(match own.selection.take() {
                Some(selection) => Expr::BinaryOp {
                    left: Box::new(Expr::Nested(Box::new(selection))),
                    op: ast::BinaryOperator::And,
                    right: Box::new(condition),
                },
                None => condition,
            });
        }
        let next: Vec<&str> = added.iter().map(|column| column.next.as_str()).collect();
        let step = wrapped(SetExpr::Select(Box::new(own)), &names, columns, &next)?;
        let names = names.into_iter().map(|name| ast::TableAliasColumnDef { name, data_type: None }).collect();
        Ok((base, step, names))
    }
}

/// `SELECT s.column, …, added, … FROM (body) AS s (names)`
fn wrapped(body: SetExpr, names: &[Ident], columns: &[OutputColumn], added: &[&str]) -> Result<SetExpr> {
    let own = columns.iter().map(|column| format!("s.{}", quoted(&column.name)));
    let items: Vec<String> = own.chain(added.iter().map(ToString::to_string)).collect();
    let names: Vec<String> = names.iter().map(|name| quoted(&name.value)).collect();
    let text = format!("SELECT {} FROM (SELECT 1) AS s ({})", items.join(", "), names.join(", "));
    let mut query = crate::parse::query(&text)?;
    if let SetExpr::Select(select) = query.body.as_mut()
        && let Some(TableWithJoins { relation: TableFactor::Derived { subquery, .. }, .. }) = select.from.first_mut()
    {
        *subquery.body = body;
    }
    Ok(*query.body)
}

/// What the working table is called in a FROM item.
fn working_name(from: &TableWithJoins, name: &str) -> Option<String> {
    let factors = std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation));
    factors.into_iter().find_map(|factor| match factor {
        TableFactor::Table { name: written, alias, args: None, .. } => {
            let [ast::ObjectNamePart::Identifier(only)] = written.0.as_slice() else { return None };
            (fold(only) == name).then(|| alias.as_ref().map_or_else(|| name.to_string(), |alias| fold(&alias.name)))
        }
        _ => None,
    })
}

/// SEARCH and CYCLE of a query that does not name itself.
pub(super) fn not_recursive() -> Error {
    Error::new(ErrorKind::Syntax, "WITH query is not recursive")
}
