//! What names mean: the columns and tables that FROM brings into a query, and the stack of such scopes.
//!
//! A [`Scope`] describes the output of a FROM clause's plan. `columns` are that plan's columns, one for one. `visible` is what an unqualified name
//! and `*` see: the same columns in order, except that the columns joined by USING appear once, first, as their merged value.

use crate::collation::Collating;
use crate::plan::{AggregateCall, Expr, ExprKind, OutputColumn};
use crate::types::Type;
use crate::value::Value;
use sqlparser::ast;

/// A column of a FROM clause's plan.
#[derive(Debug, Clone)]
pub(super) struct ScopeColumn {
    pub(super) name: String,
    pub(super) ty: Type,
    pub(super) typmod: i32,
    pub(super) origin: Option<(u32, i16)>,
    pub(super) collating: Collating,
}

/// A table, by the name it has in this query.
#[derive(Debug, Clone)]
pub(super) struct ScopeTable {
    /// Where the table is named by itself and not by an alias.
    pub(super) schema: Option<String>,
    pub(super) name: String,
    /// The relation's own name where an alias hides it, for messages.
    pub(super) hidden_name: Option<String>,
    /// The relation's oid, for `tableoid`.
    pub(super) oid: Option<u32>,
    /// Its columns, as columns of the scope.
    pub(super) columns: Vec<usize>,
    /// Its primary key, as columns of the scope.
    pub(super) primary_key: Vec<usize>,
    /// Whether it is a function with one unnamed column: its name alone means the column and not the row.
    pub(super) scalar: bool,
}

/// What an unqualified name or `*` sees.
#[derive(Debug, Clone)]
pub(super) struct Visible {
    pub(super) name: String,
    /// Over the scope's columns: a column, or the merged value of a FULL JOIN … USING.
    pub(super) expr: Expr,
}

/// The names that a FROM clause brings.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    pub(super) columns: Vec<ScopeColumn>,
    pub(super) tables: Vec<ScopeTable>,
    pub(super) visible: Vec<Visible>,
    /// What an unqualified name sees before these, and `*` does not.
    pub(super) hidden: Vec<Visible>,
}

/// What a name was found to be, in one scope.
pub(super) enum Found {
    /// Nothing.
    No,
    /// Several things.
    Ambiguous,
    /// An expression over the scope's columns.
    One(Expr),
}

impl Scope {
    /// The scope of one table with these columns.
    pub(super) fn of_table(name: &str, columns: Vec<ScopeColumn>) -> Scope {
        let visible = visible_columns(&columns);
        let table = ScopeTable {
            schema: None,
            name: name.to_string(),
            hidden_name: None,
            oid: None,
            columns: (0..columns.len()).collect(),
            primary_key: Vec::new(),
            scalar: false,
        };
        Scope { columns, tables: vec![table], visible, hidden: Vec::new() }
    }

    /// The scope of columns that belong to no table.
    pub(super) fn of_columns(columns: &[OutputColumn]) -> Scope {
        let columns = scope_columns(columns);
        let visible = visible_columns(&columns);
        Scope { columns, tables: Vec::new(), visible, hidden: Vec::new() }
    }

    /// This scope's columns, then the other's: what a join of the two sees.
    pub(super) fn join(mut self, other: Scope) -> Scope {
        let shift = self.columns.len();
        self.columns.extend(other.columns);
        self.tables.extend(other.tables.into_iter().map(|mut table| {
            table.columns.iter_mut().chain(&mut table.primary_key).for_each(|column| *column += shift);
            table
        }));
        let moved = |mut visible: Visible| {
            crate::walk::rename_columns(&mut visible.expr, &|column| column + shift);
            visible
        };
        self.visible.extend(other.visible.into_iter().map(moved));
        self.hidden.extend(other.hidden.into_iter().map(moved));
        self
    }

    /// The column as an expression.
    pub(super) fn column(&self, index: usize) -> Expr {
        Expr::column(index, self.columns[index].ty.clone()).collated(self.columns[index].collating)
    }

