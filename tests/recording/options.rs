//! The options of a recording do not change a bit of its results. Temporaries share memory and chains are fused into
//! one generated kernel; the results are compared with plain recordings and with eager work.

use crate::common::{
    Numbered, Tolerance, assert_close, assert_same_bits, devices, floats, functions_of, numbers, tensor,
};
use proptest::prelude::*;
use thalweg::autograd::Tape;
use thalweg::nn::{AdamW, CrossEntropy, Loss, Mlp, MlpConfig, Module, Optimizer, ParamsBuilder};
use thalweg::tensor::functions::SILU_GRAD;
use thalweg::tensor::{DType, Device, DropoutState, RecordOptions, Recording, Result, Tensor};

const PLAIN: RecordOptions = RecordOptions { fuse: false, plan: false };

/// Returns the bytes of a recorded step of a perceptron with `layers` hidden layers of 64, planned and not.
fn step_bytes(device: &Device, layers: usize) -> (u64, u64) {
    let bytes = |options| {
        let mut builder = ParamsBuilder::new(1);
        let config = MlpConfig { inputs: 64, hidden: vec![64; layers], outputs: 10, ..MlpConfig::default() };
        let model = Mlp::new(&mut builder, &config).unwrap();
        let params = builder.build(device).unwrap();
        let mut optimizer = Optimizer::new(&params, AdamW::new(), 1e-3).unwrap().with_clip_norm(1.0).unwrap();
        let x = tensor(device, &numbers(1, 64 * 64, -1.0, 1.0), &[64, 64]);
        let y = Tensor::from_slice(device, &(0..64).map(|i| i % 10).collect::<Vec<u32>>(), &[64]).unwrap();
        let step = || -> std::result::Result<(), thalweg::nn::Error> {
            let tape = Tape::new();
            let loss = CrossEntropy.of(model.forward(tape.constant(&x))?, &y)?;
            params.zero_grad();
            tape.backward(loss)?;
            optimizer.step()
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
        // Activations live until the backward pass reaches them; their gradients alternate between two buffers.
        assert!(3 * deep < 2 * deep_plain, "{device}: {deep} of {deep_plain} bytes");
    }
}

/// Records a body with and without fusion, replays both and compares the bits of their results. Returns the fused
/// recording.
fn fused(device: &Device, body: impl Fn() -> Result<Vec<Tensor>>) -> Recording {
    let (plain, expected) = device.record_with(PLAIN, &body).unwrap();
    let (fused, got) = device.record(&body).unwrap();
    plain.replay(2).unwrap();
    fused.replay(2).unwrap();
    for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
        assert_same_bits(&format!("{device}, {fused:?}, result {i}"), &floats(got), &floats(expected));
    }
    fused
}

#[test]
fn every_function_fuses_to_the_bit() {
    for device in devices() {
        let length = 1009;
        let x = tensor(&device, &numbers(1, length, -3.0, 3.0), &[length]);
        let y = tensor(&device, &numbers(2, length, -3.0, 3.0), &[length]);
        for function in functions_of(1) {
            let recording = fused(&device, || Ok(vec![function.of(&function.of(&x, &[])?, &[])?.add(&x)?]));
            assert_eq!(recording.launches(), 1, "{function:?}");
        }
        for function in functions_of(2) {
            let recording = fused(&device, || Ok(vec![function.of(&function.of(&x, &[&y])?, &[&x])?]));
            assert_eq!(recording.launches(), 1, "{function:?}");
        }
        for function in functions_of(3) {
            let recording = fused(&device, || Ok(vec![function.of(&x, &[&y, &function.of(&y, &[&x, &x])?])?]));
            assert_eq!(recording.launches(), 1, "{function:?}");
        }
    }
}

