//! Wrappers of a method (SAM, Lookahead, averages, accumulation) and values that replace the parameters: launches,
//! replays, and resuming from a file in the middle, all to the bit.

mod behaviour;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::common::oracle::{self, Oracle};
use crate::common::{devices, floats, numbers, own_devices, skip};
use thalweg::autograd::Tape;
use thalweg::nn::data::Dataset;
use thalweg::nn::{
    AdamW, Averaging, Checkpoint, CrossEntropy, Error, FitOptions, GradientAccumulation, Init, Linear, Lookahead,
    LookaheadSettings, Loss, Mlp, MlpConfig, Module, Mse, Optimizer, ParameterGroup, Params, ParamsBuilder, Result,
    Sam, ScheduleFreeSgd, Sgd, SharpnessAware, Trainer, WeightAverage,
};
use thalweg::tensor::{Device, Tensor};

/// Profiles include the work of all threads on a GPU, so tests that count take turns.
static TURN: Mutex<()> = Mutex::new(());

const BATCH: usize = 12;

/// A model and a batch, whose gradients depend on the parameters.
struct Problem {
    model: Mlp,
    params: Params,
    x: Tensor,
    y: Tensor,
}

impl Problem {
    fn new(device: &Device) -> Self {
        let mut builder = ParamsBuilder::new(5);
        let config = MlpConfig { inputs: 3, hidden: vec![17], outputs: 2, dropout: 0.2, ..MlpConfig::default() };
        let model = Mlp::new(&mut builder, &config).unwrap();
        builder.add("unused", &[70], Init::Constant(0.5)).unwrap();
        let params = builder.build(device).unwrap();
        let x = Tensor::from_slice(device, &numbers(1, 3 * BATCH, -1.0, 1.0), &[BATCH, 3]).unwrap();
        let y = Tensor::from_slice(device, &numbers(2, 2 * BATCH, -1.0, 1.0), &[BATCH, 2]).unwrap();
        Self { model, params, x, y }
    }

    /// Runs a backward pass over the batch, or a part of it.
    fn gradients(&self, part: usize, parts: usize) -> Result<()> {
        let rows = BATCH / parts;
        let of = |tensor: &Tensor| tensor.slice(0, part * rows, (part + 1) * rows)?.copy();
        let tape = Tape::new();
        let output = self.model.forward(tape.constant(&of(&self.x)?))?;
        tape.backward(Mse.of(output, &of(&self.y)?)?)?;
        Ok(())
    }

    fn optimizer(&self) -> Optimizer {
        let group = ParameterGroup { lr_scale: Some(0.5), ..ParameterGroup::of("*.bias") };
        let frozen = ParameterGroup { frozen: true, ..ParameterGroup::of("unused") };
        let adamw = AdamW::new();
        let optimizer = Optimizer::new(&self.params, adamw, 0.02).unwrap();
        optimizer.with_groups(&[group, frozen]).unwrap().with_clip_norm(0.5).unwrap()
    }

    fn bits(&self) -> Vec<u32> {
        self.params.values().pages().iter().flat_map(floats).map(f32::to_bits).collect()
    }
}

/// One of the wrappers. A step may have parts, between which it is saved.
trait Wrapper {
    fn new(problem: &Problem) -> Self;
    fn step(&mut self, problem: &Problem) -> Result<()>;
    /// Runs the first part of a step, if it has several.
    fn first_part(&mut self, _: &Problem) {}
    /// Runs the rest of it.
    fn rest(&mut self, problem: &Problem) {
        self.step(problem).unwrap();
    }
    fn state_dict(&self) -> Checkpoint;
    fn load(&mut self, saved: &Checkpoint) -> Result<()>;
    /// Its own kernels and the number of launches of each per step.
    const LAUNCHES: &[(&str, usize)];
}

impl Wrapper for Sam {
    fn new(problem: &Problem) -> Self {
        Self::new(problem.optimizer(), SharpnessAware::sam()).unwrap()
    }

    fn step(&mut self, problem: &Problem) -> Result<()> {
        self.step(|| problem.gradients(0, 1))
    }

    fn first_part(&mut self, problem: &Problem) {
        problem.params.zero_grad();
        problem.gradients(0, 1).unwrap();
        self.first_step().unwrap();
    }

