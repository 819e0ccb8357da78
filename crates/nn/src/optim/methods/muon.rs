//! Muon: the orthogonalised momentum of each matrix; AdamW for all other parameters.

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};
use thalweg_tensor::optim::matrices::{
    MatrixPlan, MatrixStep, MatrixTable, MatrixWork, check_arenas, launch, shapes_of,
};
use thalweg_tensor::optim::{Extra, StepArguments, Timing, math};
use thalweg_tensor::{Access, Arena, Call, DType, Kernel, Layout, Tensor};

use super::{Capabilities, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

/// The dependence of the learning rate of [`Muon`] on the shape of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum MuonScale {
    /// √max(1, rows / columns), for matrices of outputs by inputs, as in this library's layers (Jordan et al. 2024).
    #[default]
    Original,
    /// 0.2 √max(rows, columns), so that an update is about as long as one of AdamW (Liu et al. 2025).
    MatchRmsAdamw,
    /// √max(1, columns / rows): [`Original`](Self::Original) for matrices of inputs by outputs.
    OriginalTransposed,
}

settings! {
    /// Muon, as `torch.optim.Muon` but entirely in f32; PyTorch orthogonalises in bfloat16:
    ///
    /// ```text
    /// buffer = momentum buffer + (1 - momentum) grad
    /// x      = buffer, or with nesterov momentum buffer + (1 - momentum) grad
    /// x      = x / max(‖x‖, eps)
    /// x      = (a I + b A + c A²) x, with A = x xᵀ, ns_steps times      (of the transpose, where there are more rows)
    /// param  = (1 - lr weight_decay) param - lr scale x
    /// ```
    ///
    /// This is for parameters of two dimensions. All others, which PyTorch refuses, use [`AdamW`](crate::AdamW) with
    /// `adamw_rate` times the learning rate, `adamw_betas`, `adamw_eps` and the same weight decay, as in
    /// `optax.contrib.muon`. A schedule of the momentum applies to the matrices. Usual rate 1e-3.
    ///
    /// Optax has `bias_correction`, adds `eps` to the norm (1e-8), and scales for matrices of inputs by outputs
    /// ([`MuonScale::OriginalTransposed`]). Source: Jordan et al.: Muon, an optimizer for hidden layers in neural networks (2024).
    ///
    /// A step is 4 launches, 5 with clipping by the norm, and 1 + 3 for each matrix in each iteration: 4 + 5 (1 + 3 M)
    /// by default for M matrices. Besides the products it moves 36 bytes per parameter of a matrix. The state takes 4,
    /// and 8 for other parameters. Within a step there are two more copies of the matrices, and two squares of the
    /// smaller side of each. It is limited by the products: 2 m² (2 n + m) operations per iteration for a matrix of m
    /// by n, m ≤ n. In software, at 256 by 256, it reaches a fiftieth of a copy's bandwidth.
    "muon" Muon {
        /// The share of the buffer that a step keeps.
        momentum: f64 = 0.95, fraction;
        /// Whether to use Nesterov's momentum, one step ahead.
        nesterov: bool = true;
        /// Whether to correct buffer and gradient of Nesterov's sum for the start at zero: the buffer is divided by
        /// 1 - momentumᵗ⁺¹, the gradient by 1 - momentumᵗ.
        bias_correction: bool = false;
        /// Weight decay, times the learning rate.
        weight_decay: f64 = 0.1, not_negative;
        /// The coefficients a, b, c of an iteration.
        ns_coefficients: (f64, f64, f64) = (3.4445, -4.775, 2.0315), finite;
        /// The number of Newton-Schulz iterations.
        ns_steps: usize = 5, one_to_a_hundred;
        /// The lower bound of the divisor of a matrix.
        eps: f64 = 1e-7, positive;
        /// The dependence of the learning rate on the shape of a matrix; PyTorch's `adjust_lr_fn`.
        adjust_lr: MuonScale = MuonScale::Original;
        /// The learning rate of other parameters divided by that of matrices.
        adamw_rate: f64 = 1.0, not_negative;
        /// Decay rates of the moments of other parameters.
        adamw_betas: (f64, f64) = (0.9, 0.999), fraction;
        /// Added to the root of the second moment of other parameters.
        adamw_eps: f64 = 1e-8, positive;
    }
}

