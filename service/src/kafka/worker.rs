//! The thread of a task in Kafka mode: reads, steps, commits, answers; and recovers when it has to.

mod intake;

use super::Trouble;
use super::breaker::Breaker;
use super::changes::Change;
use super::cluster::{Cluster, Member};
use super::door::{Door, reads_kafka};
use super::mark::{Mark, read_back};
use super::point::{Burst, KafkaPoint};
use super::recover::{Ground, Recovered, ensure_outputs, recover};
use super::share::TaskNumber;
use super::source::Source;
use super::topics::Topics;
use crate::api::problem::Problem;
use crate::clock;
use crate::commit::protocol::{Action, Due, Outcome, Pace, Protocol};
use crate::serve::core::Cut;
use crate::serve::crash::{self, Crashes, Verdict};
use crate::serve::matcher::{Answer, Ask, Matcher, RulesAsk};
use crate::serve::now_micros;
use crate::serve::snapshot::Snapshots;
use crate::serve::status::State;
use intake::Waiting;
use metrics::{counter, gauge, histogram};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long to wait before something that failed is tried again.
pub(super) const AGAIN: Duration = Duration::from_millis(500);
/// How long a task that ends here goes on trying to commit.
const DRAIN: Duration = Duration::from_secs(10);

/// How long to wait before a change of rules that could not be taken is tried again.
const FOLLOW_AGAIN: Duration = Duration::from_secs(1);

/// So many times within so long, and the name is another process's.
const FENCED_MAX: usize = 4;
const FENCED_WITHIN: Duration = Duration::from_secs(60);

/// The thread's state between recoveries.
pub(crate) struct Worker {
    door: Door,
    task: TaskNumber,
    cluster: Arc<dyn Cluster>,
    /// The task's place in its group; none before the group was joined.
    member: Option<Box<dyn Member>>,
    crashes: Crashes,
    /// None: not read yet.
    ground: Option<Arc<Ground>>,
}

/// How often the group has put another member in this one's place.
///
/// WHY: once says little. A broker that dies after it took down a member and before it answered leaves the same trace as a
/// second process of that name. But only two processes go on taking the name from each other.
#[derive(Default)]
struct Fenced {
    times: std::collections::VecDeque<Instant>,
}

impl Fenced {
    /// Once more. True if it is too often for an accident.
    fn again(&mut self) -> bool {
        self.times.push_back(clock::now());
        if self.times.len() < FENCED_MAX {
            return false;
        }
        self.times.pop_front().is_some_and(|first| clock::since(first) < FENCED_WITHIN)
    }
}

/// How a session ended without trouble.
enum End {
    Stopped,
    /// The group has asked for the task, and it is at its end here.
    HandedOver,
    Recover,
    /// The matcher panicked: the task is not to be trusted.
    Crashed,
}

/// A task at work.
struct Session<'a> {
    matcher: Matcher<KafkaPoint>,
    protocol: Protocol,
    source: Source,
    topics: Topics,
    snapshots: Snapshots,
    member: &'a mut dyn Member,
    /// The lease under which this work is done.
    grant: u64,
    door: &'a mut Door,
    /// Names of the partitions.
    names: Vec<String>,
    /// What is being written.
    burst: Option<Burst>,
    /// As of the last commit.
    committed: Cut,
    /// The last commit of this session.
    last: Option<Mark>,
    /// When that ended, and how long it took.
    commit: (Instant, Duration),
    /// Answers that leave with the next commit.
    waiting: Vec<(oneshot::Sender<Answer>, Answer)>,
    try_again: Instant,
    /// Unknown outcomes since the last commit.
    failures: u32,
    last_tick: Instant,
    /// When changes are looked at again, after one that could not be taken; and why it could not.
    follow_again: Instant,
    behind: Option<String>,
    /// The last change that is committed.
    changes: u64,
    /// Nothing is read any more, since then.
    stopping: Option<Instant>,
    crashes: &'a mut Crashes,
    /// What the matcher has crashed at twice, until it is passed over.
    verdict: Option<Verdict>,
    /// That is in the burst.
    is_judged: bool,
    is_crashed: bool,
    breaker: Breaker,
    /// What waits in memory for its time.
    held: Waiting,
    /// When the record that was read last came into its topic.
    arrived: i64,
}

