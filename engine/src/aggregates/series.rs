//! ClickHouse's aggregates of a group's numbers as a series or a distribution: histogram, boundingRatio, exponentialMovingAverage, moving sums and
//! averages, lttb, and quantiles of weighted or rounded values.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use weir_sql::Type;

use super::whole::{Answer, Group, create, overload, record};
use super::{AggregateFunction, Order, function};
use crate::error::{Error, ErrorKind, Result};

pub(super) fn functions() -> Vec<AggregateFunction> {
    let mut all = series();
    all.extend(quantiles());
    all
}

fn series() -> Vec<AggregateFunction> {
    let list = |ty: Type| Type::Array(Box::new(ty));
    vec![
        function(
            &["boundingRatio"],
            "The slope between the points that are farthest to the left and to the right: boundingRatio(x, y).",
            ("boundingRatio(x, 2 * x)", "2"),
            vec![overload(2, Type::Float8, |call| {
                create(call, Order::Any, |group| {
                    let [x, y] = [0, 1].map(|at: usize| &group.columns[at]);
                    let last = group.len().wrapping_sub(1);
                    Ok(Answer::Number((group.len() > 0).then(|| (y[last] - y[0]) / (x[last] - x[0]))))
                })
            })],
        ),
        function(
            &["exponentialMovingAverage"],
            "The average of values whose weight halves with each so many units of time before the last: exponentialMovingAverage(5)(value, time).",
            ("exponentialMovingAverage(1)(x, x)", "2.125"),
            vec![overload(2, Type::Float8, |call| create(call, Order::Any, moving_average))],
        ),
        function(
            &["histogram"],
            "A histogram of so many bins that adapt to the values: an array of each bin's bounds and height. histogram(5)(x).",
            ("histogram(2)(x)", "{\"(1,2.25,1.875)\",\"(2.25,3,1.125)\"}"),
            vec![overload(1, list(record(&["lower", "upper", "height"])), |call| create(call, Order::Any, histogram))],
        ),
        function(
            &["lttb", "largestTriangleThreeBuckets"],
            "So many of the points (x, y) that a line through them looks like one through all: lttb(4)(x, y).",
            ("lttb(2)(x, x * x)", "{\"(1,1)\",\"(3,9)\"}"),
            vec![overload(2, list(record(&["x", "y"])), |call| create(call, Order::Any, triangles))],
        ),
        function(
            &["groupArrayMovingSum"],
            "The sums of the values up to each, or of so many up to it: groupArrayMovingSum(3)(x).",
            ("groupArrayMovingSum(2)(x)", "{1,3,5}"),
            vec![
                overload(1, list(Type::Float8), |call| create(call, Order::Rows, |group| moving(group, false)))
                    .order(Order::Rows),
            ],
        ),
        function(
            &["groupArrayMovingAvg"],
            "As groupArrayMovingSum, each sum divided by how many values it may have.",
            ("groupArrayMovingAvg(2)(x)", "{0.5,1.5,2.5}"),
            vec![
                overload(1, list(Type::Float8), |call| create(call, Order::Rows, |group| moving(group, true)))
                    .order(Order::Rows),
            ],
        ),
    ]
}

fn wrong(message: &str) -> Error {
    Error::new(ErrorKind::InvalidParameter, message)
}

/// A whole number of 1 or more, as a parameter.
fn count(group: &Group<'_>, what: &str) -> Result<Option<usize>> {
    if group.params.is_empty() {
        return Ok(None);
    }
    let count = group.param(0).filter(|count| *count >= 1.0 && count.fract() == 0.0);
    count.map(|count| Some(count as usize)).ok_or_else(|| wrong(&format!("{what} is a whole number of 1 or more")))
}

fn moving_average(group: &Group<'_>) -> Result<Answer> {
    let half = group.param(0).filter(|half| *half > 0.0);
    let half = half.ok_or_else(|| wrong("the time in which a weight halves is above 0"))?;
    let last = group.columns[1].iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let parts = group.columns[0].iter().zip(&group.columns[1]);
    let sum: f64 = parts.map(|(value, time)| value * ((time - last) / half).exp2()).sum();
    // As if the series had been going on forever.
    Ok(Answer::Number((group.len() > 0).then(|| sum * (1.0 - (-1.0 / half).exp2()))))
}

