//! The bound logical plan: a tree of relational operators whose expressions are typed and name their inputs by position.
//!
//! Invariants: every [`Expr`] has its final type and all implicit casts are written out; `Column(i)` is the i-th column of the
//! operator's input (of left then right for a join; of the table itself in [`Scan::filters`]); names occur only for output and EXPLAIN.

mod combinator;
mod fill;
mod window;

use std::sync::Arc;

use crate::catalog::{FunctionId, Relation};
use crate::collation::{self, Collating};
use crate::types::Type;
use crate::value::Value;

pub use combinator::{Combinator, Spread};
pub use fill::{FillRange, Gap};
pub use window::{Exclude, Frame, FrameBound, FrameOffset, FrameUnits, WindowCall};

/// A column that an operator puts out.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputColumn {
    /// As a client sees it.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// Postgres's type modifier as a client sees it: that of the column or cast this came from, -1 for computed values.
    pub typmod: i32,
    /// The relation's oid and the attribute number (from 1), where this is a relation's column unchanged.
    pub origin: Option<(u32, i16)>,
    /// Its collation, which only the binder asks for.
    pub collating: Collating,
}

impl OutputColumn {
    /// A column that is computed, not a relation's.
    pub fn computed(name: impl Into<String>, ty: Type) -> OutputColumn {
        OutputColumn { name: name.into(), ty, typmod: -1, origin: None, collating: Collating::default() }
    }
}

