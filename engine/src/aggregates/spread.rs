//! ClickHouse's -ForEach, -Array and -Resample: any aggregate over the elements of arrays, or over rows by ranges of a key.
//!
//! Each is the aggregate itself with other rows and other groups: an element is a row, a place in the arrays or a range is a group of its own.
//!
//! State: of -Array that of the aggregate; of -ForEach and -Resample, for each column of the aggregate's state, the list of the states of all places
//! or ranges, in order.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Int64Type;
use weir_sql::Type;
use weir_sql::plan::Spread;

use super::Accumulator;
use super::states::{flatten, lists, rows_that_count};
use crate::error::{Error, ErrorKind, Result};

/// The most ranges of -Resample.
const RANGES_MAX: i64 = 1 << 20;

/// The types of the aggregate's own arguments and result.
pub(super) fn inner(spread: Spread, args: &[Type], returns: &Type) -> Result<(Vec<Type>, Type)> {
    let element = |ty: &Type| match ty {
        Type::Array(element) => Ok((**element).clone()),
        other => Err(Error::internal(format!("{other} is no array"))),
    };
    Ok(match spread {
        Spread::ForEach => (args.iter().map(element).collect::<Result<_>>()?, element(returns)?),
        Spread::Array => (args.iter().map(element).collect::<Result<_>>()?, returns.clone()),
        Spread::Resample { .. } => (args[..args.len() - 1].to_vec(), element(returns)?),
    })
}

/// Types of the state's columns, from those of the aggregate's own.
pub(super) fn states(spread: Spread, own: Vec<Type>) -> Vec<Type> {
    match spread {
        Spread::Array => own,
        Spread::ForEach | Spread::Resample { .. } => own.into_iter().map(|ty| Type::Array(Box::new(ty))).collect(),
    }
}

/// An aggregate, and how its groups belong to those of the query.
pub(super) struct Spreading {
    spread: Spread,
    /// How many arguments the call has.
    args: usize,
    /// Of the aggregate itself: its result, and its state's columns.
    returns: Type,
    states: Vec<Type>,
    /// Whether a last column has each row's position.
    position: bool,
    /// For each group of the query, the aggregate's groups, in order.
    own: Vec<Vec<u32>>,
    /// How many groups the aggregate has.
    count: usize,
    inner: Box<dyn Accumulator>,
}

impl Spreading {
    pub(super) fn new(
        spread: Spread,
        args: usize,
        returns: Type,
        states: Vec<Type>,
        position: bool,
        inner: Box<dyn Accumulator>,
    ) -> Spreading {
        Spreading { spread, args, returns, states, position, own: Vec::new(), count: 0, inner }
    }

    /// The aggregate's group for a place in a group of the query.
    fn group(&mut self, group: u32, place: usize) -> u32 {
        let own = &mut self.own[group as usize];
        while own.len() <= place {
            own.push(self.count as u32);
            self.count += 1;
        }
        own[place]
    }

    /// Makes room for groups: all ranges of a group are there from the first.
    fn resize(&mut self, n_groups: usize) -> Result<()> {
        let before = self.own.len();
        self.own.resize(n_groups.max(before), Vec::new());
        if let Some(ranges @ 1..) = self.ranges()? {
            for group in before..self.own.len() {
                self.group(group as u32, ranges - 1);
            }
        }
        Ok(())
    }

    fn ranges(&self) -> Result<Option<usize>> {
        let Spread::Resample { start, end, step } = self.spread else { return Ok(None) };
        let width = (i128::from(end) - i128::from(start)).max(0);
        let ranges = (width + i128::from(step) - 1) / i128::from(step);
        match ranges <= RANGES_MAX.into() {
            true => Ok(Some(ranges as usize)),
            false => {
                let message = format!("-Resample makes no more than {RANGES_MAX} ranges");
                Err(Error::new(ErrorKind::ProgramLimit, message))
            }
        }
    }

    /// How many of the aggregate's groups each group of the query has, and the order that puts them together.
    fn order(&mut self, n_groups: usize) -> Result<(UInt32Array, Vec<usize>)> {
        self.resize(n_groups)?;
        let own = std::mem::take(&mut self.own);
        self.count = 0;
        let lengths = own.iter().map(Vec::len).collect();
        Ok((UInt32Array::from(own.concat()), lengths))
    }

