//! What all element-wise updates share: how they are launched on the pages of an arena. Twin of the parameters in
//! `shaders/shared/update.wgsl`.

use std::fmt::Debug;

use bytemuck::{Pod, Zeroable};

use super::clip::Clip;
use super::clock::{Clock, Prepared};
use super::matrices::shapes_of;
use super::time::Timing;
use crate::arena::{Arena, Packing, UPDATE_BLOCK};
use crate::kernel::{Access, Kernel, Launch, MOST_BINDINGS};
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
    pub(super) weight_decay: f32,
    pub(super) decay: u32,
    pub(super) maximize: u32,
    pub(super) vectors: u32,
    pub(super) momentum: f32,
    pub(super) clip_value: f32,
    pub(super) first_row: u32,
    pub(super) padding: u32,
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