#[test]
fn a_generated_kernel_does_what_its_twin_does() {
    let Some(gpu) = crate::common::gpu() else { return };
    let length = 4 * 1024 + 5;
    let run = |device: &Device| {
        let x = tensor(device, &numbers(1, length, -2.0, 2.0), &[length]);
        let y = tensor(device, &numbers(2, length, 0.5, 2.0), &[length]);
        let body = || {
            let exact = x.affine(0.5, 0.25)?.mul(&y)?.sub(&x)?.div(&y)?.clamp(-1.0, 1.0)?.leaky_relu(0.1)?;
            let rounded = exact.tanh()?.add(&y.log()?)?.gelu()?.apply_with(&SILU_GRAD, &[&x], &[])?;
            exact.copy_into(&x)?;
            Ok::<_, thalweg::tensor::Error>([exact, rounded])
        };
        let (recording, values) = device.record(body).unwrap();
        recording.replay(1).unwrap();
        assert_eq!((recording.launches(), recording.generated().count()), (1, 1));
        values.map(|value| floats(&value))
    };
    let ([exact, rounded], [expected_exact, expected_rounded]) = (run(&gpu), run(&Device::cpu()));
    if crate::common::is_software(&gpu) {
        assert_same_bits("exact", &exact, &expected_exact);
    }
    let tolerance = Tolerance::new(1e-6, 1e-5);
    assert_close("exact", &exact, &expected_exact, tolerance);
    assert_close("rounded", &rounded, &expected_rounded, tolerance);
}

#[test]
fn what_a_compiler_would_simplify_is_computed() {
    for device in devices() {
        let special = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.0, -0.0, 3e38, 1e-40, 1.0];
        let x = tensor(&device, &special.repeat(9), &[72]);
        let y = tensor(&device, &numbers(3, 72, 0.0, 1.0), &[72]);
        let z = tensor(&device, &numbers(4, 72, -1.0, 0.0), &[72]);
        fused(&device, || {
            Ok(vec![
                // Infinity minus itself is NaN.
                x.tanh()?.tanh()?.sub(&x.tanh()?.tanh()?)?.add(&x.sub(&x)?)?,
                // Neither distributed nor contracted.
                y.mul(&z)?.add(&y.mul(&y)?)?.sub(&z.mul(&y)?)?,
                // The sum of a rounding error.
                y.add(&z)?.sub(&y)?.sub(&z)?,
                x.neg()?.neg()?.square()?.sqrt()?.div(&x)?,
                x.affine(3.0, 1.0)?.affine(1.0 / 3.0, -1.0 / 3.0)?,
            ])
        });
    }
}

#[test]
fn chains_split_where_a_device_could_not_bind_them_and_where_lengths_change() {
    for device in devices() {
        let state: Vec<Tensor> = (0..12).map(|i| tensor(&device, &numbers(i, 70, -1.0, 1.0), &[70])).collect();
        let recording = fused(&device, || {
            let mut sum = state[0].affine(1.0, 0.0)?;
            for x in &state[1..] {
                sum = sum.add(x)?;
            }
            Ok(vec![sum])
        });
        // 13 operands and results; the value between the two chains counts in both.
        assert_eq!(recording.launches(), 2, "{device}");
        assert!(recording.generated().all(|kernel| kernel.access.len() <= 8));
        let recording = fused(&device, || {
            let mut y = state[0].clone();
            for i in 0..70 {
                y = y.affine(1.0, i as f32)?.clamp(-100.0, 100.0)?;
            }
            let shorter = y.slice(0, 0, 64)?.tanh()?.square()?;
            Ok(vec![y, shorter])
        });
        // 64 words of parameters have room for the numbers of 15 pairs, so five chains, and one of another length.
        assert_eq!(recording.launches(), 6, "{device}");
        // Chains of one structure share a kernel.
        assert!(recording.generated().count() <= 3, "{device}");
    }
}

