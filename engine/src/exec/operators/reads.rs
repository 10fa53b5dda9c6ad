//! How a scan's columns are read where they need not be read as they are: what is above looks only at fields of documents (see `fields`), only
//! tells values apart, for which a dictionary's codes will do, only asks how many bytes a text has, only counts values that are not NULL, or only
//! wants the least and the greatest.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use weir_sql::plan::{AggregateCall, Expr, ExprKind, Plan};
use weir_sql::{Type, walk};

use super::fields::{self, Fields};
use crate::exec::context::QueryContext;
use crate::exec::keys;

/// Columns that may be read otherwise than as they are, by number.
#[derive(Default)]
pub(super) struct Reads {
    /// Documents of which these fields are enough.
    pub(super) fields: Fields,
    /// Texts that may come as a dictionary's values and codes, where they are kept so.
    pub(super) coded: Vec<usize>,
    /// Columns of which only NULLs are looked at: what is read of them is NULL in the same rows.
    pub(super) nulls: Vec<usize>,
    /// Columns of which only the least and the greatest value are looked at, if all are such: these two may come instead of all rows.
    pub(super) extremes: Vec<usize>,
    /// Texts of which only the number of their bytes is asked, and which are NULL: those numbers may come in their place.
    pub(super) lengths: Vec<usize>,
}

impl Reads {
    /// How an operator reads its input.
    pub(super) fn by(plan: &Plan, context: &Arc<QueryContext>) -> Reads {
        match plan {
            Plan::Project { exprs, .. } => {
                let mut uses = Uses::default();
                exprs.iter().for_each(|expr| uses.note(expr, Use::Value));
                Reads { fields: fields::fields(exprs, context), lengths: uses.lengths(), ..Reads::default() }
            }
            Plan::Aggregate { keys, aggregates, .. } => {
                let mut exprs: Vec<&Expr> = keys.iter().collect();
                let mut uses = Uses::default();
                keys.iter().for_each(|key| uses.note(key, if is_text(key) { Use::Apart } else { Use::Value }));
                for call in aggregates {
                    let of = Use::by(call);
                    walk::aggregate_parts(call, &mut |part| {
                        uses.note(part, of);
                        exprs.push(part);
                    });
                }
                let is_for_extremes = keys.is_empty() && aggregates.iter().all(|call| Use::by(call) == Use::Extreme);
                Reads {
                    fields: fields::fields(exprs, context),
                    coded: uses.only(Use::Apart),
                    nulls: uses.only(Use::Null),
                    lengths: uses.lengths(),
                    extremes: if is_for_extremes { uses.only(Use::Extreme) } else { Vec::new() },
                }
            }
            _ => Reads::default(),
        }
    }

    /// The same of the columns that these stand for; those for which there is none are read as they are.
    pub(super) fn map(self, at: impl Fn(usize) -> Option<usize>) -> Reads {
        let fields = self.fields.into_iter().filter_map(|(column, names)| Some((at(column)?, names))).collect();
        let all = |columns: Vec<usize>| columns.into_iter().filter_map(&at).collect();
        Reads {
            fields,
            coded: all(self.coded),
            nulls: all(self.nulls),
            lengths: all(self.lengths),
            extremes: all(self.extremes),
        }
    }
}

/// What is looked at of a column.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Value,
    /// Which values are the same.
    Apart,
    /// How many bytes they have.
    Length,
    /// Which are NULL.
    Null,
    /// The least or the greatest.
    Extreme,
}

impl Use {
    /// How a call looks at its argument.
    fn by(call: &AggregateCall) -> Use {
        let is_plain = call.filter.is_none() && call.order_by.is_empty() && call.combinator.is_none();
        let is = |name: &str| call.name.eq_ignore_ascii_case(name);
        match call.args.as_slice() {
            [arg] if is_plain && is("count") && call.distinct && is_text(arg) => Use::Apart,
            [arg] if is_plain && is("count") && !call.distinct && is_column(arg) => Use::Null,
            [arg] if is_plain && (is("min") || is("max")) && is_bounded(arg) => Use::Extreme,
            _ => Use::Value,
        }
    }
}