/// Returns the shape of a parameter that is orthogonalised.
fn as_matrix(shape: &[usize]) -> Option<(usize, usize)> {
    if let [rows, columns] = *shape { Some((rows, columns)) } else { None }
}

impl Method for Muon {
    method_of_settings!();

    fn state(&self, parameters: &[Vec<usize>]) -> Vec<StateArena> {
        let kept = |is_matrix: bool| {
            let shape = |shape: &Vec<usize>| {
                if as_matrix(shape).is_some() == is_matrix { shape.clone() } else { vec![0] }
            };
            parameters.iter().map(shape).collect()
        };
        vec![
            StateArena::of_shapes("momentum_buffer", kept(true)),
            StateArena::of_shapes("exp_avg", kept(false)),
            StateArena::of_shapes("exp_avg_sq", kept(false)),
        ]
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().momentum(true)
    }

    fn launches(&self, parameters: &[Vec<usize>]) -> usize {
        let matrices = parameters.iter().filter(|shape| as_matrix(shape).is_some_and(|(m, n)| m * n > 0)).count();
        4 + if matrices > 0 { self.ns_steps * (1 + 3 * matrices) } else { 0 }
    }

    fn bytes_per_parameter(&self) -> u64 {
        // For a matrix, without products.
        36
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let StepArguments { values, grads, state, clock, clip } = step;
        let op = MUON_APPLY.name();
        let shapes = shapes_of(values);
        let wanted = self.state(&shapes);
        check_arenas(op, values, grads, state, &wanted.iter().map(StateArena::shapes).collect::<Vec<_>>())?;
        let [buffer, moment1, moment2] = state else { unreachable!("the arenas were counted") };
        let (beta1, beta2) = self.adamw_betas;
        let timing = Timing::of_betas((self.momentum, beta2)).with_extra(Extra::ThirdMoment, 1.0 - beta1);
        clock.advance(grads, clip, timing)?;

        let device = values.device();
        let plan = clock.plan(op, &[values, buffer, moment1, moment2], || {
            let others = [&**buffer.layout(), moment1.layout(), moment2.layout()];
            let all = MatrixTable::new(device, values.layout(), &others, as_matrix)?;
            let of_gram =
                |shape: &Vec<usize>| as_matrix(shape).map_or(vec![0], |(rows, columns)| vec![rows.min(columns); 2]);
            let grams = Layout::new(device, &shapes.iter().map(of_gram).collect::<Vec<_>>(), usize::MAX)?;
            let squares = MatrixTable::new(device, &grams, &[], as_matrix)?;
            Ok(MatrixPlan::new(op, &[values, buffer, moment1, moment2], vec![all, squares], vec![grams.into()]))
        })?;
        let ([all, squares], [grams]) = (&plan.tables[..], &plan.layouts[..]) else {
            unreachable!("the plan has two tables and a layout")
        };

        let mut x = Arena::uninitialized(device, buffer.layout())?;
        let partials = Tensor::uninitialized(device, DType::F32, &[all.blocks.max(1)])?;
        let settings = MatrixStep::new(self.weight_decay, self.momentum, false, clip);
        for group in &all.launches {
            let params = MomentumParams {
                work: group.work,
                step: settings.on_page(clock, group.page),
                nesterov: self.nesterov.into(),
                bias_correction: self.bias_correction.into(),
                padding: [0; 2],
            };
            let (grads, buffer, x) =
                (&grads.pages()[group.page], &buffer.pages()[group.pages[0]], &x.pages()[group.pages[0]]);
            let views = [grads, clock.table(), clock.state(), &all.matrices, buffer, x, &partials];
            launch(&MUON_MOMENTUM, params, &views, group.work.blocks)?;
        }
        for group in &all.launches {
            let params = NormalizeParams { work: group.work, eps: self.eps as f32, padding: [0; 3] };
            let views = [&all.matrices, &partials, &x.pages()[group.pages[0]]];
            launch(&MUON_NORMALIZE, params, &views, group.work.blocks)?;
        }
        let is_frozen = |i: usize| clock.segments().is_some_and(|segments| segments[i].frozen);
        let matrices: Vec<usize> =
            (0..x.len()).filter(|&i| x.get(i).rank() == 2 && !x.get(i).is_empty() && !is_frozen(i)).collect();
        if !matrices.is_empty() {
            self.make_orthogonal(&mut x, &matrices, grams.clone(), squares)?;
        }
        for group in &all.launches {
            let params = ApplyParams {
                work: group.work,
                step: settings.on_page(clock, group.page),
                scale: self.adjust_lr as u32,
                adamw_rate: self.adamw_rate as f32,
                beta1: beta1 as f32,
                one_minus_beta1: (1.0 - beta1) as f32,
                beta2: beta2 as f32,
                one_minus_beta2: (1.0 - beta2) as f32,
                eps: self.adamw_eps as f32,
                padding: 0,
            };
            let [buffer, moment1_page, moment2_page] = group.pages;
            let views = [
                &values.pages()[group.page],
                &grads.pages()[group.page],
                clock.table(),
                clock.state(),
                &all.matrices,
                &x.pages()[buffer],
                &moment1.pages()[moment1_page],
                &moment2.pages()[moment2_page],
            ];
            launch(&MUON_APPLY, params, &views, group.work.blocks)?;
        }
        Ok(())
    }
}

