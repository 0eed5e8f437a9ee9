//! Contents of lists and lookups, read from files.
//!
//! | kind | text | `.csv` with a header | `.json` |
//! |---|---|---|---|
//! | list | a value a line, `#` comments | first column | array |
//! | list by key | | key and item, a row an item | object of arrays |
//! | lookup | | key and columns by name | object of objects |

use crate::decode::nested::{from_json, from_text};
use crate::decode::{csv::is_null, type_name};
use crate::failure::Failure;
use engine::value::Value;
use pattern_dsl::SourceText;
use pattern_dsl::ir::{Content, Field, Module, TableKind};
use pattern_dsl::types::{Literal, Type};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Contents by name, as a task takes them.
pub type Tables = BTreeMap<String, Content>;

/// What the module's lists and lookups hold: as written in rules, from their `from` files, and from `--list`.
///
/// # Errors
/// A file that is missing or has a wrong value, or a `--list` that no rule knows.
pub fn fill(module: &Module, sources: &[SourceText], given: &[(String, PathBuf)]) -> Result<Tables, Failure> {
    let mut tables = Tables::new();
    for table in &module.tables {
        let path = match (given.iter().rev().find(|(name, _)| *name == table.name), &table.from) {
            (Some((_, path)), _) => Some(path.clone()),
            (None, Some(from)) => Some(beside(&table.name, from, sources)),
            (None, None) => None,
        };
        let mut content = table.content.clone();
        if let Some(path) = path {
            let read = read(&path, &table.kind)?;
            match (&mut content, read) {
                (Content::Items(items), Content::Items(more)) => items.extend(more),
                (content, read) => *content = read,
            }
        }
        tables.insert(table.name.clone(), content);
    }
    for (name, _) in given {
        if !tables.contains_key(name) {
            return Err(Failure::usage(format!("--list {name}: no rule uses a list or lookup `@{name}`")));
        }
    }
    Ok(tables)
}

/// A path written in a rule file is relative to that file.
#[must_use]
pub fn beside(table: &str, from: &str, sources: &[SourceText]) -> PathBuf {
    let declares = |(at, source): &(usize, &SourceText)| {
        let (file, _) = pattern_dsl::parse(*at as u32, &source.text);
        let mut names = file.lists.iter().map(|l| &l.name).chain(file.lookups.iter().map(|l| &l.name));
        names.any(|name| name.name == table)
    };
    let file = sources.iter().enumerate().find(declares).and_then(|(_, s)| Path::new(&s.name).parent());
    file.map_or_else(|| PathBuf::from(from), |folder| folder.join(from))
}

