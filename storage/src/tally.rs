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
        let mut held = self.keys.get(key).map(|value| numbers(value)).unwrap_or_default();
        for (at, with) in with.iter().enumerate() {
            match (held.get_mut(at), how) {
                (None, _) => held.push(*with),
                (Some(held), Tally::Greatest) => *held = (*held).max(*with),
                (Some(held), Tally::Sum) => *held = held.saturating_add(*with),
            }
        }
        let text: Vec<String> = held.iter().map(i64::to_string).collect();
        let change = Change::Set { key: key.to_string(), value: Some(text.join(" ").into_bytes()) };
        self.apply_change(&change, effects)?;
        effects.resolved = Some(Op::Change(change));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_goes_by_what_is_there() {
        let mut state = State::default();
        let mut tally = |how, with: &[i64]| {
            let mut effects = Effects::default();
            state.tally("k", how, with, &mut effects).expect("it applies");
            // The log says what it came to.
            assert!(matches!(effects.resolved, Some(Op::Change(Change::Set { .. }))));
            state.keys.get("k").map(|value| numbers(value)).expect("the key is there")
        };
        assert_eq!(tally(Tally::Greatest, &[3, i64::MIN]), [3, i64::MIN]);
        assert_eq!(tally(Tally::Greatest, &[2, 9]), [3, 9]);
        assert_eq!(tally(Tally::Sum, &[4]), [7, 9]);
        assert_eq!(tally(Tally::Sum, &[i64::MAX, 1, 1]), [i64::MAX, 10, 1]);
    }
}
