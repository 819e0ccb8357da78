//! Compares every kernel that this machine's adapter can run with the plain strided one, bit by bit.

use super::candidates::{Candidate, Extents, ProductProfile};
use super::generated::form::{Epilogue, Family};
use super::plan::{Forced, forced, products};
use crate::{Device, DeviceKind, DeviceProducts, MatmulPrecision, Tensor};

/// Returns the adapter; without one, nothing is tested, unless one is required.
fn gpu() -> Option<Device> {
    match Device::gpu() {
        Ok(device) => Some(device),
        Err(error) => {
            let required = std::env::var_os("THALWEG_REQUIRE_GPU").is_some_and(|value| value != "0");
            assert!(!required, "THALWEG_REQUIRE_GPU is set, but: {error}");
            None
        }
    }
}

/// Returns all kernels that run on a device: those of its own profile, and the blocks, which run everywhere.
fn candidates(device: &Device) -> Vec<Candidate> {
    let everywhere = ProductProfile { lanes: None, software: false, threads: 1, cooperative: None };
    let own = products(device).unwrap().profile.candidates();
    let own = own.into_iter().filter(|candidate| matches!(candidate.family, Family::Subgroup { .. }));
    own.chain(everywhere.candidates()).collect()
}

/// Creates a matrix, stored directly or transposed. It contains fractions, so that the order of a sum matters; on
/// hardware, which may contract products and sums, it contains integers.
fn matrix(device: &Device, seed: u64, rows: usize, columns: usize, transposed: bool) -> Tensor {
    let shape = if transposed { [columns, rows] } else { [rows, columns] };
    let mut x = Tensor::uniform(&Device::cpu(), seed, 0, -8.0, 8.0, &shape).unwrap().to_vec::<f32>().unwrap();
    if device.info().kind == DeviceKind::Hardware {
        x.iter_mut().for_each(|x| *x = x.trunc());
    }
    let x = Tensor::from_slice(device, &x, &shape).unwrap();
    if transposed { x.t().unwrap() } else { x }
}

const OPERATIONS: usize = 7;

/// Returns the results of one operation with a [m, k] and b [k, n].
fn compute(operation: usize, a: &Tensor, b: &Tensor) -> Vec<Tensor> {
    let (device, m, n) = (a.device(), a.shape()[0], b.shape()[1]);
    match operation {
        0 => vec![a.matmul(b).unwrap()],
        1 => {
            let c = matrix(device, 3, m, n, false);
            a.matmul_into(b, &c, true).unwrap();
            vec![c]
        }
        2 | 3 => {
            let bias = Tensor::uniform(device, 4, 0, -9.0, 9.0, &[n]).unwrap();
            vec![a.linear(&b.t().unwrap(), &bias, operation == 3).unwrap()]
        }
        4 => vec![a.linear_input_grad(b, &matrix(device, 5, m, n, false)).unwrap()],
        _ => {
            let (weight_grad, bias_grad) = (matrix(device, 6, m, n, false), matrix(device, 7, 1, m, false));
            let bias_grad = bias_grad.reshape(&[m]).unwrap();
            a.t().unwrap().linear_weight_grad_into(b, &weight_grad, &bias_grad, operation == 6).unwrap();
            vec![weight_grad, bias_grad]
        }
    }
}

/// Computes with the strided kernel and with a candidate, and compares all bits; all NaNs are equal.
fn compare(candidate: Candidate, operation: usize, a: &Tensor, b: &Tensor) {
    let expected = forced(Forced::Strided, || compute(operation, a, b));
    let got = forced(Forced::Candidate(candidate), || compute(operation, a, b));
    for (expected, got) in expected.iter().zip(&got) {
        let (expected, got) = (expected.to_vec::<f32>().unwrap(), got.to_vec::<f32>().unwrap());
        let differs = |(x, y): (&f32, &f32)| x.to_bits() != y.to_bits() && !(x.is_nan() && y.is_nan());
        if let Some(i) = expected.iter().zip(&got).position(differs) {
            panic!(
                "{candidate:?}, operation {operation}, {:?} × {:?}, strides {:?} {:?}: element {i} is {} and ought to be {}",
                a.shape(),
                b.shape(),
                a.strides(),
                b.strides(),
                got[i],
                expected[i]
            );
        }
    }
}