    /// What an unqualified name is.
    pub(super) fn unqualified(&self, name: &str) -> Found {
        // The last one that has the name.
        if let Some(hidden) = self.hidden.iter().rfind(|hidden| hidden.name == name) {
            return Found::One(hidden.expr.clone());
        }
        let mut found = self.visible.iter().filter(|visible| visible.name == name);
        match (found.next(), found.next()) {
            (None, _) => Found::No,
            (Some(one), None) => Found::One(one.expr.clone()),
            (Some(_), Some(_)) => Found::Ambiguous,
        }
    }

    /// The table that a qualifier names.
    pub(super) fn table(&self, schema: Option<&str>, name: &str) -> Option<&ScopeTable> {
        self.tables.iter().find(|table| table.name == name && (schema.is_none() || table.schema.as_deref() == schema))
    }

    /// What a name is in one of its tables.
    pub(super) fn qualified(&self, table: &ScopeTable, name: &str) -> Found {
        let mut found = table.columns.iter().filter(|column| self.columns[**column].name == name);
        match (found.next(), found.next()) {
            (None, _) => match (name, table.oid) {
                ("tableoid", Some(oid)) => Found::One(Expr::literal(oid_value(oid))),
                _ => Found::No,
            },
            (Some(column), None) => Found::One(self.column(*column)),
            (Some(_), Some(_)) => Found::Ambiguous,
        }
    }

    /// A table's whole row.
    pub(super) fn whole_row(&self, table: &ScopeTable) -> Expr {
        if let (true, [column]) = (table.scalar, table.columns.as_slice()) {
            return self.column(*column);
        }
        let fields = table.columns.iter().map(|&column| self.columns[column].name.clone());
        let types = table.columns.iter().map(|&column| self.columns[column].ty.clone());
        let ty = Type::Record(fields.zip(types).collect());
        Expr::new(ExprKind::Row(table.columns.iter().map(|&column| self.column(column)).collect()), ty)
    }

    /// The type modifier and origin of an expression that is one of the columns unchanged.
    pub(super) fn provenance(&self, expr: &Expr) -> (i32, Option<(u32, i16)>) {
        match expr.kind {
            ExprKind::Column(index) if index < self.columns.len() => {
                let column = &self.columns[index];
                (column.typmod, column.origin)
            }
            _ => (-1, None),
        }
    }
}

fn oid_value(oid: u32) -> Value {
    Value::new(Type::Oid, std::sync::Arc::new(arrow::array::UInt32Array::from(vec![oid])))
}

/// The columns of a plan, as a scope has them.
pub(super) fn scope_columns(columns: &[OutputColumn]) -> Vec<ScopeColumn> {
    columns
        .iter()
        .map(|column| ScopeColumn {
            name: column.name.clone(),
            ty: column.ty.clone(),
            typmod: column.typmod,
            origin: column.origin,
            collating: column.collating,
        })
        .collect()
}

pub(super) fn visible_columns(columns: &[ScopeColumn]) -> Vec<Visible> {
    let expr = |(index, column): (usize, &ScopeColumn)| Visible {
        name: column.name.clone(),
        expr: Expr::column(index, column.ty.clone()).collated(column.collating),
    };
    columns.iter().enumerate().map(expr).collect()
}

/// The clause whose expressions are being bound: what it allows, and how messages call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clause {
    Select,
    Where,
    Having,
    GroupBy,
    OrderBy,
    DistinctOn,
    Qualify,
    JoinOn,
    From,
    Values,
    Limit,
    Interpolate,
    Default,
    Returning,
    Update,
    MergeWhen,
    Lambda,
}

impl Clause {
    /// As Postgres writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Clause::Select => "SELECT",
            Clause::Where => "WHERE",
            Clause::Having => "HAVING",
            Clause::GroupBy => "GROUP BY",
            Clause::OrderBy => "ORDER BY",
            Clause::DistinctOn => "DISTINCT ON",
            Clause::Qualify => "QUALIFY",
            Clause::JoinOn => "JOIN conditions",
            Clause::From => "functions in FROM",
            Clause::Values => "VALUES",
            Clause::Limit => "LIMIT",
            Clause::Interpolate => "INTERPOLATE",
            Clause::Default => "DEFAULT expressions",
            Clause::Returning => "RETURNING",
            Clause::Update => "UPDATE",
            Clause::MergeWhen => "MERGE WHEN conditions",
            Clause::Lambda => "lambdas",
        }
    }

    pub(super) fn allows_aggregates(self) -> bool {
        matches!(self, Clause::Select | Clause::Having | Clause::OrderBy | Clause::DistinctOn | Clause::Qualify)
    }

    pub(super) fn allows_sets(self) -> bool {
        matches!(self, Clause::Select | Clause::OrderBy | Clause::DistinctOn | Clause::GroupBy)
    }
}