fn moving(group: &Group<'_>, mean: bool) -> Result<Answer> {
    let window = count(group, "the size of a window")?;
    let values = &group.columns[0];
    let most = window.unwrap_or(values.len());
    let divisor = if mean { most as f64 } else { 1.0 };
    let sum = |end: usize| values[(end + 1).saturating_sub(most)..=end].iter().sum::<f64>();
    let mut running = 0.0;
    let sums = (0..values.len()).map(|end| match window {
        Some(_) => sum(end) / divisor,
        None => {
            running += values[end];
            running / divisor
        }
    });
    Ok(Answer::Numbers(sums.collect()))
}

/// Neighbouring values are put together, the closest first, each with the mean of both in its place, until there are few enough.
fn histogram(group: &Group<'_>) -> Result<Answer> {
    let most = count(group, "the number of bins")?.ok_or_else(|| wrong("histogram needs a number of bins"))?;
    let mut points: Vec<(f64, f64)> = Vec::new();
    for &value in group.columns[0].iter().filter(|value| value.is_finite()) {
        match points.last_mut() {
            Some((last, weight)) if *last == value => *weight += 1.0,
            _ => points.push((value, 1.0)),
        }
    }
    let (Some(&(least, _)), Some(&(greatest, _))) = (points.first(), points.last()) else {
        return Ok(Answer::Records(Vec::new()));
    };
    let points = merged(points, most);
    let weight = |at: usize| points[at].1;
    // Between two points the weight goes from one's to the other's; a bin ends in the middle.
    let half = |from: usize, to: usize| (3.0 * weight(from) + weight(to)) / 8.0;
    let last = points.len() - 1;
    let bins = (0..points.len()).map(|at| {
        let lower = if at == 0 { least } else { f64::midpoint(points[at - 1].0, points[at].0) };
        let upper = if at == last { greatest } else { f64::midpoint(points[at].0, points[at + 1].0) };
        let left = if at == 0 { weight(at) / 2.0 } else { half(at, at - 1) };
        let right = if at == last { weight(at) / 2.0 } else { half(at, at + 1) };
        vec![lower, upper, left + right]
    });
    Ok(Answer::Records(bins.collect()))
}

/// Points in order, put together until there are no more than so many.
fn merged(mut points: Vec<(f64, f64)>, most: usize) -> Vec<(f64, f64)> {
    const NONE: usize = usize::MAX;
    let n = points.len();
    let mut next: Vec<usize> = (1..=n).map(|at| if at < n { at } else { NONE }).collect();
    let mut before: Vec<usize> = (0..n).map(|at| at.checked_sub(1).unwrap_or(NONE)).collect();
    let mut gone = vec![false; n];
    // Distances are not negative, so that their bits are in order. What has changed since is passed over.
    let gap = |points: &[(f64, f64)], left: usize, right: usize| (points[right].0 - points[left].0).to_bits();
    let mut gaps: BinaryHeap<Reverse<(u64, usize, usize)>> =
        (1..n).map(|right| Reverse((gap(&points, right - 1, right), right - 1, right))).collect();
    let mut left_over = n;
    while left_over > most
        && let Some(Reverse((size, left, right))) = gaps.pop()
    {
        if gone[left] || gone[right] || next[left] != right || gap(&points, left, right) != size {
            continue;
        }
        let weight = points[left].1 + points[right].1;
        points[left] = ((points[left].0 * points[left].1 + points[right].0 * points[right].1) / weight, weight);
        gone[right] = true;
        left_over -= 1;
        next[left] = next[right];
        if next[left] != NONE {
            before[next[left]] = left;
            gaps.push(Reverse((gap(&points, left, next[left]), left, next[left])));
        }
        if before[left] != NONE {
            gaps.push(Reverse((gap(&points, before[left], left), before[left], left)));
        }
    }
    points.into_iter().zip(gone).filter(|(_, gone)| !gone).map(|(point, _)| point).collect()
}

