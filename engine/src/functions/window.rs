//! Window functions that are no aggregates: what they say of a row follows from its place in its partition and frame.

use weir_sql::Type;
use weir_sql::catalog::{FunctionKind, Param, Returns, Volatility};

use super::declare::{FLOAT8, INT4, INTERVAL, TIMESTAMP, TIMESTAMPTZ};
use super::registry::{FunctionInfo, Shape};

/// What a window function does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowFunction {
    /// Each row the next number.
    RowNumber,
    /// Peers share the number of the first of them.
    Rank,
    /// Peers share a number, and the next ones have the next.
    DenseRank,
    /// The rank from 0 to 1.
    PercentRank,
    /// Which share of the partition comes up to the row's last peer.
    CumeDist,
    /// Which of so many buckets of equal size.
    Ntile,
    /// The value so many rows before.
    Lag,
    /// The value so many rows after.
    Lead,
    /// The value of the frame's first row.
    FirstValue,
    /// The value of the frame's last row.
    LastValue,
    /// The value of the frame's n-th row.
    NthValue,
    /// How many standard deviations the value is from the frame's mean.
    ZScore,
    /// The same by medians.
    MadScore,
    /// The exponentially weighted moving average up to the row.
    Ewma,
    /// The value of the row that is so much time before.
    SeasonalLag,
}

/// Declarations: the function, and what it does.
pub(crate) fn functions() -> Vec<(FunctionInfo, Vec<Shape>, WindowFunction)> {
    use WindowFunction as W;
    let declare = |names, doc, example, (params, optional), returns, function| {
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
        (info, vec![Shape { params, optional, variadic: false, returns }], function)
    };
    let none = || (Vec::new(), 0);
    let value = || (vec![Param::AnyElement], 0);
    let beside = || (vec![Param::AnyElement, INT4, Param::AnyElement], 2);
    let (bigint, double) = (|| Returns::Exact(Type::Int8), || Returns::Exact(Type::Float8));
    let mut all = vec![
        declare(
            &["row_number"],
            "The row's number within its partition, from 1.",
            ("row_number() OVER (ORDER BY x)", "1, 2, 3, 4"),
            none(),
            bigint(),
            W::RowNumber,
        ),
        declare(
            &["rank"],
            "The number of the row's first peer within its partition, from 1, with gaps.",
            ("rank() OVER (ORDER BY x % 2)", "1, 2, 2, 4"),
            none(),
            bigint(),
            W::Rank,
        ),
        declare(
            &["dense_rank"],
            "The number of the row's group of peers within its partition, from 1, without gaps.",
            ("dense_rank() OVER (ORDER BY x % 2)", "1, 2, 2, 3"),
            none(),
            bigint(),
            W::DenseRank,
        ),
        declare(
            &["percent_rank"],
            "The row's rank, from 0 to 1: (rank - 1) / (rows of the partition - 1).",
            ("percent_rank() OVER (ORDER BY x % 2)", "0, 0.3333333333333333, 0.3333333333333333, 1"),
            none(),
            double(),
            W::PercentRank,
        ),
        declare(
            &["cume_dist"],
            "Which share of the partition's rows come before the row or are its peers.",
            ("cume_dist() OVER (ORDER BY x % 2)", "0.25, 0.75, 0.75, 1"),
            none(),
            double(),
            W::CumeDist,
        ),
        declare(
            &["ntile"],
            "In which of n parts of the partition the row is; they are of one size, the first ones of one row more.",
            ("ntile(3) OVER (ORDER BY x)", "1, 1, 2, 3"),
            (vec![INT4], 0),
            Returns::Exact(Type::Int4),
            W::Ntile,
        ),
        declare(
            &["lag"],
            "The value in the row that comes n (1) before in the partition; if there is none, the third argument.",
            ("lag(x, 1, 0) OVER (ORDER BY x)", "0, 1, 2, 3"),
            beside(),
            Returns::Element,
            W::Lag,
        ),
        declare(
            &["lead"],
            "The value in the row that comes n (1) after in the partition; if there is none, the third argument.",
            ("lead(x, 2) OVER (ORDER BY x)", "3, NULL, NULL, NULL"),
            beside(),
            Returns::Element,
            W::Lead,
        ),
        declare(
            &["first_value"],
            "The value in the frame's first row.",
            ("first_value(x) OVER (ORDER BY x DESC NULLS LAST)", "3, 3, 3, 3"),
            value(),
            Returns::Element,
            W::FirstValue,
        ),
        declare(
            &["last_value"],
            "The value in the frame's last row, which is the row's last peer unless the frame says otherwise.",
            ("last_value(x) OVER (ORDER BY x)", "1, 2, 3, NULL"),
            value(),
            Returns::Element,
            W::LastValue,
        ),
        declare(
            &["nth_value"],
            "The value in the frame's n-th row, counted from 1; NULL if it has fewer.",
            ("nth_value(x, 2) OVER (ORDER BY x)", "NULL, 2, 2, 2"),
            (vec![Param::AnyElement, INT4], 0),
            Returns::Element,
            W::NthValue,
        ),
        declare(
            &["zscore"],
            "How many sample standard deviations the value is from the frame's mean; NULL where the deviation is 0 or there are fewer than two values.",
            ("zscore(x) OVER ()", "-1, 0, 1, NULL"),
            (vec![FLOAT8], 0),
            double(),
            W::ZScore,
        ),
        declare(
            &["mad_score"],
            "The modified z-score of Iglewicz and Hoaglin, which outliers do not sway: 0.6745 (x - median) / MAD over the frame; beyond 3.5 is unusual. NULL where MAD, the median distance from the median, is 0, as it is if more than half of the values are equal: zscore measures those.",
            ("mad_score(x) OVER ()", "-0.6745, 0, 0.6745, NULL"),
            (vec![FLOAT8], 0),
            double(),
            W::MadScore,
        ),
        declare(
            &["ewma"],
            "The exponentially weighted moving average from the partition's first row, whatever the frame: alpha times the value, plus 1 - alpha times the average in the row before. Rows whose value is NULL have that one.",
            ("ewma(x, 0.5) OVER (ORDER BY x)", "1, 1.5, 2.25, 2.25"),
            (vec![FLOAT8, FLOAT8], 0),
            double(),
            W::Ewma,
        ),
        declare(
            &["seasonal_lag"],
            "The value in the row of the partition, whatever the frame, whose timestamp is exactly one interval before the row's; in the last of them, if there are several; NULL if there is none.",
            (
                "seasonal_lag(x, timestamp '2024-01-01' + x * interval '1 day', interval '1 day') OVER ()",
                "NULL, 1, 2, NULL",
            ),
            (vec![Param::AnyElement, TIMESTAMPTZ, INTERVAL], 0),
            Returns::Element,
            W::SeasonalLag,
        ),
    ];
    // A timestamp without time zone is compared as it is.
    if let Some((_, shapes, _)) = all.last_mut() {
        shapes.push(Shape { params: vec![Param::AnyElement, TIMESTAMP, INTERVAL], ..shapes[0].clone() });
    }
    all
}
