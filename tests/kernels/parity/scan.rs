//! Kernels of running products, logarithms of sums of exponentials, and extremes.

use thalweg::autograd::Tape;
use thalweg::tensor::Tensor;

use crate::common::{Tolerance, assert_close, devices, floats, numbers, tensor};
use crate::parity::{FOLDED, Pair, SIZES};

/// Shapes of three dimensions: no, one and several segments of 256, and segments of segments.
fn shapes() -> Vec<[usize; 3]> {
    let rows = SIZES.into_iter().flat_map(|length| [[3, length, 1], [2, length, 5]]);
    rows.chain([[0, 3, 2], [2, 3, 0], [1, 70_000, 3], [FOLDED, 2, 1]]).collect()
}

fn products_and_sums(x: &Tensor, axis: isize) -> Vec<Tensor> {
    vec![x.cumprod(axis).unwrap(), x.logcumsumexp(axis).unwrap(), x.logcumsumexp_reversed(axis).unwrap()]
}

pub(crate) fn scan(pair: &Pair) {
    // Products in the same order; a sum of exponentials has a rounding of some 1e-7 for each of its elements.
    let tolerance = Tolerance::new(1e-5, 1e-5);
    for shape in shapes() {
        let x = numbers(1, shape.iter().product(), 0.97, 1.03);
        pair.compare(&format!("{shape:?}"), tolerance, |device| products_and_sums(&tensor(device, &x, &shape), 1));
    }
    let x = numbers(2, 6 * 7, -80.0, 80.0);
    pair.compare("large numbers and views", tolerance, |device| {
        let x = tensor(device, &x, &[6, 7]);
        let views = [
            x.clone(),
            x.t().unwrap(),
            x.slice(1, 2, 5).unwrap(),
            x.slice(0, 1, 2).unwrap().broadcast_to(&[3, 7]).unwrap(),
        ];
        let scans = |x: &Tensor| [0, -1].map(|axis| x.logcumsumexp(axis).unwrap());
        let number = x.slice(0, 0, 1).unwrap().slice(1, 0, 1).unwrap().reshape(&[]).unwrap();
        views.iter().flat_map(scans).chain(products_and_sums(&number, 0)).collect()
    });
    let (n, inf) = (f32::NAN, f32::INFINITY);
    let special = [-inf, -inf, 1.0, inf, n, -inf, 0.0, 3e38, 3e38, -3e38, n, 2.0, inf, inf, -inf];
    pair.compare("special values", tolerance, |device| {
        let x = tensor(device, &special, &[3, 5]);
        let y = x.logcumsumexp(1).unwrap();
        let expected = [-inf, -inf, 1.0, inf, n, -inf, 0.0, 3e38, 3e38, 3e38, n, n, n, n, n];
        assert_close(&format!("on {device}"), &floats(&y), &expected, tolerance);
        [vec![y, x.logcumsumexp_reversed(1).unwrap()], products_and_sums(&x, 0)].concat()
    });
}

pub(crate) fn scan_extremes(pair: &Pair) {
    for shape in shapes() {
        let mut x: Vec<f32> = numbers(1, shape.iter().product(), -99.0, 99.0).into_iter().map(f32::round).collect();
        for (i, x) in x.iter_mut().enumerate().filter(|(i, _)| i % 1000 == 777) {
            *x = if i % 3 == 0 { f32::NAN } else { f32::INFINITY };
        }
        pair.compare_bits(&format!("{shape:?}"), |device| {
            let x = tensor(device, &x, &shape);
            let results = [x.cummax(1).unwrap(), x.cummin(1).unwrap()];
            for (values, indices) in &results {
                crate::common::assert_same_bits("elements", &floats(&x.gather(1, indices).unwrap()), &floats(values));
            }
            results.into_iter().flat_map(|(values, indices)| [values, indices]).collect()
        });
    }
    pair.compare_bits("the last one of equal elements, and the last NaN", |device| {
        let x = tensor(device, &[1.0, 3.0, 3.0, f32::NAN, 5.0, f32::NAN, 7.0], &[7]);
        let (values, indices) = x.cummax(0).unwrap();
        assert_eq!(crate::common::words(&indices), [0, 1, 2, 3, 3, 5, 5], "{device}");
        let (number, nought) = tensor(device, &[3.0], &[]).cummin(-1).unwrap();
        vec![values, indices, number, nought]
    });
}

/// Lines without, with one, with two zeros, and one that begins and ends with them.
#[test]
fn gradients_of_products_with_zeros() {
    let lines = [[2.0, 3.0, 0.5, 4.0], [2.0, 0.0, 3.0, 4.0], [2.0, 0.0, 3.0, 0.0], [0.0, 2.0, 3.0, 0.0]];
    for device in devices() {
        let tape = Tape::new();
        let x = tape.input(&tensor(&device, lines.as_flattened(), &[4, 4]));
        let gradients = tape.backward(x.cumprod(1).unwrap().sum().unwrap()).unwrap();
        let mut expected = Vec::new();
        for line in lines {
            for k in 0..4 {
                let product = |i: usize| (0..=i).filter(|&j| j != k).map(|j| line[j]).product::<f32>();
                expected.push((k..4).map(product).sum::<f32>());
            }
        }
        let tolerance = Tolerance::new(1e-5, 1e-5);
        assert_close(&format!("on {device}"), &floats(gradients.get(x).unwrap()), &expected, tolerance);
    }
}
