//! Arrays one after the other.
//!
//! Of text views, `arrow` keeps all buffers of all arrays. Where batches share theirs (they come from one dictionary, or out of one built side of
//! a join) the number of buffers is multiplied by that of batches, and join over join grows without end. Here each buffer is kept once,
//! and only if a value is in it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ByteView, GenericByteViewArray, MAX_INLINE_VIEW_LEN, NullBufferBuilder};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::{BinaryViewType, ByteViewType, DataType, StringViewType};

use crate::error::Result;

/// All values of several arrays of one type; of at least one.
pub(crate) fn concat(arrays: &[&dyn Array]) -> Result<ArrayRef> {
    Ok(match arrays.first().map(|array| array.data_type()) {
        Some(DataType::Utf8View) => Arc::new(views::<StringViewType>(arrays)),
        Some(DataType::BinaryView) => Arc::new(views::<BinaryViewType>(arrays)),
        _ => arrow::compute::concat(arrays)?,
    })
}

fn views<T: ByteViewType>(arrays: &[&dyn Array]) -> GenericByteViewArray<T> {
    let rows = arrays.iter().map(|array| array.len()).sum();
    let mut views = Vec::with_capacity(rows);
    let mut nulls = NullBufferBuilder::new(rows);
    let mut buffers: Vec<Buffer> = Vec::new();
    let mut known: HashMap<(*const u8, usize), u32> = HashMap::new();
    for array in arrays {
        let array = array.as_byte_view::<T>();
        let from = array.data_buffers();
        let mut places: Vec<Option<u32>> = vec![None; from.len()];
        for &view in array.views() {
            let mut view = ByteView::from(view);
            if view.length > MAX_INLINE_VIEW_LEN {
                let at = view.buffer_index as usize;
                view.buffer_index = *places[at].get_or_insert_with(|| {
                    *known.entry((from[at].as_ptr(), from[at].len())).or_insert_with(|| {
                        buffers.push(from[at].clone());
                        buffers.len() as u32 - 1
                    })
                });
            }
            views.push(view.as_u128());
        }
        match array.nulls() {
            Some(own) => nulls.append_buffer(own),
            None => nulls.append_n_non_nulls(array.len()),
        }
    }
    // SAFETY: each view is one of a valid array; it is inline, or names the same buffer by its new place. Checking UTF-8 again would read
    // every text, which the build side of a join otherwise does not: TPC-DS's query 64.
    unsafe { GenericByteViewArray::new_unchecked(ScalarBuffer::from(views), buffers.into(), nulls.finish()) }
}

#[cfg(test)]
mod tests {
    use arrow::array::{StringViewArray, UInt32Array};
    use arrow::compute::take;

    use super::*;

    #[test]
    fn buffers_that_arrays_share_are_kept_once() {
        let long = |n: usize| format!("a text that is not inline {n}");
        let own: ArrayRef = Arc::new(StringViewArray::from(vec![Some(long(1)), None, Some("short".to_string())]));
        let other: ArrayRef = Arc::new(StringViewArray::from(vec![Some(long(2)), Some(long(3))]));
        let unread = take(&other, &UInt32Array::from(vec![None, None]), None).expect("in range");
        let mut all = own.clone();
        let mut values: Vec<Option<String>> = vec![Some(long(1)), None, Some("short".into())];
        for _ in 0..5 {
            all = concat(&[&all, &unread, &other, &own, &all.slice(1, 2)]).expect("of one type");
            let middle = [None, None, Some(long(2)), Some(long(3)), Some(long(1)), None, Some("short".into())];
            let last = values[1..3].to_vec();
            values = values.into_iter().chain(middle).chain(last).collect();
        }
        let texts = all.as_string_view();
        assert_eq!(texts.iter().map(|text| text.map(str::to_string)).collect::<Vec<_>>(), values);
        assert_eq!(texts.data_buffers().len(), 2);
        assert!(texts.to_data().validate_full().is_ok());
    }
}
