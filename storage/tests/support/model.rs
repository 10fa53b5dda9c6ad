//! The model of what a store shows: one table, whose rows have an id, a partition, a name that follows from the id, and a column that comes and goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use weir_storage::{Result, Snapshot, TableDef};

use super::{T, rows};

/// The table.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Table {
    pub(crate) rows: BTreeMap<i64, Row>,
    /// Whether the column that comes and goes is there.
    pub(crate) extra: bool,
}

/// A row of it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Row {
    pub(crate) partition: &'static str,
    /// What it has in the column that comes and goes.
    pub(crate) extra: Option<i64>,
    /// The number of the attempt that put it there.
    pub(crate) born: u64,
}

/// What a store shows; `None` before the table is made.
pub(crate) type Shown = Option<Table>;

/// Rows by id, with what they have in the column that comes and goes: as much of [`Shown`] as a scan tells.
pub(crate) type Found = Option<BTreeMap<i64, Option<i64>>>;

/// What a snapshot shows.
pub(crate) fn read(snapshot: &Snapshot) -> Result<Found> {
    let Some(table) = snapshot.table(T) else { return Ok(None) };
    let scan = snapshot.scan(T, &[])?;
    let columns: Vec<usize> = (0..table.def().schema.fields().len()).collect();
    let (mut found, mut count) = (BTreeMap::new(), 0);
    for granule in 0..scan.len() {
        let batch = scan.read(granule, &columns, None)?;
        let ids = batch.column(0).as_primitive::<Int64Type>().values();
        assert_eq!(batch.column(1), rows(ids.iter().copied()).column(1), "names follow from ids");
        let extra = |row: usize| {
            let column = batch.columns().get(2)?.as_primitive::<Int64Type>();
            column.is_valid(row).then(|| column.value(row))
        };
        found.extend(ids.iter().enumerate().map(|(row, &id)| (id, extra(row))));
        count += ids.len();
    }
    assert_eq!((found.len(), table.rows()), (count, count as u64), "each id is there once");
    Ok(Some(found))
}

/// What a snapshot should show.
pub(crate) fn expected(shown: &Shown) -> Found {
    shown.as_ref().map(|table| table.rows.iter().map(|(&id, row)| (id, row.extra)).collect())
}

impl Table {
    /// Adds rows of a partition (or puts them in the place of those with their ids); gives them as the table's definition has them.
    pub(crate) fn add(
        &mut self,
        def: &TableDef,
        partition: &'static str,
        ids: impl Iterator<Item = i64> + Clone,
        born: u64,
    ) -> RecordBatch {
        let has_extra = self.extra;
        let extra = |id: i64| (has_extra && id % 3 > 0).then_some(id * 1000 + born as i64);
        let mut columns = rows(ids.clone()).columns().to_vec();
        if has_extra {
            columns.push(Arc::new(Int64Array::from_iter(ids.clone().map(extra))));
        }
        self.rows.extend(ids.map(|id| (id, Row { partition, extra: extra(id), born })));
        RecordBatch::try_new(def.schema.clone(), columns).expect("the columns are the table's")
    }

    /// The column comes, under this id and with this value in the rows that are there, or it goes; the definition after that.
    pub(crate) fn alter(&mut self, mut def: TableDef, id: u32, value: Option<i64>) -> TableDef {
        let mut fields = def.schema.fields().to_vec();
        self.extra = !self.extra;
        if self.extra {
            fields.push(Arc::new(Field::new("extra", DataType::Int64, true)));
            def.ids.push(id);
            def.missing.push(value.map(|value| Arc::new(Int64Array::from(vec![value])) as ArrayRef));
        } else {
            fields.truncate(2);
            def.ids.truncate(2);
            def.missing.truncate(2);
        }
        let value = value.filter(|_| self.extra);
        self.rows.values_mut().for_each(|row| row.extra = value);
        def.schema = Arc::new(Schema::new(fields));
        def
    }
}
