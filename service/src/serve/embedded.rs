//! The embedded mode: events come in requests, and one fsynced batch of the store is one commit.
//!
//! Requests that wait while a commit is being written go together into the next one. An answer leaves only after the
//! commit that holds its events. After a failed commit the task is ahead of the disk, so nothing is taken any more. After a
//! panic it is not to be trusted: nothing of its commit is written, and it is rebuilt from the disk.

use super::core::{Core, Rejection};
use super::crash::{self, Crashes, Place};
use super::matcher::{Answer, Ask, Batch, Line, Matcher, Rejected, Request, stored};
use super::now_micros;
use super::recover::{self, Stand};
use super::snapshot::Snapshots;
use super::status::State;
use crate::api::problem::Problem;
use crate::commit::CommitPoint;
use crate::store::{Commit, Control, Entry, Head, IdempotentReply, Store};
use engine::alert::Alert;
use metrics::{counter, histogram};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Bytes of requests that go into one commit.
const GROUP_BYTES: usize = 4 << 20;
/// How long requests are waited for while a snapshot is being saved.
const SAVING: Duration = Duration::from_millis(5);
/// How often silence is looked at.
pub(crate) const TICK: Duration = Duration::from_millis(200);
/// How often time moves while all streams are silent.
pub(crate) const TICK_EVERY: Duration = Duration::from_secs(1);

/// The store as a commit point.
pub(crate) struct StorePoint {
    store: Store,
    /// As of the last commit.
    head: Head,
    /// What the next commit holds, and its head.
    commit: Commit,
    next: Head,
    keys: BTreeMap<String, IdempotentReply>,
    snapshots: Snapshots,
}

impl StorePoint {
    pub(crate) fn new(store: Store, head: Head, snapshots: Snapshots) -> Self {
        Self { commit: store.commit(), next: head.clone(), head, store, keys: BTreeMap::new(), snapshots }
    }

    /// Alerts committed so far.
    pub(crate) fn alerts(&self) -> u64 {
        self.head.alerts
    }

    fn log(&mut self, entry: &Entry) {
        self.commit.log(self.next.next_seq, entry);
        self.next.next_seq += 1;
    }

    /// Writes what was gathered.
    ///
    /// # Errors
    /// Nothing of it may be acknowledged then, and the task is ahead of the store.
    pub(crate) fn write(&mut self) -> crate::store::Result<()> {
        let commit = std::mem::replace(&mut self.commit, self.store.commit());
        self.keys.clear();
        if commit.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        let alerts = self.next.alerts - self.head.alerts;
        let outcome = commit.finish(&self.next);
        histogram!("tripline_commit_duration_seconds").record(begun.elapsed().as_secs_f64());
        histogram!("tripline_transaction_alerts").record(alerts as f64);
        counter!("tripline_commits_total", "outcome" => if outcome.is_ok() { "ok" } else { "failed" })
            .increment(1);
        outcome?;
        self.head = self.next.clone();
        Ok(())
    }

    /// Leaves a snapshot of a core that stands at the last commit, if one is due; the last one in any case.
    fn snapshot(&mut self, core: &mut Core, is_last: bool) {
        let (store, head) = (&self.store, &self.head);
        let mark = || {
            let print = store.print_before(head.next_seq).ok()?;
            serde_json::to_string(&Stand { head: head.clone(), print }).ok()
        };
        if is_last {
            return self.snapshots.take_last(head.next_seq, mark, core);
        }
        self.snapshots.finished();
        self.snapshots.take(head.next_seq, mark, core);
    }
}

impl CommitPoint for StorePoint {
    fn decision(&mut self, control: Control, _: &Core) {
        self.log(&Entry::Control(Box::new(control)));
    }

    fn alert(&mut self, alert: &Alert) {
        self.next.add(&alert.id);
        self.commit.alert(&stored(self.next.alerts, alert));
    }
}

/// The embedded mode at work.
pub(crate) struct Embedded {
    matcher: Matcher<StorePoint>,
    crashes: Crashes,
    /// It panicked: what the task holds is not to be trusted.
    is_broken: bool,
}

impl Embedded {
    pub(crate) fn new(matcher: Matcher<StorePoint>, crashes: Crashes) -> Self {
        matcher.publish();
        Self { matcher, crashes, is_broken: false }
    }

    /// Works until told to stop or until the queue is closed.
    pub(crate) fn run(mut self, queue: &Receiver<Request>) {
        self.matcher.status.enter(State::Working);
        self.judge();
        self.work(queue);
        self.crashes.ended();
    }

