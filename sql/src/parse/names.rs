//! Identifiers: folding, and names of one or two parts.

use sqlparser::ast::Ident;

use crate::error::{Error, ErrorKind, Result};
use crate::statement::ObjectName;

/// The name that an identifier stands for: lower case unless it was quoted.
pub fn fold(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_ascii_lowercase(),
    }
}

/// A name as an identifier that means just it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A relation's name from its written form: `name`, `schema.name`, or `database.schema.name` (there is one database, so its name is left out).
pub fn object_name(name: &sqlparser::ast::ObjectName) -> Result<ObjectName> {
    let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect();
    let at = name.0.first().and_then(|part| part.as_ident()).map_or(0, |ident| ident.span.start.column as usize);
    match (parts.len() == name.0.len(), parts.as_slice()) {
        (true, [name]) => Ok(ObjectName { schema: None, name: name.clone() }),
        (true, [schema, name]) | (true, [_, schema, name]) => {
            Ok(ObjectName { schema: Some(schema.clone()), name: name.clone() })
        }
        _ => {
            let error =
                Error::new(ErrorKind::Syntax, format!("improper qualified name (too many dotted names): {name}"));
            Err(if at > 0 { error.at(at) } else { error })
        }
    }
}