/// A relational operator.
#[derive(Debug, Clone)]
pub enum Plan {
    /// Rows of a relation.
    Scan(Scan),
    /// Literal rows; no rows and no columns is `VALUES` of nothing, one row of no columns is a SELECT without FROM.
    Values {
        /// Each row's expressions, all of the columns' types.
        rows: Vec<Vec<Expr>>,
        /// What the rows look like.
        columns: Vec<OutputColumn>,
    },
    /// Rows from a table function (`generate_series`, `unnest`, `read_parquet`); arguments see no input but outer queries.
    TableFunction {
        /// Which.
        function: FunctionId,
        /// Its name, for EXPLAIN.
        name: String,
        /// Positional arguments.
        args: Vec<Expr>,
        /// `name => value` arguments.
        named_args: Vec<(String, Value)>,
        /// What the rows look like.
        columns: Vec<OutputColumn>,
        /// Whether a bigint column `ordinality` follows.
        ordinality: bool,
    },
    /// The rows for which the predicate is true.
    Filter {
        /// Input.
        input: Box<Plan>,
        /// A boolean.
        predicate: Expr,
    },
    /// One computed column for each expression.
    Project {
        /// Input.
        input: Box<Plan>,
        /// What to compute.
        exprs: Vec<Expr>,
        /// What it looks like.
        columns: Vec<OutputColumn>,
    },
    /// Set-returning functions of a SELECT list: each input row is repeated for each row that the functions give; the functions'
    /// columns follow the input's.
    ProjectSet {
        /// Input.
        input: Box<Plan>,
        /// Calls of table functions, by id and arguments over the input.
        calls: Vec<(FunctionId, Vec<Expr>)>,
        /// Input columns, then one for each call.
        columns: Vec<OutputColumn>,
    },
    /// Window functions of one window; the input is sorted by `partition_by`, then `order_by`.
    Window {
        /// Input.
        input: Box<Plan>,
        /// Rows equal in these are numbered together.
        partition_by: Vec<Expr>,
        /// Rows equal in these are peers.
        order_by: Vec<SortKey>,
        /// The functions.
        calls: Vec<WindowCall>,
        /// Input columns, then one for each call.
        columns: Vec<OutputColumn>,
    },
    /// One row a group: the keys, then the aggregates. No keys: one row, even over no rows.
    Aggregate {
        /// Input.
        input: Box<Plan>,
        /// Group keys.
        keys: Vec<Expr>,
        /// Aggregates.
        aggregates: Vec<AggregateCall>,
        /// Groups that are there even over no rows, as the last key's values (integers); their other keys are NULL. GROUPING SETS has them.
        always: Vec<i32>,
        /// Keys then aggregates.
        columns: Vec<OutputColumn>,
    },
    /// Rows in order. Stable only as far as the keys say.
    Sort {
        /// Input.
        input: Box<Plan>,
        /// By what.
        keys: Vec<SortKey>,
    },
    /// A run of rows. NULL expressions mean no bound. Directly over a Sort it is a top-N.
    Limit {
        /// Input.
        input: Box<Plan>,
        /// How many at the most: a bigint without columns.
        limit: Option<Expr>,
        /// How many to pass over first.
        offset: Option<Expr>,
    },
    /// Each distinct row once; with `on`, the first row for each distinct value of these (input is sorted by them first).
    Distinct {
        /// Input.
        input: Box<Plan>,
        /// DISTINCT ON.
        on: Option<Vec<Expr>>,
    },
    /// A join: left's columns then right's; only left's for Semi and Anti.
    Join {
        /// What kind.
        kind: JoinKind,
        /// Left.
        left: Box<Plan>,
        /// Right; where `lateral`, its `Outer { depth: 1 }` columns are left's.
        right: Box<Plan>,
        /// Equalities: a key over left and a key over right, of one type.
        on: Vec<(Expr, Expr)>,
        /// What else must hold, over left then right.
        filter: Option<Expr>,
        /// Whether right refers to left.
        lateral: bool,
        /// Whether rows of left are collected and those of right stream past, at a left, semi or anti join; otherwise it is the other way.
        build_left: bool,
        /// Left's then right's (or left's alone).
        columns: Vec<OutputColumn>,
    },
    /// Each left row with one row of the right: of those whose keys are equal and that pass the filter, the nearest by `order`; the first
    /// without it.
    NearestJoin {
        /// Inner or Left; Right and Full also put out the right rows that no left row met.
        kind: JoinKind,
        /// Left.
        left: Box<Plan>,
        /// Right.
        right: Box<Plan>,
        /// Equalities: a key over left and a key over right, of one type.
        on: Vec<(Expr, Expr)>,
        /// The inequality: ASOF.
        order: Option<Box<Nearest>>,
        /// What else must hold, over left then right.
        filter: Option<Expr>,
        /// Left's then right's.
        columns: Vec<OutputColumn>,
    },
    /// Some of the rows, by chance.
    Sample {
        /// Input.
        input: Box<Plan>,
        /// What `amount` counts.
        of: Sample,
        /// How many: a double without columns.
        amount: Expr,
        /// Which share of all rows, up to one, comes before it: a double without columns. Only of a share up to one.
        offset: Option<Expr>,
        /// Two samples with one seed are the same as long as the input is: a double without columns.
        seed: Option<Expr>,
    },
    /// The rows, which are sorted by `partition_by` and then by the keys, and between them those that are missing.
    Fill {
        /// Input.
        input: Box<Plan>,
        /// Columns whose values part rows that are filled up by themselves. A row that is put in has their values.
        partition_by: Vec<usize>,
        /// What is missing: for each value that the first key is to have, all that the second is to have, and so on.
        ranges: Vec<FillRange>,
        /// What each other column of a row that is put in has.
        values: Vec<Gap>,
    },
    /// UNION, INTERSECT, EXCEPT: inputs have the same types.
    SetOperation {
        /// Which.
        kind: SetKind,
        /// Whether duplicates are kept.
        all: bool,
        /// Left.
        left: Box<Plan>,
        /// Right.
        right: Box<Plan>,
        /// The left's names.
        columns: Vec<OutputColumn>,
    },
    /// WITH RECURSIVE: `base`, then `step` over the rows of the round before, until there are none.
    Recursive {
        /// Names the working table that `WorkingTable` reads.
        id: usize,
        /// The first rows.
        base: Box<Plan>,
        /// The next rows.
        step: Box<Plan>,
        /// UNION ALL rather than UNION.
        all: bool,
        /// What the rows look like.
        columns: Vec<OutputColumn>,
    },
    /// The rows of the round before, inside a `Recursive` of this id.
    WorkingTable {
        /// Of which.
        id: usize,
        /// What the rows look like.
        columns: Vec<OutputColumn>,
    },
    /// A query that WITH named, where it is named. All of one id are the same query.
    Cte {
        /// Which.
        id: usize,
        /// Its name.
        name: String,
        /// The query.
        input: Box<Plan>,
        /// Whether MATERIALIZED or NOT MATERIALIZED says how it is run.
        materialized: Option<bool>,
    },
    /// Queries that run once, in order, and the one that scans their rows. Only the optimiser makes it, at the top of a plan.
    With {
        /// Each may scan those before it.
        ctes: Vec<Cte>,
        /// The query.
        body: Box<Plan>,
    },
    /// The rows of a query of the `With` around it.
    CteScan {
        /// Of which.
        id: usize,
        /// Its name.
        name: String,
        /// Its columns that are put out, by index.
        projection: Vec<usize>,
        /// How many rows it is thought to have.
        rows: f64,
        /// The projected columns.
        columns: Vec<OutputColumn>,
    },
}

