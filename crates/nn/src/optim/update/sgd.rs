//! Stochastic gradient descent without momentum in one launch.

use thalweg_tensor::Result;
use thalweg_tensor::optim::Elements;
use thalweg_tensor::optim::Timing;
use thalweg_tensor::optim::{Head, StepArguments, UPDATE_VARIANTS, Update, access};
use thalweg_tensor::{Call, Kernel};

/// One step of stochastic gradient descent (Robbins, Monro 1951):
///
/// ```text
/// g     = clip_factor grad                        (-g where maximize), + weight_decay param
/// param = param - lr g
/// ```
///
/// as `torch.optim.SGD` computes it without momentum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdUpdate {
    /// Weight decay, through the gradient.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl Update for SgdUpdate {
    fn state_count(&self) -> usize {
        0
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::without_betas(), self.weight_decay, self.maximize);
        step.run(&SGD, head, |head| head)
    }
}

/// The formula of [`SgdUpdate`], element by element.
fn twin(call: Call<'_>) {
    Elements::of(call).each(
        #[inline(always)]
        |now| now.learning_rate,
        #[inline(always)]
        move |lr, param, grad, []| *param -= lr * grad,
    );
}

pub(crate) static SGD: Kernel = Kernel {
    shader: &thalweg_shaders::SGD,
    uniform: size_of::<Head>(),
    access: access(0),
    variants: UPDATE_VARIANTS,
    twin,
};