/// Tests each kernel around the edges of its tile, with layouts and operations in turn. Some drivers take a tenth of
/// a second for each text, so only the small tiles are tested with all layouts, and the others with two each.
#[test]
fn every_kernel_sums_as_the_strided_one_does() {
    let Some(device) = gpu() else { return };
    let mut turn = 0;
    for (i, candidate) in candidates(&device).into_iter().enumerate() {
        let (rows, columns) = candidate.family.tile();
        let small = rows * columns <= 16 * 64;
        let (rows, columns) = if candidate.swapped { (columns, rows) } else { (rows, columns) };
        let layouts = [(false, true), (true, false), (false, false), (true, true)];
        for (transposed_a, transposed_b) in layouts.into_iter().cycle().skip(2 * i).take(if small { 4 } else { 2 }) {
            turn += 1;
            let operation = [0, 2, 4, 6, 1, 3, 5][turn % OPERATIONS];
            for [m, n, k] in [[rows, columns, 16], [rows - 4, columns + 4, 4], [rows + 4, columns - 4, 36], [4, 8, 20]]
            {
                let (a, b) = (matrix(&device, 1, m, k, transposed_a), matrix(&device, 2, k, n, transposed_b));
                compare(candidate, operation, &a, &b);
            }
        }
        // Odd extents and gaps test the strides, an odd number of samples the end of the loop.
        let operation = [0, 5, 3][i % 3];
        for [m, n, k] in [[rows + 1, columns - 1, 13], [rows - 1, columns + 1, 3], [1, 1, 1], [3, 7, 101]] {
            let (a, b) = (matrix(&device, 1, m, k, i % 2 == 1), matrix(&device, 2, k, n, false));
            compare(candidate, operation, &a, &b);
        }
        if small {
            let (a, b) = (matrix(&device, 1, rows, 31, true), matrix(&device, 2, 31, columns, false));
            compare(candidate, 6, &a, &b);
        }
    }
}

#[test]
fn views_empty_sums_and_special_values_pass_through_every_kernel() {
    let Some(device) = gpu() else { return };
    let x = matrix(&device, 8, 90, 60, false);
    let view = |t: &Tensor, rows: (usize, usize), columns: (usize, usize)| {
        t.slice(0, rows.0, rows.1).unwrap().slice(1, columns.0, columns.1).unwrap()
    };
    let mut elements = x.to_vec::<f32>().unwrap();
    elements[7 * 60 + 3] = f32::NAN;
    elements[40 * 60 + 20] = f32::INFINITY;
    elements[60] = -0.0;
    let special = Tensor::from_slice(&device, &elements, &[90, 60]).unwrap();
    let row = view(&x, (9, 10), (1, 31)).broadcast_to(&[12, 30]).unwrap();
    for (i, candidate) in candidates(&device).into_iter().enumerate() {
        // Larger tiles have the same loads.
        if i % 2 == 1 {
            continue;
        }
        // Aligned and unaligned slices, a stretched row, one buffer twice.
        compare(candidate, 0, &view(&x, (2, 42), (4, 36)), &view(&x, (8, 40), (12, 56)));
        compare(candidate, 0, &view(&x, (1, 41), (3, 35)), &view(&x, (5, 37), (7, 42)));
        compare(candidate, 0, &row, &x.slice(0, 0, 30).unwrap());
        compare(candidate, 0, &x.t().unwrap(), &x);
        compare(candidate, 0, &special, &x.slice(0, 0, 60).unwrap());
        compare(candidate, 0, &x.t().unwrap(), &special);
        let (a, b) = (matrix(&device, 1, 8, 0, false), matrix(&device, 2, 0, 12, false));
        compare(candidate, 0, &a, &b);
    }
}

