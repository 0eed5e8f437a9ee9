//! The form of a saved state: pieces, one after the other, of rows that are encoded one by one.
//!
//! A state is saved in levels: all of it first, then what has changed since the level before. Each level begins with a head and
//! ends with an end. What a row is of is said by its number: of a key its place in the table of its rule, of what is
//! appended and dropped ([`Queue`](crate::queue::Queue)) its number in order. Of two rows with one number the later counts.

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

/// A piece of a level.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Piece<'a> {
    /// All that is small, encoded.
    Head(&'a [u8]),
    /// Places and the keys there, if there are any, of the rule with this number in the head.
    Keys {
        rule: u32,
        rows: &'a [u8],
    },
    /// Its timers that were set in order of time.
    Timers {
        rule: u32,
        rows: &'a [u8],
    },
    /// All others.
    Others {
        rule: u32,
        rows: &'a [u8],
    },
    /// Ids that a stream has seen.
    Ids {
        stream: u32,
        rows: &'a [u8],
    },
    End,
}

/// Encodes behind what is there.
struct Behind<'a>(&'a mut Vec<u8>);

impl Flavor for Behind<'_> {
    type Output = ();

    #[inline(always)]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    #[inline(always)]
    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Appends a value.
#[inline]
pub(crate) fn append<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    postcard::serialize_with_flavor(value, Behind(out)).expect("plain values always encode");
}

/// Appends a piece with the rows gathered, if there are any, and takes them away.
pub(crate) fn append_rows(rows: &mut Vec<u8>, out: &mut Vec<u8>, piece: impl Fn(&[u8]) -> Piece<'_>) {
    if !rows.is_empty() {
        append(&piece(rows), out);
        rows.clear();
    }
}

/// Takes the next value from the front.
pub(crate) fn take<'a, T: Deserialize<'a>>(from: &mut &'a [u8]) -> Result<T, String> {
    let (value, rest) = postcard::take_from_bytes(from).map_err(wrong)?;
    *from = rest;
    Ok(value)
}

/// Gives every row to `each`.
pub(crate) fn each_row<'a, T: Deserialize<'a>>(
    mut rows: &'a [u8],
    mut each: impl FnMut(T),
) -> Result<(), String> {
    while !rows.is_empty() {
        each(take(&mut rows)?);
    }
    Ok(())
}

pub(crate) fn wrong(error: postcard::Error) -> String {
    format!("not a saved state: {error}")
}
