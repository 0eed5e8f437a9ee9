//! Files of events: which format and stream each one has, opening them, and reading one record after the other.
//!
//! The suffix decides (`.jsonl`, `.ndjson`, `.csv`, each also `.gz` or `.zst`); the stem names the stream. A record is
//! a JSON line, or a CSV record packed by [`crate::decode::csv::pack`].

use crate::decode::{DecodeError, csv as packed};
use crate::failure::Failure;
use crate::frames::Frames;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One JSON object a line.
    #[value(alias = "ndjson", alias = "json")]
    Jsonl,
    /// Comma-separated with a header.
    Csv,
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// Which stream an event belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamOf {
    /// All events of the file.
    Named(String),
    /// The value of this field says.
    Field(String),
}

/// One file of events; one partition.
#[derive(Debug, Clone)]
pub struct EventFile {
    /// Where it is; `-` is stdin.
    pub path: PathBuf,
    /// Its name in event identities.
    pub name: String,
    /// How records are written.
    pub format: Format,
    /// How it is compressed.
    pub compression: Compression,
    /// Which stream its events belong to.
    pub stream: StreamOf,
}

/// What the arguments say about event files.
#[derive(Debug, Default)]
pub struct FileOptions {
    /// Positional and `--events` paths.
    pub events: Vec<PathBuf>,
    /// `--stream NAME=PATH`.
    pub streams: Vec<(String, PathBuf)>,
    /// `--split-by`.
    pub split_by: Option<String>,
    /// `--format`.
    pub format: Option<Format>,
}

impl FileOptions {
    /// The files, in the given order.
    ///
    /// # Errors
    /// An unknown suffix, or stdin without a format.
    pub fn resolve(&self) -> Result<Vec<EventFile>, Failure> {
        let mut files = Vec::new();
        for path in &self.events {
            files.push(self.describe(path, None)?);
        }
        for (name, path) in &self.streams {
            files.push(self.describe(path, Some(name))?);
        }
        for at in 0..files.len() {
            let name = files[at].name.clone();
            if files.iter().filter(|f| f.name == name).count() > 1 {
                for file in files.iter_mut().filter(|f| f.name == name) {
                    file.name = file.path.display().to_string();
                }
            }
        }
        Ok(files)
    }

    fn describe(&self, path: &Path, stream: Option<&str>) -> Result<EventFile, Failure> {
        let stdin = path.as_os_str() == "-";
        let file_name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let (bare, compression) = match file_name.rsplit_once('.') {
            Some((bare, "gz")) => (bare, Compression::Gzip),
            Some((bare, "zst" | "zstd")) => (bare, Compression::Zstd),
            _ => (file_name.as_str(), Compression::None),
        };
        let (stem, suffix) = bare.rsplit_once('.').unwrap_or((bare, ""));
        let format = match (self.format.filter(|_| stdin || suffix.is_empty()), suffix) {
            (Some(format), _) => format,
            (None, "jsonl" | "ndjson") => Format::Jsonl,
            (None, "csv") => Format::Csv,
            (None, _) if stdin => return Err(Failure::usage("events from stdin need --format jsonl|csv")),
            (None, _) => {
                let hint = "known are .jsonl, .ndjson, .csv, each also .gz or .zst (rules end in .cep)";
                return Err(Failure::usage(format!("{}: unknown kind of file; {hint}", path.display())));
            }
        };
        let stream = match (&self.split_by, stream) {
            (_, Some(name)) => StreamOf::Named(name.to_owned()),
            (Some(field), None) => StreamOf::Field(field.clone()),
            (None, None) if stdin => StreamOf::Named("stdin".to_owned()),
            (None, None) => StreamOf::Named(stem.to_owned()),
        };
        if !stdin && !path.is_file() {
            return Err(Failure::usage(format!("{}: no such file", path.display())));
        }
        let name = if stdin { "stdin".to_owned() } else { file_name.clone() };
        Ok(EventFile { path: path.to_owned(), name, format, compression, stream })
    }
}

impl EventFile {
    /// True if it can be read only once.
    #[must_use]
    pub fn is_stdin(&self) -> bool {
        self.path.as_os_str() == "-"
    }

