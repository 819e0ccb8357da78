//! What all element-wise updates share: how they are launched on the pages of an arena, and how their twins go through
//! it. Twin of `shaders/shared/update.wgsl`.

use std::fmt::Debug;

use bytemuck::{Pod, Zeroable};

use super::clock::{Clock, ClockWords, Timing, current_time};
use crate::arena::{Arena, UPDATE_BLOCK};
use crate::kernel::{Access, Call, Kernel, Launch, MOST_BINDINGS, Slice};
use crate::parallel::for_each_chunks_beside;
use crate::{Error, Result, Tensor};

/// A method of optimization that goes element by element, fused: one launch takes a whole arena of parameters one step
/// further.
pub trait Update: Debug + Send + Sync {
    /// The number of arenas that it keeps from step to step beside the parameters. An element moves
    /// 12 + 8 `state_count` bytes: parameter, gradient and state in, all but the gradient out.
    fn state_count(&self) -> usize;

    /// What fills each of these arenas before the first step; their padding stays zero.
    fn initial_state(&self, _number: usize) -> f32 {
        0.0
    }

    /// Hands the launches of a step to the device.
    #[doc(hidden)]
    fn launch(&self, step: Launches<'_>) -> Result<()>;

    /// Takes all parameters one step further: one launch a page, and two before it where `max_norm` clips.
    ///
    /// # Errors
    /// Where the arenas have different layouts or are not as many as `state_count`, or `max_norm` is not greater than 0.
    fn step(
        &self,
        values: &Arena,
        grads: &Arena,
        state: &[Arena],
        clock: &mut Clock,
        max_norm: Option<f64>,
    ) -> Result<()> {
        self.launch(Launches { values, grads, state, clock, max_norm })
    }
}

/// What a step works on.
#[derive(Debug)]
pub struct Launches<'a> {
    values: &'a Arena,
    grads: &'a Arena,
    state: &'a [Arena],
    clock: &'a mut Clock,
    max_norm: Option<f64>,
}

/// The beginning of every update's parameters. Twin of `Timing` and `Settings` in WGSL.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Head {
    timing: Timing,
    weight_decay: f32,
    decoupled: u32,
    maximize: u32,
    vectors: u32,
}

impl Head {
    /// For a method whose weight decay goes through the gradient.
    pub(super) fn new(timing: Timing, weight_decay: f64, maximize: bool) -> Self {
        Self { timing, weight_decay: weight_decay as f32, decoupled: 0, maximize: maximize.into(), vectors: 0 }
    }

    /// Whether weights decay by themselves.
    pub(super) fn decoupled(self, decoupled: bool) -> Self {
        Self { decoupled: decoupled.into(), ..self }
    }

    /// The rate of what a method keeps in the clock beside the bias corrections.
    pub(super) fn extra_rate(&self) -> f32 {
        self.timing.extra_rate
    }

    /// 1 - beta for the first and the second moment.
    pub(super) fn one_minus_betas(&self) -> (f32, f32) {
        (self.timing.one_minus_beta1, self.timing.one_minus_beta2)
    }
}

