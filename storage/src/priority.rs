//! Threads that give way: background work runs at a lower priority than queries, so that it takes what they leave, and a tenth at the
//! least where they leave nothing.

/// The nice value of background work: a weight of about a tenth of a query's thread.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Lowers the priority of the calling thread, for good.
pub(crate) fn give_way() {
    // On Linux a priority belongs to a thread, and none given means the caller's.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "background work runs at the priority of queries");
    }
}
