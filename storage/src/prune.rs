//! Pruning: which granules cannot hold a row that matches.
//!
//! Conditions come as a tree of AND and OR ([`Condition`]). First the sparse index over the sort key narrows a part to one run of
//! granules, then the zones (least and greatest value, number of NULLs) of each condition's column drop single granules, then the
//! part's dictionaries: a value that is not in a column's dictionary is in none of the granules that are encoded by it; at last the
//! skip indexes. What costs less comes first, and what is left empty is not looked at again. An OR keeps what one of its branches keeps.
//!
//! A condition that cannot be used (another type, a column without an order) prunes nothing. Nothing here is ever more than
//! leaving out: the rows that are left need not match.

use std::cmp::Ordering;
use std::ops::{Range, RangeInclusive};

use arrow::array::{Array, ArrayRef};

use crate::compare::Comparison;
use crate::encoding::Encoding;
use crate::error::Result;
use crate::index::IndexTest;
use crate::key::{Key, is_comparable, key_at};
use crate::part::Part;

/// A condition on one column: a comparison with constants, or a test for NULL.
#[derive(Debug, Clone)]
pub struct Prune {
    /// The column.
    pub column: usize,
    /// The comparison.
    pub op: PruneOp,
    /// What is compared with, in the column's type: one value; any number for [`PruneOp::In`]; none for the NULL tests.
    pub values: ArrayRef,
}

impl Prune {
    /// The numbers for which it holds, if it compares with one.
    pub(crate) fn numbers(&self) -> Option<Numbers> {
        let Some(Key::Number(value)) = (self.values.len() == 1).then(|| key_at(&self.values, 0)).flatten() else {
            return None;
        };
        let range = match self.op {
            PruneOp::Eq | PruneOp::Ne => value..=value,
            PruneOp::Lt => i128::MIN..=value.checked_sub(1)?,
            PruneOp::Le => i128::MIN..=value,
            PruneOp::Gt => value.checked_add(1)?..=i128::MAX,
            PruneOp::Ge => value..=i128::MAX,
            _ => return None,
        };
        Some(Numbers { range, outside: self.op == PruneOp::Ne })
    }

    /// Whether it holds for the empty text and no other, or the other way round: for all but the empty one.
    pub(crate) fn emptiness(&self) -> Option<bool> {
        let Some(Key::Bytes([])) = (self.values.len() == 1).then(|| key_at(&self.values, 0)).flatten() else {
            return None;
        };
        match self.op {
            PruneOp::Eq | PruneOp::Le => Some(true),
            PruneOp::Gt => Some(false),
            _ => None,
        }
    }
}

/// Numbers in a range, or those that are not.
#[derive(Debug, Clone)]
pub(crate) struct Numbers {
    pub(crate) range: RangeInclusive<i128>,
    pub(crate) outside: bool,
}

impl Numbers {
    /// Whether a number is one of them.
    pub(crate) fn contains(&self, number: i128) -> bool {
        self.range.contains(&number) != self.outside
    }

    /// Which distances from `base` are in the range; `None` if none is.
    pub(crate) fn distances(&self, base: i128) -> Option<(u64, u64)> {
        let (low, high) = (self.range.start().saturating_sub(base).max(0), self.range.end().saturating_sub(base));
        let low = u64::try_from(low).ok().filter(|_| low <= high)?;
        Some((low, u64::try_from(high).unwrap_or(u64::MAX)))
    }
}

/// What is known of the rows that are wanted. All conditions of a scan hold for them; they are hints: rows for which they do not hold
/// may still come.
#[derive(Debug, Clone)]
pub enum Condition {
    /// On one column.
    Column(Prune),
    /// A test of an index ([`crate::IndexDef::id`]), by the key of this number. Parts that do not have the index keep all.
    Index {
        /// The index.
        index: u32,
        /// The key.
        key: usize,
        /// The test.
        test: IndexTest,
    },
    /// All of these hold.
    All(Vec<Condition>),
    /// One of these holds.
    Any(Vec<Condition>),
}

impl From<Prune> for Condition {
    fn from(prune: Prune) -> Condition {
        Condition::Column(prune)
    }
}

/// The comparison of a [`Prune`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneOp {
    /// column = value
    Eq,
    /// column <> value
    Ne,
    /// column < value
    Lt,
    /// column <= value
    Le,
    /// column > value
    Gt,
    /// column >= value
    Ge,
    /// column is one of the values
    In,
    /// column is NULL
    IsNull,
    /// column is not NULL
    IsNotNull,
}

impl PruneOp {
    /// Whether it asks for values that are equal to one of some constants.
    pub(crate) fn is_equality(self) -> bool {
        matches!(self, PruneOp::Eq | PruneOp::In)
    }
}

/// A column's condition made ready for a part.
struct OnColumn<'a> {
    column: usize,
    comparison: Comparison<'a>,
}

