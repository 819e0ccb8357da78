//! How a recording is made does not change a bit of what it does: temporaries that share memory, held against recordings
//! that share nothing and against doing the work anew.

#![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

mod common;

use common::{assert_same_bits, devices, floats, numbers, tensor};
use proptest::prelude::*;
use thalweg::autograd::Tape;
use thalweg::nn::{AdamW, Loss, Mlp, MlpConfig, Module, Optimizer, ParamsBuilder};
use thalweg::tensor::{BinaryOp, DType, Device, DropoutState, RecordOptions, Result, Tensor, UnaryOp};

const PLAIN: RecordOptions = RecordOptions { plan: false };

/// Bytes of a recorded step of a perceptron with so many hidden layers of 64, planned and not.
fn step_bytes(device: &Device, layers: usize) -> (u64, u64) {
    let bytes = |options| {
        let mut builder = ParamsBuilder::new(1);
        let config = MlpConfig { inputs: 64, hidden: vec![64; layers], outputs: 10, ..MlpConfig::default() };
        let model = Mlp::new(&mut builder, &config).unwrap();
        let params = builder.build(device).unwrap();
        let mut optimizer = Optimizer::new(&params, AdamW::default()).unwrap().with_clip_norm(1.0).unwrap();
        let x = tensor(device, &numbers(1, 64 * 64, -1.0, 1.0), &[64, 64]);
        let y = Tensor::from_slice(device, &(0..64).map(|i| i % 10).collect::<Vec<u32>>(), &[64]).unwrap();
        let step = || -> std::result::Result<(), thalweg::nn::Error> {
            let tape = Tape::new();
            let loss = Loss::CrossEntropy.of(model.forward(tape.constant(&x))?, &y)?;
            params.zero_grad();
            tape.backward(loss)?;
            Ok(optimizer.step()?)
        };
        let (recording, ()) = device.record_with(options, step).unwrap();
        recording.replay(2).unwrap();
        recording.memory_bytes()
    };
    (bytes(RecordOptions::default()), bytes(PLAIN))
}

#[test]
fn a_planned_step_needs_less_memory() {
    for device in devices() {
        let ((planned, plain), (deep, deep_plain)) = (step_bytes(&device, 2), step_bytes(&device, 12));
        assert!(planned < plain, "{device}: {planned} of {plain} bytes");
        // Activations live until the backward pass has come to them; gradients of them take turns in two buffers.
        assert!(3 * deep < 2 * deep_plain, "{device}: {deep} of {deep_plain} bytes");
    }
}

/// A step of a random program: what is done, with which values, with which function.
type Step = (u8, usize, usize, u8);

const UNARY: [UnaryOp; 9] = [
    UnaryOp::Tanh,
    UnaryOp::Affine(0.5, 0.25),
    UnaryOp::Neg,
    UnaryOp::Relu,
    UnaryOp::Sigmoid,
    UnaryOp::Square,
    UnaryOp::Clamp(-1.5, 1.25),
    UnaryOp::LeakyRelu(0.1),
    UnaryOp::Abs,
];

const BINARY: [BinaryOp; 8] = [
    BinaryOp::Add,
    BinaryOp::Sub,
    BinaryOp::Mul,
    BinaryOp::Maximum,
    BinaryOp::ReluGrad,
    BinaryOp::TanhGrad,
    BinaryOp::Div,
    BinaryOp::Le,
];

/// A program over square matrices. The first values are its state, which it may write over.
fn run(program: &[Step], state: &[Tensor], dropout: &DropoutState) -> Result<Vec<Tensor>> {
    let device = state[0].device();
    let shape = state[0].shape().to_vec();
    let side = shape[0];
    let mut values = state.to_vec();
    for &(kind, first, second, function) in program {
        let (x, y) = (values[first % values.len()].clone(), values[second % values.len()].clone());
        let unary = UNARY[usize::from(function) % UNARY.len()];
        let binary = BINARY[usize::from(function) % BINARY.len()];
        let target = &state[second % state.len()];
        values.push(match kind {
            0..=3 => x.unary(unary)?,
            4..=7 => x.binary(binary, &y)?,
            8 => x.matmul(&y)?.affine(1.0 / side as f32, 0.0)?,
            9 => x.sum_along(usize::from(function) % 2)?.broadcast_to(&shape)?,
            10 => x.binary(binary, &y.mean_along(usize::from(function) % 2)?)?,
            11 => x.binary(binary, &y.mean()?)?,
            12 => x.transpose(0, 1)?,
            13 => x.dropout(0.25, dropout)?.0,
            // A value in parts: both halves are written before it is read.
            14 => {
                let middle = side / 2;
                Tensor::concatenate(&[x.slice(0, 0, middle)?, y.slice(0, middle, side)?])?
            }
            // A part of zeros is written.
            15 => {
                let z = Tensor::zeros(device, DType::F32, &shape)?;
                x.unary(unary)?.slice(0, side - 1, side)?.copy_into(&z.slice(0, 0, 1)?)?;
                z
            }
            // The state moves on.
            16 => {
                let z = x.unary(unary)?.binary(BinaryOp::Minimum, &y)?;
                z.copy_into(target)?;
                z
            }
            // So does a part of it.
            17 => {
                let row = x.unary(unary)?.slice(0, 0, 1)?.contiguous()?.affine(0.5, 0.0)?;
                row.copy_into(&target.slice(0, 0, 1)?)?;
                x
            }
            _ => Tensor::from_slice(device, &numbers(function.into(), side * side, -1.0, 1.0), &shape)?.mul(&x)?,
        });
    }
    Ok(values)
}

/// Runs a program anew four times, and recorded with three replays; what is kept and the state must be the same bits
/// each time.
fn compare(device: &Device, options: RecordOptions, program: &[Step], side: usize, kept: u32) {
    let start = || -> (Vec<Tensor>, DropoutState) {
        let state = |seed| tensor(device, &numbers(seed, side * side, -1.0, 1.0), &[side, side]);
        ((0..3).map(state).collect(), DropoutState::new(device, 7, 1).unwrap())
    };
    let keep = |values: Vec<Tensor>| -> Vec<Tensor> {
        values.into_iter().enumerate().filter(|(i, _)| kept >> (i % 32) & 1 == 1).map(|(_, value)| value).collect()
    };
    let (eager_state, eager_dropout) = start();
    let (state, dropout) = start();
    let (recording, values) = device.record_with(options, || run(program, &state, &dropout).map(keep)).unwrap();
    for time in 0..4 {
        let expected = keep(run(program, &eager_state, &eager_dropout).unwrap());
        if time > 0 {
            recording.replay(1).unwrap();
        }
        for (i, (got, expected)) in values.iter().chain(&state).zip(expected.iter().chain(&eager_state)).enumerate() {
            let what = format!("{device}, {recording:?}, time {time}, kept value {i}");
            assert_same_bits(&what, &floats(got), &floats(expected));
        }
    }
}

fn programs() -> impl Strategy<Value = (Vec<Step>, usize, u32)> {
    let step = (0u8..19, 0usize..64, 0usize..64, any::<u8>());
    (prop::collection::vec(step, 3..24), prop::sample::select(vec![1usize, 3, 8, 16, 17]), any::<u32>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_programs_replay_to_the_bit_on_the_cpu((program, side, kept) in programs()) {
        compare(&Device::cpu(), RecordOptions::default(), &program, side, kept);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_programs_replay_to_the_bit_on_a_gpu((program, side, kept) in programs()) {
        if let Some(device) = common::gpu() {
            compare(&device, RecordOptions::default(), &program, side, kept);
        }
    }
}
