use super::*;
use crate::serve::recover::new_core;
use crate::store::{Control, Entry, FolderState};
use engine::task::Task;
use std::fs;
use std::path::Path;

const LAST: Duration = Duration::from_secs(20);
const POLICY: Policy =
    Policy { keep: 3, scrub: Duration::from_secs(3_600), last: LAST, pause: Duration::from_millis(2) };

fn snapshots(folder: &Path, attempt: u64) -> Snapshots {
    Snapshots::new(Place::Folder(folder.to_owned()), attempt, Duration::from_secs(10), POLICY)
}

/// Begins one of a state of 100 bytes: of every two the first is a base, and the second builds on it.
fn begin(snapshots: &mut Snapshots, number: u64) {
    let cut = Cut::from([("a/0".into(), number)]);
    let slices = snapshots.begin(number, &number.to_string(), &cut).of(vec![number as u8; 100]);
    snapshots.slices = Some(slices);
}

fn write(snapshots: &mut Snapshots, number: u64) {
    begin(snapshots, number);
    assert_eq!(written(snapshots, &mut new_core(&Config::default())), Some((number, snapshots.attempt)));
}

/// WHY: not `wait`, which ends what is not needed for the next start.
fn written(snapshots: &mut Snapshots, core: &mut Core) -> Option<Reference> {
    loop {
        snapshots.go_on(core);
        match snapshots.finished() {
            None if snapshots.writing.is_some() => std::thread::yield_now(),
            written => break written,
        }
    }
}

/// The number of the newest up to a commit.
fn newest(snapshots: &mut Snapshots, last: u64) -> Option<u64> {
    let number = |mark: &str| mark.parse::<u64>().ok().filter(|number| *number <= last);
    snapshots.newest(&|| {}, number, |found| {
        let number = found.mark.parse::<u64>().unwrap();
        assert_eq!(found.levels.last(), Some(&vec![number as u8; 100]));
        Some(number)
    })
}

#[test]
fn the_newest_whole_one_before_the_commit_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("l");
    let own = &mut snapshots(&folder, 7);
    assert_eq!(newest(own, 9), None);
    for number in [2, 4, 6, 8] {
        write(own, number);
    }
    assert_eq!(newest(own, 9), Some(8));
    assert_eq!(newest(own, 7), Some(6), "a later one is not committed");
    assert_eq!(newest(own, 3), None, "three are kept");
    let names = kept::names(&Place::Folder(folder.clone())).unwrap();
    assert_eq!(names, [4, 6, 8].map(|number| kept::name_of((number, 7))));
    let kept = kept::all(&Place::Folder(folder.clone()), true).unwrap();
    assert!(kept.iter().all(|one| one.unusable.is_none()), "the base of the oldest is there: {kept:?}");
    assert_eq!(kept.iter().map(|one| one.levels.len()).collect::<Vec<_>>(), [2, 1, 2]);
    let of = |number: u64, name: &str| folder.join(kept::name_of((number, 7))).join(name);
    let path = of(8, "0000.part");
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(newest(own, 9), Some(6), "a flipped bit in byte {at}");
    }
    fs::write(&path, &whole[..9]).unwrap();
    assert_eq!(newest(own, 9), Some(6), "cut short");
    fs::remove_file(&path).unwrap();
    assert_eq!(newest(own, 9), Some(6), "a part is gone");
    fs::write(&path, &whole).unwrap();
    assert_eq!(newest(own, 9), Some(8), "and now it is back");
    let base = of(6, "0000.part");
    let bytes = fs::read(&base).unwrap();
    fs::write(&base, fs::read(of(4, "0000.part")).unwrap()).unwrap();
    assert_eq!(newest(own, 9), Some(4), "the base of two is another's");
    fs::write(&base, bytes).unwrap();
    let manifest = fs::read(of(8, kept::MANIFEST)).unwrap();
    for at in 0..manifest.len() {
        let mut bytes = manifest.clone();
        bytes[at] ^= 1;
        fs::write(of(8, kept::MANIFEST), bytes).unwrap();
        assert_eq!(newest(own, 9), Some(6), "a flipped bit in byte {at} of the manifest");
    }
    fs::remove_file(of(8, kept::MANIFEST)).unwrap();
    fs::remove_file(of(6, kept::MANIFEST)).unwrap();
    assert_eq!(newest(own, 9), Some(4), "manifests are gone");
    fs::write(of(4, kept::MANIFEST), b"{\"form\":2,\"program\":\"0\"}\nstate").unwrap();
    assert_eq!(newest(own, 9), None, "another form");
    let old = folder.join(kept::name_of((1, 1)));
    fs::write(&old, b"{\"form\":2,\"program\":\"0.0.9\",\"mark\":\"1\"}\nstate").unwrap();
    let found = kept::all(&Place::Folder(folder.parent().unwrap().to_owned()), true).unwrap();
    let why = found[0].unusable.as_deref().unwrap();
    assert!(why.contains("0.0.9") && why.contains("form 2"), "{why}");
    assert_eq!(newest(own, 9), None, "and it is in nobody's way");
}

