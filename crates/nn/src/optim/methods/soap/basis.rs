//! Eigenbases: first by Jacobi rotations, then by orthogonal iteration. Twin of `shaders/optim/soap_basis.wgsl`.

use super::{MOST_SIDE, Params};
use thalweg_tensor::optim::math;
use thalweg_tensor::optim::vectorized;
use thalweg_tensor::{Access, Call, Kernel, rotate_pairs, rounds};

/// The maximum number of sweeps over all pairs; they end earlier if the rest is rounding.
const MOST_SWEEPS: usize = 15;

/// Computes the bases of one side of all matrices.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let [table, clock, matrices, average, basis, scratch] = call.bindings();
    let (table, clock, average) = (table.read::<f32>(), clock.read::<u32>(), average.read::<f32>());
    let (basis, scratch) = (basis.write::<f32>(), scratch.write::<f32>());
    for matrix in params.work.of(matrices.read()).iter().filter(|matrix| matrix.length > 0) {
        let Some(now) = params.step.time_at(matrix.places[0], table, clock) else { continue };
        let (average, basis, scratch) = (matrix.of(average), matrix.of_mut(basis), matrix.of_mut(scratch));
        let k = matrix.rows as usize;
        if now.step == 1 {
            rotate_all(average, basis, scratch, k);
        } else if (now.step - 1).is_multiple_of(params.frequency) {
            iterate(average, basis, scratch, k);
        }
    }
}

pub(crate) static SOAP_BASIS: Kernel = Kernel {
    shader: &thalweg_shaders::SOAP_BASIS,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Write, Access::Write],
    variants: &[&[]],
    twin,
};

/// Diagonalizes A by rotations, whose product is the basis (Golub, Van Loan, section 8.5).
fn rotate_all(average: &[f32], basis: &mut [f32], a: &mut [f32], k: usize) {
    let mut diagonal = [0.0; MOST_SIDE];
    diagonal.iter_mut().zip(average.iter().step_by(k + 1)).for_each(|(d, &x)| *d = x);
    let trace = math::tree_sum(&diagonal[..k], |x| x);
    let scale = if trace > 0.0 { 1.0 / trace } else { 0.0 };
    a.iter_mut().zip(average).for_each(|(a, x)| *a = x * scale);
    basis.iter_mut().enumerate().for_each(|(i, q)| *q = if i % (k + 1) == 0 { 1.0 } else { 0.0 });
    for _ in 0..MOST_SWEEPS {
        let mut is_finished = true;
        for round in 0..rounds(k) {
            is_finished &= !vectorized(
                #[inline(always)]
                || rotate_pairs::<{ MOST_SIDE / 2 }>(a, basis, k, round),
            );
        }
        if is_finished {
            break;
        }
    }
}

