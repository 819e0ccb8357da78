//! Element-wise functions of tensors of 16 bits, eager and recorded.

use super::*;

/// Some functions by their documented formulas, in f32, then rounded in f64.
fn computes<T: Half>(device: &Device) {
    for size in SIZES {
        let (x, y) = (elements::<T>(1, size, -300.0, 300.0), elements::<T>(2, size, 0.01, 3.0));
        let [a, b] = [&x, &y].map(|host| Tensor::from_slice(device, host, &[size]).unwrap());
        let check = |name: &str, got: Tensor, formula: &dyn Fn(f32, f32) -> f32| {
            assert_eq!(got.dtype(), T::DTYPE, "{name}");
            let got: Vec<T> = got.to_vec().unwrap();
            assert_eq!(got.len(), size);
            for ((&got, &x), &y) in got.iter().zip(&x).zip(&y) {
                let (x, y) = (decoded(x) as f32, decoded(y) as f32);
                assert_nearest(&(name, device, x, y), got, f64::from(formula(x, y)));
            }
        };
        check("relu", a.relu().unwrap(), &|x, _| x.max(0.0));
        check("neg", a.neg().unwrap(), &|x, _| -x);
        check("square", a.square().unwrap(), &|x, _| x * x);
        check("affine", a.affine(0.5, 0.25).unwrap(), &|x, _| x * 0.5 + 0.25);
        check("add", a.add(&b).unwrap(), &|x, y| x + y);
        check("sub", a.sub(&b).unwrap(), &|x, y| x - y);
        check("mul", a.mul(&b).unwrap(), &|x, y| x * y);
    }
}

#[test]
fn functions_compute_in_f32_and_round() {
    // Hardware may contract the product and the sum of `affine`, whose products are exact here; all others are one
    // operation.
    for device in devices() {
        computes::<f16>(&device);
        computes::<bf16>(&device);
    }
}

fn broadcasts<T: Half>(device: &Device) {
    let shapes: [(&[usize], &[usize]); 9] = [
        (&[], &[]),
        (&[], &[65]),
        (&[257], &[]),
        (&[7, 1], &[1, 65]),
        (&[0, 3], &[1, 3]),
        (&[4, 1, 6], &[3, 1]),
        (&[3, 5], &[5]),
        (&[3, 5], &[3, 1]),
        (&[2, 1, 2, 1, 2, 1, 2, 1], &[1, 3, 1, 2, 1, 2, 1, 3]),
    ];
    for (left, right) in shapes {
        let x = elements::<T>(3, left.iter().product(), -3.0, 3.0);
        let y = elements::<T>(4, right.iter().product(), -3.0, 3.0);
        let (a, b) = (Tensor::from_slice(device, &x, left).unwrap(), Tensor::from_slice(device, &y, right).unwrap());
        let [wide_a, wide_b] = [&a, &b].map(|tensor| tensor.to_dtype(DType::F32).unwrap());
        let (got, exact) = (a.sub(&b).unwrap(), wide_a.sub(&wide_b).unwrap());
        assert_eq!(got.shape(), exact.shape());
        for (got, exact) in got.to_vec::<T>().unwrap().into_iter().zip(crate::common::floats(&exact)) {
            assert_nearest(&(left, right, device), got, f64::from(exact));
        }
    }
    // Views: transposed, from an odd place, with gaps; and both operands from one buffer.
    let x = Tensor::from_slice(device, &elements::<T>(5, 41 * 41, -3.0, 3.0), &[41, 41]).unwrap();
    let part = x.slice(0, 1, 30).unwrap().slice(1, 3, 32).unwrap();
    let row = x.slice(0, 7, 8).unwrap().slice(1, 5, 34).unwrap().broadcast_to(&[29, 29]).unwrap();
    for (a, b) in [(&x, &x.t().unwrap()), (&part, &part.t().unwrap()), (&part, &row), (&row, &row.t().unwrap())] {
        let [wide_a, wide_b] = [a, b].map(|tensor| tensor.to_dtype(DType::F32).unwrap());
        let exact = crate::common::floats(&wide_a.sub(&wide_b).unwrap());
        for (got, exact) in a.sub(b).unwrap().to_vec::<T>().unwrap().into_iter().zip(exact) {
            assert_nearest(&("views", device), got, f64::from(exact));
        }
    }
}

#[test]
fn operands_broadcast() {
    for device in devices() {
        broadcasts::<f16>(&device);
        broadcasts::<bf16>(&device);
    }
}

/// Every function of the table compared with its twin. If the results in f32 differ by the tolerance of the function's
/// entry, they may round to neighbours; most do not.
fn agrees<T: Half>(gpu: &Device) {
    const COUNT: usize = 501;
    let cpu = Device::cpu();
    let (mut different, mut compared) = (0, 0);
    for function in [1, 2, 3].into_iter().flat_map(functions_of) {
        let check = &function.function.checks[0];
        let (low, high) = check.smooth_range().unwrap_or((-3.0, 3.0));
        let operands: Vec<Vec<T>> = (0..function.function.function.arguments.len())
            .map(|i| elements::<T>(i as u64, COUNT, low, high))
            .collect();
        let [got, expected] = [gpu, &cpu].map(|device| {
            let tensor = |host: &Vec<T>| Tensor::from_slice(device, host, &[COUNT]).unwrap();
            let tensors: Vec<Tensor> = operands.iter().map(tensor).collect();
            let result = function.of(&tensors[0], &tensors[1..].iter().collect::<Vec<_>>()).unwrap();
            assert_eq!(result.dtype(), T::DTYPE);
            result.to_vec::<T>().unwrap()
        });
        let bounds = check.tolerance();
        let (absolute, relative) = if crate::common::is_software(gpu) { bounds.software } else { bounds.hardware };
        for (&got, &expected) in got.iter().zip(&expected) {
            let (got, expected) = (decoded(got), decoded(expected));
            compared += 1;
            if got == expected || got.is_nan() && expected.is_nan() {
                continue;
            }
            different += 1;
            let step = 2f64.powi(exponent(expected).max(T::LEAST) - (T::BITS - 1));
            let allowed = f64::from(absolute) + f64::from(relative) * expected.abs() + step;
            assert!((got - expected).abs() <= allowed, "{function:?} on {gpu}: {got:e}, the twin {expected:e}");
        }
    }
    assert!(compared > 40 * COUNT && different <= compared / 100, "{different} of {compared} differ on {gpu}");
}

