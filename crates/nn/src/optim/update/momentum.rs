//! Stochastic gradient descent with momentum in one launch.

use thalweg_tensor::Result;
use thalweg_tensor::optim::Elements;
use thalweg_tensor::optim::Timing;
use thalweg_tensor::optim::{Head, StepArguments, UPDATE_VARIANTS, Update, access};
use thalweg_tensor::{Call, Kernel};

/// One step of stochastic gradient descent with momentum (Polyak 1964), or Nesterov's (1983; Sutskever et al. 2013):
///
/// ```text
/// g      = clip_factor grad                       (-g where maximize), + weight_decay param
/// moment = momentum moment + (1 - dampening) g    (at the first step: g)
/// param  = param - lr moment                      (Nesterov: param - lr (g + momentum moment))
/// ```
///
/// as `torch.optim.SGD` computes it. State: the moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MomentumUpdate {
    /// What is kept of the moment from step to step.
    pub momentum: f64,
    /// What the gradient is lessened by on its way into the moment.
    pub dampening: f64,
    /// Weight decay, through the gradient.
    pub weight_decay: f64,
    /// Whether to look ahead by Nesterov's rule.
    pub nesterov: bool,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl Update for MomentumUpdate {
    fn state_count(&self) -> usize {
        1
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::without_betas(), self.weight_decay, self.maximize).momentum(self.momentum);
        step.run(&MOMENTUM, head, |head| Params {
            head,
            undamped: (1.0 - self.dampening) as f32,
            nesterov: self.nesterov.into(),
        })
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    /// 1 - dampening, which would lose digits in f32.
    undamped: f32,
    nesterov: u32,
}

/// The formula of [`MomentumUpdate`], element by element.
fn twin(call: Call<'_>) {
    let Params { undamped, nesterov, .. } = call.params();
    let nesterov = nesterov != 0;
    Elements::of(call).each(
        #[inline(always)]
        |now| (now.momentum, now.learning_rate, if now.step == 1 { 1.0 } else { undamped }),
        #[inline(always)]
        move |(momentum, lr, undamped), param, grad, [moment]| {
            *moment = momentum * *moment + undamped * grad;
            let direction = if nesterov { grad + momentum * *moment } else { *moment };
            *param -= lr * direction;
        },
    );
}

pub(crate) static MOMENTUM: Kernel = Kernel {
    shader: &thalweg_shaders::MOMENTUM,
    uniform: size_of::<Params>(),
    access: access(1),
    variants: UPDATE_VARIANTS,
    twin,
};
