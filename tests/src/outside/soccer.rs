//! The soccer stream: 3,251,294 real events, each as one JSON object, and broken records among them.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::broker::{Broker, flush, send};
use super::duckdb;

/// How many events there are.
pub const EVENTS: usize = 3_251_294;

/// The events as JSON lines, one object an event; made once in the tools folder.
pub fn json_lines() -> PathBuf {
    let file = duckdb::root().join(".tools/soccer.jsonl");
    if !file.exists() {
        let parquet = duckdb::data("soccer-events.parquet");
        let part = file.with_extension("part");
        duckdb::rows(&format!("COPY (SELECT * FROM '{}') TO '{}' (FORMAT json)", parquet.display(), part.display()));
        std::fs::rename(&part, &file).expect("the file is ours");
    }
    file
}

/// Produces every event, with `broken` records that are no events mixed in at random places.
pub fn produce(broker: &Broker, topic: &str, broken: usize, seed: u64) {
    let producer = broker.producer();
    let mut random = StdRng::seed_from_u64(seed);
    let mut places: Vec<usize> = (0..broken).map(|_| random.random_range(0..EVENTS)).collect();
    places.sort_unstable();
    let mut places = places.into_iter().peekable();
    let lines = BufReader::with_capacity(1 << 20, File::open(json_lines()).expect("the lines are there"));
    for (number, line) in lines.lines().enumerate() {
        let line = line.expect("the lines are UTF-8");
        while places.next_if_eq(&number).is_some() {
            send(&producer, topic, b"broken", &break_record(&line, &mut random));
        }
        send(&producer, topic, &(number as u32 / 16).to_le_bytes(), line.as_bytes());
    }
    flush(&producer);
}

/// A record that is no event, of one of the kinds that streams have.
fn break_record(line: &str, random: &mut StdRng) -> Vec<u8> {
    match random.random_range(0..7) {
        0 => line.as_bytes()[..random.random_range(1..line.len() - 1)].to_vec(),
        1 => Vec::new(),
        2 => line.replacen("\"id\":", "\"id\":\"x", 1).replacen(",\"ts\"", "\",\"ts\"", 1).into_bytes(),
        3 => b"\xff\xfe\x00broken".to_vec(),
        4 => format!("{line} trailing").into_bytes(),
        5 => line.replacen("\"tags\":[", "\"tags\":[\"a tag\",", 1).replacen(",]", "]", 1).into_bytes(),
        _ => b"[1, 2, 3]".to_vec(),
    }
}