    fn rest(&mut self, problem: &Problem) {
        problem.params.zero_grad();
        problem.gradients(0, 1).unwrap();
        self.second_step().unwrap();
    }

    fn state_dict(&self) -> Checkpoint {
        self.state_dict().unwrap()
    }

    fn load(&mut self, saved: &Checkpoint) -> Result<()> {
        self.load_state_dict(saved)
    }

    const LAUNCHES: &[(&str, usize)] = &[("sharpness_ascent", 1), ("sharpness_norm", 1), ("sharpness_scale", 1)];
}

/// ASAM.
struct Asam(Sam);

impl Wrapper for Asam {
    fn new(problem: &Problem) -> Self {
        Self(Sam::new(problem.optimizer(), SharpnessAware::asam()).unwrap())
    }

    fn step(&mut self, problem: &Problem) -> Result<()> {
        Wrapper::step(&mut self.0, problem)
    }

    fn first_part(&mut self, problem: &Problem) {
        self.0.first_part(problem);
    }

    fn rest(&mut self, problem: &Problem) {
        self.0.rest(problem);
    }

    fn state_dict(&self) -> Checkpoint {
        self.0.state_dict().unwrap()
    }

    fn load(&mut self, saved: &Checkpoint) -> Result<()> {
        self.0.load_state_dict(saved)
    }

    const LAUNCHES: &[(&str, usize)] = &[("sharpness_ascent", 1), ("sharpness_norm", 1), ("sharpness_scale", 1)];
}

impl Wrapper for Lookahead {
    fn new(problem: &Problem) -> Self {
        Self::new(problem.optimizer(), LookaheadSettings { sync_period: 4, slow_step_size: 0.3 }).unwrap()
    }

    fn step(&mut self, problem: &Problem) -> Result<()> {
        problem.params.zero_grad();
        problem.gradients(0, 1)?;
        self.step()
    }

    fn state_dict(&self) -> Checkpoint {
        self.state_dict().unwrap()
    }

    fn load(&mut self, saved: &Checkpoint) -> Result<()> {
        self.load_state_dict(saved)
    }

    const LAUNCHES: &[(&str, usize)] = &[("lookahead", 1)];
}

impl Wrapper for GradientAccumulation {
    fn new(problem: &Problem) -> Self {
        Self::new(problem.optimizer(), 3).unwrap()
    }

    fn step(&mut self, problem: &Problem) -> Result<()> {
        for part in 0..3 {
            assert_eq!(self.micro_step(|| problem.gradients(part, 3))?, part == 2);
        }
        Ok(())
    }

    fn first_part(&mut self, problem: &Problem) {
        for part in 0..2 {
            self.micro_step(|| problem.gradients(part, 3)).unwrap();
        }
    }

    fn rest(&mut self, problem: &Problem) {
        assert_eq!(self.pending(), 2);
        self.micro_step(|| problem.gradients(2, 3)).unwrap();
    }

    fn state_dict(&self) -> Checkpoint {
        self.state_dict().unwrap()
    }

    fn load(&mut self, saved: &Checkpoint) -> Result<()> {
        self.load_state_dict(saved)
    }

    const LAUNCHES: &[(&str, usize)] = &[("scale", 1)];
}

/// An optimizer with an average.
struct Averaged<const KIND: usize>(Optimizer, WeightAverage);

const AVERAGES: [Averaging; 3] =
    [Averaging::Equal, Averaging::Exponential { decay: 0.9 }, Averaging::Debiased { decay: 0.9 }];

impl<const KIND: usize> Wrapper for Averaged<KIND> {
    fn new(problem: &Problem) -> Self {
        Self(problem.optimizer(), WeightAverage::new(&problem.params, AVERAGES[KIND]).unwrap())
    }

    fn step(&mut self, problem: &Problem) -> Result<()> {
        problem.params.zero_grad();
        problem.gradients(0, 1)?;
        self.0.step()?;
        self.1.update()
    }

    fn state_dict(&self) -> Checkpoint {
        let mut saved = self.0.state_dict().unwrap();
        saved.merge(self.1.state_dict().unwrap()).unwrap();
        saved
    }

    fn load(&mut self, saved: &Checkpoint) -> Result<()> {
        self.0.load_state_dict(saved)?;
        self.1.load_state_dict(saved)
    }

    const LAUNCHES: &[(&str, usize)] = &[("average", 1)];
}

