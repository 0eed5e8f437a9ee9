//! What is appended and dropped from the front, each with a running number: so a snapshot needs only what was appended since the one
//! before, and where the queue begins.

use crate::pieces::append;
use serde::Serialize;
use std::collections::VecDeque;
use std::ops::Range;

/// A queue that can be saved while it changes.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    items: VecDeque<T>,
    /// Number of the first.
    first: u64,
    /// Up to here it was frozen before.
    saved: u64,
    /// What of the state that is frozen is still to be written.
    rest: Range<u64>,
    /// Rows of it that were written before they were dropped.
    rows: Vec<u8>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), first: 0, saved: 0, rest: 0..0, rows: Vec::new() }
    }
}

impl<T: Serialize> Queue<T> {
    pub(crate) fn push(&mut self, item: T) {
        self.items.push_back(item);
    }

    pub(crate) fn front(&self) -> Option<&T> {
        self.items.front()
    }

    pub(crate) fn back(&self) -> Option<&T> {
        self.items.back()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.items.iter()
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let item = self.items.pop_front()?;
        if self.rest.contains(&self.first) {
            append(&(self.first, &item), &mut self.rows);
            self.rest.start = self.first + 1;
        }
        self.first += 1;
        Some(item)
    }

    /// Number of the first.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    fn end(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    /// What is here now is to be written; `whole`: also what was when it was last frozen. False if that is nothing.
    pub(crate) fn freeze(&mut self, whole: bool) -> bool {
        let start = if whole { self.first } else { self.saved.max(self.first) };
        self.rest = start..self.end();
        self.saved = self.end();
        !self.rest.is_empty()
    }

    /// Writes at most so many rows of what is frozen, and takes them off. The rows; what was written earlier is among them.
    pub(crate) fn save_more(&mut self, most: &mut usize) -> &mut Vec<u8> {
        let start = self.rest.start;
        let count = (self.rest.end.saturating_sub(start)).min(*most as u64);
        let skipped = start.saturating_sub(self.first) as usize;
        for (number, item) in (start..start + count).zip(self.items.range(skipped.min(self.items.len())..)) {
            append(&(number, item), &mut self.rows);
        }
        self.rest.start += count;
        *most -= count as usize;
        &mut self.rows
    }

    /// All that is here, as rows.
    pub(crate) fn save(&self) -> Vec<u8> {
        let mut rows = Vec::new();
        (self.first..).zip(&self.items).for_each(|row| append(&row, &mut rows));
        rows
    }

    /// Puts a row back, in order of their numbers.
    pub(crate) fn put(&mut self, number: u64, item: T) {
        if number != self.end() {
            // Those between were dropped, and so were all before.
            self.items.clear();
            self.first = number;
        }
        self.items.push_back(item);
    }

    /// Drops what had been dropped by the time when it was saved.
    pub(crate) fn begin_at(&mut self, first: u64) {
        while self.first < first && self.items.pop_front().is_some() {
            self.first += 1;
        }
        self.first = first;
    }

    /// Bytes of rows that wait to be fetched.
    pub(crate) fn waiting(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn is_saved(&self) -> bool {
        self.rest.is_empty() && self.rows.is_empty()
    }
}
