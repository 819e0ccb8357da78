//! RMSProp in one launch.

use thalweg_tensor::Result;
use thalweg_tensor::optim::Elements;
use thalweg_tensor::optim::Timing;
use thalweg_tensor::optim::{Head, StepArguments, Update, access};
use thalweg_tensor::{Call, Kernel, update_variants};

/// One step of RMSProp (Tieleman, Hinton 2012), plain, centred (Graves 2013), with momentum or both:
///
/// ```text
/// g       = clip_factor grad                      (-g where maximize), + weight_decay param
/// square  = alpha square + (1 - alpha) g²
/// average = alpha average + (1 - alpha) g         (centred)
/// d       = g / (√square + eps)                   (centred: g / (√(square - average²) + eps))
/// moment  = momentum moment + d                   (with momentum)
/// param   = param - lr d                          (with momentum: param - lr moment)
/// ```
///
/// as `torch.optim.RMSprop` computes it: epsilon outside of the root, where optax has it inside. A difference that
/// rounding would make negative is 0. State: the squares, the averages where centred, the moment where there is momentum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RmsPropUpdate {
    /// Decay rate of the averages.
    pub alpha: f64,
    /// Added to the root.
    pub eps: f64,
    /// What is kept of the moment from step to step; 0 keeps none.
    pub momentum: f64,
    /// Whether to divide by the deviation rather than by the root of the mean square.
    pub centered: bool,
    /// Weight decay, through the gradient.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl Update for RmsPropUpdate {
    fn state_count(&self) -> usize {
        1 + usize::from(self.centered) + usize::from(self.momentum != 0.0)
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let (centered, with_momentum) = (self.centered, self.momentum != 0.0);
        let head = Head::new(Timing::without_betas(), self.weight_decay, self.maximize).momentum(self.momentum);
        let constants = [("CENTERED", centered), ("MOMENTUM", with_momentum)];
        step.run_variant(&RMSPROP, &constants, &[true, centered, with_momentum], head, |head| Params {
            head,
            alpha: self.alpha as f32,
            one_minus_alpha: (1.0 - self.alpha) as f32,
            eps: self.eps as f32,
        })
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
    /// The direction, by the root of the mean square.
    #[inline(always)]
    fn plain(&self, grad: f32, square: &mut f32) -> f32 {
        *square = self.alpha * *square + self.one_minus_alpha * (grad * grad);
        grad / (square.sqrt() + self.eps)
    }

    /// The direction, by the deviation from the average.
    #[inline(always)]
    fn centered(&self, grad: f32, square: &mut f32, average: &mut f32) -> f32 {
        *square = self.alpha * *square + self.one_minus_alpha * (grad * grad);
        *average = self.alpha * *average + self.one_minus_alpha * grad;
        let variance = *square - *average * *average;
        grad / ((if variance < 0.0 { 0.0 } else { variance }).sqrt() + self.eps)
    }
}

/// The formula of [`RmsPropUpdate`], element by element.
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
