//! The extended protocol: prepared statements and portals.
//!
//! A portal is a statement with its parameters. Execute runs it, or runs it on where a row limit had suspended it: its [`Rows`] stay open in
//! between, with the rest of the last batch, so no more of a result is ever in memory than one batch. Portals live as long as their
//! transaction; statements live until they are closed.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::EmptyQueryResponse;
use weir_engine::format::{parse_binary, parse_text};
use weir_engine::functions::Context;
use weir_engine::{Outcome, Prepared, Rows};
use weir_sql::{Type, Value};

use super::connection::{Connection, Stop};
use super::failure::Failure;
use super::frontend::{Bind, Target};
use super::rows::Format;

/// A prepared statement; `None` is the empty one.
pub(crate) struct Statement {
    prepared: Option<Prepared>,
}

impl Statement {
    fn parameters(&self) -> &[Type] {
        self.prepared.as_ref().map_or(&[], Prepared::parameters)
    }

    fn column_count(&self) -> usize {
        self.prepared.as_ref().map_or(0, |prepared| prepared.columns().len())
    }
}

/// A statement with its parameters, and how far it has run.
pub(crate) struct Portal {
    statement: Arc<Statement>,
    parameters: Vec<Value>,
    formats: Vec<Format>,
    state: State,
}

enum State {
    Bound,
    /// Rows go out; some of the last batch may be left.
    Open {
        rows: Box<Rows>,
        rest: Option<(RecordBatch, usize)>,
    },
    /// All rows are out.
    Exhausted,
    /// A command ran; it does not run twice.
    Done,
}

