//! Time, and work beside the caller's: the system's, or in a unit test those of a simulation.
//!
//! WHY: a worker of Kafka is tried out in a simulation (`kafka/simulation`), where time passes only when everybody waits.
//! What a worker does goes by this clock and no other.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Now, for intervals.
#[inline]
pub(crate) fn now() -> Instant {
    #[cfg(test)]
    if let Some(time) = simulated::here() {
        return time.now();
    }
    Instant::now()
}

/// How long ago that was.
#[inline]
pub(crate) fn since(then: Instant) -> Duration {
    now().saturating_duration_since(then)
}

/// Microseconds since the epoch, now.
pub(crate) fn micros() -> i64 {
    #[cfg(test)]
    if let Some(time) = simulated::here() {
        return time.micros();
    }
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64)
}

/// Waits.
pub(crate) fn sleep(long: Duration) {
    #[cfg(test)]
    if let Some(time) = simulated::here() {
        return time.sleep(long);
    }
    std::thread::sleep(long);
}

/// Waits for a message for at most so long.
///
/// # Errors
/// There was none, or there will be none.
pub(crate) fn receive<T>(from: &Receiver<T>, most: Duration) -> Result<T, RecvTimeoutError> {
    #[cfg(test)]
    if let Some(time) = simulated::here() {
        return simulated::receive(&*time, from, most);
    }
    from.recv_timeout(most)
}

/// Does something beside the caller's work.
pub(crate) fn beside(work: impl FnOnce() + Send + 'static) {
    #[cfg(test)]
    if let Some(time) = simulated::here() {
        return time.beside(Box::new(work));
    }
    std::thread::spawn(work);
}

/// A thread that is waited for.
pub(crate) struct Thread(Receiver<()>);

/// Does work on a thread of its own.
///
/// # Errors
/// There can be no more threads.
pub(crate) fn thread(name: String, work: impl FnOnce() + Send + 'static) -> std::io::Result<Thread> {
    let (ended, hears) = sync_channel(1);
    let work = move || {
        work();
        let _ = ended.send(());
    };
    #[cfg(test)]
    if let Some(time) = simulated::here() {
        time.beside(Box::new(work));
        return Ok(Thread(hears));
    }
    std::thread::Builder::new().name(name).spawn(work)?;
    Ok(Thread(hears))
}

impl Thread {
    /// Waits for its end. False if it has panicked.
    pub(crate) fn join(self) -> bool {
        loop {
            match receive(&self.0, Duration::from_secs(1)) {
                Ok(()) => return true,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }
}

/// The clock of a simulation, for the threads that belong to it.
#[cfg(test)]
pub(crate) mod simulated {
    use super::{Duration, Instant, Receiver, RecvTimeoutError};
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::sync::mpsc::TryRecvError;

    /// How often a waiting receiver looks.
    const LOOK: Duration = Duration::from_millis(50);

    pub(crate) trait Time {
        fn now(&self) -> Instant;
        fn micros(&self) -> i64;
        fn sleep(&self, long: Duration);
        fn beside(&self, work: Box<dyn FnOnce() + Send>);
    }

    thread_local! {
        static HERE: RefCell<Option<Rc<dyn Time>>> = const { RefCell::new(None) };
    }

    /// From now on this thread goes by that clock, or by the system's.
    pub(crate) fn go_by(time: Option<Rc<dyn Time>>) {
        HERE.set(time);
    }

    pub(super) fn here() -> Option<Rc<dyn Time>> {
        HERE.with_borrow(Clone::clone)
    }

    pub(super) fn receive<T>(
        time: &dyn Time,
        from: &Receiver<T>,
        most: Duration,
    ) -> Result<T, RecvTimeoutError> {
        let until = time.now() + most;
        loop {
            match from.try_recv() {
                Ok(message) => return Ok(message),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) if time.now() >= until => return Err(RecvTimeoutError::Timeout),
                Err(TryRecvError::Empty) => time.sleep(LOOK.min(until - time.now())),
            }
        }
    }
}