    /// Adds the rows of these arrays, the position among them, whose elements are the aggregate's rows.
    fn elements(&mut self, columns: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        let lists: Vec<_> = columns[..self.args].iter().map(|column| column.as_list::<i32>()).collect();
        let (mut rows, mut owners) = (Vec::new(), Vec::new());
        let mut places: Vec<Vec<u32>> = vec![Vec::new(); lists.len()];
        for (row, &group) in groups.iter().enumerate() {
            if lists.iter().any(|list| list.is_null(row)) {
                continue;
            }
            let length = lists[0].value_length(row);
            if lists.iter().any(|list| list.value_length(row) != length) {
                let message = "the arrays of an aggregate over their elements must have equal lengths";
                return Err(Error::new(ErrorKind::ArraySubscript, message));
            }
            for (list, places) in lists.iter().zip(&mut places) {
                let start = list.value_offsets()[row];
                places.extend((start..start + length).map(|at| at as u32));
            }
            rows.extend(std::iter::repeat_n(row as u32, length as usize));
            match self.spread {
                Spread::Array => owners.extend(std::iter::repeat_n(group, length as usize)),
                _ => owners.extend((0..length as usize).map(|place| self.group(group, place))),
            }
        }
        let elements =
            lists.iter().zip(places).map(|(list, places)| take(list.values(), &UInt32Array::from(places), None));
        let mut args: Vec<ArrayRef> = elements.collect::<std::result::Result<_, _>>()?;
        if self.position {
            args.push(take(&columns[self.args], &UInt32Array::from(rows), None)?);
        }
        let count = if self.spread == Spread::Array { n_groups } else { self.count };
        self.inner.update(&args, &owners, count, None)
    }

    /// Adds the rows whose key is in a range.
    fn resample(&mut self, columns: &[ArrayRef], groups: &[u32], start: i64, end: i64, step: i64) -> Result<()> {
        let keys = columns[self.args - 1].as_primitive::<Int64Type>();
        let (mut rows, mut owners) = (Vec::new(), Vec::new());
        for (row, &group) in groups.iter().enumerate() {
            if keys.is_valid(row) && (start..end).contains(&keys.value(row)) {
                let range = (i128::from(keys.value(row)) - i128::from(start)) / i128::from(step);
                rows.push(row as u32);
                owners.push(self.group(group, range as usize));
            }
        }
        let rows = UInt32Array::from(rows);
        let mut args = columns.to_vec();
        args.remove(self.args - 1);
        let args = args.iter().map(|column| take(column, &rows, None)).collect::<std::result::Result<Vec<_>, _>>()?;
        self.inner.update(&args, &owners, self.count, None)
    }
}

impl Accumulator for Spreading {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.resize(n_groups)?;
        let columns = &args[..self.args + usize::from(self.position)];
        let (columns, groups) = match rows_that_count(None, filter) {
            None => (columns.to_vec(), groups.to_vec()),
            Some(mask) => {
                let rows: Vec<u32> = mask.set_indices_u32().collect();
                let groups = rows.iter().map(|&row| groups[row as usize]).collect();
                let rows = UInt32Array::from(rows);
                let columns = columns.iter().map(|column| take(column, &rows, None));
                (columns.collect::<std::result::Result<_, _>>()?, groups)
            }
        };
        match self.spread {
            Spread::Resample { start, end, step } => self.resample(&columns, &groups, start, end, step),
            Spread::ForEach | Spread::Array => self.elements(&columns, &groups, n_groups),
        }
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        self.resize(n_groups)?;
        if self.spread == Spread::Array {
            return self.inner.merge(states, groups, n_groups);
        }
        let mut owners = Vec::new();
        if let Some(first) = states.first() {
            let first = first.as_list::<i32>();
            for (row, &group) in groups.iter().enumerate() {
                owners.extend((0..first.value_length(row) as usize).map(|place| self.group(group, place)));
            }
        }
        let (columns, _) = flatten(states, groups)?;
        self.inner.merge(&columns, &owners, self.count)
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        if self.spread == Spread::Array {
            return self.inner.state(n_groups);
        }
        let count = self.count_of(n_groups)?;
        let columns = self.inner.state(count)?;
        let (order, lengths) = self.order(n_groups)?;
        let list =
            |(ty, column): (&Type, ArrayRef)| lists(ty.element_field(), take(&column, &order, None)?, &lengths, false);
        self.states.iter().zip(columns).map(list).collect()
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        if self.spread == Spread::Array {
            return self.inner.finish(n_groups);
        }
        let count = self.count_of(n_groups)?;
        let results = self.inner.finish(count)?;
        let (order, lengths) = self.order(n_groups)?;
        lists(self.returns.element_field(), take(&results, &order, None)?, &lengths, false)
    }

    fn memory(&self) -> usize {
        self.inner.memory() + self.own.len() * size_of::<Vec<u32>>() + self.count * 4
    }
}

impl Spreading {
    /// How many groups the aggregate has once the query's are all there.
    fn count_of(&mut self, n_groups: usize) -> Result<usize> {
        self.resize(n_groups)?;
        Ok(self.count)
    }
}
