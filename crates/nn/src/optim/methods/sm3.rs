//! SM3: second moments by covers of rows and columns.

use bytemuck::{Pod, Zeroable};
use thalweg_tensor::optim::matrices::{
    MatrixPlan, MatrixStep, MatrixTable, MatrixWork, as_matrix, check_arenas, launch, shapes_of,
};
use thalweg_tensor::optim::{StepArguments, Timing, math};
use thalweg_tensor::{Access, Call, DType, Kernel, Tensor};

use super::{Capabilities, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// SM3, as `optax.sm3`: [`AdaGrad`](super::Adagrad) with an accumulator for each row and each column of a matrix:
    ///
    /// ```text
    /// v      = min(row[i], column[j]) + grad²,  row[i] = max over j of v,  column[j] = max over i of v
    /// u      = grad / √(v + eps), 0 where v is 0
    /// buffer = momentum buffer + (1 - momentum) u
    /// param  = param - lr buffer
    /// ```
    ///
    /// Vectors have an accumulator for each element: v = accumulator = accumulator + grad². A tensor of more than two
    /// dimensions counts as a matrix of the first one by the others; optax has accumulators for each dimension. The
    /// state `accumulator` of a matrix contains those of the rows and then those of the columns. Usual rate 0.1.
    /// PyTorch does not have this method. Source: Anil, Gupta, Koren, Singer: Memory-efficient adaptive optimization
    /// (NeurIPS 2019).
    ///
    /// A step is 3 launches for any number of tensors, 4 with clipping by the norm. It moves 28 bytes per parameter of a matrix;
    /// the state takes 4, and a number for each row and each column. In software it reaches a tenth of a copy's
    /// bandwidth. The step and the maxima of rows and of columns each visit all gradients, one by one instead of in
    /// vectors of four.
    "sm3" Sm3 {
        /// The share of the buffer that a step keeps.
        momentum: f64 = 0.9, fraction;
        /// Added to the accumulator, inside the root.
        eps: f64 = 1e-8, positive;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

impl Method for Sm3 {
    method_of_settings!();

    fn state(&self, parameters: &[Vec<usize>]) -> Vec<StateArena> {
        let accumulators =
            |shape: &Vec<usize>| as_matrix(shape).map_or(shape.clone(), |(rows, columns)| vec![rows + columns]);
        vec![
            StateArena::of_shapes("accumulator", parameters.iter().map(accumulators).collect()),
            StateArena::like_parameters("momentum_buffer"),
        ]
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().momentum(true).weight_decay(false)
    }

    fn launches(&self, _: &[Vec<usize>]) -> usize {
        3
    }

    fn bytes_per_parameter(&self) -> u64 {
        // For a matrix.
        28
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let StepArguments { values, grads, state, clock, clip } = step;
        let op = SM3_STEP.name();
        let wanted = self.state(&shapes_of(values));
        check_arenas(op, values, grads, state, &wanted.iter().map(StateArena::shapes).collect::<Vec<_>>())?;
        let [accumulator, buffer] = state else { unreachable!("the arenas were counted") };
        clock.advance(grads, clip, Timing::without_betas())?;

        let device = values.device();
        let arenas = [values, accumulator, buffer];
        let plan = clock.plan(op, &arenas, || {
            let table = MatrixTable::new(device, values.layout(), &[accumulator.layout(), buffer.layout()], as_matrix)?;
            Ok(MatrixPlan::new(op, &arenas, vec![table], Vec::new()))
        })?;
        let table = &plan.tables[0];
        let maxima = Tensor::uninitialized(device, DType::F32, &[table.columns.max(1)])?;
        let settings = MatrixStep::new(0.0, self.momentum, self.maximize, clip);
        for group in &table.launches {
            let (work, page) = (group.work, group.page);
            let params = Params { work, step: settings.on_page(clock, page), eps: self.eps as f32, padding: [0; 3] };
            let accumulator = &accumulator.pages()[group.pages[0]];
            let views = [
                &values.pages()[page],
                &grads.pages()[page],
                clock.table(),
                clock.state(),
                &table.matrices,
                accumulator,
                &buffer.pages()[group.pages[1]],
                &maxima,
            ];
            launch(&SM3_STEP, params, &views, work.blocks + work.groups + work.tiles)?;
            let views = [clock.table(), clock.state(), &table.matrices, &maxima, accumulator];
            launch(&SM3_COMMIT, params, &views, work.count)?;
        }
        Ok(())
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    work: MatrixWork,
    step: MatrixStep,
    eps: f32,
    padding: [u32; 3],
}

/// Computes the formula of [`Sm3`], with the new accumulators of matrices beside the old ones.
fn step_twin(call: Call<'_>) {
    let params: Params = call.params();
    let [values, grads, table, clock, matrices, accumulator, buffer, maxima] = call.bindings();
    let (values, grads, table, clock) =
        (values.write::<f32>(), grads.read::<f32>(), table.read::<f32>(), clock.read::<u32>());
    let (accumulator, buffer, maxima) = (accumulator.write::<f32>(), buffer.write::<f32>(), maxima.write::<f32>());
    for matrix in params.work.of(matrices.read()) {
        let Some(now) = params.step.time_of(matrix, table, clock) else { continue };
        let factor = params.step.grad_factor(&now);
        let gradient = |grad: f32| factor * params.step.limited(grad);
        let (values, grads, length) = (matrix.of_mut(values), matrix.of(grads), matrix.length as usize);
        let buffer = matrix.at_mut(1, buffer, length);
        let apply = |value: &mut f32, moment: &mut f32, grad: f32, v: f32| {
            let u = if v == 0.0 { 0.0 } else { grad / (v + params.eps).sqrt() };
            *moment = now.momentum * *moment + now.one_minus_momentum * u;
            *value -= now.learning_rate * *moment;
        };
        if matrix.is_matrix == 0 {
            let accumulator = matrix.at_mut(0, accumulator, length);
            for (((value, moment), &grad), v) in values.iter_mut().zip(buffer).zip(grads).zip(accumulator) {
                let grad = gradient(grad);
                *v += grad * grad;
                apply(value, moment, grad, *v);
            }
            continue;
        }
        let (rows, width) = (matrix.rows as usize, matrix.columns as usize);
        let (of_rows, of_columns) = matrix.at(0, accumulator, rows + width).split_at(rows);
        for (segment, range) in matrix.segments() {
            maxima[segment.clone()].fill(0.0);
            for row in range {
                let elements = row * width..(row + 1) * width;
                let values = values[elements.clone()].iter_mut().zip(&mut buffer[elements.clone()]);
                let columns = of_columns.iter().zip(&mut maxima[segment.clone()]);
                let mut largest = 0.0;
                for (((value, moment), &grad), (&of_column, of_segment)) in values.zip(&grads[elements]).zip(columns) {
                    let grad = gradient(grad);
                    let v = math::minimum(of_rows[row], of_column) + grad * grad;
                    largest = math::maximum(largest, v);
                    *of_segment = math::maximum(*of_segment, v);
                    apply(value, moment, grad, v);
                }
                maxima[matrix.rows_after_columns()][row] = largest;
            }
        }
    }
}

pub(crate) static SM3_STEP: Kernel = Kernel {
    shader: &thalweg_shaders::SM3_STEP,
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
    twin: step_twin,
};

/// Copies the new accumulators over the old ones.
fn commit_twin(call: Call<'_>) {
    let params: Params = call.params();
    let [table, clock, matrices, maxima, accumulator] = call.bindings();
    let (table, clock, maxima) = (table.read::<f32>(), clock.read::<u32>(), maxima.read::<f32>());
    let accumulator = accumulator.write::<f32>();
    for matrix in params.work.of(matrices.read()).iter().filter(|matrix| matrix.is_matrix != 0) {
        if params.step.time_of(matrix, table, clock).is_none() {
            continue;
        }
        let (rows, columns) = (matrix.rows as usize, matrix.columns as usize);
        let (of_rows, of_columns) = matrix.at_mut(0, accumulator, rows + columns).split_at_mut(rows);
        of_rows.copy_from_slice(&maxima[matrix.rows_after_columns()]);
        for (j, largest) in of_columns.iter_mut().enumerate() {
            *largest = matrix.segments().fold(0.0, |largest, (places, _)| math::maximum(largest, maxima[places][j]));
        }
    }
}

pub(crate) static SM3_COMMIT: Kernel = Kernel {
    shader: &thalweg_shaders::SM3_COMMIT,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Write],
    variants: &[&[]],
    twin: commit_twin,
};