/// A query that runs once for all that scan it.
#[derive(Debug, Clone)]
pub struct Cte {
    /// By which its scans know it.
    pub id: usize,
    /// Its name.
    pub name: String,
    /// The query.
    pub plan: Plan,
}

/// Rows of a relation, with what is pushed into the scan.
#[derive(Debug, Clone)]
pub struct Scan {
    /// Which.
    pub relation: Arc<Relation>,
    /// The relation's columns that are put out, by index. The index after the last column is the row's place, a bigint by which storage finds
    /// the row again in the same snapshot.
    pub projection: Vec<usize>,
    /// Conjuncts that rows must fulfil, over the relation's own columns (not the projection).
    pub filters: Vec<Expr>,
    /// The projected columns.
    pub columns: Vec<OutputColumn>,
}

/// What a sample's amount counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// Of a hundred rows, each taken by itself: BERNOULLI.
    Share,
    /// Of a hundred runs of rows: SYSTEM.
    Blocks,
    /// Rows.
    Rows,
    /// Of one row, up to one; rows above it. ClickHouse's SAMPLE.
    ShareOrRows,
}

/// Which row of the right is the nearest to a left row.
#[derive(Debug, Clone, PartialEq)]
pub struct Nearest {
    /// Over left.
    pub left: Expr,
    /// Over right, of the same type.
    pub right: Expr,
    /// The greatest of the right that is not above left, rather than the least that is not below it.
    pub before: bool,
    /// Whether they may be equal.
    pub equal: bool,
}

/// Kinds of join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    /// Matching pairs; without conditions, a cross join.
    Inner,
    /// And left rows without a match.
    Left,
    /// And right rows without a match.
    Right,
    /// And both.
    Full,
    /// Left rows with a match.
    Semi,
    /// Left rows without one.
    Anti,
}

/// Kinds of set operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetKind {
    /// UNION
    Union,
    /// INTERSECT
    Intersect,
    /// EXCEPT
    Except,
}

/// One ORDER BY key.
#[derive(Debug, Clone, PartialEq)]
pub struct SortKey {
    /// By what.
    pub expr: Expr,
    /// DESC
    pub descending: bool,
    /// NULLS FIRST; Postgres's default is the value of `descending`.
    pub nulls_first: bool,
}

