//! From the socket to ReadyForQuery: encryption requests, start-up packets, passwords, limits, shutdown.

mod common;

use std::io::Read;
use std::time::Duration;

use common::{Client, TestServer, message};

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

#[test]
fn encryption_is_declined_without_a_certificate_and_login_goes_on() {
    let server = TestServer::start();
    let mut client = Client::connect(server.pg);
    let mut answer = [0];
    for request in [GSS_REQUEST, SSL_REQUEST] {
        client.send(&request);
        client.socket.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"N");
    }
    client.startup(&[("user", "me")]);
    let greeting = client.read_until_ready();
    assert_eq!(greeting.first().unwrap(), "R 0");
    assert_eq!(greeting[greeting.len() - 2..], ["K", "Z I"]);
}

#[test]
fn startup_parameters_that_do_not_exist_are_accepted() {
    let server = TestServer::start();
    let mut client = Client::connect(server.pg);
    client.startup(&[("user", "me"), ("database", "any"), ("no_such_setting", "1"), ("options", "-c other=2")]);
    assert_eq!(client.read_until_ready().last().unwrap(), "Z I");
}

#[test]
fn a_newer_protocol_is_negotiated_down_and_an_older_one_refused() {
    let server = TestServer::start();
    let mut client = Client::connect(server.pg);
    let body = [&[0, 3, 0, 2][..], b"user\0me\0_pq_.x\x001\0\0"].concat();
    client.send(&[&(body.len() as u32 + 4).to_be_bytes()[..], &body].concat());
    let greeting = client.read_until_ready();
    assert_eq!(greeting[0], "v 0x30000 1");
    assert_eq!(greeting.last().unwrap(), "Z I");

    let mut client = Client::connect(server.pg);
    client.send(&[0, 0, 0, 9, 0, 2, 0, 0, 0]);
    assert_eq!(client.read(), "E FATAL 0A000");
}

#[test]
fn a_startup_packet_without_a_user_or_with_rubbish_is_refused_with_a_reason() {
    let server = TestServer::start();
    let mut client = Client::connect(server.pg);
    client.startup(&[("database", "weir")]);
    assert_eq!(client.read(), "E FATAL 28000");

    for rubbish in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0, 0, 3, 0, 3, 0, 0], &[0, 0, 0, 12, 0, 3, 0, 0, b'u', b's', b'e', b'r']]
    {
        let mut client = Client::connect(server.pg);
        client.send(rubbish);
        assert_eq!(client.read_until_ready(), ["E FATAL 08P01"], "{rubbish:?}");
    }
}

#[test]
fn a_password_is_asked_for_by_scram() {
    let server = TestServer::start_with(|config| config.password = Some("gehe1m".into()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connect = |password: &str| {
        let options = format!("host=127.0.0.1 port={} user=me password={password}", server.pg.port());
        runtime.block_on(tokio_postgres::connect(&options, tokio_postgres::NoTls)).map(|_| ())
    };
    connect("gehe1m").unwrap();
    let error = connect("falsch").unwrap_err();
    assert_eq!(error.code().map(|c| c.code()), Some("28P01"));

    let mut client = Client::connect(server.pg);
    client.startup(&[("user", "me")]);
    assert_eq!(client.read(), "R 10");
    client.send(&message(b'Q', &[b"select 1\0"]));
    assert_eq!(client.read(), "E FATAL 08P01");
}

#[test]
fn one_connection_too_many_is_told_so_and_a_place_is_free_again_after_a_leave() {
    let server = TestServer::start_with(|config| config.max_connections = 2);
    let _first = server.client();
    let mut second = server.client();
    let mut third = Client::connect(server.pg);
    third.startup(&[("user", "me")]);
    assert_eq!(third.read_until_ready().last().unwrap(), "E FATAL 53300");
    second.send(&message(b'X', &[]));
    assert_eq!(second.read(), "EOF");
    server.client();
}

#[test]
fn clients_are_told_when_the_server_stops() {
    let mut server = TestServer::start();
    let mut client = server.client();
    server.stop(Duration::from_secs(5));
    assert_eq!(client.read_until_ready(), ["E FATAL 57P01"]);
    assert_eq!(client.read(), "EOF");
}

#[test]
fn a_message_of_no_known_type_ends_the_connection() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send(&message(b'?', &[b"what"]));
    assert_eq!(client.read_until_ready(), ["E FATAL 08P01"]);
    assert_eq!(client.read(), "EOF");
}
