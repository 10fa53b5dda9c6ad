//! Column references: from the innermost frame outwards, then whole rows, output names and the few functions without parentheses.

use sqlparser::ast::{self, Ident};

use super::Binder;
use super::scope::Found;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::names::fold;
use crate::plan::{Expr, ExprKind};
use crate::types::Type;
use crate::walk::outward;

/// Functions that are written without parentheses and that the parser takes for names.
const BARE_FUNCTIONS: [&str; 11] = [
    "current_schema",
    "current_catalog",
    "current_user",
    "current_role",
    "session_user",
    "user",
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
];

/// The position of an identifier, where the parser knows it.
pub(super) fn at(error: Error, ident: &Ident) -> Error {
    match ident.span.start.column {
        0 => error,
        column => error.at(column as usize),
    }
}

impl Binder<'_> {
    /// `name`
    pub(super) fn bind_name(&mut self, ident: &Ident) -> Result<Expr> {
        let name = fold(ident);
        for depth in 0..self.frames.len() {
            let frame = &self.frames[self.frames.len() - 1 - depth];
            if !frame.open {
                continue;
            }
            match frame.scope.unqualified(&name) {
                Found::No => {}
                Found::One(expr) => return Ok(self.reference(expr, depth, ident)),
                Found::Ambiguous => {
                    let message = format!("column reference \"{name}\" is ambiguous");
                    return Err(at(Error::new(ErrorKind::AmbiguousColumn, message), ident));
                }
            }
        }
        for depth in 0..self.frames.len() {
            let frame = &self.frames[self.frames.len() - 1 - depth];
            if frame.open
                && let Some(table) = frame.scope.table(None, &name)
            {
                let row = frame.scope.whole_row(table);
                return Ok(self.reference(row, depth, ident));
            }
        }
        if let Some(expr) = self.bind_alias(&name)? {
            return Ok(expr);
        }
        if ident.quote_style.is_none() && BARE_FUNCTIONS.contains(&name.as_str()) {
            return self.operator(&name, Vec::new());
        }
        if self.frames.last().is_some_and(|frame| frame.open && frame.scope.tables.len() == 1) && name == "tableoid" {
            let scope = &self.frames[self.frames.len() - 1].scope;
            if let Found::One(expr) = scope.qualified(&scope.tables[0], &name) {
                return Ok(expr);
            }
        }
        Err(at(self.undefined_column(None, &name), ident))
    }

    /// `table.column`, `schema.table.column`, `column.field`.
    pub(super) fn bind_compound(&mut self, parts: &[Ident]) -> Result<Expr> {
        let names: Vec<String> = parts.iter().map(fold).collect();
        let (schema, table, column) = match names.as_slice() {
            [table, column] => (None, table, column),
            [schema, table, column] | [_, schema, table, column] => (Some(schema.as_str()), table, column),
            _ => {
                let message = format!("improper qualified name (too many dotted names): {}", names.join("."));
                return Err(at(Error::new(ErrorKind::Syntax, message), &parts[0]));
            }
        };
        let ident = &parts[0];
        for depth in 0..self.frames.len() {
            let frame = &self.frames[self.frames.len() - 1 - depth];
            if !frame.open {
                continue;
            }
            let Some(found) = frame.scope.table(schema, table) else { continue };
            return match frame.scope.qualified(found, column) {
                Found::One(expr) => Ok(self.reference(expr, depth, ident)),
                Found::No => Err(at(self.undefined_column(Some(table), column), ident)),
                Found::Ambiguous => {
                    let message = format!("column reference \"{column}\" is ambiguous");
                    Err(at(Error::new(ErrorKind::AmbiguousColumn, message), ident))
                }
            };
        }
        // No such table: a column of a composite type, perhaps.
        if schema.is_none()
            && let Ok(record) = self.bind_name(ident)
            && let Type::Record(_) = record.ty
        {
            return self.bind_field(record, &parts[1]);
        }
        Err(at(self.missing_table(schema, table), ident))
    }

    /// An expression over a frame's columns, as seen from the innermost frame; its columns are noted as used.
    fn reference(&mut self, expr: Expr, depth: usize, ident: &Ident) -> Expr {
        let index = self.frames.len() - 1 - depth;
        // A reference from inside an aggregate of this frame needs no grouping; from a subquery inside it, neither.
        if !self.frames[index].in_aggregate {
            let position = ident.span.start.column as usize;
            for column in crate::walk::columns_read(&expr) {
                self.frames[index].references.push((column, position));
            }
        }
        outward(&expr, depth)
    }

    /// An output name of the innermost query, where no column has that name: what Postgres allows in ORDER BY and GROUP BY, and ClickHouse
    /// everywhere.
    fn bind_alias(&mut self, name: &str) -> Result<Option<Expr>> {
        let Some(frame) = self.frames.last_mut() else { return Ok(None) };
        if frame.expanding.iter().any(|expanding| expanding == name) {
            return Ok(None);
        }
        let Some(expr) = frame.aliases.iter().find(|(alias, _)| alias == name).map(|(_, expr)| expr.clone()) else {
            return Ok(None);
        };
        frame.expanding.push(name.to_string());
        let bound = self.bind_expr(&expr);
        if let Some(frame) = self.frames.last_mut() {
            frame.expanding.pop();
        }
        bound.map(Some)
    }

    /// A field of a record.
    pub(super) fn bind_field(&mut self, record: Expr, field: &Ident) -> Result<Expr> {
        let name = fold(field);
        let Type::Record(fields) = &record.ty else {
            let message =
                format!("column notation .{name} applied to type {}, which is not a composite type", record.ty);
            return Err(at(Error::new(ErrorKind::WrongObjectType, message), field));
        };
        let Some(index) = fields.iter().position(|(field, _)| *field == name) else {
            let message = format!("could not identify column \"{name}\" in record data type");
            return Err(at(Error::new(ErrorKind::UndefinedColumn, message), field));
        };
        let ty = fields[index].1.clone();
        Ok(match record.kind {
            ExprKind::Row(mut values) => values.swap_remove(index),
            kind => Expr::new(ExprKind::Field(Box::new(Expr::new(kind, record.ty)), index), ty),
        })
    }

    fn undefined_column(&self, table: Option<&str>, column: &str) -> Error {
        let message = match table {
            Some(table) => format!("column {table}.{column} does not exist"),
            None => format!("column \"{column}\" does not exist"),
        };
        let error = Error::new(ErrorKind::UndefinedColumn, message);
        // The nearest name in sight.
        let mut candidates: Vec<(usize, String)> = Vec::new();
        for frame in self.frames.iter().rev().filter(|frame| frame.open) {
            for known in &frame.scope.tables {
                if table.is_some_and(|table| table != known.name) {
                    continue;
                }
                for &index in &known.columns {
                    let name = &frame.scope.columns[index].name;
                    if let Some(distance) = near(column, name) {
                        candidates.push((distance, format!("{}.{name}", known.name)));
                    }
                }
            }
        }
        candidates.sort_by_key(|(distance, _)| *distance);
        match candidates.as_slice() {
            [] => error,
            [(best, first), (second, other), ..] if best == second && first != other => error
                .with_hint(format!("Perhaps you meant to reference the column \"{first}\" or the column \"{other}\".")),
            [(_, first), ..] => error.with_hint(format!("Perhaps you meant to reference the column \"{first}\".")),
        }
    }

    pub(super) fn missing_table(&self, schema: Option<&str>, table: &str) -> Error {
        for frame in self.frames.iter().rev() {
            if !frame.open && frame.scope.table(schema, table).is_some() {
                return Error::new(
                    ErrorKind::UndefinedTable,
                    format!("invalid reference to FROM-clause entry for table \"{table}\""),
                )
                .with_detail(format!(
                    "There is an entry for table \"{table}\", but it cannot be referenced from this part of the query."
                ));
            }
            let hidden = |known: &&super::scope::ScopeTable| known.hidden_name.as_deref() == Some(table);
            if let Some(known) = frame.scope.tables.iter().find(hidden) {
                return Error::new(
                    ErrorKind::UndefinedTable,
                    format!("invalid reference to FROM-clause entry for table \"{table}\""),
                )
                .with_hint(format!("Perhaps you meant to reference the table alias \"{}\".", known.name));
            }
        }
        Error::new(ErrorKind::UndefinedTable, format!("missing FROM-clause entry for table \"{table}\""))
    }

    /// The name that a select item has if it is given none (Postgres's `FigureColname`).
    pub(super) fn column_name(expr: &ast::Expr) -> String {
        super::item::figure(expr).map_or_else(|| "?column?".to_string(), |(name, _)| name)
    }
}

/// How far apart two names are, if they are near enough to be a slip: by PostgreSQL's measure of it.
pub(super) fn near(a: &str, b: &str) -> Option<usize> {
    let limit = (a.chars().count().max(b.chars().count()) / 2).min(3);
    Some(strsim::levenshtein(a, b)).filter(|distance| *distance <= limit)
}

/// Of these names, the nearest to one that there is not, if it is near enough for a hint.
pub fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let limit = (name.chars().count() / 3).clamp(1, 2);
    let close = known.into_iter().map(|known| (strsim::levenshtein(name, &known.to_lowercase()), known));
    close.filter(|(distance, _)| *distance <= limit).min().map(|(_, known)| known)
}
