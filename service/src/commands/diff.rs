//! The lines in which two texts differ, for people.

use similar::{ChangeTag, TextDiff};

/// The difference from `old` to `new`, at most so many lines of it; empty if there is none.
pub(super) fn lines(old: &str, new: &str, name: &str, shown_max: usize) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.split('\n').collect(), new.split('\n').collect());
    let mut out = String::new();
    let (mut shown, mut hidden) = (0, 0);
    let (mut old_at, mut inside) = (0, false);
    for change in TextDiff::from_slices(&old, &new).iter_all_changes() {
        if change.tag() == ChangeTag::Equal {
            inside = false;
        } else if shown < shown_max {
            if !inside {
                out.push_str(&format!("{name}:{}\n", old_at + 1));
            }
            out.push_str(&format!("{}{}\n", change.tag(), change.value()));
            shown += 1;
            inside = true;
        } else {
            hidden += 1;
        }
        old_at += usize::from(change.tag() != ChangeTag::Insert);
    }
    if hidden > 0 {
        out.push_str(&format!("{name}: and {hidden} more\n"));
    }
    out
}