impl Muon {
    /// Runs the Newton-Schulz iterations of these matrices, on the side where A is the smaller one.
    fn make_orthogonal(
        &self,
        x: &mut Arena,
        matrices: &[usize],
        grams: std::sync::Arc<Layout>,
        squares: &MatrixTable,
    ) -> Result<()> {
        let device = x.device().clone();
        let mut next = Arena::uninitialized(&device, x.layout())?;
        let gram = Arena::uninitialized(&device, &grams)?;
        let square = Arena::uninitialized(&device, &grams)?;
        let (a, b, c) = self.ns_coefficients;
        let is_tall = |x: &Tensor| x.shape()[0] > x.shape()[1];
        for _ in 0..self.ns_steps {
            for &i in matrices {
                let (x, gram) = (x.get(i), gram.get(i));
                let (left, right) = if is_tall(x) { (&x.t()?, x) } else { (x, &x.t()?) };
                left.matmul_into(right, gram, false)?;
                gram.matmul_into(gram, square.get(i), false)?;
            }
            for group in &squares.launches {
                let params = PolynomialParams { work: group.work, a: a as f32, b: b as f32, c: c as f32, padding: 0 };
                let views = [&squares.matrices, &gram.pages()[group.page], &square.pages()[group.page]];
                launch(&MUON_POLYNOMIAL, params, &views, group.work.blocks)?;
            }
            for &i in matrices {
                let (x, factor) = (x.get(i), square.get(i));
                let (left, right) = if is_tall(x) { (x, factor) } else { (factor, x) };
                left.matmul_into(right, next.get(i), false)?;
            }
            std::mem::swap(x, &mut next);
        }
        Ok(())
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct MomentumParams {
    work: MatrixWork,
    step: MatrixStep,
    nesterov: u32,
    bias_correction: u32,
    padding: [u32; 2],
}

/// Computes the momentum, the matrices to orthogonalise, and the partial sums of their squares.
fn momentum_twin(call: Call<'_>) {
    let params: MomentumParams = call.params();
    let [grads, table, clock, matrices, buffer, x, partials] = call.bindings();
    let (grads, table, clock) = (grads.read::<f32>(), table.read::<f32>(), clock.read::<u32>());
    let (buffer, x, partials) = (buffer.write::<f32>(), x.write::<f32>(), partials.write::<f32>());
    for matrix in params.work.of(matrices.read()).iter().filter(|matrix| matrix.is_matrix != 0) {
        let Some(now) = params.step.time_of(matrix, table, clock) else { continue };
        let (mut of_buffer, mut of_grad) = (now.momentum, now.one_minus_momentum);
        if params.bias_correction != 0 {
            of_buffer /= now.bias_correction1 + now.one_minus_momentum * (1.0 - now.bias_correction1);
            of_grad /= now.bias_correction1;
        }
        let length = matrix.length as usize;
        let (buffer, x) = (matrix.at_mut(0, buffer, length), matrix.at_mut(0, x, length));
        for ((x, moment), &grad) in x.iter_mut().zip(buffer).zip(matrix.of(grads)) {
            let grad = params.step.grad_factor(&now) * params.step.limited(grad);
            *moment = now.momentum * *moment + now.one_minus_momentum * grad;
            *x = if params.nesterov != 0 { of_buffer * *moment + of_grad * grad } else { *moment };
        }
        for (partial, block) in matrix.partials_mut(partials).iter_mut().zip(matrix.blocks()) {
            *partial = math::tree_sum(&x[block], |x| x * x);
        }
    }
}

pub(crate) static MUON_MOMENTUM: Kernel = Kernel {
    shader: &thalweg_shaders::MUON_MOMENTUM,
    uniform: size_of::<MomentumParams>(),
    access: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Write, Access::Write, Access::Write],
    variants: &[&[]],
    twin: momentum_twin,
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NormalizeParams {
    work: MatrixWork,
    eps: f32,
    padding: [u32; 3],
}

/// Divides each matrix by its norm.
fn normalize_twin(call: Call<'_>) {
    let params: NormalizeParams = call.params();
    let [matrices, partials, x] = call.bindings();
    let (partials, x) = (partials.read::<f32>(), x.write::<f32>());
    for matrix in params.work.of(matrices.read()).iter().filter(|matrix| matrix.is_matrix != 0) {
        let norm = math::tree_sum(matrix.partials(partials), |sum| sum).sqrt().max(params.eps);
        matrix.at_mut(0, x, matrix.length as usize).iter_mut().for_each(|x| *x /= norm);
    }
}

pub(crate) static MUON_NORMALIZE: Kernel = Kernel {
    shader: &thalweg_shaders::MUON_NORMALIZE,
    uniform: size_of::<NormalizeParams>(),
    access: &[Access::Read, Access::Read, Access::Write],
    variants: &[&[]],
    twin: normalize_twin,
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct PolynomialParams {
    work: MatrixWork,
    a: f32,
    b: f32,
    c: f32,
    padding: u32,
}

/// Computes a I + b A + c A A.
fn polynomial_twin(call: Call<'_>) {
    let params: PolynomialParams = call.params();
    let [matrices, gram, square] = call.bindings();
    let (gram, square) = (gram.read::<f32>(), square.write::<f32>());
    for matrix in params.work.of(matrices.read()) {
        let elements = matrix.of_mut(square).iter_mut().zip(matrix.of(gram));
        for (i, (square, gram)) in elements.enumerate() {
            let identity = if i % (matrix.columns as usize + 1) == 0 { params.a } else { 0.0 };
            *square = identity + (params.b * gram + params.c * *square);
        }
    }
}

pub(crate) static MUON_POLYNOMIAL: Kernel = Kernel {
    shader: &thalweg_shaders::MUON_POLYNOMIAL,
    uniform: size_of::<PolynomialParams>(),
    access: &[Access::Read, Access::Read, Access::Write],
    variants: &[&[]],
    twin: polynomial_twin,
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ApplyParams {
    work: MatrixWork,
    step: MatrixStep,
    scale: u32,
    adamw_rate: f32,
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    eps: f32,
    padding: u32,
}

/// Updates matrices with the orthogonalised ones, and other parameters by AdamW.
fn apply_twin(call: Call<'_>) {
    let params: ApplyParams = call.params();
    let [values, grads, table, clock, matrices, x, moment1, moment2] = call.bindings();
    let (values, grads, table, clock) =
        (values.write::<f32>(), grads.read::<f32>(), table.read::<f32>(), clock.read::<u32>());
    let (x, moment1, moment2) = (x.read::<f32>(), moment1.write::<f32>(), moment2.write::<f32>());
    for matrix in params.work.of(matrices.read()) {
        let Some(now) = params.step.time_of(matrix, table, clock) else { continue };
        let (values, length) = (matrix.of_mut(values), matrix.length as usize);
        if matrix.is_matrix != 0 {
            let (rows, columns) = (matrix.rows as f32, matrix.columns as f32);
            let scale = match params.scale {
                scale if scale == MuonScale::Original as u32 => (rows / columns).max(1.0).sqrt(),
                scale if scale == MuonScale::MatchRmsAdamw as u32 => 0.2 * rows.max(columns).sqrt(),
                _ => (columns / rows).max(1.0).sqrt(),
            };
            let (kept, rate) = (1.0 - now.learning_rate * now.weight_decay, now.learning_rate * scale);
            for (value, x) in values.iter_mut().zip(matrix.at(0, x, length)) {
                *value = kept * *value - rate * x;
            }
            continue;
        }
        let rate = now.learning_rate * params.adamw_rate;
        let kept = 1.0 - rate * now.weight_decay;
        let (step_size, inverse_root) = (rate / now.extra[0], 1.0 / now.bias_correction2.sqrt());
        let moments = matrix.at_mut(1, moment1, length).iter_mut().zip(matrix.at_mut(2, moment2, length));
        for ((value, (m, v)), &grad) in values.iter_mut().zip(moments).zip(matrix.of(grads)) {
            let grad = params.step.grad_factor(&now) * params.step.limited(grad);
            *m = params.beta1 * *m + params.one_minus_beta1 * grad;
            *v = params.beta2 * *v + params.one_minus_beta2 * (grad * grad);
            *value = kept * *value - step_size * (*m / (v.sqrt() * inverse_root + params.eps));
        }
    }
}

pub(crate) static MUON_APPLY: Kernel = Kernel {
    shader: &thalweg_shaders::MUON_APPLY,
    uniform: size_of::<ApplyParams>(),
    access: &[
        Access::Write,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Write,
        Access::Write,
    ],
    variants: &[&[]],
    twin: apply_twin,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AdamW, Init, Optimizer, Params, ParamsBuilder};
    use thalweg_tensor::Device;

    fn run(method: impl Method + 'static, shape: &[usize], lr: f64) -> Params {
        let mut builder = ParamsBuilder::new(1);
        builder.add("parameter", shape, Init::Normal { mean: 0.0, deviation: 1.0 }).unwrap();
        let params = builder.build(&Device::cpu()).unwrap();
        let mut optimizer = Optimizer::new(&params, method, lr).unwrap();
        for step in 0..5 {
            let grad = params.grads().unwrap().get(0);
            let numbers: Vec<f32> = (0..grad.len()).map(|i| ((i * 37 + step * 11) % 19) as f32 - 8.5).collect();
            grad.write(&numbers).unwrap();
            optimizer.step().unwrap();
        }
        params
    }

    #[test]
    fn parameters_that_are_no_matrices_follow_adamw_at_their_share_of_the_learning_rate() {
        let muon = Muon::new().adamw_rate(0.5).adamw_betas((0.8, 0.9)).adamw_eps(1e-3);
        let adamw = AdamW::new().betas((0.8, 0.9)).eps(1e-3).weight_decay(0.1);
        for shape in [&[70][..], &[], &[2, 3, 4]] {
            let values = |params: &Params| params.values().get(0).to_vec::<f32>().unwrap();
            let (got, expected) = (values(&run(muon, shape, 0.02)), values(&run(adamw, shape, 0.01)));
            for (got, expected) in got.iter().zip(&expected) {
                assert!((got - expected).abs() < 2e-6 * expected.abs().max(1.0), "{got} is not {expected}");
            }
        }
    }
}
