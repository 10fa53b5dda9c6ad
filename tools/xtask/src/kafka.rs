//! A real Apache Kafka for tests: one process in KRaft mode (broker and controller), its jars fetched by Maven.
//!
//! `up` formats the data folder the first time, starts the JVM and returns when the broker answers; a second `up` on the same folder
//! finds the topics of before. `down` stops it cleanly and `--purge` forgets its data. Several can run side by side with
//! `--name` and `--port`.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use crate::{Done, root, sh, tools_dir};

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Fetch Kafka if need be, start it, and wait until it answers.
    Up(Instance),
    /// Stop it.
    Down {
        #[command(flatten)]
        instance: Instance,
        /// Forget its topics as well.
        #[arg(long)]
        purge: bool,
    },
}

#[derive(Args)]
pub(crate) struct Instance {
    /// Tells instances apart.
    #[arg(long, default_value = "kafka")]
    name: String,
    /// The port of its listener on 127.0.0.1; the next one is its controller's.
    #[arg(long, default_value_t = 9092)]
    port: u16,
}

/// A KRaft cluster id is 16 bytes in base64; any fixed one will do.
const CLUSTER_ID: &str = "V2VpciBmb3IgdGVzdHMgIQ";
const START_TIMEOUT: Duration = Duration::from_secs(60);

impl Instance {
    fn dir(&self) -> PathBuf {
        tools_dir().join(&self.name)
    }

    fn pid_file(&self) -> PathBuf {
        self.dir().join("pid")
    }

    /// The pid of the running JVM, if it is still ours.
    fn pid(&self) -> Option<u32> {
        let pid: u32 = fs::read_to_string(self.pid_file()).ok()?.trim().parse().ok()?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let marker = self.dir().join("server.properties");
        String::from_utf8_lossy(&command).contains(marker.to_str()?).then_some(pid)
    }
}

pub(crate) fn run(action: Action) -> Done {
    match action {
        Action::Up(instance) => up(&instance),
        Action::Down { instance, purge } => down(&instance, purge),
    }
}

fn up(instance: &Instance) -> Done {
    if let Some(pid) = instance.pid() {
        println!("kafka is up already: 127.0.0.1:{}, pid {pid}", instance.port);
        return Ok(());
    }
    let libs = fetch()?;
    let dir = instance.dir();
    fs::create_dir_all(&dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
    let properties = dir.join("server.properties");
    write(&properties, &server_properties(instance))?;
    let log4j = dir.join("log4j2.properties");
    write(&log4j, LOG4J)?;
    let java = |main: &str, args: &[&str]| {
        let mut command = Command::new("java");
        command
            .args(["-Xms256m", "-Xmx1g", "-XX:+UseSerialGC"])
            .arg(format!("-Dlog4j2.configurationFile={}", log4j.display()))
            .args(["-cp", &format!("{}/*", libs.display()), main])
            .args(args);
        command
    };
    let config = properties.to_str().ok_or("the checkout's path is not UTF-8")?;
    if !dir.join("data/meta.properties").exists() {
        sh(java("kafka.tools.StorageTool", &["format", "-t", CLUSTER_ID, "-c", config]).stdout(Stdio::null()))?;
    }
    let log = fs::File::create(dir.join("log")).map_err(|e| e.to_string())?;
    let errors = log.try_clone().map_err(|e| e.to_string())?;
    let mut broker = java("kafka.Kafka", &[config]);
    broker.stdin(Stdio::null()).stdout(log).stderr(errors);
    std::os::unix::process::CommandExt::process_group(&mut broker, 0);
    let mut child = broker.spawn().map_err(|e| format!("cannot start java: {e}"))?;
    write(&instance.pid_file(), &child.id().to_string())?;
    let start = Instant::now();
    let address = SocketAddr::from(([127, 0, 0, 1], instance.port));
    loop {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            return Err(format!("kafka ended at once with {status}; see {}", dir.join("log").display()));
        }
        let said = fs::read_to_string(dir.join("log")).unwrap_or_default();
        if said.contains("Kafka Server started") && TcpStream::connect(address).is_ok() {
            println!("kafka is up: 127.0.0.1:{}, pid {}", instance.port, child.id());
            return Ok(());
        }
        if start.elapsed() > START_TIMEOUT {
            let _ = child.kill();
            return Err(format!("kafka did not start in {START_TIMEOUT:?}; see {}", dir.join("log").display()));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn down(instance: &Instance, purge: bool) -> Done {
    if let Some(pid) = instance.pid() {
        sh(Command::new("kill").arg(pid.to_string()))?;
        let start = Instant::now();
        while instance.pid().is_some() {
            if start.elapsed() > START_TIMEOUT {
                sh(Command::new("kill").args(["-9", &pid.to_string()]))?;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        println!("kafka is down");
    }
    let _ = fs::remove_file(instance.pid_file());
    if purge && instance.dir().exists() {
        fs::remove_dir_all(instance.dir()).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// The folder with Kafka's jars, fetched once.
fn fetch() -> Done<PathBuf> {
    let libs = tools_dir().join("kafka-libs");
    if !libs.join("complete").exists() {
        let pom = root().join("tools/kafka/pom.xml");
        sh(Command::new("mvn")
            .args(["-q", "-B", "-f"])
            .arg(pom)
            .arg("dependency:copy-dependencies")
            .arg(format!("-DoutputDirectory={}", libs.display())))?;
        write(&libs.join("complete"), "")?;
    }
    Ok(libs)
}

fn write(path: &Path, text: &str) -> Done {
    fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// What the broker runs with. It keeps every record: the tests produce events of years ago, which the usual week of retention deletes at the broker's
/// next round.
fn server_properties(instance: &Instance) -> String {
    let (port, controller, dir) = (instance.port, instance.port + 1, instance.dir().join("data"));
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         log.dirs={}\n\
         log.retention.ms=-1\n\
         num.partitions=4\n\
         offsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=4\n\
         group.initial.rebalance.delay.ms=0\n\
         message.max.bytes=16777216\n\
         controlled.shutdown.enable=true\n",
        dir.display()
    )
}

const LOG4J: &str = "rootLogger.level = INFO\n\
    rootLogger.appenderRefs = stdout\n\
    rootLogger.appenderRef.stdout.ref = stdout\n\
    appender.stdout.type = Console\n\
    appender.stdout.name = stdout\n\
    appender.stdout.layout.type = PatternLayout\n\
    appender.stdout.layout.pattern = [%d] %p %m (%c)%n\n";
