//! Numbers under keys of the database's own map, which commits change by what they find.
//!
//! A commit that sets a key must know what it held; of two that are made at the same time the second would undo the first. A tally is reckoned when
//! the commit is applied, one after the other, and written to the log as the key's new value.

use crate::def::{Change, Tally};
use crate::error::Result;
use crate::state::{Effects, Op, State};

/// The numbers of a value: decimal, with blanks between.
pub fn numbers(value: &[u8]) -> Vec<i64> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    text.split(' ').map_while(|number| number.parse().ok()).collect()
}

impl State {
    pub(crate) fn tally(&mut self, key: &str, how: Tally, with: &[i64], effects: &mut Effects) -> Result<()> {
        let held = self.keys.get(key).map(|value| numbers(value)).unwrap_or_default();
        let number = |(at, with): (usize, &i64)| match (held.get(at), how) {
            (None, _) => *with,
            (Some(held), Tally::Greatest) => *held.max(with),
            (Some(held), Tally::Sum) => held.saturating_add(*with),
        };
        let text: Vec<String> = with.iter().enumerate().map(number).map(|number| number.to_string()).collect();
        let change = Change::Set { key: key.to_string(), value: Some(text.join(" ").into_bytes()) };
        self.apply_change(&change, effects)?;
        effects.resolved = Some(Op::Change(change));
        Ok(())
    }
}
