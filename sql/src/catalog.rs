//! What the binder asks of the world: [`Catalog`] names relations, [`Functions`] names functions and operators.
//!
//! The engine implements both. The binder never learns how a table is stored or a function computed: it holds the ids it is given.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::DataType;

use crate::collation::Collation;
use crate::error::Result;
use crate::types::Type;
use crate::value::Value;

/// Names relations, types and settings as one session sees them at one version.
pub trait Catalog {
    /// The relation of this name; `schema` is `None` for an unqualified name, which the search path resolves.
    fn relation(&self, schema: Option<&str>, name: &str) -> Result<Option<Arc<Relation>>>;

    /// Names of all relations that a statement could mean, for "did you mean".
    fn relation_names(&self) -> Vec<String>;

    /// A session setting, such as `timezone`; `None` if there is no such setting.
    fn setting(&self, name: &str) -> Option<String>;

    /// The texts that a plan of one column gives, without NULLs: the values that PIVOT makes columns of.
    fn texts(&self, _plan: crate::plan::Plan) -> Result<Vec<String>> {
        let error = crate::error::Error::new(crate::error::ErrorKind::Unsupported, "PIVOT needs IN here");
        Err(error.with_hint("Name the values: PIVOT t ON column IN (value, …)."))
    }

    /// EMIT ON WINDOW CLOSE of a query: its rows whose windows are closed when it runs.
    fn closed(&self, _plan: crate::plan::Plan) -> Result<crate::plan::Plan> {
        Err(crate::error::Error::new(
            crate::error::ErrorKind::Unsupported,
            "EMIT ON WINDOW CLOSE is not supported here",
        ))
    }

    /// An error if a text is no value of a type that values are read as in every session alike.
    fn check_literal(&self, _text: &str, _ty: &Type) -> Result<()> {
        Ok(())
    }

    /// An error if an expression without columns and parameters gives one.
    fn check_constant(&self, _expr: &crate::plan::Expr) -> Result<()> {
        Ok(())
    }

    /// The columns of a call of a table function whose shape depends on its arguments (`read_parquet('…')` looks into the file), which are all
    /// constants; `None` where the function's signature says it.
    fn table_function_columns(
        &self,
        _name: &str,
        _args: &[Value],
        _named_args: &[(String, Value)],
    ) -> Result<Option<Vec<(String, Type)>>> {
        Ok(None)
    }
}

/// A relation that a query can name.
#[derive(Debug, Clone)]
pub struct Relation {
    /// Stable across restarts; what pg_class shows.
    pub oid: u32,
    /// The schema's name.
    pub schema: String,
    /// The name.
    pub name: String,
    /// What it is.
    pub kind: RelationKind,
    /// In order; `pg_attribute.attnum` is the index plus one.
    pub columns: Vec<ColumnInfo>,
    /// The primary key's columns, by index; empty if there is none.
    pub primary_key: Vec<usize>,
}

/// What a relation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelationKind {
    /// Rows in storage.
    Table,
    /// A view, expanded by the binder from its SELECT's text.
    View {
        /// The SELECT.
        query: String,
    },
    /// An incremental materialized view: states in storage, finished by the engine on read.
    MaterializedView,
    /// The states of a materialized view, as they are stored: keys, then the columns of each aggregate's state. No name leads there.
    States,
    /// A relation that the engine computes (pg_catalog, information_schema, weir).
    System,
}

/// A column of a relation.
#[derive(Debug, Clone)]
pub struct ColumnInfo {
    /// The name.
    pub name: String,
    /// The type.
    pub ty: Type,
    /// Whether it admits NULL.
    pub nullable: bool,
    /// The DEFAULT expression as SQL text.
    pub default: Option<String>,
    /// By which its texts are ordered.
    pub collation: Collation,
}

impl ColumnInfo {
    /// A column that admits NULL and has nothing but a name and a type.
    pub fn new(name: impl Into<String>, ty: Type) -> ColumnInfo {
        ColumnInfo { name: name.into(), ty, nullable: true, default: None, collation: Collation::DEFAULT }
    }
}

/// Which function, of all the engine has: an index that the engine gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FunctionId(pub u32);

/// Names functions and operators. Operators are functions whose name is their symbol (`+`, `||`, `->>`, `~*`, unary `-`), so that one
/// resolution serves both.
pub trait Functions {
    /// All overloads under this (lower-case or exact ClickHouse) name. Empty if there is none.
    fn overloads(&self, name: &str) -> &[Signature];

    /// All names, for "did you mean".
    fn names(&self) -> Vec<&str>;

