//! Run-time filters: what a join learned of its built side's keys, for the scans below its other side.
//!
//! A join that drops rows without a match [offers](Wanted) one for each key while its probing side is compiled. Operators hand down what
//! still names a column of theirs, and a scan keeps what reaches it. When the join runs, it builds first and [fills](Slot) the filters; then the
//! scans open, prune by the bounds (or by the keys themselves, if they are few), and drop rows whose key is not in the set before they
//! read other columns.
//!
//! A set is exact bits over integers that lie close together, or a split block Bloom filter (Putze, Sanders, Singler: "Cache-, Hash- and
//! Space-Efficient Bloom Filters", JEA 2009, in Parquet's form). It may let rows through that meet nothing: the join looks again.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array, make_comparator};
use arrow::compute::{SortOptions, cast, take};
use arrow::datatypes::{
    DataType, Date32Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
    UInt8Type, UInt16Type, UInt32Type,
};
use parking_lot::Mutex;
use weir_sql::Type;
use weir_sql::plan::{Expr, ExprKind, JoinKind, Plan};
use weir_sql::rules::is_volatile;
use weir_storage::{Condition, Prune, PruneOp};

use crate::error::{Error, Result};
use crate::exec::groups::hash_rows;
use crate::exec::keys;
use crate::exec::memory::{QueryMemory, Reservation};
use crate::exec::operator::Metrics;
use crate::exec::operators::{ordered_bytes, same_order};
use crate::exec::top_bound::TopBound;
use crate::functions::registry;

/// Up to this many keys are handed to storage one by one.
const FEW_KEYS: usize = 256;
/// Exact bits are used where there are at most this many for each key, and at most `BITS_MAX`.
const BITS_PER_KEY: u64 = 256;
const BITS_MAX: u64 = 1 << 25;
/// Keys of a block of 256 bits: about one row in two hundred that meets nothing gets through.
const BLOCK_KEYS: usize = 20;
/// More keys than this are no filter: it would not stay in a cache, and drop little.
pub(crate) const KEYS_MAX: usize = 1 << 22;

/// Where a join leaves a filter for the scans that wait for it. Each opening of the join leaves a new one.
#[derive(Default)]
pub(crate) struct Slot(Mutex<Option<Arc<RuntimeFilter>>>);

impl Slot {
    /// Whether a scan waits; only its join asks, once the probing side is compiled.
    pub(crate) fn is_wanted(self: &Arc<Slot>) -> bool {
        Arc::strong_count(self) > 1
    }

    /// Leaves a filter, or none.
    pub(crate) fn fill(&self, filter: Option<RuntimeFilter>) {
        *self.0.lock() = filter.map(Arc::new);
    }
}

/// Who knows which rows are wanted.
#[derive(Clone)]
enum Origin {
    Join(Arc<Slot>),
    Top(Arc<TopBound>),
}

/// A filter that rows of an operator may be tried with.
#[derive(Clone)]
pub(crate) struct Wanted {
    origin: Origin,
    /// The operator's column that is the key, and the key's type, which may be a wider one.
    pub(crate) column: usize,
    pub(crate) ty: Type,
}

impl Wanted {
    /// What a top-n knows of its first key.
    pub(crate) fn top(bound: &Arc<TopBound>, key: &Expr) -> Option<Wanted> {
        let ExprKind::Column(column) = key.kind else { return None };
        Some(Wanted { origin: Origin::Top(bound.clone()), column, ty: key.ty.clone() })
    }

    /// Whether a column of type `ty` can be tried.
    pub(crate) fn fits(&self, ty: &Type) -> bool {
        matches!(self.origin, Origin::Join(_)) || *ty == self.ty
    }

    /// Whether it is of a top-n.
    pub(crate) fn is_top(&self) -> bool {
        matches!(self.origin, Origin::Top(_))
    }

    /// The same where the column is another's, from which `of` computes it.
    pub(crate) fn of(&self, of: &Expr) -> Option<Wanted> {
        Some(Wanted { column: column_of(of)?, ..self.clone() })
    }

