//! The common part of all element-wise updates: their launches on the pages of an arena. Twin of the parameters in
//! `shaders/shared/update.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::clip::Clip;
use super::clock::{Clock, Prepared};
use super::pairs;
use super::time::Timing;
use crate::arena::{Arena, Packing, UPDATE_BLOCK};
use crate::kernel::{Access, Kernel, Launch, MOST_BINDINGS};
use crate::{Error, Result, Tensor};

/// The arenas, the time and the clipping of a step, with the launches of updates.
#[derive(Debug)]
pub struct StepArguments<'a> {
    /// The parameters.
    pub values: &'a Arena,
    /// Their gradients, in the same layout.
    pub grads: &'a Arena,
    /// The arenas of state that the method keeps between steps.
    pub state: &'a [Arena],
    /// The time.
    pub clock: &'a mut Clock,
    /// How gradients are clipped.
    pub clip: Clip,
}

/// The first part of every update's parameters, 48 bytes. Twin of `Timing` and `Settings` in WGSL.
///
/// A method sets its settings with [`new`](Self::new), [`decay`](Self::decay) and [`momentum`](Self::momentum). The
/// launch of each page sets the rest.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct Head {
    pub(super) timing: Timing,
    pub(super) weight_decay: f32,
    pub(super) decay: u32,
    pub(super) maximize: u32,
    pub(super) vectors: u32,
    pub(super) momentum: f32,
    pub(super) clip_value: f32,
    pub(super) first_row: u32,
    /// 0, known only to the host: see `shaders/shared/self_clock.wgsl`.
    pub(super) zero: u32,
}

/// How weights decay. Twin of the constants in WGSL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decay {
    /// The gradient for the rule includes weight_decay param.
    Coupled,
    /// A parameter is multiplied by 1 - lr weight_decay before the rule is applied.
    Decoupled,
    /// The rule decays weights itself.
    ByRule,
}

impl Decay {
    /// Returns [`Decoupled`](Self::Decoupled) if `decoupled`, else [`Coupled`](Self::Coupled).
    #[must_use]
    pub fn decoupled(decoupled: bool) -> Self {
        if decoupled { Self::Decoupled } else { Self::Coupled }
    }
}

impl Head {
    /// Returns the parameters of a method with coupled weight decay and without momentum.
    #[must_use]
    pub fn new(timing: Timing, weight_decay: f64, maximize: bool) -> Self {
        Self {
            timing,
            weight_decay: weight_decay as f32,
            decay: Decay::Coupled as u32,
            maximize: maximize.into(),
            vectors: 0,
            momentum: 0.0,
            clip_value: f32::MAX,
            first_row: 0,
            zero: 0,
        }
    }

    /// Sets how weights decay.
    #[must_use]
    pub fn decay(self, decay: Decay) -> Self {
        Self { decay: decay as u32, ..self }
    }

    /// Sets the momentum, or the decay rate of the first moment. A schedule may override it.
    #[must_use]
    pub fn momentum(self, momentum: f64) -> Self {
        Self { momentum: momentum as f32, ..self }
    }

    /// Returns the rate of the quantity that the clock keeps besides the bias corrections.
    #[must_use]
    pub fn extra_rate(&self) -> f32 {
        self.timing.extra_rate
    }

    /// Returns how the clock advances.
    #[must_use]
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// Returns 1 - beta2, computed in f64 from the settings.
    #[must_use]
    pub fn one_minus_beta2(&self) -> f32 {
        self.timing.one_minus_beta2
    }
}

