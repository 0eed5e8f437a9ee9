//! Start: the newest snapshot, silent replay of the log after it, the comparison with what was committed, then the rules folder.

use super::core::{Core, Origin};
use super::embedded::StorePoint;
use super::snapshot::{Snapshot, Snapshots, unfit};
use super::{folder, language, now_micros, rfc3339};
use crate::commit::CommitPoint;
use crate::config::{Config, OnConflict, duration};
use crate::store::{Control, FolderState, Head, Store};
use anyhow::{Context, bail};
use engine::task::{Limits, Options};
use metrics::{counter, gauge};
use pattern_dsl::ir::Mode;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, Instant};

/// The task as it stood at the last commit, with the rules folder and the settings as they are now.
pub(crate) fn recover(store: &Store, config: &Config) -> anyhow::Result<(Core, StorePoint)> {
    let (mut core, mut point) = rebuild(store, config)?;
    if let Some(path) = &config.rules.folder {
        let state = read_folder(path)?;
        take_folder(&mut core, &mut point, state, path, config.rules.on_conflict)?;
    }
    take_settings(&mut core, &mut point, config);
    point.write().context("recording the rules folder and the settings")?;
    Ok((core, point))
}

/// The task as it stood at the last commit.
pub(crate) fn rebuild(store: &Store, config: &Config) -> anyhow::Result<(Core, StorePoint)> {
    let begun = Instant::now();
    let head = store.head()?;
    let mut snapshots = Snapshots::open(config, &own_name(config)).map_err(anyhow::Error::msg)?;
    let (core, replayed) = match from_snapshot(store, config, &mut snapshots, &head)? {
        Some(found) => found,
        None => from_start(store, config, &head)?,
    };
    gauge!("tripline_restore_duration_seconds").set(begun.elapsed().as_secs_f64());
    counter!("tripline_replayed_events_total").increment(replayed);
    if replayed > 0 {
        snapshots.hurry();
        tracing::info!(
            entries = replayed,
            alerts = head.alerts,
            seconds = begun.elapsed().as_secs_f64(),
            "replayed the log"
        );
    }
    let forgotten = store.forget_idempotency(now_micros() - 86_400_000_000)?;
    tracing::debug!(forgotten, "old idempotency keys");
    Ok((core, StorePoint::new(store.clone(), head, snapshots)))
}

/// The name of the service's snapshots: in a place that others may use as well, it says whose they are.
pub(crate) fn own_name(config: &Config) -> String {
    match &config.snapshots.url {
        Some(_) => format!("embedded-{}", config.worker_id()),
        None => "embedded".to_owned(),
    }
}

/// What a snapshot says of the commit that it is of.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stand {
    pub(crate) head: Head,
    /// [`Store::print_before`] of it: another store, or an older copy of this one, may have come as far in another way.
    pub(crate) print: Option<String>,
}

/// The task by a replay of the whole log, and how many entries that was.
fn from_start(store: &Store, config: &Config, head: &Head) -> anyhow::Result<(Core, u64)> {
    let mut core = new_core(config);
    let mut decisions = Vec::new();
    let (found, entries) = replay(store, &mut core, Head::default(), &mut decisions)?;
    if found != *head {
        counter!("tripline_determinism_violations_total").increment(1);
        tracing::error!(
            found = found.alerts,
            committed = head.alerts,
            "replay found other alerts than were committed"
        );
    }
    store.name_decisions(&decisions)?;
    Ok((core, entries))
}

/// The task by the newest snapshot that leads to what was committed, and how many entries of the log came after it. None if
/// there is no such snapshot.
fn from_snapshot(
    store: &Store,
    config: &Config,
    snapshots: &mut Snapshots,
    head: &Head,
) -> anyhow::Result<Option<(Core, u64)>> {
    let of = |mark: &str| {
        let stand: Stand = serde_json::from_str(mark).ok()?;
        let print = store.print_before(stand.head.next_seq).ok()?;
        (stand.head.next_seq <= head.next_seq && stand.print == print).then_some(stand.head)
    };
    let put_back = |snapshot: &Snapshot| {
        let begun = of(&snapshot.mark)?;
        let mut core = new_core(config);
        let decisions = store.decisions_before(begun.next_seq).map_err(|e| e.to_string());
        let outcome = decisions.and_then(|decisions| core.rebuild(&decisions, snapshot)).and_then(|()| {
            let (found, entries) =
                replay(store, &mut core, begun, &mut Vec::new()).map_err(|e| e.to_string())?;
            if found == *head {
                Ok(entries)
            } else {
                Err("it leads to other alerts than were committed".into())
            }
        });
        outcome.inspect_err(|why| unfit(why)).ok().map(|entries| (core, entries))
    };
    Ok(snapshots.newest(&|| {}, |mark| of(mark).map(|head| head.next_seq), put_back))
}

