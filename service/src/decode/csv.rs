//! CSV records: which fields are null, and a compact form that keeps a record's fields apart in one run of bytes.

/// True for the values that stand for nothing.
#[must_use]
pub fn is_null(field: &[u8]) -> bool {
    field.is_empty() || field == b"NA"
}

/// Appends a record's fields to `out`, each after its length.
pub fn pack<'a>(fields: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    for field in fields {
        out.extend_from_slice(&(field.len() as u32).to_le_bytes());
        out.extend_from_slice(field);
    }
}

/// The fields of a packed record.
pub fn unpack(mut packed: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = packed.split_first_chunk::<4>()?;
        let (field, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        packed = rest;
        Some(field)
    })
}
