//! COPY: which columns of which table, or which query.

use super::insert::{default_of, insertable, target_columns};
use super::utility::relation;
use super::{Binder, World};
use crate::error::Result;
use crate::parse::ast;
use crate::parse::names::quoted;
use crate::statement::{Copy, CopyTarget, ObjectName, Statement};

/// COPY.
pub(super) fn copy(world: &World<'_>, binder: &mut Binder<'_>, copy: &ast::Copy) -> Result<Statement> {
    let target = match &copy.target {
        ast::CopyTarget::Query(query) => CopyTarget::To(binder.bind_query(query)?),
        ast::CopyTarget::Table { name, at, columns } if copy.to => {
            let relation = relation(world, name, *at)?;
            target_columns(&relation, columns)?;
            let list = match columns.is_empty() {
                true => relation.columns.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>(),
                false => columns.iter().map(|column| quoted(&column.name)).collect(),
            };
            let from = format!("{}.{}", quoted(&relation.schema), quoted(&relation.name));
            let query = crate::parse::query(&format!("SELECT {} FROM {from}", list.join(", ")))?;
            CopyTarget::To(binder.bind_query(&query)?)
        }
        ast::CopyTarget::Table { name, at, columns } => {
            let relation = relation(world, name, *at)?;
            insertable(&relation, "copy to")?;
            let columns = target_columns(&relation, columns)?;
            let defaults = (0..relation.columns.len())
                .map(|at| if columns.contains(&at) { Ok(None) } else { default_of(binder, &relation, at) })
                .collect::<Result<_>>()?;
            CopyTarget::From {
                table: ObjectName { schema: Some(relation.schema.clone()), name: relation.name.clone() },
                oid: relation.oid,
                columns,
                defaults,
            }
        }
    };
    Ok(Statement::Copy(Copy { target, file: copy.file.clone(), options: copy.options.clone() }))
}
