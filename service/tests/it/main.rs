//! The binary and the decoders as their users see them.

mod bench;
mod broker;
mod bucket;
mod command;
mod coverage;
mod crash;
mod damage;
mod decoding;
mod expect;
mod explain;
mod files;
mod fmt;
mod kafka;
mod kafka_crash;
mod kafka_damage;
mod kafka_rules;
mod kafka_scale;
mod kafka_silence;
mod kafka_tasks;
#[cfg(feature = "tls")]
mod kafka_tls;
mod masked;
mod poison;
mod proxy;
mod requests;
mod serve;
mod shipped;
mod snapshots;
mod threads;
mod tutorial;
mod why;
