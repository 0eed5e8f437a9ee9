//! Tokens with the comments that stand around them.

use crate::lex::{Kind, Token, lex};

/// A comment on a line of its own.
pub(super) struct Comment {
    pub(super) text: String,
    /// An empty line stands before it.
    pub(super) blank: bool,
}

/// A token as written, with its comments.
pub(super) struct Item {
    pub(super) kind: Kind,
    pub(super) text: String,
    /// Comments on lines of their own before it.
    pub(super) before: Vec<Comment>,
    /// An empty line stands before it, after its comments.
    pub(super) blank: bool,
    /// The comment after it on its line.
    pub(super) after: Option<String>,
}

/// What stands between two tokens, or before the first: the comment that belongs to the line before, the others, and
/// whether an empty line ends it.
fn gap(text: &str, first: bool) -> (Option<String>, Vec<Comment>, bool) {
    let mut trailing = None;
    let mut own = Vec::new();
    let mut blank = false;
    for (index, line) in text.split('\n').enumerate() {
        let line = line.trim();
        if line.starts_with('#') {
            if index == 0 && !first {
                trailing = Some(line.to_owned());
            } else {
                own.push(Comment { text: line.to_owned(), blank });
            }
            blank = false;
        } else if index > 0 && line.is_empty() {
            blank = true;
        }
    }
    // The line on which the next token stands is no empty line.
    let breaks = text.rsplit_once('\n').map_or("", |(upto, _)| upto);
    let last_empty = breaks.rsplit_once('\n').is_some_and(|(_, line)| line.trim().is_empty());
    (trailing, own, blank && last_empty)
}

/// Tokens of `text` with their comments.
pub(super) fn attach(text: &str, tokens: &[Token]) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let mut end = 0;
    for token in tokens {
        let (start, stop) = (token.span.start as usize, token.span.end as usize);
        let (after, before, blank) = gap(text.get(end..start).unwrap_or(""), items.is_empty());
        if let Some(last) = items.last_mut() {
            last.after = after;
        }
        let written = text.get(start..stop).unwrap_or("").to_owned();
        items.push(Item { kind: token.kind.clone(), text: written, before, blank, after: None });
        end = stop;
    }
    behind_commas(&mut items);
    items
}

/// Comments before a comma go behind it, so that a comma follows its item at once.
fn behind_commas(items: &mut [Item]) {
    for at in 1..items.len() {
        let Some([item, comma, next]) = items.get_mut(at - 1..at + 2) else { return };
        if comma.kind != Kind::Sign(",") {
            continue;
        }
        let mut moved = std::mem::take(&mut comma.before);
        if item.after.is_some() || !moved.is_empty() {
            moved.extend(comma.after.take().map(|text| Comment { text, blank: false }));
        }
        comma.after = item.after.take().or(comma.after.take());
        moved.append(&mut next.before);
        next.before = moved;
    }
}

/// Tokens as written and comments, each in order; without commas before a closing sign.
pub(super) fn essence(text: &str) -> (Vec<String>, Vec<String>) {
    let mut ignored = Vec::new();
    let items = attach(text, &lex(0, text, 0, &mut ignored));
    let mut comments = Vec::new();
    let mut words: Vec<String> = Vec::new();
    for item in items {
        comments.extend(item.before.into_iter().map(|c| c.text));
        comments.extend(item.after);
        let closes = matches!(item.kind, Kind::Sign("}" | ")" | "]"));
        if closes && words.last().is_some_and(|w| w == ",") {
            words.pop();
        }
        words.push(item.text);
    }
    (words, comments)
}
