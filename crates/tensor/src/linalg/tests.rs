//! Shapes, refusals and values of linear algebra on the CPU; accuracy is tested on both devices with the kernels.

use super::{MOST_TURNS, launches, power_below, reciprocal_power};
use crate::{DType, Device, Error, Result, Tensor};

fn tensor(elements: &[f32], shape: &[usize]) -> Tensor {
    Tensor::from_slice(&Device::cpu(), elements, shape).unwrap()
}

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(&Device::cpu(), DType::F32, shape).unwrap()
}

type Operation = fn(&Tensor) -> Result<Vec<Tensor>>;

/// Operations of square matrices, with the shapes of their results after the batch, for n = 3.
const OF_SQUARES: &[(&str, Operation, &[&[usize]])] = &[
    ("cholesky", |x| Ok(vec![x.cholesky()?]), &[&[3, 3]]),
    ("solve_triangular", |x| Ok(vec![x.solve_triangular(x, true, false, false)?]), &[&[3, 3]]),
    ("lu", |x| x.lu().map(|(p, l, u)| vec![p, l, u]), &[&[3, 3], &[3, 3], &[3, 3]]),
    ("solve", |x| Ok(vec![x.solve(x)?]), &[&[3, 3]]),
    ("inv", |x| Ok(vec![x.inv()?]), &[&[3, 3]]),
    ("det", |x| Ok(vec![x.det()?]), &[&[]]),
    ("slogdet", |x| x.slogdet().map(|(sign, logarithm)| vec![sign, logarithm]), &[&[], &[]]),
    ("eigh", |x| x.eigh().map(|(w, v)| vec![w, v]), &[&[3], &[3, 3]]),
];

/// Those of all matrices.
const OF_ALL: &[(&str, Operation)] = &[
    ("qr", |x| x.qr().map(|(q, r)| vec![q, r])),
    ("svd", |x| x.svd().map(|(u, s, vh)| vec![u, s, vh])),
    ("svdvals", |x| Ok(vec![x.svdvals()?])),
];

#[test]
fn batches_have_the_shapes_of_their_leading_axes() {
    for batch in [&[][..], &[2], &[0], &[2, 1, 3]] {
        let unit = Tensor::eye(&Device::cpu(), 3, 3).unwrap();
        let x = unit.broadcast_to(&[batch, &[3, 3]].concat()).unwrap();
        for (name, operation, shapes) in OF_SQUARES {
            let results = operation(&x).unwrap();
            let expected: Vec<Vec<usize>> = shapes.iter().map(|own| [batch, own].concat()).collect();
            assert_eq!(results.iter().map(Tensor::shape).collect::<Vec<_>>(), expected, "{name}");
            assert!(
                results.iter().all(|x| x.to_vec::<f32>().unwrap().iter().all(|x| [0.0, 1.0].contains(x))),
                "{name}"
            );
        }
        for (m, n) in [(2, 3), (3, 2), (0, 2), (2, 0), (0, 0)] {
            let (k, x) = (m.min(n), zeros(&[batch, &[m, n]].concat()));
            let shapes: [&[[usize; 2]]; 3] = [&[[m, k], [k, n]], &[[m, k], [k, 1], [k, n]], &[[k, 1]]];
            for ((name, operation), own) in OF_ALL.iter().zip(shapes) {
                for (got, own) in operation(&x).unwrap().iter().zip(own) {
                    let is_list = got.rank() == batch.len() + 1;
                    let expected = [batch, if is_list { &own[..1] } else { &own[..] }].concat();
                    assert_eq!(got.shape(), expected, "{name}");
                }
            }
        }
    }
}

