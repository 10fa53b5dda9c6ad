//! Settings of a session: Postgres's names and defaults, its ways to write values, and its rules of when a value comes back.
//!
//! A value is looked up in three layers: SET LOCAL's (gone at the transaction's end), SET's (back to what it was if the transaction rolls
//! back), and the start-up packet's over the defaults (what RESET goes to). Values are kept in base units and canonical spelling, and shown
//! as SHOW does: `5s`, `4MB`, `on`. Names with a dot are anyone's. Kernels read and write through the same object (`current_setting`,
//! `set_config`), hence the lock.

use std::collections::HashMap;
use std::sync::OnceLock;

use jiff::tz::TimeZone;
use parking_lot::Mutex;

use crate::catalog::state::FIXED_SCHEMAS;
use crate::error::{Error, ErrorKind, Result};

/// A setting that is there.
#[derive(Debug)]
pub struct Definition {
    /// Its name, as Postgres spells it.
    pub name: &'static str,
    /// Its default, in base units.
    pub default: &'static str,
    /// The base unit.
    pub unit: Option<&'static str>,
    /// Where pg_settings groups it.
    pub category: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// Who may change it: `user`, `internal`, …
    pub context: &'static str,
    /// `bool`, `integer`, `real`, `string`, `enum`.
    pub kind: &'static str,
    /// The least value.
    pub min: Option<&'static str>,
    /// The greatest.
    pub max: Option<&'static str>,
    /// The values of an enum.
    pub choices: Option<Vec<&'static str>>,
}

/// All settings with a definition.
pub fn definitions() -> &'static [Definition] {
    static LIST: OnceLock<Vec<Definition>> = OnceLock::new();
    LIST.get_or_init(|| {
        include_str!("../catalog/system/data/settings.tsv")
            .lines()
            .map(|line| {
                let fields: Vec<&'static str> = line.split('\t').collect();
                let some = |i: usize| Some(fields[i]).filter(|text| *text != "\\N");
                Definition {
                    name: fields[0],
                    default: some(1).unwrap_or(""),
                    unit: some(2),
                    category: fields[3],
                    doc: fields[4],
                    context: fields[5],
                    kind: fields[6],
                    min: some(7),
                    max: some(8),
                    choices: some(9).map(|list| {
                        list.trim_matches(['{', '}']).split(',').map(|choice| choice.trim_matches('"')).collect()
                    }),
                }
            })
            .collect()
    })
}

/// A definition by name, in any case.
pub fn definition(name: &str) -> Option<&'static Definition> {
    static INDEX: OnceLock<HashMap<String, usize>> = OnceLock::new();
    let index =
        INDEX.get_or_init(|| definitions().iter().enumerate().map(|(i, d)| (d.name.to_ascii_lowercase(), i)).collect());
    index.get(&name.to_ascii_lowercase()).map(|i| &definitions()[*i])
}

/// Settings whose changes a server reports (GUC_REPORT), plus `search_path`, which newer drivers look at when it is there.
pub const REPORTED: [&str; 13] = [
    "application_name",
    "client_encoding",
    "DateStyle",
    "default_transaction_read_only",
    "in_hot_standby",
    "integer_datetimes",
    "IntervalStyle",
    "is_superuser",
    "server_encoding",
    "server_version",
    "session_authorization",
    "standard_conforming_strings",
    "TimeZone",
];

/// The settings of one session.
#[derive(Debug, Default)]
pub struct SessionSettings {
    layers: Mutex<Layers>,
}

/// Values by lower-case name, in base units.
#[derive(Debug, Default, Clone)]
struct Layers {
    local: HashMap<String, String>,
    session: HashMap<String, String>,
    start: HashMap<String, String>,
    /// `session` and `local` as they were at BEGIN and at savepoints.
    saved: Vec<(HashMap<String, String>, HashMap<String, String>)>,
    /// What was last reported.
    reported: HashMap<&'static str, String>,
}

impl Layers {
    fn raw(&self, name: &str) -> Option<String> {
        let key = name.to_ascii_lowercase();
        let set = self.local.get(&key).or_else(|| self.session.get(&key)).or_else(|| self.start.get(&key));
        set.cloned().or_else(|| definition(&key).map(|d| d.default.to_string()))
    }
}

impl SessionSettings {
    /// The value in base units; `None` if there is no such setting.
    pub fn raw(&self, name: &str) -> Option<String> {
        self.layers.lock().raw(name)
    }

    /// The value as SHOW has it; `None` if there is no such setting.
    pub fn get(&self, name: &str) -> Option<String> {
        let raw = self.raw(name)?;
        Some(definition(name).map_or(raw.clone(), |d| d.shown(&raw)))
    }