    /// The same filter, whose key is column `column`.
    pub(crate) fn at(&self, column: usize) -> Wanted {
        Wanted { column, ..self.clone() }
    }
}

/// A slot for each key of a join that drops rows without a match, by its number; `below` is what its probing side is tried with.
pub(crate) fn offer<'a>(keys: impl Iterator<Item = &'a Expr>, below: &mut Vec<Wanted>) -> Vec<(usize, Arc<Slot>)> {
    let mut slots = Vec::new();
    for (nth, key) in keys.enumerate() {
        let slot = Arc::new(Slot::default());
        if let Some(column) = column_of(key) {
            below.push(Wanted { origin: Origin::Join(slot.clone()), column, ty: key.ty.clone() });
            slots.push((nth, slot));
        }
    }
    slots
}

/// The filters that the inputs of an operator may be tried with: those of its (left) input, then those of the right.
///
/// Without the rows of some keys the operator must give what it gives otherwise, without the rows of these keys.
pub(crate) fn down(plan: &Plan, wanted: &[Wanted]) -> (Vec<Wanted>, Vec<Wanted>) {
    let all = || wanted.to_vec();
    // Filters by a column that stands among some expressions.
    let among = |exprs: &[Expr]| {
        let is_there = |wanted: &&Wanted| exprs.iter().any(|e| e.kind == ExprKind::Column(wanted.column));
        wanted.iter().filter(is_there).cloned().collect()
    };
    let of = |exprs: &[Expr]| wanted.iter().filter_map(|w| w.of(exprs.get(w.column)?)).collect();
    let below = |columns: usize| wanted.iter().filter(|w| w.column < columns).cloned().collect();
    let one = match plan {
        Plan::Filter { .. } | Plan::Sort { .. } | Plan::Cte { .. } => all(),
        Plan::Distinct { on: None, .. } => all(),
        Plan::Distinct { on: Some(on), .. } => among(on),
        Plan::Window { partition_by, .. } => among(partition_by),
        Plan::Project { exprs, .. } if !exprs.iter().any(|expr| is_volatile(expr, registry())) => of(exprs),
        Plan::ProjectSet { input, .. } => below(input.columns().len()),
        Plan::Aggregate { keys, always, .. } if always.is_empty() => of(keys),
        Plan::SetOperation { .. } => return (all(), all()),
        Plan::Join { kind: JoinKind::Full, .. } => Vec::new(),
        Plan::Join { kind, left, on, lateral, .. } => {
            let width = left.columns().len();
            let right = wanted.iter().filter(|w| w.column >= width).map(|w| w.at(w.column - width)).collect();
            let mut sides = match kind {
                JoinKind::Inner => (below(width), right),
                JoinKind::Right => (Vec::new(), right),
                _ => (below(width), Vec::new()),
            };
            // Rows that meet have the same keys.
            let met = |from: &[Wanted], keys: &mut dyn Iterator<Item = (&Expr, &Expr)>| -> Vec<Wanted> {
                keys.filter_map(|(from_key, to_key)| {
                    let column = column_of(from_key)?;
                    let wanted = from.iter().find(|w| w.column == column && w.ty == from_key.ty)?;
                    wanted.of(to_key)
                })
                .collect()
            };
            let to_right = met(&sides.0, &mut on.iter().map(|(l, r)| (l, r)));
            let to_left = met(&sides.1, &mut on.iter().map(|(l, r)| (r, l)));
            sides.0.extend(to_left);
            sides.1.extend(to_right);
            if *lateral {
                sides.1.clear();
            }
            return sides;
        }
        Plan::NearestJoin { left, kind: JoinKind::Inner | JoinKind::Left, .. } => below(left.columns().len()),
        _ => Vec::new(),
    };
    (one, Vec::new())
}

