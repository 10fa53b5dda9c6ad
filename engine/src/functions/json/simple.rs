//! ClickHouse's simpleJSONExtract… and visitParamExtract…, which look for `"name":` anywhere in a text: quick, and right for flat objects written
//! without spaces.

use std::borrow::Cow;

use arrow::array::StringViewArray;
use arrow::datatypes::{Float64Type, Int64Type, UInt64Type};
use memchr::memmem::Finder;
use weir_sql::Type;

use super::super::declare::{JSON, TEXT, function, strict};
use super::super::rows::{Column, bool_rows, primitive_rows, text, text_rows};
use super::super::{Datum, Kernel, ScalarFunction, Types};
use super::values;
use crate::error::Result;
use crate::kernels::json::{Kind, kind, string};

/// A number up to its fraction or exponent, which the quick functions do not read.
fn digits_of(number: &str) -> &str {
    &number[..number.find(['.', 'e', 'E']).unwrap_or(number.len())]
}

/// The functions that look for `"name":` anywhere in a text, which is quick, and right for flat objects written without spaces.
pub(super) fn functions() -> Vec<ScalarFunction> {
    let by_name = |ty: Type, kernel: Kernel| vec![strict([TEXT, TEXT], ty, kernel)];
    vec![
        function(
            &["simpleJSONExtractString", "visitParamExtractString"],
            JSON,
            "The string of the first field of this name.",
            ("simpleJSONExtractString('{\"abc\":\"hello\"}', 'abc')", "hello"),
            by_name(Type::Text, |_, a, n, ty| {
                simple_texts(a, n, ty, |found| match kind(found) {
                    Kind::String => string(found).unwrap_or_default(),
                    _ => Cow::Borrowed(""),
                })
            }),
        ),
        function(
            &["simpleJSONExtractRaw", "visitParamExtractRaw"],
            JSON,
            "The value of the first field of this name as it is written.",
            ("simpleJSONExtractRaw('{\"abc\":[1,2]}', 'abc')", "[1,2]"),
            by_name(Type::Text, |_, a, n, ty| simple_texts(a, n, ty, |found| Cow::Borrowed(found))),
        ),
        function(
            &["simpleJSONExtractInt", "visitParamExtractInt"],
            JSON,
            "The integer of the first field of this name.",
            ("simpleJSONExtractInt('{\"abc\":-12}', 'abc')", "-12"),
            by_name(Type::Int8, |_, a, n, ty| {
                let find = Needle::of(a)?;
                primitive_rows::<Int64Type>(a, n, ty, |row| {
                    let found = find.at(row).map(digits_of).and_then(values::integer);
                    Ok(Some(found.and_then(|v| i64::try_from(v).ok()).unwrap_or(0)))
                })
            }),
        ),
        function(
            &["simpleJSONExtractUInt", "visitParamExtractUInt"],
            JSON,
            "The integer of the first field of this name, not negative.",
            ("simpleJSONExtractUInt('{\"abc\":12}', 'abc')", "12"),
            by_name(Type::UInt64, |_, a, n, ty| {
                let find = Needle::of(a)?;
                primitive_rows::<UInt64Type>(a, n, ty, |row| {
                    let found = find.at(row).map(digits_of).and_then(values::integer);
                    Ok(Some(found.and_then(|v| u64::try_from(v).ok()).unwrap_or(0)))
                })
            }),
        ),
        function(
            &["simpleJSONExtractFloat", "visitParamExtractFloat"],
            JSON,
            "The number of the first field of this name.",
            ("simpleJSONExtractFloat('{\"abc\":1.5}', 'abc')", "1.5"),
            by_name(Type::Float8, |_, a, n, ty| {
                let find = Needle::of(a)?;
                primitive_rows::<Float64Type>(a, n, ty, |row| {
                    Ok(Some(find.at(row).and_then(values::float).unwrap_or(0.0)))
                })
            }),
        ),
        function(
            &["simpleJSONExtractBool", "visitParamExtractBool"],
            JSON,
            "Whether the first field of this name is true.",
            ("simpleJSONExtractBool('{\"abc\":true}', 'abc')", "t"),
            by_name(Type::Bool, |_, a, n, ty| {
                let find = Needle::of(a)?;
                bool_rows(a, n, ty, |row| Ok(Some(find.at(row) == Some("true"))))
            }),
        ),
        function(
            &["simpleJSONHas", "visitParamHas"],
            JSON,
            "Whether there is a field of this name.",
            ("simpleJSONHas('{\"abc\":null}', 'abc')", "t"),
            by_name(Type::Bool, |_, a, n, ty| {
                let find = Needle::of(a)?;
                bool_rows(a, n, ty, |row| Ok(Some(find.at(row).is_some())))
            }),
        ),
    ]
}

/// Looks for `"name":` in the texts of the first argument.
struct Needle<'a> {
    texts: Column<'a, StringViewArray>,
    names: Column<'a, StringViewArray>,
    constant: Option<Finder<'static>>,
}

impl<'a> Needle<'a> {
    fn of(args: &'a [Datum]) -> Result<Needle<'a>> {
        let (texts, names) = (text(args, 0)?, text(args, 1)?);
        let constant = names.constant().map(|name| Finder::new(format!("\"{name}\":").as_bytes()).into_owned());
        Ok(Needle { texts, names, constant })
    }

    /// The value after it.
    fn at(&self, row: usize) -> Option<&'a str> {
        let text = self.texts.at(row);
        let name = self.names.at(row);
        let start = match &self.constant {
            Some(finder) => finder.find(text.as_bytes()),
            None => text.find(&format!("\"{name}\":")),
        }?;
        // What follows is read as if it were all the array there is.
        let rest = &text[start + name.len() + 3..];
        Some(crate::kernels::json::first(rest))
    }
}

fn simple_texts(
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    show: impl for<'t> Fn(&'t str) -> Cow<'t, str>,
) -> Result<Datum> {
    let find = Needle::of(args)?;
    text_rows(args, rows, types, |row, out| {
        out.push_str(&find.at(row).map_or(Cow::Borrowed(""), &show));
        Ok(true)
    })
}
