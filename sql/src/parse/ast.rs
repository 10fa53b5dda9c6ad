//! Syntax trees of statements. Queries and expressions are `sqlparser`'s; definitions, COPY and the rest are our own.

use sqlparser::ast::{
    Assignment, DataType, Expr, ObjectName as SqlName, Query, SelectItem, TableAlias, TableFactor, TableWithJoins,
};

use crate::collation::Collation;
use crate::error::Error;
use crate::statement::{AlertAction, CopyOptions, ExplainOptions, ObjectName, OnCommit, Statement, TtlRule};

/// A statement's syntax.
#[derive(Debug, Clone)]
pub enum Ast {
    /// SELECT, VALUES, TABLE, WITH.
    Query(Box<Query>),
    /// INSERT, and its query's text, if it has one of its own.
    Insert(Box<sqlparser::ast::Insert>, Option<String>),
    /// UPDATE.
    Update(Box<Update>),
    /// DELETE.
    Delete(Box<Delete>),
    /// MERGE.
    Merge(Box<Merge>),
    /// WITH before UPDATE, DELETE or MERGE. That before INSERT is of its query.
    With(Box<sqlparser::ast::With>, Box<Ast>),
    /// CREATE TABLE.
    CreateTable(Box<CreateTable>),
    /// CREATE VIEW and CREATE MATERIALIZED VIEW.
    CreateView(Box<CreateView>),
    /// CREATE SINK.
    CreateSink(Box<CreateSink>),
    /// CREATE ALERT.
    CreateAlert(Box<CreateAlert>),
    /// COPY.
    Copy(Box<Copy>),
    /// EXPLAIN.
    Explain {
        /// Of what.
        statement: Box<Ast>,
        /// What is shown.
        options: ExplainOptions,
    },
    /// DESCRIBE and SHOW COLUMNS FROM.
    Describe {
        /// Of what.
        name: ObjectName,
        /// Where the name was written.
        at: usize,
    },
    /// A query with EMIT.
    Emitted(Box<Query>, Emit),
    /// SHOW TABLES and the like: a query over system relations.
    ShowQuery(Box<Query>),
    /// EXECUTE name (arguments).
    Execute {
        /// Name.
        name: String,
        /// Arguments.
        args: Vec<Expr>,
    },
    /// DECLARE name CURSOR FOR query.
    DeclareCursor {
        /// Name.
        name: String,
        /// The query.
        query: Box<Query>,
        /// WITH HOLD.
        hold: bool,
        /// SCROLL.
        scroll: bool,
    },
    /// CREATE INDEX, DROP INDEX … ON, and ALTER TABLE with actions on indexes.
    AlterIndexes {
        /// The table.
        table: ObjectName,
        /// Where it was written.
        at: usize,
        /// ALTER TABLE IF EXISTS.
        if_exists: bool,
        /// What to do, in order.
        actions: Vec<IndexAction>,
        /// What CommandComplete says.
        tag: &'static str,
    },
    /// A statement whose meaning no catalogue changes.
    Ready(Box<Statement>),
    /// A statement that Weir knows but does not do; the error is given when it is bound, so that a query text before it still runs.
    Unsupported(Box<Error>),
}

/// An expression and its text.
#[derive(Debug, Clone)]
pub struct Written {
    /// The expression.
    pub expr: Expr,
    /// As it was written.
    pub text: String,
}

/// A name, and where it was written.
#[derive(Debug, Clone)]
pub struct Name {
    /// Folded.
    pub name: String,
    /// Character position in the statement, from 1.
    pub at: usize,
}

/// The table of UPDATE, DELETE and MERGE.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name.
    pub name: SqlName,
    /// What it is called in the statement.
    pub alias: Option<TableAlias>,
}

/// UPDATE.
#[derive(Debug, Clone)]
pub struct Update {
    /// The table whose rows change.
    pub target: Target,
    /// SET.
    pub assignments: Vec<Assignment>,
    /// FROM.
    pub from: Vec<TableWithJoins>,
    /// WHERE.
    pub selection: Option<Expr>,
    /// RETURNING.
    pub returning: Option<Vec<SelectItem>>,
}

/// DELETE.
#[derive(Debug, Clone)]
pub struct Delete {
    /// The table whose rows go.
    pub target: Target,
    /// USING.
    pub using: Vec<TableWithJoins>,
    /// WHERE.
    pub selection: Option<Expr>,
    /// RETURNING.
    pub returning: Option<Vec<SelectItem>>,
}

