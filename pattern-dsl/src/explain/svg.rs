//! An automaton as a picture: units in a row from left to right, members of a set below it, ends that are no alert at the
//! bottom.
//!
//! Widths are estimated from the number of characters of a monospaced face; colours follow the reader's scheme.

use std::fmt::Write;

use super::automaton::{Automaton, Edge, EdgeKind, State, StateKind};

const CHARACTER: usize = 7;
const LINE: usize = 16;
const MARGIN: usize = 24;
/// Longer labels are folded.
const LABEL: usize = 34;

const STYLE: &str = "\
svg { background: #ffffff; color: #1f2328; }\n\
text { font: 12px ui-monospace, monospace; fill: currentColor; }\n\
.name { font-weight: bold; }\n\
.note, .label { fill: #57606a; }\n\
rect { fill: #f6f8fa; stroke: currentColor; }\n\
path { fill: none; stroke: currentColor; }\n\
.tip { fill: currentColor; stroke: none; }\n\
.kill { stroke-dasharray: 6 4; stroke: #b3261e; }\n\
.timer { stroke-dasharray: 2 4; stroke: #0b5cad; }\n\
.skip { stroke-opacity: 0.6; }\n\
.end { stroke-width: 2; }\n\
@media (prefers-color-scheme: dark) {\n\
svg { background: #0d1117; color: #e6edf3; }\n\
.note, .label { fill: #9da7b1; }\n\
rect { fill: #161b22; }\n\
.kill { stroke: #ff7b72; }\n\
.timer { stroke: #6cb6ff; }\n\
}\n";

#[derive(Debug, Clone, Copy, Default)]
struct Box {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

impl Box {
    fn right(self) -> usize {
        self.x + self.width
    }

    fn bottom(self) -> usize {
        self.y + self.height
    }

    fn middle(self) -> usize {
        self.y + self.height / 2
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Folds at spaces.
fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn label_lines(edge: &Edge) -> Vec<String> {
    edge.labels.iter().flat_map(|l| fold(l, LABEL)).collect()
}

fn columns(lines: &[String]) -> usize {
    lines.iter().map(|l| l.chars().count()).max().unwrap_or(0) * CHARACTER
}

fn width_of(state: &State) -> usize {
    state.name.chars().count().max(state.detail.chars().count()) * CHARACTER + 28
}

fn height_of(state: &State) -> usize {
    if state.detail.is_empty() { 28 } else { 28 + LINE }
}

impl Automaton {
    /// An SVG picture; it stands alone.
    #[must_use]
    pub fn to_svg(&self) -> String {
        Picture::new(self).draw()
    }
}

struct Picture<'a> {
    automaton: &'a Automaton,
    boxes: Vec<Box>,
    body: String,
    /// Where the next end at the bottom goes.
    floor: usize,
    width: usize,
}

impl<'a> Picture<'a> {
    fn new(automaton: &'a Automaton) -> Self {
        let boxes = vec![Box::default(); automaton.states.len()];
        Self { automaton, boxes, body: String::new(), floor: 0, width: 0 }
    }

    fn at(&self, state: usize) -> Box {
        self.boxes.get(state).copied().unwrap_or_default()
    }

    fn place(&mut self, state: usize, place: Box) {
        if let Some(slot) = self.boxes.get_mut(state) {
            *slot = place;
        }
        self.width = self.width.max(place.right());
        self.floor = self.floor.max(place.bottom());
    }

    /// States of the row: start, units, alert.
    fn row(&self) -> Vec<usize> {
        let on_row = |kind| matches!(kind, StateKind::Start | StateKind::Unit | StateKind::Alert);
        let states = self.automaton.states.iter().enumerate();
        let mut row: Vec<usize> = states.filter(|(_, s)| on_row(s.kind)).map(|(i, _)| i).collect();
        row.sort_by_key(|i| self.automaton.states.get(*i).is_some_and(|s| s.kind == StateKind::Alert));
        row
    }

