//! Functions: each is declared once, with its names, signatures, documentation, example and kernel; the binder and `SHOW
//! FUNCTIONS` read it from the [`Registry`].
//!
//! To add a scalar function, add a [`ScalarFunction`] to the list of one family's file. Operators are functions whose name is
//! their symbol. A kernel sees whole columns: it is called once a batch, never once a value, and must give the same rows however
//! they are batched.

pub(crate) mod arithmetic;
mod array;
mod bitmap;
mod catalog;
mod collation;
pub mod compare;
mod convert;
mod datetime;
mod datetime_clickhouse;
mod datetime_fields;
pub(crate) mod datetime_grain;
mod datetime_more;
mod datetime_names;
mod datetime_parse;
mod datetime_trunc;
mod datetime_weeks;
mod datetime_windows;
mod declare;
mod detached;
mod digest;
mod encode;
mod example_list;
#[cfg(test)]
mod examples;
mod families;
mod format;
mod hash;
mod hash_murmur;
mod ip;
pub(crate) mod json;
mod like;
mod map;
mod math;
mod math_numeric;
mod math_special;
mod math_steps;
pub(crate) mod moments;
mod number_bytes;
pub mod quote;
mod readable;
mod regex;
mod regex_clickhouse;
pub(crate) mod regex_engine;
mod regex_similar;
pub(crate) mod regex_syntax;
pub mod registry;
mod round_bankers;
mod rows;
mod similarity;
mod states;
mod string;
mod string_measures;
mod string_parts;
mod string_search;
pub(crate) mod subquery;
pub mod system;
mod table;
pub(crate) mod template;
mod text_list;
mod unicode;
mod url;
mod url_parameters;
pub(crate) mod watermark;
pub mod window;

use std::ops::Deref;
use std::sync::Arc;

pub(crate) use declare::{DATETIME, SYSTEM};
pub use registry::{Implementation, Registry, registry};

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use weir_sql::catalog::{Param, Returns, Volatility};
use weir_sql::{Type, Value};

use crate::cancel::Cancel;
use crate::error::Result;

/// An argument or result of a kernel: a column, or one value that stands for every row.
#[derive(Debug, Clone)]
pub enum Datum {
    /// One value a row.
    Array(ArrayRef),
    /// The same value in each row.
    Scalar(Value),
}

impl Datum {
    /// As a column of `rows` rows.
    pub fn into_array(self, rows: usize) -> Result<ArrayRef> {
        match self {
            Datum::Array(array) => Ok(array),
            Datum::Scalar(value) => Ok(take(&value.array, &UInt32Array::from(vec![0; rows]), None)?),
        }
    }

    /// The array behind it: of all rows, or of the one row of a scalar.
    pub fn array(&self) -> &ArrayRef {
        match self {
            Datum::Array(array) => array,
            Datum::Scalar(value) => &value.array,
        }
    }

    /// Whether this is a NULL constant.
    pub fn is_null_scalar(&self) -> bool {
        matches!(self, Datum::Scalar(value) if value.is_null())
    }
}

/// What a kernel may ask of the statement it runs in.
#[derive(Debug, Clone)]
pub struct Context {
    /// `now()`: microseconds since the epoch, the transaction's start.
    pub now: i64,
    /// `statement_timestamp()`.
    pub statement_start: i64,
    /// The session's time zone.
    pub time_zone: jiff::tz::TimeZone,
    /// IntervalStyle, DateStyle and the like, as text output needs them.
    pub settings: Arc<dyn Settings>,
    /// Answers about the catalogue that functions such as `pg_get_expr` and `format_type` or casts to regclass need.
    pub catalog: Arc<dyn CatalogLookup>,
    /// What ends the statement early: asked by kernels that wait.
    pub cancel: Cancel,
}

/// Session settings by name, for `current_setting` and for output.
pub trait Settings: std::fmt::Debug + Send + Sync {
    /// The setting's value; `None` if there is no such setting.
    fn get(&self, name: &str) -> Option<String>;
    /// Those that are not at their defaults, by name, as far as what functions give may depend on them.
    fn changed(&self) -> Vec<(String, String)> {
        Vec::new()
    }
    /// Sets it, for `set_config`: the value as SHOW has it.
    fn set(&self, name: &str, _value: &str, _local: bool) -> Result<String> {
        Err(crate::error::Error::internal(format!("setting \"{name}\" cannot be set here")))
    }
}

