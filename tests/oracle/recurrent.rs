//! Recurrent cells and networks against the oracle (PyTorch).

use crate::common::oracle::{self, Array, Oracle};
use crate::common::{devices, floats, skip};
use thalweg::autograd::{Tape, Var};
use thalweg::tensor::Tensor;

/// The cell has two results, and so two cotangents.
#[test]
fn the_states_of_an_lstm_cell_and_their_gradients() {
    if oracle::whole().is_none() {
        skip("ops/nn: there is no ../shared/oracle");
        return;
    }
    let oracle = Oracle::open("ops/nn");
    let cases: Vec<_> = oracle.cases().into_iter().filter(|case| case.text("op") == "lstm_cell").collect();
    assert_eq!(cases.len(), 1);
    for (device, case) in devices().iter().flat_map(|device| cases.iter().map(move |case| (device, *case))) {
        for is_plain in [false, true] {
            let tape = Tape::new();
            let upload = |array: &Array| Tensor::from_slice(device, &array.f32(), &array.shape).unwrap();
            let x: Vec<Var<'_>> = (0..7).map(|i| tape.input(&upload(&case.array(&format!("in/{i}"))))).collect();
            let (hidden, cell) = x[0].lstm_cell((x[1], x[2]), x[3], x[4], Some(x[5]), Some(x[6])).unwrap();
            let mut sum = None;
            for (i, state) in [hidden, cell].into_iter().enumerate() {
                let name = case.name(&format!("result {i} on {device}"));
                let reference = case.array(&format!("out/f64/{i}")).values;
                oracle::assert_scaled(&name, &floats(&state.value()), &reference, case.number("out_tol_scaled"));
                let cotangent = tape.constant(&upload(&case.array(&format!("cot/{i}"))));
                let product = state.mul(cotangent).unwrap().sum().unwrap();
                sum = Some(sum.map_or(product, |sum: Var<'_>| sum.add(product).unwrap()));
            }
            let gradients: Vec<Vec<f32>> = if is_plain {
                let gradients = tape.backward(sum.unwrap()).unwrap();
                x.iter().map(|&x| floats(gradients.get(x).unwrap())).collect()
            } else {
                tape.grad(sum.unwrap(), &x).unwrap().iter().map(|gradient| floats(&gradient.value())).collect()
            };
            for (i, gradient) in gradients.iter().enumerate() {
                let name = case.name(&format!("gradient {i} on {device}, plain {is_plain}"));
                let reference = case.array(&format!("grad/f64/{i}")).values;
                oracle::assert_scaled(&name, gradient, &reference, case.number("grad_tol_scaled"));
            }
        }
    }
}