    /// The first name of the aggregate behind an id, without -If, and whether it has that combinator.
    fn aggregate(&self, id: FunctionId) -> (&str, bool);

    /// Whether the states of the aggregate behind an id are the same whatever its parameters, which only the end asks for.
    fn parameters_last(&self, _id: FunctionId) -> bool {
        false
    }
}

/// What is known of the tables that a plan reads, for the optimiser to choose by. It is asked once a statement; being wrong costs time only.
pub trait Statistics {
    /// How many rows a relation has.
    fn rows(&self, oid: u32) -> Option<f64>;

    /// How many different values a column has, about.
    fn distinct(&self, oid: u32, column: usize) -> Option<f64>;

    /// The least and the greatest value of a column of numbers, dates (in days) or times (in microseconds).
    fn range(&self, oid: u32, column: usize) -> Option<(f64, f64)>;
}

/// A column of numbers, dates or times as double precision, as [`Statistics::range`] counts; `None` of any other type.
pub fn numbers(column: &ArrayRef) -> Option<ArrayRef> {
    let plain = match column.data_type() {
        DataType::Date32 => cast(column, &DataType::Int32).ok()?,
        DataType::Timestamp(..) | DataType::Time64(_) => cast(column, &DataType::Int64).ok()?,
        ty if ty.is_numeric() => column.clone(),
        _ => return None,
    };
    cast(&plain, &DataType::Float64).ok()
}

/// Of nothing anything is known.
pub struct NoStatistics;

impl Statistics for NoStatistics {
    fn rows(&self, _: u32) -> Option<f64> {
        None
    }

    fn distinct(&self, _: u32, _: usize) -> Option<f64> {
        None
    }

    fn range(&self, _: u32, _: usize) -> Option<(f64, f64)> {
        None
    }
}

/// One overload of a function.
#[derive(Debug, Clone)]
pub struct Signature {
    /// Its id.
    pub id: FunctionId,
    /// What kind of function it is.
    pub kind: FunctionKind,
    /// Types of its arguments.
    pub params: Vec<Param>,
    /// How many of `params` may be left off at the end.
    pub optional: usize,
    /// Whether the last of `params` may be given any number of times (one at the least, unless it is optional).
    pub variadic: bool,
    /// The type of its result, once those of its arguments are known.
    pub returns: Returns,
    /// Whether two calls with the same arguments may differ.
    pub volatility: Volatility,
}

/// What kind of function a signature is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionKind {
    /// One value a row.
    Scalar,
    /// One value a group; any aggregate may also be used as a window function.
    Aggregate,
    /// One value a row from the rows around it.
    Window,
    /// Rows, in FROM or in a SELECT list; `returns` is a Record, or the type of its one column.
    Table,
}

/// Postgres's volatility.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volatility {
    /// Always the same: may be folded at bind time.
    Immutable,
    /// The same within one statement (`now()`, anything that reads the time zone).
    Stable,
    /// Anything (`random()`).
    Volatile,
}

/// What an argument must be. The binder casts implicitly where Postgres would.
#[derive(Debug, Clone, PartialEq)]
pub enum Param {
    /// This type. `Type::Numeric(None)` is met by a numeric of any precision, `Type::Text` by any text type, with no cast.
    Exact(Type),
    /// Any type at all, as it is (an unknown literal becomes text).
    Any,
    /// Any type but arrays, as it is (an unknown literal becomes text).
    AnyNonArray,
    /// Any type; all arguments marked so are cast to their common type.
    AnyElement,
    /// An array, whose element takes part in the common type of `AnyElement`.
    AnyArray,
    /// Any integer type, as it is.
    AnyInteger,
    /// Any number type, as it is.
    AnyNumber,
    /// Any of date, timestamp, timestamptz, as it is (an unknown literal becomes timestamptz).
    AnyTimestamp,
    /// Any aggregate's state, as it is.
    AnyState,
    /// Any map, as it is.
    AnyMap,
    /// A lambda (`x -> …`) over the elements of the call's other arguments, which are arrays. The argument is the array of its values.
    Lambda,
    /// A lambda whose body is cast to this type; to a boolean also from a number, which is true unless it is 0.
    LambdaOf(Type),
}

/// The type of a result.
#[derive(Debug, Clone)]
pub enum Returns {
    /// This type.
    Exact(Type),
    /// The common type of the `AnyElement` and `AnyArray` element arguments.
    Element,
    /// The array over that type.
    ArrayOfElement,
    /// The type of the argument at this index, after casts.
    Argument(usize),
    /// Computed from the types of the arguments after casts.
    Computed(fn(&[Type]) -> Type),
}
