//! Partial states as values of one column: what ClickHouse's -State gives and -Merge takes, and what AggregateFunction(f, T…) stores.
//!
//! Format of a value: the state's columns, as its function says them, one after the other. A field is its length in bytes (u32, little endian;
//! `u32::MAX` for NULL) and Postgres's binary form of it. A list is its number of elements in the same way, and the elements as fields; a
//! record is a zero and its fields. NULL is the state of no rows.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewBuilder, BooleanArray, ListArray, NullBufferBuilder, StructArray, UInt32Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::take;
use arrow::datatypes::DataType;
use weir_sql::plan::Combinator;
use weir_sql::types::StateType;
use weir_sql::{Type, Value};

use super::states::rows_that_count;
use super::{Accumulator, AggregateOverload, Call, collect};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{BinaryEncoder, ColumnBuilder};
use crate::functions::{Context, Implementation, registry};

const NULL: u32 = u32::MAX;

/// The aggregate that a state is of.
pub(crate) struct StateOf {
    overload: &'static AggregateOverload,
    args: Vec<Type>,
    params: Vec<Value>,
    returns: Type,
}

impl StateOf {
    pub(crate) fn new(state: &StateType) -> Result<StateOf> {
        let found = weir_sql::bind::state_overload(registry(), state);
        let Some((signature, args, returns)) = found else { return Err(unknown(state)) };
        let Implementation::Aggregate(overload) = registry().implementation(signature.id) else {
            return Err(unknown(state));
        };
        Ok(StateOf { overload, args, params: weir_sql::bind::params_of(state)?, returns })
    }

    /// The same with the parameters of a call, which need not be the state's.
    pub(crate) fn with_params(self, params: &[Value]) -> StateOf {
        StateOf { params: params.to_vec(), ..self }
    }

    /// The type of the aggregate's result.
    pub(crate) fn returns(&self) -> &Type {
        &self.returns
    }

    fn types(&self) -> Vec<Type> {
        self.overload.state_types(&self.args, &self.returns, false, &[])
    }

    fn accumulator(&self, context: &Context) -> Result<Box<dyn Accumulator>> {
        let call = Call { args: &self.args, params: &self.params, returns: &self.returns, descending: false, context };
        self.overload.accumulator(&call, false, &[])
    }

    /// The accumulator of a call with a combinator.
    pub(crate) fn combined(
        &self,
        combinator: &Combinator,
        state: &Type,
        context: &Context,
    ) -> Result<Box<dyn Accumulator>> {
        let packed = Packed {
            inner: self.accumulator(context)?,
            types: self.types(),
            takes_states: *combinator != Combinator::State,
            gives_states: *combinator != Combinator::Merge,
            context: context.clone(),
        };
        // Where order matters, states are merged in the order of their rows.
        match packed.takes_states && self.overload.wants_position() {
            true => {
                Ok(Box::new(collect::Ordered::new(std::slice::from_ref(state), &[], false, false, Box::new(packed))))
            }
            false => Ok(Box::new(packed)),
        }
    }

    /// Types of the partial state's columns of a call with a combinator.
    pub(crate) fn combined_types(&self, combinator: &Combinator, state: &Type) -> Vec<Type> {
        match *combinator != Combinator::State && self.overload.wants_position() {
            true => [state, &Type::Int8].map(|ty| Type::Array(Box::new(ty.clone()))).to_vec(),
            false => self.types(),
        }
    }

    /// The result of each state.
    pub(crate) fn finalized(&self, states: &ArrayRef, context: &Context) -> Result<ArrayRef> {
        let (columns, groups) = self.numbered(states, context)?;
        let mut accumulator = self.accumulator(context)?;
        accumulator.merge(&columns, &groups, states.len())?;
        accumulator.finish(states.len())
    }

    /// States side by side as one state a row.
    pub(crate) fn merged(&self, left: &ArrayRef, right: &ArrayRef, context: &Context) -> Result<ArrayRef> {
        let mut accumulator = self.accumulator(context)?;
        for states in [left, right] {
            let (columns, groups) = self.numbered(states, context)?;
            accumulator.merge(&columns, &groups, states.len())?;
        }
        pack(&self.types(), &accumulator.state(left.len())?, left.len())
    }

