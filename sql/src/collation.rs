//! Collations: their names, and which one an expression has (Postgres's rules of derivation, SQL-standard 9.15).
//!
//! Text is ordered by its bytes unless a COLLATE names one of ICU's locales. All collations are deterministic, as those that Postgres comes with: texts
//! are equal only if their bytes are, so that grouping, joins and `=` never ask. What orders is bound over keys (`collation_key`), so no
//! operator, index or zone knows of collations.

use crate::error::{Error, ErrorKind, Result};
use crate::types::Type;

/// The locales of the collations `LOCALE-x-icu`, in the order of Postgres's oids, without the few that ICU4X does not order as ICU does: az-Cyrl, haw,
/// hi-Latn, kl, pa-Arab, se, smn, uz-Arab, yi and en-US-u-va-posix.
const LOCALES: &str = include_str!("collations.txt");

/// Collations by bytes, with their oids. The first is the database's.
const BYTES: [(&str, u32); 6] =
    [("default", 100), ("C", 950), ("POSIX", 951), ("ucs_basic", 12340), ("C.utf8", 12341), ("C.UTF-8", 12341)];

/// The oid of ICU's first collation.
const FIRST_ICU_OID: u32 = 12342;

/// ICU's root by the name that Postgres 16 gives it.
const UNICODE: (&str, u32) = ("unicode", 963);

/// A collation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collation(u16);

impl Collation {
    /// The database's: by bytes.
    pub const DEFAULT: Collation = Collation(0);

    /// All that there are.
    pub fn all() -> impl Iterator<Item = Collation> {
        (0..(BYTES.len() + 1 + LOCALES.lines().count()) as u16).map(Collation)
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Collation> {
        Collation::all().find(|collation| collation.name() == name)
    }

    /// Its name.
    pub fn name(self) -> String {
        match BYTES.get(self.0 as usize) {
            Some((name, _)) => (*name).to_string(),
            None if self.0 as usize == BYTES.len() => UNICODE.0.to_string(),
            None => format!("{}-x-icu", self.locale().unwrap_or_default()),
        }
    }

    /// Its oid in pg_collation.
    pub fn oid(self) -> u32 {
        match BYTES.get(self.0 as usize) {
            Some((_, oid)) => *oid,
            None if self.0 as usize == BYTES.len() => UNICODE.1,
            None => FIRST_ICU_OID + u32::from(self.0) - BYTES.len() as u32 - 1,
        }
    }

    /// ICU's locale; `None` for the order of bytes.
    pub fn locale(self) -> Option<&'static str> {
        match (self.0 as usize).checked_sub(BYTES.len())? {
            0 => Some("und"),
            at => LOCALES.lines().nth(at - 1),
        }
    }
}

/// How an expression has come by its collation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collating {
    /// From its type, a column or what it is made of.
    Implicit(Collation),
    /// From COLLATE.
    Explicit(Collation),
    /// From two columns that do not agree.
    Conflict(Collation, Collation),
    /// A query's column of which that is so.
    Unknown,
}

impl Default for Collating {
    fn default() -> Self {
        Collating::Implicit(Collation::DEFAULT)
    }
}

impl Collating {
    /// What an expression made of two has.
    pub fn with(self, other: Collating) -> Result<Collating> {
        use Collating::{Conflict, Explicit, Implicit, Unknown};
        Ok(match (self, other) {
            (Explicit(a), Explicit(b)) if a != b => return Err(mismatch("explicit", a, b)),
            (Explicit(a), _) | (_, Explicit(a)) => Explicit(a),
            (Unknown, _) | (_, Unknown) => Unknown,
            (Conflict(a, b), _) | (_, Conflict(a, b)) => Conflict(a, b),
            (Implicit(a), Implicit(Collation::DEFAULT)) | (Implicit(Collation::DEFAULT), Implicit(a)) => Implicit(a),
            (Implicit(a), Implicit(b)) if a == b => Implicit(a),
            (Implicit(a), Implicit(b)) => Conflict(a, b),
        })
    }

    /// What a query's column of it has.
    pub fn of_column(self) -> Collating {
        match self {
            Collating::Explicit(collation) => Collating::Implicit(collation),
            Collating::Conflict(..) => Collating::Unknown,
            other => other,
        }
    }

    /// The collation; an error where two do not agree.
    pub fn settled(self) -> Result<Collation> {
        match self {
            Collating::Implicit(collation) | Collating::Explicit(collation) => Ok(collation),
            Collating::Conflict(..) | Collating::Unknown => {
                let message = "could not determine which collation to use for string comparison";
                Err(Error::new(ErrorKind::IndeterminateCollation, message)
                    .with_hint("Use the COLLATE clause to set the collation explicitly."))
            }
        }
    }

    /// As [`Collating::settled`], in the words for what has to have one collation: a key, or a set operation's column.
    pub fn agreed(self) -> Result<Collation> {
        match self {
            Collating::Conflict(a, b) => Err(mismatch("implicit", a, b)
                .with_hint("You can choose the collation by applying the COLLATE clause to one or both expressions.")),
            settled => settled.settled(),
        }
    }
}

fn mismatch(how: &str, a: Collation, b: Collation) -> Error {
    let message = format!("collation mismatch between {how} collations \"{}\" and \"{}\"", a.name(), b.name());
    Error::new(ErrorKind::CollationMismatch, message)
}

/// The collation of a name, which may be in Postgres's own schema.
pub(crate) fn collation_named(parts: &[String]) -> Result<Collation> {
    let known = match parts {
        [name] => Collation::named(name),
        [schema, name] if schema == "pg_catalog" => Collation::named(name),
        _ => None,
    };
    known.ok_or_else(|| {
        let message = format!("collation \"{}\" for encoding \"UTF8\" does not exist", parts.join("."));
        Error::new(ErrorKind::UndefinedObject, message)
    })
}

/// Whether values of a type have a collation.
pub fn is_collatable(ty: &Type) -> bool {
    match ty {
        Type::Array(element) => is_collatable(element),
        Type::Char => false,
        ty => ty.is_text(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collations_keep_postgres_oids() {
        let of = |name: &str| Collation::named(name).map(|found| (found.oid(), found.locale()));
        assert_eq!(of("C"), Some((950, None)));
        assert_eq!(of("und-x-icu"), Some((12342, Some("und"))));
        assert_eq!(of("unicode"), Some((963, Some("und"))));
        assert_eq!(of("af-NA-x-icu"), Some((12344, Some("af-NA"))));
        assert_eq!(of("xx-x-icu"), None);
    }
}
