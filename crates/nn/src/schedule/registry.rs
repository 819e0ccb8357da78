//! The registry of schedules: a row for each name, which the program and the tests use. The schedules that it imports
//! are public from here, so that a new one needs no other list.

use super::Schedule;

pub use super::cosine::{Cosine, WarmRestarts, WarmupCosine};
pub use super::cyclic::Cyclic;
pub use super::decay::{Constant, Exponential, InverseTime, LinearRamp, MultiStep, OneMinusSqrt, Polynomial, Step};
pub use super::one_cycle::OneCycle;
pub use super::warmup::{InverseSqrt, Warmup, WarmupStableDecay};

/// A schedule by its name, with settings that follow from the length of the run.
///
/// ```
/// use thalweg_nn::ScheduleEntry;
/// let cosine = ScheduleEntry::find("cosine").unwrap().schedule(0.1, None, 100);
/// assert_eq!((cosine.at(0), cosine.at(100)), (0.1, 0.0));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct ScheduleEntry {
    /// The name on the command line.
    pub name: &'static str,
    /// The line of the program's help.
    pub about: &'static str,
    /// The default fraction of the steps in which the rate rises; `None` if the schedule does not begin with a rise.
    pub warmup: Option<f64>,
    /// Whether it rises and falls by itself, so that it needs no warm-up before it.
    pub is_cyclic: bool,
    make: fn(Run) -> Box<dyn Schedule>,
    momentum: Option<fn(Run) -> Box<dyn Schedule>>,
}

/// The run of a schedule.
#[derive(Debug, Clone, Copy)]
struct Run {
    lr: f64,
    warmup_steps: u64,
    steps: u64,
}

impl Run {
    /// Returns four cycles that begin at a tenth.
    fn cyclic(self) -> Cyclic {
        Cyclic::new(0.1 * self.lr, self.lr, self.steps.div_ceil(8))
    }
}

/// Returns a row with these functions only.
const fn row(name: &'static str, about: &'static str, make: fn(Run) -> Box<dyn Schedule>) -> ScheduleEntry {
    ScheduleEntry { name, about, warmup: None, is_cyclic: false, make, momentum: None }
}

/// The fraction of the steps in which the rate rises, for schedules with a rise.
const WARMUP: Option<f64> = Some(0.05);

/// All schedules, in the order of the program's help.
pub static SCHEDULES: &[ScheduleEntry] = &[
    row("constant", "As --lr says from the first step to the last", |run| Box::new(Constant { lr: run.lr })),
    row("step", "A tenth after a third of the steps, a hundredth after two", |run| {
        Box::new(Step { lr: run.lr, step_size: run.steps.div_ceil(3), gamma: 0.1 })
    }),
    row("multi-step", "A tenth after half of the steps, a hundredth after three quarters", |run| {
        let milestones = vec![run.steps.div_ceil(2), (3 * run.steps).div_ceil(4)];
        Box::new(MultiStep { lr: run.lr, milestones, gamma: 0.1 })
    }),
    row("exponential", "Down to a hundredth, by the same factor at every step", |run| {
        Box::new(Exponential { lr: run.lr, min_lr: 0.0, gamma: 0.01, decay_steps: run.steps })
    }),
    row("inverse-time", "Down to a tenth, as 1 / (1 + step)", |run| {
        Box::new(InverseTime { lr: run.lr, decay_rate: 9.0 / run.steps as f64 })
    }),
    row("polynomial", "Down to 0, as the square of the steps that are left", |run| {
        Box::new(Polynomial { lr: run.lr, min_lr: 0.0, power: 2.0, steps: run.steps })
    }),
    row("linear", "Down to 0 along a line", |run| {
        Box::new(LinearRamp { initial_lr: run.lr, final_lr: 0.0, steps: run.steps })
    }),
    row("1-sqrt", "Down to 0, as 1 - √ of the share of the steps that are done", |run| {
        Box::new(OneMinusSqrt { lr: run.lr, min_lr: 0.0, steps: run.steps })
    }),
    row("cosine", "Down to 0 along half a cosine", |run| {
        Box::new(Cosine { lr: run.lr, min_lr: 0.0, steps: run.steps })
    }),
    // Of 1, 2 and 4 sevenths.
    row("warm-restarts", "Down to 0 along half a cosine three times, each twice as long as the one before", |run| {
        Box::new(WarmRestarts { lr: run.lr, min_lr: 0.0, cycle_steps: run.steps.div_ceil(7), cycle_factor: 2 })
    }),
    ScheduleEntry {
        warmup: WARMUP,
        ..row("warmup-cosine", "Up along a line, and down to 0 along half a cosine", |run| {
            Box::new(WarmupCosine::new(run.lr, run.warmup_steps, run.steps))
        })
    },
    ScheduleEntry {
        warmup: WARMUP,
        // One step of warm-up is none.
        ..row("noam", "Up along a line, and down as 1 / √step", |run| {
            Box::new(InverseSqrt { lr: run.lr, warmup_steps: run.warmup_steps.max(1) })
        })
    },
    ScheduleEntry {
        warmup: WARMUP,
        ..row("wsd", "Up along a line, constant, and down to 0 in the last fifth of the steps", |run| {
            Box::new(WarmupStableDecay::new(run.lr, run.warmup_steps, run.steps))
        })
    },
    ScheduleEntry {
        is_cyclic: true,
        momentum: Some(|run| Box::new(run.cyclic().momentum())),
        ..row(
            "cyclic",
            "Up from a tenth and back along lines, four times, and the momentum the other way, from 0.9 to 0.8 and back, if \
             there is one and --momentum is not given",
            |run| Box::new(run.cyclic()),
        )
    },
    ScheduleEntry {
        is_cyclic: true,
        momentum: Some(|run| Box::new(OneCycle::new(run.lr, run.steps).momentum())),
        ..row(
            "one-cycle",
            "Up from a 25th in the first 30 % of the steps and down to nearly 0, along cosines, and the momentum the other \
             way, from 0.95 to 0.85 and back, if there is one and --momentum is not given",
            |run| Box::new(OneCycle::new(run.lr, run.steps)),
        )
    },
];

