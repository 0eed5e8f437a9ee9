//! From files to the task: lanes decode each file's records, and records go in by event time or as they stand.
//!
//! Each file is one partition. In sorted order ties go by the given order of files, then by line.
//! INVARIANT: a record that cannot be decoded is rejected exactly once, with `path:line`.

pub mod arrival;
pub mod parallel;
pub mod sorted;

use crate::console::say;
use crate::decode::time::Unit;
use crate::decode::{DecodeError, Decoded, Decoder, FieldReader, csv as packed};
use crate::failure::Failure;
use crate::files::{EventFile, Format, StreamOf, record_text};
use engine::event::{PartitionId, StreamId, StreamLayout};
use engine::value::Value;
use pattern_dsl::ir;
use std::borrow::Cow;
use std::io::Write;
use std::path::Path;

/// A stream of the task with what decoders need.
#[derive(Debug, Clone)]
pub struct StreamInfo {
    /// Its declaration.
    pub stream: ir::Stream,
    /// Its id in the task.
    pub id: StreamId,
    /// Its wanted fields.
    pub layout: StreamLayout,
}

/// Finds the stream of a record.
#[derive(Debug)]
enum Split {
    Json(Box<FieldReader>),
    Column(usize),
}

impl Split {
    fn new(field: &str, header: Option<&[String]>, hides: bool) -> Result<Self, Failure> {
        match header {
            None => Ok(Self::Json(Box::new(FieldReader::new(field, hides)))),
            Some(names) => match names.iter().position(|n| n == field) {
                Some(at) => Ok(Self::Column(at)),
                None => Err(Failure::usage(format!("--split-by {field}: no such column"))),
            },
        }
    }

    fn name(&mut self, record: &[u8]) -> Result<String, DecodeError> {
        let name = match self {
            Self::Json(reader) => reader.read(record)?.map(|n| n.to_string()),
            Self::Column(at) => {
                packed::unpack(record).nth(*at).map(|n| String::from_utf8_lossy(n).into_owned())
            }
        };
        name.filter(|n| !n.is_empty()).ok_or_else(|| DecodeError {
            code: "no_stream",
            message: "the field that names the stream is missing".to_owned(),
        })
    }
}

/// Tells the stream names of a file's records; for inference.
#[derive(Debug)]
pub struct StreamNames {
    split: Option<Split>,
    fixed: String,
}

impl StreamNames {
    /// For one file.
    ///
    /// # Errors
    /// The column to split by does not exist.
    pub fn new(file: &EventFile, header: Option<&[String]>) -> Result<Self, Failure> {
        Ok(match &file.stream {
            StreamOf::Named(name) => Self { split: None, fixed: name.clone() },
            StreamOf::Field(field) => {
                Self { split: Some(Split::new(field, header, false)?), fixed: String::new() }
            }
        })
    }

    /// The stream of a record; none if it does not say.
    pub fn name(&mut self, record: &[u8]) -> Option<Cow<'_, str>> {
        match &mut self.split {
            None => Some(Cow::Borrowed(&self.fixed)),
            Some(split) => split.name(record).ok().map(Cow::Owned),
        }
    }
}

/// Decodes the records of one file.
#[derive(Debug)]
pub struct Lane {
    /// The file's partition.
    pub partition: PartitionId,
    format: Format,
    split: Option<Split>,
    decoders: Vec<(StreamId, String, Decoder)>,
}

impl Lane {
    /// For a file whose header has been read; `time_only` reads nothing but times.
    ///
    /// # Errors
    /// The column to split by does not exist.
    pub fn new(
        file: &EventFile,
        partition: PartitionId,
        header: Option<&[String]>,
        streams: &[StreamInfo],
        time_only: bool,
    ) -> Result<Self, Failure> {
        let (split, wanted) = match &file.stream {
            StreamOf::Named(name) => (None, Some(name)),
            StreamOf::Field(field) => {
                // The line may be of any stream.
                let hides = streams.iter().any(|info| info.stream.fields.iter().any(|field| field.mask));
                (Some(Split::new(field, header, hides)?), None)
            }
        };
        let mut decoders = Vec::new();
        for info in streams.iter().filter(|i| wanted.is_none_or(|name| *name == i.stream.name)) {
            let mut decoder = if time_only {
                Decoder::time_only(&info.stream)
            } else {
                Decoder::new(&info.stream, &info.layout)
            };
            if let Some(names) = header {
                decoder.set_columns(names.iter().map(String::as_str));
            }
            decoders.push((info.id, info.stream.name.clone(), decoder));
        }
        Ok(Self { partition, format: file.format, split, decoders })
    }