    /// The columns of states, and which row each is of.
    fn numbered(&self, states: &ArrayRef, context: &Context) -> Result<(Vec<ArrayRef>, Vec<u32>)> {
        let there = (0..states.len()).filter(|&row| states.is_valid(row));
        let groups: Vec<u32> = there.map(|row| row as u32).collect();
        Ok((unpack(&self.types(), &take(states, &UInt32Array::from(groups.clone()), None)?, context)?, groups))
    }
}

fn unknown(state: &StateType) -> Error {
    Error::internal(format!("there is no aggregate function {}", state.function))
}

/// An aggregate that takes or gives states in place of rows or of its result.
struct Packed {
    inner: Box<dyn Accumulator>,
    types: Vec<Type>,
    takes_states: bool,
    gives_states: bool,
    context: Context,
}

impl Accumulator for Packed {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        if !self.takes_states {
            return self.inner.update(args, groups, n_groups, filter);
        }
        let (states, groups) = match rows_that_count(args[0].nulls(), filter) {
            None => (args[0].clone(), groups.to_vec()),
            Some(mask) => {
                let rows: Vec<u32> = mask.set_indices_u32().collect();
                let groups = rows.iter().map(|&row| groups[row as usize]).collect();
                (take(&args[0], &UInt32Array::from(rows), None)?, groups)
            }
        };
        self.inner.merge(&unpack(&self.types, &states, &self.context)?, &groups, n_groups)
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        self.inner.merge(states, groups, n_groups)
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        self.inner.state(n_groups)
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        if !self.gives_states {
            return self.inner.finish(n_groups);
        }
        pack(&self.types, &self.inner.state(n_groups)?, n_groups)
    }

    fn memory(&self) -> usize {
        self.inner.memory()
    }
}

/// Columns of states as one column.
pub(crate) fn pack(types: &[Type], columns: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let writers: Vec<Writer> = types.iter().zip(columns).map(|(ty, column)| Writer::new(ty, column)).collect();
    let mut values = BinaryViewBuilder::with_capacity(rows);
    let mut bytes = Vec::new();
    for row in 0..rows {
        bytes.clear();
        writers.iter().for_each(|writer| writer.write(row, &mut bytes));
        values.try_append_value(&bytes)?;
    }
    Ok(Arc::new(values.finish()))
}

/// One column of states as columns. None may be NULL.
pub(crate) fn unpack(types: &[Type], states: &ArrayRef, context: &Context) -> Result<Vec<ArrayRef>> {
    let mut readers: Vec<Reader> = types.iter().map(|ty| Reader::new(ty, states.len(), context)).collect();
    for state in states.as_binary_view().iter() {
        let mut bytes = state.ok_or_else(|| Error::internal("a state to be merged is NULL"))?;
        readers.iter_mut().try_for_each(|reader| reader.read(&mut bytes))?;
        if !bytes.is_empty() {
            return Err(damaged());
        }
    }
    Ok(readers.into_iter().map(Reader::finish).collect())
}

/// Writes one column's values.
enum Writer {
    Scalar(BinaryEncoder),
    List(Option<NullBuffer>, OffsetBuffer<i32>, Box<Writer>),
    Record(Option<NullBuffer>, Vec<Writer>),
}

