//! TABLESAMPLE, and ClickHouse's SAMPLE: some of a table's rows.

use sqlparser::ast::{self, TableSampleKind, TableSampleMethod, TableSampleModifier, TableSampleUnit};

use super::from::Item;
use super::place::locate;
use super::scope::{Clause, Frame, Scope};
use super::{Binder, CoercionContext};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Expr, Plan, Sample};
use crate::types::Type;
use crate::value::Value;

impl Binder<'_> {
    /// The rows of an item that a sample takes.
    pub(super) fn sampled(&mut self, item: Item, sample: Option<&TableSampleKind>) -> Result<Item> {
        let Some(TableSampleKind::BeforeTableAlias(sample) | TableSampleKind::AfterTableAlias(sample)) = sample else {
            return Ok(item);
        };
        let unsupported = || Error::new(ErrorKind::Unsupported, format!("{sample} is not supported"));
        let Some(quantity) = sample.quantity.as_ref().filter(|_| sample.bucket.is_none()) else {
            return Err(unsupported());
        };
        if let (None, ast::Expr::Function(method)) = (&sample.name, &quantity.value) {
            let message = format!("tablesample method {} does not exist", method.name.to_string().to_lowercase());
            return Err(locate(Error::new(ErrorKind::UndefinedObject, message), &quantity.value));
        }
        let clickhouse = sample.modifier == TableSampleModifier::Sample;
        if matches!(quantity.unit, Some(TableSampleUnit::Percent)) && clickhouse {
            return Err(unsupported());
        }
        let amount = self.sample_number(&quantity.value, "parameter")?;
        let offset = match &sample.offset {
            Some(offset) if clickhouse => Some(self.sample_number(offset, "OFFSET")?),
            Some(_) => return Err(unsupported()),
            None => None,
        };
        // ClickHouse's sample of a table is always the same one.
        let seed = match &sample.seed {
            Some(seed) => Some(self.sample_number(&ast::Expr::Value(seed.value.clone()), "REPEATABLE")?),
            None if clickhouse => Some(Expr::literal(Value::float8(0.0))),
            None => None,
        };
        let by_blocks = matches!(sample.name, Some(TableSampleMethod::System | TableSampleMethod::Block));
        let of = match (&quantity.unit, clickhouse) {
            (Some(TableSampleUnit::Rows), _) => Sample::Rows,
            (_, true) => Sample::ShareOrRows,
            _ if by_blocks => Sample::Blocks,
            _ => Sample::Share,
        };
        let plan = Plan::Sample { input: Box::new(item.plan), of, amount, offset, seed };
        Ok(Item { plan, scope: item.scope })
    }

    fn sample_number(&mut self, written: &ast::Expr, what: &str) -> Result<Expr> {
        self.frames.push(Frame::query(Scope::default(), Clause::Limit));
        let bound = self.bind_expr(written);
        self.frames.pop();
        let bound = bound?;
        let ty = bound.ty.clone();
        self.coerce(bound, &Type::Float8, CoercionContext::Implicit).map_err(|_| {
            let message = format!("TABLESAMPLE {what} must be a number, not {ty}");
            locate(Error::new(ErrorKind::DatatypeMismatch, message), written)
        })
    }
}
