//! `bench recovery`: from the newest snapshot to a task that goes on from there, beside reading the same files.

use super::{middle, stream};
use crate::commands::bench::BenchArgs;
use crate::commands::bench::events::BASE_MS;
use crate::commands::bench::report::{Cost, Goal};
use crate::config::Config;
use crate::console::say;
use crate::failure::Failure;
use crate::serve::core::Core;
use crate::serve::recover::new_core;
use crate::serve::snapshot::Snapshots;
use crate::store::{Control, FolderState};
use std::fs;
use std::path::Path;
use std::time::Instant;

/// No match may run out while the others are opened.
const RULE: &str = "rule waits {
  by key
  match within 30d { ev as a where amount < 10 then first ev as b where amount > 900 then first ev as c where amount > 900 }
  overlap all
  reason \"{key}\"
}
";

/// Keys with one open match each.
///
/// # Errors
/// The snapshot cannot be written or read.
pub(in crate::commands::bench) fn run(args: &BenchArgs) -> Result<u8, Failure> {
    let keys = args.events.unwrap_or(1_000_000);
    let folder = tempfile::Builder::new().prefix("tripline-bench").tempdir()?;
    let mut config = Config::default();
    config.limits.state = usize::MAX;
    config.snapshots.url = Some(folder.path().display().to_string());
    config.snapshots.timeout = "1h".to_owned();
    let rules = stream("time ts in order as epoch_ms") + RULE;
    let state = FolderState { files: vec![("bench.cep".to_owned(), rules)], ..FolderState::default() };
    let decision = Control::Folder { state: state.clone(), at: None, recorded: 0 };
    let snapshots = || Snapshots::open(&config, "bench").map_err(Failure::finding);
    let mut core = new_core(&config);
    core.take_folder(&state, None, 0).map_err(|error| Failure::finding(error.rendered))?;
    open(&mut core, keys)?;
    let saved = open_matches(&core);
    snapshots()?.take_last(1, || Some("1".to_owned()), &mut core);
    drop(core);
    let (mut right, mut rounds, mut bytes) = (true, Vec::new(), 0);
    for _ in 0..args.rounds {
        let begun = Instant::now();
        bytes = read_all(folder.path())?;
        let read = begun.elapsed().as_secs_f64();
        let (begun, mut rebuild) = (Instant::now(), 0.0);
        let restored = snapshots()?.newest(
            &|| {},
            |_| Some(1),
            |snapshot| {
                let (begun, mut core) = (Instant::now(), new_core(&config));
                core.rebuild([&decision], snapshot).ok()?;
                rebuild = begun.elapsed().as_secs_f64();
                Some(core)
            },
        );
        let whole = begun.elapsed().as_secs_f64();
        let found = restored.map_or(0, |core| open_matches(&core));
        if found != keys || saved != keys {
            say!("wrong: recovery: {saved} open matches were saved and {found} restored, not {keys}");
            right = false;
        }
        rounds.push((whole, read, rebuild));
    }
    let of = |part: fn(&(f64, f64, f64)) -> f64| middle(rounds.iter().map(part).collect());
    let (whole, read, rebuild) = (of(|round| round.0), of(|round| round.1), of(|round| round.2));
    Cost {
        bench: "recovery".to_owned(),
        figure: if read > 0.0 { whole / read } else { 0.0 },
        unit: "times as long as reading the snapshot's files",
        goal: Goal::AtMost(2.0),
        detail: vec![
            ("keys", keys as f64),
            ("bytes", bytes as f64),
            ("read_s", read),
            ("recovery_s", whole),
            // The rest is reading, checking and unpacking.
            ("state_put_back_s", rebuild),
        ],
    }
    .show(args)?;
    Ok(u8::from(!right))
}

/// One event of each key, which begins a match that stays open.
fn open(core: &mut Core, keys: u64) -> Result<(), Failure> {
    for key in 0..keys {
        let line = format!(
            "{{\"ts\":{},\"key\":\"card-{key:06}\",\"type\":\"payment\",\"amount\":1.0,\"country\":\"DE\"}}",
            BASE_MS + key as i64
        );
        core.accept("ev", line.as_bytes(), 0).map_err(|refused| Failure::finding(refused.message))?;
    }
    Ok(())
}

fn open_matches(core: &Core) -> u64 {
    core.task().stats().iter().map(|(_, stats)| stats.still_open).sum()
}

/// Reads all files below a folder. Their bytes.
fn read_all(folder: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        bytes += if path.is_dir() { read_all(&path)? } else { fs::read(&path)?.len() as u64 };
    }
    Ok(bytes)
}
