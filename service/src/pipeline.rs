//! One shot over files: infer what is not declared, compile, activate, and drive every event through a task.
//!
//! Used by `run` and `why`. Undeclared streams are inferred from the whole of a file (of streaming stdin from its
//! first 1,000 events); a stream without any event lets the rules that read it be skipped instead of failing.

use crate::console::say;
use crate::decode::csv as packed;
use crate::failure::Failure;
use crate::files::{Compression, EventFile, FileOptions, Format, Next, Records, StreamOf};
use crate::infer::Shape;
use crate::input::{Lane, Rejects, StreamInfo, StreamNames, arrival, sorted};
use crate::ruleset;
use engine::alert::{ALERTS, Alert};
use engine::event::EventRef;
use engine::task::{Input, Limits, Options, Outputs, Partition, Task};
use pattern_dsl::{Environment, SourceText, ir};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

/// What to run.
#[derive(Debug)]
pub struct Setup {
    /// Rule files and folders.
    pub rules: Vec<PathBuf>,
    /// Event files.
    pub files: FileOptions,
    /// `--list`.
    pub lists: Vec<(String, PathBuf)>,
    /// `--time`.
    pub time: Option<String>,
    /// `--arrival-order`.
    pub arrival: bool,
    /// `--to-end`.
    pub to_end: bool,
    /// Caps.
    pub limits: Limits,
    /// Bytes sorted in memory.
    pub sort_memory: usize,
    /// Remember events for `why`.
    pub keep_history: bool,
}

/// Records read ahead, with their lines.
type Head = VecDeque<(u64, Vec<u8>)>;

/// One file ready to be read.
#[derive(Debug)]
struct Source {
    file: EventFile,
    /// Stdin, kept so that it can be read twice.
    spool: Option<tempfile::NamedTempFile>,
    /// Streaming stdin: opened once, with records read ahead.
    live: Option<(Records, Head)>,
    header: Option<Vec<String>>,
}

impl Source {
    fn open(&mut self) -> Result<(Records, Head), Failure> {
        if let Some(live) = self.live.take() {
            return Ok(live);
        }
        let mut file = self.file.clone();
        if let Some(spool) = &self.spool {
            file.path = spool.path().to_owned();
        }
        let mut records = file.open()?;
        match records.header() {
            Ok(header) => self.header = header,
            Err(error) => say!("{}: {error}", self.file.path.display()),
        }
        Ok((records, VecDeque::new()))
    }
}

/// Everything activated.
#[derive(Debug)]
pub struct Ready {
    /// The rule files.
    pub sources: Vec<SourceText>,
    /// The checked rules.
    pub module: ir::Module,
    /// The task.
    pub task: Task,
    streams: Vec<StreamInfo>,
    files: Vec<Source>,
    arrival: bool,
    to_end: bool,
    sort_memory: usize,
}

/// What happened.
#[derive(Debug, Default)]
pub struct Tally {
    /// Events given to the task.
    pub events: u64,
    /// Late events: file, line, event time, the watermark missed.
    pub late: u64,
    /// The first few late events.
    pub late_samples: Vec<(String, u64, i64, i64)>,
    /// Events with an id seen before.
    pub duplicates: u64,
    /// The first few duplicates.
    pub duplicate_samples: Vec<(String, u64)>,
    /// Files that could not be read to their end.
    pub broken: u64,
}

const STDIN_SAMPLE: usize = 1_000;
const SAMPLES: usize = 20;

