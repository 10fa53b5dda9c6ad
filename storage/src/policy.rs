//! What background work is due: pure functions from metadata, limits and a clock to a task. They touch no file and no lock.
//!
//! **Merge** is size-tiered over *neighbours*: of one partition's parts, oldest first, a run is worth merging when together it is at
//! least [`RATIO`] times its largest part (a few, while parts are small), so every row is rewritten once a tier, and order of arrival is kept. Of all such
//! runs the one that rewrites the fewest bytes for each part it removes is taken. When a partition has many parts the ratio sinks,
//! down to any two neighbours, which bounds their number whatever their sizes. A part of which over a quarter is deleted is rewritten,
//! alone if need be.
//!
//! **Flush** takes the largest head when all heads together, or its own rows, are over their limit; else one that is old, or that has
//! been idle and is large enough to make a granule.
//!
//! **Expiry**: a part whose greatest TTL value, plus the interval, is past holds no row that may be seen. One with some such rows is
//! rewritten when they are many, or long past.

use std::cmp::Ordering;
use std::ops::Range;
use std::time::Duration;

use crate::def::{TableId, TtlDef};

/// A run is merged when it is this many times its largest part…
const RATIO: f64 = 6.0;
/// …or this many times, when that is small: rewriting it costs little, and it may be a view's, whose rows become fewer…
const RATIO_SMALL: f64 = 3.5;
/// …
const SMALL: u64 = 4 << 20;
/// …in a partition of up to this many parts.
const PARTS_CALM: usize = 24;
/// From this many parts on, any two neighbours may be merged.
const PARTS_MANY: usize = 96;
/// What a part costs at least: parts below this are all of one tier.
const PART_COST: u64 = 256 << 10;
/// A part is rewritten when one row in this many is deleted.
const DELETED_SHARE: u64 = 4;
/// At most this many parts are merged at once.
const FAN_IN_MAX: usize = 32;
/// Row numbers in a part have 32 bits.
const PART_ROWS_MAX: u64 = u32::MAX as u64;
/// A head with rows older than this is flushed, however small.
const AGE_MAX: Duration = Duration::from_secs(600);
/// A head of at least a granule is flushed when nothing came for this long.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// A part, as far as merging needs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartMeta {
    pub(crate) bytes: u64,
    pub(crate) rows: u64,
    /// How many of them are deleted.
    pub(crate) deleted: u64,
    /// A merge of it failed not long ago.
    pub(crate) resting: bool,
}

/// What a merge may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MergeLimits {
    /// Bytes of the parts together.
    pub(crate) bytes_max: u64,
    /// Bytes of one granule of each part together: what is in memory at once.
    pub(crate) granule_bytes_max: u64,
    pub(crate) granule_rows: u64,
}

/// The run of a partition's parts (oldest first) to merge next, and its score: bytes to rewrite for each part that goes.
pub(crate) fn merge_task(parts: &[PartMeta], limits: &MergeLimits) -> Option<(Range<usize>, u64)> {
    let many = parts.len().clamp(PARTS_CALM, PARTS_MANY) - PARTS_CALM;
    let calm = 1.0 - many as f64 / (PARTS_MANY - PARTS_CALM) as f64;
    let mut best: Option<(Range<usize>, u64)> = None;
    for from in 0..parts.len() {
        if parts[from].is_riddled() && !parts[from].resting {
            let score = parts[from].bytes.max(PART_COST);
            if best.as_ref().is_none_or(|(_, best)| score < *best) {
                best = Some((from..from + 1, score));
            }
        }
        let (mut bytes, mut cost, mut largest, mut granules, mut rows) = (0u64, 0u64, 0u64, 0u64, 0u64);
        for (to, part) in parts.iter().enumerate().skip(from).take(FAN_IN_MAX) {
            bytes = bytes.saturating_add(part.bytes);
            cost = cost.saturating_add(part.bytes.max(PART_COST));
            largest = largest.max(part.bytes.max(PART_COST));
            granules = granules.saturating_add(granule_bytes(part, limits.granule_rows));
            rows = rows.saturating_add(part.rows);
            let too_much = bytes > limits.bytes_max || granules > limits.granule_bytes_max || rows > PART_ROWS_MAX;
            if part.resting || too_much {
                break;
            }
            let count = (to - from) as u64;
            let ratio = 1.0 + calm * (if largest <= SMALL { RATIO_SMALL } else { RATIO } - 1.0);
            if count == 0 || (cost as f64) < ratio * largest as f64 {
                continue;
            }
            let score = cost / count;
            if best.as_ref().is_none_or(|(_, best)| score < *best) {
                best = Some((from..to + 1, score));
            }
        }
    }
    best
}

