//! AdaBelief in one launch.

use thalweg_tensor::Result;
use thalweg_tensor::optim::Elements;
use thalweg_tensor::optim::Timing;
use thalweg_tensor::optim::{Decay, Head, StepArguments, UPDATE_VARIANTS, Update, access};
use thalweg_tensor::{Call, Kernel};

/// One step of AdaBelief (Zhuang et al. 2020):
///
/// ```text
/// g       = clip_factor grad                      (-g where maximize)
/// param   = (1 - lr weight_decay) param
/// moment1 = beta1 moment1 + (1 - beta1) g
/// belief  = beta2 belief + (1 - beta2) (g - moment1)² + eps_root
/// param   = param - lr / (1 - beta1ᵗ) moment1 / (√belief / √(1 - beta2ᵗ) + eps)
/// ```
///
/// as `optax.adabelief` computes it. State: the first moment and the belief.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaBeliefUpdate {
    /// Decay rates of the first and the second moment.
    pub betas: (f64, f64),
    /// Added to the root.
    pub eps: f64,
    /// Added to the average at every step.
    pub eps_root: f64,
    /// Weight decay, decoupled.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl Update for AdaBeliefUpdate {
    fn state_count(&self) -> usize {
        2
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::of_betas(self.betas), self.weight_decay, self.maximize).momentum(self.betas.0);
        step.run(&ADABELIEF, head.decay(Decay::Decoupled), |head| Params {
            head,
            beta2: self.betas.1 as f32,
            eps: self.eps as f32,
            eps_root: self.eps_root as f32,
        })
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    beta2: f32,
    eps: f32,
    eps_root: f32,
}

/// The formula of [`AdaBeliefUpdate`], element by element.
fn twin(call: Call<'_>) {
    let Params { head, beta2, eps, eps_root } = call.params();
    let one_minus_beta2 = head.one_minus_beta2();
    Elements::of(call).each(
        #[inline(always)]
        |now| (now.momentum, now.one_minus_momentum, now.moment_factors()),
        #[inline(always)]
        move |(beta1, one_minus_beta1, (step_size, inverse_root)), param, grad, [m, belief]| {
            *m = beta1 * *m + one_minus_beta1 * grad;
            let surprise = grad - *m;
            *belief = beta2 * *belief + one_minus_beta2 * (surprise * surprise) + eps_root;
            *param -= step_size * (*m / (belief.sqrt() * inverse_root + eps));
        },
    );
}

pub(crate) static ADABELIEF: Kernel = Kernel {
    shader: &thalweg_shaders::ADABELIEF,
    uniform: size_of::<Params>(),
    access: access(2),
    variants: UPDATE_VARIANTS,
    twin,
};
