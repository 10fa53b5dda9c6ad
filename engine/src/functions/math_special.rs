//! The error function and the gamma function, as `libm` computes them.

use arrow::datatypes::Float64Type;
use weir_sql::Type;

use super::ScalarFunction;
use super::declare::{FLOAT8, function, strict};
use super::rows::{primitive, primitive_rows};
use crate::error::{Error, ErrorKind};

const FAMILY: &str = "mathematical";

pub(crate) fn functions() -> Vec<ScalarFunction> {
    macro_rules! of_double {
        ($names:expr, $doc:expr, $example:expr, $body:expr) => {
            function(
                $names,
                FAMILY,
                $doc,
                $example,
                vec![strict([FLOAT8], Type::Float8, |_, a, n, ty| {
                    let values = primitive::<Float64Type>(a, 0)?;
                    primitive_rows::<Float64Type>(a, n, ty, |row| Ok(Some($body(values.at(row)))))
                })],
            )
        };
    }
    vec![
        of_double!(&["erf"], "The error function.", ("erf(0.5)", "0.5204998778130465"), libm::erf),
        of_double!(&["erfc"], "1 less the error function.", ("erfc(0.5)", "0.4795001221869535"), libm::erfc),
        of_double!(
            &["lgamma"],
            "The logarithm of the gamma function.",
            ("lgamma(3)", "0.6931471805599453"),
            libm::lgamma
        ),
        function(
            &["tgamma", "gamma"],
            FAMILY,
            "The gamma function: (x - 1)! of a whole number.",
            ("tgamma(5)", "24"),
            vec![strict([FLOAT8], Type::Float8, |_, a, n, ty| {
                let values = primitive::<Float64Type>(a, 0)?;
                primitive_rows::<Float64Type>(a, n, ty, |row| {
                    let (value, gamma) = (values.at(row), libm::tgamma(values.at(row)));
                    match value.is_finite() && gamma.is_infinite() {
                        true => Err(Error::new(ErrorKind::NumericOutOfRange, "value out of range: overflow")),
                        false => Ok(Some(gamma)),
                    }
                })
            })],
        ),
    ]
}
