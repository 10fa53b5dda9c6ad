//! Expressions over batches.
//!
//! A [`plan::Expr`](weir_sql::plan::Expr) is compiled once a pipeline to a tree whose functions are resolved and whose constant parts
//! are computed, and then evaluated once a batch. Constants stay scalars ([`Datum::Scalar`]) as far up as they can.
//!
//! What may fail or is lazy by rule (AND, OR, CASE, COALESCE) is evaluated only for the rows that reach it: those rows are gathered into
//! a smaller batch and the results are scattered back. A part that cannot fail and is cheap is evaluated for all rows
//! instead, which saves the gathering (see `lazy`). A subquery without outer columns runs once, when the operator opens; one with outer columns runs
//! once for each distinct tuple of them (see `subquery`).

mod compile;
mod evaluate;
mod lambda;
mod lazy;
mod set;
mod stored_set;
mod subquery;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, DictionaryArray};
use weir_sql::{Type, Value};

use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::functions::{Datum, Kernel};

pub(crate) use compile::{constant, constant_of};
pub(crate) use set::ValueSet;
pub(crate) use subquery::put_outer;

/// A compiled expression.
pub(crate) struct Expression {
    node: Node,
    /// Its type.
    pub(crate) ty: Type,
    /// Input columns that it reads, sorted, each once.
    pub(crate) columns: Vec<usize>,
    /// Whether it cannot fail, whatever its input, and costs little.
    pub(crate) safe: bool,
}

enum Node {
    Column(usize),
    Constant(Value),
    /// An error that is raised only if a row asks for the value.
    Failure(crate::error::Error),
    Call {
        kernel: Kernel,
        strict: bool,
        args: Vec<Expression>,
        types: Vec<Type>,
        fold: bool,
    },
    Cast {
        input: Box<Expression>,
        explicit: bool,
        lenient: bool,
    },
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Not(Box<Expression>),
    IsNull(Box<Expression>),
    Case {
        branches: Vec<(Expression, Expression)>,
        otherwise: Option<Box<Expression>>,
    },
    /// CASE between constants, by conditions that cannot fail: the value of the first that is true, or the last one.
    Choice {
        conditions: Vec<Expression>,
        values: ArrayRef,
    },
    Coalesce(Vec<Expression>),
    InSet {
        input: Box<Expression>,
        set: ValueSet,
    },
    InList {
        input: Box<Expression>,
        list: Vec<Expression>,
    },
    Array(Vec<Expression>),
    Row(Vec<Expression>),
    Field(Box<Expression>, usize),
    Quantified {
        left: Box<Expression>,
        array: Box<Expression>,
        kernel: Kernel,
        strict: bool,
        all: bool,
    },
    Subquery(Box<subquery::Subquery>),
    Lambda(Box<lambda::Lambda>),
}

impl Expression {
    /// Compiles an expression.
    pub(crate) fn new(expr: &weir_sql::plan::Expr, context: &Arc<QueryContext>) -> Result<Expression> {
        compile::compile(expr, context)
    }

