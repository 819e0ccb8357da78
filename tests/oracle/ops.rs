//! Values of operations compared with the oracle (PyTorch), on the CPU and on the GPU.

use crate::common::oracle::{self, Array, Bound, Case, Oracle};
use crate::common::{devices, floats, words};
use crate::gradients::places;
use crate::gradients::shapes::{pad_mode, widths};
use thalweg::tensor::functions::Elementwise;
use thalweg::tensor::{Attention, Device, DeviceKind, Tensor, functions};

/// The requirement of an operation besides its case's own bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Additions, products, divisions and roots: the case's bound applies on every device.
    Arithmetic,
    /// Exponentials, logarithms, sines: a hardware GPU has a scaled error of 1e-5, the oracle's suggestion.
    Transcendental,
}

impl Kind {
    /// Returns the kind of a function: results of arithmetic are the same on the CPU and in software.
    fn of(function: &Elementwise) -> Self {
        if function.checks[0].tolerance().software == (0.0, 0.0) { Self::Arithmetic } else { Self::Transcendental }
    }
}

/// A result: its elements, and its kind of computation.
pub(crate) struct Outcome {
    values: Vec<f32>,
    shape: Vec<usize>,
    kind: Kind,
}

pub(crate) fn outcome(tensor: &Tensor, kind: Kind) -> Outcome {
    Outcome { values: floats(tensor), shape: tensor.shape().to_vec(), kind }
}

pub(crate) fn input(device: &Device, case: Case<'_>, index: usize) -> Tensor {
    let array = case.array(&format!("in/{index}"));
    Tensor::from_slice(device, &array.f32(), &array.shape).unwrap()
}

