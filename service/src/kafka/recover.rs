//! From what stands committed to a task that stands there too: a silent replay, with decisions at their places.

use super::Trouble;
use super::cluster::{Cluster, Member, Purpose, Record};
use super::control::{self, Committed, Decision};
use super::mark::{Mark, Tally, read_back};
use super::point::KafkaPoint;
use super::reading::{self, Gate, turn};
use super::share::{self, TaskNumber};
use super::source::Source;
use super::topics::Topics;
use crate::clock;
use crate::commit::CommitPoint;
use crate::commit::protocol::Protocol;
use crate::config::{Config, Kafka};
use crate::serve::core::{Arrival, Core, Cut, partition_name};
use crate::serve::recover::{new_core, read_folder, take_folder, take_settings};
use crate::serve::snapshot::{Snapshot, Snapshots, unfit};
use crate::serve::{hex, language};
use crate::store::{Control, Entry, FolderState};
use engine::alert::ALERTS;
use metrics::{counter, gauge};
use pattern_dsl::ir;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long other groups' open transactions may hide our own commits in the control topic.
const HIDDEN: Duration = Duration::from_secs(30);

/// A task at the place where work goes on.
pub(crate) struct Recovered {
    pub(crate) core: Core,
    pub(crate) point: KafkaPoint,
    pub(crate) protocol: Protocol,
    pub(crate) source: Source,
    pub(crate) snapshots: Snapshots,
}

/// How the two places that name the last commit compare.
#[derive(Debug, PartialEq)]
enum Agreement {
    /// Nothing was ever committed.
    Fresh,
    /// Both name it.
    Same(Mark, Cut),
    /// The control topic does not show it yet.
    Hidden,
    /// They differ in a way that only a person can mend.
    Differ(String),
}

fn agree(head: Option<(Mark, Cut)>, offsets: Option<(Mark, Cut)>) -> Agreement {
    match (head, offsets) {
        (None, None) => Agreement::Fresh,
        (None, Some(_)) => Agreement::Hidden,
        (Some((head, _)), None) => Agreement::Differ(format!("are gone (commit {} had some)", head.epoch)),
        (Some((head, _)), Some((mark, _))) if head.lineage == mark.lineage && head.epoch < mark.epoch => {
            Agreement::Hidden
        }
        (Some((head, cut)), Some((mark, found))) => {
            if head != mark {
                let (theirs, ours) = (mark.epoch, head.epoch);
                return Agreement::Differ(format!("are of commit {theirs}, and the last one is {ours}"));
            }
            match cut.iter().find(|(name, offset)| found.get(*name) != Some(offset)) {
                None => Agreement::Same(head, cut),
                Some((name, offset)) => {
                    Agreement::Differ(format!("do not say {offset} for {name}, as the last commit did"))
                }
            }
        }
    }
}

/// The head that the control topic has shown while the offsets named a later commit, and since when that is so.
///
/// WHY: not since recovery began. A process may be stopped for longer than that between the two reads, and another worker
/// commits meanwhile: what it read first is then old, not hidden.
#[derive(Default)]
struct Behind(Option<(Option<u64>, Instant)>);

impl Behind {
    /// It is so again, in a look that began at `looked`. True if this head has been behind for too long.
    fn again(&mut self, head: Option<u64>, looked: Instant, now: Instant) -> bool {
        match self.0 {
            Some((before, since)) if before == head => looked.saturating_duration_since(since) >= HIDDEN,
            _ => {
                self.0 = Some((head, now));
                false
            }
        }
    }
}

/// What the rules folder says, read once by a process.
///
/// WHY: a task may come to it much later. It is to work by the rules of the others, whatever is being done to the folder.
pub(crate) struct Ground {
    /// None if there is none.
    folder: Option<(PathBuf, FolderState)>,
    pub(super) module: ir::Module,
    /// Topics that its streams are read from.
    pub(super) inputs: BTreeSet<String>,
}

