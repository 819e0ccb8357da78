//! The clock: what changes from step to step, on the device; and clipping by norms of the gradients.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::clip::{Clip, NonFinite};
use super::clock_state::{ClockState, PendingClock, Reports};
use super::loss_scale::LossScale;
use super::matrices::MatrixPlan;
use super::norm::{MOST_PARTIALS, Norm, launch_norm, partial_count};
use super::segments::TensorSums;
use super::table::{ROW_ELEMENTS, Row, ScheduleTable, SegmentRows, SegmentSettings};
use super::tensor_clip::{launch_scale_rows, launch_tensor_clip};
use super::time::{ClockWords, SCHEDULE, Timing};
use crate::arena::Arena;
use crate::kernel::{Access, Call, Kernel, Launch, MOST_BINDINGS};
use crate::math;
use crate::{DType, Device, Error, Result, Tensor};

const CLOCK_WORDS: usize = size_of::<ClockWords>() / 4;

/// Where [`ClockWords::gradient_norm_sum`] stands.
const GRADIENT_NORM_SUM: usize = std::mem::offset_of!(ClockWords, gradient_norm_sum) / 4;

/// Rows for a schedule at first. A longer one needs a larger table.
const LEAST_TABLE: usize = 4096;

/// The time of a training run, on its device: steps done, learning rate, bias corrections, clip factor.
///
/// An update reads it and advances it, so that a step waits for nothing and is the same work every time. Learning rates,
/// and where a schedule has them weight decay and momentum, come from a table that is uploaded once; so does what sets
/// parameters apart from each other ([`Clock::set_segments`]).
#[derive(Debug)]
pub struct Clock {
    state: Tensor,
    /// Rows of four: one for 64 parameters each, if they are set apart, then the schedule.
    table: Tensor,
    schedule: ScheduleTable,
    segments: Option<SegmentRows>,
    partials: Tensor,
    /// What sums over each tensor need, where a step has asked for them.
    sums: Option<TensorSums>,
    /// Whether tensors have clip factors of their own in the table, from a step that clipped tensor by tensor.
    has_tensor_factors: bool,
    non_finite: Option<NonFinite>,
    /// Whether the norm is taken even where nothing else needs it.
    measures: bool,
    loss_scale: Option<LossScale>,
    /// Places for bindings that an update does not touch.
    untouched: Tensor,
    /// How a method that sees parameters as matrices shares them out; it follows from the arenas alone.
    plan: Option<Arc<MatrixPlan>>,
    reports: Reports,
    /// Counts the changes that recordings do not follow. They share it.
    changes: Arc<AtomicU64>,
}

/// Elements of a place for a binding that is not touched: as many as buffers are aligned to.
const UNTOUCHED: usize = 64;

