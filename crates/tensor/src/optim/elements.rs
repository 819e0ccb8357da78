//! The loops of the twins of updates: the time of each parameter, and gradients as used by methods. Twin of
//! `shaders/shared/update.wgsl` and `shaders/shared/elements.wgsl`.

use super::table::{ROW_ELEMENTS, Row};
use super::time::{ClockWords, Now, current_time};
use super::update::{Decay, Head, MOST_STATE};
use crate::kernel::{Call, Slice};
use crate::threads::{for_each_block, for_each_chunks_beside};

/// The common part of a launch over parameters, for its twin.
#[derive(Debug)]
pub struct Parts<'a> {
    pub(super) now: Now,
    pub(super) head: Head,
    /// The rows of this page's parameters, if they have rows.
    pub(super) rows: Option<&'a [Row]>,
    pub(super) clip_value: Option<f32>,
    pub(super) clock: (&'a mut ClockWords, ClockWords),
    pub(super) values: &'a mut [f32],
    pub(super) grads: &'a [f32],
}

/// The words of an arena of state that belong to each group of parameters.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// The index of the arena among the bindings of state, from 0.
    pub place: usize,
    /// The first word of the first group.
    pub start: usize,
    /// The number of words of a group.
    pub words: usize,
}

/// The time and the gradients of a page, block by block.
#[derive(Debug)]
pub struct Time<'a> {
    /// The time of parameters that have no row.
    pub now: Now,
    head: Head,
    rows: Option<&'a [Row]>,
    clip_value: Option<f32>,
    grads: &'a [f32],
}

/// 64 parameters of one tensor, with their gradients and their time.
#[derive(Debug)]
pub struct Block<'a> {
    /// The time of these parameters.
    pub now: Now,
    /// The parameters, after decoupled weight decay.
    pub values: &'a mut [f32; ROW_ELEMENTS],
    /// Their gradients: clipped, negated if the method maximizes, and with coupled weight decay.
    pub grads: [f32; ROW_ELEMENTS],
}

impl Time<'_> {
    /// Returns the block with this number; `None` if it is frozen.
    #[inline(always)]
    pub fn block<'v>(&self, number: usize, values: &'v mut [f32]) -> Option<Block<'v>> {
        let now = self.rows.map_or(Some(self.now), |rows| of_row(rows[number], &self.now))?;
        let values = values.first_chunk_mut()?;
        let grads = ready(&now, self.head, self.clip_value, values, &self.grads[number * ROW_ELEMENTS..]);
        Some(Block { now, values, grads })
    }
}

impl<'a> Parts<'a> {
    /// Splits a call into the common part and the bindings after the clock.
    #[must_use]
    pub fn of(call: Call<'a>) -> (Self, [Slice<'a>; MOST_STATE]) {
        let head: Head = bytemuck::pod_read_unaligned(&call.param_bytes()[..size_of::<Head>()]);
        let self_clocked = call.constant("SELF_CLOCKED") != 0.0;
        let is_segmented = call.constant("SEGMENTED") != 0.0;
        let clip_value = (call.constant("CLIP_VALUE") != 0.0).then_some(head.clip_value);
        let [values, grads, table, clock, state @ ..] = call.slices();
        let values = values.write::<f32>();
        let table: &[Row] = bytemuck::cast_slice(table.read::<f32>());
        let clock: &mut ClockWords = bytemuck::from_bytes_mut(bytemuck::cast_slice_mut(clock.write::<u32>()));
        let (now, next) = current_time(clock, table, head.timing, (head.weight_decay, head.momentum), self_clocked);
        let rows = is_segmented.then(|| &table[head.first_row as usize..][..values.len() / ROW_ELEMENTS]);
        (Self { now, head, rows, clip_value, clock: (clock, next), values, grads: grads.read() }, state)
    }
}

/// A launch of an update, for its twin.
#[derive(Debug)]
pub struct Elements<'a> {
    parts: Parts<'a>,
    state: [Slice<'a>; MOST_STATE],
}

impl<'a> Elements<'a> {
    /// Returns the launch of a call, at the time of its step.
    #[must_use]
    pub fn of(call: Call<'a>) -> Self {
        let (parts, state) = Parts::of(call);
        Self { parts, state }
    }

    /// Returns the number of this step, from 1.
    #[must_use]
    pub fn step(&self) -> u32 {
        self.parts.now.step
    }

