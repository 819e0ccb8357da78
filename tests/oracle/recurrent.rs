//! Recurrent cells and networks against the oracle (PyTorch).

use crate::common::oracle::{self, Array, Oracle};
use crate::common::{devices, floats, skip};
use crate::networks::Model;
use thalweg::autograd::{Tape, Var};
use thalweg::nn::{Linear, Loss, Lstm, Module, Mse, ParamsBuilder, RecurrentConfig};
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

#[test]
fn an_lstm_learns_as_in_pytorch() {
    if oracle::whole().is_none() {
        skip("networks/lstm: there is no ../shared/oracle");
        return;
    }
    let oracle = Oracle::open("networks/lstm");
    let (x, y) = (oracle.array("data/x"), oracle.array("data/y").f32());
    let (steps, features) = (x.shape[1], x.shape[2]);
    let mut run = 0;
    for case in oracle.cases() {
        for device in devices() {
            let mut builder = ParamsBuilder::new(0);
            let config = RecurrentConfig { batch_first: true, ..RecurrentConfig::new(features, 12) };
            let lstm = Lstm::new(&mut builder, "lstm", &config).unwrap();
            let out = Linear::new(&mut builder, "out", 12, 1).unwrap();
            let names = &["w_ih", "w_hh", "b_ih", "b_hh", "out.weight", "out.bias"];
            let model = Model { params: builder.build(&device).unwrap(), names };
            model.train(&oracle, case, &device, |tape, rows| {
                let values = x.f32();
                let picked: Vec<f32> = rows
                    .iter()
                    .flat_map(|&row| &values[row * steps * features..][..steps * features])
                    .copied()
                    .collect();
                let input = Tensor::from_slice(&device, &picked, &[rows.len(), steps, features]).unwrap();
                let targets: Vec<f32> = rows.iter().map(|&row| y[row]).collect();
                let targets = Tensor::from_slice(&device, &targets, &[rows.len(), 1]).unwrap();
                let output = lstm.forward(tape.constant(&input)).unwrap();
                Mse.of(out.forward(output.select(1, -1).unwrap()).unwrap(), &targets).unwrap()
            });
        }
        run += 1;
    }
    assert_eq!(run, 2);
}
