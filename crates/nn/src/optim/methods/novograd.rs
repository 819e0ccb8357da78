//! NovoGrad.

use thalweg_tensor::optim::segments::{ChunkParams, PARAMETER_NORMS, finish_segments};
use thalweg_tensor::optim::{
    ClockWords, Decay, Elements, Head, ROW_ELEMENTS, StepArguments, Timing, UPDATE_VARIANTS, access,
};
use thalweg_tensor::{Access, Call, Kernel};

use super::{Capabilities, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// NovoGrad, as `optax.novograd`: the second moment is one number for each tensor:
    ///
    /// ```text
    /// moment2 = beta2 moment2 + (1 - beta2) ‖grad‖²   (of each tensor, a number; at the first step: ‖grad‖²)
    /// moment1 = beta1 moment1 + (grad / (√moment2 + eps) + weight_decay param)
    /// param   = param - lr moment1
    /// ```
    ///
    /// There are no bias corrections, and the first moment is a sum, not an average. Usual rate 1e-3. PyTorch has no NovoGrad.
    /// Source: Ginsburg et al.: Stochastic gradient methods with layer-wise adaptive moments for training of deep networks (2019).
    ///
    /// A step is three launches for any number of tensors, besides those of clipping: partial norms, second moments, parameters.
    /// It moves 28 bytes per parameter; the state takes 4. In software it reaches 0.6 to 0.8 of a copy's bandwidth: the norms
    /// read 8 of these bytes, and take seven tenths of the time of the rest.
    "novograd" NovoGrad {
        /// Decay rates of the first and the second moment.
        betas: (f64, f64) = (0.9, 0.25), fraction;
        /// Added to the root of the second moment.
        eps: f64 = 1e-6, positive;
        /// Weight decay, in the first moment.
        weight_decay: f64 = 0.0, not_negative;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

impl Method for NovoGrad {
    method_of_settings!();

    fn state(&self, parameters: &[Vec<usize>]) -> Vec<StateArena> {
        vec![
            StateArena::like_parameters("exp_avg"),
            StateArena::of_shapes("exp_avg_sq", vec![vec![1]; parameters.len()]),
        ]
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().momentum(true).tensor_sums(true)
    }

    fn launches(&self, _: &[Vec<usize>]) -> usize {
        3
    }

    fn bytes_per_parameter(&self) -> u64 {
        8 + 20
    }

    fn step(&self, mut step: StepArguments<'_>) -> Result<()> {
        let wrong = |value: String, rule| {
            Err(thalweg_tensor::Error::Argument { op: "novograd", name: "state", value, rule }.into())
        };
        let [moment1, moment2] = step.state else {
            return wrong(format!("{} arenas", step.state.len()), "one arena for each that the update keeps");
        };
        if moment2.len() != step.values.len() || moment2.tensors().iter().any(|tensor| tensor.len() != 1) {
            return wrong(format!("{} second moments", moment2.len()), "one of shape [1] for each tensor");
        }
        let [moment2] = moment2.pages() else {
            return wrong(format!("{} pages of second moments", moment2.pages().len()), "one page");
        };
        step.state = std::slice::from_ref(moment1);
        step.check(&NOVOGRAD, &[true])?;
        let head = Head::new(Timing::of_betas(self.betas), self.weight_decay, self.maximize);
        let head = head.momentum(self.betas.0).decay(Decay::ByRule);
        step.run_chunks(&PARAMETER_NORMS, head, &[], ChunkParams::new)?;
        let segments = step.clock.laid_out()?;
        let params = MomentParams {
            count: segments.count() as u32,
            beta2: self.betas.1 as f32,
            one_minus_beta2: head.one_minus_beta2(),
            eps: self.eps as f32,
        };
        segments.finish(&NOVOGRAD_MOMENT, params, step.clock.table(), &[step.clock.state(), moment2])?;
        Ok(step.run_after(&NOVOGRAD, head, |head| head)?)
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct MomentParams {
    count: u32,
    beta2: f32,
    one_minus_beta2: f32,
    eps: f32,
}

/// The number of elements from one tensor of shape `[1]` to the next.
const STRIDE: usize = ROW_ELEMENTS;

const _: () = assert!(STRIDE == 64, "shaders/optim/novograd_moment.wgsl counts on it");

/// Computes the second moments of [`NovoGrad`].
fn moment_twin(call: Call<'_>) {
    let MomentParams { beta2, one_minus_beta2, eps, .. } = call.params();
    let [segments, partials, table, clock, moments] = call.bindings();
    let clock: &ClockWords = bytemuck::from_bytes(bytemuck::cast_slice(clock.read::<u32>()));
    let moments = moments.write::<f32>();
    finish_segments(segments.read(), partials.read(), table.write(), |number, _, [_, sum], rows| {
        if rows.first().is_none_or(|row| row.0[0] < 0.0) || clock.clip_factor < 0.0 {
            return;
        }
        let moment = &mut moments[STRIDE * number];
        *moment = if clock.step == 1 { sum } else { beta2 * *moment + one_minus_beta2 * sum };
        let factor = 1.0 / (moment.sqrt() + eps);
        rows.iter_mut().for_each(|row| row.0[3] = factor);
    });
}

/// Takes the step of [`NovoGrad`].
fn twin(call: Call<'_>) {
    Elements::of(call).each(
        #[inline(always)]
        |now| (now.momentum, now.learning_rate, now.own_factor, now.weight_decay),
        #[inline(always)]
        |(beta1, learning_rate, scale, weight_decay), param, grad, [moment]| {
            *moment = beta1 * *moment + (scale * grad + weight_decay * *param);
            *param -= learning_rate * *moment;
        },
    );
}

pub(crate) static NOVOGRAD_MOMENT: Kernel = Kernel {
    shader: &thalweg_shaders::NOVOGRAD_MOMENT,
    uniform: size_of::<MomentParams>(),
    access: &[Access::Read, Access::Read, Access::Write, Access::Read, Access::Write],
    variants: &[&[]],
    twin: moment_twin,
};

pub(crate) static NOVOGRAD: Kernel = Kernel {
    shader: &thalweg_shaders::NOVOGRAD,
    uniform: size_of::<Head>(),
    access: access(1),
    variants: UPDATE_VARIANTS,
    twin,
};
