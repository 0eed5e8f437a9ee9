//! What the worker takes in: records, each to the task or to the topic of those that are none, and time on quiet streams.

use super::Session;
use crate::clock;
use crate::commit::CommitPoint;
use crate::kafka::Trouble;
use crate::kafka::cluster::Record;
use crate::kafka::point::KafkaPoint;
use crate::kafka::reading::{self, Gate};
use crate::kafka::record::Origin;
use crate::kafka::recover::take;
use crate::serve::core::Core;
use crate::serve::crash::{self, Place, Verdict};
use crate::serve::embedded::TICK_EVERY;
use crate::serve::matcher::Matcher;
use crate::serve::status::Progress;
use crate::serve::{now_micros, rfc3339};
use crate::store::Control;
use engine::task::Task;
use metrics::{counter, gauge};
use std::time::{Duration, Instant};

/// How often at most it is looked whether what waits has become less.
const LOOK: Duration = Duration::from_millis(50);

/// How much waits in memory for its time: as last looked at, and what was read since.
pub(super) struct Waiting {
    most: usize,
    held: usize,
    read: usize,
    looked: Instant,
}

impl Waiting {
    pub(super) fn new(most: usize) -> Self {
        Self { most, held: 0, read: 0, looked: clock::now() }
    }

    /// It is as much as may be. Looks only where that could be so, since it looks at everything that waits.
    fn is_full(&mut self, task: &Task, label: &str) -> bool {
        let could_be = self.held + self.read > self.most + self.most / 16;
        if could_be || (self.held > self.most && clock::since(self.looked) > LOOK) {
            self.look(task, label);
        }
        self.held > self.most
    }

    fn look(&mut self, task: &Task, label: &str) {
        (self.held, self.read, self.looked) = (task.waiting_bytes(), 0, clock::now());
        gauge!("tripline_reorder_buffer_bytes", "task" => label.to_owned()).set(self.held as f64);
    }
}

impl Session<'_> {
    /// Takes records and what they cause. How many there were.
    pub(super) fn read(&mut self) -> Result<usize, Trouble> {
        let Self { matcher, source, names, crashes, verdict, breaker, held, arrived, .. } = self;
        let Matcher { core, point, status, .. } = matcher;
        let now = now_micros();
        let (mut records, mut bytes) = (0u64, 0usize);
        let (mut panicked, mut is_judged) = (None, false);
        let is_full = held.is_full(core.task(), &status.label);
        let paused = breaker.paused().to_vec();
        let gate = Gate { limits: None, paused: &paused, is_full };
        let taken = reading::turn(core, source, &gate, &mut |core, lane, record| {
            // What is read after a panic is read again.
            if panicked.is_some() {
                return;
            }
            records += 1;
            *arrived = record.arrived;
            let raw = record.value.as_deref().unwrap_or_default();
            bytes += raw.len();
            let name = names.get(lane).map_or("", String::as_str);
            if let Some(verdict) = verdict.take_if(|verdict| verdict.is_at(name, record.offset)) {
                is_judged = true;
                return pass_over(core, point, origin(name, &record), &verdict);
            }
            crashes.entering(name, record.offset, raw);
            match crash::caught(|| consume(core, point, lane, name, &record)) {
                Ok(is_bad) => breaker.count(lane, is_bad),
                Err(why) => panicked = Some((Place::of(name, record.offset, raw), why)),
            }
        })?;
        if let Some((place, why)) = panicked {
            crashes.panicked(Some(place), &why);
            self.is_crashed = true;
            return Ok(taken);
        }
        crashes.passed(core);
        if taken > 0 {
            held.read += bytes;
            counter!("tripline_source_records_total").increment(records);
            counter!("tripline_source_bytes_total").increment(bytes as u64);
            counter!("tripline_events_processed_total", "task" => matcher.status.label.clone())
                .increment(records);
            matcher.collect(now);
        }
        if is_judged {
            self.is_judged = true;
            matcher.changed_rules = true;
        }
        if breaker.judge(clock::now()) {
            matcher.status.pause(breaker.why());
        }
        Ok(taken)
    }

    /// What the matcher has crashed at twice, where that is no record that is still to come.
    pub(super) fn judge(&mut self) {
        let Matcher { core, point, .. } = &mut self.matcher;
        let is_to_come = |verdict: &mut Verdict| {
            let place = verdict.place.as_ref();
            let lane = place.and_then(|place| self.names.iter().position(|name| *name == place.partition));
            lane.zip(place).is_some_and(|(lane, place)| core.next_offset(lane) <= place.offset)
        };
        if let Some(verdict) = self.verdict.take_if(|verdict| !is_to_come(verdict)) {
            crash::quarantine(core, point, &verdict);
            (self.is_judged, self.matcher.changed_rules) = (true, true);
        }
    }

    /// Moves time on quiet streams: only while the input is known to be whole.
    pub(super) fn tick(&mut self) {
        if self.stopping.is_some()
            || self.matcher.point.is_full()
            || clock::since(self.last_tick) < TICK_EVERY
        {
            return;
        }
        self.last_tick = clock::now();
        self.held.look(self.matcher.core.task(), &self.matcher.status.label);
        self.tell();
        let healthy = self.source.is_healthy();
        for lane in 0..self.names.len() {
            let is_paused = self.breaker.paused().get(lane).copied().unwrap_or_default();
            if !healthy || is_paused || !self.source.is_at_end(lane) {
                self.matcher.core.stir(lane, clock::now());
            }
        }
        let now = now_micros();
        if let Some((to, _)) = self.matcher.core.due_tick(clock::now(), now) {
            // WHY: asked only where time would move, since it costs a call to the broker.
            if self.source.is_answering() {
                self.crashes.ticking();
                self.matcher.tick(to, now);
                self.crashes.passed(&mut self.matcher.core);
            }
        }
    }
}

