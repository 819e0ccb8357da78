//! Wrappers of methods: SAM, Lookahead, averages of the weights.

use serde_json::Value;
use thalweg::autograd::Tape;
use thalweg::nn::{Averaging, Lookahead, LookaheadSettings, Optimizer, Sam, Sgd, SharpnessAware, WeightAverage};
use thalweg::tensor::Device;

use super::textbook::objective;
use super::{params, set_grads};
use crate::common::oracle::{self, Array, Case, Oracle};
use crate::common::{devices, floats};

/// A trajectory of one tensor, to compare with the snapshots.
struct Trajectory<'a> {
    case: Case<'a>,
    tensor: &'a str,
    start: Array,
    grads: Vec<f32>,
    steps: usize,
}

impl<'a> Trajectory<'a> {
    fn new(case: Case<'a>, problem: &Oracle) -> Self {
        let tensor = case.get("tensors")[0].as_str().unwrap();
        let start = problem.array(&format!("init/{tensor}"));
        let grads = problem.array(&format!("grads/{tensor}")).f32();
        Self { case, tensor, start, grads, steps: case.get("steps").as_u64().unwrap() as usize }
    }

    fn grad(&self, step: usize) -> Vec<f32> {
        let length = self.start.values.len();
        self.grads[(step - 1) * length..][..length].to_vec()
    }

    /// Compares the result after a step, if the oracle has it.
    fn hold(&self, step: usize, what: &str, got: &[f32], device: &Device) -> usize {
        let Some(reference) = self.case.find(&format!("f64/step_{step}/{what}/{}", self.tensor)) else { return 0 };
        let name = self.case.name(&format!("{what} after step {step} on {device}"));
        let bound = self.case.bound("param").with_inputs([&self.start]);
        oracle::assert_within(&name, got, &reference.values, bound);
        1
    }
}

fn sgd(case: Case<'_>) -> Sgd {
    Sgd::new().momentum(case.number("hyper.momentum"))
}

#[test]
fn sam_follows_its_trajectory() {
    let oracle = Oracle::open("optimizers/optax_sam");
    let case = oracle.cases()[0];
    let problem = Oracle::open(&format!("optimizers/problem_{}", case.text("problem")));
    let run = Trajectory::new(case, &problem);
    assert_eq!(case.number("hyper.sync_period"), 2.0);
    for device in devices() {
        let params = params(&device, std::slice::from_ref(&run.start));
        let optimizer = Optimizer::new(&params, sgd(case), case.number("hyper.lr")).unwrap();
        let settings = SharpnessAware { rho: case.number("hyper.rho"), ..SharpnessAware::sam() };
        let mut sam = Sam::new(optimizer, settings).unwrap();
        let mut held = 0;
        for step in 1..=run.steps {
            set_grads(&params, &[run.grad(step)]);
            // The oracle counts both halves of a step.
            if step % 2 == 1 { sam.first_step() } else { sam.second_step() }.unwrap();
            held += run.hold(step, "param", &floats(params.values().get(0)), &device);
        }
        assert_eq!(held, 5, "snapshots");
        let (_, buffer) = sam.optimizer().state().next().unwrap();
        let reference = case.array("f64/state/opt_state.0.trace.w");
        let bound = case.bound("state").with_inputs([&run.start]);
        oracle::assert_within(&case.name("momentum"), &floats(buffer.get(0)), &reference.values, bound);
    }
}

#[test]
fn lookahead_follows_its_trajectory() {
    let oracle = Oracle::open("optimizers/optax_lookahead");
    let case = oracle.cases()[0];
    let problem = Oracle::open(&format!("optimizers/problem_{}", case.text("problem")));
    let run = Trajectory::new(case, &problem);
    let settings = LookaheadSettings {
        sync_period: case.number("hyper.sync_period") as u32,
        slow_step_size: case.number("hyper.slow_step_size"),
    };
    for device in devices() {
        let params = params(&device, std::slice::from_ref(&run.start));
        let mut lookahead =
            Lookahead::new(Optimizer::new(&params, sgd(case), case.number("hyper.lr")).unwrap(), settings).unwrap();
        let mut held = 0;
        for step in 1..=run.steps {
            set_grads(&params, &[run.grad(step)]);
            lookahead.step().unwrap();
            held += run.hold(step, "param", &floats(params.values().get(0)), &device);
            held += run.hold(step, "slow", &floats(lookahead.slow().get(0)), &device);
        }
        assert_eq!(held, 10, "snapshots");
    }
}

