//! Somebody is told of each rule before it works.
//!
//! Of a process that dies inside the matcher nothing is left but what was written down before. Whoever looks for the rule
//! that it died of watches the task; nobody does otherwise, and then a rule costs one test more.

use crate::task::Task;
use pattern_dsl::types::Micros;

type Tell = dyn Fn(&str, Micros) + Send;

/// Who is told of a rule and of the time at which it works: that of the event, or up to which deadlines ring.
pub struct Watch(Box<Tell>);

impl Watch {
    /// One that does this. It may panic: the task is not to be used then.
    pub fn new(tell: impl Fn(&str, Micros) + Send + 'static) -> Self {
        Self(Box::new(tell))
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

impl Task {
    /// From now on this is told of each rule that works, or nobody is.
    pub fn watch(&mut self, watch: Option<Watch>) {
        self.watch = watch;
    }

    /// A rule is about to work.
    #[inline]
    pub(crate) fn tell(&self, rule: usize, time: Micros) {
        if let Some(watch) = &self.watch {
            self.tell_watch(watch, rule, time);
        }
    }

    #[cold]
    fn tell_watch(&self, Watch(tell): &Watch, rule: usize, time: Micros) {
        if let Some(run) = self.rules.get(rule) {
            tell(&run.program.name, time);
        }
    }
}
