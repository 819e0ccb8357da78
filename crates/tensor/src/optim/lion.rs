//! Lion in one launch.

use super::clock::Timing;
use super::update::{Elements, Head, Launches, UPDATE_VARIANTS, Update, access, sign};
use crate::Result;
use crate::kernel::{Call, Kernel};

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

    fn launch(&self, step: Launches<'_>) -> Result<()> {
        let head = Head::new(Timing::of_betas(self.betas), 0.0, self.maximize);
        step.run(&LION, head, |head| Params {
            head,
            beta1: self.betas.0 as f32,
            beta2: self.betas.1 as f32,
            weight_decay: self.weight_decay as f32,
        })
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    beta1: f32,
    beta2: f32,
    weight_decay: f32,
}

/// The formula of [`LionUpdate`], element by element.
fn twin(call: Call<'_>) {
    let Params { head, beta1, beta2, weight_decay } = call.params();
    let (one_minus_beta1, one_minus_beta2) = head.one_minus_betas();
    let elements = Elements::of(call);
    let lr = elements.now.learning_rate;
    elements.each(
        #[inline(always)]
        move |param, grad, [moment]| {
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
