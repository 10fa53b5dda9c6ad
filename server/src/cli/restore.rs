//! `weir restore`: a backup becomes a data directory again.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use weir_engine::backup::{self, Places};

use super::describe;

/// Restores into a directory that is empty or not there.
pub(super) fn run(data: &Path, from: &str, options: &[(String, String)]) -> Result<ExitCode, String> {
    let mut places = Places::local(Arc::new(backup::DiskIo));
    places.register(crate::s3::SCHEME, crate::s3::opener());
    let summary = backup::restore(&places, from, options, data, &weir_engine::cancel::Cancel::default())
        .map_err(|e| describe(&e))?;
    let backup::Summary { version, parts, bytes, .. } = summary;
    println!("restored version {version}: {parts} parts, {bytes} bytes, to {}", data.display());
    Ok(ExitCode::SUCCESS)
}
