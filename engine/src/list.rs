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
        let rows: ThinVec<Row> = Deserialize::deserialize(deserializer)?;
        Ok(Self { len: rows.len() as u32, rows, head: 0 })
    }
}

/// The candidates of a key, a list for each step of its rule. Most keys hold one row, and have it here.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) enum Lists {
    #[default]
    None,
    One(Row),
    /// By step; from the second row on, for as long as the key is held.
    Many(Box<[List]>),
}

impl Lists {
    /// The list of a step.
    #[inline]
    pub(crate) fn of(&self, step: usize) -> &[Row] {
        match self {
            Self::One(row) if row.step() == step => std::slice::from_ref(row),
            Self::Many(lists) => lists.get(step).map_or(&[], |list| list),
            _ => &[],
        }
    }

    #[inline]
    pub(crate) fn of_mut(&mut self, step: usize) -> &mut [Row] {
        match self {
            Self::One(row) if row.step() == step => std::slice::from_mut(row),
            Self::Many(lists) => lists.get_mut(step).map_or(&mut [], |list| list),
            _ => &mut [],
        }
    }

    /// Lists in order of their steps; such that are empty may be left out.
    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[Row]> {
        let (one, many) = match self {
            Self::None => (None, &[][..]),
            Self::One(row) => (Some(std::slice::from_ref(row)), &[][..]),
            Self::Many(lists) => (None, &lists[..]),
        };
        one.into_iter().chain(many.iter().map(|list| &**list))
    }

    /// Rows of all steps.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(lists) => lists.iter().map(List::len).sum(),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its rows lie elsewhere.
    #[inline]
    pub(crate) fn is_many(&self) -> bool {
        matches!(self, Self::Many(_))
    }

    /// Adds a row to the list of a step, of so many.
    #[inline]
    pub(crate) fn push(&mut self, step: usize, mut row: Row, steps: usize) {
        row.set_step(step);
        match self {
            Self::None => *self = Self::One(row),
            Self::Many(lists) => push(lists, row),
            Self::One(_) => {
                let mut lists: Box<[List]> = (0..steps).map(|_| List::new()).collect();
                if let Self::One(first) = std::mem::take(self) {
                    push(&mut lists, first);
                }
                push(&mut lists, row);
                *self = Self::Many(lists);
            }
        }
    }

    /// Takes the newest row of a step out.
    pub(crate) fn pop(&mut self, step: usize) {
        let last = self.of(step).len();
        self.remove(step, last.saturating_sub(1)..last);
    }

    /// Takes some rows of a step out.
    pub(crate) fn remove(&mut self, step: usize, places: Range<usize>) {
        match self {
            Self::One(row) if row.step() == step && places.contains(&0) => *self = Self::None,
            Self::Many(lists) => {
                lists.iter_mut().skip(step).take(1).for_each(|list| list.remove(places.clone()))
            }
            _ => {}
        }
    }

    /// Drops rows of a step from the front for as long as `is_over` says so.
    pub(crate) fn drop_while(&mut self, step: usize, is_over: impl Fn(&Row) -> bool) {
        match self {
            Self::One(row) if row.step() == step && is_over(row) => *self = Self::None,
            Self::Many(lists) => {
                lists.iter_mut().skip(step).take(1).for_each(|list| list.drop_while(&is_over))
            }
            _ => {}
        }
    }

    /// [`Self::drop_while`] of each step.
    #[inline]
    pub(crate) fn drop_each(&mut self, is_over: impl Fn(&Row) -> bool) {
        match self {
            Self::One(row) if is_over(row) => *self = Self::None,
            Self::Many(lists) => lists.iter_mut().for_each(|list| list.drop_while(&is_over)),
            _ => {}
        }
    }

    pub(crate) fn clear(&mut self) {
        match self {
            Self::Many(lists) => lists.iter_mut().for_each(List::clear),
            _ => *self = Self::None,
        }
    }
}

fn push(lists: &mut [List], row: Row) {
    if let Some(list) = lists.get_mut(row.step()) {
        list.push(row);
    }
}
