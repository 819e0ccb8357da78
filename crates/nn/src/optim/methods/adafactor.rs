//! Adafactor: second moments of matrices by their rows and columns.

use bytemuck::{Pod, Zeroable};
use thalweg_tensor::optim::math::{self, LANES};
use thalweg_tensor::optim::matrices::{
    Matrix, MatrixPlan, MatrixStep, MatrixTable, MatrixWork, as_matrix, check_arenas, fold_row, launch, shapes_of,
};
use thalweg_tensor::optim::{StepArguments, Timing};
use thalweg_tensor::{Access, Call, DType, Kernel, Tensor};

use super::{Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// Adafactor, as `torch.optim.Adafactor`:
    ///
    /// ```text
    /// alpha   = max(eps.1, rms(param)) min(lr, 1 / √t),  w = t^beta2_decay
    /// row_var = row_var + w (mean of grad² over the columns - row_var),  col_var likewise over the rows
    /// v       = row_var col_var / max(mean of row_var, eps.0);  of vectors variance = variance + w (grad² - variance)
    /// u       = grad / √max(v, eps.0²)
    /// param   = (1 - lr weight_decay) param - alpha u / max(1, rms(u) / d)
    /// ```
    ///
    /// The state of a matrix is a number for each row and each column. A tensor of more than two dimensions counts as a
    /// matrix of the first one by the others; PyTorch takes its last two as many matrices. The rate is relative to the
    /// parameter's root mean square; usual 0.01.
    ///
    /// Optax does not limit the learning rate by 1 / √t, adds its epsilon to grad² (1e-30, so `eps.0` = 1e-15), has a momentum, and
    /// does not factor matrices with a side of fewer than 128. Source: Shazeer, Stern: Adafactor: adaptive learning rates with
    /// sublinear memory cost (ICML 2018).
    ///
    /// A step is 5 launches for any number of tensors, 6 with clipping by the norm: three sums over whole tensors must
    /// be complete before the next stage. It moves 28 bytes per parameter of a matrix. In software it reaches a tenth
    /// of a copy's bandwidth: the passes over a matrix are element-wise, and two of them look up the row and the column
    /// of each element.
    "adafactor" Adafactor {
        /// The exponent of the step in the weight of a new second moment.
        beta2_decay: f64 = -0.8, not_positive;
        /// The lower bounds of the root of a mean of second moments, and of the root mean square of a parameter.
        eps: (f64, f64) = (f32::EPSILON as f64, 1e-3), positive;
        /// The largest root mean square of an update.
        d: f64 = 1.0, from_one;
        /// Weight decay, times the learning rate.
        weight_decay: f64 = 0.0, not_negative;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

/// The numbers that are kept per tensor within a step.
const FACTS: usize = 8;

impl Method for Adafactor {
    method_of_settings!();

    fn state(&self, parameters: &[Vec<usize>]) -> Vec<StateArena> {
        let shape = |number: usize, shape: &Vec<usize>| match (as_matrix(shape), number) {
            (Some((rows, _)), 0) => vec![rows, 1],
            (Some((_, columns)), 1) => vec![1, columns],
            (None, 2) => shape.clone(),
            _ => vec![0],
        };
        (0..)
            .zip(["row_var", "col_var", "variance"])
            .map(|(number, name)| {
                StateArena::of_shapes(name, parameters.iter().map(|parameter| shape(number, parameter)).collect())
            })
            .collect()
    }

    fn launches(&self, _: &[Vec<usize>]) -> usize {
        5
    }

    fn bytes_per_parameter(&self) -> u64 {
        // For a matrix.
        28
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let StepArguments { values, grads, state, clock, clip } = step;
        let op = ADAFACTOR_APPLY.name();
        let wanted = self.state(&shapes_of(values));
        check_arenas(op, values, grads, state, &wanted.iter().map(StateArena::shapes).collect::<Vec<_>>())?;
        let [row_var, col_var, variance] = state else { unreachable!("the arenas were counted") };
        clock.advance(grads, clip, Timing::without_betas())?;

        let device = values.device();
        let arenas = [values, row_var, col_var, variance];
        let plan = clock.plan(op, &arenas, || {
            let others = [&**row_var.layout(), col_var.layout(), variance.layout()];
            let table = MatrixTable::new(device, values.layout(), &others, as_matrix)?;
            Ok(MatrixPlan::new(op, &arenas, vec![table], Vec::new()))
        })?;
        let table = &plan.tables[0];
        let facts_start = table.blocks + table.groups;
        let sums = Tensor::uninitialized(device, DType::F32, &[facts_start + FACTS * values.len().max(1)])?;
        let columns = Tensor::uninitialized(device, DType::F32, &[table.columns.max(1)])?;
        let settings = MatrixStep::new(self.weight_decay, 0.0, self.maximize, clip);
        let params = |work: MatrixWork, page: usize| Params {
            work,
            step: settings.on_page(clock, page),
            beta2_decay: self.beta2_decay as f32,
            eps1: self.eps.0 as f32,
            eps1_squared: (self.eps.0 * self.eps.0) as f32,
            eps2: self.eps.1 as f32,
            d: self.d as f32,
            groups_start: table.blocks as u32,
            facts_start: facts_start as u32,
            padding: 0,
        };
        let (matrices, schedule, time) = (&table.matrices, clock.table(), clock.state());
        for group in &table.launches {
            let (page, [row_page, col_page, variance_page]) = (group.page, group.pages);
            let (values, grads) = (&values.pages()[page], &grads.pages()[page]);
            let (row_var, col_var) = (&row_var.pages()[row_page], &col_var.pages()[col_page]);
            let (variance, work) = (&variance.pages()[variance_page], group.work);
            let params = params(work, page);
            let views = [values, grads, schedule, time, matrices, row_var, &columns, &sums];
            launch(&ADAFACTOR_SUMS, params, &views, work.blocks + work.groups + work.tiles)?;
            let views = [schedule, time, matrices, &columns, col_var, &sums];
            launch(&ADAFACTOR_FACTORS, params, &views, work.count)?;
            let views = [grads, matrices, row_var, col_var, variance, &sums];
            launch(&ADAFACTOR_SQUARES, params, &views, work.blocks)?;
            let views = [values, grads, matrices, row_var, col_var, variance, &sums];
            launch(&ADAFACTOR_APPLY, params, &views, work.blocks)?;
        }
        Ok(())
    }
}

/// Parameters of all stages.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    work: MatrixWork,
    step: MatrixStep,
    beta2_decay: f32,
    eps1: f32,
    eps1_squared: f32,
    eps2: f32,
    d: f32,
    groups_start: u32,
    facts_start: u32,
    padding: u32,
}

/// The numbers of a tensor that the later stages use.
#[derive(Clone, Copy)]
struct Facts {
    alpha: f32,
    kept: f32,
    grad_factor: f32,
    weight: f32,
    row_mean: f32,
    is_skipped: bool,
}

impl Params {
    /// Returns the tensors of the launch with their numbers.
    fn matrices<'a>(&self, table: &'a [u32]) -> impl Iterator<Item = (usize, &'a Matrix)> {
        (self.work.first as usize..).zip(self.work.of(table))
    }

    fn facts_mut<'a>(&self, number: usize, sums: &'a mut [f32]) -> &'a mut [f32] {
        &mut sums[self.facts_start as usize + FACTS * number..][..FACTS]
    }

    fn facts(&self, number: usize, sums: &[f32]) -> Facts {
        let facts = &sums[self.facts_start as usize + FACTS * number..][..FACTS];
        Facts {
            alpha: facts[0],
            kept: facts[1],
            grad_factor: facts[2],
            weight: facts[3],
            row_mean: facts[4],
            is_skipped: facts[5] != 0.0,
        }
    }

    /// Returns t^beta2_decay.
    fn weight(&self, step: u32) -> f32 {
        (step as f32).powf(self.beta2_decay)
    }
}