/// Runs all cases of a file with an operation in thalweg on all devices, and compares the first output with the oracle.
/// At least `at_least` cases must have run, of the whole file and of the small copy.
pub(crate) fn hold(name: &str, at_least: (usize, usize), compute: impl Fn(&Device, Case<'_>) -> Option<Outcome>) {
    Oracle::hold_cases(name, at_least, |case| {
        let mut ran = false;
        for device in devices() {
            let Some(outcome) = compute(&device, case) else { continue };
            let name = case.name(&format!("on {device}"));
            hold_case(&name, case, &outcome, &device);
            ran = true;
        }
        ran
    });
}

fn hold_case(name: &str, case: Case<'_>, outcome: &Outcome, device: &Device) {
    let is_hardware = device.info().kind == DeviceKind::Hardware;
    // Integers and booleans have one array for both precisions.
    let reference = match case.find("out/f64/0") {
        Some(array) => array,
        None => case.array("out/0"),
    };
    assert_eq!(outcome.shape, reference.shape, "{name}: shape");
    if case.get("out_tol_scaled").is_null() {
        let expected = reference.f32();
        return crate::common::assert_close(name, &outcome.values, &expected, crate::common::Tolerance::EXACT);
    }
    let reference = match case.find("out/f32/0") {
        _ if case.text("op").starts_with("gelu") => other_convention(case, reference, |x| x == f64::NEG_INFINITY, 0.0),
        _ if case.text("op") == "sign" => other_convention(case, reference, f64::is_nan, f64::NAN),
        // Norms do not overflow here.
        _ if case.text("op") == "norm" => reference,
        // If f64 does not overflow where f32 does, PyTorch's run in f32 is the reference.
        Some(array) if case.has_flag("overflows_in_f32_compare_with_f32_arrays") => array,
        _ => reference,
    };
    let inputs: Vec<Array> = (0..4).filter_map(|i| case.find(&format!("in/{i}"))).collect();
    let bound = case.bound("out").with_inputs(&inputs);
    let scaled =
        if outcome.kind == Kind::Transcendental && is_hardware { bound.scaled.max(1e-5) } else { bound.scaled };
    if case.has_flag("small_arguments_check_relative_error") {
        return hold_relative(name, &outcome.values, &reference.values, scaled);
    }
    if case.has_flag("extreme_values") {
        // A number that is flushed to zero has another logarithm.
        let is_flushed = |x: f32| x.is_subnormal() && crate::common::flushes_subnormals(device);
        let flushed: Vec<bool> = inputs[0].f32().into_iter().map(is_flushed).collect();
        let tolerance = crate::common::Tolerance::new(crate::common::vanishing(device), scaled as f32);
        return hold_one_by_one(name, &outcome.values, &reference.values, tolerance, &flushed);
    }
    oracle::assert_within(name, &outcome.values, &reference.values, Bound { scaled, ..bound });
}

/// Returns the reference with another value where thalweg differs from PyTorch. GELU at -∞ is its limit, 0; PyTorch has
/// NaN, and in f32 also infinities and NaN at large arguments. The sign of NaN is NaN, as in NumPy; PyTorch has 0.
fn other_convention(case: Case<'_>, mut reference: Array, place: fn(f64) -> bool, value: f64) -> Array {
    for (r, x) in reference.values.iter_mut().zip(case.array("in/0").values) {
        if place(x) {
            *r = value;
        }
    }
    reference
}

/// Checks max |x - r| / |r|.
fn hold_relative(name: &str, got: &[f32], reference: &[f64], relative: f64) {
    for (i, (&x, &r)) in got.iter().zip(reference).enumerate() {
        let error = (f64::from(x) - r).abs();
        assert!(error <= relative * r.abs(), "{name}: [{i}] got {x:e}, the reference is {r:e}");
    }
}

/// Compares values of all magnitudes one by one, because the largest would hide all others. Numbers below the smallest
/// normal one may be zero.
fn hold_one_by_one(name: &str, got: &[f32], reference: &[f64], tolerance: crate::common::Tolerance, left_out: &[bool]) {
    let expected: Vec<f32> = reference.iter().map(|&r| r as f32).collect();
    let is_left_out = |i: usize| left_out.get(i).is_some_and(|left_out| *left_out);
    let holds = |i: usize| is_left_out(i) || tolerance.holds(got[i], expected[i]);
    crate::common::report(name, got, &expected, holds, &format!("{tolerance:?}"));
}

#[test]
fn unary_operations() {
    hold("ops/unary", (187, 44), |device, case| {
        let (function, numbers) = case.function()?;
        let y = input(device, case, 0).apply(function, &numbers).unwrap();
        Some(outcome(&y, Kind::of(function)))
    });
}

#[test]
fn binary_operations() {
    hold("ops/binary", (125, 35), |device, case| {
        let (function, numbers) = match case.text("op") {
            "add_scalar" => (&functions::ADD, Vec::new()),
            "mul_scalar" | "mul_self" => (&functions::MUL, Vec::new()),
            _ => case.function()?,
        };
        let x = input(device, case, 0);
        let scalar = |name: &str| Tensor::scalar(device, case.number(&format!("attrs.{name}")) as f32).unwrap();
        let others: Vec<Tensor> = match case.text("op") {
            "mul_self" => vec![x.clone()],
            "add_scalar" | "mul_scalar" => vec![scalar("scalar")],
            "lerp" => vec![input(device, case, 1), scalar("weight")],
            _ => (1..function.function.arguments.len()).map(|i| input(device, case, i)).collect(),
        };
        let y = x.apply_with(function, &others.iter().collect::<Vec<_>>(), &numbers).unwrap();
        Some(outcome(&y, Kind::of(function)))
    });
}

/// Returns the axes of a reduction, sorted; all axes if none are given.
fn axes(case: Case<'_>, rank: usize) -> Vec<usize> {
    let place = |axis: i64| if axis < 0 { (axis + rank as i64) as usize } else { axis as usize };
    let axis = case.get("attrs.axis");
    let mut axes: Vec<usize> = match axis.as_array() {
        Some(axes) => axes.iter().map(|axis| place(axis.as_i64().unwrap())).collect(),
        None => axis.as_i64().map_or((0..rank).collect(), |axis| vec![place(axis)]),
    };
    axes.sort_unstable();
    axes
}

#[test]
fn reductions() {
    hold("ops/reduce", (100, 8), |device, case| {
        let x = input(device, case, 0);
        let (axes, keepdim) = (axes(case, x.rank()), case.is("attrs.keepdim"));
        let y = match case.text("op") {
            "sum" => x.sum_along(&axes, keepdim),
            "mean" => x.mean_along(&axes, keepdim),
            "max" | "amax" => x.max_along(&axes, keepdim),
            "min" | "amin" => x.min_along(&axes, keepdim),
            "prod" => x.prod_along(&axes, keepdim),
            "var" => x.var_along(&axes, case.number("attrs.correction") as f32, keepdim),
            "std" => x.std_along(&axes, case.number("attrs.correction") as f32, keepdim),
            "logsumexp" => x.logsumexp_along(&axes, keepdim),
            "norm" => x.norm_along(case.number("attrs.ord") as f32, &axes, keepdim),
            "all" => x.all_along(&axes, keepdim),
            "any" => x.any_along(&axes, keepdim),
            _ => return None,
        }
        .unwrap();
        let is_arithmetic = !["logsumexp", "norm"].contains(&case.text("op"));
        Some(outcome(&y, if is_arithmetic { Kind::Arithmetic } else { Kind::Transcendental }))
    });
}

#[test]
fn running_sums_and_products() {
    hold("ops/reduce", (7, 2), |device, case| {
        let (x, axis) = (input(device, case, 0), case.get("attrs.axis").as_i64().unwrap_or(0) as isize);
        let y = match case.text("op") {
            "cumsum" => x.cumsum(axis),
            "cumprod" => x.cumprod(axis),
            _ => return None,
        };
        Some(outcome(&y.unwrap(), Kind::Arithmetic))
    });
}

/// Indices that are an input of a case.
fn indices(device: &Device, case: Case<'_>, index: usize) -> Tensor {
    let array = case.array(&format!("in/{index}"));
    Tensor::from_slice(device, &array.u32(), &array.shape).unwrap()
}

#[test]
fn indexed_elements() {
    hold("ops/shape", (20, 1), |device, case| {
        let x = input(device, case, 0);
        let axis = case.get("attrs.axis").as_i64().unwrap_or(0) as isize;
        let places = |(values, places): (Tensor, Tensor)| {
            assert_eq!(words(&places), case.array("out/1").u32(), "{}", case.name(&format!("on {device}")));
            values
        };
        let y = match case.text("op") {
            "gather" => x.gather(axis, &indices(device, case, 1)),
            "index_select" => x.index_select(axis, &indices(device, case, 1)),
            "scatter" => x.scatter(axis, &indices(device, case, 1), &input(device, case, 2)),
            "scatter_add" => x.scatter_add(axis, &indices(device, case, 1), &input(device, case, 2)),
            "index_add" | "index_put_accumulate" => {
                x.index_add(axis, &indices(device, case, 1), &input(device, case, 2))
            }
            "take_along_rows" => {
                let column = indices(device, case, 1).reshape(&[x.shape()[0], 1]).unwrap();
                x.gather(1, &column).unwrap().squeeze(1)
            }
            "masked_fill" => {
                let value = case.get("attrs.value").as_f64().unwrap_or(f64::NEG_INFINITY);
                x.masked_fill(&input(device, case, 1), value as f32)
            }
            "topk" => x.topk(case.get("attrs.k").as_u64().unwrap() as usize, axis, true).map(places),
            "sort" => x.sort(axis, case.is("attrs.descending")).map(places),
            _ => return None,
        };
        Some(outcome(&y.unwrap(), Kind::Arithmetic))
    });
}

#[test]
fn embeddings() {
    hold("ops/nn", (5, 0), |device, case| {
        if case.text("op") != "embedding" {
            return None;
        }
        let (table, rows) = (input(device, case, 0), indices(device, case, 1));
        let shape = [rows.shape(), &table.shape()[1..]].concat();
        let y = table.gather_rows(&rows.reshape(&[rows.len()]).unwrap()).unwrap().reshape(&shape).unwrap();
        Some(outcome(&y, Kind::Arithmetic))
    });
}

#[test]
fn places_of_extremes() {
    let oracle = Oracle::open("ops/reduce");
    let mut run = 0;
    for case in oracle.cases() {
        // max and min return the indices as their second output.
        let expected = match case.text("op") {
            "argmax" | "argmin" => case.array("out/0"),
            "max" | "min" => case.array("out/1"),
            _ => continue,
        };
        for device in devices() {
            let x = input(&device, case, 0);
            let y = match (case.text("op"), case.get("attrs.axis").as_i64()) {
                ("argmax" | "max", Some(axis)) => x.argmax(axis, false),
                ("argmax" | "max", None) => x.argmax_all(),
                (_, Some(axis)) => x.argmin(axis, false),
                (_, None) => x.argmin_all(),
            };
            let (name, y) = (case.name(&format!("on {device}")), y.unwrap());
            assert_eq!((y.shape(), words(&y)), (&expected.shape[..], expected.u32()), "{name}");
        }
        run += 1;
    }
    assert!(run >= if oracle.is_whole { 15 } else { 2 }, "{run} cases ran");
}

#[test]
fn matrix_products() {
    hold("ops/matmul", (41, 4), |device, case| {
        let operand = |index: usize, transposed: &str| {
            let x = input(device, case, index);
            if case.is(&format!("attrs.{transposed}")) { x.transpose(x.rank() - 2, x.rank() - 1).unwrap() } else { x }
        };
        match case.text("op") {
            "matmul" => {
                let (a, b) = (operand(0, "transpose_a"), operand(1, "transpose_b"));
                Some(outcome(&a.matmul(&b).unwrap(), Kind::Arithmetic))
            }
            "matmul_self" => {
                let a = input(device, case, 0);
                Some(outcome(&a.matmul(&a).unwrap(), Kind::Arithmetic))
            }
            "gram" => {
                let a = input(device, case, 0);
                Some(outcome(&a.t().unwrap().matmul(&a).unwrap(), Kind::Arithmetic))
            }
            "outer" => {
                let (a, b) = (operand(0, ""), operand(1, ""));
                let product = a.unsqueeze(1).unwrap().matmul(&b.unsqueeze(0).unwrap()).unwrap();
                Some(outcome(&product, Kind::Arithmetic))
            }
            "einsum" => {
                let operands: Vec<Tensor> =
                    (0..case.get("inputs").as_array().unwrap().len()).map(|i| operand(i, "")).collect();
                let sum = Tensor::einsum(case.text("attrs.equation"), &operands.iter().collect::<Vec<_>>()).unwrap();
                Some(outcome(&sum, Kind::Arithmetic))
            }
            "dot" => Some(outcome(&operand(0, "").matmul(&operand(1, "")).unwrap(), Kind::Arithmetic)),
            "linear" => {
                let (x, weight) = (input(device, case, 0), input(device, case, 1));
                let bias = match case.find("in/2") {
                    Some(bias) => Tensor::from_slice(device, &bias.f32(), &bias.shape).unwrap(),
                    None => Tensor::zeros(device, thalweg::tensor::DType::F32, &[weight.shape()[0]]).unwrap(),
                };
                let y = x.linear(&weight, &bias, false).unwrap();
                Some(outcome(&y, Kind::Arithmetic))
            }
            _ => None,
        }
    });
}

/// A shape among a case's attributes.
fn extents(shape: &serde_json::Value) -> Vec<usize> {
    shape.as_array().unwrap().iter().map(|extent| extent.as_u64().unwrap() as usize).collect()
}

#[test]
fn softmax_and_normalizations() {
    hold("ops/softmax_norm", (61, 4), |device, case| {
        let x = input(device, case, 0);
        let axis = || case.get("attrs.axis").as_i64().unwrap();
        let eps = || case.number("attrs.eps") as f32;
        let normalized = || extents(case.get("attrs.normalized_shape"));
        let operand = |index: usize| case.find(&format!("in/{index}")).map(|_| input(device, case, index));
        let y = match case.text("op") {
            "softmax" => x.softmax(axis()),
            "log_softmax" => x.log_softmax(axis()),
            "layer_norm" => x.layer_norm(&normalized(), operand(1).as_ref(), operand(2).as_ref(), eps()),
            "rms_norm" => x.rms_norm(&normalized(), operand(1).as_ref(), eps()),
            "l2_normalize" => x.normalize(2.0, axis(), eps()),
            "cosine_similarity" => x.cosine_similarity(&operand(1).unwrap(), axis(), eps()),
            "batch_norm_eval" => {
                let (weight, bias, mean, var) = (operand(1), operand(2), operand(3), operand(4));
                x.batch_norm(mean.as_ref(), var.as_ref(), weight.as_ref(), bias.as_ref(), false, 0.1, eps())
            }
            "group_norm" => {
                let groups = case.number("attrs.groups") as usize;
                x.group_norm(groups, operand(1).as_ref(), operand(2).as_ref(), eps())
            }
            "instance_norm" => x.instance_norm(operand(1).as_ref(), operand(2).as_ref(), eps()),
            "attention" => {
                let settings = Attention { causal: case.is("attrs.causal"), ..Attention::default() };
                let (key, value) = (operand(1).unwrap(), operand(2).unwrap());
                x.scaled_dot_product_attention(&key, &value, operand(3).as_ref(), &settings)
            }
            _ => return None,
        };
        Some(outcome(&y.unwrap(), Kind::Transcendental))
    });
}

#[test]
fn shapes() {
    hold("ops/shape", (55, 7), |device, case| {
        if case.text("op") == "one_hot" {
            let indices = case.array("in/0");
            let indices = Tensor::from_slice(device, &indices.u32(), &indices.shape).unwrap();
            let y = indices.one_hot(case.number("attrs.classes") as usize).unwrap();
            return Some(outcome(&y, Kind::Arithmetic));
        }
        let numbers = |name: &str| -> Vec<isize> { places(case.get(name)).iter().map(|&i| i as isize).collect() };
        let number = |name: &str| case.number(name) as isize;
        let count = (0..).take_while(|i| case.find(&format!("in/{i}")).is_some()).count();
        let x: Vec<Tensor> = (0..count).map(|i| input(device, case, i)).collect();
        let first = &x[0];
        let y = match case.text("op") {
            "permute" => first.permute(&numbers("attrs.permutation")),
            "transpose" => first.transpose(numbers("attrs.axes")[0], numbers("attrs.axes")[1]),
            "expand" => first.expand(&numbers("attrs.shape")),
            "reshape" if first.is_empty() || first.rank() < 3 => {
                first.reshape(&places(case.get("attrs.shape")).iter().map(|&i| i as usize).collect::<Vec<_>>())
            }
            "reshape" => first.flatten(0, -1).unwrap().unflatten(0, &numbers("attrs.shape")),
            "reshape_of_permuted" => first
                .permute(&numbers("attrs.permutation"))
                .and_then(|x| x.flatten(0, -1)?.unflatten(0, &numbers("attrs.shape"))),
            "squeeze" => first.squeeze_all(),
            "unsqueeze" => first.unsqueeze(number("attrs.axis")),
            "concat" => Tensor::concatenate(&x, number("attrs.axis")),
            "stack" => Tensor::stack(&x, number("attrs.axis")),
            "slice" => match case.text("attrs.python_index") {
                "0:4:2,1:5,0:6:3" => {
                    (|| first.slice_step(0, 0, 4, 2)?.slice_step(1, 1, 5, 1)?.slice_step(2, 0, 6, 3))()
                }
                ":, -3:-1" => first.slice_step(1, -3, -1, 1),
                "1" => first.select(0, 1),
                "..., 2" => first.select(-1, 2),
                "2:2" => first.slice_step(0, 2, 2, 1),
                ":, None, 0" => first.select(1, 0).and_then(|x| x.unsqueeze(1)),
                _ => return None,
            },
            "pad" => first.pad(&widths(case), pad_mode(case)),
            "flip" => first.flip(&numbers("attrs.axes")),
            "roll" => first.roll(&numbers("attrs.shifts"), &numbers("attrs.axes")),
            "tile" => first.tile(&numbers("attrs.repeats").iter().map(|i| i.unsigned_abs()).collect::<Vec<_>>()),
            "repeat_interleave" => {
                first.repeat_interleave(number("attrs.repeats").unsigned_abs(), number("attrs.axis"))
            }
            "tril" => first.tril(number("attrs.diagonal")),
            "triu" => first.triu(number("attrs.diagonal")),
            "diagonal" => first.diagonal(number("attrs.offset"), 0, 1),
            "trace" => first.trace(),
            _ => return None,
        };
        Some(outcome(&y.unwrap_or_else(|error| panic!("{}: {error}", case.id())), Kind::Arithmetic))
    });
}

/// The measure itself: a wrong value, a NaN at the wrong place and an all-zero reference are seen.
#[test]
fn the_measure_sees_what_is_wrong() {
    let fails = |got: &[f32], reference: &[f64], bound: Bound| {
        std::panic::catch_unwind(|| oracle::assert_within("measure", got, reference, bound)).is_err()
    };
    let bound = Bound::scaled(1e-6);
    assert!(!fails(&[1.0, -2.0], &[1.0, -2.000_001], bound));
    assert!(fails(&[1.0, -2.0], &[1.0, -2.000_01], bound));
    assert!(fails(&[1.0, f32::NAN], &[1.0, 2.0], bound));
    assert!(fails(&[1.0, 2.0], &[1.0, f64::NAN], bound));
    assert!(!fails(&[f32::NAN, f32::INFINITY], &[f64::NAN, f64::INFINITY], bound));
    assert!(fails(&[f32::NEG_INFINITY], &[f64::INFINITY], bound));
    assert!(!fails(&[1e-7], &[0.0], bound) && fails(&[1e-5], &[0.0], bound));
    assert!(!fails(&[1e-5], &[0.0], Bound { largest_input: 100.0, ..bound }));
    assert!(fails(&[1.0], &[1.0, 2.0], bound));
}
