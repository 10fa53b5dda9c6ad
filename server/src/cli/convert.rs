//! `weir convert`: what tells another database what to keep, as SQL on standard output.

use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use super::Druid;
use crate::druid::{self, Given};

pub(super) fn druid(arguments: &Druid) -> Result<ExitCode, String> {
    let (name, text) = read(&arguments.spec)?;
    let spec: Value = serde_json::from_str(&text).map_err(|error| {
        let place = format!(" at line {} column {}", error.line(), error.column());
        let message = error.to_string();
        format!("{name}:{}:{}: {}", error.line(), error.column(), message.strip_suffix(&place).unwrap_or(&message))
    })?;
    let given = Given { topic: arguments.topic.clone(), brokers: arguments.brokers.clone() };
    let script = druid::convert(&spec, &given).map_err(|refusal| format!("{name}: {refusal}"))?;
    print!("{script}");
    Ok(ExitCode::SUCCESS)
}

/// What errors call a file, and its text; `-` is standard input.
fn read(path: &Path) -> Result<(String, String), String> {
    if path.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map_err(|e| format!("cannot read standard input: {e}"))?;
        return Ok(("standard input".to_string(), text));
    }
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    Ok((path.display().to_string(), text))
}