    /// Applies a rule to every parameter, its gradient and its state, and stores the clock. A skipped step applies no
    /// rule.
    ///
    /// `factors` computes the numbers common to all parameters with the same time. The gradient passed to the rule is
    /// clipped, negated if the method maximizes, and has coupled weight decay. The parameter has had decoupled weight
    /// decay.
    #[inline(always)]
    pub fn each<const N: usize, F: Copy + Sync>(
        self,
        factors: impl Fn(&Now) -> F,
        rule: impl Fn(F, &mut f32, f32, [&mut f32; N]) + Copy + Sync,
    ) where
        for<'s> [&'s mut [f32]; N]: Rows<N>,
    {
        self.each_of(std::array::from_fn(|number| number), factors, rule);
    }

    /// Takes the arena of state at this index, which the kernel only reads.
    pub fn read(&mut self, place: usize) -> &'a [f32] {
        std::mem::replace(&mut self.state[place], Slice::Read(&[])).read()
    }

    /// Applies a rule to each group of `length` parameters, a multiple of 64, and stores the clock.
    ///
    /// The arguments of the rule are the number of the group, its parameters, their time, and the words of the group
    /// in each arena of `spans`. [`Time::block`] returns the blocks.
    ///
    /// # Panics
    /// If `spans` contains an index twice.
    pub fn each_group<const N: usize>(
        self,
        length: usize,
        spans: [Span; N],
        rule: impl Fn(usize, &mut [f32], &Time<'_>, [&mut [u32]; N]) + Sync,
    ) {
        let Self { parts: Parts { now, head, rows, clip_value, clock, values, grads }, state } = self;
        // A NaN spreads if it is not checked.
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

    /// Applies a rule like [`each`](Self::each), to the state at these indices.
    ///
    /// # Panics
    /// If an index occurs twice.
    #[inline(always)]
    pub fn each_of<const N: usize, F: Copy + Sync>(
        self,
        places: [usize; N],
        factors: impl Fn(&Now) -> F,
        rule: impl Fn(F, &mut f32, f32, [&mut f32; N]) + Copy + Sync,
    ) where
        for<'s> [&'s mut [f32]; N]: Rows<N>,
    {
        let Self { parts: Parts { now, head, rows, clip_value, clock, values, grads }, state } = self;
        // A NaN spreads if it is not checked.
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

/// Returns the lengths of the pieces in which parameters are processed, with the time of each; `None` if they are
/// frozen. Twin of `time_of` in WGSL.
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

/// Returns the time of the parameters of a row; `None` if they are frozen.
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

/// Returns the gradients of a block for its rule, and applies decoupled decay to the parameters.
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

/// Returns an element of the gradient, clamped; a NaN propagates.
#[inline(always)]
pub(super) fn clipped(grad: f32, most: f32) -> f32 {
    let grad = if grad > most { most } else { grad };
    if grad < -most { -most } else { grad }
}

/// Values common to all elements with one time, by the rules that all methods share. Twin of `Step` in WGSL.
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

impl Head {
    /// Returns the function from a raw gradient and its parameter to the gradient for a rule: clipped, negated if the
    /// method maximizes, with coupled weight decay.
    #[inline(always)]
    pub fn gradient(self, now: &Now, clip_value: Option<f32>) -> impl Fn(f32, f32) -> f32 + Copy + use<> {
        let shared = Shared::of(now, self);
        move |grad, value| shared.gradient(value, clip_value.map_or(grad, |most| clipped(grad, most)))
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
    // Loop invariants are moved into each piece. Behind a reference a compiler must assume that they change, and
    // would not vectorize the loop.
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

/// Returns 1, -1 or 0; a NaN propagates, as in PyTorch. Twin of `sign_of` in `shaders/shared/update.wgsl`.
#[inline(always)]
#[must_use]
pub fn sign(x: f32) -> f32 {
    let flat = if x.is_nan() { x } else { 0.0 };
    let negative = if x < 0.0 { -1.0 } else { flat };
    if x > 0.0 { 1.0 } else { negative }
}

/// Up to four slices of state, processed element by element.
pub trait Rows<const N: usize> {
    /// Calls `rule` with each value, its gradient and its state.
    fn each(self, values: &mut [f32], grads: &[f32], rule: impl Fn(&mut f32, f32, [&mut f32; N]));
}

/// Implements it for these numbers of slices. They are passed as separate arguments, which a compiler can assume not
/// to overlap; otherwise it would not vectorize the loop.
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