/// Reads the file of a list or lookup.
///
/// # Errors
/// A missing file, or a value of another type, with its line.
pub fn read(path: &Path, kind: &TableKind) -> Result<Content, Failure> {
    let read = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    let text = read.strip_prefix('\u{feff}').unwrap_or(&read);
    let file = File { path, text };
    let suffix = path.extension().and_then(|suffix| suffix.to_str()).unwrap_or_default();
    match suffix {
        "csv" => file.csv(kind),
        "json" => file.json(kind),
        _ if text.trim_start().starts_with('[') => file.json(kind),
        _ => file.lines(kind),
    }
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

/// Rows by key, in the order of first mention.
#[derive(Default)]
struct Rows {
    rows: Vec<(Literal, Vec<Literal>)>,
    places: BTreeMap<String, usize>,
}

impl Rows {
    /// The row of a key, and whether it is new.
    fn row(&mut self, key: Literal) -> (&mut Vec<Literal>, bool) {
        let name = Value::from_literal(&key).to_string();
        let next = self.rows.len();
        let place = *self.places.entry(name).or_insert(next);
        let fresh = place == next;
        if fresh {
            self.rows.push((key, Vec::new()));
        }
        (&mut self.rows[place].1, fresh)
    }
}

impl<'a> File<'a> {
    fn error(&self, line: usize, message: impl std::fmt::Display) -> Failure {
        Failure::usage(format!("{}:{line}: {message}", self.path.display()))
    }

    /// Line of a part of the text.
    fn line_of(&self, part: &str) -> usize {
        let offset = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        1 + self.text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count()
    }

    fn wrong(&self, line: usize, what: &str, text: &str, ty: &Type) -> Failure {
        let text: String = text.chars().take(60).collect();
        self.error(line, format!("{what} `{text}` is not {}", type_name(ty)))
    }

    fn text_value(&self, line: usize, what: &str, text: &str, ty: &Type) -> Result<Literal, Failure> {
        from_text(ty, text, None).map(literal).ok_or_else(|| self.wrong(line, what, text, ty))
    }

    fn json_value(&self, what: &str, raw: &'a RawValue, ty: &Type) -> Result<Literal, Failure> {
        let text = raw.get();
        let value = from_json(ty, text, None).map(literal);
        value.ok_or_else(|| self.wrong(self.line_of(text), what, text, ty))
    }

    /// A cell or member of a lookup: null only where the column may be.
    fn column(&self, line: usize, field: &Field, value: Option<Literal>) -> Result<Literal, Failure> {
        let value = value.unwrap_or(Literal::Null);
        if value == Literal::Null && !field.nullable {
            return Err(self.error(line, format!("column `{}` is missing or null", field.path.join("."))));
        }
        Ok(value)
    }

    fn lines(&self, kind: &TableKind) -> Result<Content, Failure> {
        let TableKind::List { item } = kind else {
            return Err(Failure::usage(format!(
                "{}: a list by key or a lookup is read from .csv or .json",
                self.path.display()
            )));
        };
        let lines = (1..).zip(self.text.lines().map(str::trim));
        let wanted = lines.filter(|(_, text)| !text.is_empty() && !text.starts_with('#'));
        let items = wanted.map(|(line, text)| self.text_value(line, "item", text, item));
        Ok(Content::Items(items.collect::<Result<_, _>>()?))
    }

    fn csv(&self, kind: &TableKind) -> Result<Content, Failure> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(self.text.as_bytes());
        let header = reader.headers().map_err(|error| self.error(1, error))?.clone();
        let named = |name: &str| header.iter().position(|column| column == name);
        let missing = |name: &str| self.error(1, format!("no column `{name}`"));
        let mut rows = Rows::default();
        let mut items = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| {
                self.error(error.position().map_or(1, |place| place.line() as usize), &error)
            })?;
            let line = record.position().map_or(1, |place| place.line() as usize);
            let cell = |at: usize| record.get(at).filter(|text| !is_null(text.as_bytes()));
            let needed = |at: usize, what: &str| {
                cell(at).ok_or_else(|| self.error(line, format!("{what} is missing")))
            };
            match kind {
                TableKind::List { item } => {
                    items.push(self.text_value(line, "item", needed(0, "item")?, item)?);
                }
                TableKind::KeyedList { key_name, key, item } => {
                    let at = named(key_name).unwrap_or(0);
                    let key = self.text_value(line, key_name, needed(at, key_name)?, key)?;
                    let text = needed(usize::from(at == 0), "item")?;
                    rows.row(key).0.push(self.text_value(line, "item", text, item)?);
                }
                TableKind::Lookup { key_name, key, fields } => {
                    let at = named(key_name).ok_or_else(|| missing(key_name))?;
                    let text = needed(at, key_name)?;
                    let key = self.text_value(line, key_name, text, key)?;
                    let columns = fields.iter().map(|field| {
                        let name = field.path.join(".");
                        let at = named(&name);
                        if at.is_none() && !field.nullable {
                            return Err(missing(&name));
                        }
                        let value =
                            at.and_then(cell).map(|text| self.text_value(line, &name, text, &field.ty));
                        self.column(line, field, value.transpose()?)
                    });
                    let columns: Vec<Literal> = columns.collect::<Result<_, _>>()?;
                    let (row, fresh) = rows.row(key);
                    if !fresh {
                        return Err(self.error(line, format!("`{text}` is there twice")));
                    }
                    *row = columns;
                }
            }
        }
        Ok(match kind {
            TableKind::List { .. } => Content::Items(items),
            _ => Content::ByKey(rows.rows),
        })
    }

    fn json(&self, kind: &TableKind) -> Result<Content, Failure> {
        let mut rows = Rows::default();
        match kind {
            TableKind::List { item } => {
                let items = self.array(self.text)?.into_iter();
                let items = items.map(|raw| self.json_value("item", raw, item));
                return Ok(Content::Items(items.collect::<Result<_, _>>()?));
            }
            TableKind::KeyedList { key_name, key, item } => {
                for (name, raw) in self.object(self.text)? {
                    let key = self.text_value(self.line_of(raw.get()), key_name, &name, key)?;
                    let items = self.array(raw.get())?.into_iter();
                    let items = items.map(|raw| self.json_value("item", raw, item));
                    rows.row(key).0.extend(items.collect::<Result<Vec<_>, _>>()?);
                }
            }
            TableKind::Lookup { key_name, key, fields } => {
                for (name, raw) in self.object(self.text)? {
                    let line = self.line_of(raw.get());
                    let key = self.text_value(line, key_name, &name, key)?;
                    let members = self.object(raw.get())?;
                    let columns = fields.iter().map(|field| {
                        let column = field.path.join(".");
                        let member = members.iter().find(|(known, _)| *known == column);
                        let value = member.map(|(_, raw)| self.json_value(&column, raw, &field.ty));
                        self.column(line, field, value.transpose()?)
                    });
                    let columns: Vec<Literal> = columns.collect::<Result<_, _>>()?;
                    let (row, fresh) = rows.row(key);
                    if !fresh {
                        return Err(self.error(line, format!("`{name}` is there twice")));
                    }
                    *row = columns;
                }
            }
        }
        Ok(Content::ByKey(rows.rows))
    }

    fn array(&self, text: &'a str) -> Result<Vec<&'a RawValue>, Failure> {
        serde_json::from_str(text).map_err(|error| {
            self.error(self.line_of(text) + error.line() - 1, format!("not a JSON array: {error}"))
        })
    }

    /// Members in their order.
    fn object(&self, text: &'a str) -> Result<Vec<(String, &'a RawValue)>, Failure> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let members = deserializer.deserialize_map(Members).and_then(|members| {
            deserializer.end()?;
            Ok(members)
        });
        members.map_err(|error: serde_json::Error| {
            self.error(self.line_of(text) + error.line().max(1) - 1, format!("not a JSON object: {error}"))
        })
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

/// A decoded value as tables hold it.
fn literal(value: Value) -> Literal {
    match value {
        Value::Null | Value::Object(_) => Literal::Null,
        Value::Bool(value) => Literal::Bool(value),
        Value::Int(value) => Literal::Int(value),
        Value::Decimal(value) => Literal::Decimal(*value),
        Value::Float(value) => Literal::Float(value),
        Value::String(value) => Literal::String(value.to_string()),
        Value::Instant(value) => Literal::Instant(value),
        Value::Duration(value) => Literal::Duration(value),
        Value::Ip(address) => Literal::Ip(address.to_canonical()),
        Value::Geo(place) => Literal::Geo(place[0], place[1]),
        Value::List(items) => Literal::List(items.into_iter().map(literal).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(name: &str, text: &str, kind: &TableKind) -> Result<Content, String> {
        File { path: Path::new(name), text }.pick(kind).map_err(|failure| failure.message)
    }

    impl File<'_> {
        fn pick(&self, kind: &TableKind) -> Result<Content, Failure> {
            match self.path.extension().and_then(|suffix| suffix.to_str()) {
                Some("csv") => self.csv(kind),
                Some("json") => self.json(kind),
                _ => self.lines(kind),
            }
        }
    }

    fn text(text: &str) -> Literal {
        Literal::String(text.to_owned())
    }

    #[test]
    fn lists_from_lines_and_arrays() {
        let kind = TableKind::List { item: Type::Ip };
        let ip = |text: &str| Literal::Ip(text.parse().expect("an address"));
        let wanted = Ok(Content::Items(vec![ip("10.0.0.1"), ip("2001:db8::1")]));
        assert_eq!(content("a.txt", "# bad ones\n10.0.0.1\n\n2001:db8::1\n", &kind), wanted);
        assert_eq!(content("a.json", "[\"10.0.0.1\",\n\"2001:db8::1\"]", &kind), wanted);
        assert_eq!(content("a.csv", "address\n10.0.0.1\n2001:db8::1\n", &kind), wanted);
        let error = content("a.txt", "10.0.0.1\n10.0.0\n", &kind).expect_err("no address");
        assert_eq!(error, "a.txt:2: item `10.0.0` is not ip");
        let error = content("a.json", "[\"10.0.0.1\",\n\"x\"]", &kind).expect_err("no address");
        assert_eq!(error, "a.json:2: item `\"x\"` is not ip");
    }

    #[test]
    fn lists_by_key() {
        let kind = TableKind::KeyedList { key_name: "user".to_owned(), key: Type::String, item: Type::Int };
        let wanted = Ok(Content::ByKey(vec![
            (text("u"), vec![Literal::Int(1), Literal::Int(2)]),
            (text("v"), vec![Literal::Int(3)]),
        ]));
        assert_eq!(content("a.csv", "user,device\nu,1\nv,3\nu,2\n", &kind), wanted);
        assert_eq!(content("a.csv", "device,user\n1,u\n3,v\n2,u\n", &kind), wanted);
        assert_eq!(content("a.json", "{\"u\": [1, 2], \"v\": [3]}", &kind), wanted);
        let error = content("a.json", "{\"u\": [1],\n\"v\": [\ntrue]}", &kind).expect_err("no int");
        assert_eq!(error, "a.json:3: item `true` is not int");
    }

    #[test]
    fn lookups() {
        let field =
            |name: &str, ty, nullable| Field { path: vec![name.to_owned()], ty, nullable, mask: false };
        let fields = vec![field("within", Type::Duration, false), field("place", Type::Geo, true)];
        let kind = TableKind::Lookup { key_name: "carrier".to_owned(), key: Type::String, fields };
        let wanted = Ok(Content::ByKey(vec![
            (text("dhl"), vec![Literal::Duration(172_800_000_000), Literal::Geo(52.5, 13.25)]),
            (text("ups"), vec![Literal::Duration(3_600_000_000), Literal::Null]),
        ]));
        let csv = "carrier,place,within\ndhl,\"52.5,13.25\",2d\nups,,1h\n";
        assert_eq!(content("a.csv", csv, &kind), wanted);
        let json =
            r#"{"dhl": {"within": "2d", "place": {"lat": 52.5, "lon": 13.25}}, "ups": {"within": "1h"}}"#;
        assert_eq!(content("a.json", json, &kind), wanted);
        for (file, wrong, message) in [
            ("a.csv", "carrier,within\ndhl,soon\n", "a.csv:2: within `soon` is not duration"),
            ("a.csv", "carrier\ndhl\n", "a.csv:1: no column `within`"),
            ("a.csv", "carrier,within\ndhl,1h\ndhl,2h\n", "a.csv:3: `dhl` is there twice"),
            ("a.json", "{\"dhl\":\n{\"within\": null}}", "a.json:2: column `within` is missing or null"),
            ("a.json", "{\"dhl\": {\"within\": 5}}", "a.json:1: within `5` is not duration"),
        ] {
            assert_eq!(content(file, wrong, &kind).expect_err(wrong), message);
        }
    }
}
