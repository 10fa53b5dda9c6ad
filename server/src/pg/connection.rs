//! A logged-in client's conversation: the message loop, the simple protocol, and what errors do to both.
//!
//! After an error in the extended protocol all messages up to the next Sync are passed over, as the protocol wants it; after one in the simple
//! protocol the rest of the query text is. Either way one ErrorResponse and one ReadyForQuery go out, so that the client always knows where it is.
//!
//! Transactions without BEGIN: the statements of one query text, and those executed between two Syncs, are one transaction. A single statement
//! needs none, and an Execute with its Sync right behind it is single as well.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use pgwire::messages::response::{CommandComplete, EmptyQueryResponse, ReadyForQuery, TransactionStatus as WireStatus};
use pgwire::messages::startup::{BackendKeyData, ParameterStatus, SecretKey};
use weir_engine::{Outcome, Session, TransactionStatus};

use super::Shared;
use super::extended::{Portal, Statement};
use super::failure::{Failure, Severity, notice};
use super::frontend::{Frame, Input, Message, ReadError};
use super::output::Output;
use super::rows::{Format, RowWriter};
use super::startup::{Greeting, Login};
use super::stream::Stream;
use super::watch::Activity;

/// Why a message was not carried out to its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The client is told; a fatal one ends the connection.
    Failure(Failure),
    /// There is nobody to tell.
    Lost(io::Error),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failure(failure)
    }
}

impl From<weir_engine::Error> for Stop {
    fn from(error: weir_engine::Error) -> Stop {
        Stop::Failure(error.into())
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Lost(error)
    }
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Stop {
        match error {
            ReadError::Io(error) => Stop::Lost(error),
            ReadError::Malformed(error) => Stop::Failure(Failure::fatal("08P01", error.0)),
        }
    }
}

/// One logged-in client.
pub(crate) struct Connection<'a> {
    shared: &'a Shared,
    stream: Stream,
    pub(super) input: Input,
    pub(super) output: Output,
    pub(super) session: Session,
    activity: Arc<Activity>,
    pub(super) statements: HashMap<String, Arc<Statement>>,
    pub(super) portals: HashMap<String, Portal>,
    pub(super) writer: RowWriter,
    /// After an error: messages are passed over until Sync.
    skipping: bool,
    /// Whether statements run in a transaction that nobody began.
    implicit: bool,
}

impl<'a> Connection<'a> {
    pub(crate) fn new(shared: &'a Shared, greeting: Greeting, session: Session, activity: Arc<Activity>) -> Self {
        Connection {
            shared,
            stream: greeting.stream,
            input: greeting.input,
            output: greeting.output,
            session,
            activity,
            statements: HashMap::new(),
            portals: HashMap::new(),
            writer: RowWriter::default(),
            skipping: false,
            implicit: false,
        }
    }

