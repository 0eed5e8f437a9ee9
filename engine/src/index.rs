//! Which rules want an event: the event finds them, by the values of its fields.
//!
//! Distinct predicates are kept once per stream and evaluated at most once per event. Of the predicates that a rule asks of an
//! event, one finds the rule: a comparison with a word by hash, one with a limit by its place among all limits of that field,
//! any other by being tested. The rest is tested only then. (The idea of predicate indexes: Fabret et al., "Filtering
//! algorithms and implementation for very fast publish/subscribe systems", SIGMOD 2001.)
//!
//! INVARIANT: exact - an event is reported to a role exactly if it fits all its predicates.

use crate::collections::Map;
use crate::event::{EventRef, StreamId};
use crate::expr::Node;
use crate::family::{By, Family, Hit};
use crate::predicate::{Around, Kin, Predicate, Quick, is_inclusive, side};
use smallvec::SmallVec;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Fewer words or limits of one field than this are tested one by one.
const FAMILY_MIN: usize = 4;
/// Most predicates of a stream of which every set has its wants written down, and most of those.
const FEW: usize = 6;
const WRITTEN: usize = 4096;

/// Predicates that a want asks beside the one that finds it: most ask one, and need no heap.
type Further = SmallVec<[u32; 2]>;

/// Predicates and wants of every stream.
#[derive(Debug, Default)]
pub(crate) struct Index {
    streams: Vec<StreamIndex>,
}

#[derive(Debug, Default)]
struct StreamIndex {
    names: Map<String, u32>,
    predicates: Vec<Test>,
    epoch: u64,
    /// What rules want, as said.
    wants: Vec<Want>,
    /// The same in the order of what finds them; those that ask nothing come first.
    wanted: Vec<Wanted>,
    /// The predicates that each of them asks beside the one that finds it.
    further: Vec<Further>,
    unconditional: usize,
    /// Predicates that are tested for every event.
    tested: Vec<Tested>,
    families: Vec<Family>,
    /// Where there are few predicates, this takes the place of all of the above.
    few: Option<Few>,
}

/// The wants of a stream with few predicates, for every set of them that may hold.
#[derive(Debug)]
struct Few {
    asked: Vec<(u32, Quick)>,
    /// By predicate: for which of the events looked at it holds, one bit each.
    holds: SmallVec<[u32; FEW]>,
    /// By set of predicates, one bit each: its part of `wanted`.
    sets: Vec<Range<usize>>,
    wanted: Vec<Wanted>,
}

/// A rule that wants an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) rule: u32,
    /// Where all its roles find the key, if that is one field.
    pub(crate) slot: Option<u16>,
    /// One bit each.
    pub(crate) roles: u64,
}

/// A rule wants events that fit all of the predicates.
#[derive(Debug)]
struct Want {
    wanted: Wanted,
    predicates: Vec<u32>,
}

/// What finds a want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Finder {
    /// It asks nothing.
    Event,
    /// A predicate that holds.
    Test(u32),
    Family(Kin),
}

/// A predicate with its result.
#[derive(Debug)]
struct Test {
    predicate: Predicate,
    /// Of the event looked at: `2 * epoch` = false, `2 * epoch + 1` = true, less = not yet known.
    known: u64,
}

/// How events find a role of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It asks nothing of an event alone: every event of the stream is one.
    Every,
    /// The test that finds it is made for every event of the stream.
    Tested,
    /// By hash, among all words of the field that rules ask for.
    Word,
    /// By order, among all limits of the field that rules ask for.
    Limit,
}

/// A predicate that is tested for every event.
#[derive(Debug)]
struct Tested {
    predicate: u32,
    /// The wants that it finds.
    wants: Range<usize>,
    quick: Quick,
    /// None of these wants asks more.
    decides: bool,
    /// For which of the events looked at it holds, one bit each.
    holds: u32,
}

