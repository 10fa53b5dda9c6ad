//! Aggregates by value within a group: sumMap, minMap and maxMap over arrays of keys and values; entropy, and weighted quantiles.
//!
//! Each distinct key of a group is an entry: a group of its own for another aggregate, that of a key's values (sum, min, max) or of its rows
//! (count). At the end the entries of a group are put in order and become one result. NULL keys do not count. Counts are exact and
//! all entries are kept, so that neither the order of rows nor how they were split matters.
//!
//! State: the list of the group's keys; then, for each column of the inner aggregate's state, the list of the entries' states.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, StructArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};
use weir_sql::types::StateType;

use super::states::{Collected, by_group, flatten, lists, rows_that_count};
use super::{Accumulator, AggregateFunction, AggregateOverload, Call, Create, function};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::groups::GroupTable;
use crate::exec::keys;
use crate::functions::{Implementation, registry};
use crate::kernels::compare::floats;

pub(super) fn functions() -> Vec<AggregateFunction> {
    let list_of_first = Returns::Computed(|args| Type::Array(Box::new(args[0].clone())));
    let counted = |args: &[Type], _: &Type| state_types(&args[0], "count", &[]);
    let weighted = |args: &[Type], _: &Type| state_types(&args[0], "sum", &[Type::Int8]);
    let any = || vec![Param::Any];
    let map = |state, create: Create, returns| {
        vec![AggregateOverload::new(vec![Param::Any, Param::Any], returns, state, create)]
    };
    vec![
        function(
            &["entropy"],
            "The entropy of the values' distribution, in bits.",
            ("entropy(x)", "1.584962500721156"),
            vec![AggregateOverload::new(any(), Returns::Exact(Type::Float8), counted, |call| {
                create(call, How::Entropy, "count")
            })],
        ),
        function(
            &["quantileExactWeighted", "medianExactWeighted"],
            "The value at a fraction of the sorted values, each of which counts as often as its weight says: quantileExactWeighted(0.9)(value, weight).",
            ("quantileExactWeighted(0.5)(x, x)", "2"),
            vec![AggregateOverload::new(
                vec![Param::Any, Param::Exact(Type::Int8)],
                Returns::Argument(0),
                weighted,
                |call| create(call, How::Quantile, "sum"),
            )],
        ),
        function(
            &["quantilesExactWeighted"],
            "As quantileExactWeighted, at several fractions.",
            ("quantilesExactWeighted(0.1, 0.9)(x, x)", "{1,3}"),
            vec![AggregateOverload::new(vec![Param::Any, Param::Exact(Type::Int8)], list_of_first, weighted, |call| {
                create(call, How::Quantiles, "sum")
            })],
        ),
        function(
            &["sumMap", "sumMappedArrays", "sumMapWithOverflow"],
            "For each key of arrays of keys, the sum of the values at its places in arrays of values: a record of the keys and the sums.",
            ("sumMap(ARRAY[1, x], ARRAY[10, x])", "(\"{1,2,3}\",\"{41,2,3}\")"),
            map(
                |args, _| state_types(&element(&args[0]), "sum", &[element(&args[1])]),
                |call| create(call, How::Map, "sum"),
                Returns::Computed(|args| map_type(args, "sum")),
            ),
        ),
        function(
            &["minMap", "minMappedArrays"],
            "For each key of arrays of keys, the least of the values at its places in arrays of values: a record of the keys and the values.",
            ("minMap(ARRAY[1], ARRAY[x])", "({1},{1})"),
            map(
                |args, _| state_types(&element(&args[0]), "min", &[element(&args[1])]),
                |call| create(call, How::Map, "min"),
                Returns::Computed(|args| map_type(args, "min")),
            ),
        ),
        function(
            &["maxMap", "maxMappedArrays"],
            "For each key of arrays of keys, the greatest of the values at its places in arrays of values: a record of the keys and the values.",
            ("maxMap(ARRAY[1], ARRAY[x])", "({1},{3})"),
            map(
                |args, _| state_types(&element(&args[0]), "max", &[element(&args[1])]),
                |call| create(call, How::Map, "max"),
                Returns::Computed(|args| map_type(args, "max")),
            ),
        ),
        function(
            &["avgMap"],
            "For each key of maps, the mean of its values.",
            ("avgMap(map('a', x))", "{\"a\": 1.5000000000000000}"),
            map(
                |args, _| state_types(&element(&args[0]), "avg", &[element(&args[1])]),
                |call| create(call, How::Map, "avg"),
                Returns::Computed(|args| map_type(args, "avg")),
            ),
        ),
        function(
            &["countMap"],
            "For each key of maps, how many values it has.",
            ("countMap(map('a', x))", "{\"a\": 4}"),
            map(
                |args, _| state_types(&element(&args[0]), "count", &[element(&args[1])]),
                |call| create(call, How::Map, "count"),
                Returns::Computed(|args| map_type(args, "count")),
            ),
        ),
        function(
            &["uniqMap"],
            "For each key of maps, how many different values it has.",
            ("uniqMap(map('a', x % 2))", "{\"a\": 2}"),
            map(
                |args, _| state_types(&element(&args[0]), "uniqExact", &[element(&args[1])]),
                |call| create(call, How::Map, "uniqExact"),
                Returns::Computed(|args| map_type(args, "uniqExact")),
            ),
        ),
    ]
}

