//! The definition as a program.
