//! The clock: what changes from step to step, on the device; and clipping by norms of the gradients.

use std::sync::Arc;

use super::clip::{Clip, NonFinite};
use super::clock_state::{ClockState, PendingClock};
use super::matrices::Plan;
use super::norm::{MOST_PARTIALS, Norm, launch_norm, partial_count};
use super::segments::Segments as TensorSums;
use super::tensor_clip::{launch_scale_rows, launch_tensor_clip};
use crate::arena::Arena;
use crate::kernel::{Access, Call, Kernel, Launch, MOST_BINDINGS};
use crate::math;
use crate::{DType, Device, Error, Result, Tensor};

/// The clock as it lies on the device. Twin of `Clock` in `shaders/shared/clock.wgsl`.
#[repr(C)]
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct ClockWords {
    pub(crate) learning_rate: f32,
    pub(crate) bias_correction1: f32,
    pub(crate) bias_correction2: f32,
    /// Negative where the update is to be skipped.
    pub(crate) clip_factor: f32,
    pub(crate) step: u32,
    pub(crate) skipped: u32,
    pub(crate) clipped: u32,
    pub(crate) finished: u32,
    pub(crate) gradient_norm: f32,
    pub(crate) gradient_norm_sum: f32,
    /// Rows of the schedule that count, and where they begin in the table.
    schedule_length: u32,
    schedule_start: u32,
    /// What a method keeps of time beside the bias corrections: see [`Extra`].
    pub(crate) extra: [f32; 2],
    /// What the schedule says of weight decay and momentum; negative where it says nothing.
    weight_decay: f32,
    momentum: f32,
    one_minus_momentum: f32,
    /// The step, skipped ones counted too, that was skipped first; 0 where none was.
    pub(crate) first_skipped: u32,
    /// Norms of the last update, and of the parameters before it, where they are asked for.
    pub(crate) update_norm: f32,
    pub(crate) weight_norm: f32,
}

impl ClockWords {
    /// The row of the schedule for a step; behind its end the last one.
    fn row(&self, table: &[Row], position: u32) -> Row {
        table[(self.schedule_start + position.min(self.schedule_length - 1)) as usize]
    }

    fn take_row(&mut self, row: Row) {
        [self.learning_rate, self.weight_decay, self.momentum, self.one_minus_momentum] = row.0;
    }

    /// Bias corrections and what the method keeps of time, one step on.
    fn go_on(&mut self, next_rate: f32, timing: Timing) {
        let timing = Timing { one_minus_beta1: scheduled(self.one_minus_momentum, timing.one_minus_beta1), ..timing };
        self.bias_correction1 = next_correction(self.bias_correction1, timing.one_minus_beta1);
        self.bias_correction2 = next_correction(self.bias_correction2, timing.one_minus_beta2);
        self.extra = next_extra(self.extra, self.step, next_rate, timing);
    }
}

/// A row of the table that updates read: a step of the schedule, or what sets a vector of parameters apart.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Row(pub(crate) [f32; 4]);

/// What the schedule says, or where it says nothing the settings.
fn scheduled(from_schedule: f32, from_settings: f32) -> f32 {
    if from_schedule >= 0.0 { from_schedule } else { from_settings }
}

/// The part of the clock that an update reads, with the settings that a schedule may replace. Twin of `Now` in
/// `shaders/shared/clock.wgsl`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) learning_rate: f32,
    pub(crate) bias_correction1: f32,
    pub(crate) bias_correction2: f32,
    /// Negative where the update is to be skipped.
    pub(crate) clip_factor: f32,
    pub(crate) extra: [f32; 2],
    /// The number of this step, from 1 on.
    pub(crate) step: u32,
    pub(crate) weight_decay: f32,
    /// The momentum, or the decay rate of the first moment.
    pub(crate) momentum: f32,
    pub(crate) one_minus_momentum: f32,
    /// What a method has worked out from the norms of a tensor.
    pub(crate) own_factor: f32,
}

impl Now {
    /// The step size over the first bias correction, and the inverse root of the second. Twin of
    /// `shaders/shared/moments.wgsl`.
    pub(crate) fn moment_factors(&self) -> (f32, f32) {
        (self.learning_rate / self.bias_correction1, 1.0 / self.bias_correction2.sqrt())
    }

