//! The clock as read by the host, synchronously or asynchronously: steps, norms, statistics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::optim::clip::NonFinite;
use crate::optim::time::{ClockWords, FIRST_SKIPPED};
use crate::{Error, PendingRead, Result, Tensor};

/// Makes sure that each skipped step is reported once: by the clock, or by the first pending read that sees the step.
#[derive(Debug, Clone)]
pub(super) struct Reports {
    /// The words of the clock.
    state: Tensor,
    /// The last reported step. Reads that were started before the report see it as well.
    last: Arc<AtomicU32>,
}

impl Reports {
    pub(super) fn of(state: &Tensor) -> Self {
        Self { state: state.clone(), last: Arc::default() }
    }

    pub(super) fn forget(&self) {
        self.last.store(0, Ordering::Relaxed);
    }

    /// Reports a step unless it was reported before, and makes the clock detect the next one.
    fn report(&self, step: u32) -> Result<()> {
        if self.last.load(Ordering::Relaxed) == step {
            return Ok(());
        }
        self.state.slice(0, FIRST_SKIPPED, FIRST_SKIPPED + 1)?.write(&[0u32])?;
        self.last.store(step, Ordering::Relaxed);
        Err(Error::NotFinite { step })
    }
}

/// The clock as read back from the device.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ClockState {
    /// The number of updates done.
    pub step: u32,
    /// The number of updates skipped, because the norm of the gradients was not finite.
    pub skipped: u32,
    /// The number of updates whose gradients were scaled down.
    pub clipped: u32,
    /// The learning rate of the last update.
    pub learning_rate: f32,
    /// The norm of the last gradients, before clipping: the norm used for clipping, else the global 2-norm; 0 if none
    /// is computed.
    pub gradient_norm: f32,
    /// The sum of the norms of the updates done, since it was last restarted
    /// ([`Clock::restart_gradient_norm_sum`](super::Clock::restart_gradient_norm_sum)).
    pub gradient_norm_sum: f32,
    /// The first step that was skipped, counted from 1 including skipped ones; `None` if there is none, if the loss
    /// is scaled, or if the step was reported as an error.
    pub first_skipped: Option<u32>,
    /// The 2-norm of the last update; 0 without [`UpdateNorms`](crate::optim::UpdateNorms).
    pub update_norm: f32,
    /// The 2-norm of the parameters before it; 0 in the same case.
    pub weight_norm: f32,
    /// The factor for the loss of the next step; `None` if the loss is not scaled ([`LossScale`](super::LossScale)).
    pub loss_scale: Option<f32>,
}

impl ClockState {
    /// Returns the fraction of the updates done whose gradients were clipped, from 0 to 1.
    #[must_use]
    pub fn clipped_share(&self) -> f64 {
        f64::from(self.clipped) / f64::from(self.step.max(1))
    }

    /// Returns ‖Δw‖ / ‖w‖ of the last update, if it was measured and the parameters are not zero.
    #[must_use]
    pub fn update_to_weight_ratio(&self) -> Option<f64> {
        (self.weight_norm > 0.0).then(|| f64::from(self.update_norm) / f64::from(self.weight_norm))
    }

    pub(super) fn of(words: &ClockWords, non_finite: Option<NonFinite>, reports: &Reports) -> Result<Self> {
        let mut first_skipped = (words.first_skipped > 0).then_some(words.first_skipped);
        if non_finite == Some(NonFinite::Error) {
            first_skipped.take().map_or(Ok(()), |step| reports.report(step))?;
        }
        Ok(Self {
            step: words.step,
            skipped: words.skipped,
            clipped: words.clipped,
            learning_rate: words.learning_rate,
            gradient_norm: words.gradient_norm,
            gradient_norm_sum: words.gradient_norm_sum,
            first_skipped,
            update_norm: words.update_norm,
            weight_norm: words.weight_norm,
            loss_scale: (words.loss_scale > 0.0).then_some(words.loss_scale),
        })
    }
}

/// A clock on its way from the device, returned by [`Clock::read_later`](super::Clock::read_later).
#[derive(Debug)]
pub struct PendingClock {
    words: PendingRead<u32>,
    non_finite: Option<NonFinite>,
    reports: Reports,
}

impl PendingClock {
    pub(super) fn new(words: PendingRead<u32>, non_finite: Option<NonFinite>, reports: Reports) -> Self {
        Self { words, non_finite, reports }
    }

    /// Returns the clock after all work before the read was started, if it has arrived; does not wait. The clock is
    /// returned once; later calls return `None`.
    ///
    /// # Errors
    /// See [`Clock::read`](super::Clock::read).
    pub fn poll(&mut self) -> Result<Option<ClockState>> {
        let Some(words) = self.words.poll()? else { return Ok(None) };
        let words = bytemuck::pod_read_unaligned(bytemuck::cast_slice(&words));
        ClockState::of(&words, self.non_finite, &self.reports).map(Some)
    }
}
