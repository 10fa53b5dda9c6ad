//! Installs what the outside tests need on a new Debian machine: PostgreSQL, Java and Maven, Node, Go, drivers, and the peers' Python packages.
//!
//! Debian packages that are there already are left alone; Python packages go to `.tools`, npm's beside their test, Go's into its module
//! cache, all pinned.

use std::path::Path;
use std::process::Command;

use crate::{Done, root, sh, tools_dir};

/// Debian package, and a file that shows that it is there.
const DEBIAN: [(&str, &str); 8] = [
    ("postgresql-15", "/usr/lib/postgresql/15/bin/postgres"),
    ("postgresql-client-15", "/usr/bin/psql"),
    ("libpostgresql-jdbc-java", "/usr/share/java/postgresql.jar"),
    ("default-jdk-headless", "/usr/bin/javac"),
    ("maven", "/usr/bin/mvn"),
    ("nodejs", "/usr/bin/node"),
    ("npm", "/usr/bin/npm"),
    ("golang-go", "/usr/bin/go"),
];

pub(crate) fn run() -> Done {
    let missing: Vec<&str> = DEBIAN
        .iter()
        .filter(|(package, file)| !Path::new(file).exists() && !on_path(package))
        .map(|(package, _)| *package)
        .collect();
    if !missing.is_empty() {
        sh(Command::new("apt-get").args(["update", "-q"]))?;
        sh(Command::new("apt-get")
            .args(["install", "-q", "-y", "--no-install-recommends"])
            .args(&missing)
            .env("DEBIAN_FRONTEND", "noninteractive"))?;
    }
    python()?;
    node()?;
    go()
}

/// Whether a package's program is on the path although not where Debian puts it.
fn on_path(package: &str) -> bool {
    let program = match package {
        "nodejs" => "node",
        "npm" => "npm",
        "maven" => "mvn",
        "default-jdk-headless" => "javac",
        "golang-go" => "go",
        _ => return false,
    };
    let version = if program == "go" { "version" } else { "--version" };
    Command::new(program).arg(version).output().is_ok()
}

fn python() -> Done {
    venv("venv", "requirements.txt")?;
    // Its extension is there for one version of DuckDB, older than the peer that we compare with.
    venv("tpcds", "requirements-tpcds.txt")
}

/// A Python of its own with the packages that a file in `tests/clients` lists.
fn venv(name: &str, packages: &str) -> Done {
    let venv = tools_dir().join(name);
    let wanted = root().join("tests/clients").join(packages);
    if !venv.join("bin/pip").exists() {
        sh(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    sh(Command::new(venv.join("bin/pip")).args(["install", "-q", "--disable-pip-version-check", "-r"]).arg(wanted))
}

fn node() -> Done {
    let dir = root().join("tests/clients/node");
    sh(Command::new("npm").args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(dir))
}

fn go() -> Done {
    sh(Command::new("go").args(["mod", "download"]).current_dir(root().join("tests/clients/go")))
}