    /// The decoder of a record's stream; none if no rule reads it.
    fn pick(&mut self, record: &[u8]) -> Result<Option<&mut (StreamId, String, Decoder)>, DecodeError> {
        let at = match &mut self.split {
            None => 0,
            Some(split) => {
                let name = split.name(record)?;
                match self.decoders.iter().position(|(_, n, _)| *n == name) {
                    Some(at) => at,
                    None => return Ok(None),
                }
            }
        };
        Ok(self.decoders.get_mut(at))
    }

    /// Decodes a record; none if no rule reads its stream.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn decode(&mut self, record: &[u8]) -> Result<Option<(StreamId, Decoded<'_>)>, DecodeError> {
        let format = self.format;
        let Some((id, _, decoder)) = self.pick(record)? else { return Ok(None) };
        let decoded = match format {
            Format::Jsonl => decoder.decode(record)?,
            Format::Csv => decoder.decode_record(packed::unpack(record))?,
        };
        Ok(Some((*id, decoded)))
    }

    /// As [`Self::decode`], with the id and the slots at the end of these buffers: stream, time, whether there is an id.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn decode_into(
        &mut self,
        record: &[u8],
        ids: &mut String,
        slots: &mut Vec<Value>,
    ) -> Result<Option<(StreamId, i64, bool)>, DecodeError> {
        let format = self.format;
        let Some((stream, _, decoder)) = self.pick(record)? else { return Ok(None) };
        let Decoded { ts, id, .. } = match format {
            Format::Jsonl => decoder.decode(record)?,
            Format::Csv => decoder.decode_record(packed::unpack(record))?,
        };
        ids.push_str(id.unwrap_or_default());
        let has_id = id.is_some();
        decoder.move_slots(slots);
        Ok(Some((*stream, ts, has_id)))
    }

    /// Reads a record's time only; none if no rule reads its stream. Passing here does not make a record sound.
    ///
    /// # Errors
    /// The time cannot be read.
    pub fn time(&mut self, record: &[u8]) -> Result<Option<i64>, DecodeError> {
        let format = self.format;
        let Some((_, _, decoder)) = self.pick(record)? else { return Ok(None) };
        Ok(Some(match format {
            Format::Jsonl => decoder.decode_time(record)?,
            Format::Csv => decoder.decode_record(packed::unpack(record))?.ts,
        }))
    }

    /// The units of times written as numbers, of each stream, as far as they are fixed.
    #[must_use]
    pub fn units(&self) -> Vec<Option<Unit>> {
        self.decoders.iter().map(|(_, _, decoder)| decoder.time_unit()).collect()
    }

    /// Takes over the units that another lane of the same file has fixed.
    pub fn set_units(&mut self, units: &[Option<Unit>]) {
        for ((_, _, decoder), unit) in self.decoders.iter_mut().zip(units) {
            decoder.set_time_unit(*unit);
        }
    }

    /// From now on no record fixes a unit: one that would is refused.
    pub fn keep_units(&mut self) {
        self.decoders.iter_mut().for_each(|(_, _, decoder)| decoder.keep_time_unit());
    }
}

/// Records that could not be read: counted, reported, kept.
#[derive(Debug)]
pub struct Rejects {
    /// How many.
    pub count: u64,
    strict: bool,
    file: Option<std::io::BufWriter<std::fs::File>>,
}

impl Rejects {
    const SHOWN: u64 = 100;

    /// With `--rejected FILE` and `--strict`.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn new(path: Option<&Path>, strict: bool) -> Result<Self, Failure> {
        let file = match path {
            None => None,
            Some(path) => {
                let file = std::fs::File::create(path)
                    .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
                Some(std::io::BufWriter::new(file))
            }
        };
        Ok(Self { count: 0, strict, file })
    }

    /// Notes a rejected record.
    ///
    /// # Errors
    /// `--strict`, or the file cannot be written.
    pub fn note(
        &mut self,
        file: &EventFile,
        line: u64,
        error: &DecodeError,
        record: &[u8],
    ) -> Result<(), Failure> {
        self.count += 1;
        let place = if file.is_stdin() { "stdin".to_owned() } else { file.path.display().to_string() };
        let said = format!("{place}:{line}: {}", error.message);
        if let Some(out) = &mut self.file {
            let row = serde_json::json!({
                "path": place, "line": line, "code": error.code, "message": error.message,
                "record": record_text(file.format, record),
            });
            writeln!(out, "{row}")?;
        }
        if self.strict {
            self.flush()?;
            return Err(Failure::finding(format!("{said} (--strict stops here)")));
        }
        if self.count <= Self::SHOWN {
            say!("{said}");
        } else if self.count == Self::SHOWN + 1 {
            say!("further rejected lines are counted only; --rejected FILE keeps them all");
        }
        Ok(())
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flush(&mut self) -> Result<(), Failure> {
        if let Some(out) = &mut self.file {
            out.flush()?;
        }
        Ok(())
    }
}
