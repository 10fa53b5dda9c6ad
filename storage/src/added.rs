//! Keys that commits have added of late: what keeps unique keys unique under concurrency.
//!
//! Who adds rows to a table with a unique key has looked their keys up in a snapshot, and commits with that snapshot's version
//! ([`crate::Commit::seen`]). The committer compares the keys with those that later commits have added; if one is the same, the look-up
//! is out of date and the commit fails. (A key that was there is found by its row: two commits that replace it both delete that row, and
//! the second fails.) Equal hashes count as equal keys: a false alarm costs a retry.
//!
//! Small additions are kept as hashes, parts by reference: their own hash index answers. Of what is forgotten it is not known
//! whether it is the same.

use std::sync::{Arc, Weak};

use crate::error::Result;
use crate::map::Map;
use crate::part::Part;

/// Additions that are remembered…
const ADDITIONS_MAX: usize = 4096;
/// …and their hashes.
const HASHES_MAX: usize = 1 << 20;

/// The keys that a commit adds to one table.
#[derive(Debug, Clone)]
pub(crate) enum Keys {
    /// Hashes, ascending.
    Hashes(Arc<[u64]>),
    /// Those of a part.
    Part(Arc<Part>),
}

/// The same, remembered: the part may be gone.
#[derive(Debug, Clone)]
enum Known {
    Hashes(Arc<[u64]>),
    Part(Weak<Part>),
}

/// What was added to a table, by version and number within the commit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Added {
    additions: Map<(u64, u32), Known>,
    count: usize,
    hashes: usize,
    /// Additions up to this version may be forgotten.
    forgotten: u64,
}

impl Added {
    /// Whether keys may be among those that were added after version `seen` and before `version`.
    pub(crate) fn conflicts(&self, keys: &Keys, seen: u64, version: u64) -> Result<bool> {
        if seen < self.forgotten {
            return Ok(true);
        }
        let later = self.additions.range_from(&(seen.saturating_add(1), 0));
        for (_, known) in later.take_while(|((at, _), _)| *at < version) {
            let meets = match (keys, known) {
                (Keys::Hashes(a), Known::Hashes(b)) => meets(a, b),
                (Keys::Part(part), Known::Hashes(hashes)) => has_one(part, hashes)?,
                (keys, Known::Part(part)) => match (keys, part.upgrade()) {
                    (_, None) => true,
                    (Keys::Hashes(hashes), Some(part)) => has_one(&part, hashes)?,
                    (Keys::Part(a), Some(b)) => parts_meet(a, &b)?,
                },
            };
            if meets {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Remembers keys, the `number`-th of a commit.
    pub(crate) fn push(&mut self, version: u64, number: u32, keys: &Keys) {
        let known = match keys {
            Keys::Hashes(hashes) => Known::Hashes(hashes.clone()),
            Keys::Part(part) => Known::Part(Arc::downgrade(part)),
        };
        self.count += 1;
        self.hashes += size(&known);
        self.additions.insert((version, number), known);
        while self.count > ADDITIONS_MAX || self.hashes > HASHES_MAX {
            let Some(oldest) = self.additions.iter().next().map(|(oldest, _)| *oldest) else { return };
            self.hashes -= self.additions.remove(&oldest).as_ref().map_or(0, size);
            self.count -= 1;
            self.forgotten = oldest.0;
        }
    }
}

fn size(known: &Known) -> usize {
    match known {
        Known::Hashes(hashes) => hashes.len(),
        Known::Part(_) => 0,
    }
}

/// Whether two ascending lists have a hash in common.
fn meets(a: &[u64], b: &[u64]) -> bool {
    let (few, many) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if few.len() * 16 < many.len() {
        return few.iter().any(|hash| many.binary_search(hash).is_ok());
    }
    let mut many = many.iter().peekable();
    few.iter().any(|hash| {
        while many.next_if(|other| *other < hash).is_some() {}
        many.peek() == Some(&hash)
    })
}

/// Whether a part has a row with one of these hashes.
fn has_one(part: &Part, hashes: &[u64]) -> Result<bool> {
    let mut found = false;
    part.rows_of_hashes(hashes.iter().map(|&hash| (hash, 0)), |_, _| found = true)?;
    Ok(found)
}

fn parts_meet(a: &Part, b: &Part) -> Result<bool> {
    let (few, many) = if a.rows() <= b.rows() { (a, b) } else { (b, a) };
    let mut hashes = Vec::with_capacity(few.rows() as usize);
    few.each_hash(|hash, _| {
        hashes.push(hash);
        Ok(())
    })?;
    has_one(many, &hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(hashes: &[u64]) -> Keys {
        Keys::Hashes(hashes.into())
    }

    #[test]
    fn only_what_came_after_conflicts() {
        let mut added = Added::default();
        added.push(5, 0, &keys(&[1, 7, 9]));
        added.push(8, 0, &keys(&[2]));
        added.push(8, 1, &keys(&[4, 40]));
        let conflicts = |added: &Added, hashes: &[u64], seen| added.conflicts(&keys(hashes), seen, 10).unwrap();
        assert!(conflicts(&added, &[3, 7], 4));
        assert!(!conflicts(&added, &[3, 7], 5));
        assert!(conflicts(&added, &[40], 7) && conflicts(&added, &[2], 5));
        assert!(!conflicts(&added, &[2, 40], 8) && !conflicts(&added, &[0, 3, 8, 41], 0));
        let many: Vec<u64> = (0..1000).map(|n| 10 * n + 3).collect();
        assert!(!conflicts(&added, &many, 0));
        added.push(9, 0, &keys(&many));
        assert!(conflicts(&added, &[993], 8) && !conflicts(&added, &[992], 8));
    }

    #[test]
    fn what_is_forgotten_conflicts() {
        let mut added = Added::default();
        for version in 1..=ADDITIONS_MAX as u64 + 10 {
            added.push(version, 0, &keys(&[version]));
        }
        assert!(added.conflicts(&keys(&[0]), 9, u64::MAX).unwrap());
        assert!(!added.conflicts(&keys(&[0]), 10, u64::MAX).unwrap());
        assert!(added.conflicts(&keys(&[11]), 10, u64::MAX).unwrap());
    }
}
