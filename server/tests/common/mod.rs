//! A server on ports of its own over an empty database, and a client that speaks the protocol message by message.
#![allow(dead_code, unreachable_pub)] // Each test file uses its own part.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use weir_engine::Database;
use weir_server::Server;
use weir_server::config::Config;

/// A running server; stops when dropped.
pub struct TestServer {
    server: Option<Server>,
    db: Option<Database>,
    pub pg: SocketAddr,
    pub http: SocketAddr,
    _dir: tempfile::TempDir,
}

impl TestServer {
    pub fn start() -> TestServer {
        TestServer::start_with(|_| {})
    }

    pub fn start_with(configure: impl FnOnce(&mut Config)) -> TestServer {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut config = Config { pg: "127.0.0.1:0".into(), http: "127.0.0.1:0".into(), ..Config::default() };
        config.data = dir.path().join("data");
        configure(&mut config);
        let db = Database::open(&config.data).expect("the database opens");
        let server = Server::start(db.clone(), &config).expect("the server starts");
        let (pg, http) = (server.pg_addresses()[0], server.http_addresses()[0]);
        TestServer { server: Some(server), db: Some(db), pg, http, _dir: dir }
    }

    pub fn db(&self) -> &Database {
        self.db.as_ref().expect("it runs")
    }

    pub fn stop(&mut self, grace: Duration) {
        if let Some(server) = self.server.take() {
            server.stop(grace);
        }
    }

    /// A logged-in client.
    pub fn client(&self) -> Client {
        let mut client = Client::connect(self.pg);
        client.startup(&[("user", "tester"), ("database", "weir")]);
        let greeting = client.read_until_ready();
        assert_eq!(greeting.last().map(String::as_str), Some("Z I"), "{greeting:?}");
        client
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
        if let Some(db) = self.db.take() {
            let _ = db.close();
        }
    }
}

/// A client that sends and reads single messages. Messages read are written as text: `T a:23:t`, `D 1|null`, `C SELECT 1`, `E 42P01`, `Z I`.
pub struct Client {
    pub socket: TcpStream,
    pub pid: i32,
    pub secret: u32,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let socket = TcpStream::connect(address).expect("the server listens");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
        Client { socket, pid: 0, secret: 0 }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the server reads");
    }

    pub fn startup(&mut self, parameters: &[(&str, &str)]) {
        let mut body = 196_608u32.to_be_bytes().to_vec();
        for (name, value) in parameters {
            body.extend_from_slice(&[name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
        }
        body.push(0);
        let length = (body.len() as u32 + 4).to_be_bytes();
        self.send(&[&length[..], &body].concat());
    }

    /// Sends a query text and reads up to ReadyForQuery.
    pub fn query(&mut self, sql: &str) -> Vec<String> {
        self.exchange(&[query(sql)])
    }

    /// Sends messages and reads up to ReadyForQuery.
    pub fn exchange(&mut self, messages: &[Vec<u8>]) -> Vec<String> {
        self.send(&messages.concat());
        self.read_until_ready()
    }

    pub fn read_until_ready(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let message = self.read();
            let done = message.starts_with('Z') || message == "EOF" || message.starts_with("E FATAL");
            all.push(message);
            if done {
                return all;
            }
        }
    }

    pub fn read_some(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.read()).collect()
    }

    pub fn read(&mut self) -> String {
        let (tag, body) = match self.read_message() {
            Some(message) => message,
            None => return "EOF".into(),
        };
        let mut b = Body(&body);
        match tag {
            b'R' => format!("R {}", b.i32()),
            b'S' => format!("S {}={}", b.string(), b.string()),
            b'K' => {
                (self.pid, self.secret) = (b.i32(), b.i32() as u32);
                "K".into()
            }
            b'v' => format!("v {:#x} {}", b.i32(), b.i32()),
            b'Z' => format!("Z {}", b.0[0] as char),
            b'C' => format!("C {}", b.string()),
            b'T' => {
                let columns = (0..b.i16()).map(|_| {
                    let name = b.string();
                    let (_table, _attribute, oid, _size, typmod, format) =
                        (b.i32(), b.i16(), b.i32(), b.i16(), b.i32(), b.i16());
                    format!("{name}:{oid}:{typmod}:{}", ["t", "b"][format as usize])
                });
                format!("T {}", columns.collect::<Vec<_>>().join(" "))
            }
            b't' => format!("t {:?}", (0..b.i16()).map(|_| b.i32()).collect::<Vec<_>>()),
            b'D' => {
                let values = (0..b.i16()).map(|_| match b.i32() {
                    -1 => "null".to_string(),
                    length => show(b.bytes(length as usize)),
                });
                format!("D {}", values.collect::<Vec<_>>().join("|"))
            }
            b'E' | b'N' => {
                let (mut severity, mut code) = (String::new(), String::new());
                while b.0[0] != 0 {
                    let (field, text) = (b.bytes(1)[0], b.string());
                    match field {
                        b'V' => severity = text,
                        b'C' => code = text,
                        _ => {}
                    }
                }
                match severity.as_str() {
                    "ERROR" => format!("E {code}"),
                    _ => format!("{} {severity} {code}", tag as char),
                }
            }
            b'd' => format!("d {}", show(&body)),
            b'G' | b'H' => format!("{} {} {}", tag as char, b.bytes(1)[0], b.i16()),
            other => (other as char).to_string(),
        }
    }

    /// The raw next message; `None` at the end of the stream.
    pub fn read_message(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        match self.socket.read_exact(&mut head) {
            Ok(()) => {}
            Err(e) if matches!(e.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset) => {
                return None;
            }
            Err(e) => panic!("no message within the time-out: {e}"),
        }
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let mut body = vec![0; length - 4];
        self.socket.read_exact(&mut body).expect("the whole message");
        Some((head[0], body))
    }
}