/// Whether an argument is a column whose least and greatest values are kept as they are, which those of texts are not.
fn is_bounded(arg: &Expr) -> bool {
    let is_time = matches!(arg.ty, Type::Date | Type::Timestamp | Type::Timestamptz);
    is_column(arg) && (is_time || arg.ty.is_integer() || matches!(arg.ty, Type::Numeric(Some(_))))
}

/// What is looked at of each column.
#[derive(Default)]
struct Uses(BTreeMap<usize, Vec<Use>>);

impl Uses {
    /// Notes what an expression reads, of whose value that is looked at.
    fn note(&mut self, expr: &Expr, of: Use) {
        let mut add = |column: usize, of: Use| self.0.entry(column).or_default().push(of);
        match &expr.kind {
            ExprKind::Column(column) => add(*column, of),
            // Their own parts see other columns.
            ExprKind::Lambda(_) | ExprKind::Subquery(_) => {
                walk::columns_read(expr).into_iter().for_each(|column| add(column, Use::Value));
            }
            _ => match measured(expr) {
                Some(column) => add(column, Use::Length),
                None => walk::children(expr, &mut |child| self.note(child, Use::Value)),
            },
        }
    }

    /// The columns of which nothing else is looked at.
    fn only(&self, of: Use) -> Vec<usize> {
        let only = self.0.iter().filter(|(_, uses)| uses.iter().all(|other| *other == of));
        only.map(|(column, _)| *column).collect()
    }

    /// The columns of which lengths tell all that is looked at.
    fn lengths(&self) -> Vec<usize> {
        let told = |uses: &[Use]| uses.iter().all(|of| matches!(of, Use::Length | Use::Null));
        let lengths = self.0.iter().filter(|(_, uses)| told(uses) && uses.contains(&Use::Length));
        lengths.map(|(column, _)| *column).collect()
    }
}

/// The column of texts whose bytes an expression counts.
fn measured(expr: &Expr) -> Option<usize> {
    let ExprKind::Call { name, args, .. } = &expr.kind else { return None };
    let [text] = args.as_slice() else { return None };
    let ExprKind::Column(column) = text.kind else { return None };
    let counts_bytes = ["octet_length", "strlen"].iter().any(|known| known.eq_ignore_ascii_case(name));
    (counts_bytes && matches!(text.ty, Type::Text | Type::Varchar(_))).then_some(column)
}

/// Whether a key is a column of texts that are told apart by their bytes.
fn is_text(key: &Expr) -> bool {
    is_column(key) && keys::normal_type(&key.ty) == DataType::Utf8View && !keys::has_variants(&key.ty)
}

fn is_column(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::Column(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::tests::{World, numbers};

    /// The columns of a table that a query reads as lengths.
    fn lengths(world: &World, plan: &Plan) -> Vec<String> {
        let (Plan::Aggregate { input, .. } | Plan::Project { input, .. }) = plan else { return Vec::new() };
        let Plan::Scan(scan) = &**input else { return lengths(world, input) };
        let reads = Reads::by(plan, &world.context(1, 100));
        reads.lengths.iter().map(|&column| scan.columns[column].name.clone()).collect()
    }

    #[test]
    fn texts_of_which_only_bytes_are_counted_are_read_as_lengths() {
        let world = numbers();
        for query in [
            "SELECT avg(octet_length(third)) FROM numbers",
            "SELECT n, sum(strlen(third)), count(third) FROM numbers WHERE third <> '' GROUP BY n",
            "SELECT octet_length(third), count(*) FROM numbers GROUP BY octet_length(third)",
            "SELECT n + 1, CASE WHEN even THEN octet_length(third) + 1 END FROM numbers",
        ] {
            assert_eq!(lengths(&world, &world.plan(query)), ["third"], "{query}");
        }
        for query in [
            "SELECT count(third) FROM numbers",
            "SELECT sum(octet_length(third)), max(third) FROM numbers",
            "SELECT third, sum(octet_length(third)) FROM numbers GROUP BY third",
            "SELECT length(third), octet_length(third || 'x') FROM numbers",
        ] {
            assert!(lengths(&world, &world.plan(query)).is_empty(), "{query}");
        }
    }
}
