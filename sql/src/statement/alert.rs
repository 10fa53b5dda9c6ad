//! CREATE, ALTER and DROP ALERT.

use super::ObjectName;

/// A statement about alerts.
#[derive(Debug, Clone)]
pub enum AlertStatement {
    /// CREATE ALERT.
    Create(CreateAlert),
    /// ALTER ALERT … ENABLE | DISABLE.
    Enable {
        /// Which.
        name: ObjectName,
        /// IF EXISTS.
        if_exists: bool,
        /// Whether it is to be evaluated from now on.
        enabled: bool,
    },
    /// DROP ALERT.
    Drop {
        /// Which.
        names: Vec<ObjectName>,
        /// IF EXISTS.
        if_exists: bool,
    },
}

/// CREATE ALERT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateAlert {
    /// Name.
    pub name: ObjectName,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// The SELECT's text.
    pub query: String,
    /// How often it is evaluated, in microseconds.
    pub every: i64,
    /// FOR: how long it has to be true before it fires, in microseconds.
    pub hold: i64,
    /// What is done when it fires, in order.
    pub actions: Vec<AlertAction>,
}

/// What an alert does when it fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertAction {
    /// POSTs JSON to this URL, and again when it is resolved.
    Webhook(String),
    /// Adds the rows of the SELECT to a table: its name and columns, as they were written.
    Insert(String),
}

/// The INSERT that adds the rows of an alert's SELECT to a table, which is written as in [`AlertAction::Insert`].
pub fn alert_insert(target: &str, query: &str) -> String {
    format!("INSERT INTO {target} {query}")
}
