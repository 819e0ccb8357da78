//! RMSProp.

use thalweg_tensor::optim::{Elements, Head, StepArguments, Timing, access};
use thalweg_tensor::{Call, Kernel, update_variants};

use super::{Capabilities, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// RMSProp, plain, centred, with momentum or both, as `torch.optim.RMSprop`:
    ///
    /// ```text
    /// g       = grad + weight_decay param
    /// square  = alpha square + (1 - alpha) g²
    /// average = alpha average + (1 - alpha) g         (centred)
    /// d       = g / (√square + eps)                   (centred: g / (√(square - average²) + eps))
    /// moment  = momentum moment + d                   (with momentum)
    /// param   = param - lr d                          (with momentum: param - lr moment)
    /// ```
    ///
    /// A difference that rounding makes negative counts as 0. Usual rate 1e-2. Optax has its epsilon inside the root, and
    /// multiplies by the learning rate before the moment. Sources: Tieleman, Hinton: Lecture 6.5 of Neural networks for machine
    /// learning (2012); Graves: Generating sequences with recurrent neural networks (2013).
    ///
    /// A step is one launch, three with clipping by the global norm. It moves 20 bytes per parameter and the state takes 4; 8 and
    /// 4 more for each of centring and momentum. In software it reaches 0.9 to 1 of a copy's bandwidth:
    /// [why](crate::Optimizer#bandwidth-in-software).
    "rmsprop" RmsProp {
        /// Decay rate of the averages.
        alpha: f64 = 0.99, fraction;
        /// Added to the root.
        eps: f64 = 1e-8, positive;
        /// The share of the moment that a step keeps; 0 needs no state.
        momentum: f64 = 0.0, fraction;
        /// Whether to divide by the deviation instead of by the root of the mean square.
        centered: bool = false;
        /// Weight decay through the gradient (L2).
        weight_decay: f64 = 0.0, not_negative;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

impl Method for RmsProp {
    method_of_settings!();

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        [("square_avg", true), ("grad_avg", self.centered), ("momentum_buffer", self.momentum != 0.0)]
            .into_iter()
            .filter(|(_, is_kept)| *is_kept)
            .map(|(name, _)| StateArena::like_parameters(name))
            .collect()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().momentum(self.momentum != 0.0)
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let (centered, with_momentum) = (self.centered, self.momentum != 0.0);
        let head = Head::new(Timing::without_betas(), self.weight_decay, self.maximize).momentum(self.momentum);
        let constants = [("CENTERED", centered), ("MOMENTUM", with_momentum)];
        Ok(step.run_variant(&RMSPROP, &constants, &[true, centered, with_momentum], head, |head| Params {
            head,
            alpha: self.alpha as f32,
            one_minus_alpha: (1.0 - self.alpha) as f32,
            eps: self.eps as f32,
        })?)
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    alpha: f32,
    one_minus_alpha: f32,
    eps: f32,
}

impl Params {
    /// Computes the direction, by the root of the mean square.
    #[inline(always)]
    fn plain(&self, grad: f32, square: &mut f32) -> f32 {
        *square = self.alpha * *square + self.one_minus_alpha * (grad * grad);
        grad / (square.sqrt() + self.eps)
    }

    /// Computes the direction, by the deviation from the average.
    #[inline(always)]
    fn centered(&self, grad: f32, square: &mut f32, average: &mut f32) -> f32 {
        *square = self.alpha * *square + self.one_minus_alpha * (grad * grad);
        *average = self.alpha * *average + self.one_minus_alpha * grad;
        let variance = *square - *average * *average;
        grad / ((if variance < 0.0 { 0.0 } else { variance }).sqrt() + self.eps)
    }
}

/// Computes the formula of [`RmsProp`], element-wise.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let forms = (call.constant("CENTERED") != 0.0, call.constant("MOMENTUM") != 0.0);
    let elements = Elements::of(call);
    match forms {
        (false, false) => elements.each(
            #[inline(always)]
            |now| now.learning_rate,
            #[inline(always)]
            move |lr, param, grad, [square]| *param -= lr * params.plain(grad, square),
        ),
        (true, false) => elements.each(
            #[inline(always)]
            |now| now.learning_rate,
            #[inline(always)]
            move |lr, param, grad, [square, average]| *param -= lr * params.centered(grad, square, average),
        ),
        (false, true) => elements.each_of(
            [0, 2],
            #[inline(always)]
            |now| (now.learning_rate, now.momentum),
            #[inline(always)]
            move |(lr, momentum), param, grad, [square, moment]| {
                *moment = momentum * *moment + params.plain(grad, square);
                *param -= lr * *moment;
            },
        ),
        (true, true) => elements.each(
            #[inline(always)]
            |now| (now.learning_rate, now.momentum),
            #[inline(always)]
            move |(lr, momentum), param, grad, [square, average, moment]| {
                *moment = momentum * *moment + params.centered(grad, square, average);
                *param -= lr * *moment;
            },
        ),
    }
}

pub(crate) static RMSPROP: Kernel = Kernel {
    shader: &thalweg_shaders::RMSPROP,
    uniform: size_of::<Params>(),
    access: access(3),
    #[rustfmt::skip]
    variants: update_variants![
        0.0 0.0 "CENTERED" 0.0 "MOMENTUM" 0.0,
        1.0 0.0 "CENTERED" 0.0 "MOMENTUM" 0.0,
        0.0 1.0 "CENTERED" 0.0 "MOMENTUM" 0.0,
        1.0 1.0 "CENTERED" 0.0 "MOMENTUM" 0.0,
        0.0 0.0 "CENTERED" 0.0 "MOMENTUM" 1.0,
        1.0 0.0 "CENTERED" 0.0 "MOMENTUM" 1.0,
        0.0 1.0 "CENTERED" 0.0 "MOMENTUM" 1.0,
        1.0 1.0 "CENTERED" 0.0 "MOMENTUM" 1.0,
        0.0 0.0 "CENTERED" 1.0 "MOMENTUM" 0.0,
        1.0 0.0 "CENTERED" 1.0 "MOMENTUM" 0.0,
        0.0 1.0 "CENTERED" 1.0 "MOMENTUM" 0.0,
        1.0 1.0 "CENTERED" 1.0 "MOMENTUM" 0.0,
        0.0 0.0 "CENTERED" 1.0 "MOMENTUM" 1.0,
        1.0 0.0 "CENTERED" 1.0 "MOMENTUM" 1.0,
        0.0 1.0 "CENTERED" 1.0 "MOMENTUM" 1.0,
        1.0 1.0 "CENTERED" 1.0 "MOMENTUM" 1.0,
    ],
    twin,
};
