//! Settings of a session: Postgres's names and defaults, its ways to write values, and its rules of when a value comes back.
//!
//! A value is looked up in three layers: SET LOCAL's (gone at the transaction's end), SET's (back to what it was if the transaction rolls
//! back), and the start-up packet's over the defaults (what RESET goes to). Values are kept in base units and canonical spelling, and shown
//! as SHOW does: `5s`, `4MB`, `on`. Names with a dot are anyone's. Kernels read and write through the same object (`current_setting`,
//! `set_config`), hence the lock.

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use jiff::tz::TimeZone;
use parking_lot::Mutex;

use super::setting_values::{canonical, split_list, time_zone, unrecognized};
use crate::catalog::state::FIXED_SCHEMAS;
use crate::error::Result;

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

/// Settings on which no value depends that a function of columns gives.
const WITHOUT_EFFECT: [&str; 10] = [
    "application_name",
    "client_encoding",
    "client_min_messages",
    "lock_timeout",
    "session_authorization",
    "statement_timeout",
    "weir.partial_cache",
    "weir.query_memory_limit",
    "weir.view_rewrite",
    "work_mem",
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

    /// A setting in kilobytes, as bytes.
    pub(crate) fn bytes(&self, name: &str) -> usize {
        self.raw(name).and_then(|text| text.parse::<usize>().ok()).unwrap_or(0).saturating_mul(1024)
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

    fn changed(&self) -> Vec<(String, String)> {
        let layers = self.layers.lock();
        let names: BTreeSet<&String> =
            [&layers.local, &layers.session, &layers.start].into_iter().flat_map(HashMap::keys).collect();
        let of_answers = names.into_iter().filter(|name| !WITHOUT_EFFECT.contains(&name.as_str()));
        let changed = of_answers.filter_map(|name| {
            let value = layers.raw(name)?;
            let is_default = definition(name).is_some_and(|definition| definition.default == value);
            (!is_default).then(|| (name.clone(), value))
        });
        changed.collect()
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