/// Infers, compiles and activates.
///
/// # Errors
/// Unreadable input, or rules with errors.
pub fn prepare(setup: &Setup) -> Result<Ready, Failure> {
    let sources = ruleset::load(&setup.rules)?;
    let mut environment = Environment {
        streams: Vec::new(),
        tables: setup.lists.iter().map(|(name, _)| (name.clone(), None)).collect(),
        require_declared: false,
    };
    let declared: BTreeSet<String> =
        ruleset::declared_streams(&sources, &environment).into_iter().map(|s| s.name).collect();
    let named = pattern_dsl::stream_names(&sources);
    let mut files = open_sources(setup)?;
    let wanted: Vec<String> = named.into_iter().filter(|n| !declared.contains(n)).collect();
    let (guessed, empty) = guess(&mut files, &wanted, setup)?;
    for stream in &guessed {
        if stream.fields.is_empty() {
            continue;
        }
        say!("guessed (write it down with `tripline infer`):\n{}", crate::infer::block(stream).trim_end());
    }
    environment.streams = guessed;
    let compiled = compile(&sources, &environment, &empty)?;
    let module = compiled.module;
    let tables = crate::tables::fill(&module, &sources, &setup.lists)?;
    let mut task = Task::new(Options {
        limits: setup.limits.clone(),
        count_only: false,
        sorted_input: !setup.arrival,
        keep_history: setup.keep_history,
    });
    task.activate(&module, &tables, None).map_err(|error| Failure::finding(error.to_string()))?;
    let mut streams = stream_infos(&mut task, &module);
    // Alerts come from rules, not from files.
    streams.retain(|info| info.stream.name != ALERTS);
    no_record_times(&files, &streams)?;
    for source in &files {
        if let StreamOf::Named(name) = &source.file.stream
            && !streams.iter().any(|s| s.stream.name == *name)
        {
            say!("note: no rule reads stream `{name}` ({})", source.file.path.display());
        }
    }
    let (arrival, to_end) = (setup.arrival, setup.to_end);
    Ok(Ready { sources, module, task, streams, files, arrival, to_end, sort_memory: setup.sort_memory })
}

/// A file's records have no time of their own.
fn no_record_times(files: &[Source], streams: &[StreamInfo]) -> Result<(), Failure> {
    let read = |info: &&StreamInfo| {
        files.iter().any(|source| match &source.file.stream {
            StreamOf::Named(name) => *name == info.stream.name,
            StreamOf::Field(_) => true,
        })
    };
    let record = streams.iter().filter(|info| info.stream.time.format == ir::TimeFormat::Record).find(read);
    record.map_or(Ok(()), |info| {
        let name = &info.stream.name;
        Err(Failure::finding(format!(
            "error[E205]: stream `{name}` takes its time from the record (`time record`), but a file has no record time\n  \
             help: name a field that holds the time: `time ts`"
        )))
    })
}

/// The streams of a module as the task knows them.
pub fn stream_infos(task: &mut Task, module: &ir::Module) -> Vec<StreamInfo> {
    let mut infos = Vec::new();
    for stream in &module.streams {
        let id = task.stream_id(&stream.name).unwrap_or_else(|| task.add_stream(stream));
        if let Some(layout) = task.layout().streams.get(id as usize) {
            infos.push(StreamInfo { stream: stream.clone(), id, layout: layout.clone() });
        }
    }
    infos
}

/// Compiles; rules that cannot be checked only because their stream is empty are skipped.
fn compile(
    sources: &[SourceText],
    environment: &Environment,
    empty: &[String],
) -> Result<pattern_dsl::Compiled, Failure> {
    if empty.is_empty() {
        return ruleset::compile(sources, environment, true);
    }
    let compiled = pattern_dsl::compile(sources, environment);
    let unknown = |d: &pattern_dsl::Diagnostic| matches!(d.code, "E202" | "E204" | "E211");
    if compiled.diagnostics.iter().any(|d| d.is_error() && !unknown(d)) {
        return ruleset::compile(sources, environment, true);
    }
    for name in empty {
        say!("note: stream `{name}` has no events; rules that read its fields are skipped");
    }
    Ok(compiled)
}

