//! The text of values.

use arrow::array::ArrayRef;
use weir_engine::Session;
use weir_sql::Type;

/// What a session says about the text of values.
pub(crate) struct Settings;

impl Settings {
    /// A session's.
    pub(crate) fn of(_session: &Session) -> Settings {
        Settings
    }
}

/// Appends the text of a value that is not NULL.
pub(crate) fn write_text(
    _ty: &Type,
    array: &ArrayRef,
    row: usize,
    out: &mut Vec<u8>,
    _settings: &Settings,
) -> weir_engine::Result<()> {
    out.extend_from_slice(arrow::util::display::array_value_to_string(array, row)?.as_bytes());
    Ok(())
}
