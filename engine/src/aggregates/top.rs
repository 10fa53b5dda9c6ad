//! The most frequent values: topK, topKWeighted and anyHeavy, exactly; approx_top_k and approx_top_sum, by Space-Saving (see
//! [`super::space_saving`]) with so many counters a group as [`counters_of`] says. NULLs do not count.
//!
//! State: the list of a group's values, greatest count first; the list of their counts, then, unless all are exact, of their errors and of what a
//! value that is not listed may have been counted as. `approx_top_k(x, k)`: and k.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Int64Array, ListArray, StructArray, UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use arrow::row::RowConverter;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::space_saving::{Counter, Summary};
use super::states::{each_row, lists};
use super::{Accumulator, AggregateFunction, AggregateOverload, Call, Create, function};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::keys;

pub(super) fn functions() -> Vec<AggregateFunction> {
    let listed = Returns::Computed(|args| Type::Array(Box::new(args[0].clone())));
    let counters = Returns::Computed(counters_type);
    let any = || vec![Param::Any];
    let weighed = || vec![Param::Any, Param::Exact(Type::Int8)];
    let counted = |args: &[Type], _: &Type| vec![list(args[0].clone()), list(Type::Int8)];
    let summed = |args: &[Type], _: &Type| vec![list(args[0].clone()), list(Type::Numeric(Some((38, 0))))];
    let of = |params, returns: &Returns, state, create: Create| {
        vec![AggregateOverload::new(params, returns.clone(), state, create)]
    };
    let unsteady = |overloads: Vec<AggregateOverload>| overloads.into_iter().map(AggregateOverload::unsteady).collect();
    let mut approximate = of(
        weighed(),
        &listed,
        |args, _| vec![list(args[0].clone()), list(Type::Int8), Type::Int8],
        |c| create(c, How::Argument),
    );
    approximate.extend(of(any(), &counters, counted, |c| create(c, How::Counters)));
    vec![
        function(
            &["topK"],
            "The values that are there most often, in that order (10 of them if no number is given: topK(3)(x)); of equals, the least first.",
            ("topK(2)(x)", "{1,2}"),
            of(any(), &listed, counted, |c| create(c, How::Values)),
        ),
        function(
            &["topKWeighted"],
            "The values with the greatest sums of weights, in that order: topKWeighted(3)(value, weight).",
            ("topKWeighted(2)(x, x)", "{3,2}"),
            of(weighed(), &listed, summed, |c| create(c, How::Values)),
        ),
        function(
            &["approx_top_k", "approx_top_count"],
            "About the values that are there most often, so many of them, in that order; as approx_top_k(3)(x), with their counts and how much too much those may be.",
            ("approx_top_k(x, 2)", "{1,2}"),
            unsteady(approximate),
        ),
        function(
            &["approx_top_sum"],
            "The values with the greatest sums of weights, the sums and how much too much those may be: approx_top_sum(3)(value, weight).",
            ("approx_top_sum(1)(x, x)", "{\"(3,3,0)\"}"),
            unsteady(of(weighed(), &counters, summed, |c| create(c, How::Counters))),
        ),
        function(
            &["anyHeavy"],
            "The value that is there most often; the least of several.",
            ("anyHeavy(x % 2)", "1"),
            of(any(), &Returns::Argument(0), counted, |c| create(c, How::First)),
        ),
    ]
}

fn list(ty: Type) -> Type {
    Type::Array(Box::new(ty))
}

fn counters_type(args: &[Type]) -> Type {
    let fields = vec![("item".into(), args[0].clone()), ("count".into(), Type::Int8), ("error".into(), Type::Int8)];
    list(Type::Record(fields))
}

/// How many values are counted for so many that are asked for.
fn counters_of(wanted: usize) -> usize {
    (wanted * 16).max(1024)
}

/// What is given of the greatest counters.
#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    /// Their values, as many as the parameter says.
    Values,
    /// As many as the second argument says.
    Argument,
    /// Values, counts and errors.
    Counters,
    /// The first value.
    First,
}

fn create(call: &Call<'_>, how: How) -> Result<Box<dyn Accumulator>> {
    let positive = |value: &weir_sql::Value| {
        super::moments::float_of(value).filter(|k| (1.0..=65536.0).contains(k)).map(|k| k as usize).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidParameter,
                format!("a number of values is 1 or more, and at the most 65536, not {value}"),
            )
        })
    };
    let wanted = match call.params {
        _ if how == How::First => 1,
        [] => 10,
        [value, ..] => positive(value)?,
    };
    let reserved = call.params.get(if how == How::Counters { 1 } else { 2 }).map(positive).transpose()?;
    let ty = &call.args[0];
    Ok(Box::new(Top {
        how,
        default: wanted,
        capacity: match how {
            How::Values | How::First => usize::MAX,
            How::Argument | How::Counters => counters_of(wanted).max(reserved.unwrap_or(0)),
        },
        wanted: Vec::new(),
        weighed: how != How::Argument && call.args.len() > 1,
        ty: ty.clone(),
        returns: call.returns.clone(),
        converter: keys::row_converter(std::slice::from_ref(ty), &[Default::default()])?,
        original: keys::has_variants(ty).then(|| original(ty)).transpose()?,
        groups: Vec::new(),
    }))
}