fn open_sources(setup: &Setup) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    for file in setup.files.resolve()? {
        let mut source = Source { file, spool: None, live: None, header: None };
        if source.file.is_stdin() {
            if setup.arrival {
                let mut records = source.file.open()?;
                source.header = records.header()?;
                let mut head = VecDeque::new();
                let mut buffer = Vec::new();
                while head.len() < STDIN_SAMPLE {
                    match records.next(&mut buffer)? {
                        Next::Record(line) => head.push_back((line, buffer.clone())),
                        Next::Bad(_, error) => say!("stdin: {error}"),
                        Next::End => break,
                    }
                }
                source.live = Some((records, head));
            } else {
                let mut spool = tempfile::NamedTempFile::new()?;
                std::io::copy(&mut std::io::stdin().lock(), &mut spool)?;
                source.spool = Some(spool);
            }
        }
        sources.push(source);
    }
    Ok(sources)
}

fn shape_of<'s>(shapes: &'s mut BTreeMap<String, Shape>, name: &str) -> &'s mut Shape {
    if !shapes.contains_key(name) {
        shapes.insert(name.to_owned(), Shape::default());
    }
    shapes.entry(name.to_owned()).or_default()
}

/// Shapes of the wanted streams in one file.
fn scan(source: &mut Source, wanted: &[String], shapes: &mut BTreeMap<String, Shape>) -> Result<(), Failure> {
    if let StreamOf::Named(name) = &source.file.stream {
        if !wanted.contains(name) {
            return Ok(());
        }
        shapes.entry(name.clone()).or_default();
    }
    let add = |shapes: &mut BTreeMap<String, Shape>,
               names: &mut StreamNames,
               header: Option<&[String]>,
               record: &[u8]| {
        let Some(name) = names.name(record).filter(|n| wanted.iter().any(|w| w == n)) else { return };
        let shape = shape_of(shapes, &name);
        match header {
            None => shape.add_json(record),
            Some(header) => shape.add_record(header, packed::unpack(record)),
        }
    };
    if let Some((_, head)) = &source.live {
        let mut names = StreamNames::new(&source.file, source.header.as_deref())?;
        for (_, record) in head {
            add(shapes, &mut names, source.header.as_deref(), record);
        }
        return Ok(());
    }
    let (mut records, _) = source.open()?;
    let header = source.header.clone();
    let mut names = StreamNames::new(&source.file, header.as_deref())?;
    let mut buffer = Vec::new();
    // What is damaged here is reported when the events are read.
    while let Ok(next) = records.next(&mut buffer) {
        match next {
            Next::Record(_) => add(shapes, &mut names, header.as_deref(), &buffer),
            Next::Bad(..) => {}
            Next::End => break,
        }
    }
    Ok(())
}

fn guess(
    files: &mut [Source],
    wanted: &[String],
    setup: &Setup,
) -> Result<(Vec<ir::Stream>, Vec<String>), Failure> {
    let mut shapes = BTreeMap::new();
    if !wanted.is_empty() {
        for source in files.iter_mut() {
            scan(source, wanted, &mut shapes)?;
        }
    }
    let live = files.iter().any(|f| f.live.is_some());
    let mut streams = Vec::new();
    let mut empty = Vec::new();
    for (name, shape) in &shapes {
        let mut stream = shape.stream(name, setup.time.as_deref()).map_err(Failure::finding)?;
        if shape.events() == 0 {
            empty.push(name.clone());
        }
        if live {
            Shape::loosen(&mut stream);
        }
        streams.push(stream);
    }
    Ok((streams, empty))
}

/// Shapes of all streams in the files: for `infer` and `check`.
///
/// # Errors
/// Unreadable input, or a time field that is not clear.
pub fn infer_files(options: &FileOptions, time: Option<&str>) -> Result<Vec<ir::Stream>, Failure> {
    let mut shapes: BTreeMap<String, Shape> = BTreeMap::new();
    for file in options.resolve()? {
        if let StreamOf::Named(name) = &file.stream {
            shapes.entry(name.clone()).or_default();
        }
        let mut records = file.open()?;
        let header = records.header()?;
        let mut names = StreamNames::new(&file, header.as_deref())?;
        let mut buffer = Vec::new();
        loop {
            match records
                .next(&mut buffer)
                .map_err(|error| Failure::finding(format!("{}: {error}", file.path.display())))?
            {
                Next::End => break,
                Next::Bad(line, error) => say!("{}:{line}: {error}", file.path.display()),
                Next::Record(_) => {
                    let Some(name) = names.name(&buffer) else { continue };
                    let shape = shape_of(&mut shapes, &name);
                    match (&header, file.format) {
                        (Some(header), Format::Csv) => shape.add_record(header, packed::unpack(&buffer)),
                        _ => shape.add_json(&buffer),
                    }
                }
            }
        }
    }
    shapes.iter().map(|(name, shape)| shape.stream(name, time).map_err(Failure::finding)).collect()
}

