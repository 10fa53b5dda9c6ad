//! Texts cut into words and into runs of characters, the same way when an index is built and when it is asked.
//!
//! A word is a run of ASCII letters and digits and of bytes outside ASCII, as ClickHouse's `splitByNonAlpha` and `hasToken` have it.

use super::Piece;

/// Whether a byte belongs to a word.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// The words of a text, in order.
pub(crate) fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| !is_word(byte)).filter(|word| !word.is_empty())
}

/// The runs of `n` characters of a text, in order; none of a shorter text.
pub(crate) fn ngrams(text: &str, n: usize) -> impl Iterator<Item = &[u8]> {
    let starts = text.char_indices().map(|(at, _)| at);
    let ends = text.char_indices().map(|(at, _)| at).skip(n).chain(std::iter::once(text.len()));
    // A text of fewer than n characters would otherwise give one run: its whole.
    let enough = text.char_indices().nth(n.saturating_sub(1)).is_some();
    starts.zip(ends).take(if enough { usize::MAX } else { 0 }).map(|(from, to)| &text.as_bytes()[from..to])
}

/// A word that a text has, as far as a piece of the text tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted<'a> {
    pub(crate) text: &'a [u8],
    /// More may stand before it in the word.
    pub(crate) open_before: bool,
    /// More may stand after it in the word.
    pub(crate) open_after: bool,
}

impl Wanted<'_> {
    /// Whether it is known whole.
    pub(crate) fn is_whole(&self) -> bool {
        !self.open_before && !self.open_after
    }
}

/// The words that a text with this piece has.
pub(crate) fn wanted(piece: &Piece) -> Vec<Wanted<'_>> {
    let text = piece.text.as_bytes();
    let start = text.as_ptr() as usize;
    words(text)
        .map(|word| {
            let from = word.as_ptr() as usize - start;
            Wanted {
                text: word,
                open_before: from == 0 && !piece.starts,
                open_after: from + word.len() == text.len() && !piece.ends,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
        parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect()
    }

    #[test]
    fn texts_are_cut() {
        assert_eq!(strings(words("a1, b-c_d über:".as_bytes())), ["a1", "b", "c", "d", "über"]);
        assert_eq!(strings(words(b"")), [""; 0]);
        assert_eq!(strings(ngrams("abcä€", 3)), ["abc", "bcä", "cä€"]);
        assert_eq!(strings(ngrams("ab", 2)), ["ab"]);
        assert_eq!(strings(ngrams("ab", 3)), [""; 0]);
    }

    #[test]
    fn words_at_the_ends_of_a_piece_may_go_on() {
        let piece = |starts, ends| Piece { text: "to be or".into(), starts, ends };
        let open = |piece: &Piece| -> Vec<(bool, bool)> {
            wanted(piece).iter().map(|word| (word.open_before, word.open_after)).collect()
        };
        assert_eq!(open(&piece(true, true)), [(false, false); 3]);
        assert_eq!(open(&piece(false, false)), [(true, false), (false, false), (false, true)]);
        assert_eq!(open(&Piece { text: " to-".into(), starts: false, ends: false }), [(false, false)]);
    }
}
