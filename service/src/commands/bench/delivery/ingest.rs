//! `bench ingest`: events over HTTP into the embedded service, each answer after a commit that was synced to the disk.

use super::served::Served;
use super::{Reader, events_of, middle, pair_of};
use crate::commands::bench::BenchArgs;
use crate::commands::bench::events::BASE_MS;
use crate::commands::bench::json::Lines;
use crate::commands::bench::report::{Cost, Goal};
use crate::console::say;
use crate::failure::Failure;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Events of a request, and connections that send at the same time.
const BATCH: usize = 5_000;
const SENDERS: usize = 4;

/// Lines of JSON in requests of 5,000, over four connections.
///
/// # Errors
/// The service does not start, or refuses events.
pub(in crate::commands::bench) fn run(args: &BenchArgs) -> Result<u8, Failure> {
    let events = args.events.unwrap_or(2_000_000);
    let (_, lines, expected) = events_of(args, events)?;
    let bodies = bodies(&lines);
    let (mut right, mut rounds) = (true, Vec::new());
    for _ in 0..args.rounds {
        // Requests overtake each other, by less than that.
        let served = Served::start(
            &pair_of("time ts as epoch_ms late 1m"),
            "[limits]\nalerts_per_rule_day = 1000000000\n",
        )?;
        let (begun, cpu) = (Instant::now(), served.cpu_seconds());
        let accepted = send_all(&served.address, &bodies)?;
        let seconds = begun.elapsed().as_secs_f64();
        let cpu = served.cpu_seconds() - cpu;
        let commits = served.metric("tripline_commits_total{outcome=\"ok\"}")?;
        let last = format!("{{\"ts\":{},\"key\":\"last\"}}\n", BASE_MS + events as i64 + 3_600_000);
        post(&mut connect(&served.address)?, last.as_bytes())?;
        let late = served.metric("tripline_late_events_total{reason=\"late\"}")?;
        let is_whole = accepted == events && late == 0.0;
        if !is_whole {
            say!("wrong: ingest: {accepted} events were accepted, not {events}, and {late} were late");
        }
        right &= alerts(&served)?.is_right("ingest", &expected) && is_whole;
        rounds.push((events as f64 / seconds, cpu / events as f64, commits));
    }
    let of = |part: fn(&(f64, f64, f64)) -> f64| middle(rounds.iter().map(part).collect());
    Cost {
        bench: "ingest".to_owned(),
        figure: of(|round| round.0),
        unit: "events a second over HTTP, each commit synced",
        goal: Goal::AtLeast(150_000.0),
        detail: vec![
            ("events", events as f64),
            ("alerts", expected.count as f64),
            ("bytes_per_event", lines.bytes_per_line()),
            ("commits", of(|round| round.2)),
            ("service_cpu_us_per_event", of(|round| round.1) * 1e6),
            ("cores", std::thread::available_parallelism().map_or(0.0, |cores| cores.get() as f64)),
        ],
    }
    .show(args)?;
    Ok(u8::from(!right))
}

/// The requests' bodies, made before the clock starts.
fn bodies(lines: &Lines) -> Vec<Vec<u8>> {
    let body = |first: usize| {
        let mut body = Vec::new();
        for line in (first..first + BATCH).map_while(|at| lines.get(at)) {
            body.extend_from_slice(line);
            body.push(b'\n');
        }
        body
    };
    (0..lines.count()).step_by(BATCH).map(body).collect()
}

/// Sends all of them in turn. How many events were accepted.
fn send_all(address: &str, bodies: &[Vec<u8>]) -> Result<u64, Failure> {
    let next = AtomicUsize::new(0);
    let send = || -> Result<u64, Failure> {
        let (mut connection, mut accepted) = (connect(address)?, 0);
        while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
            accepted += post(&mut connection, body)?;
        }
        Ok(accepted)
    };
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(send)).collect();
        let panicked = |_| Err(Failure::finding("a sender panicked"));
        senders.into_iter().map(|sender| sender.join().unwrap_or_else(panicked)).sum()
    })
}

fn connect(address: &str) -> Result<BufReader<TcpStream>, Failure> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(BufReader::new(socket))
}

/// One request on a connection that stays open. How many events were accepted.
fn post(connection: &mut BufReader<TcpStream>, body: &[u8]) -> Result<u64, Failure> {
    let head = format!(
        "POST /v1/events/ev HTTP/1.1\r\nhost: bench\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.get_mut().write_all(head.as_bytes())?;
    connection.get_mut().write_all(body)?;
    let (mut status, mut line, mut length) = (String::new(), String::new(), 0);
    connection.read_line(&mut status)?;
    while connection.read_line(&mut line)? > 2 {
        if let Some((_, value)) =
            line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        {
            length = value.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    let mut answer = vec![0; length];
    connection.read_exact(&mut answer)?;
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let refused = || Failure::finding(format!("{}: {answer}", status.trim()));
    if answer["rejected"].as_array().is_none_or(|rejected| !rejected.is_empty()) {
        return Err(refused());
    }
    answer["accepted"].as_u64().ok_or_else(refused)
}

/// All alerts, page by page.
fn alerts(served: &Served) -> Result<Reader, Failure> {
    let mut reader = Reader::default();
    let mut after = String::new();
    loop {
        let page: Value = serde_json::from_str(&served.get(&format!("/v1/alerts?limit=1000{after}"))?)
            .map_err(|error| Failure::finding(error.to_string()))?;
        for alert in page["items"].as_array().into_iter().flatten() {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let key = text(&alert["subject"]).trim_start_matches("key=").to_owned();
            reader.add(text(&alert["id"]), key, text(&alert["time"]));
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(reader),
        }
    }
}
