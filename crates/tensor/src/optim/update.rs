//! What all element-wise updates share: how they are launched on the pages of an arena, and how their twins go through
//! it. Twin of `shaders/shared/update.wgsl` and `shaders/shared/elements.wgsl`.

use std::fmt::Debug;

use bytemuck::{Pod, Zeroable};

use super::clip::Clip;
use super::clock::{Clock, ClockWords, Now, Prepared, ROW_ELEMENTS, Row, Timing, current_time};
use super::matrices::shapes_of;
use crate::arena::{Arena, Packing, UPDATE_BLOCK};
use crate::kernel::{Access, Call, Kernel, Launch, MOST_BINDINGS, Slice};
use crate::parallel::{for_each_block, for_each_chunks_beside};
use crate::{Error, Result, Tensor};

/// A method of optimization, fused: one launch takes a whole arena of parameters one step further, or a few where a method
/// sees parameters as matrices.
pub trait Update: Debug + Send + Sync {
    /// The number of arenas that it keeps from step to step beside the parameters.
    fn state_count(&self) -> usize;

    /// Bytes that a step must move for a parameter, clipping left out: parameter, gradient and state in, all but the
    /// gradient out.
    fn bytes_per_parameter(&self) -> u64 {
        let state: f64 = (0..self.state_count()).map(|number| 8.0 / self.packing(number).parameters() as f64).sum();
        12 + state as u64
    }

    /// What fills each of these arenas before the first step; their padding stays zero.
    fn initial_state(&self, _number: usize) -> f32 {
        0.0
    }

    /// The shapes of the tensors of such an arena, for parameters of these shapes; `None` where they are the same, in the
    /// same layout.
    fn state_shapes(&self, _number: usize, _parameters: &[Vec<usize>]) -> Option<Vec<Vec<usize>>> {
        None
    }

    /// How each of these arenas is packed.
    fn packing(&self, _number: usize) -> Packing {
        Packing::Plain
    }

    /// The arenas that it keeps, as they are before the first step.
    ///
    /// # Errors
    /// Where the device has no room.
    fn new_state(&self, values: &Arena) -> Result<Vec<Arena>> {
        let shapes = shapes_of(values);
        let arena = |number| {
            let arena = match self.state_shapes(number, &shapes) {
                Some(shapes) => Arena::new(values.device(), &shapes)?,
                None => values.zeros_packed(self.packing(number))?,
            };
            let initial = self.initial_state(number);
            // Tensor by tensor: padding stays zero.
            if initial != 0.0 {
                arena.tensors().iter().try_for_each(|tensor| tensor.fill(initial))?;
            }
            Ok(arena)
        };
        (0..self.state_count()).map(arena).collect()
    }

    /// Whether it needs sums over each tensor, for which [`Clock::lay_out`] must have been called before a step is recorded.
    fn sums_tensors(&self) -> bool {
        false
    }

    /// Takes all parameters one step further: one launch a page (more for methods that need norms of tensors, or that see
    /// them as matrices), and before it those of [`Clip`].
    ///
    /// # Errors
    /// Where the arenas have different layouts or are not as many as `state_count`, or the limit of clipping is not greater
    /// than 0.
    fn step(&self, step: StepArguments<'_>) -> Result<()>;
}

/// What a step works on.
#[derive(Debug)]
pub struct StepArguments<'a> {
    /// The parameters.
    pub values: &'a Arena,
    /// Their gradients, in the same layout.
    pub grads: &'a Arena,
    /// What the method keeps from step to step.
    pub state: &'a [Arena],
    /// The time.
    pub clock: &'a mut Clock,
    /// How gradients are clipped.
    pub clip: Clip,
}

/// The beginning of every update's parameters. Twin of `Timing` and `Settings` in WGSL.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Head {
    pub(super) timing: Timing,
    weight_decay: f32,
    decay: u32,
    maximize: u32,
    vectors: u32,
    momentum: f32,
    clip_value: f32,
    first_row: u32,
    padding: u32,
}

/// How weights decay. Twin of the constants in WGSL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decay {
    /// Through the gradient.
    Coupled,
    /// By themselves.
    Decoupled,
    /// As the method's own rule says.
    ByRule,
}

