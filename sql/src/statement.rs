//! Bound statements: what the engine carries out.
//!
//! Definitions keep expressions as SQL text as well ([`SqlExpr`]): text is what the catalogue stores, and what is bound again when the
//! definition is loaded.

mod alert;
mod alter;
mod copy;
mod cursor;
mod emit;
mod format;
mod index;
mod merging;
mod replay;
mod sink;
mod temporary;

pub use alert::{AlertAction, AlertStatement, CreateAlert, alert_insert};
pub use alter::{AddColumn, AlterAction, AlterTable, PartitionAction, PartitionName, Place, SetType};
pub use copy::{Copy, CopyFormat, CopyHeader, CopyOptions, CopyTarget};
pub use cursor::FetchRows;
pub use emit::{Emit, Late};
pub use format::{DocumentFormat, LineFormat};
pub use index::{AlterIndexes, DropIndex, FilterSize, IndexChange, IndexDef, IndexKind};
pub use merging::{Fold, Merging};
pub use replay::{ReplayAction, ReplayFrom};
pub use sink::{CreateSink, SinkSource};
pub use temporary::OnCommit;

use crate::collation::Collation;
use crate::plan::{Expr, OutputColumn, Plan};
use crate::types::Type;
use crate::value::Value;

/// A statement, bound against a catalogue.
#[derive(Debug, Clone)]
pub struct Bound {
    /// What to do.
    pub statement: Statement,
    /// Types of `$1`, `$2`, …: as the client gave them, or as their context decided.
    pub parameters: Vec<Type>,
    /// The columns of its result; empty for statements without one.
    pub columns: Vec<OutputColumn>,
}

/// Names a relation that need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectName {
    /// The schema, if it was given.
    pub schema: Option<String>,
    /// The name, folded to lower case unless it was quoted.
    pub name: String,
}

/// An expression and the text it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct SqlExpr {
    /// SQL text that parses and binds to `expr` again.
    pub sql: String,
    /// Bound over the columns of the table that is being defined.
    pub expr: Expr,
}

