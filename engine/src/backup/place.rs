//! Where backups are kept: a [`Place`] has objects by name. A folder is built in; others are registered by the scheme of their URI.

use std::collections::HashMap;
use std::io::ErrorKind as IoErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use super::{SharedIo, local_path};
use crate::error::{Error, ErrorKind, Result};

/// Objects by name. Names have `/` in them.
pub trait Place: Send + Sync {
    /// Keeps an object; it is durable when this returns.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<()>;
    /// Hands an object on, chunk by chunk. Fails with [`ErrorKind::UndefinedFile`] when it is not there.
    fn get(&self, name: &str, chunk: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>;
    /// Whether an object is there.
    fn has(&self, name: &str) -> Result<bool>;
}

/// Opens the place of a URI, with the options of the statement.
pub type Opener = Arc<dyn Fn(&str, &[(String, String)]) -> Result<Box<dyn Place>> + Send + Sync>;

/// The kinds of places that are known.
#[derive(Clone)]
pub struct Places {
    io: SharedIo,
    schemes: HashMap<String, Opener>,
}

impl Places {
    /// Folders alone, by this access to files.
    pub fn local(io: SharedIo) -> Places {
        Places { io, schemes: HashMap::new() }
    }

    /// Adds those whose URIs begin with `scheme://`.
    pub fn register(&mut self, scheme: &str, open: Opener) {
        self.schemes.insert(scheme.to_string(), open);
    }

    pub(crate) fn io(&self) -> SharedIo {
        self.io.clone()
    }

    /// Opens a place.
    pub(crate) fn open(&self, uri: &str, options: &[(String, String)]) -> Result<Box<dyn Place>> {
        if let Some(dir) = local_path(uri) {
            return Ok(Box::new(Folder { io: self.io.clone(), dir }));
        }
        let scheme = uri.split_once("://").map_or("", |(scheme, _)| scheme);
        match self.schemes.get(scheme) {
            Some(open) => open(uri, options),
            None => {
                let message = format!("backups to \"{scheme}://\" are not supported");
                Err(Error::new(ErrorKind::Sql(weir_sql::ErrorKind::Unsupported), message)
                    .with_hint("Name a folder, or s3://bucket/prefix on a server."))
            }
        }
    }
}

/// A folder on this machine.
struct Folder {
    io: SharedIo,
    dir: PathBuf,
}

impl Folder {
    fn failed(&self, what: &str, name: &str, error: &std::io::Error) -> Error {
        let path = self.dir.join(name);
        let kind = match error.kind() {
            IoErrorKind::NotFound => ErrorKind::UndefinedFile,
            IoErrorKind::StorageFull | IoErrorKind::QuotaExceeded => ErrorKind::DiskFull,
            _ => ErrorKind::Io,
        };
        Error::new(kind, format!("could not {what} file \"{}\": {error}", path.display()))
    }
}

impl Place for Folder {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.dir.join(name);
        let temporary = path.with_extension("tmp");
        let dir = path.parent().unwrap_or(&self.dir).to_path_buf();
        let write = || -> std::io::Result<()> {
            self.io.create_dir(&dir)?;
            let mut file = self.io.create(&temporary)?;
            file.append(bytes)?;
            file.sync()?;
            self.io.rename(&temporary, &path)?;
            self.io.sync_dir(&dir)
        };
        write().map_err(|error| self.failed("write", name, &error))
    }

    fn get(&self, name: &str, chunk: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let bytes = self.io.read(&self.dir.join(name)).map_err(|error| self.failed("read", name, &error))?;
        bytes.chunks(8 << 20).try_for_each(chunk)
    }

    fn has(&self, name: &str) -> Result<bool> {
        match self.io.list(&self.dir) {
            Ok(names) => Ok(names.iter().any(|found| found == name)),
            Err(error) if error.kind() == IoErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.failed("look for", name, &error)),
        }
    }
}