impl Few {
    /// None if there are too many.
    fn of(wants: &[Want], predicates: &[Test]) -> Option<Self> {
        let numbers: BTreeSet<u32> = wants.iter().flat_map(|want| want.predicates.iter().copied()).collect();
        let numbers: Vec<u32> = numbers.into_iter().collect();
        if numbers.len() > FEW || wants.len() << numbers.len() > WRITTEN {
            return None;
        }
        let (mut sets, mut wanted) = (Vec::new(), Vec::new());
        for set in 0..1_usize << numbers.len() {
            let start = wanted.len();
            let holds = |number: &u32| numbers.binary_search(number).is_ok_and(|bit| set >> bit & 1 == 1);
            let fitting = wants.iter().filter(|want| want.predicates.iter().all(holds));
            wanted.extend(fitting.map(|want| want.wanted));
            merge_rules(&mut wanted, start);
            sets.push(start..wanted.len());
        }
        let quick = |number: &u32| predicates.get(*number as usize).map(|test| Quick::of(&test.predicate));
        let asked = numbers.iter().map(|number| (*number, quick(number).unwrap_or(Quick::None))).collect();
        Some(Self { asked, holds: SmallVec::from_elem(0, numbers.len()), sets, wanted })
    }

    fn ask(&mut self, events: &[EventRef<'_>], predicates: &[Test], around: Around<'_>) -> u32 {
        let mut some = if self.sets.first().is_some_and(|wants| !wants.is_empty()) { u32::MAX } else { 0 };
        for ((number, quick), holds) in self.asked.iter().zip(&mut self.holds) {
            *holds = ask(quick, *number, events, predicates, around);
            some |= *holds;
        }
        some
    }

    #[inline]
    fn gather(&self, place: usize, found: &mut Vec<Wanted>) {
        let bits = self.holds.iter().enumerate();
        let set = bits.fold(0, |set, (bit, holds)| set | ((*holds >> place & 1) as usize) << bit);
        let wants = self.sets.get(set).and_then(|wants| self.wanted.get(wants.clone())).unwrap_or_default();
        add(found, wants);
    }
}

/// For which events a predicate holds, one bit each.
#[inline]
fn ask(quick: &Quick, number: u32, events: &[EventRef<'_>], predicates: &[Test], around: Around<'_>) -> u32 {
    let (mut holds, open) = quick.holds(events);
    if open != 0 {
        for (place, event) in events.iter().enumerate().filter(|(place, _)| open >> place & 1 == 1) {
            let test = predicates.get(number as usize);
            holds |= u32::from(test.is_some_and(|test| test.predicate.holds(event, around))) << place;
        }
    }
    holds
}

impl Index {
    /// Makes room for streams `0..count`.
    pub(crate) fn ensure(&mut self, count: usize) {
        while self.streams.len() < count {
            self.streams.push(StreamIndex::default());
        }
    }

    /// The number of a predicate in its stream; equal names are one predicate. `is_float` tells of a slot whether it holds
    /// floats.
    pub(crate) fn intern(
        &mut self,
        stream: StreamId,
        name: &str,
        node: Node,
        is_float: &dyn Fn(usize) -> bool,
    ) -> u32 {
        let Some(index) = self.streams.get_mut(stream as usize) else { return u32::MAX };
        if let Some(number) = index.names.get(name) {
            return *number;
        }
        let number = index.predicates.len() as u32;
        index.names.insert(name.to_owned(), number);
        index.predicates.push(Test { predicate: Predicate::new(node, is_float), known: 0 });
        number
    }

    /// Forgets all wants; the caller adds those of the active rules again, and then calls [`Index::arrange`].
    pub(crate) fn clear_wants(&mut self) {
        self.streams.iter_mut().for_each(|stream| stream.wants.clear());
    }

    /// Rules must be added in their order.
    pub(crate) fn want(&mut self, stream: StreamId, wanted: Wanted, predicates: &[u32]) {
        let Some(index) = self.streams.get_mut(stream as usize) else { return };
        let mut known = index.wants.iter_mut().rev().take_while(|want| want.wanted.rule == wanted.rule);
        match known.find(|want| want.predicates == predicates) {
            Some(want) => want.wanted.roles |= wanted.roles,
            None => index.wants.push(Want { wanted, predicates: predicates.to_vec() }),
        }
    }

    /// Sorts the wants by what finds them.
    pub(crate) fn arrange(&mut self) {
        self.streams.iter_mut().for_each(StreamIndex::arrange);
    }

    /// The predicate holds for the event.
    pub(crate) fn holds(&self, number: u32, event: &EventRef<'_>, around: Around<'_>) -> bool {
        let predicate =
            self.streams.get(event.stream as usize).and_then(|index| index.predicates.get(number as usize));
        predicate.is_some_and(|test| test.predicate.holds(event, around))
    }

    /// How events of a stream find a role of a rule, and the predicate that does it.
    pub(crate) fn found_by(
        &self,
        stream: StreamId,
        rule: u32,
        role: usize,
    ) -> Option<(How, Option<&Predicate>)> {
        let index = self.streams.get(stream as usize)?;
        let holds = |range: &Range<usize>| {
            let wanted = index.wanted.get(range.clone()).unwrap_or_default();
            wanted.iter().any(|wanted| wanted.rule == rule && wanted.roles >> role & 1 == 1)
        };
        if holds(&(0..index.unconditional)) {
            return Some((How::Every, None));
        }
        let of_families = index.families.iter().flat_map(|family| {
            let how = if matches!(family.by, By::Equal(_)) { How::Word } else { How::Limit };
            family.predicates.iter().map(move |found| (how, found))
        });
        let tested = index.tested.iter().map(|tested| (How::Tested, (tested.predicate, &tested.wants)));
        let mut all = tested.chain(of_families.map(|(how, (number, wants))| (how, (*number, wants))));
        let (how, (number, _)) = all.find(|(_, (_, wants))| holds(wants))?;
        Some((how, index.predicates.get(number as usize).map(|test| &test.predicate)))
    }

    /// Asks of events of one stream, at most 32, what is asked of every event. One bit each: some rule may want it.
    #[inline]
    pub(crate) fn ask(&mut self, events: &[EventRef<'_>], around: Around<'_>) -> u32 {
        let stream = events.first().and_then(|event| self.streams.get_mut(event.stream as usize));
        stream.map_or(0, |stream| stream.ask(events, around))
    }

    /// Appends the rules that want the event that was asked at this place, in their order, each with the roles that its
    /// tests leave open.
    #[inline]
    pub(crate) fn gather(
        &mut self,
        event: &EventRef<'_>,
        place: usize,
        around: Around<'_>,
        found: &mut Vec<Wanted>,
    ) {
        if let Some(stream) = self.streams.get_mut(event.stream as usize) {
            stream.gather(event, place, around, found);
        }
    }

    /// Appends the rules that want the event, as [`Index::gather`] does.
    pub(crate) fn wanted(&mut self, event: &EventRef<'_>, around: Around<'_>, found: &mut Vec<Wanted>) {
        if self.ask(std::slice::from_ref(event), around) != 0 {
            self.gather(event, 0, around, found);
        }
    }
}

/// An event on its way through the index of its stream.
struct Look<'a> {
    event: &'a EventRef<'a>,
    around: Around<'a>,
    predicates: &'a mut [Test],
    epoch: u64,
    wanted: &'a [Wanted],
    further: &'a [Further],
    found: &'a mut Vec<Wanted>,
}

impl Look<'_> {
    #[inline]
    fn holds(&mut self, number: u32) -> bool {
        let Some(test) = self.predicates.get_mut(number as usize) else { return false };
        if test.known < 2 * self.epoch {
            test.known = 2 * self.epoch + u64::from(test.predicate.holds(self.event, self.around));
        }
        test.known & 1 == 1
    }

    /// Takes the wants whose other predicates hold as well; `all`: they have none.
    #[inline]
    fn take(&mut self, range: &Range<usize>, all: bool) {
        let wanted = self.wanted.get(range.clone()).unwrap_or_default();
        if all {
            return add(self.found, wanted);
        }
        let further = self.further.get(range.clone()).unwrap_or_default();
        for (wanted, further) in wanted.iter().zip(further) {
            if further.iter().all(|predicate| self.holds(*predicate)) {
                self.found.push(*wanted);
            }
        }
    }
}

impl StreamIndex {
    fn kin(&self, predicate: u32) -> Option<Kin> {
        self.predicates.get(predicate as usize).and_then(|test| test.predicate.kin())
    }

