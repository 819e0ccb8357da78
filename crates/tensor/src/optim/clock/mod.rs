//! [`Clock`]: the values that change from step to step, on the device. `table` contains its schedule and the settings
//! of tensors, `advance` advances it and clips by norms, `kernel` is the launch for this, `state` and `save` read it
//! back.

mod advance;
mod kernel;
mod save;
mod state;
mod table;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::clip::NonFinite;
use super::loss_scale::LossScale;
use super::matrices::MatrixPlan;
use super::norm::MOST_PARTIALS;
use super::segments::TensorSums;
use super::table::{ScheduleTable, SegmentRows, SegmentSettings};
use super::time::ClockWords;
use crate::arena::Arena;
use crate::kernel::MOST_BINDINGS;
use crate::{DType, Device, Error, Result, Tensor};
pub(super) use advance::Prepared;
pub(super) use kernel::CLOCK;
use state::Reports;
pub use state::{ClockState, PendingClock};
use table::LEAST_TABLE;

const CLOCK_WORDS: usize = size_of::<ClockWords>() / 4;

/// The index of [`ClockWords::gradient_norm_sum`].
const GRADIENT_NORM_SUM: usize = std::mem::offset_of!(ClockWords, gradient_norm_sum) / 4;

/// The time of a training run, on its device: steps done, learning rate, bias corrections, clip factor.
///
/// An update reads it and advances it, so that a step does not wait and is the same work every time. Learning rates,
/// and weight decay and momentum if a schedule sets them, come from a table that is uploaded once. The table also
/// contains the settings of tensors ([`Clock::set_segments`]).
#[derive(Debug)]
pub struct Clock {
    state: Tensor,
    /// Rows of four: one for each 64 parameters, if tensors have settings, then the schedule.
    table: Tensor,
    schedule: ScheduleTable,
    segments: Option<SegmentRows>,
    partials: Tensor,
    /// The tables for sums over each tensor, if a step needs them.
    sums: Option<TensorSums>,
    /// Whether the table contains clip factors of tensors, from a step that clipped tensor by tensor.
    has_tensor_factors: bool,
    non_finite: Option<NonFinite>,
    /// Whether the norm is computed even if it is not needed otherwise.
    measures: bool,
    loss_scale: Option<LossScale>,
    /// Memory for bindings that an update does not use.
    untouched: Tensor,
    /// How a method that treats parameters as matrices divides them; it depends only on the arenas.
    plan: Option<Arc<MatrixPlan>>,
    reports: Reports,
    /// Counts the changes that recordings do not include. It is shared with them.
    changes: Arc<AtomicU64>,
}

/// The number of elements for an unused binding: the alignment of buffers.
const UNTOUCHED: usize = 64;

impl Clock {
    /// Returns a clock before its first step, with a constant learning rate.
    ///
    /// # Errors
    /// If the learning rate is negative or not finite, or the device has no room.
    pub fn new(device: &Device, learning_rate: f64) -> Result<Self> {
        Self::with_schedule(device, ScheduleTable::of_learning_rates(&[learning_rate]))
    }

    /// Returns a clock before its first step, with the schedule of a run.
    ///
    /// # Errors
    /// See [`set_schedule`](Self::set_schedule); also if the device has no room.
    pub fn with_schedule(device: &Device, schedule: ScheduleTable) -> Result<Self> {
        crate::check_state("clock")?;
        schedule.check()?;
        let state = Tensor::zeros(device, DType::U32, &[CLOCK_WORDS])?;
        let mut clock = Self {
            reports: Reports::of(&state),
            state,
            table: Tensor::zeros(device, DType::F32, &[4 * schedule.len().next_power_of_two().max(LEAST_TABLE)])?,
            schedule: ScheduleTable::of_learning_rates(&[]),
            segments: None,
            partials: Tensor::zeros(device, DType::F32, &[MOST_PARTIALS])?,
            sums: None,
            has_tensor_factors: false,
            non_finite: None,
            measures: false,
            loss_scale: None,
            untouched: Tensor::zeros(device, DType::F32, &[MOST_BINDINGS * UNTOUCHED])?,
            plan: None,
            changes: Arc::default(),
        };
        clock.set_schedule(schedule)?;
        Ok(clock)
    }

