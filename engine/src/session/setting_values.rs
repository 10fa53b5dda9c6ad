//! The values of settings, as Postgres reads them: canonical spelling, base units, zone names, lists.

use jiff::tz::TimeZone;

use super::settings::{Definition, definition};
use crate::error::{Error, ErrorKind, Result};

/// The error of a name that no setting has.
pub(crate) fn unrecognized(name: &str) -> Error {
    let kind = ErrorKind::Sql(weir_sql::ErrorKind::UndefinedObject);
    let error = Error::new(kind, format!("unrecognized configuration parameter \"{name}\""));
    let known = super::settings::definitions().iter().map(|definition| definition.name);
    match weir_sql::bind::nearest(&name.to_ascii_lowercase(), known) {
        Some(known) => error.with_hint(format!("Did you mean \"{known}\"?")),
        None => error,
    }
}

fn invalid(name: &str, value: &str) -> Error {
    Error::new(ErrorKind::InvalidParameter, format!("invalid value for parameter \"{name}\": \"{value}\""))
}

/// The canonical spelling of a value, in base units.
pub(super) fn canonical(key: &str, value: &str) -> Result<String> {
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