impl Writer {
    fn new(ty: &Type, column: &ArrayRef) -> Writer {
        match ty {
            Type::Array(element) => {
                let list = column.as_list::<i32>();
                let elements = Box::new(Writer::new(element, list.values()));
                Writer::List(list.nulls().cloned(), list.offsets().clone(), elements)
            }
            Type::Record(fields) => {
                let record = column.as_struct();
                let fields = fields.iter().zip(record.columns()).map(|((_, ty), column)| Writer::new(ty, column));
                Writer::Record(record.nulls().cloned(), fields.collect())
            }
            ty => Writer::Scalar(BinaryEncoder::new(ty, column)),
        }
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) {
        let is_null = |nulls: &Option<NullBuffer>| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        match self {
            Writer::Scalar(encoder) if encoder.is_null(row) => out.extend_from_slice(&NULL.to_le_bytes()),
            Writer::Scalar(encoder) => {
                let start = out.len();
                out.extend_from_slice(&[0; 4]);
                encoder.write(row, out);
                let length = (out.len() - start - 4) as u32;
                out[start..start + 4].copy_from_slice(&length.to_le_bytes());
            }
            Writer::List(nulls, ..) | Writer::Record(nulls, _) if is_null(nulls) => {
                out.extend_from_slice(&NULL.to_le_bytes());
            }
            Writer::List(_, offsets, elements) => {
                let items = offsets[row] as usize..offsets[row + 1] as usize;
                out.extend_from_slice(&(items.len() as u32).to_le_bytes());
                items.for_each(|item| elements.write(item, out));
            }
            Writer::Record(_, fields) => {
                out.extend_from_slice(&0u32.to_le_bytes());
                fields.iter().for_each(|field| field.write(row, out));
            }
        }
    }
}

/// Reads one column's values.
enum Reader {
    Scalar(Box<ColumnBuilder>),
    List { element: Type, nulls: NullBufferBuilder, offsets: Vec<i32>, items: Box<Reader> },
    Record { ty: Type, nulls: NullBufferBuilder, fields: Vec<Reader> },
}

impl Reader {
    fn new(ty: &Type, rows: usize, context: &Context) -> Reader {
        match ty {
            Type::Array(element) => Reader::List {
                element: (**element).clone(),
                nulls: NullBufferBuilder::new(rows),
                offsets: vec![0],
                items: Box::new(Reader::new(element, rows, context)),
            },
            Type::Record(fields) => Reader::Record {
                ty: ty.clone(),
                nulls: NullBufferBuilder::new(rows),
                fields: fields.iter().map(|(_, ty)| Reader::new(ty, rows, context)).collect(),
            },
            ty => Reader::Scalar(Box::new(ColumnBuilder::new(ty, rows, context))),
        }
    }

    fn read(&mut self, bytes: &mut &[u8]) -> Result<()> {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(damaged)?;
        *bytes = rest;
        match (u32::from_le_bytes(*length), self) {
            (NULL, reader) => reader.append_null(),
            (length, Reader::Scalar(builder)) => {
                let (value, rest) = bytes.split_at_checked(length as usize).ok_or_else(damaged)?;
                builder.append_binary(value).map_err(|_| damaged())?;
                *bytes = rest;
            }
            (count, Reader::List { nulls, offsets, items, .. }) => {
                (0..count).try_for_each(|_| items.read(bytes))?;
                nulls.append_non_null();
                offsets.push(items.len() as i32);
            }
            (_, Reader::Record { nulls, fields, .. }) => {
                nulls.append_non_null();
                fields.iter_mut().try_for_each(|field| field.read(bytes))?;
            }
        }
        Ok(())
    }

    fn len(&self) -> usize {
        match self {
            Reader::Scalar(builder) => builder.len(),
            Reader::List { offsets, .. } => offsets.len() - 1,
            Reader::Record { nulls, .. } => nulls.len(),
        }
    }

    fn append_null(&mut self) {
        match self {
            Reader::Scalar(builder) => builder.append_null(),
            Reader::List { nulls, offsets, items, .. } => {
                nulls.append_null();
                offsets.push(items.len() as i32);
            }
            Reader::Record { nulls, fields, .. } => {
                nulls.append_null();
                fields.iter_mut().for_each(Reader::append_null);
            }
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Reader::Scalar(mut builder) => builder.finish(),
            Reader::List { element, mut nulls, offsets, items } => Arc::new(ListArray::new(
                element.element_field(),
                OffsetBuffer::new(ScalarBuffer::from(offsets)),
                items.finish(),
                nulls.finish(),
            )),
            Reader::Record { ty, mut nulls, fields } => {
                let DataType::Struct(of) = ty.to_arrow() else { unreachable!("a record is a struct") };
                let columns = fields.into_iter().map(Reader::finish).collect();
                Arc::new(StructArray::new(of, columns, nulls.finish()))
            }
        }
    }
}

fn damaged() -> Error {
    Error::new(ErrorKind::DataCorrupted, "an aggregate's state is damaged")
}