/// MERGE.
#[derive(Debug, Clone)]
pub struct Merge {
    /// The table whose rows change.
    pub target: Target,
    /// USING.
    pub source: TableFactor,
    /// ON.
    pub on: Expr,
    /// WHEN …, in order.
    pub whens: Vec<MergeWhen>,
}

/// `WHEN … THEN …` of MERGE.
#[derive(Debug, Clone)]
pub struct MergeWhen {
    /// Which rows it is about.
    pub kind: MergeWhenKind,
    /// AND.
    pub condition: Option<Expr>,
    /// THEN.
    pub action: MergeAction,
    /// Where WHEN was written.
    pub at: usize,
}

/// Which pairs of rows a WHEN of MERGE is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeWhenKind {
    /// Pairs of a row of the table and one of the source.
    Matched,
    /// Rows of the source that no row of the table goes with.
    NotMatched,
    /// Rows of the table that no row of the source goes with.
    NotMatchedBySource,
}

/// What a WHEN of MERGE does.
#[derive(Debug, Clone)]
pub enum MergeAction {
    /// UPDATE SET.
    Update(Vec<Assignment>),
    /// DELETE.
    Delete,
    /// INSERT.
    Insert {
        /// Columns; empty for all.
        columns: Vec<Name>,
        /// VALUES; `None` is DEFAULT VALUES.
        values: Option<Vec<Expr>>,
    },
    /// DO NOTHING.
    Nothing,
}

/// CREATE TABLE.
#[derive(Debug, Clone)]
pub struct CreateTable {
    /// Name.
    pub name: ObjectName,
    /// TEMPORARY.
    pub temporary: bool,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// Columns.
    pub columns: Vec<Column>,
    /// PRIMARY KEY among the columns.
    pub primary_key: Option<Vec<Name>>,
    /// What follows the columns.
    pub layout: Layout,
    /// INDEX … TYPE ….
    pub indexes: Vec<Index>,
    /// WATERMARK FOR column AS expression.
    pub watermark: Option<(Name, Written)>,
    /// AS query.
    pub source: Option<Box<Query>>,
    /// WITH NO DATA.
    pub with_data: bool,
}

impl CreateTable {
    /// A table of this name, and nothing else yet.
    pub fn named(name: ObjectName) -> CreateTable {
        CreateTable {
            name,
            temporary: false,
            if_not_exists: false,
            columns: Vec::new(),
            primary_key: None,
            layout: Layout::default(),
            indexes: Vec::new(),
            watermark: None,
            source: None,
            with_data: true,
        }
    }
}

/// A column's definition.
#[derive(Debug, Clone)]
pub struct Column {
    /// Name.
    pub name: Name,
    /// Type; `None` in the column list of CREATE TABLE AS.
    pub data_type: Option<DataType>,
    /// NULL or NOT NULL.
    pub nullable: Option<bool>,
    /// DEFAULT.
    pub default: Option<Written>,
    /// CODEC(…), without the word.
    pub codec: Option<String>,
    /// The f of SimpleAggregateFunction(f, type).
    pub fold: Option<Name>,
    /// COLLATE.
    pub collation: Option<Collation>,
    /// COMMENT.
    pub comment: Option<String>,
}

/// A skip index.
#[derive(Debug, Clone)]
pub struct Index {
    /// Its name; only CREATE INDEX may leave it off.
    pub name: Option<Name>,
    /// What it is over.
    pub keys: Vec<Written>,
    /// Its type.
    pub kind: IndexType,
    /// GRANULARITY.
    pub granularity: Option<u64>,
}

/// `TYPE name(arguments)`, or PostgreSQL's access method.
#[derive(Debug, Clone)]
pub struct IndexType {
    /// In lower case.
    pub name: String,
    /// Arguments.
    pub args: Vec<Written>,
    /// Where it was written.
    pub at: usize,
}

/// What ALTER TABLE does to an index.
#[derive(Debug, Clone)]
pub enum IndexAction {
    /// ADD INDEX; CREATE INDEX.
    Add {
        /// The index.
        index: Index,
        /// IF NOT EXISTS.
        if_not_exists: bool,
        /// Parts that are there get it too.
        everywhere: bool,
    },
    /// DROP INDEX.
    Drop {
        /// Its name.
        name: Name,
        /// IF EXISTS.
        if_exists: bool,
    },
    /// MATERIALIZE INDEX.
    Materialize {
        /// Its name.
        name: Name,
        /// IF EXISTS.
        if_exists: bool,
    },
}

