//! ClickHouse's tests of two samples: mannWhitneyUTest, studentTTest, welchTTest. The second argument says which sample a value is of, 0 or 1.

use weir_sql::Type;

use super::whole::{Answer, Group, create, overload, record};
use super::{AggregateFunction, Order, function};
use crate::error::{Error, ErrorKind, Result};

pub(super) fn functions() -> Vec<AggregateFunction> {
    let test = || record(&["statistic", "p_value"]);
    let of = |names, doc, example, returns: Type, make| function(names, doc, example, vec![overload(2, returns, make)]);
    vec![
        of(
            &["mannWhitneyUTest"],
            "The Mann-Whitney test of whether two samples are of one distribution: the statistic and its p-value. Parameters are \
             'two-sided', 'less' or 'greater', and whether to correct for continuity (1).",
            ("mannWhitneyUTest(x, x % 2)", "(1,0.5402913746074199)"),
            test(),
            |call| create(call, Order::Any, mann_whitney),
        ),
        of(
            &["studentTTest"],
            "Student's test of whether two samples have one mean, their variances being equal: the statistic and its p-value.",
            ("studentTTest(x, x % 2)", "(0,1)"),
            test(),
            |call| create(call, Order::Any, |group| means(group, true)),
        ),
        of(
            &["welchTTest"],
            "Welch's test of whether two samples have one mean: the statistic and its p-value.",
            ("welchTTest(x + x % 2, x % 2)", "(NaN,NaN)"),
            test(),
            |call| create(call, Order::Any, |group| means(group, false)),
        ),
    ]
}

/// The values of both samples.
fn samples(group: &Group<'_>) -> [Vec<f64>; 2] {
    let of = |second: bool| {
        let pairs = group.columns[0].iter().zip(&group.columns[1]);
        pairs.filter(|(_, sample)| (**sample != 0.0) == second).map(|(value, _)| *value).collect()
    };
    [of(false), of(true)]
}

/// The chance of a standard normal value above this.
fn above(z: f64) -> f64 {
    libm::erfc(z / std::f64::consts::SQRT_2) / 2.0
}

fn mann_whitney(group: &Group<'_>) -> Result<Answer> {
    let alternative = group.params.first().and_then(|param| param.as_str()).unwrap_or("two-sided");
    let correction = if group.param(1).unwrap_or(1.0) != 0.0 { 0.5 } else { 0.0 };
    let (values, classes) = (&group.columns[0], &group.columns[1]);
    // Values are in order: equal ones share the mean of their ranks.
    let (mut ranks, mut ties, mut at) = (0.0, 0.0, 0);
    while at < values.len() {
        let same = values[at..].iter().take_while(|value| **value == values[at]).count().max(1);
        let first = classes[at..at + same].iter().filter(|class| **class == 0.0).count();
        ranks += first as f64 * (at as f64 + (same as f64 + 1.0) / 2.0);
        ties += (same as f64).powi(3) - same as f64;
        at += same;
    }
    let n = values.len() as f64;
    let n1 = classes.iter().filter(|class| **class == 0.0).count() as f64;
    let n2 = n - n1;
    if n1 == 0.0 || n2 == 0.0 {
        return Ok(Answer::Record(vec![f64::NAN, f64::NAN]));
    }
    let u1 = n1 * n2 + n1 * (n1 + 1.0) / 2.0 - ranks;
    let u2 = n1 * n2 - u1;
    let spread = ((1.0 - ties / (n.powi(3) - n)) * n1 * n2 * (n + 1.0) / 12.0).sqrt();
    let z = |u: f64| (u - n1 * n2 / 2.0 - correction) / spread;
    let p = match alternative {
        "two-sided" => 2.0 * above(z(u1.max(u2)).abs()),
        "greater" => above(z(u2)),
        "less" => above(z(u1)),
        other => {
            let message = format!("mannWhitneyUTest has no alternative '{other}'");
            return Err(Error::new(ErrorKind::InvalidParameter, message)
                .with_hint("Alternatives are 'two-sided', 'less' and 'greater'."));
        }
    };
    Ok(Answer::Record(vec![u2, p]))
}

/// Student's test, or Welch's.
fn means(group: &Group<'_>, pooled: bool) -> Result<Answer> {
    if !group.params.is_empty() {
        let message = "a confidence level of a test of means is not supported";
        return Err(Error::new(ErrorKind::Sql(weir_sql::ErrorKind::Unsupported), message));
    }
    let moments = samples(group).map(|sample| {
        let n = sample.len() as f64;
        let mean = sample.iter().sum::<f64>() / n;
        (n, mean, sample.iter().map(|value| (value - mean).powi(2)).sum::<f64>())
    });
    let [(n1, mean1, squares1), (n2, mean2, squares2)] = moments;
    if n1 < 1.0 || n2 < 1.0 || n1 + n2 < 3.0 {
        return Ok(Answer::Record(vec![f64::NAN, f64::NAN]));
    }
    let (error, freedom) = if pooled {
        let freedom = n1 + n2 - 2.0;
        ((squares1 + squares2) / freedom * (1.0 / n1 + 1.0 / n2), freedom)
    } else {
        let (part1, part2) = (squares1 / (n1 - 1.0) / n1, squares2 / (n2 - 1.0) / n2);
        let sum = part1 + part2;
        (sum, sum * sum / (part1 * part1 / (n1 - 1.0) + part2 * part2 / (n2 - 1.0)))
    };
    let statistic = (mean1 - mean2) / error.sqrt();
    Ok(Answer::Record(vec![statistic, both_tails(statistic, freedom)]))
}

/// The chance that a value of Student's distribution is as far from 0.
fn both_tails(t: f64, freedom: f64) -> f64 {
    if t.is_nan() || freedom.is_nan() {
        return f64::NAN;
    }
    incomplete_beta(freedom / 2.0, 0.5, freedom / (freedom + t * t))
}

/// The regularised incomplete beta function, by Lentz's continued fraction.
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    // The fraction converges fast below the mean; above it the other tail is taken.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    const STEPS_MAX: u32 = 1000;
    const TINY: f64 = 1e-300;
    let front = libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b) + a * x.ln() + b * (1.0 - x).ln();
    let not_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (mut c, mut d) = (1.0, 1.0 / not_zero(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for m in 1..STEPS_MAX {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / not_zero(1.0 + term * d);
            c = not_zero(1.0 + term / c);
            change = d * c;
            fraction *= change;
        }
        if (change - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    front.exp() * fraction / a
}