impl Decay {
    /// By themselves, or through the gradient.
    pub(super) fn decoupled(decoupled: bool) -> Self {
        if decoupled { Self::Decoupled } else { Self::Coupled }
    }
}

impl Head {
    /// For a method whose weight decay goes through the gradient, and that has no momentum.
    pub(super) fn new(timing: Timing, weight_decay: f64, maximize: bool) -> Self {
        Self {
            timing,
            weight_decay: weight_decay as f32,
            decay: Decay::Coupled as u32,
            maximize: maximize.into(),
            vectors: 0,
            momentum: 0.0,
            clip_value: f32::MAX,
            first_row: 0,
            padding: 0,
        }
    }

    /// How weights decay.
    pub(super) fn decay(self, decay: Decay) -> Self {
        Self { decay: decay as u32, ..self }
    }

    /// With this momentum, or decay rate of the first moment, which a schedule may replace.
    pub(super) fn momentum(self, momentum: f64) -> Self {
        Self { momentum: momentum as f32, ..self }
    }

    /// The rate of what a method keeps in the clock beside the bias corrections.
    pub(super) fn extra_rate(&self) -> f32 {
        self.timing.extra_rate
    }

    pub(super) fn timing(&self) -> Timing {
        self.timing
    }

    /// 1 - beta for the second moment.
    pub(super) fn one_minus_beta2(&self) -> f32 {
        self.timing.one_minus_beta2
    }

    /// The gradient of a parameter, from it and from its value: clipped, turned around where the method is to climb, with
    /// coupled decay.
    #[inline(always)]
    pub(super) fn gradient(self, now: &Now, clip_value: Option<f32>) -> impl Fn(f32, f32) -> f32 + Copy + use<> {
        let shared = Shared::of(now, self);
        move |grad, value| shared.gradient(value, clip_value.map_or(grad, |most| clipped(grad, most)))
    }
}

