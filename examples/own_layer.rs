//! A network whose parts are all defined here: the element-wise function, the module, the loss and the optimization
//! method.
//!
//! It learns sin 3x with `Trainer`, which records its step and replays it. The function is fused with its neighbours
//! into one launch. Prints the launches of a step and the loss, and fails if the loss does not fall or nothing is
//! fused. `own_function.rs` and `own_method.rs` explain functions and methods.
#![allow(clippy::print_stdout, reason = "an example talks")]

use std::error::Error;
use std::f32::consts::LN_2;

use thalweg::autograd::Parameter;
use thalweg::nn::{Capabilities, History, Method, Parts, StateArena, Visitor};
use thalweg::prelude::*;
use thalweg::tensor::functions::{AFFINE, Check, DIV, MUL, SQRT, SQUARE, Tolerance};
use thalweg::tensor::optim::{ELEMENT_WISE_UPDATE, Elements, Head, StepArguments, Timing, UPDATE_VARIANTS, access};
use thalweg::tensor::{Call, Kernel, RecordOptions, Shader, functions};

functions! {
    /// x + (√(x² + 1) - 1) / 2, element by element: the bent identity.
    BENT = bent(x) {
        wgsl: "return x + 0.5 * (sqrt(x * x + 1.0) - 1.0);",
        twin: x + 0.5 * ((x * x + 1.0).sqrt() - 1.0),
        // The derivative is 1 + x / (2 √(x² + 1)).
        derivatives: [MUL(g, AFFINE[0.5, 1.0](DIV(x, SQRT(AFFINE[1.0, 1.0](SQUARE(x))))))],
        checks: [Check::over(-4.0, 4.0).within(Tolerance::new(1e-6, 1e-6))],
    }
}

/// A residual layer, x + scale · bent(W x + b), with a learned scale for each unit: `[n, units]` → `[n, units]`.
struct Residual {
    layer: Linear,
    scale: Parameter,
}

parts!(Residual { layer, scale });

impl Residual {
    fn new(builder: &mut ParamsBuilder, name: &str, units: usize) -> thalweg::Result<Self> {
        let mut builder = builder.path(name);
        let layer = Linear::new(&mut builder, "layer", units, units)?;
        Ok(Self { layer, scale: builder.add("scale", &[units], Init::Constant(0.5))? })
    }
}

impl Module for Residual {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg::autograd::Result<Var<'t>> {
        let scale = input.tape().parameter(&self.scale)?;
        input.add(self.layer.forward(input)?.apply(&BENT, &[])?.mul(scale)?)
    }
}

/// Two residual layers between two linear ones. It lists its parts by hand, in the same way as `parts!`.
struct Net {
    input: Linear,
    hidden: Vec<Residual>,
    output: Linear,
}

impl Parts for Net {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.part("input", &self.input);
        visitor.part("hidden", &self.hidden);
        visitor.part("output", &self.output);
    }
}

impl Module for Net {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg::autograd::Result<Var<'t>> {
        let first = self.input.forward(input)?.apply(&BENT, &[])?;
        self.output.forward(self.hidden.iter().try_fold(first, |x, layer| layer.forward(x))?)
    }
}

/// ln cosh(output - target): squared near the target, linear far from it.
#[derive(Debug)]
struct LogCosh;

impl Loss for LogCosh {
    fn per_row<'t>(&self, output: Var<'t>, targets: Var<'t>) -> thalweg::autograd::Result<Var<'t>> {
        // ln cosh d = d + ln(1 + e^-2d) - ln 2, which does not overflow.
        let distance = output.sub(targets)?;
        distance.add(distance.affine(-2.0, 0.0)?.softplus()?)?.affine(1.0, -LN_2)
    }
}

/// A step of limited length: param = param - lr grad / (|grad| + softness).
#[derive(Debug)]
struct SoftSign {
    softness: f32,
}

