//! Where requests and the word of a start's outcome wait for a task, whether there is one just now or not.

use super::changes::Changes;
use super::worker::AGAIN;
use crate::api::problem::Problem;
use crate::clock;
use crate::serve::matcher::{Ask, Request};
use crate::serve::status::{State, Status};
use crate::serve::{Shared, now_micros};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::sync::oneshot;

/// Says once that all is ready, or why it never will be.
pub(crate) type Ready = oneshot::Sender<Result<(), String>>;

/// A task's side towards the rest of the process.
pub(crate) struct Door {
    pub(crate) shared: Arc<Shared>,
    pub(crate) status: Arc<Status>,
    pub(crate) queue: Receiver<Request>,
    pub(crate) ready: Option<Ready>,
    /// The process is to end.
    pub(crate) is_told_to_stop: bool,
    /// Rules that were changed over HTTP, where there are several tasks.
    pub(super) changes: Arc<Changes>,
}

impl Door {
    pub(crate) fn new(
        shared: Arc<Shared>,
        status: Arc<Status>,
        queue: Receiver<Request>,
        ready: Ready,
    ) -> Self {
        Self { shared, status, queue, ready: Some(ready), is_told_to_stop: false, changes: Arc::default() }
    }

    /// It is ready, if that was not said yet.
    pub(super) fn is_ready(&mut self) {
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(Ok(()));
        }
    }

    /// Says what it waits for.
    pub(super) fn waits(&self, why: &str) {
        tracing::warn!(why, "waiting for Kafka");
        self.status.pause(Some(format!("waiting for Kafka: {why}")));
    }

    /// Says why there will be no task; if there was one, does nothing but answer until told to stop.
    pub(super) fn give_up(&mut self, why: String) {
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(Err(why));
            return;
        }
        tracing::error!(task = self.status.label, why, "stopped: nothing is read or written until a restart");
        self.status.enter(State::Stopped);
        self.shared.failed.store(true, Ordering::Release);
        while !self.is_stopped(AGAIN) {}
    }

    /// Answers requests for so long that there is no task. True if one of them was to stop,
    /// now or before.
    pub(super) fn is_stopped(&mut self, most: Duration) -> bool {
        let begun = clock::now();
        while !self.is_told_to_stop && clock::since(begun) < most {
            self.status.beat(now_micros());
            match clock::receive(&self.queue, Duration::from_millis(50)) {
                Ok(request) => {
                    self.shared.queued.fetch_sub(request.bytes(), Ordering::Relaxed);
                    let stop = matches!(request.ask, Ask::Stop);
                    let _ = request.reply.send(match stop {
                        true => Ok((200, Value::Null, None)),
                        false => {
                            Err(Problem::new(503, "this worker stands by; ask the one that has the task")
                                .retry_after(1))
                        }
                    });
                    self.is_told_to_stop |= stop;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.is_told_to_stop = true,
            }
        }
        self.is_told_to_stop
    }
}

/// What an event that comes over HTTP is told.
pub(super) fn reads_kafka() -> Problem {
    Problem::new(409, "this service reads its events from Kafka: produce them to the stream's topic")
}