/// Sums the squares of the parameters, the second moments of rows, and the squared gradients by columns.
fn sums_twin(call: Call<'_>) {
    let params: Params = call.params();
    let [values, grads, table, clock, matrices, row_var, columns, sums] = call.bindings();
    let (values, grads, table, clock) =
        (values.read::<f32>(), grads.read::<f32>(), table.read::<f32>(), clock.read::<u32>());
    let (row_var, columns, sums) = (row_var.write::<f32>(), columns.write::<f32>(), sums.write::<f32>());
    for (_, matrix) in params.matrices(matrices.read()) {
        for (partial, block) in matrix.partials_mut(sums).iter_mut().zip(matrix.blocks()) {
            *partial = math::tree_sum(&matrix.of(values)[block], |value| value * value);
        }
        let Some(now) = params.step.time_of(matrix, table, clock) else { continue };
        if matrix.is_matrix == 0 {
            continue;
        }
        let (factor, weight) = (params.step.grad_factor(&now), params.weight(now.step));
        let square = |grad: f32| {
            let grad = factor * params.step.limited(grad);
            grad * grad
        };
        let (grads, width, lanes) = (matrix.of(grads), matrix.columns as usize, matrix.lanes as usize);
        let row_var = matrix.at_mut(0, row_var, matrix.rows as usize);
        let groups = &mut sums[(params.groups_start + matrix.first_group) as usize..];
        for (group, rows) in groups.iter_mut().zip(matrix.rows_of_groups()) {
            let mut moments = [0.0; LANES];
            for (i, row) in rows.enumerate() {
                let sum = fold_row(&grads[row * width..][..width], lanes, |x, y| x + y, square);
                row_var[row] += weight * (sum / width as f32 - row_var[row]);
                moments[i * lanes] = row_var[row];
            }
            *group = math::tree(moments, |x, y| x + y);
        }
        for (places, rows) in matrix.segments() {
            let columns = &mut columns[places];
            columns.fill(0.0);
            for row in rows {
                columns.iter_mut().zip(&grads[row * width..]).for_each(|(sum, &grad)| *sum += square(grad));
            }
        }
    }
}

