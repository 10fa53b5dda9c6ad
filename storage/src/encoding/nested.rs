//! Lists and structs: lengths and children, fields; each a chunk of its own, encoded by what it is.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, StructArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::compute::concat;
use arrow::datatypes::DataType;

use super::integers::{self, Shape};
use super::{Encoder, Encoding, ROWS_MAX, decode_at, nested, nested_u32};
use crate::bytes::{Reader, Write};
use crate::error::{Decoded, damaged};

impl Encoder {
    pub(super) fn encode_list(&mut self, array: &dyn Array, out: &mut Vec<u8>) -> Decoded<Encoding> {
        let Some(list) = array.as_any().downcast_ref::<ListArray>() else { return damaged("a list of another type") };
        let lengths: Vec<u64> =
            (0..list.len()).map(|row| if list.is_null(row) { 0 } else { list.value_length(row) as u64 }).collect();
        let offsets = list.value_offsets();
        let total: usize = lengths.iter().map(|&length| length as usize).sum();
        let (from, to) = (offsets[0] as usize, offsets[list.len()] as usize);
        let children = match total == to - from {
            true => list.values().slice(from, total),
            // A NULL list may cover children: they are left out.
            false => {
                let rows: Vec<ArrayRef> =
                    (0..list.len()).filter(|&row| list.is_valid(row)).map(|row| list.value(row)).collect();
                let rows: Vec<&dyn Array> = rows.iter().map(|row| row.as_ref()).collect();
                concat(&rows)?
            }
        };
        integers::nest(&lengths, Shape::U32, out);
        out.put_varint(children.len() as u64);
        self.child(0).encode_nested(&children, out)?;
        Ok(Encoding::List)
    }

    pub(super) fn encode_struct(&mut self, array: &dyn Array, out: &mut Vec<u8>) -> Decoded<Encoding> {
        let Some(record) = array.as_any().downcast_ref::<StructArray>() else {
            return damaged("a struct of another type");
        };
        for (index, column) in record.columns().iter().enumerate() {
            self.child(index).encode_nested(column, out)?;
        }
        Ok(Encoding::Struct)
    }
}

pub(super) fn decode_list(
    ty: &DataType,
    rows: usize,
    body: Buffer,
    selection: Option<&[u32]>,
    nulls: Option<NullBuffer>,
    level: u8,
) -> Decoded<ArrayRef> {
    let DataType::List(item) = ty else { return damaged("a list of another type") };
    let mut reader = Reader::new(&body);
    let lengths = nested_u32(&mut reader, &body, rows, level)?;
    let children = reader.varint()?;
    let total: u64 = lengths.iter().map(|&length| u64::from(length)).sum();
    if total != children || children > ROWS_MAX {
        return damaged(format!("lengths of {total} over {children} children"));
    }
    let chunk = nested(&mut reader, &body)?;
    let (lengths, child_selection) = match selection {
        None => (lengths.to_vec(), None),
        Some(selection) => {
            let mut starts = Vec::with_capacity(rows);
            let mut at = 0;
            for &length in &*lengths {
                starts.push(at);
                at += length;
            }
            let picked = |&row: &u32| starts[row as usize]..starts[row as usize] + lengths[row as usize];
            let children: Vec<u32> = selection.iter().flat_map(picked).collect();
            (selection.iter().map(|&row| lengths[row as usize]).collect(), Some(children))
        }
    };
    let values = decode_at(item.data_type(), children as usize, &chunk, None, child_selection.as_deref(), level + 1)?;
    let offsets = OffsetBuffer::from_lengths(lengths.iter().map(|&length| length as usize));
    Ok(Arc::new(ListArray::try_new(item.clone(), offsets, values, nulls)?))
}

pub(super) fn decode_struct(
    ty: &DataType,
    rows: usize,
    body: Buffer,
    selection: Option<&[u32]>,
    nulls: Option<NullBuffer>,
    level: u8,
) -> Decoded<ArrayRef> {
    let DataType::Struct(fields) = ty else { return damaged("a struct of another type") };
    let mut reader = Reader::new(&body);
    let columns: Vec<ArrayRef> = fields
        .iter()
        .map(|field| decode_at(field.data_type(), rows, &nested(&mut reader, &body)?, None, selection, level + 1))
        .collect::<Decoded<_>>()?;
    let length = selection.map_or(rows, <[u32]>::len);
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, length)?))
}