/// A core without streams and rules.
pub(crate) fn new_core(config: &Config) -> Core {
    let limits = Limits {
        candidates: Some(config.limits.candidates),
        state: Some(config.limits.state),
        matches_per_moment: Some(config.limits.matches_per_moment),
        search_work: Some(config.limits.search_work),
        alerts_per_rule_day: Some(config.limits.alerts_per_rule_day),
    };
    let idle_max = config.time.idle_max.as_deref().and_then(duration);
    let live_within = duration(&config.time.live_within).unwrap_or(Duration::from_secs(600));
    Core::new(
        Options { limits, count_only: false, sorted_input: false, keep_history: false },
        idle_max,
        live_within,
    )
}

/// Replays the log from a commit on without telling anyone. Where that leads to, and how many entries it was; where the
/// decisions among them are that a state does not hold goes to `decisions`.
fn replay(
    store: &Store,
    core: &mut Core,
    mut found: Head,
    decisions: &mut Vec<u64>,
) -> anyhow::Result<(Head, u64)> {
    let mut entries = 0;
    for item in store.log_from(found.next_seq) {
        let (seq, entry) = item?;
        if let Err(why) = core.replay(&entry) {
            tracing::error!(seq, why, "an entry of the log could not be taken again");
            counter!("tripline_determinism_violations_total").increment(1);
        }
        core.drain(|id| found.add(id));
        decisions.extend(entry.is_lasting().then_some(seq));
        found.next_seq = seq + 1;
        entries += 1;
    }
    Ok((found, entries))
}

/// The rules folder as it is now.
pub(crate) fn read_folder(path: &Path) -> anyhow::Result<FolderState> {
    folder::read(path).map_err(anyhow::Error::msg)
}

/// Takes the rules folder if it changed: a decision.
pub(crate) fn take_folder(
    core: &mut Core,
    point: &mut impl CommitPoint,
    mut state: FolderState,
    path: &Path,
    on_conflict: OnConflict,
) -> anyhow::Result<()> {
    state.skipped = conflicts(core, &state, path, on_conflict)?;
    if core.folder() == Some(&state) {
        return Ok(());
    }
    let at = (!core.is_fresh()).then(|| core.next_activation());
    let recorded = now_micros();
    core.take_folder(&state, at, recorded).map_err(|e| anyhow::Error::msg(e.rendered))?;
    point.decision(Control::Folder { state, at, recorded }, core);
    for alert in core.out.alerts.drain(..).filter(|a| a.mode != Mode::Off) {
        point.alert(&alert);
    }
    tracing::info!(rules = core.rules().len(), "took the rules folder {}", path.display());
    Ok(())
}

/// Takes the settings that decide what is matched, if they changed: a decision, so that a replay goes by those of its time.
pub(crate) fn take_settings(core: &mut Core, point: &mut impl CommitPoint, config: &Config) {
    let most = config.future_skew();
    if core.skew_max() != most {
        point.decision(Control::Skew { most }, core);
        core.limit_skew(most);
    }
}

/// Rules of the folder that are passed over because the API has them.
fn conflicts(
    core: &Core,
    state: &FolderState,
    path: &Path,
    on_conflict: OnConflict,
) -> anyhow::Result<Vec<String>> {
    let module = language::compile_folder(state).map_err(|e| anyhow::Error::msg(e.rendered))?;
    let mut skipped = Vec::new();
    for rule in &module.rules {
        let Some(active) = core.rules().get(&rule.name).filter(|a| a.origin == Origin::Api) else { continue };
        match on_conflict {
            OnConflict::Folder => {}
            OnConflict::Api => skipped.push(rule.name.clone()),
            OnConflict::Refuse => {
                let file = state.files.get(source_of(state, &rule.text));
                let place = file.map_or_else(|| path.display().to_string(), |(name, _)| name.clone());
                bail!(
                    "rule `{}` is in {place} and was put over HTTP (revision {}, {}): delete one, or set `[rules] on_conflict` to \"folder\" or \"api\"",
                    rule.name,
                    active.revision,
                    rfc3339(active.recorded)
                );
            }
        }
    }
    Ok(skipped)
}

/// The file that holds a rule's text.
fn source_of(state: &FolderState, text: &str) -> usize {
    state.files.iter().position(|(_, file)| file.contains(text)).unwrap_or(0)
}