impl Launches<'_> {
    /// Launches an update that binds all of its state.
    pub(super) fn run<P: Pod>(self, kernel: &'static Kernel, head: Head, params: impl Fn(Head) -> P) -> Result<()> {
        self.run_variant(kernel, &[], &[true; MOST_STATE][..kernel.access.len() - FIRST_STATE], head, params)
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
        let Self { values, grads, state, clock, max_norm } = self;
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
        state.iter().try_for_each(|arena| values.same_layout(kernel.name(), &[arena]))?;
        let prepared = clock.prepare(grads, max_norm, head.timing)?;
        for (number, page) in values.pages().iter().enumerate() {
            let (sequential, workgroups) = grid(page);
            let mut launch = Launch::new(kernel, params(Head { vectors: (page.len() / 4) as u32, ..head }))
                .constant("SEQUENTIAL", sequential)
                .constant("SELF_CLOCKED", prepared.self_clocked());
            for (name, value) in constants {
                launch = launch.constant(name, *value);
            }
            launch = launch.bind(page).bind(&grads.pages()[number]).bind(clock.learning_rates()).bind(clock.state());
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
}

/// Where the state begins in the bindings of an update, and the most arenas of it.
const FIRST_STATE: usize = 4;
const MOST_STATE: usize = MOST_BINDINGS - FIRST_STATE;

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

/// Whether lanes take vectors in a row, and the number of workgroups.
fn grid(page: &Tensor) -> (bool, usize) {
    let blocks = page.len() / UPDATE_BLOCK;
    let folded = blocks > page.device().max_workgroups_per_dimension();
    let sequential = page.device().is_software() && page.len() >= LEAST_SEQUENTIAL && !folded;
    (sequential, if sequential { blocks } else { page.len() / HARDWARE_BLOCK })
}

/// The sets of override constants of updates that have none of their own.
pub(super) const UPDATE_VARIANTS: &[&[(&str, f64)]] = &[
    &[("SELF_CLOCKED", 0.0), ("SEQUENTIAL", 0.0)],
    &[("SELF_CLOCKED", 1.0), ("SEQUENTIAL", 0.0)],
    &[("SELF_CLOCKED", 0.0), ("SEQUENTIAL", 1.0)],
    &[("SELF_CLOCKED", 1.0), ("SEQUENTIAL", 1.0)],
];

/// A launch as the twin of an update sees it.
pub(super) struct Elements<'a> {
    /// The time of this step; `step` counts it.
    pub(super) now: ClockWords,
    head: Head,
    clock: &'a mut ClockWords,
    values: &'a mut [f32],
    grads: &'a [f32],
    state: [Slice<'a>; MOST_STATE],
}

impl<'a> Elements<'a> {
    /// The launch, at the time of its step.
    pub(super) fn of(call: Call<'a>) -> Self {
        let head: Head = bytemuck::pod_read_unaligned(&call.params[..size_of::<Head>()]);
        let self_clocked = call.constant("SELF_CLOCKED") != 0.0;
        let [values, grads, rates, clock, state @ ..] = call.slices;
        let clock: &mut ClockWords = bytemuck::from_bytes_mut(bytemuck::cast_slice_mut(clock.write::<u32>()));
        let now = current_time(clock, rates.read(), head.timing, self_clocked);
        Self { now, head, clock, values: values.write(), grads: grads.read(), state }
    }

    /// Applies a rule to every parameter, its gradient and its state, unless the step is to be skipped, and keeps the
    /// clock. The gradient is clipped, turned around and decayed as the settings say; of the parameter decoupled decay
    /// has taken its share.
    #[inline(always)]
    pub(super) fn each<const N: usize>(self, rule: impl Fn(&mut f32, f32, [&mut f32; N]) + Copy + Sync)
    where
        for<'s> [&'s mut [f32]; N]: Rows<N>,
    {
        self.each_of(std::array::from_fn(|number| number), rule);
    }

    /// As [`each`](Self::each), of the state at these places.
    #[inline(always)]
    pub(super) fn each_of<const N: usize>(
        self,
        places: [usize; N],
        rule: impl Fn(&mut f32, f32, [&mut f32; N]) + Copy + Sync,
    ) where
        for<'s> [&'s mut [f32]; N]: Rows<N>,
    {
        let Self { now, head, clock, values, grads, state } = self;
        if now.clip_factor >= 0.0 {
            let sign = if head.maximize != 0 { -1.0 } else { 1.0 };
            let decoupled = head.decoupled != 0;
            let kept = if decoupled { 1.0 - now.learning_rate * head.weight_decay } else { 1.0 };
            let coupled_decay = if decoupled { 0.0 } else { head.weight_decay };
            let mut state = state.map(Some);
            let state = places.map(|place| {
                state[place].take().unwrap_or_else(|| unreachable!("places are taken once")).write::<f32>()
            });
            let clip_factor = now.clip_factor;
            // What does not change from element to element is moved into each piece: behind a reference it might for
            // all that a compiler knows, and the loop would not be turned into vectors.
            for_each_chunks_beside(
                values,
                state,
                #[inline(always)]
                move |start, values, state| {
                    state.each(
                        values,
                        &grads[start..],
                        #[inline(always)]
                        move |value, grad, state| {
                            let grad = sign * (grad * clip_factor) + coupled_decay * *value;
                            *value *= kept;
                            rule(value, grad, state);
                        },
                    );
                },
            );
        }
        *clock = now;
    }
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