impl Ground {
    pub(super) fn of(config: &Config) -> Result<Self, Trouble> {
        let (mut folder, mut module) = (None, ir::Module::default());
        if let Some(path) = &config.rules.folder {
            let state = read_folder(path).map_err(refused)?;
            module = language::compile_folder(&state).map_err(|e| Trouble::Refused(e.rendered))?;
            folder = Some((path.clone(), state));
        }
        let inputs = input_topics(&module, &config.kafka)?;
        Ok(Self { folder, module, inputs })
    }
}

/// Brings a task to what stands committed. `beat` is called often.
pub(crate) fn recover(
    config: &Config,
    ground: &Ground,
    task: TaskNumber,
    cluster: &Arc<dyn Cluster>,
    member: &dyn Member,
    beat: &dyn Fn() -> Result<(), Trouble>,
) -> Result<Recovered, Trouble> {
    let begun = clock::now();
    let kafka = &config.kafka;
    let Ground { folder, module, inputs } = ground;
    let topics = Topics::new(cluster, kafka, config.dev);
    topics.check_sends(&module.rules, &inputs.iter().map(String::as_str).collect::<Vec<_>>())?;
    let counts = topics.ensure_inputs(inputs)?;
    let only = kafka.only(task.number);
    if only.is_some() {
        share::check(module, &counts, task.of).map_err(Trouble::Refused)?;
    }
    let (committed, last) = settled(kafka, task.number, &**cluster, member, &counts)?;
    let epoch = last.as_ref().map_or(0, |(mark, _)| mark.epoch);
    let decisions = committed.decisions.len() as u64;
    let lineage = match &last {
        Some((mark, _)) => mark.lineage.clone(),
        None => new_name()?,
    };
    let mut snapshots = Snapshots::open(config, &lineage).map_err(Trouble::Refused)?;
    snapshots.retention = cluster.retention(inputs)?;
    let fresh = || Replay {
        cluster: &**cluster,
        core: new_core(config).of_partition(only),
        tally: Tally::default(),
        source: None,
        beat,
        events: 0,
    };
    let mut replay = fresh();
    let mut snapshot = (0, 0);
    if let Some((mark, cut)) = &last {
        snapshot = mark.snapshot;
        let fits = |text: &str| {
            let own: Mark = text.parse().ok()?;
            (own.lineage == mark.lineage && own.epoch <= mark.epoch).then_some(own.epoch)
        };
        // What it says is heard at the next call.
        let alive = || drop(beat());
        let restored = snapshots.newest(&alive, fits, |found| restore(fresh(), found, &committed.decisions));
        let from = match restored {
            Some((restored, decisions)) => {
                replay = restored;
                decisions
            }
            None => 0,
        };
        let reach = check_reach(&**cluster, &committed.decisions, only, &replay.core.cut(), cut);
        reach.map_err(|trouble| match (trouble, &snapshots.unreachable) {
            // A snapshot that cannot be read just now may begin where the input still reaches.
            (Trouble::Refused(why), Some(away)) => Trouble::Away(format!("{why}. The snapshots: {away}")),
            (trouble, _) => trouble,
        })?;
        replay.run(&committed.decisions[from..], cut)?;
        replay.compare(mark);
    }
    let Replay { mut core, tally, mut source, events, .. } = replay;
    gauge!("tripline_restore_duration_seconds").set(clock::since(begun).as_secs_f64());
    counter!("tripline_replayed_events_total").increment(events);
    if epoch > 0 {
        let seconds = clock::since(begun).as_secs_f64();
        tracing::info!(events, alerts = tally.alerts, epoch, seconds, "replayed the input");
    }
    let names = (lineage, new_name()?);
    let (whose, structured) = ((kafka.clone(), task.number), config.alerts.is_structured());
    let mut point = KafkaPoint::new(whose, structured, names, tally, decisions, snapshot);
    point.changes = committed.decisions.iter().map(|decision| decision.changes).max().unwrap_or(0);
    check_counts(&core, &counts)?;
    for topic in inputs {
        if core.opened().contains_key(topic) {
            continue;
        }
        let count = counts.get(topic).copied().unwrap_or(0) as i32;
        let starts = (0..count)
            .map(|partition| cluster.range(topic, partition).map(|(low, _)| low))
            .collect::<Result<Vec<u64>, _>>()?;
        core.open_topic(topic, starts.clone());
        point.decision(Control::Open { topic: topic.clone(), starts }, &core);
        source = None;
    }
    if let Some((path, state)) = folder {
        take_folder(&mut core, &mut point, state.clone(), path, config.rules.on_conflict).map_err(refused)?;
    }
    take_settings(&mut core, &mut point, config);
    let source = match source {
        Some(source) => source,
        None => open(&**cluster, &core)?,
    };
    if events > 0 {
        snapshots.hurry();
    }
    Ok(Recovered { core, point, protocol: Protocol::new(epoch), source, snapshots })
}