/// The column that an expression is, under casts that keep all values apart and in order.
fn column_of(expr: &Expr) -> Option<usize> {
    match &expr.kind {
        ExprKind::Column(column) => Some(*column),
        ExprKind::Cast { expr: inner, .. } if same_order(&inner.ty, &expr.ty) => column_of(inner),
        _ => None,
    }
}

/// A filter on its way through one scan.
pub(crate) struct Trial {
    test: Test,
    /// The relation's column.
    pub(crate) column: usize,
    metrics: Arc<Metrics>,
}

enum Test {
    Join(Arc<RuntimeFilter>),
    Top(Arc<TopBound>),
}

impl Trial {
    /// What the join left, if it left something; a top-n always has something to say later.
    pub(crate) fn new(wanted: &Wanted, metrics: &Arc<Metrics>) -> Option<Trial> {
        let test = match &wanted.origin {
            Origin::Join(slot) => Test::Join(slot.0.lock().clone()?),
            Origin::Top(bound) => Test::Top(bound.clone()),
        };
        Some(Trial { test, column: wanted.column, metrics: metrics.clone() })
    }

    /// What storage can know of the rows that are wanted.
    pub(crate) fn condition(&self, ty: &Type) -> Option<Condition> {
        match &self.test {
            Test::Join(filter) => filter.condition(self.column, &ty.to_arrow()),
            Test::Top(_) => None,
        }
    }

    /// Whether it drops enough rows to be worth its time. A scan of many granules is asked at a few of them, always the same, so that it
    /// does not depend on the course of a run which rows those above see.
    pub(crate) fn is_useful(&self, scan: &weir_storage::Scan) -> Result<bool> {
        const ASKED: usize = 4;
        let Test::Join(filter) = &self.test else { return Ok(true) };
        if scan.len() < 4 * ASKED {
            return Ok(true);
        }
        let (mut rows, mut passed) = (0, 0);
        for nth in 0..ASKED {
            let granule = scan.read((2 * nth + 1) * scan.len() / (2 * ASKED), &[self.column], None)?;
            rows += granule.num_rows();
            passed += filter.passing(granule.column(0))?.len();
        }
        Ok(passed * 10 < rows * 9)
    }

    /// The rows that are wanted, unless it is all.
    pub(crate) fn passing(&self, keys: &ArrayRef) -> Result<Option<UInt32Array>> {
        let rows = match &self.test {
            Test::Join(filter) => filter.passing(keys)?.into(),
            Test::Top(bound) => match bound.passing(keys)? {
                Some(rows) => rows,
                None => return Ok(None),
            },
        };
        self.metrics.filtered.fetch_add((keys.len() - rows.len()) as u64, Ordering::Relaxed);
        Ok((rows.len() < keys.len()).then_some(rows))
    }

    /// Whether no row of granule `i` is wanted.
    pub(crate) fn excludes(&self, scan: &weir_storage::Scan, i: usize) -> bool {
        let Test::Top(bound) = &self.test else { return false };
        let excluded = scan.zone(i, self.column).is_some_and(|zone| bound.excludes(&zone));
        if excluded {
            self.metrics.filtered.fetch_add(scan.rows(i) as u64, Ordering::Relaxed);
        }
        excluded
    }

    /// The order in which granules are best read, if it has one.
    pub(crate) fn order(&self, scan: &weir_storage::Scan) -> Option<Vec<usize>> {
        match &self.test {
            Test::Join(_) => None,
            Test::Top(bound) => Some(bound.order(scan, self.column)),
        }
    }
}

/// The keys of a join's built side.
pub(crate) struct RuntimeFilter {
    ty: Type,
    /// All distinct keys, normalised, if they are few.
    few: Option<ArrayRef>,
    /// The least and the greatest, where storage orders values as SQL does.
    bounds: Option<ArrayRef>,
    set: Set,
    _held: Reservation,
}

enum Set {
    /// A bit for each integer from `first`.
    Bits {
        first: i64,
        bits: Vec<u64>,
    },
    Bloom(Vec<[u32; 8]>),
}