/// A worker that was stopped and does not know that another has gone on.
#[test]
fn what_a_successor_needs_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (&mut snapshots(folder.path(), 7), &mut snapshots(folder.path(), 8));
    for number in [2, 4, 6] {
        write(old, number);
    }
    for number in [5, 7, 9] {
        write(new, number);
    }
    // What a kill has left of one that was being written, before and after.
    for name in [(3, 8), (11, 8)] {
        let folder = folder.path().join(kept::name_of(name));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("0000.part.tmp"), b"half").unwrap();
    }
    fs::write(folder.path().join("README"), b"mine").unwrap();
    write(old, 8);
    let names = kept::names(&Place::Folder(folder.path().to_owned())).unwrap();
    let left: Vec<Reference> = [(6, 7), (7, 8), (8, 7), (9, 8)].into();
    assert_eq!(names, left.into_iter().map(kept::name_of).collect::<Vec<_>>());
    assert!(folder.path().join("README").exists());
    assert!(!folder.path().join(kept::name_of((3, 8))).exists());
    assert!(folder.path().join(kept::name_of((11, 8))).exists(), "it may be under way");
    assert_eq!(newest(new, 9), Some(9));
}

/// An older store was put back: numbers begin anew, and what is written now is found and kept.
#[test]
fn those_of_another_history_are_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let own = &mut snapshots(folder.path(), 7);
    for number in [6, 7, 8] {
        write(own, number);
    }
    own.attempt = 8;
    for number in [1, 2, 3, 4] {
        write(own, number);
        assert_eq!(newest(own, 5), Some(number));
    }
}

#[test]
fn a_name_that_is_taken_is_not_taken_again() {
    let folder = tempfile::tempdir().unwrap();
    let own = &mut snapshots(folder.path(), 7);
    write(own, 2);
    begin(own, 2);
    let core = &mut new_core(&Config::default());
    assert_eq!(own.wait(core, Instant::now() + LAST), None);
    begin(own, 4);
    assert_eq!(written(own, core), Some((4, 7)));
    assert_eq!(own.levels.len(), 1, "it builds on nothing that is not there");
}

#[test]
fn all_that_are_kept_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let own = &mut snapshots(folder.path(), 7);
    write(own, 2);
    let due = own.due;
    own.scrub_due = Instant::now();
    write(own, 4);
    assert_eq!(own.due, due, "all are whole");
    fs::write(folder.path().join(kept::name_of((2, 7))).join("0000.part"), b"damage").unwrap();
    own.scrub_due = Instant::now();
    write(own, 6);
    assert!(own.due < due, "one is damaged, so that another is wanted at once");
}

const GOLDEN_RULES: &str = "stream auth { time ts in order id id fields { user: string, ok: bool } }\n\
    rule guess { by user match within 10m { 2 auth as failed where not ok then auth as hit where ok } reason \"{user}\" }\n";

/// A core with the rules of the golden snapshots, and the decision that it took.
fn golden_core() -> (Core, Control) {
    let state =
        FolderState { files: vec![("a.cep".to_owned(), GOLDEN_RULES.to_owned())], ..Default::default() };
    (new_core(&Config::default()), Control::Folder { state, at: None, recorded: 0 })
}

fn attempt(core: &mut Core, second: u32, ok: bool) -> Vec<String> {
    let line = format!(
        "{{\"ts\":\"2026-03-01T10:00:{second:02}Z\",\"id\":\"e{second}\",\"user\":\"ann\",\"ok\":{ok}}}"
    );
    core.accept("auth", line.as_bytes(), 0).unwrap();
    core.out.alerts.drain(..).map(|alert| alert.id.to_string()).collect()
}

/// What an older program wrote is read, or it is said which program reads it. `UPDATE=1` writes that of the present form and
/// format, if there is none.
#[test]
fn golden_snapshots_are_read_or_refused_by_name() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/snapshots");
    let (mut undisturbed, decision) = golden_core();
    undisturbed.replay(&Entry::Control(Box::new(decision.clone()))).unwrap();
    attempt(&mut undisturbed, 0, false);
    let own = golden.join(format!("form-{}-format-{}", form::FORM, Task::SAVED_FORMAT));
    let is_new = std::env::var_os("UPDATE").is_some() && !own.exists();
    let own = &mut snapshots(&own, 7);
    let mut take = |number: u64, core: &mut Core| {
        if is_new {
            own.due = Instant::now();
            own.take(number, || Some(number.to_string()), core);
            assert_eq!(written(own, core), Some((number, 7)));
        }
    };
    take(3, &mut undisturbed);
    attempt(&mut undisturbed, 1, false);
    take(4, &mut undisturbed);
    let wanted = attempt(&mut undisturbed, 2, true);
    assert_eq!(wanted.len(), 1);
    let mut forms = 0;
    for folder in fs::read_dir(&golden).unwrap() {
        forms += 1;
        let place = Place::Folder(folder.unwrap().path());
        let name = kept::names(&place).unwrap().pop().unwrap();
        let read = kept::manifest(&place, &name).and_then(|manifest| kept::load(&place, &manifest, &|| {}));
        match read {
            Ok(snapshot) => {
                assert_eq!(snapshot.levels.len(), 2, "a base, and what has changed since");
                let (mut core, decision) = golden_core();
                core.rebuild([&decision], &snapshot).unwrap();
                assert_eq!(attempt(&mut core, 2, true), wanted);
            }
            Err(fault) => {
                assert_eq!(fault.reason, "version", "{}", fault.why);
                assert!(
                    fault.why.starts_with("version ") && fault.why.contains(", reads form"),
                    "{}",
                    fault.why
                );
            }
        }
    }
    assert!(forms > 0);
}
