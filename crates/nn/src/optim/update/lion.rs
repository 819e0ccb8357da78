//! Lion in one launch.

use thalweg_tensor::Result;
use thalweg_tensor::optim::Timing;
use thalweg_tensor::optim::{Decay, Head, StepArguments, UPDATE_VARIANTS, Update, access};
use thalweg_tensor::optim::{Elements, sign};
use thalweg_tensor::{Call, Kernel};

/// One step of Lion (Chen et al. 2023):
///
/// ```text
/// g      = clip_factor grad                       (-g where maximize)
/// u      = sign(beta1 moment + (1 - beta1) g)
/// moment = beta2 moment + (1 - beta2) g
/// param  = param - lr (u + weight_decay param)
/// ```
///
/// as `optax.lion` computes it. State: the moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LionUpdate {
    /// What the moment has of the direction, and its decay rate.
    pub betas: (f64, f64),
    /// Weight decay, decoupled.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl Update for LionUpdate {
    fn state_count(&self) -> usize {
        1
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::of_betas(self.betas), self.weight_decay, self.maximize)
            .decay(Decay::ByRule)
            .momentum(self.betas.0);
        step.run(&LION, head, |head| Params { head, beta2: self.betas.1 as f32 })
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    beta2: f32,
}

/// The formula of [`LionUpdate`], element by element.
fn twin(call: Call<'_>) {
    let Params { head, beta2 } = call.params();
    let one_minus_beta2 = head.one_minus_beta2();
    Elements::of(call).each(
        #[inline(always)]
        |now| (now.momentum, now.one_minus_momentum, now.learning_rate, now.weight_decay),
        #[inline(always)]
        move |(beta1, one_minus_beta1, lr, weight_decay), param, grad, [moment]| {
            let direction = sign(beta1 * *moment + one_minus_beta1 * grad);
            *moment = beta2 * *moment + one_minus_beta2 * grad;
            *param -= lr * (direction + weight_decay * *param);
        },
    );
}

pub(crate) static LION: Kernel = Kernel {
    shader: &thalweg_shaders::LION,
    uniform: size_of::<Params>(),
    access: access(1),
    variants: UPDATE_VARIANTS,
    twin,
};