/// A call of an aggregate function.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregateCall {
    /// Which.
    pub function: FunctionId,
    /// Its name, for EXPLAIN and view definitions.
    pub name: String,
    /// Constant parameters, ClickHouse's `quantile(0.9)(x)` or the direct arguments of an ordered-set aggregate.
    pub params: Vec<Value>,
    /// Arguments; none for `count(*)`.
    pub args: Vec<Expr>,
    /// DISTINCT
    pub distinct: bool,
    /// FILTER (WHERE …)
    pub filter: Option<Expr>,
    /// ORDER BY within the call, or WITHIN GROUP.
    pub order_by: Vec<SortKey>,
    /// Whether states stand in place of rows or of the result.
    pub combinator: Option<Combinator>,
    /// Type of the result.
    pub ty: Type,
}

/// A typed expression.
#[derive(Debug, Clone)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Its type.
    pub ty: Type,
    /// Its collation, while it is bound: what compares by one is bound over keys, so that no operator asks.
    pub collating: Collating,
}

/// Equal expressions have equal values: a collation changes none.
impl PartialEq for Expr {
    fn eq(&self, other: &Expr) -> bool {
        self.kind == other.kind && self.ty == other.ty
    }
}

/// What an expression is. Everything strict and value-by-value is a `Call`; what is here has a rule of its own.
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// A column of the input.
    Column(usize),
    /// A column of an enclosing query's current row; depth 1 is the nearest.
    Outer {
        /// How many queries out.
        depth: usize,
        /// Which column of that query's input at the subquery's place.
        column: usize,
    },
    /// A constant.
    Literal(Value),
    /// `$n`, counted from 0.
    Parameter(usize),
    /// A scalar function or operator.
    Call {
        /// Which.
        function: FunctionId,
        /// Its name, for EXPLAIN and error messages.
        name: String,
        /// Arguments, already cast.
        args: Vec<Expr>,
    },
    /// A cast to the expression's type; `explicit` allows what an assignment or implicit cast may not (text length cut off silently).
    Cast {
        /// Of what.
        expr: Box<Expr>,
        /// Written by the user.
        explicit: bool,
        /// TRY_CAST: NULL instead of an error.
        lenient: bool,
    },
    /// All are true; three-valued, and evaluated so that a later one cannot fail for a row that an earlier one excludes.
    And(Vec<Expr>),
    /// One is true; likewise.
    Or(Vec<Expr>),
    /// Negation.
    Not(Box<Expr>),
    /// IS NULL; a record is NULL if all its fields are.
    IsNull(Box<Expr>),
    /// The first branch whose condition is true; branches are evaluated only for the rows that reach them.
    Case {
        /// Condition, result.
        branches: Vec<(Expr, Expr)>,
        /// ELSE; NULL if absent.
        otherwise: Option<Box<Expr>>,
    },
    /// The first that is not NULL, lazily.
    Coalesce(Vec<Expr>),
    /// `expr IN (list)`, three-valued.
    InList {
        /// What.
        expr: Box<Expr>,
        /// All of its type.
        list: Vec<Expr>,
    },
    /// `ARRAY[…]`
    Array(Vec<Expr>),
    /// `ROW(…)`
    Row(Vec<Expr>),
    /// A field of a record, by index.
    Field(Box<Expr>, usize),
    /// `left op ANY (array)` or `ALL`: `call` is a scalar function over (left, element).
    Quantified {
        /// Left side.
        left: Box<Expr>,
        /// The comparison.
        function: FunctionId,
        /// Its name.
        name: String,
        /// An array.
        array: Box<Expr>,
        /// ALL rather than ANY.
        all: bool,
    },
    /// A query as a value.
    Subquery(Box<Subquery>),
    /// `x -> …`, an argument of a function that takes one: the array of its values for the elements of the call's arrays.
    Lambda(Box<Lambda>),
}

/// A lambda. Its body stands one level deeper, as a subquery's plan does: `Column(i)` is its i-th parameter, `Outer { depth: 1 }` a column of the row.
#[derive(Debug, Clone, PartialEq)]
pub struct Lambda {
    /// The parameters' names, for EXPLAIN: one for each array of the call, in order.
    pub params: Vec<String>,
    /// What it gives for one element.
    pub body: Expr,
    /// The first parameter is what the body gave for the element before, and the value is that of the last: arrayFold's.
    pub folds: bool,
}

