//! Matrix products and the fully connected layer.
//!
//! Products of whole numbers are exact in f32 in any order of the sum, so the devices must agree in every bit: small
//! numbers find every wrong index. Fractions, once, find wrong arithmetic.

use thalweg::tensor::{Convolution, Device, Tensor};

use crate::common::{Tolerance, numbers, tensor};
use crate::parity::Pair;

/// Around the edges of a tile of 64 rows and 32 columns, and more than one of them.
const EXTENTS: [usize; 9] = [1, 7, 31, 32, 33, 63, 64, 65, 130];

/// Returns each pair of extents for m and n, with the k's and the four transpositions in turn; then the empty ones.
fn products() -> Vec<([usize; 3], bool, bool)> {
    let mut list = Vec::new();
    for (i, &m) in EXTENTS.iter().enumerate() {
        for (j, &n) in EXTENTS.iter().enumerate() {
            let turn = i + 2 * j;
            list.push(([m, n, EXTENTS[turn % 9]], (i + j) % 2 == 1, (i / 2 + j) % 2 == 1));
        }
    }
    for (transposed_a, transposed_b) in [(false, false), (false, true), (true, false), (true, true)] {
        for extents in [[65, 33, 31], [130, 130, 130], [7, 5, 1009], [0, 5, 3], [5, 0, 3], [5, 3, 0], [0, 0, 0]] {
            list.push((extents, transposed_a, transposed_b));
        }
    }
    list
}

/// Returns whole numbers from -4 to 4.
fn whole(seed: u64, count: usize) -> Vec<f32> {
    numbers(seed, count, -4.5, 4.5).into_iter().map(f32::round).collect()
}

/// Makes a matrix of whole numbers, stored as it is or transposed.
fn matrix(device: &Device, seed: u64, rows: usize, columns: usize, transposed: bool) -> Tensor {
    let elements = whole(seed, rows * columns);
    if transposed {
        tensor(device, &elements, &[columns, rows]).t().unwrap()
    } else {
        tensor(device, &elements, &[rows, columns])
    }
}

/// Returns the tolerance of the sum of k products of numbers up to 1 in another order. It has k roundings, each of at
/// most 6e-8 of a partial sum, which has the order of the root of k.
fn reordered(k: usize) -> Tolerance {
    Tolerance::new(6e-8 * (k as f32).powf(1.5).max(1.0), 1e-6)
}

pub(crate) fn matmul(pair: &Pair) {
    for ([m, n, k], transposed_a, transposed_b) in products() {
        let what = format!("[{m}, {k}] × [{k}, {n}], transposed {transposed_a} {transposed_b}");
        pair.compare(&what, Tolerance::EXACT, |device| {
            let a = matrix(device, 1, m, k, transposed_a);
            let b = matrix(device, 2, k, n, transposed_b);
            let sum = matrix(device, 3, m, n, false);
            a.matmul_into(&b, &sum, true).unwrap();
            vec![a.matmul(&b).unwrap(), sum]
        });
    }
    for [m, n, k] in [[65, 33, 130], [1, 1, 1009], [130, 7, 64]] {
        let (a, b) = (numbers(1, m * k, -1.0, 1.0), numbers(2, k * n, -1.0, 1.0));
        pair.compare(&format!("fractions, {m} {n} {k}"), reordered(k), |device| {
            vec![tensor(device, &a, &[m, k]).matmul(&tensor(device, &b, &[k, n])).unwrap()]
        });
    }
    pair.compare("slices from unaligned places, stretched rows, one buffer twice", Tolerance::EXACT, |device| {
        let x = matrix(device, 4, 50, 50, false);
        let a = x.slice(0, 1, 41).unwrap().slice(1, 3, 33).unwrap();
        let b = x.slice(0, 5, 35).unwrap().slice(1, 7, 42).unwrap();
        let row = x.slice(0, 9, 10).unwrap().slice(1, 1, 31).unwrap().broadcast_to(&[12, 30]).unwrap();
        vec![a.matmul(&b).unwrap(), x.t().unwrap().matmul(&x).unwrap(), row.matmul(&a.t().unwrap()).unwrap()]
    });
    pair.compare("NaN and infinities stay in their rows and columns", Tolerance::EXACT, |device| {
        let mut elements = whole(5, 65 * 33);
        elements[7 * 33 + 3] = f32::NAN;
        elements[40 * 33 + 32] = f32::INFINITY;
        let a = tensor(device, &elements, &[65, 33]);
        vec![a.matmul(&matrix(device, 6, 33, 34, false)).unwrap(), matrix(device, 7, 9, 65, false).matmul(&a).unwrap()]
    });
}