    /// The share that the newest point has in the average of a schedule-free method; 0 while all learning rates were 0.
    pub(crate) fn newest_share(&self) -> f32 {
        let [largest, sum] = self.extra;
        if sum > 0.0 { largest * largest / sum } else { 0.0 }
    }
}

const CLOCK_WORDS: usize = size_of::<ClockWords>() / 4;

/// Where [`ClockWords::schedule_length`] and, behind it, `schedule_start` stand.
pub(super) const SCHEDULE: usize = std::mem::offset_of!(ClockWords, schedule_length) / 4;

/// The steps that a clock has counted, done and skipped. `shaders/tensor/sample_classes.wgsl` counts on their places.
pub(crate) fn steps_of(clock: &[u32]) -> u32 {
    clock[STEP].wrapping_add(clock[STEP + 1])
}

/// Where [`ClockWords::step`] and, behind it, `skipped` stand.
const STEP: usize = std::mem::offset_of!(ClockWords, step) / 4;

const _: () = assert!(STEP == 4, "the shaders that sample count on it");

/// Where [`ClockWords::gradient_norm_sum`] stands.
const GRADIENT_NORM_SUM: usize = std::mem::offset_of!(ClockWords, gradient_norm_sum) / 4;

/// Rows for a schedule at first. A longer one needs a larger table.
const LEAST_TABLE: usize = 4096;

/// 1 - beta^t from 1 - beta^(t - 1): exact at the first step, and tending to 1, of which rounding leaves it short by at most
/// 2^-25 / (1 - beta).
fn next_correction(correction: f32, one_minus_beta: f32) -> f32 {
    correction + one_minus_beta * (1.0 - correction)
}

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
    segments: Option<Segments>,
    partials: Tensor,
    /// What sums over each tensor need, where a step has asked for them.
    sums: Option<TensorSums>,
    /// Whether tensors have clip factors of their own in the table, from a step that clipped tensor by tensor.
    has_tensor_factors: bool,
    non_finite: Option<NonFinite>,
    /// Whether the norm is taken even where nothing else needs it.
    measures: bool,
    /// Places for bindings that an update does not touch.
    untouched: Tensor,
    /// How a method that sees parameters as matrices shares them out; it follows from the arenas alone.
    plan: Option<Arc<Plan>>,
}

/// What a schedule says of the steps of a run, from the first one on; the last entry of each list stays.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleTable {
    /// Learning rates, at least one: finite and at least 0.
    pub learning_rates: Vec<f64>,
    /// Weight decays, finite and at least 0; empty where the settings of the method hold.
    pub weight_decays: Vec<f64>,
    /// Momentums, or decay rates of the first moment, at least 0 and less than 1; empty where the settings hold.
    pub momentums: Vec<f64>,
}

impl ScheduleTable {
    /// Learning rates alone.
    #[must_use]
    pub fn of_learning_rates(learning_rates: &[f64]) -> Self {
        Self { learning_rates: learning_rates.to_vec(), weight_decays: Vec::new(), momentums: Vec::new() }
    }

    fn check(&self) -> Result<()> {
        let wrong = |name, values: &[f64], is_right: fn(f64) -> bool, rule| {
            let wrong = values.iter().find(|value| !is_right(**value));
            wrong.map_or(Ok(()), |value| {
                Err(Error::Argument { op: "set_schedule", name, value: value.to_string(), rule })
            })
        };
        let not_negative = |value: f64| (value as f32).is_finite() && value >= 0.0;
        if self.learning_rates.is_empty() {
            return Err(Error::Argument {
                op: "set_schedule",
                name: "learning_rate",
                value: "none".to_string(),
                rule: "one at least",
            });
        }
        wrong("learning_rate", &self.learning_rates, not_negative, "finite and at least 0")?;
        wrong("weight_decay", &self.weight_decays, not_negative, "finite and at least 0")?;
        wrong("momentum", &self.momentums, |value| (0.0..1.0).contains(&value), "at least 0 and less than 1")
    }

