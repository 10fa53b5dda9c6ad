//! The habits of the house that no other tool checks: every source file opens with what it is, stays short, and has nothing unfinished.
//!
//! File length is a ratchet: `tidy-ratchet.txt` names the files that may be longer than [`LINES_MAX`], with the length they have;
//! they may shrink, and must not grow.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::{Done, root};

/// What a reader can hold in the head.
const LINES_MAX: usize = 600;
const RATCHET: &str = "tools/xtask/tidy-ratchet.txt";

pub(crate) fn run() -> Done {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "*.rs"])
        .current_dir(root())
        .output()
        .map_err(|e| format!("cannot run git: {e}"))?;
    let ratchet = ratchet()?;
    let mut complaints = Vec::new();
    let files = String::from_utf8_lossy(&listed.stdout);
    for file in files.lines() {
        // A file that is deleted but not yet staged is still listed.
        let Ok(text) = fs::read_to_string(root().join(file)) else { continue };
        check(file, &text, ratchet.get(file).copied(), &mut complaints);
    }
    for file in ratchet.keys().filter(|file| !files.lines().any(|f| f == file.as_str())) {
        complaints.push(format!("{RATCHET}: {file} is gone; remove its line"));
    }
    if complaints.is_empty() {
        println!("tidy: {} files are in order", files.lines().count());
        return Ok(());
    }
    Err(format!("tidy:\n  {}", complaints.join("\n  ")))
}

fn check(file: &str, text: &str, allowed: Option<usize>, complaints: &mut Vec<String>) {
    if !text.starts_with("//!") {
        complaints.push(format!("{file}:1: opens without `//!`: say what the file is"));
    }
    let lines = text.lines().count();
    match allowed {
        Some(max) if lines > max => complaints.push(format!("{file}: {lines} lines; the ratchet has {max}")),
        Some(_) if lines <= LINES_MAX => complaints.push(format!("{RATCHET}: {file} is short now; remove its line")),
        None if lines > LINES_MAX => complaints.push(format!("{file}: {lines} lines; split it ({LINES_MAX} at most)")),
        _ => {}
    }
    // The words are spelled in parts so that this file does not find itself.
    let forbidden = [
        (concat!("todo", "!("), "unfinished code"),
        (concat!("unimplemented", "!("), "unfinished code"),
        (concat!("FIX", "ME"), "unfinished code"),
        (concat!("#[ig", "nore]"), "a test that is skipped without a reason"),
    ];
    for (number, line) in text.lines().enumerate() {
        for (word, what) in forbidden {
            if line.contains(word) {
                complaints.push(format!("{file}:{}: {what}: {word}", number + 1));
            }
        }
    }
}

fn ratchet() -> Done<BTreeMap<String, usize>> {
    let text = fs::read_to_string(root().join(RATCHET)).map_err(|e| format!("cannot read {RATCHET}: {e}"))?;
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let (lines, file) = line.split_once(' ').ok_or_else(|| format!("{RATCHET}: not `LINES FILE`: {line}"))?;
            let lines = lines.parse().map_err(|_| format!("{RATCHET}: not a number: {line}"))?;
            Ok((file.to_string(), lines))
        })
        .collect()
}