fn element(ty: &Type) -> Type {
    match ty {
        Type::Array(element) => (**element).clone(),
        _ => Type::Text,
    }
}

/// The aggregate of an entry's rows: its code, and the type of its result.
pub(super) fn inner(name: &str, args: &[Type]) -> Option<(&'static AggregateOverload, Type)> {
    let state = StateType { function: name.to_string(), params: Vec::new(), args: args.to_vec() };
    let (signature, casts, returns) = weir_sql::bind::state_overload(registry(), &state)?;
    match registry().implementation(signature.id) {
        Implementation::Aggregate(overload) if casts == args => Some((overload, returns)),
        _ => None,
    }
}

fn state_types(key: &Type, name: &str, args: &[Type]) -> Vec<Type> {
    let list = |ty: Type| Type::Array(Box::new(ty));
    let states = inner(name, args).map(|(overload, returns)| overload.state_types(args, &returns, false, &[]));
    std::iter::once(key.clone()).chain(states.unwrap_or_default()).map(list).collect()
}

fn map_type(args: &[Type], name: &str) -> Type {
    let value = inner(name, &[element(&args[1])]).map_or(Type::Text, |(_, returns)| returns);
    let list = |ty: Type| Type::Array(Box::new(ty));
    Type::Record(vec![("keys".into(), list(element(&args[0]))), ("values".into(), list(value))])
}

/// What becomes of a group's entries.
#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    /// Of the values as parts of their sum.
    Entropy,
    /// Keys and values; without those that are 0, if they are sums, as ClickHouse has it.
    Map,
    /// The key at a fraction of the sum of values.
    Quantile,
    /// The keys at several.
    Quantiles,
}

fn create(call: &Call<'_>, how: How, name: &str) -> Result<Box<dyn Accumulator>> {
    let of_arrays = how == How::Map;
    if of_arrays && !call.args.iter().all(|ty| matches!(ty, Type::Array(_))) {
        let message = format!("{name}Map takes an array of keys and an array of values");
        return Err(Error::new(ErrorKind::Sql(weir_sql::ErrorKind::DatatypeMismatch), message));
    }
    let key = if of_arrays { element(&call.args[0]) } else { call.args[0].clone() };
    let args: Vec<Type> = match how {
        How::Map => vec![element(&call.args[1])],
        How::Entropy => Vec::new(),
        _ => call.args[1..].to_vec(),
    };
    let Some((overload, returns)) = inner(name, &args) else {
        let types: Vec<String> = args.iter().map(Type::to_string).collect();
        let message = format!("function {name}({}) does not exist", types.join(", "));
        return Err(Error::new(ErrorKind::Sql(weir_sql::ErrorKind::UndefinedFunction), message));
    };
    let mut fractions = Vec::new();
    if matches!(how, How::Quantile | How::Quantiles) {
        for value in call.params {
            let fraction = super::moments::float_of(value).filter(|fraction| (0.0..=1.0).contains(fraction));
            fractions.push(fraction.ok_or_else(|| {
                Error::new(ErrorKind::NumericOutOfRange, format!("percentile value {value} is not between 0 and 1"))
            })?);
        }
        if fractions.is_empty() {
            fractions.push(0.5);
        }
    }
    let inner_call = Call { args: &args, params: &[], returns: &returns, descending: false, context: call.context };
    Ok(Box::new(Keyed {
        how,
        fractions,
        drops_zeros: how == How::Map && name == "sum",
        table: GroupTable::new(&[Type::UInt32, key.clone()])?,
        key,
        states: overload.state_types(&args, &returns, false, &[]),
        returns: call.returns.clone(),
        entries: Collected::default(),
        inner: overload.accumulator(&inner_call, false, &[])?,
        takes: args.len(),
        value: returns,
        scratch: Vec::new(),
    }))
}

