//! Request bodies: type, encoding, size; batches of events split into lines.

use super::problem::Problem;
use crate::decode::json::fault;
use crate::serve::matcher::{Line, Rejected};
use axum::body::Body;
use axum::http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::io::Read;

/// The media type of a request, lower case, without parameters.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().unwrap_or("?");
    Some(text.split(';').next().unwrap_or("").trim().to_ascii_lowercase())
}

/// Reads and, if need be, decompresses a body of at most `limit` bytes.
pub(super) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    let too_large =
        || Problem::new(413, format!("the body is larger than {limit} bytes; send smaller batches"));
    let bytes = match axum::body::to_bytes(body, limit).await {
        Ok(bytes) => bytes,
        Err(error) => {
            let text = error.into_inner().to_string();
            return Err(if text.contains("limit") {
                too_large()
            } else {
                Problem::new(400, format!("the body broke off: {text}"))
            });
        }
    };
    let encoding =
        headers.get(header::CONTENT_ENCODING).map(|v| v.to_str().unwrap_or("?").trim().to_ascii_lowercase());
    match encoding.as_deref() {
        None | Some("" | "identity") => Ok(bytes.into()),
        Some("gzip" | "x-gzip") => {
            let mut out = Vec::new();
            let decoder = flate2::read::MultiGzDecoder::new(bytes.as_ref());
            decoder
                .take(limit as u64 + 1)
                .read_to_end(&mut out)
                .map_err(|e| Problem::new(400, format!("the body is not valid gzip: {e}")))?;
            if out.len() > limit { Err(too_large()) } else { Ok(out) }
        }
        Some(other) => {
            Err(Problem::new(415, format!("the encoding `{other}` is not known; use gzip or none")))
        }
    }
}

/// Accepts the media types of events.
pub(super) fn check_events_type(headers: &HeaderMap) -> Result<(), Problem> {
    match media_type(headers).as_deref() {
        None
        | Some(
            "application/json"
            | "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines"
            | "application/jsonlines",
        ) => Ok(()),
        Some(other) => Err(Problem::new(
            415,
            format!("events are `application/x-ndjson` or `application/json`, not `{other}`"),
        )),
    }
}

/// Splits newline-delimited JSON or a JSON array; line numbers count from 1.
pub(super) fn split(bytes: &[u8]) -> Result<Vec<(u64, Vec<u8>)>, Problem> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let first = bytes.iter().find(|b| !b.is_ascii_whitespace());
    if first == Some(&b'[') {
        let items: Vec<&RawValue> = serde_json::from_slice(bytes)
            .map_err(|e| Problem::new(400, format!("the body begins like a JSON array but is none: {e}")))?;
        return Ok((1..).zip(items.iter().map(|raw| raw.get().as_bytes().to_vec())).collect());
    }
    let lines = (1..).zip(bytes.split(|b| *b == b'\n'));
    Ok(lines.map(|(n, line)| (n, line.trim_ascii().to_vec())).filter(|(_, line)| !line.is_empty()).collect())
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    stream: Option<Cow<'a, str>>,
}

/// Gives each line the stream that it names itself.
pub(super) fn by_own_stream(
    lines: Vec<(u64, Vec<u8>)>,
    known: impl Fn(&str) -> Result<(), String>,
) -> (Vec<Line>, Vec<Rejected>) {
    let mut taken = Vec::new();
    let mut rejected = Vec::new();
    for (line, raw) in lines {
        let stream = match serde_json::from_slice::<Named<'_>>(&raw) {
            Ok(Named { stream: Some(stream) }) => {
                known(&stream).map(|()| stream.into_owned()).map_err(|message| ("unknown_stream", message))
            }
            Ok(_) => Err((
                "no_stream",
                "the event has no text field `stream`; post it to /v1/events/{stream}".to_owned(),
            )),
            Err(error) => Err(("not_json", format!("not a JSON object: {}", fault(&error)))),
        };
        match stream {
            Ok(stream) => taken.push(Line { line, stream, raw }),
            Err((code, message)) => rejected.push(Rejected { line, code: code.into(), message }),
        }
    }
    (taken, rejected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_count_from_one_and_blank_ones_keep_their_number() {
        let lines = split(b"{\"a\":1}\n\r\n{\"a\":2}\r\n").unwrap();
        assert_eq!(lines, [(1, b"{\"a\":1}".to_vec()), (3, b"{\"a\":2}".to_vec())]);
        let items = split(b" [ {\"a\":1}, 7 ]").unwrap();
        assert_eq!(items, [(1, b"{\"a\":1}".to_vec()), (2, b"7".to_vec())]);
        assert!(split(b"[1,").is_err());
    }

    #[test]
    fn an_event_names_its_stream() {
        let lines = vec![(1, br#"{"stream":"a"}"#.to_vec()), (2, b"{}".to_vec()), (3, b"x".to_vec())];
        let (taken, rejected) = by_own_stream(lines, |_| Ok(()));
        assert_eq!(taken.len(), 1);
        let codes: Vec<_> = rejected.iter().map(|r| r.code.as_str()).collect();
        assert_eq!(codes, ["no_stream", "not_json"]);
    }
}
