//! The command line: `weir serve`, `weir sql`, `weir demo`, `weir check`, `weir restore`, `weir convert`.

mod check;
mod convert;
mod demo;
mod prompt;
mod restore;
mod serve;
mod sql;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, ConfigError};
use crate::render::Form;

/// A columnar database for live event streams that speaks the Postgres protocol.
#[derive(Debug, Parser)]
#[command(name = "weir", version, about)]
struct Arguments {
    /// How log lines are written to standard error; RUST_LOG says which.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(Serve),
    /// Live shop events through an in-process Kafka, a view on them, and the server: needs nothing else.
    Demo(Demo),
    /// Ask the database in a directory, without a server: a prompt on a terminal.
    Sql(Sql),
    /// Verify every checksum in a data directory; exit 1 and name what is damaged.
    Check(Check),
    /// Make a data directory from a backup: a folder, or s3://bucket/prefix.
    Restore(Restore),
    /// Print the SQL that does what another database's configuration says.
    #[command(subcommand)]
    Convert(Convert),
}

#[derive(Debug, Subcommand)]
enum Convert {
    /// An ingestion spec of Apache Druid: a table on its Kafka topic, and the view that is its data source.
    Druid(Druid),
}

#[derive(Debug, clap::Args)]
struct Druid {
    /// The spec, as JSON; - is standard input.
    #[arg(value_name = "SPEC.json")]
    spec: PathBuf,
    /// The topic, in place of the spec's.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Where Kafka is, in place of the spec's bootstrap.servers.
    #[arg(long, value_name = "HOST:PORT,…")]
    brokers: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Serve {
    /// The data directory [default: ./weir-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where Postgres clients connect [default: 127.0.0.1:5433]
    #[arg(long, value_name = "HOST:PORT")]
    pg: Option<String>,
    /// Where HTTP clients connect, or "off" [default: 127.0.0.1:8433]
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
    /// The configuration [default: weir.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Serve {
    /// The file's settings under the flags'.
    fn config(&self) -> Result<Config, ConfigError> {
        let default = PathBuf::from("weir.toml");
        let mut config = match &self.config {
            Some(path) => Config::read(path)?,
            None if default.exists() => Config::read(&default)?,
            None => Config::default(),
        };
        if let Some(data) = &self.data {
            config.data.clone_from(data);
        }
        if let Some(pg) = &self.pg {
            config.pg.clone_from(pg);
        }
        if let Some(http) = &self.http {
            config.http.clone_from(http);
        }
        config.check()?;
        Ok(config)
    }
}

#[derive(Debug, clap::Args)]
struct Restore {
    /// The data directory to write: empty, or not there.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where the backup is.
    #[arg(long, value_name = "PLACE")]
    from: String,
    /// What the place needs to know, such as endpoint=http://localhost:9000; the environment's AWS_… count too.
    #[arg(long = "option", value_name = "NAME=VALUE", value_parser = name_and_value)]
    options: Vec<(String, String)>,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it has no =")?;
    Ok((name.to_string(), value.to_string()))
}

#[derive(Debug, clap::Args)]
struct Demo {
    #[command(flatten)]
    serve: Serve,
    /// Events a second.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    rate: u32,
}

#[derive(Debug, clap::Args)]
struct Sql {
    /// The data directory.
    #[arg(long, value_name = "DIR", default_value = "./weir-data")]
    data: PathBuf,
    /// Run these statements and end; may be given several times.
    #[arg(short, value_name = "SQL", conflicts_with = "file")]
    command: Vec<String>,
    /// Run the statements in this file and end.
    #[arg(short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How rows are written: table, csv or json (one object a line).
    #[arg(long, value_name = "FORM", default_value = "table")]
    format: Form,
}

#[derive(Debug, clap::Args)]
struct Check {
    /// The data directory.
    #[arg(long, value_name = "DIR", default_value = "./weir-data")]
    data: PathBuf,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_logging(arguments.log_format, matches!(arguments.command, Command::Serve(_)));
    let result = match arguments.command {
        Command::Serve(serve) => serve.config().map_err(|e| e.to_string()).and_then(|config| serve::run(&config)),
        Command::Demo(demo) => {
            demo.serve.config().map_err(|e| e.to_string()).and_then(|config| demo::run(&config, demo.rate))
        }
        Command::Sql(sql) => sql::run(&sql),
        Command::Check(check) => check::run(&check.data),
        Command::Restore(restore) => restore::run(&restore.data, &restore.from, &restore.options),
        Command::Convert(Convert::Druid(druid)) => convert::druid(&druid),
    };
    match result {
        Ok(code) => code,
        Err(message) => {
            eprintln!("weir: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Logs go to standard error. A server tells of its life; the other commands only of what is wrong.
fn start_logging(format: LogFormat, server: bool) {
    let default = if server { "info" } else { "warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber cannot be installed; the first is as good.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

/// An engine error for people: message, detail, hint.
fn describe(error: &weir_engine::Error) -> String {
    let mut text = error.message.clone();
    for (label, more) in [("DETAIL", &error.detail), ("HINT", &error.hint)] {
        if let Some(more) = more {
            text.push_str(&format!("\n{label}:  {more}"));
        }
    }
    text
}
