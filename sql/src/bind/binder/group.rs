//! Aggregation: expressions bound over FROM's columns, rewritten over the group keys and aggregates.
//!
//! A part of an expression that equals a group key becomes that key's column, an aggregate's placeholder becomes the aggregate's. Any other
//! column of FROM is an error (42803), also where a subquery reads it from outside; unless the primary key of its table is
//! among the keys: then it is made a key as well, which changes no group.

use super::scope::{AGGREGATES, Frame, GAPS, GROUPINGS, SETS, Scope};
use crate::catalog::Functions;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{AggregateCall, Expr, ExprKind, OutputColumn, Plan};
use crate::types::Type;
use crate::value::Value;
use crate::walk;

/// GROUP BY.
pub(super) struct GroupBy {
    pub(super) keys: Vec<Expr>,
    /// The keys of each grouping set, where there are such.
    pub(super) sets: Option<Vec<Vec<usize>>>,
    /// Whether it was written.
    pub(super) explicit: bool,
}

/// The Aggregate of one query.
pub(super) struct Grouping<'f> {
    scope: &'f Scope,
    references: &'f [(usize, usize)],
    keys: Vec<Expr>,
    sets: Option<Vec<Vec<usize>>>,
    /// The keys that each call of GROUPING asks for.
    groupings: Vec<Vec<usize>>,
    aggregates: Vec<AggregateCall>,
}