impl Connection<'_> {
    pub(super) fn parse(&mut self, name: String, query: &str, types: &[u32]) -> Result<(), Stop> {
        // Also when parsing fails, the unnamed statement of before is gone.
        match name.is_empty() {
            true => drop(self.statements.remove("")),
            false if self.statements.contains_key(&name) => {
                return Err(Failure::new("42P05", format!("prepared statement \"{name}\" already exists")).into());
            }
            false => {}
        }
        let parsed = self.session.parse(query)?;
        let prepared = match parsed.as_slice() {
            [] => None,
            [statement] => {
                let types = types.iter().map(|&oid| parameter_type(oid)).collect::<Result<Vec<_>, _>>()?;
                Some(self.session.prepare(statement, &types)?)
            }
            _ => {
                let message = "cannot insert multiple commands into a prepared statement";
                return Err(Failure::new("42601", message).into());
            }
        };
        self.statements.insert(name, Arc::new(Statement { prepared }));
        self.output.push(&ParseComplete::new());
        Ok(())
    }

    pub(super) fn bind(&mut self, bind: Bind) -> Result<(), Stop> {
        let statement = Arc::clone(self.statement(&bind.statement)?);
        if bind.portal.is_empty() {
            self.portals.remove("");
        } else if self.portals.contains_key(&bind.portal) {
            return Err(Failure::new("42P03", format!("cursor \"{}\" already exists", bind.portal)).into());
        }
        let parameters = self.parameters(&statement, &bind)?;
        let columns = statement.column_count();
        let formats = Format::of_all(&bind.result_formats, columns).ok_or_else(|| {
            let count = bind.result_formats.len();
            Failure::protocol(format!("bind message has {count} result formats but query has {columns} columns"))
        })??;
        self.portals.insert(bind.portal, Portal { statement, parameters, formats, state: State::Bound });
        self.output.push(&BindComplete::new());
        Ok(())
    }

    fn parameters(&self, statement: &Statement, bind: &Bind) -> Result<Vec<Value>, Stop> {
        let types = statement.parameters();
        if types.len() != bind.parameters.len() {
            return Err(Failure::protocol(format!(
                "bind message supplies {} parameters, but prepared statement \"{}\" requires {}",
                bind.parameters.len(),
                bind.statement,
                types.len()
            ))
            .into());
        }
        let formats = Format::of_all(&bind.parameter_formats, types.len()).ok_or_else(|| {
            let (formats, count) = (bind.parameter_formats.len(), types.len());
            Failure::protocol(format!("bind message has {formats} parameter formats but {count} parameters"))
        })??;
        let context = self.session.function_context();
        let mut values = Vec::with_capacity(types.len());
        for (index, ((ty, format), bytes)) in types.iter().zip(formats).zip(&bind.parameters).enumerate() {
            values.push(self.parameter(ty, format, bytes.as_ref(), &context).map_err(|mut failure| {
                failure.context.get_or_insert_with(|| format!("unnamed portal parameter ${}", index + 1));
                failure
            })?);
        }
        Ok(values)
    }

    fn parameter(&self, ty: &Type, format: Format, bytes: Option<&Bytes>, context: &Context) -> Result<Value, Failure> {
        let Some(bytes) = bytes else { return Ok(Value::null(ty.clone())) };
        let value = match format {
            Format::Binary => parse_binary(ty, bytes, context)?,
            Format::Text => {
                let text = std::str::from_utf8(bytes)
                    .map_err(|_| Failure::new("22021", "invalid byte sequence for encoding \"UTF8\""))?;
                parse_text(ty, text, context)?
            }
        };
        Ok(value)
    }

    pub(super) fn describe(&mut self, target: Target, name: &str) -> Result<(), Stop> {
        let (statement, formats) = match target {
            Target::Statement => {
                let statement = Arc::clone(self.statement(name)?);
                let types = statement.parameters().iter().map(Type::oid).collect();
                self.output.push(&ParameterDescription::new(types));
                let formats = vec![Format::Text; statement.column_count()];
                (statement, formats)
            }
            // A cursor of DECLARE is a portal to Postgres: drivers ask what its rows will look like.
            Target::Portal if !self.portals.contains_key(name) => {
                let columns = self.session.cursor_columns(name).ok_or_else(|| no_portal(name))?.to_vec();
                let formats = vec![Format::Text; columns.len()];
                self.send_row_description(&columns, &formats);
                return Ok(());
            }
            Target::Portal => {
                let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
                (Arc::clone(&portal.statement), portal.formats.clone())
            }
        };
        match &statement.prepared {
            Some(prepared) if !prepared.columns().is_empty() => self.send_row_description(prepared.columns(), &formats),
            _ => self.output.push(&NoData::new()),
        }
        Ok(())
    }

    pub(super) fn execute(&mut self, name: String, rows_max: usize) -> Result<(), Stop> {
        let mut portal = self.portals.remove(&name).ok_or_else(|| no_portal(&name))?;
        self.run_portal(&name, &mut portal, rows_max)?;
        self.portals.insert(name, portal);
        Ok(())
    }

    fn run_portal(&mut self, name: &str, portal: &mut Portal, rows_max: usize) -> Result<(), Stop> {
        match std::mem::replace(&mut portal.state, State::Done) {
            State::Bound => self.start_portal(portal, rows_max),
            State::Open { rows, rest } => {
                self.session.resume(&rows);
                self.send_portal_rows(portal, rows, rest, rows_max)
            }
            State::Exhausted => {
                portal.state = State::Exhausted;
                self.complete("SELECT 0".into());
                Ok(())
            }
            State::Done => Err(Failure::new("55000", format!("portal \"{name}\" cannot be run")).into()),
        }
    }

    fn start_portal(&mut self, portal: &mut Portal, rows_max: usize) -> Result<(), Stop> {
        let Some(prepared) = &portal.statement.prepared else {
            self.output.push(&EmptyQueryResponse::new());
            return Ok(());
        };
        // With the Sync here already, this statement is a transaction by itself.
        if self.input.peek_tag() != Some(b'S') {
            self.begin_implicit();
        }
        match self.session.run(prepared, &portal.parameters)? {
            Outcome::Empty => self.output.push(&EmptyQueryResponse::new()),
            Outcome::Command { tag } => self.complete(tag),
            Outcome::Rows(rows) => {
                if rows.columns().iter().map(|c| &c.ty).ne(prepared.columns().iter().map(|c| &c.ty)) {
                    return Err(Failure::new("0A000", "cached plan must not change result type").into());
                }
                return self.send_portal_rows(portal, Box::new(rows), None, rows_max);
            }
            Outcome::CopyIn(copy) => self.copy_in(copy)?,
            Outcome::CopyOut(copy) => self.copy_out(*copy)?,
        }
        Ok(())
    }

    /// Sends at most `rows_max` rows (0: all), then says whether there may be more.
    fn send_portal_rows(
        &mut self,
        portal: &mut Portal,
        mut rows: Box<Rows>,
        mut rest: Option<(RecordBatch, usize)>,
        rows_max: usize,
    ) -> Result<(), Stop> {
        let mut sent = 0;
        let limit = if rows_max == 0 { usize::MAX } else { rows_max };
        while sent < limit {
            let (batch, from) = match rest.take() {
                Some(rest) => rest,
                None => match rows.next()? {
                    Some(batch) => (batch, 0),
                    None => {
                        portal.state = State::Exhausted;
                        self.complete(rows.tag_of(sent as u64));
                        return Ok(());
                    }
                },
            };
            let to = batch.num_rows().min(from.saturating_add(limit - sent));
            self.send_rows(&rows, &batch, from..to, &portal.formats)?;
            sent += to - from;
            if to < batch.num_rows() {
                rest = Some((batch, to));
            }
        }
        portal.state = State::Open { rows, rest };
        self.output.push(&PortalSuspended::new());
        Ok(())
    }

    pub(super) fn close(&mut self, target: Target, name: &str) {
        match target {
            Target::Statement => drop(self.statements.remove(name)),
            Target::Portal => drop(self.portals.remove(name)),
        }
        self.output.push(&CloseComplete::new());
    }

    fn statement(&self, name: &str) -> Result<&Arc<Statement>, Failure> {
        self.statements.get(name).ok_or_else(|| match name {
            "" => Failure::new("26000", "unnamed prepared statement does not exist"),
            name => Failure::new("26000", format!("prepared statement \"{name}\" does not exist")),
        })
    }
}

fn no_portal(name: &str) -> Failure {
    Failure::new("34000", format!("portal \"{name}\" does not exist"))
}

/// The type that a client gives a parameter; `None` leaves it to be inferred.
fn parameter_type(oid: u32) -> Result<Option<Type>, Failure> {
    match Type::from_oid(oid) {
        _ if oid == 0 => Ok(None),
        Some(Type::Unknown) => Ok(None),
        Some(ty) => Ok(Some(ty)),
        None => Err(Failure::new("42704", format!("type with OID {oid} does not exist"))),
    }
}