impl PartMeta {
    /// Whether so many of its rows are deleted that it is worth rewriting.
    fn is_riddled(&self) -> bool {
        self.deleted.saturating_mul(DELETED_SHARE) > self.rows
    }
}

/// The run of a partition's parts to merge next when all of them are to become one: as many neighbours as may be merged at once, and
/// of these runs the smallest. `None` when no two may.
pub(crate) fn gather_task(parts: &[PartMeta], limits: &MergeLimits) -> Option<Range<usize>> {
    let mut best: Option<(Range<usize>, u64)> = None;
    for from in 0..parts.len() {
        let (mut bytes, mut rows, mut granules) = (0u64, 0u64, 0u64);
        let mut to = from;
        for part in &parts[from..] {
            bytes = bytes.saturating_add(part.bytes);
            rows = rows.saturating_add(part.rows);
            granules = granules.saturating_add(granule_bytes(part, limits.granule_rows));
            // Two may always be merged, however large their granules are.
            let fits = to < from + 2 || (to < from + FAN_IN_MAX && granules <= limits.granule_bytes_max);
            if !fits || part.resting || bytes > limits.bytes_max || rows > PART_ROWS_MAX {
                break;
            }
            to += 1;
        }
        let bytes = parts[from..to].iter().map(|part| part.bytes).fold(0, u64::saturating_add);
        let is_better = best.as_ref().is_none_or(|(other, other_bytes)| match other.len().cmp(&(to - from)) {
            Ordering::Less => true,
            Ordering::Equal => bytes < *other_bytes,
            Ordering::Greater => false,
        });
        if to - from > 1 && is_better {
            best = Some((from..to, bytes));
        }
    }
    best.map(|(range, _)| range)
}

/// About what a granule of the part takes.
fn granule_bytes(part: &PartMeta, granule_rows: u64) -> u64 {
    match part.rows > granule_rows {
        true => (u128::from(part.bytes) * u128::from(granule_rows) / u128::from(part.rows)) as u64,
        false => part.bytes,
    }
}

/// A head that is not empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadMeta {
    pub(crate) table: TableId,
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
    /// Since its first row came.
    pub(crate) age: Duration,
    /// Since its last row came.
    pub(crate) idle: Duration,
}

/// When heads are flushed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadLimits {
    pub(crate) rows_max: usize,
    /// Of all heads together.
    pub(crate) bytes_max: usize,
    pub(crate) granule_rows: usize,
}

/// The head to flush next.
pub(crate) fn flush_task(heads: &[HeadMeta], limits: &HeadLimits) -> Option<TableId> {
    let total: usize = heads.iter().map(|head| head.bytes).sum();
    let full = heads.iter().filter(|head| total >= limits.bytes_max || head.rows >= limits.rows_max);
    let old = |head: &&HeadMeta| head.age >= AGE_MAX || (head.idle >= IDLE_MAX && head.rows >= limits.granule_rows);
    let due = full.max_by_key(|head| head.bytes).or_else(|| heads.iter().filter(old).max_by_key(|head| head.age));
    due.map(|head| head.table)
}

