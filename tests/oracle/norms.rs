//! Normalizations of a batch in training compared with the oracle (PyTorch): results, running statistics and gradients.

use thalweg::autograd::{Tape, Var};
use thalweg::tensor::{Device, DeviceKind, Tensor};

use crate::common::oracle::{Array, Bound, Case, Oracle, assert_within};
use crate::common::{devices, floats};
use crate::gradients::{attribute, hold_gradient, upload};

fn hold(case: Case<'_>, device: &Device) {
    let inputs: Vec<Array> = (0..5).map(|i| case.array(&format!("in/{i}"))).collect();
    let (momentum, eps) = (attribute(case, "momentum", f64::NAN), attribute(case, "eps", f64::NAN));
    let tape = Tape::new();
    let x: Vec<Var<'_>> = inputs[..3].iter().map(|array| tape.input(&upload(device, array))).collect();
    let running = || [upload(device, &inputs[3]), upload(device, &inputs[4])];
    let [mean, var] = running();
    let y = x[0].batch_norm(Some(&mean), Some(&var), Some(x[1]), Some(x[2]), true, momentum, eps).unwrap();
    let [other_mean, other_var] = running();
    let [value, weight, bias]: [Tensor; 3] = std::array::from_fn(|i| x[i].value());
    let (weight, bias) = (Some(&weight), Some(&bias));
    let eager = value.batch_norm(Some(&other_mean), Some(&other_var), weight, bias, true, momentum, eps).unwrap();
    let results = [("variables", [y.value(), mean, var]), ("tensors", [eager, other_mean, other_var])];
    for (kind, results) in results {
        for (i, result) in results.iter().enumerate() {
            let reference = case.array(&format!("out/f64/{i}"));
            assert_eq!(result.shape(), reference.shape);
            let name = case.name(&format!("output {i} of {kind} on {device}"));
            let bound = case.bound("out").with_inputs(&inputs);
            let is_hardware = device.info().kind == DeviceKind::Hardware;
            let scaled = if is_hardware { bound.scaled.max(1e-5) } else { bound.scaled };
            assert_within(&name, &floats(result), &reference.values, Bound { scaled, ..bound });
        }
    }
    let cotangent = tape.constant(&upload(device, &case.array("cot/0")));
    let graph = tape.vector_jacobian_product(y, cotangent, &x).unwrap();
    let plain = tape.backward(y.mul(cotangent).unwrap().sum().unwrap()).unwrap();
    for (i, x) in x.iter().enumerate() {
        let name = case.name(&format!("input {i} on {device}"));
        hold_gradient(&name, case, i, &floats(&graph[i].value()), &inputs, device);
        hold_gradient(&name, case, i, &floats(plain.get(*x).unwrap()), &inputs, device);
    }
}

#[test]
fn batches_in_training() {
    Oracle::hold_cases("ops/softmax_norm", (6, 0), |case| {
        let is_training = case.text("op") == "batch_norm_train";
        if is_training {
            devices().iter().for_each(|device| hold(case, device));
        }
        is_training
    });
}