pub(crate) static ADAFACTOR_SUMS: Kernel = Kernel {
    shader: &thalweg_shaders::ADAFACTOR_SUMS,
    uniform: size_of::<Params>(),
    access: &[
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Write,
        Access::Write,
        Access::Write,
    ],
    variants: &[&[]],
    twin: sums_twin,
};

/// Computes the second moments of columns, and the numbers of each tensor.
fn factors_twin(call: Call<'_>) {
    let params: Params = call.params();
    let [table, clock, matrices, columns, col_var, sums] = call.bindings();
    let (table, clock, columns) = (table.read::<f32>(), clock.read::<u32>(), columns.read::<f32>());
    let (col_var, sums) = (col_var.write::<f32>(), sums.write::<f32>());
    for (number, matrix) in params.matrices(matrices.read()) {
        let Some(now) = params.step.time_of(matrix, table, clock) else {
            params.facts_mut(number, sums)[5] = 1.0;
            continue;
        };
        let weight = params.weight(now.step);
        let rms = math::tree_sum(matrix.partials(sums), |sum| sum).sqrt() / (matrix.length as f32).sqrt();
        let mut row_sum = 0.0;
        if matrix.is_matrix != 0 {
            let groups = matrix.rows_of_groups().count();
            row_sum = math::tree_sum(&sums[(params.groups_start + matrix.first_group) as usize..][..groups], |sum| sum);
            let col_var = matrix.at_mut(1, col_var, matrix.columns as usize);
            for (j, moment) in col_var.iter_mut().enumerate() {
                let sum: f32 = matrix.segments().fold(0.0, |sum, (places, _)| sum + columns[places][j]);
                *moment += weight * (sum / matrix.rows as f32 - *moment);
            }
        }
        let rho = now.learning_rate.min(1.0 / (now.step as f32).sqrt());
        let facts = params.facts_mut(number, sums);
        facts[0] = rho * params.eps2.max(rms);
        facts[1] = 1.0 - now.learning_rate * now.weight_decay;
        facts[2] = params.step.grad_factor(&now);
        facts[3] = weight;
        facts[4] = params.eps1.max(row_sum / matrix.rows as f32);
        facts[5] = 0.0;
    }
}

pub(crate) static ADAFACTOR_FACTORS: Kernel = Kernel {
    shader: &thalweg_shaders::ADAFACTOR_FACTORS,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Write, Access::Write],
    variants: &[&[]],
    twin: factors_twin,
};

