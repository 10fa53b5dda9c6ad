//! JSON records: one object a record, fields to columns by name.
//!
//! A field fills the column of exactly its name, or else the one whose name differs only in case (Postgres folds unquoted names). Events of a
//! stream mostly have their fields in one order, so the column that followed the last time is tried before the index.
//! `sonic-rs` walks the object without building it; each value is read from its own text, so json columns keep the text as it
//! was sent and integers never pass through a float.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use sonic_rs::{JsonValueTrait, LazyValue, to_object_iter};
use weir_engine::ingest::IngestTarget;
use weir_sql::Type;

use super::evolve::NewFields;
use super::{Reason, Rows};

/// Decodes JSON records for one table.
#[derive(Debug)]
pub struct JsonDecoder {
    rows: Rows,
    names: Vec<String>,
    exact: HashMap<String, usize>,
    folded: HashMap<String, usize>,
    /// For each field position of the last record: its column, or none if no column has its name.
    order: Vec<(String, Option<usize>)>,
    /// The json column that takes the fields that have no column, and their text in the making.
    rest: Option<usize>,
    rest_text: String,
    /// Fields that have no column, when the table is to get columns for them.
    new_fields: Option<NewFields>,
}

impl JsonDecoder {
    /// A decoder for the table as it is now. `rest` names a json, jsonb or text column that keeps the fields which have no column.
    pub fn new(target: &IngestTarget, rest: Option<&str>) -> Result<JsonDecoder, Reason> {
        let names: Vec<String> = target.columns.iter().map(|c| c.name.clone()).collect();
        let rest = match rest {
            None => None,
            Some(name) => {
                let index = names.iter().position(|n| n == name).ok_or(format!("there is no column \"{name}\""))?;
                let ty = &target.columns[index].ty;
                if !matches!(ty, Type::Json | Type::Jsonb | Type::Text) {
                    return Err(format!("column \"{name}\" is of type {ty}: extra fields need json, jsonb or text"));
                }
                Some(index)
            }
        };
        Ok(JsonDecoder {
            exact: names.iter().cloned().zip(0..).collect(),
            folded: names.iter().map(|n| n.to_lowercase()).zip(0..).collect(),
            rows: Rows::new(target),
            order: Vec::new(),
            rest,
            rest_text: String::new(),
            new_fields: None,
            names,
        })
    }

    /// Whether to look at fields that have no column: [`JsonDecoder::take_new_fields`].
    pub fn set_evolving(&mut self, evolving: bool) {
        self.new_fields = evolving.then(NewFields::default);
    }

    /// The fields without a column that came since the last call, and a type that holds their values.
    pub fn take_new_fields(&mut self) -> Vec<(String, Type)> {
        self.new_fields.as_mut().map(NewFields::take).unwrap_or_default()
    }

    /// Appends a record. An error is the reason why it is not a row; the batch goes on without it.
    pub fn push(&mut self, record: &[u8]) -> Result<(), Reason> {
        let outcome = self.fields(record);
        self.rows.end_record(outcome)
    }

    /// The rows pushed since the last call, those with an error left out.
    pub fn finish(&mut self) -> RecordBatch {
        self.rows.finish()
    }

    fn fields(&mut self, record: &[u8]) -> Result<(), Reason> {
        self.rest_text.clear();
        // Where the object's last value ends, to see that nothing but its brace follows.
        let mut end = 0;
        for (position, field) in to_object_iter(record).enumerate() {
            let (name, value) = field.map_err(|e| syntax_reason(record, &e))?;
            let raw = value.as_raw_str();
            end = raw.as_ptr() as usize + raw.len() - record.as_ptr() as usize;
            match self.column_of(position, &name) {
                Some(column) => self.set(column, &value)?,
                None if self.new_fields.is_some() => self.unknown(&name, &value),
                None if self.rest.is_some() => self.keep(&name, raw),
                None => {}
            }
        }
        check_end(record, end)?;
        if let Some(column) = self.rest
            && !self.rest_text.is_empty()
        {
            self.rest_text.push('}');
            let text = std::mem::take(&mut self.rest_text);
            let kept = sonic_rs::from_str::<LazyValue>(&text).map_err(|e| syntax_reason(record, &e))?;
            self.set(column, &kept)?;
        }
        Ok(())
    }

    fn set(&mut self, column: usize, value: &LazyValue) -> Result<(), Reason> {
        let rows = &mut self.rows;
        if rows.set[column] {
            return Err(format!("field \"{}\" is given twice", self.names[column]));
        }
        if rows.null_is_missing[column] && value.is_null() {
            return Ok(());
        }
        rows.set[column] = true;
        rows.columns[column].push(value).map_err(|why| format!("column \"{}\": {why}", self.names[column]))
    }

    fn unknown(&mut self, name: &str, value: &LazyValue) {
        if let Some(fields) = &mut self.new_fields {
            fields.see(name, value);
        }
        if self.rest.is_some() {
            self.keep(name, value.as_raw_str());
        }
    }

    fn keep(&mut self, name: &str, raw: &str) {
        self.rest_text.push(if self.rest_text.is_empty() { '{' } else { ',' });
        self.rest_text.push_str(&sonic_rs::to_string(name).expect("a string is JSON"));
        self.rest_text.push(':');
        self.rest_text.push_str(raw);
    }

    fn column_of(&mut self, position: usize, name: &str) -> Option<usize> {
        if let Some((expected, column)) = self.order.get(position)
            && expected == name
        {
            return *column;
        }
        let column = self.exact.get(name).or_else(|| self.folded.get(&name.to_lowercase())).copied();
        // Remember at most as many positions as a record sensibly has: keys that never repeat must not grow this.
        if position < self.order.len() {
            self.order[position] = (name.to_string(), column);
        } else if position == self.order.len() && position < 1024 {
            self.order.push((name.to_string(), column));
        }
        column
    }
}

/// After the last value there must be the closing brace and white space alone; an object without fields must be just that.
fn check_end(record: &[u8], end: usize) -> Result<(), Reason> {
    let tail: Vec<u8> = record[end..].iter().copied().filter(|b| !b.is_ascii_whitespace()).take(3).collect();
    let expected: &[u8] = if end == 0 { b"{}" } else { b"}" };
    if tail == expected {
        return Ok(());
    }
    Err(format!("malformed JSON: more text follows the object, which ends near byte {end}"))
}

fn syntax_reason(record: &[u8], error: &sonic_rs::Error) -> Reason {
    if record.is_empty() {
        return "the record is empty".to_string();
    }
    if let Err(e) = std::str::from_utf8(record) {
        return format!("the record is not UTF-8: invalid byte at offset {}", e.valid_up_to());
    }
    if !record.trim_ascii_start().starts_with(b"{") && sonic_rs::from_slice::<LazyValue>(record).is_ok() {
        return "malformed JSON: the record is not an object".to_string();
    }
    let text = error.to_string();
    let what = text.lines().next().unwrap_or("malformed");
    format!("malformed JSON: {what}")
}