impl StepArguments<'_> {
    /// Launches an update once per page, with all of its state.
    ///
    /// The kernel binds parameters, gradients, table, clock and then each arena of state. `params` appends the
    /// method's own settings to the head of a page. The update advances the clock itself, unless clipping has already
    /// done so.
    ///
    /// # Errors
    /// If the number of arenas is not the kernel's, the layouts differ, or a launch fails.
    pub fn run<P: Pod>(self, kernel: &'static Kernel, head: Head, params: impl Fn(Head) -> P) -> Result<()> {
        self.run_packed(kernel, &[], head, params)
    }

    /// Launches an update like [`run`](Self::run), with packed state.
    ///
    /// # Errors
    /// See [`run`](Self::run).
    pub fn run_packed<P: Pod>(
        self,
        kernel: &'static Kernel,
        packing: &[Packing],
        head: Head,
        params: impl Fn(Head) -> P,
    ) -> Result<()> {
        let keeps = &[true; MOST_STATE][..kernel.access.len() - FIRST_STATE];
        self.prepare_and_launch(kernel, &[], (keeps, packing), head, params)
    }

    /// Launches an update like [`run`](Self::run), with override constants. `keeps` has an entry for each binding of
    /// state: whether this variant uses it. Unused bindings have no arena.
    ///
    /// # Errors
    /// See [`run`](Self::run).
    pub fn run_variant<P: Pod>(
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

    /// Launches an update like [`run`](Self::run), after [`run_chunks`](Self::run_chunks) has advanced the clock.
    ///
    /// # Errors
    /// See [`run`](Self::run).
    pub fn run_after<P: Pod>(self, kernel: &'static Kernel, head: Head, params: impl Fn(Head) -> P) -> Result<()> {
        let keeps = &[true; MOST_STATE][..kernel.access.len() - FIRST_STATE];
        self.check(kernel, keeps)?;
        self.launch(Prepared::ByLaunch, kernel, &[], (keeps, &[]), head, params)
    }

    /// Checks the arenas against each other and the kernel; `keeps` is as in [`run_variant`](Self::run_variant).
    ///
    /// # Errors
    /// If the number of arenas is not the kernel's, or layouts or devices differ.
    pub fn check(&self, kernel: &'static Kernel, keeps: &[bool]) -> Result<()> {
        self.check_packed(kernel, keeps, &[])
    }

    /// Checks like [`check`](Self::check), for packed state.
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
        let pages = Pages { self_clocked: prepared.self_clocked(), ..Pages::new(values, grads, clock, clip) };
        for (number, page) in values.pages().iter().enumerate() {
            let params = params(pages.head(head, number));
            let mut launch = match packing {
                [] => pages.over_elements(kernel, params, number, keeps),
                _ => pages.launch(kernel, params, number).workgroups(pieces(page)),
            };
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
            launch.run(page.device())?;
        }
        Ok(())
    }

    /// Launches a kernel once per page that stores two sums of squares for each chunk of each tensor. See
    /// [`segments`](super::segments).
    ///
    /// The kernel binds parameters, gradients, table, clock, the arenas that it writes, chunks and sums. It advances
    /// the clock, unless clipping has already done so.
    ///
    /// # Errors
    /// If the device has no room for the sums, or a launch fails.
    pub fn run_chunks<P: Pod>(
        &mut self,
        kernel: &'static Kernel,
        head: Head,
        written: &[Arena],
        params: impl Fn(Head, (u32, u32)) -> P,
    ) -> Result<()> {
        self.clock.lay_out(self.values)?;
        let prepared = self.clock.prepare(self.grads, self.clip, head.timing)?;
        let Self { values, grads, clock, clip, .. } = self;
        let pages = Pages { self_clocked: prepared.self_clocked(), ..Pages::new(values, grads, clock, *clip) };
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

/// The pages of a step's arenas, for methods with custom launches.
#[derive(Debug)]
pub struct Pages<'a> {
    values: &'a Arena,
    grads: &'a Arena,
    clock: &'a Clock,
    clip: Clip,
    self_clocked: bool,
}

impl<'a> Pages<'a> {
    /// Returns the pages of a step, after [`Clock::advance`] has advanced the clock.
    #[must_use]
    pub fn new(values: &'a Arena, grads: &'a Arena, clock: &'a Clock, clip: Clip) -> Self {
        Self { values, grads, clock, clip, self_clocked: false }
    }

    /// Returns the head for the launch of a page.
    #[must_use]
    pub fn head(&self, head: Head, number: usize) -> Head {
        Head {
            vectors: (self.values.pages()[number].len() / 4) as u32,
            clip_value: self.clip.value().unwrap_or(f32::MAX),
            first_row: self.clock.first_row(number).unwrap_or(0),
            ..head
        }
    }