    fn lay_out(&mut self) {
        let row = self.row();
        let kind = |e: &Edge| matches!(e.kind, EdgeKind::Event | EdgeKind::Timer);
        let into = |from: usize, to: usize| {
            let found = self.automaton.edges.iter().find(|e| e.from == from && e.to == to && kind(e));
            found.map(label_lines).unwrap_or_default()
        };
        let gaps: Vec<Vec<String>> = row
            .windows(2)
            .map(|pair| match pair {
                [from, to] => into(*from, *to),
                _ => Vec::new(),
            })
            .collect();
        let tallest = gaps.iter().map(Vec::len).max().unwrap_or(0);
        let skips = self.automaton.edges.iter().filter(|e| e.kind == EdgeKind::Skip).count();
        let line =
            MARGIN + LINE * (self.automaton.notes.len() + 2) + skips * (2 * LINE) + tallest * LINE + 40;
        let mut x = MARGIN;
        for (index, state) in row.iter().enumerate() {
            if let Some(gap) = index.checked_sub(1).and_then(|i| gaps.get(i)) {
                x += columns(gap).max(30) + 28;
            }
            let Some(shown) = self.automaton.states.get(*state) else { continue };
            let height = height_of(shown);
            let mut place = Box { x, y: line - height / 2, width: width_of(shown), height };
            place.width = place.width.max(self.kills_width(*state));
            self.place(*state, place);
            let widest = self.members(*state, place);
            x = place.right().max(widest);
        }
        self.ends();
    }

    /// Kill labels stand below the state, so it must be as wide.
    fn kills_width(&self, state: usize) -> usize {
        columns(&self.falling(state).iter().flat_map(|e| label_lines(e)).collect::<Vec<_>>())
    }

    /// Edges to the ends at the bottom.
    fn falling(&self, state: usize) -> Vec<&'a Edge> {
        let low = |to: usize| {
            let kind = self.automaton.states.get(to).map(|s| s.kind);
            matches!(kind, Some(StateKind::Dropped | StateKind::Timeout))
        };
        self.automaton.edges.iter().filter(|e| e.from == state && low(e.to)).collect()
    }

    /// Members below their set; gives the rightmost edge.
    fn members(&mut self, set: usize, place: Box) -> usize {
        let mut y = place.bottom() + 18;
        let mut right = place.right();
        for (index, state) in self.automaton.states.iter().enumerate() {
            if state.kind != StateKind::Member(set) {
                continue;
            }
            let condition = self.automaton.edges.iter().find(|e| e.to == index && e.from == set);
            let lines = condition.map(label_lines).unwrap_or_default();
            let height = height_of(state) + lines.len() * LINE;
            let width = width_of(state).max(columns(&lines) + 20);
            let member = Box { x: place.x + 20, y, width, height };
            self.place(index, member);
            y = member.bottom() + 14;
            right = right.max(member.right());
        }
        right
    }

    fn ends(&mut self) {
        let labels = |state| self.falling(state).iter().map(|e| label_lines(e).len()).sum::<usize>();
        let deepest = (0..self.automaton.states.len()).map(labels).max().unwrap_or(0);
        let mut y = self.floor + deepest * LINE + 40;
        for (index, state) in self.automaton.states.iter().enumerate() {
            if matches!(state.kind, StateKind::Dropped | StateKind::Timeout) {
                let (width, height) = (width_of(state), height_of(state));
                let x = (self.width / 2).saturating_sub(width / 2).max(MARGIN);
                self.place(index, Box { x, y, width, height });
                y += height + 24;
            }
        }
    }

    fn text(&mut self, class: &str, x: usize, y: usize, text: &str) {
        let _ = writeln!(self.body, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", escape(text));
    }

    fn path(&mut self, class: &str, path: &str) {
        let _ = writeln!(self.body, "<path class=\"{class}\" marker-end=\"url(#tip)\" d=\"{path}\"/>");
    }

    fn draw(mut self) -> String {
        self.lay_out();
        let automaton = self.automaton;
        self.text("name", MARGIN, MARGIN, &automaton.rule);
        for (index, note) in automaton.notes.iter().enumerate() {
            self.text("note", MARGIN, MARGIN + (index + 1) * LINE, note);
        }
        let mut skips = 0;
        for edge in &automaton.edges {
            self.edge(edge, &mut skips);
        }
        for state in 0..automaton.states.len() {
            self.fall(state);
        }
        for (index, state) in automaton.states.iter().enumerate() {
            self.state(index, state);
        }
        let notes = automaton.notes.iter().chain([&automaton.rule]).map(|n| n.chars().count()).max();
        let width = (self.width + MARGIN).max(notes.unwrap_or(0) * CHARACTER + 2 * MARGIN);
        let height = self.floor + MARGIN;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n\
             <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
             orient=\"auto\"><path class=\"tip\" d=\"M0 0 L8 4 L0 8 z\"/></marker></defs>\n{}</svg>\n",
            escape(&automaton.rule),
            self.body
        )
    }

