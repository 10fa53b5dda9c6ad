//! ClickHouse's dictGet and its kin: a dictionary is a table with a primary key, and a look-up is a query of the row with a key.
//!
//! `dictGet('users', 'name', id)` is `(SELECT name FROM users WHERE <its key> = id)`, so that the optimiser makes a join of it. The key is bound
//! where the call stands: columns of the dictionary hide none of the query's.

use super::Binder;
use super::special::text_of;
use crate::catalog::Relation;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::names::quoted;
use crate::plan::{Expr, ExprKind, Plan, Subquery, SubqueryKind};
use crate::types::Type;
use crate::walk;

/// The types that ClickHouse's names may end in: dictGetString is dictGet.
const TYPES: [&str; 16] = [
    "string", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64", "date",
    "datetime", "uuid", "ipv4", "ipv6",
];

/// What is asked of a dictionary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Lookup {
    /// The value; its type's zero for a key that is not there.
    Value,
    OrNull,
    OrDefault,
    Has,
}

/// The look-up that a function's name, in lower case, is.
pub(super) fn lookup_of(name: &str) -> Option<Lookup> {
    if name == "dicthas" {
        return Some(Lookup::Has);
    }
    let rest = name.strip_prefix("dictget")?;
    let (ty, lookup) = match (rest.strip_suffix("ordefault"), rest.strip_suffix("ornull")) {
        (Some(ty), _) => (ty, Lookup::OrDefault),
        (_, Some(ty)) => (ty, Lookup::OrNull),
        _ => (rest, Lookup::Value),
    };
    (ty.is_empty() || TYPES.contains(&ty)).then_some(lookup)
}

impl Binder<'_> {
    /// A look-up; `None` if the arguments are not those of one.
    pub(super) fn bind_lookup(&mut self, lookup: Lookup, args: &[Expr]) -> Result<Option<Expr>> {
        let named = if lookup == Lookup::Has { 1 } else { 2 };
        let wanted = named + 1 + usize::from(lookup == Lookup::OrDefault);
        if args.len() != wanted {
            return Ok(None);
        }
        let Some(names) = args[..named].iter().map(text_of).collect::<Option<Vec<String>>>() else {
            let message = "the names of a dictionary and of its column must be constants";
            return Err(Error::new(ErrorKind::InvalidParameter, message));
        };
        let relation = self.dictionary(&names[0])?;
        let keys = match &args[named].kind {
            ExprKind::Row(keys) => keys.clone(),
            _ => vec![args[named].clone()],
        };
        if keys.len() != relation.primary_key.len() {
            let message = format!(
                "the key of dictionary \"{}\" has {} columns, not {}",
                relation.name,
                relation.primary_key.len(),
                keys.len()
            );
            return Err(Error::new(ErrorKind::DatatypeMismatch, message));
        }
        let column = match names.get(1) {
            None => None,
            Some(name) => Some(relation.columns.iter().find(|column| column.name == *name).ok_or_else(|| {
                let message = format!("column \"{name}\" of dictionary \"{}\" does not exist", relation.name);
                Error::new(ErrorKind::UndefinedColumn, message)
            })?),
        };
        let plan = self.row_of(&relation, &keys, column.map(|column| column.name.as_str()))?;
        let correlated = walk::is_correlated(&plan);
        if lookup == Lookup::Has {
            let exists = Subquery { kind: SubqueryKind::Exists, plan, correlated };
            return Ok(Some(Expr::new(ExprKind::Subquery(Box::new(exists)), Type::Bool)));
        }
        let value = self.scalar_subquery(plan)?;
        Ok(Some(match lookup {
            Lookup::OrDefault => {
                let default = args[named + 1].clone();
                self.coalesce(vec![value, default], "COALESCE")?
            }
            Lookup::Value if column.is_some_and(|column| !column.nullable) => self.or_default(value)?,
            _ => value,
        }))
    }

    fn dictionary(&self, name: &str) -> Result<std::sync::Arc<Relation>> {
        let (schema, table) = match name.split_once('.') {
            Some((schema, table)) => (Some(schema), table),
            None => (None, name),
        };
        let Some(relation) = self.catalog.relation(schema, table)? else {
            return Err(Error::new(ErrorKind::UndefinedTable, format!("dictionary \"{name}\" does not exist"))
                .with_hint("A dictionary is a table with a primary key."));
        };
        if relation.primary_key.is_empty() {
            let message = format!("\"{name}\" is no dictionary: it has no primary key");
            return Err(Error::new(ErrorKind::WrongObjectType, message));
        }
        Ok(relation)
    }

    /// The row with a key, as a query one level deeper: its one column, or its key.
    fn row_of(&mut self, relation: &Relation, keys: &[Expr], column: Option<&str>) -> Result<Plan> {
        let names = relation.primary_key.iter().map(|&key| relation.columns[key].name.as_str()).chain(column);
        let names: Vec<String> = names.map(quoted).collect();
        let sql = format!("SELECT {} FROM {}.{}", names.join(", "), quoted(&relation.schema), quoted(&relation.name));
        let rows = self.bind_subquery(&*crate::parse::query(&sql)?)?;
        let columns = rows.columns().to_vec();
        let mut conditions = Vec::with_capacity(keys.len());
        for (at, key) in keys.iter().enumerate() {
            let own = Expr::column(at, columns[at].ty.clone());
            conditions.push(self.operator("=", vec![own, walk::outward(key, 1)])?);
        }
        let rows = match walk::conjunction(conditions) {
            Some(predicate) => Plan::Filter { input: Box::new(rows), predicate },
            None => rows,
        };
        let shown = columns.len() - 1;
        let exprs = vec![Expr::column(shown, columns[shown].ty.clone())];
        Ok(Plan::Project { input: Box::new(rows), exprs, columns: vec![columns[shown].clone()] })
    }
}