/// Placeholder columns from here on are aggregates of the query.
pub(super) const AGGREGATES: usize = 1 << 40;

/// Placeholder columns from here on are set-returning functions of the query's SELECT list.
pub(super) const SETS: usize = 1 << 41;

/// Placeholder columns from here on are window functions of the query.
pub(super) const WINDOWS: usize = 1 << 42;

/// Placeholder columns from here on are calls of GROUPING.
pub(super) const GROUPINGS: usize = 1 << 43;

/// Placeholder columns from here on are calls of locf and interpolate.
pub(super) const GAPS: usize = 1 << 44;

/// Placeholder columns from here on are the start and the end of the window of time that the query groups by.
pub(super) const TIMES: usize = 1 << 45;

/// One level of the stack: a scope, and what binding expressions over it has gathered.
pub(super) struct Frame {
    pub(super) scope: Scope,
    /// Whether names may be looked up in it: not from a FROM item without LATERAL.
    pub(super) open: bool,
    /// Whether it is the left side of a join, for a lateral right side, and not a query of its own.
    pub(super) lateral: bool,
    pub(super) clause: Clause,
    /// Whether an aggregate's arguments are being bound.
    pub(super) in_aggregate: bool,
    /// The query's aggregates, by placeholder.
    pub(super) aggregates: Vec<AggregateCall>,
    /// The query's set-returning functions, by placeholder.
    pub(super) sets: Vec<SetCall>,
    /// The arguments of the query's calls of GROUPING, by placeholder.
    pub(super) groupings: Vec<Vec<Expr>>,
    /// The query's window functions, by placeholder.
    pub(super) windows: Vec<super::window::Windowed>,
    /// What WINDOW names.
    pub(super) named_windows: Vec<ast::NamedWindowDefinition>,
    /// Whether the definition of a window is being bound.
    pub(super) in_window_definition: bool,
    /// Whether a window function's parts are being bound.
    pub(super) in_window: bool,
    /// The window of time that the query groups by.
    pub(super) time_window: Option<super::group_window::GroupWindow>,
    /// The query's time_bucket_gapfill.
    pub(super) gapfill: Option<super::gapfill::GapFill>,
    /// What locf and interpolate are over, by placeholder.
    pub(super) gaps: Vec<(crate::plan::Gap, Expr)>,
    /// Columns used outside of aggregates, and where.
    pub(super) references: Vec<(usize, usize)>,
    /// Output names and what they stand for: what a name means that nothing else explains.
    pub(super) aliases: Vec<(String, ast::Expr)>,
    /// Which aliases are being expanded.
    pub(super) expanding: Vec<String>,
}

/// A call of a set-returning function.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SetCall {
    pub(super) function: crate::catalog::FunctionId,
    pub(super) name: String,
    pub(super) args: Vec<Expr>,
    pub(super) ty: Type,
}

impl Frame {
    pub(super) fn query(scope: Scope, clause: Clause) -> Frame {
        Frame {
            scope,
            open: true,
            lateral: false,
            clause,
            in_aggregate: false,
            aggregates: Vec::new(),
            sets: Vec::new(),
            groupings: Vec::new(),
            windows: Vec::new(),
            in_window_definition: false,
            named_windows: Vec::new(),
            in_window: false,
            time_window: None,
            gapfill: None,
            gaps: Vec::new(),
            references: Vec::new(),
            aliases: Vec::new(),
            expanding: Vec::new(),
        }
    }

    pub(super) fn lateral(scope: Scope) -> Frame {
        Frame { lateral: true, ..Frame::query(scope, Clause::From) }
    }
}
