//! AdaDelta in one launch.

use thalweg_tensor::Result;
use thalweg_tensor::optim::Elements;
use thalweg_tensor::optim::Timing;
use thalweg_tensor::optim::{Head, StepArguments, UPDATE_VARIANTS, Update, access};
use thalweg_tensor::{Call, Kernel};

/// One step of AdaDelta (Zeiler 2012):
///
/// ```text
/// g      = clip_factor grad                       (-g where maximize), + weight_decay param
/// square = rho square + (1 - rho) g²
/// d      = √(delta + eps) / √(square + eps) g
/// delta  = rho delta + (1 - rho) d²
/// param  = param - lr d
/// ```
///
/// as `torch.optim.Adadelta` computes it. State: the mean squares of gradients and of changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdadeltaUpdate {
    /// Decay rate of both averages.
    pub rho: f64,
    /// Added inside of both roots.
    pub eps: f64,
    /// Weight decay, through the gradient.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl Update for AdadeltaUpdate {
    fn state_count(&self) -> usize {
        2
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::without_betas(), self.weight_decay, self.maximize);
        step.run(&ADADELTA, head, |head| Params {
            head,
            rho: self.rho as f32,
            one_minus_rho: (1.0 - self.rho) as f32,
            eps: self.eps as f32,
        })
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    rho: f32,
    one_minus_rho: f32,
    eps: f32,
}

/// The formula of [`AdadeltaUpdate`], element by element.
fn twin(call: Call<'_>) {
    let Params { rho, one_minus_rho, eps, .. } = call.params();
    Elements::of(call).each(
        #[inline(always)]
        |now| now.learning_rate,
        #[inline(always)]
        move |lr, param, grad, [square, delta]| {
            *square = rho * *square + one_minus_rho * (grad * grad);
            let change = (*delta + eps).sqrt() / (*square + eps).sqrt() * grad;
            *delta = rho * *delta + one_minus_rho * (change * change);
            *param -= lr * change;
        },
    );
}

pub(crate) static ADADELTA: Kernel = Kernel {
    shader: &thalweg_shaders::ADADELTA,
    uniform: size_of::<Params>(),
    access: access(2),
    variants: UPDATE_VARIANTS,
    twin,
};