/// Clauses that say how rows are kept.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// ENGINE.
    pub engine: Option<String>,
    /// Its arguments' text.
    pub engine_args: Vec<String>,
    /// PARTITION BY.
    pub partition_by: Option<Written>,
    /// ORDER BY: the key's expressions; of `tuple()` none.
    pub order_by: Option<Vec<Expr>>,
    /// PRIMARY KEY after the columns: ClickHouse's.
    pub primary_key: Option<Vec<Expr>>,
    /// TTL.
    pub ttl: Vec<TtlRule>,
    /// ON COMMIT, and where it was written.
    pub on_commit: Option<(OnCommit, usize)>,
    /// WITH (…) and SETTINGS, and COMMENT as `comment`; keys in lower case.
    pub options: Vec<(String, String)>,
}

/// CREATE VIEW and CREATE MATERIALIZED VIEW.
#[derive(Debug, Clone)]
pub struct CreateView {
    /// Name.
    pub name: ObjectName,
    /// MATERIALIZED.
    pub materialized: bool,
    /// OR REPLACE.
    pub or_replace: bool,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// ALTER MATERIALIZED VIEW … AS of a view that is there, and whether IF EXISTS was said.
    pub alters: Option<bool>,
    /// Column names.
    pub columns: Vec<Name>,
    /// What stands between name and AS.
    pub layout: Layout,
    /// The query.
    pub query: Box<Query>,
    /// The query's text.
    pub text: String,
    /// REFRESH EVERY: an interval.
    pub refresh: Option<String>,
    /// TO: the table that the rows go to.
    pub to: Option<ObjectName>,
    /// Unless WITH NO DATA.
    pub with_data: bool,
    /// EMIT.
    pub emit: Option<Emit>,
}

/// EMIT.
#[derive(Debug, Clone)]
pub enum Emit {
    /// CHANGES.
    Changes,
    /// EVERY: an interval.
    Every(String),
    /// ON WINDOW CLOSE, and where it stands.
    OnWindowClose(usize),
}

/// CREATE ALERT.
#[derive(Debug, Clone)]
pub struct CreateAlert {
    /// Name.
    pub name: ObjectName,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// The query.
    pub query: Box<Query>,
    /// The query's text.
    pub text: String,
    /// EVERY: an interval.
    pub every: String,
    /// FOR: an interval.
    pub hold: Option<String>,
    /// THEN.
    pub actions: Vec<WrittenAction>,
}

/// An alert's action, and where it was written.
#[derive(Debug, Clone)]
pub struct WrittenAction {
    /// What is done.
    pub action: AlertAction,
    /// Character position in the statement, from 1.
    pub at: usize,
}

/// COPY.
#[derive(Debug, Clone)]
pub struct Copy {
    /// A table and columns of it, or a query.
    pub target: CopyTarget,
    /// TO rather than FROM.
    pub to: bool,
    /// A file, or `None` for STDIN and STDOUT.
    pub file: Option<String>,
    /// Options, defaults filled in.
    pub options: CopyOptions,
}

/// What COPY names.
#[derive(Debug, Clone)]
pub enum CopyTarget {
    /// `t (a, b)`.
    Table {
        /// The table.
        name: ObjectName,
        /// Where it was written.
        at: usize,
        /// Columns; empty for all.
        columns: Vec<Name>,
    },
    /// `(query)`.
    Query(Box<Query>),
}

/// CREATE SINK.
#[derive(Debug, Clone)]
pub struct CreateSink {
    /// Name.
    pub name: ObjectName,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// What it is fed by.
    pub source: SinkSource,
    /// INTO a table, and where its name was written.
    pub table: Option<(ObjectName, usize)>,
    /// INTO KAFKA (…) and WITH (…).
    pub options: Vec<(String, String)>,
}

/// What a sink is fed by.
#[derive(Debug, Clone)]
pub enum SinkSource {
    /// FROM a relation, and where its name was written.
    Relation(ObjectName, usize),
    /// AS SELECT.
    Query {
        /// The query.
        query: Box<Query>,
        /// As it was written.
        text: String,
    },
}