fn refused(error: anyhow::Error) -> Trouble {
    Trouble::Refused(format!("{error:#}"))
}

/// A name that nothing else has.
pub(super) fn new_name() -> Result<String, Trouble> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|e| Trouble::Refused(e.to_string()))?;
    Ok(hex(&bytes))
}

fn open(cluster: &dyn Cluster, core: &Core) -> Result<Source, Trouble> {
    let names = core.lanes().enumerate();
    let from: Vec<(String, u64)> =
        names.map(|(lane, name)| (name.to_owned(), core.next_offset(lane))).collect();
    Source::open(cluster, &from)
}

/// The topics that the folder's streams are read from.
fn input_topics(module: &ir::Module, kafka: &Kafka) -> Result<BTreeSet<String>, Trouble> {
    let mut topics = BTreeSet::new();
    for stream in module.streams.iter().filter(|stream| stream.name != ALERTS) {
        let topic = stream.topic.clone().unwrap_or_else(|| stream.name.clone());
        if kafka.own_topics().contains(&topic.as_str()) {
            return Err(Trouble::Refused(format!(
                "stream `{}` reads `{topic}`, which Tripline writes itself",
                stream.name
            )));
        }
        topics.insert(topic);
    }
    Ok(topics)
}

/// The topics that Tripline writes are there.
pub(crate) fn ensure_outputs(topics: &Topics, kafka: &Kafka, tasks: i32) -> Result<(), Trouble> {
    let own = kafka.own_topics();
    let purpose = |name: &str| match name == kafka.control_topic {
        true => Purpose::Control(tasks),
        false => Purpose::Records,
    };
    let wanted: Vec<(&str, Purpose)> = own.iter().map(|name| (*name, purpose(name))).collect();
    topics.ensure(&wanted).map(|_| ())
}

/// What is committed, once both places that name the last commit agree.
fn settled(
    kafka: &Kafka,
    task: i32,
    cluster: &dyn Cluster,
    member: &dyn Member,
    counts: &BTreeMap<String, usize>,
) -> Result<(Committed, Option<(Mark, Cut)>), Trouble> {
    let mut behind = Behind::default();
    loop {
        let looked = clock::now();
        let committed = control::read(cluster, kafka, task)?;
        let mut partitions: BTreeSet<String> = counts
            .iter()
            .flat_map(|(topic, count)| (0..*count as i32).map(move |number| (topic, number)))
            .filter(|(_, number)| kafka.only(task).is_none_or(|only| only == *number))
            .map(|(topic, number)| partition_name(topic, number))
            .collect();
        if let Some((_, cut)) = &committed.head {
            partitions.extend(cut.keys().cloned());
        }
        let partitions: Vec<String> = partitions.into_iter().collect();
        let offsets = read_back(member, &kafka.group, &partitions)?;
        let head = committed.head.as_ref().map(|(mark, _)| mark.epoch);
        let why = match agree(committed.head.clone(), offsets) {
            Agreement::Fresh if committed.decisions.is_empty() => return Ok((committed, None)),
            Agreement::Same(mark, cut) if mark.decisions == committed.decisions.len() as u64 => {
                return Ok((committed, Some((mark, cut))));
            }
            Agreement::Hidden if !behind.again(head, looked, clock::now()) => {
                clock::sleep(Duration::from_millis(200));
                continue;
            }
            Agreement::Differ(why) => why,
            Agreement::Hidden => format!("have no head in `{}`", kafka.control_topic),
            Agreement::Fresh | Agreement::Same(..) => {
                format!("go with other decisions than `{}` holds", kafka.control_topic)
            }
        };
        return Err(Trouble::Refused(format!(
            "the committed offsets of group `{}` {why}: they expired, or were changed by a tool. Put back what Tripline \
             wrote with `tripline recover --kafka {} --group {} --adopt`",
            kafka.group, kafka.brokers, kafka.group
        )));
    }
}

