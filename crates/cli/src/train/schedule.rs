//! `--schedule` and `--warmup`: the schedules by name, with settings that follow from the length of the run.

use thalweg::nn::{
    Constant, Cosine, Cyclic, Exponential, InverseSqrt, InverseTime, LinearRamp, MultiStep, OneCycle, Polynomial,
    Schedule, Step, WarmRestarts, Warmup, WarmupCosine, WarmupStableDecay,
};

use crate::args::train::{Schedule as Name, TrainArgs};

/// The share of the steps in which the learning rate rises, of schedules that have such a part.
const WARMUP: f64 = 0.05;

/// The schedule of a run of so many steps.
pub(super) fn of(args: &TrainArgs, steps: u64) -> Box<dyn Schedule> {
    by_name(args.schedule(), args.learning_rate(), args.warmup, steps)
}

/// The momentum that runs opposite to the learning rate.
pub(super) fn of_momentum(args: &TrainArgs, steps: u64) -> Option<Box<dyn Schedule>> {
    match args.schedule() {
        _ if !args.has_momentum_schedule() => None,
        Name::Cyclic => Some(Box::new(cyclic(args.learning_rate(), steps).momentum())),
        Name::OneCycle => Some(Box::new(OneCycle::new(args.learning_rate(), steps).momentum())),
        _ => None,
    }
}

fn by_name(name: Name, lr: f64, warmup: Option<f64>, steps: u64) -> Box<dyn Schedule> {
    let warmup_steps = |default| ((steps as f64 * warmup.unwrap_or(default)) as u64).min(steps.saturating_sub(1));
    let rise = warmup_steps(0.0);
    let left = steps - rise;
    let then: Box<dyn Schedule> = match name {
        Name::WarmupCosine => return Box::new(WarmupCosine::new(lr, warmup_steps(WARMUP), steps)),
        Name::Wsd => return Box::new(WarmupStableDecay::new(lr, warmup_steps(WARMUP), steps)),
        // One step of warm-up is none.
        Name::Noam => return Box::new(InverseSqrt { lr, warmup_steps: warmup_steps(WARMUP).max(1) }),
        Name::Constant => Box::new(Constant { lr }),
        Name::Step => Box::new(Step { lr, step_size: left.div_ceil(3), gamma: 0.1 }),
        Name::MultiStep => {
            let milestones = vec![left.div_ceil(2), (3 * left).div_ceil(4)];
            Box::new(MultiStep { lr, milestones, gamma: 0.1 })
        }
        Name::Exponential => Box::new(Exponential { lr, min_lr: 0.0, gamma: 0.01, decay_steps: left }),
        Name::InverseTime => Box::new(InverseTime { lr, decay_rate: 9.0 / left as f64 }),
        Name::Polynomial => Box::new(Polynomial { lr, min_lr: 0.0, power: 2.0, steps: left }),
        Name::Linear => Box::new(LinearRamp { initial_lr: lr, final_lr: 0.0, steps: left }),
        Name::Cosine => Box::new(Cosine { lr, min_lr: 0.0, steps: left }),
        // Of 1, 2 and 4 sevenths.
        Name::WarmRestarts => {
            Box::new(WarmRestarts { lr, min_lr: 0.0, cycle_steps: left.div_ceil(7), cycle_factor: 2 })
        }
        Name::Cyclic => Box::new(cyclic(lr, left)),
        Name::OneCycle => Box::new(OneCycle::new(lr, left)),
    };
    if rise > 0 { Box::new(Warmup::linear(then, rise)) } else { then }
}

/// Four cycles, up from a tenth.
fn cyclic(lr: f64, steps: u64) -> Cyclic {
    Cyclic::new(0.1 * lr, lr, steps.div_ceil(8))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;
    use thalweg::nn::schedule::table;

    use super::*;

    #[test]
    fn every_name_makes_a_schedule_of_any_run() {
        for &name in Name::value_variants() {
            for steps in (1..50).chain([2_000]) {
                for warmup in [None, Some(0.0), Some(0.1), Some(0.999)] {
                    if matches!(name, Name::Cyclic | Name::OneCycle) && warmup > Some(0.0) {
                        continue; // refused with the arguments
                    }
                    let schedule = by_name(name, 0.1, warmup, steps);
                    let values = table(&schedule, steps).unwrap();
                    assert!(values.iter().all(|value| (0.0..=0.1).contains(value)), "{schedule:?}: {values:?}");
                    assert!(steps == 1 || values.iter().any(|value| *value > 0.02), "{schedule:?}: {values:?}");
                }
            }
        }
    }

    #[test]
    fn settings_follow_from_the_length_of_the_run() {
        let values = |name, warmup| table(&by_name(name, 1.0, warmup, 1_000), 1_000).unwrap();
        let near =
            |value: f64, expected: f64| assert!((value - expected).abs() < 2e-2 * expected, "{value}, {expected}");
        for (name, last) in [
            (Name::Constant, 1.0),
            (Name::Step, 0.01),
            (Name::MultiStep, 0.01),
            (Name::Exponential, 0.01),
            (Name::InverseTime, 0.1),
            (Name::Polynomial, 1e-6),
            (Name::Linear, 1e-3),
        ] {
            for warmup in [None, Some(0.2)] {
                let values = values(name, warmup);
                let first = warmup.map_or(0, |_| 200);
                assert_eq!(values[first], 1.0);
                assert!(warmup.is_none() || (values[0] - 1.0 / 201.0).abs() < 1e-15 && values[199] < 1.0);
                // What falls as the steps that are left has fewer to fall in behind the warm-up.
                let left = if warmup.is_none() { 1.0 } else { 0.8f64 };
                let power = [(Name::Polynomial, 2), (Name::Linear, 1)].iter().find(|p| p.0 == name).map_or(0, |p| p.1);
                near(values[999], last / left.powi(power));
            }
        }
        let falls = |values: Vec<f64>| values.windows(2).filter(|pair| pair[1] > 2.0 * pair[0]).count();
        assert_eq!(falls(values(Name::WarmRestarts, None)), 2);
        assert_eq!(values(Name::WarmupCosine, None)[50], 1.0);
        assert_eq!(values(Name::Noam, Some(0.1))[99], 1.0);
        let wsd = values(Name::Wsd, None);
        assert!(wsd[49..=800].iter().all(|value| *value == 1.0) && wsd[801] < 1.0 && wsd[48] < 1.0);
        let cyclic = values(Name::Cyclic, None);
        assert_eq!(cyclic.iter().filter(|value| **value == 1.0).count(), 4);
        assert_eq!(values(Name::OneCycle, None)[299], 1.0);
    }
}