#[test]
fn every_function_of_f16_does_what_its_twin_does() {
    devices().iter().filter(|device| !device.is_cpu()).for_each(agrees::<f16>);
}

#[test]
fn every_function_of_bf16_does_what_its_twin_does() {
    devices().iter().filter(|device| !device.is_cpu()).for_each(agrees::<bf16>);
}

/// A recorded chain, fused or not, replays to the bits of the same work launch by launch.
fn replays<T: Half>(device: &Device, size: usize, launches: [usize; 2]) {
    let host = elements::<T>(1, size, -3.0, 3.0);
    let row = Tensor::from_slice(device, &elements::<T>(2, size, -1.0, 1.0), &[size]).unwrap();
    let step = |x: &Tensor| -> Result<(), Error> {
        let y = x.affine(0.9, 0.1)?.add(&row)?.tanh()?;
        let z = y.to_dtype(DType::F32)?.mul(&y.to_dtype(DType::F32)?)?.to_dtype(T::DTYPE)?;
        y.sub(&z)?.mul(&row)?.copy_into(x)
    };
    let plain = Tensor::from_slice(device, &host, &[size]).unwrap();
    (0..4).for_each(|_| step(&plain).unwrap());
    let expected = plain.to_vec::<T>().unwrap();
    assert_ne!(expected, host);
    for (fuse, launches) in [false, true].into_iter().zip(launches) {
        let x = Tensor::from_slice(device, &host, &[size]).unwrap();
        let options = RecordOptions { fuse, ..RecordOptions::default() };
        let (recording, ()) = device.record_with(options, || step(&x)).unwrap();
        recording.replay(3).unwrap();
        assert_eq!(recording.launches(), launches, "{size}, fuse {fuse} on {device}");
        assert_eq!(bits(&x.to_vec::<T>().unwrap()), bits(&expected), "{size}, fuse {fuse} on {device}");
    }
}

/// A chain with operands that are rows, columns and single elements. Its result is written between other elements,
/// which keep their values.
fn replays_with_broadcasts<T: Half>(device: &Device) {
    let tensor = |seed, shape: &[usize]| {
        Tensor::from_slice(device, &elements::<T>(seed, shape.iter().product(), 0.5, 2.0), shape).unwrap()
    };
    let (row, column, one) = (tensor(1, &[10]), tensor(2, &[5, 1]), tensor(3, &[1]));
    let room = |()| Tensor::full(device, T::of_bits(0x3555), &[300]).unwrap();
    let of_room = |room: &Tensor| room.slice(0, 128, 178).unwrap().reshape(&[5, 10]).unwrap();
    let step = |x: &Tensor| -> Result<(), Error> {
        let y = x.add(&row)?.mul(&column)?.add(&row.slice(0, 3, 4)?)?.sqrt()?;
        y.sub(&one)?.add(&column.t()?.broadcast_to(&[1, 5])?.slice(1, 1, 2)?)?.copy_into(x)
    };
    let plain = room(());
    (0..3).for_each(|_| step(&of_room(&plain)).unwrap());
    let expected = bits(&plain.to_vec::<T>().unwrap());
    let recorded = room(());
    let (recording, ()) = device.record(|| step(&of_room(&recorded))).unwrap();
    assert_eq!((recording.launches(), recording.generated().count()), (1, 1), "{recording:?}");
    recording.replay(2).unwrap();
    assert_eq!(bits(&recorded.to_vec::<T>().unwrap()), expected, "{device}");
    assert_eq!((expected[127], expected[178], expected[179]), (0x3555, 0x3555, 0x3555));
    assert!(expected[128..178].iter().all(|&bits| bits != 0x3555));
}

/// Chains of several storage types are not fused.
fn replays_apart(device: &Device) {
    let x = Tensor::from_slice(device, &elements::<f16>(1, 64, 0.5, 2.0), &[64]).unwrap();
    let y = Tensor::from_slice(device, &elements::<bf16>(2, 64, 0.5, 2.0), &[64]).unwrap();
    let step = || Ok::<_, Error>((x.square()?.neg()?, y.square()?.neg()?));
    let (recording, (a, b)) = device.record(step).unwrap();
    assert_eq!((recording.launches(), recording.generated().count()), (2, 2));
    let (c, d) = step().unwrap();
    recording.replay(1).unwrap();
    assert_eq!(a.to_vec::<f16>().unwrap(), c.to_vec::<f16>().unwrap());
    assert_eq!(b.to_vec::<bf16>().unwrap(), d.to_vec::<bf16>().unwrap());
}

#[test]
fn recordings_replay_the_same_bits() {
    for device in devices() {
        // With an odd number of elements the last copy is a separate launch; conversions end a chain.
        for (size, launches) in [(1009, [10, 7]), (40_000, [9, 6])] {
            replays::<f16>(&device, size, launches);
            replays::<bf16>(&device, size, launches);
        }
        replays_with_broadcasts::<f16>(&device);
        replays_with_broadcasts::<bf16>(&device);
        replays_apart(&device);
    }
}
