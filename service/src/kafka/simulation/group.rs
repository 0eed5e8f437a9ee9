//! The consumer group of a simulated cluster: members, and which of them has the lease of which task.
//!
//! As a coordinator and the sticky assignor do it: members that come and go have the group arranged anew; leases that nobody
//! has go to those that have the fewest; who has two more than another is asked for one, keeps it until it gives it back, and
//! only then it goes to another.

use std::collections::{BTreeMap, BTreeSet};

/// A member of the group, by the id that the coordinator gave it.
pub(super) type MemberId = u64;

#[derive(Debug)]
struct Member {
    name: String,
    pid: usize,
    /// Since when nothing was heard of it.
    silent: Option<u64>,
}

/// The lease of a task.
#[derive(Debug, Default)]
struct Lease {
    holder: Option<MemberId>,
    /// Raised whenever it is given.
    number: u64,
    /// The holder is to give it back.
    is_wanted: bool,
}

/// The consumer group.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) generation: u32,
    members: BTreeMap<MemberId, Member>,
    /// Those whose name another has taken.
    fenced: BTreeSet<MemberId>,
    /// By task.
    leases: Vec<Lease>,
    pub(super) is_preparing: bool,
    last: MemberId,
}

/// What a member hears.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is one, of that generation: the leases that it has, by task, with their number and whether they are wanted back;
    /// and whether it is known who has the others.
    Member(u32, BTreeMap<i32, (u64, bool)>, bool),
    /// The group does not know it any more.
    Unknown,
    /// Another has taken its name.
    Fenced,
}

impl Group {
    /// So many tasks.
    pub(super) fn has_tasks(&mut self, count: i32) {
        self.leases = (0..count).map(|_| Lease::default()).collect();
    }

    /// A member joins under a name. Its id, and whether the group has to be arranged anew for it.
    pub(super) fn join(&mut self, name: &str, pid: usize) -> (MemberId, bool) {
        self.last += 1;
        let id = self.last;
        let before = self.members.iter().find(|(_, member)| member.name == name).map(|(id, _)| *id);
        self.members.insert(id, Member { name: name.to_owned(), pid, silent: None });
        let Some(before) = before else { return (id, true) };
        // It is the same member come back: it gets what that had.
        self.members.remove(&before);
        self.fenced.insert(before);
        for lease in self.leases.iter_mut().filter(|lease| lease.holder == Some(before)) {
            *lease = Lease { holder: Some(id), number: lease.number + 1, is_wanted: false };
        }
        (id, false)
    }

    pub(super) fn hear(&self, id: MemberId) -> Heard {
        if self.fenced.contains(&id) {
            return Heard::Fenced;
        }
        if !self.members.contains_key(&id) {
            return Heard::Unknown;
        }
        let own = (0..).zip(&self.leases).filter(|(_, lease)| lease.holder == Some(id));
        let own = own.map(|(task, lease)| (task, (lease.number, lease.is_wanted))).collect();
        Heard::Member(self.generation, own, self.leases.iter().any(|lease| lease.holder.is_some()))
    }

    /// It is a member, and that is the generation.
    pub(super) fn has(&self, id: MemberId, generation: u32) -> bool {
        self.members.contains_key(&id) && generation == self.generation
    }

    /// The holder has given leases back.
    pub(super) fn give_back(&mut self, id: MemberId, tasks: &[i32]) {
        for task in tasks {
            if let Some(lease) = self.leases.get_mut(*task as usize).filter(|own| own.holder == Some(id)) {
                (lease.holder, lease.is_wanted) = (None, false);
            }
        }
    }

    /// The holder of a task is to give its lease back.
    pub(super) fn revoke(&mut self, task: i32) {
        if let Some(lease) = self.leases.get_mut(task as usize) {
            lease.is_wanted = lease.holder.is_some();
        }
    }

    /// Nothing is heard of a process from now on; or it is heard of again.
    pub(super) fn silence(&mut self, pid: usize, since: Option<u64>) {
        for member in self.members.values_mut().filter(|member| member.pid == pid) {
            member.silent = since;
        }
    }

    /// Members that have been silent for a session are gone. True if there were any.
    pub(super) fn expire(&mut self, before: u64) -> bool {
        let known = self.members.len();
        self.members.retain(|_, member| member.silent.is_none_or(|since| since > before));
        for lease in &mut self.leases {
            if lease.holder.is_some_and(|id| !self.members.contains_key(&id)) {
                (lease.holder, lease.is_wanted) = (None, false);
            }
        }
        self.members.len() != known
    }

    /// Everybody who is in it has been heard.
    pub(super) fn is_complete(&self) -> bool {
        self.members.values().all(|member| member.silent.is_none())
    }

    /// The group is arranged anew. `pick` draws one of so many.
    pub(super) fn arrange(&mut self, mut pick: impl FnMut(usize) -> usize) {
        self.generation += 1;
        self.is_preparing = false;
        // What is asked for counts as given back.
        let mut share: BTreeMap<MemberId, usize> = self.members.keys().map(|id| (*id, 0)).collect();
        for lease in self.leases.iter().filter(|lease| !lease.is_wanted) {
            lease.holder.and_then(|id| share.get_mut(&id)).into_iter().for_each(|count| *count += 1);
        }
        for lease in self.leases.iter_mut().filter(|lease| lease.holder.is_none()) {
            let Some(least) = share.values().min().copied() else { return };
            let fewest: Vec<MemberId> =
                share.iter().filter(|(_, count)| **count == least).map(|(id, _)| *id).collect();
            let id = fewest[pick(fewest.len())];
            share.entry(id).and_modify(|count| *count += 1);
            *lease = Lease { holder: Some(id), number: lease.number + 1, is_wanted: false };
        }
        loop {
            let most = share.iter().max_by_key(|(_, count)| **count).map(|(id, count)| (*id, *count));
            let least = share.iter().min_by_key(|(_, count)| **count).map(|(id, count)| (*id, *count));
            let (Some((from, high)), Some((to, low))) = (most, least) else { return };
            let mut own = self.leases.iter_mut().filter(|own| own.holder == Some(from) && !own.is_wanted);
            let Some(lease) = own.nth(pick(high)).filter(|_| high > low + 1) else { return };
            lease.is_wanted = true;
            share.extend([(from, high - 1), (to, low + 1)]);
        }
    }
}