/// A query inside an expression. Its `Outer { depth: 1 }` columns are those of the operator's input that the expression sees.
#[derive(Debug, Clone)]
pub struct Subquery {
    /// How its rows become a value.
    pub kind: SubqueryKind,
    /// The query.
    pub plan: Plan,
    /// Whether `plan` has `Outer` columns that reach out of it; if not, it is run once.
    pub correlated: bool,
}

/// Subqueries are equal only to themselves: nothing folds two of them into one by comparison.
impl PartialEq for Subquery {
    fn eq(&self, other: &Subquery) -> bool {
        std::ptr::eq(self, other)
    }
}

/// How a subquery's rows become a value.
#[derive(Debug, Clone, PartialEq)]
pub enum SubqueryKind {
    /// Its one row's one column; NULL if there is no row; error 21000 if there are several.
    Scalar,
    /// Whether there is a row.
    Exists,
    /// `left op ANY (query)`; IN is `= ANY`, NOT IN is its negation. Several left values compare as a row, by `=`.
    Any {
        /// Left side.
        left: Vec<Expr>,
        /// Comparison for each left value.
        functions: Vec<FunctionId>,
    },
    /// `left op ALL (query)`.
    All {
        /// Left side.
        left: Vec<Expr>,
        /// Comparison for each left value.
        functions: Vec<FunctionId>,
    },
    /// `ARRAY(query)`.
    Array,
}

impl Expr {
    /// An expression of this kind and type.
    pub fn new(kind: ExprKind, ty: Type) -> Expr {
        Expr { kind, ty, collating: Collating::default() }
    }

    /// The expression with a collation, if values of its type have one.
    pub fn collated(mut self, collating: Collating) -> Expr {
        if collation::is_collatable(&self.ty) {
            self.collating = collating;
        }
        self
    }

    /// The input's column `index`.
    pub fn column(index: usize, ty: Type) -> Expr {
        Expr::new(ExprKind::Column(index), ty)
    }

    /// A constant.
    pub fn literal(value: Value) -> Expr {
        Expr { ty: value.ty.clone(), kind: ExprKind::Literal(value), collating: Collating::default() }
    }
}

impl Plan {
    /// A join that is not lateral.
    pub(crate) fn join(kind: JoinKind, left: Plan, right: Plan, on: Vec<(Expr, Expr)>, filter: Option<Expr>) -> Plan {
        let is_narrow = matches!(kind, JoinKind::Semi | JoinKind::Anti);
        let columns = [left.columns(), if is_narrow { &[] } else { right.columns() }].concat();
        let (left, right) = (Box::new(left), Box::new(right));
        Plan::Join { kind, left, right, on, filter, lateral: false, build_left: false, columns }
    }

    /// What this operator puts out.
    pub fn columns(&self) -> &[OutputColumn] {
        match self {
            Plan::Scan(scan) => &scan.columns,
            Plan::Filter { input, .. }
            | Plan::Sort { input, .. }
            | Plan::Sample { input, .. }
            | Plan::Fill { input, .. }
            | Plan::Limit { input, .. }
            | Plan::Distinct { input, .. }
            | Plan::Cte { input, .. }
            | Plan::With { body: input, .. } => input.columns(),
            Plan::Values { columns, .. }
            | Plan::TableFunction { columns, .. }
            | Plan::Project { columns, .. }
            | Plan::ProjectSet { columns, .. }
            | Plan::Window { columns, .. }
            | Plan::Aggregate { columns, .. }
            | Plan::Join { columns, .. }
            | Plan::NearestJoin { columns, .. }
            | Plan::SetOperation { columns, .. }
            | Plan::Recursive { columns, .. }
            | Plan::WorkingTable { columns, .. }
            | Plan::CteScan { columns, .. } => columns,
        }
    }
}