impl StepArguments<'_> {
    /// Launches an update that binds all of its state.
    pub(super) fn run<P: Pod>(self, kernel: &'static Kernel, head: Head, params: impl Fn(Head) -> P) -> Result<()> {
        self.run_packed(kernel, &[], head, params)
    }

    /// As [`run`](Self::run), with state that is packed.
    pub(super) fn run_packed<P: Pod>(
        self,
        kernel: &'static Kernel,
        packing: &[Packing],
        head: Head,
        params: impl Fn(Head) -> P,
    ) -> Result<()> {
        let keeps = &[true; MOST_STATE][..kernel.access.len() - FIRST_STATE];
        self.prepare_and_launch(kernel, &[], (keeps, packing), head, params)
    }

    /// Launches an update on every page, with these constants; `keeps` says of each binding of state whether this
    /// variant has it, or does not touch it.
    pub(super) fn run_variant<P: Pod>(
        self,
        kernel: &'static Kernel,
        constants: &[(&'static str, bool)],
        keeps: &[bool],
        head: Head,
        params: impl Fn(Head) -> P,
    ) -> Result<()> {
        self.prepare_and_launch(kernel, constants, (keeps, &[]), head, params)
    }

    fn prepare_and_launch<P: Pod>(
        self,
        kernel: &'static Kernel,
        constants: &[(&'static str, bool)],
        (keeps, packing): (&[bool], &[Packing]),
        head: Head,
        params: impl Fn(Head) -> P,
    ) -> Result<()> {
        self.check_packed(kernel, keeps, packing)?;
        let prepared = self.clock.prepare(self.grads, self.clip, head.timing)?;
        self.launch(prepared, kernel, constants, (keeps, packing), head, params)
    }

    /// As [`run`](Self::run), behind a launch of the same step that has advanced the clock.
    pub(super) fn run_behind<P: Pod>(
        self,
        kernel: &'static Kernel,
        head: Head,
        params: impl Fn(Head) -> P,
    ) -> Result<()> {
        let keeps = &[true; MOST_STATE][..kernel.access.len() - FIRST_STATE];
        self.check(kernel, keeps)?;
        self.launch(Prepared::ByLaunch, kernel, &[], (keeps, &[]), head, params)
    }

    /// Checks that the arenas fit each other and the kernel.
    pub(super) fn check(&self, kernel: &'static Kernel, keeps: &[bool]) -> Result<()> {
        self.check_packed(kernel, keeps, &[])
    }

    /// As [`check`](Self::check), of state that is packed.
    fn check_packed(&self, kernel: &'static Kernel, keeps: &[bool], packing: &[Packing]) -> Result<()> {
        let Self { values, grads, state, .. } = self;
        let expected = keeps.iter().filter(|keeps| **keeps).count();
        if state.len() != expected {
            return Err(Error::Argument {
                op: kernel.name(),
                name: "state",
                value: format!("{} arenas", state.len()),
                rule: "one arena for each that the update keeps",
            });
        }
        values.same_layout(kernel.name(), &[grads])?;
        let of_state = state.iter().zip(packing.iter().copied().chain(std::iter::repeat(Packing::Plain)));
        of_state.into_iter().try_for_each(|(arena, packing)| values.same_packed_layout(kernel.name(), arena, packing))
    }

    fn launch<P: Pod>(
        self,
        prepared: Prepared,
        kernel: &'static Kernel,
        constants: &[(&'static str, bool)],
        (keeps, packing): (&[bool], &[Packing]),
        head: Head,
        params: impl Fn(Head) -> P,
    ) -> Result<()> {
        let Self { values, grads, state, clock, clip } = self;
        let pages = Pages { values, grads, clock, clip, self_clocked: prepared.self_clocked() };
        for (number, page) in values.pages().iter().enumerate() {
            let (sequential, workgroups) = grid(page, !packing.is_empty());
            let params = params(pages.head(head, number));
            let mut launch = pages.launch(kernel, params, number).constant("SEQUENTIAL", sequential);
            for (name, value) in constants {
                launch = launch.constant(name, *value);
            }
            let mut kept = state.iter();
            for (place, keeps) in keeps.iter().enumerate() {
                launch = match keeps.then(|| kept.next()).flatten() {
                    Some(arena) => launch.bind(&arena.pages()[number]),
                    None => launch.bind(&clock.untouched(place)?).uses(FIRST_STATE + place, 0),
                };
            }
            launch.workgroups(workgroups).run(page.device())?;
        }
        Ok(())
    }

    /// Launches on every page a kernel that sums over the chunks of tensors and may write these arenas; the clock is
    /// advanced by it or before it. See `segments.rs`.
    pub(super) fn run_chunks<P: Pod>(
        &mut self,
        kernel: &'static Kernel,
        head: Head,
        written: &[Arena],
        params: impl Fn(Head, (u32, u32)) -> P,
    ) -> Result<()> {
        self.clock.lay_out(self.values)?;
        let prepared = self.clock.prepare(self.grads, self.clip, head.timing)?;
        let Self { values, grads, clock, clip, .. } = self;
        let pages = Pages { values, grads, clock, clip: *clip, self_clocked: prepared.self_clocked() };
        let segments = clock.laid_out()?;
        for (number, page) in values.pages().iter().enumerate() {
            let chunks = segments.of_page(number);
            let launch = pages.launch(kernel, params(pages.head(head, number), chunks), number);
            let launch = written.iter().fold(launch, |launch, arena| launch.bind(&arena.pages()[number]));
            segments.bind_chunks(launch).workgroups((chunks.1 as usize).max(1)).run(page.device())?;
        }
        Ok(())
    }
}

/// What the launches of a step share, page by page.
pub(super) struct Pages<'a> {
    pub(super) values: &'a Arena,
    pub(super) grads: &'a Arena,
    pub(super) clock: &'a Clock,
    pub(super) clip: Clip,
    pub(super) self_clocked: bool,
}

impl Pages<'_> {
    /// The beginning of the parameters of a launch.
    pub(super) fn head(&self, head: Head, number: usize) -> Head {
        Head {
            vectors: (self.values.pages()[number].len() / 4) as u32,
            clip_value: self.clip.value().unwrap_or(f32::MAX),
            first_row: self.clock.first_row(number).unwrap_or(0),
            ..head
        }
    }

    /// A launch on a page, with the bindings up to the state.
    pub(super) fn launch<P: Pod>(&self, kernel: &'static Kernel, params: P, number: usize) -> Launch {
        Launch::new(kernel, params)
            .constant("SELF_CLOCKED", self.self_clocked)
            .constant("SEGMENTED", self.clock.first_row(number).is_some())
            .constant("CLIP_VALUE", self.clip.value().is_some())
            .bind(&self.values.pages()[number])
            .bind(&self.grads.pages()[number])
            .bind(self.clock.table())
            .bind(self.clock.state())
    }
}

/// Where the state begins in the bindings of an update, and the most arenas of it.
const FIRST_STATE: usize = 4;
pub(super) const MOST_STATE: usize = MOST_BINDINGS - FIRST_STATE;

/// The bindings of an update with so many arenas of state.
pub(super) const fn access(states: usize) -> &'static [Access] {
    const ALL: &[Access] = &[
        Access::Write,
        Access::Read,
        Access::Read,
        Access::Write,
        Access::Write,
        Access::Write,
        Access::Write,
        Access::Write,
    ];
    ALL.split_at(FIRST_STATE + states).0
}

/// Parameters of a workgroup in hardware, where more and smaller ones keep more of it busy.
const HARDWARE_BLOCK: usize = 512;

/// Elements from which on the order of memory counts in software: below, a page lies in a cache, and more workgroups
/// are shared out more evenly over the threads.
const LEAST_SEQUENTIAL: usize = 64 << 10;

const _: () = assert!(UPDATE_BLOCK.is_multiple_of(HARDWARE_BLOCK), "pages have no tail");

/// Whether lanes take vectors in a row, and the number of workgroups. Updates of packed state know one way alone, in which
/// the first says that the grid is not folded.
pub(super) fn grid(page: &Tensor, is_packed: bool) -> (bool, usize) {
    let blocks = page.len() / UPDATE_BLOCK;
    let folded = blocks > page.device().max_workgroups_per_dimension();
    if is_packed {
        return (!folded, blocks);
    }
    let sequential = page.device().is_software() && page.len() >= LEAST_SEQUENTIAL && !folded;
    (sequential, if sequential { blocks } else { page.len() / HARDWARE_BLOCK })
}

/// Sets of override constants of updates that have none of their own. Those of parameters that are set apart and of
/// clipping by value stand beside each other, since they do not meet in the text.
macro_rules! update_variants {
    ($($self_clocked:literal $sequential:literal $apart:literal $($name:literal $value:literal)*,)*) => {
        &[$(&[
            ("SELF_CLOCKED", $self_clocked),
            ("SEQUENTIAL", $sequential),
            ("SEGMENTED", $apart),
            ("CLIP_VALUE", $apart),
            $(($name, $value),)*
        ]),*]
    };
}
pub(super) use update_variants;

pub(super) const UPDATE_VARIANTS: &[&[(&str, f64)]] = update_variants![
    0.0 0.0 0.0, 1.0 0.0 0.0, 0.0 1.0 0.0, 1.0 1.0 0.0,
    0.0 0.0 1.0, 1.0 0.0 1.0, 0.0 1.0 1.0, 1.0 1.0 1.0,
];

/// What the twins of all launches over parameters see.
pub(super) struct Parts<'a> {
    pub(super) now: Now,
    pub(super) head: Head,
    /// The rows of this page's parameters, where they are set apart.
    pub(super) rows: Option<&'a [Row]>,
    pub(super) clip_value: Option<f32>,
    pub(super) clock: (&'a mut ClockWords, ClockWords),
    pub(super) values: &'a mut [f32],
    pub(super) grads: &'a [f32],
}

/// Of an arena of state so many words for each group of parameters, from a word on.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) place: usize,
    pub(super) start: usize,
    pub(super) words: usize,
}

/// The time as the blocks of a page have it, and their gradients.
pub(super) struct Time<'a> {
    pub(super) now: Now,
    head: Head,
    rows: Option<&'a [Row]>,
    clip_value: Option<f32>,
    grads: &'a [f32],
}

