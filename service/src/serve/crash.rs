//! Where the matcher crashed, so that a record that kills it does so twice and no more.
//!
//! A panic is caught where a record goes to the task; the task is then rebuilt from what stands committed. A process that
//! dies, by an abort or for want of memory, tells nothing; so the one after it is careful for a while: before each record it
//! writes down which one that is. Once there is a suspicion it writes down each rule as well; where time moves without a
//! record it does so at once, since nothing else tells one such moment from another. All of this is one small file in the
//! data folder, and what is not careful writes nothing to it.
//!
//! The second crash at one place is a [`Verdict`]. What comes of it is a decision in the commit, as all else that changes
//! what is matched: this file only says where to look.

use super::core::Core;
use super::{fault, now_micros, sha256_hex};
use crate::api::problem::Problem;
use crate::commit::CommitPoint;
use crate::store::Control;
use engine::watch::Watch;
use metrics::counter;
use pattern_dsl::types::Micros;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For how long, and for how many records at least, nothing is taken for granted after a crash. What a dead process had
/// read and not committed is read again within that.
const CAREFUL: Duration = Duration::from_secs(60);
const CAREFUL_RECORDS: u32 = 100_000;
/// Crashes that are remembered, and for how long, in microseconds.
const REMEMBERED: usize = 16;
const REMEMBERED_FOR: i64 = 86_400_000_000;

/// A record: where it stands, and what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// A partition; in embedded mode a stream.
    pub(crate) partition: String,
    pub(crate) offset: u64,
    /// A hash of it: what is sent again over HTTP comes at another offset.
    pub(crate) print: String,
}

impl Place {
    pub(crate) fn of(partition: &str, offset: u64, raw: &[u8]) -> Self {
        Self { partition: partition.to_owned(), offset, print: sha256_hex(raw) }
    }

    /// It is the same record.
    fn is_of(&self, other: &Self) -> bool {
        self.partition == other.partition && self.print == other.print
    }
}

/// What was at work.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Work {
    /// None: it was no record, but time that moved.
    place: Option<Place>,
    /// None: not known, or none.
    rule: Option<String>,
}

/// A crash.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Crash {
    work: Work,
    why: String,
    /// The process died of it, or was killed then.
    died: bool,
    /// In microseconds.
    at: i64,
}

impl Crash {
    /// It happened for the same reason.
    ///
    /// WHY: a rule that has panicked twice is at fault, whichever record brought it to it: records of several partitions may
    /// be read in another order. A rule that was at work on a record when the process was killed may have been just that; but
    /// time moves seldom and for a moment, so a rule that was at work then, twice, is no accident.
    fn is_again(&self, other: &Self) -> bool {
        let (own, others) = (&self.work, &other.work);
        let has_died = self.died || other.died;
        let is_on_time = own.place.is_none() && others.place.is_none();
        if own.rule.is_some() && own.rule == others.rule && (is_on_time || !has_died) {
            return true;
        }
        match (&own.place, &others.place) {
            (Some(place), Some(other)) => place.is_of(other),
            (None, None) => !has_died && (own.rule.is_none() || others.rule.is_none()),
            _ => false,
        }
    }
}

/// What has killed the matcher twice. Neither known: there is nothing to leave out.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    pub(crate) place: Option<Place>,
    pub(crate) rule: Option<String>,
    pub(crate) why: String,
}

impl Verdict {
    /// There is nothing to leave out.
    pub(crate) fn is_blank(&self) -> bool {
        self.place.is_none() && self.rule.is_none()
    }

    /// It is this record.
    pub(crate) fn is_at(&self, partition: &str, offset: u64) -> bool {
        self.place.as_ref().is_some_and(|place| place.partition == partition && place.offset == offset)
    }
}

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Notes {
    /// The process has not ended in good order.
    running: bool,
    /// Of a careful process: what it is at.
    at: Option<Work>,
    crashes: Vec<Crash>,
}

impl Notes {
    /// One more crash. The oldest beyond so many are forgotten.
    fn remember(&mut self, crash: Crash) {
        self.crashes.push(crash);
        let surplus = self.crashes.len().saturating_sub(REMEMBERED);
        self.crashes.drain(..surplus);
    }
}

/// The file, and what it says.
#[derive(Debug)]
struct Book {
    file: Option<File>,
    notes: Notes,
}

