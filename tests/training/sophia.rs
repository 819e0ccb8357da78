//! Sophia: the mean of its estimates of the Hessian's diagonal, and that training with it repeats to the bit, recorded
//! or not.

use crate::common::{devices, floats, numbers, tensor};
use thalweg::autograd::Tape;
use thalweg::nn::data::Dataset;
use thalweg::nn::{
    AdamW, CrossEntropy, FitOptions, Linear, Loss, Mlp, MlpConfig, Module, Mse, Optimizer, Params, ParamsBuilder,
    Sophia, Trainer,
};
use thalweg::tensor::{Clip, Device, Tensor};

const ROWS: usize = 7;
const INPUTS: usize = 3;
const OUTPUTS: usize = 4;

/// Makes a linear model, its input rows, and its output.
fn linear(device: &Device) -> (Linear, Params, Vec<f32>, Tensor, Vec<f32>) {
    let mut builder = ParamsBuilder::new(5);
    let model = Linear::new(&mut builder, "line", INPUTS, OUTPUTS).unwrap();
    let params = builder.build(device).unwrap();
    let rows = numbers(1, ROWS * INPUTS, -2.0, 2.0);
    let x = tensor(device, &rows, &[ROWS, INPUTS]);
    let tape = Tape::inference();
    let output = floats(&model.forward(tape.constant(&x)).unwrap().value());
    (model, params, rows, x, output)
}

/// Returns the mean of many estimates: with a learning rate of 0 the model stays, and with beta2 = 0 the average is the
/// last estimate.
fn mean_estimate(device: &Device, loss: &dyn Loss, draws: usize) -> Vec<Vec<f32>> {
    let (model, params, _, x, _) = linear(device);
    let method = Sophia::new().betas((0.9, 0.0));
    let mut optimizer = Optimizer::new(&params, method, 0.0).unwrap();
    let mut sums: Vec<Vec<f64>> = params.values().tensors().iter().map(|tensor| vec![0.0; tensor.len()]).collect();
    for _ in 0..draws {
        params.zero_grad();
        // A step with gradients of zero.
        params.grads().unwrap();
        optimizer.step().unwrap();
        let tape = Tape::new();
        optimizer.estimate_hessian(model.forward(tape.constant(&x)).unwrap(), loss).unwrap();
        let (_, hessian) = optimizer.state().find(|(name, _)| *name == "hessian").unwrap();
        for (sum, estimate) in sums.iter_mut().zip(hessian.tensors()) {
            sum.iter_mut().zip(floats(estimate)).for_each(|(sum, h)| *sum += f64::from(h));
        }
    }
    sums.iter().map(|sum| sum.iter().map(|sum| (sum / draws as f64) as f32).collect()).collect()
}

/// Returns the diagonal of the Gauss-Newton matrix, from its definition: `curvature` is the second derivative of a
/// row's loss with respect to its output.
fn exact(rows: &[f32], terms: f64, curvature: impl Fn(usize, usize) -> f64) -> Vec<Vec<f64>> {
    let mut weight = vec![0.0; OUTPUTS * INPUTS];
    let mut bias = vec![0.0; OUTPUTS];
    for row in 0..ROWS {
        for output in 0..OUTPUTS {
            let c = curvature(row, output) / terms;
            bias[output] += c;
            for input in 0..INPUTS {
                weight[output * INPUTS + input] += c * f64::from(rows[row * INPUTS + input]).powi(2);
            }
        }
    }
    vec![weight, bias]
}

/// Checks a mean of estimates. A sampled gradient is a sum over the rows, nearly normal, so its square has a relative
/// deviation of √2, and the mean of all draws one of √(2 / draws). Five times that are allowed.
fn hold(what: &str, got: &[Vec<f32>], expected: &[Vec<f64>], draws: usize) {
    let allowed = 5.0 * (2.0 / draws as f64).sqrt();
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().flatten().zip(expected.iter().flatten()) {
        let error = (f64::from(*got) - expected).abs() / expected;
        assert!(error < allowed, "{what}: {got} is not {expected}");
    }
}

