//! Back-pressure, seen from inside: an embedded database whose parts cannot be written for a while.

use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::buffer::Buffer;
use arrow::datatypes::Int64Type;
use parking_lot::RwLock;
use weir_engine::{Database, Options};
use weir_ingest::Subscription;
use weir_storage::{DiskIo, Io, IoFile, LockError, StoreOptions};
use weir_tests::outside::broker::Broker;
use weir_tests::process::eventually;

use super::{SOON, send_ids};

/// A disk on which parts wait while the gate is held for writing.
struct Gated(Arc<RwLock<()>>);

impl Io for Gated {
    fn create(&self, path: &Path) -> io::Result<Box<dyn IoFile>> {
        if path.extension().is_some_and(|extension| extension == "part") {
            drop(self.0.read());
        }
        DiskIo.create(path)
    }

    fn append(&self, path: &Path, length: u64) -> io::Result<Box<dyn IoFile>> {
        DiskIo.append(path, length)
    }

    fn read(&self, path: &Path) -> io::Result<Buffer> {
        DiskIo.read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        DiskIo.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        DiskIo.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        DiskIo.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        DiskIo.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        DiskIo.create_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        DiskIo.sync_dir(dir)
    }

    fn lock(&self, path: &Path, write_pid: bool) -> Result<Box<dyn Send + Sync>, LockError> {
        DiskIo.lock(path, write_pid)
    }
}

fn number(db: &Database, sql: &str) -> i64 {
    let result = db.query(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    result.batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

#[test]
fn partitions_pause_while_the_head_is_full_and_resume() {
    let broker = Broker::shared();
    broker.create_topic("pressure", 2);
    (0..2).for_each(|partition| {
        send_ids(broker, "pressure", partition, partition as usize * 20_000..(partition as usize + 1) * 20_000)
    });
    let gate = Arc::new(RwLock::new(()));
    let store = StoreOptions { io: Arc::new(Gated(gate.clone())), head_bytes_max: 32 << 10, ..StoreOptions::default() };
    let data = tempfile::tempdir().expect("a temporary folder");
    let db = Database::open_with(data.path(), Options { store, ..Options::default() }).expect("the database opens");
    db.execute("CREATE TABLE pressure (id bigint)").expect("the table is made");
    let held = gate.write();
    let mut subscription = Subscription::new("pressure", &broker.address(), "pressure", "pressure");
    subscription.batch_rows = 100;
    let ingest = weir_ingest::start(db.clone(), vec![subscription]);
    let paused = "SELECT count(*) FROM weir.kafka_status WHERE state = 'paused: writers are ahead of background work'";
    eventually("both partitions pause", SOON, || number(&db, paused) == 2);
    assert!(number(&db, "SELECT count(*) FROM pressure") < 40_000, "all went by before the pause");
    drop(held);
    eventually("all events arrive", SOON, || number(&db, "SELECT count(*) FROM pressure") == 40_000);
    assert_eq!(number(&db, "SELECT count(DISTINCT id) FROM pressure"), 40_000);
    eventually("both partitions run", SOON, || {
        number(&db, "SELECT count(*) FROM weir.kafka_status WHERE state = 'running'") == 2
    });
    ingest.stop();
}