impl Book {
    /// A rule is about to work; `is_suspicious`: that is of interest at a record too.
    fn works(&mut self, rule: &str, is_suspicious: bool) {
        let is_on_time = self.notes.at.as_ref().is_some_and(|work| work.place.is_none());
        let is_known = self.notes.at.as_ref().is_some_and(|work| work.rule.as_deref() == Some(rule));
        if (is_on_time || is_suspicious) && !is_known {
            self.notes.at.get_or_insert_default().rule = Some(rule.to_owned());
            self.write();
        }
    }

    /// Writes all of it. The kernel keeps it if the process dies; a machine that dies did not die of a record.
    fn write(&mut self) {
        let Some(file) = &self.file else { return };
        let mut line = serde_json::to_vec(&self.notes).unwrap_or_default();
        // What is left of a longer line stands behind the end of this one.
        line.push(b'\n');
        if let Err(error) = file.write_all_at(&line, 0) {
            tracing::warn!(%error, "where the matcher is cannot be written down");
        }
    }
}

/// What the file says; nothing if there is none.
fn notes_in(path: &Path) -> Result<Notes, String> {
    let text = match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Notes::default()),
        text => text.map_err(|error| error.to_string())?,
    };
    let line = text.split(|b| *b == b'\n').next().unwrap_or_default();
    serde_json::from_slice(line).map_err(|error| error.to_string())
}

/// Keeps a file that cannot be read for whoever looks into it.
fn set_aside(path: &Path, why: &str) {
    let aside = path.with_extension("json.damaged");
    let outcome = match std::fs::rename(path, &aside) {
        Ok(()) => format!("it is kept as {}", aside.display()),
        Err(error) => format!("it cannot be set aside either: {error}"),
    };
    tracing::warn!(
        why,
        "{}: what it says of crashes cannot be read and is forgotten; {outcome}",
        path.display()
    );
}

/// What is known of crashes, and how careful to be.
pub(crate) struct Crashes {
    book: Arc<Mutex<Book>>,
    careful: Option<(Instant, u32)>,
    turn: Turn,
    has_turn: bool,
}

/// Of the careful tasks of a process one works at a time.
///
/// WHY: when the process dies, the others were at some record too, and would be suspected of it.
#[derive(Clone, Default)]
struct Turn(Arc<(Mutex<bool>, Condvar)>);

impl Turn {
    fn is_taken(&self) -> MutexGuard<'_, bool> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) {
        let mut is_taken = self.is_taken();
        while *is_taken {
            is_taken = self.0.1.wait(is_taken).unwrap_or_else(PoisonError::into_inner);
        }
        *is_taken = true;
    }

    fn give(&self) {
        *self.is_taken() = false;
        self.0.1.notify_one();
    }
}

impl Crashes {
    /// In a data folder. What the process before was at, if it was careful and died, is a crash.
    pub(crate) fn open(data: &Path) -> Self {
        Self::open_file(data.join("crashes.json"))
    }

    /// The same of one more task of the process.
    pub(crate) fn beside(&self, data: &Path, number: i32) -> Self {
        let turn = self.turn.clone();
        Self { turn, ..Self::open_file(data.join(format!("crashes-{number}.json"))) }
    }