    /// The value that RESET goes to, in base units.
    pub fn reset_value(&self, name: &str) -> String {
        let key = name.to_ascii_lowercase();
        let start = self.layers.lock().start.get(&key).cloned();
        start.or_else(|| definition(&key).map(|d| d.default.to_string())).unwrap_or_default()
    }

    /// Whether SET was used on it.
    pub fn is_set(&self, name: &str) -> bool {
        let key = name.to_ascii_lowercase();
        let layers = self.layers.lock();
        layers.local.contains_key(&key) || layers.session.contains_key(&key)
    }

    /// SET, SET LOCAL and RESET (`None`). The new value, as SHOW has it.
    pub fn set(&self, name: &str, value: Option<&str>, local: bool) -> Result<String> {
        let key = name.to_ascii_lowercase();
        let canonical = value.map(|value| canonical(&key, value)).transpose()?;
        if canonical.is_none() && definition(&key).is_none() && !key.contains('.') {
            return Err(unrecognized(name));
        }
        let mut layers = self.layers.lock();
        match (canonical, local) {
            (Some(value), true) => {
                layers.local.insert(key.clone(), value);
            }
            (Some(value), false) => {
                layers.local.remove(&key);
                layers.session.insert(key.clone(), value);
            }
            (None, true) => {
                let start = layers.start.get(&key).cloned();
                let value = start.or_else(|| definition(&key).map(|d| d.default.to_string())).unwrap_or_default();
                layers.local.insert(key.clone(), value);
            }
            (None, false) => {
                layers.local.remove(&key);
                layers.session.remove(&key);
            }
        }
        drop(layers);
        Ok(self.get(&key).unwrap_or_default())
    }

    /// A start-up parameter: the value that RESET goes to.
    pub fn set_start(&self, name: &str, value: &str) -> Result<()> {
        let key = name.to_ascii_lowercase();
        let value = canonical(&key, value)?;
        self.layers.lock().start.insert(key, value);
        Ok(())
    }

    /// A value that only the server decides (`session_authorization`).
    pub(crate) fn force(&self, name: &str, value: &str) {
        self.layers.lock().start.insert(name.to_ascii_lowercase(), value.to_string());
    }

    /// RESET ALL.
    pub fn reset_all(&self) {
        let mut layers = self.layers.lock();
        layers.local.clear();
        layers.session.clear();
    }

    /// Remembers the values, at BEGIN and at a savepoint: the depth to give back.
    pub(crate) fn save(&self) -> usize {
        let mut layers = self.layers.lock();
        let now = (layers.session.clone(), layers.local.clone());
        layers.saved.push(now);
        layers.saved.len() - 1
    }

    /// Values as they were when [`SessionSettings::save`] gave this depth, which stays saved.
    pub(crate) fn roll_back_to(&self, depth: usize) {
        let mut layers = self.layers.lock();
        if let Some((session, local)) = layers.saved.get(depth).cloned() {
            layers.session = session;
            layers.local = local;
            layers.saved.truncate(depth + 1);
        }
    }

    /// The transaction's end.
    pub(crate) fn end_transaction(&self, committed: bool) {
        let mut layers = self.layers.lock();
        if !committed && let Some((session, _)) = layers.saved.first().cloned() {
            layers.session = session;
        }
        layers.local.clear();
        layers.saved.clear();
    }

    /// Reported settings with their values.
    pub fn reported(&self) -> Vec<(String, String)> {
        REPORTED.iter().map(|name| (name.to_string(), self.get(name).unwrap_or_default())).collect()
    }

    /// Reported settings that changed since the last call; the first call gives all that differ from their defaults.
    pub(crate) fn take_changes(&self) -> Vec<(String, String)> {
        let mut changes = Vec::new();
        for name in REPORTED {
            let value = self.get(name).unwrap_or_default();
            let mut layers = self.layers.lock();
            let old = layers.reported.get(name).cloned();
            let old = old.unwrap_or_else(|| definition(name).map_or(String::new(), |d| d.shown(d.default)));
            if old != value {
                layers.reported.insert(name, value.clone());
                changes.push((name.to_string(), value));
            }
        }
        changes
    }

    /// Schemas in the order that names are looked up in; `"$user"` is replaced by the user's name, unless that is the name of a schema of
    /// Weir's own, in which users make nothing.
    pub fn search_path(&self, user: &str) -> Vec<String> {
        let path = self.raw("search_path").unwrap_or_default();
        let own = |name: &str| FIXED_SCHEMAS.iter().any(|(fixed, _)| *fixed == name);
        let schema = |name: String| match name.as_str() {
            "$user" if own(user) => None,
            "$user" => Some(user.to_string()),
            _ => Some(name),
        };
        split_list(&path).into_iter().filter_map(schema).collect()
    }