pub(crate) fn batched_matmul(pair: &Pair) {
    for (n, ([rows, columns, k], transposed_a, transposed_b)) in products().into_iter().enumerate() {
        let what = format!("batch of [{rows}, {k}] × [{k}, {columns}], transposed {transposed_a} {transposed_b}");
        let batches: [([usize; 2], [usize; 2]); 4] =
            [([2, 3], [2, 3]), ([2, 1], [1, 3]), ([1, 1], [1, 2]), ([1, 70], [1, 70])];
        let (a_batch, b_batch) = batches[n % 4];
        pair.compare(&what, Tolerance::EXACT, |device| {
            let operand = |seed, batch: [usize; 2], rows, columns, transposed| {
                let elements = whole(seed, batch[0] * batch[1] * rows * columns);
                let stored = if transposed { [columns, rows] } else { [rows, columns] };
                let x = tensor(device, &elements, &[&batch[..], &stored].concat());
                if transposed { x.transpose(-2, -1).unwrap() } else { x }
            };
            let a = operand(1, a_batch, rows, k, transposed_a);
            let b = operand(2, b_batch, k, columns, transposed_b);
            vec![a.matmul(&b).unwrap()]
        });
    }
    pair.compare("views of one buffer", Tolerance::EXACT, |device| {
        let x = tensor(device, &whole(3, 4 * 9 * 21), &[4, 9, 21]);
        let part = x.slice(2, 1, 18).unwrap();
        vec![
            part.matmul(&part.transpose(1, 2).unwrap()).unwrap(),
            x.slice(0, 1, 2).unwrap().transpose(1, 2).unwrap().matmul(&x).unwrap(),
        ]
    });
}

/// Convolutions and their gradients: products whose operands are addressed by tables. Sums of whole numbers are exact.
pub(crate) fn gather_matmul(pair: &Pair) {
    let cases: [(&str, [usize; 4], [usize; 4], Convolution<2>); 6] = [
        ("one channel", [1, 1, 3, 3], [1, 1, 3, 3], Convolution::default()),
        ("padded", [2, 3, 8, 8], [5, 3, 3, 3], Convolution { padding: [1, 1], ..Convolution::default() }),
        (
            "strided",
            [3, 4, 9, 11],
            [8, 4, 2, 3],
            Convolution { stride: [2, 3], padding: [1, 0], ..Convolution::default() },
        ),
        (
            "dilated, in groups",
            [2, 6, 9, 8],
            [9, 2, 3, 2],
            Convolution { dilation: [2, 3], groups: 3, ..Convolution::default() },
        ),
        (
            "each channel by itself",
            [2, 8, 8, 8],
            [8, 1, 3, 3],
            Convolution { groups: 8, padding: [1, 1], ..Convolution::default() },
        ),
        ("larger than a tile", [9, 16, 12, 12], [66, 16, 3, 3], Convolution::default()),
    ];
    for (what, x_shape, weight_shape, settings) in cases {
        pair.compare(what, Tolerance::EXACT, |device| {
            let numbers = |seed, shape: &[usize]| tensor(device, &whole(seed, shape.iter().product()), shape);
            let (x, weight) = (numbers(1, &x_shape), numbers(2, &weight_shape));
            let bias = numbers(3, &weight_shape[..1]);
            let y = x.conv2d(&weight, Some(&bias), &settings).unwrap();
            let g = numbers(4, y.shape());
            let strides = (&settings).into();
            let weight_grad = numbers(5, &weight_shape);
            g.convolve_weight_into(&x, &weight_grad, true, &strides).unwrap();
            let input_grad = g.convolve_transpose("conv", &weight, None, &x_shape[2..], &strides).unwrap();
            vec![y, x.conv2d(&weight, None, &settings).unwrap(), weight_grad, input_grad]
        });
    }
}

