//! Averaged stochastic gradient descent in one launch.

use thalweg_tensor::Result;
use thalweg_tensor::optim::Elements;
use thalweg_tensor::optim::Timing;
use thalweg_tensor::optim::{Head, StepArguments, UPDATE_VARIANTS, Update, access};
use thalweg_tensor::{Call, Kernel};

/// One step of averaged stochastic gradient descent (Polyak, Juditsky 1992):
///
/// ```text
/// g     = clip_factor grad                        (-g where maximize), + weight_decay param
/// eta   = lr / (1 + lambd lr (t - 1))^alpha,    mu = 1 / max(1, t - 1 - t0)
/// param = param - eta (g + lambd param)
/// ax    = ax + mu (param - ax)
/// ```
///
/// as `torch.optim.ASGD` computes it. State: the averages ax.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AsgdUpdate {
    /// Decay of the parameters, and of the learning rate.
    pub lambd: f64,
    /// The power by which the learning rate falls.
    pub alpha: f64,
    /// The step from which on parameters are averaged.
    pub t0: f64,
    /// Weight decay, through the gradient.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl Update for AsgdUpdate {
    fn state_count(&self) -> usize {
        1
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::without_betas(), self.weight_decay, self.maximize);
        step.run(&ASGD, head, |head| Params {
            head,
            lambd: self.lambd as f32,
            alpha: self.alpha as f32,
            t0: self.t0 as f32,
        })
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    lambd: f32,
    alpha: f32,
    t0: f32,
}

/// The formula of [`AsgdUpdate`], element by element.
fn twin(call: Call<'_>) {
    let Params { lambd, alpha, t0, .. } = call.params();
    Elements::of(call).each(
        #[inline(always)]
        |now| {
            let (lr, before) = (now.learning_rate, (now.step - 1) as f32);
            (lr * (-alpha * (lambd * lr * before).ln_1p()).exp(), 1.0 / (before - t0).max(1.0))
        },
        #[inline(always)]
        move |(eta, mu), param, grad, [average]| {
            *param -= eta * (grad + lambd * *param);
            *average = if mu == 1.0 { *param } else { *average + (*param - *average) * mu };
        },
    );
}

pub(crate) static ASGD: Kernel = Kernel {
    shader: &thalweg_shaders::ASGD,
    uniform: size_of::<Params>(),
    access: access(1),
    variants: UPDATE_VARIANTS,
    twin,
};