/// Takes one step of orthogonal iteration: Q of the QR decomposition of A Q, by Householder reflections (Golub, Van
/// Loan, section 5.2). The columns are processed in the order of their Rayleigh quotients, the largest first, but are
/// not moved.
fn iterate(average: &[f32], basis: &mut [f32], y: &mut [f32], k: usize) {
    for (row, y) in average.chunks(k).zip(y.chunks_mut(k)) {
        y.fill(0.0);
        for (a, basis) in row.iter().zip(basis.chunks(k)) {
            y.iter_mut().zip(basis).for_each(|(y, q)| *y += a * q);
        }
    }
    // Columns divided by their largest element, which changes no basis.
    let mut quotients = [0.0f32; MOST_SIDE];
    for (j, quotient) in quotients[..k].iter_mut().enumerate() {
        let mut largest = 0f32;
        for i in 0..k {
            *quotient += basis[i * k + j] * y[i * k + j];
            largest = largest.max(y[i * k + j].abs());
        }
        if largest > 0.0 {
            (0..k).for_each(|i| y[i * k + j] /= largest);
        }
    }
    let mut order = [0; MOST_SIDE];
    for j in 0..k {
        let is_before = |i: usize| quotients[i] > quotients[j] || (quotients[i] == quotients[j] && i < j);
        order[(0..k).filter(|&i| is_before(i)).count()] = j;
    }
    // Reflections, each stored in its column.
    let mut factors = [0.0f32; MOST_SIDE];
    let mut squares = [0.0f32; MOST_SIDE];
    for c in 0..k {
        let column = order[c];
        (c..k).for_each(|i| squares[i] = y[i * k + column] * y[i * k + column]);
        let sum = math::tree_sum(&squares[c..k], |x| x);
        let (head, norm) = (y[c * k + column], sum.sqrt());
        // Away from the head, so that nothing cancels; its square is sum - head² + new head².
        y[c * k + column] = head + if head < 0.0 { -norm } else { norm };
        let square = 2.0 * (sum + head.abs() * norm);
        factors[c] = if square > 1e-30 { 2.0 / square } else { 0.0 };
        for &other in &order[c + 1..k] {
            reflect(y, None, (c, column, factors[c]), other, k);
        }
    }
    // Their product, column by column.
    for d in 0..k {
        (0..k).for_each(|i| basis[i * k + order[d]] = if i == d { 1.0 } else { 0.0 });
        for c in (0..=d).rev() {
            reflect(y, Some(basis), (c, order[c], factors[c]), order[d], k);
        }
    }
}