pub(crate) fn linear(pair: &Pair) {
    for ([n, out, inputs], transposed_x, transposed_weight) in products() {
        let what = format!("[{n}, {inputs}] → {out}, transposed {transposed_x} {transposed_weight}");
        pair.compare(&what, Tolerance::EXACT, |device| {
            let x = matrix(device, 1, n, inputs, transposed_x);
            let weight = matrix(device, 2, out, inputs, transposed_weight);
            let bias = tensor(device, &whole(3, out), &[out]);
            vec![x.linear(&weight, &bias, false).unwrap(), x.linear(&weight, &bias, true).unwrap()]
        });
    }
    let (x, weight) = (numbers(1, 65 * 130, -1.0, 1.0), numbers(2, 33 * 130, -1.0, 1.0));
    pair.compare("fractions", reordered(130), |device| {
        let bias = tensor(device, &numbers(3, 50, -1.0, 1.0), &[50]).slice(0, 5, 38).unwrap();
        vec![tensor(device, &x, &[65, 130]).linear(&tensor(device, &weight, &[33, 130]), &bias, false).unwrap()]
    });
    pair.compare("NaN passes the ReLU", Tolerance::EXACT, |device| {
        let x = tensor(device, &[1.0, f32::NAN, -1.0, 2.0, f32::NEG_INFINITY, 1.0], &[3, 2]);
        let bias = tensor(device, &[0.0, f32::NAN, -5.0], &[3]);
        vec![x.linear(&matrix(device, 4, 3, 2, false), &bias, true).unwrap()]
    });
}

pub(crate) fn linear_input_grad(pair: &Pair) {
    for ([n, inputs, out], transposed_dy, transposed_weight) in products() {
        let what = format!("[{n}, {out}] → {inputs}, transposed {transposed_dy} {transposed_weight}");
        pair.compare(&what, Tolerance::EXACT, |device| {
            let dy = matrix(device, 1, n, out, transposed_dy);
            let weight = matrix(device, 2, out, inputs, transposed_weight);
            let mut activation = whole(3, n * inputs);
            for (i, x) in activation.iter_mut().enumerate().step_by(5) {
                *x = [f32::NAN, -0.0, f32::INFINITY][i % 3];
            }
            vec![dy.linear_input_grad(&weight, &tensor(device, &activation, &[n, inputs])).unwrap()]
        });
    }
}

pub(crate) fn linear_weight_grad(pair: &Pair) {
    for ([out, inputs, n], transposed_dy, transposed_x) in products() {
        let what = format!("{n} samples, weight [{out}, {inputs}], transposed {transposed_dy} {transposed_x}");
        pair.compare(&what, Tolerance::EXACT, |device| {
            let dy = matrix(device, 1, n, out, transposed_dy);
            let x = matrix(device, 2, n, inputs, transposed_x);
            let mut results = Vec::new();
            for accumulate in [false, true] {
                let weight_grad = matrix(device, 3, out, inputs, false);
                let bias_grad = tensor(device, &whole(4, out), &[out]);
                dy.linear_weight_grad_into(&x, &weight_grad, &bias_grad, accumulate).unwrap();
                results.extend([weight_grad, bias_grad]);
            }
            results
        });
    }
}