impl<'f> Grouping<'f> {
    pub(super) fn new(
        frame: &'f Frame,
        group_by: GroupBy,
        aggregates: Vec<AggregateCall>,
        groupings: &[Vec<Expr>],
    ) -> Result<Grouping<'f>> {
        let GroupBy { mut keys, sets, .. } = group_by;
        let key_of = |arg: &Expr| {
            keys.iter().position(|key| walk::same(key, arg)).ok_or_else(|| {
                let message = "arguments to GROUPING must be grouping expressions of the associated query level";
                Error::new(ErrorKind::Grouping, message)
            })
        };
        let groupings =
            groupings.iter().map(|args| args.iter().map(key_of).collect::<Result<_>>()).collect::<Result<_>>()?;
        let scope = &frame.scope;
        let is_key = |keys: &[Expr], column: usize| keys.iter().any(|key| key.kind == ExprKind::Column(column));
        // Where a set leaves the primary key out, nothing follows from it.
        let with_key = scope.tables.iter().filter(|table| sets.is_none() && !table.primary_key.is_empty());
        for table in with_key {
            if !table.primary_key.iter().all(|&column| is_key(&keys, column)) {
                continue;
            }
            for &(column, _) in &frame.references {
                if table.columns.contains(&column) && !is_key(&keys, column) {
                    keys.push(scope.column(column));
                }
            }
        }
        Ok(Grouping { scope, references: &frame.references, keys, sets, groupings, aggregates })
    }

    /// The operator over FROM and WHERE.
    pub(super) fn over(self, input: Plan, functions: &dyn Functions) -> Plan {
        let mut columns: Vec<OutputColumn> = Vec::with_capacity(self.keys.len() + self.aggregates.len());
        for key in &self.keys {
            columns.push(match key.kind {
                ExprKind::Column(column) if column < self.scope.columns.len() => self.scope.columns[column].output(),
                // The bounds of a window of time are behind FROM's columns.
                ExprKind::Column(column) => input.columns()[column].clone(),
                ExprKind::Call { ref name, .. } => OutputColumn::computed(name, key.ty.clone()),
                _ => OutputColumn::computed("?column?", key.ty.clone()),
            });
        }
        let calls = self.aggregates.iter().map(|call| OutputColumn::computed(&call.name, call.ty.clone()));
        let Some(sets) = &self.sets else {
            columns.extend(calls);
            let (keys, aggregates) = (self.keys, self.aggregates);
            return Plan::Aggregate { input: Box::new(input), keys, aggregates, always: Vec::new(), columns };
        };
        // Each row once for each set, with the number of the set.
        let number = input.columns().len();
        let mut numbered = input.columns().to_vec();
        numbered.push(OutputColumn::computed("set", Type::Int4));
        let numbers = (0..sets.len() as i32).map(|set| Expr::literal(Value::int4(set))).collect();
        let numbers = Expr::new(ExprKind::Array(numbers), Type::Array(Box::new(Type::Int4)));
        let input = match functions.overloads("unnest").iter().find(|signature| signature.params.len() == 1) {
            Some(unnest) => Plan::ProjectSet {
                input: Box::new(input),
                calls: vec![(unnest.id, vec![numbers])],
                columns: numbered.clone(),
            },
            None => input,
        };
        let set = Expr::column(number, Type::Int4);
        let keys = self.keys.iter().enumerate().map(|(at, key)| {
            let of = (0..).zip(sets).filter(|(_, set)| set.contains(&at)).map(|(set, _)| set);
            chosen(&set, of, key.clone(), Expr::literal(Value::null(key.ty.clone())))
        });
        let keys = keys.chain([set.clone()]).collect();
        columns.push(OutputColumn::computed("set", Type::Int4));
        columns.extend(calls);
        let always = (0..).zip(sets).filter(|(_, set)| set.is_empty()).map(|(set, _)| set).collect();
        Plan::Aggregate { input: Box::new(input), keys, aggregates: self.aggregates, always, columns }
    }

    /// How many keys there are; none are counted where there are grouping sets.
    pub(super) fn plain_keys(&self) -> Option<usize> {
        self.sets.is_none().then_some(self.keys.len())
    }

    /// What a call of GROUPING says: a bit for each key, the last lowest, which is one where the key is not of the set.
    fn grouping(&self, call: usize) -> Expr {
        let Some(sets) = &self.sets else { return Expr::literal(Value::int4(0)) };
        let set = Expr::column(self.keys.len(), Type::Int4);
        let bits =
            |of: &Vec<usize>| self.groupings[call].iter().fold(0, |bits, key| bits << 1 | i32::from(!of.contains(key)));
        let mut value = Expr::literal(Value::int4(0));
        let mut values: Vec<i32> = sets.iter().map(bits).collect();
        values.sort_unstable();
        values.dedup();
        for bit in values.into_iter().filter(|bits| *bits != 0) {
            let of = (0..).zip(sets).filter(|(_, set)| bits(set) == bit).map(|(set, _)| set);
            value = chosen(&set, of, Expr::literal(Value::int4(bit)), value);
        }
        value
    }

    /// Rewrites an expression.
    pub(super) fn rewrite(&mut self, expr: &mut Expr) -> Result<()> {
        self.rewrite_at(expr, 0)
    }

    /// `depth` is how many queries inside the aggregated one the expression stands.
    fn rewrite_at(&self, expr: &mut Expr, depth: usize) -> Result<()> {
        if let Some(index) = self.key_of(expr, depth) {
            *expr = self.place(index, expr, depth);
            return Ok(());
        }
        let column = match expr.kind {
            ExprKind::Column(column) if depth == 0 => Some(column),
            ExprKind::Outer { depth: out, column } if depth > 0 && out == depth => Some(column),
            _ => None,
        };
        if let Some(column) = column {
            if column >= GAPS {
                return Ok(());
            }
            if column >= GROUPINGS {
                *expr = walk::outward(&self.grouping(column - GROUPINGS), depth);
                return Ok(());
            }
            if column >= SETS {
                return Ok(());
            }
            if column < AGGREGATES {
                return Err(self.ungrouped(column, depth));
            }
            let calls = self.keys.len() + usize::from(self.sets.is_some());
            *expr = self.place(calls + (column - AGGREGATES), expr, depth);
            return Ok(());
        }
        let mut result = Ok(());
        walk::children_mut(expr, &mut |child| {
            if result.is_ok() {
                result = self.rewrite_at(child, depth);
            }
        });
        result.and_then(|()| match &mut expr.kind {
            ExprKind::Subquery(subquery) => self.rewrite_plan(&mut subquery.plan, depth + 1),
            ExprKind::Lambda(lambda) => self.rewrite_at(&mut lambda.body, depth + 1),
            _ => Ok(()),
        })
    }

    fn rewrite_plan(&self, plan: &mut Plan, depth: usize) -> Result<()> {
        let mut result = Ok(());
        walk::expressions_mut(plan, &mut |expr| {
            if result.is_ok() {
                result = self.rewrite_at(expr, depth);
            }
        });
        walk::inputs_mut(plan, &mut |input, deeper| {
            if result.is_ok() {
                result = self.rewrite_plan(input, depth + usize::from(deeper));
            }
        });
        result
    }

    fn key_of(&self, expr: &Expr, depth: usize) -> Option<usize> {
        self.keys.iter().position(|key| match depth {
            0 => walk::same(key, expr),
            // A literal or parameter is itself wherever it stands.
            _ => !walk::columns_read(key).is_empty() && walk::outward(key, depth) == *expr,
        })
    }

    fn place(&self, index: usize, expr: &Expr, depth: usize) -> Expr {
        let kind = match depth {
            0 => ExprKind::Column(index),
            _ => ExprKind::Outer { depth, column: index },
        };
        Expr::new(kind, expr.ty.clone())
    }

    fn ungrouped(&self, column: usize, depth: usize) -> Error {
        let name = &self.scope.columns[column].name;
        let table = self.scope.tables.iter().find(|table| table.columns.contains(&column));
        let shown = match table {
            Some(table) => format!("\"{}.{name}\"", table.name),
            None => format!("\"{name}\""),
        };
        let message = match depth {
            0 => format!("column {shown} must appear in the GROUP BY clause or be used in an aggregate function"),
            _ => format!("subquery uses ungrouped column {shown} from outer query"),
        };
        let error = Error::new(ErrorKind::Grouping, message);
        match self.references.iter().find(|(known, position)| *known == column && *position > 0) {
            Some((_, position)) => error.at(*position),
            None => error,
        }
    }
}

/// One value where a number is one of these, and else another.
fn chosen(number: &Expr, of: impl Iterator<Item = i32>, value: Expr, otherwise: Expr) -> Expr {
    let list = of.map(|set| Expr::literal(Value::int4(set))).collect();
    let is_of = Expr::new(ExprKind::InList { expr: Box::new(number.clone()), list }, Type::Bool);
    let ty = value.ty.clone();
    Expr::new(ExprKind::Case { branches: vec![(is_of, value)], otherwise: Some(Box::new(otherwise)) }, ty)
}