/// 64 parameters and their gradients, which belong to one tensor, at the time that they have.
pub(super) struct Block<'a> {
    pub(super) now: Now,
    pub(super) values: &'a mut [f32; ROW_ELEMENTS],
    /// Clipped, turned around and decayed as the settings say; of the parameters decoupled decay has taken its share.
    pub(super) grads: [f32; ROW_ELEMENTS],
}

impl Time<'_> {
    /// The block with this number; `None` where it is frozen.
    #[inline(always)]
    pub(super) fn block<'v>(&self, number: usize, values: &'v mut [f32]) -> Option<Block<'v>> {
        let now = self.rows.map_or(Some(self.now), |rows| of_row(rows[number], &self.now))?;
        let values = values.first_chunk_mut()?;
        let grads = ready(&now, self.head, self.clip_value, values, &self.grads[number * ROW_ELEMENTS..]);
        Some(Block { now, values, grads })
    }
}

impl<'a> Parts<'a> {
    /// The launch, at the time of its step, and its bindings behind the clock.
    pub(super) fn of(call: Call<'a>) -> (Self, [Slice<'a>; MOST_STATE]) {
        let head: Head = bytemuck::pod_read_unaligned(&call.params[..size_of::<Head>()]);
        let self_clocked = call.constant("SELF_CLOCKED") != 0.0;
        let is_segmented = call.constant("SEGMENTED") != 0.0;
        let clip_value = (call.constant("CLIP_VALUE") != 0.0).then_some(head.clip_value);
        let [values, grads, table, clock, state @ ..] = call.slices;
        let values = values.write::<f32>();
        let table: &[Row] = bytemuck::cast_slice(table.read::<f32>());
        let clock: &mut ClockWords = bytemuck::from_bytes_mut(bytemuck::cast_slice_mut(clock.write::<u32>()));
        let (now, next) = current_time(clock, table, head.timing, (head.weight_decay, head.momentum), self_clocked);
        let rows = is_segmented.then(|| &table[head.first_row as usize..][..values.len() / ROW_ELEMENTS]);
        (Self { now, head, rows, clip_value, clock: (clock, next), values, grads: grads.read() }, state)
    }
}

