//! The lines in which two texts differ, for people.

/// Pairs of lines beyond which two stretches are shown as wholly different: the comparison takes their product.
const PAIRS_MAX: usize = 4_000_000;

/// What happens to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Kept,
    Removed,
    Added,
}

/// The difference from `old` to `new`, at most so many lines of it; empty if there is none.
pub(super) fn lines(old: &str, new: &str, name: &str, shown_max: usize) -> String {
    let (old_lines, new_lines): (Vec<&str>, Vec<&str>) =
        (old.split('\n').collect(), new.split('\n').collect());
    let mut out = String::new();
    let (mut shown, mut hidden) = (0, 0);
    let (mut old_at, mut new_at) = (0, 0);
    let mut inside = false;
    for change in changes(&old_lines, &new_lines) {
        let (sign, line) = match change {
            Change::Kept | Change::Added => ('+', new_lines.get(new_at)),
            Change::Removed => ('-', old_lines.get(old_at)),
        };
        if change != Change::Kept {
            if shown < shown_max {
                if !inside {
                    out.push_str(&format!("{name}:{}\n", old_at + 1));
                }
                out.push_str(&format!("{sign}{}\n", line.copied().unwrap_or_default()));
                shown += 1;
            } else {
                hidden += 1;
            }
        }
        inside = change != Change::Kept;
        old_at += usize::from(change != Change::Added);
        new_at += usize::from(change != Change::Removed);
    }
    if hidden > 0 {
        out.push_str(&format!("{name}: and {hidden} more\n"));
    }
    out
}

/// A shortest way from one list of lines to the other.
fn changes(old: &[&str], new: &[&str]) -> Vec<Change> {
    let same = |(a, b): &(&&str, &&str)| a == b;
    let head = old.iter().zip(new).take_while(same).count();
    let (old, new) = (old.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
    let (old, new) = (&old[..old.len() - tail], &new[..new.len() - tail]);
    let mut all = vec![Change::Kept; head];
    all.extend(middle(old, new));
    all.extend(std::iter::repeat_n(Change::Kept, tail));
    all
}

/// The same where neither the first nor the last lines agree.
fn middle(old: &[&str], new: &[&str]) -> Vec<Change> {
    if old.len().saturating_mul(new.len()) > PAIRS_MAX {
        let mut all = vec![Change::Removed; old.len()];
        all.extend(std::iter::repeat_n(Change::Added, new.len()));
        return all;
    }
    // By how far both texts have been read: the most lines that the rests have in common.
    let width = new.len() + 1;
    let mut common = vec![0u32; (old.len() + 1) * width];
    for a in (0..old.len()).rev() {
        for b in (0..new.len()).rev() {
            common[a * width + b] = if old[a] == new[b] {
                common[(a + 1) * width + b + 1] + 1
            } else {
                common[(a + 1) * width + b].max(common[a * width + b + 1])
            };
        }
    }
    let (mut a, mut b) = (0, 0);
    let mut all = Vec::new();
    while a < old.len() || b < new.len() {
        let change = if a == old.len() {
            Change::Added
        } else if b == new.len() {
            Change::Removed
        } else if old[a] == new[b] {
            Change::Kept
        } else if common[(a + 1) * width + b] >= common[a * width + b + 1] {
            Change::Removed
        } else {
            Change::Added
        };
        a += usize::from(change != Change::Added);
        b += usize::from(change != Change::Removed);
        all.push(change);
    }
    all
}
