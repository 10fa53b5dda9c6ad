//! Short forms for declaring functions: [`function`] makes a [`ScalarFunction`], [`strict`] one [`Overload`] of it.
//!
//! ```text
//! function(&["lower"], STRING, "The text in lower case.", ("lower('AbC')", "abc"), vec![strict([TEXT], Type::Text, lower)])
//! ```
//!
//! A function is immutable and an overload strict unless said otherwise.

use weir_sql::Type;
use weir_sql::catalog::{Param, Returns, Volatility};

use super::{Kernel, Overload, ScalarFunction};

/// The family of text functions.
pub(crate) const STRING: &str = "string";
/// The family of pattern matching.
pub(crate) const PATTERN: &str = "pattern matching";
/// The family of dates, times and intervals.
pub(crate) const DATETIME: &str = "date and time";
/// The family of json and jsonb.
pub(crate) const JSON: &str = "json";
/// The family of arrays.
pub(crate) const ARRAY: &str = "array";
/// The family of digests and random identifiers.
pub(crate) const HASH: &str = "hash and uuid";
/// The family of questions about the session and the catalogue.
pub(crate) const SYSTEM: &str = "system information";

/// A text argument.
pub(crate) const TEXT: Param = Param::Exact(Type::Text);
/// A boolean argument.
pub(crate) const BOOL: Param = Param::Exact(Type::Bool);
/// An integer argument.
pub(crate) const INT4: Param = Param::Exact(Type::Int4);
/// A bigint argument.
pub(crate) const INT8: Param = Param::Exact(Type::Int8);
/// A double precision argument.
pub(crate) const FLOAT8: Param = Param::Exact(Type::Float8);
/// A numeric argument.
pub(crate) const NUMERIC: Param = Param::Exact(Type::Numeric(None));
/// A bytea argument.
pub(crate) const BYTEA: Param = Param::Exact(Type::Bytea);
/// A date argument.
pub(crate) const DATE: Param = Param::Exact(Type::Date);
/// A time argument.
pub(crate) const TIME: Param = Param::Exact(Type::Time);
/// A timestamp argument.
pub(crate) const TIMESTAMP: Param = Param::Exact(Type::Timestamp);
/// A timestamptz argument.
pub(crate) const TIMESTAMPTZ: Param = Param::Exact(Type::Timestamptz);
/// An interval argument.
pub(crate) const INTERVAL: Param = Param::Exact(Type::Interval);
/// A json argument.
pub(crate) const JSON_TEXT: Param = Param::Exact(Type::Json);
/// A jsonb argument.
pub(crate) const JSONB: Param = Param::Exact(Type::Jsonb);
/// An oid argument.
pub(crate) const OID: Param = Param::Exact(Type::Oid);

/// The type of an array of texts.
pub(crate) fn text_array() -> Type {
    Type::Array(Box::new(Type::Text))
}

/// An argument that is an array of texts.
pub(crate) fn texts() -> Param {
    Param::Exact(text_array())
}

/// An immutable function; see [`ScalarFunction`] for what the parts are.
pub(crate) fn function(
    names: &'static [&'static str],
    family: &'static str,
    doc: &'static str,
    example: (&'static str, &'static str),
    overloads: Vec<Overload>,
) -> ScalarFunction {
    ScalarFunction { names, family, doc, example, volatility: Volatility::Immutable, overloads }
}

/// An overload that gives NULL for any NULL argument.
pub(crate) fn strict(params: impl Into<Vec<Param>>, returns: Type, kernel: Kernel) -> Overload {
    strict_as(params, Returns::Exact(returns), kernel)
}

/// As [`strict`], with a result type that depends on the arguments.
pub(crate) fn strict_as(params: impl Into<Vec<Param>>, returns: Returns, kernel: Kernel) -> Overload {
    Overload { params: params.into(), optional: 0, variadic: false, returns, strict: true, kernel }
}

impl ScalarFunction {
    /// Makes it one whose answer holds for one statement only.
    pub(crate) fn stable(mut self) -> ScalarFunction {
        self.volatility = Volatility::Stable;
        self
    }

    /// Makes it one whose answer may differ from call to call.
    pub(crate) fn volatile(mut self) -> ScalarFunction {
        self.volatility = Volatility::Volatile;
        self
    }
}
