//! Backups in S3-compatible stores: `s3://bucket/prefix`, through the crate `object_store`.
//!
//! Keys, region and endpoint come from the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`, …), and from
//! the statement's options of the same names. An endpoint that is not TLS needs `allow_http`. Objects are sent in pieces, so that the largest part is
//! never held whole.

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{ObjectStoreExt, WriteMultipart};
use tokio::runtime::Runtime;
use weir_engine::backup::{Opener, Place};
use weir_engine::{Error, ErrorKind, Result};

/// The scheme of its URIs.
pub(crate) const SCHEME: &str = "s3";
/// Objects up to this size are sent at once, larger ones in pieces of it.
const PIECE: usize = 16 << 20;
/// Pieces on their way at a time.
const PIECES: usize = 4;

struct S3 {
    store: AmazonS3,
    prefix: String,
    runtime: Runtime,
}

/// Opens a place in S3.
pub(crate) fn opener() -> Opener {
    Arc::new(|uri, options| Ok(Box::new(open(uri, options)?) as Box<dyn Place>))
}

fn open(uri: &str, options: &[(String, String)]) -> Result<S3> {
    // The same provider as for the Postgres wire; an error means that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let wrong = |what: String| Error::new(ErrorKind::InvalidParameter, what);
    let rest = uri.strip_prefix("s3://").unwrap_or(uri);
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(wrong(format!("\"{uri}\" names no bucket")));
    }
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    for (key, value) in options.iter().filter(|(key, _)| key != "base" && key != "data") {
        let key: AmazonS3ConfigKey =
            key.parse().map_err(|_| wrong(format!("there is no option \"{key}\" of a backup in S3")))?;
        builder = builder.with_config(key, value);
    }
    let store = builder.build().map_err(|e| failed(uri, &e))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|e| Error::new(ErrorKind::Io, format!("cannot start threads: {e}")))?;
    Ok(S3 { store, prefix: prefix.trim_end_matches('/').to_string(), runtime })
}

fn failed(name: &str, error: &object_store::Error) -> Error {
    let kind = match error {
        object_store::Error::NotFound { .. } => ErrorKind::UndefinedFile,
        _ => ErrorKind::Io,
    };
    let mut message = format!("object \"{name}\": {error}");
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let text = error.to_string();
        if !message.contains(&text) {
            message.push_str(&format!(": {text}"));
        }
        source = error.source();
    }
    Error::new(kind, message)
}

impl S3 {
    fn path(&self, name: &str) -> Path {
        Path::from(format!("{}/{name}", self.prefix))
    }
}

impl Place for S3 {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(name);
        let sent = self.runtime.block_on(async {
            if bytes.len() <= PIECE {
                return self.store.put(&path, bytes::Bytes::copy_from_slice(bytes).into()).await.map(drop);
            }
            let upload = self.store.put_multipart(&path).await?;
            let mut upload = WriteMultipart::new_with_chunk_size(upload, PIECE);
            for piece in bytes.chunks(PIECE) {
                upload.wait_for_capacity(PIECES).await?;
                upload.write(piece);
            }
            upload.finish().await.map(drop)
        });
        sent.map_err(|e| failed(path.as_ref(), &e))
    }

    fn get(&self, name: &str, chunk: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let path = self.path(name);
        self.runtime.block_on(async {
            let object = self.store.get(&path).await.map_err(|e| failed(path.as_ref(), &e))?;
            let mut stream = object.into_stream();
            while let Some(bytes) = stream.try_next().await.map_err(|e| failed(path.as_ref(), &e))? {
                chunk(&bytes)?;
            }
            Ok(())
        })
    }

    fn has(&self, name: &str) -> Result<bool> {
        let path = self.path(name);
        match self.runtime.block_on(async { self.store.head(&path).await }) {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(failed(path.as_ref(), &e)),
        }
    }
}
