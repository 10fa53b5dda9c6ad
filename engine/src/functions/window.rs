//! Window functions: those that number the rows of a partition.

use weir_sql::Type;
use weir_sql::catalog::{FunctionKind, Returns, Volatility};

use super::registry::{FunctionInfo, Shape};

/// How a row's number comes from its place in its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranking {
    /// Each row the next.
    RowNumber,
    /// Peers share the number of the first of them.
    Rank,
    /// Peers share a number, and the next ones have the next.
    DenseRank,
}

/// Declarations: the function, and what it does.
pub(crate) fn functions() -> Vec<(FunctionInfo, Shape, Ranking)> {
    let declare = |names, doc, example, ranking| {
        let info = FunctionInfo {
            names,
            kind: FunctionKind::Window,
            family: "window",
            doc,
            example,
            volatility: Volatility::Immutable,
            signatures: Vec::new(),
            ids: 0..0,
        };
        let shape = Shape { params: Vec::new(), optional: 0, variadic: false, returns: Returns::Exact(Type::Int8) };
        (info, shape, ranking)
    };
    vec![
        declare(
            &["row_number"],
            "The row's number within its partition, from 1.",
            ("row_number() OVER (ORDER BY x)", "1"),
            Ranking::RowNumber,
        ),
        declare(
            &["rank"],
            "The number of the row's first peer within its partition, from 1, with gaps.",
            ("rank() OVER (ORDER BY x)", "1"),
            Ranking::Rank,
        ),
        declare(
            &["dense_rank"],
            "The number of the row's group of peers within its partition, from 1, without gaps.",
            ("dense_rank() OVER (ORDER BY x)", "1"),
            Ranking::DenseRank,
        ),
    ]
}
