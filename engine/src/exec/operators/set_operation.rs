//! UNION, INTERSECT and EXCEPT.
//!
//! UNION ALL chains its inputs; UNION also drops duplicates. INTERSECT and EXCEPT are a GROUP BY of all columns over both inputs that counts each
//! side's rows; a group comes out as often as the counts say, where it first appeared on the left side.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, UInt32Array};
use arrow::datatypes::Int64Type;
use weir_sql::Type;
use weir_sql::catalog::Functions;
use weir_sql::plan::{AggregateCall, Expr, SetKind};

use super::aggregate::{Grouping, aggregate};
use crate::error::{Error, Result};
use crate::exec::context::QueryContext;
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Chained, Mapped, Source};
use crate::functions::registry;

pub(crate) struct SetOperation {
    kind: SetKind,
    all: bool,
    left: Node,
    right: Node,
}

impl SetOperation {
    pub(crate) fn new(kind: SetKind, all: bool, left: Node, right: Node) -> Result<SetOperation> {
        Ok(SetOperation { kind, all, left, right })
    }
}

impl Operator for SetOperation {
    fn describe(&self) -> Description {
        Description::new(match (self.kind, self.all) {
            (SetKind::Union, true) => "Append",
            (SetKind::Union, false) => "HashAggregate over Append",
            (SetKind::Intersect, true) => "HashSetOp Intersect All",
            (SetKind::Intersect, false) => "HashSetOp Intersect",
            (SetKind::Except, true) => "HashSetOp Except All",
            (SetKind::Except, false) => "HashSetOp Except",
        })
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.left, &self.right]
    }

    fn open(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        let types: Vec<Type> = self.left.types();
        let columns: Vec<Expr> = types.iter().enumerate().map(|(i, ty)| Expr::column(i, ty.clone())).collect();
        if self.kind == SetKind::Union {
            let both = Chained::new(vec![self.left.open(context)?, self.right.open(context)?]);
            if self.all {
                return Ok(Arc::new(both));
            }
            return aggregate(&Arc::new(Grouping::new(&columns, &[], context)?), &both, context, metrics);
        }
        let both = Chained::new(vec![marked(self.left.open(context)?, true), marked(self.right.open(context)?, false)]);
        let grouping = Arc::new(Grouping::new(&columns, &counts(types.len())?, context)?);
        let groups = aggregate(&grouping, &both, context, metrics)?;
        let (kind, all) = (self.kind, self.all);
        Ok(Arc::new(Mapped::new(groups, move |mut groups, emit| {
            let counts = groups.columns.split_off(groups.columns.len() - 2);
            let [left, both] = [&counts[0], &counts[1]].map(|count| count.as_primitive::<Int64Type>().values());
            let mut rows: Vec<u32> = Vec::new();
            for (row, (&left, &both)) in left.iter().zip(both).enumerate() {
                let right = both - left;
                let times = match (kind, all) {
                    (SetKind::Intersect, true) => left.min(right),
                    (SetKind::Except, true) => left - right,
                    (SetKind::Intersect, false) => left.min(right).min(1),
                    _ => left.min(1 - right),
                };
                rows.extend(std::iter::repeat_n(row as u32, usize::try_from(times).unwrap_or(0)));
            }
            if rows.is_empty() { Ok(()) } else { emit(groups.take(&UInt32Array::from(rows))?) }
        })))
    }
}

/// Rows with a last column that says whether they are of the left side.
fn marked(input: Arc<dyn Source>, left: bool) -> Arc<dyn Source> {
    Arc::new(Mapped::new(input, move |mut batch, emit| {
        batch.columns.push(Arc::new(BooleanArray::from(vec![left; batch.rows])));
        emit(batch)
    }))
}

/// The number of a group's rows on the left side, which column `mark` says, and on both.
fn counts(mark: usize) -> Result<[AggregateCall; 2]> {
    let Some(count) = registry().overloads("count").iter().find(|signature| signature.params.is_empty()) else {
        return Err(Error::internal("there is no count(*)"));
    };
    Ok([Some(Expr::column(mark, Type::Bool)), None].map(|filter| AggregateCall {
        function: count.id,
        name: "count".into(),
        params: Vec::new(),
        args: Vec::new(),
        distinct: false,
        filter,
        order_by: Vec::new(),
        combinator: None,
        ty: Type::Int8,
    }))
}
