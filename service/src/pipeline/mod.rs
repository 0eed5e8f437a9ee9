//! One shot over files: infer what is not declared, compile, activate, and drive every event through a task.
//!
//! Used by `run` and `why`. Undeclared streams are inferred from the whole of a file (of streaming stdin from its
//! first 1,000 events); a stream without any event lets the rules that read it be skipped instead of failing.

mod drive;

pub use self::drive::Sink;

use crate::console::say;
use crate::decode::csv as packed;
use crate::failure::Failure;
use crate::files::{EventFile, FileOptions, Format, Next, Records, StreamOf};
use crate::infer::Shape;
use crate::input::{StreamInfo, StreamNames};
use crate::ruleset;
use engine::alert::ALERTS;
use engine::task::{Limits, Options, Task};
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
    /// Threads that decode; one of them matches too.
    pub threads: usize,
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
    threads: usize,
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
    let &Setup { arrival, to_end, sort_memory, threads, .. } = setup;
    Ok(Ready { sources, module, task, streams, files, arrival, to_end, sort_memory, threads })
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
