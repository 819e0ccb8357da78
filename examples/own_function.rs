//! An element-wise function that the library does not have: declared, tested, differentiated, and fused in a recording.
//!
//! A network learns sin 3x with the snake activation, x + sin²(a x) / a (Ziyin, Hartwig, Ueda, 2020). Prints the kernels
//! that were generated for a training step, the text of the kernel with the function, and the loss.
#![allow(clippy::print_stdout, reason = "an example talks")]

use thalweg::autograd::check_function;
use thalweg::prelude::*;
use thalweg::tensor::functions;
use thalweg::tensor::functions::{AFFINE, Check, MUL, SIN, Tolerance};

functions! {
    /// x + sin²(frequency x) / frequency, element by element.
    SNAKE = snake(x; frequency) {
        wgsl: "let s = sine_cosine(frequency * x).x;
    return x + s * s / frequency;",
        twin: {
            let s = (frequency * x).sin();
            x + s * s / frequency
        },
        // The derivative is 1 + sin(2 frequency x).
        derivatives: [MUL(g, AFFINE[1.0, 1.0](SIN(AFFINE[2.0 * frequency, 0.0](x))))],
        checks: [Check::over(-4.0, 4.0).numbers(&[1.5]).within(Tolerance::new(1e-6, 1e-6))],
    }
}

const POINTS: usize = 256;
const STEPS: usize = 2000;

fn main() -> thalweg::Result<()> {
    let device = Device::best();
    // The tests of the library's functions work for this one too.
    println!("kernel and twin: {}", SNAKE.check_parity(&device)?);
    for report in check_function(&device, &SNAKE)? {
        println!("{report}");
    }

    let x: Vec<f32> = (0..POINTS).map(|i| 4.0 * i as f32 / POINTS as f32 - 2.0).collect();
    let y: Vec<f32> = x.iter().map(|x| (3.0 * x).sin()).collect();
    let (x, y) = (Tensor::from_slice(&device, &x, &[POINTS, 1])?, Tensor::from_slice(&device, &y, &[POINTS, 1])?);

    let mut builder = ParamsBuilder::new(0);
    let input = Linear::new(&mut builder, "input", 1, 32)?;
    let hidden = Linear::new(&mut builder, "hidden", 32, 32)?;
    let output = Linear::new(&mut builder, "output", 32, 1)?;
    let params = builder.build(&device)?;
    let mut optimizer = Optimizer::new(&params, Adam::new(), 0.003)?;
    let losses = ValueLog::new(&device, STEPS)?;

    let mut step = || {
        let tape = Tape::new();
        let first = input.forward(tape.constant(&x))?.apply(&SNAKE, &[3.0])?;
        let second = hidden.forward(first)?.apply(&SNAKE, &[3.0])?.add(first)?;
        let loss = Mse.of_logged(output.forward(second)?, &y, Some(&losses))?;
        params.zero_grad();
        tape.backward(loss)?;
        optimizer.step()
    };
    step()?;
    let (recording, ()) = device.record(&mut step)?;
    println!("\n{} launches a step, and these kernels were generated:", recording.launches());
    for kernel in recording.generated() {
        println!("  {}", kernel.name());
    }
    if let Some(kernel) = recording.generated().find(|kernel| kernel.name().contains("snake")) {
        let own = kernel.shader.text.split("\n// Where a workgroup").next().unwrap_or_default();
        println!("\n{own}");
    }

    recording.replay(STEPS - 2)?;
    let losses = losses.take()?;
    println!("loss {:.4} at first, {:.6} after {STEPS} steps", losses[0], losses[STEPS - 1]);
    Ok(())
}