#[test]
fn estimates_are_the_gauss_newton_diagonal_in_the_mean() {
    for device in devices() {
        let draws = if device.is_cpu() { 4000 } else { 400 };
        let (_, _, rows, _, output) = linear(&device);
        let probability = |row: usize, class: usize| {
            let logits = &output[row * OUTPUTS..][..OUTPUTS];
            let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
            f64::from(logits[class]).exp() / sum
        };
        let of_softmax = exact(&rows, ROWS as f64, |row, class| {
            let p = probability(row, class);
            p * (1.0 - p)
        });
        let got = mean_estimate(&device, &CrossEntropy, draws);
        hold(&format!("cross-entropy on {device}"), &got, &of_softmax, draws);
        let of_squares = exact(&rows, (ROWS * OUTPUTS) as f64, |_, _| 2.0);
        let got = mean_estimate(&device, &Mse, draws);
        hold(&format!("squared errors on {device}"), &got, &of_squares, draws);
    }
}

/// Trains a small network. The last batch of an epoch is shorter.
fn train(device: &Device, recording: bool, fits: &[u64]) -> (Vec<f32>, f64) {
    let features = numbers(2, 300 * 5, -1.0, 1.0);
    let class = |row: &[f32]| u32::from(row[0] + row[1] * row[2] > 0.0) + u32::from(row[3] > 0.3);
    let classes: Vec<u32> = features.chunks(5).map(class).collect();
    let data = Dataset::classification(device, &features, 5, &classes, 3).unwrap();
    let mut builder = ParamsBuilder::new(1);
    let config = MlpConfig { inputs: 5, hidden: vec![32], outputs: 3, ..MlpConfig::default() };
    let model = Mlp::new(&mut builder, &config).unwrap();
    let params = builder.build(device).unwrap();
    let method = Sophia::new().update_interval(3);
    let optimizer = Optimizer::new(&params, method, 0.02).unwrap().with_clip(Clip::Norm(1.0)).unwrap();
    let mut trainer = Trainer::new(model, optimizer, CrossEntropy).with_recording(recording);
    let mut accuracy = 0.0;
    for &epochs in fits {
        let options = FitOptions { epochs, batch_size: 32, seed: 9 };
        accuracy = trainer.fit(&data, None, &options, |_| ()).unwrap().train.accuracy.unwrap();
    }
    let hessian = trainer.optimizer().state().find(|(name, _)| *name == "hessian").unwrap().1;
    assert!(floats(hessian.get(0)).iter().any(|&h| h > 0.0), "nothing was estimated");
    let state: Vec<f32> = trainer.optimizer().state().flat_map(|(_, arena)| arena.pages()).flat_map(floats).collect();
    (params.values().pages().iter().flat_map(floats).chain(state).collect(), accuracy)
}

#[test]
fn recorded_training_has_the_bits_of_eager_training() {
    for device in devices() {
        let (eager, accuracy) = train(&device, false, &[12]);
        let (recorded, _) = train(&device, true, &[12]);
        crate::common::assert_same_bits(&format!("recorded on {device}"), &recorded, &eager);
        assert!(accuracy > 0.9, "{accuracy} on {device}");
    }
    // Ten steps per epoch are no multiple of the interval: a second fit continues where the first has ended.
    let device = Device::cpu();
    let (in_two, _) = train(&device, true, &[2, 1]);
    let (in_two_eager, _) = train(&device, false, &[2, 1]);
    crate::common::assert_same_bits("in two fits", &in_two, &in_two_eager);
}

#[test]
fn methods_without_a_hessian_say_so() {
    let (model, params, _, x, _) = linear(&Device::cpu());
    let mut adamw = Optimizer::new(&params, AdamW::new(), 1e-3).unwrap();
    assert_eq!(adamw.hessian_interval(), None);
    let tape = Tape::new();
    let output = model.forward(tape.constant(&x)).unwrap();
    let refused = adamw.estimate_hessian(output, &Mse).unwrap_err().to_string();
    assert_eq!(refused, "optimizer = adamw, but it must be one that keeps the Hessian's diagonal, as sophia does");
    assert!(adamw.update_hessian(&params.values().zeros_like().unwrap()).is_err());
}