impl Worker {
    pub(crate) fn new(door: Door, task: TaskNumber, cluster: Arc<dyn Cluster>, crashes: Crashes) -> Self {
        Self { door, task, cluster, member: None, crashes, ground: None }
    }

    /// One of several, which work by the same rules.
    pub(crate) fn on(self, ground: Arc<Ground>) -> Self {
        Self { ground: Some(ground), ..self }
    }

    /// Works until told to stop.
    pub(crate) fn run(mut self) {
        self.work();
        self.crashes.ended();
    }

    fn work(&mut self) {
        let mut fenced = Fenced::default();
        loop {
            let end = crash::caught(|| self.session()).unwrap_or_else(|why| {
                self.crashes.panicked(None, &why);
                Ok(End::Crashed)
            });
            self.crashes.rest();
            self.door.status.enter(State::Starting);
            // WHY: however it ended. The word to stop was answered, and does not come again.
            if self.door.is_told_to_stop {
                return;
            }
            match end {
                Ok(End::Stopped) => return,
                Ok(End::Crashed) => {
                    if let Some(verdict) = self.crashes.verdict().filter(Verdict::is_blank) {
                        self.crashes.judged();
                        return self
                            .door
                            .give_up(format!("the matcher panicked twice, at no record: {}", verdict.why));
                    }
                    if self.door.is_stopped(AGAIN) {
                        return;
                    }
                }
                Ok(End::HandedOver) => {
                    tracing::info!(task = self.task.number, "the group has asked for the task: handed over");
                    self.member.iter().for_each(|member| member.give_back());
                }
                Ok(End::Recover) => {
                    counter!("tripline_fenced_commits_total").increment(1);
                    tracing::warn!("the task was taken away; what stands committed decides how to go on");
                }
                Err(Trouble::Away(why)) => {
                    self.door.waits(&why);
                    if self.door.is_stopped(AGAIN) {
                        return;
                    }
                }
                Err(Trouble::Fenced(why)) => {
                    counter!("tripline_fenced_members_total").increment(1);
                    self.member = None;
                    if fenced.again() {
                        return self.door.give_up(format!(
                            "another process works under this worker's name: {why}; give each a `worker.id` of its own"
                        ));
                    }
                    tracing::warn!(
                        why,
                        "the group knows a newer member of this worker's name: joining again"
                    );
                    if self.door.is_stopped(AGAIN) {
                        return;
                    }
                }
                Err(Trouble::Refused(why)) => return self.door.give_up(why),
            }
        }
    }

