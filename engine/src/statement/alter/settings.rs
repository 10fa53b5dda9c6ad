//! What is not a column's: name, schema, TTL, options.

use weir_sql::ErrorKind as SqlErrorKind;
use weir_sql::bind::{Binder, layout};
use weir_sql::statement::{ObjectName, TtlRule};

use super::Work;
use crate::error::Result;
use crate::functions::registry;
use crate::statement::define::ttl_def;
use crate::statement::names::{already_exists, sql_error, taken, target_schema};
use crate::statement::table::{NoRelations, output_columns};
use crate::watermark;

impl Work<'_> {
    /// RENAME TO.
    pub(super) fn rename(&mut self, name: &str) -> Result<()> {
        if taken(&self.running.view, &self.def.schema, name) {
            return Err(already_exists(name));
        }
        self.refuse_if_named("rename")?;
        self.refuse_if_filled("rename")?;
        self.def.name = name.to_string();
        Ok(())
    }

    /// SET SCHEMA.
    pub(super) fn set_schema(&mut self, schema: &str) -> Result<()> {
        let name = ObjectName { schema: Some(schema.to_string()), name: self.def.name.clone() };
        let schema = target_schema(&self.running.view, &name)?;
        if schema == self.def.schema {
            return Ok(());
        }
        if taken(&self.running.view, &schema, &self.def.name) {
            let message = format!("relation \"{}\" already exists in schema \"{schema}\"", self.def.name);
            return Err(sql_error(SqlErrorKind::DuplicateTable, message));
        }
        self.refuse_if_named("move")?;
        self.refuse_if_filled("move")?;
        self.def.schema = schema;
        Ok(())
    }

    /// A stream's offsets are kept under its table's name.
    fn refuse_if_filled(&self, what: &str) -> Result<()> {
        if !self.entry.is_stream() {
            return Ok(());
        }
        let message = format!("cannot {what} table {} because a stream fills it", self.def.name);
        Err(sql_error(SqlErrorKind::Unsupported, message).with_detail("The stream's offsets are kept under this name."))
    }

    /// Views and alerts name what they read: that name has to stay.
    fn refuse_if_named(&self, what: &str) -> Result<()> {
        let Some(reader) = self.running.view.state.dependent_names(self.def.oid).next() else { return Ok(()) };
        let own = format!("{} {}", self.def.kind.noun(), self.def.name);
        let message = format!("cannot {what} {own} because a view or an alert reads it by name");
        Err(sql_error(SqlErrorKind::Unsupported, message).with_detail(format!("{reader} depends on {own}")))
    }

    /// MODIFY TTL, REMOVE TTL.
    pub(super) fn set_ttl(&mut self, rules: &[TtlRule]) -> Result<()> {
        let relation = crate::catalog::Entry::new(self.def.clone()).relation;
        let columns = output_columns(&relation);
        let mut binder = Binder::new(&NoRelations, registry(), &[]);
        self.def.ttl.retain(|rule| rule.of.is_some());
        for rule in rules {
            self.def.ttl.push(ttl_def(&layout::ttl(&mut binder, rule, &columns)?));
        }
        Ok(())
    }

    /// MODIFY COLUMN … TTL, REMOVE TTL.
    pub(super) fn set_column_ttl(&mut self, column: &str, rule: Option<&TtlRule>) -> Result<()> {
        let at = self.column(column)?;
        self.def.ttl.retain(|rule| rule.of != Some(at));
        if let Some(rule) = rule {
            let columns = output_columns(&crate::catalog::Entry::new(self.def.clone()).relation);
            let mut binder = Binder::new(&NoRelations, registry(), &[]);
            self.def.ttl.push(ttl_def(&layout::ttl(&mut binder, rule, &columns)?));
        }
        Ok(())
    }

    /// SET (…): `ttl` is MODIFY TTL, all others are kept as they are.
    pub(super) fn set_options(&mut self, options: &[(String, String)]) -> Result<()> {
        for (key, value) in options {
            let key = key.to_ascii_lowercase();
            if key == "ttl" {
                self.set_ttl(&weir_sql::parse::ttl(value)?)?;
                continue;
            }
            match self.def.options.iter_mut().find(|(known, _)| *known == key) {
                Some((_, known)) => *known = value.clone(),
                None => self.def.options.push((key, value.clone())),
            }
        }
        watermark::check(&self.def)
    }
}