    fn open_file(path: PathBuf) -> Self {
        let mut notes = notes_in(&path).unwrap_or_else(|why| {
            set_aside(&path, &why);
            // Whatever it said: perhaps that the process died.
            Notes { running: true, ..Notes::default() }
        });
        let oldest = now_micros() - REMEMBERED_FOR;
        notes.crashes.retain(|crash| crash.at > oldest);
        let died = notes.running;
        if let Some(work) = notes.at.take().filter(|_| died) {
            tracing::warn!(?work, "the process before this one died at its work");
            notes.remember(Crash { work, why: "the process died".into(), died: true, at: now_micros() });
        }
        notes.running = true;
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.inspect_err(|error| {
            let path = path.display();
            tracing::error!(%error, "{path}: cannot be written, so a record that kills the process is not found out");
        });
        let mut book = Book { file: file.ok(), notes };
        book.write();
        let careful = died.then(|| (Instant::now(), 0));
        Self { book: Arc::new(Mutex::new(book)), careful, turn: Turn::default(), has_turn: false }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record is about to be taken.
    #[inline]
    pub(crate) fn entering(&mut self, partition: &str, offset: u64, raw: &[u8]) {
        if self.careful.is_some() {
            self.note(partition, offset, raw);
        }
    }

    #[cold]
    fn note(&mut self, partition: &str, offset: u64, raw: &[u8]) {
        if let Some((_, records)) = &mut self.careful {
            *records = records.saturating_add(1);
        }
        self.begin(Work { place: Some(Place::of(partition, offset, raw)), rule: None });
    }

    /// Time is about to move without a record.
    pub(crate) fn ticking(&mut self) {
        if self.careful.is_some() {
            self.begin(Work::default());
        }
    }

    fn begin(&mut self, work: Work) {
        if !std::mem::replace(&mut self.has_turn, true) {
            self.turn.take();
        }
        let mut book = self.book();
        book.notes.at = Some(work);
        book.write();
    }

    /// The task is at no work just now: others of the process may be.
    pub(crate) fn rest(&mut self) {
        if std::mem::take(&mut self.has_turn) {
            self.turn.give();
        }
    }

    /// The task is at no record and at no time just now. Where there is no reason any more to be careful, it is watched no
    /// more.
    pub(crate) fn passed(&mut self, core: &mut Core) {
        let Some((since, records)) = self.careful else { return };
        let mut book = self.book();
        if book.notes.at.take().is_some() {
            book.write();
        }
        drop(book);
        self.rest();
        if since.elapsed() > CAREFUL && records > CAREFUL_RECORDS {
            self.careful = None;
            core.watch(self.watch());
        }
    }

    /// For a task: notes each rule before it works, if there is a suspicion; else only those that work while time moves.
    pub(crate) fn watch(&self) -> Option<Watch> {
        let is_careful = self.careful.is_some();
        let is_suspicious = is_careful && !self.book().notes.crashes.is_empty();
        if !is_careful && !fault::is_asked() {
            return None;
        }
        let book = self.book.clone();
        Some(Watch::new(move |rule: &str, time: Micros| {
            if is_careful {
                book.lock().unwrap_or_else(PoisonError::into_inner).works(rule, is_suspicious);
            }
            fault::strike(rule, time);
        }))
    }

    /// The matcher panicked, at this record or while time moved.
    pub(crate) fn panicked(&mut self, place: Option<Place>, why: &str) {
        counter!("tripline_matcher_panics_total").increment(1);
        let mut book = self.book();
        let rule = book.notes.at.take().and_then(|work| work.rule);
        tracing::error!(?place, rule, why, "the matcher panicked; it is rebuilt from what is committed");
        let crash = Crash { work: Work { place, rule }, why: why.to_owned(), died: false, at: now_micros() };
        book.notes.remember(crash);
        book.write();
        drop(book);
        self.rest();
        self.careful = Some((Instant::now(), 0));
    }

    /// What the last crash was the second one of.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        let book = self.book();
        let (last, before) = book.notes.crashes.split_last()?;
        let first = before.iter().rfind(|crash| last.is_again(crash))?;
        let rule = last.work.rule.clone().or_else(|| first.work.rule.clone());
        Some(Verdict { place: last.work.place.clone(), rule, why: last.why.clone() })
    }

    /// What came of the last verdict is committed.
    pub(crate) fn judged(&mut self) {
        let mut book = self.book();
        let Some(last) = book.notes.crashes.last().cloned() else { return };
        let is_same = |crash: &Crash| last.is_again(crash) || crash.work.rule == last.work.rule;
        book.notes.crashes.retain(|crash| !is_same(crash));
        book.write();
    }

    /// The process ends in good order.
    pub(crate) fn ended(&mut self) {
        let mut book = self.book();
        (book.notes.running, book.notes.at) = (false, None);
        book.write();
    }
}

/// The answer to a request about rules at which the service panicked.
pub(crate) fn of_request(why: &str) -> Problem {
    counter!("tripline_matcher_panics_total").increment(1);
    tracing::error!(
        why,
        "the matcher panicked at a request about rules; it is rebuilt from what is committed"
    );
    Problem::new(500, format!("this request made the matcher panic, and nothing of it was stored: {why}"))
}

