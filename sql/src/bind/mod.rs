//! Binding: syntax trees to [`crate::plan`] and [`crate::statement`], against a [`crate::catalog::Catalog`].
//!
//! [`bind`] looks at what kind of statement it is. Queries and expressions are [`binder`]'s; definitions (`ddl`, `view`, `layout`), INSERT, COPY and the
//! rest (`utility`) have a file each, and call the binder for the expressions in them.

use crate::catalog::{Catalog, Functions};
use crate::error::Result;
use crate::parse::{Ast, Parsed};
use crate::plan::OutputColumn;
use crate::statement::{Bound, Modify, Statement};
use crate::types::Type;

mod alert;
pub mod binder;
pub mod codec;
mod copy;
pub mod ddl;
mod emit;
mod engine;
mod format;
mod index;
mod insert;
pub mod layout;
mod sink;
mod utility;
mod view;

pub use binder::{Binder, CoercionContext, nearest, params_of, settled_type, state_overload};
pub use view::narrowed;

/// What a statement means at one version of the catalogue. `parameter_types` are what the client said of `$1`, `$2`, …; the result has the
/// types of all of them.
///
/// Positions of errors are in the query text that `parsed` came from, like [`crate::parse::parse`]'s.
pub fn bind(
    parsed: &Parsed,
    catalog: &dyn Catalog,
    functions: &dyn Functions,
    parameter_types: &[Option<Type>],
) -> Result<Bound> {
    let world = World { catalog, functions, parameter_types };
    let mut binder = world.binder().with_text(&parsed.text);
    bind_ast(&world, &mut binder, &parsed.ast)
        .and_then(|(statement, columns)| {
            let statement = binder.with_changes(statement)?;
            Ok(Bound { statement, columns, parameters: binder.finish()? })
        })
        .map_err(|mut error| {
            error.position = error.position.map(|position| position + parsed.offset);
            error
        })
}

/// What statements are bound against.
struct World<'a> {
    catalog: &'a dyn Catalog,
    functions: &'a dyn Functions,
    parameter_types: &'a [Option<Type>],
}

impl<'a> World<'a> {
    /// A binder of its own, for what is bound only to look at it.
    fn binder(&self) -> Binder<'a> {
        Binder::new(self.catalog, self.functions, self.parameter_types)
    }
}

/// A statement and the columns of its result.
type BoundAst = (Statement, Vec<OutputColumn>);

fn bind_ast(world: &World<'_>, binder: &mut Binder<'_>, ast: &Ast) -> Result<BoundAst> {
    match ast {
        Ast::Query(query) => {
            if let Some((query, format)) = format::taken(query)? {
                let plan = binder.bind_query(&query)?;
                let statement = Statement::Formatted { plan, format };
                return Ok((statement, vec![utility::column("line", Type::Text)]));
            }
            let plan = binder.bind_query(query)?;
            let columns = plan.columns().to_vec();
            Ok((Statement::Query(plan), columns))
        }
        Ast::Insert(insert, query) => insert::insert(world, binder, insert, query.as_deref()),
        Ast::Emitted(query, written) => emit::query(world, binder, query, written),
        Ast::Update(update) => Ok(modified(binder.bind_update(update)?)),
        Ast::Delete(delete) => Ok(modified(binder.bind_delete(delete)?)),
        Ast::Merge(merge) => Ok(modified(binder.bind_merge(merge)?)),
        Ast::With(with, inner) => binder.within(with, |binder| bind_ast(world, binder, inner)),
        Ast::CreateTable(table) => Ok((ddl::create_table(binder, table)?, Vec::new())),
        Ast::CreateView(view) => Ok((view::create_view(binder, view)?, Vec::new())),
        Ast::CreateSink(sink) => Ok((sink::create_sink(world, binder, sink)?, Vec::new())),
        Ast::CreateAlert(alert) => Ok((alert::create(world, binder, alert)?, Vec::new())),
        Ast::Copy(copy) => Ok((copy::copy(world, binder, copy)?, Vec::new())),
        Ast::Explain { statement, options } => {
            let (statement, _) = bind_ast(world, binder, statement)?;
            Ok(utility::explain(binder.with_changes(statement)?, *options))
        }
        Ast::Describe { name, at } => utility::describe(world, name, *at),
        Ast::ShowQuery(query) => {
            let plan = binder.bind_query(query)?;
            let columns = plan.columns().to_vec();
            Ok((Statement::ShowQuery(plan), columns))
        }
        Ast::Execute { name, args } => {
            let args = args.iter().map(|arg| binder.bind_expr_over(arg, &[])).collect::<Result<_>>()?;
            Ok((Statement::Execute { name: name.clone(), args }, Vec::new()))
        }
        Ast::DeclareCursor { name, query, hold, scroll } => {
            let plan = binder.bind_query(query)?;
            Ok((Statement::DeclareCursor { name: name.clone(), plan, hold: *hold, scroll: *scroll }, Vec::new()))
        }
        Ast::AlterIndexes { table, at, if_exists, actions, tag } => {
            index::alter(world, binder, table, *at, *if_exists, actions, tag)
        }
        Ast::Ready(statement) => utility::ready(world, statement),
        Ast::Unsupported(error) => Err((**error).clone()),
    }
}

fn modified(modify: Modify) -> BoundAst {
    let columns = modify.returning.as_ref().map(|(_, columns)| columns.clone()).unwrap_or_default();
    (Statement::Modify(modify), columns)
}
