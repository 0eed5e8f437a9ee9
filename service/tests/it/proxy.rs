//! Answers to commits that come too late or never, through a proxy between the service and the broker.
//!
//! As many as there is time for in CI, 50 at most; with `TRIPLINE_LONG`, so many times 50.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use super::broker::{Node, unique};
use super::crash::{RULES, check_determinism, compare, long, mix};
use super::kafka::setting;
use super::kafka_crash::{check_input, checked, create, flush, produce, settled, streams, undisturbed};
use super::serve::Service;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Kafka's numbers of the requests that a commit is made of.
const END_TXN: i16 = 26;
const TXN_OFFSET_COMMIT: i16 = 28;
/// How long the service waits for an answer, and how much longer some take.
const WAIT: &str = "300ms";
const TOO_LONG: Duration = Duration::from_millis(500);

/// Services at work: each needs a second and a half to find out how a commit ended, so three are struck thrice as often.
const SERVICES: usize = 3;

/// What becomes of a request or its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The broker did as asked, and nobody is told.
    Swallowed,
    /// The same, and the connection is gone.
    Cut,
    /// The answer comes when nobody waits for it any more.
    Late,
    /// The request itself comes late: perhaps after the next one has been made.
    Held,
}

/// Which requests are struck.
struct Plan {
    is_on: AtomicBool,
    /// Requests so far that a commit is made of.
    seen: AtomicUsize,
    /// By kind of request: end of transaction, offsets.
    struck: [AtomicUsize; 2],
}

impl Plan {
    /// What becomes of the next request, if it is one of a commit.
    fn next(&self, kind: i16) -> Option<Fault> {
        let which = [END_TXN, TXN_OFFSET_COMMIT].iter().position(|own| *own == kind)?;
        let bits = mix(self.seen.fetch_add(1, Ordering::Relaxed) as u64);
        if !self.is_on.load(Ordering::Relaxed) || bits % 5 > 1 {
            return None;
        }
        self.struck[which].fetch_add(1, Ordering::Relaxed);
        Some([Fault::Swallowed, Fault::Cut, Fault::Late, Fault::Held][(bits >> 8) as usize % 4])
    }

    fn struck(&self) -> usize {
        self.struck.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

/// A request or an answer, as it is on the wire; its length stands in front.
fn frame(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).ok()?;
    let mut frame = vec![0; 4 + u32::from_be_bytes(length) as usize];
    frame[..4].copy_from_slice(&length);
    from.read_exact(&mut frame[4..]).ok()?;
    Some(frame)
}

fn correlation(frame: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(frame[at..at + 4].try_into().unwrap())
}

/// One connection: requests on a thread of their own, answers on this one.
fn pass(client: TcpStream, broker: TcpStream, plan: &Arc<Plan>) {
    let faults: Arc<Mutex<HashMap<i32, Fault>>> = Arc::default();
    let (mut from, mut to) = (client.try_clone().unwrap(), broker.try_clone().unwrap());
    let (plan, noted) = (plan.clone(), faults.clone());
    std::thread::spawn(move || {
        while let Some(request) = frame(&mut from) {
            // Its kind, the version of that, and the number that its answer bears.
            let fault = plan.next(i16::from_be_bytes([request[4], request[5]]));
            match fault {
                Some(Fault::Held) => std::thread::sleep(TOO_LONG),
                Some(fault) => drop(noted.lock().unwrap().insert(correlation(&request, 8), fault)),
                None => {}
            }
            if to.write_all(&request).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    let (mut from, mut to) = (broker, client);
    while let Some(answer) = frame(&mut from) {
        match faults.lock().unwrap().remove(&correlation(&answer, 4)) {
            Some(Fault::Swallowed) => continue,
            Some(Fault::Cut) => break,
            Some(Fault::Late) => std::thread::sleep(TOO_LONG),
            Some(Fault::Held) | None => {}
        }
        if to.write_all(&answer).is_err() {
            break;
        }
    }
    let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
}

fn start_through(folder: &tempfile::TempDir, proxy: &str) -> Service {
    let config = folder.path().join("tripline.toml");
    Service::start_with(
        folder.path(),
        &["--config", config.to_str().unwrap()],
        &[("TRIPLINE__KAFKA__BROKERS", proxy), ("TRIPLINE__KAFKA__COMMIT_TIMEOUT", WAIT)],
    )
}

#[test]
fn lost_answers_to_commits_lose_and_double_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap();
    let real = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let Some(node) = Node::start_behind("proxied", (real.port(), own.port())) else { return };
    let plan = Arc::new(Plan {
        is_on: AtomicBool::new(true),
        seen: AtomicUsize::new(0),
        struck: Default::default(),
    });
    let shared = plan.clone();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, plan) = (client.unwrap(), shared.clone());
            let Ok(broker) = TcpStream::connect(real) else { continue };
            std::thread::spawn(move || pass(client, broker, &plan));
        }
    });
    let test = &unique("proxy");
    create(&node, test);
    // All read the same; each is a group of its own.
    let rules = format!("{}{RULES}", streams(test));
    let groups: [String; SERVICES] =
        std::array::from_fn(|at| if at == 0 { test.clone() } else { format!("{test}-{at}") });
    let folders = groups.each_ref().map(|group| setting(&node, group, &rules));
    let through = own.to_string();
    let wanted = 50 * long();
    let (writer, stop) = (node.producer(), AtomicBool::new(false));
    let begun = Instant::now();
    let (services, count) = std::thread::scope(|scope| {
        let producer = scope.spawn(|| produce(&writer, test, &stop));
        let starting = folders.each_ref().map(|folder| scope.spawn(|| start_through(folder, &through)));
        let services = starting.map(|service| service.join().unwrap());
        // In CI, what fits into the time of a test.
        while plan.struck() < wanted && (long() > 1 || begun.elapsed() < Duration::from_secs(35)) {
            std::thread::sleep(Duration::from_millis(50));
        }
        plan.is_on.store(false, Ordering::Relaxed);
        stop.store(true, Ordering::Release);
        (services, producer.join().unwrap())
    });
    let disturbed = begun.elapsed();
    flush(&writer, test, count);
    let expected = undisturbed(folders[0].path(), RULES, count);
    check_input(&node, test, count);
    let mut unknown = 0;
    for (group, service) in groups.iter().zip(&services) {
        let found = checked(&settled(&node, &format!("{group}.alerts"), expected.len()));
        compare(&found, &expected, &["left_open", "burst", "guess", "unpaid"]);
        check_determinism(service);
        let metrics = service.get("/metrics").body;
        let count = metrics.lines().find_map(|line| line.strip_prefix("tripline_unknown_commits_total "));
        unknown += count.map_or(0, |count| count.parse::<usize>().unwrap());
    }
    let [ends, offsets] = [0, 1].map(|which: usize| plan.struck[which].load(Ordering::Relaxed));
    assert!(ends > 0 && offsets > 0, "{ends} ends of transactions and {offsets} offsets were struck");
    println!(
        "{ends} ends of transactions and {offsets} commits of offsets struck in {disturbed:.1?}, {unknown} outcomes unknown: {SERVICES} \
         services, {} events, {} alerts each, none lost, none twice",
        count * 2,
        expected.len(),
    );
}