/// Sums the squares of the update, and computes the second moments of vectors.
fn squares_twin(call: Call<'_>) {
    let params: Params = call.params();
    let [grads, matrices, row_var, col_var, variance, sums] = call.bindings();
    let (grads, row_var, col_var) = (grads.read::<f32>(), row_var.read::<f32>(), col_var.read::<f32>());
    let (variance, sums) = (variance.write::<f32>(), sums.write::<f32>());
    for (number, matrix) in params.matrices(matrices.read()) {
        let facts = params.facts(number, sums);
        if facts.is_skipped {
            continue;
        }
        let grads = matrix.of(grads);
        let update = |grad: f32, v: f32| {
            let u = facts.grad_factor * params.step.limited(grad) / v.max(params.eps1_squared).sqrt();
            u * u
        };
        let partials = matrix.partials_mut(sums).iter_mut().zip(matrix.blocks());
        if matrix.is_matrix != 0 {
            let row_var = matrix.at(0, row_var, matrix.rows as usize);
            let col_var = matrix.at(1, col_var, matrix.columns as usize);
            for (partial, block) in partials {
                let mut lanes = [0.0; LANES];
                for (lane, i) in (0..LANES).cycle().zip(block) {
                    let (row, column) = matrix.place_of(i);
                    lanes[lane] += update(grads[i], row_var[row] * col_var[column] / facts.row_mean);
                }
                *partial = math::tree(lanes, |x, y| x + y);
            }
            continue;
        }
        let variance = matrix.at_mut(2, variance, grads.len());
        for (partial, block) in partials {
            let mut lanes = [0.0; LANES];
            for (lane, i) in (0..LANES).cycle().zip(block) {
                let grad = facts.grad_factor * params.step.limited(grads[i]);
                variance[i] += facts.weight * (grad * grad - variance[i]);
                lanes[lane] += update(grads[i], variance[i]);
            }
            *partial = math::tree(lanes, |x, y| x + y);
        }
    }
}

pub(crate) static ADAFACTOR_SQUARES: Kernel = Kernel {
    shader: &thalweg_shaders::ADAFACTOR_SQUARES,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Write, Access::Write],
    variants: &[&[]],
    twin: squares_twin,
};

/// Updates the parameters.
fn apply_twin(call: Call<'_>) {
    let params: Params = call.params();
    let [values, grads, matrices, row_var, col_var, variance, sums] = call.bindings();
    let (values, grads, sums) = (values.write::<f32>(), grads.read::<f32>(), sums.read::<f32>());
    let (row_var, col_var, variance) = (row_var.read::<f32>(), col_var.read::<f32>(), variance.read::<f32>());
    for (number, matrix) in params.matrices(matrices.read()) {
        let facts = params.facts(number, sums);
        if facts.is_skipped {
            continue;
        }
        let root = math::tree_sum(matrix.partials(sums), |sum| sum).sqrt();
        let step_size = facts.alpha / (root / ((matrix.length as f32).sqrt() * params.d)).max(1.0);
        let update = |value: &mut f32, grad: f32, v: f32| {
            let u = facts.grad_factor * params.step.limited(grad) / v.max(params.eps1_squared).sqrt();
            *value = facts.kept * *value - step_size * u;
        };
        let (values, grads) = (matrix.of_mut(values), matrix.of(grads));
        if matrix.is_matrix != 0 {
            let width = matrix.columns as usize;
            let col_var = matrix.at(1, col_var, width);
            let rows = values.chunks_mut(width).zip(grads.chunks(width));
            for ((values, grads), of_row) in rows.zip(matrix.at(0, row_var, matrix.rows as usize)) {
                for ((value, &grad), of_column) in values.iter_mut().zip(grads).zip(col_var) {
                    update(value, grad, of_row * of_column / facts.row_mean);
                }
            }
            continue;
        }
        for ((value, &grad), &v) in values.iter_mut().zip(grads).zip(matrix.at(2, variance, grads.len())) {
            update(value, grad, v);
        }
    }
}

pub(crate) static ADAFACTOR_APPLY: Kernel = Kernel {
    shader: &thalweg_shaders::ADAFACTOR_APPLY,
    uniform: size_of::<Params>(),
    access: &[Access::Write, Access::Read, Access::Read, Access::Read, Access::Read, Access::Read, Access::Read],
    variants: &[&[]],
    twin: apply_twin,
};
