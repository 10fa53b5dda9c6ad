//! CityHash64 as of version 1.0.2 (Pike and Alakuijala), whose values ClickHouse's cityHash64 has kept; later versions differ.
//!
//! Texts of up to 16, 32 and 64 bytes have ways of their own; longer ones are taken 64 bytes at a time, the last 64 first.

const K0: u64 = 0xc3a5_c85c_97cb_3127;
const K1: u64 = 0xb492_b66f_be98_f273;
const K2: u64 = 0x9ae1_6a3b_2f90_404f;
const K3: u64 = 0xc949_d7c7_509e_6557;

/// The hash of two hashes.
pub(crate) fn combine(low: u64, high: u64) -> u64 {
    const MULTIPLIER: u64 = 0x9ddf_ea08_eb38_2d69;
    let a = shift_mix((low ^ high).wrapping_mul(MULTIPLIER));
    shift_mix((high ^ a).wrapping_mul(MULTIPLIER)).wrapping_mul(MULTIPLIER)
}

fn shift_mix(value: u64) -> u64 {
    value ^ value >> 47
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

fn half_word(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from(u32::from_le_bytes(*chunk)))
}

/// The hash of bytes.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    match bytes.len() {
        0..=16 => up_to_16(bytes),
        17..=32 => up_to_32(bytes),
        33..=64 => up_to_64(bytes),
        _ => long(bytes),
    }
}

fn up_to_16(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    let size = length as u64;
    match length {
        9.. => {
            let (a, b) = (word(bytes, 0), word(bytes, length - 8));
            combine(a, b.wrapping_add(size).rotate_right(size as u32)) ^ b
        }
        4..=8 => combine(size.wrapping_add(half_word(bytes, 0) << 3), half_word(bytes, length - 4)),
        1..=3 => {
            let [first, middle, last] = [0, length >> 1, length - 1].map(|at| u64::from(bytes[at]));
            let (y, z) = (first + (middle << 8), size + (last << 2));
            shift_mix(y.wrapping_mul(K2) ^ z.wrapping_mul(K3)).wrapping_mul(K2)
        }
        0 => K2,
    }
}

fn up_to_32(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    let a = word(bytes, 0).wrapping_mul(K1);
    let b = word(bytes, 8);
    let c = word(bytes, length - 8).wrapping_mul(K2);
    let d = word(bytes, length - 16).wrapping_mul(K0);
    combine(
        a.wrapping_sub(b).rotate_right(43).wrapping_add(c.rotate_right(30)).wrapping_add(d),
        a.wrapping_add((b ^ K3).rotate_right(20)).wrapping_sub(c).wrapping_add(length as u64),
    )
}

fn up_to_64(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    // Over 32 bytes from the start, then over the last 32.
    let half = |start: usize, a: u64, z: u64| {
        let mut a = a;
        let mut b = a.wrapping_add(z).rotate_right(52);
        let mut c = a.rotate_right(37);
        a = a.wrapping_add(word(bytes, start + 8));
        c = c.wrapping_add(a.rotate_right(7));
        a = a.wrapping_add(word(bytes, start + 16));
        b = b.wrapping_add(a.rotate_right(31)).wrapping_add(c);
        (a.wrapping_add(z), b)
    };
    let first = word(bytes, 0).wrapping_add((length as u64).wrapping_add(word(bytes, length - 16)).wrapping_mul(K0));
    let (v, vs) = half(0, first, word(bytes, 24));
    let second = word(bytes, 16).wrapping_add(word(bytes, length - 32));
    let (w, ws) = half(length - 32, second, word(bytes, length - 8));
    let mixed = v.wrapping_add(ws).wrapping_mul(K2).wrapping_add(w.wrapping_add(vs).wrapping_mul(K0));
    shift_mix(shift_mix(mixed).wrapping_mul(K0).wrapping_add(vs)).wrapping_mul(K2)
}

/// A weak hash of 32 bytes and two seeds.
fn weak(bytes: &[u8], at: usize, a: u64, b: u64) -> (u64, u64) {
    let [w, x, y, z] = [0, 8, 16, 24].map(|offset| word(bytes, at + offset));
    let a = a.wrapping_add(w);
    let b = b.wrapping_add(a).wrapping_add(z).rotate_right(21);
    let sum = a.wrapping_add(x).wrapping_add(y);
    (sum.wrapping_add(z), b.wrapping_add(sum.rotate_right(44)).wrapping_add(a))
}

fn long(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    let mut x = word(bytes, 0);
    let mut y = word(bytes, length - 16) ^ K1;
    let mut z = word(bytes, length - 56) ^ K0;
    let mut v = weak(bytes, length - 64, length as u64, y);
    let mut w = weak(bytes, length - 32, (length as u64).wrapping_mul(K1), K0);
    z = z.wrapping_add(shift_mix(v.1).wrapping_mul(K1));
    x = z.wrapping_add(x).rotate_right(39).wrapping_mul(K1);
    y = y.rotate_right(33).wrapping_mul(K1);
    for at in (0..(length - 1) & !63).step_by(64) {
        x = x.wrapping_add(y).wrapping_add(v.0).wrapping_add(word(bytes, at + 16)).rotate_right(37).wrapping_mul(K1);
        y = y.wrapping_add(v.1).wrapping_add(word(bytes, at + 48)).rotate_right(42).wrapping_mul(K1);
        x ^= w.1;
        y ^= v.0;
        z = (z ^ w.0).rotate_right(33);
        v = weak(bytes, at, v.1.wrapping_mul(K1), x.wrapping_add(w.0));
        w = weak(bytes, at + 32, z.wrapping_add(w.1), y);
        std::mem::swap(&mut z, &mut x);
    }
    combine(
        combine(v.0, w.0).wrapping_add(shift_mix(y).wrapping_mul(K1)).wrapping_add(z),
        combine(v.1, w.1).wrapping_add(x),
    )
}