impl Set {
    /// Of `present` keys and some NULLs. `None` if there is no memory for it.
    fn new(ty: &Type, keys: &ArrayRef, present: usize, held: &mut Reservation) -> Result<Option<Set>> {
        let valid = |row: &usize| keys.is_valid(*row);
        if let Some(words) = words(keys) {
            let words = || (0..keys.len()).filter(valid).map(|row| words[row]);
            let (first, last) = words().fold((i64::MAX, i64::MIN), |(a, b), word| (a.min(word), b.max(word)));
            let span = if present == 0 { 0 } else { last.abs_diff(first).saturating_add(1) };
            if span <= BITS_MAX.min(present as u64 * BITS_PER_KEY) {
                if !held.fits(span.div_ceil(8) as usize)? {
                    return Ok(None);
                }
                let mut bits = vec![0_u64; span.div_ceil(64) as usize];
                words().map(|word| word.abs_diff(first)).for_each(|at| bits[(at / 64) as usize] |= 1 << (at % 64));
                return Ok(Some(Set::Bits { first, bits }));
            }
        }
        let blocks = present.div_ceil(BLOCK_KEYS).max(1);
        if !held.fits(blocks * size_of::<[u32; 8]>())? {
            return Ok(None);
        }
        let mut blocks = vec![[0_u32; 8]; blocks];
        let hashes = hashes(ty, keys)?;
        for hash in (0..keys.len()).filter(valid).map(|row| hashes[row]) {
            let at = block_of(hash, blocks.len());
            blocks[at].iter_mut().zip(mask(hash)).for_each(|(word, mask)| *word |= mask);
        }
        Ok(Some(Set::Bloom(blocks)))
    }
}

impl RuntimeFilter {
    /// A filter of distinct keys, which are normalised; NULLs meet nothing. `None` if there is no memory for one.
    pub(crate) fn new(ty: &Type, keys: &ArrayRef, memory: &Arc<QueryMemory>) -> Result<Option<RuntimeFilter>> {
        let mut held = memory.reservation("Runtime Filter");
        let present = keys.len() - keys.logical_null_count();
        let ordered = ordered_bytes(ty) && !keys::has_variants(ty) && !matches!(ty, Type::Float4 | Type::Float8);
        let few = (ordered && present <= FEW_KEYS).then(|| keys.clone());
        let Some(set) = Set::new(ty, keys, present, &mut held)? else { return Ok(None) };
        let bounds = if ordered && few.is_none() { Some(bounds(keys)?) } else { None };
        Ok(Some(RuntimeFilter { ty: ty.clone(), few, bounds, set, _held: held }))
    }

    /// What storage can know of a column of this Arrow type whose values, made keys, are to be in the set.
    pub(crate) fn condition(&self, column: usize, arrow: &DataType) -> Option<Condition> {
        let typed = |values: &ArrayRef| {
            // A key that the column cannot have is NULL in its type.
            let values = cast(values, arrow).ok()?;
            take(&values, &valid_rows(&values), None).ok()
        };
        if let Some(few) = &self.few {
            return Some(Prune { column, op: PruneOp::In, values: typed(few)? }.into());
        }
        let bounds = typed(self.bounds.as_ref()?)?;
        if bounds.len() < 2 {
            return None;
        }
        let bound = |op, row| Condition::from(Prune { column, op, values: bounds.slice(row, 1) });
        Some(Condition::All(vec![bound(PruneOp::Ge, 0), bound(PruneOp::Le, 1)]))
    }