/// What functions ask about objects by oid or name.
pub trait CatalogLookup: std::fmt::Debug + Send + Sync {
    /// The relation's oid, for a cast of text to regclass; `schema` as given.
    fn relation_oid(&self, schema: Option<&str>, name: &str) -> Option<u32>;
    /// Schema, name and whether it is visible without a schema, of a relation.
    fn relation_name(&self, oid: u32) -> Option<(String, String, bool)>;
    /// The schema's oid.
    fn namespace_oid(&self, name: &str) -> Option<u32>;
    /// The schema's name.
    fn namespace_name(&self, oid: u32) -> Option<String>;
    /// The function's name, for regproc.
    fn function_name(&self, oid: u32) -> Option<String>;
    /// The function's oid.
    fn function_oid(&self, name: &str) -> Option<u32>;
    /// The user this session logged in as.
    fn current_user(&self) -> String;
    /// The SELECT text of a view (`pg_get_viewdef`).
    fn view_definition(&self, oid: u32) -> Option<String>;
    /// The default expression's text of a column, by relation oid and attnum (`pg_get_expr` of pg_attrdef.adbin, which we keep as text).
    fn comment(&self, oid: u32, column: i32) -> Option<String>;
    /// The search path, in order.
    fn search_path(&self) -> Vec<String>;
    /// Ends the running statement of the session with this number, or the session itself; whether there is one.
    fn signal_session(&self, _pid: i32, _terminate: bool) -> bool {
        false
    }
    /// This connection's number (`pg_backend_pid()`).
    fn backend_pid(&self) -> i32;
    /// Bytes on disk of a relation.
    fn relation_size(&self, oid: u32) -> Option<i64>;
    /// `pg_get_indexdef`: the statement that would make an index, or the expression of one of its columns (from 1).
    fn index_definition(&self, _oid: u32, _column: i32) -> Option<String> {
        None
    }
    /// `pg_get_constraintdef`.
    fn constraint_definition(&self, _oid: u32) -> Option<String> {
        None
    }
    /// The statement that would make a relation (SHOW CREATE TABLE).
    fn create_statement(&self, _oid: u32) -> Option<String> {
        None
    }
    /// The watermark of a relation, in microseconds since 1970.
    fn watermark(&self, _oid: u32) -> Option<i64> {
        None
    }
    /// The role's oid.
    fn role_oid(&self, _name: &str) -> Option<u32> {
        None
    }
    /// The role's name.
    fn role_name(&self, _oid: u32) -> Option<String> {
        None
    }
    /// The database's name.
    fn database_name(&self) -> String {
        "weir".into()
    }
}

/// The SQL types of a call, which the Arrow types alone do not tell: `to_json` must know text from jsonb, `concat` an oid from a
/// regclass. Dereferences to the result's type, all that most kernels ask for.
#[derive(Debug, Clone, Copy)]
pub struct Types<'a> {
    /// Of the arguments, after casts.
    pub args: &'a [Type],
    /// Of the result, as the binder computed it.
    pub result: &'a Type,
}

impl Deref for Types<'_> {
    type Target = Type;

    fn deref(&self) -> &Type {
        self.result
    }
}

/// The code of a scalar function: arguments as declared (each array of `rows` rows) and the types of the call; gives a `Datum` of the
/// result type's Arrow form.
pub type Kernel = fn(&Context, &[Datum], rows: usize, &Types<'_>) -> Result<Datum>;

/// One overload of a scalar function.
#[derive(Debug, Clone)]
pub struct Overload {
    /// What its arguments must be.
    pub params: Vec<Param>,
    /// How many of them may be left off at the end.
    pub optional: usize,
    /// Whether the last may be repeated.
    pub variadic: bool,
    /// Its result's type.
    pub returns: Returns,
    /// Whether NULL in any argument makes the result NULL without the kernel being asked (the kernel may then ignore those rows' values,
    /// but still must not fail on them).
    pub strict: bool,
    /// The code.
    pub kernel: Kernel,
}

impl Overload {
    /// A strict overload of exactly these argument types.
    pub fn exact(params: &[Type], returns: Type, kernel: Kernel) -> Overload {
        Overload::new(params.iter().cloned().map(Param::Exact).collect(), Returns::Exact(returns), kernel)
    }

    /// A strict overload.
    pub fn new(params: Vec<Param>, returns: Returns, kernel: Kernel) -> Overload {
        Overload { params, optional: 0, variadic: false, returns, strict: true, kernel }
    }

    /// The last `n` arguments may be left off.
    pub fn optional(mut self, n: usize) -> Overload {
        self.optional = n;
        self
    }

    /// The last argument may be repeated.
    pub fn variadic(mut self) -> Overload {
        self.variadic = true;
        self
    }

    /// The kernel wants to see NULLs.
    pub fn lax(mut self) -> Overload {
        self.strict = false;
        self
    }
}

/// A scalar function or operator.
#[derive(Debug, Clone)]
pub struct ScalarFunction {
    /// Its name, then its other names.
    pub names: &'static [&'static str],
    /// Its family, as SHOW FUNCTIONS groups them: "string", "date and time", …
    pub family: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// A SELECT and what it gives, as `("upper('a')", "A")`; run by a test. Empty where `example_list` has it.
    pub example: (&'static str, &'static str),
    /// Whether two calls may differ.
    pub volatility: Volatility,
    /// Its overloads.
    pub overloads: Vec<Overload>,
}
