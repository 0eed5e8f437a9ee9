//! Snapshots that are damaged in every way, and a disk that is full: what was acknowledged is there, once.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use super::crash::{RULES, STREAMS, check_determinism, event, pages};
use super::serve::{Answer, Service, exchange, folder, terminate};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The snapshots below a data folder, a folder each, oldest first.
fn snapshots(data: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = files(&data.join("snapshots"));
    all.retain(|path| path.is_dir());
    all.sort();
    all
}

/// What lies in the folders of a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let inside = |folder: PathBuf| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    inside(folder.to_owned()).filter(|path| path.is_dir()).flat_map(inside).collect()
}

/// Every way in which a file of a snapshot is damaged: its name, and what becomes of the file.
fn damages(whole: &[u8], older: &[u8]) -> Vec<(String, Option<Vec<u8>>)> {
    let last = whole.len() - 1;
    let flipped = |at: usize| {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1;
        (format!("byte {at} of {} flipped", whole.len()), Some(bytes))
    };
    let cut = |length: usize| (format!("{length} bytes left"), Some(whole[..length].to_vec()));
    let mut all: Vec<_> = [0, 1, 8, last / 4, last / 2, last / 4 * 3, last].map(flipped).into();
    all.extend([0, 1, whole.len() / 2, last].map(cut));
    all.push(("an older one's".to_owned(), Some(older.to_vec())));
    all.push(("deleted".to_owned(), None));
    all
}

fn post(service: &Service, numbers: std::ops::Range<usize>) {
    for number in numbers {
        service.events("auth", &event(0, number));
        service.events("pay", &event(1, number));
    }
}

/// Copies a folder.
pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(path, to).unwrap();
        }
    }
}

