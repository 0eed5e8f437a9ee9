//! Pauses the reading of a topic whose records are mostly no events: whoever writes it has changed something, and what is
//! mended there need not be fetched out of the dead letters.
//!
//! INVARIANT: only when a record is read depends on it, never what becomes of it: nothing is lost, nothing is passed over,
//! and a replay needs to know nothing of it.

use super::source::split_name;
use crate::clock;
use crate::config::{self, duration};
use metrics::{counter, gauge};
use std::time::{Duration, Instant};

/// One topic.
#[derive(Debug)]
struct Input {
    topic: String,
    /// What is counted began here.
    since: Instant,
    records: u64,
    bad: u64,
    /// Not read until then.
    until: Option<Instant>,
}

/// All topics.
#[derive(Debug)]
pub(super) struct Breaker {
    share: f64,
    records: u64,
    within: Duration,
    pause: Duration,
    inputs: Vec<Input>,
    /// By partition: its topic.
    of: Vec<usize>,
    /// By partition: it is not read.
    paused: Vec<bool>,
}

impl Breaker {
    pub(super) fn new<'a>(config: &config::Breaker, partitions: impl Iterator<Item = &'a str>) -> Self {
        let usual = Duration::from_secs(60);
        let mut breaker = Self {
            share: config.share,
            records: config.records,
            within: duration(&config.within).unwrap_or(usual),
            pause: duration(&config.pause).unwrap_or(usual),
            inputs: Vec::new(),
            of: Vec::new(),
            paused: Vec::new(),
        };
        for name in partitions {
            let topic = split_name(name).map_or(name, |(topic, _)| topic);
            let known = breaker.inputs.iter().position(|input| input.topic == topic);
            breaker.of.push(known.unwrap_or(breaker.inputs.len()));
            breaker.paused.push(false);
            if known.is_none() {
                gauge!("tripline_input_paused", "topic" => topic.to_owned()).set(0.0);
                counter!("tripline_input_pauses_total", "topic" => topic.to_owned()).increment(0);
                breaker.inputs.push(Input {
                    topic: topic.to_owned(),
                    since: clock::now(),
                    records: 0,
                    bad: 0,
                    until: None,
                });
            }
        }
        breaker
    }

    /// A record of a partition was read.
    #[inline]
    pub(super) fn count(&mut self, lane: usize, is_bad: bool) {
        let Some(input) = self.of.get(lane).and_then(|at| self.inputs.get_mut(*at)) else { return };
        input.records += 1;
        input.bad += u64::from(is_bad);
    }

    /// By partition: it is not read now.
    pub(super) fn paused(&self) -> &[bool] {
        &self.paused
    }

    /// Looks at what was counted, as soon as that is enough to tell. True if a topic pauses now, or goes on.
    pub(super) fn judge(&mut self, now: Instant) -> bool {
        let mut has_changed = false;
        for input in &mut self.inputs {
            let was_paused = input.until.is_some();
            input.until = input.until.filter(|until| now < *until);
            let is_enough = input.records >= self.records;
            let is_bad = is_enough && input.bad as f64 > self.share * input.records as f64;
            if is_bad {
                input.until = Some(now + self.pause);
                counter!("tripline_input_pauses_total", "topic" => input.topic.clone()).increment(1);
                tracing::error!(
                    topic = input.topic,
                    bad = input.bad,
                    records = input.records,
                    "most of a topic is no event: it is not read for a while"
                );
            }
            if is_enough || now.duration_since(input.since) > self.within {
                (input.since, input.records, input.bad) = (now, 0, 0);
            }
            let is_paused = input.until.is_some();
            if is_paused != was_paused {
                has_changed = true;
                gauge!("tripline_input_paused", "topic" => input.topic.clone()).set(f64::from(is_paused));
            }
        }
        if has_changed {
            let is_paused = |at: &usize| self.inputs.get(*at).is_some_and(|input| input.until.is_some());
            self.paused = self.of.iter().map(is_paused).collect();
        }
        has_changed
    }

    /// Why something is not read, if that is so.
    pub(super) fn why(&self) -> Option<String> {
        let paused = self.inputs.iter().filter(|input| input.until.is_some());
        let names: Vec<String> = paused.map(|input| format!("`{}`", input.topic)).collect();
        (!names.is_empty()).then(|| {
            format!(
                "reading of {} pauses: more than {} % of its records are no events (see the dead letters); it is tried \
                 again every {} s (`[breaker]`)",
                names.join(", "),
                self.share * 100.0,
                self.pause.as_secs_f64()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_pauses_while_most_of_it_is_no_event() {
        let config = config::Breaker { records: 10, ..config::Breaker::default() };
        let mut breaker = Breaker::new(&config, ["a/0", "a/1", "b/0"].into_iter());
        let begun = Instant::now();
        let count = |breaker: &mut Breaker, lane, good, bad| {
            (0..good).for_each(|_| breaker.count(lane, false));
            (0..bad).for_each(|_| breaker.count(lane, true));
        };
        count(&mut breaker, 0, 0, 9);
        assert!(!breaker.judge(begun), "too few to tell");
        count(&mut breaker, 1, 9, 0);
        assert!(!breaker.judge(begun), "half is not more than half");
        count(&mut breaker, 1, 4, 6);
        assert!(breaker.judge(begun), "what was judged before does not count");
        assert_eq!(breaker.paused(), [true, true, false]);
        assert!(breaker.why().is_some_and(|why| why.contains("`a`")));
        assert!(!breaker.judge(begun + Duration::from_secs(59)));
        assert!(breaker.judge(begun + Duration::from_secs(60)));
        assert_eq!((breaker.paused(), breaker.why()), ([false; 3].as_slice(), None));
        // What is long past does not count.
        count(&mut breaker, 2, 0, 9);
        breaker.judge(begun + Duration::from_secs(200));
        count(&mut breaker, 2, 0, 1);
        assert!(!breaker.judge(begun + Duration::from_secs(200)));
    }
}
