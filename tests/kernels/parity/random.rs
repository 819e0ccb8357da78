//! Random numbers and dropout: the same on both devices.

use thalweg::nn::{Method, Sgd};
use thalweg::tensor::{Arena, Clip, Clock, Device, DropoutState, StepArguments, Tensor};

use crate::common::{Tolerance, assert_close, assert_same_bits, is_software, numbers, tensor, words};
use crate::parity::{FOLDED, Pair, SIZES};

/// The bits of Philox are whole numbers. Numbers are derived from them with sums, products and one root, in a fixed
/// order, so software has the CPU's bits. Hardware may contract, which is an ulp of the largest summand, and its root
/// has 4.
fn hold(pair: &Pair, what: &str, compute: impl Fn(&thalweg::tensor::Device) -> Vec<Tensor>) {
    let close = Tolerance::new(3e-6, 2e-6);
    pair.compare_by(what, compute, |what, got, expected| {
        if is_software(&pair.gpu) {
            assert_same_bits(what, got, expected);
        } else {
            assert_close(what, got, expected, close);
        }
    });
}

pub(crate) fn random(pair: &Pair) {
    for size in SIZES {
        hold(pair, &format!("{size} numbers"), |device| {
            vec![
                Tensor::uniform(device, 7, 3, -1.0, 2.0, &[size]).unwrap(),
                Tensor::normal(device, 7, 3, 0.5, 2.0, &[size]).unwrap(),
            ]
        });
    }
    for (seed, stream) in [(0, 0), (u64::MAX, u64::MAX), (1 << 32, 1 << 40), (0x1234_5678_9abc_def0, 5)] {
        hold(pair, &format!("seed {seed}, stream {stream}"), |device| {
            vec![
                Tensor::uniform(device, seed, stream, 0.0, 1.0, &[50_000]).unwrap(),
                Tensor::normal(device, seed, stream, 0.0, 1.0, &[50_000]).unwrap(),
            ]
        });
    }
    hold(pair, "a folded grid", |device| vec![Tensor::uniform(device, 1, 2, 0.0, 1.0, &[256 * FOLDED]).unwrap()]);
}

/// Draws are made from the bits of uniform numbers, and classes from running sums of whole numbers, which every order has.
pub(crate) fn multinomial(pair: &Pair) {
    for (rows, classes, count) in [(1, 1, 1), (3, 5, 7), (64, 65, 3), (2, 1009, 300), (0, 3, 2), (7, 3, 0)] {
        let weights: Vec<f32> = numbers(5, rows * classes, -2.0, 9.0).into_iter().map(|x| x.floor().max(0.0)).collect();
        pair.compare_bits(&format!("{count} of {classes}, {rows} times"), |device| {
            let weights = tensor(device, &weights, &[rows, classes]);
            let ones = Tensor::full(device, 1f32, &[rows, classes]).unwrap();
            vec![
                weights.multinomial(count, true, 1 << 40, 1 << 33).unwrap(),
                weights.add(&ones).unwrap().multinomial(count, true, 3, 0).unwrap(),
                Tensor::permutation(device, 8, 1, rows * classes).unwrap(),
                weights.affine(0.1, 0.0).unwrap().bernoulli(4, 1).unwrap(),
            ]
        });
    }
    hold(pair, "waiting times", |device| vec![Tensor::exponential(device, 1, 2, 0.25, &[50_000]).unwrap()]);
    // A polynomial of degree 8, whose terms a driver may join otherwise.
    pair.compare("truncated numbers", Tolerance::new(5e-6, 2e-6), |device| {
        let truncated = |bounds| Tensor::truncated_normal(device, 1, 2, 0.5, 2.0, bounds, &[50_000]).unwrap();
        vec![truncated([-3.0, 1.0]), truncated([4.0, f32::INFINITY])]
    });
    // Waiting times are nearly equal in few rows, if at all.
    let weights = numbers(6, 5000 * 6, 0.0, 1.0);
    let draw = |device: &Device| words(&tensor(device, &weights, &[5000, 6]).multinomial(3, false, 1, 0).unwrap());
    let (expected, got) = (draw(&pair.cpu), draw(&pair.gpu));
    assert!(got.iter().zip(&expected).filter(|(got, expected)| got != expected).count() <= 6);
}

