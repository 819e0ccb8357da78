use thalweg_autograd::{GradientCheck, Tape, Verdict, check_gradient};
use thalweg_tensor::{DType, Device};

use super::*;
use crate::testing::devices;
use crate::{AdamW, Optimizer, Params};

const CELLS: [Cell; 4] = [Cell::RnnTanh, Cell::RnnRelu, Cell::Gru, Cell::Lstm];

fn network(device: &Device, cell: Cell, config: &RecurrentConfig) -> (Stack, Params) {
    let mut builder = ParamsBuilder::new(7);
    let stack = Stack::new(&mut builder, "net", cell, config).unwrap();
    (stack, builder.build(device).unwrap())
}

fn numbers(device: &Device, stream: u64, shape: &[usize]) -> Tensor {
    Tensor::uniform(device, 3, stream, -1.0, 1.0, shape).unwrap()
}

fn floats(x: &Tensor) -> Vec<f64> {
    x.to_vec::<f32>().unwrap().into_iter().map(f64::from).collect()
}

/// One step by PyTorch's formulas, in f64. The states are h, and c of an LSTM.
fn step(
    cell: Cell,
    x: &[f64],
    states: &[Vec<f64>],
    [weight_ih, weight_hh, bias_ih, bias_hh]: [&[f64]; 4],
) -> Vec<Vec<f64>> {
    let hidden = states[0].len();
    let product = |weight: &[f64], v: &[f64], bias: &[f64], row: usize| {
        bias[row] + v.iter().zip(&weight[row * v.len()..]).map(|(v, w)| v * w).sum::<f64>()
    };
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let mut next = vec![vec![0.0; hidden]; states.len()];
    for j in 0..hidden {
        let input = |gate: usize| product(weight_ih, x, bias_ih, gate * hidden + j);
        let before = |gate: usize| product(weight_hh, &states[0], bias_hh, gate * hidden + j);
        let sum = |gate: usize| input(gate) + before(gate);
        match cell {
            Cell::RnnTanh => next[0][j] = sum(0).tanh(),
            Cell::RnnRelu => next[0][j] = sum(0).max(0.0),
            Cell::Gru => {
                let (reset, keep) = (sigmoid(sum(0)), sigmoid(sum(1)));
                let new = (input(2) + reset * before(2)).tanh();
                next[0][j] = (1.0 - keep) * new + keep * states[0][j];
            }
            Cell::Lstm => {
                next[1][j] = sigmoid(sum(1)) * states[1][j] + sigmoid(sum(0)) * sum(2).tanh();
                next[0][j] = sigmoid(sum(3)) * next[1][j].tanh();
            }
        }
    }
    next
}

/// The output `[steps, n, directions · hidden]` and the final states `[states][layers · directions, n, hidden]`, row by
/// row, each with its own steps only.
fn expected(stack: &Stack, x: &Tensor, initial: &[Tensor], lengths: &[usize]) -> (Vec<f64>, Vec<Vec<f64>>) {
    let (config, cell) = (stack.config(), initial.len());
    let (steps, rows, hidden) = (x.shape()[0], x.shape()[1], config.hidden_size);
    let parameters: Vec<Vec<f64>> = stack.parameters().iter().map(|p| floats(p.value().unwrap())).collect();
    let (x, initial) = (floats(x), initial.iter().map(floats).collect::<Vec<_>>());
    let width = config.directions() * hidden;
    let mut output = vec![0.0; steps * rows * width];
    let mut finals = vec![vec![0.0; config.num_layers * config.directions() * rows * hidden]; cell];
    for (row, &length) in lengths.iter().enumerate() {
        let features = config.input_size;
        let mut sequence: Vec<Vec<f64>> =
            (0..length).map(|t| x[(t * rows + row) * features..][..features].to_vec()).collect();
        for layer in 0..config.num_layers {
            let mut outputs = vec![Vec::new(); length];
            for direction in 0..config.directions() {
                let number = layer * config.directions() + direction;
                let own = &parameters[4 * number..][..4];
                let place = (number * rows + row) * hidden;
                let mut states: Vec<Vec<f64>> = initial.iter().map(|s| s[place..place + hidden].to_vec()).collect();
                for i in 0..length {
                    let t = if direction == 0 { i } else { length - 1 - i };
                    states = step(stack.cell(), &sequence[t], &states, [&own[0], &own[1], &own[2], &own[3]]);
                    outputs[t].extend(&states[0]);
                }
                for (finals, state) in finals.iter_mut().zip(&states) {
                    finals[place..place + hidden].copy_from_slice(state);
                }
            }
            sequence = outputs;
        }
        for (t, values) in sequence.iter().enumerate() {
            output[(t * rows + row) * width..][..width].copy_from_slice(values);
        }
    }
    (output, finals)
}

fn assert_close(what: &str, got: &Tensor, expected: &[f64]) {
    let got = floats(got);
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!((got - expected).abs() < 5e-6, "{what} [{i}]: {got} and not {expected}");
    }
}