/// What to do.
#[derive(Debug, Clone)]
pub enum Statement {
    /// No statement: `;` or a comment.
    Empty,
    /// SELECT, VALUES, TABLE.
    Query(Plan),
    /// A query whose rows are lines of text: FORMAT.
    Formatted {
        /// The query.
        plan: Plan,
        /// What the lines are.
        format: LineFormat,
    },
    /// INSERT.
    Insert(Insert),
    /// UPDATE, DELETE and MERGE.
    Modify(Modify),
    /// A query, INSERT or one of these, whose WITH changes rows.
    WithChanges {
        /// INSERT, UPDATE and DELETE, each with the number of the working table that what it returns is.
        changes: Vec<(usize, Statement)>,
        /// What reads them.
        main: Box<Statement>,
    },
    /// CREATE TABLE.
    CreateTable(CreateTable),
    /// CREATE VIEW.
    CreateView {
        /// Name.
        name: ObjectName,
        /// OR REPLACE.
        or_replace: bool,
        /// IF NOT EXISTS.
        if_not_exists: bool,
        /// The SELECT's text.
        query: String,
        /// What it gives (renamed by the column list, if there was one).
        columns: Vec<OutputColumn>,
    },
    /// CREATE MATERIALIZED VIEW.
    CreateMaterializedView(CreateMaterializedView),
    /// CREATE SINK.
    CreateSink(Box<CreateSink>),
    /// REFRESH MATERIALIZED VIEW.
    RefreshView(ObjectName),
    /// CREATE SCHEMA or CREATE DATABASE (ClickHouse's databases are schemas).
    CreateSchema {
        /// Name.
        name: String,
        /// IF NOT EXISTS.
        if_not_exists: bool,
    },
    /// DROP of tables, views, materialized views or schemas.
    Drop {
        /// Of what.
        kind: ObjectKind,
        /// Which.
        names: Vec<ObjectName>,
        /// IF EXISTS.
        if_exists: bool,
        /// CASCADE.
        cascade: bool,
    },
    /// ALTER TABLE, ALTER VIEW and ALTER MATERIALIZED VIEW.
    AlterTable(Box<AlterTable>),
    /// BACKUP DATABASE.
    Backup {
        /// The place's URI.
        to: String,
        /// WITH.
        options: Vec<(String, String)>,
    },
    /// RESTORE DATABASE, into a directory that an option names.
    Restore {
        /// The place's URI.
        from: String,
        /// WITH.
        options: Vec<(String, String)>,
    },
    /// TRUNCATE TABLE.
    Truncate {
        /// Which.
        names: Vec<ObjectName>,
    },
    /// COPY.
    Copy(Copy),
    /// EXPLAIN.
    Explain {
        /// Of what.
        statement: Box<Statement>,
        /// What is shown.
        options: ExplainOptions,
    },
    /// SHOW name; `all` for SHOW ALL.
    Show {
        /// Setting, lower case.
        name: String,
    },
    /// `SHOW FUNCTIONS`, `SHOW TABLES`, `DESCRIBE t` and the like, rewritten by the binder to a query over system relations.
    ShowQuery(Plan),
    /// SET or RESET; `None` is DEFAULT.
    Set {
        /// Setting, lower case.
        name: String,
        /// To what.
        value: Option<String>,
        /// SET LOCAL.
        local: bool,
    },
    /// RESET ALL.
    ResetAll,
    /// BEGIN, START TRANSACTION.
    Begin {
        /// READ ONLY.
        read_only: bool,
    },
    /// COMMIT, END.
    Commit,
    /// ROLLBACK, ABORT.
    Rollback,
    /// SAVEPOINT.
    Savepoint(String),
    /// RELEASE SAVEPOINT.
    Release(String),
    /// ROLLBACK TO SAVEPOINT.
    RollbackTo(String),
    /// PREPARE name AS …: the text, bound when EXECUTE comes.
    Prepare {
        /// Name.
        name: String,
        /// Declared parameter types.
        parameters: Vec<Type>,
        /// The statement's text.
        query: String,
    },
    /// EXECUTE.
    Execute {
        /// Name.
        name: String,
        /// Arguments, constant expressions.
        args: Vec<Expr>,
    },
    /// DEALLOCATE; `None` is ALL.
    Deallocate(Option<String>),
    /// DISCARD ALL and its kin.
    Discard,
    /// DECLARE CURSOR.
    DeclareCursor {
        /// Name.
        name: String,
        /// The query.
        plan: Plan,
        /// WITH HOLD.
        hold: bool,
        /// SCROLL.
        scroll: bool,
    },
    /// FETCH (or MOVE) from a cursor.
    Fetch {
        /// Cursor.
        name: String,
        /// Which rows.
        rows: FetchRows,
        /// MOVE: rows are passed over.
        skip: bool,
    },
    /// CLOSE; `None` is ALL.
    CloseCursor(Option<String>),
    /// COMMENT ON TABLE / COLUMN.
    Comment {
        /// The relation.
        relation: ObjectName,
        /// The column.
        column: Option<String>,
        /// The text; `None` removes it.
        comment: Option<String>,
    },
    /// ALTER TABLE with actions on indexes, CREATE INDEX.
    AlterIndexes(AlterIndexes),
    /// DROP INDEX.
    DropIndex(DropIndex),
    /// OPTIMIZE TABLE, VACUUM.
    Optimize(Optimize),
    /// CREATE, ALTER and DROP ALERT.
    Alert(Box<AlertStatement>),
    /// Accepted and without effect here (LISTEN, ANALYZE, LOCK …): its command tag.
    NoOp {
        /// What CommandComplete says.
        tag: String,
    },
}

/// Kinds of object that DROP names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// A table.
    Table,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
    /// A sink.
    Sink,
    /// A schema.
    Schema,
}

/// INSERT.
#[derive(Debug, Clone)]
pub struct Insert {
    /// The table's schema and name, resolved.
    pub table: ObjectName,
    /// The relation's oid when it was bound.
    pub oid: u32,
    /// Rows with exactly the table's columns, in order, cast by assignment; columns not named have their default or NULL.
    pub source: Plan,
    /// ON CONFLICT.
    pub on_conflict: Option<OnConflict>,
    /// RETURNING, over the table's columns.
    pub returning: Option<(Vec<Expr>, Vec<OutputColumn>)>,
    /// INSERT … SELECT without more to it: what a statement that goes on would run.
    pub query: Option<InsertedQuery>,
}