    fn arrange(&mut self) {
        self.few = Few::of(&self.wants, &self.predicates);
        let mut members: BTreeMap<Kin, BTreeSet<u32>> = BTreeMap::new();
        for predicate in self.wants.iter().flat_map(|want| &want.predicates) {
            if let Some(kin) = self.kin(*predicate) {
                members.entry(kin).or_default().insert(*predicate);
            }
        }
        members.retain(|_, members| members.len() >= FAMILY_MIN);
        let mut found: Vec<(Finder, Option<u32>, Want)> = Vec::new();
        for mut want in std::mem::take(&mut self.wants) {
            let place = self.finding(&want, &members);
            let predicate = place.map(|place| want.predicates.remove(place));
            let finder = predicate.map_or(Finder::Event, |predicate| {
                let family = self.kin(predicate).filter(|kin| members.contains_key(kin));
                family.map_or(Finder::Test(predicate), Finder::Family)
            });
            found.push((finder, predicate, want));
        }
        found.sort_by(|(a, p, _), (b, q, _)| a.cmp(b).then_with(|| self.limit_order(*p, *q)).then(p.cmp(q)));
        (self.wanted, self.further) =
            found.iter().map(|(.., want)| (want.wanted, want.predicates.as_slice().into())).unzip();
        self.unconditional = 0;
        self.tested.clear();
        self.families.clear();
        let mut end = 0;
        for same in found.chunk_by(|(a, ..), (b, ..)| a == b) {
            let start = end;
            end += same.len();
            let decides = same.iter().all(|(.., want)| want.predicates.is_empty());
            match same.first() {
                Some((Finder::Test(predicate), ..)) => {
                    let test = self.predicates.get(*predicate as usize);
                    let quick = test.map_or(Quick::None, |test| Quick::of(&test.predicate));
                    let (predicate, wants) = (*predicate, start..end);
                    self.tested.push(Tested { predicate, wants, quick, decides, holds: 0 });
                }
                Some((Finder::Family(kin), ..)) => {
                    let mut at = start;
                    let ranges = same.chunk_by(|(_, p, _), (_, q, _)| p == q).map(|chunk| {
                        at += chunk.len();
                        (
                            chunk.first().and_then(|(_, predicate, _)| *predicate).unwrap_or(0),
                            at - chunk.len()..at,
                        )
                    });
                    let predicates = ranges.collect();
                    let family = Family::new(*kin, predicates, |number| {
                        Some(&self.predicates.get(number as usize)?.predicate)
                    });
                    let decided =
                        family.map(|family| if decides { family.write(&self.wanted) } else { family });
                    self.families.extend(decided);
                }
                _ => self.unconditional = end,
            }
        }
    }

