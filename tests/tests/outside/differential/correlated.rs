//! Queries in every place of a query that read the rows around them, by equality and otherwise, with all that a query may have.

use super::generator::{Column, Generator, Scope, TYPES, Type};

impl Generator {
    /// A value of a type by a query that reads the columns of a scope.
    pub(super) fn correlated_value(&mut self, ty: Type, scope: &Scope, depth: usize) -> String {
        let (body, inner) = self.correlated_body(scope, depth);
        let value = self.expr(ty, 1, &both(&inner, scope));
        match self.below(6) {
            // One row, the first in a total order.
            0 | 1 => format!(
                "(SELECT {value} FROM {body} ORDER BY {} LIMIT 1{})",
                self.total(&inner),
                self.one(&["", "", " OFFSET 1"])
            ),
            2 => format!("(SELECT {}({value}) FROM {body})", if ty == Type::Bool { "bool_or" } else { "max" }),
            3 => format!(
                "(SELECT {}(x) FROM (SELECT {value} AS x FROM {body} ORDER BY {} LIMIT {}) AS l)",
                if ty == Type::Bool { "bool_and" } else { "min" },
                self.total(&inner),
                self.below(4)
            ),
            // Perhaps of several rows, which is an error then.
            4 if self.below(6) == 0 => format!("(SELECT {value} FROM {body})"),
            4 => format!("(SELECT DISTINCT {value} FROM {body} AND {} = {})", inner.keys[0], self.below(5)),
            _ => {
                let (other, second) = self.correlated_body(scope, 0);
                let of_other = self.expr(ty, 1, &both(&second, scope));
                let op = self.one(&["UNION", "UNION ALL", "EXCEPT", "INTERSECT"]);
                format!(
                    "(SELECT {}(x) FROM (SELECT {value} AS x FROM {body} {op} SELECT {of_other} FROM {other}) AS s)",
                    if ty == Type::Bool { "bool_or" } else { "max" }
                )
            }
        }
    }

    /// A predicate by a query that reads the columns of a scope.
    pub(super) fn correlated_predicate(&mut self, scope: &Scope, depth: usize) -> String {
        let (body, inner) = self.correlated_body(scope, depth);
        let (ty, second) = (self.one(&TYPES), self.one(&TYPES));
        let all = both(&inner, scope);
        let (left, value) = (self.expr(ty, 1, scope), self.expr(ty, 1, &all));
        let not = self.one(&["", "NOT "]);
        match self.below(7) {
            0 => format!("({not}EXISTS (SELECT 1 FROM {body}))"),
            1 | 2 => format!("({left} {not}IN (SELECT {value} FROM {body}))"),
            3 => {
                let (op, all) = (self.one(&["<", "<=", ">", ">=", "<>", "="]), self.one(&["ANY", "ALL"]));
                format!("({left} {op} {all} (SELECT {value} FROM {body}))")
            }
            4 => {
                let (other, of_other) = (self.expr(second, 1, scope), self.expr(second, 0, &inner));
                format!("(({left}, {other}) {not}IN (SELECT {value}, {of_other} FROM {body}))")
            }
            5 => {
                let key = self.column(second, &inner).unwrap_or_else(|| inner.keys[0].clone());
                format!("({not}EXISTS (SELECT {key} FROM {body} GROUP BY {key} HAVING count(*) > {}))", self.below(3))
            }
            _ => format!(
                "(CASE WHEN {left} IS NULL THEN {} IN (SELECT {} FROM {body}) ELSE {not}EXISTS (SELECT 1 FROM {body}) END)",
                self.expr(second, 1, scope),
                self.expr(second, 0, &inner)
            ),
        }
    }

    /// A lateral item of FROM, and its columns.
    pub(super) fn lateral(&mut self, scope: &Scope) -> (String, Scope) {
        let (body, inner) = self.correlated_body(scope, 1);
        let ty = self.one(&TYPES);
        let alias = self.alias("l");
        let value = self.expr(ty, 1, &both(&inner, scope));
        let (sql, ty) = match self.below(4) {
            0 => (format!("SELECT {value} FROM {body}"), ty),
            1 => (format!("SELECT {value} FROM {body} ORDER BY {} LIMIT {}", self.total(&inner), self.below(4)), ty),
            2 => {
                let (call, ty) = self.aggregate(&both(&inner, &Scope::default()));
                (format!("SELECT {call} FROM {body}"), ty)
            }
            _ => {
                let (window, ty) = self.window(&inner);
                (format!("SELECT {window} FROM {body}"), ty)
            }
        };
        let columns = vec![Column { name: format!("{alias}.x"), ty }];
        (format!("LATERAL ({sql}) AS {alias} (x)"), Scope { columns, keys: Vec::new() })
    }

    /// FROM and WHERE of a query that reads the columns of a scope, and its own columns.
    fn correlated_body(&mut self, scope: &Scope, depth: usize) -> (String, Scope) {
        let (mut from, mut inner) = self.table();
        if self.chance(0.25) {
            let (other, of_other) = self.table();
            let kind = self.one(&["JOIN", "LEFT JOIN", "FULL JOIN"]);
            let (a, b) = (inner.keys[0].clone(), of_other.keys[0].clone());
            from = format!("{from} {kind} {other} ON {a} = {b}");
            inner.columns.extend(of_other.columns);
            inner.keys.extend(of_other.keys);
        }
        let all = both(&inner, scope);
        let mut conditions = Vec::new();
        for _ in 0..self.one(&[1, 1, 2]) {
            let ty = self.one(&TYPES);
            conditions.push(match (self.column(ty, &inner), self.column(ty, scope)) {
                (Some(own), Some(outer)) => {
                    let op = self.one(&["=", "=", "<", ">=", "<>", "IS NOT DISTINCT FROM"]);
                    format!("{own} {op} {outer}")
                }
                _ => self.expr(Type::Bool, 1, &all),
            });
        }
        if depth > 0 && self.chance(0.3) {
            conditions.push(self.correlated_predicate(&all, depth - 1));
        }
        (format!("{from} WHERE {}", conditions.join(" AND ")), inner)
    }

    fn total(&mut self, inner: &Scope) -> String {
        let mut keys: Vec<String> = inner.keys.clone();
        let ty = self.one(&TYPES);
        if let Some(first) = self.column(ty, inner) {
            keys.insert(0, format!("{first}{}", self.one(&["", " DESC", " NULLS FIRST"])));
        }
        keys.join(", ")
    }
}

/// The columns of a query, and those around it.
fn both(inner: &Scope, outer: &Scope) -> Scope {
    let columns = inner.columns.iter().chain(&outer.columns).cloned().collect();
    Scope { columns, keys: inner.keys.clone() }
}
