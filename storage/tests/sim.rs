//! The simulation: random histories on a simulated disk, each from a seed, against a model; with faults, and with crashes at points all
//! over them.
//!
//! A history is some dozens of commits and pieces of background work ([`support::history`]). While it runs, the disk fails operations, fills up and
//! has room again; and at points of chance it leaves an image of what a power cut would. Every image is opened: it shows exactly the commits that were
//! acknowledged, or one more that was under way, and `check` finds nothing. Some go on from there, and crash again. At the end bits are flipped:
//! whoever reads gets the right rows or an error that names the damaged file.
//!
//! It prints how many seeds and crash points there were. `WEIR_SIM_SEED=N` runs one seed (`cargo xtask sim --seed N`), `WEIR_SIM_SEEDS=N` so many.
//! `WEIR_SIM_KEEP=DIR` keeps the files at the end of each history, for the fuzzer to begin with.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::disk::{Disk, Image};
use support::history::{self, History};
use support::model;
use weir_storage::{Error, check_with};

/// Without being told: enough for a working day. The gate runs 2,000 and more.
const SEEDS: u64 = 100;
/// One operation of the disk in so many leaves an image.
const IMAGE_EVERY: u32 = 6;
const STEPS: usize = 40;

#[derive(Default)]
struct Counts {
    seeds: AtomicU64,
    crash_points: AtomicU64,
    faults: AtomicU64,
    commits: AtomicU64,
    flips: AtomicU64,
}

#[test]
fn histories_with_faults_and_crashes_agree_with_the_model() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let counts = Counts::default();
    if let Some(seed) = number("WEIR_SIM_SEED") {
        run(seed, &counts);
    } else {
        let seeds = number("WEIR_SIM_SEEDS").unwrap_or(SEEDS);
        let next = AtomicU64::new(0);
        let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= seeds {
                            return;
                        }
                        run(seed, &counts);
                    }
                });
            }
        });
        let points = counts.crash_points.load(Ordering::Relaxed);
        assert!(points >= 10 * seeds, "only {points} crash points");
    }
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    // The counts are for whoever reads the log of the run: past the test harness, which keeps a passing test's output.
    let text = format!(
        "sim: {} seeds, {} crash points, {} faults, {} commits, {} flipped bits: every one as it should be\n",
        count(&counts.seeds),
        count(&counts.crash_points),
        count(&counts.faults),
        count(&counts.commits),
        count(&counts.flips)
    );
    std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).unwrap();
}

/// One seed. A failure says which.
fn run(seed: u64, counts: &Counts) {
    struct Name(u64);
    impl Drop for Name {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("seed {0} failed: cargo xtask sim --seed {0}", self.0);
            }
        }
    }
    let _name = Name(seed);
    let mut random = StdRng::seed_from_u64(seed);
    let disk = Disk::default();
    disk.watch(random.random(), IMAGE_EVERY);
    let mut history = History::new(disk.clone(), random.random());
    for _ in 0..STEPS {
        history.step();
    }
    let sound = history.close();
    for image in disk.take_images() {
        crash(&history, image, &mut random);
        counts.crash_points.fetch_add(1, Ordering::Relaxed);
    }
    if let Some(dir) = std::env::var_os("WEIR_SIM_KEEP") {
        keep(&sound, Path::new(&dir), seed);
    }
    for _ in 0..4 {
        counts.flips.fetch_add(u64::from(flip(&history, &sound, &mut random)), Ordering::Relaxed);
    }
    counts.faults.fetch_add(history.faults, Ordering::Relaxed);
    counts.commits.fetch_add(history.commits, Ordering::Relaxed);
    counts.seeds.fetch_add(1, Ordering::Relaxed);
}

/// What a power cut left is opened, compared, checked, and sometimes used on.
fn crash(history: &History, image: Image, random: &mut StdRng) {
    let Image { operation, mark, disk } = image;
    let place = format!("crash before operation {operation}, acknowledged and begun {mark:?}");
    let crashed = if random.random_ratio(1, 4) {
        // The power goes again while it recovers.
        disk.stop_at(random.random_range(0..6));
        drop(history::open(&disk));
        disk.crashed(random.random())
    } else {
        disk
    };
    let mut next = History::resume(crashed.clone(), history, mark, random.random(), &place);
    if random.random_ratio(1, 8) {
        (0..8).for_each(|_| next.step());
    }
    next.close();
    assert_sound(&crashed, &place);
}

fn assert_sound(disk: &Disk, place: &str) {
    let findings = check_with(Arc::new(disk.clone()), Path::new(history::DIR)).expect(place);
    assert!(findings.damage.is_empty(), "{place}: {:?}", findings.damage);
}

/// Writes the files to real directories, one for each kind.
fn keep(disk: &Disk, dir: &Path, seed: u64) {
    for file in disk.files() {
        let (Some(name), Some(kind)) = (file.file_name(), file.extension()) else { continue };
        let dir = dir.join(kind);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(format!("{seed}-{}", name.to_string_lossy())), disk.bytes(&file)).unwrap();
    }
}

/// Flips one bit of one file; says whether there was one to flip.
fn flip(history: &History, sound: &Disk, random: &mut StdRng) -> bool {
    let disk = sound.copied();
    let files: Vec<_> = disk.files().into_iter().filter(|file| disk.len(file) > 0).collect();
    let Some(file) = files.get(random.random_range(0..files.len().max(1))) else { return false };
    let (byte, bit) = (random.random_range(0..disk.len(file)), random.random_range(0..8));
    disk.flip(file, byte, bit);
    let place = format!("bit {bit} of byte {byte} of {}", file.display());
    let findings = check_with(Arc::new(disk.clone()), Path::new(history::DIR)).expect(&place);
    let names = |error: &Error| matches!(error, Error::Corrupt { file: damaged, .. } if damaged == file);
    assert!(findings.damage.iter().any(names), "{place}: {:?}", findings.damage);
    match history::open(&disk).and_then(|store| model::read(&store.snapshot())) {
        Ok(found) => assert_eq!(found, model::expected(history.now()), "{place}"),
        Err(error) => assert!(names(&error), "{place}: {error}"),
    }
    true
}