    fn state(&mut self, index: usize, state: &State) {
        let place = self.at(index);
        let round = match state.kind {
            StateKind::Unit | StateKind::Member(_) => 4,
            _ => place.height / 2,
        };
        let class = if matches!(state.kind, StateKind::Alert | StateKind::Timeout) { "end" } else { "state" };
        let Box { x, y, width, height } = place;
        let _ = writeln!(
            self.body,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{round}\"/>"
        );
        self.text("name", x + 10, y + 18, &state.name);
        let mut line = y + 18;
        if !state.detail.is_empty() {
            line += LINE;
            self.text("note", x + 10, line, &state.detail);
        }
        if let StateKind::Member(set) = state.kind {
            let condition = self.automaton.edges.iter().find(|e| e.to == index && e.from == set);
            for text in condition.map(label_lines).unwrap_or_default() {
                line += LINE;
                self.text("label", x + 10, line, &text);
            }
        }
    }

    fn edge(&mut self, edge: &Edge, skips: &mut usize) {
        let (from, to) = (self.at(edge.from), self.at(edge.to));
        let kind = self.automaton.states.get(edge.to).map(|s| s.kind);
        let lines = label_lines(edge);
        match (edge.kind, kind) {
            (_, Some(StateKind::Dropped | StateKind::Timeout)) => {}
            (EdgeKind::Event, Some(StateKind::Member(_))) => {
                let (x, top, y) = (from.x + 10, from.bottom(), to.middle());
                self.path("member", &format!("M{x} {top} V{y} H{}", to.x));
            }
            (EdgeKind::Repeat, _) => {
                let (x, y) = (from.right().saturating_sub(34), from.y);
                self.path("repeat", &format!("M{x} {y} v-14 h20 v14"));
            }
            (EdgeKind::Skip, _) => {
                let up = from.y.min(to.y).saturating_sub(34 + *skips * 2 * LINE);
                *skips += 1;
                let (x, end) = (from.right().saturating_sub(6), to.x + 6);
                self.path("skip", &format!("M{x} {} V{up} H{end} V{}", from.y, to.y));
                let text = format!("skip: {}", edge.labels.last().cloned().unwrap_or_default());
                self.text("label", x + 6, up.saturating_sub(4), &text);
            }
            (kind, _) => {
                let class = if kind == EdgeKind::Timer { "timer" } else { "event" };
                let y = from.middle();
                self.path(class, &format!("M{} {y} H{}", from.right(), to.x));
                // Right-aligned to where it goes in: a set's members may stand to the left of it.
                let x = to.x.saturating_sub(columns(&lines) + 12);
                for (index, line) in lines.iter().enumerate() {
                    self.text("label", x, y.saturating_sub(6 + (lines.len() - 1 - index) * LINE), line);
                }
            }
        }
    }

    /// Edges to the ends at the bottom, with their labels below the state.
    fn fall(&mut self, state: usize) {
        let from = self.at(state);
        let members =
            self.automaton.states.iter().enumerate().filter(|(_, s)| s.kind == StateKind::Member(state));
        let start = members.map(|(index, _)| self.at(index).bottom()).fold(from.bottom(), usize::max);
        let mut line = start + 14;
        for (index, edge) in self.falling(state).into_iter().enumerate() {
            let class = if edge.kind == EdgeKind::Timer { "timer" } else { "kill" };
            let to = self.at(edge.to);
            let x = from.x + 4 + index * 3;
            let top = from.bottom();
            let side = if x < to.x { to.x } else { to.right() };
            let path = match x >= to.x && x <= to.right() {
                true => format!("M{x} {top} V{}", to.y),
                false => format!("M{x} {top} V{} H{side}", to.middle()),
            };
            self.path(class, &path);
            for text in label_lines(edge) {
                let x = from.x + 10 + self.falling(state).len() * 3;
                self.text("label", x, line, &text);
                line += LINE;
            }
        }
    }
}
