//! Conditions on one column that is kept in codes: evaluated once for each value of the dictionary, and looked up for each row.
//!
//! What a condition says of a value may be an error, which counts only if a row that other conditions leave has that value: then nothing is
//! known of the dictionary, and the rows are asked one by one.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::buffer::BooleanBuffer;
use parking_lot::Mutex;
use weir_sql::plan::Expr;
use weir_sql::rules::{has_subquery, is_volatile};
use weir_storage::{CodeRange, Coded, bits};

use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::expression::Expression;
use crate::functions::registry;

/// A condition that can be asked of a dictionary's values.
pub(super) struct CodedFilter {
    /// The only column that it reads.
    pub(super) column: usize,
    /// Of each dictionary that serves a part, by its address.
    known: Mutex<HashMap<usize, Asked>>,
}

/// What is known of a dictionary.
struct Asked {
    /// Keeps the address from being another's.
    _entries: ArrayRef,
    /// How many rows wanted to know.
    rows: usize,
    /// Once it was asked; `None` in it if a value has no answer.
    verdicts: Option<Option<Arc<Verdicts>>>,
}

/// For which values a condition is true.
struct Verdicts {
    entries: Vec<bool>,
    /// The codes of those for which it is, if these stand side by side, or all others do.
    range: Option<CodeRange>,
    null: bool,
}

impl Verdicts {
    fn new(entries: Vec<bool>, null: bool) -> Verdicts {
        let side_by_side = |passes: bool| {
            let start = entries.iter().position(|&entry| entry == passes).unwrap_or(0);
            let end = start + entries[start..].iter().take_while(|&&entry| entry == passes).count();
            let range = start as u32..end as u32;
            (!entries[end..].contains(&passes)).then_some(CodeRange { range, outside: !passes })
        };
        let range = side_by_side(true).or_else(|| side_by_side(false));
        Verdicts { entries, range, null }
    }
}

impl CodedFilter {
    /// `None` for a condition that has to see the rows.
    pub(super) fn new(filter: &Expr, compiled: &Expression, is_plain: impl Fn(usize) -> bool) -> Option<CodedFilter> {
        let [column] = compiled.columns[..] else { return None };
        let of_value = is_plain(column) && !is_volatile(filter, registry()) && !has_subquery(filter);
        of_value.then(|| CodedFilter { column, known: Mutex::default() })
    }

    /// The rows for which the condition is true; `None` when it is not worth asking the dictionary, or its values have no answer.
    pub(super) fn rows(
        &self,
        filter: &Expression,
        coded: &Coded,
        width: usize,
        context: &Arc<QueryContext>,
    ) -> Option<BooleanBuffer> {
        let (codes, rows) = (coded.codes(), coded.codes().len());
        let verdicts = match coded.is_shared() {
            false if coded.entries().len() > rows / 2 => return None,
            false => Arc::new(self.ask(filter, coded.entries(), width, context).ok()?),
            true => self.shared(filter, coded, width, context)?,
        };
        let passes = match &verdicts.range {
            Some(CodeRange { range, outside }) => {
                bits::of(codes, |code| (code.wrapping_sub(range.start) < range.end - range.start) != *outside)
            }
            None => bits::of(codes, |code| verdicts.entries[code as usize]),
        };
        Some(match coded.nulls() {
            None => passes,
            Some(valid) if verdicts.null => &passes | &!valid.inner(),
            Some(valid) => &passes & valid.inner(),
        })
    }

    /// For which codes of a part's dictionary the condition is true, if that is known, they or the others stand side by side, and it is not true
    /// of NULL.
    pub(super) fn range(&self, entries: &ArrayRef) -> Option<CodeRange> {
        let known = self.known.lock();
        let verdicts = known.get(&address(entries))?.verdicts.as_ref()?.as_ref()?;
        verdicts.range.clone().filter(|_| !verdicts.null)
    }

    /// The verdicts on a part's dictionary, once at least as many rows as it has values wanted them.
    fn shared(
        &self,
        filter: &Expression,
        coded: &Coded,
        width: usize,
        context: &Arc<QueryContext>,
    ) -> Option<Arc<Verdicts>> {
        let mut known = self.known.lock();
        let asked = known.entry(address(coded.entries())).or_insert_with(|| Asked {
            _entries: coded.entries().clone(),
            rows: 0,
            verdicts: None,
        });
        asked.rows += coded.codes().len();
        if asked.verdicts.is_none() && asked.rows >= coded.entries().len() {
            asked.verdicts = Some(self.ask(filter, coded.entries(), width, context).ok().map(Arc::new));
        }
        asked.verdicts.clone().flatten()
    }

    fn ask(
        &self,
        filter: &Expression,
        entries: &ArrayRef,
        width: usize,
        context: &Arc<QueryContext>,
    ) -> Result<Verdicts> {
        let of =
            |values: ArrayRef| filter.selects(&Batch::sparse(width, values.len(), [(self.column, values)]), context);
        let null = of(new_null_array(entries.data_type(), 1))?.value(0);
        Ok(Verdicts::new(of(entries.clone())?.values().iter().collect(), null))
    }
}

/// What a dictionary is told by while it is held.
fn address(entries: &ArrayRef) -> usize {
    Arc::as_ptr(entries).cast::<()>() as usize
}