/// The query of INSERT … SELECT.
#[derive(Debug, Clone)]
pub struct InsertedQuery {
    /// Its text.
    pub text: String,
    /// For each of its columns, the table's column that it fills.
    pub columns: Vec<usize>,
}

/// What INSERT does with a row whose primary key is there already.
#[derive(Debug, Clone)]
pub enum OnConflict {
    /// DO NOTHING.
    Nothing,
    /// DO UPDATE. Expressions are over the table's columns, then those of `excluded`.
    Update {
        /// The whole row as it becomes, cast by assignment.
        row: Vec<Expr>,
        /// WHERE.
        predicate: Option<Expr>,
    },
}

/// UPDATE, DELETE and MERGE: rows of one table that change.
#[derive(Debug, Clone)]
pub struct Modify {
    /// Which of them it is.
    pub verb: ModifyVerb,
    /// The table's schema and name, resolved.
    pub table: ObjectName,
    /// The relation's oid when it was bound.
    pub oid: u32,
    /// What changes. Its columns: the place of the table's row (bigint, see [`crate::plan::Scan::projection`]; NULL where there is none), which of
    /// `actions` is done to it (integer), and, if `has_rows`, the row with all of the table's columns (as it becomes; for a deletion as
    /// it was), cast by assignment, and the columns of the other tables that RETURNING may read. A place may come several times.
    pub source: Plan,
    /// Whether `source` has more than its first two columns.
    pub has_rows: bool,
    /// What may be done.
    pub actions: Vec<ModifyAction>,
    /// RETURNING, over `source` without its first two columns.
    pub returning: Option<(Vec<Expr>, Vec<OutputColumn>)>,
}

/// Which statement changes rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModifyVerb {
    /// UPDATE
    Update,
    /// DELETE
    Delete,
    /// MERGE
    Merge,
}

impl ModifyVerb {
    /// As command tags have it.
    pub fn name(self) -> &'static str {
        match self {
            ModifyVerb::Update => "UPDATE",
            ModifyVerb::Delete => "DELETE",
            ModifyVerb::Merge => "MERGE",
        }
    }
}

/// What is done to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModifyAction {
    /// It becomes the row that is given; these columns may differ from what they were.
    Update(Vec<usize>),
    /// It goes.
    Delete,
    /// The row that is given is added.
    Insert,
}

/// CREATE TABLE, in Postgres's, ClickHouse's or Flink's form.
#[derive(Debug, Clone)]
pub struct CreateTable {
    /// Name.
    pub name: ObjectName,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// Columns.
    pub columns: Vec<ColumnDef>,
    /// How rows are kept.
    pub layout: Layout,
    /// PRIMARY KEY, by column index. Of Postgres: unique. Of ClickHouse: a prefix of the sorting key, not unique, so empty here.
    pub primary_key: Vec<usize>,
    /// Skip indexes.
    pub indexes: Vec<IndexDef>,
    /// What the engine makes of rows with equal sorting keys.
    pub merging: Option<Merging>,
    /// `WITH (…)` and SETTINGS, keys in lower case: `connector`, `topic`, `properties.bootstrap.servers`, `format`, `durability` …
    pub options: Vec<(String, String)>,
    /// WATERMARK FOR column AS expression.
    pub watermark: Option<(usize, SqlExpr)>,
    /// CREATE TABLE AS.
    pub source: Option<Plan>,
    /// What becomes of a temporary table when its transaction, or a later one, commits.
    pub on_commit: OnCommit,
}

/// OPTIMIZE TABLE, VACUUM.
#[derive(Debug, Clone)]
pub struct Optimize {
    /// Which; none for all.
    pub tables: Vec<ObjectName>,
    /// One partition.
    pub partition: Option<PartitionName>,
    /// How.
    pub kind: OptimizeKind,
    /// What CommandComplete says.
    pub tag: String,
}

/// How far parts are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptimizeKind {
    /// As far as background merges would go.
    Merge,
    /// To one part a partition.
    Final,
    /// Only to be rid of deleted rows.
    Deleted,
}

