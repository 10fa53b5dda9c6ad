//! What merges make of rows with equal sorting keys.

/// What a ClickHouse engine makes of rows with equal sorting keys. Columns are by index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merging {
    /// ReplacingMergeTree: the row of the greatest version stays, of several the last.
    Replacing {
        /// The version.
        version: Option<usize>,
        /// Rows with 1 here hide their key.
        is_deleted: Option<usize>,
    },
    /// SummingMergeTree: one row with the sums of these columns; it goes when all are zero.
    Summing(Vec<usize>),
    /// AggregatingMergeTree: one row, each column folded as its type says.
    Aggregating,
    /// CollapsingMergeTree and VersionedCollapsingMergeTree: rows add and cancel each other.
    Collapsing {
        /// The column with 1 or -1.
        sign: usize,
        /// The version's column, which is part of the key. With one, the order in which rows come does not matter.
        version: Option<usize>,
    },
}

/// How values of rows with one key become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fold {
    /// `sum`
    Sum,
    /// `min`
    Min,
    /// `max`
    Max,
    /// `any`: the first that is not NULL.
    First,
    /// `anyLast`: the last that is not NULL.
    Last,
    /// `groupBitAnd`
    BitAnd,
    /// `groupBitOr`
    BitOr,
    /// `groupBitXor`
    BitXor,
    /// `groupArrayArray`: one array after the other.
    Concat,
    /// `groupUniqArrayArray`: the same, each value once.
    Union,
    /// Of AggregateFunction(f, T…): states become one. It has no name, since it follows from the type.
    Merge,
}

impl Fold {
    /// All, by the names that ClickHouse has for them.
    pub const ALL: [(&'static str, Fold); 13] = [
        ("sum", Fold::Sum),
        ("min", Fold::Min),
        ("max", Fold::Max),
        ("any", Fold::First),
        ("any_value", Fold::First),
        ("first_value", Fold::First),
        ("anyLast", Fold::Last),
        ("last_value", Fold::Last),
        ("groupBitAnd", Fold::BitAnd),
        ("groupBitOr", Fold::BitOr),
        ("groupBitXor", Fold::BitXor),
        ("groupArrayArray", Fold::Concat),
        ("groupUniqArrayArray", Fold::Union),
    ];

    /// The fold of this name, in any case.
    pub fn named(name: &str) -> Option<Fold> {
        Fold::ALL.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, fold)| *fold)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Fold::ALL.iter().find(|(_, fold)| *fold == self).map_or("", |(name, _)| name)
    }

    /// The fold of two values, `l` the earlier, as SQL.
    pub fn sql(self, l: &str, r: &str) -> String {
        match self {
            Fold::Sum => format!("coalesce({l} + {r}, {l}, {r})"),
            Fold::Min => format!("least({l}, {r})"),
            Fold::Max => format!("greatest({l}, {r})"),
            Fold::First => format!("coalesce({l}, {r})"),
            Fold::Last => format!("coalesce({r}, {l})"),
            Fold::BitAnd => format!("coalesce({l} & {r}, {l}, {r})"),
            Fold::BitOr => format!("coalesce({l} | {r}, {l}, {r})"),
            Fold::BitXor => format!("coalesce({l} # {r}, {l}, {r})"),
            Fold::Concat => format!("{l} || {r}"),
            Fold::Union => format!("arrayDistinct({l} || {r})"),
            Fold::Merge => format!("mergeStates({l}, {r})"),
        }
    }
}