#[test]
fn averages_are_those_of_the_oracle() {
    let oracle = Oracle::open("optimizers/averaging");
    // The sequence of parameters is that of the gradients in another file of the oracle.
    let sequence = Oracle::open("optimizers/problem_flat_small").array("grads/p");
    let length = sequence.shape[1];
    let mut run = 0;
    for case in oracle.cases() {
        let decay = case.get("decay").as_f64();
        let averaging = match (decay, case.get("debias").as_bool()) {
            (None, _) => Averaging::Equal,
            (Some(decay), None) => Averaging::Exponential { decay },
            (Some(decay), Some(_)) => Averaging::Debiased { decay },
        };
        for device in devices() {
            let zeros = Array { shape: vec![length], values: vec![0.0; length] };
            let params = params(&device, &[zeros]);
            let mut average = WeightAverage::new(&params, averaging).unwrap();
            for values in sequence.f32().chunks(length) {
                params.values().get(0).write(values).unwrap();
                average.update().unwrap();
            }
            // The average of optax before the division by 1 - decay^t.
            let mut reference = case.array("f64/avg").values;
            if let (Some(decay), Some(false)) = (decay, case.get("debias").as_bool()) {
                let correction = 1.0 - decay.powi(sequence.shape[0] as i32);
                reference.iter_mut().for_each(|x| *x /= correction);
            }
            let name = case.name(&device.to_string());
            let before = floats(params.values().get(0));
            average.swap_in().unwrap();
            let got = floats(params.values().get(0));
            oracle::assert_scaled(&name, &got, &reference, case.number("tol_scaled"));
            assert_eq!(got, floats(average.averages().get(0)), "{name}");
            assert!(average.update().is_err(), "{name}: in the place of the parameters");
            average.swap_out().unwrap();
            assert_eq!(floats(params.values().get(0)), before, "{name}");
            assert_eq!(average.updates().unwrap() as usize, sequence.shape[0]);
        }
        run += 1;
    }
    assert_eq!(run, 7);
}

/// SAM on functions, with both gradients through autograd; records as in `super::textbook`.
#[test]
fn sam_descends_textbook_functions() {
    let oracle = Oracle::open("optimizers/functions");
    let data = &oracle.settings()["function_data"];
    let vector = |value: &Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap_or(f64::NAN)).collect()
    };
    let (mut run, mut held) = (0, 0);
    for case in oracle.cases().into_iter().filter(|case| case.id().ends_with("/sam_sgd")) {
        let drifts = vector(case.get("drift_scaled_per_record"));
        let records = case.get("params_f64").as_array().unwrap();
        let is_tame = |record: &&Value| vector(record).iter().all(|x| x.abs() < 1e4);
        let tame = records.iter().take_while(is_tame).count();
        let within = drifts.iter().take(tame).take_while(|&&drift| drift < 1e-4).count();
        let bound = drifts[..within].iter().fold(1e-6, |bound: f64, drift| bound.max(10.0 * drift));
        for device in devices() {
            let start = vector(case.get("x0"));
            let params = params(&device, &[Array { shape: vec![start.len()], values: start }]);
            let parameter = &params.parameters()[0];
            let settings = SharpnessAware { rho: case.number("hyper.rho"), ..SharpnessAware::sam() };
            let mut sam =
                Sam::new(Optimizer::new(&params, sgd(case), case.number("hyper.lr")).unwrap(), settings).unwrap();
            let mut step = 0;
            for (record, reference) in vector(case.get("record_steps")).into_iter().zip(records).take(within) {
                while f64::from(step) < record {
                    sam.step(|| {
                        let tape = Tape::new();
                        Ok(tape.backward(objective(case.text("function"), data, tape.parameter(parameter)?)?)?)
                    })
                    .unwrap();
                    step += 1;
                }
                let name = case.name(&format!("after step {step} on {device}"));
                oracle::assert_scaled(&name, &floats(parameter.value().unwrap()), &vector(reference), bound);
                held += usize::from(device.is_cpu());
            }
        }
        run += 1;
    }
    let at_least = if oracle.is_whole { (3, 20) } else { (1, 9) };
    assert!(run >= at_least.0 && held >= at_least.1, "{run} runs, {held} records, expected {at_least:?}");
}