    fn rows(&self) -> Vec<Row> {
        let length = self.learning_rates.len().max(self.weight_decays.len()).max(self.momentums.len());
        let at = |values: &[f64], i: usize| values.get(i).or(values.last()).copied();
        (0..length)
            .map(|i| {
                let momentum = at(&self.momentums, i);
                let row = [
                    at(&self.learning_rates, i),
                    at(&self.weight_decays, i),
                    momentum,
                    momentum.map(|momentum| 1.0 - momentum),
                ];
                Row(row.map(|value| value.unwrap_or(-1.0) as f32))
            })
            .collect()
    }
}

/// What sets a tensor of parameters apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SegmentSettings {
    /// What its learning rate is multiplied by: finite and at least 0. Default 1.
    pub lr_scale: f64,
    /// Its weight decay, instead of that of all: finite and at least 0. Default none.
    pub weight_decay: Option<f64>,
    /// Whether it stays as it is, with its state. Default false.
    pub frozen: bool,
}

impl Default for SegmentSettings {
    fn default() -> Self {
        Self { lr_scale: 1.0, weight_decay: None, frozen: false }
    }
}

impl SegmentSettings {
    /// The row of the table; its third number is a clip factor.
    fn row(&self) -> Row {
        let scale = if self.frozen { -1.0 } else { self.lr_scale as f32 };
        Row([scale, self.weight_decay.unwrap_or(-1.0) as f32, 1.0, 0.0])
    }

    fn check(&self) -> Result<()> {
        for (name, value) in [("lr_scale", self.lr_scale), ("weight_decay", self.weight_decay.unwrap_or(0.0))] {
            if !((value as f32).is_finite() && value >= 0.0) {
                return Err(Error::Argument {
                    op: "set_segments",
                    name,
                    value: value.to_string(),
                    rule: "finite and at least 0",
                });
            }
        }
        Ok(())
    }
}

/// The tensors of an arena as the table has them.
#[derive(Debug)]
struct Segments {
    settings: Vec<SegmentSettings>,
    rows: Vec<Row>,
    /// Where the rows of each page begin.
    page_starts: Vec<u32>,
}

/// Parameters that a row of the table stands for: a tensor begins at a multiple of them.
pub(crate) const ROW_ELEMENTS: usize = crate::buffer::ALIGNMENT;

const _: () = assert!(ROW_ELEMENTS == 64, "shaders/shared/update.wgsl counts on it");

/// Elements of a place for a binding that is not touched: as many as buffers are aligned to.
const UNTOUCHED: usize = 64;

