//! `--schedule` and `--warmup`: the schedules by name, with settings that follow from the length of the run.

use thalweg::nn::{
    self, Constant, Cosine, Cyclic, Exponential, InverseSqrt, InverseTime, LinearRamp, MultiStep, OneCycle, Polynomial,
    Schedule, Step, WarmRestarts, Warmup, WarmupCosine, WarmupStableDecay,
};

use crate::args::train::{Schedule as Name, TrainArgs};
use crate::error::Result;

/// The share of the steps in which the learning rate rises, of schedules that have such a part.
const WARMUP: f64 = 0.05;

/// The schedule of a run of so many steps.
pub(super) fn of(args: &TrainArgs, steps: u64) -> Result<Box<dyn Schedule>> {
    by_name(args.schedule, args.learning_rate(), args.warmup, steps)
}

fn by_name(name: Name, lr: f64, warmup: Option<f64>, steps: u64) -> Result<Box<dyn Schedule>> {
    if let (Name::Cyclic | Name::OneCycle, Some(share)) = (name, warmup)
        && share > 0.0
    {
        let rule = "left out for cyclic and one-cycle, which rise by themselves";
        return Err(nn::Error::Setting { field: "warmup", value: share.to_string(), rule }.into());
    }
    let rises = matches!(name, Name::WarmupCosine | Name::Noam | Name::Wsd);
    let share = warmup.unwrap_or(if rises { WARMUP } else { 0.0 });
    let warmup_steps = ((steps as f64 * share) as u64).min(steps.saturating_sub(1));
    if rises {
        return Ok(match name {
            // One step of warm-up is none.
            Name::Noam => Box::new(InverseSqrt { lr, warmup_steps: warmup_steps.max(1) }),
            Name::Wsd => {
                let schedule = WarmupStableDecay::new(lr, warmup_steps, steps);
                Box::new(WarmupStableDecay { decay_steps: schedule.decay_steps.min(steps - warmup_steps), ..schedule })
            }
            _ => Box::new(WarmupCosine::new(lr, warmup_steps, steps)),
        });
    }
    let then = without_warmup(name, lr, steps - warmup_steps);
    Ok(if warmup_steps > 0 { Box::new(Warmup::linear(then, warmup_steps)) } else { then })
}

/// The schedules that begin with the learning rate itself, and the cyclic ones.
fn without_warmup(name: Name, lr: f64, steps: u64) -> Box<dyn Schedule> {
    match name {
        Name::Constant => Box::new(Constant { lr }),
        Name::Step => Box::new(Step { lr, step_size: steps.div_ceil(3), gamma: 0.1 }),
        Name::MultiStep => {
            let milestones = vec![steps.div_ceil(2), (3 * steps).div_ceil(4)];
            Box::new(MultiStep { lr, milestones, gamma: 0.1 })
        }
        Name::Exponential => Box::new(Exponential { lr, min_lr: 0.0, gamma: 0.01, decay_steps: steps }),
        Name::InverseTime => Box::new(InverseTime { lr, decay_rate: 9.0 / steps as f64 }),
        Name::Polynomial => Box::new(Polynomial { lr, min_lr: 0.0, power: 2.0, steps }),
        Name::Linear => Box::new(LinearRamp { initial_lr: lr, final_lr: 0.0, steps }),
        // Of 1, 2 and 4 sevenths.
        Name::WarmRestarts => {
            Box::new(WarmRestarts { lr, min_lr: 0.0, cycle_steps: steps.div_ceil(7), cycle_factor: 2 })
        }
        Name::Cyclic => Box::new(Cyclic::new(0.1 * lr, lr, steps.div_ceil(8))),
        Name::OneCycle => Box::new(OneCycle::new(lr, steps)),
        Name::Cosine | Name::WarmupCosine | Name::Noam | Name::Wsd => Box::new(Cosine { lr, min_lr: 0.0, steps }),
    }
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
                    let by_itself = matches!(name, Name::Cyclic | Name::OneCycle);
                    let schedule = by_name(name, 0.1, warmup, steps);
                    assert_eq!(schedule.is_err(), by_itself && warmup.is_some_and(|share| share > 0.0));
                    let Ok(schedule) = schedule else { continue };
                    let values = table(&schedule, steps).unwrap();
                    assert!(values.iter().all(|value| (0.0..=0.1).contains(value)), "{schedule:?}: {values:?}");
                    assert!(steps == 1 || values.iter().any(|value| *value > 0.02), "{schedule:?}: {values:?}");
                }
            }
        }
    }

    #[test]
    fn settings_follow_from_the_length_of_the_run() {
        let values = |name, warmup| table(&by_name(name, 1.0, warmup, 1_000).unwrap(), 1_000).unwrap();
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