#[test]
fn state_is_updated_in_place_and_its_neighbours_stay() {
    for device in devices() {
        // Five elements at aligned offsets of one buffer, with others between them.
        let start = numbers(5, 256, -1.0, 1.0);
        let whole = tensor(&device, &start, &[256]);
        let state = whole.slice(0, 64, 69).unwrap();
        let other = whole.slice(0, 128, 133).unwrap();
        let recording = fused(&device, || {
            let next = state.affine(0.5, 1.0)?.mul(&other)?;
            next.copy_into(&state)?;
            Ok(Vec::new())
        });
        assert_eq!((recording.launches(), recording.generated().count()), (1, 1), "{device}: {recording:?}");
        // Twice recorded and four times replayed.
        let mut expected = start.clone();
        for _ in 0..6 {
            for i in 0..5 {
                expected[64 + i] = (0.5 * expected[64 + i] + 1.0) * expected[128 + i];
            }
        }
        assert_same_bits(&device.to_string(), &floats(&whole), &expected);
    }
}

#[test]
fn rows_columns_and_single_elements_join() {
    for device in devices() {
        let x = tensor(&device, &numbers(6, 7 * 33, -1.0, 1.0), &[7, 33]);
        let row = tensor(&device, &numbers(7, 33, -1.0, 1.0), &[33]);
        let column = tensor(&device, &numbers(8, 7, -1.0, 1.0), &[7, 1]);
        let middle = tensor(&device, &numbers(9, 33, -1.0, 1.0), &[33]);
        let recording = fused(&device, || {
            let y = x.add(&row)?.mul(&column)?.div(&row.slice(0, 3, 4)?)?.tanh()?;
            Ok(vec![y.sub(&row)?, row.slice(0, 1, 2)?.sub(&y)?, y.add(&x.slice(0, 2, 3)?)?])
        });
        assert_eq!(recording.launches(), 1, "{device}");
        let cube = tensor(&device, &numbers(6, 3 * 33 * 5, -1.0, 1.0), &[3, 33, 5]);
        let recording = fused(&device, || Ok(vec![cube.mul(&middle.reshape(&[33, 1])?)?.relu()?.add(&cube)?]));
        assert_eq!(recording.launches(), 1, "{device}");
    }
}

#[test]
fn long_chains_go_over_many_workgroups_and_threads() {
    for device in devices() {
        let length = 3 * 32 * 1024 + 77;
        let x = tensor(&device, &numbers(1, length, -1.0, 1.0), &[length]);
        let recording = fused(&device, || Ok(vec![x.square()?.affine(2.0, 1.0)?.sub(&x)?.mul(&x.mean()?)?]));
        assert_eq!(recording.generated().count(), 1, "{device}");
    }
}

/// A step of a random program: its operation, two values, and its function.
type Step = (u8, usize, usize, u8);

/// The functions that random programs use.
struct Drawn {
    unary: Vec<Numbered>,
    binary: Vec<Numbered>,
}

impl Drawn {
    fn new() -> Self {
        Self { unary: functions_of(1), binary: functions_of(2) }
    }

    /// Computes the function of one argument with a number.
    fn unary(&self, number: u8, x: &Tensor) -> Result<Tensor> {
        self.unary[usize::from(number) % self.unary.len()].of(x, &[])
    }

    /// Computes the function of two arguments with a number.
    fn binary(&self, number: u8, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        self.binary[usize::from(number) % self.binary.len()].of(x, &[y])
    }
}