    /// Joins the group, waits for the lease, recovers, and works for as long as it has the lease.
    fn session(&mut self) -> Result<End, Trouble> {
        let (shared, status, task) = (self.door.shared.clone(), self.door.status.clone(), self.task);
        let config = &shared.config;
        let ground = match &self.ground {
            Some(ground) => ground.clone(),
            None => self.ground.insert(Arc::new(Ground::of(config)?)).clone(),
        };
        let topics = Topics::new(&self.cluster, &config.kafka, config.dev);
        if self.member.is_none() {
            status.beat(now_micros());
            ensure_outputs(&topics, &config.kafka, task.of)?;
            self.member = Some(self.cluster.join(&config.worker_id(), task.number)?);
        }
        if !self.wait_for_lease()? {
            return Ok(End::Stopped);
        }
        status.enter(State::Starting);
        let Some(member) = &mut self.member else { return Ok(End::Recover) };
        let Some(grant) = member.grant() else { return Ok(End::Recover) };
        status.beat(now_micros());
        member.renew()?;
        let beat = || {
            status.beat(now_micros());
            member.serve(Duration::ZERO)?;
            match member.grant().is_some() && !member.is_wanted_back() {
                true => Ok(()),
                false => Err(Trouble::Away("the group has given the task to another worker".to_owned())),
            }
        };
        let Recovered { mut core, point, protocol, source, snapshots } =
            recover(config, &ground, task, &self.cluster, &**member, &beat)?;
        core.watch(self.crashes.watch());
        let matcher = Matcher::new(core, point, shared.clone(), status.clone());
        matcher.publish();
        status.enter(State::Working);
        let breaker = Breaker::new(&config.breaker, matcher.core.lanes());
        let mut session = Session {
            names: matcher.core.lanes().map(str::to_owned).collect(),
            committed: matcher.core.cut(),
            changes: matcher.point.changes,
            matcher,
            protocol,
            source,
            snapshots,
            topics,
            member: &mut **member,
            grant,
            burst: None,
            last: None,
            commit: (clock::now(), Duration::ZERO),
            waiting: Vec::new(),
            try_again: clock::now(),
            failures: 0,
            last_tick: clock::now(),
            follow_again: clock::now(),
            behind: None,
            stopping: None,
            verdict: self.crashes.verdict(),
            crashes: &mut self.crashes,
            is_judged: false,
            is_crashed: false,
            breaker,
            held: Waiting::new(config.limits.reorder_buffer_bytes),
            arrived: now_micros(),
            door: &mut self.door,
        };
        let end = session.run();
        for (reply, _) in session.waiting {
            let why = "whether this was stored is not known: look at the rule before sending it again";
            let _ = reply.send(Err(Problem::new(503, why).retry_after(1)));
        }
        end
    }

    /// Stands by until this worker has the lease. False if it was told to stop.
    fn wait_for_lease(&mut self) -> Result<bool, Trouble> {
        loop {
            let Some(member) = &self.member else { return Ok(true) };
            member.serve(Duration::from_millis(20))?;
            if member.is_wanted_back() {
                member.give_back();
            } else if member.grant().is_some() {
                return Ok(true);
            }
            if member.is_known() && self.door.status.enter(State::Standby) {
                let task = self.task.number;
                tracing::info!(task, "standing by: the group has given the task to no worker, or to another");
                self.door.is_ready();
            }
            if self.door.is_stopped(Duration::from_millis(30)) {
                return Ok(false);
            }
        }
    }
}

