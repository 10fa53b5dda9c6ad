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
#[derive(Debug, Clone, PartialEq)]
pub enum Gap {
    /// NULL.
    Null,
    /// Zero, the empty text, and the like.
    Zero,
    /// What the row before has; also in rows that were there and have NULL, if `over_nulls`.
    Last {
        /// See there.
        over_nulls: bool,
        /// The column that has what stands before the first row of a partition.
        first: Option<usize>,
    },
    /// Of the row before, over its columns; zeros stand for one that is not there.
    Before(Expr),
    /// On the line between the rows around it.
    Linear {
        /// The columns of a key and a value that stand before the first row of a partition.
        before: Option<(usize, usize)>,
        /// And after the last.
        after: Option<(usize, usize)>,
    },
}

impl Gap {
    /// Gives the columns that it reads other numbers.
    pub fn rename_columns(&mut self, to: &dyn Fn(usize) -> usize) {
        match self {
            Gap::Null | Gap::Zero => {}
            Gap::Last { first, .. } => *first = first.map(to),
            Gap::Before(expr) => crate::walk::rename_columns(expr, to),
            Gap::Linear { before, after } => {
                for (key, value) in [before, after].into_iter().flatten() {
                    (*key, *value) = (to(*key), to(*value));
                }
            }
        }
    }
}