const DAY: i128 = 86_400_000_000;
/// A part is rewritten when one in so many of its rows has certainly expired…
const RETAIN_SHARE: u64 = 4;
/// …or one has expired longer ago than this part of the TTL, so that a row is rewritten a few times at most for it…
const RETAIN_SHARE_OF_INTERVAL: i128 = 10;
/// …but not sooner than this.
const RETAIN_PAUSE_MIN: i128 = 60_000_000;

/// Whether rows whose TTL column is at most `greatest` (microseconds since 1970, in UTC) may all be dropped at `now`.
pub(crate) fn is_expired(ttl: &TtlDef, greatest: i128, now: i64) -> bool {
    expires(ttl, greatest) <= now.into()
}

/// When a row expires whose TTL column is `value`.
pub(crate) fn expires(ttl: &TtlDef, value: i128) -> i128 {
    add_months(value, ttl.months) + i128::from(ttl.days) * DAY + i128::from(ttl.micros)
}

/// What is known of when a part's rows expire by one rule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expiry {
    /// The first of them.
    pub(crate) first: i128,
    /// The last.
    pub(crate) last: i128,
    /// Rows in granules of which all have expired.
    pub(crate) rows: u64,
}

/// Whether a part is worth rewriting without its expired rows. `last` is when that was done to it.
pub(crate) fn is_retain_due(ttl: &TtlDef, expiry: &Expiry, rows: u64, last: Option<i64>, now: i64) -> bool {
    let interval = i128::from(ttl.months) * 30 * DAY + i128::from(ttl.days) * DAY + i128::from(ttl.micros);
    let grace = (interval / RETAIN_SHARE_OF_INTERVAL).clamp(RETAIN_PAUSE_MIN, DAY);
    let since = last.map_or(i128::MIN, i128::from);
    if !ttl.conditional && expiry.rows * RETAIN_SHARE >= rows {
        return since < i128::from(now) - RETAIN_PAUSE_MIN;
    }
    // All that could expire had by then.
    expiry.first + grace <= now.into() && expiry.last > since && since < i128::from(now) - grace
}

/// Adds calendar months as Postgres does: the day is cut to the month's last.
fn add_months(micros: i128, months: i32) -> i128 {
    if months == 0 {
        return micros;
    }
    let (days, time) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
    let (year, month, day) = civil_of(days);
    let month = year * 12 + month + i128::from(months);
    let (year, month) = (month.div_euclid(12), month.rem_euclid(12));
    days_of(year, month, day.min(month_days(year, month))) * DAY + time
}

/// Days since 1970-01-01 of a date in the Gregorian calendar; months count from 0. (Hinnant, "chrono-compatible low-level date
/// algorithms": years begin in March, so that the leap day is the last.)
fn days_of(year: i128, month: i128, day: i128) -> i128 {
    let year = if month < 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 10) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse of [`days_of`].
fn civil_of(days: i128) -> (i128, i128, i128) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12;
    let year = year + era * 400;
    (if month < 2 { year + 1 } else { year }, month, day)
}