    /// Returns a launch of a page that binds parameters, gradients, table and clock. The caller binds the state.
    ///
    /// # Panics
    /// If the page does not exist.
    #[must_use]
    pub fn launch<P: Pod>(&self, kernel: &'static Kernel, params: P, number: usize) -> Launch {
        Launch::new(kernel, params)
            .constant("SELF_CLOCKED", self.self_clocked)
            .constant("SEGMENTED", self.clock.first_row(number).is_some())
            .constant("CLIP_VALUE", self.clip.value().is_some())
            .bind(&self.values.pages()[number])
            .bind(&self.grads.pages()[number])
            .bind(self.clock.table())
            .bind(self.clock.state())
    }

    /// Returns a launch like [`launch`](Self::launch) over all elements of a page, with the text and the number of
    /// workgroups for its device. `keeps` is as in [`StepArguments::run_variant`].
    ///
    /// # Panics
    /// If the page does not exist.
    #[must_use]
    pub fn over_elements<P: Pod>(&self, kernel: &'static Kernel, params: P, number: usize, keeps: &[bool]) -> Launch {
        let page = &self.values.pages()[number];
        let in_pairs = Some(page).filter(|page| page.len() > MOST_AS_IN_HARDWARE);
        match in_pairs.and_then(|page| pairs::for_device(kernel, keeps, page.device())) {
            Some(kernel) => self.launch(kernel, params, number).workgroups(software_groups(page)),
            None => self.launch(kernel, params, number).workgroups(page.len() / HARDWARE_BLOCK),
        }
    }
}

/// The number of bindings before the state.
const FIRST_STATE: usize = 4;

/// The most arenas of state that an update binds.
pub const MOST_STATE: usize = MOST_BINDINGS - FIRST_STATE;

/// Returns the bindings of an update with this many arenas of state, at most four.
#[must_use]
pub const fn access(states: usize) -> &'static [Access] {
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

/// The number of parameters per workgroup on hardware, where more and smaller workgroups keep it busier.
const HARDWARE_BLOCK: usize = 512;

/// The fewest blocks of [`UPDATE_BLOCK`] parameters per workgroup in software, where a workgroup itself costs
/// microseconds; and the most workgroups, enough for 32 threads.
const SOFTWARE_BLOCKS: usize = 4;
const MOST_SOFTWARE_GROUPS: usize = 32;

/// The most parameters of a page that is updated as on hardware.
const MOST_AS_IN_HARDWARE: usize = 2048;

const _: () = assert!(UPDATE_BLOCK.is_multiple_of(HARDWARE_BLOCK), "pages have no tail");

/// Returns the number of workgroups for a page in software.
fn software_groups(page: &Tensor) -> usize {
    (page.len() / UPDATE_BLOCK / SOFTWARE_BLOCKS).clamp(1, MOST_SOFTWARE_GROUPS)
}

/// Returns the number of workgroups of an update of packed state, which processes pieces of [`UPDATE_BLOCK`]
/// parameters.
fn pieces(page: &Tensor) -> usize {
    if page.device().is_software() { software_groups(page) } else { page.len() / UPDATE_BLOCK }
}

/// Creates the [`variants`](crate::Kernel::variants) of an update: its constants `SELF_CLOCKED`, and `SEGMENTED` with
/// `CLIP_VALUE`, then its own constants by name.
///
/// ```
/// use thalweg_tensor::update_variants;
/// static VARIANTS: &[&[(&str, f64)]] = update_variants![0.0 0.0 "CENTERED" 0.0, 1.0 1.0 "CENTERED" 1.0,];
/// assert_eq!(VARIANTS[1][3], ("CENTERED", 1.0));
/// ```
#[macro_export]
macro_rules! update_variants {
    ($($self_clocked:literal $apart:literal $($name:literal $value:literal)*,)*) => {
        &[$(&[
            ("SELF_CLOCKED", $self_clocked),
            ("SEGMENTED", $apart),
            ("CLIP_VALUE", $apart),
            $(($name, $value),)*
        ]),*]
    };
}

/// The [`variants`](Kernel::variants) of updates without other override constants.
pub const UPDATE_VARIANTS: &[&[(&str, f64)]] = update_variants![0.0 0.0, 1.0 0.0, 0.0 1.0, 1.0 1.0,];
