//! AdaGrad in one launch.

use thalweg_tensor::Result;
use thalweg_tensor::optim::Elements;
use thalweg_tensor::optim::Timing;
use thalweg_tensor::optim::{Head, StepArguments, UPDATE_VARIANTS, Update, access};
use thalweg_tensor::{Call, Kernel};

/// One step of AdaGrad (Duchi, Hazan, Singer 2011):
///
/// ```text
/// g     = clip_factor grad                        (-g where maximize), + weight_decay param
/// sum   = sum + g²                                (at first: initial_accumulator_value)
/// param = param - lr / (1 + (t - 1) lr_decay) g / (√sum + eps)
/// ```
///
/// as `torch.optim.Adagrad` computes it: epsilon outside of the root, where optax has it inside. State: the sum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdagradUpdate {
    /// How fast the learning rate falls with the steps.
    pub lr_decay: f64,
    /// Where the sum begins.
    pub initial_accumulator_value: f64,
    /// Added to the root of the sum.
    pub eps: f64,
    /// Weight decay, through the gradient.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl Update for AdagradUpdate {
    fn state_count(&self) -> usize {
        1
    }

    fn initial_state(&self, _number: usize) -> f32 {
        self.initial_accumulator_value as f32
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::without_betas(), self.weight_decay, self.maximize);
        step.run(&ADAGRAD, head, |head| Params { head, lr_decay: self.lr_decay as f32, eps: self.eps as f32 })
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    lr_decay: f32,
    eps: f32,
}

/// The formula of [`AdagradUpdate`], element by element.
fn twin(call: Call<'_>) {
    let Params { lr_decay, eps, .. } = call.params();
    Elements::of(call).each(
        #[inline(always)]
        |now| {
            // The number of steps is held in u32; as f32 it is exact up to 16 million and rounded to 24 bits from there on.
            now.learning_rate / (1.0 + (now.step - 1) as f32 * lr_decay)
        },
        #[inline(always)]
        move |step_size, param, grad, [sum]| {
            *sum += grad * grad;
            *param -= step_size * (grad / (sum.sqrt() + eps));
        },
    );
}

pub(crate) static ADAGRAD: Kernel = Kernel {
    shader: &thalweg_shaders::ADAGRAD,
    uniform: size_of::<Params>(),
    access: access(1),
    variants: UPDATE_VARIANTS,
    twin,
};