/// A replay that begins at a snapshot, and how many decisions lie before it. None if it does not fit.
fn restore<'a>(
    mut replay: Replay<'a>,
    snapshot: &Snapshot,
    decisions: &[Decision],
) -> Option<(Replay<'a>, usize)> {
    let mark: Mark = snapshot.mark.parse().ok()?;
    let before = usize::try_from(mark.decisions).ok()?;
    let known = decisions.get(..before).ok_or_else(|| "it knows more decisions".to_owned());
    let known = known.map(|known| known.iter().map(|decision| &decision.control));
    if let Err(why) = known.and_then(|known| replay.core.rebuild(known, snapshot)) {
        unfit(&why);
        return None;
    }
    replay.tally = mark.tally;
    Some((replay, before))
}

/// The input must reach back to where the replay begins, and on to where the task stands.
pub(super) fn check_reach(
    cluster: &dyn Cluster,
    decisions: &[Decision],
    only: Option<i32>,
    from: &Cut,
    cut: &Cut,
) -> Result<(), Trouble> {
    for decision in decisions {
        let Control::Open { topic, starts } = &decision.control else { continue };
        let own = (0..).zip(starts).filter(|(number, _)| only.is_none_or(|only| only == *number));
        for (partition, start) in own {
            let name = partition_name(topic, partition);
            let (low, high) = cluster.range(topic, partition)?;
            let end = cut.get(&name).copied().unwrap_or(*start);
            let start = from.get(&name).unwrap_or(start);
            if low > *start {
                return Err(Trouble::Refused(format!(
                    "{name}: records {start} to {} are gone, and the state of the rules can only be rebuilt from all of \
                     them: keep the topic longer (`retention.ms`), or begin anew with another --group",
                    low - 1
                )));
            }
            if high < end {
                return Err(Trouble::Refused(format!(
                    "{name}: it ends at {high}, but was read up to {end}: the topic was made anew or has lost records; \
                     begin anew with another --group"
                )));
            }
        }
    }
    Ok(())
}

/// A key's events must stay in their partition.
pub(super) fn check_counts(core: &Core, counts: &BTreeMap<String, usize>) -> Result<(), Trouble> {
    for (topic, starts) in core.opened() {
        let now = counts.get(topic).copied().unwrap_or(starts.len());
        if now != starts.len() {
            return Err(Trouble::Refused(format!(
                "topic `{topic}` had {} partitions and has {now}: keys have moved between them. Begin anew with another \
                 --group",
                starts.len()
            )));
        }
    }
    Ok(())
}

/// A silent replay.
struct Replay<'a> {
    cluster: &'a dyn Cluster,
    core: Core,
    tally: Tally,
    source: Option<Source>,
    beat: &'a dyn Fn() -> Result<(), Trouble>,
    events: u64,
}

