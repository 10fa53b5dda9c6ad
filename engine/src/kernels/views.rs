//! What was computed of texts before, by their views: texts that a dictionary gave come as few different views.

/// How many results are kept.
const KEPT: usize = 256;

/// A view that no text has: it would be as long as 4 GiB.
const NONE: u128 = u128::MAX;

/// After so many texts that were not seen it is looked whether keeping them pays.
const LOOKED_AT: u32 = 256;

/// Results of views over the same buffers. Each replaces another of its place: a text may be computed again. Where less than half of the views
/// were seen before, nothing more is kept.
pub(crate) struct ViewMemo<T> {
    kept: Box<[(u128, T); KEPT]>,
    asked: u32,
    missed: u32,
    pays: bool,
}

impl<T: Copy + Default> ViewMemo<T> {
    pub(crate) fn new() -> ViewMemo<T> {
        ViewMemo { kept: Box::new([(NONE, T::default()); KEPT]), asked: 0, missed: 0, pays: true }
    }

    /// What a view's text gives; the same again if it was seen.
    #[inline]
    pub(crate) fn get(&mut self, view: u128, compute: impl FnOnce() -> T) -> T {
        if !self.pays {
            return compute();
        }
        self.asked += 1;
        let kept = &mut self.kept[place(view)];
        if kept.0 == view {
            return kept.1;
        }
        *kept = (view, compute());
        self.missed += 1;
        self.pays = !self.missed.is_multiple_of(LOOKED_AT) || self.missed < self.asked / 2;
        kept.1
    }
}

#[inline]
fn place(view: u128) -> usize {
    let mixed = (view as u64 ^ (view >> 64) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> (64 - KEPT.trailing_zeros())) as usize
}