#[test]
fn a_profile_knows_when_a_kernel_is_worth_it() {
    let store = Epilogue::Matmul { accumulate: false };
    let software = ProductProfile { lanes: Some(8), software: true, threads: 2, cooperative: None };
    let hardware = ProductProfile { lanes: Some(32), software: false, threads: 2, cooperative: None };
    let extents = |m, n, k| Extents { m, n, k };
    assert_eq!(hardware.choose(extents(8, 8, 8), 1, store, |_| false), None);
    assert_eq!(software.choose(extents(512, 512, 0), 1, store, |_| false), None);
    // Small products use the kernel that compiles fastest, or one that exists already.
    let rows = |candidate: Option<Candidate>| candidate.unwrap().family.tile().0;
    assert_eq!(rows(software.choose(extents(64, 128, 64), 1, store, |_| false)), 8);
    assert_eq!(rows(software.choose(extents(64, 128, 64), 1, store, |_| true)), 32);
    let large = software.choose(extents(512, 256, 784), 1, store, |_| false).unwrap();
    assert!(matches!(large.family, Family::Subgroup { lanes: 8, .. }), "{large:?}");
    assert!(matches!(
        hardware.choose(extents(4096, 4096, 4096), 1, store, |_| false).unwrap().family,
        Family::Blocks { rows: 128, .. }
    ));
    let narrow = hardware.choose(extents(512, 10, 128), 1, store, |_| false).unwrap();
    assert!(narrow.swapped && narrow.family.tile().0 == 16);
    // On hardware the sum of a weight's gradient, over the batch, can be split only if it is not swapped.
    let gradient = Epilogue::WeightGrad { accumulate: false };
    for extents in [extents(512, 10, 128), extents(10, 512, 128), extents(300, 300, 128), extents(3, 3, 100_000)] {
        assert!(hardware.choose(extents, 1, gradient, |_| false).is_none_or(|candidate| !candidate.swapped));
    }
}

/// Integers up to 8 and their sums are exact in both precisions, so every text is compared bit by bit. Fractions are
/// off by the error of rounding both operands to f16, 2^-10 of the sum of magnitudes. A device without such matrices
/// rejects the precision, and nothing changes.
#[test]
fn cooperative_matrices_multiply_what_is_rounded_to_f16() {
    let Some(device) = gpu() else { return };
    let whole = |seed, rows, columns, transposed| {
        let x = matrix(&device, seed, rows, columns, transposed);
        let elements: Vec<f32> = x.to_vec::<f32>().unwrap().iter().map(|x| x.trunc()).collect();
        let shape = if transposed { [columns, rows] } else { [rows, columns] };
        let whole = Tensor::from_slice(&device, &elements, &[rows, columns]).unwrap();
        // The same numbers, stored by columns if `transposed`.
        if transposed { whole.t().unwrap().contiguous().unwrap().reshape(&shape).unwrap().t().unwrap() } else { whole }
    };
    let (a, b) = (matrix(&device, 1, 70, 100, false), matrix(&device, 2, 100, 130, false));
    let exact = a.matmul(&b).unwrap().to_vec::<f32>().unwrap();
    let sizes = a.abs().unwrap().matmul(&b.abs().unwrap()).unwrap().to_vec::<f32>().unwrap();
    if device.info().cooperative_matrix_side.is_none() {
        let error = device.set_matmul_precision(MatmulPrecision::F16).unwrap_err().to_string();
        assert!(error.contains("precision") && error.contains("cooperative"), "{error}");
        assert_eq!(device.matmul_precision(), MatmulPrecision::F32);
        assert_eq!(a.matmul(&b).unwrap().to_vec::<f32>().unwrap(), exact);
        return;
    }
    let profile = &products(&device).unwrap().profile;
    let candidate = profile.of_half_precision(Extents { m: 64, n: 64, k: 64 }).unwrap();
    // Operations in turn, since a software driver takes a second or more for each text.
    let mut operations = (0..OPERATIONS).cycle();
    for [m, n, k] in [[64, 64, 32], [68, 60, 36], [61, 130, 33], [20, 200, 100], [128, 64, 7]] {
        for (transposed_a, transposed_b) in [(false, true), (true, false), (false, false), (true, true)] {
            let (a, b) = (whole(1, m, k, transposed_a), whole(2, k, n, transposed_b));
            compare(candidate, operations.next().unwrap(), &a, &b);
        }
    }
    device.set_matmul_precision(MatmulPrecision::F16).unwrap();
    let rounded = a.matmul(&b).unwrap().to_vec::<f32>().unwrap();
    assert_ne!(rounded, exact, "nothing was rounded");
    for ((rounded, exact), size) in rounded.iter().zip(&exact).zip(&sizes) {
        assert!((rounded - exact).abs() <= size / 1024.0, "{rounded} {exact}");
    }
    device.set_matmul_precision(MatmulPrecision::F32).unwrap();
    assert_eq!(a.matmul(&b).unwrap().to_vec::<f32>().unwrap(), exact);
}

