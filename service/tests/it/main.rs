//! The binary and the decoders as their users see them.

mod command;
mod crash;
mod decoding;
mod files;
mod serve;
mod shipped;
mod tutorial;
mod why;