static SHADER: Shader = Shader {
    name: "soft_sign",
    path: "examples/own_layer.rs",
    text: "
const EXTRA = NO_EXTRA;

struct Params {
    timing: Timing,
    settings: Settings,
    softness: f32,
}

struct Factors {
    rate: f32,
}

fn factors(now: Now) -> Factors {
    return Factors(now.learning_rate);
}

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let grad = gradient(i, value, step);
    values[i] = stored(value, value - f.rate * (grad / (abs(grad) + params.softness)), step);
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

fn twin(call: Call<'_>) {
    let Params { softness, .. } = call.params();
    Elements::of(call)
        .each(|now| now.learning_rate, move |lr, param, grad, []| *param -= lr * (grad / (grad.abs() + softness)));
}

static SOFT_SIGN: Kernel =
    Kernel { shader: &SHADER, uniform: size_of::<Params>(), access: access(0), variants: UPDATE_VARIANTS, twin };

impl Method for SoftSign {
    fn name(&self) -> &'static str {
        "soft-sign"
    }

    fn settings(&self) -> thalweg::nn::serde_json::Value {
        thalweg::nn::serde_json::json!({ "softness": self.softness })
    }

    fn validate(&self) -> thalweg::Result<()> {
        if self.softness > 0.0 {
            return Ok(());
        }
        Err(thalweg::Error::Setting { field: "softness", value: self.softness.to_string(), rule: "greater than 0" })
    }

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        Vec::new()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
    }

    fn step(&self, step: StepArguments<'_>) -> thalweg::Result<()> {
        let head = Head::new(Timing::without_betas(), 0.0, false);
        Ok(step.run(&SOFT_SIGN, head, |head| Params { head, softness: self.softness })?)
    }
}

/// The network on a device, with its training state.
fn trainer(device: &Device) -> thalweg::Result<Trainer<Net>> {
    let mut builder = ParamsBuilder::new(0);
    let model = Net {
        input: Linear::new(&mut builder, "input", 1, 32)?,
        hidden: (0..2).map(|i| Residual::new(&mut builder, &format!("hidden.{i}"), 32)).collect::<Result<_, _>>()?,
        output: Linear::new(&mut builder, "output", 32, 1)?,
    };
    let params = builder.build(device)?;
    let cosine = Cosine { lr: 3e-3, min_lr: 0.0, steps: 1600 };
    Ok(Trainer::new(model, Optimizer::new(&params, SoftSign { softness: 1e-3 }, cosine)?, LogCosh))
}

/// Records a forward and a backward pass. Returns its launches and the names of its kernels with the function.
fn recorded(data: &Dataset, fuse: bool) -> thalweg::Result<(usize, Vec<&'static str>)> {
    let trainer = trainer(data.device())?;
    let pass = || -> thalweg::Result<()> {
        let tape = Tape::new();
        let loss = LogCosh.of(trainer.model().forward(tape.constant(data.features()))?, data.targets())?;
        tape.backward(loss)?;
        Ok(())
    };
    pass()?;
    let (recording, ()) = data.device().record_with(RecordOptions { fuse, ..RecordOptions::default() }, pass)?;
    let names = recording.generated().map(Kernel::name).filter(|name| name.contains("bent")).collect();
    Ok((recording.launches(), names))
}

/// Trains on a device, and returns the history.
fn train(device: &Device) -> Result<History, Box<dyn Error>> {
    let x: Vec<f32> = (0..256).map(|i| i as f32 / 128.0 - 1.0).collect();
    let y: Vec<f32> = x.iter().map(|x| (3.0 * x).sin()).collect();
    let data = Dataset::regression(device, &x, 1, &y)?;

    let ((launches, _), (fused_launches, fused)) = (recorded(&data, false)?, recorded(&data, true)?);
    println!("{launches} launches of the two passes, {fused_launches} with fusion; those with the function:");
    fused.iter().for_each(|name| println!("  {name}"));
    if fused.is_empty() || fused_launches >= launches {
        return Err("the function is not fused with its neighbours".into());
    }

    let options = FitOptions { epochs: 200, batch_size: 32, seed: 0 };
    let history = trainer(device)?.fit(&data, None, &options, |event| match event {
        Event::Epoch(report) if report.epoch % 40 == 1 => {
            println!("epoch {:3}: loss {:.5}", report.epoch, report.train_loss);
        }
        _ => {}
    })?;
    let (first, last) = (history.epochs[0].train_loss, history.train.loss);
    println!("loss {first:.5} in the first epoch, {last:.5} in the end, on {device}");
    if last < 0.1 * first { Ok(history) } else { Err("the loss does not fall to a tenth".into()) }
}

fn main() -> Result<(), Box<dyn Error>> {
    train(&Device::best()).map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

    use thalweg::autograd::check_function;

    use super::*;

    #[test]
    fn it_learns_in_recorded_steps_with_the_function_fused_on_every_device() {
        let mut devices = vec![Device::cpu()];
        devices.extend(Device::gpu());
        for device in devices {
            assert!(BENT.check_parity(&device).unwrap().agrees(), "{device}");
            assert!(check_function(&device, &BENT).unwrap().iter().all(|report| report.is_right()), "{device}");
            assert_eq!(train(&device).unwrap().steps, 1600, "{device}");
        }
    }
}
