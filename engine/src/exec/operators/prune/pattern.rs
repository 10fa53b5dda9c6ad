//! What a LIKE pattern says of the texts that match it.

use weir_storage::Piece;

/// The runs of literal characters in a pattern; `None` when it is malformed. Whatever stands before or after one is not known, except at the
/// pattern's own ends.
pub(in crate::exec::operators) fn pieces(pattern: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut piece = Piece { text: String::new(), starts: true, ends: false };
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' | '_' => {
                if !piece.text.is_empty() {
                    pieces.push(piece);
                }
                piece = Piece { text: String::new(), starts: false, ends: false };
            }
            '\\' => piece.text.push(chars.next()?),
            c => piece.text.push(c),
        }
    }
    if !piece.text.is_empty() {
        piece.ends = true;
        pieces.push(piece);
    }
    Some(pieces)
}

/// What all matching texts start with.
pub(super) fn start_of(pattern: &str) -> String {
    match pieces(pattern).and_then(|pieces| pieces.into_iter().next()) {
        Some(piece) if piece.starts => piece.text,
        _ => String::new(),
    }
}

/// The least text that is after all texts with this start; `None` when there is none.
pub(super) fn after_all(start: &str) -> Option<String> {
    let mut upper: Vec<char> = start.chars().collect();
    while let Some(last) = upper.pop() {
        if let Some(next) = char::from_u32(last as u32 + 1) {
            upper.push(next);
            return Some(upper.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_tells_its_pieces() {
        let told = |pattern: &str| -> Vec<(String, bool, bool)> {
            pieces(pattern).unwrap().into_iter().map(|piece| (piece.text, piece.starts, piece.ends)).collect()
        };
        assert_eq!(told("abc"), [("abc".into(), true, true)]);
        assert_eq!(told("a%b_c"), [("a".into(), true, false), ("b".into(), false, false), ("c".into(), false, true)]);
        assert_eq!(told("%100\\%%"), [("100%".into(), false, false)]);
        assert_eq!(told("%"), []);
        assert_eq!(told(""), []);
        assert_eq!(pieces("ab\\"), None);
        assert_eq!((start_of("a\\_b%"), start_of("%a"), start_of("_a")), ("a_b".into(), String::new(), String::new()));
    }

    #[test]
    fn a_start_has_an_end() {
        assert_eq!(after_all("abc").as_deref(), Some("abd"));
        assert_eq!(after_all("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(after_all("\u{10ffff}"), None);
    }
}
