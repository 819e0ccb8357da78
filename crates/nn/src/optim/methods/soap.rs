//! SOAP: Adam in the eigenbases of Shampoo's preconditioner.

mod basis;

use bytemuck::{Pod, Zeroable};
use thalweg_tensor::optim::matrices::{
    MatrixGroup, MatrixPlan, MatrixStep, MatrixTable, MatrixWork, as_matrix, check_arenas, launch, shapes_of,
};
use thalweg_tensor::optim::{Now, StepArguments, Timing};
use thalweg_tensor::{Access, Arena, Call, DeviceKind, Error, Kernel, Tensor};

use super::{Capabilities, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

pub(super) use basis::SOAP_BASIS;

/// The longest side in software. Lavapipe ends the loops of a lane, without an error, after 65,535 iterations in total;
/// 15 sweeps over a side of 64 are some 46,000.
const LONGEST_SIDE_IN_SOFTWARE: usize = 64;

/// The longest side for which a workgroup computes an eigenbasis.
const MOST_SIDE: usize = 1024;

settings! {
    /// SOAP, as the authors' rule in `pytorch_optimizer`: Adam in the eigenbases of Shampoo's preconditioner:
    ///
    /// ```text
    /// moment1 = beta1 moment1 + (1 - beta1) grad
    /// g'      = Q0ᵀ grad Q1,  m' = Q0ᵀ moment1 Q1
    /// moment2 = beta2 moment2 + (1 - beta2) g'²
    /// u       = Q0 (m' / (√moment2 + eps)) Q1ᵀ
    /// param   = (1 - lr weight_decay) (param - lr √(1 - beta2ᵘ) / (1 - beta1ᵘ) u)     (u = t - 1, the updates so far)
    /// GG0     = shampoo_beta GG0 + (1 - shampoo_beta) grad gradᵀ,  GG1 likewise of gradᵀ grad
    /// ```
    ///
    /// The first step changes no parameter: from its gradients it computes the first eigenbases Q0 and Q1, of GG0 and GG1, by
    /// Jacobi rotations. After each `precondition_frequency` updates, one step of orthogonal iteration updates them: Q
    /// of the QR decomposition of GG Q. Parameters of fewer than two dimensions use Adam with the same settings. A
    /// tensor of more dimensions counts as a matrix of the first one by the others. A side longer than
    /// `max_precondition_dim` has no basis. With a software driver, bases of sides over 64 are an error, because the
    /// driver may end the loops that compute them.
    ///
    /// Usual rate 3e-3. PyTorch does not have this method. Source: Vyas et al.: SOAP: improving and stabilizing Shampoo using Adam
    /// (ICLR 2025).
    ///
    /// A step is 8 launches, 9 with clipping by the norm, and 8 products for each matrix, 4 if only one side has a
    /// basis. Besides these it moves 48 bytes per parameter. One workgroup computes a basis with some k³ operations, so
    /// sides of many hundreds make the steps slow that change it. The state takes two numbers per parameter and 2 k²
    /// per side of k. Within a step there are four more copies of the parameters. In software, at 256 by 256, it
    /// reaches a twentieth of a copy's bandwidth, and a step that changes the bases takes three times as long as
    /// another.
    "soap" Soap {
        /// Decay rates of the moments.
        betas: (f64, f64) = (0.95, 0.95), fraction;
        /// The decay rate of the preconditioners; `None` for that of the second moment.
        shampoo_beta: Option<f64> = None, fraction;
        /// Added to the root of the second moment.
        eps: f64 = 1e-8, positive;
        /// Weight decay, times the learning rate.
        weight_decay: f64 = 0.01, not_negative;
        /// The number of updates between steps of the bases.
        precondition_frequency: u32 = 10, from_one;
        /// The longest side with a basis.
        max_precondition_dim: usize = 256, up_to_1024;
    }
}

const _: () = assert!(MOST_SIDE == 1024, "the range of `max_precondition_dim`");

impl Soap {
    /// Returns the lengths of the sides of a shape that have a basis, and 0 for sides without one.
    fn sides(&self, shape: &[usize]) -> [usize; 2] {
        let (rows, columns) = as_matrix(shape).unwrap_or((0, 0));
        [rows, columns].map(|length| if length <= self.max_precondition_dim { length } else { 0 })
    }
}

impl Method for Soap {
    method_of_settings!();

    fn state(&self, parameters: &[Vec<usize>]) -> Vec<StateArena> {
        let of_side = |name, side: usize| {
            let shape = |shape: &Vec<usize>| match self.sides(shape)[side] {
                0 => vec![0],
                length => vec![length; 2],
            };
            StateArena::of_shapes(name, parameters.iter().map(shape).collect())
        };
        let mut state: Vec<StateArena> = ["exp_avg", "exp_avg_sq"].map(StateArena::like_parameters).into();
        state.extend([of_side("GG.0", 0), of_side("GG.1", 1), of_side("Q.0", 0), of_side("Q.1", 1)]);
        state
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().momentum(true)
    }

    fn launches(&self, parameters: &[Vec<usize>]) -> usize {
        let products = |shape: &Vec<usize>| match self.sides(shape) {
            [0, 0] => 0,
            [0, _] | [_, 0] => 3 + 1,
            _ => 8,
        };
        8 + parameters.iter().filter(|shape| !shape.contains(&0)).map(products).sum::<usize>()
    }

    fn bytes_per_parameter(&self) -> u64 {
        // For a matrix, without products.
        48
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let StepArguments { values, grads, state, clock, clip } = step;
        let op = SOAP_BASIS.name();
        self.check()?;
        let shapes = shapes_of(values);
        let wanted = self.state(&shapes);
        check_arenas(op, values, grads, state, &wanted.iter().map(StateArena::shapes).collect::<Vec<_>>())?;
        let [moment1, moment2, averages @ .., _, _] = state else { unreachable!("the arenas were counted") };
        let bases = &state[4..];
        let longest = averages.iter().flat_map(Arena::tensors).filter_map(|average| average.shape().first()).max();
        if values.device().info().kind == DeviceKind::Software
            && longest.is_some_and(|&side| side > LONGEST_SIDE_IN_SOFTWARE)
        {
            return Err(Error::Argument {
                op: "soap",
                name: "max_precondition_dim",
                value: self.max_precondition_dim.to_string(),
                rule: "at most 64 on a driver in software, which ends loops after 65,535 turns; or choose another device",
            }
            .into());
        }
        clock.advance(grads, clip, Timing::of_betas(self.betas))?;

        let device = values.device();
        let arenas: Vec<&Arena> = std::iter::once(values).chain(state).collect();
        let plan = clock.plan(op, &arenas, || {
            let mut tables = vec![MatrixTable::new(device, values.layout(), &[], as_matrix)?];
            for average in averages {
                tables.push(MatrixTable::new(device, average.layout(), &[values.layout()], as_matrix)?);
            }
            Ok(MatrixPlan::new(op, &arenas, tables, Vec::new()))
        })?;
        let ([all, sides @ ..], time) = (&plan.tables[..], [clock.table(), clock.state()]) else {
            unreachable!("the plan has a table of all")
        };
        let settings = MatrixStep::new(self.weight_decay, self.betas.0, false, clip);
        let params = |work: MatrixWork, page: usize| Params {
            work,
            step: settings.on_page(clock, page),
            beta2: self.betas.1 as f32,
            one_minus_beta2: (1.0 - self.betas.1) as f32,
            eps: self.eps as f32,
            one_minus_shampoo_beta: (1.0 - self.shampoo_beta.unwrap_or(self.betas.1)) as f32,
            frequency: self.precondition_frequency,
            padding: [0; 3],
        };
        let scratch = || Arena::uninitialized(device, values.layout());
        let (gradients, projected, x, between) = (scratch()?, scratch()?, scratch()?, scratch()?);
        let each = |kernel, views: &dyn Fn(&MatrixGroup) -> Vec<Tensor>| -> thalweg_tensor::Result<()> {
            all.launches.iter().try_for_each(|group| {
                let views = views(group);
                let views: Vec<&Tensor> = views.iter().collect();
                launch(kernel, params(group.work, group.page), &views, group.work.blocks)
            })
        };
        let [table, now] = time.map(Clone::clone);
        let page = |arena: &Arena, group: &MatrixGroup| arena.pages()[group.page].clone();
        let context = || [table.clone(), now.clone(), all.matrices.clone()];

        each(&SOAP_MOMENTS, &|group| {
            let [table, now, matrices] = context();
            let (moment1, moment2) = (page(moment1, group), page(moment2, group));
            let (values, grads, gradients) = (page(values, group), page(grads, group), page(&gradients, group));
            vec![values, grads, table, now, matrices, moment1, moment2, gradients]
        })?;
        let is_frozen = |i: usize| clock.segments().is_some_and(|segments| segments[i].frozen);
        let matrices: Vec<(usize, [usize; 2])> = shapes
            .iter()
            .enumerate()
            .filter_map(|(i, shape)| Some((i, as_matrix(shape)?)))
            .filter(|&(i, (rows, columns))| rows * columns > 0 && !is_frozen(i))
            .map(|(i, (rows, columns))| (i, [rows, columns]))
            .collect();
        let of = |arena: &Arena, (i, extents): (usize, [usize; 2])| arena.get(i).reshape(&extents);
        for &matrix in &matrices {
            let between = of(&between, matrix)?;
            for (from, to) in [(&gradients, &projected), (moment1, &x)] {
                turn(&of(from, matrix)?, bases, matrix.0, true, &between, &of(to, matrix)?)?;
            }
        }
        each(&SOAP_NORMALIZE, &|group| {
            let [table, now, matrices] = context();
            vec![table, now, matrices, page(&projected, group), page(moment2, group), page(&x, group)]
        })?;
        for &matrix in &matrices {
            turn(&of(&x, matrix)?, bases, matrix.0, false, &of(&between, matrix)?, &of(&projected, matrix)?)?;
        }
        each(&SOAP_APPLY, &|group| {
            let [table, now, matrices] = context();
            vec![page(values, group), table, now, matrices, page(&projected, group)]
        })?;
        for (side, ((average, basis), sides)) in averages.iter().zip(bases).zip(sides).enumerate() {
            let product = Arena::uninitialized(device, average.layout())?;
            for &matrix in matrices.iter().filter(|(i, _)| !average.get(*i).is_empty()) {
                let g = of(&gradients, matrix)?;
                let (left, right) = if side == 0 { (&g, &g.t()?) } else { (&g.t()?, &g) };
                left.matmul_into(right, product.get(matrix.0), false)?;
            }
            for group in &sides.launches {
                let params = params(group.work, group.pages[0]);
                let (average, product) = (&average.pages()[group.page], &product.pages()[group.page]);
                let views = [&table, &now, &sides.matrices, product, average];
                launch(&SOAP_AVERAGE, params, &views, group.work.blocks)?;
                let views = [&table, &now, &sides.matrices, average, &basis.pages()[group.page], product];
                launch(&SOAP_BASIS, params, &views, group.work.count)?;
            }
        }
        Ok(())
    }
}

/// Computes Q0ᵀ x Q1, or back: Q0 x Q1ᵀ. A side without a basis stays as it is.
fn turn(
    x: &Tensor,
    bases: &[Arena],
    i: usize,
    forth: bool,
    between: &Tensor,
    to: &Tensor,
) -> thalweg_tensor::Result<()> {
    let [left, right] = [bases[0].get(i), bases[1].get(i)];
    let (left_factor, right_factor) = if forth { (left.t(), Ok(right.clone())) } else { (Ok(left.clone()), right.t()) };
    match (left.is_empty(), right.is_empty()) {
        (true, true) => x.copy_into(to),
        (false, true) => left_factor?.matmul_into(x, to, false),
        (true, false) => x.matmul_into(&right_factor?, to, false),
        (false, false) => {
            left_factor?.matmul_into(x, between, false)?;
            between.matmul_into(&right_factor?, to, false)
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    work: MatrixWork,
    step: MatrixStep,
    beta2: f32,
    one_minus_beta2: f32,
    eps: f32,
    one_minus_shampoo_beta: f32,
    frequency: u32,
    padding: [u32; 3],
}

impl Params {
    /// Returns the step size; bias corrections are those of the updates before this step.
    fn step_size(&self, now: &Now) -> f32 {
        let before = |correction: f32, one_minus_beta: f32| {
            if one_minus_beta >= 1.0 { 1.0 } else { (correction - one_minus_beta) / (1.0 - one_minus_beta) }
        };
        let correction1 = before(now.bias_correction1, now.one_minus_momentum);
        let correction2 = before(now.bias_correction2, self.one_minus_beta2);
        now.learning_rate * correction2.sqrt() / correction1
    }
}

/// Computes first moments, gradients of matrices, and Adam for other parameters.
fn moments_twin(call: Call<'_>) {
    let params: Params = call.params();
    let [values, grads, table, clock, matrices, moment1, moment2, gradients] = call.bindings();
    let (values, grads, table, clock) =
        (values.write::<f32>(), grads.read::<f32>(), table.read::<f32>(), clock.read::<u32>());
    let (moment1, moment2, gradients) = (moment1.write::<f32>(), moment2.write::<f32>(), gradients.write::<f32>());
    for matrix in params.work.of(matrices.read()) {
        let Some(now) = params.step.time_of(matrix, table, clock) else { continue };
        let factor = params.step.grad_factor(&now);
        let is_matrix = matrix.is_matrix != 0;
        let (step_size, kept) = (params.step_size(&now), 1.0 - now.learning_rate * now.weight_decay);
        let moments = matrix.of_mut(moment1).iter_mut().zip(matrix.of_mut(moment2));
        let elements = matrix.of_mut(values).iter_mut().zip(matrix.of(grads)).zip(matrix.of_mut(gradients));
        for (((value, &grad), gradient), (m, v)) in elements.zip(moments) {
            let grad = factor * params.step.limited(grad);
            if is_matrix {
                *gradient = grad;
            }
            if now.step < 2 {
                continue;
            }
            *m = now.momentum * *m + now.one_minus_momentum * grad;
            if !is_matrix {
                *v = params.beta2 * *v + params.one_minus_beta2 * (grad * grad);
                *value = kept * (*value - step_size * (*m / (v.sqrt() + params.eps)));
            }
        }
    }
}

pub(crate) static SOAP_MOMENTS: Kernel = Kernel {
    shader: &thalweg_shaders::SOAP_MOMENTS,
    uniform: size_of::<Params>(),
    access: &[
        Access::Write,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Write,
        Access::Write,
        Access::Write,
    ],
    variants: &[&[]],
    twin: moments_twin,
};

/// Computes second moments and the update, in the eigenbases.
fn normalize_twin(call: Call<'_>) {
    let params: Params = call.params();
    let [table, clock, matrices, gradients, moment2, x] = call.bindings();
    let (table, clock, gradients) = (table.read::<f32>(), clock.read::<u32>(), gradients.read::<f32>());
    let (moment2, x) = (moment2.write::<f32>(), x.write::<f32>());
    for matrix in params.work.of(matrices.read()).iter().filter(|matrix| matrix.is_matrix != 0) {
        if params.step.time_of(matrix, table, clock).is_none_or(|now| now.step < 2) {
            continue;
        }
        let elements = matrix.of_mut(x).iter_mut().zip(matrix.of_mut(moment2)).zip(matrix.of(gradients));
        for ((x, v), grad) in elements {
            *v = params.beta2 * *v + params.one_minus_beta2 * (grad * grad);
            *x /= v.sqrt() + params.eps;
        }
    }
}

pub(crate) static SOAP_NORMALIZE: Kernel = Kernel {
    shader: &thalweg_shaders::SOAP_NORMALIZE,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Write, Access::Write],
    variants: &[&[]],
    twin: normalize_twin,
};

/// Updates the matrices.
fn apply_twin(call: Call<'_>) {
    let params: Params = call.params();
    let [values, table, clock, matrices, x] = call.bindings();
    let (values, table, clock, x) = (values.write::<f32>(), table.read::<f32>(), clock.read::<u32>(), x.read::<f32>());
    for matrix in params.work.of(matrices.read()).iter().filter(|matrix| matrix.is_matrix != 0) {
        let now = params.step.time_of(matrix, table, clock);
        let Some(now) = now.filter(|now| now.step >= 2) else { continue };
        let (step_size, kept) = (params.step_size(&now), 1.0 - now.learning_rate * now.weight_decay);
        for (value, x) in matrix.of_mut(values).iter_mut().zip(matrix.of(x)) {
            *value = kept * (*value - step_size * x);
        }
    }
}

pub(crate) static SOAP_APPLY: Kernel = Kernel {
    shader: &thalweg_shaders::SOAP_APPLY,
    uniform: size_of::<Params>(),
    access: &[Access::Write, Access::Read, Access::Read, Access::Read, Access::Read],
    variants: &[&[]],
    twin: apply_twin,
};

/// Updates the preconditioners of one side.
fn average_twin(call: Call<'_>) {
    let params: Params = call.params();
    let [table, clock, matrices, product, average] = call.bindings();
    let (table, clock) = (table.read::<f32>(), clock.read::<u32>());
    let (product, average) = (product.read::<f32>(), average.write::<f32>());
    for matrix in params.work.of(matrices.read()) {
        if params.step.time_at(matrix.places[0], table, clock).is_none() {
            continue;
        }
        for (average, product) in matrix.of_mut(average).iter_mut().zip(matrix.of(product)) {
            *average += params.one_minus_shampoo_beta * (product - *average);
        }
    }
}

pub(crate) static SOAP_AVERAGE: Kernel = Kernel {
    shader: &thalweg_shaders::SOAP_AVERAGE,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Write],
    variants: &[&[]],
    twin: average_twin,
};
