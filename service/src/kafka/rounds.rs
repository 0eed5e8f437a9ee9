//! Requests that go to every task of the process, and the answer that is made of theirs.

use super::door::reads_kafka;
use super::ledger::Ledger;
use crate::api::problem::Problem;
use crate::serve::matcher::{Answer, Ask, Request, RulesAsk};
use crate::serve::{Shared, stats};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError};
use tokio::sync::oneshot;

/// How answers become one.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// That of any task that is at work here.
    Any,
    /// Counters, added up.
    Stats,
}

/// One request on its way.
struct Round {
    kind: Kind,
    reply: oneshot::Sender<Answer>,
    asked: Vec<oneshot::Receiver<Answer>>,
    got: Vec<Answer>,
}

/// All that are on their way.
#[derive(Default)]
pub(super) struct Rounds(Vec<Round>);

impl Rounds {
    /// Hands a request to the tasks, or answers it at once.
    pub(super) fn begin(
        &mut self,
        shared: &Shared,
        (request, ledger): (Request, &mut Ledger),
        queues: &[SyncSender<Request>],
    ) {
        shared.queued.fetch_sub(request.bytes(), Ordering::Relaxed);
        let Request { ask, reply } = request;
        let copies: Vec<RulesAsk>;
        let kind = match ask {
            Ask::Rules(RulesAsk::Stats { id }) => {
                copies = queues.iter().map(|_| RulesAsk::Stats { id: id.clone() }).collect();
                Kind::Stats
            }
            Ask::Rules(RulesAsk::Check { text }) => {
                copies = queues.iter().map(|_| RulesAsk::Check { text: text.clone() }).collect();
                Kind::Any
            }
            Ask::Rules(ask @ (RulesAsk::Put { .. } | RulesAsk::Delete { .. })) => {
                return ledger.begin(shared, ask, reply);
            }
            Ask::Events(_) => {
                let _ = reply.send(Err(reads_kafka()));
                return;
            }
            Ask::Finish | Ask::Stop => {
                let _ = reply.send(Ok((200, serde_json::Value::Null, None)));
                return;
            }
        };
        let mut round = Round { kind, reply, asked: Vec::new(), got: Vec::new() };
        for (queue, copy) in queues.iter().zip(copies) {
            let (reply, answer) = oneshot::channel();
            match queue.try_send(Request { ask: Ask::Rules(copy), reply }) {
                Ok(()) => round.asked.push(answer),
                Err(TrySendError::Full(_)) => {
                    round.got.push(Err(Problem::new(429, "the queue is full; send it again later")));
                }
                // The process is about to end.
                Err(TrySendError::Disconnected(_)) => {}
            }
        }
        self.0.push(round);
    }

    /// Takes answers that have come, and gives those that are complete.
    pub(super) fn hear(&mut self) {
        for round in std::mem::take(&mut self.0) {
            if let Some(round) = round.hear() {
                self.0.push(round);
            }
        }
    }
}

impl Round {
    /// Itself, if there are answers to come.
    fn hear(mut self) -> Option<Self> {
        let got = &mut self.got;
        self.asked.retain_mut(|asked| match asked.try_recv() {
            Ok(answer) => {
                got.push(answer);
                false
            }
            Err(error) => error == oneshot::error::TryRecvError::Empty,
        });
        // Tasks that stand by know of no rules.
        let is_enough = matches!(self.kind, Kind::Any) && self.got.iter().any(Result::is_ok);
        if !self.asked.is_empty() && !is_enough {
            return Some(self);
        }
        let mut failed = None;
        let mut all = None;
        for answer in self.got {
            match (answer, self.kind) {
                (Ok(answer), Kind::Stats) => all = Some(stats::with(all, answer)),
                (Ok(answer), Kind::Any) => all = all.or(Some(answer)),
                (Err(problem), _) => failed = failed.or(Some(problem)),
            }
        }
        let none =
            || Problem::new(503, "no task of the group is at work here; ask another worker").retry_after(1);
        let _ = self.reply.send(all.ok_or_else(|| failed.unwrap_or_else(none)));
        None
    }
}