    /// The rows whose key may be in the set. The values are of the key's type, or one that it is a wider form of.
    pub(crate) fn passing(&self, values: &ArrayRef) -> Result<Vec<u32>> {
        let arrow = self.ty.to_arrow();
        let values = if values.data_type() == &arrow { values.clone() } else { cast(values, &arrow)? };
        match &self.set {
            Set::Bits { first, bits } => {
                let words = words(&values).ok_or_else(|| Error::internal("bits of keys that are no integers"))?;
                Ok(kept(&values, &words, |word| {
                    let at = word.wrapping_sub(*first) as u64;
                    bits.get((at / 64) as usize).is_some_and(|bits| bits >> (at % 64) & 1 == 1)
                }))
            }
            Set::Bloom(blocks) => {
                let hashes = hashes(&self.ty, &keys::normalize(&self.ty, &values)?)?;
                Ok(kept(&values, &hashes, |hash| has(blocks, hash)))
            }
        }
    }
}

/// The rows that have a value, of whose word or hash the test is true.
fn kept<T: Copy>(values: &ArrayRef, words: &[T], test: impl Fn(T) -> bool) -> Vec<u32> {
    let nulls = values.logical_nulls();
    let valid = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    // Every row is written, those that are not kept to be written over: which they are cannot be foretold.
    let (mut rows, mut count) = (vec![0; words.len()], 0);
    for (row, &word) in words.iter().enumerate() {
        rows[count] = row as u32;
        count += usize::from(test(word) & valid(row));
    }
    rows.truncate(count);
    rows
}

fn valid_rows(values: &ArrayRef) -> UInt32Array {
    (0..values.len() as u32).filter(|&row| values.is_valid(row as usize)).collect()
}

/// The least and the greatest value; nothing of none.
fn bounds(keys: &ArrayRef) -> Result<ArrayRef> {
    let valid = || (0..keys.len()).filter(|&row| keys.is_valid(row));
    let ends = match words(keys) {
        Some(words) => (valid().min_by_key(|&row| words[row]), valid().max_by_key(|&row| words[row])),
        None => {
            let compare = make_comparator(keys, keys, SortOptions::default())?;
            (valid().min_by(|&a, &b| compare(a, b)), valid().max_by(|&a, &b| compare(a, b)))
        }
    };
    let ends: UInt32Array = [ends.0, ends.1].into_iter().flatten().map(|row| row as u32).collect::<Vec<_>>().into();
    Ok(take(keys, &ends, None)?)
}

/// Values as integers, whatever their width; `None` of types that are none.
fn words(values: &ArrayRef) -> Option<Cow<'_, [i64]>> {
    macro_rules! words {
        ($ty:ty) => {
            Cow::Owned(values.as_primitive::<$ty>().values().iter().map(|&v| i64::from(v)).collect())
        };
    }
    Some(match values.data_type() {
        DataType::Int16 => words!(Int16Type),
        DataType::Int32 => words!(Int32Type),
        DataType::Int64 => Cow::Borrowed(values.as_primitive::<Int64Type>().values()),
        DataType::UInt8 => words!(UInt8Type),
        DataType::UInt16 => words!(UInt16Type),
        DataType::UInt32 => words!(UInt32Type),
        DataType::Date32 => words!(Date32Type),
        DataType::Time64(TimeUnit::Microsecond) => words!(Time64MicrosecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => words!(TimestampMicrosecondType),
        _ => return None,
    })
}

/// Hashes of normalised values.
fn hashes(ty: &Type, values: &ArrayRef) -> Result<Vec<u64>> {
    match words(values) {
        Some(words) => Ok(words.iter().map(|&word| keys::fold(word as u64 ^ keys::SEED_1, keys::SEED_2)).collect()),
        None => hash_rows(std::slice::from_ref(ty), std::slice::from_ref(values), values.len()),
    }
}

/// The block of a hash, by its upper half.
fn block_of(hash: u64, blocks: usize) -> usize {
    (((hash >> 32) * blocks as u64) >> 32) as usize
}

/// One bit in each word of a block, by the hash's lower half and Parquet's salts.
fn mask(hash: u64) -> [u32; 8] {
    const SALT: [u32; 8] =
        [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];
    SALT.map(|salt| 1 << ((hash as u32).wrapping_mul(salt) >> 27))
}