impl Session<'_> {
    /// Tells readers how far the task is.
    pub(super) fn tell(&self) {
        let core = &self.matcher.core;
        let is_at_end = (0..self.names.len()).all(|lane| self.source.is_at_end(lane));
        let lag = if is_at_end { 0 } else { now_micros() - self.arrived };
        let (next, commits, newest) = (core.cut(), self.protocol.epoch(), core.newest());
        let (changes, waiting) = (self.changes, self.door.changes.waiting(self.changes));
        let behind = self.behind.clone();
        let progress = Progress { next, commits, newest, lag, changes, waiting, behind };
        self.matcher.status.progress(progress);
    }
}

/// Where a record came from.
fn origin<'a>(name: &'a str, record: &'a Record) -> Origin<'a> {
    let (topic, partition) = name.rsplit_once('/').unwrap_or((name, ""));
    Origin {
        topic,
        partition,
        offset: record.offset,
        arrived: record.arrived,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
    }
}

/// One record: to the task, or to the topic of those that are none; late ones to theirs. True if it was no event.
fn consume(core: &mut Core, point: &mut KafkaPoint, lane: usize, name: &str, record: &Record) -> bool {
    let origin = origin(name, record);
    let rejection = take(core, lane, record);
    let is_bad = rejection.is_some();
    if let Some((code, message)) = rejection {
        counter!("tripline_decode_errors_total", "topic" => origin.topic.to_owned(), "code" => code.clone())
            .increment(1);
        point.dead_letter(origin, &code, &message);
    }
    // An event is late the moment it comes.
    for (_, _, time, watermark) in &core.out.late {
        point.late(origin, &rfc3339(*time), &rfc3339(*watermark));
        counter!("tripline_late_events_total", "reason" => "late").increment(1);
    }
    core.out.late.clear();
    is_bad
}

/// The record that the matcher has crashed at twice goes to the dead letters, and the rule is put aside: decisions, in the
/// same transaction.
fn pass_over(core: &mut Core, point: &mut KafkaPoint, origin: Origin<'_>, verdict: &Verdict) {
    let message = format!("the matcher crashed twice while it took this record: {}", verdict.why);
    tracing::error!(topic = origin.topic, partition = origin.partition, offset = origin.offset, message);
    point.dead_letter(origin, "poison", &message);
    let partition = crate::serve::core::partition_name(origin.topic, origin.partition);
    let skip = Control::Skip { partition: partition.clone(), offset: origin.offset, recorded: now_micros() };
    point.decision(skip, core);
    core.skip(&partition, origin.offset);
    crash::quarantine(core, point, verdict);
}