    /// Opens it at its first record.
    ///
    /// # Errors
    /// A file that cannot be opened, or a CSV without a readable header.
    pub fn open(&self) -> Result<Records, Failure> {
        let unreadable = |error| Failure::usage(format!("{}: {error}", self.path.display()));
        let raw: Box<dyn Read + Send> = if self.is_stdin() {
            Box::new(std::io::stdin())
        } else {
            Box::new(File::open(&self.path).map_err(unreadable)?)
        };
        let plain: Box<dyn BufRead + Send> = match self.compression {
            Compression::None => Box::new(BufReader::with_capacity(1 << 18, raw)),
            Compression::Gzip => {
                Box::new(BufReader::with_capacity(1 << 18, flate2::read::MultiGzDecoder::new(raw)))
            }
            Compression::Zstd => {
                let frames = Frames::new(BufReader::with_capacity(1 << 18, raw));
                Box::new(BufReader::with_capacity(1 << 18, frames))
            }
        };
        Ok(Records::new(plain, self.format))
    }
}

/// What comes next in a file.
#[derive(Debug)]
pub enum Next {
    /// Nothing more.
    End,
    /// A record is in the buffer; its line.
    Record(u64),
    /// A record that is damaged; its line.
    Bad(u64, DecodeError),
}

/// The records of one file.
pub struct Records {
    inner: Inner,
    line: u64,
}

enum Inner {
    Lines(Box<dyn BufRead + Send>),
    Csv { reader: Box<csv::Reader<Box<dyn BufRead + Send>>>, record: csv::ByteRecord },
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").field("line", &self.line).finish_non_exhaustive()
    }
}

impl Records {
    /// Reads records of a format from text.
    #[must_use]
    pub fn new(text: Box<dyn BufRead + Send>, format: Format) -> Self {
        let inner = match format {
            Format::Jsonl => Inner::Lines(text),
            Format::Csv => Inner::Csv {
                reader: Box::new(csv::ReaderBuilder::new().from_reader(text)),
                record: csv::ByteRecord::new(),
            },
        };
        Self { inner, line: 0 }
    }

    /// Names of the columns; none for JSON.
    ///
    /// # Errors
    /// A header that cannot be read.
    pub fn header(&mut self) -> std::io::Result<Option<Vec<String>>> {
        match &mut self.inner {
            Inner::Lines(_) => Ok(None),
            Inner::Csv { reader, .. } => {
                let header = reader.byte_headers().map_err(std::io::Error::other)?;
                let names = header
                    .iter()
                    .map(|n| String::from_utf8_lossy(n).trim_start_matches('\u{feff}').to_owned());
                Ok(Some(names.collect()))
            }
        }
    }

    /// Puts the next record into `buffer`.
    ///
    /// # Errors
    /// The file cannot be read on (damaged compression, a broken disk).
    pub fn next(&mut self, buffer: &mut Vec<u8>) -> std::io::Result<Next> {
        match &mut self.inner {
            Inner::Lines(lines) => loop {
                buffer.clear();
                if lines.read_until(b'\n', buffer)? == 0 {
                    return Ok(Next::End);
                }
                self.line += 1;
                if self.line == 1 && buffer.starts_with(b"\xef\xbb\xbf") {
                    buffer.drain(..3);
                }
                while buffer.last().is_some_and(u8::is_ascii_whitespace) {
                    buffer.pop();
                }
                if !buffer.is_empty() {
                    return Ok(Next::Record(self.line));
                }
            },
            Inner::Csv { reader, record } => match reader.read_byte_record(record) {
                Ok(false) => Ok(Next::End),
                Ok(true) => {
                    self.line = record.position().map_or(self.line + 1, csv::Position::line);
                    buffer.clear();
                    packed::pack(record.iter(), buffer);
                    Ok(Next::Record(self.line))
                }
                Err(error) => {
                    let line = error.position().map_or(self.line + 1, csv::Position::line);
                    self.line = line;
                    match error.kind() {
                        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                            let message = format!("expected {expected_len} fields, found {len}");
                            Ok(Next::Bad(line, DecodeError { code: "not_csv", message }))
                        }
                        _ => Err(std::io::Error::other(error.to_string())),
                    }
                }
            },
        }
    }
}

/// Text of a record, for people.
#[must_use]
pub fn record_text(format: Format, record: &[u8]) -> String {
    match format {
        Format::Jsonl => String::from_utf8_lossy(record).into_owned(),
        Format::Csv => {
            let fields: Vec<_> = packed::unpack(record).map(String::from_utf8_lossy).collect();
            fields.join(",")
        }
    }
}
