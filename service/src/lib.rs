//! Tripline's dealings with the world: files, the command line, HTTP, the store.
//!
//! The matcher is `engine`, the language `pattern-dsl`; this crate reads events for them and shows what they say.

pub mod api;
pub mod cli;
pub mod commands;
pub mod config;
pub mod decode;
pub mod demo;
pub mod failure;
pub mod feed;
pub mod files;
pub mod infer;
pub mod input;
pub mod pipeline;
pub mod render;
pub mod ruleset;
pub mod serve;
pub mod sink;
pub mod store;
pub mod telemetry;