    /// The place of the predicate that finds a want: that of a family of words, or of limits, or else its first.
    fn finding(&self, want: &Want, families: &BTreeMap<Kin, BTreeSet<u32>>) -> Option<usize> {
        let of_family = |words: bool| {
            want.predicates.iter().position(|predicate| {
                self.kin(*predicate)
                    .is_some_and(|kin| kin.1.is_none() == words && families.contains_key(&kin))
            })
        };
        let first = || (!want.predicates.is_empty()).then_some(0);
        of_family(true).or_else(|| of_family(false)).or_else(first)
    }

    /// Limits that more values pass come first.
    fn limit_order(&self, p: Option<u32>, q: Option<u32>) -> Ordering {
        let predicate = |number: Option<u32>| Some(&self.predicates.get(number? as usize)?.predicate);
        let (Some(Predicate::Compare(_, a, x)), Some(Predicate::Compare(_, b, y))) =
            (predicate(p), predicate(q))
        else {
            return Ordering::Equal;
        };
        let order = match (side(*a), side(*b)) {
            (Some(Ordering::Greater), Some(Ordering::Greater)) => x.compare(y),
            (Some(Ordering::Less), Some(Ordering::Less)) => y.compare(x),
            _ => None,
        };
        order.unwrap_or(Ordering::Equal).then(is_inclusive(*b).cmp(&is_inclusive(*a)))
    }