    fn work(&mut self, queue: &Receiver<Request>) {
        let mut last_tick = Instant::now();
        loop {
            let mut requests = Vec::new();
            self.matcher.point.snapshots.go_on(&mut self.matcher.core);
            let most = if self.matcher.point.snapshots.is_saving() { SAVING } else { TICK };
            match queue.recv_timeout(most) {
                Ok(first) => requests.push(first),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let mut bytes = requests.iter().map(Request::bytes).sum::<usize>();
            while bytes < GROUP_BYTES {
                let Ok(next) = queue.try_recv() else { break };
                bytes += next.bytes();
                requests.push(next);
            }
            self.matcher.status.beat(now_micros());
            let tick = (last_tick.elapsed() >= TICK)
                .then(|| self.matcher.core.due_tick(Instant::now(), now_micros()))
                .flatten()
                .filter(|(_, all_silent)| !all_silent || last_tick.elapsed() >= TICK_EVERY)
                .map(|(to, _)| to);
            if tick.is_some() {
                last_tick = Instant::now();
            }
            if tick.is_none() && requests.is_empty() {
                continue;
            }
            match crash::caught(|| self.group(requests, tick)) {
                Ok(true) => {}
                Ok(false) => return,
                Err(why) => {
                    self.crashes.panicked(None, &why);
                    self.is_broken = true;
                }
            }
            if self.is_broken {
                self.rebuild();
            }
        }
    }

    /// After a panic: the task as it stood at the last commit, without what has killed it twice.
    fn rebuild(&mut self) {
        let shared = self.matcher.shared.clone();
        // Whatever has killed it there would kill it again.
        let rebuilt = crash::caught(|| recover::rebuild(&shared.store, &shared.config));
        match rebuilt.unwrap_or_else(|why| Err(anyhow::anyhow!("it panicked again: {why}"))) {
            Ok((core, point)) => {
                self.matcher = Matcher::new(core, point, shared, self.matcher.status.clone());
                self.is_broken = false;
                self.judge();
            }
            Err(error) => self.fail(&format!("the matcher panicked and cannot be rebuilt: {error:#}")),
        }
    }

    /// Leaves out what the matcher has crashed at twice, and watches it for the next time.
    fn judge(&mut self) {
        if let Some(verdict) = self.crashes.verdict() {
            let Matcher { core, point, .. } = &mut self.matcher;
            if let Some(Place { partition: stream, print, .. }) = verdict.place.clone() {
                let rule = verdict.rule.clone();
                core.refuse(&stream, &print, rule.as_deref());
                point.decision(Control::Refuse { stream, print, rule, recorded: now_micros() }, core);
            } else if verdict.is_blank() {
                self.crashes.judged();
                return self.fail(&format!("the matcher panicked twice, at no event: {}", verdict.why));
            }
            crash::quarantine(core, point, &verdict);
            if self.commit().is_some() {
                return;
            }
            self.crashes.judged();
        }
        self.matcher.core.watch(self.crashes.watch());
        self.matcher.publish();
    }

    /// Nothing is taken any more.
    fn fail(&self, why: &str) {
        tracing::error!(why, "nothing is taken until a restart");
        self.matcher.shared.failed.store(true, Ordering::Release);
    }

    /// One commit. False after `Stop`.
    fn group(&mut self, requests: Vec<Request>, tick: Option<i64>) -> bool {
        let now = now_micros();
        let mut answers = Vec::new();
        let mut go_on = true;
        let shared = self.matcher.shared.clone();
        let has_failed = || shared.failed.load(Ordering::Acquire);
        for request in requests {
            shared.queued.fetch_sub(request.bytes(), Ordering::Relaxed);
            let answer = if has_failed() && !matches!(request.ask, Ask::Stop) {
                Err(Problem::new(503, "the service failed; nothing is taken until a restart"))
            } else if self.is_broken && !matches!(request.ask, Ask::Stop) {
                Err(again("the matcher is being rebuilt"))
            } else {
                self.serve(request.ask, now, &mut go_on)
            };
            answers.push((request.reply, answer));
        }
        if let Some(to) = tick.filter(|_| !has_failed() && !self.is_broken) {
            self.crashes.ticking();
            self.matcher.tick(to, now);
        }
        // Before the disk is waited for: whoever is killed then was at no event.
        self.crashes.passed(&mut self.matcher.core);
        let failed = if self.is_broken {
            // Before it is answered, so that what comes of it can be seen then.
            self.rebuild();
            Some("the matcher panicked, so it was not accepted: send it again".into())
        } else {
            self.commit()
        };
        if failed.is_none() && !has_failed() {
            self.matcher.point.snapshot(&mut self.matcher.core, !go_on);
        }
        for (reply, answer) in answers {
            let answer = match &failed {
                Some(why) if answer.is_ok() => Err(Problem::new(503, why.clone()).retry_after(1)),
                _ => answer,
            };
            let _ = reply.send(answer);
        }
        go_on
    }

    fn serve(&mut self, ask: Ask, now: i64, go_on: &mut bool) -> Answer {
        match ask {
            Ask::Events(batch) => return self.events(batch, now),
            Ask::Rules(ask) => {
                // Whatever comes of it, the record before it has nothing to do with that.
                self.crashes.passed(&mut self.matcher.core);
                let answer = crash::caught(|| self.matcher.rules(ask, now));
                return answer.unwrap_or_else(|why| {
                    self.is_broken = true;
                    Err(crash::of_request(&why))
                });
            }
            Ask::Finish => {
                if let Some(newest) = self.matcher.core.newest() {
                    self.crashes.ticking();
                    self.matcher.tick(newest + 1, now);
                }
            }
            Ask::Stop => *go_on = false,
        }
        Ok((200, serde_json::Value::Null, None))
    }

    fn events(&mut self, batch: Batch, now: i64) -> Answer {
        let point = &self.matcher.point;
        if let Some((key, asked)) = &batch.key {
            let known = match point.keys.get(key) {
                Some(reply) => Some(reply.clone()),
                None => point.store.idempotent(key).map_err(|e| Problem::new(503, e.to_string()))?,
            };
            if let Some(reply) = known.filter(|r| r.at > now - 86_400_000_000) {
                return match reply.asked == *asked {
                    true => Ok((200, reply.body, None)),
                    false => Err(Problem::new(422, "this Idempotency-Key was used with another body")),
                };
            }
        }
        let mut rejected = batch.rejected;
        let mut accepted = 0u64;
        // By topic: records and bytes. WHY: to find a counter by its name costs as much as half of a match.
        let mut taken: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for line in batch.lines {
            let (number, bytes) = (line.line, line.raw.len() as u64);
            match self.event(line, now)? {
                Ok(topic) => {
                    accepted += 1;
                    let sums = taken.entry(topic).or_default();
                    *sums = (sums.0 + 1, sums.1 + bytes);
                }
                Err(Rejection { code, message }) => {
                    rejected.push(Rejected { line: number, code, message });
                }
            }
        }
        for (topic, (records, bytes)) in taken {
            counter!("tripline_source_records_total", "topic" => topic.clone()).increment(records);
            counter!("tripline_source_bytes_total", "topic" => topic).increment(bytes);
        }
        counter!("tripline_events_processed_total", "task" => "0").increment(accepted);
        rejected.sort_by_key(|r| r.line);
        let held = self.matcher.core.task().held_until();
        // Of a stream that has had no event yet nothing is released: no time.
        let time = |until: i64| (until > i64::MIN).then(|| super::rfc3339(until));
        let held = held.map(|(stream, until)| json!({"stream": stream, "time": time(until)}));
        let body = json!({"accepted": accepted, "rejected": rejected, "held_until": held});
        if let Some((key, asked)) = batch.key {
            let reply = IdempotentReply { at: now, asked, body: body.clone() };
            let point = &mut self.matcher.point;
            point.commit.idempotent(&key, &reply).map_err(|e| Problem::new(503, e.to_string()))?;
            point.keys.insert(key, reply);
        }
        Ok((200, body, None))
    }

    /// Takes one event: to the task, and to the commit. Its topic, or what is wrong with it; an error if the matcher panicked
    /// at it.
    fn event(&mut self, line: Line, now: i64) -> Result<Result<String, Rejection>, Problem> {
        let Self { matcher, crashes, .. } = self;
        // WHY: it may come again at any offset; what it is tells it from others.
        crashes.entering(&line.stream, 0, &line.raw);
        let taken = crash::caught(|| matcher.core.accept(&line.stream, &line.raw, now));
        match taken {
            Ok(Ok((topic, offset))) => {
                let point = &mut matcher.point;
                point.commit.topic(&topic, offset, point.next.next_seq);
                point.log(&Entry::Event { stream: line.stream, offset, arrived: now, raw: line.raw });
                matcher.collect(now);
                Ok(Ok(topic))
            }
            Ok(Err(rejection)) => {
                let code = rejection.code.clone();
                counter!("tripline_decode_errors_total", "topic" => line.stream, "code" => code).increment(1);
                Ok(Err(rejection))
            }
            Err(why) => {
                crashes.panicked(Some(Place::of(&line.stream, 0, &line.raw)), &why);
                self.is_broken = true;
                Err(again(&format!(
                    "the matcher panicked at line {}, so nothing of it was accepted",
                    line.line
                )))
            }
        }
    }

    /// Writes the commit. Some text if it failed.
    fn commit(&mut self) -> Option<String> {
        let matcher = &mut self.matcher;
        if let Err(error) = matcher.point.write() {
            tracing::error!(%error, "commit failed: nothing is taken until a restart");
            matcher.shared.failed.store(true, Ordering::Release);
            return Some(format!("not stored, so not accepted: {error}"));
        }
        matcher.shared.committed.send_replace(matcher.point.alerts());
        matcher.committed();
        None
    }
}

/// Nothing of a request was taken; it may be sent again.
fn again(why: &str) -> Problem {
    Problem::new(503, format!("{why}: send it again")).retry_after(1)
}
