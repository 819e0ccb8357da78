//! What a run is asked for, what it tells on its way, and what it comes to.

use std::ops::ControlFlow;

use thalweg_tensor::Counters;

use crate::setting::check;
use crate::{Evaluation, Result};

/// How long and in what portions to train. There is no default: what is enough depends on the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FitOptions {
    /// Times through the data; at least 1.
    pub epochs: u64,
    /// Rows of a step, at least 1; the last step of an epoch takes what is left.
    pub batch_size: usize,
    /// The seed of the order of rows, which is shuffled anew every epoch.
    pub seed: u64,
}

impl FitOptions {
    /// Returns the number of steps of one epoch over so many rows.
    #[must_use]
    pub fn steps_per_epoch(&self, rows: usize) -> u64 {
        rows.div_ceil(self.batch_size.max(1)) as u64
    }

    pub(super) fn validate(&self) -> Result<()> {
        check("epochs", self.epochs, self.epochs > 0, "at least 1")?;
        check("batch_size", self.batch_size, self.batch_size > 0, "at least 1")
    }
}

/// Returns the number of rows of a step of an epoch: the last one takes what is left.
pub(super) fn batch_length(rows: usize, batch_size: usize, step: u64) -> usize {
    batch_size.min(rows - step as usize * batch_size)
}

/// What [`Trainer::fit`](crate::Trainer::fit) tells on its way.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A step, or several, have been handed to the device.
    Step {
        /// Steps so far.
        step: u64,
        /// Steps of the whole run.
        steps: u64,
    },
    /// Losses of some steps have arrived from the device, each once and in order: during an epoch some steps late, since
    /// nothing waits for them, and the last ones at its end.
    Losses {
        /// The first of the steps, counted from 1.
        first_step: u64,
        /// The loss of each.
        losses: &'a [f32],
    },
    /// An epoch has ended.
    Epoch(&'a EpochReport),
}

/// The answer of an observer: nothing, or whether to go on.
///
/// ```
/// use std::ops::ControlFlow;
/// use thalweg_nn::{Event, Flow};
///
/// fn watch(event: Event<'_>) -> ControlFlow<()> {
///     match event {
///         Event::Epoch(report) if report.train_loss < 0.01 => ControlFlow::Break(()),
///         _ => ControlFlow::Continue(()),
///     }
/// }
/// assert!(watch(Event::Step { step: 1, steps: 2 }).goes_on());
/// ```
pub trait Flow {
    /// Returns whether the run goes on.
    fn goes_on(self) -> bool;
}

impl Flow for () {
    fn goes_on(self) -> bool {
        true
    }
}

impl Flow for ControlFlow<()> {
    fn goes_on(self) -> bool {
        self.is_continue()
    }
}

/// What an epoch came to.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct EpochReport {
    /// Counted from 1.
    pub epoch: u64,
    /// The mean loss over the rows of the epoch, each as its step saw it: under dropout, and before the update.
    pub train_loss: f64,
    /// The test rows after the epoch; `None` if there are none.
    pub test: Option<Evaluation>,
    /// The mean over the steps of the gradients' norm before clipping: of the one that they are clipped by, else of the global
    /// 2-norm; 0 if none is taken.
    pub gradient_norm: f64,
    /// The learning rate of the epoch's last step.
    pub lr: f64,
    /// Steps skipped so far, because the norm of the gradients was not finite.
    pub skipped: u32,
    /// Steps so far whose gradients were clipped.
    pub clipped: u32,
}

/// The result of a run. For a [resumed](crate::Trainer::resume) run, `epochs` includes earlier epochs; all other fields
/// cover only this call.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct History {
    /// All epochs that ended.
    pub epochs: Vec<EpochReport>,
    /// The training rows after the last step.
    pub train: Evaluation,
    /// Steps that were run.
    pub steps: u64,
    /// Whether the observer has stopped the run before its end.
    pub stopped: bool,
    /// The work that the steps asked of the device, without that of reports between epochs. Other work on the device at
    /// the same time counts as well.
    pub counters: Counters,
    /// Seconds from the first step to the last report.
    pub seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_batch_takes_what_is_left() {
        let options = FitOptions { epochs: 1, batch_size: 64, seed: 0 };
        let lengths: Vec<usize> =
            (0..options.steps_per_epoch(150)).map(|step| batch_length(150, options.batch_size, step)).collect();
        assert_eq!(lengths, [64, 64, 22]);
        assert!(FitOptions { batch_size: 0, ..options }.validate().is_err());
    }
}
