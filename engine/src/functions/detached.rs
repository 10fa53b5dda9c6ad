//! A context without a session: UTC, default settings, an empty catalogue. For constant folding outside of one, decoding of events, and
//! tests.

use std::sync::Arc;

use super::{CatalogLookup, Context, Settings};
use crate::cancel::Cancel;

impl Context {
    /// A context that belongs to no session; `now()` is the epoch.
    pub fn detached() -> Context {
        Context {
            now: 0,
            statement_start: 0,
            time_zone: jiff::tz::TimeZone::UTC,
            settings: Arc::new(Nothing),
            catalog: Arc::new(Nothing),
            cancel: Cancel::default(),
        }
    }
}

/// No settings and no objects.
#[derive(Debug)]
struct Nothing;

impl Settings for Nothing {
    fn get(&self, _: &str) -> Option<String> {
        None
    }
}

impl CatalogLookup for Nothing {
    fn relation_oid(&self, _: Option<&str>, _: &str) -> Option<u32> {
        None
    }
    fn relation_name(&self, _: u32) -> Option<(String, String, bool)> {
        None
    }
    fn namespace_oid(&self, _: &str) -> Option<u32> {
        None
    }
    fn namespace_name(&self, _: u32) -> Option<String> {
        None
    }
    fn function_name(&self, _: u32) -> Option<String> {
        None
    }
    fn function_oid(&self, _: &str) -> Option<u32> {
        None
    }
    fn current_user(&self) -> String {
        "weir".into()
    }
    fn view_definition(&self, _: u32) -> Option<String> {
        None
    }
    fn comment(&self, _: u32, _: i32) -> Option<String> {
        None
    }
    fn search_path(&self) -> Vec<String> {
        vec!["public".into()]
    }
    fn backend_pid(&self) -> i32 {
        0
    }
    fn relation_size(&self, _: u32) -> Option<i64> {
        None
    }
}