impl Clock {
    /// A clock before its first step.
    ///
    /// # Errors
    /// Where the learning rate is negative or not finite, or the device has no room.
    pub fn new(device: &Device, learning_rate: f64) -> Result<Self> {
        crate::check_state("clock")?;
        let state = Tensor::zeros(device, DType::U32, &[CLOCK_WORDS])?;
        let mut clock = Self {
            reports: Reports::of(&state),
            state,
            table: Tensor::zeros(device, DType::F32, &[4 * LEAST_TABLE])?,
            schedule: ScheduleTable::of_learning_rates(&[learning_rate]),
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
        clock.set_learning_rates(&[learning_rate])?;
        Ok(clock)
    }

    /// Uploads the learning rates of the coming steps, from the first step of the run on; the last one stays. Weight decay
    /// and momentum are those of the settings.
    ///
    /// # Errors
    /// As [`set_schedule`](Self::set_schedule).
    pub fn set_learning_rates(&mut self, learning_rates: &[f64]) -> Result<()> {
        self.set_schedule(ScheduleTable::of_learning_rates(learning_rates))
    }

    /// Uploads what a schedule says of the coming steps, from the first step of the run on. Rows at its end that are alike
    /// take the place of one, 16 bytes.
    ///
    /// Recordings follow, unless the schedule is longer than 4,096 rows and than any before it: then their replays fail
    /// with [`Error::Stale`], and they must be made anew.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no learning rate, a value is out of its range, or the schedule has more rows than the
    /// device can bind.
    pub fn set_schedule(&mut self, schedule: ScheduleTable) -> Result<()> {
        schedule.check()?;
        self.upload(&schedule)?;
        self.schedule = schedule;
        Ok(())
    }

    /// The schedule that stands in the table.
    #[must_use]
    pub fn schedule(&self) -> &ScheduleTable {
        &self.schedule
    }

    /// Sets the tensors of an arena apart: learning rate and weight decay, or that they are frozen, for each by itself, in
    /// the same launch.
    ///
    /// Recordings follow other learning rates and weight decays. They fail with [`Error::Stale`] once other tensors are
    /// frozen, or if none were set apart when they were made.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are not as many settings as tensors, or a value is out of its range;
    /// [`Error::Recording`] while this thread records.
    pub fn set_segments(&mut self, values: &Arena, settings: &[SegmentSettings]) -> Result<()> {
        if settings.len() != values.len() {
            return Err(Error::Argument {
                op: "set_segments",
                name: "settings",
                value: settings.len().to_string(),
                rule: "one for each tensor",
            });
        }
        settings.iter().try_for_each(SegmentSettings::check)?;
        let mut page_starts = Vec::new();
        let mut count = 0;
        for page in values.pages() {
            page_starts.push(count as u32);
            count += page.len() / ROW_ELEMENTS;
        }
        let mut rows = vec![SegmentSettings::default().row(); count];
        for (place, settings) in values.places().zip(settings) {
            let first = page_starts[place.page] as usize + place.offset / ROW_ELEMENTS;
            rows[first..first + place.len.div_ceil(ROW_ELEMENTS)].fill(settings.row());
        }
        self.sums.take_if(|sums| !sums.are_of(values));
        let before = self.segments.replace(SegmentRows { settings: settings.to_vec(), rows, page_starts });
        let uploaded = self.upload(&self.schedule.clone());
        if uploaded.is_err() {
            self.segments = before;
            return uploaded;
        }
        let frozen = |settings: &[SegmentSettings]| settings.iter().map(|s| s.frozen).collect::<Vec<_>>();
        if before.is_none_or(|before| frozen(&before.settings) != frozen(settings)) {
            self.outdate_recordings();
        }
        Ok(())
    }

    /// Has recordings that were made before refuse to be replayed.
    pub(super) fn outdate_recordings(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Has the recording that this thread makes refuse to be replayed after a change that it does not follow.
    fn guard_recording(&self) {
        if !crate::is_recording(self.device()) {
            return;
        }
        let (changes, then) = (self.changes.clone(), self.changes.load(Ordering::Relaxed));
        crate::guard(move || {
            if changes.load(Ordering::Relaxed) == then {
                return Ok(());
            }
            let problem = "a longer schedule, other frozen parameters or another clipping have been set; record again";
            Err(Error::Stale { problem: problem.to_string() })
        });
    }

    /// What sets each tensor apart; `None` where nothing does.
    #[must_use]
    pub fn segments(&self) -> Option<&[SegmentSettings]> {
        self.segments.as_ref().map(|segments| &*segments.settings)
    }

    /// Returns the first row of a page in the table; `None` if nothing sets parameters apart.
    #[must_use]
    pub fn first_row(&self, page: usize) -> Option<u32> {
        self.segments.as_ref().map(|segments| segments.page_starts[page])
    }

    fn upload(&mut self, schedule: &ScheduleTable) -> Result<()> {
        crate::check_state("schedule or groups")?;
        let schedule = schedule.rows();
        let segments = self.segments.as_ref().map_or(&[][..], |segments| &segments.rows);
        let (start, end) = (segments.len(), segments.len() + schedule.len());
        if self.table.len() < 4 * end {
            let rows = start + schedule.len().next_power_of_two().max(LEAST_TABLE);
            let new = |rows: usize| Tensor::zeros(self.device(), DType::F32, &[4 * rows]);
            // Only as many as there are, where the power of two is too many for the device.
            self.table = new(rows).or_else(|_| new(end)).map_err(|error| match error {
                Error::Limit { .. } | Error::OutOfMemory { .. } => Error::Argument {
                    op: "set_schedule",
                    name: "steps",
                    value: schedule.len().to_string(),
                    rule: "fewer: each takes 16 bytes of one buffer, and the device has none so large",
                },
                other => other,
            })?;
            self.outdate_recordings();
        }
        let write = |from: usize, rows: &[Row]| {
            self.table.slice(0, 4 * from, 4 * (from + rows.len()))?.write(bytemuck::cast_slice::<Row, f32>(rows))
        };
        if start > 0 {
            write(0, segments)?;
        }
        write(start, &schedule)?;
        // Recordings read the length too, so it stands on the device.
        self.state.slice(0, SCHEDULE, SCHEDULE + 2)?.write(&[schedule.len() as u32, start as u32])
    }

    /// The device it lies on.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.state.device()
    }

    /// Reads the clock back. Waits for the device.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if a step was skipped since this was last reported, and that is to be an error
    /// ([`NonFinite::Error`]): it is reported once, and the clock goes on; if work on the device has failed.
    pub fn read(&self) -> Result<ClockState> {
        ClockState::of(&self.words()?, self.non_finite, &self.reports)
    }

    /// Has the clock read, as it is behind all work so far, without waiting for the device.
    ///
    /// # Errors
    /// Where work on the device has failed.
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

    /// Sets what is done if the norm of the gradients is not finite; `None` leaves it to the way of clipping. Recordings
    /// made before fail with [`Error::Stale`].
    pub fn set_non_finite(&mut self, non_finite: Option<NonFinite>) {
        if self.non_finite != non_finite {
            self.outdate_recordings();
        }
        self.non_finite = non_finite;
    }

    /// What is done where the norm of the gradients is not finite.
    #[must_use]
    pub fn non_finite(&self) -> Option<NonFinite> {
        self.non_finite
    }

    /// How the loss is scaled, where it is.
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

    /// Sets whether every step takes the norm of the gradients, clipped by it or not: two launches. Recordings made before
    /// fail with [`Error::Stale`].
    pub fn measure_gradient_norm(&mut self, measures: bool) {
        if self.measures != measures {
            self.outdate_recordings();
        }
        self.measures = measures;
    }

    /// Makes the tables for sums over each tensor of an arena, once; they take about 0.25 bytes a parameter. Methods that
    /// need norms of tensors, and clipping tensor by tensor, make them in their first step, unless that is recorded: then
    /// they must have been made before.
    ///
    /// # Errors
    /// Where the device has no room, or this thread records.
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

    /// Returns the tables that [`lay_out`](Self::lay_out) has made.
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

    /// Begins the sum of gradient norms anew, from 0: as a sum of f32 it loses digits over a long run.
    ///
    /// # Errors
    /// Where work on the device has failed, or this thread records.
    pub fn restart_gradient_norm_sum(&mut self) -> Result<()> {
        self.state.slice(0, GRADIENT_NORM_SUM, GRADIENT_NORM_SUM + 1)?.write(&[0u32])
    }

    fn words(&self) -> Result<ClockWords> {
        Ok(bytemuck::pod_read_unaligned(bytemuck::cast_slice(&self.state.to_vec::<u32>()?)))
    }

    /// Prepares an update of an arena by these gradients: norms and clip factors where they are needed, and the clock
    /// advanced with them (for the launches see [`Clip`]). Else nothing, and the update advances the clock itself. Clip
    /// factors of single tensors stand in the table.
    pub(crate) fn prepare(&mut self, grads: &Arena, clip: Clip, timing: Timing) -> Result<Prepared> {
        clip.check()?;
        self.guard_recording();
        let may_count = grads.pages().len() == 1 && self.device().counts_workgroups();
        if may_count && !self.reads_norms(clip) {
            self.forget_tensor_factors()?;
            return Ok(Prepared::SelfClocked);
        }
        self.advance_with(grads, clip, timing)?;
        Ok(Prepared::ByLaunch)
    }

    /// Advances the clock by a launch of its own, for methods whose launches do not read the clip factors of the table.
    ///
    /// Takes the norm of the gradients if clipping needs it. Clipping by tensors changes the gradients in place.
    ///
    /// # Errors
    /// If the limit of `clip` is not finite and greater than 0, or a launch fails.
    pub fn advance(&mut self, grads: &Arena, clip: Clip, timing: Timing) -> Result<()> {
        clip.check()?;
        self.guard_recording();
        self.advance_with(grads, clip, timing)?;
        if let (Some(_), Some(segments)) = (clip.by_tensor(), &self.segments) {
            launch_scale_rows(grads, &segments.page_starts, &self.table, &self.state)?;
        }
        Ok(())
    }

    fn advance_with(&mut self, grads: &Arena, clip: Clip, timing: Timing) -> Result<()> {
        if self.loss_scale.is_some() {
            LossScale::check_clip(clip)?;
        }
        let (max_norm, norm) = clip.norm().unwrap_or((0.0, Norm::Euclidean));
        let (partials, count) = if let Some(limit) = clip.by_tensor() {
            self.lay_out(grads)?;
            self.has_tensor_factors = true;
            let sums = self.laid_out()?;
            (launch_tensor_clip(grads, sums, &self.table, limit)?, sums.count())
        } else {
            self.forget_tensor_factors()?;
            let wanted: usize = grads.pages().iter().map(|page| partial_count(page.len())).sum();
            if wanted > self.partials.len() {
                self.partials = Tensor::zeros(self.device(), DType::F32, &[wanted])?;
            }
            let takes_norm = max_norm > 0.0 || self.takes_norm();
            (&self.partials, if takes_norm { launch_norm(grads, &self.partials, norm)? } else { 0 })
        };
        let LossScale { growth_factor, backoff_factor, growth_interval, .. } = self.loss_scale.unwrap_or_default();
        let params = ClockParams {
            timing,
            partials: count as u32,
            max_norm,
            root: norm.power().recip(),
            ignore: (!self.skips(clip)).into(),
            growth_factor: growth_factor as f32,
            backoff_factor: backoff_factor as f32,
            growth_interval,
        };
        Launch::new(&CLOCK, params)
            .constant("NORM", norm.constant())
            .constant("BY_TENSOR", clip.by_tensor().is_some())
            .constant("SCALED", self.loss_scale.is_some())
            .bind(partials)
            .bind(&self.table)
            .bind(&self.state)
            .run(self.device())
    }

    /// Whether a step takes the norm of the gradients though they are not clipped by it.
    fn takes_norm(&self) -> bool {
        self.measures
            || self.loss_scale.is_some()
            || matches!(self.non_finite, Some(NonFinite::Skip | NonFinite::Error))
    }

    /// Whether a norm that is not finite skips the step.
    fn skips(&self, clip: Clip) -> bool {
        match self.non_finite {
            _ if self.loss_scale.is_some() => true,
            Some(NonFinite::Skip | NonFinite::Error) => true,
            Some(NonFinite::Ignore) => false,
            None => clip.norm().is_some() || clip.by_tensor().is_some(),
        }
    }

    /// Takes the clip factors of an earlier step out of the table.
    fn forget_tensor_factors(&mut self) -> Result<()> {
        if self.has_tensor_factors {
            self.upload(&self.schedule.clone())?;
            self.has_tensor_factors = false;
        }
        Ok(())
    }

    /// Returns the clock's words on the device, to bind: see [`ClockWords`].
    #[must_use]
    pub fn state(&self) -> &Tensor {
        &self.state
    }

    /// Forgets which skipped steps were reported, as the clock begins to count from somewhere else.
    pub(super) fn forget_reports(&self) {
        self.reports.forget();
    }

    /// Whether a step reads the gradients as a whole, beside each of them for its own parameter.
    #[must_use]
    pub fn reads_norms(&self, clip: Clip) -> bool {
        clip.norm().is_some() || clip.by_tensor().is_some() || self.takes_norm()
    }

    /// A place for a binding that an update does not touch, another one for every number.
    pub(crate) fn untouched(&self, number: usize) -> Result<Tensor> {
        self.untouched.slice(0, number * UNTOUCHED, (number + 1) * UNTOUCHED)
    }

    /// Returns the table on the device, to bind: the rows of parameters, then those of the schedule. See
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

/// Who advances the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prepared {
    /// A launch before the update has done it.
    ByLaunch,
    /// The update does.
    SelfClocked,
}

impl Prepared {
    /// The value of the updates' override constant.
    pub(crate) fn self_clocked(self) -> bool {
        self == Self::SelfClocked
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct ClockParams {
    timing: Timing,
    partials: u32,
    max_norm: f32,
    /// 1 / p.
    root: f32,
    ignore: u32,
    growth_factor: f32,
    backoff_factor: f32,
    growth_interval: u32,
}

/// A loss scale gets no smaller.
const LEAST_LOSS_SCALE: f32 = 1.0;

/// norm = (Σ partials)^(1/p); clip_factor = min(1, max_norm / (norm + 1e-6)); then the clock advances, unless the norm is
/// not finite and that is not ignored. Gradients of a scaled loss are divided by the scale, which then follows them.
fn clock_twin(call: Call<'_>) {
    let params: ClockParams = call.params();
    let norm = Norm::of(call.constant("NORM"), params.root.recip());
    let [by_tensor, scaled] = ["BY_TENSOR", "SCALED"].map(|name| call.constant(name) != 0.0);
    let [partials, table, clock] = call.bindings();
    let (partials, table) = (partials.read::<f32>(), bytemuck::cast_slice::<f32, Row>(table.read()));
    let clock: &mut ClockWords = bytemuck::from_bytes_mut(bytemuck::cast_slice_mut(clock.write::<u32>()));
    let count = params.partials as usize;
    let (sum, is_tensor_clipped) = if by_tensor {
        let tensors: &[[f32; 2]] = &partials.as_chunks().0[..count];
        let mut lanes = [0.0; math::LANES];
        for turn in tensors.chunks(math::LANES) {
            lanes.iter_mut().zip(turn).for_each(|(lane, [square, _])| *lane += square);
        }
        (math::tree(lanes, |x, y| x + y), tensors.iter().any(|[_, factor]| *factor < 1.0))
    } else if norm == Norm::Largest {
        (partials[..count].iter().fold(0.0, |largest, &x| math::maximum(largest, x)), false)
    } else {
        (math::tree_sum(&partials[..count], |x| x), false)
    };
    let scale = if scaled { clock.loss_scale } else { 1.0 };
    let norm = match norm {
        Norm::Euclidean => sum.sqrt(),
        Norm::Absolute | Norm::Largest => sum,
        Norm::OfPower(_) => sum.powf(params.root),
    } / scale;
    clock.take_row(clock.row(table, clock.step + clock.skipped));
    clock.gradient_norm = norm;
    let is_good = sum.is_finite() && norm.is_finite();
    if !is_good && params.ignore == 0 {
        clock.clip_factor = -1.0;
        clock.skipped += 1;
        if clock.first_skipped == 0 && !scaled {
            clock.first_skipped = clock.step + clock.skipped;
        }
        if scaled {
            clock.loss_scale = (scale * params.backoff_factor).max(LEAST_LOSS_SCALE);
            clock.growth_tracker = 0;
        }
        return;
    }
    let mut factor = if params.max_norm > 0.0 { (params.max_norm / (norm + 1e-6)).min(1.0) } else { 1.0 };
    if params.max_norm > 0.0 && norm.is_nan() {
        factor = norm;
    }
    if factor < 1.0 || is_tensor_clipped {
        clock.clipped += 1;
    }
    clock.clip_factor = factor / scale;
    if scaled {
        clock.growth_tracker += 1;
        if clock.growth_tracker == params.growth_interval {
            let larger = scale * params.growth_factor;
            if larger.is_finite() {
                clock.loss_scale = larger;
            }
            clock.growth_tracker = 0;
        }
    }
    if is_good {
        clock.gradient_norm_sum += norm;
    }
    clock.step += 1;
    let next_rate = clock.row(table, clock.step + clock.skipped).0[0];
    clock.go_on(next_rate, params.timing);
}

pub(crate) static CLOCK: Kernel = Kernel {
    shader: &thalweg_shaders::CLOCK,
    uniform: size_of::<ClockParams>(),
    access: &[Access::Read, Access::Read, Access::Write],
    variants: &[
        &[("NORM", 0.0), ("BY_TENSOR", 0.0), ("SCALED", 0.0)],
        &[("NORM", 1.0), ("BY_TENSOR", 0.0), ("SCALED", 0.0)],
        &[("NORM", 2.0), ("BY_TENSOR", 0.0), ("SCALED", 0.0)],
        &[("NORM", 3.0), ("BY_TENSOR", 0.0), ("SCALED", 0.0)],
        &[("NORM", 0.0), ("BY_TENSOR", 1.0), ("SCALED", 0.0)],
        &[("NORM", 0.0), ("BY_TENSOR", 0.0), ("SCALED", 1.0)],
        &[("NORM", 1.0), ("BY_TENSOR", 0.0), ("SCALED", 1.0)],
        &[("NORM", 2.0), ("BY_TENSOR", 0.0), ("SCALED", 1.0)],
        &[("NORM", 3.0), ("BY_TENSOR", 0.0), ("SCALED", 1.0)],
    ],
    twin: clock_twin,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_norm_is_global_and_a_norm_that_is_not_finite_is_counted() {
        let device = Device::cpu();
        let grads = Arena::with_page_size(&device, &[vec![900], vec![400]], 1024).unwrap();
        grads.get(0).fill(3f32).unwrap();
        grads.get(1).fill(4f32).unwrap();
        let mut clock = Clock::new(&device, 0.5).unwrap();
        let timing = Timing::of_betas((0.9, 0.999));
        clock.advance(&grads, Clip::Norm(1.0), timing).unwrap();
        let state = clock.read().unwrap();
        approx::assert_relative_eq!(state.gradient_norm, (900f32 * 9.0 + 400.0 * 16.0).sqrt(), max_relative = 1e-6);
        assert_eq!((state.step, state.clipped, state.skipped), (1, 1, 0));
        grads.get(1).fill(f32::NAN).unwrap();
        clock.advance(&grads, Clip::Norm(1.0), timing).unwrap();
        let state = clock.read().unwrap();
        assert_eq!((state.step, state.clipped, state.skipped), (1, 1, 1));
        assert!(state.gradient_norm_sum > 100.0);
        clock.restart_gradient_norm_sum().unwrap();
        assert_eq!((clock.read().unwrap().step, clock.read().unwrap().gradient_norm_sum), (1, 0.0));
        assert!(clock.advance(&grads, Clip::Norm(f64::NAN), timing).is_err());
        assert!(clock.set_learning_rates(&[0.1, -0.1]).is_err() && clock.set_learning_rates(&[]).is_err());
    }

    #[test]
    fn tensors_are_clipped_in_place_for_updates_that_do_not_read_their_rows() {
        let device = Device::cpu();
        let grads = Arena::with_page_size(&device, &[vec![900], vec![400]], 1024).unwrap();
        grads.get(0).fill(3f32).unwrap();
        grads.get(1).fill(0.01f32).unwrap();
        let mut clock = Clock::new(&device, 0.5).unwrap();
        clock.advance(&grads, Clip::TensorNorm(1.0), Timing::without_betas()).unwrap();
        let [first, second] = [0, 1].map(|i| grads.get(i).to_vec::<f32>().unwrap());
        approx::assert_relative_eq!(first[899], 1.0 / 30.0, max_relative = 1e-6);
        assert_eq!(second[399], 0.01);
        let state = clock.read().unwrap();
        assert_eq!((state.step, state.clipped), (1, 1));
        // A second use of the rows would change nothing.
        let table = clock.table().to_vec::<f32>().unwrap();
        assert!((0..32).all(|row| table[4 * row + 2] == 1.0));
    }
}