    /// The time zone.
    pub fn time_zone(&self) -> TimeZone {
        self.raw("timezone").and_then(|name| time_zone(&name)).unwrap_or(TimeZone::UTC)
    }

    /// A setting in milliseconds; 0 is none.
    pub fn milliseconds(&self, name: &str) -> u64 {
        self.raw(name).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Whether a boolean setting is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.raw(name).is_some_and(|value| value == "on")
    }

    /// A copy that later changes do not reach.
    pub fn snapshot(&self) -> SessionSettings {
        SessionSettings { layers: Mutex::new(self.layers.lock().clone()) }
    }
}

impl crate::functions::Settings for SessionSettings {
    fn get(&self, name: &str) -> Option<String> {
        SessionSettings::get(self, name)
    }

    fn set(&self, name: &str, value: &str, local: bool) -> Result<String> {
        SessionSettings::set(self, name, Some(value), local)
    }
}

impl Definition {
    /// A value in base units as SHOW has it.
    pub fn shown(&self, raw: &str) -> String {
        let (Some(unit), Ok(number)) = (self.unit, raw.parse::<i64>()) else { return raw.to_string() };
        let (base, steps): (i64, &[(&str, i64)]) = match unit {
            "ms" => (1, &[("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1)]),
            "s" => (1, &[("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)]),
            "min" => (1, &[("d", 1440), ("h", 60), ("min", 1)]),
            "B" => (1, &[("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10), ("B", 1)]),
            "kB" => (1, &[("GB", 1 << 20), ("MB", 1 << 10), ("kB", 1)]),
            "8kB" => (8, &[("GB", 1 << 20), ("MB", 1 << 10), ("kB", 1)]),
            "MB" => (1, &[("GB", 1 << 10), ("MB", 1)]),
            _ => return raw.to_string(),
        };
        if number <= 0 {
            return raw.to_string();
        }
        let number = number * base;
        let (name, size) = steps.iter().find(|(_, size)| number % size == 0).copied().unwrap_or((unit, 1));
        format!("{}{name}", number / size)
    }

    /// The default as SHOW has it.
    pub fn shown_default(&self) -> String {
        self.shown(self.default)
    }
}

fn unrecognized(name: &str) -> Error {
    let kind = ErrorKind::Sql(weir_sql::ErrorKind::UndefinedObject);
    Error::new(kind, format!("unrecognized configuration parameter \"{name}\""))
}

fn invalid(name: &str, value: &str) -> Error {
    Error::new(ErrorKind::InvalidParameter, format!("invalid value for parameter \"{name}\": \"{value}\""))
}

/// The canonical spelling of a value, in base units.
fn canonical(key: &str, value: &str) -> Result<String> {
    let Some(definition) = definition(key) else {
        if key.contains('.') {
            return Ok(value.to_string());
        }
        return Err(unrecognized(key));
    };
    let name = definition.name;
    match definition.context {
        "internal" => return Err(Error::new(ErrorKind::CantChange, format!("parameter \"{name}\" cannot be changed"))),
        "postmaster" => {
            let message = format!("parameter \"{name}\" cannot be changed without restarting the server");
            return Err(Error::new(ErrorKind::CantChange, message));
        }
        "sighup" => {
            return Err(Error::new(ErrorKind::CantChange, format!("parameter \"{name}\" cannot be changed now")));
        }
        _ => {}
    }
    match key {
        "timezone" => return time_zone_name(value).ok_or_else(|| invalid(name, value)),
        "datestyle" => return date_style(value),
        "client_encoding" => return client_encoding(value),
        "search_path" | "temp_tablespaces" => return Ok(value.to_string()),
        _ => {}
    }
    match definition.kind {
        "bool" => match boolean(value) {
            Some(on) => Ok(if on { "on" } else { "off" }.into()),
            None => {
                Err(Error::new(ErrorKind::InvalidParameter, format!("parameter \"{name}\" requires a Boolean value")))
            }
        },
        "enum" => {
            let choices = definition.choices.as_deref().unwrap_or_default();
            let wanted = value.to_ascii_lowercase();
            if let Some(choice) = choices.iter().find(|choice| choice.eq_ignore_ascii_case(&wanted)) {
                return Ok(choice.to_string());
            }
            match boolean(value).map(|on| if on { "on" } else { "off" }) {
                Some(word) if choices.contains(&word) => Ok(word.into()),
                _ => {
                    let hint = format!("Available values: {}.", choices.join(", "));
                    Err(invalid(name, value).with_hint(hint))
                }
            }
        }
        "integer" => integer(definition, value),
        "real" => match value.trim().parse::<f64>() {
            Ok(_) => Ok(value.trim().to_string()),
            Err(_) => Err(invalid(name, value)),
        },
        _ => Ok(value.to_string()),
    }
}

fn boolean(value: &str) -> Option<bool> {
    let value = value.trim().to_ascii_lowercase();
    match value.as_str() {
        "1" | "on" => return Some(true),
        "0" | "off" | "of" => return Some(false),
        "" | "o" => return None,
        _ => {}
    }
    if "true".starts_with(&value) || "yes".starts_with(&value) {
        return Some(true);
    }
    ("false".starts_with(&value) || "no".starts_with(&value)).then_some(false)
}

/// `5000`, `5s`, `1.5 min`, `64MB` in the setting's base unit.
fn integer(definition: &Definition, value: &str) -> Result<String> {
    let name = definition.name;
    let text = value.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = (text[..split].trim(), text[split..].trim());
    let number: f64 = number.parse().map_err(|_| invalid(name, value))?;
    let number = match (unit, definition.unit) {
        ("", _) => number,
        (unit, Some(base)) => {
            let (Some(from), Some(to)) = (unit_size(unit), unit_size(base)) else {
                return Err(invalid(name, value));
            };
            number * from / to
        }
        _ => return Err(invalid(name, value)),
    };
    let number = number.round_ties_even();
    let bound = |text: Option<&str>, default: f64| text.and_then(|t| t.parse().ok()).unwrap_or(default);
    let (min, max) = (bound(definition.min, f64::MIN), bound(definition.max, f64::MAX));
    if number < min || number > max {
        let unit = definition.unit.map(|unit| format!(" {unit}")).unwrap_or_default();
        let message = format!("{number}{unit} is outside the valid range for parameter \"{name}\" ({min} .. {max})");
        return Err(Error::new(ErrorKind::InvalidParameter, message));
    }
    Ok(format!("{}", number as i64))
}

/// Time units in milliseconds, sizes in bytes; nothing mixes them.
fn unit_size(unit: &str) -> Option<f64> {
    Some(match unit {
        "us" => 0.001,
        "ms" => 1.0,
        "s" => 1e3,
        "min" => 6e4,
        "h" => 3.6e6,
        "d" => 8.64e7,
        "B" => 1.0,
        "kB" => 1024.0,
        "8kB" => 8192.0,
        "MB" => 1048576.0,
        "GB" => 1073741824.0,
        "TB" => 1099511627776.0,
        _ => return None,
    })
}

fn date_style(value: &str) -> Result<String> {
    let mut order = "MDY";
    for word in split_list(value) {
        match word.to_ascii_uppercase().as_str() {
            "ISO" | "DEFAULT" => {}
            "MDY" | "US" | "NONEURO" | "NONEUROPEAN" => order = "MDY",
            "DMY" | "EURO" | "EUROPEAN" => order = "DMY",
            "YMD" => order = "YMD",
            "SQL" | "POSTGRES" | "GERMAN" => {
                let kind = ErrorKind::Sql(weir_sql::ErrorKind::Unsupported);
                return Err(Error::new(kind, format!("DateStyle \"{value}\" is not supported"))
                    .with_hint("Dates are written in ISO style."));
            }
            _ => return Err(invalid("DateStyle", value)),
        }
    }
    Ok(format!("ISO, {order}"))
}

fn client_encoding(value: &str) -> Result<String> {
    let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    match plain.as_str() {
        "utf8" | "unicode" | "default" | "auto" => Ok("UTF8".into()),
        "sqlascii" => Ok("SQL_ASCII".into()),
        _ => Err(invalid("client_encoding", value).with_detail("Weir speaks UTF8 with every client.")),
    }
}

/// The items of a comma-separated list, folded to lower case unless quoted.
pub(crate) fn split_list(text: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace() || *c == ',').is_some() {}
        match chars.peek() {
            None => return items,
            Some('"') => {
                chars.next();
                let mut item = String::new();
                while let Some(c) = chars.next() {
                    if c != '"' {
                        item.push(c);
                    } else if chars.next_if_eq(&'"').is_some() {
                        item.push('"');
                    } else {
                        break;
                    }
                }
                items.push(item);
            }
            Some(_) => {
                let mut item = String::new();
                while let Some(c) = chars.next_if(|c| *c != ',') {
                    item.extend(c.to_lowercase());
                }
                items.push(item.trim_end().to_string());
            }
        }
    }
}

/// The zone's name as SHOW has it; `None` if there is no such zone.
fn time_zone_name(value: &str) -> Option<String> {
    let value = value.trim();
    if let Ok(hours) = value.parse::<f64>() {
        if !(-24.0..=24.0).contains(&hours) {
            return None;
        }
        let minutes = (hours * 60.0).round() as i32;
        return Some(offset_name(minutes));
    }
    let hour_minute = value.strip_prefix(['+', '-']).and_then(|rest| rest.split_once(':'));
    if let Some((h, m)) = hour_minute {
        let minutes = h.parse::<i32>().ok()? * 60 + m.parse::<i32>().ok()?;
        // A text of this form is POSIX's, which counts to the west.
        return Some(offset_name(if value.starts_with('-') { minutes } else { -minutes }));
    }
    match value.to_ascii_lowercase().as_str() {
        "default" | "local" => return Some("UTC".into()),
        "utc" => return Some("UTC".into()),
        "gmt" => return Some("GMT".into()),
        _ => {}
    }
    let zone = time_zone(value)?;
    Some(zone.iana_name().map_or_else(|| value.to_string(), str::to_string))
}

/// Postgres's POSIX name of a fixed offset: `<+02>-02`.
fn offset_name(minutes: i32) -> String {
    let part = |minutes: i32| {
        let (h, m) = (minutes.abs() / 60, minutes.abs() % 60);
        let sign = if minutes < 0 { '-' } else { '+' };
        if m == 0 { format!("{sign}{h:02}") } else { format!("{sign}{h:02}:{m:02}") }
    };
    let (east, west) = (part(minutes), part(-minutes));
    if minutes == 0 { "<+00>-00".into() } else { format!("<{east}>{west}") }
}

/// The zone of a name: IANA's, or POSIX's form.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    if name.eq_ignore_ascii_case("utc") || name.eq_ignore_ascii_case("gmt") || name.eq_ignore_ascii_case("zulu") {
        return Some(TimeZone::UTC);
    }
    if let Some((east, _)) = name.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        let sign = if east.starts_with('-') { -1 } else { 1 };
        let mut parts = east.trim_start_matches(['+', '-']).split(':');
        let hours: i32 = parts.next()?.parse().ok()?;
        let minutes: i32 = parts.next().map_or(Some(0), |m| m.parse().ok())?;
        let offset = jiff::tz::Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()?;
        return Some(TimeZone::fixed(offset));
    }
    TimeZone::get(name).ok().or_else(|| TimeZone::posix(name).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_canonical_and_shown_with_units() {
        let settings = SessionSettings::default();
        for (name, value, shown) in [
            ("statement_timeout", "5000", "5s"),
            ("statement_timeout", "1.5 min", "90s"),
            ("work_mem", "65536", "64MB"),
            ("jit", "fals", "off"),
            ("timezone", "europe/berlin", "Europe/Berlin"),
            ("timezone", "-5", "<-05>+05"),
            ("datestyle", "iso, dmy", "ISO, DMY"),
            ("client_encoding", "utf-8", "UTF8"),
            ("my.own", "x", "x"),
            ("intervalstyle", "ISO_8601", "iso_8601"),
        ] {
            assert_eq!(settings.set(name, Some(value), false).expect(name), shown, "{name} = {value}");
        }
        assert_eq!(settings.raw("statement_timeout").as_deref(), Some("90000"));
    }

    #[test]
    fn wrong_names_and_values_are_refused() {
        let settings = SessionSettings::default();
        let message = |name: &str, value| settings.set(name, Some(value), false).expect_err(name).message;
        assert_eq!(message("nope", "1"), "unrecognized configuration parameter \"nope\"");
        assert_eq!(message("timezone", "Nowhere/Land"), "invalid value for parameter \"TimeZone\": \"Nowhere/Land\"");
        assert_eq!(message("jit", "maybe"), "parameter \"jit\" requires a Boolean value");
        assert_eq!(message("server_version", "9"), "parameter \"server_version\" cannot be changed");
    }

    #[test]
    fn values_come_back_at_the_end_of_the_transaction() {
        let settings = SessionSettings::default();
        settings.save();
        settings.set("application_name", Some("a"), false).expect("SET");
        settings.set("timezone", Some("Asia/Tokyo"), true).expect("SET LOCAL");
        settings.end_transaction(true);
        assert_eq!(settings.get("application_name").as_deref(), Some("a"));
        assert_eq!(settings.get("timezone").as_deref(), Some("UTC"));
        settings.save();
        settings.set("application_name", Some("b"), false).expect("SET");
        settings.end_transaction(false);
        assert_eq!(settings.get("application_name").as_deref(), Some("a"));
    }
}
