//! Element-wise functions, fills and copies.

use thalweg::tensor::functions::{Check, SINE};
use thalweg::tensor::{Tensor, copy_by_kernel, functions};

use crate::common::{Tolerance, floats, functions_of, numbers, tensor};
use crate::parity::{FOLDED, Pair, SIZES};

/// Every function of the table, and other functions.
#[test]
fn every_function_does_what_its_twin_does() {
    let Some(pair) = Pair::open() else { return };
    let mut different = Vec::new();
    for function in [1, 2, 3].into_iter().flat_map(functions_of) {
        let report = function.function.check_parity(&pair.gpu).unwrap();
        if !report.agrees() {
            different.push(report.to_string());
        }
        // At least the drawn arguments, except those that are left out.
        assert!(report.compared >= 1000, "{report}");
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn the_twin_itself_runs_on_the_cpu() {
    let cpu = thalweg::tensor::Device::cpu();
    for function in [1, 2, 3].into_iter().flat_map(functions_of) {
        let report = function.function.check_parity(&cpu).unwrap();
        assert!(report.agrees(), "{report}");
    }
}

functions! {
    /// x + 1, with a kernel that adds 2.
    WRONG = wrong(x) {
        wgsl: "return x + 2.0;",
        twin: x + 1.0,
        derivatives: [g],
        checks: [Check::over(-10.0, 10.0).within(SINE)],
    }
}

#[test]
fn a_kernel_that_does_not_what_its_twin_does_is_found() {
    let Some(pair) = Pair::open() else { return };
    let report = WRONG.check_parity(&pair.gpu).unwrap();
    assert!(!report.agrees() && report.different > 1000, "{report}");
    let first = report.first.as_ref().unwrap();
    assert_eq!((first.got, first.expected), (first.arguments[0] + 2.0, first.arguments[0] + 1.0), "{report}");
    assert!(report.to_string().contains("results differ; wrong of ["), "{report}");
}

/// Beyond 8,192 the driver's own sine is used, which only has to be in range.
#[test]
fn sines_of_large_numbers_are_bounded() {
    let Some(pair) = Pair::open() else { return };
    let x = tensor(&pair.gpu, &[8193.0, -8193.0, 1e5, -1e6, 1e30, f32::MAX], &[6]);
    for y in [x.sin(), x.cos()] {
        let y = floats(&y.unwrap());
        assert!(y.iter().all(|y| y.abs() <= 1.0001), "{y:?}");
    }
}

#[test]
fn operands_of_every_size_and_views() {
    let Some(pair) = Pair::open() else { return };
    for size in SIZES {
        let (x, y) = (numbers(2, size, -3.0, 3.0), numbers(4, size, -3.0, 3.0));
        let compute = |device: &_| {
            let (x, y) = (tensor(device, &x, &[size]), tensor(device, &y, &[size]));
            vec![x.square().unwrap(), x.add(&y).unwrap(), x.apply_with(&crate::common::LERP, &[&y, &x], &[]).unwrap()]
        };
        pair.compare(
            &format!("{size} elements"),
            pair.tolerance(Tolerance::EXACT, Tolerance::new(2e-6, 2e-7)),
            compute,
        );
    }
    let x = numbers(3, 256 * FOLDED, -3.0, 3.0);
    pair.compare("a folded grid", Tolerance::EXACT, |device| {
        let x = tensor(device, &x, &[x.len()]);
        vec![x.neg().unwrap(), x.mul(&x).unwrap()]
    });

    // A view that is not contiguous, or not aligned, is copied first.
    let x = numbers(4, 20 * 30, -3.0, 3.0);
    pair.compare("views", Tolerance::EXACT, |device| {
        let x = tensor(device, &x, &[20, 30]);
        let views = [x.t(), x.slice(0, 3, 17), x.slice(1, 1, 2), x.slice(0, 0, 1).unwrap().broadcast_to(&[7, 30])];
        views.into_iter().map(|view| view.unwrap().square().unwrap()).collect()
    });
}

#[test]
fn every_function_broadcasts() {
    let Some(pair) = Pair::open() else { return };
    let (x, y) = (numbers(1, 5 * 7 * 3, -3.0, 3.0), numbers(2, 7 * 3, -3.0, 3.0));
    for function in [2, 3].into_iter().flat_map(functions_of) {
        let bounds = function.function.checks[0].tolerance();
        let [software, hardware] = [bounds.software, bounds.hardware].map(|(a, r)| Tolerance::new(a, r));
        pair.compare(&format!("{function:?}"), pair.tolerance(software, hardware), |device| {
            let (x, y) = (tensor(device, &x, &[5, 7, 3]), tensor(device, &y, &[7, 3]));
            let third = x.slice(2, 1, 2).unwrap();
            let rest: &[&Tensor] = if function.function.function.arguments.len() == 3 { &[&third] } else { &[] };
            let of = |x: &Tensor, y| function.of(x, &[&[y], rest].concat()).unwrap();
            vec![of(&x, &y), of(&y, &x)]
        });
    }
    let shapes: [(&[usize], &[usize]); 12] = [
        (&[], &[]),
        (&[], &[65]),
        (&[257], &[]),
        (&[64, 1], &[1, 65]),
        (&[0, 3], &[1, 3]),
        (&[3, 0], &[1]),
        (&[4, 1, 6], &[3, 1]),
        (&[2, 1, 3, 1, 2], &[1, 4, 1, 5, 2]),
        (&[2, 1, 2, 1, 2, 1, 2, 1], &[1, 3, 1, 2, 1, 2, 1, 3]),
        (&[1009, 1], &[1]),
        (&[1, 1, 1], &[63, 1, 4]),
        (&[2, 3, 4], &[2, 3, 1]),
    ];
    for (left, right) in shapes {
        let x = numbers(3, left.iter().product(), -3.0, 3.0);
        let y = numbers(4, right.iter().product(), -3.0, 3.0);
        pair.compare(&format!("{left:?} - {right:?}"), Tolerance::EXACT, |device| {
            vec![tensor(device, &x, left).sub(&tensor(device, &y, right)).unwrap()]
        });
    }
    // Views: transposed, from an unaligned place, with gaps, broadcast; and both operands from one buffer.
    let x = numbers(5, 40 * 40, -3.0, 3.0);
    pair.compare("views", Tolerance::EXACT, |device| {
        let x = tensor(device, &x, &[40, 40]);
        let part = x.slice(0, 1, 31).unwrap().slice(1, 3, 33).unwrap();
        let row = x.slice(0, 7, 8).unwrap().slice(1, 5, 35).unwrap().broadcast_to(&[30, 30]).unwrap();
        [(&x, &x.t().unwrap()), (&part, &part.t().unwrap()), (&part, &row), (&row, &row.t().unwrap())]
            .map(|(a, b)| a.sub(b).unwrap())
            .to_vec()
    });
    // A lane processes one element here.
    let (x, y) = (numbers(6, FOLDED, -3.0, 3.0), numbers(7, 64, -3.0, 3.0));
    pair.compare("a folded grid", Tolerance::EXACT, |device| {
        vec![tensor(device, &x, &[FOLDED, 1]).add(&tensor(device, &y, &[64])).unwrap()]
    });
}

pub(crate) fn fill(pair: &Pair) {
    for size in SIZES {
        pair.compare_bits(&format!("filling {size}"), |device| {
            let part = Tensor::full(device, 1f32, &[size + 70]).unwrap();
            part.slice(0, 64, 64 + size.min(6)).unwrap().fill(-0f32).unwrap();
            vec![
                Tensor::full(device, f32::NAN, &[size]).unwrap(),
                Tensor::full(device, 0xdead_beefu32, &[size]).unwrap(),
                Tensor::full(device, 0f32, &[size]).unwrap(),
                part,
            ]
        });
    }
    pair.compare_bits("a folded grid", |device| vec![Tensor::full(device, 7u32, &[64 * FOLDED]).unwrap()]);
}

pub(crate) fn copy(pair: &Pair) {
    let elements: Vec<u32> = (0..2 * 3 * 2 * 3 * 2 * 2 * 3 * 2).collect();
    pair.compare_bits("views", |device| {
        let x = Tensor::from_slice(device, &elements, &[2, 3, 2, 3, 2, 2, 3, 2]).unwrap();
        let plane = x.reshape(&[36, 24]).unwrap();
        let views = [
            x.permute(&[7, 0, 6, 1, 5, 2, 4, 3]),
            plane.t(),
            plane.slice(1, 5, 18),
            plane.slice(0, 3, 35).unwrap().t(),
            plane.slice(0, 1, 2).unwrap().broadcast_to(&[9, 24]),
            plane.slice(1, 7, 8).unwrap().broadcast_to(&[36, 3]),
            plane.slice(0, 5, 5),
            plane.slice(0, 5, 6),
        ];
        views.into_iter().map(|view| view.unwrap().copy().unwrap()).collect()
    });
    for size in SIZES {
        let x = numbers(1, 2 * size, -1.0, 1.0);
        pair.compare_bits(&format!("every second of {size}"), |device| {
            let x = tensor(device, &x, &[size, 2]).slice(1, 1, 2).unwrap();
            let target = Tensor::full(device, 1f32, &[size, 1]).unwrap();
            x.copy_into(&target).unwrap();
            vec![x.copy().unwrap(), target]
        });
    }
    // 2,049² elements are 65,601 workgroups.
    let x = numbers(2, 2049 * 2049, -1.0, 1.0);
    pair.compare_bits("a folded grid", |device| vec![tensor(device, &x, &[2049, 2049]).t().unwrap().copy().unwrap()]);
    pair.compare_bits("joined", |device| {
        let plane = Tensor::from_slice(device, &elements, &[36, 24]).unwrap();
        let parts = [plane.slice(0, 1, 4).unwrap(), plane.slice(0, 0, 0).unwrap(), plane.slice(0, 30, 36).unwrap()];
        vec![Tensor::concatenate(&parts, 0).unwrap()]
    });
}

pub(crate) fn copy_roof(pair: &Pair) {
    // Sizes that fill all workgroups, and others.
    for vectors_per_lane in [1, 2, 4] {
        for size in [0, 4, 252, 256, 260, 1012, 4096, 256 * FOLDED] {
            if size > 4096 && vectors_per_lane > 1 {
                continue;
            }
            let x = numbers(1, size, -1.0, 1.0);
            pair.compare_bits(&format!("{size} by {vectors_per_lane}"), |device| {
                let target = Tensor::full(device, 1f32, &[size]).unwrap();
                copy_by_kernel(&tensor(device, &x, &[size]), &target, vectors_per_lane).unwrap();
                vec![target]
            });
        }
    }
}