    /// Compiles several.
    pub(crate) fn list<'a>(
        exprs: impl IntoIterator<Item = &'a weir_sql::plan::Expr>,
        context: &Arc<QueryContext>,
    ) -> Result<Vec<Expression>> {
        exprs.into_iter().map(|e| Expression::new(e, context)).collect()
    }

    /// Compiles one for a reader that takes unconstrained numerics as decimals of one scale too, batch by batch.
    pub(crate) fn in_either_form(expr: &weir_sql::plan::Expr, context: &Arc<QueryContext>) -> Result<Expression> {
        compile::in_either_form(expr, context)
    }

    /// Its value for each row.
    pub(crate) fn evaluate(&self, batch: &Batch, context: &Arc<QueryContext>) -> Result<Datum> {
        evaluate::evaluate(self, batch, context)
    }

    /// Its value for each row, as a column.
    pub(crate) fn array(&self, batch: &Batch, context: &Arc<QueryContext>) -> Result<ArrayRef> {
        self.evaluate(batch, context)?.into_array(batch.rows)
    }

    /// The same, maybe as codes: what is chosen of few texts.
    fn coded(&self, batch: &Batch, context: &Arc<QueryContext>) -> Result<ArrayRef> {
        match &self.node {
            Node::Choice { conditions, values } if self.ty == Type::Text && values.null_count() == 0 => {
                let codes = lazy::choice(conditions, batch, context)?;
                Ok(Arc::new(DictionaryArray::try_new(codes, values.clone())?))
            }
            _ => self.array(batch, context),
        }
    }

    /// A predicate's rows: true where it is true, false where it is false or NULL.
    pub(crate) fn selects(&self, batch: &Batch, context: &Arc<QueryContext>) -> Result<BooleanArray> {
        Ok(match self.evaluate(batch, context)? {
            Datum::Scalar(value) => {
                let keep = !value.is_null() && value.array.as_boolean().value(0);
                BooleanArray::from(vec![keep; batch.rows])
            }
            Datum::Array(array) => {
                let array = array.as_boolean();
                match array.nulls() {
                    Some(nulls) if array.null_count() > 0 => BooleanArray::new(array.values() & nulls.inner(), None),
                    _ => BooleanArray::new(array.values().clone(), None),
                }
            }
        })
    }

    /// Whether it is the same for all rows.
    pub(crate) fn constant_value(&self) -> Option<&Value> {
        match &self.node {
            Node::Constant(value) => Some(value),
            _ => None,
        }
    }

    /// The input column that it is, if it is no more than that.
    pub(crate) fn as_column(&self) -> Option<usize> {
        match self.node {
            Node::Column(column) => Some(column),
            _ => None,
        }
    }

    /// Runs the subqueries in it that need no outer columns, so that no pool thread has to. Their errors wait for a row that asks.
    pub(crate) fn prepare(&self, context: &Arc<QueryContext>) {
        match &self.node {
            Node::Subquery(subquery) => subquery.prepare(context),
            Node::Lambda(lambda) => lambda.body.prepare(context),
            _ => self.children().into_iter().for_each(|child| child.prepare(context)),
        }
    }

    fn children(&self) -> Vec<&Expression> {
        match &self.node {
            Node::Column(_) | Node::Constant(_) | Node::Failure(_) | Node::Lambda(_) => Vec::new(),
            Node::Call { args: list, .. }
            | Node::Choice { conditions: list, .. }
            | Node::And(list)
            | Node::Or(list)
            | Node::Coalesce(list)
            | Node::Array(list)
            | Node::Row(list) => list.iter().collect(),
            Node::Cast { input, .. }
            | Node::Not(input)
            | Node::IsNull(input)
            | Node::InSet { input, .. }
            | Node::Field(input, _) => vec![input],
            Node::Case { branches, otherwise } => {
                branches.iter().flat_map(|(c, r)| [c, r]).chain(otherwise.as_deref()).collect()
            }
            Node::InList { input, list } => std::iter::once(input.as_ref()).chain(list).collect(),
            Node::Quantified { left, array, .. } => vec![left, array],
            Node::Subquery(subquery) => subquery.left().iter().collect(),
        }
    }
}

/// Evaluates several expressions to columns.
pub(crate) fn arrays(exprs: &[Expression], batch: &Batch, context: &Arc<QueryContext>) -> Result<Vec<ArrayRef>> {
    exprs.iter().map(|e| e.array(batch, context)).collect()
}

/// The same, texts maybe as a dictionary's codes.
pub(crate) fn coded_arrays(exprs: &[Expression], batch: &Batch, context: &Arc<QueryContext>) -> Result<Vec<ArrayRef>> {
    exprs.iter().map(|e| e.coded(batch, context)).collect()
}

/// The conjuncts' rows, each evaluated only for what the ones before left.
pub(crate) fn select_all<'a>(
    predicates: impl IntoIterator<Item = &'a Expression>,
    batch: &Batch,
    context: &Arc<QueryContext>,
) -> Result<Option<BooleanArray>> {
    lazy::select_all(predicates, batch, context)
}