/// A column's definition.
#[derive(Debug, Clone)]
pub struct ColumnDef {
    /// Name.
    pub name: String,
    /// Type.
    pub ty: Type,
    /// Whether NULL is admitted: yes in Postgres's form, no in ClickHouse's unless Nullable(…).
    pub nullable: bool,
    /// DEFAULT. A ClickHouse column without one and without Nullable has its type's zero.
    pub default: Option<SqlExpr>,
    /// CODEC(…), as written.
    pub codec: Option<String>,
    /// How values of rows with one key become one: the f of SimpleAggregateFunction(f, type).
    pub fold: Option<Fold>,
    /// COLLATE.
    pub collation: Option<Collation>,
    /// COMMENT.
    pub comment: Option<String>,
    /// For `DateTime64(n)`: n. Values are kept in microseconds whatever it says.
    pub scale: Option<u8>,
}

/// How a table's or view's rows are kept.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// ENGINE = …, its name alone (`MergeTree`, `SummingMergeTree`, …); `None` in Postgres's form.
    pub engine: Option<String>,
    /// Arguments of ENGINE = …(…), as SQL text.
    pub engine_args: Vec<String>,
    /// PARTITION BY.
    pub partition_by: Option<SqlExpr>,
    /// ORDER BY, the sorting key: columns by index.
    pub order_by: Vec<usize>,
    /// TTL: rows for which one of these holds are expired.
    pub ttl: Vec<Ttl>,
}

/// A rule of TTL as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TtlRule {
    /// When a row expires.
    pub time: String,
    /// WHERE: which rows do.
    pub condition: Option<String>,
    /// A column's rule: the row stays, and this column of it goes back to its default.
    pub of: Option<String>,
    /// Expired rows are not gone, but become fewer.
    pub rollup: Option<Rollup>,
}

/// GROUP BY of a rule of TTL: rows of a group become one. All is text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollup {
    /// What a group has in common.
    pub keys: Vec<String>,
    /// SET: columns, and what becomes of them. Others have any of their values.
    pub set: Vec<(String, String)>,
}

/// TTL column + interval [WHERE condition].
#[derive(Debug, Clone, PartialEq)]
pub struct Ttl {
    /// A date, timestamp or timestamptz column, by index.
    pub column: usize,
    /// The time counts as the beginning of its day (in UTC), as in `toDate(column)`.
    pub day: bool,
    /// An interval, constant.
    pub interval: Value,
    /// Rows for which this is not true do not expire. It reads nothing but the row.
    pub condition: Option<SqlExpr>,
    /// What goes back to its default, the row staying; by index.
    pub of: Option<usize>,
    /// The text has a GROUP BY: expired rows become fewer.
    pub rollup: bool,
    /// The rule's text.
    pub sql: String,
}

/// CREATE MATERIALIZED VIEW.
#[derive(Debug, Clone)]
pub struct CreateMaterializedView {
    /// Name.
    pub name: ObjectName,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// The SELECT's text.
    pub query: String,
    /// The SELECT.
    pub plan: Plan,
    /// What it gives.
    pub columns: Vec<OutputColumn>,
    /// How its states are kept; expressions and indexes are over `columns`.
    pub layout: Layout,
    /// POPULATE, WITH DATA (the default): backfill. WITH NO DATA: from now on only.
    pub with_data: bool,
    /// ALTER MATERIALIZED VIEW … AS: the view that is there gets this query, and keeps its layout; whether IF EXISTS was said.
    pub alters: Option<bool>,
    /// REFRESH EVERY, in microseconds: it is computed again as a whole, rather than kept up to date.
    pub refresh: Option<i64>,
    /// EMIT.
    pub emit: Option<Emit>,
    /// `WITH (late = …)`.
    pub late: Option<Late>,
    /// TO: it has no rows of its own. What comes to its input brings rows to this table.
    pub to: Option<ObjectName>,
}

/// What EXPLAIN shows.
#[derive(Debug, Clone, Copy)]
pub struct ExplainOptions {
    /// ANALYZE: run it and count.
    pub analyze: bool,
    /// VERBOSE: output columns of each operator.
    pub verbose: bool,
    /// COSTS.
    pub costs: bool,
    /// TIMING: times, with `analyze`.
    pub timing: bool,
    /// SUMMARY: the last lines, planning and execution time.
    pub summary: bool,
    /// FORMAT JSON rather than text.
    pub json: bool,
}

impl Default for ExplainOptions {
    fn default() -> ExplainOptions {
        ExplainOptions { analyze: false, verbose: false, costs: true, timing: true, summary: true, json: false }
    }
}