/// Where alerts go.
pub type Sink<'a> = dyn FnMut(&Alert) -> Result<(), Failure> + 'a;

/// Steps the task and keeps count.
struct Feeder<'a> {
    task: &'a mut Task,
    lanes: Vec<Lane>,
    names: Vec<String>,
    out: Outputs,
    tally: Tally,
    sink: &'a mut Sink<'a>,
    bar: indicatif::ProgressBar,
}

impl Feeder<'_> {
    fn event(
        &mut self,
        files: &[Source],
        at: usize,
        line: u64,
        record: &[u8],
        rejects: &mut Rejects,
    ) -> Result<(), Failure> {
        let (Some(lane), Some(source)) = (self.lanes.get_mut(at), files.get(at)) else { return Ok(()) };
        let partition = lane.partition;
        match lane.decode(record) {
            Ok(None) => return Ok(()),
            Ok(Some((stream, decoded))) => {
                self.tally.events += 1;
                let event = EventRef {
                    stream,
                    ts: decoded.ts,
                    partition,
                    offset: line,
                    id: decoded.id,
                    slots: decoded.slots,
                };
                self.task.step(Input::Event(event), &mut self.out);
            }
            Err(error) => rejects.note(&source.file, line, &error, record)?,
        }
        if self.tally.events & 0xffff == 0 {
            self.bar.set_message(format!("{} events", self.tally.events));
            self.bar.tick();
        }
        self.drain()
    }

    fn drain(&mut self) -> Result<(), Failure> {
        if self.out.alerts.is_empty() && self.out.late.is_empty() && self.out.duplicates.is_empty() {
            return Ok(());
        }
        for alert in self.out.alerts.drain(..) {
            (self.sink)(&alert)?;
        }
        for (partition, line, ts, watermark) in self.out.late.drain(..) {
            self.tally.late += 1;
            if self.tally.late_samples.len() < SAMPLES {
                let name = self.names.get(partition as usize).cloned().unwrap_or_default();
                self.tally.late_samples.push((name, line, ts, watermark));
            }
        }
        for (partition, line) in self.out.duplicates.drain(..) {
            self.tally.duplicates += 1;
            if self.tally.duplicate_samples.len() < SAMPLES {
                let name = self.names.get(partition as usize).cloned().unwrap_or_default();
                self.tally.duplicate_samples.push((name, line));
            }
        }
        Ok(())
    }
}

impl Ready {
    /// Drives all events through the task.
    ///
    /// # Errors
    /// `--strict`, a sink that fails, or a disk that does.
    pub fn drive(&mut self, rejects: &mut Rejects, sink: &mut Sink<'_>) -> Result<Tally, Failure> {
        let mut files = std::mem::take(&mut self.files);
        let mut opened = Vec::new();
        let (mut times, mut lanes, mut names) = (Vec::new(), Vec::new(), Vec::new());
        for source in &mut files {
            let (records, head) = source.open()?;
            let streams = self.streams.iter().filter(|s| match &source.file.stream {
                StreamOf::Named(name) => s.stream.name == *name,
                StreamOf::Field(_) => true,
            });
            let streams: Vec<_> = streams.map(|s| s.id).collect();
            let unused = streams.is_empty();
            let header = source.header.as_deref();
            let partition = if unused {
                0
            } else {
                self.task.add_partition(Partition { name: source.file.name.clone(), streams })
            };
            times.push(Lane::new(&source.file, partition, header, &self.streams, true)?);
            lanes.push(Lane::new(&source.file, partition, header, &self.streams, false)?);
            if names.len() <= partition as usize {
                names.resize(partition as usize + 1, String::new());
            }
            if !unused && let Some(name) = names.get_mut(partition as usize) {
                name.clone_from(&source.file.name);
            }
            opened.push((records, head, unused));
        }
        let bar = progress();
        let mut relay = |alert: &Alert| sink(alert);
        let mut feeder = Feeder {
            task: &mut self.task,
            lanes,
            names,
            out: Outputs::default(),
            tally: Tally::default(),
            sink: &mut relay,
            bar,
        };
        if self.arrival {
            by_arrival(&mut feeder, &files, opened, times, rejects)?;
        } else {
            by_time(&mut feeder, &files, opened, times, rejects, self.sort_memory)?;
        }
        feeder.task.step(Input::End, &mut feeder.out);
        feeder.drain()?;
        if self.to_end {
            feeder.task.step(Input::Time(i64::MAX / 2), &mut feeder.out);
            feeder.drain()?;
        }
        feeder.bar.finish_and_clear();
        rejects.flush()?;
        Ok(feeder.tally)
    }
}