impl ScheduleEntry {
    /// Returns the row of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        SCHEDULES.iter().find(|entry| entry.name == name)
    }

    /// Returns the schedule of a run of `steps` steps, with `lr` as its largest value. `warmup` is the fraction of the
    /// steps in which the rate rises; `None` for the default.
    #[must_use]
    pub fn schedule(&self, lr: f64, warmup: Option<f64>, steps: u64) -> Box<dyn Schedule> {
        let share = warmup.unwrap_or(self.warmup.unwrap_or(0.0));
        let warmup_steps = ((steps as f64 * share) as u64).min(steps.saturating_sub(1));
        if self.warmup.is_some() || warmup_steps == 0 {
            return (self.make)(Run { lr, warmup_steps, steps });
        }
        let then = (self.make)(Run { lr, warmup_steps: 0, steps: steps - warmup_steps });
        Box::new(Warmup::linear(then, warmup_steps))
    }

    /// Returns the momentum that moves opposite to the rate, or `None` for schedules of the rate alone.
    #[must_use]
    pub fn momentum(&self, lr: f64, steps: u64) -> Option<Box<dyn Schedule>> {
        self.momentum.map(|momentum| momentum(Run { lr, warmup_steps: 0, steps }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    #[test]
    fn every_name_makes_a_schedule_of_any_run() {
        let mut names = std::collections::BTreeSet::new();
        for entry in SCHEDULES {
            assert!(names.insert(entry.name) && std::ptr::eq(ScheduleEntry::find(entry.name).unwrap(), entry));
            for steps in (1..50).chain([2_000]) {
                for warmup in [None, Some(0.0), Some(0.1), Some(0.999)] {
                    if entry.is_cyclic && warmup > Some(0.0) {
                        continue; // The program refuses it.
                    }
                    let schedule = entry.schedule(0.1, warmup, steps);
                    let values = table(&schedule, steps).unwrap();
                    assert!(values.iter().all(|value| (0.0..=0.1).contains(value)), "{schedule:?}: {values:?}");
                    assert!(steps == 1 || values.iter().any(|value| *value > 0.02), "{schedule:?}: {values:?}");
                }
            }
            if let Some(momentum) = entry.momentum(0.1, 50) {
                assert!(table(&momentum, 50).unwrap().iter().all(|value| (0.0..1.0).contains(value)));
            }
        }
    }

    #[test]
    fn settings_follow_from_the_length_of_the_run() {
        let values = |name, warmup| {
            let schedule = ScheduleEntry::find(name).unwrap().schedule(1.0, warmup, 1_000);
            table(&schedule, 1_000).unwrap()
        };
        let near =
            |value: f64, expected: f64| assert!((value - expected).abs() < 2e-2 * expected, "{value}, {expected}");
        for (name, last) in [
            ("constant", 1.0),
            ("step", 0.01),
            ("multi-step", 0.01),
            ("exponential", 0.01),
            ("inverse-time", 0.1),
            ("polynomial", 1e-6),
            ("linear", 1e-3),
            ("1-sqrt", 5e-4),
        ] {
            for warmup in [None, Some(0.2)] {
                let values = values(name, warmup);
                let first = warmup.map_or(0, |_| 200);
                assert_eq!(values[first], 1.0);
                assert!(warmup.is_none() || (values[0] - 1.0 / 201.0).abs() < 1e-15 && values[199] < 1.0);
                // A rate that falls with the remaining steps has fewer of them after a warm-up.
                let left = if warmup.is_none() { 1.0 } else { 0.8f64 };
                let power =
                    [("polynomial", 2), ("linear", 1), ("1-sqrt", 1)].iter().find(|p| p.0 == name).map_or(0, |p| p.1);
                near(values[999], last / left.powi(power));
            }
        }
        let falls = |values: Vec<f64>| values.windows(2).filter(|pair| pair[1] > 2.0 * pair[0]).count();
        assert_eq!(falls(values("warm-restarts", None)), 2);
        assert_eq!(values("warmup-cosine", None)[50], 1.0);
        assert_eq!(values("noam", Some(0.1))[99], 1.0);
        let wsd = values("wsd", None);
        assert!(wsd[49..=800].iter().all(|value| *value == 1.0) && wsd[801] < 1.0 && wsd[48] < 1.0);
        let cyclic = values("cyclic", None);
        assert_eq!(cyclic.iter().filter(|value| **value == 1.0).count(), 4);
        assert_eq!(values("one-cycle", None)[299], 1.0);
    }
}
