//! Gradients of operations compared with the oracle (PyTorch), on the CPU and on the GPU: by the twice differentiable
//! rules, and by those of a plain backward pass, which may be fused.

mod programs;
pub(crate) mod shapes;

use crate::common::oracle::{self, Array, Bound, Case, Oracle};
use crate::common::{devices, floats};
use serde_json::Value;
use thalweg::autograd::{Result, Tape, Var};
use thalweg::tensor::{Attention, Device, DeviceKind, Tensor};

/// An operation of a case applied to its inputs; `None` if thalweg does not have it.
type Apply = for<'t> fn(Case<'_>, &[Var<'t>]) -> Option<Result<Var<'t>>>;

/// Runs all cases of a file that have gradients and an operation in thalweg. At least `at_least` must have run, of the
/// whole file and of the small copy.
pub(crate) fn hold(name: &str, at_least: (usize, usize), apply: Apply) {
    Oracle::hold_cases(name, at_least, |case| {
        let mut ran = false;
        if case.find("cot/0").is_some() && case.find("cot/1").is_none() {
            for device in devices() {
                ran = hold_case(case, &device, apply);
            }
        }
        ran
    });
}

/// Returns the numbers of the inputs that have a gradient.
fn differentiated(case: Case<'_>) -> Vec<usize> {
    let inputs = case.get("inputs").as_array().unwrap().iter().enumerate();
    inputs.filter(|(_, input)| input["grad"] == true).map(|(i, _)| i).collect()
}

pub(crate) fn upload(device: &Device, array: &Array) -> Tensor {
    Tensor::from_slice(device, &array.f32(), &array.shape).unwrap()
}

/// Returns whether the case ran.
fn hold_case(case: Case<'_>, device: &Device, apply: Apply) -> bool {
    let wanted = differentiated(case);
    let inputs: Vec<Array> = (0..).map_while(|i| case.find(&format!("in/{i}"))).collect();
    let cotangent = upload(device, &case.array("cot/0"));
    for is_plain in [false, true] {
        let tape = Tape::new();
        let leaf = |(i, array): (usize, &Array)| {
            let value = upload(device, array);
            if wanted.contains(&i) { tape.input(&value) } else { tape.constant(&value) }
        };
        let leaves: Vec<Var<'_>> = inputs.iter().enumerate().map(leaf).collect();
        let Some(y) = apply(case, &leaves) else { return false };
        let y = y.unwrap_or_else(|error| panic!("{}: {error}", case.id()));
        let variables: Vec<Var<'_>> = wanted.iter().map(|&i| leaves[i]).collect();
        let cotangent = tape.constant(&cotangent);
        let gradients: Vec<Vec<f32>> = if is_plain {
            let gradients = tape.backward(y.mul(cotangent).unwrap().sum().unwrap()).unwrap();
            let zeros = |v: &Var<'_>| vec![0.0; v.value().len()];
            variables.iter().map(|v| gradients.get(*v).map_or_else(|| zeros(v), floats)).collect()
        } else {
            let gradients = tape.vector_jacobian_product(y, cotangent, &variables).unwrap();
            gradients.iter().map(|g| floats(&g.value())).collect()
        };
        for (gradient, &i) in gradients.iter().zip(&wanted) {
            let rule = if is_plain { "a plain pass" } else { "variables" };
            let name = case.name(&format!("input {i} on {device} by {rule}"));
            hold_gradient(&name, case, i, gradient, &inputs, device);
        }
    }
    true
}

pub(crate) fn hold_gradient(name: &str, case: Case<'_>, i: usize, gradient: &[f32], inputs: &[Array], device: &Device) {
    // Norms do not overflow here, where PyTorch's do.
    let mut reference = other_convention(case, case.array(&format!("grad/f64/{i}")));
    let in_f32 = case.find(&format!("grad/f32/{i}"));
    let is_extreme = case.has_flag("extreme_values");
    if let Some(in_f32) = &in_f32
        && !is_extreme
        && case.has_flag("overflows_in_f32_compare_with_f32_arrays")
        && case.text("op") != "norm"
    {
        reference = in_f32.clone();
    }
    let bound = case.bound("grad").with_inputs(inputs.iter().chain([&case.array("cot/0")]));
    // The oracle's suggestion for exponentials and the like, which hardware GPUs may compute less exactly.
    let is_hardware = device.info().kind == DeviceKind::Hardware;
    let scaled = if is_hardware { bound.scaled.max(2e-5) } else { bound.scaled };
    if case.has_flag("small_arguments_check_relative_error") {
        for (j, (&x, &r)) in gradient.iter().zip(&reference.values).enumerate() {
            let error = (f64::from(x) - r).abs();
            assert!(error <= scaled * r.abs(), "{name}: [{j}] got {x:e}, the reference is {r:e}");
        }
    } else if is_extreme {
        // Values of all magnitudes, each with its own tolerance. Losses and overflows of PyTorch's f32 are allowed here
        // too.
        let tolerance = crate::common::Tolerance::new(crate::common::vanishing(device), scaled as f32);
        let (exact, rounded) = (reference.f32(), in_f32.map_or_else(|| reference.f32(), |in_f32| in_f32.f32()));
        // A number that is flushed to zero has another slope.
        let own = inputs[i].f32();
        let is_flushed = |j: usize| own[j].is_subnormal() && crate::common::flushes_subnormals(device);
        let holds = |j: usize| {
            tolerance.holds(gradient[j], exact[j]) || tolerance.holds(gradient[j], rounded[j]) || is_flushed(j)
        };
        crate::common::report(name, gradient, &exact, holds, &format!("{tolerance:?}"));
    } else {
        oracle::assert_within(name, gradient, &reference.values, Bound { scaled, ..bound });
    }
}

/// Returns the reference with other values where thalweg differs from PyTorch: the bounds of clamp pass the gradient,
/// and PyTorch's do not; the slope of |x| at NaN is NaN, and PyTorch has 0; the slope of tanh far from 0 is small but
/// exact, and PyTorch's 1 - tanh² is 0 even in f64.
fn other_convention(case: Case<'_>, mut reference: Array) -> Array {
    let Some(x) = case.find("in/0") else { return reference };
    let (low, high) = (attribute(case, "min", f64::NAN), attribute(case, "max", f64::NAN));
    let cotangent = case.array("cot/0").values;
    for (j, r) in reference.values.iter_mut().enumerate() {
        match case.text("op") {
            "clamp" if [low, high].contains(&(x.values[j] as f32)) => *r = cotangent[j],
            "tanh" if x.values[j].abs() > 15.0 => {
                let e = (-2.0 * x.values[j].abs()).exp();
                *r = cotangent[j] * 4.0 * e / (1.0 + e).powi(2);
            }
            "abs" if x.values[j].is_nan() => *r = f64::NAN,
            _ => {}
        }
    }
    reference
}

/// Returns a number among a case's attributes.
pub(crate) fn attribute(case: Case<'_>, name: &str, default: f64) -> f32 {
    case.get(&format!("attrs.{name}")).as_f64().unwrap_or(default) as f32
}

/// Returns a whole number among them; negative ones count from the end of `rank` dimensions.
fn place(value: &Value, rank: usize) -> usize {
    let axis = value.as_i64().unwrap();
    if axis < 0 { (axis + rank as i64) as usize } else { axis as usize }
}

/// Whole numbers among them.
pub(crate) fn places(value: &Value) -> Vec<i64> {
    value.as_array().unwrap().iter().map(|x| x.as_i64().unwrap()).collect()
}

#[test]
fn unary_operations() {
    hold("ops/unary", (187, 44), |case, x| {
        let (function, numbers) = case.function()?;
        Some(x[0].apply(function, &numbers))
    });
}

#[test]
fn binary_operations() {
    hold("ops/binary", (93, 14), |case, x| {
        Some(match case.text("op") {
            "mul_self" => x[0].mul(x[0]),
            "add_scalar" => x[0].affine(1.0, attribute(case, "scalar", f64::NAN)),
            "mul_scalar" => x[0].affine(attribute(case, "scalar", f64::NAN), 0.0),
            "lerp" => {
                let weight = Tensor::scalar(x[0].value().device(), attribute(case, "weight", f64::NAN)).unwrap();
                x[0].lerp(x[1], x[0].tape().constant(&weight))
            }
            _ => {
                let (function, numbers) = case.function()?;
                x[0].apply_with(function, &x[1..], &numbers)
            }
        })
    });
}

/// Returns the axes of a reduction, sorted; all axes if none are given.
fn axes(case: Case<'_>, rank: usize) -> Vec<usize> {
    let axis = case.get("attrs.axis");
    let mut axes: Vec<usize> = match axis {
        Value::Array(axes) => axes.iter().map(|axis| place(axis, rank)).collect(),
        Value::Null => (0..rank).collect(),
        axis => vec![place(axis, rank)],
    };
    axes.sort_unstable();
    axes
}

#[test]
fn reductions() {
    hold("ops/reduce", (83, 6), |case, x| {
        let x = x[0];
        let axes = axes(case, x.shape().len());
        let keepdim = case.is("attrs.keepdim");
        Some(match case.text("op") {
            "sum" => x.sum_along(&axes, keepdim),
            "mean" => x.mean_along(&axes, keepdim),
            "amax" => x.max_along(&axes, keepdim),
            "amin" => x.min_along(&axes, keepdim),
            "prod" => x.prod_along(&axes, keepdim),
            "var" => x.var_along(&axes, attribute(case, "correction", f64::NAN), keepdim),
            "std" => x.std_along(&axes, attribute(case, "correction", f64::NAN), keepdim),
            "logsumexp" => x.logsumexp_along(&axes, keepdim),
            "norm" => x.norm_along(case.number("attrs.ord") as f32, &axes, keepdim),
            // PyTorch's max and min along an axis give the whole gradient to the first of equal ones; here they share it.
            "max" if !case.has_flag("convention") => x.max_along(&axes, keepdim),
            "min" if !case.has_flag("convention") => x.min_along(&axes, keepdim),
            _ => return None,
        })
    });
}

#[test]
fn running_sums_and_products() {
    hold("ops/reduce", (7, 2), |case, x| {
        let axis = case.get("attrs.axis").as_i64().unwrap_or(0) as isize;
        Some(match case.text("op") {
            "cumsum" => x[0].cumsum(axis),
            "cumprod" => x[0].cumprod(axis),
            _ => return None,
        })
    });
}

#[test]
fn matrix_products() {
    hold("ops/matmul", (41, 4), |case, x| {
        let operand = |index: usize, transposed: &str| {
            if case.is(&format!("attrs.{transposed}")) { x[index].transpose(-2, -1) } else { Ok(x[index]) }
        };
        Some(match case.text("op") {
            "matmul" => (|| operand(0, "transpose_a")?.matmul(operand(1, "transpose_b")?))(),
            "matmul_self" => x[0].matmul(x[0]),
            "gram" => (|| x[0].t()?.matmul(x[0]))(),
            "outer" => (|| x[0].unsqueeze(1)?.matmul(x[1].unsqueeze(0)?))(),
            "dot" => x[0].matmul(x[1]),
            "einsum" => Var::einsum(case.text("attrs.equation"), x),
            "linear" => (|| {
                let device = x[0].value().device().clone();
                let zeros = x[0].tape().constant(&Tensor::full(&device, 0f32, &x[1].shape()[..1])?);
                x[0].linear(x[1], *x.get(2).unwrap_or(&zeros), false)
            })(),
            _ => return None,
        })
    });
}

#[test]
fn softmax_and_normalizations() {
    hold("ops/softmax_norm", (58, 4), |case, x| {
        let axis = || case.get("attrs.axis").as_i64().unwrap();
        let eps = || attribute(case, "eps", f64::NAN);
        let normalized = || -> Vec<usize> {
            places(case.get("attrs.normalized_shape")).iter().map(|&extent| extent as usize).collect()
        };
        Some(match case.text("op") {
            "softmax" => x[0].softmax(axis()),
            "log_softmax" => x[0].log_softmax(axis()),
            "layer_norm" => x[0].layer_norm(&normalized(), x.get(1).copied(), x.get(2).copied(), eps()),
            "rms_norm" => x[0].rms_norm(&normalized(), x.get(1).copied(), eps()),
            "l2_normalize" => x[0].normalize(2.0, axis(), eps()),
            "cosine_similarity" => x[0].cosine_similarity(x[1], axis(), eps()),
            "attention" => {
                let settings = Attention { causal: case.is("attrs.causal"), ..Attention::default() };
                x[0].scaled_dot_product_attention(x[1], x[2], x.get(3).copied(), &settings)
            }
            "batch_norm_eval" => {
                let (mean, var) = (x[3].value(), x[4].value());
                x[0].batch_norm(Some(&mean), Some(&var), Some(x[1]), Some(x[2]), false, 0.1, eps())
            }
            "group_norm" => x[0].group_norm(case.number("attrs.groups") as usize, Some(x[1]), Some(x[2]), eps()),
            "instance_norm" => x[0].instance_norm(Some(x[1]), Some(x[2]), eps()),
            _ => return None,
        })
    });
}

/// The fused mean of squared errors, whose targets have no gradient.
#[test]
fn fused_squared_errors() {
    let oracle = Oracle::open("ops/losses");
    let mut run = 0;
    for case in oracle.cases() {
        if case.text("op") != "mse_loss" || case.text("attrs.reduction") == "none" {
            continue;
        }
        let inputs = [case.array("in/0"), case.array("in/1")];
        let elements = inputs[0].values.len() as f32;
        let scale = if case.text("attrs.reduction") == "sum" { elements } else { 1.0 };
        for device in devices() {
            let tape = Tape::new();
            let x = tape.input(&upload(&device, &inputs[0]));
            let y = x.mse(&upload(&device, &inputs[1])).unwrap().affine(scale, 0.0).unwrap();
            let cotangent = tape.constant(&upload(&device, &case.array("cot/0")));
            let gradient = tape.vector_jacobian_product(y, cotangent, &[x]).unwrap()[0];
            let name = case.name(&format!("fused, on {device}"));
            hold_gradient(&name, case, 0, &floats(&gradient.value()), &inputs, &device);
            let gradients = tape.backward(y.mul(cotangent).unwrap()).unwrap();
            hold_gradient(&name, case, 0, &floats(gradients.get(x).unwrap()), &inputs, &device);
        }
        run += 1;
    }
    assert!(run >= if oracle.is_whole { 2 } else { 1 }, "{run} cases ran");
}