/// A launch as the twin of an update sees it.
pub(super) struct Elements<'a> {
    parts: Parts<'a>,
    state: [Slice<'a>; MOST_STATE],
}

impl<'a> Elements<'a> {
    /// The launch, at the time of its step.
    pub(super) fn of(call: Call<'a>) -> Self {
        let (parts, state) = Parts::of(call);
        Self { parts, state }
    }

    /// The number of this step, from 1 on.
    pub(super) fn step(&self) -> u32 {
        self.parts.now.step
    }

    /// Applies a rule to every parameter, its gradient and its state, unless the step is to be skipped, and keeps the
    /// clock. `factors` are what is the same for all parameters of one time. The gradient is clipped, turned around and
    /// decayed as the settings say; of the parameter decoupled decay has taken its share.
    #[inline(always)]
    pub(super) fn each<const N: usize, F: Copy + Sync>(
        self,
        factors: impl Fn(&Now) -> F,
        rule: impl Fn(F, &mut f32, f32, [&mut f32; N]) + Copy + Sync,
    ) where
        for<'s> [&'s mut [f32]; N]: Rows<N>,
    {
        self.each_of(std::array::from_fn(|number| number), factors, rule);
    }

    /// Of the state the arena at this place, which the kernel only reads.
    pub(super) fn read(&mut self, place: usize) -> &'a [f32] {
        std::mem::replace(&mut self.state[place], Slice::Read(&[])).read()
    }

    /// Applies a rule to groups of so many parameters, whole blocks of 64, and their state: of each arena that `spans` names
    /// the words that belong to a group. The rule gets the number of the group and its parameters, and goes from block to
    /// block by [`Time::block`].
    pub(super) fn each_group<const N: usize>(
        self,
        length: usize,
        spans: [Span; N],
        rule: impl Fn(usize, &mut [f32], &Time<'_>, [&mut [u32]; N]) + Sync,
    ) {
        let Self { parts: Parts { now, head, rows, clip_value, clock, values, grads }, state } = self;
        // A NaN spreads where it is not looked for.
        if now.clip_factor >= 0.0 || now.clip_factor.is_nan() {
            let mut state = state.map(Some);
            let state = spans.map(|span| {
                let arena = state[span.place].take().unwrap_or_else(|| unreachable!("places are taken once"));
                &mut arena.write::<u32>()[span.start..]
            });
            let time = Time { now, head, rows, clip_value, grads };
            for_each_block(
                length,
                spans.map(|span| span.words),
                values,
                state,
                #[inline(always)]
                |group, values, state| rule(group, values, &time, state),
            );
        }
        *clock.0 = clock.1;
    }

    /// As [`each`](Self::each), of the state at these places.
    #[inline(always)]
    pub(super) fn each_of<const N: usize, F: Copy + Sync>(
        self,
        places: [usize; N],
        factors: impl Fn(&Now) -> F,
        rule: impl Fn(F, &mut f32, f32, [&mut f32; N]) + Copy + Sync,
    ) where
        for<'s> [&'s mut [f32]; N]: Rows<N>,
    {
        let Self { parts: Parts { now, head, rows, clip_value, clock, values, grads }, state } = self;
        // A NaN spreads where it is not looked for.
        if now.clip_factor >= 0.0 || now.clip_factor.is_nan() {
            let mut state = state.map(Some);
            let mut state = places.map(|place| {
                state[place].take().unwrap_or_else(|| unreachable!("places are taken once")).write::<f32>()
            });
            let (mut values, mut grads) = (values, grads);
            for (length, own) in runs(rows, values.len(), &now) {
                let (here, rest) = values.split_at_mut(length);
                let (grads_here, grads_rest) = grads.split_at(length);
                let mut state_rest = state.map(Some);
                let state_here = std::array::from_fn(|number| {
                    let whole = state_rest[number].take().unwrap_or_default();
                    let (here, rest) = whole.split_at_mut(length);
                    state_rest[number] = Some(rest);
                    here
                });
                (values, grads, state) = (rest, grads_rest, state_rest.map(Option::unwrap_or_default));
                if let Some(own) = own {
                    apply(&own, head, clip_value, here, grads_here, state_here, factors(&own), rule);
                }
            }
        }
        *clock.0 = clock.1;
    }
}

