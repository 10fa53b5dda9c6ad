//! A JSON document that is read to its last key: one that nobody asked for is an error that names its path, as is what has no counterpart.

use serde_json::{Map, Value};

/// Why a spec cannot be converted: the path of what has no counterpart, such as `$.spec.dataSchema.metricsSpec[2].type`, and the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub(crate) struct Refusal {
    pub(crate) path: String,
    pub(crate) reason: String,
}

pub(super) type Result<T> = std::result::Result<T, Refusal>;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    path: String,
    pub(super) value: &'a Value,
}

/// An object, some of whose members were taken.
#[derive(Debug)]
pub(super) struct Object<'a> {
    path: String,
    members: &'a Map<String, Value>,
    taken: Vec<&'a str>,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value) -> Node<'a> {
        Node { path: "$".into(), value }
    }

    pub(super) fn refuse<T>(&self, reason: impl Into<String>) -> Result<T> {
        Err(Refusal { path: self.path.clone(), reason: reason.into() })
    }

    pub(super) fn object(&self) -> Result<Object<'a>> {
        match self.value {
            Value::Object(members) => Ok(Object { path: self.path.clone(), members, taken: Vec::new() }),
            _ => self.refuse("this must be an object"),
        }
    }

    pub(super) fn list(&self) -> Result<Vec<Node<'a>>> {
        let Value::Array(values) = self.value else { return self.refuse("this must be an array") };
        let node = |(at, value)| Node { path: format!("{}[{at}]", self.path), value };
        Ok(values.iter().enumerate().map(node).collect())
    }

    pub(super) fn text(&self) -> Result<&'a str> {
        self.value.as_str().map_or_else(|| self.refuse("this must be a text"), Ok)
    }

    pub(super) fn flag(&self) -> Result<bool> {
        self.value.as_bool().map_or_else(|| self.refuse("this must be true or false"), Ok)
    }

    /// A text, number or boolean as text.
    pub(super) fn scalar(&self) -> Result<String> {
        match self.value {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            Value::Bool(truth) => Ok(truth.to_string()),
            _ => self.refuse("this must be a text, a number or a boolean"),
        }
    }
}

impl<'a> Object<'a> {
    pub(super) fn refuse<T>(&self, reason: impl Into<String>) -> Result<T> {
        Err(Refusal { path: self.path.clone(), reason: reason.into() })
    }

    /// A member's value; null is none.
    pub(super) fn take(&mut self, key: &str) -> Option<Node<'a>> {
        let (key, value) = self.members.get_key_value(key)?;
        self.taken.push(key);
        (!value.is_null()).then(|| self.node(key, value))
    }

    pub(super) fn need(&mut self, key: &str) -> Result<Node<'a>> {
        self.take(key).map_or_else(|| self.refuse(format!("\"{key}\" is missing")), Ok)
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<&'a str>> {
        self.take(key).map(|node| node.text()).transpose()
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<Option<bool>> {
        self.take(key).map(|node| node.flag()).transpose()
    }

    /// The members of a list; none if it is not there.
    pub(super) fn list(&mut self, key: &str) -> Result<Vec<Node<'a>>> {
        self.take(key).map_or(Ok(Vec::new()), |node| node.list())
    }

    /// Takes members that change no answer; those that are there.
    pub(super) fn ignore(&mut self, keys: &[&str]) -> Vec<String> {
        keys.iter().filter_map(|key| self.take(key)).map(|node| node.path).collect()
    }

    /// Refuses a member that is there, unless it says nothing: false, an empty list or object.
    pub(super) fn refuse_member(&mut self, key: &str, reason: &str) -> Result<()> {
        match self.take(key) {
            Some(node) if !is_nothing(node.value) => node.refuse(reason),
            _ => Ok(()),
        }
    }

    /// Refuses a member that is there, whatever it says.
    pub(super) fn refuse_any(&mut self, key: &str, reason: &str) -> Result<()> {
        self.take(key).map_or(Ok(()), |node| node.refuse(reason))
    }

    /// All members that were not taken.
    pub(super) fn rest(&mut self) -> Vec<(&'a str, Node<'a>)> {
        let members = self.members;
        let left = members.iter().filter(|(key, value)| !self.taken.contains(&key.as_str()) && !value.is_null());
        let rest: Vec<_> = left.map(|(key, value)| (key.as_str(), self.node(key, value))).collect();
        self.taken.extend(members.keys().map(String::as_str));
        rest
    }

    /// Refuses what was not taken.
    pub(super) fn end(mut self) -> Result<()> {
        match self.rest().first() {
            Some((_, node)) => node.refuse("this has no counterpart in Weir"),
            None => Ok(()),
        }
    }

    fn node(&self, key: &str, value: &'a Value) -> Node<'a> {
        let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let path = if plain { format!("{}.{key}", self.path) } else { format!("{}['{key}']", self.path) };
        Node { path, value }
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Bool(truth) => !truth,
        Value::Array(values) => values.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}