#[test]
fn a_damaged_snapshot_costs_a_longer_replay_and_nothing_else() {
    let rules = format!("{STREAMS}{RULES}");
    let undisturbed = {
        let folder = folder(&[("a.cep", &rules)]);
        let service = Service::start(folder.path(), &[]);
        post(&service, 0..120);
        service.alert_ids()
    };
    let folder = folder(&[("a.cep", &rules)]);
    let (data, kept) = (folder.path().join("data"), folder.path().join("kept"));
    for numbers in [0..40, 40..80] {
        let service = Service::start(folder.path(), &[]);
        post(&service, numbers);
        terminate(service);
    }
    let service = Service::start(folder.path(), &[]);
    post(&service, 80..100);
    service.kill();
    copy(&data, &kept);
    let names = snapshots(&kept);
    let [.., older, newest] = names.as_slice() else { panic!("{names:?}") };
    let mut count = 0;
    for file in std::fs::read_dir(newest).unwrap().map(|entry| entry.unwrap().file_name()) {
        let [whole, known] = [newest, older].map(|folder| std::fs::read(folder.join(&file)).unwrap());
        for (name, damaged) in damages(&whole, &known) {
            count += 1;
            std::fs::remove_dir_all(&data).unwrap();
            copy(&kept, &data);
            let path = data.join(newest.strip_prefix(&kept).unwrap()).join(&file);
            match damaged {
                Some(bytes) => std::fs::write(&path, bytes).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            let service = Service::start(folder.path(), &[]);
            check_determinism(&service);
            post(&service, 100..120);
            assert!(service.alert_ids() == undisturbed, "{}: {name}", file.display());
            service.kill();
            let service = Service::start(folder.path(), &[]);
            check_determinism(&service);
            assert!(service.alert_ids() == undisturbed, "{}: {name}, and another kill", file.display());
            service.kill();
        }
    }
    println!("{count} damages of a snapshot, no alert lost, none twice");
}

/// A file system of its own, gone with the test. None where that is not allowed; in CI that is a failure.
struct Disk(PathBuf);

impl Disk {
    fn mount(path: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", size, "none"]).arg(path).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(path.to_owned()));
        }
        assert!(std::env::var_os("CI").is_none(), "CI needs the right to mount a tmpfs");
        println!("left out: a small disk needs the right to mount one");
        None
    }

    fn resize(&self, size: &str) {
        let options = format!("remount,{size}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Posts a batch under its key.
fn deliver(service: &Service, number: usize) -> std::io::Result<Answer> {
    let key = format!("batch-{number}");
    let headers = [("content-type", "application/x-ndjson"), ("idempotency-key", key.as_str())];
    // Events that no rule wants are stored all the same, and fill the disk.
    let filler = "x".repeat(2_000);
    let lines: String = (number * 20..(number + 1) * 20)
        .map(|n| event(0, n).replace("\"act\"", &format!("\"filler\":\"{filler}\",\"act\"")))
        .collect();
    exchange(&service.address, "POST", "/v1/events/auth", &headers, lines.as_bytes())
}

/// Ids of all alerts, in order.
fn alerts(service: &Service) -> Vec<String> {
    let all = pages(service, "/v1/alerts");
    all.iter().map(|alert| alert["id"].as_str().unwrap().to_owned()).collect()
}

/// Sends again whatever was not acknowledged, and some of what was; then all is there once, with the alerts of a service that
/// nothing disturbs.
fn check_whole(service: &Service, rules: &str, acknowledged: usize) {
    for number in acknowledged - 5..acknowledged + 20 {
        let answer = deliver(service, number).unwrap();
        assert_eq!((answer.status, &answer.json()["accepted"]), (200, &20.into()), "{}", answer.body);
    }
    let records = pages(service, "/v1/topics/auth/records");
    let found: Vec<&str> = records.iter().map(|r| r["value"]["id"].as_str().unwrap()).collect();
    let wanted: Vec<String> = (0..(acknowledged + 20) * 20).map(|n| format!("auth{n}")).collect();
    assert_eq!(found, wanted, "an event is lost or doubled");
    let raised = alerts(service);
    assert_eq!(raised.iter().collect::<BTreeSet<_>>().len(), raised.len(), "an alert stands twice");
    let undisturbed = {
        let folder = super::serve::folder(&[("a.cep", rules)]);
        let service = Service::start(folder.path(), &[]);
        (0..acknowledged + 20).for_each(|number| assert_eq!(deliver(&service, number).unwrap().status, 200));
        alerts(&service)
    };
    assert_eq!(raised, undisturbed);
}

#[test]
fn a_full_disk_loses_and_doubles_nothing() {
    let rules = format!("{STREAMS}{RULES}");
    let folder = folder(&[("a.cep", &rules)]);
    let Some(disk) = Disk::mount(&folder.path().join("data"), "size=6m") else { return };
    let service = Service::start(folder.path(), &[]);
    let mut acknowledged = 0;
    let refused = loop {
        let answer = deliver(&service, acknowledged).unwrap();
        if answer.status != 200 {
            break answer;
        }
        acknowledged += 1;
        assert!(acknowledged < 1_000, "the disk is not full");
    };
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(acknowledged > 20, "the disk was full from the start");
    // It goes on answering, and takes nothing.
    assert_eq!(deliver(&service, acknowledged + 1).unwrap().status, 503);
    assert_eq!(service.get("/readyz").status, 503);
    assert_eq!(service.get("/livez").status, 200);
    assert_eq!(service.get("/v1/alerts?limit=1").status, 200);
    let metrics = service.get("/metrics").body;
    assert!(metrics.contains("tripline_commits_total{outcome=\"failed\"} 1"), "{metrics}");
    service.kill();
    // A start on a full disk may fail, or serve what can be served; it may not damage anything.
    drop(Service::try_start(folder.path(), &[], &[]));
    disk.resize("size=64m");
    let service = Service::start(folder.path(), &[]);
    check_determinism(&service);
    check_whole(&service, &rules, acknowledged);
    println!("full after {acknowledged} batches; none lost, none twice");
}

/// Where the file that it names is there, nothing reaches the disk any more.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
static int call(const char *name, int file) {
  const char *flag = getenv("SYNC_FAILS");
  if (flag && access(flag, F_OK) == 0) { errno = EIO; return -1; }
  return ((int (*)(int))dlsym(RTLD_NEXT, name))(file);
}
int fsync(int file) { return call("fsync", file); }
int fdatasync(int file) { return call("fdatasync", file); }
"#;

/// The shim as a library. None where there is no C compiler; in CI that is a failure.
fn shim(folder: &Path) -> Option<PathBuf> {
    let (source, library) = (folder.join("shim.c"), folder.join("shim.so"));
    std::fs::write(&source, SHIM).unwrap();
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl").output();
    if built.is_ok_and(|output| output.status.success()) {
        return Some(library);
    }
    assert!(std::env::var_os("CI").is_none(), "CI needs a C compiler");
    println!("left out: a disk that fails needs a C compiler");
    None
}

#[test]
fn a_sync_that_fails_loses_and_doubles_nothing() {
    let rules = format!("{STREAMS}{RULES}");
    let folder = folder(&[("a.cep", &rules)]);
    let beside = tempfile::tempdir().unwrap();
    let Some(library) = shim(beside.path()) else { return };
    let flag = beside.path().join("fails");
    let variables = [("LD_PRELOAD", library.to_str().unwrap()), ("SYNC_FAILS", flag.to_str().unwrap())];
    let service = Service::start_with(folder.path(), &[], &variables);
    let acknowledged = 30;
    (0..acknowledged).for_each(|number| assert_eq!(deliver(&service, number).unwrap().status, 200));
    std::fs::write(&flag, "").unwrap();
    let refused = deliver(&service, acknowledged).unwrap();
    assert_eq!(refused.status, 503, "{}", refused.body);
    // A disk that is well again is not trusted: what was to be written then may be gone.
    std::fs::remove_file(&flag).unwrap();
    assert_eq!(deliver(&service, acknowledged + 1).unwrap().status, 503);
    assert_eq!((service.get("/readyz").status, service.get("/livez").status), (503, 200));
    service.kill();
    let service = Service::start_with(folder.path(), &[], &variables);
    check_determinism(&service);
    check_whole(&service, &rules, acknowledged);
}