/// The lengths of what parameters are gone through by, with the time as each has it; `None` where they are frozen. Twin
/// of `time_of` in WGSL.
pub(super) fn runs<'a>(
    rows: Option<&'a [Row]>,
    length: usize,
    now: &'a Now,
) -> impl Iterator<Item = (usize, Option<Now>)> + 'a {
    let whole = rows.is_none().then_some((length, Some(*now)));
    let apart = rows
        .unwrap_or_default()
        .chunk_by(|a, b| a == b)
        .map(|equal| (equal.len() * ROW_ELEMENTS, of_row(equal[0], now)));
    whole.into_iter().chain(apart)
}

/// The time as the parameters of a row have it; `None` where they are frozen.
pub(super) fn of_row(Row([lr_scale, weight_decay, clip_factor, own_factor]): Row, now: &Now) -> Option<Now> {
    let own = Now {
        learning_rate: now.learning_rate * lr_scale,
        weight_decay: if weight_decay >= 0.0 { weight_decay } else { now.weight_decay },
        clip_factor: now.clip_factor * clip_factor,
        own_factor,
        ..*now
    };
    (lr_scale >= 0.0).then_some(own)
}

/// The gradients of a block as its rule gets them; and decoupled decay takes its share of the parameters.
#[inline(always)]
fn ready(
    now: &Now,
    head: Head,
    clip_value: Option<f32>,
    values: &mut [f32; ROW_ELEMENTS],
    grads: &[f32],
) -> [f32; ROW_ELEMENTS] {
    let shared = Shared::of(now, head);
    let mut ready = [0f32; ROW_ELEMENTS];
    ready.copy_from_slice(&grads[..ROW_ELEMENTS]);
    if let Some(most) = clip_value {
        ready.iter_mut().for_each(|grad| *grad = clipped(*grad, most));
    }
    for (grad, value) in ready.iter_mut().zip(values) {
        *grad = shared.gradient(*value, *grad);
        *value *= shared.kept;
    }
    ready
}

/// An element of the gradient, limited; a NaN stays.
#[inline(always)]
pub(super) fn clipped(grad: f32, most: f32) -> f32 {
    let grad = if grad > most { most } else { grad };
    if grad < -most { -most } else { grad }
}