type Opened = Vec<(Records, Head, bool)>;

fn by_arrival(
    feeder: &mut Feeder<'_>,
    files: &[Source],
    opened: Opened,
    times: Vec<Lane>,
    rejects: &mut Rejects,
) -> Result<(), Failure> {
    let cursors = opened
        .into_iter()
        .zip(times)
        .map(|((records, head, _), lane)| arrival::Cursor::new(records, head, lane));
    arrival::drain(cursors.collect(), &mut |arrived| match arrived {
        arrival::Arrived::Record(at, line, record) => feeder.event(files, at, line, record, rejects),
        arrival::Arrived::Bad(at, line, error) => match files.get(at) {
            Some(source) => rejects.note(&source.file, line, &error, b""),
            None => Ok(()),
        },
        arrival::Arrived::Broken(at, error) => {
            broken(feeder, files.get(at), &error);
            Ok(())
        }
    })
}

fn broken(feeder: &mut Feeder<'_>, source: Option<&Source>, error: &std::io::Error) {
    feeder.tally.broken += 1;
    let path = source.map(|s| s.file.path.display().to_string()).unwrap_or_default();
    say!("{path}: damaged, read up to here only: {error}");
}

fn by_time(
    feeder: &mut Feeder<'_>,
    files: &[Source],
    opened: Opened,
    mut times: Vec<Lane>,
    rejects: &mut Rejects,
    memory: usize,
) -> Result<(), Failure> {
    let mut sorter = sorted::Sorter::new(memory);
    let mut buffer = Vec::new();
    for (at, (mut records, _, unused)) in opened.into_iter().enumerate() {
        let (Some(source), Some(lane)) = (files.get(at), times.get_mut(at)) else { continue };
        if unused {
            continue;
        }
        if source.file.compression == Compression::None && !source.file.is_stdin() {
            let bytes = std::fs::metadata(&source.file.path).map_or(0, |m| m.len());
            sorter.reserve(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        loop {
            match records.next(&mut buffer) {
                Ok(Next::End) => break,
                Ok(Next::Bad(line, error)) => rejects.note(&source.file, line, &error, b"")?,
                Ok(Next::Record(line)) => match lane.time(&buffer) {
                    Ok(Some(ts)) => sorter.push(ts, at, line, &buffer)?,
                    Ok(None) => {}
                    Err(error) => rejects.note(&source.file, line, &error, &buffer)?,
                },
                Err(error) => {
                    broken(feeder, Some(source), &error);
                    break;
                }
            }
        }
    }
    for (lane, times) in feeder.lanes.iter_mut().zip(&times) {
        lane.adopt_units(times);
    }
    sorter.drain(&mut |s| feeder.event(files, s.file, s.line, s.record, rejects))
}

fn progress() -> indicatif::ProgressBar {
    if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        indicatif::ProgressBar::new_spinner()
    } else {
        indicatif::ProgressBar::hidden()
    }
}