/// A condition made ready for a part.
enum Ready<'a> {
    Column(OnColumn<'a>),
    Index {
        index: u32,
        key: usize,
        test: &'a IndexTest,
    },
    All(Vec<Ready<'a>>),
    Any(Vec<Ready<'a>>),
    /// Nothing is known of this part by it.
    Unknown,
}

/// What is looked at, the cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Zones,
    Dictionaries,
    Indexes,
}

/// What pruning left of a part.
#[derive(Debug, Default)]
pub(crate) struct Pruned {
    /// The granules that are left.
    pub(crate) granules: Vec<u32>,
    pub(crate) by_key: usize,
    pub(crate) by_zone: usize,
    pub(crate) by_dictionary: usize,
    /// By which indexes, and how many; several together where they stand in one OR.
    pub(crate) by_index: Vec<(Vec<u32>, usize)>,
}

/// The granules of `part` that may hold rows for which all conditions hold.
pub(crate) fn prune(part: &Part, conditions: &[Condition]) -> Result<Pruned> {
    let granules = part.granules()?.len();
    let mut ready = Vec::new();
    conditions.iter().try_for_each(|condition| Ready::new(part, condition).map(|one| spread(one, &mut ready)))?;
    let run = prune_by_key(part, &columns(&ready), granules)?;
    let mut left: Vec<u32> = run.map(|granule| granule as u32).collect();
    let by_key = granules - left.len();
    let mut step = |step: Step| -> Result<usize> {
        let before = left.len();
        ready.iter().try_for_each(|condition| condition.retain(part, &mut left, step..=step))?;
        Ok(before - left.len())
    };
    let (by_zone, by_dictionary) = (step(Step::Zones)?, step(Step::Dictionaries)?);
    let mut by_index = Vec::new();
    for condition in &ready {
        let mut indexes = Vec::new();
        condition.indexes(&mut indexes);
        let before = left.len();
        condition.retain(part, &mut left, Step::Indexes..=Step::Indexes)?;
        if !indexes.is_empty() {
            by_index.push((indexes, before - left.len()));
        }
    }
    Ok(Pruned { granules: left, by_key, by_zone, by_dictionary, by_index })
}

/// The conditions of an AND, one by one.
fn spread<'a>(condition: Ready<'a>, into: &mut Vec<Ready<'a>>) {
    match condition {
        Ready::All(all) => all.into_iter().for_each(|one| spread(one, into)),
        one => into.push(one),
    }
}

/// The comparisons that hold together.
fn columns<'a, 'b>(conditions: &'b [Ready<'a>]) -> Vec<&'b OnColumn<'a>> {
    let of = |condition: &'b Ready<'a>| match condition {
        Ready::Column(comparison) => vec![comparison],
        Ready::All(all) => columns(all),
        Ready::Index { .. } | Ready::Any(_) | Ready::Unknown => Vec::new(),
    };
    conditions.iter().flat_map(of).collect()
}

