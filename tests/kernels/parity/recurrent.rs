//! Recurrent layers: each cell, in both directions, with and without lengths.

use thalweg::tensor::{Cell, Device, Recurrent, Tensor};

use crate::common::{Tolerance, numbers, tensor};
use crate::parity::Pair;

/// Exponentials with an error of some 2 ulp, which the gates of later steps pass on.
const STATES: Tolerance = Tolerance::new(2e-6, 2e-6);

/// Their gradients, which products sum in another order; weights of up to 1 let them grow from step to step.
const GRADIENTS: Tolerance = Tolerance::new(2e-5, 2e-5);

const CELLS: [Cell; 4] = [Cell::RnnTanh, Cell::RnnRelu, Cell::Gru, Cell::Lstm];

/// The operands of a layer.
struct Layer {
    gates: Tensor,
    initial: Vec<Tensor>,
    weight: Tensor,
    bias: Tensor,
}

impl Layer {
    fn new(device: &Device, cell: Cell, steps: usize, rows: usize, hidden: usize) -> Self {
        let width = cell.gates() * hidden;
        let bound = 1.0 / (hidden as f32).sqrt();
        let draw = |seed: u64, bound: f32, shape: &[usize]| {
            tensor(device, &numbers(seed, shape.iter().product(), -bound, bound), shape)
        };
        Self {
            gates: draw(1, 2.0, &[steps, rows, width]),
            initial: (0..cell.states()).map(|i| draw(2 + i as u64, 1.0, &[rows, hidden])).collect(),
            weight: draw(4, bound, &[width, hidden]),
            bias: draw(5, 1.0, &[width]),
        }
    }

    fn initial(&self) -> Vec<&Tensor> {
        self.initial.iter().collect()
    }

    fn states(&self, settings: &Recurrent) -> (Tensor, Tensor) {
        self.gates.recurrent_saved(settings, &self.initial(), &self.weight, Some(&self.bias)).unwrap()
    }
}

/// Steps, rows and hidden units: one lane, more than a workgroup, unaligned steps, nothing.
const SIZES: [(usize, usize, usize); 6] = [(1, 1, 1), (3, 2, 5), (4, 5, 32), (2, 16, 64), (2, 0, 3), (0, 2, 3)];

fn for_each_layer(mut run: impl FnMut(String, Cell, (usize, usize, usize), bool, bool)) {
    for cell in CELLS {
        for size in SIZES {
            for reverse in [false, true] {
                for has_lengths in [false, true] {
                    let what = format!("{cell:?} {size:?}, reverse {reverse}, lengths {has_lengths}");
                    run(what, cell, size, reverse, has_lengths);
                }
            }
        }
    }
}

fn settings(device: &Device, cell: Cell, rows: usize, reverse: bool, has_lengths: bool) -> Recurrent {
    let lengths: Vec<u32> = (0..rows as u32).map(|row| row * 7 % 5).collect();
    let lengths = has_lengths.then(|| Tensor::from_slice(device, &lengths, &[rows]).unwrap());
    Recurrent { reverse, lengths, ..Recurrent::new(cell) }
}

pub(crate) fn step(pair: &Pair) {
    for_each_layer(|what, cell, (steps, rows, hidden), reverse, has_lengths| {
        pair.compare(&what, STATES, |device| {
            let layer = Layer::new(device, cell, steps, rows, hidden);
            vec![layer.states(&settings(device, cell, rows, reverse, has_lengths)).0]
        });
    });
    for cell in CELLS {
        pair.compare(&format!("{cell:?} of NaN, infinity and large numbers"), STATES, |device| {
            let Layer { gates, initial, weight, .. } = Layer::new(device, cell, 1, 3, 2);
            let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, 90.0, -104.0, 0.0, -0.0];
            let elements: Vec<f32> = special.into_iter().cycle().take(gates.len()).collect();
            let gates = tensor(device, &elements, gates.shape());
            let initial: Vec<&Tensor> = initial.iter().collect();
            vec![gates.recurrent(&Recurrent::new(cell), &initial, &weight, None).unwrap()]
        });
    }
}

pub(crate) fn step_grad(pair: &Pair) {
    for_each_layer(|what, cell, (steps, rows, hidden), reverse, has_lengths| {
        pair.compare(&what, GRADIENTS, |device| {
            let layer = Layer::new(device, cell, steps, rows, hidden);
            let settings = settings(device, cell, rows, reverse, has_lengths);
            let (states, saved) = layer.states(&settings);
            let grad = tensor(device, &numbers(6, states.len(), -1.0, 1.0), states.shape());
            let grads = grad.recurrent_grads(&settings, (&states, &saved), &layer.initial(), &layer.weight).unwrap();
            vec![grads.gates, grads.products, grads.initial, grads.before]
        });
    });
}