    /// Serves the client until it leaves, is lost, or breaks the protocol.
    pub(crate) fn run(mut self, login: Login, secret: u32) -> io::Result<()> {
        let goodbye = match self.converse(login, secret) {
            Ok(()) => return Ok(()),
            Err(Stop::Failure(failure)) => Failure { severity: Severity::Fatal, ..failure },
            Err(Stop::Lost(_)) if self.shared.is_stopping() || self.activity.is_terminated() => {
                Failure::fatal("57P01", "terminating connection due to administrator command")
            }
            Err(Stop::Lost(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(Stop::Lost(error)) => return Err(error),
        };
        self.output.push(&goodbye.to_response());
        self.flush()
    }

    fn converse(&mut self, login: Login, secret: u32) -> Result<(), Stop> {
        self.welcome(login, secret)?;
        loop {
            self.activity.end();
            let frame = self.read_frame()?;
            self.activity.begin();
            match self.skipping {
                true if frame.tag == b'X' => return Ok(()),
                true if frame.tag != b'S' => continue,
                _ => {}
            }
            let tag = frame.tag;
            match Message::decode(frame).map_err(Failure::from) {
                Ok(Message::Terminate) => return Ok(()),
                Ok(message) => self.answer(message)?,
                Err(failure) if failure.message.starts_with("invalid frontend message type") => {
                    return Err(Failure { severity: Severity::Fatal, ..failure }.into());
                }
                Err(failure) => {
                    self.fail(&failure);
                    self.recover(matches!(tag, b'Q' | b'F'))?;
                }
            }
        }
    }

    /// Makes the settings the client asked for, then says who it talks to.
    fn welcome(&mut self, login: Login, secret: u32) -> Result<(), Stop> {
        self.session.set_user(&login.user);
        self.session.set_database_name(&login.database);
        for (name, value) in &login.settings {
            if let Err(error) = self.session.set_parameter(name, value) {
                // Drivers send settings of servers that came after PostgreSQL 15, and of poolers.
                match error.kind {
                    weir_engine::ErrorKind::Sql(weir_sql::ErrorKind::UndefinedObject) => {
                        tracing::debug!(name, value, "start-up parameter ignored: there is no such setting");
                    }
                    _ => return Err(error.into()),
                }
            }
        }
        self.session.take_parameter_changes();
        for (name, value) in self.session.reported_parameters() {
            self.output.push(&ParameterStatus::new(name, value));
        }
        self.output.push(&BackendKeyData::new(self.session.id(), SecretKey::I32(secret as i32)));
        self.ready()?;
        Ok(())
    }

    /// Carries out one message, whatever becomes of it.
    fn answer(&mut self, message: Message) -> Result<(), Stop> {
        let simple = matches!(message, Message::Query(_) | Message::FunctionCall);
        let result = match message {
            Message::Query(text) => self.simple_query(&text),
            Message::FunctionCall => {
                Err(Failure::new("0A000", "the function call protocol is not supported: use SELECT").into())
            }
            Message::Sync => {
                self.skipping = false;
                self.end_of_messages()?;
                return Ok(());
            }
            Message::Flush => self.flush().map_err(Stop::from),
            Message::Parse { name, query, types } => self.parse(name, &query, &types),
            Message::Bind(bind) => self.bind(bind),
            Message::Describe(target, name) => self.describe(target, &name),
            Message::Execute { portal, rows_max } => self.execute(portal, rows_max),
            Message::Close(target, name) => {
                self.close(target, &name);
                Ok(())
            }
            // What a client sent before it heard that its COPY had failed.
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => Ok(()),
            Message::Password(_) => Err(Failure::fatal("08P01", "unexpected password message").into()),
            Message::Terminate => Ok(()),
        };
        match result {
            Ok(()) if simple => self.end_of_messages(),
            Ok(()) => Ok(()),
            Err(Stop::Failure(failure)) if failure.severity == Severity::Error => {
                self.fail(&failure);
                self.recover(simple)
            }
            Err(stop) => Err(stop),
        }
    }

    /// Reports an error and ends what it ends: the implicit transaction, or the explicit one's good standing.
    fn fail(&mut self, failure: &Failure) {
        self.send_notices();
        self.output.push(&failure.to_response());
        if std::mem::take(&mut self.implicit) {
            self.portals.clear();
            if let Err(error) = self.session.end_implicit(true) {
                tracing::error!(%error, "a failed transaction could not be rolled back");
            }
        }
        if self.session.transaction_status() == TransactionStatus::Open {
            self.session.fail_transaction();
        }
    }

    /// Goes on after an error: with the next query, or with the next Sync.
    fn recover(&mut self, simple: bool) -> Result<(), Stop> {
        match simple {
            true => self.end_of_messages(),
            false => {
                // At once: a client that sent Flush and no Sync waits for the error before it goes on.
                self.skipping = true;
                Ok(self.flush()?)
            }
        }
    }

    /// Sync, or the end of a query text: commits what nobody began, and is ready. A commit that fails is reported here.
    fn end_of_messages(&mut self) -> Result<(), Stop> {
        if std::mem::take(&mut self.implicit)
            && let Err(error) = self.session.end_implicit(false)
        {
            self.output.push(&Failure::from(error).to_response());
        }
        if self.session.transaction_status() == TransactionStatus::Idle {
            self.portals.clear();
        }
        self.ready()?;
        Ok(())
    }

    fn ready(&mut self) -> io::Result<()> {
        self.session.rest();
        self.send_notices();
        self.send_parameter_changes();
        let status = match self.session.transaction_status() {
            TransactionStatus::Idle => WireStatus::Idle,
            TransactionStatus::Open => WireStatus::Transaction,
            TransactionStatus::Failed => WireStatus::Error,
        };
        self.output.push(&ReadyForQuery::new(status));
        self.flush()
    }

    fn simple_query(&mut self, text: &str) -> Result<(), Stop> {
        self.statements.remove("");
        self.portals.remove("");
        let parsed = self.session.parse(text)?;
        if parsed.is_empty() {
            self.output.push(&EmptyQueryResponse::new());
            return Ok(());
        }
        if parsed.len() > 1 {
            self.begin_implicit();
        }
        for statement in &parsed {
            let prepared = self.session.prepare(statement, &[])?;
            let outcome = self.session.run(&prepared, &[])?;
            self.deliver(outcome)?;
        }
        Ok(())
    }

    /// Sends the outcome of a statement of a query text.
    fn deliver(&mut self, outcome: Outcome) -> Result<(), Stop> {
        match outcome {
            Outcome::Empty => self.output.push(&EmptyQueryResponse::new()),
            Outcome::Command { tag } => self.complete(tag),
            Outcome::Rows(mut rows) => {
                let formats = vec![Format::Text; rows.columns().len()];
                self.send_row_description(rows.columns(), &formats);
                while let Some(batch) = rows.next()? {
                    self.send_rows(&rows, &batch, 0..batch.num_rows(), &formats)?;
                }
                self.complete(rows.tag());
            }
            Outcome::CopyIn(copy) => self.copy_in(copy)?,
            Outcome::CopyOut(copy) => self.copy_out(*copy)?,
        }
        Ok(())
    }

    /// Reports a statement as done, after what it had to say.
    pub(super) fn complete(&mut self, tag: String) {
        self.send_notices();
        self.output.push(&CommandComplete::new(tag));
        self.forget_portals_of_ended_transaction();
    }

    /// COMMIT and ROLLBACK take their transaction's portals with them.
    fn forget_portals_of_ended_transaction(&mut self) {
        if !self.implicit && !self.portals.is_empty() && self.session.transaction_status() == TransactionStatus::Idle {
            self.portals.clear();
        }
    }

    /// Statements from here to the end of messages are one transaction, unless one is open.
    pub(super) fn begin_implicit(&mut self) {
        if !self.implicit && self.session.transaction_status() == TransactionStatus::Idle {
            self.session.begin_implicit();
            self.implicit = true;
        }
    }

    /// The next message. What the client is waiting for must have been flushed.
    pub(super) fn read_frame(&mut self) -> Result<Frame, ReadError> {
        self.input.read_frame(&mut self.stream)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.output.flush(&mut self.stream)
    }

    /// Sends what has gathered, if that is a lot.
    pub(super) fn flush_if_full(&mut self) -> io::Result<()> {
        match self.output.is_full() {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn send_notices(&mut self) {
        for n in self.session.take_notices() {
            self.output.push(&notice(&n));
        }
    }

    fn send_parameter_changes(&mut self) {
        for (name, value) in self.session.take_parameter_changes() {
            self.output.push(&ParameterStatus::new(name, value));
        }
    }
}
