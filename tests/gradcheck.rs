//! Every differentiable operation against centred differences, first and second derivatives, on the CPU and on a GPU.
//!
//! Inputs keep away from kinks. The bound of 1e-3 on the relative error is ten times the default for "right": elements
//! near a zero of a third derivative aside, f32 rounding over a step of 5e-3 leaves some 1e-5 to 1e-4.

#![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

mod common;

use thalweg::autograd::{GradientCheck, Result, Tape, Var, check_gradient};
use thalweg::tensor::{BinaryOp, Device, Tensor};

type Function = for<'t> fn(&'t Tape, &[Var<'t>]) -> Result<Var<'t>>;

/// Name, function, the range and the shapes of its inputs.
type Row = (&'static str, Function, (f32, f32), &'static [&'static [usize]]);

const TABLE: &[Row] = &[
    ("neg", |_, x| x[0].neg(), (-2.0, 2.0), &[&[3, 5]]),
    ("abs", |_, x| x[0].abs(), (0.2, 2.0), &[&[3, 5]]),
    ("abs of negatives", |_, x| x[0].abs(), (-2.0, -0.2), &[&[3, 5]]),
    ("exp", |_, x| x[0].exp(), (-2.0, 2.0), &[&[3, 5]]),
    ("log", |_, x| x[0].log(), (0.3, 3.0), &[&[3, 5]]),
    ("sqrt", |_, x| x[0].sqrt(), (0.3, 3.0), &[&[3, 5]]),
    ("reciprocal", |_, x| x[0].reciprocal(), (0.5, 3.0), &[&[3, 5]]),
    ("square", |_, x| x[0].square(), (-2.0, 2.0), &[&[3, 5]]),
    ("relu", |_, x| x[0].relu(), (0.1, 2.0), &[&[3, 5]]),
    ("relu of negatives and positives", |_, x| x[0].add(x[0].neg()?.relu()?.relu()?), (-2.0, -0.1), &[&[3, 5]]),
    ("tanh", |_, x| x[0].tanh(), (-2.0, 2.0), &[&[3, 5]]),
    ("sigmoid", |_, x| x[0].sigmoid(), (-3.0, 3.0), &[&[3, 5]]),
    ("gelu", |_, x| x[0].gelu(), (-2.0, 2.0), &[&[3, 5]]),
    ("silu", |_, x| x[0].silu(), (-3.0, 3.0), &[&[3, 5]]),
    ("softplus", |_, x| x[0].softplus(), (-3.0, 3.0), &[&[3, 5]]),
    ("sin", |_, x| x[0].sin(), (-3.0, 3.0), &[&[3, 5]]),
    ("cos", |_, x| x[0].cos(), (-3.0, 3.0), &[&[3, 5]]),
    ("expm1", |_, x| x[0].expm1(), (-1.0, 1.0), &[&[3, 5]]),
    ("log1p", |_, x| x[0].log1p(), (-0.5, 2.0), &[&[3, 5]]),
    ("erf", |_, x| x[0].erf(), (-2.0, 2.0), &[&[3, 5]]),
    ("affine", |_, x| x[0].affine(-1.5, 0.5), (-2.0, 2.0), &[&[3, 5]]),
    ("powf", |_, x| x[0].powf(2.5), (0.3, 2.0), &[&[3, 5]]),
    ("powf, cubed negatives", |_, x| x[0].powf(3.0), (-2.0, -0.3), &[&[3, 5]]),
    ("clamp", |_, x| x[0].affine(3.0, 0.0)?.clamp(-10.0, 10.0), (-2.0, 2.0), &[&[3, 5]]),
    ("leaky_relu", |_, x| x[0].leaky_relu(0.1), (-2.0, -0.1), &[&[3, 5]]),
    ("add", |_, x| x[0].add(x[1]), (-2.0, 2.0), &[&[3, 5], &[5]]),
    ("sub", |_, x| x[0].sub(x[1]), (-2.0, 2.0), &[&[3, 1], &[2, 1, 5]]),
    ("mul", |_, x| x[0].mul(x[1]), (-2.0, 2.0), &[&[3, 5], &[3, 1]]),
    ("div", |_, x| x[0].div(x[1]), (0.5, 2.0), &[&[3, 5], &[1, 5]]),
    ("maximum", |_, x| x[0].maximum(x[1].affine(1.0, 3.0)?), (-1.0, 1.0), &[&[3, 5], &[5]]),
    ("minimum", |_, x| x[0].minimum(x[1].affine(1.0, 3.0)?), (-1.0, 1.0), &[&[3, 5], &[5]]),
    ("pow", |_, x| x[0].pow(x[1]), (0.5, 2.0), &[&[3, 5], &[5]]),
    ("mul with itself", |_, x| x[0].mul(x[0])?.add(x[0]), (-2.0, 2.0), &[&[3, 5]]),
    ("relu gradient", |_, x| x[0].binary(BinaryOp::ReluGrad, x[1]), (0.2, 2.0), &[&[3, 5], &[3, 5]]),
    ("tanh gradient", |_, x| x[0].binary(BinaryOp::TanhGrad, x[1]), (-0.9, 0.9), &[&[3, 5], &[3, 5]]),
    ("sigmoid gradient", |_, x| x[0].binary(BinaryOp::SigmoidGrad, x[1]), (0.1, 0.9), &[&[3, 5], &[3, 5]]),
    ("gelu gradient", |_, x| x[0].binary(BinaryOp::GeluGrad, x[1]), (-2.0, 2.0), &[&[3, 5], &[3, 5]]),
    ("silu gradient", |_, x| x[0].binary(BinaryOp::SiluGrad, x[1]), (-2.0, 2.0), &[&[3, 5], &[3, 5]]),
    ("sum", |_, x| x[0].square()?.sum(), (-2.0, 2.0), &[&[3, 5]]),
    ("mean", |_, x| x[0].square()?.mean(), (-2.0, 2.0), &[&[3, 5]]),
    ("max", |_, x| x[0].max(), (-2.0, 2.0), &[&[7]]),
    ("min", |_, x| x[0].min(), (-2.0, 2.0), &[&[7]]),
    ("sum_along", |_, x| x[0].square()?.sum_along(1), (-2.0, 2.0), &[&[2, 3, 4]]),
    ("mean_along", |_, x| x[0].square()?.mean_along(0), (-2.0, 2.0), &[&[2, 3, 4]]),
    ("max_along", |_, x| x[0].max_along(1), (-2.0, 2.0), &[&[3, 4]]),
    ("min_along", |_, x| x[0].min_along(0), (-2.0, 2.0), &[&[3, 4]]),
    ("sum_to", |_, x| x[0].square()?.sum_to(&[3, 1]), (-2.0, 2.0), &[&[2, 3, 4]]),
    ("softmax", |_, x| x[0].softmax(), (-2.0, 2.0), &[&[3, 5]]),
    ("log_softmax", |_, x| x[0].log_softmax(), (-2.0, 2.0), &[&[3, 5]]),
    ("reshape", |_, x| x[0].square()?.reshape(&[5, 3]), (-2.0, 2.0), &[&[3, 5]]),
    ("transpose", |_, x| x[0].square()?.transpose(0, 2), (-2.0, 2.0), &[&[2, 3, 4]]),
    ("permute", |_, x| x[0].square()?.permute(&[2, 0, 1]), (-2.0, 2.0), &[&[2, 3, 4]]),
    ("broadcast_to", |_, x| x[0].square()?.broadcast_to(&[2, 3, 4]), (-2.0, 2.0), &[&[3, 1]]),
    ("slice", |_, x| x[0].square()?.slice(1, 1, 3), (-2.0, 2.0), &[&[2, 4, 3]]),
    ("concatenate", |_, x| Var::concatenate(&[x[0].square()?, x[1], x[0]]), (-2.0, 2.0), &[&[2, 3], &[1, 3]]),
    ("squeeze and unsqueeze", |_, x| x[0].squeeze(1)?.square()?.unsqueeze(0), (-2.0, 2.0), &[&[3, 1, 2]]),
    ("gather_rows", |_, x| x[0].square()?.gather_rows(&indices(x[0], &[2, 0, 2])?), (-2.0, 2.0), &[&[3, 4]]),
    (
        "scatter_add_rows",
        |_, x| x[0].square()?.scatter_add_rows(&indices(x[0], &[2, 0, 2])?, 4),
        (-2.0, 2.0),
        &[&[3, 4]],
    ),
    ("matmul", |_, x| x[0].matmul(x[1]), (-1.0, 1.0), &[&[3, 4], &[4, 2]]),
    ("matmul of transposed views", |_, x| x[0].t()?.matmul(x[1].t()?), (-1.0, 1.0), &[&[4, 3], &[2, 4]]),
    ("matmul with itself", |_, x| x[0].matmul(x[0]), (-1.0, 1.0), &[&[3, 3]]),
    ("linear", |_, x| x[0].linear(x[1], x[2], false), (-1.0, 1.0), &[&[3, 4], &[2, 4], &[2]]),
    ("linear with relu", |_, x| x[0].linear(x[1], x[2], true), (0.1, 1.0), &[&[3, 4], &[2, 4], &[2]]),
    (
        "two layers, the mask carried by the product",
        |_, x| x[0].linear(x[1], x[2], true)?.linear(x[3], x[4], false),
        (0.1, 1.0),
        &[&[3, 4], &[5, 4], &[5], &[2, 5], &[2]],
    ),
    (
        "a hidden layer that is read twice",
        |_, x| {
            let hidden = x[0].linear(x[1], x[2], true)?;
            hidden.linear(x[3], x[4], false)?.add(hidden.sum_along(1)?)
        },
        (0.1, 1.0),
        &[&[3, 4], &[5, 4], &[5], &[2, 5], &[2]],
    ),
    ("cross_entropy", |_, x| x[0].cross_entropy(&indices(x[0], &[2, 0, 1])?), (-2.0, 2.0), &[&[3, 4]]),
    (
        "cross_entropy, scaled",
        |_, x| x[0].cross_entropy(&indices(x[0], &[2, 0, 1])?)?.affine(-3.0, 1.0),
        (-2.0, 2.0),
        &[&[3, 4]],
    ),
    ("cross_entropy_per_row", |_, x| x[0].cross_entropy_per_row(&indices(x[0], &[2, 0, 1])?), (-2.0, 2.0), &[&[3, 4]]),
    ("mse", |_, x| x[0].mse(&Tensor::full(x[0].value().device(), 0.25f32, &[3, 4])?), (-2.0, 2.0), &[&[3, 4]]),
];

fn indices(of: Var<'_>, rows: &[u32]) -> Result<Tensor> {
    Ok(Tensor::from_slice(of.value().device(), rows, &[rows.len()])?)
}

fn inputs(device: &Device, (low, high): (f32, f32), shapes: &[&[usize]]) -> Vec<Tensor> {
    let draw = |(i, shape): (usize, &&[usize])| Tensor::uniform(device, 17, i as u64, low, high, shape).unwrap();
    shapes.iter().enumerate().map(draw).collect()
}

#[test]
fn first_derivatives() {
    for device in common::devices() {
        for (name, function, range, shapes) in TABLE {
            let inputs = inputs(&device, *range, shapes);
            let report = check_gradient(&GradientCheck::default(), &inputs, function).unwrap();
            assert!(report.relative_error < 1e-3, "{name} on {device}: {report}");
        }
    }
}

#[test]
fn second_derivatives() {
    // The gradient of the sum of squares, as a function of the first input: its own gradient is a Hessian-vector product.
    let device = Device::cpu();
    for (name, function, range, shapes) in TABLE {
        let inputs = inputs(&device, *range, shapes);
        let report = check_gradient(&GradientCheck::default(), &inputs, |tape, x| {
            if !x[0].is_tracked() {
                // Differences need values only; the gradient itself needs a tape that tracks.
                let inner = Tape::new();
                let y: Vec<Var<'_>> = x.iter().map(|x| inner.input(&x.value())).collect();
                let first = inner.grad(function(&inner, &y)?.square()?.sum()?, &[y[0]])?[0];
                return Ok(tape.constant(&first.value()));
            }
            // Added, zero times the input: a gradient that does not depend on it still has one, of zeros.
            tape.grad(function(tape, x)?.square()?.sum()?, &[x[0]])?[0].add(x[0].affine(0.0, 0.0)?)
        })
        .unwrap();
        assert!(report.relative_error < 3e-3, "{name}: {report}");
    }
}

#[test]
fn a_broadcast_gradient_reaches_the_bias() {
    // The sum hands down one number for all elements, a view with strides of 0.
    for device in common::devices() {
        let tape = Tape::new();
        let draw = |seed, shape: &[usize]| Tensor::uniform(&device, seed, 0, -1.0, 1.0, shape).unwrap();
        let (x, weight) = (tape.constant(&draw(1, &[6, 4])), tape.input(&draw(2, &[70, 4])));
        let bias = tape.input(&draw(3, &[70]));
        let gradients = tape.backward(x.linear(weight, bias, false).unwrap().sum().unwrap()).unwrap();
        assert_eq!(common::floats(gradients.get(bias).unwrap()), [6.0; 70], "{device}");
        let columns = common::floats(&x.value().sum_along(0).unwrap());
        for row in common::floats(gradients.get(weight).unwrap()).chunks(4) {
            assert!(row.iter().zip(&columns).all(|(a, b)| (a - b).abs() < 1e-5), "{device}: {row:?} {columns:?}");
        }
        let other = Tape::new();
        assert!(gradients.get(other.input(&draw(4, &[70]))).is_none());
    }
}
