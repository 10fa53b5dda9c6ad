//! What the catalogue keeps of an alert, as JSON under `catalog/alert/OID`. It never changes: whether it is enabled, and what has become of it, is
//! under keys of its own ([`crate::alerts`]).

use serde::{Deserialize, Serialize};
use weir_sql::statement::AlertAction;

use super::definition::interval_text;

/// An alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertDef {
    /// Its oid.
    pub oid: u32,
    /// Its schema's name.
    pub schema: String,
    /// Its name, which no other alert of the schema has.
    pub name: String,
    /// The SELECT.
    pub query: String,
    /// The search path when it was made, which its query is bound with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search_path: Vec<String>,
    /// How often it is evaluated, in microseconds.
    pub every: i64,
    /// FOR: how long it has to be true before it fires, in microseconds.
    #[serde(default, rename = "for")]
    pub hold: i64,
    /// What is done when it fires.
    pub actions: Vec<ActionDef>,
    /// Relations that it reads or writes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends: Vec<u32>,
}

/// What an alert does when it fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionDef {
    /// The URL that is posted to.
    Webhook(String),
    /// The table that rows are added to, and its columns, as they were written.
    Insert(String),
}

impl From<&AlertAction> for ActionDef {
    fn from(action: &AlertAction) -> ActionDef {
        match action {
            AlertAction::Webhook(url) => ActionDef::Webhook(url.clone()),
            AlertAction::Insert(target) => ActionDef::Insert(target.clone()),
        }
    }
}

impl AlertDef {
    /// EVERY as an interval, in Postgres's style.
    pub fn every_text(&self) -> Option<String> {
        interval_text(self.every)
    }

    /// FOR likewise.
    pub fn hold_text(&self) -> Option<String> {
        interval_text(self.hold)
    }

    /// What follows THEN.
    pub fn actions_text(&self) -> String {
        let text = |action: &ActionDef| match action {
            ActionDef::Webhook(url) => format!("WEBHOOK '{}'", url.replace('\'', "''")),
            ActionDef::Insert(target) => format!("INSERT INTO {target}"),
        };
        self.actions.iter().map(text).collect::<Vec<_>>().join(", ")
    }

    /// The URLs of its webhooks.
    pub fn webhooks(&self) -> impl Iterator<Item = &str> {
        self.actions.iter().filter_map(|action| match action {
            ActionDef::Webhook(url) => Some(url.as_str()),
            ActionDef::Insert(_) => None,
        })
    }

    /// The tables, with columns, that rows are added to.
    pub fn inserts(&self) -> impl Iterator<Item = &str> {
        self.actions.iter().filter_map(|action| match action {
            ActionDef::Insert(target) => Some(target.as_str()),
            ActionDef::Webhook(_) => None,
        })
    }
}