/// Runs a program over square matrices. The first values are its state, which it may overwrite.
fn run(program: &[Step], state: &[Tensor], dropout: &DropoutState) -> Result<Vec<Tensor>> {
    let device = state[0].device();
    let shape = state[0].shape().to_vec();
    let side = shape[0];
    let drawn = Drawn::new();
    let mut values = state.to_vec();
    for &(kind, first, second, function) in program {
        let (x, y) = (values[first % values.len()].clone(), values[second % values.len()].clone());
        let unary = |x: &Tensor| drawn.unary(function, x);
        let binary = |x: &Tensor, y: &Tensor| drawn.binary(function, x, y);
        let target = &state[second % state.len()];
        values.push(match kind {
            0..=3 => unary(&x)?,
            4..=7 => binary(&x, &y)?,
            8 => x.matmul(&y)?.affine(1.0 / side as f32, 0.0)?,
            9 => x.sum_along(usize::from(function) % 2, true)?.broadcast_to(&shape)?,
            10 => binary(&x, &y.mean_along(usize::from(function) % 2, true)?)?,
            11 => binary(&x, &y.mean()?)?,
            12 => x.transpose(0, 1)?,
            13 => x.dropout(0.25, dropout)?.0,
            // A value in parts: both halves are written before it is read.
            14 => {
                let middle = side / 2;
                Tensor::concatenate(&[x.slice(0, 0, middle)?, y.slice(0, middle, side)?], 0)?
            }
            // A part of zeros is written.
            15 => {
                let z = Tensor::zeros(device, DType::F32, &shape)?;
                unary(&x)?.slice(0, side - 1, side)?.copy_into(&z.slice(0, 0, 1)?)?;
                z
            }
            // The state changes.
            16 => {
                let z = unary(&x)?.minimum(&y)?;
                z.copy_into(target)?;
                z
            }
            // A part of it changes.
            17 => {
                let row = unary(&x)?.slice(0, 0, 1)?.contiguous()?.affine(0.5, 0.0)?;
                row.copy_into(&target.slice(0, 0, 1)?)?;
                x
            }
            _ => Tensor::from_slice(device, &numbers(function.into(), side * side, -1.0, 1.0), &shape)?.mul(&x)?,
        });
    }
    Ok(values)
}

/// Runs a program eagerly four times, and recorded with three replays. The kept values and the state must be the same
/// bits each time.
fn compare(device: &Device, program: &[Step], side: usize, kept: u32) {
    let options = RecordOptions { fuse: !kept.is_multiple_of(8), plan: !kept.is_multiple_of(9) };
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
        compare(&Device::cpu(), &program, side, kept);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_programs_replay_to_the_bit_on_a_gpu((program, side, kept) in programs()) {
        if let Some(device) = crate::common::gpu() {
            compare(&device, &program, side, kept);
        }
    }
}

/// Ranges of a state of 256 elements: aligned and not, overlapping and nested.
const RANGES: [(usize, usize); 15] = [
    (0, 256),
    (0, 64),
    (64, 128),
    (0, 130),
    (64, 194),
    (126, 256),
    (64, 69),
    (128, 133),
    (192, 197),
    (65, 70),
    (0, 5),
    (3, 8),
    (64, 65),
    (70, 71),
    (192, 256),
];

/// Ranges that overlap and have one length: only their positions keep them out of one chain.
#[test]
fn what_lies_askew_on_a_written_range_ends_a_chain() {
    for device in devices() {
        let start = || tensor(&device, &numbers(3, 512, -1.0, 1.0), &[512]);
        let step = |state: &Tensor| -> Result<Tensor> {
            let (low, high) = (state.slice(0, 0, 130)?, state.slice(0, 64, 194)?);
            low.affine(0.5, 1.0)?.copy_into(&low)?;
            high.tanh()?.mul(&high)?.copy_into(&high)?;
            low.square()?.sub(&high)?.copy_into(&low)?;
            // Both are read, and a third range of the buffer is written.
            low.mul(&high)?.tanh()?.copy_into(&state.slice(0, 256, 386)?)?;
            low.add(&high)
        };
        let (eager, state) = (start(), start());
        let (recording, sum) = device.record(|| step(&state)).unwrap();
        for time in 0..3 {
            let expected = step(&eager).unwrap();
            if time > 0 {
                recording.replay(1).unwrap();
            }
            let what = format!("{device}, {recording:?}, time {time}");
            assert_same_bits(&what, &floats(&sum), &floats(&expected));
            assert_same_bits(&what, &floats(&state), &floats(&eager));
        }
    }
}