struct Top {
    how: How,
    default: usize,
    capacity: usize,
    /// How many values each group is asked for, where an argument says it.
    wanted: Vec<Option<usize>>,
    /// Whether the second argument is a weight.
    weighed: bool,
    ty: Type,
    returns: Type,
    /// Keys to bytes, and back.
    converter: RowConverter,
    /// Of a type whose equal values may look different, for the values themselves.
    original: Option<RowConverter>,
    groups: Vec<Summary>,
}

impl Top {
    fn resize(&mut self, n_groups: usize) {
        let capacity = self.capacity;
        self.groups.resize_with(n_groups.max(self.groups.len()), || Summary::new(capacity));
        self.wanted.resize(self.groups.len(), None);
    }

    fn note_wanted(&mut self, group: usize, k: i64) -> Result<()> {
        let known = self.wanted[group];
        match usize::try_from(k) {
            Ok(k @ 1..=65536) if known.is_none_or(|known| known == k) => {
                self.wanted[group] = Some(k);
                Ok(())
            }
            _ => {
                let message = format!("the number of values {k} is less than 1, or not the same for all rows");
                Err(Error::new(ErrorKind::InvalidParameter, message))
            }
        }
    }

    /// Adds values and weights to groups.
    fn each(
        &mut self,
        values: &ArrayRef,
        mut add: impl FnMut(&mut [Summary], usize, &[u8], &[u8]) -> Result<()>,
        rows: impl Iterator<Item = usize>,
    ) -> Result<()> {
        let keys = self.converter.convert_columns(&[keys::normalize(&self.ty, values)?])?;
        let own = self
            .original
            .as_mut()
            .map(|original| original.convert_columns(std::slice::from_ref(values)))
            .transpose()?;
        for row in rows {
            let value = own.as_ref().map(|own| own.row(row));
            let value = value.as_ref().map_or(&[][..], |value| value.as_ref());
            add(&mut self.groups, row, keys.row(row).as_ref(), value)?;
        }
        Ok(())
    }

    /// The values of counters.
    fn values(&self, counters: &[&Counter]) -> Result<ArrayRef> {
        let (converter, original) = match &self.original {
            Some(original) => (original, true),
            None => (&self.converter, false),
        };
        let parser = converter.parser();
        let bytes = counters.iter().map(|c| parser.parse(if original { &c.value } else { &c.key }));
        let mut columns = converter.convert_rows(bytes)?;
        columns.pop().ok_or_else(|| Error::internal("a key has one column"))
    }
}

fn original(ty: &Type) -> Result<RowConverter> {
    Ok(RowConverter::new(vec![arrow::row::SortField::new(ty.to_arrow())])?)
}

/// A list of numbers as wide ones.
fn wide(list: &ListArray) -> Result<Decimal128Array> {
    let wide = arrow::compute::cast(list.values(), &DataType::Decimal128(38, 0))?;
    Ok(wide.as_primitive::<Decimal128Type>().clone())
}

/// Numbers as a column of a type.
fn narrow(values: Vec<i128>, ty: &Type) -> Result<ArrayRef> {
    let out_of_range = || super::states::out_of_range(&ty.to_string());
    Ok(match ty {
        Type::Int8 => {
            let narrow = values.into_iter().map(|v| i64::try_from(v).map_err(|_| out_of_range()));
            Arc::new(Int64Array::from(narrow.collect::<Result<Vec<i64>>>()?))
        }
        _ => Arc::new(Decimal128Array::from(values).with_precision_and_scale(38, 0)?),
    })
}