    fn ask(&mut self, events: &[EventRef<'_>], around: Around<'_>) -> u32 {
        // Most events fit nothing, and end here.
        let mut some = 0;
        if let Some(few) = &mut self.few {
            some = few.ask(events, &self.predicates, around);
        } else {
            for tested in &mut self.tested {
                tested.holds = ask(&tested.quick, tested.predicate, events, &self.predicates, around);
                some |= tested.holds;
            }
            if self.unconditional > 0 || !self.families.is_empty() {
                some = u32::MAX;
            }
        }
        some & (u32::MAX >> (32 - events.len().clamp(1, 32)))
    }

    #[inline]
    fn gather(&mut self, event: &EventRef<'_>, place: usize, around: Around<'_>, found: &mut Vec<Wanted>) {
        match &self.few {
            Some(few) => few.gather(place, found),
            None => self.gather_any(event, place, around, found),
        }
    }

    #[inline(never)]
    fn gather_any(
        &mut self,
        event: &EventRef<'_>,
        place: usize,
        around: Around<'_>,
        found: &mut Vec<Wanted>,
    ) {
        self.epoch += 1;
        let Self { predicates, epoch, wanted, further, unconditional, tested, families, .. } = self;
        let start = found.len();
        let mut look = Look { event, around, predicates, epoch: *epoch, wanted, further, found };
        look.take(&(0..*unconditional), true);
        let fits = |tested: &&Tested| tested.holds >> place & 1 == 1;
        for Tested { predicate, wants, decides, .. } in tested.iter().filter(fits) {
            if let Some(test) = look.predicates.get_mut(*predicate as usize) {
                test.known = 2 * look.epoch + 1;
            }
            look.take(wants, *decides);
        }
        // What one family has written down needs no putting in order, unless something is added.
        let mut ordered = look.found.len() == start;
        for family in families {
            let before = look.found.len();
            let hit = family.find(event.slot(family.slot));
            let written = matches!(hit, Some(Hit::Written(_)));
            match hit {
                Some(Hit::Written(wants)) => look.found.extend_from_slice(wants),
                Some(Hit::Range(range)) => look.take(&range, family.decides),
                None => {
                    for (predicate, range) in &family.predicates {
                        if look.holds(*predicate) {
                            look.take(range, family.decides);
                        }
                    }
                }
            }
            ordered &= look.found.len() == before || written && before == start;
        }
        if found.len() > start + 1 && !ordered {
            merge_rules(found, start);
        }
    }
}

/// WHY not `extend_from_slice`: most are one, and it calls a function for that.
#[inline]
fn add(found: &mut Vec<Wanted>, wants: &[Wanted]) {
    found.reserve(wants.len());
    wants.iter().for_each(|wanted| found.push(*wanted));
}

/// Puts what was found from `start` on in the order of rules, each once.
pub(crate) fn merge_rules(found: &mut Vec<Wanted>, start: usize) {
    let Some(own) = found.get_mut(start..) else { return };
    if !own.is_sorted_by_key(|wanted| wanted.rule) {
        own.sort_unstable_by_key(|wanted| wanted.rule);
    }
    let mut kept = 0;
    for at in 1..own.len() {
        if own[at].rule == own[kept].rule {
            own[kept].roles |= own[at].roles;
        } else {
            kept += 1;
            own[kept] = own[at];
        }
    }
    found.truncate(start + kept + 1);
}
