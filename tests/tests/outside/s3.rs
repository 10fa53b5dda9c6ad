//! Backups in an S3-compatible store: moto's server stands in for S3.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use weir_tests::outside::duckdb::python;
use weir_tests::outside::oracle::free_port;
use weir_tests::process::{Server, eventually, rows, value, weir_binary};

/// A running moto. Dropping it stops it.
struct Moto {
    child: Child,
    port: u16,
}

impl Moto {
    fn start() -> Moto {
        let port = free_port();
        let child = Command::new(python())
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto starts");
        let moto = Moto { child, port };
        eventually("moto answers", Duration::from_secs(60), || moto.put("/backups"));
        moto
    }

    /// Makes a bucket.
    fn put(&self, path: &str) -> bool {
        use std::io::{Read, Write};
        let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let request = format!("PUT {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n");
        let mut answer = String::new();
        stream.write_all(request.as_bytes()).is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && answer.split(' ').nth(1) == Some("200")
    }

    fn options(&self) -> [(&'static str, String); 5] {
        [
            ("endpoint", format!("http://127.0.0.1:{}", self.port)),
            ("allow_http", "true".into()),
            ("region", "us-east-1".into()),
            ("access_key_id", "key".into()),
            ("secret_access_key", "secret".into()),
        ]
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn restore(moto: &Moto, from: &str, data: &Path) -> (bool, String) {
    let mut command = Command::new(weir_binary());
    command.args(["restore", "--from", from, "--data"]).arg(data);
    for (key, value) in moto.options() {
        command.arg("--option").arg(format!("{key}={value}"));
    }
    let output = command.output().expect("weir runs");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_database_comes_back_from_s3() {
    let moto = Moto::start();
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let mut client = server.connect();
    // Over 16 MiB of parts, so that one is sent in pieces.
    client
        .batch_execute(
            "CREATE TABLE t (id bigint, v bigint, w bigint) ORDER BY id;
             INSERT INTO t SELECT i, (random() * 1e18)::bigint, (random() * 1e18)::bigint FROM generate_series(1, 1500000) AS i",
        )
        .expect("it is made");
    let with: Vec<String> = moto.options().iter().map(|(key, value)| format!("{key} = '{value}'")).collect();
    let with = with.join(", ");
    rows(&mut client, &format!("BACKUP DATABASE TO 's3://backups/one' WITH ({with})"));
    client.batch_execute("INSERT INTO t VALUES (0, 1, 2)").expect("a row");
    let sql = format!("BACKUP DATABASE TO 's3://backups/two' WITH (base = 's3://backups/one', {with})");
    let done = rows(&mut client, &sql);
    assert!(done[0][2].parse::<u64>().expect("a number") < done[0][1].parse::<u64>().expect("a number"), "{done:?}");
    let target = tempfile::tempdir().expect("a temporary folder");
    let dir = target.path().join("data");
    let (success, text) = restore(&moto, "s3://backups/two", &dir);
    assert!(success, "{text}");
    let sums = "SELECT count(*) || ' ' || sum(id) || ' ' || sum(v) || ' ' || sum(w) FROM t";
    let restored = Server::start(&dir);
    assert_eq!(value(&mut restored.connect(), sums), value(&mut client, sums));
    let (success, text) = restore(&moto, "s3://backups/three", &target.path().join("three"));
    assert!(!success && text.contains("MANIFEST"), "{text}");
    let missing = client.batch_execute(&format!("BACKUP DATABASE TO 's3://nosuch/x' WITH ({with})"));
    assert!(missing.is_err(), "there is no such bucket");
}
