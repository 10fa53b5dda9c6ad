//! `weir sql`: statements against a data directory, without a server.

use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::process::ExitCode;
use std::time::Instant;

use weir_engine::format::FormatSettings;
use weir_engine::{CopyIn, Database, Error, Outcome, Session};

use super::{Sql, describe, prompt};
use crate::render::{self, Form};
use crate::statements::{self, Trouble};

pub(super) fn run(arguments: &Sql) -> Result<ExitCode, String> {
    let db = Database::open(&arguments.data).map_err(|e| describe(&e))?;
    db.register_place(crate::s3::SCHEME, crate::s3::opener());
    let mut shell = Shell { session: db.session(), form: arguments.format, timing: false };
    let ok = match &arguments.file {
        _ if !arguments.command.is_empty() => arguments.command.iter().all(|text| shell.execute(text)),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
            shell.execute(&text)
        }
        None if io::stdin().is_terminal() => prompt::run(&mut shell)?,
        None => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map_err(|e| format!("cannot read standard input: {e}"))?;
            shell.execute(&text)
        }
    };
    drop(shell);
    db.close().map_err(|e| describe(&e))?;
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A session whose outcomes go to standard output.
pub(super) struct Shell {
    pub session: Session,
    pub form: Form,
    /// Whether to say how long each text took.
    pub timing: bool,
}

impl Shell {
    /// Runs a text of statements; whether all of them worked. Errors go to standard error.
    pub(super) fn execute(&mut self, text: &str) -> bool {
        let start = Instant::now();
        let form = self.form;
        let mut out = BufWriter::new(io::stdout().lock());
        let result = statements::run(&mut self.session, text, |session, outcome, _| {
            show(session, outcome, form, &mut out)?;
            for notice in session.take_notices() {
                out.flush()?;
                eprintln!("{:?}: {}", notice.severity, notice.message);
            }
            Ok(())
        });
        let flushed = out.flush();
        match result.and(flushed.map_err(Trouble::from)) {
            Ok(()) => {}
            // Whoever read our rows has read enough.
            Err(Trouble::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => return true,
            Err(Trouble::Output(e)) => {
                eprintln!("weir: {e}");
                return false;
            }
            Err(Trouble::Statement(error)) => {
                eprintln!("{}", explain(&error, text));
                return false;
            }
        }
        if self.timing {
            println!("Time: {:.3} ms", start.elapsed().as_secs_f64() * 1e3);
        }
        true
    }
}

fn show(session: &mut Session, outcome: Outcome, form: Form, out: &mut impl Write) -> Result<(), Trouble> {
    match outcome {
        Outcome::Empty => {}
        Outcome::Command { tag } if form == Form::Table => writeln!(out, "{tag}")?,
        Outcome::Command { .. } => {}
        Outcome::Rows(rows) => {
            render::rows(rows, form, &FormatSettings::of(&session.function_context()), out)?;
        }
        Outcome::CopyIn(copy) => {
            let tag = copy_stdin(session, copy)?;
            if form == Form::Table {
                writeln!(out, "{tag}")?;
            }
        }
        Outcome::CopyOut(mut copy) => {
            while let Some(bytes) = copy.next()? {
                out.write_all(bytes)?;
            }
        }
    }
    Ok(())
}

/// COPY … FROM STDIN takes our own standard input.
fn copy_stdin(session: &mut Session, mut copy: CopyIn) -> Result<String, Trouble> {
    let mut stdin = io::stdin().lock();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let taken = match stdin.read(&mut buffer) {
            Ok(0) => return Ok(copy.finish(session)?),
            Ok(n) => copy.push(&buffer[..n]).map_err(Trouble::from),
            Err(e) => Err(e.into()),
        };
        if let Err(trouble) = taken {
            copy.abort(session);
            return Err(trouble);
        }
    }
}

/// An error as psql shows it: with the line it is in, and a caret under the place.
pub(super) fn explain(error: &Error, text: &str) -> String {
    let mut shown = format!("ERROR:  {}", error.message);
    if let Some(position) = error.position {
        let before: String = text.chars().take(position.saturating_sub(1)).collect();
        let number = before.matches('\n').count() + 1;
        let line = text.lines().nth(number - 1).unwrap_or_default();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
        let label = format!("LINE {number}: ");
        shown.push_str(&format!("\n{label}{line}\n{}^", " ".repeat(label.len() + column)));
    }
    let more = [("DETAIL", &error.detail), ("HINT", &error.hint), ("CONTEXT", &error.context)];
    for (label, more) in more.into_iter().filter_map(|(label, more)| more.as_ref().map(|more| (label, more))) {
        shown.push_str(&format!("\n{label}:  {more}"));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_points_at_its_place() {
        let text = "select 1,\n  nope\nfrom t";
        let mut error =
            Error::from(weir_sql::Error::new(weir_sql::ErrorKind::UndefinedColumn, "column \"nope\" does not exist"));
        error.position = Some(13);
        assert_eq!(explain(&error, text), "ERROR:  column \"nope\" does not exist\nLINE 2:   nope\n          ^");
    }
}
