//! The Tripline rule language: text -> tokens -> syntax -> names and types -> [`ir`].
pub mod source;
pub mod decimal;
pub mod types;
pub mod ir;
