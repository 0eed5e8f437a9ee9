//! Files of events as JSON lines with their time and stream.

use crate::console::say;
use crate::decode::csv::unpack;
use crate::decode::time::{Unit, parse_rfc3339};
use crate::failure::Failure;
use crate::files::{EventFile, Format, Next, StreamOf};
use crate::infer::TIME_NAMES;
use serde_json::{Map, Value};

/// An event that is to be sent.
pub(crate) struct Event {
    pub(crate) ts: i64,
    pub(crate) stream: String,
    pub(crate) line: Vec<u8>,
}

/// Reads a file. A line without a readable time keeps the time of the line before it; the service judges it.
pub(super) fn read(file: &EventFile, time: Option<&str>, out: &mut Vec<Event>) -> Result<(), Failure> {
    let mut records = file.open()?;
    let header = records.header()?;
    let mut buffer = Vec::new();
    let mut last = i64::MIN;
    loop {
        match records.next(&mut buffer)? {
            Next::End => return Ok(()),
            Next::Bad(line, error) => say!("{}:{line}: {}", file.path.display(), error.message),
            Next::Record(number) => {
                let line = match (&header, file.format) {
                    (Some(header), Format::Csv) => from_csv(header, &buffer),
                    _ => buffer.clone(),
                };
                let object: Map<String, Value> = serde_json::from_slice(&line).unwrap_or_default();
                let stream = match &file.stream {
                    StreamOf::Named(name) => name.clone(),
                    StreamOf::Field(field) => match at(&object, field) {
                        Some(Value::String(name)) => name.clone(),
                        _ => {
                            say!("{}:{number}: no text field `{field}` to split by", file.path.display());
                            continue;
                        }
                    },
                };
                last = time_of(&object, time).unwrap_or(last);
                out.push(Event { ts: last, stream, line });
            }
        }
    }
}

/// The time of an event: of the named field, or of the first field with a usual name.
pub(crate) fn time_of(object: &Map<String, Value>, time: Option<&str>) -> Option<i64> {
    let value = match time {
        Some(path) => at(object, path)?,
        None => TIME_NAMES.iter().find_map(|name| object.get(*name))?,
    };
    match value {
        Value::String(text) => parse_rfc3339(text.as_bytes()),
        Value::Number(number) => {
            let whole = number.as_i64().or_else(|| number.as_f64().map(|f| f as i64))?;
            Unit::by_size(whole).to_micros(whole)
        }
        _ => None,
    }
}

fn at<'a>(object: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(path) {
        return Some(value);
    }
    let (head, rest) = path.split_once('.')?;
    at(object.get(head)?.as_object()?, rest)
}

/// A CSV record as a JSON object; what reads as a number or truth value becomes one, an empty field is left out.
fn from_csv(header: &[String], record: &[u8]) -> Vec<u8> {
    let mut parts = Vec::new();
    for (name, field) in header.iter().zip(unpack(record)) {
        let text = String::from_utf8_lossy(field);
        if text.is_empty() {
            continue;
        }
        let plain = matches!(serde_json::from_str::<Value>(&text), Ok(Value::Number(_) | Value::Bool(_)));
        let value = if plain { text.trim().to_owned() } else { Value::from(text.as_ref()).to_string() };
        parts.push(format!("{}:{value}", Value::from(name.as_str())));
    }
    format!("{{{}}}", parts.join(",")).into_bytes()
}
