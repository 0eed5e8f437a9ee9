//! Lists and lookups: data beside the rules, each with versions by the time from which they hold.
//!
//! A reader names a time and sees the newest version that is not later. INVARIANT: versions are sorted by their time.

use crate::collections::Map;
use crate::value::Value;
use arcstr::ArcStr;
use pattern_dsl::ir::{Content, Table, TableKind};
use pattern_dsl::types::{Literal, Micros};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// All tables of a task, by number. A table declared anew in another shape is another table.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    tables: Vec<Versions>,
    /// Something of them has changed since they were last saved.
    changed: bool,
}

/// One table: contents by the time from which they hold.
#[derive(Debug)]
struct Versions {
    name: String,
    kind: TableKind,
    /// Versions that have been dropped.
    dropped: u64,
    versions: Vec<Version>,
}

#[derive(Debug)]
struct Version {
    from: Micros,
    content: Content,
    rows: Rows,
}

/// A content as it is looked up.
#[derive(Debug)]
enum Rows {
    Items(Map<Value, ()>),
    Keyed(Map<Value, Map<Value, ()>>),
    Lookup(Map<Value, Box<[Value]>>),
}

/// A table as snapshots hold it: its name and shape, and contents by time.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedTable<'a> {
    name: Cow<'a, str>,
    kind: Cow<'a, TableKind>,
    dropped: u64,
    versions: Vec<(Micros, Cow<'a, Content>)>,
}

impl Tables {
    /// The number of a declared table; one that is not yet known holds `content` since ever.
    pub(crate) fn declare(&mut self, table: &Table, content: &Content) -> usize {
        let known = self.tables.iter().position(|known| known.name == table.name && known.kind == table.kind);
        known.unwrap_or_else(|| {
            self.changed = true;
            let versions = vec![Version::new(Micros::MIN, content.clone(), &table.kind)];
            self.tables.push(Versions {
                name: table.name.clone(),
                kind: table.kind.clone(),
                dropped: 0,
                versions,
            });
            self.tables.len() - 1
        })
    }

    /// Gives a table a content from a time on. Of several shapes the last declared is meant. False if there is none.
    pub(crate) fn set(&mut self, name: &str, content: &Content, from: Micros) -> bool {
        let Some(table) = self.tables.iter_mut().rfind(|table| table.name == name) else { return false };
        let last = table.versions.last();
        if last.is_some_and(|last| last.from <= from && last.content == *content) {
            return true;
        }
        self.changed = true;
        let version = Version::new(from, content.clone(), &table.kind);
        match table.versions.binary_search_by_key(&from, |version| version.from) {
            Ok(at) => table.versions[at] = version,
            Err(at) => table.versions.insert(at, version),
        }
        true
    }

    /// Drops versions that nobody reads who reads as of `oldest` or later.
    pub(crate) fn trim(&mut self, oldest: Micros) {
        for table in &mut self.tables {
            let newer = table.versions.partition_point(|version| version.from <= oldest);
            self.changed |= newer > 1;
            table.dropped += newer.saturating_sub(1) as u64;
            table.versions.drain(..newer.saturating_sub(1));
        }
    }

    /// The name of a table, and which of its versions, counted from 1, holds at a time.
    pub(crate) fn version(&self, table: usize, time: Micros) -> Option<(ArcStr, u64)> {
        let table = self.tables.get(table)?;
        let at = table.versions.partition_point(|version| version.from <= time);
        Some((table.name.as_str().into(), table.dropped + at as u64))
    }

    fn rows(&self, table: usize, time: Micros) -> Option<&Rows> {
        let versions = &self.tables.get(table)?.versions;
        let at = versions.partition_point(|version| version.from <= time).checked_sub(1)?;
        versions.get(at).map(|version| &version.rows)
    }

    /// The list (of a keyed list, the list of that key) holds the value. A key that is not there has an empty list.
    pub(crate) fn holds(&self, table: usize, key: Option<&Value>, value: &Value, time: Micros) -> bool {
        match (self.rows(table, time), key) {
            (Some(Rows::Items(items)), None) => items.contains_key(value),
            (Some(Rows::Keyed(lists)), Some(key)) => {
                lists.get(key).is_some_and(|items| items.contains_key(value))
            }
            _ => false,
        }
    }

    /// The value of a lookup's column; null if there is no such key.
    pub(crate) fn look_up(&self, table: usize, key: &Value, column: usize, time: Micros) -> Value {
        match self.rows(table, time) {
            Some(Rows::Lookup(rows)) => {
                rows.get(key).and_then(|columns| columns.get(column)).cloned().unwrap_or_default()
            }
            _ => Value::Null,
        }
    }

    /// Something has changed since this was last asked.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub(crate) fn save(&self) -> Vec<SavedTable<'_>> {
        self.tables.iter().map(Versions::saved).collect()
    }

    /// Puts saved contents back into the tables of the same name and shape; others were read by no active rule.
    pub(crate) fn restore(&mut self, saved: Vec<SavedTable<'_>>) {
        for table in saved {
            let known =
                self.tables.iter_mut().find(|known| known.name == table.name && known.kind == *table.kind);
            if let Some(known) = known {
                let versions = table.versions.into_iter();
                known.dropped = table.dropped;
                known.versions = versions
                    .map(|(from, content)| Version::new(from, content.into_owned(), &table.kind))
                    .collect();
            }
        }
    }
}

impl Versions {
    fn saved(&self) -> SavedTable<'_> {
        let versions = self.versions.iter();
        SavedTable {
            name: Cow::Borrowed(&self.name),
            kind: Cow::Borrowed(&self.kind),
            dropped: self.dropped,
            versions: versions.map(|version| (version.from, Cow::Borrowed(&version.content))).collect(),
        }
    }
}

impl Version {
    fn new(from: Micros, content: Content, kind: &TableKind) -> Self {
        let set = |items: &[Literal]| items.iter().map(|item| (Value::from_literal(item), ())).collect();
        let rows = match (&content, kind) {
            (Content::Items(items), _) => Rows::Items(set(items)),
            (Content::ByKey(rows), TableKind::Lookup { .. }) => Rows::Lookup(
                rows.iter()
                    .map(|(key, columns)| {
                        (Value::from_literal(key), columns.iter().map(Value::from_literal).collect())
                    })
                    .collect(),
            ),
            (Content::ByKey(rows), _) => {
                Rows::Keyed(rows.iter().map(|(key, items)| (Value::from_literal(key), set(items))).collect())
            }
        };
        Self { from, content, rows }
    }
}
