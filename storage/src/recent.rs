//! Numbers of texts by their views: what an Arrow view says of a short text is all of it, and of a long one where it lies, so that texts
//! that come again are known without hashing or comparing a byte of them.
//!
//! Few are kept, each in the one place that its view has; what is not found there is found otherwise.

/// So many are kept.
const PLACES: usize = 2048;
/// A view has a text of up to so many bytes whole.
pub(crate) const INLINE_MAX: usize = 12;

/// Numbers of texts that came not long ago.
#[derive(Default)]
pub(crate) struct Recent(Vec<(u128, u32)>);

impl Recent {
    /// The number of the text with a view, or what it is found to be otherwise. All calls must be of the same buffers, or of views that
    /// have their text whole; or of other words of which none is all ones.
    #[inline]
    pub(crate) fn number(&mut self, view: u128, find: impl FnOnce() -> Option<u32>) -> Option<u32> {
        if self.0.is_empty() {
            // No text is as long as a view of ones says.
            self.0.resize(PLACES, (u128::MAX, 0));
        }
        let mixed = (view as u64 ^ (view >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (known, number) = &mut self.0[(mixed >> (64 - PLACES.ilog2())) as usize];
        if *known != view {
            (*number, *known) = (find()?, view);
        }
        Some(*number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_otherwise_until_it_is_known() {
        let mut recent = Recent::default();
        assert_eq!(recent.number(7, || None), None);
        assert_eq!(recent.number(7, || Some(1)), Some(1));
        assert_eq!(recent.number(7, || None), Some(1));
        // More than there are places for: all are found, one way or the other.
        for view in 0..100_000u32 {
            assert_eq!(recent.number(view.into(), || Some(view)), Some(if view == 7 { 1 } else { view }));
        }
    }
}