/// Runs a program over ranges of two states, and over values of the same lengths.
fn run_on_ranges(program: &[Step], state: &[Tensor; 2]) -> Result<Vec<Tensor>> {
    let device = state[0].device();
    let range = |i: usize| {
        let (start, end) = RANGES[i / 2 % RANGES.len()];
        state[i % 2].slice(0, start, end)
    };
    let drawn = Drawn::new();
    let mut values: Vec<Tensor> = Vec::new();
    for &(kind, first, second, function) in program {
        let unary = |x: &Tensor| drawn.unary(function, x);
        let binary = |x: &Tensor, y: &Tensor| drawn.binary(function, x, y);
        let any = |i: usize| match values.len() {
            count if count > 0 && !i.is_multiple_of(3) => Ok(values[count - 1 - i / 3 % count.min(4)].clone()),
            _ => range(i),
        };
        let x = any(first)?;
        // One of the same length, or of a single element.
        let fits = |y: &Tensor| y.len() == x.len() || y.len() == 1;
        let y = (0..30).filter_map(|i| any(second + i).ok()).find(fits).unwrap_or_else(|| x.clone());
        let target = (0..30).filter_map(|i| range(second + i).ok()).find(|target| target.len() == x.len());
        values.push(match kind {
            0..=4 => unary(&x)?,
            5..=9 => binary(&x, &y)?,
            10 => binary(&y, &x)?,
            // The state changes, in whole or in part.
            11..=14 => {
                let z = unary(&x)?.minimum(&y)?;
                if let Some(target) = target.filter(|_| z.len() == x.len()) {
                    // A target that is not aligned is an error without an effect.
                    let _ = z.reshape(target.shape())?.copy_into(&target);
                }
                z
            }
            15 => x.copy()?,
            16 => {
                let z = Tensor::zeros(device, DType::F32, &[256])?;
                x.copy_into(&z.slice(0, 0, x.len())?)?;
                z
            }
            17 => {
                let z = Tensor::zeros(device, DType::F32, x.shape())?;
                unary(&x)?.copy_into(&z)?;
                z
            }
            // A part of a constant is overwritten, and all of it is read.
            18 => {
                let z = Tensor::from_slice(device, &numbers(function.into(), 256, -1.0, 1.0), &[256])?;
                x.copy_into(&z.slice(0, 0, x.len())?)?;
                unary(&z)?
            }
            _ => x.sum()?.reshape(&[1])?,
        });
    }
    Ok(values)
}

fn compare_on_ranges(device: &Device, program: &[Step], kept: u32) {
    let options = RecordOptions { fuse: !kept.is_multiple_of(8), plan: !kept.is_multiple_of(9) };
    let start = || [1, 2].map(|seed| tensor(device, &numbers(seed, 256, -1.0, 1.0), &[256]));
    let keep = |values: Vec<Tensor>| -> Vec<Tensor> {
        values.into_iter().enumerate().filter(|(i, _)| kept >> (i % 32) & 1 == 1).map(|(_, value)| value).collect()
    };
    let (eager, state) = (start(), start());
    let (recording, values) = device.record_with(options, || run_on_ranges(program, &state).map(keep)).unwrap();
    for time in 0..4 {
        let expected = keep(run_on_ranges(program, &eager).unwrap());
        if time > 0 {
            recording.replay(1).unwrap();
        }
        for (i, (got, expected)) in values.iter().chain(&state).zip(expected.iter().chain(&eager)).enumerate() {
            let what = format!("{device}, {recording:?}, time {time}, kept value {i}");
            assert_same_bits(&what, &floats(got), &floats(expected));
        }
    }
}

fn programs_on_ranges() -> impl Strategy<Value = (Vec<Step>, u32)> {
    (prop::collection::vec((0u8..20, 0usize..64, 0usize..64, any::<u8>()), 3..24), any::<u32>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn programs_on_ranges_replay_to_the_bit_on_the_cpu((program, kept) in programs_on_ranges()) {
        compare_on_ranges(&Device::cpu(), &program, kept);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn programs_on_ranges_replay_to_the_bit_on_a_gpu((program, kept) in programs_on_ranges()) {
        if let Some(device) = crate::common::gpu() {
            compare_on_ranges(&device, &program, kept);
        }
    }
}
