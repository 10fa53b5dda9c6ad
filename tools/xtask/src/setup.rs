//! Installs what the outside tests need on a new Debian machine: PostgreSQL, Java and Maven, drivers, and the peers' Python packages.
//!
//! Debian packages that are there already are left alone; Python and npm packages go to `.tools`, pinned.

use std::path::Path;
use std::process::Command;

use crate::{Done, root, sh, tools_dir};

/// Debian package, and a file that shows that it is there.
const DEBIAN: [(&str, &str); 7] = [
    ("postgresql-15", "/usr/lib/postgresql/15/bin/postgres"),
    ("postgresql-client-15", "/usr/bin/psql"),
    ("libpostgresql-jdbc-java", "/usr/share/java/postgresql.jar"),
    ("default-jdk-headless", "/usr/bin/javac"),
    ("maven", "/usr/bin/mvn"),
    ("nodejs", "/usr/bin/node"),
    ("npm", "/usr/bin/npm"),
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
    node()
}

/// Whether a package's program is on the path although not where Debian puts it.
fn on_path(package: &str) -> bool {
    let program = match package {
        "nodejs" => "node",
        "npm" => "npm",
        "maven" => "mvn",
        "default-jdk-headless" => "javac",
        _ => return false,
    };
    Command::new(program).arg("--version").output().is_ok()
}

fn python() -> Done {
    let venv = tools_dir().join("venv");
    let wanted = root().join("tests/clients/requirements.txt");
    if !venv.join("bin/pip").exists() {
        sh(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    sh(Command::new(venv.join("bin/pip")).args(["install", "-q", "--disable-pip-version-check", "-r"]).arg(wanted))
}

fn node() -> Done {
    let dir = root().join("tests/clients/node");
    sh(Command::new("npm").args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(dir))
}