#[test]
fn outputs_and_states_are_those_of_the_formulas() {
    for (device, cell) in devices().into_iter().flat_map(|device| CELLS.map(|cell| (device.clone(), cell))) {
        for (num_layers, bidirectional) in [(1, false), (1, true), (2, false), (2, true)] {
            let config = RecurrentConfig { num_layers, bidirectional, ..RecurrentConfig::new(3, 4) };
            let (stack, _params) = network(&device, cell, &config);
            let x = numbers(&device, 0, &[5, 3, 3]);
            let shape = [num_layers * config.directions(), 3, 4];
            let initial: Vec<Tensor> = (0..cell.states()).map(|i| numbers(&device, 1 + i as u64, &shape)).collect();
            for lengths in [None, Some([5u32, 1, 3])] {
                let what = format!("{cell:?} of {num_layers} layers, {bidirectional}, {lengths:?}, on {device}");
                let tape = Tape::inference();
                let states = initial.iter().map(|state| tape.constant(state)).collect();
                let given = lengths.map(|lengths| Tensor::from_slice(&device, &lengths, &[3]).unwrap());
                let (output, finals) = stack.forward(tape.constant(&x), Some(states), given.as_ref()).unwrap();
                let lengths = lengths.unwrap_or([5; 3]).map(|length| length as usize);
                let (of_output, of_finals) = expected(&stack, &x, &initial, &lengths);
                assert_close(&format!("output of {what}"), &output.value(), &of_output);
                for (i, expected) in of_finals.iter().enumerate() {
                    let last = stack.stacked(&finals, i).unwrap();
                    assert_eq!(last.shape(), shape);
                    assert_close(&format!("state {i} of {what}"), &last.value(), expected);
                }
            }
        }
    }
}

#[test]
fn the_batch_may_come_first_or_not_at_all() {
    for device in devices() {
        let config = RecurrentConfig { bidirectional: true, ..RecurrentConfig::new(3, 4) };
        let x = numbers(&device, 0, &[5, 2, 3]);
        let tape = Tape::inference();
        let (stack, _params) = network(&device, Cell::Lstm, &config);
        let (first, _first_params) =
            network(&device, Cell::Lstm, &RecurrentConfig { batch_first: true, ..config.clone() });
        let input = tape.constant(&x);
        let (output, _) = stack.forward(input, None, None).unwrap();
        let (turned, _) = first.forward(input.transpose(0, 1).unwrap(), None, None).unwrap();
        assert_eq!(turned.shape(), [2, 5, 8]);
        assert_eq!(floats(&turned.transpose(0, 1).unwrap().value()), floats(&output.value()));
        for stack in [&stack, &first] {
            let row = input.select(1, 1).unwrap();
            let state = tape.constant(&Tensor::zeros(&device, DType::F32, &[2, 4]).unwrap());
            let (single, finals) = stack.forward(row, Some(vec![state, state]), None).unwrap();
            assert_eq!((single.shape(), finals[1][0].shape()), (vec![5, 8], vec![4]));
            assert_close("a row", &single.value(), &floats(&output.select(1, 1).unwrap().value()));
        }
    }
}

#[test]
fn gradients_are_those_of_differences() {
    for device in devices() {
        let config = RecurrentConfig { num_layers: 2, bidirectional: true, ..RecurrentConfig::new(2, 3) };
        for cell in [Cell::RnnTanh, Cell::Gru, Cell::Lstm] {
            let (stack, _params) = network(&device, cell, &config);
            let lengths = Tensor::from_slice(&device, &[3u32, 2], &[2]).unwrap();
            let states = vec![numbers(&device, 1, &[4, 2, 3]); cell.states()];
            let inputs: Vec<Tensor> = [numbers(&device, 0, &[3, 2, 2])].into_iter().chain(states).collect();
            let report = check_gradient(&GradientCheck::default(), &inputs, |_, x| {
                let (output, finals) = stack.forward(x[0], Some(x[1..].to_vec()), Some(&lengths))?;
                let last = stack.stacked(&finals, x.len() - 2)?;
                output.square()?.sum()?.add(last.sum()?)
            })
            .unwrap();
            assert_ne!(report.verdict, Verdict::Wrong, "{cell:?} on {device}: {report}");
        }
    }
}

