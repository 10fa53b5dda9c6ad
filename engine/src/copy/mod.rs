//! COPY.

use weir_sql::statement::Copy;

use crate::error::{Error, Result};
use crate::session::run::Running;
use crate::session::{Outcome, Session};

pub(crate) fn copy(_session: &mut Session, _running: &Running, _copy: &Copy) -> Result<Outcome> {
    Err(Error::internal("COPY is not built yet"))
}
