//! A list of rows in order of position: grown at the end, dropped from the front, read as a slice.
//!
//! INVARIANT: rows before `head` are out of the list; they are let go together, once they are a quarter of what is held. `len`
//! counts the others, so that a list that is only counted is not looked up in memory.

use crate::row::Row;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::{Deref, DerefMut, Range};
use thin_vec::ThinVec;

/// Rows, oldest first; 16 bytes and no heap while empty.
#[derive(Debug, Clone, Default)]
pub(crate) struct List {
    rows: ThinVec<Row>,
    head: u32,
    len: u32,
}

impl List {
    pub(crate) const fn new() -> Self {
        Self { rows: ThinVec::new(), head: 0, len: 0 }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push(&mut self, row: Row) {
        // Most lists hold one row or two.
        if self.rows.len() == self.rows.capacity() && self.rows.len() < 4 {
            self.rows.reserve_exact(self.rows.len().max(1));
        }
        self.rows.push(row);
        self.len += 1;
    }

    /// Takes the newest row out.
    pub(crate) fn pop(&mut self) {
        if !self.is_empty() {
            self.rows.pop();
            self.len -= 1;
        }
    }

    /// Drops rows from the front for as long as `is_over` says so.
    #[inline]
    pub(crate) fn drop_while(&mut self, is_over: impl Fn(&Row) -> bool) {
        let over = self.iter().take_while(|row| is_over(row)).count();
        if over > 0 {
            self.drop_front(over);
        }
    }

    fn drop_front(&mut self, count: usize) {
        let head = self.head as usize + count;
        self.len -= count as u32;
        if head == self.rows.len() {
            self.clear();
        } else if head * 4 >= self.rows.len() {
            self.rows.drain(..head);
            self.head = 0;
        } else {
            self.head = head as u32;
        }
    }

    /// Takes some rows out of the middle or the end.
    pub(crate) fn remove(&mut self, places: Range<usize>) {
        if !places.is_empty() {
            let head = self.head as usize;
            self.len -= places.len() as u32;
            self.rows.drain(head + places.start..head + places.end);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        (self.head, self.len) = (0, 0);
    }

    /// Rows that there is room for.
    pub(crate) fn room(&self) -> usize {
        self.rows.capacity()
    }
}

impl Deref for List {
    type Target = [Row];

    #[inline]
    fn deref(&self) -> &[Row] {
        if self.is_empty() { &[] } else { self.rows.get(self.head as usize..).unwrap_or_default() }
    }
}

impl DerefMut for List {
    fn deref_mut(&mut self) -> &mut [Row] {
        self.rows.get_mut(self.head as usize..).unwrap_or_default()
    }
}

impl Serialize for List {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rows: Vec<Row> = Deserialize::deserialize(deserializer)?;
        Ok(Self { len: rows.len() as u32, rows: rows.into_iter().collect(), head: 0 })
    }
}

/// The lists of a key, by step of its rule: those of few steps lie here, and of two steps there are three, one left empty.
#[derive(Debug, Clone)]
pub(crate) enum Lists {
    Few([List; 3]),
    Many(Box<[List]>),
}

impl Lists {
    /// Empty ones, at least so many.
    pub(crate) fn new(count: usize) -> Self {
        if count > 3 {
            Self::Many((0..count).map(|_| List::new()).collect())
        } else {
            Self::Few(Default::default())
        }
    }
}

impl Deref for Lists {
    type Target = [List];

    #[inline]
    fn deref(&self) -> &[List] {
        match self {
            Self::Few(lists) => lists,
            Self::Many(lists) => lists,
        }
    }
}

impl DerefMut for Lists {
    #[inline]
    fn deref_mut(&mut self) -> &mut [List] {
        match self {
            Self::Few(lists) => lists,
            Self::Many(lists) => lists,
        }
    }
}

impl Serialize for Lists {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Lists {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let lists: Vec<List> = Deserialize::deserialize(deserializer)?;
        let mut own = Self::new(lists.len());
        own.iter_mut().zip(lists).for_each(|(own, list)| *own = list);
        Ok(own)
    }
}
