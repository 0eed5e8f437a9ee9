//! What a checked rule means, in words and as a picture: `tripline explain RULE`.
//!
//! All of it reads the IR, so templates, `def`s and params are already in place and nothing the rule says is left out.
//! `words` puts expressions and steps into English; [`paraphrase`], [`defaults`] and [`cost`] make sentences of them;
//! [`automaton`] gives states and edges, which `draw` writes as text, Mermaid and DOT and `svg` as a picture.

mod words;
mod paraphrase;
mod defaults;
mod cost;
mod automaton;
mod draw;
mod svg;

pub use automaton::{Automaton, Edge, EdgeKind, State, StateKind, automaton};
pub use cost::cost;
pub use defaults::defaults;
pub use paraphrase::paraphrase;
