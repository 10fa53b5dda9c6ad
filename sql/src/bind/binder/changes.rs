//! INSERT, UPDATE and DELETE inside WITH: each is bound as a statement of its own, and what it returns is a working table that the name stands for.
//!
//! They all see what was there before the statement, and each runs to its end once, whether or not anything reads what it returns.

use sqlparser::ast::{self, Cte, SetExpr, TableFactor, TableWithJoins, UpdateTableFromKind};

use super::Binder;
use super::cte::Named;
use super::names::at;
use crate::bind::{World, insert};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::ast::{Delete, Target, Update};
use crate::plan::OutputColumn;
use crate::statement::Statement;

impl Binder<'_> {
    /// The name of a WITH clause that is a statement which changes rows; `None` if it is a query.
    pub(super) fn bind_change(&mut self, cte: &Cte, name: &str) -> Result<Option<Named>> {
        let (SetExpr::Insert(written) | SetExpr::Update(written) | SetExpr::Delete(written) | SetExpr::Merge(written)) =
            cte.query.body.as_ref()
        else {
            return Ok(None);
        };
        if self.depth > 1 || !self.frames.is_empty() {
            let message = "WITH clause containing a data-modifying statement must be at the top level";
            return Err(at(Error::new(ErrorKind::Unsupported, message), &cte.alias.name));
        }
        let known = self.ctes.len();
        if let Some(with) = &cte.query.with {
            self.bind_with(with)?;
        }
        let bound = self.bind_changing(written);
        self.ctes.truncate(known);
        let (statement, columns) = bound?;
        let id = self.next_recursion;
        self.next_recursion += 1;
        self.changes.push((id, statement));
        let returns = match columns.is_empty() {
            true => None,
            false => Some(super::cte::renamed(cte, &columns)?),
        };
        Ok(Some(Named::working(name, id, returns, self.frames.len())))
    }

    fn bind_changing(&mut self, written: &ast::Statement) -> Result<(Statement, Vec<OutputColumn>)> {
        let unsupported =
            |what: &str| Err(Error::new(ErrorKind::Unsupported, format!("{what} not supported in WITH query")));
        let modify = match written {
            ast::Statement::Insert(insert) => {
                let parameter_types = self.parameters.clone();
                let world =
                    World { catalog: self.catalog, functions: self.functions, parameter_types: &parameter_types };
                return insert::insert(&world, self, insert, None);
            }
            ast::Statement::Update(update) => {
                let Some(target) = target(&update.table) else { return unsupported("this form of UPDATE") };
                let from = match &update.from {
                    None => Vec::new(),
                    Some(UpdateTableFromKind::AfterSet(from) | UpdateTableFromKind::BeforeSet(from)) => from.clone(),
                };
                self.bind_update(&Update {
                    target,
                    assignments: update.assignments.clone(),
                    from,
                    selection: update.selection.clone(),
                    returning: update.returning.clone(),
                })?
            }
            ast::Statement::Delete(delete) => {
                let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &delete.from;
                let [table] = from.as_slice() else { return unsupported("DELETE from several tables") };
                let Some(target) = target(table) else { return unsupported("this form of DELETE") };
                self.bind_delete(&Delete {
                    target,
                    using: delete.using.clone().unwrap_or_default(),
                    selection: delete.selection.clone(),
                    returning: delete.returning.clone(),
                })?
            }
            _ => return unsupported("MERGE"),
        };
        let columns = modify.returning.as_ref().map(|(_, columns)| columns.clone()).unwrap_or_default();
        Ok((Statement::Modify(modify), columns))
    }

    /// The statement, with those that its WITH holds.
    pub(crate) fn with_changes(&mut self, main: Statement) -> Result<Statement> {
        let changes = std::mem::take(&mut self.changes);
        if changes.is_empty() {
            return Ok(main);
        }
        match main {
            Statement::Query(_) | Statement::Insert(_) | Statement::Modify(_) => {
                Ok(Statement::WithChanges { changes, main: Box::new(main) })
            }
            _ => {
                let message = "WITH clause containing a data-modifying statement must be at the top level";
                Err(Error::new(ErrorKind::Unsupported, message))
            }
        }
    }
}

fn target(table: &TableWithJoins) -> Option<Target> {
    match &table.relation {
        TableFactor::Table { name, alias, args: None, .. } if table.joins.is_empty() => {
            Some(Target { name: name.clone(), alias: alias.clone() })
        }
        _ => None,
    }
}