/// What is the same for all elements of one time by the rules that all methods share. Twin of `Step` in WGSL.
#[derive(Clone, Copy)]
struct Shared {
    sign: f32,
    clip_factor: f32,
    coupled_decay: f32,
    kept: f32,
}

impl Shared {
    fn of(now: &Now, head: Head) -> Self {
        let decoupled = head.decay == Decay::Decoupled as u32;
        Self {
            sign: if head.maximize != 0 { -1.0 } else { 1.0 },
            clip_factor: now.clip_factor,
            coupled_decay: if head.decay == Decay::Coupled as u32 { now.weight_decay } else { 0.0 },
            kept: if decoupled { 1.0 - now.learning_rate * now.weight_decay } else { 1.0 },
        }
    }

    #[inline(always)]
    fn gradient(self, value: f32, grad: f32) -> f32 {
        self.sign * (grad * self.clip_factor) + self.coupled_decay * value
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "a loop's all")]
fn apply<const N: usize, F: Copy + Sync>(
    now: &Now,
    head: Head,
    clip_value: Option<f32>,
    values: &mut [f32],
    grads: &[f32],
    state: [&mut [f32]; N],
    factors: F,
    rule: impl Fn(F, &mut f32, f32, [&mut f32; N]) + Copy + Sync,
) where
    for<'s> [&'s mut [f32]; N]: Rows<N>,
{
    let shared = Shared::of(now, head);
    // What does not change from element to element is moved into each piece: behind a reference it might for all that a
    // compiler knows, and the loop would not be turned into vectors.
    let step = move |value: &mut f32, grad: f32, state: [&mut f32; N]| {
        let grad = shared.gradient(*value, grad);
        *value *= shared.kept;
        rule(factors, value, grad, state);
    };
    for_each_chunks_beside(
        values,
        state,
        #[inline(always)]
        move |start, values, state| {
            let grads = &grads[start..];
            if let Some(most) = clip_value {
                state.each(
                    values,
                    grads,
                    #[inline(always)]
                    move |value, grad, state| step(value, clipped(grad, most), state),
                );
            } else {
                state.each(
                    values,
                    grads,
                    #[inline(always)]
                    move |value, grad, state| step(value, grad, state),
                );
            }
        },
    );
}

/// 1, -1 or 0, as WGSL's.
#[inline(always)]
pub(super) fn sign(x: f32) -> f32 {
    let negative = if x < 0.0 { -1.0 } else { 0.0 };
    if x > 0.0 { 1.0 } else { negative }
}

/// Slices of state, gone through element by element.
pub(super) trait Rows<const N: usize> {
    /// Calls `rule` with each value, its gradient and its state.
    fn each(self, values: &mut [f32], grads: &[f32], rule: impl Fn(&mut f32, f32, [&mut f32; N]));
}

/// For these numbers of slices. They are handed on as arguments of their own, since a compiler knows of arguments that
/// they do not overlap, and does not turn loops over many that might into vectors.
macro_rules! rows {
    ($($count:literal [$($state:ident)*];)*) => {$(
        impl Rows<$count> for [&mut [f32]; $count] {
            #[inline(always)]
            fn each(self, values: &mut [f32], grads: &[f32], rule: impl Fn(&mut f32, f32, [&mut f32; $count])) {
                #[inline(always)]
                #[allow(clippy::needless_range_loop, reason = "one index for all slices")]
                fn apart(
                    values: &mut [f32],
                    grads: &[f32],
                    $($state: &mut [f32],)*
                    rule: impl Fn(&mut f32, f32, [&mut f32; $count]),
                ) {
                    let length = values.len();
                    let grads = &grads[..length];
                    $(let $state = &mut $state[..length];)*
                    for i in 0..length {
                        rule(&mut values[i], grads[i], [$(&mut $state[i]),*]);
                    }
                }
                let [$($state),*] = self;
                apart(values, grads, $($state,)* rule);
            }
        }
    )*};
}

rows! {
    0 [];
    1 [a];
    2 [a b];
    3 [a b c];
    4 [a b c d];
}