fn show(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') => text.to_string(),
        _ => bytes.iter().fold("0x".to_string(), |mut all, b| {
            let _ = write!(all, "{b:02x}");
            all
        }),
    }
}

struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(count);
        self.0 = rest;
        head
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.bytes(2).try_into().expect("two bytes"))
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.bytes(4).try_into().expect("four bytes"))
    }

    fn string(&mut self) -> String {
        let end = self.0.iter().position(|&b| b == 0).expect("a terminator");
        let text = String::from_utf8_lossy(self.bytes(end)).into_owned();
        self.bytes(1);
        text
    }
}

/// A message of any type.
pub fn message(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), &body].concat()
}

pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &[sql.as_bytes(), b"\0"])
}

pub fn parse(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    let oids: Vec<u8> = types.iter().flat_map(|oid| oid.to_be_bytes()).collect();
    let count = (types.len() as u16).to_be_bytes();
    message(b'P', &[name.as_bytes(), b"\0", sql.as_bytes(), b"\0", &count, &oids])
}

/// All parameters in one format; `None` is NULL.
pub fn bind(portal: &str, statement: &str, format: i16, values: &[Option<&[u8]>], results: &[i16]) -> Vec<u8> {
    let mut body = [portal.as_bytes(), b"\0", statement.as_bytes(), b"\0"].concat();
    body.extend_from_slice(&1u16.to_be_bytes());
    body.extend_from_slice(&format.to_be_bytes());
    body.extend_from_slice(&(values.len() as u16).to_be_bytes());
    for value in values {
        match value {
            None => body.extend_from_slice(&(-1i32).to_be_bytes()),
            Some(bytes) => {
                body.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
                body.extend_from_slice(bytes);
            }
        }
    }
    body.extend_from_slice(&(results.len() as u16).to_be_bytes());
    body.extend(results.iter().flat_map(|code| code.to_be_bytes()));
    message(b'B', &[&body])
}

pub fn describe(kind: u8, name: &str) -> Vec<u8> {
    message(b'D', &[&[kind], name.as_bytes(), b"\0"])
}

pub fn close(kind: u8, name: &str) -> Vec<u8> {
    message(b'C', &[&[kind], name.as_bytes(), b"\0"])
}

pub fn execute(portal: &str, rows_max: i32) -> Vec<u8> {
    message(b'E', &[portal.as_bytes(), b"\0", &rows_max.to_be_bytes()])
}

pub fn sync() -> Vec<u8> {
    message(b'S', &[])
}

pub fn flush() -> Vec<u8> {
    message(b'H', &[])
}

pub fn copy_data(bytes: &[u8]) -> Vec<u8> {
    message(b'd', &[bytes])
}

pub fn copy_done() -> Vec<u8> {
    message(b'c', &[])
}

pub fn copy_fail(reason: &str) -> Vec<u8> {
    message(b'f', &[reason.as_bytes(), b"\0"])
}
