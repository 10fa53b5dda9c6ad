//! Code over whole columns that functions, operators and formats share: comparison, casts, and the arithmetic of numeric.

pub mod cast;
pub(crate) mod cityhash;
pub mod compare;
pub mod datetime;
pub(crate) mod json;
pub(crate) mod json_order;
pub(crate) mod murmur;
pub mod numeric;
pub(crate) mod views;