struct Keyed {
    how: How,
    fractions: Vec<f64>,
    drops_zeros: bool,
    key: Type,
    returns: Type,
    /// Of the inner aggregate: its result, and its state's columns.
    value: Type,
    states: Vec<Type>,
    /// (group, key) to the entry's number.
    table: GroupTable,
    /// Each entry's key and group.
    entries: Collected,
    inner: Box<dyn Accumulator>,
    /// How many arguments the inner aggregate has.
    takes: usize,
    scratch: Vec<u32>,
}

impl Keyed {
    /// Finds the entries of keys, which are left in `scratch`.
    fn intern(&mut self, column: &ArrayRef, groups: &[u32]) -> Result<()> {
        let mut next = self.table.len() as u32;
        let key = vec![Arc::new(UInt32Array::from(groups.to_vec())) as ArrayRef, keys::normalize(&self.key, column)?];
        self.table.intern(&key, groups.len(), &mut self.scratch)?;
        let mut fresh = Vec::new();
        for (row, &id) in self.scratch.iter().enumerate() {
            if id == next {
                fresh.push(row as u32);
                next += 1;
            }
        }
        let owners: Vec<u32> = fresh.iter().map(|&row| groups[row as usize]).collect();
        self.entries.add(&[take(column, &UInt32Array::from(fresh), None)?], &owners, None)
    }

    fn add(&mut self, key: &ArrayRef, args: &[ArrayRef], groups: &[u32]) -> Result<()> {
        self.intern(key, groups)?;
        self.inner.update(args, &self.scratch, self.table.len(), None)
    }

    /// The keys, the order that puts them together by group, and how many each group has; all else is forgotten.
    fn take(&mut self, n_groups: usize) -> Result<(ArrayRef, UInt32Array, Vec<usize>)> {
        let (mut columns, groups) = self.entries.take(&[self.key.to_arrow()])?;
        let (order, lengths) = by_group(&groups, n_groups);
        self.table = GroupTable::new(&[Type::UInt32, self.key.clone()])?;
        Ok((columns.remove(0), order, lengths))
    }
}

