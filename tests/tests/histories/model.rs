//! What concurrent statements may do: each sees one version, with its block's own changes on top, and a block's changes are one commit, which
//! holds only if every row that it deletes is still there and no key that it adds is.
//!
//! [`explains`] searches for an order of the blocks, and for each statement a version to see, that give just the answers that were
//! given and the rows that are there in the end. A block begins after all have ended that ended before it began.

use super::operation::{Answer, Operation, Row};

/// A statement that was run.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) operation: Operation,
    pub(crate) answer: Answer,
}

/// A block of statements that was run.
#[derive(Debug)]
pub(crate) struct Transaction {
    /// On a clock that all sessions share.
    pub(crate) started: u64,
    pub(crate) ended: u64,
    pub(crate) statements: Vec<Done>,
    pub(crate) committed: bool,
}

/// Whether there is an order that explains everything.
pub(crate) fn explains(first: &[(i32, i32)], history: &[Transaction], last: &[(i32, i32)], keyed: bool) -> bool {
    let rows = first.iter().zip(0..).map(|(&(id, v), number)| Row { number, id, v }).collect();
    let mut search = Search {
        history,
        last,
        keyed,
        versions: vec![rows],
        placed: vec![None; history.len()],
        next_number: first.len() as u32,
    };
    search.place_rest()
}

struct Search<'a> {
    history: &'a [Transaction],
    last: &'a [(i32, i32)],
    keyed: bool,
    /// The rows at each version.
    versions: Vec<Vec<Row>>,
    /// For each block that has its place: the newest version that it saw or made.
    placed: Vec<Option<usize>>,
    next_number: u32,
}

/// A block's changes so far.
#[derive(Clone, Default)]
struct Own {
    deleted: Vec<u32>,
    added: Vec<Row>,
}

impl Search<'_> {
    fn place_rest(&mut self) -> bool {
        let mut left = false;
        for at in 0..self.history.len() {
            if self.placed[at].is_some() {
                continue;
            }
            left = true;
            let started = self.history[at].started;
            let waits = |other: usize| self.placed[other].is_none() && self.history[other].ended < started;
            if !(0..self.history.len()).any(waits) && self.place(at) {
                return true;
            }
        }
        !left && self.ends_right()
    }

    fn ends_right(&self) -> bool {
        let mut rows: Vec<(i32, i32)> = self.versions[self.versions.len() - 1].iter().map(|r| (r.id, r.v)).collect();
        rows.sort_unstable();
        rows == self.last
    }

    /// Tries to put a block next.
    fn place(&mut self, at: usize) -> bool {
        let started = self.history[at].started;
        let before = (0..self.history.len()).filter(|&other| self.history[other].ended < started);
        let from = before.filter_map(|other| self.placed[other]).max().unwrap_or(0);
        self.statement(at, 0, from, &Own::default())
    }

    /// Tries all versions that statement `nth` of a block may have seen, `from` at the least.
    fn statement(&mut self, at: usize, nth: usize, from: usize, own: &Own) -> bool {
        let transaction = &self.history[at];
        let Some(done) = transaction.statements.get(nth) else { return self.end(at, from, own) };
        if done.answer == Answer::Conflict {
            return self.leave(at, from);
        }
        for version in (from..self.versions.len()).rev() {
            let base = &self.versions[version];
            // A block cannot go on over rows that another has changed.
            if !own.deleted.iter().all(|number| is_there(base, own, *number)) {
                continue;
            }
            // A key that the block has added and another has too: it cannot commit any more, and may see both.
            if self.keyed && collides(base, own) {
                if !transaction.committed && self.leave(at, version) {
                    return true;
                }
                continue;
            }
            let rows: Vec<Row> = shown(base, own);
            let Some(effect) = done.operation.effect(&rows, self.keyed) else {
                if done.answer == Answer::Duplicate && self.leave(at, version) {
                    return true;
                }
                continue;
            };
            if done.operation.answer(&rows, &effect) != done.answer {
                continue;
            }
            let mut own = own.clone();
            let first = self.next_number;
            self.next_number += effect.added.len() as u32;
            own.deleted.extend(&effect.deleted);
            own.added.extend((first..).zip(&effect.added).map(|(number, &(id, v))| Row { number, id, v }));
            if self.statement(at, nth + 1, version, &own) {
                return true;
            }
            self.next_number = first;
        }
        false
    }

    /// A block without effect has its place.
    fn leave(&mut self, at: usize, version: usize) -> bool {
        self.placed[at] = Some(version);
        let found = self.place_rest();
        self.placed[at] = None;
        found
    }

    /// A block is committed on top of the newest version, if it was and can be.
    fn end(&mut self, at: usize, seen: usize, own: &Own) -> bool {
        if !self.history[at].committed || (own.deleted.is_empty() && own.added.is_empty()) {
            return self.leave(at, seen);
        }
        let newest = self.versions.len() - 1;
        let base = &self.versions[newest];
        if !own.deleted.iter().all(|number| is_there(base, own, *number)) {
            return false;
        }
        if self.keyed && collides(base, own) {
            return false;
        }
        let rows = shown(base, own);
        self.versions.push(rows);
        let found = self.leave(at, newest + 1);
        self.versions.pop();
        found
    }
}

/// Whether a row is one of these, or the block's own.
fn is_there(base: &[Row], own: &Own, number: u32) -> bool {
    base.iter().chain(&own.added).any(|row| row.number == number)
}

/// Whether a key that the block has added is there twice.
fn collides(base: &[Row], own: &Own) -> bool {
    let rows = shown(base, own);
    let twice = |row: &Row| rows.iter().any(|other| other.id == row.id && other.number != row.number);
    own.added.iter().filter(|row| !own.deleted.contains(&row.number)).any(twice)
}

/// Rows with a block's changes on top.
fn shown(base: &[Row], own: &Own) -> Vec<Row> {
    base.iter().chain(&own.added).filter(|row| !own.deleted.contains(&row.number)).copied().collect()
}
