//! A custom optimization method: its kernel in WGSL, the twin for the CPU, and its settings.
//!
//! The method works like the built-in ones. One launch updates all parameters, also in a recorded step. Schedules,
//! groups of parameters, clipping and saved states apply to it. Trains a small network on the sine, and prints losses
//! and launches.
#![allow(clippy::print_stdout, reason = "an example talks")]

use serde_json::json;
use thalweg::nn::{Capabilities, Method, StateArena};
use thalweg::prelude::*;
use thalweg::tensor::optim::{
    Decay, ELEMENT_WISE_UPDATE, Elements, Head, StepArguments, Timing, UPDATE_VARIANTS, access,
};
use thalweg::tensor::{Call, Kernel, Shader};

const STEPS: usize = 2000;

/// Momentum with a soft sign, between the sign of Lion and the moment itself:
///
/// ```text
/// moment = beta moment + (1 - beta) grad
/// param  = (1 - lr weight_decay) param - lr moment / (|moment| + softness)
/// ```
#[derive(Debug, Clone, Copy)]
struct SoftSign {
    beta: f64,
    softness: f64,
    weight_decay: f64,
}

/// The kernel. The shared texts have the loop over the parameters, the time and the gradient.
static SHADER: Shader = Shader {
    name: "soft_sign",
    path: "examples/own_method.rs",
    text: "
const EXTRA = NO_EXTRA;

struct Params {
    timing: Timing,
    settings: Settings,
    softness: f32,
}

@group(0) @binding(5) var<storage, read_write> moment: array<vec4f>;

struct Factors {
    rate: f32,
}

fn factors(now: Now) -> Factors {
    return Factors(now.learning_rate);
}

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let m = moment[i];
    let new_m = step.momentum * m + step.one_minus_momentum * gradient(i, value, step);
    let new_value = value * step.kept - f.rate * (new_m / (abs(new_m) + params.softness));
    values[i] = stored(value, new_value, step);
    moment[i] = stored(m, new_m, step);
}
",
    shared: ELEMENT_WISE_UPDATE,
};

/// The parameters of the kernel: the common part of all updates, then those of the method.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    softness: f32,
}

/// Does the same computation on the CPU.
fn twin(call: Call<'_>) {
    let Params { softness, .. } = call.params();
    Elements::of(call).each(
        |now| (now.momentum, now.one_minus_momentum, now.learning_rate),
        move |(beta, one_minus_beta, lr), param, grad, [moment]| {
            *moment = beta * *moment + one_minus_beta * grad;
            *param -= lr * (*moment / (moment.abs() + softness));
        },
    );
}

static SOFT_SIGN: Kernel =
    Kernel { shader: &SHADER, uniform: size_of::<Params>(), access: access(1), variants: UPDATE_VARIANTS, twin };

impl Method for SoftSign {
    fn name(&self) -> &'static str {
        "soft-sign"
    }

    fn settings(&self) -> serde_json::Value {
        json!({ "beta": self.beta, "softness": self.softness, "weight_decay": self.weight_decay })
    }

    fn validate(&self) -> thalweg::Result<()> {
        for (field, value, is_good, rule) in [
            ("beta", self.beta, (0.0..1.0).contains(&self.beta), "at least 0 and less than 1"),
            ("softness", self.softness, self.softness > 0.0, "greater than 0"),
            ("weight_decay", self.weight_decay, self.weight_decay >= 0.0, "at least 0"),
        ] {
            if !is_good {
                return Err(thalweg::Error::Setting { field, value: value.to_string(), rule });
            }
        }
        Ok(())
    }

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        vec![StateArena::like_parameters("moment")]
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().momentum(true)
    }

    fn step(&self, step: StepArguments<'_>) -> thalweg::Result<()> {
        let head = Head::new(Timing::of_betas((self.beta, 0.0)), self.weight_decay, false)
            .momentum(self.beta)
            .decay(Decay::Decoupled);
        Ok(step.run(&SOFT_SIGN, head, |head| Params { head, softness: self.softness as f32 })?)
    }
}

/// Trains on a device, and returns the losses of all steps with the launches of an update.
fn train(device: &Device) -> thalweg::Result<(Vec<f32>, usize)> {
    let x: Vec<f32> = (0..256).map(|i| i as f32 / 128.0 - 1.0).collect();
    let y: Vec<f32> = x.iter().map(|x| (3.0 * x).sin()).collect();
    let [x, y] = [&x, &y].map(|values| Tensor::from_slice(device, values, &[values.len(), 1]));
    let (x, y) = (x?, y?);

    let mut builder = ParamsBuilder::new(0);
    let (hidden, output) = (Linear::new(&mut builder, "hidden", 1, 32)?, Linear::new(&mut builder, "output", 32, 1)?);
    let params = builder.build(device)?;
    let method = SoftSign { beta: 0.9, softness: 1e-3, weight_decay: 1e-3 };
    let schedule = Cosine { lr: 5e-3, min_lr: 0.0, steps: STEPS as u64 };
    let mut optimizer = Optimizer::new(&params, method, schedule)?;
    let losses = ValueLog::new(device, STEPS)?;

    let gradients = || -> thalweg::Result<()> {
        let tape = Tape::new();
        let prediction = output.forward(hidden.forward_with(tape.constant(&x), Activation::Tanh)?)?;
        let error = prediction.sub(tape.constant(&y))?.square()?.mean()?;
        losses.push(&error.value())?;
        params.zero_grad();
        tape.backward(error)?;
        Ok(())
    };
    gradients()?;
    let (profile, ()) = device.profile(|| optimizer.step())?;
    let (recording, ()) = device.record(|| -> thalweg::Result<()> {
        gradients()?;
        optimizer.step()
    })?;
    recording.replay(STEPS - 2)?;
    Ok((losses.take()?, profile.launches().len()))
}

fn main() -> thalweg::Result<()> {
    let device = Device::best();
    let (losses, launches) = train(&device)?;
    println!("{} launch to update all parameters, on {device}", launches);
    for step in (0..STEPS).step_by(STEPS / 5).chain([STEPS - 1]) {
        println!("step {:4}: loss {:.6}", step + 1, losses[step]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

    use super::*;

    #[test]
    fn it_learns_by_one_launch_a_step_on_every_device() {
        let mut devices = vec![Device::cpu()];
        devices.extend(Device::gpu());
        for device in devices {
            let (losses, launches) = train(&device).unwrap();
            assert_eq!(launches, 1, "{device}");
            assert!(losses[STEPS - 1] < 1e-3 && losses[STEPS - 1] < 1e-2 * losses[0], "{device}: {losses:?}");
        }
    }

    #[test]
    fn it_is_saved_and_refused_like_a_built_in_method() {
        let mut builder = ParamsBuilder::new(0);
        builder.add("w", &[70], Init::Zeros).unwrap();
        let params = builder.build(&Device::cpu()).unwrap();
        let method = SoftSign { beta: 0.9, softness: 1e-3, weight_decay: 0.0 };
        let wrong = Optimizer::new(&params, SoftSign { beta: 1.0, ..method }, 0.1).unwrap_err();
        assert_eq!(wrong.to_string(), "beta = 1, but it must be at least 0 and less than 1");
        let saved = Optimizer::new(&params, method, 0.1).unwrap().state_dict().unwrap();
        assert!(saved.get("state.w.moment").is_some());
        let mut other = Optimizer::new(&params, SoftSign { softness: 0.1, ..method }, 0.1).unwrap();
        let refused = other.load_state_dict(&saved).unwrap_err().to_string();
        assert_eq!(refused, "optimizer settings: saved was softness = 0.001, but here it is 0.1");
    }
}