#[test]
fn matrices_that_do_not_fit_are_refused_by_name() {
    let words = Tensor::zeros(&Device::cpu(), DType::U32, &[3, 3]).unwrap();
    let all = OF_SQUARES.iter().map(|(name, operation, _)| (name, operation)).chain(OF_ALL.iter().map(|(n, o)| (n, o)));
    for (name, operation) in all {
        let error = operation(&zeros(&[3])).unwrap_err();
        assert!(matches!(error, Error::Rank { op, .. } if op == *name), "{name}: {error}");
        let error = operation(&words).unwrap_err();
        assert!(matches!(error, Error::DType { op, .. } if op == *name), "{name}: {error}");
        let error = operation(&zeros(&[1, 1025]).broadcast_to(&[1025, 1025]).unwrap()).unwrap_err();
        assert!(matches!(error, Error::Argument { op, .. } if op == *name || op == "svd"), "{name}: {error}");
    }
    for (name, operation, _) in OF_SQUARES {
        let error = operation(&zeros(&[2, 3])).unwrap_err().to_string();
        assert!(
            error.contains(name) && error.contains("[2, 3]") && error.contains("as many rows as columns"),
            "{error}"
        );
    }
    let (a, b) = (zeros(&[2, 3, 3]), zeros(&[4, 3, 1]));
    assert!(matches!(a.solve(&b), Err(Error::Shape { op: "solve", .. })));
    assert!(matches!(a.solve(&zeros(&[2, 4])), Err(Error::Shape { op: "solve", .. })));
    assert!(matches!(a.solve_triangular(&b, true, true, true), Err(Error::Shape { op: "solve_triangular", .. })));
    assert!(matches!(a.solve_triangular(&zeros(&[3]), true, false, true), Err(Error::Rank { .. })));
    assert!(a.solve(&Tensor::zeros(&Device::cpu(), DType::U32, &[3]).unwrap()).is_err());
}

#[test]
fn right_sides_are_vectors_by_the_rule_of_pytorch() {
    let a = tensor(&[2.0, 0.0, 0.0, 4.0], &[1, 2, 2]).broadcast_to(&[2, 2, 2]).unwrap();
    for shape in [&[2][..], &[2, 2]] {
        let x = a.solve(&tensor(&[2.0, 4.0, 2.0, 4.0][..shape.iter().product()], shape)).unwrap();
        assert_eq!((x.shape(), x.to_vec::<f32>().unwrap()), (&[2, 2][..], vec![1.0, 1.0, 1.0, 1.0]));
    }
    let x = a.solve(&tensor(&[2.0, 4.0], &[2, 1])).unwrap();
    assert_eq!((x.shape(), x.to_vec::<f32>().unwrap()), (&[2, 2, 1][..], vec![1.0; 4]));
}

#[test]
fn a_system_that_has_no_solution_is_not_finite() {
    let a = tensor(&[1.0, 2.0, 2.0, 4.0], &[2, 2]);
    let not_finite = |x: Result<Tensor>| x.unwrap().to_vec::<f32>().unwrap().iter().any(|x| !x.is_finite());
    assert!(not_finite(a.inv()) && not_finite(a.solve(&tensor(&[1.0, 1.0], &[2]))));
    assert_eq!(a.det().unwrap().item::<f32>().unwrap(), 0.0);
}

#[test]
fn views_are_read_as_they_are() {
    let x = tensor(&(0..24).map(|i| ((i * 7 + 3) % 11) as f32).collect::<Vec<_>>(), &[3, 2, 4]);
    let view = x.permute(&[1, 2, 0]).unwrap().slice(1, 0, 3).unwrap();
    let copy = view.copy().unwrap();
    for (name, operation) in OF_SQUARES.iter().map(|(name, operation, _)| (name, operation)) {
        for (got, expected) in operation(&view).unwrap().iter().zip(operation(&copy).unwrap()) {
            let bits = |x: &Tensor| x.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect::<Vec<_>>();
            assert_eq!(bits(got), bits(&expected), "{name}");
        }
    }
}

#[test]
fn launches_cover_all_steps_once() {
    for (steps, each) in [(0, 5), (1, 70_000), (7, 20_000), (100, 1000), (3, 1)] {
        let ranges: Vec<_> = launches(steps, |_| each).collect();
        assert_eq!(ranges.iter().cloned().flatten().collect::<Vec<_>>(), (0..steps).collect::<Vec<_>>());
        assert!(ranges.iter().all(|range| range.len() == 1 || range.len() * each <= MOST_TURNS));
    }
}

#[test]
fn powers_of_two_divide_exactly() {
    for (x, power) in [(1.0, 1.0), (1.99, 1.0), (0.3, 0.25), (0.0, 1.0), (f32::INFINITY, 1.0), (6e9, 4_294_967_296.0)] {
        assert_eq!((power_below(x), power * reciprocal_power(power)), (power, 1.0));
    }
    assert!(power_below(f32::NAN) == 1.0 && power_below(f32::MIN_POSITIVE) * reciprocal_power(1e-38_f32) > 0.0);
    assert!(power_below(f32::MAX) * reciprocal_power(power_below(f32::MAX)) == 1.0);
}
