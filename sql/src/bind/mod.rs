//! Binding: syntax trees to [`crate::plan`] and [`crate::statement`], against a [`crate::catalog::Catalog`].

pub mod binder;

pub use binder::{Binder, CoercionContext};