/// Reflects a column, of y itself or of a basis, by the vector in another column of y from row c on.
fn reflect(y: &mut [f32], basis: Option<&mut [f32]>, (c, column, factor): (usize, usize, f32), other: usize, k: usize) {
    match basis {
        Some(basis) => {
            let dot = (c..k).fold(0.0, |dot, i| dot + y[i * k + column] * basis[i * k + other]);
            (c..k).for_each(|i| basis[i * k + other] -= factor * dot * y[i * k + column]);
        }
        None => {
            let dot = (c..k).fold(0.0, |dot, i| dot + y[i * k + column] * y[i * k + other]);
            (c..k).for_each(|i| y[i * k + other] -= factor * dot * y[i * k + column]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computes XᵀX of a matrix with `rows` rows, whose last columns are zero.
    fn gram(rows: usize, k: usize, zeros: usize) -> Vec<f32> {
        let x: Vec<f32> = (0..rows * k)
            .map(|i| if i % k >= k - zeros { 0.0 } else { ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0 })
            .collect();
        let at = |i: usize, j: usize| (0..rows).map(|r| x[r * k + i] * x[r * k + j]).sum();
        (0..k * k).map(|i| at(i / k, i % k)).collect()
    }

    /// Returns ‖QᵀQ - I‖, and the largest element of QᵀAQ off its diagonal over the largest on it.
    fn quality(a: &[f32], q: &[f32], k: usize) -> (f64, f64) {
        let product = |x: &dyn Fn(usize, usize) -> f64, y: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
            (0..k * k).map(|i| (0..k).map(|l| x(i / k, l) * y(l, i % k)).sum()).collect()
        };
        let q_at = |i: usize, j: usize| f64::from(q[i * k + j]);
        let q_t = |i: usize, j: usize| q_at(j, i);
        let unit = product(&q_t, &q_at);
        let off = |m: &[f64]| (0..k * k).filter(|i| i % (k + 1) != 0).map(|i| m[i].abs()).fold(0.0, f64::max);
        let on = |m: &[f64]| (0..k).map(|i| m[i * (k + 1)].abs()).fold(0.0, f64::max);
        let error = (0..k).map(|i| (unit[i * (k + 1)] - 1.0).abs()).fold(off(&unit), f64::max);
        let aq = product(&|i, j| f64::from(a[i * k + j]), &q_at);
        let rotated = product(&q_t, &|i, j| aq[i * k + j]);
        (error, off(&rotated) / on(&rotated).max(1e-30))
    }

    #[test]
    fn rotations_find_eigenbases() {
        for (rows, k, zeros) in [(3, 1, 0), (9, 2, 0), (20, 12, 0), (30, 13, 0), (5, 33, 4), (100, 64, 1), (2, 7, 7)] {
            let a = gram(rows, k, zeros);
            let (mut q, mut scratch) = (vec![0.0; k * k], vec![0.0; k * k]);
            rotate_all(&a, &mut q, &mut scratch, k);
            let (unit, off) = quality(&a, &q, k);
            assert!(unit < 1e-5 && off < 1e-6, "{rows} rows, {k} columns, {zeros} zero: {unit:e}, {off:e}");
        }
    }

    #[test]
    fn iterations_come_to_eigenbases_and_stay_orthogonal() {
        for (rows, k, zeros) in [(3, 1, 0), (9, 2, 0), (12, 6, 0), (5, 33, 4), (2, 7, 7)] {
            let a = gram(rows, k, zeros);
            let (mut q, mut scratch) = (vec![0.0; k * k], vec![0.0; k * k]);
            (0..k).for_each(|i| q[i * (k + 1)] = 1.0);
            let before = quality(&a, &q, k).1;
            for _ in 0..200 {
                iterate(&a, &mut q, &mut scratch, k);
            }
            let (unit, off) = quality(&a, &q, k);
            assert!(unit < 1e-5 && off <= (0.01 * before).max(1e-5), "{rows}, {k}, {zeros}: {unit:e}, {off:e}");
        }
    }

    /// Computes modified Gram-Schmidt of A Q in f64, columns by their Rayleigh quotients, as in the paper: the same up
    /// to signs.
    #[test]
    fn an_iteration_is_the_orthogonal_factor_of_the_product() {
        for (rows, k) in [(9, 3), (40, 12), (70, 33)] {
            // Far from singular: a direction with little of A is determined by its rounding.
            let mut a = gram(rows, k, 0);
            (0..k).for_each(|i| a[i * (k + 1)] += rows as f32 / 10.0);
            let (mut q, mut scratch) = (vec![0.0; k * k], vec![0.0; k * k]);
            rotate_all(&gram(rows + 3, k, 0), &mut q, &mut scratch, k);
            let at = |m: &[f32], i: usize, j: usize| f64::from(m[i * k + j]);
            let columns: Vec<Vec<f64>> =
                (0..k).map(|j| (0..k).map(|i| (0..k).map(|l| at(&a, i, l) * at(&q, l, j)).sum()).collect()).collect();
            let quotient = |j: &usize| (0..k).map(|i| at(&q, i, *j) * columns[*j][i]).sum::<f64>();
            let mut order: Vec<usize> = (0..k).collect();
            order.sort_by(|i, j| quotient(j).total_cmp(&quotient(i)));
            let mut orthogonal: Vec<(usize, Vec<f64>)> = Vec::new();
            for j in order {
                let mut column = columns[j].clone();
                // Twice is enough.
                for (_, other) in orthogonal.iter().chain(&orthogonal) {
                    let dot: f64 = column.iter().zip(other).map(|(x, y)| x * y).sum();
                    column.iter_mut().zip(other).for_each(|(x, y)| *x -= dot * y);
                }
                let norm = column.iter().map(|x| x * x).sum::<f64>().sqrt();
                column.iter_mut().for_each(|x| *x /= norm);
                orthogonal.push((j, column));
            }
            iterate(&a, &mut q, &mut scratch, k);
            for (j, column) in orthogonal {
                let sign = (0..k).map(|i| at(&q, i, j) * column[i]).sum::<f64>().signum();
                for (i, expected) in column.into_iter().enumerate() {
                    let error = (sign * at(&q, i, j) - expected).abs();
                    assert!(error < 2e-4, "{k} columns, row {i} of column {j} is off by {error:e}");
                }
            }
        }
    }
}
