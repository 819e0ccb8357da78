//! Groups of parameters, schedules of every setting and clipping by value, compared with the rule in f64, eager and
//! recorded.

use crate::common::{Tolerance, assert_close, devices, floats, numbers};
use thalweg::nn::{AdamW, Init, Method, Optimizer, ParameterGroup, Params, ParamsBuilder, Result, Schedule, Sgd};
use thalweg::tensor::{Clip, Device};

const STEPS: usize = 30;
const CLIP_VALUE: f64 = 0.6;
const NAMES: [&str; 5] = ["stem.weight", "stem.bias", "head.weight", "head.bias", "embedding"];
const SIZES: [usize; 5] = [300, 7, 130, 64, 90];

/// From one value to another along a line.
#[derive(Debug)]
struct Line {
    from: f64,
    to: f64,
}

impl Schedule for Line {
    fn at(&self, step: u64) -> f64 {
        self.from + (self.to - self.from) * step as f64 / STEPS as f64
    }

    fn validate(&self) -> Result<()> {
        Ok(())
    }
}

const LR: Line = Line { from: 0.05, to: 0.01 };
const WEIGHT_DECAY: Line = Line { from: 0.3, to: 0.0 };
const MOMENTUM: Line = Line { from: 0.95, to: 0.7 };

fn groups() -> Vec<ParameterGroup> {
    vec![
        ParameterGroup { lr_scale: Some(0.25), ..ParameterGroup::of("stem.*") },
        ParameterGroup { weight_decay: Some(0.0), ..ParameterGroup::of("*.bias") },
        ParameterGroup { weight_decay: Some(0.7), ..ParameterGroup::of("head.weight") },
        ParameterGroup { frozen: true, ..ParameterGroup::of("embedding") },
    ]
}

/// Returns the group settings of a parameter: the scale of its learning rate, its own weight decay, frozen or not.
fn said(name: &str) -> (f64, Option<f64>, bool) {
    match name {
        "stem.weight" => (0.25, None, false),
        "stem.bias" => (0.25, Some(0.0), false),
        "head.weight" => (1.0, Some(0.7), false),
        "head.bias" => (1.0, Some(0.0), false),
        _ => (1.0, None, true),
    }
}

fn gradients(step: usize, tensor: usize) -> Vec<f32> {
    numbers((10 * step + tensor) as u64, SIZES[tensor], -1.0, 1.0)
}

/// Returns the parameters after all steps on a device.
fn run(device: &Device, method: Box<dyn Method>, recorded: bool) -> Vec<f32> {
    let mut builder = ParamsBuilder::new(3);
    for (name, size) in NAMES.iter().zip(SIZES) {
        builder.add(*name, &[size], Init::Normal { mean: 0.0, deviation: 1.0 }).unwrap();
    }
    let params = builder.build(device).unwrap();
    let mut optimizer = Optimizer::new(&params, method, LR.over(STEPS as u64))
        .unwrap()
        .with_clip(Clip::Value(CLIP_VALUE))
        .unwrap()
        .with_groups(&groups())
        .unwrap();
    optimizer.set_weight_decay(WEIGHT_DECAY.over(STEPS as u64)).unwrap();
    optimizer.set_momentum(MOMENTUM.over(STEPS as u64)).unwrap();
    let set = |params: &Params, step| {
        let grads = params.grads().unwrap();
        (0..SIZES.len()).for_each(|tensor| grads.get(tensor).write(&gradients(step, tensor)).unwrap());
    };
    set(&params, 0);
    let (recording, ()) = device.record(|| optimizer.step()).unwrap();
    for step in 1..STEPS {
        set(&params, step);
        if recorded { recording.replay(1).unwrap() } else { optimizer.step().unwrap() }
    }
    params.values().tensors().iter().flat_map(floats).collect()
}

/// Computes the same by the rule, in f64. `update` takes a parameter, its gradient, two numbers that the method keeps,
/// the learning rate, weight decay, momentum and number of the step, and the product of all momentums so far.
fn expected(update: impl Fn(&mut f64, f64, &mut [f64; 2], [f64; 4], usize)) -> Vec<f32> {
    let mut builder = ParamsBuilder::new(3);
    for (name, size) in NAMES.iter().zip(SIZES) {
        builder.add(*name, &[size], Init::Normal { mean: 0.0, deviation: 1.0 }).unwrap();
    }
    let params = builder.build(&Device::cpu()).unwrap();
    let mut all = Vec::new();
    for (tensor, name) in NAMES.iter().enumerate() {
        let (lr_scale, own_decay, frozen) = said(name);
        let mut values: Vec<f64> = floats(params.values().get(tensor)).into_iter().map(f64::from).collect();
        let mut kept = vec![[0.0; 2]; values.len()];
        let mut product = 1.0;
        for step in 0..if frozen { 0 } else { STEPS } {
            let [lr, decay, momentum] = [LR, WEIGHT_DECAY, MOMENTUM].map(|line| line.at(step as u64));
            product *= momentum;
            let now = [lr_scale * lr, own_decay.unwrap_or(decay), momentum, product];
            for ((value, kept), grad) in values.iter_mut().zip(&mut kept).zip(gradients(step, tensor)) {
                update(value, f64::from(grad).clamp(-CLIP_VALUE, CLIP_VALUE), kept, now, step + 1);
            }
        }
        all.extend(values.into_iter().map(|value| value as f32));
    }
    all
}

fn hold(what: &str, method: impl Method + Clone + 'static, expected: &[f32]) {
    for device in devices() {
        let eager = run(&device, Box::new(method.clone()), false);
        // Thirty steps of f32 compared with f64: some ten roundings of 6e-8 each.
        assert_close(&format!("{what} on {device}"), &eager, expected, Tolerance::new(1e-5, 1e-5));
        assert_eq!(eager, run(&device, Box::new(method.clone()), true), "{what} on {device}: a replay differs");
    }
}

#[test]
fn adamw_follows_groups_and_schedules() {
    let (beta2, eps) = (0.99, 1e-8);
    let expected = expected(|value, grad, [m, v], [lr, decay, beta1, product], step| {
        *value *= 1.0 - lr * decay;
        *m = beta1 * *m + (1.0 - beta1) * grad;
        *v = beta2 * *v + (1.0 - beta2) * grad * grad;
        let root = (*v / (1.0 - beta2.powi(step as i32))).sqrt();
        *value -= lr * (*m / (1.0 - product)) / (root + eps);
    });
    hold("adamw", AdamW::new().betas((0.9, beta2)).eps(eps), &expected);
}

#[test]
fn momentum_follows_groups_and_schedules() {
    let expected = expected(|value, grad, [moment, _], [lr, decay, momentum, _], _| {
        let grad = grad + decay * *value;
        *moment = momentum * *moment + grad;
        *value -= lr * (grad + momentum * *moment);
    });
    hold("sgd", Sgd::new().momentum(0.9).nesterov(true), &expected);
}
