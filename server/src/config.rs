//! `weir.toml`: what the server reads of it, and how command-line flags override it.
//!
//! Every key that is not known is an error that names the line, so that a misspelt setting is never silently without effect.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What `serve` and `demo` run with: defaults, then `weir.toml`, then flags.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The data directory.
    pub data: PathBuf,
    /// Where Postgres clients connect: `HOST:PORT`.
    pub pg: String,
    /// Where HTTP clients connect: `HOST:PORT`; `"off"` for none.
    pub http: String,
    /// How many Postgres connections there may be at once.
    pub max_connections: usize,
    /// What every client must log in with. Needed to listen on other than loopback addresses; without one, anybody is trusted.
    pub password: Option<String>,
    /// Encrypted connections.
    pub tls: Option<Tls>,
    /// How many threads run queries; all cores if it is not given.
    pub threads: Option<usize>,
    /// What all queries together may use: bytes, or text such as `"4GB"`.
    pub memory_limit: Option<Size>,
    /// What one query may use.
    pub query_memory_limit: Option<Size>,
    /// What may be kept of what aggregations made of rows that do not change.
    pub partial_cache_size: Option<Size>,
    /// Topic subscriptions.
    pub kafka: Vec<Kafka>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            data: PathBuf::from("./weir-data"),
            pg: "127.0.0.1:5433".into(),
            http: "127.0.0.1:8433".into(),
            max_connections: 500,
            password: None,
            tls: None,
            threads: None,
            memory_limit: None,
            query_memory_limit: None,
            partial_cache_size: None,
            kafka: Vec::new(),
        }
    }
}

/// The certificate that encrypted connections are made with.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// A PEM file: the certificate, then those that vouch for it.
    pub cert: PathBuf,
    /// A PEM file: its private key.
    pub key: PathBuf,
}

/// One `[[kafka]]` entry: a topic whose records become rows of a table.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// What offsets are kept under; the table's name if it is not given.
    pub name: Option<String>,
    /// `host:port,host:port`.
    pub brokers: String,
    /// The topic.
    pub topic: String,
    /// The table its rows go to.
    pub table: String,
    /// How records are written.
    #[serde(default = "json")]
    pub format: String,
    /// Everything else that a subscription understands, by the names of the `WITH (…)` form.
    #[serde(default)]
    pub options: BTreeMap<String, Scalar>,
    /// Properties of librdkafka, as they are.
    #[serde(default)]
    pub properties: BTreeMap<String, Scalar>,
}

fn json() -> String {
    "json".into()
}

impl Kafka {
    /// What its offsets are kept under.
    pub fn name(&self) -> &str {
        self.name.as_ref().unwrap_or(&self.table)
    }

    /// The subscription in the `WITH (…)` form that `CREATE TABLE` has: keys as Flink names them.
    pub fn with_options(&self) -> Vec<(String, String)> {
        let mut all = vec![
            ("connector".to_string(), "kafka".to_string()),
            ("topic".into(), self.topic.clone()),
            ("properties.bootstrap.servers".into(), self.brokers.clone()),
            ("format".into(), self.format.clone()),
        ];
        all.extend(self.options.iter().map(|(k, v)| (k.clone(), v.0.clone())));
        all.extend(self.properties.iter().map(|(k, v)| (format!("properties.{k}"), v.0.clone())));
        all
    }
}

/// A string, number or boolean, as text: librdkafka takes all its properties as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar(pub String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a string, a number or a boolean")]
        enum Raw {
            Text(String),
            Integer(i64),
            Float(f64),
            Bool(bool),
        }
        Ok(Scalar(match Raw::deserialize(deserializer)? {
            Raw::Text(text) => text,
            Raw::Integer(n) => n.to_string(),
            Raw::Float(n) => n.to_string(),
            Raw::Bool(b) => b.to_string(),
        }))
    }
}

/// A number of bytes: `1073741824`, `"1GB"`, `"512 MiB"`. Units are powers of 1024, as in Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub usize);

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let shift = match text[digits..].trim().to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err(format!("\"{text}\" is not a size: write 1073741824, \"512MB\" or \"4GB\"")),
        };
        text[..digits]
            .parse::<usize>()
            .ok()
            .and_then(|n| n.checked_mul(1 << shift))
            .map(Size)
            .ok_or_else(|| format!("\"{text}\" is not a size: write 1073741824, \"512MB\" or \"4GB\""))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        Scalar::deserialize(deserializer)?.0.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML, or has a key that does not exist or a value of the wrong type. The text shows the line.
    #[error("{}: {message}", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Line, column, the line itself and what is wrong with it.
        message: String,
    },
    /// A value makes no sense.
    #[error("{0}")]
    Invalid(String),
}

