//! What this process has used, from `/proc`: CPU time, memory, and how busy the machine is; and medians of it.

use std::time::Instant;

/// CPU and wall seconds of a piece of work.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    pub(super) cpu_s: f64,
    pub(super) wall_s: f64,
}

impl Spent {
    /// So many a CPU-second.
    pub(super) fn rate(self, count: u64) -> f64 {
        if self.cpu_s > 0.0 { count as f64 / self.cpu_s } else { 0.0 }
    }
}

/// Does the work and says what it took.
pub(super) fn spend<T>(work: impl FnOnce() -> T) -> (T, Spent) {
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    let result = work();
    (result, Spent { cpu_s: cpu_seconds() - cpu, wall_s: wall.elapsed().as_secs_f64() })
}

/// The middle one by CPU time.
pub(super) fn median(mut rounds: Vec<Spent>) -> Spent {
    rounds.sort_by(|a, b| a.cpu_s.total_cmp(&b.cpu_s));
    rounds.get(rounds.len() / 2).copied().unwrap_or_default()
}

/// CPU seconds of all threads of this process.
fn cpu_seconds() -> f64 {
    // The kernel brings a thread's account up to date when it gives up the processor.
    std::thread::yield_now();
    cpu_seconds_of("self")
}

/// CPU seconds of all threads that a process, by its number, has now.
pub(super) fn cpu_seconds_of(process: &str) -> f64 {
    let mut nanoseconds = 0u64;
    if let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) {
        for thread in threads.flatten() {
            let text = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            nanoseconds += text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    nanoseconds as f64 / 1e9
}

/// CPU seconds of this thread.
pub(super) fn thread_seconds() -> f64 {
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) as f64 / 1e9
}

/// Peak resident memory of this process in bytes.
pub(super) fn peak_rss() -> u64 {
    status("VmHWM:")
}

/// Resident memory of this process in bytes.
pub(super) fn rss() -> u64 {
    status("VmRSS:")
}

fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Load average of the last minute.
pub(super) fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}
