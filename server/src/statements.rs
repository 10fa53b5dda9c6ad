//! Runs a text of statements in a session outside the Postgres wire: for HTTP and `weir sql`.
//!
//! The statements of one text are one transaction, as in the simple protocol, unless they say otherwise.

use std::io;

use weir_engine::{Error, Outcome, Session};

/// Why a text was not run to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// A statement failed.
    #[error("{0}")]
    Statement(#[from] Error),
    /// Its rows could not be written.
    #[error("{0}")]
    Output(#[from] io::Error),
}

/// Runs each statement of a text and gives its outcome to `take`, which is told whether it is the last.
pub(crate) fn run(
    session: &mut Session,
    text: &str,
    mut take: impl FnMut(&mut Session, Outcome, bool) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let parsed = session.parse(text)?;
    let implicit = parsed.len() > 1;
    if implicit {
        session.begin_implicit();
    }
    let mut run = |session: &mut Session| {
        for (index, statement) in parsed.iter().enumerate() {
            let prepared = session.prepare(statement, &[])?;
            let outcome = session.run(&prepared, &[])?;
            take(session, outcome, index + 1 == parsed.len())?;
        }
        Ok(())
    };
    let result = run(session);
    if result.is_err() {
        session.fail_transaction();
    }
    if implicit {
        session.end_implicit(result.is_err())?;
    }
    result
}

/// Reads an outcome nobody looks at to its end, so that what can fail in it does.
pub(crate) fn drain(outcome: Outcome) -> Result<(), Trouble> {
    match outcome {
        Outcome::Rows(mut rows) => while rows.next()?.is_some() {},
        Outcome::CopyOut(mut copy) => while copy.next()?.is_some() {},
        Outcome::Empty | Outcome::Command { .. } | Outcome::CopyIn(_) => {}
    }
    Ok(())
}
