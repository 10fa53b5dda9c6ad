//! `weir check`: verifies every checksum of a data directory, without opening it.

use std::path::Path;
use std::process::ExitCode;

use weir_engine::Findings;

/// Prints a summary, or what is damaged with file, offset and reason; says by the exit code which it was.
pub(super) fn run(data: &Path) -> Result<ExitCode, String> {
    let findings = weir_engine::check(data).map_err(|error| error.to_string())?;
    for damage in &findings.damage {
        println!("{damage}");
    }
    println!("{}", summary(&findings));
    Ok(if findings.damage.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(findings: &Findings) -> String {
    let Findings { damage, files, bytes, parts, rows, version, garbage } = findings;
    let mut text = match damage.len() {
        0 => "no damage".to_string(),
        1 => "1 place is damaged".to_string(),
        places => format!("{places} places are damaged"),
    };
    text.push_str(&format!(": {files} files, {bytes} bytes, {parts} parts, {rows} rows"));
    if let Some(version) = version {
        text.push_str(&format!(", version {version}"));
    }
    if *garbage > 0 {
        text.push_str(&format!("; {garbage} files that a crash left will be removed"));
    }
    text
}