    /// Returns its device.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.state.device()
    }

    /// Reads the clock back. Waits for the device.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if a step was skipped since the last report, and this is configured as an error
    /// ([`NonFinite::Error`]). It is reported once, and the clock can still be used. Also if work on the device has
    /// failed.
    pub fn read(&self) -> Result<ClockState> {
        ClockState::of(&self.words()?, self.non_finite, &self.reports)
    }

    /// Starts reading the clock, as it is after all work so far, without waiting for the device.
    ///
    /// # Errors
    /// If work on the device has failed.
    ///
    /// ```
    /// use thalweg_tensor::{Clock, Device};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let clock = Clock::new(&Device::cpu(), 0.1)?;
    /// let mut pending = clock.read_later()?;
    /// // … more steps …
    /// if let Some(state) = pending.poll()? {
    ///     assert_eq!(state.step, 0);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_later(&self) -> Result<PendingClock> {
        Ok(PendingClock::new(self.state.read_later()?, self.non_finite, self.reports.clone()))
    }

    /// Sets the rule for a norm of the gradients that is not finite; `None` uses the default of the clipping. Earlier
    /// recordings fail with [`Error::Stale`].
    pub fn set_non_finite(&mut self, non_finite: Option<NonFinite>) {
        if self.non_finite != non_finite {
            self.outdate_recordings();
        }
        self.non_finite = non_finite;
    }

    /// Returns the rule for a norm of the gradients that is not finite.
    #[must_use]
    pub fn non_finite(&self) -> Option<NonFinite> {
        self.non_finite
    }

    /// Returns the settings of loss scaling, if enabled.
    #[must_use]
    pub fn loss_scale(&self) -> Option<&LossScale> {
        self.loss_scale.as_ref()
    }

    pub(super) fn keep_loss_scale(&mut self, loss_scale: Option<LossScale>) {
        if self.loss_scale != loss_scale {
            self.outdate_recordings();
        }
        self.loss_scale = loss_scale;
    }

    /// Sets whether every step computes the norm of the gradients, even if it does not clip by it: two launches.
    /// Earlier recordings fail with [`Error::Stale`].
    pub fn measure_gradient_norm(&mut self, measures: bool) {
        if self.measures != measures {
            self.outdate_recordings();
        }
        self.measures = measures;
    }

    /// Creates the tables for sums over each tensor of an arena, once; they take about 0.25 bytes per parameter.
    /// Methods that need norms of tensors, and clipping tensor by tensor, create them in their first step. If this
    /// step is recorded, they must be created before.
    ///
    /// # Errors
    /// If the device has no room, or this thread records.
    pub fn lay_out(&mut self, values: &Arena) -> Result<()> {
        if self.sums.as_ref().is_some_and(|sums| sums.are_of(values)) {
            return Ok(());
        }
        crate::check_state("clock")?;
        let settings = match self.segments() {
            Some(settings) if settings.len() == values.len() => settings.to_vec(),
            _ => vec![SegmentSettings::default(); values.len()],
        };
        self.set_segments(values, &settings)?;
        let page_rows = self.segments.as_ref().map_or(&[][..], |segments| &segments.page_starts);
        self.sums = Some(TensorSums::new(values, page_rows)?);
        Ok(())
    }

    /// Returns the tables created by [`lay_out`](Self::lay_out).
    ///
    /// # Errors
    /// If it has not been called.
    pub fn laid_out(&self) -> Result<&TensorSums> {
        self.sums.as_ref().ok_or(Error::Argument {
            op: "clock",
            name: "layout",
            value: "none".to_string(),
            rule: "made by `Clock::lay_out` before",
        })
    }

    /// Restarts the sum of gradient norms at 0: an f32 sum loses digits over a long run.
    ///
    /// # Errors
    /// If work on the device has failed, or this thread records.
    pub fn restart_gradient_norm_sum(&mut self) -> Result<()> {
        self.state.slice(0, GRADIENT_NORM_SUM, GRADIENT_NORM_SUM + 1)?.write(&[0u32])
    }

    fn words(&self) -> Result<ClockWords> {
        Ok(bytemuck::pod_read_unaligned(bytemuck::cast_slice(&self.state.to_vec::<u32>()?)))
    }

    /// Returns the clock's words on the device, for binding: see [`ClockWords`].
    #[must_use]
    pub fn state(&self) -> &Tensor {
        &self.state
    }

    /// Forgets which skipped steps were reported, since the clock's counts are replaced.
    pub(super) fn forget_reports(&self) {
        self.reports.forget();
    }

    /// Returns memory for a binding that an update does not use, different for every number.
    pub(crate) fn untouched(&self, number: usize) -> Result<Tensor> {
        self.untouched.slice(0, number * UNTOUCHED, (number + 1) * UNTOUCHED)
    }

    /// Returns the table on the device, for binding: the rows of parameters, then those of the schedule. See
    /// [`Row`](super::Row).
    #[must_use]
    pub fn table(&self) -> &Tensor {
        &self.table
    }

    /// Returns the plan of a method for these arenas. Calls `make` unless the last plan is for them.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn plan(
        &mut self,
        method: &'static str,
        arenas: &[&Arena],
        make: impl FnOnce() -> Result<MatrixPlan>,
    ) -> Result<Arc<MatrixPlan>> {
        if let Some(plan) = self.plan.as_ref().filter(|plan| plan.is_for(method, arenas)) {
            return Ok(plan.clone());
        }
        let plan = Arc::new(make()?);
        self.plan = Some(plan.clone());
        Ok(plan)
    }
}
