//! The prompt of `weir sql`: statements over several lines until `;`, history, and the backslash commands that people type first.
//!
//! Backslash commands are SQL over the catalogue, as in psql; nothing here knows what a table is.

use std::path::PathBuf;

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::sql::Shell;

const HELP: &str = "\
statements end with ;
  \\d            tables, views and materialized views
  \\d NAME       columns of one
  \\dt \\dv \\dm   tables, views, materialized views
  \\dn           schemas
  \\df [NAME]    functions
  \\l            databases
  \\x FORM       write rows as table, csv or json
  \\timing       say how long statements take, or no longer
  \\i FILE       run the statements in a file
  \\q            leave";

/// Reads and runs until `\q` or end of input; whether the terminal held out.
pub(super) fn run(shell: &mut Shell) -> Result<bool, String> {
    let mut editor = DefaultEditor::new().map_err(|e| format!("cannot use the terminal: {e}"))?;
    let history = history_file();
    if let Some(path) = &history {
        let _ = editor.load_history(path); // There is none the first time.
    }
    println!("weir {}. \\? for help, \\q to leave.", env!("CARGO_PKG_VERSION"));
    let mut pending = String::new();
    loop {
        let prompt = if pending.trim().is_empty() { "weir=> " } else { "weir-> " };
        match editor.readline(prompt) {
            Ok(line) => {
                if pending.trim().is_empty() && line.trim_start().starts_with('\\') {
                    let _ = editor.add_history_entry(line.trim());
                    if !command(shell, line.trim().trim_end_matches(';').trim_end()) {
                        break;
                    }
                    continue;
                }
                pending.push_str(&line);
                pending.push('\n');
                if is_complete(&pending) {
                    let _ = editor.add_history_entry(pending.trim_end());
                    shell.execute(&pending);
                    pending.clear();
                }
            }
            Err(ReadlineError::Interrupted) => pending.clear(),
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(format!("cannot read from the terminal: {error}")),
        }
    }
    if let Some(path) = &history
        && let Err(error) = editor.save_history(path)
    {
        tracing::warn!(%error, path = %path.display(), "the history could not be saved");
    }
    Ok(true)
}

fn history_file() -> Option<PathBuf> {
    std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".weir_history"))
}

/// Carries out a backslash command; false to leave.
fn command(shell: &mut Shell, line: &str) -> bool {
    let (name, argument) = match line.split_once(char::is_whitespace) {
        Some((name, argument)) => (name, Some(argument.trim())),
        None => (line, None),
    };
    match (name.trim_end_matches('+'), argument) {
        ("\\q", _) => return false,
        ("\\?" | "\\h", _) => println!("{HELP}"),
        ("\\timing", _) => {
            shell.timing = !shell.timing;
            println!("Timing is {}.", if shell.timing { "on" } else { "off" });
        }
        ("\\x", Some(form)) => match form.parse() {
            Ok(form) => shell.form = form,
            Err(error) => eprintln!("{error}"),
        },
        ("\\i", Some(path)) => match std::fs::read_to_string(path) {
            Ok(text) => drop(shell.execute(&text)),
            Err(error) => eprintln!("cannot read {path}: {error}"),
        },
        (name, argument) => match catalogue_query(name, argument) {
            Some(sql) => drop(shell.execute(&sql)),
            None => eprintln!("{line} is not a command. \\? for help."),
        },
    }
    true
}

/// The SQL behind a backslash command that looks at the catalogue.
fn catalogue_query(name: &str, argument: Option<&str>) -> Option<String> {
    let relations = |kinds: &str| {
        let named = argument.map_or(String::new(), |name| format!(" AND c.relname = {}", literal(name)));
        format!(
            "SELECT n.nspname AS \"Schema\", c.relname AS \"Name\", \
             CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' END AS \"Type\" \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ({kinds}) AND n.nspname <> 'pg_catalog' AND n.nspname <> 'information_schema'{named} \
             ORDER BY 1, 2"
        )
    };
    Some(match (name, argument) {
        ("\\d", Some(relation)) => {
            let (schema, relation) = match relation.split_once('.') {
                Some((schema, relation)) => (format!(" AND n.nspname = {}", literal(schema)), relation),
                None => (String::new(), relation),
            };
            format!(
                "SELECT a.attname AS \"Column\", pg_catalog.format_type(a.atttypid, a.atttypmod) AS \"Type\", \
                 CASE WHEN a.attnotnull THEN 'not null' ELSE '' END AS \"Nullable\" \
                 FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.relname = {}{schema} AND a.attnum > 0 ORDER BY a.attnum",
                literal(relation)
            )
        }
        ("\\d", None) => relations("'r', 'v', 'm'"),
        ("\\dt", _) => relations("'r'"),
        ("\\dv", _) => relations("'v'"),
        ("\\dm", _) => relations("'m'"),
        ("\\dn", _) => "SELECT nspname AS \"Name\" FROM pg_catalog.pg_namespace ORDER BY 1".into(),
        ("\\l", _) => "SELECT datname AS \"Name\" FROM pg_catalog.pg_database ORDER BY 1".into(),
        ("\\df", Some(name)) => format!(
            "SELECT proname AS \"Name\", pg_catalog.pg_get_function_arguments(oid) AS \"Arguments\", \
             pg_catalog.pg_get_function_result(oid) AS \"Result\" FROM pg_catalog.pg_proc WHERE proname = {} ORDER BY 1, 2",
            literal(name)
        ),
        ("\\df", None) => "SHOW FUNCTIONS".into(),
        _ => return None,
    })
}

fn literal(text: &str) -> String {
    format!("'{}'", text.trim_matches('"').replace('\'', "''"))
}

/// Whether a text ends with a `;` that is not inside quotes, dollar quotes or a comment. An unfinished quote is not complete.
fn is_complete(text: &str) -> bool {
    let mut rest = text;
    let mut complete = false;
    while let Some(c) = rest.chars().next() {
        let quoted = match c {
            '\'' | '"' => Some(rest[1..].find(c).map(|end| end + 2)),
            '-' if rest.starts_with("--") => Some(Some(rest.find('\n').unwrap_or(rest.len()))),
            '/' if rest.starts_with("/*") => Some(rest.find("*/").map(|end| end + 2)),
            '$' => dollar_tag(rest).map(|tag| rest[tag.len()..].find(tag).map(|end| end + 2 * tag.len())),
            _ => None,
        };
        let comment = rest.starts_with("--") || rest.starts_with("/*");
        match quoted {
            Some(Some(length)) => {
                complete &= comment;
                rest = &rest[length..];
            }
            Some(None) => return false,
            None => {
                if !c.is_whitespace() {
                    complete = c == ';';
                }
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    complete
}

/// `$$` or `$tag$` at the start of a text.
fn dollar_tag(text: &str) -> Option<&str> {
    let end = text[1..].find('$')? + 2;
    let tag = &text[1..end - 1];
    let valid = tag.chars().all(|c| c.is_alphanumeric() || c == '_') && !tag.starts_with(|c: char| c.is_ascii_digit());
    valid.then_some(&text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_complete_at_a_semicolon_that_counts() {
        for text in
            ["select 1;", "select ';' ; -- done\n", "select $a$ ; $a$;\n", "select 1; /* x */", "select 'it''s';"]
        {
            assert!(is_complete(text), "{text}");
        }
        for text in ["select 1", "select ';", "select 1 -- ;", "select $$;", "/* ;", "select 1; select", "select \";\""]
        {
            assert!(!is_complete(text), "{text}");
        }
    }
}
