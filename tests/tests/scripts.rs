//! Every SQL script in `slt`, on a server of its own.
//!
//! `WEIR_UPDATE_SCRIPTS=1` writes the answers of `slt/weir` anew: plans change by the dozen, and are read in the diff.

use weir_tests::process::Server;
use weir_tests::script;

#[test]
fn every_script_gives_what_it_says() {
    let mut failures = Vec::new();
    for path in script::scripts(&script::folder()) {
        let data = tempfile::tempdir().expect("a temporary folder");
        let server = Server::start(data.path());
        let config = format!("host=127.0.0.1 port={} user=weir dbname=weir", server.port());
        let update =
            std::env::var_os("WEIR_UPDATE_SCRIPTS").is_some() && path.starts_with(script::folder().join("weir"));
        let run = if update { script::update } else { script::run };
        if let Err(why) = run(&path, &config, "weir") {
            failures.push(why);
        }
    }
    assert!(failures.is_empty(), "{} scripts failed:\n{}", failures.len(), failures.join("\n"));
}