/// Of each bucket between the first and the last point, the one that makes the largest triangle with the one chosen before and the mean of the
/// next bucket.
fn triangles(group: &Group<'_>) -> Result<Answer> {
    let wanted = count(group, "the number of points")?.ok_or_else(|| wrong("lttb needs a number of points"))?;
    let points: Vec<(f64, f64)> = group.columns[0].iter().copied().zip(group.columns[1].iter().copied()).collect();
    let as_records = |points: Vec<(f64, f64)>| points.into_iter().map(|(x, y)| vec![x, y]).collect();
    if points.len() <= wanted {
        return Ok(Answer::Records(as_records(points)));
    }
    let mut chosen = vec![points[0]];
    if wanted > 2 {
        let size = (points.len() - 2) as f64 / (wanted - 2) as f64;
        let start = |bucket: usize| (bucket as f64 * size) as usize + 1;
        for bucket in 0..wanted - 2 {
            let following = &points[start(bucket + 1)..start(bucket + 2).min(points.len())];
            let n = following.len() as f64;
            let mean = following.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / n, y + point.1 / n));
            let from = chosen[chosen.len() - 1];
            let area = |point: &(f64, f64)| {
                ((from.0 - mean.0) * (point.1 - from.1) - (from.0 - point.0) * (mean.1 - from.1)).abs()
            };
            let mut best: Option<(f64, (f64, f64))> = None;
            for point in &points[start(bucket)..start(bucket + 1)] {
                if best.is_none_or(|(known, _)| area(point) > known) {
                    best = Some((area(point), *point));
                }
            }
            chosen.extend(best.map(|(_, point)| point));
        }
    }
    if wanted > 1 {
        chosen.push(points[points.len() - 1]);
    }
    Ok(Answer::Records(as_records(chosen)))
}

/// A pair of functions, of one fraction and of several.
macro_rules! quantile {
    ($one:expr, $several:expr, $args:literal, $doc:literal, $example:expr, $first:literal, $value:expr) => {
        [
            function(
                $one,
                $doc,
                $example,
                vec![overload($args, Type::Float8, |call| {
                    create(call, Order::Any, |group| {
                        Ok(Answer::Number(fractions(group, $first)?.first().and_then(|f| $value(group, *f))))
                    })
                })],
            ),
            function(
                $several,
                concat!($doc, " Of several fractions, an array."),
                ("", ""),
                vec![overload($args, Type::Array(Box::new(Type::Float8)), |call| {
                    create(call, Order::Any, |group| {
                        let values = fractions(group, $first)?.into_iter().filter_map(|f| $value(group, f));
                        Ok(Answer::Numbers(values.collect()))
                    })
                })],
            ),
        ]
    };
}

fn quantiles() -> Vec<AggregateFunction> {
    let mut all = Vec::new();
    all.extend(quantile!(
        &[
            "quantileInterpolatedWeighted",
            "medianInterpolatedWeighted",
            "quantileTDigestWeighted",
            "medianTDigestWeighted"
        ],
        &["quantilesInterpolatedWeighted", "quantilesTDigestWeighted"],
        2,
        "The value at a fraction of the sum of weights, between the middles of two values' weights.",
        ("quantileInterpolatedWeighted(0.5)(x, 1)", "2"),
        0,
        middle_of_weights
    ));
    all.extend(quantile!(
        &["quantileExactWeightedInterpolated", "medianExactWeightedInterpolated"],
        &["quantilesExactWeightedInterpolated"],
        2,
        "The value at a fraction of the sorted values, each of which counts as often as its weight says, between two where it falls there.",
        ("quantileExactWeightedInterpolated(0.5)(x, x)", "2.5"),
        0,
        between_weights
    ));
    all.extend(quantile!(
        &["quantileTimingWeighted", "medianTimingWeighted"],
        &["quantilesTimingWeighted"],
        2,
        "The first of the sorted values with which the sum of weights comes to a fraction of it.",
        ("quantileTimingWeighted(0.5)(x, x)", "2"),
        0,
        |group: &Group<'_>, f| at_weight(&group.columns[0], &group.columns[1], f)
    ));
    all.extend(quantile!(
        &["quantileBFloat16", "medianBFloat16"],
        &["quantilesBFloat16"],
        1,
        "The value at a fraction of the sorted values, which are cut to 16 bits.",
        ("quantileBFloat16(0.5)(x + 0.001)", "2"),
        0,
        |group: &Group<'_>, f| at_weight(&rounded(&group.columns[0]), &vec![1.0; group.len()], f)
    ));
    all.extend(quantile!(
        &["quantileBFloat16Weighted", "medianBFloat16Weighted"],
        &["quantilesBFloat16Weighted"],
        2,
        "As quantileBFloat16, each value counting as often as its weight says.",
        ("quantileBFloat16Weighted(0.5)(x, x)", "2"),
        0,
        |group: &Group<'_>, f| at_weight(&rounded(&group.columns[0]), &group.columns[1], f)
    ));
    all.extend(quantile!(
        &["quantileGK", "medianGK"],
        &["quantilesGK"],
        1,
        "The first of the sorted values at or past a fraction of them, more exact than any accuracy asked for: quantileGK(100, 0.9)(x).",
        ("quantileGK(100, 0.5)(x)", "2"),
        1,
        |group: &Group<'_>, f| at_weight(&group.columns[0], &vec![1.0; group.len()], f)
    ));
    all.extend(quantile!(
        &["quantileDeterministic", "medianDeterministic"],
        &["quantilesDeterministic"],
        2,
        "The value at a fraction of the sorted values, between two where it falls there; the second argument makes no difference.",
        ("quantileDeterministic(0.5)(x, x)", "2"),
        0,
        |group: &Group<'_>, f: f64| {
            let at = f * group.len().checked_sub(1)? as f64;
            let (low, high) = (group.columns[0][at.floor() as usize], group.columns[0][at.ceil() as usize]);
            Some(low + at.fract() * (high - low))
        }
    ));
    all
}

