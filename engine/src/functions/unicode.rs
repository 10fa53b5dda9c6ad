//! Unicode's normal forms (UAX 15), by ICU's tables: `normalize` and IS NORMALIZED.

use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
use weir_sql::Type;

use super::declare::{STRING, TEXT, function, strict};
use super::rows::{text, text_rows};
use super::{Context, Datum, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};

pub(crate) fn functions() -> Vec<ScalarFunction> {
    vec![function(
        &["normalize"],
        STRING,
        "The text in a Unicode normal form: NFC (which it is without one), NFD, NFKC or NFKD.",
        ("length(normalize('é', NFD))", "2"),
        vec![strict([TEXT, TEXT], Type::Text, normalize).optional(1)],
    )]
}

fn normalize(_: &Context, args: &[Datum], rows: usize, ty: &Types) -> Result<Datum> {
    let value = text(args, 0)?;
    let form = args.get(1).map(|_| text(args, 1)).transpose()?;
    text_rows(args, rows, ty, |row, out| {
        let value = value.at(row);
        match form.as_ref().map_or("NFC", |form| form.at(row)).to_ascii_uppercase().as_str() {
            "NFC" => out.push_str(&ComposingNormalizerBorrowed::new_nfc().normalize(value)),
            "NFD" => out.push_str(&DecomposingNormalizerBorrowed::new_nfd().normalize(value)),
            "NFKC" => out.push_str(&ComposingNormalizerBorrowed::new_nfkc().normalize(value)),
            "NFKD" => out.push_str(&DecomposingNormalizerBorrowed::new_nfkd().normalize(value)),
            other => {
                let message = format!("invalid normalization form: {}", other.to_ascii_lowercase());
                return Err(Error::new(ErrorKind::InvalidParameter, message));
            }
        }
        Ok(true)
    })
}
