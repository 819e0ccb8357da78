//! The options, the events and the results of a run.

use std::ops::ControlFlow;

use thalweg_tensor::Counters;

use crate::setting::check;
use crate::{Evaluation, Result};

/// The length of training and the size of batches. There is no default: the right values depend on the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FitOptions {
    /// The number of passes over the data; at least 1.
    pub epochs: u64,
    /// The rows of a step, at least 1; the last step of an epoch has the rest.
    pub batch_size: usize,
    /// The seed of the order of rows, which is shuffled anew every epoch.
    pub seed: u64,
}

impl FitOptions {
    /// Returns the number of steps of one epoch over `rows` rows.
    #[must_use]
    pub fn steps_per_epoch(&self, rows: usize) -> u64 {
        rows.div_ceil(self.batch_size.max(1)) as u64
    }

    pub(super) fn validate(&self) -> Result<()> {
        check("epochs", self.epochs, self.epochs > 0, "at least 1")?;
        check("batch_size", self.batch_size, self.batch_size > 0, "at least 1")
    }
}

/// Returns the number of rows of a step of an epoch: the last one has the rest.
pub(super) fn batch_length(rows: usize, batch_size: usize, step: u64) -> usize {
    batch_size.min(rows - step as usize * batch_size)
}

/// The events of [`Trainer::fit`](crate::Trainer::fit).
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// One or more steps have been submitted to the device.
    Step {
        /// The number of steps so far.
        step: u64,
        /// The number of steps of the whole run.
        steps: u64,
    },
    /// Losses of some steps have arrived from the device, each once and in order. During an epoch they arrive some
    /// steps late, because nothing waits for them; the last ones arrive at its end.
    Losses {
        /// The first of the steps, counted from 1.
        first_step: u64,
        /// The loss of each.
        losses: &'a [f32],
    },
    /// An epoch has ended.
    Epoch(&'a EpochReport),
}

/// The return value of an observer: nothing, or whether to continue.
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
    /// Returns whether the run continues.
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

/// The results of an epoch.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct EpochReport {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// The mean loss over the rows of the epoch, each from its own step: with dropout, and before the update.
    pub train_loss: f64,
    /// The evaluation on the test rows after the epoch; `None` if there are none.
    pub test: Option<Evaluation>,
    /// The mean over the steps of the gradients' norm before clipping. It is the norm that they are clipped by, else
    /// the global 2-norm; 0 if none is computed.
    pub gradient_norm: f64,
    /// The learning rate of the epoch's last step.
    pub lr: f64,
    /// The number of steps skipped so far because the norm of the gradients was not finite.
    pub skipped: u32,
    /// The number of steps so far with clipped gradients.
    pub clipped: u32,
}

/// The result of a run. For a [resumed](crate::Trainer::resume) run, `epochs` includes earlier epochs; all other fields
/// cover only this call.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct History {
    /// The reports of all epochs that ended.
    pub epochs: Vec<EpochReport>,
    /// The evaluation on the training rows after the last step.
    pub train: Evaluation,
    /// The number of steps.
    pub steps: u64,
    /// Whether the observer stopped the run before its end.
    pub stopped: bool,
    /// The device work of the steps, without that of reports between epochs. Other work on the device at the same time
    /// counts too.
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
