//! A custom loop around a custom module, which separates two spirals.
//!
//! A step is recorded and then replayed, which costs the host next to nothing. Losses are read while the steps run.
//! Prints some of them and finally the network's classes in the plane: `.` and `+` are its predictions, `o` and `x` the
//! points of the two spirals it was trained on.
#![allow(clippy::print_stdout, reason = "an example talks")]

use std::f32::consts::PI;

use thalweg::prelude::*;
use thalweg::tensor::PendingRead;

const POINTS: usize = 100;
const STEPS: usize = 1500;
/// The number of steps between printed losses.
const EVERY: usize = 250;

/// Two hidden layers; the second is added to the first, as in a residual network.
struct Net {
    input: Linear,
    hidden: Linear,
    output: Linear,
}

impl Net {
    fn new(builder: &mut ParamsBuilder) -> thalweg::autograd::Result<Self> {
        Ok(Self {
            input: Linear::new(builder, "input", 2, 32)?,
            hidden: Linear::new(builder, "hidden", 32, 32)?,
            output: Linear::new(builder, "output", 32, 2)?,
        })
    }
}

parts!(Net { input, hidden, output });

impl Module for Net {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg::autograd::Result<Var<'t>> {
        let first = self.input.forward_with(input, Activation::Tanh)?;
        let second = self.hidden.forward_with(first, Activation::Tanh)?;
        self.output.forward(first.add(second)?)
    }
}

/// Returns the points of two spirals, one rotated by half a circle: `[2 POINTS, 2]` row-major, and the spiral of each.
fn spirals() -> (Vec<f32>, Vec<u32>) {
    let mut points = Vec::new();
    let mut classes = Vec::new();
    for class in 0..2u32 {
        for i in 0..POINTS {
            let radius = 0.1 + 0.9 * i as f32 / POINTS as f32;
            let angle = 3.0 * PI * radius + PI * class as f32;
            points.extend([radius * angle.cos(), radius * angle.sin()]);
            classes.push(class);
        }
    }
    (points, classes)
}

fn main() -> thalweg::Result<()> {
    let device = Device::best();
    let (points, classes) = spirals();
    let x = Tensor::from_slice(&device, &points, &[classes.len(), 2])?;
    let targets = Tensor::from_slice(&device, &classes, &[classes.len()])?;

    let mut builder = ParamsBuilder::new(0);
    let model = Net::new(&mut builder)?;
    let params = builder.build(&device)?;
    let cosine = Cosine { lr: 0.01, min_lr: 0.0, steps: STEPS as u64 };
    let mut optimizer = Optimizer::new(&params, Adam::new(), cosine)?;
    let losses = ValueLog::new(&device, STEPS)?;

    let mut step = || {
        let tape = Tape::new();
        let loss = CrossEntropy.of_logged(model.forward(tape.constant(&x))?, &targets, Some(&losses))?;
        params.zero_grad();
        tape.backward(loss)?;
        optimizer.step()
    };
    // The first step creates the state of all steps, the second is recorded, and the others are replays of it.
    step()?;
    let (recording, ()) = device.record(&mut step)?;
    println!("{} parameters, {} launches a step, on {device}", params.element_count(), recording.launches());

    let mut done = 2;
    let mut asked = Vec::new();
    while done < STEPS {
        let next = STEPS.min((done / EVERY + 1) * EVERY);
        recording.replay(next - done)?;
        done = next;
        // Requested here, and printed on arrival: the steps never wait for it.
        asked.push((done, losses.read_later(done - 1..done)?));
        print_losses(&mut asked)?;
    }
    device.synchronize()?;
    print_losses(&mut asked)?;
    draw(&device, &model, &points, &classes)
}

/// Prints the losses that have arrived from the device, and keeps the requests of the others.
fn print_losses(asked: &mut Vec<(usize, PendingRead<f32>)>) -> thalweg::Result<()> {
    while let Some((step, read)) = asked.first_mut() {
        let Some(loss) = read.poll()? else { break };
        println!("step {step}: loss {:.4}", loss[0]);
        asked.remove(0);
    }
    Ok(())
}

/// Predicts the class of every cell of a grid of [-1.1, 1.1]², and marks the cells of the points.
fn draw(device: &Device, model: &Net, points: &[f32], classes: &[u32]) -> thalweg::Result<()> {
    const WIDTH: usize = 56;
    const HEIGHT: usize = 28;
    let coordinate = |cell: usize, cells: usize| 2.2 * (cell as f32 + 0.5) / cells as f32 - 1.1;
    let cells: Vec<f32> = (0..HEIGHT)
        .flat_map(|row| (0..WIDTH).flat_map(move |column| [coordinate(column, WIDTH), coordinate(row, HEIGHT)]))
        .collect();
    let tape = Tape::inference();
    let cells = tape.constant(&Tensor::from_slice(device, &cells, &[HEIGHT * WIDTH, 2])?);
    let answers = model.forward(cells)?.value().argmax(-1, false)?.to_vec::<u32>()?;

    let mut picture: Vec<char> = answers.iter().map(|&class| if class == 0 { '.' } else { '+' }).collect();
    let cell = |x: f32, cells: usize| ((x + 1.1) / 2.2 * cells as f32) as usize;
    for (point, &class) in points.chunks(2).zip(classes) {
        picture[cell(point[1], HEIGHT) * WIDTH + cell(point[0], WIDTH)] = if class == 0 { 'o' } else { 'x' };
    }
    for row in picture.chunks(WIDTH) {
        println!("{}", row.iter().collect::<String>());
    }
    Ok(())
}