impl Replay<'_> {
    fn run(&mut self, decisions: &[Decision], last: &Cut) -> Result<(), Trouble> {
        for decision in decisions {
            self.read_to(&decision.cut)?;
            let lanes = self.core.lanes().count();
            let entry = Entry::Control(Box::new(decision.control.clone()));
            if let Err(why) = self.core.replay(&entry) {
                tracing::error!(seq = decision.seq, why, "a decision could not be taken again");
                counter!("tripline_determinism_violations_total").increment(1);
            }
            self.core.drain(|id| self.tally.add(id));
            if self.core.lanes().count() != lanes {
                self.source = None;
            }
        }
        self.read_to(last)
    }

    fn read_to(&mut self, cut: &Cut) -> Result<(), Trouble> {
        let here = self.core.cut();
        if here.iter().all(|(name, offset)| cut.get(name).is_none_or(|limit| offset >= limit)) {
            return Ok(());
        }
        let mut source = match self.source.take() {
            Some(source) => source,
            None => open(self.cluster, &self.core)?,
        };
        while !reading::is_at(&self.core, &source, cut) {
            (self.beat)()?;
            let (tally, events) = (&mut self.tally, &mut self.events);
            let gate = Gate { limits: Some(cut), ..Gate::default() };
            let taken = turn(&mut self.core, &mut source, &gate, &mut |core, lane, record| {
                *events += 1;
                take(core, lane, &record);
                core.drain(|id| tally.add(id));
            })?;
            if taken == 0 {
                source.wait(Duration::from_millis(5))?;
            }
        }
        self.core.skip_to(cut);
        self.source = Some(source);
        Ok(())
    }

    /// The alerts found must be those that were committed.
    fn compare(&self, mark: &Mark) {
        if self.tally != mark.tally {
            counter!("tripline_determinism_violations_total").increment(1);
            tracing::error!(
                found = self.tally.alerts,
                committed = mark.tally.alerts,
                "replay found other alerts than were committed"
            );
        }
    }
}

/// A record goes to the task. What is wrong with it, if it is no event.
pub(crate) fn take(core: &mut Core, lane: usize, record: &Record) -> Option<(String, String)> {
    let raw = record.value.as_deref().unwrap_or_default();
    let arrival = Arrival { lane, offset: record.offset, arrived: record.arrived, raw };
    core.take(arrival).err().map(|rejection| (rejection.code, rejection.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(epoch: u64, offset: u64) -> Option<(Mark, Cut)> {
        let mark = Mark {
            lineage: "l".into(),
            epoch,
            tally: Tally::default(),
            decisions: 2,
            snapshot: (0, 0),
            writer: "w".into(),
        };
        Some((mark, Cut::from([("a/0".to_owned(), offset)])))
    }

    #[test]
    fn offsets_and_head_must_name_the_same_commit() {
        assert_eq!(agree(None, None), Agreement::Fresh);
        assert!(matches!(agree(commit(3, 9), commit(3, 9)), Agreement::Same(mark, _) if mark.epoch == 3));
        assert_eq!(agree(commit(2, 8), commit(3, 9)), Agreement::Hidden);
        assert!(matches!(agree(commit(3, 9), None), Agreement::Differ(_)), "expired");
        assert!(matches!(agree(commit(3, 9), commit(2, 8)), Agreement::Differ(_)), "set back");
        assert!(matches!(agree(commit(3, 9), commit(3, 8)), Agreement::Differ(_)), "moved");
    }

    #[test]
    fn a_head_is_behind_only_if_it_was_read_again_and_stayed_so() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut behind = Behind::default();
        assert!(!behind.again(None, at(0), at(60)), "stopped for a minute after the head was read");
        assert!(!behind.again(None, at(61), at(120)), "and again");
        assert!(!behind.again(Some(4), at(121), at(122)), "it moves");
        assert!(!behind.again(Some(4), at(151), at(152)));
        assert!(behind.again(Some(4), at(152), at(153)));
    }
}
