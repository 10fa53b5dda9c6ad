//! EMIT after a query: CHANGES as in ksqlDB, EVERY an interval, ON WINDOW CLOSE as in RisingWave.

use super::ast::Emit;
use super::cursor::Cursor;
use crate::error::Result;

/// EMIT, if it is there.
pub(super) fn emit(c: &mut Cursor<'_>) -> Result<Option<Emit>> {
    if !c.words("EMIT") {
        return Ok(None);
    }
    let at = c.position();
    let emit = match c.one_of(&["CHANGES", "EVERY", "ON WINDOW CLOSE"]) {
        Some("CHANGES") => Emit::Changes,
        Some("EVERY") => {
            c.words("INTERVAL");
            Emit::Every(c.string()?)
        }
        Some(_) => Emit::OnWindowClose(at),
        None => return Err(c.unexpected()),
    };
    Ok(Some(emit))
}
