//! Closing up: the values of an array without those of deleted rows.
//!
//! Values of four and eight bytes are compressed a vector at a time where the processor can (AVX-512); others, and elsewhere, the runs
//! between deleted rows are copied.

use arrow::array::{Array, ArrayData, ArrayRef, UInt32Array, make_array};
use arrow::buffer::Buffer;
use arrow::compute::take;

use crate::error::Result;
use crate::rows::{invalid, living};

/// The values of an array without those of `dead`, which are sorted places in it.
pub(crate) fn closed_up(array: &ArrayRef, dead: &[u32]) -> Result<ArrayRef> {
    let (all, rows) = (array.len(), array.len() - dead.len());
    let data = array.to_data();
    let buffer = match (array.data_type().primitive_width(), array.null_count()) {
        (Some(1), 0) => Buffer::from(runs_between(&data.buffer::<u8>(0)[..all], dead)),
        (Some(2), 0) => Buffer::from(runs_between(&data.buffer::<u16>(0)[..all], dead)),
        (Some(4), 0) => Buffer::from(fast::words(&data.buffer::<u32>(0)[..all], dead)),
        (Some(8), 0) => Buffer::from(fast::long_words(&data.buffer::<u64>(0)[..all], dead)),
        _ => return take(array, &UInt32Array::from(living(dead, all)), None).map_err(invalid),
    };
    let data = ArrayData::builder(array.data_type().clone()).len(rows).add_buffer(buffer).build();
    data.map(make_array).map_err(invalid)
}

/// Copies a fixed number of values at once where a run is not longer, and takes those too many back.
fn runs_between<T: Copy>(values: &[T], dead: &[u32]) -> Vec<T> {
    const STEP: usize = 16;
    let mut out = Vec::with_capacity(values.len() - dead.len() + STEP);
    let mut from = 0;
    for end in dead.iter().map(|&dead| dead as usize).chain([values.len()]) {
        let run = end - from;
        match values.get(from..from + STEP) {
            Some(step) if run <= STEP => {
                out.extend_from_slice(step);
                out.truncate(out.len() + run - STEP);
            }
            _ => out.extend_from_slice(&values[from..end]),
        }
        from = end + 1;
    }
    out
}

#[cfg(target_arch = "x86_64")]
mod fast {
    use std::arch::x86_64::{
        _mm512_maskz_compress_epi32, _mm512_maskz_compress_epi64, _mm512_maskz_loadu_epi32, _mm512_maskz_loadu_epi64,
        _mm512_storeu_epi32, _mm512_storeu_epi64,
    };

    use super::runs_between;

    /// A function that compresses values of one width: `$lanes` at a time, by `$load` under a mask, `$compress` and `$store`.
    macro_rules! compressed {
        ($name:ident, $value:ty, $signed:ty, $mask:ty, $lanes:literal, $load:ident, $compress:ident, $store:ident) => {
            #[target_feature(enable = "avx512f")]
            fn $name(values: &[$value], dead: &[u32]) -> Vec<$value> {
                // Bits of values that stay. After the last value there are none.
                let mut stays = vec![<$mask>::MAX; values.len().div_ceil($lanes)];
                if let (Some(last), rest @ 1..) = (stays.last_mut(), values.len() % $lanes) {
                    *last = (1 << rest) - 1;
                }
                for &dead in dead {
                    stays[dead as usize / $lanes] &= !(1 << (dead % $lanes));
                }
                let mut out: Vec<$value> = Vec::with_capacity(values.len() + $lanes);
                let mut to = 0;
                for (values, &stays) in values.chunks($lanes).zip(&stays) {
                    debug_assert!(to + $lanes <= out.capacity());
                    // SAFETY: no lane is read whose bit is not set, and all such are of `values`. A whole vector is written at `to`, which is at
                    // most the number of values before it: the capacity is a vector more than all.
                    unsafe {
                        let vector = $load(stays, values.as_ptr().cast::<$signed>());
                        $store(out.as_mut_ptr().add(to).cast::<$signed>(), $compress(stays, vector));
                    }
                    to += stays.count_ones() as usize;
                }
                // SAFETY: so many values were written, and they fit.
                unsafe { out.set_len(to) };
                out
            }
        };
    }

    compressed!(
        words_compressed,
        u32,
        i32,
        u16,
        16,
        _mm512_maskz_loadu_epi32,
        _mm512_maskz_compress_epi32,
        _mm512_storeu_epi32
    );
    compressed!(
        long_words_compressed,
        u64,
        i64,
        u8,
        8,
        _mm512_maskz_loadu_epi64,
        _mm512_maskz_compress_epi64,
        _mm512_storeu_epi64
    );

    pub(super) fn words(values: &[u32], dead: &[u32]) -> Vec<u32> {
        match is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has it.
            true => unsafe { words_compressed(values, dead) },
            false => runs_between(values, dead),
        }
    }

    pub(super) fn long_words(values: &[u64], dead: &[u32]) -> Vec<u64> {
        match is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has it.
            true => unsafe { long_words_compressed(values, dead) },
            false => runs_between(values, dead),
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod fast {
    pub(super) use super::runs_between as words;
    pub(super) use super::runs_between as long_words;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int8Array, Int16Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn closing_up_is_taking_the_living(rows in 1usize..300, share in 0.0..1.0f64, seed in any::<u64>()) {
            let dead: Vec<u32> = (0..rows as u32)
                .filter(|&row| (seed ^ u64::from(row)).wrapping_mul(0x9E37_79B9_7F4A_7C15) as f64 / u64::MAX as f64 <= share)
                .collect();
            let numbers = || 0..rows as i64;
            let arrays: [ArrayRef; 7] = [
                Arc::new(Int8Array::from_iter_values(numbers().map(|n| n as i8))),
                Arc::new(Int16Array::from_iter_values(numbers().map(|n| n as i16))),
                Arc::new(Int32Array::from_iter_values(numbers().map(|n| n as i32))),
                Arc::new(Int64Array::from_iter_values(numbers())),
                Arc::new(Int64Array::from_iter(numbers().map(|n| (n % 3 > 0).then_some(n)))),
                Arc::new(TimestampMicrosecondArray::from_iter_values(numbers()).with_timezone("UTC")),
                Arc::new(StringArray::from_iter_values(numbers().map(|n| n.to_string()))),
            ];
            let dead_of_rest: Vec<u32> = dead.iter().filter_map(|row| row.checked_sub(1)).collect();
            for array in arrays {
                let rest = array.slice(1, rows - 1);
                for (array, dead) in [(&array, &dead), (&rest, &dead_of_rest)] {
                    let expected = take(array, &UInt32Array::from(living(dead, array.len())), None).unwrap();
                    prop_assert_eq!(&closed_up(array, dead).unwrap(), &expected);
                }
            }
            // What processors without such vectors do.
            let (short, long): (Vec<u32>, Vec<u64>) = numbers().map(|n| (n as u32, n as u64)).unzip();
            prop_assert_eq!(runs_between(&short, &dead), living(&dead, rows));
            prop_assert_eq!(runs_between(&short, &dead), fast::words(&short, &dead));
            prop_assert_eq!(runs_between(&long, &dead), fast::long_words(&long, &dead));
        }
    }
}
