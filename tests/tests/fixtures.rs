//! A database of each format version, as the build that made the version wrote it, opens for ever: `fixtures/format-N`.
//!
//! `make.sql` says what was done to it, `data` is the directory it left, and `ask.slt` what it answers and how it goes on from there: rows are changed
//! and merged, so that old parts are read by everything that reads parts. A new version adds a folder, and never touches the old ones:
//! `WEIR_WRITE_FIXTURE=1` makes the `data` of folders that have none.

use std::fs;
use std::path::{Path, PathBuf};

use weir_engine::{Database, Options};
use weir_storage::StoreOptions;
use weir_tests::process::{Server, check};
use weir_tests::script;

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut folders: Vec<PathBuf> =
        fs::read_dir(folder).expect("there are fixtures").map(|entry| entry.expect("an entry").path()).collect();
    folders.sort();
    folders
}

/// Carries out `make.sql`, with limits so low that rows are spread over a checkpoint, logs, heads and parts.
fn write(fixture: &Path) {
    let store = StoreOptions { head_rows_max: 400, log_bytes_max: 5_000, ..StoreOptions::default() };
    let options = Options { granule_rows: 100, bulk_bytes: 20_000, store, ..Options::default() };
    let database = Database::open_with(fixture.join("data"), options).expect("it opens");
    let statements = fs::read_to_string(fixture.join("make.sql")).expect("make.sql");
    for statement in statements.split(";\n") {
        database.execute(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    database.close().expect("it closes");
}

fn assert_sound(data: &Path, fixture: &Path) {
    let (code, text) = check(data);
    assert_eq!(code, 0, "{}: {text}", fixture.display());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder of the fixture") {
        let (path, to) = (entry.as_ref().expect("an entry").path(), to.join(entry.expect("an entry").file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(path, to).expect("a file is copied");
        }
    }
}

#[test]
fn databases_of_every_format_version_answer_and_go_on() {
    let fixtures = fixtures();
    assert!(!fixtures.is_empty());
    for fixture in fixtures {
        if std::env::var_os("WEIR_WRITE_FIXTURE").is_some() && !fixture.join("data").exists() {
            write(&fixture);
        }
        let data = tempfile::tempdir().expect("a temporary folder");
        copy(&fixture.join("data"), data.path());
        assert_sound(data.path(), &fixture);
        let server = Server::start(data.path());
        let config = format!("host=127.0.0.1 port={} user=weir dbname=weir", server.port());
        let ask = fixture.join("ask.slt");
        let run = if std::env::var_os("WEIR_UPDATE_SCRIPTS").is_some() { script::update } else { script::run };
        run(&ask, &config, "weir").unwrap_or_else(|why| panic!("{}: {why}", fixture.display()));
        server.stop();
        assert_sound(data.path(), &fixture);
    }
}