/// The fractions among the parameters, from the one at `first` on; 0.5 if there is none.
fn fractions(group: &Group<'_>, first: usize) -> Result<Vec<f64>> {
    if group.params.len() <= first {
        return Ok(vec![0.5]);
    }
    let fraction = |at: usize| {
        group.param(at).filter(|fraction| (0.0..=1.0).contains(fraction)).ok_or_else(|| {
            let message = format!("percentile value {} is not between 0 and 1", group.params[at]);
            Error::new(ErrorKind::NumericOutOfRange, message)
        })
    };
    (first..group.params.len()).map(fraction).collect()
}

/// Values with the precision of bfloat16: the upper half of a float's bits.
fn rounded(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| f64::from(f32::from_bits((*value as f32).to_bits() & 0xffff_0000))).collect()
}

/// The first of sorted values with which the weights come to a fraction of their sum.
fn at_weight(values: &[f64], weights: &[f64], fraction: f64) -> Option<f64> {
    let wanted = (fraction * weights.iter().sum::<f64>()).ceil();
    let mut passed = 0.0;
    let found = values.iter().zip(weights).find(|(_, weight)| {
        passed += **weight;
        passed >= wanted && **weight > 0.0
    });
    found.map(|(value, _)| *value).or(values.last().copied())
}

fn middle_of_weights(group: &Group<'_>, fraction: f64) -> Option<f64> {
    let total: f64 = group.columns[1].iter().sum();
    let mut passed = 0.0;
    let mut last: Option<(f64, f64)> = None;
    for (&value, &weight) in group.columns[0].iter().zip(&group.columns[1]).filter(|(_, weight)| **weight > 0.0) {
        let middle = (passed + weight / 2.0) / total;
        passed += weight;
        match last {
            _ if middle < fraction => {}
            Some((before, from)) => return Some(from + (value - from) * (fraction - before) / (middle - before)),
            None => return Some(value),
        }
        last = Some((middle, value));
    }
    last.map(|(_, value)| value)
}

fn between_weights(group: &Group<'_>, fraction: f64) -> Option<f64> {
    let total: f64 = group.columns[1].iter().sum();
    let place = fraction * (total - 1.0);
    // The value at a place among as many copies of each as its weight says.
    let at = |place: f64| {
        let mut passed = 0.0;
        let found = group.columns[0].iter().zip(&group.columns[1]).find(|(_, weight)| {
            passed += **weight;
            passed > place
        });
        found.map(|(value, _)| *value).or(group.columns[0].last().copied())
    };
    let (low, high) = (at(place.floor())?, at(place.ceil())?);
    Some(low + place.fract() * (high - low))
}