/// Puts aside the rule that the matcher has crashed in twice, if it is known: a decision.
pub(crate) fn quarantine(core: &mut Core, point: &mut impl CommitPoint, verdict: &Verdict) {
    let is_at_work =
        |rule: &&String| core.rules().get(*rule).is_some_and(|active| active.quarantine.is_none());
    let Some(rule) = verdict.rule.as_ref().filter(is_at_work) else { return };
    let (why, recorded) = (verdict.why.clone(), now_micros());
    point.decision(Control::Quarantine { rule: rule.clone(), why, recorded }, core);
    core.quarantine(rule, &verdict.why, recorded);
    counter!("tripline_quarantines_total", "rule" => rule.clone()).increment(1);
    tracing::error!(rule, why = verdict.why, "the matcher crashed twice in this rule: it is put aside");
}

/// Does something with a task. What a panic has said, if it did not end well: the task is not to be used any more.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| said(&*payload))
}

fn said(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::serve::recover::new_core;

    fn of(crashes: &Crashes) -> Option<(Option<u64>, Option<String>)> {
        crashes.verdict().map(|verdict| (verdict.place.map(|place| place.offset), verdict.rule))
    }

    #[test]
    fn the_second_panic_at_a_record_is_a_verdict() {
        let folder = tempfile::tempdir().unwrap();
        let mut crashes = Crashes::open(folder.path());
        crashes.panicked(Some(Place::of("a/0", 7, b"x")), "why");
        assert_eq!(of(&crashes), None);
        crashes.panicked(Some(Place::of("a/0", 8, b"y")), "why");
        assert_eq!(of(&crashes), None, "another record");
        crashes.panicked(Some(Place::of("a/0", 7, b"x")), "why");
        assert_eq!(of(&crashes), Some((Some(7), None)));
        let mut again = Crashes::open(folder.path());
        assert_eq!(of(&again), Some((Some(7), None)), "a restart knows it");
        again.judged();
        assert_eq!(of(&again), None);
    }

    #[test]
    fn a_process_that_died_twice_at_a_record_died_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let start = || Crashes::open(folder.path());
        let mut core = new_core(&Config::default());
        start().ended();
        let mut first = start();
        assert!(first.careful.is_none(), "it ended in good order");
        first.entering("a/0", 6, b"w");
        let mut second = start();
        assert!(of(&second).is_none());
        second.entering("a/0", 7, b"x");
        second.passed(&mut core);
        second.entering("a/0", 8, b"y");
        let mut third = start();
        third.entering("a/0", 8, b"y");
        let mut fourth = start();
        assert_eq!(of(&fourth), Some((Some(8), None)));
        fourth.entering("a/0", 9, b"z");
        fourth.passed(&mut core);
        let fifth = start();
        assert_eq!(of(&fifth), Some((Some(8), None)), "killed between two records: no crash");
    }

    #[test]
    fn of_the_careful_tasks_of_a_process_one_is_at_work() {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let first = Crashes::open(folder.path());
            let second = first.beside(folder.path(), 1);
            (first, second)
        };
        drop(open());
        let (mut first, mut second) = open();
        let book = first.book.clone();
        first.entering("a/0", 7, b"x");
        std::thread::scope(|scope| {
            let other = scope.spawn(move || {
                second.entering("a/1", 8, b"y");
                assert!(book.lock().unwrap().notes.at.is_none(), "both are at work");
            });
            std::thread::sleep(Duration::from_millis(50));
            first.passed(&mut new_core(&Config::default()));
            other.join().unwrap();
        });
    }

    /// Killed from outside while time moved, so to speak.
    #[test]
    fn only_a_rule_that_was_at_work_on_time_twice_is_a_verdict() {
        let folder = tempfile::tempdir().unwrap();
        let die = |rule: Option<&str>| {
            let mut crashes = Crashes::open(folder.path());
            crashes.ticking();
            if let Some(rule) = rule {
                crashes.book().works(rule, false);
            }
            of(&Crashes::open(folder.path()))
        };
        assert_eq!(die(Some("one")), None, "it was not careful");
        assert_eq!(die(None), None);
        assert_eq!(die(None), None, "no rule was at work");
        assert_eq!(die(Some("one")), None);
        assert_eq!(die(Some("other")), None);
        assert_eq!(die(Some("one")), Some((None, Some("one".to_owned()))));
    }

    #[test]
    fn no_more_crashes_are_remembered_than_so_many() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..2 * REMEMBERED {
            let mut crashes = Crashes::open(folder.path());
            crashes.entering("a/0", 0, number.to_string().as_bytes());
        }
        assert_eq!(Crashes::open(folder.path()).book().notes.crashes.len(), REMEMBERED);
    }
}
