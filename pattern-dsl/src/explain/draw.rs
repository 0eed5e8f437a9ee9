//! An automaton as text, Mermaid and DOT.

use super::automaton::{Automaton, Edge, EdgeKind, State, StateKind};

fn word(kind: EdgeKind) -> &'static str {
    match kind {
        EdgeKind::Event => "",
        EdgeKind::Skip => "skip",
        EdgeKind::Repeat => "repeat",
        EdgeKind::Kill => "kill",
        EdgeKind::Timer => "timer",
    }
}

/// `kill: no x for 5m`.
pub(super) fn label(edge: &Edge) -> String {
    let labels = edge.labels.join(", ");
    match (word(edge.kind), labels.as_str()) {
        ("", labels) => labels.to_owned(),
        (word, "") => word.to_owned(),
        (word, labels) => format!("{word}: {labels}"),
    }
}

impl Automaton {
    fn name(&self, state: usize) -> &str {
        self.states.get(state).map_or("?", |s| s.name.as_str())
    }

    /// Lines for people: states, then edges.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = format!("rule {}: {}\n", self.rule, self.notes.join("; "));
        for (index, state) in self.states.iter().enumerate() {
            let inset = if matches!(state.kind, StateKind::Member(_)) { "    " } else { "  " };
            let detail = if state.detail.is_empty() { String::new() } else { format!(": {}", state.detail) };
            out.push_str(&format!("{inset}({index}) {}{detail}\n", state.name));
        }
        for edge in &self.edges {
            let arrow = match edge.kind {
                EdgeKind::Event | EdgeKind::Skip | EdgeKind::Repeat => "-->",
                EdgeKind::Kill => "--x",
                EdgeKind::Timer => "..>",
            };
            let (from, to) = (self.name(edge.from), self.name(edge.to));
            let line = format!("  ({}) {from} {arrow} ({}) {to}  {}", edge.from, edge.to, label(edge));
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    /// A Mermaid flowchart.
    #[must_use]
    pub fn to_mermaid(&self) -> String {
        let escape = |text: &str| {
            text.chars().fold(String::new(), |mut out, c| {
                match c {
                    '"' => out.push_str("#quot;"),
                    '#' => out.push_str("#35;"),
                    '<' => out.push_str("#lt;"),
                    '>' => out.push_str("#gt;"),
                    '`' => out.push('\''),
                    c => out.push(c),
                }
                out
            })
        };
        let mut out = String::from("flowchart LR\n");
        for (index, state) in self.states.iter().enumerate() {
            let text = escape(&caption(state));
            let (open, close) = match state.kind {
                StateKind::Start => ("((", "))"),
                StateKind::Alert | StateKind::Timeout => ("([", "])"),
                StateKind::Dropped => ("{{", "}}"),
                StateKind::Unit | StateKind::Member(_) => ("[", "]"),
            };
            out.push_str(&format!("  s{index}{open}\"{text}\"{close}\n"));
        }
        for edge in &self.edges {
            let arrow = match edge.kind {
                EdgeKind::Event | EdgeKind::Repeat => "-->",
                EdgeKind::Skip => "-.->",
                EdgeKind::Kill => "-.-x",
                EdgeKind::Timer => "-.->",
            };
            let text = escape(&label(edge));
            let text = if text.is_empty() { String::new() } else { format!("|\"{text}\"|") };
            out.push_str(&format!("  s{} {arrow}{text} s{}\n", edge.from, edge.to));
        }
        out
    }

    /// A Graphviz digraph.
    #[must_use]
    pub fn to_dot(&self) -> String {
        let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let mut out = format!("digraph \"{}\" {{\n  rankdir=LR;\n  node [shape=box];\n", escape(&self.rule));
        out.push_str(&format!("  label=\"{}\";\n", escape(&self.notes.join("; "))));
        for (index, state) in self.states.iter().enumerate() {
            let shape = match state.kind {
                StateKind::Start => "circle",
                StateKind::Alert | StateKind::Timeout => "doublecircle",
                StateKind::Dropped => "octagon",
                StateKind::Unit | StateKind::Member(_) => "box",
            };
            let text = escape(&caption(state));
            out.push_str(&format!("  s{index} [shape={shape}, label=\"{text}\"];\n"));
        }
        for edge in &self.edges {
            let style = match edge.kind {
                EdgeKind::Event | EdgeKind::Repeat => "solid",
                EdgeKind::Skip | EdgeKind::Kill => "dashed",
                EdgeKind::Timer => "dotted",
            };
            let (from, to, text) = (edge.from, edge.to, escape(&label(edge)));
            out.push_str(&format!("  s{from} -> s{to} [style={style}, label=\"{text}\"];\n"));
        }
        out + "}\n"
    }
}

fn caption(state: &State) -> String {
    if state.detail.is_empty() { state.name.clone() } else { format!("{}: {}", state.name, state.detail) }
}
