//! Rprop in one launch.

use thalweg_tensor::Result;
use thalweg_tensor::optim::Timing;
use thalweg_tensor::optim::{Elements, sign};
use thalweg_tensor::optim::{Head, StepArguments, UPDATE_VARIANTS, Update, access};
use thalweg_tensor::{Call, Kernel};

/// One step of Rprop (Riedmiller, Braun 1993):
///
/// ```text
/// g     = clip_factor grad                        (-g where maximize)
/// s     = sign(g prev)
/// size  = clamp(size (etas.1 where s > 0, etas.0 where s < 0), step_sizes)
/// g     = 0 where s < 0
/// param = param - size sign(g),    prev = g
/// ```
///
/// as `torch.optim.Rprop` computes it. State: the gradients before, and the step sizes, which begin with `first_step`. The
/// clock's learning rate has no part in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RpropUpdate {
    /// Where the step sizes begin.
    pub first_step: f64,
    /// What a step size is multiplied by where the sign turns, and where it stays.
    pub etas: (f64, f64),
    /// The smallest and the largest step size.
    pub step_sizes: (f64, f64),
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl Update for RpropUpdate {
    fn state_count(&self) -> usize {
        2
    }

    fn initial_state(&self, number: usize) -> f32 {
        if number == 1 { self.first_step as f32 } else { 0.0 }
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::without_betas(), 0.0, self.maximize);
        step.run(&RPROP, head, |head| Params {
            head,
            shrink: self.etas.0 as f32,
            grow: self.etas.1 as f32,
            least: self.step_sizes.0 as f32,
            most: self.step_sizes.1 as f32,
        })
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    shrink: f32,
    grow: f32,
    least: f32,
    most: f32,
}

/// The formula of [`RpropUpdate`], element by element.
fn twin(call: Call<'_>) {
    let Params { shrink, grow, least, most, .. } = call.params();
    Elements::of(call).each(
        #[inline(always)]
        |_| (),
        #[inline(always)]
        move |(), param, grad, [prev, size]| {
            let agreement = grad * *prev;
            let growth = if agreement > 0.0 { grow } else { 1.0 };
            let grown = *size * (if agreement < 0.0 { shrink } else { growth });
            let grown = if grown < least { least } else { grown };
            *size = if grown > most { most } else { grown };
            *prev = if agreement < 0.0 { 0.0 } else { grad };
            *param -= *size * sign(*prev);
        },
    );
}

pub(crate) static RPROP: Kernel = Kernel {
    shader: &thalweg_shaders::RPROP,
    uniform: size_of::<Params>(),
    access: access(2),
    variants: UPDATE_VARIANTS,
    twin,
};