impl Config {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Config::parse(&text).map_err(|message| ConfigError::Parse { path: path.into(), message })
    }

    fn parse(text: &str) -> Result<Config, String> {
        toml::from_str(text).map_err(|e| e.to_string().trim_end().to_string())
    }

    /// Checks what concerns several settings at once: nobody listens to the world without a password, and no two subscriptions have one name.
    pub fn check(&self) -> Result<(), ConfigError> {
        for (name, addresses) in [("pg", self.pg_addresses()?), ("http", self.http_addresses()?)] {
            let open = addresses.iter().find(|a| !a.ip().to_canonical().is_loopback());
            if let (Some(address), None) = (open, &self.password) {
                return Err(ConfigError::Invalid(format!(
                    "refusing to listen on {name} = {address} without a password: anybody who reaches this address could read and drop \
                     everything. Set `password` in weir.toml (and `[tls]`), or listen on 127.0.0.1"
                )));
            }
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = self.kafka.iter().map(Kafka::name).find(|name| !names.insert(*name)) {
            // Offsets are kept by name: one would read on where the other is.
            return Err(ConfigError::Invalid(format!(
                "[[kafka]] \"{twice}\" is there twice: give each a `name` of its own"
            )));
        }
        if self.max_connections == 0 {
            return Err(ConfigError::Invalid("max_connections must be at least 1".into()));
        }
        Ok(())
    }

    /// What `pg` resolves to.
    pub fn pg_addresses(&self) -> Result<Vec<SocketAddr>, ConfigError> {
        resolve("pg", &self.pg)
    }

    /// What `http` resolves to; nothing if it is off.
    pub fn http_addresses(&self) -> Result<Vec<SocketAddr>, ConfigError> {
        match self.http.as_str() {
            "off" | "" => Ok(Vec::new()),
            address => resolve("http", address),
        }
    }
}

fn resolve(name: &str, address: &str) -> Result<Vec<SocketAddr>, ConfigError> {
    use std::net::ToSocketAddrs;
    match address.to_socket_addrs().map(Iterator::collect::<Vec<_>>) {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        Ok(_) => Err(ConfigError::Invalid(format!("{name} = \"{address}\" names no address"))),
        Err(e) => Err(ConfigError::Invalid(format!("{name} = \"{address}\" is not HOST:PORT ({e})"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_with_librdkafka_properties_is_read() {
        let config = Config::parse(
            r#"
            pg = "127.0.0.1:6000"
            memory_limit = "2GB"

            [[kafka]]
            name = "events"
            brokers = "localhost:9092"
            topic = "events"
            table = "shop.events"

            [kafka.properties]
            "security.protocol" = "ssl"
            "fetch.wait.max.ms" = 20
            "#,
        )
        .unwrap();
        assert_eq!(config.pg, "127.0.0.1:6000");
        assert_eq!(config.memory_limit, Some(Size(2 << 30)));
        let with = config.kafka[0].with_options();
        for pair in [
            ("connector", "kafka"),
            ("topic", "events"),
            ("properties.bootstrap.servers", "localhost:9092"),
            ("format", "json"),
            ("properties.security.protocol", "ssl"),
            ("properties.fetch.wait.max.ms", "20"),
        ] {
            assert!(with.contains(&(pair.0.into(), pair.1.into())), "{pair:?} in {with:?}");
        }
    }

    #[test]
    fn a_key_that_does_not_exist_is_an_error_with_its_line() {
        let error = Config::parse("pg = \"127.0.0.1:1\"\nmax_conections = 3\n").unwrap_err();
        assert!(error.contains("line 2") && error.contains("max_conections"), "{error}");
        let error = Config::parse("[[kafka]]\nbrokers = \"b\"\ntopic = \"t\"\n").unwrap_err();
        assert!(error.contains("missing field `table`"), "{error}");
    }

    #[test]
    fn the_world_is_not_listened_to_without_a_password() {
        let mut config = Config { pg: "0.0.0.0:5433".into(), ..Config::default() };
        let error = config.check().unwrap_err().to_string();
        assert!(error.contains("without a password"), "{error}");
        config.password = Some("secret".into());
        config.check().unwrap();
        Config { pg: "[::1]:0".into(), ..Config::default() }.check().unwrap();
    }

    #[test]
    fn no_two_subscriptions_have_one_name() {
        let entry = "[[kafka]]\nbrokers = \"b\"\ntopic = \"t\"\ntable = \"events\"\n";
        let mut config = Config::parse(&entry.repeat(2)).unwrap();
        assert_eq!(
            config.check().unwrap_err().to_string(),
            "[[kafka]] \"events\" is there twice: give each a `name` of its own"
        );
        config.kafka[1].name = Some("others".into());
        config.check().unwrap();
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!("512 MiB".parse(), Ok(Size(512 << 20)));
        assert_eq!("7".parse(), Ok(Size(7)));
        assert!("4 bananas".parse::<Size>().is_err());
        assert!("99999999999TB".parse::<Size>().is_err());
    }
}
