//! One value: a literal, a parameter, a default, a bound of a predicate.
//!
//! A value is an Arrow array of one row together with its SQL type, so that every kernel takes literals and columns alike and
//! no second set of per-type code exists.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, StringViewArray,
    new_null_array,
};

use crate::types::Type;

/// A typed constant. Invariant: `array` has one row and the Arrow type `ty.to_arrow()`.
#[derive(Debug, Clone)]
pub struct Value {
    /// The SQL type.
    pub ty: Type,
    /// The one row.
    pub array: ArrayRef,
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        self.ty == other.ty && self.array.as_ref() == other.array.as_ref()
    }
}

impl Value {
    /// Wraps a one-row array. Panics if the array does not have one row of the type's Arrow form: that is a bug in the caller.
    pub fn new(ty: Type, array: ArrayRef) -> Value {
        assert_eq!(array.len(), 1, "a value is an array of one row");
        assert_eq!(array.data_type(), &ty.to_arrow(), "a value of {ty} has its Arrow form");
        Value { ty, array }
    }

    /// NULL of a type.
    pub fn null(ty: Type) -> Value {
        let array = new_null_array(&ty.to_arrow(), 1);
        Value { ty, array }
    }

    /// A boolean.
    pub fn bool(v: bool) -> Value {
        Value::new(Type::Bool, Arc::new(BooleanArray::from(vec![v])))
    }

    /// An integer (int4).
    pub fn int4(v: i32) -> Value {
        Value::new(Type::Int4, Arc::new(Int32Array::from(vec![v])))
    }

    /// A bigint (int8).
    pub fn int8(v: i64) -> Value {
        Value::new(Type::Int8, Arc::new(Int64Array::from(vec![v])))
    }

    /// A double precision.
    pub fn float8(v: f64) -> Value {
        Value::new(Type::Float8, Arc::new(Float64Array::from(vec![v])))
    }

    /// A text.
    pub fn text(v: &str) -> Value {
        Value::of_text(Type::Text, v)
    }

    /// A string literal whose type its context decides.
    pub fn unknown(v: &str) -> Value {
        Value::of_text(Type::Unknown, v)
    }

    /// A value of any type that is text in memory.
    pub fn of_text(ty: Type, v: &str) -> Value {
        Value::new(ty, Arc::new(StringViewArray::from(vec![v])))
    }

    /// A numeric of `unscaled * 10^-scale`. Panics if `precision` is over 38.
    pub fn decimal(unscaled: i128, precision: u8, scale: i8) -> Value {
        let array = Decimal128Array::from(vec![unscaled])
            .with_precision_and_scale(precision, scale)
            .expect("precision and scale are within Decimal128");
        Value::new(Type::Numeric(Some((precision, scale))), Arc::new(array))
    }

    /// Whether this is NULL.
    pub fn is_null(&self) -> bool {
        self.array.is_null(0)
    }

    /// The text of a value that is text in memory; `None` for NULL and for other types.
    pub fn as_str(&self) -> Option<&str> {
        let array = self.array.as_any().downcast_ref::<StringViewArray>()?;
        (!array.is_null(0)).then(|| array.value(0))
    }
}

/// For plans and messages, not for clients: those get their text from the engine's output kernels.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_null() {
            return f.write_str("NULL");
        }
        match (self.as_str(), arrow::util::display::array_value_to_string(&self.array, 0)) {
            (Some(text), _) => write!(f, "'{}'", text.replace('\'', "''")),
            (None, Ok(text)) => f.write_str(&text),
            (None, Err(_)) => write!(f, "<{}>", self.ty),
        }
    }
}