impl Accumulator for Top {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.resize(n_groups);
        let nulls = args[0].logical_nulls();
        let mut rows = Vec::with_capacity(groups.len());
        each_row(groups, nulls.as_ref(), filter, |row, _| rows.push(row));
        let second = args.get(1).map(|arg| arg.as_primitive::<Int64Type>().clone());
        let weights = second.as_ref().filter(|_| self.weighed);
        if let (How::Argument, Some(wanted)) = (self.how, &second) {
            for &row in rows.iter().filter(|row| wanted.is_valid(**row)) {
                self.note_wanted(groups[row] as usize, wanted.value(row))?;
            }
        }
        let weight = |row: usize| -> Result<i128> {
            let weight = weights.map_or(1, |weights| if weights.is_null(row) { 0 } else { weights.value(row) });
            match weight {
                0.. => Ok(weight.into()),
                _ => Err(Error::new(ErrorKind::InvalidParameter, format!("the weight {weight} is negative"))),
            }
        };
        let add = |summaries: &mut [Summary], row: usize, key: &[u8], value: &[u8]| {
            summaries[groups[row] as usize].add(key, value, weight(row)?);
            Ok(())
        };
        self.each(&args[0], add, rows.into_iter())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        self.resize(n_groups);
        if let (How::Argument, Some(wanted)) = (self.how, states.get(2)) {
            let wanted = wanted.as_primitive::<Int64Type>();
            for row in (0..groups.len()).filter(|&row| wanted.is_valid(row)) {
                self.note_wanted(groups[row] as usize, wanted.value(row))?;
            }
        }
        let (values, numbers) = (states[0].as_list::<i32>(), states[1].as_list::<i32>());
        let counts = wide(numbers)?;
        let mut all = Vec::with_capacity(values.values().len());
        let (first, last) = (values.value_offsets()[0] as usize, values.value_offsets()[values.len()] as usize);
        let mut found = Vec::with_capacity(last - first);
        self.each(
            values.values(),
            |_, _, key, value| {
                found.push((Box::<[u8]>::from(key), Box::<[u8]>::from(value)));
                Ok(())
            },
            first..last,
        )?;
        all.extend(found);
        let mut all = all.into_iter();
        for (row, &group) in groups.iter().enumerate() {
            let n = values.value_length(row) as usize;
            let start = numbers.value_offsets()[row] as usize;
            let given = numbers.value_length(row) as usize;
            if given != n && given != 2 * n + 1 {
                return Err(Error::new(ErrorKind::DataCorrupted, "a state of topK is damaged"));
            }
            let exact = given == n;
            let counters: Vec<Counter> = (0..n)
                .zip(&mut all)
                .map(|(at, (key, value))| Counter {
                    key,
                    value,
                    count: counts.value(start + at),
                    error: if exact { 0 } else { counts.value(start + n + at) },
                })
                .collect();
            let floor = if exact { 0 } else { counts.value(start + 2 * n) };
            self.groups[group as usize].merge(counters, floor);
        }
        Ok(())
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        self.resize(n_groups);
        let number = if self.weighed { Type::Numeric(Some((38, 0))) } else { Type::Int8 };
        let (mut counters, mut numbers) = (Vec::new(), Vec::new());
        let (mut listed, mut given) = (Vec::with_capacity(n_groups), Vec::with_capacity(n_groups));
        for summary in self.groups.drain(..).take(n_groups) {
            let floor = summary.floor();
            let sorted = summary.into_sorted();
            let exact = sorted.len() < self.capacity && sorted.iter().all(|counter| counter.error == 0);
            numbers.extend(sorted.iter().map(|counter| counter.count));
            if !exact {
                numbers.extend(sorted.iter().map(|counter| counter.error).chain([floor]));
            }
            listed.push(sorted.len());
            given.push(if exact { sorted.len() } else { 2 * sorted.len() + 1 });
            counters.extend(sorted);
        }
        let values = self.values(&counters.iter().collect::<Vec<_>>())?;
        let mut columns = vec![
            lists(self.ty.element_field(), values, &listed, false)?,
            lists(number.element_field(), narrow(numbers, &number)?, &given, false)?,
        ];
        let wanted = std::mem::take(&mut self.wanted);
        if self.how == How::Argument {
            let wanted = wanted.into_iter().take(n_groups).map(|k| k.map(|k| k as i64));
            columns.push(Arc::new(wanted.collect::<Int64Array>()));
        }
        Ok(columns)
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        self.resize(n_groups);
        let wanted = std::mem::take(&mut self.wanted);
        let (mut counters, mut lengths) = (Vec::new(), Vec::with_capacity(n_groups));
        for (summary, wanted) in self.groups.drain(..).zip(wanted).take(n_groups) {
            let mut sorted = summary.into_sorted();
            sorted.truncate(wanted.unwrap_or(self.default));
            lengths.push(sorted.len());
            counters.extend(sorted);
        }
        let values = self.values(&counters.iter().collect::<Vec<_>>())?;
        if self.how == How::First {
            let mut next = 0;
            let places = lengths.iter().map(|&length| {
                next += length as u32;
                (length > 0).then(|| next - 1)
            });
            return Ok(take(&values, &places.collect::<UInt32Array>(), None)?);
        }
        let Type::Array(element) = &self.returns else {
            return Err(Error::internal("the most frequent values are an array"));
        };
        let items: ArrayRef = match (element.to_arrow(), self.how) {
            (DataType::Struct(fields), How::Counters) => {
                let counts = narrow(counters.iter().map(|counter| counter.count).collect(), &Type::Int8)?;
                let errors = narrow(counters.iter().map(|counter| counter.error).collect(), &Type::Int8)?;
                Arc::new(StructArray::try_new(fields, vec![values, counts, errors], None)?)
            }
            _ => values,
        };
        Ok(Arc::new(ListArray::try_new(element.element_field(), OffsetBuffer::from_lengths(lengths), items, None)?))
    }

    fn memory(&self) -> usize {
        self.groups.iter().map(Summary::memory).sum::<usize>() + self.groups.capacity() * size_of::<Summary>()
    }
}
