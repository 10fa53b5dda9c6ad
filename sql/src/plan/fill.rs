//! What a `Fill` puts in between rows.

use super::Expr;

/// Which values a column is to have, one for each row or more.
#[derive(Debug, Clone, PartialEq)]
pub struct FillRange {
    /// The column: integers, dates or times.
    pub key: usize,
    /// Whether it descends.
    pub descending: bool,
    /// The first value; that of the first row where it is not said. Without columns, and of the key's type.
    pub from: Option<Expr>,
    /// Where values end; at the last row's where it is not said. Likewise.
    pub to: Option<Expr>,
    /// Whether `to` itself is one of them.
    pub inclusive: bool,
    /// How far they are apart: a bigint or an interval without columns.
    pub step: Expr,
    /// The time zone in which days and months are counted, a text without columns; UTC if there is none.
    pub zone: Option<Expr>,
}

/// What a column has in a row that is put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// NULL.
    Null,
    /// Zero, the empty text, and the like.
    Zero,
    /// What the row before has; also in rows that were there and have NULL, if `over_nulls`.
    Last {
        /// See there.
        over_nulls: bool,
    },
    /// On the line between the rows around it.
    Linear,
}
