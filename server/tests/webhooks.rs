//! Webhooks of alerts: posted to a listener that fails first and takes them later, with a restart between.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::TestServer;
use serde_json::Value;

/// What a listener was sent.
#[derive(Debug)]
struct Post {
    line: String,
    key: String,
    kind: String,
    body: Value,
}

/// A receiver of webhooks, whose answer can be changed.
struct Listener {
    url: String,
    answer: Arc<Mutex<&'static str>>,
    posts: Receiver<Post>,
}

impl Listener {
    fn start() -> Listener {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/hook", socket.local_addr().expect("an address"));
        let answer = Arc::new(Mutex::new("503 Service Unavailable"));
        let (send, posts) = channel();
        let answered = answer.clone();
        std::thread::spawn(move || {
            for stream in socket.incoming() {
                let mut stream = stream.expect("a connection");
                let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
                let mut post = Post { line: String::new(), key: String::new(), kind: String::new(), body: Value::Null };
                reader.read_line(&mut post.line).expect("a request");
                let mut length = 0;
                loop {
                    let mut header = String::new();
                    reader.read_line(&mut header).expect("a header");
                    let Some((name, value)) = header.trim_end().split_once(": ") else { break };
                    match name.to_ascii_lowercase().as_str() {
                        "content-length" => length = value.parse().expect("a length"),
                        "content-type" => post.kind = value.into(),
                        "idempotency-key" => post.key = value.into(),
                        _ => {}
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).expect("the body");
                post.body = serde_json::from_slice(&body).expect("JSON");
                let answer = *answered.lock().expect("the answer");
                let _ = write!(stream, "HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                if send.send(post).is_err() {
                    return;
                }
            }
        });
        Listener { url, answer, posts }
    }

    fn next(&self) -> Post {
        self.posts.recv_timeout(Duration::from_secs(60)).expect("a post within a minute")
    }

    /// The next post of another delivery than this.
    fn after(&self, key: &str) -> Post {
        loop {
            let post = self.next();
            if post.key != key {
                return post;
            }
        }
    }
}

/// Waits until a query gives this row.
fn comes_to(server: &TestServer, sql: &str, row: &str) {
    let mut client = server.client();
    let wanted = format!("D {row}");
    for _ in 0..3000 {
        if client.query(sql).contains(&wanted) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{sql} is not {row}, but {:?}", client.query(sql));
}

#[test]
fn a_webhook_is_told_once_it_listens_and_once_only() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let start = || TestServer::start_with(|config| config.data = dir.path().join("data"));
    let listener = Listener::start();
    let server = start();
    let mut client = server.client();
    client.query("CREATE TABLE t (v bigint)");
    client.query("CREATE TABLE incidents (v bigint)");
    client.query("INSERT INTO t VALUES (1), (2)");
    let created = client.query(&format!(
        "CREATE ALERT many WHEN (SELECT v FROM t) EVERY '1 second' THEN WEBHOOK '{}', INSERT INTO incidents",
        listener.url
    ));
    assert_eq!(created, ["C CREATE ALERT", "Z I"]);
    // While it fails it is tried again, with the same key.
    let first = listener.next();
    assert_eq!(first.line, "POST /hook HTTP/1.1\r\n");
    assert_eq!((first.kind.as_str(), first.key.len()), ("application/json", 36));
    assert_eq!((&first.body["alert"], &first.body["status"]), (&"many".into(), &"firing".into()));
    assert_eq!(first.body["value"].to_string(), r#"[{"v":1},{"v":2}]"#);
    assert_eq!(first.body["alerts"][0]["labels"]["alertname"], "many");
    assert_eq!(listener.next().key, first.key);
    let failure = "SELECT deliveries_pending, delivery_error FROM weir.alerts";
    comes_to(&server, failure, "1|the receiver answered 503 Service Unavailable");
    drop(client);
    drop(server);

    // A restart neither forgets it nor fires again.
    *listener.answer.lock().expect("the answer") = "200 OK";
    let server = start();
    comes_to(&server, failure, "0|null");
    let mut client = server.client();
    assert_eq!(client.query("SELECT state FROM weir.alerts")[1], "D firing");
    client.query("TRUNCATE TABLE t");
    let second = listener.after(&first.key);
    assert_eq!((&second.body["status"], &second.body["value"]), (&"resolved".into(), &Value::Array(Vec::new())));
    comes_to(&server, failure, "0|null");
    assert_eq!(client.query("SELECT count(*), sum(v) FROM incidents")[1], "D 2|3");
    client.query("INSERT INTO t VALUES (3)");
    let third = listener.after(&second.key);
    assert_eq!((&third.body["status"], &third.body["value"][0]["v"]), (&"firing".into(), &3.into()));
    comes_to(&server, "SELECT count(*) FROM incidents", "3");
}

#[test]
fn a_receiver_that_is_not_there_is_named_in_the_error() {
    let server = TestServer::start();
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let mut client = server.client();
    client.query(&format!("CREATE ALERT a WHEN (SELECT 1 AS a) EVERY '1 second' THEN WEBHOOK 'http://{gone}'"));
    comes_to(&server, "SELECT count(*) FROM weir.alerts WHERE delivery_error ILIKE '%connection refused%'", "1");
}
