//! What makes alerts, decisions and offsets durable in one step, wherever events come from.
//!
//! The matcher gathers into a `CommitPoint`; who drives it says when the step is taken. The embedded store takes it as
//! one fsynced batch, Kafka as one transaction, whose order of calls [`protocol`] decides.

pub mod protocol;

use crate::serve::core::Core;
use crate::store::Control;
use engine::alert::Alert;

/// Where the next step is gathered.
pub(crate) trait CommitPoint {
    /// A decision, taken after everything that the task has seen so far.
    fn decision(&mut self, control: Control, core: &Core);

    /// An alert that the task raised, in the order of emission.
    fn alert(&mut self, alert: &Alert);
}