/// Returns the saved state of a run, as the bytes of a file.
fn bytes(problem: &Problem, wrapper: &impl Wrapper, path: &Path) -> Vec<u8> {
    let mut saved = wrapper.state_dict();
    saved.tensors.extend(problem.params.to_host().unwrap());
    saved.metadata["random"] = serde_json::json!(problem.params.random_counters().unwrap());
    saved.save(path).unwrap();
    std::fs::read(path).unwrap()
}

fn load(problem: &Problem, wrapper: &mut impl Wrapper, path: &Path) {
    let saved = Checkpoint::load(path).unwrap();
    problem.params.load(&saved.tensors).unwrap();
    let random: Vec<u32> = serde_json::from_value(saved.metadata["random"].clone()).unwrap();
    problem.params.set_random_counters(&random).unwrap();
    wrapper.load(&saved).unwrap();
}

/// Runs fifty steps: eager, recorded, and interrupted in the middle, between steps and within one, with a file.
fn hold<W: Wrapper>(what: &str) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    const STEPS: usize = 50;
    let folder = tempfile::tempdir().unwrap();
    let [path, between, within] = ["path", "between", "within"].map(|name| folder.path().join(name));
    for device in own_devices() {
        let what = format!("{what} on {device}");
        let problem = Problem::new(&device);
        let start = problem.bits();
        let mut wrapper = W::new(&problem);
        for step in 0..STEPS {
            if step == 25 {
                bytes(&problem, &wrapper, &between);
                wrapper.first_part(&problem);
                bytes(&problem, &wrapper, &within);
                wrapper.rest(&problem);
            } else {
                wrapper.step(&problem).unwrap();
            }
        }
        let expected = bytes(&problem, &wrapper, &path);
        assert!(problem.bits() != start, "{what}: nothing has changed");

        let recorded = Problem::new(&device);
        let mut wrapper = W::new(&recorded);
        wrapper.step(&recorded).unwrap();
        let (recording, ()) = device.record(|| wrapper.step(&recorded)).unwrap();
        recording.replay(STEPS - 3).unwrap();
        // And an eager step after it.
        wrapper.step(&recorded).unwrap();
        assert!(bytes(&recorded, &wrapper, &path) == expected, "{what}: recorded");

        for (middle, is_within, steps_before) in [(&between, false, 3), (&within, true, 3), (&within, true, 0)] {
            let fresh = Problem::new(&device);
            let mut wrapper = W::new(&fresh);
            // From another state, and from the beginning.
            for _ in 0..steps_before {
                wrapper.step(&fresh).unwrap();
            }
            load(&fresh, &mut wrapper, middle);
            if is_within {
                wrapper.rest(&fresh)
            } else {
                wrapper.step(&fresh).unwrap()
            }
            for _ in 26..STEPS {
                wrapper.step(&fresh).unwrap();
            }
            assert!(bytes(&fresh, &wrapper, &path) == expected, "{what}: from a file, within a step: {is_within}");
        }

        let (profile, ()) = device.profile(|| wrapper.step(&recorded)).unwrap();
        let mut own: Vec<&str> = profile.launches().iter().map(|launch| launch.kernel).collect();
        own.retain(|name| WRAPPERS.contains(name) || OPTIMIZER.contains(name));
        own.sort_unstable();
        let mut expected: Vec<&str> = OPTIMIZER.to_vec();
        expected.extend(W::LAUNCHES.iter().flat_map(|&(name, times)| std::iter::repeat_n(name, times)));
        expected.sort_unstable();
        assert_eq!(own, expected, "{what}");
    }
}

/// The kernels of AdamW with clipping, and those of the wrappers.
const OPTIMIZER: [&str; 3] = ["adam", "clock", "grad_norm"];
const WRAPPERS: [&str; 7] =
    ["average", "lookahead", "scale", "sharpness_ascent", "sharpness_norm", "sharpness_scale", "swap_in"];

#[test]
fn sam() {
    hold::<Sam>("SAM");
    hold::<Asam>("ASAM");
}

#[test]
fn lookahead() {
    hold::<Lookahead>("Lookahead");
}

#[test]
fn accumulation() {
    hold::<GradientAccumulation>("accumulation");
}

#[test]
fn averages() {
    hold::<Averaged<0>>("equal average");
    hold::<Averaged<1>>("exponential average");
    hold::<Averaged<2>>("debiased average");
}