impl Accumulator for Keyed {
    fn update(&mut self, args: &[ArrayRef], groups: &[u32], _: usize, filter: Option<&BooleanArray>) -> Result<()> {
        let gather = |columns: &[ArrayRef], groups: &[u32], rows: Vec<u32>| -> Result<(Vec<ArrayRef>, Vec<u32>)> {
            let groups = rows.iter().map(|&row| groups[row as usize]).collect();
            let rows = UInt32Array::from(rows);
            let columns = columns.iter().map(|column| take(column, &rows, None));
            Ok((columns.collect::<std::result::Result<_, _>>()?, groups))
        };
        let args = &args[..1 + self.takes];
        let mut nulls = args[0].logical_nulls();
        if self.how == How::Map {
            nulls = arrow::buffer::NullBuffer::union(nulls.as_ref(), args[1].logical_nulls().as_ref());
        }
        let (mut columns, mut groups) = match rows_that_count(nulls.as_ref(), filter) {
            None => (args.to_vec(), groups.to_vec()),
            Some(mask) => gather(args, groups, mask.set_indices_u32().collect())?,
        };
        if self.how == How::Map {
            same_lengths(&columns)?;
            let (flat, owners) = flatten(&columns, &groups)?;
            let keys = flat[0].logical_nulls();
            (columns, groups) = match rows_that_count(keys.as_ref(), None) {
                None => (flat, owners),
                Some(mask) => gather(&flat, &owners, mask.set_indices_u32().collect())?,
            };
        }
        self.add(&columns[0], &columns[1..], &groups)
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], _: usize) -> Result<()> {
        let (columns, owners) = flatten(states, groups)?;
        self.intern(&columns[0], &owners)?;
        self.inner.merge(&columns[1..], &self.scratch, self.table.len())
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        let inner = self.inner.state(self.table.len())?;
        let (keys, order, lengths) = self.take(n_groups)?;
        let list =
            |(ty, column): (&Type, &ArrayRef)| lists(ty.element_field(), take(column, &order, None)?, &lengths, false);
        let types = std::iter::once(&self.key).chain(&self.states);
        let columns = types.zip(std::iter::once(&keys).chain(&inner)).map(list).collect::<Result<Vec<_>>>()?;
        Ok(columns)
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        let values = self.inner.finish(self.table.len())?;
        let (keys, order, lengths) = self.take(n_groups)?;
        let normal = keys::normalize(&self.key, &keys)?;
        let rows =
            keys::row_converter(std::slice::from_ref(&self.key), &[Default::default()])?.convert_columns(&[normal])?;
        let numbers = match self.how {
            How::Map if !self.drops_zeros => None,
            _ if self.value.is_number() => Some(Float64Array::new(floats(&values).into(), values.logical_nulls())),
            _ => None,
        };
        let numbers = numbers.as_ref();
        let (mut places, mut counts, mut left) = (Vec::new(), Vec::with_capacity(n_groups), order.values().as_ref());
        let mut entropies = Vec::new();
        let of_lists = self.how != How::Quantile;
        for &length in &lengths {
            let (entries, rest) = left.split_at(length);
            left = rest;
            let mut entries = entries.to_vec();
            match (self.how, numbers) {
                (How::Entropy, Some(numbers)) => entropies.push(entropy(&entries, numbers)),
                (How::Quantile | How::Quantiles, Some(weights)) => {
                    entries.sort_unstable_by_key(|&entry| rows.row(entry as usize));
                    entries = quantiles(&entries, weights, &self.fractions);
                }
                (How::Map, Some(sums)) => {
                    entries.retain(|&entry| sums.is_null(entry as usize) || sums.value(entry as usize) != 0.0);
                    entries.sort_unstable_by_key(|&entry| rows.row(entry as usize));
                }
                _ => entries.sort_unstable_by_key(|&entry| rows.row(entry as usize)),
            }
            counts.push(entries.len());
            places.extend(entries.iter().map(|&entry| Some(entry)));
            if !of_lists && entries.is_empty() {
                places.push(None);
            }
        }
        if self.how == How::Entropy {
            return Ok(Arc::new(Float64Array::from(entropies)));
        }
        let places = UInt32Array::from(places);
        let sorted = take(&keys, &places, None)?;
        if !of_lists {
            return Ok(sorted);
        }
        let keys = lists(self.key.element_field(), sorted, &counts, false)?;
        if self.how != How::Map {
            return Ok(keys);
        }
        let values = lists(self.value.element_field(), take(&values, &places, None)?, &counts, false)?;
        let DataType::Struct(fields) = self.returns.to_arrow() else {
            return Err(Error::internal("a map is a record"));
        };
        Ok(Arc::new(StructArray::try_new(fields, vec![keys, values], None)?))
    }

    fn memory(&self) -> usize {
        self.table.memory() + self.entries.memory() + self.inner.memory() + self.scratch.capacity() * 4
    }
}

/// NULL of no values.
fn entropy(entries: &[u32], counts: &Float64Array) -> Option<f64> {
    let mut counts: Vec<f64> = entries.iter().map(|&entry| counts.value(entry as usize)).collect();
    // A sum of floats depends on its order: that of the counts.
    counts.sort_unstable_by(f64::total_cmp);
    let total: f64 = counts.iter().sum();
    let sum: f64 = counts.iter().map(|count| count / total * (count / total).log2()).sum();
    (!counts.is_empty()).then_some(0.0 - sum)
}

/// Of entries in order, the first with which the sum of weights comes to each fraction of it.
fn quantiles(entries: &[u32], weights: &Float64Array, fractions: &[f64]) -> Vec<u32> {
    let weight =
        |entry: u32| if weights.is_valid(entry as usize) { weights.value(entry as usize).max(0.0) } else { 0.0 };
    let total: f64 = entries.iter().map(|&entry| weight(entry)).sum();
    let at = |fraction: &f64| {
        let wanted = (total * fraction).ceil();
        let mut passed = 0.0;
        let found = entries.iter().copied().find(|&entry| {
            passed += weight(entry);
            passed >= wanted
        });
        found.or(entries.last().copied())
    };
    fractions.iter().filter_map(at).collect()
}

/// Each row's arrays of keys and values are of one length.
fn same_lengths(columns: &[ArrayRef]) -> Result<()> {
    let (keys, values) = (columns[0].as_list::<i32>(), columns[1].as_list::<i32>());
    match (0..keys.len()).find(|&row| keys.value_length(row) != values.value_length(row)) {
        None => Ok(()),
        Some(row) => {
            let message = "the arrays of keys and values must have equal lengths";
            let detail = format!("They have {} and {} elements.", keys.value_length(row), values.value_length(row));
            Err(Error::new(ErrorKind::ArraySubscript, message).with_detail(detail))
        }
    }
}
