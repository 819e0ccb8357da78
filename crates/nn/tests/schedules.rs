//! Schedules against the values of PyTorch and optax.

use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use thalweg_nn::schedule::{Cosine, Schedule, Step, WarmupCosine, table};

const COSINE: Cosine = Cosine { lr: 0.1, min_lr: 0.0, steps: 500 };
const WARMUP: WarmupCosine = WarmupCosine { initial_lr: 0.0, lr: 0.1, min_lr: 0.001, warmup_steps: 50, steps: 450 };

#[test]
fn pinned_values_of_torch_and_optax() {
    // torch 2.15.0 CosineAnnealingLR(T_max=500) and StepLR(7, 0.9), optax 0.2.8 warmup_cosine_decay_schedule, in f64.
    type Values = [(u64, f64)];
    let pinned: [(&dyn Schedule, &Values); 3] = [
        (&COSINE, &[(1, 0.09999901304280685), (100, 0.09045084971874738), (499, 9.86957193144233e-07)]),
        (&Step { lr: 0.05, step_size: 7, gamma: 0.9 }, &[(6, 0.05), (7, 0.045), (499, 2.8196043669800925e-05)]),
        (
            &WARMUP,
            &[
                (0, 0.0),
                (1, 0.002),
                (49, 0.098),
                (50, 0.1),
                (51, 0.0999984733034171),
                (275, 0.04084302906020166),
                (449, 0.0010015266965829118),
                (450, 0.001),
                (499, 0.001),
            ],
        ),
    ];
    for (schedule, values) in pinned {
        for (step, expected) in values {
            let value = schedule.at(*step);
            assert!((value - expected).abs() <= 1e-13, "{schedule:?} at {step}: {value} and not {expected}");
        }
    }
}

/// All 500 steps of every schedule, where the table of them lies beside the project.
#[test]
#[allow(clippy::print_stderr, reason = "says what was not compared")]
fn every_step_of_torch_and_optax() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracle/lr_schedules/lr_schedules.safetensors");
    let Ok(bytes) = fs::read(&path) else {
        eprintln!("{} is not there; only the pinned values were compared", path.display());
        return;
    };
    let oracle = SafeTensors::deserialize(&bytes).unwrap();
    // After T_max, torch's cosine rises again and ours stays: only the steps up to there are the same.
    let cases: [(&str, &dyn Schedule, usize); 9] = [
        ("step_30", &Step { lr: 0.1, step_size: 30, gamma: 0.1 }, 500),
        ("step_7_0.9", &Step { lr: 0.05, step_size: 7, gamma: 0.9 }, 500),
        ("cosine_500", &COSINE, 500),
        ("cosine_100_min", &Cosine { lr: 0.1, min_lr: 0.001, steps: 100 }, 101),
        ("optax_cosine_decay", &Cosine { lr: 0.1, min_lr: 0.005, steps: 400 }, 500),
        ("optax_warmup_cosine", &WARMUP, 500),
        (
            "sequential_linear50_cosine450",
            &WarmupCosine { initial_lr: 0.01, lr: 0.1, min_lr: 1e-4, warmup_steps: 50, steps: 500 },
            500,
        ),
        ("exponential", &Step { lr: 0.1, step_size: 1, gamma: 0.99 }, 500),
        ("exponential_0.9", &Step { lr: 1.0, step_size: 1, gamma: 0.9 }, 500),
    ];
    for (id, schedule, steps) in cases {
        let view = oracle.tensor(&format!("{id}/lr")).unwrap();
        let expected = view.data().as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes));
        let values = table(schedule, steps as u64).unwrap();
        let largest = values.iter().copied().fold(0.0, f64::max);
        for (step, (value, expected)) in values.iter().zip(expected).enumerate() {
            assert!((value - expected).abs() <= 1e-12 * largest, "{id} at {step}: {value} and not {expected}");
        }
    }
}