/// A sum over slices has another order, so the numbers are integers. The CPU runs the twins of both kernels.
#[test]
fn split_sums_are_the_same_numbers() {
    let whole = |device: &Device, seed, rows, columns, transposed| {
        let x = matrix(device, seed, rows, columns, false).to_vec::<f32>().unwrap();
        let x: Vec<f32> = x.into_iter().map(f32::trunc).collect();
        if transposed {
            Tensor::from_slice(device, &x, &[columns, rows]).unwrap().t().unwrap()
        } else {
            Tensor::from_slice(device, &x, &[rows, columns]).unwrap()
        }
    };
    for device in [Some(Device::cpu()), gpu()].into_iter().flatten() {
        let blocks = ProductProfile { lanes: None, software: false, threads: 1, cooperative: None }.candidates();
        let small = blocks.into_iter().filter(|candidate| candidate.family.tile().0 <= 32 && !candidate.swapped);
        for (i, candidate) in small.enumerate() {
            for ([m, n, k], slice) in [([32, 64, 128], 32), ([33, 20, 101], 48), ([5, 7, 16], 16), ([16, 12, 100], 64)]
            {
                let operation = [0, 1, 2, 3, 4, 5, 6][(m + i) % OPERATIONS];
                for operation in [operation, 5, 6] {
                    let a = whole(&device, 1, m, k, operation >= 5);
                    let b = whole(&device, 2, k, n, operation == 0);
                    let bits = |how| {
                        let results = forced(how, || compute_whole(operation, &a, &b));
                        results.iter().flat_map(|t| t.to_vec::<f32>().unwrap()).collect::<Vec<_>>()
                    };
                    assert_eq!(bits(Forced::Split(candidate, slice)), bits(Forced::Strided), "{operation} {m} {n} {k}");
                }
            }
        }
    }
}

/// Computes like [`compute`]. Only the operands may be rounded, so the bias and the target are zero.
fn compute_whole(operation: usize, a: &Tensor, b: &Tensor) -> Vec<Tensor> {
    let (device, m, n) = (a.device(), a.shape()[0], b.shape()[1]);
    let ones = |shape: &[usize]| Tensor::full(device, 1.0f32, shape).unwrap();
    match operation {
        1 => {
            let c = ones(&[m, n]);
            a.matmul_into(b, &c, true).unwrap();
            vec![c]
        }
        2 | 3 => vec![a.linear(&b.t().unwrap(), &ones(&[n]), operation == 3).unwrap()],
        5 | 6 => {
            let (weight_grad, bias_grad) = (ones(&[m, n]), ones(&[m]));
            a.t().unwrap().linear_weight_grad_into(b, &weight_grad, &bias_grad, operation == 6).unwrap();
            vec![weight_grad, bias_grad]
        }
        _ => compute(operation, a, b),
    }
}

#[test]
fn sums_are_split_on_hardware_alone_and_in_whole_vectors() {
    let store = Epilogue::WeightGrad { accumulate: false };
    let extents = Extents { m: 10, n: 128, k: 5000 };
    let hardware = ProductProfile { lanes: None, software: false, threads: 2, cooperative: None };
    let slice = hardware.slice(extents, hardware.choose(extents, 1, store, |_| false).unwrap()).unwrap();
    assert!(slice >= 256 && slice.is_multiple_of(16) && slice < 5000, "{slice}");
    let software = ProductProfile { lanes: Some(8), software: true, threads: 2, cooperative: None };
    assert_eq!(software.slice(extents, software.choose(extents, 1, store, |_| false).unwrap()), None);
    let square = Extents { m: 4096, n: 4096, k: 4096 };
    assert_eq!(hardware.slice(square, hardware.choose(square, 1, store, |_| false).unwrap()), None);
}

#[test]
fn recordings_of_two_kernels_for_one_product_are_the_same_work() {
    let Some(device) = gpu() else { return };
    let (a, b) = (matrix(&device, 1, 32, 64, false), matrix(&device, 2, 64, 32, false));
    let record = |candidate, product: &dyn Fn() -> Tensor| {
        let recorded = device.record(|| -> crate::Result<_> { Ok(forced(Forced::Candidate(candidate), product)) });
        recorded.unwrap().0
    };
    let (multiply, transposed) = (|| a.matmul(&b).unwrap(), || b.t().unwrap().matmul(&a.t().unwrap()).unwrap());
    let candidates = candidates(&device);
    let first = record(candidates[0], &multiply);
    for &candidate in &candidates[1..] {
        let other = record(candidate, &multiply);
        assert_eq!(first.difference(&other), None, "{candidate:?}");
    }
    let difference = first.difference(&record(candidates[0], &transposed)).unwrap();
    assert!(difference.starts_with("work 1 of 1, matmul"), "{difference}");
}
