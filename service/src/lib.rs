//! Tripline's dealings with the world: files, the command line, HTTP, the store.
//!
//! The matcher is `engine`, the language `pattern-dsl`; this crate reads events for them and shows what they say.

pub mod cli;
pub mod config;
pub mod failure;
pub mod console;
pub mod telemetry;

mod clock;
mod frames;
pub mod files;
pub mod decode;
pub mod infer;
pub mod ruleset;
pub mod tables;
pub mod input;
pub mod pipeline;
pub mod render;
pub mod commands;

pub mod store;
pub mod commit;
pub mod kafka;
pub mod serve;
pub mod sink;
pub mod api;
pub mod feed;
pub mod demo;
