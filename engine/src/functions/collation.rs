//! Sort keys of ICU's collations, over which the binder binds what COLLATE orders.
//!
//! A key is ICU's own sort key, a zero byte, which no sort key has, and the text: keys order as the collation does, those that it holds for equal by
//! bytes, as Postgres's deterministic collations do, and the text can be told from the key.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryViewArray, BinaryViewBuilder, ListArray};
use icu_collator::{Collator, CollatorBorrowed, CollatorPreferences};
use icu_locale_core::Locale;
use weir_sql::Type;

use super::declare::{BYTEA, STRING, TEXT, function, strict, texts};
use super::rows::{batch, bytes_rows, column, invalid_parameter, text, text_rows};
use super::{Datum, ScalarFunction};
use crate::error::{Error, Result};

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let keys = Type::Array(Box::new(Type::Bytea));
    vec![
        function(
            &["collation_key"],
            STRING,
            "Bytes that order texts as a locale of ICU does: what COLLATE compares.",
            ("collation_key('a', 'de') < collation_key('B', 'de')", "t"),
            vec![
                strict([TEXT, TEXT], Type::Bytea, |_, a, n, ty| {
                    let (texts, mut keys) = (text(a, 0)?, Keys::new(a)?);
                    bytes_rows(a, n, ty, |row, out| keys.write(row, texts.at(row), out).map(|()| true))
                }),
                strict([texts(), TEXT], keys, |_, a, n, ty| batch(a, n, ty, |rows| list_keys(a, rows))),
            ],
        ),
        function(
            &["collation_text"],
            STRING,
            "The text of a key that collation_key made.",
            ("collation_text(collation_key('Straße', 'de'))", "Straße"),
            vec![strict([BYTEA], Type::Text, |_, a, n, ty| {
                let keys = column::<BinaryViewArray>(a, 0)?;
                text_rows(a, n, ty, |row, out| {
                    let key = keys.at(row);
                    let after = memchr::memchr(0, key).map(|at| &key[at + 1..]);
                    let text = after.and_then(|text| std::str::from_utf8(text).ok());
                    out.push_str(text.ok_or_else(|| invalid_parameter("the bytes are not a key of a collation"))?);
                    Ok(true)
                })
            })],
        ),
    ]
}

/// The keys of arrays' elements.
fn list_keys(args: &[Datum], rows: usize) -> Result<arrow::array::ArrayRef> {
    let (lists, mut keys) = (column::<ListArray>(args, 0)?, Keys::new(args)?);
    let elements = lists.values().as_string_view();
    let mut out = BinaryViewBuilder::new();
    let mut lengths = Vec::with_capacity(rows);
    let mut buffer = Vec::new();
    let nulls = super::rows::nulls_of(args, rows);
    for row in 0..rows {
        let range = if super::rows::is_valid(&nulls, row) { lists.range(row) } else { 0..0 };
        lengths.push(range.len());
        for at in range {
            if elements.is_null(at) {
                out.append_null();
                continue;
            }
            buffer.clear();
            keys.write(row, elements.value(at), &mut buffer)?;
            out.append_value(&buffer);
        }
    }
    let offsets = arrow::buffer::OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(Type::Bytea.element_field(), offsets, Arc::new(out.finish()), nulls)?))
}

/// Makes keys; the locale is almost always one for all rows.
struct Keys<'a> {
    locales: super::rows::Column<'a, arrow::array::StringViewArray>,
    known: Option<(&'a str, CollatorBorrowed<'static>)>,
}

impl<'a> Keys<'a> {
    fn new(args: &'a [Datum]) -> Result<Keys<'a>> {
        Ok(Keys { locales: text(args, 1)?, known: None })
    }

    fn write(&mut self, row: usize, text: &str, out: &mut Vec<u8>) -> Result<()> {
        let locale = self.locales.at(row);
        let collator = match &self.known {
            Some((known, collator)) if *known == locale => collator,
            _ => &self.known.insert((locale, collator(locale)?)).1,
        };
        let Ok(()) = collator.write_sort_key_to(text, out);
        out.push(0);
        out.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

fn collator(locale: &str) -> Result<CollatorBorrowed<'static>> {
    let unknown = |_| invalid_parameter(format!("\"{locale}\" is not a locale of ICU"));
    let parsed = Locale::try_from_str(locale).map_err(unknown)?;
    Collator::try_new(CollatorPreferences::from(&parsed), Default::default())
        .map_err(|error| Error::internal(format!("no collation for the locale {locale}: {error}")))
}