fn has(blocks: &[[u32; 8]], hash: u64) -> bool {
    let block = &blocks[block_of(hash, blocks.len())];
    block.iter().zip(mask(hash)).fold(0, |missing, (word, mask)| missing | (mask & !word)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Date32Array, Int32Array, Int64Array, StringViewArray};

    fn filter(ty: Type, keys: impl Array + 'static) -> RuntimeFilter {
        RuntimeFilter::new(&ty, &(Arc::new(keys) as ArrayRef), &QueryMemory::unlimited())
            .expect("it is made")
            .expect("there is memory")
    }

    fn passing(filter: &RuntimeFilter, values: impl Array + 'static) -> Vec<u32> {
        filter.passing(&(Arc::new(values) as ArrayRef)).expect("they are looked up")
    }

    #[test]
    fn integers_that_lie_close_together_are_found_exactly() {
        let close = filter(Type::Int8, Int64Array::from(vec![Some(-3), None, Some(70), Some(5)]));
        assert!(matches!(close.set, Set::Bits { first: -3, .. }));
        let tried =
            vec![Some(-3), Some(-4), None, Some(5), Some(6), Some(70), Some(71), Some(i64::MIN), Some(i64::MAX)];
        assert_eq!(passing(&close, Int64Array::from(tried)), [0, 3, 5]);
        assert_eq!(passing(&close, Int32Array::from(vec![5, 7, 70])), [0, 2], "of a narrower type");
        let days = filter(Type::Date, Date32Array::from(vec![i32::MIN, i32::MIN + 1]));
        assert_eq!(passing(&days, Date32Array::from(vec![i32::MIN + 1, i32::MAX, 0])), [0]);
        let none = filter(Type::Int8, Int64Array::from(vec![None, None]));
        assert!(passing(&none, Int64Array::from(vec![Some(0), None])).is_empty());
    }

    #[test]
    fn what_is_in_the_set_passes_and_little_else() {
        let far = filter(Type::Int8, Int64Array::from_iter_values((0..10_000).map(|i| i * 1_000_003)));
        assert!(matches!(far.set, Set::Bloom(_)));
        let there = Int64Array::from_iter_values((0..10_000).map(|i| i * 1_000_003));
        assert_eq!(passing(&far, there).len(), 10_000);
        let not_there = Int64Array::from_iter_values((0..10_000).map(|i| i * 1_000_003 + 1));
        assert!(passing(&far, not_there).len() < 200);
        let text = |i: i32| format!("a key of some length, number {i}");
        let texts = |numbers: std::ops::Range<i32>| StringViewArray::from_iter_values(numbers.map(text));
        let named = filter(Type::Text, texts(0..1000));
        assert_eq!(passing(&named, texts(0..1000)).len(), 1000);
        assert!(passing(&named, texts(1000..2000)).len() < 20);
    }

    #[test]
    fn storage_is_asked_for_few_keys_or_for_bounds_that_the_column_can_have() {
        let few = filter(Type::Int8, Int64Array::from(vec![5, 1 << 40]));
        let Some(Condition::Column(prune)) = few.condition(2, &DataType::Int32) else { panic!("keys") };
        assert_eq!((prune.column, prune.op, prune.values.len()), (2, PruneOp::In, 1));
        let many = filter(Type::Int8, Int64Array::from_iter_values(0..1000));
        let Some(Condition::All(bounds)) = many.condition(0, &DataType::Int64) else { panic!("bounds") };
        let bound = |condition: &Condition| match condition {
            Condition::Column(prune) => prune.values.as_primitive::<Int64Type>().value(0),
            other => panic!("{other:?}"),
        };
        assert_eq!(bounds.iter().map(bound).collect::<Vec<_>>(), [0, 999]);
        let wide = filter(Type::Int8, Int64Array::from_iter_values((0..1000).map(|i| i << 40)));
        assert!(wide.condition(0, &DataType::Int32).is_none());
    }
}
