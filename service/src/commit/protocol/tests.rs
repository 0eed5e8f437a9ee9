//! The protocol against a broker that loses calls, loses answers, and lets calls arrive late.

use super::*;

/// Well mixed bits of a number.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[derive(Debug, Clone, Copy)]
enum Call {
    Begin,
    Produce(u64),
    Offsets(u64),
    Commit,
}

/// What of transactions matters here. A call of a producer that is not the newest is refused.
#[derive(Debug, Default)]
struct Broker {
    producer: u32,
    open: bool,
    pending: Vec<u64>,
    offsets: Option<u64>,
    committed: Vec<u64>,
    epoch: u64,
    /// On their way, each from a producer.
    late: Vec<(u32, Call)>,
}

impl Broker {
    fn init(&mut self) -> u32 {
        self.producer += 1;
        self.abort();
        self.producer
    }

    fn abort(&mut self) {
        self.open = false;
        self.pending.clear();
        self.offsets = None;
    }

    fn call(&mut self, producer: u32, call: Call) -> Outcome {
        if producer != self.producer {
            return Outcome::Fenced;
        }
        match call {
            Call::Begin => self.open = true,
            Call::Produce(burst) => {
                self.open = true;
                self.pending.push(burst);
            }
            Call::Offsets(epoch) => self.offsets = Some(epoch),
            Call::Commit => {
                self.committed.append(&mut self.pending);
                self.epoch = self.offsets.take().unwrap_or(self.epoch);
                self.open = false;
            }
        }
        Outcome::Done
    }
}

struct World {
    broker: Broker,
    seed: u64,
    producer: u32,
    /// Somebody else takes the transactional id now and then.
    rival: bool,
}

impl World {
    fn roll(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(1);
        mix(self.seed)
    }

    /// A call that may get lost, before or after it worked, or arrive later.
    fn call(&mut self, call: Call) -> Outcome {
        if self.rival && self.roll().is_multiple_of(50) {
            self.broker.init();
        }
        match self.roll() % 10 {
            0 => Outcome::Unknown,
            1 => {
                self.broker.call(self.producer, call);
                Outcome::Unknown
            }
            2 => {
                self.broker.late.push((self.producer, call));
                Outcome::Unknown
            }
            _ => self.broker.call(self.producer, call),
        }
    }

    /// Calls that were under way arrive.
    fn deliver_late(&mut self) {
        if self.roll().is_multiple_of(3) {
            for (producer, call) in std::mem::take(&mut self.broker.late) {
                self.broker.call(producer, call);
            }
        }
    }

    /// Writes bursts up to `last`; true if the protocol asked for a recovery.
    fn write(&mut self, protocol: &mut Protocol, last: u64) -> bool {
        for burst in protocol.epoch() + 1..=last {
            protocol.offer();
            loop {
                self.deliver_late();
                let action = protocol.next();
                let outcome = match action {
                    Action::Rest => break,
                    Action::Begin => self.call(Call::Begin),
                    Action::Produce => self.call(Call::Produce(burst)),
                    Action::SendOffsets(epoch) => self.call(Call::Offsets(epoch)),
                    Action::Commit => self.call(Call::Commit),
                    Action::Renew if self.roll().is_multiple_of(4) => Outcome::Unknown,
                    Action::Renew => {
                        self.producer = self.broker.init();
                        Outcome::Done
                    }
                    Action::ReadBack if self.roll().is_multiple_of(4) => Outcome::Unknown,
                    Action::ReadBack => Outcome::Committed(Some(self.broker.epoch)),
                    Action::Settle => Outcome::Done,
                    Action::Recover => return true,
                };
                protocol.done(outcome);
            }
        }
        false
    }
}

#[test]
fn every_burst_is_committed_once_and_in_order() {
    let mut unknown = 0;
    for seed in 0..5_000u64 {
        let mut world =
            World { broker: Broker::default(), seed: mix(seed), producer: 0, rival: seed % 2 == 1 };
        loop {
            // A recovery goes on from what is committed.
            world.producer = world.broker.init();
            let mut protocol = Protocol::new(world.broker.epoch);
            let again = world.write(&mut protocol, 20);
            unknown += protocol.unknown();
            if !again {
                break;
            }
        }
        let wanted: Vec<u64> = (1..=20).collect();
        assert_eq!((&world.broker.committed, world.broker.epoch), (&wanted, 20), "seed {seed}");
    }
    assert!(unknown > 10_000, "{unknown}: the broker is too kind");
}

#[test]
fn an_unknown_commit_is_settled_by_what_stands_committed() {
    for (found, action, epoch) in [
        (Some(8), Action::Settle, 8),
        (Some(7), Action::Begin, 7),
        (Some(9), Action::Recover, 7),
        (None, Action::Recover, 7),
    ] {
        let mut protocol = Protocol::new(7);
        protocol.offer();
        for outcome in [Outcome::Done, Outcome::Done, Outcome::Done, Outcome::Unknown] {
            protocol.done(outcome);
        }
        assert_eq!(protocol.next(), Action::Renew);
        protocol.done(Outcome::Done);
        protocol.done(Outcome::Committed(found));
        assert_eq!((protocol.next(), protocol.epoch()), (action, epoch), "{found:?}");
    }
}

#[test]
fn a_commit_of_the_same_number_that_another_has_made_is_not_ours() {
    let mut protocol = Protocol::new(7);
    protocol.offer();
    for outcome in [Outcome::Done, Outcome::Done, Outcome::Done, Outcome::Unknown, Outcome::Done] {
        protocol.done(outcome);
    }
    assert_eq!(protocol.next(), Action::ReadBack);
    protocol.done(Outcome::Fenced);
    assert_eq!((protocol.next(), protocol.epoch()), (Action::Recover, 7));
}

#[test]
fn words_are_committed_soon_and_offsets_seldom() {
    let is_due = |since_ms, has_words, has_moved, is_urgent| {
        Pace::default().is_due(Due { since_ms, took_ms: 0, has_words, has_moved, is_urgent })
    };
    assert!(!is_due(199, true, true, false));
    assert!(is_due(200, true, true, false));
    assert!(is_due(0, true, false, true));
    assert!(!is_due(1_999, false, true, false));
    assert!(is_due(2_000, false, true, false));
    assert!(!is_due(60_000, false, false, false));
}

#[test]
fn what_commits_take_is_no_time_that_alerts_wait_longer_as_long_as_reading_has_as_much() {
    let wait = |took_ms| {
        let is_due = |since_ms: &u64| {
            let (has_words, has_moved, is_urgent) = (true, true, false);
            Pace::default().is_due(Due { since_ms: *since_ms, took_ms, has_words, has_moved, is_urgent })
        };
        (0..).find(is_due)
    };
    // The commit before, this, and the one that the alert is in are 200 ms together.
    assert_eq!([0, 15, 40, 66].map(wait), [200, 170, 120, 68].map(Some));
    assert_eq!([67, 100, 5_000].map(wait), [67, 100, 100].map(Some));
}