impl Clock {
    /// A clock before its first step.
    ///
    /// # Errors
    /// Where the learning rate is negative or not finite, or the device has no room.
    pub fn new(device: &Device, learning_rate: f64) -> Result<Self> {
        crate::recording::check_state("clock")?;
        let mut clock = Self {
            state: Tensor::zeros(device, DType::U32, &[CLOCK_WORDS])?,
            table: Tensor::zeros(device, DType::F32, &[4 * LEAST_TABLE])?,
            schedule: ScheduleTable::of_learning_rates(&[learning_rate]),
            segments: None,
            partials: Tensor::zeros(device, DType::F32, &[MOST_PARTIALS])?,
            sums: None,
            has_tensor_factors: false,
            non_finite: None,
            measures: false,
            untouched: Tensor::zeros(device, DType::F32, &[MOST_BINDINGS * UNTOUCHED])?,
            plan: None,
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

    /// Uploads what a schedule says of the coming steps, from the first step of the run on. Recordings follow, unless the
    /// table is longer than 4,096 rows and than any before it: then they must be made anew.
    ///
    /// # Errors
    /// Where there is no learning rate, or a value is out of its range.
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
    /// the same launch. Recordings made before must be made anew.
    ///
    /// # Errors
    /// Where there are not as many settings as tensors, or a value is out of its range.
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
        let before = self.segments.replace(Segments { settings: settings.to_vec(), rows, page_starts });
        let uploaded = self.upload(&self.schedule.clone());
        if uploaded.is_err() {
            self.segments = before;
        }
        uploaded
    }

    /// What sets each tensor apart; `None` where nothing does.
    #[must_use]
    pub fn segments(&self) -> Option<&[SegmentSettings]> {
        self.segments.as_ref().map(|segments| &*segments.settings)
    }

    /// Where the rows of a page begin in the table; `None` where parameters are not set apart.
    pub(crate) fn first_row(&self, page: usize) -> Option<u32> {
        self.segments.as_ref().map(|segments| segments.page_starts[page])
    }

    fn upload(&mut self, schedule: &ScheduleTable) -> Result<()> {
        let schedule = schedule.rows();
        let segments = self.segments.as_ref().map_or(&[][..], |segments| &segments.rows);
        let (start, end) = (segments.len(), segments.len() + schedule.len());
        if self.table.len() < 4 * end {
            let rows = start + schedule.len().next_power_of_two().max(LEAST_TABLE);
            self.table = Tensor::zeros(self.device(), DType::F32, &[4 * rows])?;
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
    /// Where work on the device has failed; [`Error::NotFinite`] where a step was skipped and that is to be an error.
    pub fn read(&self) -> Result<ClockState> {
        ClockState::of(&self.words()?, self.non_finite)
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
        Ok(PendingClock::new(self.state.read_later()?, self.non_finite))
    }

    /// What is done where the norm of the gradients is not finite; `None` leaves it to the way of clipping. Recordings made
    /// before must be made anew.
    pub fn set_non_finite(&mut self, non_finite: Option<NonFinite>) {
        self.non_finite = non_finite;
    }

    /// What is done where the norm of the gradients is not finite.
    #[must_use]
    pub fn non_finite(&self) -> Option<NonFinite> {
        self.non_finite
    }

    /// Whether every step takes the norm of the gradients, clipped by it or not: two launches. Recordings made before must
    /// be made anew.
    pub fn measure_gradient_norm(&mut self, measures: bool) {
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
        crate::recording::check_state("clock")?;
        let settings = match self.segments() {
            Some(settings) if settings.len() == values.len() => settings.to_vec(),
            _ => vec![SegmentSettings::default(); values.len()],
        };
        self.set_segments(values, &settings)?;
        let page_rows = self.segments.as_ref().map_or(&[][..], |segments| &segments.page_starts);
        self.sums = Some(TensorSums::new(values, page_rows)?);
        Ok(())
    }

    /// What [`lay_out`](Self::lay_out) has made.
    pub(super) fn laid_out(&self) -> Result<&TensorSums> {
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
        let is_by_norm = clip.norm().is_some() || clip.by_tensor().is_some();
        if grads.pages().len() == 1 && !is_by_norm && !self.takes_norm() {
            self.forget_tensor_factors()?;
            return Ok(Prepared::SelfClocked);
        }
        self.advance_with(grads, clip, timing)?;
        Ok(Prepared::ByLaunch)
    }

    /// Advances the clock by a launch, for updates that may not read the rows of the table: with the global norm of the
    /// gradients where it is needed, and clipping by tensors done in place, so that the rows hold 1.
    pub(crate) fn advance(&mut self, grads: &Arena, clip: Clip, timing: Timing) -> Result<()> {
        clip.check()?;
        self.advance_with(grads, clip, timing)?;
        if let (Some(_), Some(segments)) = (clip.by_tensor(), &self.segments) {
            launch_scale_rows(grads, &segments.page_starts, &self.table, &self.state)?;
        }
        Ok(())
    }

    fn advance_with(&mut self, grads: &Arena, clip: Clip, timing: Timing) -> Result<()> {
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
        let params = ClockParams {
            timing,
            partials: count as u32,
            max_norm,
            root: norm.power().recip(),
            ignore: (!self.skips(clip)).into(),
        };
        Launch::new(&CLOCK, params)
            .constant("NORM", norm.constant())
            .constant("BY_TENSOR", clip.by_tensor().is_some())
            .bind(partials)
            .bind(&self.table)
            .bind(&self.state)
            .run(self.device())
    }

    /// Whether a step takes the norm of the gradients though they are not clipped by it.
    fn takes_norm(&self) -> bool {
        self.measures || matches!(self.non_finite, Some(NonFinite::Skip | NonFinite::Error))
    }

    /// Whether a norm that is not finite skips the step.
    fn skips(&self, clip: Clip) -> bool {
        match self.non_finite {
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

    pub(crate) fn state(&self) -> &Tensor {
        &self.state
    }

    /// A place for a binding that an update does not touch, another one for every number.
    pub(crate) fn untouched(&self, number: usize) -> Result<Tensor> {
        self.untouched.slice(0, number * UNTOUCHED, (number + 1) * UNTOUCHED)
    }

    pub(crate) fn table(&self) -> &Tensor {
        &self.table
    }

    /// The plan of a method for these arenas, which is made once.
    pub(super) fn plan(
        &mut self,
        method: &'static str,
        arenas: &[&Arena],
        make: impl FnOnce() -> Result<Plan>,
    ) -> Result<Arc<Plan>> {
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

/// What an update says of how its time goes on. Twin of `Timing` in `shaders/shared/clock.wgsl`.
#[repr(C)]
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Timing {
    pub(crate) one_minus_beta1: f32,
    pub(crate) one_minus_beta2: f32,
    /// Another rate, and what it is for.
    pub(crate) extra_rate: f32,
    extra: u32,
}

/// What a method keeps of time in the clock, beside the bias corrections. Twin of the constants in
/// `shaders/shared/clock.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extra {
    /// Adan: 1 - beta3^t.
    ThirdMoment = 1,
    /// NAdam: d = 0.96^(t momentum_decay), of which mu = beta1 (1 - d / 2); and 1 - mu_1 mu_2 … mu_t.
    MomentumDecay = 2,
    /// RAdam: beta2^t, and the sum of beta2^i - beta2^t over i < t.
    Rectification = 3,
    /// Schedule-free methods: the largest learning rate, and the sum of its squares, the weights of the average.
    ScheduleFree = 4,
}

/// What a method keeps of time, one step on; `step` is the number of the step that begins, `next_rate` the
/// learning rate of the one behind it. Twin of `next_extra` in
/// `shaders/shared/clock.wgsl`.
fn next_extra(old: [f32; 2], step: u32, next_rate: f32, timing: Timing) -> [f32; 2] {
    let first = step == 1;
    if timing.extra == Extra::ThirdMoment as u32 {
        [next_correction(old[0], timing.extra_rate), 0.0]
    } else if timing.extra == Extra::MomentumDecay as u32 {
        // A power that is lessened by a share of itself keeps its relative accuracy.
        let before = if first { 1.0 } else { old[0] };
        let d = before - timing.extra_rate * before;
        let one_minus_mu = timing.one_minus_beta1 + (1.0 - timing.one_minus_beta1) * (0.5 * d);
        [d, next_correction(old[1], one_minus_mu)]
    } else if timing.extra == Extra::Rectification as u32 {
        // All terms of the sum are positive: the length of the average follows from it without cancellation.
        let before = if first { 1.0 } else { old[0] };
        let power = before - timing.one_minus_beta2 * before;
        [power, old[1] + step as f32 * (timing.one_minus_beta2 * before)]
    } else if timing.extra == Extra::ScheduleFree as u32 {
        let largest = old[0].max(next_rate);
        [largest, old[1] + largest * largest]
    } else {
        [0.0; 2]
    }
}

impl Timing {
    /// What an update needs to know to advance the clock, for betas of its own.
    pub(crate) fn of_betas((beta1, beta2): (f64, f64)) -> Self {
        Self { one_minus_beta1: (1.0 - beta1) as f32, one_minus_beta2: (1.0 - beta2) as f32, extra_rate: 0.0, extra: 0 }
    }

    /// With what the method keeps of time beside the bias corrections.
    pub(crate) fn with_extra(self, extra: Extra, rate: f64) -> Self {
        Self { extra_rate: rate as f32, extra: extra as u32, ..self }
    }

    /// With another rate of the first moment.
    pub(crate) fn with_one_minus_beta1(self, one_minus_beta1: f32) -> Self {
        Self { one_minus_beta1, ..self }
    }

    /// For an update that needs no bias corrections.
    pub(crate) fn without_betas() -> Self {
        Self::of_betas((0.0, 0.0))
    }
}

/// The time of an update, and the clock as it is to be kept. Twin of `current_time` in
/// `shaders/shared/self_clock.wgsl`; `weight_decay` and `momentum` are those of the settings.
pub(crate) fn current_time(
    clock: &ClockWords,
    table: &[Row],
    timing: Timing,
    (weight_decay, momentum): (f32, f32),
    self_clocked: bool,
) -> (Now, ClockWords) {
    let mut next = *clock;
    if self_clocked {
        let position = clock.step + clock.skipped;
        (next.clip_factor, next.step) = (1.0, clock.step + 1);
        next.take_row(clock.row(table, position));
        next.go_on(clock.row(table, position + 1).0[0], timing);
    }
    let now = Now {
        learning_rate: next.learning_rate,
        bias_correction1: next.bias_correction1,
        bias_correction2: next.bias_correction2,
        clip_factor: next.clip_factor,
        extra: next.extra,
        step: next.step,
        weight_decay: scheduled(next.weight_decay, weight_decay),
        momentum: scheduled(next.momentum, momentum),
        one_minus_momentum: scheduled(next.one_minus_momentum, timing.one_minus_beta1),
        own_factor: 1.0,
    };
    (now, next)
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
}

/// norm = (Σ partials)^(1/p); clip_factor = min(1, max_norm / (norm + 1e-6)); then the clock advances, unless the norm is
/// not finite and that is not ignored.
fn clock_twin(call: Call<'_>) {
    let params: ClockParams = call.params();
    let norm = Norm::of(call.constant("NORM"), params.root.recip());
    let by_tensor = call.constant("BY_TENSOR") != 0.0;
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
    let norm = match norm {
        Norm::Euclidean => sum.sqrt(),
        Norm::Absolute | Norm::Largest => sum,
        Norm::OfPower(_) => sum.powf(params.root),
    };
    clock.take_row(clock.row(table, clock.step + clock.skipped));
    clock.gradient_norm = norm;
    let is_good = sum.is_finite() && norm.is_finite();
    if !is_good && params.ignore == 0 {
        clock.clip_factor = -1.0;
        clock.skipped += 1;
        if clock.first_skipped == 0 {
            clock.first_skipped = clock.step + clock.skipped;
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
    clock.clip_factor = factor;
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
        &[("NORM", 0.0), ("BY_TENSOR", 0.0)],
        &[("NORM", 1.0), ("BY_TENSOR", 0.0)],
        &[("NORM", 2.0), ("BY_TENSOR", 0.0)],
        &[("NORM", 3.0), ("BY_TENSOR", 0.0)],
        &[("NORM", 0.0), ("BY_TENSOR", 1.0)],
    ],
    twin: clock_twin,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrections_follow_the_powers() {
        let mut correction = 0f32;
        for t in 1..=2000 {
            correction = next_correction(correction, 0.001);
            let exact = 1.0 - 0.999f64.powi(t);
            approx::assert_relative_eq!(f64::from(correction), exact, max_relative = 1e-6);
        }
    }

    #[test]
    fn what_methods_keep_of_time_is_exact_over_long_runs() {
        let (beta1, beta2, momentum_decay) = (0.9f64, 0.999f64, 0.004f64);
        let betas = Timing::of_betas((beta1, beta2));
        let nadam = betas.with_extra(Extra::MomentumDecay, 1.0 - 0.96f64.powf(momentum_decay));
        let radam = betas.with_extra(Extra::Rectification, 0.0);
        let (mut decays, mut sums, mut product, mut correction) = ([0f32; 2], [0f32; 2], 1.0, 0f32);
        for t in 1..=100_000u32 {
            decays = next_extra(decays, t, 0.1, nadam);
            sums = next_extra(sums, t, 0.1, radam);
            correction = next_correction(correction, radam.one_minus_beta2);
            let decay = 0.96f64.powf(f64::from(t) * momentum_decay);
            product *= beta1 * (1.0 - 0.5 * decay);
            if decay > 1e-6 {
                approx::assert_relative_eq!(f64::from(decays[0]), decay, max_relative = 2e-5);
            }
            approx::assert_relative_eq!(f64::from(decays[1]), 1.0 - product, max_relative = 1e-6);
            // The length of the average, RAdam's rho: 2 / (1 - beta2) - 1 - 2 t beta2^t / (1 - beta2^t).
            let power = beta2.powf(f64::from(t));
            let rho = 2.0 / (1.0 - beta2) - 1.0 - 2.0 * f64::from(t) * power / (1.0 - power);
            let got = f64::from(2.0 * sums[1] / correction - 1.0);
            let allowed = if t <= 1000 { 2e-6 } else { 2e-4 };
            approx::assert_relative_eq!(got, rho, max_relative = allowed);
        }
    }

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