fn month_days(year: i128, month: i128) -> i128 {
    days_of(if month == 11 { year + 1 } else { year }, (month + 1) % 12, 1) - days_of(year, month, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(sizes: &[u64]) -> Vec<PartMeta> {
        sizes.iter().map(|&bytes| PartMeta { bytes, rows: bytes / 10 + 1, deleted: 0, resting: false }).collect()
    }

    const LIMITS: MergeLimits = MergeLimits { bytes_max: 4 << 30, granule_bytes_max: 256 << 20, granule_rows: 8192 };
    const MIB: u64 = 1 << 20;

    fn range(sizes: &[u64]) -> Option<Range<usize>> {
        merge_task(&parts(sizes), &LIMITS).map(|(range, _)| range)
    }

    #[test]
    fn neighbours_of_like_size_are_merged() {
        assert_eq!(range(&[]), None);
        assert_eq!(range(&[10 * MIB; 5]), None);
        assert_eq!(range(&[10 * MIB; 6]), Some(0..6));
        assert_eq!(range(&[400 * MIB, MIB, MIB, MIB, MIB]), Some(1..5));
        // Tiny ones are of one tier whatever their size.
        assert_eq!(range(&[100, 20_000, 3, 900]), Some(0..4));
        // One large part is not rewritten for a few small ones.
        assert_eq!(range(&[400 * MIB, MIB, MIB]), None);
        // Too large together.
        assert_eq!(range(&[2 << 30; 4]), None);
    }

    #[test]
    fn a_part_that_rests_is_left_out() {
        let mut parts = parts(&[MIB; 9]);
        parts[4].resting = true;
        assert_eq!(merge_task(&parts, &LIMITS).map(|(range, _)| range), Some(0..4));
    }

    #[test]
    fn a_part_with_many_deleted_rows_is_rewritten() {
        let of = |parts: &[PartMeta]| merge_task(parts, &LIMITS).map(|(range, _)| range);
        let mut parts = parts(&[400 * MIB, MIB, 300 * MIB]);
        parts[0].deleted = parts[0].rows / 5;
        assert_eq!(of(&parts), None);
        parts[0].deleted = parts[0].rows / 3;
        assert_eq!(of(&parts), Some(0..1));
        // The cheapest first.
        parts[2].deleted = parts[2].rows / 2;
        assert_eq!(of(&parts), Some(2..3));
        parts[2].resting = true;
        assert_eq!(of(&parts), Some(0..1));
        // However large it is.
        let huge = PartMeta { bytes: 40 << 30, rows: 1 << 30, deleted: 1 << 29, resting: false };
        assert_eq!(of(&[huge]), Some(0..1));
    }

    #[test]
    fn a_part_has_no_more_rows_than_can_be_numbered() {
        let part = PartMeta { bytes: MIB, rows: 1 << 30, deleted: 0, resting: false };
        assert_eq!(merge_task(&[part; 4], &LIMITS), None);
        let part = PartMeta { rows: 1 << 29, ..part };
        assert_eq!(merge_task(&[part; 8], &LIMITS).map(|(range, _)| range.len()), Some(7));
    }

    #[test]
    fn all_become_one_in_a_few_passes() {
        for limits in [LIMITS, MergeLimits { granule_bytes_max: 1, ..LIMITS }] {
            let mut sizes: Vec<u64> = (0..100).map(|at| 1 + at * 7919 % 1000).collect();
            let mut merges = 0;
            while let Some(range) = gather_task(&parts(&sizes), &limits) {
                let sum = sizes[range.clone()].iter().sum();
                sizes.splice(range, [sum]);
                merges += 1;
            }
            assert_eq!(sizes.len(), 1);
            assert_eq!(merges, if limits.granule_bytes_max == 1 { 99 } else { 4 });
        }
        assert_eq!(gather_task(&parts(&[3 << 30, 3 << 30, 5, 6]), &LIMITS), Some(1..4));
        assert_eq!(gather_task(&parts(&[3 << 30, 3 << 30]), &LIMITS), None);
        assert_eq!(gather_task(&parts(&[7]), &LIMITS), None);
    }

    #[test]
    fn steady_flushes_keep_few_parts_and_rewrite_each_byte_a_few_times() {
        let (mut sizes, mut rewritten, mut written, mut most) = (Vec::<u64>::new(), 0, 0, 0);
        for flush in 0..10_000u64 {
            let size = MIB + flush % 7 * 100_000;
            written += size;
            sizes.push(size);
            while let Some(range) = range(&sizes) {
                let sum: u64 = sizes[range.clone()].iter().sum();
                rewritten += sum;
                sizes.splice(range, [sum]);
            }
            most = most.max(sizes.len());
        }
        assert!(most <= 40, "{most} parts");
        assert!(rewritten <= 6 * written, "rewritten {} times", rewritten / written);
    }

    #[test]
    fn the_number_of_parts_is_bounded_whatever_their_sizes() {
        let mut sizes: Vec<u64> = Vec::new();
        let mut random = 7u64;
        for _ in 0..3000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // From 1 byte to 64 MiB, every magnitude as often as another.
            sizes.push(1 << (random >> 59).min(26));
            while let Some(range) = range(&sizes) {
                let sum = sizes[range.clone()].iter().sum();
                sizes.splice(range, [sum]);
            }
            assert!(sizes.len() < PARTS_MANY, "{} parts", sizes.len());
        }
    }

    #[test]
    fn full_heads_go_first_then_old_ones() {
        let head = |table, rows, bytes, age, idle| HeadMeta {
            table: TableId(table),
            rows,
            bytes,
            age: Duration::from_secs(age),
            idle: Duration::from_secs(idle),
        };
        let limits = HeadLimits { rows_max: 100_000, bytes_max: 1000, granule_rows: 50 };
        let due = |heads: &[HeadMeta]| flush_task(heads, &limits).map(|table| table.0);
        assert_eq!(due(&[head(1, 10, 400, 5, 5), head(2, 10, 500, 5, 5)]), None);
        assert_eq!(due(&[head(1, 10, 500, 5, 5), head(2, 10, 500, 5, 5), head(3, 1, 600, 0, 0)]), Some(3));
        assert_eq!(due(&[head(1, 100_000, 1, 5, 5)]), Some(1));
        assert_eq!(due(&[head(1, 1, 1, 599, 599), head(2, 1, 1, 600, 0)]), Some(2));
        assert_eq!(due(&[head(1, 49, 1, 40, 31), head(2, 50, 1, 40, 31)]), Some(2));
    }

    #[test]
    fn months_end_where_postgres_ends_them() {
        let day = |year, month: i128, day| days_of(year, month - 1, day) * DAY;
        assert_eq!(days_of(1970, 0, 1), 0);
        assert_eq!(days_of(2000, 1, 29), 11_016);
        for days in (-800_000..800_000).step_by(17) {
            let (year, month, day) = civil_of(days);
            assert_eq!(days_of(year, month, day), days);
            assert!((0..12).contains(&month) && (1..=month_days(year, month)).contains(&day));
        }
        assert_eq!(add_months(day(2024, 1, 31) + 5, 1), day(2024, 2, 29) + 5);
        assert_eq!(add_months(day(2023, 12, 31), 2), day(2024, 2, 29));
        assert_eq!(add_months(day(2024, 3, 31), -1), day(2024, 2, 29));
        assert_eq!(add_months(day(2024, 12, 1), 12), day(2025, 12, 1));
        let ttl = TtlDef { column: 0, months: 1, days: 1, micros: 7, conditional: false };
        let end = (day(2024, 2, 29) + DAY + 7) as i64;
        assert!(is_expired(&ttl, day(2024, 1, 31), end));
        assert!(!is_expired(&ttl, day(2024, 1, 31), end - 1));
    }

    #[test]
    fn a_part_is_rewritten_when_many_of_its_rows_expired_or_some_long_ago() {
        let day = |day: i128| day * DAY;
        let ttl = |conditional| TtlDef { column: 0, months: 0, days: 10, micros: 0, conditional };
        let now = day(100) as i64;
        let due = |conditional, first: i128, last: i128, rows, since: Option<i128>| {
            let expiry = Expiry { first, last, rows };
            is_retain_due(&ttl(conditional), &expiry, 1000, since.map(|day| day as i64), now)
        };
        assert!(due(false, day(99), day(101), 250, None), "a quarter");
        assert!(!due(false, day(100) - DAY / 2, day(101), 249, None), "few, and not long ago");
        assert!(due(false, day(99), day(101), 0, None), "a tenth of the interval ago");
        assert!(!due(true, day(99), day(101), 1000, Some(day(100) - DAY / 2)), "looked at half a day ago");
        assert!(due(true, day(80), day(100), 0, Some(day(98))));
        assert!(!due(true, day(80), day(97), 0, Some(day(98))), "nothing can have expired since");
        assert!(!due(false, day(101), day(110), 0, None), "nothing has expired");
    }
}
