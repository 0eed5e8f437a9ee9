//! Snapshots damaged at every class of offset while the task stands on Kafka: a restart costs a longer replay and nothing else.
//!
//! A killed service leaves a base, and later a base with two levels of changes or more. Then, again and again, the folder is put
//! back as it was then and damaged, and the service starts, goes on, and is killed. A start takes a second or two, so most damages
//! lie beside each other: each in a copy of the newest snapshot that is tried before it. Some are where the newest itself is.
//! Which snapshot was taken is told by how much is replayed, to the record. `TRIPLINE_LONG` says how many offsets of each class
//! there are.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use super::broker::{Node, Writer, unique};
use super::crash::{BASE_MS, check_determinism, compare, long, mix, program};
use super::damage::copy;
use super::kafka::{setting, start};
use super::kafka_crash::checked;
use serde_json::Value;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PARTITIONS: usize = 2;
/// Users whose names are long, so that the base has more than one block.
const USERS: usize = 4_000;
/// Length of a name.
const NAME: usize = 300;
/// Length of what stands before the state in a block: the lengths of both, and their checksum.
const HEAD: usize = 12;
const STREAM: &str = "stream auth { topic \"@.auth\" key user time ts in order id id idle 1h fields { user: string, act: string } }\n";
/// A match that was begun before a snapshot, and one that time alone ends.
const RULES: &str = "\
rule guess { by user match within 1d { 2 auth as failed where act == \"fail\" then auth as hit where act == \"hit\" } reason \"{user}\" }
rule left_open { by user match { auth as opened where act == \"open\" then no auth for 12h } reason \"{user}\" }
";

/// What is in the topic so far, line by line.
struct Sent {
    writer: Writer,
    topic: String,
    lines: String,
    count: usize,
}

impl Sent {
    fn send(&mut self, user: usize, act: &str) {
        self.line(user % PARTITIONS, user, act, 1_000 * self.count);
    }

    fn line(&mut self, partition: usize, user: usize, act: &str, after_ms: usize) {
        let (ts, id) = (BASE_MS + after_ms, self.count);
        let line = format!("{{\"ts\":{ts},\"id\":\"e{id}\",\"user\":\"{user:0>NAME$}\",\"act\":\"{act}\"}}");
        self.writer.send(&self.topic, partition as i32, &user.to_string(), &line);
        self.lines.push_str(&line);
        self.lines.push('\n');
        self.count += 1;
    }

    /// Two failures of each: a success of theirs is an alert from now on.
    fn failures(&mut self, users: Range<usize>) {
        for user in users {
            self.send(user, "fail");
            self.send(user, "fail");
        }
    }

    /// A day later, in every partition.
    fn last(&mut self) {
        let day = 1_000 * (self.count + 86_400);
        (0..PARTITIONS).for_each(|partition| self.line(partition, 9_999, "use", day));
        self.writer.flush();
    }

    /// What these events give when nothing disturbs the matching.
    fn undisturbed(&self, folder: &Path) -> BTreeSet<(String, String)> {
        let stream = STREAM.replace("topic \"@.auth\" key user ", "");
        std::fs::write(folder.join("all.cep"), format!("{stream}{RULES}")).unwrap();
        std::fs::write(folder.join("auth.jsonl"), &self.lines).unwrap();
        let output = Command::new(program())
            .current_dir(folder)
            .args(["run", "all.cep", "auth.jsonl", "--json"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let alert = |line: &str| {
            let alert: Value = serde_json::from_str(line).unwrap();
            (alert["data"]["rule"].as_str().unwrap().to_owned(), alert["id"].as_str().unwrap().to_owned())
        };
        String::from_utf8(output.stdout).unwrap().lines().map(alert).collect()
    }
}

/// A snapshot by its folder, with what its manifest says.
#[derive(Debug)]
struct Shot {
    folder: PathBuf,
    manifest: PathBuf,
    /// The parts of each level, base first.
    levels: Vec<Vec<PathBuf>>,
    /// How many records it goes up to, over all partitions.
    records: u64,
}

impl Shot {
    /// Those of a task, oldest first. Paths begin below `snapshots`.
    fn all(snapshots: &Path) -> Vec<Self> {
        let inside = |folder: &Path| -> Vec<PathBuf> {
            let entries = std::fs::read_dir(folder).into_iter().flatten();
            entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
        };
        let mut folders: Vec<PathBuf> = inside(snapshots).iter().flat_map(|task| inside(task)).collect();
        folders.sort();
        let shot = |folder: PathBuf| {
            let text = std::fs::read(folder.join("manifest.json")).ok()?;
            let manifest: Value = serde_json::from_slice(&text).unwrap();
            let folder = folder.strip_prefix(snapshots).unwrap().to_owned();
            let task = folder.parent().unwrap().to_owned();
            let parts = |level: &Value| {
                let of = task.join(level["snapshot"].as_str().unwrap());
                let parts = level["parts"].as_array().unwrap().iter();
                parts.map(|part| of.join(part["name"].as_str().unwrap())).collect()
            };
            let levels = manifest["levels"].as_array().unwrap().iter().map(parts).collect();
            let records = manifest["cut"].as_object().unwrap().values().map(|next| next.as_u64().unwrap());
            Some(Self { manifest: folder.join("manifest.json"), folder, levels, records: records.sum() })
        };
        folders.into_iter().filter_map(shot).collect()
    }
}

/// A setting whose service has left snapshots behind.
struct Scene {
    node: &'static Node,
    test: String,
    folder: TempDir,
    sent: Sent,
    /// Oldest first: a base; another base; that and a level of changes, perhaps several times; the last one.
    shots: Vec<Shot>,
    /// How many successes of each group of users there were.
    hits: usize,
    injected: usize,
    /// Snapshots that were found damaged.
    faults: usize,
    starts: usize,
    starting: Duration,
}

/// What becomes of an object: none = it is deleted.
type Damage = (String, Option<Vec<u8>>);

/// The users whose failures are in the base, in the first changes, in the last changes.
const GROUPS: [Range<usize>; 3] = [0..USERS, USERS..USERS + 100, USERS + 100..USERS + 200];

impl Scene {
    fn new(name: &str) -> Option<Self> {
        let node = Node::shared()?;
        let test = unique(name);
        node.create(&[(&format!("{test}.auth"), PARTITIONS as i32), (&format!("{test}.alerts"), 2)]);
        let folder = setting(node, &test, &format!("{STREAM}{RULES}"));
        let config = folder.path().join("tripline.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, format!("{text}[snapshots]\nevery = \"50ms\"\nkeep = 20\n")).unwrap();
        let (writer, topic) = (node.producer(), format!("{test}.auth"));
        let sent = Sent { writer, topic, lines: String::new(), count: 0 };
        let mut scene = Self {
            node,
            test,
            folder,
            sent,
            shots: Vec::new(),
            hits: 0,
            injected: 0,
            faults: 0,
            starts: 0,
            starting: Duration::ZERO,
        };
        let [base, middle, last] = GROUPS;
        let service = start(&scene.folder);
        scene.sent.failures(base);
        scene.await_shot(1);
        service.kill();
        let service = start(&scene.folder);
        // Its first one is a base of its own.
        scene.sent.send(USERS - 1, "open");
        scene.await_shot(1);
        scene.sent.failures(middle);
        scene.await_shot(2);
        scene.sent.failures(last);
        scene.await_shot(3);
        // After the last one.
        scene.sent.send(USERS - 2, "open");
        scene.round();
        service.kill();
        std::fs::rename(scene.data(), scene.kept()).unwrap();
        scene.shots = Shot::all(&scene.kept());
        Some(scene)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data/snapshots")
    }

    fn kept(&self) -> PathBuf {
        self.folder.path().join("kept")
    }

    /// Waits for a snapshot of so many levels, or more, of all that was sent. None is taken while one is being written, so
    /// there are further events, and commits, until there is one.
    fn await_shot(&mut self, levels: usize) {
        self.sent.writer.flush();
        let (begun, records) = (Instant::now(), self.sent.count as u64);
        let is_it = |shot: &Shot| shot.levels.len() >= levels && shot.records >= records;
        while !Shot::all(&self.data()).iter().any(is_it) {
            assert!(begun.elapsed() < Duration::from_secs(30), "no snapshot of {levels} levels");
            std::thread::sleep(Duration::from_millis(200));
            self.sent.send(0, "use");
        }
    }

    /// A success in each group of users whose failures came before the snapshots, and waits for the alerts.
    fn round(&mut self) {
        for group in GROUPS {
            self.sent.send(group.start + self.hits, "hit");
        }
        self.hits += 1;
        // Time moves on in every partition, so that alerts tell that all of it was read and committed.
        (0..PARTITIONS).for_each(|user| self.sent.send(user, "use"));
        self.sent.writer.flush();
        let alerts = self.node.await_records(&format!("{}.alerts", self.test), self.hits * GROUPS.len());
        assert_eq!(checked(&alerts).len(), self.hits * GROUPS.len());
    }

    /// Puts the folder back as it was.
    fn put_back(&self) {
        let _ = std::fs::remove_dir_all(self.data());
        copy(&self.kept(), &self.data());
    }

    fn read(&self, object: &Path) -> Vec<u8> {
        std::fs::read(self.kept().join(object)).unwrap()
    }

    fn write(&self, object: &Path, bytes: &[u8]) {
        let path = self.data().join(object);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Starts, goes on, and is killed: `faults` snapshots are passed over, and the one of so many records is taken.
    fn restart(&mut self, faults: usize, records: u64, what: &str) {
        let replayed = self.sent.count as u64 - records;
        let begun = Instant::now();
        let service = start(&self.folder);
        self.starting += begun.elapsed();
        check_determinism(&service);
        let metrics = service.get("/metrics").body;
        assert_eq!(number(&metrics, "tripline_snapshot_failures_total"), faults as u64, "{what}");
        assert_eq!(number(&metrics, "tripline_replayed_events_total"), replayed, "{what}");
        (self.starts, self.faults) = (self.starts + 1, self.faults + faults);
        self.round();
        service.kill();
    }

    /// Damages some objects where they are, so that older snapshots are taken, or none.
    fn in_place(&mut self, damages: &[(PathBuf, Damage)], is_silent: bool) {
        self.put_back();
        for (object, (_, bytes)) in damages {
            match bytes {
                Some(bytes) => self.write(object, bytes),
                None => std::fs::remove_file(self.data().join(object)).unwrap(),
            }
        }
        let is_hurt = |path: &PathBuf| damages.iter().any(|(object, _)| object == path);
        let is_lost = |shot: &&Shot| shot.levels.iter().flatten().chain([&shot.manifest]).any(is_hurt);
        let lost = self.shots.iter().rev().take_while(is_lost).count();
        let taken = self.shots.iter().rev().nth(lost).map_or(0, |shot| shot.records);
        let what: Vec<&str> = damages.iter().map(|(_, (name, _))| name.as_str()).collect();
        self.injected += damages.len();
        self.restart(if is_silent { 0 } else { lost }, taken, &what.join(", "));
    }

    /// Lays copies of the newest snapshot beside it, under later names: each has a level of its own that is damaged in another
    /// way, or is damaged itself. All of them are tried before it.
    fn beside(&mut self, level: Option<usize>, damages: &[Damage]) {
        self.put_back();
        let newest = self.shots.last().unwrap();
        let (task, name) =
            (newest.folder.parent().unwrap(), newest.folder.file_name().unwrap().to_str().unwrap());
        let (number, attempt) = name.split_once('-').unwrap();
        let text = self.read(&newest.manifest);
        for (more, (_, bytes)) in (1..).zip(damages) {
            let name = format!("{number}-{}", attempt.parse::<u64>().unwrap() + more);
            let folder = task.join(&name);
            if let Some(level) = level {
                self.write(&folder.join("manifest.json"), &form::with_level_in(&text, level, &name));
            }
            if let Some(bytes) = bytes {
                let object = if level.is_some() { "0000.part" } else { "manifest.json" };
                self.write(&folder.join(object), bytes);
            }
        }
        let records = newest.records;
        self.injected += damages.len();
        self.restart(damages.len(), records, "copies of the newest snapshot");
    }

    /// Lets time pass at last, and compares all that was found.
    fn compare(mut self, what: &str) {
        let service = start(&self.folder);
        self.sent.last();
        let wanted = self.sent.undisturbed(self.folder.path());
        let found = checked(&self.node.await_records(&format!("{}.alerts", self.test), wanted.len()));
        compare(&found, &wanted, &["guess", "left_open"]);
        check_determinism(&service);
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
        assert_eq!(log.matches("cannot be used; the replay is longer").count(), self.faults);
        assert!(!log.contains("panicked"), "{log}");
        println!(
            "{what}: {} injected, {} snapshots passed over, 0 of {} alerts missing, 0 twice; {} starts took {:.1?}",
            self.injected,
            self.faults,
            found.len(),
            self.starts,
            self.starting,
        );
    }
}

/// The sum of a metric over its labels.
fn number(metrics: &str, name: &str) -> u64 {
    let values =
        metrics.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit(' ').next());
    values.map(|value| value.parse::<f64>().unwrap() as u64).sum()
}

/// `count` offsets in a range, from its begin on; all of it if it has no more.
fn sample(range: Range<usize>, count: usize, seed: usize) -> Vec<usize> {
    let length = range.len();
    if length <= count {
        return range.collect();
    }
    let each = |at: usize| range.start + (at * length + mix((seed + at) as u64) as usize % length) / count;
    (0..count).map(each).collect()
}

/// The blocks of a part: where each begins, and where its state begins and ends.
fn blocks(part: &[u8]) -> Vec<(usize, Range<usize>)> {
    let (mut all, mut at) = (Vec::new(), 0);
    while at < part.len() {
        let packed = u32::from_le_bytes(part[at + 4..at + 8].try_into().unwrap()) as usize;
        all.push((at, at + HEAD..at + HEAD + packed));
        at += HEAD + packed;
    }
    assert_eq!(at, part.len());
    all
}

/// Classes of offsets in a part, for each of its blocks.
fn classes_of_part(part: &[u8]) -> Vec<(String, Range<usize>)> {
    let each = |(number, (at, state)): (usize, (usize, Range<usize>))| {
        let class = |name: &str, range: Range<usize>| (format!("{name} of block {number}"), range);
        [
            class("length", at..at + 4),
            class("packed length", at + 4..at + 8),
            class("checksum", at + 8..at + HEAD),
            class("first bytes", state.start..state.start + 4),
            class("state", state.start + 4..state.end - 4),
            class("last bytes", state.end - 4..state.end),
        ]
    };
    blocks(part).into_iter().enumerate().flat_map(each).collect()
}

/// Classes of offsets in a manifest: what each of its fields says, and its ends.
fn classes_of_manifest(text: &[u8]) -> Vec<(String, Range<usize>)> {
    let text = std::str::from_utf8(text).unwrap();
    let fields = [
        "form", "program", "format", "taken", "mark", "cut", "snapshot", "bytes", "name", "crc32c", "digest",
    ];
    let value = |name: &&str| {
        // The last one of those of that name: of its own level.
        let at = text.rfind(&format!("\"{name}\": ")).unwrap() + name.len() + 4;
        let end = at + text[at..].find([',', '\n']).unwrap();
        (format!("value of {name}"), at..end)
    };
    let mut all: Vec<_> = fields.iter().map(value).collect();
    all.extend([("begin".to_owned(), 0..2), ("end".to_owned(), text.len() - 2..text.len())]);
    all
}

/// Damages of an object at every class of its offsets: bits flipped, and all from there on cut off.
fn flips_and_cuts(whole: &[u8], classes: Vec<(String, Range<usize>)>) -> Vec<Damage> {
    let mut all: Vec<Damage> = vec![("a byte more".to_owned(), Some([whole, b"x"].concat()))];
    for (class, range) in classes {
        for at in sample(range, long(), whole.len()) {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 1 << (mix(at as u64) % 8);
            all.push((format!("byte {at}, {class}, flipped"), Some(bytes)));
            all.push((format!("cut at {at}, {class}"), Some(whole[..at].to_vec())));
        }
    }
    all
}

/// A few of many.
fn some(damages: &[Damage]) -> impl Iterator<Item = &Damage> {
    let step = damages.len() / long().min(8);
    damages.iter().skip(step / 2).step_by(step)
}

/// Copies that one start finds beside each other.
const AT_ONCE: usize = 200;

#[test]
fn a_damaged_part_loses_and_doubles_nothing() {
    let Some(mut scene) = Scene::new("part") else { return };
    let newest = scene.shots.last().unwrap();
    let parts: Vec<PathBuf> = newest.levels.iter().map(|level| level[0].clone()).collect();
    assert!(parts.len() >= 3, "{newest:?}");
    assert!(blocks(&scene.read(&parts[0])).len() > 1, "a base of one block");
    let old = scene.shots[0].levels[0][0].clone();
    for level in [0, 1, parts.len() - 1] {
        let whole = scene.read(&parts[level]);
        let mut damages = flips_and_cuts(&whole, classes_of_part(&whole));
        damages.push(("missing".to_owned(), None));
        for other in parts.iter().chain([&old]).filter(|other| **other != parts[level]) {
            damages.push((format!("exchanged for {}", other.display()), Some(scene.read(other))));
        }
        damages.chunks(AT_ONCE).for_each(|damages| scene.beside(Some(level), damages));
        // Where it is: all that build on it are lost.
        for damage in some(&damages) {
            scene.in_place(&[(parts[level].clone(), damage.clone())], false);
        }
    }
    scene.compare("parts");
}

#[test]
fn a_damaged_manifest_loses_and_doubles_nothing() {
    let Some(mut scene) = Scene::new("manifest") else { return };
    let [.., before, newest] = scene.shots.as_slice() else { panic!("{:?}", scene.shots) };
    let (object, other) = (newest.manifest.clone(), scene.read(&before.manifest));
    let whole = scene.read(&object);
    let damages = flips_and_cuts(&whole, classes_of_manifest(&whole));
    damages.chunks(AT_ONCE).for_each(|damages| scene.beside(None, damages));
    for damage in some(&damages) {
        scene.in_place(&[(object.clone(), damage.clone())], false);
    }
    // What is missing, or is whole and says that it is older, is no damage that shows.
    for damage in [("missing".to_owned(), None), ("that of the one before".to_owned(), Some(other))] {
        scene.in_place(&[(object.clone(), damage)], true);
    }
    // Nothing is left: the task is replayed from where it began.
    let bases: BTreeSet<PathBuf> = scene.shots.iter().map(|shot| shot.levels[0][0].clone()).collect();
    let cut = |base: PathBuf| {
        let bytes = scene.read(&base)[1..].to_vec();
        (base, ("its first byte gone".to_owned(), Some(bytes)))
    };
    let cut: Vec<_> = bases.into_iter().map(cut).collect();
    scene.in_place(&cut, false);
    scene.compare("manifests");
}

/// The form of a manifest, to write one that is whole and names another place.
mod form {
    use serde::{Deserialize, Serialize};
    use sha2::{Digest, Sha256};
    use std::collections::BTreeMap;

    #[derive(Serialize, Deserialize)]
    struct Manifest {
        form: u32,
        program: String,
        format: u32,
        taken: i64,
        mark: String,
        cut: BTreeMap<String, u64>,
        levels: Vec<Level>,
        digest: String,
    }

    #[derive(Serialize, Deserialize)]
    struct Level {
        snapshot: String,
        bytes: u64,
        parts: Vec<Part>,
    }

    #[derive(Serialize, Deserialize)]
    struct Part {
        name: String,
        bytes: u64,
        crc32c: u32,
    }

    fn sealed(mut manifest: Manifest) -> Vec<u8> {
        manifest.digest.clear();
        let digest = Sha256::digest(serde_json::to_vec(&manifest).unwrap());
        manifest.digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        serde_json::to_vec_pretty(&manifest).unwrap()
    }

    /// A manifest with the part of a level in the folder of another snapshot.
    pub(super) fn with_level_in(text: &[u8], level: usize, snapshot: &str) -> Vec<u8> {
        let mut manifest: Manifest = serde_json::from_slice(text).unwrap();
        let before = std::mem::replace(&mut manifest.levels[level].snapshot, snapshot.to_owned());
        let other = sealed(manifest);
        let mut same: Manifest = serde_json::from_slice(&other).unwrap();
        same.levels[level].snapshot = before;
        assert!(sealed(same) == text, "the form of manifests is another one");
        other
    }
}