/// Makes a clock after this number of steps.
fn clock_at(device: &Device, steps: usize) -> Clock {
    let values = Arena::new(device, &[vec![1]]).unwrap();
    let grads = values.zeros_like().unwrap();
    let mut clock = Clock::new(device, 0.1).unwrap();
    let update = Sgd::new().weight_decay(0.0);
    for _ in 0..steps {
        let clock = &mut clock;
        update.step(StepArguments { values: &values, grads: &grads, state: &[], clock, clip: Clip::Off }).unwrap();
    }
    clock
}

/// Devices have their own exponentials. Their last bits decide if a sum is nearly equal to the drawn number: in at most
/// one of ten thousand rows.
pub(crate) fn sample_classes(pair: &Pair) {
    for (rows, classes, steps) in [(0, 3, 0), (1, 1, 0), (1, 10, 1), (63, 10, 2), (65, 1000, 3), (10_000, 10, 5)] {
        let logits = numbers(rows as u64, rows * classes, -4.0, 4.0);
        let draw = |device: &Device, steps: usize| {
            let logits = tensor(device, &logits, &[rows, classes]);
            words(&clock_at(device, steps).sample_classes(&logits, 3, 1 << 33).unwrap())
        };
        let (expected, got) = (draw(&pair.cpu, steps), draw(&pair.gpu, steps));
        assert!(got.iter().all(|&class| (class as usize) < classes));
        let others = got.iter().zip(&expected).filter(|(got, expected)| got != expected).count();
        assert!(got.len() == expected.len() && others * 10_000 <= rows, "{rows} rows of {classes}: {others} differ");
        assert_eq!(draw(&pair.gpu, steps), got, "a step draws the same again");
        assert!(rows < 63 || draw(&pair.gpu, steps + 1) != got, "a step draws what the one before it has drawn");
    }
}

pub(crate) fn sample_normal(pair: &Pair) {
    for size in SIZES {
        let means = numbers(4, size, -3.0, 3.0);
        hold(pair, &format!("{size} numbers around means"), |device| {
            let means = tensor(device, &means, &[size]);
            [0, 3].map(|steps| clock_at(device, steps).sample_normal(&means, 0.7, 5, 1 << 33).unwrap()).to_vec()
        });
    }
}

pub(crate) fn dropout(pair: &Pair) {
    for size in SIZES {
        let x = numbers(1, size, -3.0, 3.0);
        for probability in [0.0, 0.1, 0.5, 0.999] {
            // One product: the same bits everywhere.
            pair.compare_bits(&format!("{size} with probability {probability}, three calls"), |device| {
                let state = DropoutState::new(device, 11, 4).unwrap();
                let x = tensor(device, &x, &[size]);
                let mut results = Vec::new();
                for _ in 0..3 {
                    let (y, mask) = x.dropout(probability, &state).unwrap();
                    results.extend([y, mask]);
                }
                // No launch, no call: nothing is drawn.
                assert_eq!(state.calls().unwrap(), if size == 0 { 0 } else { 3 });
                results
            });
        }
    }
    let x = numbers(2, 60 * 70, -3.0, 3.0);
    pair.compare_bits("a view, NaN and a counter that runs over", |device| {
        let state = DropoutState::new(device, 1, 1).unwrap();
        state.set_calls(u32::MAX).unwrap();
        let (y, mask) = tensor(device, &x, &[60, 70]).t().unwrap().dropout(0.3, &state).unwrap();
        assert_eq!(state.calls().unwrap(), 0);
        let special = tensor(device, &[f32::NAN, f32::INFINITY, -0.0, 1.0, f32::NAN], &[5]);
        let (z, _) = special.dropout(0.5, &state).unwrap();
        vec![y, mask, z]
    });
    // The last workgroup to end advances the state, for any grid; the fold adds workgroups past the end.
    let x = numbers(3, 256 * FOLDED, -3.0, 3.0);
    pair.compare_bits("a folded grid", |device| {
        let state = DropoutState::new(device, 1, 1).unwrap();
        let (y, _) = tensor(device, &x, &[x.len()]).dropout(0.5, &state).unwrap();
        assert_eq!(state.calls().unwrap(), 1);
        vec![y]
    });
}
