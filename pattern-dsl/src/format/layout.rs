//! Where lines may break, and where they do: the document algebra of Oppen and Wadler with comments.
//!
//! INVARIANT: a group with a comment or a forced break in it is broken, so nothing is ever printed behind a comment.

/// A piece of text with its possible breaks.
#[derive(Debug, Clone)]
pub(super) enum Doc {
    Nil,
    Text(String),
    /// A space that is never a break.
    Space,
    /// A break, or a space.
    Line,
    /// A break, or nothing.
    Soft,
    /// A break.
    Hard,
    /// A break and an empty line.
    Blank,
    /// Breaks the groups around it; prints nothing.
    Break,
    /// Printed only in a broken group, before a comment that waits.
    IfBroken(&'static str),
    /// A comment at the end of the line.
    Trailing(String),
    /// A comment on a line of its own.
    Own(String),
    Concat(Vec<Doc>),
    /// Two columns further in.
    Indent(Vec<Doc>),
    /// All of its own breaks, or none.
    Group(Vec<Doc>),
}

impl Doc {
    /// It cannot stand on one line. A comment at its very end is no reason: the line ends there anyway.
    pub(super) fn broken(&self) -> bool {
        forced(std::slice::from_ref(self), &mut false)
    }
}

/// A break that must be. `waiting`: a comment came last.
fn forced(docs: &[Doc], waiting: &mut bool) -> bool {
    docs.iter().any(|doc| match doc {
        Doc::Hard | Doc::Blank | Doc::Break | Doc::Own(_) => true,
        Doc::Trailing(_) => std::mem::replace(waiting, true),
        Doc::Text(_) | Doc::Space | Doc::Line | Doc::Soft => *waiting,
        Doc::Nil | Doc::IfBroken(_) => false,
        Doc::Concat(inner) | Doc::Indent(inner) | Doc::Group(inner) => forced(inner, waiting),
    })
}

/// Lines of at most `width` columns where the breaks allow it.
pub(super) fn print(doc: &Doc, width: usize) -> String {
    let mut printer = Printer { width, ..Printer::default() };
    printer.run(doc);
    printer.finish()
}

type Frame<'a> = (usize, bool, &'a Doc);

#[derive(Default)]
struct Printer {
    width: usize,
    out: String,
    /// Columns of the line so far, in characters.
    column: usize,
    /// Indentation of the next text, if the line is new.
    fresh: Option<usize>,
    space: bool,
    /// A comment that waits for the end of the line.
    waiting: Option<String>,
}

impl Printer {
    fn run(&mut self, doc: &Doc) {
        let mut stack: Vec<Frame<'_>> = vec![(0, true, doc)];
        self.fresh = Some(0);
        while let Some((indent, broken, doc)) = stack.pop() {
            match doc {
                Doc::Nil | Doc::Break => {}
                Doc::Text(text) => self.text(indent, text),
                Doc::Space => self.space = true,
                Doc::Line if !broken => self.space = true,
                Doc::Soft if !broken => {}
                Doc::Line | Doc::Soft | Doc::Hard => self.newline(indent),
                Doc::Blank => {
                    self.newline(indent);
                    self.out.push('\n');
                }
                Doc::IfBroken(text) => {
                    if broken {
                        self.out.push_str(text);
                        self.column += text.len();
                    }
                }
                Doc::Trailing(text) => self.waiting = Some(text.clone()),
                Doc::Own(text) => self.own(indent, text),
                Doc::Concat(inner) => stack.extend(inner.iter().rev().map(|d| (indent, broken, d))),
                Doc::Indent(inner) => stack.extend(inner.iter().rev().map(|d| (indent + 2, broken, d))),
                Doc::Group(inner) => {
                    let fits = !doc.broken() && self.fits(indent, inner, &stack);
                    stack.extend(inner.iter().rev().map(|d| (indent, !fits, d)));
                }
            }
        }
    }

    fn finish(mut self) -> String {
        self.flush();
        let mut out = self.out.trim_end().to_owned();
        if !out.is_empty() {
            out.push('\n');
        }
        out
    }

    fn text(&mut self, indent: usize, text: &str) {
        if self.waiting.is_some() {
            // A comment stands where no break is: the rest goes on, further in.
            self.newline(indent + 2);
        }
        match self.fresh.take() {
            Some(columns) => {
                self.out.extend(std::iter::repeat_n(' ', columns));
                self.column = columns;
            }
            None if self.space => {
                self.out.push(' ');
                self.column += 1;
            }
            None => {}
        }
        self.space = false;
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn own(&mut self, indent: usize, text: &str) {
        if self.fresh.is_none() {
            self.newline(indent + 2);
        }
        let columns = self.fresh.unwrap_or(indent);
        self.text(indent, text);
        self.newline(columns);
    }

    fn flush(&mut self) {
        if let Some(comment) = self.waiting.take() {
            self.out.push_str("  ");
            self.out.push_str(&comment);
        }
    }

    fn newline(&mut self, indent: usize) {
        self.flush();
        if self.fresh.is_none() {
            self.out.push('\n');
        }
        self.fresh = Some(indent);
        self.column = 0;
        self.space = false;
    }

    /// The group on one line, and what must follow it there.
    fn fits(&self, indent: usize, inner: &[Doc], rest: &[Frame<'_>]) -> bool {
        let start = self.fresh.unwrap_or(self.column + usize::from(self.space));
        let Some(mut left) = self.width.checked_sub(start) else { return false };
        let mut stack: Vec<Frame<'_>> = inner.iter().rev().map(|d| (indent, false, d)).collect();
        let mut after = rest.iter().rev();
        loop {
            let Some((_, broken, doc)) = stack.pop().or_else(|| after.next().copied()) else { return true };
            let used = match doc {
                Doc::Text(text) => text.chars().count(),
                Doc::Space => 1,
                Doc::Line | Doc::Soft if broken => return true,
                Doc::Hard | Doc::Blank | Doc::Own(_) | Doc::Trailing(_) => return true,
                Doc::Line => 1,
                Doc::IfBroken(text) if broken => text.len(),
                // A group in the rest may break at its first break, whatever it will do.
                Doc::Concat(inner) | Doc::Indent(inner) | Doc::Group(inner) => {
                    stack.extend(inner.iter().rev().map(|d| (0, broken, d)));
                    0
                }
                _ => 0,
            };
            match left.checked_sub(used) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
    }
}