#[test]
fn names_values_and_settings_are_pytorch_s() {
    let config = RecurrentConfig { num_layers: 2, bidirectional: true, dropout: 0.5, ..RecurrentConfig::new(3, 16) };
    let mut builder = ParamsBuilder::new(0);
    let lstm = Lstm::new(&mut builder, "lstm", &config).unwrap();
    let rnn = Rnn::new(&mut builder, "rnn", &RecurrentConfig::new(1, 1), Activation::Relu).unwrap();
    let without = Gru::new(&mut builder, "gru", &RecurrentConfig { bias: false, ..config.clone() }).unwrap();
    let _params = builder.build(&Device::cpu()).unwrap();
    let names: Vec<(String, Vec<usize>)> =
        lstm.named_parameters().into_iter().map(|(name, p)| (name, p.shape().to_vec())).collect();
    assert_eq!(names.len(), 16);
    assert_eq!(names[0], ("weight_ih_l0".to_string(), vec![64, 3]));
    assert_eq!(names[5], ("weight_hh_l0_reverse".to_string(), vec![64, 16]));
    assert_eq!(names[8], ("weight_ih_l1".to_string(), vec![64, 32]));
    assert_eq!(names[15], ("bias_hh_l1_reverse".to_string(), vec![64]));
    assert_eq!(without.parameters().len(), 8);
    let values: Vec<f64> = lstm.parameters().iter().flat_map(|p| floats(p.value().unwrap())).collect();
    let largest = values.iter().fold(0f64, |largest, x| largest.max(x.abs()));
    assert!(largest <= 0.25 && largest > 0.249, "{largest}");
    assert_eq!(lstm.settings(), "cell Lstm, dropout 0.5");
    assert_eq!(rnn.settings(), "cell RnnRelu, dropout 0");
    let mut builder = ParamsBuilder::new(0);
    assert!(Lstm::new(&mut builder, "none", &RecurrentConfig::new(0, 1)).is_err());
    assert!(Rnn::new(&mut builder, "gelu", &RecurrentConfig::new(1, 1), Activation::Gelu).is_err());
}

#[test]
fn dropout_is_between_layers_in_training_only() {
    for device in devices() {
        let config = RecurrentConfig { num_layers: 2, dropout: 0.5, ..RecurrentConfig::new(3, 8) };
        let mut builder = ParamsBuilder::new(0);
        let gru = Gru::new(&mut builder, "gru", &config).unwrap();
        let _params = builder.build(&device).unwrap();
        let x = numbers(&device, 0, &[4, 2, 3]);
        let (training, inference) = (Tape::new(), Tape::inference());
        let run = |tape: &Tape| floats(&gru.forward(tape.constant(&x)).unwrap().value());
        assert_ne!(run(&training), run(&training));
        assert_eq!(run(&inference), run(&inference));
        gru.eval();
        assert_eq!(run(&training), run(&inference));
    }
}

#[test]
fn wrong_inputs_are_refused() {
    let device = Device::cpu();
    let mut builder = ParamsBuilder::new(0);
    let lstm = Lstm::new(&mut builder, "lstm", &RecurrentConfig::new(3, 4)).unwrap();
    let _params = builder.build(&device).unwrap();
    let tape = Tape::new();
    let of = |shape: &[usize]| tape.constant(&Tensor::zeros(&device, DType::F32, shape).unwrap());
    for shape in [&[0, 2, 3][..], &[5, 2, 4], &[3], &[1, 1, 1, 3]] {
        let error = lstm.forward(of(shape)).unwrap_err().to_string();
        assert!(error.contains("at least one step"), "{shape:?}: {error}");
    }
    let states = Some((of(&[1, 2, 4]), of(&[1, 3, 4])));
    assert!(lstm.forward_from(of(&[5, 2, 3]), states, None).unwrap_err().to_string().contains("[1, 3, 4]"));
    let lengths = Tensor::from_slice(&device, &[5u32; 3], &[3]).unwrap();
    assert!(lstm.forward_from(of(&[5, 2, 3]), None, Some(&lengths)).is_err());
    let lengths = Tensor::zeros(&device, DType::F32, &[2]).unwrap();
    assert!(lstm.forward_from(of(&[5, 2, 3]), None, Some(&lengths)).is_err());
}

/// Two launches a step and layer, and as many in the gradient; the rest does not depend on the number of steps.
#[test]
fn a_step_is_two_launches_in_each_direction_of_the_pass() {
    for device in devices() {
        let launches = |steps: usize| {
            let (stack, params) =
                network(&device, Cell::Lstm, &RecurrentConfig { num_layers: 2, ..RecurrentConfig::new(4, 64) });
            let mut optimizer = Optimizer::new(&params, AdamW::new(), 1e-3).unwrap();
            let x = numbers(&device, 0, &[steps, 16, 4]);
            let mut step = || -> crate::Result<()> {
                let tape = Tape::new();
                let (output, _) = stack.forward(tape.constant(&x), None, None)?;
                let loss = output.select(0, -1)?.square()?.mean()?;
                params.zero_grad();
                tape.backward_and_free(loss)?;
                optimizer.step()
            };
            step().unwrap();
            let (recording, ()) = device.record(&mut step).unwrap();
            let count = recording.launches();
            recording.replay(2).unwrap();
            let values = floats(params.parameters()[0].value().unwrap());
            assert!(values.iter().all(|x| x.is_finite()));
            count
        };
        let (few, more) = (launches(4), launches(12));
        assert_eq!(more - few, 2 * 4 * 8, "{device}");
        assert!(few <= 2 * 4 * 4 + 30, "{device}: {few}");
    }
}