impl Session<'_> {
    fn run(&mut self) -> Result<End, Trouble> {
        self.judge();
        self.tell();
        loop {
            self.matcher.status.beat(now_micros());
            self.member.serve(Duration::ZERO)?;
            let Some(grant) = self.member.grant() else { return Ok(End::Recover) };
            if grant != self.grant {
                // WHY: it was gone for a moment, so somebody else may have had it.
                self.grant = grant;
                self.protocol.doubt();
            }
            if self.member.is_wanted_back() {
                self.stopping.get_or_insert_with(clock::now);
            }
            let mut taken = 0;
            if self.protocol.is_resting() {
                if !self.requests() {
                    return Ok(End::Stopped);
                }
                if self.stopping.is_none() && !self.matcher.point.is_full() && !self.is_crashed {
                    self.follow();
                }
                if self.stopping.is_none() && !self.matcher.point.is_full() && !self.is_crashed {
                    taken = self.read()?;
                }
                if self.is_crashed {
                    return Ok(End::Crashed);
                }
                self.tick();
                self.seal_if_due();
            }
            if let Some(end) = self.write()? {
                return Ok(end);
            }
            self.snapshots.go_on(&mut self.matcher.core);
            if let Some(since) = self.stopping
                && (self.is_clean() || clock::since(since) > DRAIN)
            {
                self.leave();
                return Ok(if self.door.is_told_to_stop { End::Stopped } else { End::HandedOver });
            }
            if self.is_clean() {
                self.door.is_ready();
            }
            if taken == 0 {
                self.source.wait(Duration::from_millis(5))?;
            }
        }
    }

    /// Everything that was read is committed, with all that it caused.
    fn is_clean(&self) -> bool {
        let point = &self.matcher.point;
        self.protocol.is_resting() && !point.has_words() && self.committed == self.matcher.core.cut()
    }

    /// Serves the requests that wait. False if there will be no more.
    fn requests(&mut self) -> bool {
        loop {
            let request = match self.door.queue.try_recv() {
                Ok(request) => request,
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            };
            self.matcher.shared.queued.fetch_sub(request.bytes(), Ordering::Relaxed);
            let answer = match request.ask {
                Ask::Rules(ask) => crash::caught(|| self.rules(ask)).unwrap_or_else(|why| {
                    self.is_crashed = true;
                    Err(crash::of_request(&why))
                }),
                Ask::Events(_) => Err(reads_kafka()),
                Ask::Finish => Ok((200, Value::Null, None)),
                Ask::Stop => {
                    self.door.is_told_to_stop = true;
                    self.stopping.get_or_insert_with(clock::now);
                    Ok((200, Value::Null, None))
                }
            };
            if self.matcher.point.has_words() && !self.is_crashed {
                self.waiting.push((request.reply, answer));
            } else {
                let _ = request.reply.send(answer);
            }
        }
    }

    /// A rule may only send to topics that there are: a record for no topic would hold all others back.
    fn rules(&mut self, ask: RulesAsk) -> Answer {
        if let RulesAsk::Put { id, text, .. } = &ask
            && let Ok(checked) = self.matcher.core.check_rule(id, text)
        {
            let inputs: Vec<&str> = self.matcher.core.opened().keys().map(String::as_str).collect();
            self.topics.check_sends(&checked.module.rules, &inputs).map_err(|trouble| match trouble {
                Trouble::Refused(why) => Problem::new(422, why),
                Trouble::Away(why) | Trouble::Fenced(why) => Problem::new(503, why).retry_after(1),
            })?;
        }
        self.matcher.rules(ask, now_micros())
    }

    /// Takes what the group's log of changes holds beyond the last one taken. One that cannot be taken here just now is waited
    /// for, and with it all after it: they are taken in one order everywhere.
    fn follow(&mut self) {
        if clock::now() < self.follow_again {
            return;
        }
        while !self.matcher.point.is_full()
            && let Some((number, change)) = self.door.changes.next(self.matcher.point.changes)
        {
            self.matcher.status.beat(now_micros());
            let before = std::mem::replace(&mut self.matcher.point.changes, number);
            let Change { id, text, recorded, .. } = &*change;
            let taken = crash::caught(|| self.matcher.change(id, text.as_deref(), *recorded, now_micros()));
            match taken {
                Ok(Ok(())) => self.behind = None,
                Ok(Err(why)) => {
                    tracing::warn!(task = self.matcher.status.label, rule = id, why, "a change waits");
                    (self.matcher.point.changes, self.behind) = (before, Some(format!("`{id}`: {why}")));
                    self.follow_again = clock::now() + FOLLOW_AGAIN;
                    return;
                }
                Err(why) => {
                    self.crashes.panicked(None, &why);
                    self.is_crashed = true;
                    return;
                }
            }
        }
    }

    fn seal_if_due(&mut self) {
        let cut = self.matcher.core.cut();
        let point = &mut self.matcher.point;
        let is_urgent = point.is_full()
            || !self.waiting.is_empty()
            || self.stopping.is_some()
            || self.door.ready.is_some();
        let (ended, took) = self.commit;
        let since = clock::since(ended).as_millis() as u64;
        let due = Due {
            since_ms: if self.stopping.is_some() { u64::MAX } else { since },
            took_ms: took.as_millis() as u64,
            has_words: point.has_words(),
            has_moved: cut != self.committed,
            is_urgent,
        };
        if Pace::default().is_due(due) {
            self.burst = Some(point.seal(self.protocol.epoch(), cut));
            self.protocol.offer();
        }
    }

    /// Goes on with the burst, as far as that goes now.
    fn write(&mut self) -> Result<Option<End>, Trouble> {
        let begun = clock::now();
        while clock::now() >= self.try_again {
            self.matcher.status.beat(now_micros());
            let action = self.protocol.next();
            let outcome = match (action, &self.burst) {
                (Action::Rest, _) => break,
                (Action::Recover, _) => return Ok(Some(End::Recover)),
                (Action::Renew, _) => match self.member.renew() {
                    Ok(()) => Outcome::Done,
                    Err(Trouble::Away(why)) => self.later(&why),
                    Err(refused) => return Err(refused),
                },
                (Action::ReadBack, _) => {
                    match read_back(self.member, &self.matcher.shared.config.kafka.group, &self.names) {
                        // One of the same number that another worker has made.
                        Ok(Some((mark, _))) if self.is_of_another(&mark) => Outcome::Fenced,
                        Ok(found) => Outcome::Committed(found.map(|(mark, _)| mark.epoch)),
                        Err(Trouble::Away(why)) => self.later(&why),
                        Err(refused) => return Err(refused),
                    }
                }
                (Action::Begin, _) => self.member.begin(),
                (Action::Commit, _) => self.member.commit(),
                (Action::Produce, Some(burst)) => self.member.produce(&burst.records),
                (Action::SendOffsets(_), Some(burst)) => {
                    self.member.send_offsets(&burst.cut, &burst.mark.to_string())
                }
                (Action::Settle, _) => {
                    self.settle(begun);
                    Outcome::Done
                }
                (Action::Produce | Action::SendOffsets(_), None) => return Ok(Some(End::Recover)),
            };
            if outcome == Outcome::Unknown && !matches!(action, Action::Renew | Action::ReadBack) {
                counter!("tripline_unknown_commits_total").increment(1);
                counter!("tripline_commits_total", "outcome" => "unknown").increment(1);
                // The first is tried again at once: most are gone by then.
                self.try_again = clock::now() + AGAIN * self.failures.min(1);
                self.failures += 1;
            }
            self.protocol.done(outcome);
        }
        Ok(None)
    }

    /// A commit of the burst's number, and not the burst.
    fn is_of_another(&self, mark: &Mark) -> bool {
        let own = self.burst.as_ref().map(|burst| &burst.mark);
        own.is_some_and(|own| own.epoch == mark.epoch && own.writer != mark.writer)
    }

    fn later(&mut self, why: &str) -> Outcome {
        tracing::warn!(why, "waiting for Kafka");
        self.try_again = clock::now() + AGAIN;
        Outcome::Unknown
    }

    /// The last snapshot of a worker that stops, if all that it did is committed.
    fn leave(&mut self) {
        if let Some(mark) = self.last.take().filter(|_| self.is_clean()) {
            self.snapshots.take_last(mark.epoch, || Some(mark.to_string()), &mut self.matcher.core);
        }
    }

    /// Takes a snapshot if one is due: nothing was read since the burst was sealed, so the task stands at its cut.
    fn snapshot(&mut self, burst: &Burst) {
        if let Some(reference) = self.snapshots.finished() {
            self.matcher.point.snapshot = reference;
        }
        self.snapshots.take(burst.mark.epoch, || Some(burst.mark.to_string()), &mut self.matcher.core);
    }

    /// The burst is committed.
    fn settle(&mut self, begun: Instant) {
        self.commit = (clock::now(), clock::since(begun));
        if let Some(burst) = self.burst.take() {
            self.snapshot(&burst);
            histogram!("tripline_transaction_alerts").record(burst.records.len() as f64);
            (self.committed, self.last) = (burst.cut, Some(burst.mark));
        }
        histogram!("tripline_commit_duration_seconds").record(self.commit.1.as_secs_f64());
        counter!("tripline_commits_total", "outcome" => "ok").increment(1);
        gauge!("tripline_commit_epoch").set(self.protocol.epoch() as f64);
        self.failures = 0;
        if std::mem::take(&mut self.is_judged) {
            self.crashes.judged();
        }
        self.matcher.committed();
        if self.changes != self.matcher.point.changes {
            self.changes = self.matcher.point.changes;
            self.tell();
        }
        for (reply, answer) in self.waiting.drain(..) {
            let _ = reply.send(answer);
        }
    }
}
