//! Every differentiable operation compared with centred differences, first and second derivatives, on the CPU and on a
//! GPU.
//!
//! Inputs are away from kinks. The bound of 1e-3 on the relative error is ten times the default for "right". Rounding
//! in f32 over a step of 5e-3 gives some 1e-5 to 1e-4, except for elements near a zero of a third derivative.

mod linalg;
mod table;

use thalweg::autograd::{GradientCheck, Result, Tape, Var, check_function, check_gradient, jvp, vjp};
use thalweg::tensor::functions::{Check, MUL, SIGN};
use thalweg::tensor::{Device, Tensor, functions};

use table::TABLE;
pub(crate) use table::indices;

pub(crate) type Function = for<'t> fn(&'t Tape, &[Var<'t>]) -> Result<Var<'t>>;

/// Name, function, the range and the shapes of its inputs.
pub(crate) type Row = (&'static str, Function, (f32, f32), &'static [&'static [usize]]);

/// All rows: those of losses, normalizations and linear algebra have their own file.
fn table() -> impl Iterator<Item = &'static Row> {
    TABLE.iter().chain(crate::losses::TABLE).chain(linalg::TABLE)
}

fn inputs(device: &Device, (low, high): (f32, f32), shapes: &[&[usize]]) -> Vec<Tensor> {
    let draw = |(i, shape): (usize, &&[usize])| Tensor::uniform(device, 17, i as u64, low, high, shape).unwrap();
    shapes.iter().enumerate().map(draw).collect()
}

/// Each function of the table, and others, on all of its pieces.
#[test]
fn derivatives_of_every_element_wise_function() {
    for device in crate::common::devices() {
        for function in [1, 2, 3].into_iter().flat_map(crate::common::functions_of) {
            let reports = check_function(&device, function.function).unwrap();
            assert!(!reports.is_empty(), "{function:?} is not checked");
            for report in reports {
                assert!(report.is_right(), "{device}: {report}");
            }
        }
    }
}

functions! {
    /// x clamped, with the gradient that ignores the bounds.
    UNBOUNDED = unbounded(x; low, high) {
        wgsl: "return minimum(maximum(x, low), high);",
        twin: x.clamp(low, high),
        derivatives: [g],
        checks: [Check::over(-2.0, 2.0).numbers(&[-0.5, 0.7])],
    }

    /// |x|, with the gradient of positive numbers.
    ONE_SIDED = one_sided(x) {
        wgsl: "return abs(x);",
        twin: x.abs(),
        derivatives: [g],
        checks: [Check::over(-2.0, 2.0)],
    }

    /// x |x|, with the right gradient 2 |x| of a wrong gradient.
    WRONG_TWICE = wrong_twice(x) {
        wgsl: "return x * abs(x);",
        twin: x * x.abs(),
        derivatives: [MUL(g, WRONG_SLOPE(x))],
        checks: [Check::over(-2.0, 2.0)],
    }

    /// 2 |x|, with half of the gradient.
    WRONG_SLOPE = wrong_slope(x) {
        wgsl: "return 2.0 * abs(x);",
        twin: 2.0 * x.abs(),
        derivatives: [MUL(g, SIGN(x))],
    }
}

#[test]
fn a_gradient_that_is_wrong_on_a_piece_is_found() {
    let reports = |function| check_function(&Device::cpu(), function).unwrap();
    for function in [&UNBOUNDED, &ONE_SIDED] {
        let reports = reports(function);
        assert!(reports.len() == 1 && reports[0].first.relative_error > 0.1, "{}", reports[0]);
    }
    let wrong = &reports(&WRONG_TWICE)[0];
    assert!(wrong.first.relative_error < 1e-3 && wrong.second[0].relative_error > 0.05 && !wrong.is_right(), "{wrong}");
}

/// Derivatives far from the curved part of a function, where 1 - y² and similar forms lose their digits.
#[test]
fn derivatives_keep_their_digits_far_from_zero() {
    /// The exact derivative, in f64.
    type Exact = fn(f64) -> f64;
    let table: [(&'static functions::Elementwise, Exact, &[f32]); 3] = [
        (&functions::EXPM1, |x| x.exp(), &[-1e-3, -1.0, -10.0, -16.0, -18.0, -40.0, 3.0]),
        (
            &functions::TANH,
            |x| 4.0 * (-2.0 * x.abs()).exp() / (1.0 + (-2.0 * x.abs()).exp()).powi(2),
            &[0.0, 0.1, 1.0, -5.0, 9.0, 12.0, -30.0],
        ),
        (
            &functions::SIGMOID,
            |x| (-x.abs()).exp() / (1.0 + (-x.abs()).exp()).powi(2),
            &[0.0, -0.1, 1.0, -8.0, 15.0, 40.0, -60.0],
        ),
    ];
    for device in crate::common::devices() {
        for (function, exact, arguments) in table {
            let tape = Tape::new();
            let x = tape.input(&crate::common::tensor(&device, arguments, &[arguments.len()]));
            let gradients = tape.backward(x.apply(function, &[]).unwrap().sum().unwrap()).unwrap();
            for (got, &x) in crate::common::floats(gradients.get(x).unwrap()).into_iter().zip(arguments) {
                let expected = exact(f64::from(x));
                // Some ulps of 6e-8: an exponential has an error of two or three, and is squared.
                let error = (f64::from(got) - expected).abs() / expected;
                assert!(error < 6e-7, "{device}: {function:?} at {x}: {got:e}, not {expected:e}");
            }
        }
    }
}

/// The conventions of the table at kinks, ties and NaN: function, numbers, arguments, result, derivatives.
#[test]
fn conventions_hold() {
    use functions::*;
    let nan = f32::NAN;
    let infinity = f32::INFINITY;
    pub(crate) type Row = (&'static Elementwise, &'static [f32], Vec<f32>, f32, Vec<f32>);
    let table: Vec<Row> = vec![
        (&ABS, &[], vec![0.0], 0.0, vec![0.0]),
        (&ABS, &[], vec![nan], nan, vec![nan]),
        (&SIGN, &[], vec![nan], nan, vec![0.0]),
        (&SQRT, &[], vec![0.0], 0.0, vec![infinity]),
        (&SQRT, &[], vec![-1.0], nan, vec![nan]),
        (&RECIPROCAL, &[], vec![0.0], infinity, vec![-infinity]),
        (&CLAMP, &[-0.5, 0.5], vec![-0.5], -0.5, vec![1.0]),
        (&CLAMP, &[-0.5, 0.5], vec![0.5], 0.5, vec![1.0]),
        (&CLAMP, &[-0.5, 0.5], vec![nan], nan, vec![0.0]),
        (&CLAMP, &[0.5, -0.5], vec![0.0], -0.5, vec![0.0]),
        (&LOG, &[], vec![0.0], -infinity, vec![infinity]),
        (&LOG1P, &[], vec![-1.0], -infinity, vec![infinity]),
        (&POWF, &[0.0], vec![nan], 1.0, vec![0.0]),
        (&POWF, &[0.0], vec![0.0], 1.0, vec![0.0]),
        (&SIN, &[], vec![infinity], nan, vec![nan]),
        (&RELU, &[], vec![0.0], 0.0, vec![0.0]),
        (&RELU, &[], vec![nan], nan, vec![1.0]),
        (&LEAKY_RELU, &[0.25], vec![0.0], 0.0, vec![0.25]),
        (&LEAKY_RELU, &[0.25], vec![nan], nan, vec![0.25]),
        (&GELU, &[], vec![-infinity], 0.0, vec![nan]),
        (&GELU, &[], vec![infinity], infinity, vec![nan]),
        (&SILU, &[], vec![-infinity], nan, vec![nan]),
        (&DIV, &[], vec![0.0, 0.0], nan, vec![infinity, nan]),
        (&MAXIMUM, &[], vec![2.0, 2.0], 2.0, vec![0.5, 0.5]),
        (&MINIMUM, &[], vec![2.0, 2.0], 2.0, vec![0.5, 0.5]),
        (&MAXIMUM, &[], vec![nan, 2.0], nan, vec![0.0, 0.0]),
        (&MINIMUM, &[], vec![2.0, nan], nan, vec![0.0, 0.0]),
        (&POW, &[], vec![0.0, 0.0], 1.0, vec![0.0, 0.0]),
        (&POW, &[], vec![0.0, 2.0], 0.0, vec![0.0, 0.0]),
        (&LE, &[], vec![nan, nan], 0.0, vec![0.0, 0.0]),
    ];
    for device in crate::common::devices() {
        for (function, numbers, arguments, result, derivatives) in &table {
            let tape = Tape::new();
            let inputs: Vec<Var<'_>> =
                arguments.iter().map(|&x| tape.input(&Tensor::scalar(&device, x).unwrap())).collect();
            let y = inputs[0].apply_with(function, &inputs[1..], numbers).unwrap();
            let gradients = tape.backward(y).unwrap();
            let of = |x: &Var<'_>| gradients.get(*x).map_or(0.0, |gradient| crate::common::floats(gradient)[0]);
            let got: Vec<f32> = inputs.iter().map(of).collect();
            let same = |x: f32, y: f32| x == y || (x.is_nan() && y.is_nan());
            let holds = same(y.item().unwrap(), *result) && got.iter().zip(derivatives).all(|(x, y)| same(*x, *y));
            let value = y.item().unwrap();
            assert!(holds, "{device}: {function:?} of {arguments:?} is {value} with derivatives {got:?}");
        }
    }
}

#[test]
fn first_derivatives() {
    for device in crate::common::devices() {
        for (name, function, range, shapes) in table() {
            let inputs = inputs(&device, *range, shapes);
            let report = check_gradient(&GradientCheck::default(), &inputs, function).unwrap();
            assert!(report.relative_error < 1e-3, "{name} on {device}: {report}");
        }
    }
}

#[test]
fn second_derivatives() {
    // The gradient of the sum of squares, as a function of the first input: its own gradient is a Hessian-vector product.
    let devices = crate::common::devices();
    for (device, (name, function, range, shapes)) in
        devices.iter().flat_map(|device| table().map(move |row| (device, row)))
    {
        let inputs = inputs(device, *range, shapes);
        let report = check_gradient(&GradientCheck::default(), &inputs, |tape, x| {
            if !x[0].is_tracked() {
                // Differences need values only; the gradient itself needs a tape that tracks.
                let inner = Tape::new();
                let y: Vec<Var<'_>> = x.iter().map(|x| inner.input(&x.value())).collect();
                let first = inner.grad(function(&inner, &y)?.square()?.sum()?, &[y[0]])?[0];
                return Ok(tape.constant(&first.value()));
            }
            // Plus zero times the input: a gradient that does not depend on it then still has one, of zeros.
            tape.grad(function(tape, x)?.square()?.sum()?, &[x[0]])?[0].add(x[0].affine(0.0, 0.0)?)
        })
        .unwrap();
        assert!(report.relative_error < 3e-3, "{name} on {device}: {report}");
    }
}

/// Forward mode and reverse mode are transposes of each other: ⟨c, J t⟩ = ⟨Jᵀ c, t⟩.
fn hold_forward_mode(
    name: &str,
    device: &Device,
    inputs: &[Tensor],
    function: impl for<'t> Fn(&'t Tape, &[Var<'t>]) -> Result<Var<'t>>,
) {
    let draw = |seed, like: &Tensor| Tensor::uniform(device, seed, 0, -1.0, 1.0, like.shape()).unwrap();
    let tangents: Vec<Tensor> = (100..).zip(inputs).map(|(seed, input)| draw(seed, input)).collect();
    let (value, tangent) = jvp(inputs, &tangents, &function).unwrap();
    let cotangent = draw(99, &value);
    let (_, gradients) = vjp(inputs, &cotangent, &function).unwrap();
    let terms = |x: &Tensor, y: &Tensor| -> Vec<f64> {
        let (x, y) = (crate::common::floats(x), crate::common::floats(y));
        x.iter().zip(&y).map(|(&x, &y)| f64::from(x) * f64::from(y)).collect()
    };
    let forward = terms(&cotangent, &tangent);
    let reverse: Vec<f64> =
        gradients.iter().zip(&tangents).flat_map(|(gradient, tangent)| terms(gradient, tangent)).collect();
    let size: f64 = forward.iter().chain(&reverse).map(|term| term.abs()).sum();
    let difference = (forward.iter().sum::<f64>() - reverse.iter().sum::<f64>()).abs();
    assert!(difference <= 2e-5 * size, "{name} on {device}: differs by {difference:e} of {size:e}");
}

#[test]
fn forward_mode_of_every_operation() {
    for device in crate::common::devices() {
        for (name, function, range, shapes) in table() {
            hold_forward_mode(name, &device, &inputs(&device, *range, shapes), function);
        }
    }
}

#[test]
fn forward_mode_of_every_element_wise_function() {
    for device in crate::common::devices() {
        for function in [1, 2, 3].into_iter().flat_map(crate::common::functions_of) {
            for check in function.function.checks.iter().filter(|check| check.smooth_range().is_some()) {
                let shapes: Vec<&[usize]> =
                    [&[3, 4][..], &[4], &[3, 1]][..function.function.function.arguments.len()].to_vec();
                let inputs = inputs(&device, check.smooth_range().unwrap(), &shapes);
                hold_forward_mode(function.function.name(), &device, &inputs, |_, x| {
                    x[0].apply_with(function.function, &x[1..], check.own_numbers())
                });
            }
        }
    }
}

/// First and second derivatives where elements are zero: of a product, each is the product of the elements that are left.
#[test]
fn products_have_derivatives_at_zeros() {
    for elements in [[2.0f32, 0.0, 3.0, -1.5, 0.5], [0.0, 2.0, 0.0, 3.0, -1.5], [0.0, 0.0, 2.0, 0.0, 1.0]] {
        let left = |out: &[usize]| -> f32 {
            elements.iter().enumerate().filter(|(i, _)| !out.contains(i)).map(|(_, x)| x).product()
        };
        let first: Vec<f32> = (0..5).map(|i| left(&[i])).collect();
        for device in crate::common::devices() {
            let tape = Tape::new();
            let x = tape.input(&crate::common::tensor(&device, &elements, &[5, 1]));
            let y = x.prod_along(0, false).unwrap();
            let gradient = tape.grad(y.sum().unwrap(), &[x]).unwrap()[0];
            let plain = tape.backward(y.sum().unwrap()).unwrap();
            for got in [gradient.value(), plain.get(x).unwrap().clone()] {
                assert_eq!(crate::common::floats(&got), first, "{device}");
            }
            for i in 0..5 {
                let of_one = tape.grad(gradient.slice(0, i, i + 1).unwrap().sum().unwrap(), &[x]).unwrap()[0];
                let second: Vec<f32> = (0..5).map(|j| if i == j { 0.0 } else { left(&[i, j]) }).collect();
                assert_eq!(crate::common::floats(&of_one.value()), second, "{device}: row {i} of {elements:?}");
            }
        }
    }
}

/// Gradients where a formula would divide by zero or take infinity from infinity.
#[test]
fn gradients_of_reductions_at_their_kinks() {
    pub(crate) type Row = (&'static str, fn(Var<'_>) -> Result<Var<'_>>, [f32; 3], [f32; 3]);
    let (infinity, nan) = (f32::INFINITY, f32::NAN);
    let table: &[Row] = &[
        ("std of equal ones", |x| x.std(0.0), [0.1; 3], [0.0; 3]),
        ("norm of zeros, p = 1", |x| x.norm(1.0), [0.0; 3], [0.0; 3]),
        ("norm of zeros, p = 2", |x| x.norm(2.0), [0.0; 3], [0.0; 3]),
        ("norm of zeros, p = 3", |x| x.norm(3.0), [0.0; 3], [0.0; 3]),
        ("norm of zeros, p = 1.5", |x| x.norm(1.5), [0.0; 3], [0.0; 3]),
        ("norm of zeros, p = ∞", |x| x.norm(f32::INFINITY), [0.0; 3], [0.0; 3]),
        ("norm with a zero, p = 1.5", |x| x.norm(1.5), [0.0, 4.0, 0.0], [0.0, 1.0, 0.0]),
        ("norm with a zero, p = -1", |x| x.norm(-1.0), [0.0, 4.0, 0.0], [0.0; 3]),
        ("norm of equal ones, p = ∞", |x| x.norm(f32::INFINITY), [2.0, -2.0, 1.0], [0.5, -0.5, 0.0]),
        ("norm of huge ones", |x| x.norm(2.0), [0.0, -3e38, 0.0], [0.0, -1.0, 0.0]),
        ("logsumexp of nothing but -∞", |x| x.logsumexp_along(.., false), [-infinity; 3], [0.0; 3]),
        ("logsumexp with -∞", |x| x.logsumexp_along(.., false), [-infinity, 1e4, 1e4], [0.0, 0.5, 0.5]),
        ("logsumexp with ∞", |x| x.logsumexp_along(.., false), [infinity, 0.0, -infinity], [nan, 0.0, 0.0]),
        ("count_nonzero", |x| x.add(x.count_nonzero()?)?.sum(), [0.0, 1.0, nan], [1.0; 3]),
    ];
    for device in crate::common::devices() {
        for (name, function, elements, expected) in table {
            let tape = Tape::new();
            let x = tape.input(&crate::common::tensor(&device, elements, &[3]));
            let y = function(x).unwrap();
            let plain = tape.backward(y).unwrap();
            let graph = tape.grad(y, &[x]).unwrap()[0].value();
            for got in [plain.get(x).unwrap(), &graph] {
                let tolerance = crate::common::Tolerance::new(1e-6, 1e-6);
                crate::common::assert_close(
                    &format!("{name} on {device}"),
                    &crate::common::floats(got),
                    expected,
                    tolerance,
                );
            }
        }
    }
}

#[test]
fn a_broadcast_gradient_reaches_the_bias() {
    // The sum passes one number to all elements, a view with strides of 0.
    for device in crate::common::devices() {
        let tape = Tape::new();
        let draw = |seed, shape: &[usize]| Tensor::uniform(&device, seed, 0, -1.0, 1.0, shape).unwrap();
        let (x, weight) = (tape.constant(&draw(1, &[6, 4])), tape.input(&draw(2, &[70, 4])));
        let bias = tape.input(&draw(3, &[70]));
        let gradients = tape.backward(x.linear(weight, bias, false).unwrap().sum().unwrap()).unwrap();
        assert_eq!(crate::common::floats(gradients.get(bias).unwrap()), [6.0; 70], "{device}");
        let columns = crate::common::floats(&x.value().sum_along(0, true).unwrap());
        for row in crate::common::floats(gradients.get(weight).unwrap()).chunks(4) {
            assert!(row.iter().zip(&columns).all(|(a, b)| (a - b).abs() < 1e-5), "{device}: {row:?} {columns:?}");
        }
        let other = Tape::new();
        assert!(gradients.get(other.input(&draw(4, &[70]))).is_none());
    }
}
