//! CREATE SINK: the relations that it names, and the view that its query becomes.

use super::utility::relation;
use super::{Binder, World, view};
use crate::error::Result;
use crate::parse::ast::{self, CreateView, Layout};
use crate::statement::{CreateSink, ObjectName, SinkSource, Statement};

/// What the view of a sink's query is called after the sink.
const QUERY: &str = "_query";

/// CREATE SINK.
pub(super) fn create_sink(world: &World<'_>, binder: &mut Binder<'_>, sink: &ast::CreateSink) -> Result<Statement> {
    let named = |name: &ObjectName, at: usize| -> Result<ObjectName> {
        let relation = relation(world, name, at)?;
        Ok(ObjectName { schema: Some(relation.schema.clone()), name: relation.name.clone() })
    };
    let source = match &sink.source {
        ast::SinkSource::Relation(name, at) => SinkSource::Relation(named(name, *at)?),
        ast::SinkSource::Query { query, text } => {
            let view = CreateView {
                name: ObjectName { name: format!("{}{QUERY}", sink.name.name), ..sink.name.clone() },
                materialized: true,
                or_replace: false,
                if_not_exists: false,
                alters: None,
                columns: Vec::new(),
                layout: Layout::default(),
                query: query.clone(),
                text: text.clone(),
                with_data: true,
                refresh: None,
                emit: None,
                to: None,
            };
            match view::create_view(binder, &view)? {
                Statement::CreateMaterializedView(create) => SinkSource::Query(Box::new(create)),
                other => return Ok(other),
            }
        }
    };
    let table = sink.table.as_ref().map(|(name, at)| named(name, *at)).transpose()?;
    Ok(Statement::CreateSink(Box::new(CreateSink {
        name: sink.name.clone(),
        if_not_exists: sink.if_not_exists,
        source,
        table,
        options: sink.options.clone(),
    })))
}