impl<'a> Ready<'a> {
    fn new(part: &Part, condition: &'a Condition) -> Result<Ready<'a>> {
        let list = |list: &'a [Condition]| list.iter().map(|one| Ready::new(part, one)).collect::<Result<Vec<_>>>();
        Ok(match condition {
            Condition::Column(prune) => OnColumn::new(part, prune)?.map_or(Ready::Unknown, Ready::Column),
            Condition::Index { index, key, test } => Ready::Index { index: *index, key: *key, test },
            Condition::All(all) => Ready::All(list(all)?),
            Condition::Any(any) => Ready::Any(list(any)?),
        })
    }

    /// The indexes that are asked, each once.
    fn indexes(&self, found: &mut Vec<u32>) {
        match self {
            Ready::Index { index, .. } if !found.contains(index) => found.push(*index),
            Ready::All(list) | Ready::Any(list) => list.iter().for_each(|one| one.indexes(found)),
            _ => {}
        }
    }

    /// Drops granules in which the condition holds for no row, as far as these steps know.
    fn retain(&self, part: &Part, left: &mut Vec<u32>, steps: RangeInclusive<Step>) -> Result<()> {
        if left.is_empty() {
            return Ok(());
        }
        match self {
            Ready::Unknown => Ok(()),
            Ready::All(all) => all.iter().try_for_each(|one| one.retain(part, left, steps.clone())),
            Ready::Any(any) => retain_any(any, part, left, *steps.end()),
            Ready::Index { index, key, test } if steps.contains(&Step::Indexes) => {
                part.retain_by_index(*index, *key, test, left)
            }
            Ready::Index { .. } => Ok(()),
            Ready::Column(comparison) => {
                if steps.contains(&Step::Zones) {
                    comparison.retain_by_zone(part, left)?;
                }
                if steps.contains(&Step::Dictionaries) {
                    comparison.retain_by_dictionary(part, left)?;
                }
                Ok(())
            }
        }
    }
}

/// Keeps what one of the branches keeps by all steps up to `last`.
fn retain_any(branches: &[Ready<'_>], part: &Part, left: &mut Vec<u32>, last: Step) -> Result<()> {
    let mut kept: Vec<u32> = Vec::new();
    for branch in branches {
        let mut own = left.clone();
        let run = prune_by_key(part, &columns(std::slice::from_ref(branch)), part.granules()?.len())?;
        own.retain(|&granule| run.contains(&(granule as usize)));
        branch.retain(part, &mut own, Step::Zones..=last)?;
        if own.len() == left.len() {
            return Ok(());
        }
        kept.append(&mut own);
    }
    kept.sort_unstable();
    kept.dedup();
    *left = kept;
    Ok(())
}

impl<'a> OnColumn<'a> {
    /// `None` when it says nothing of this part.
    fn new(part: &Part, prune: &'a Prune) -> Result<Option<OnColumn<'a>>> {
        let Some(field) = part.field(prune.column)? else { return Ok(None) };
        let needs_values = !matches!(prune.op, PruneOp::IsNull | PruneOp::IsNotNull);
        if needs_values && (!is_comparable(field) || prune.values.data_type() != field.data_type()) {
            return Ok(None);
        }
        Ok(Some(OnColumn { column: prune.column, comparison: Comparison::new(prune.op, &prune.values) }))
    }

    fn retain_by_zone(&self, part: &Part, left: &mut Vec<u32>) -> Result<()> {
        let (index, rows) = (part.index(self.column)?, part.granules()?);
        left.retain(|&granule| {
            let at = granule as usize;
            let (nulls, rows) = (index.nulls[at], rows[at]);
            match self.comparison.op {
                PruneOp::IsNull => nulls > 0,
                PruneOp::IsNotNull => nulls < rows,
                _ if nulls == rows => false,
                _ => match &index.zones {
                    Some((min, max)) => self.comparison.may_match(key_at(min, at), key_at(max, at)),
                    None => true,
                },
            }
        });
        Ok(())
    }

    fn retain_by_dictionary(&self, part: &Part, left: &mut Vec<u32>) -> Result<()> {
        if !self.comparison.op.is_equality() {
            return Ok(());
        }
        let encodings = &part.index(self.column)?.encodings;
        let by_dictionary = |granule: u32| encodings[granule as usize] == Encoding::PartDictionary as u8;
        if !left.iter().any(|&granule| by_dictionary(granule)) {
            return Ok(());
        }
        let Some(entries) = part.dictionary(self.column)? else { return Ok(()) };
        let wanted = |row| key_at(entries, row).is_some_and(|key| self.comparison.keys.binary_search(&key).is_ok());
        if !(0..entries.len()).any(wanted) {
            left.retain(|&granule| !by_dictionary(granule));
        }
        Ok(())
    }
}

/// The run of granules that the sparse key index leaves. Granule g holds keys from its first key to the first key of g + 1, so
/// two binary searches with the lowest and the highest key prefix that may match give the run.
fn prune_by_key(part: &Part, conditions: &[&OnColumn<'_>], granules: usize) -> Result<Range<usize>> {
    let (mut low, mut high): (Vec<Key<'_>>, Vec<Key<'_>>) = (Vec::new(), Vec::new());
    for &column in part.sort_key()? {
        if !part.field(column)?.is_some_and(is_comparable) {
            break;
        }
        let bounds = conditions
            .iter()
            .filter(|condition| condition.column == column)
            .map(|condition| condition.comparison.bounds());
        let (from, to) = bounds.fold((None, None), |(from, to): (Option<Key<'_>>, Option<Key<'_>>), (low, high)| {
            (from.max(low), [to, high].into_iter().flatten().min())
        });
        low.extend(from);
        high.extend(to);
        if from.is_none() || from != to {
            break;
        }
    }
    if low.is_empty() && high.is_empty() {
        return Ok(0..granules);
    }
    let keys = part.keys()?;
    // NULL is after every value.
    let compare = |granule: usize, bound: &[Key<'_>]| {
        let parts = bound.iter().zip(keys).map(|(bound, keys)| match key_at(keys, granule) {
            Some(key) => key.cmp(bound),
            None => Ordering::Greater,
        });
        parts.fold(Ordering::Equal, Ordering::then)
    };
    let find = |matches: &dyn Fn(usize) -> bool| {
        let (mut from, mut to) = (0, granules);
        while from < to {
            let middle = (from + to) / 2;
            if matches(middle) { from = middle + 1 } else { to = middle }
        }
        from
    };
    // The first granule whose successor begins at or after the low bound; the first that begins after the high one.
    let from = find(&|granule| granule + 1 < granules && compare(granule + 1, &low) == Ordering::Less);
    let to = find(&|granule| compare(granule, &high) != Ordering::Greater);
    Ok(from.min(to)..to)
}
