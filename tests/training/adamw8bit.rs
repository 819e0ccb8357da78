//! AdamW with its state in eight bits: compared with the textbook and with AdamW, its memory, and its training results.

use std::path::Path;

use crate::common::{devices, floats, numbers, words};
use thalweg::nn::data::Table;
use thalweg::nn::{
    AdamW, AdamW8bit, FitOptions, Init, MlpConfig, Optimizer, Params, ParamsBuilder, Schedule, TabularData,
    TabularModel, Trainer, WarmupCosine,
};
use thalweg::tensor::{Arena, Device};

const LR: f64 = 0.01;

/// The parameters per block, which has a scale.
const BLOCK: usize = 64;

fn params(device: &Device, shapes: &[usize]) -> Params {
    let mut builder = ParamsBuilder::new(3);
    for (i, &length) in shapes.iter().enumerate() {
        builder.add(i.to_string(), &[length], Init::Normal { mean: 0.0, deviation: 1.0 }).unwrap();
    }
    builder.build(device).unwrap()
}

/// Returns the gradients of a step: of different sizes from parameter to parameter, some of them always zero.
fn grads_of(step: u64, tensor: usize, length: usize) -> Vec<f32> {
    let sizes = numbers(1000 + tensor as u64, length, -3.0, 0.0);
    let means = numbers(2000 + tensor as u64, length, -0.3, 0.3);
    let noise = numbers(10_000 + 10 * step + tensor as u64, length, -1.7, 1.7);
    let one = |i: usize| if i % 11 == 3 { 0.0 } else { 10f32.powf(sizes[i]) * (means[i] + noise[i]) };
    (0..length).map(one).collect()
}

fn set_grads(params: &Params, step: u64) {
    for (tensor, grad) in params.grads().unwrap().tensors().iter().enumerate() {
        grad.write(&grads_of(step, tensor, grad.len())).unwrap();
    }
}

/// The method in f64, from the paper: moments are quantised to a list of levels, block by block.
struct Textbook {
    values: Vec<f64>,
    moments: Vec<[f64; 2]>,
    codes: Vec<[usize; 2]>,
    /// The offset of the tensor among all parameters, including padding: the random bits depend on it.
    first: u32,
}

/// Returns the levels of a moment, from 0 up to 1: eight per factor of two.
fn levels(count: usize) -> Vec<f64> {
    let mut levels: Vec<f64> =
        (0..count - 1).map(|i| (1.0 + ((8 - i % 8) % 8) as f64 / 8.0) * 0.5f64.powi(i.div_ceil(8) as i32)).collect();
    levels.push(0.0);
    levels.reverse();
    levels
}

/// Returns twenty random bits for each moment of a parameter at a step.
fn chances(parameter: u32, step: u32) -> [f64; 2] {
    let mix = |mut h: u32| {
        h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
        h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
        h ^ (h >> 16)
    };
    let bits = mix(parameter ^ mix(step));
    [f64::from(bits >> 12), f64::from((bits & 0xffff) << 4)].map(|bits| bits / f64::from(1 << 20))
}

impl Textbook {
    fn step(&mut self, grads: &[f32], t: u32, method: &AdamW8bit) {
        let (beta1, beta2) = method.betas;
        for (i, &grad) in grads.iter().enumerate() {
            let g = f64::from(grad);
            let [m, v] = &mut self.moments[i];
            *m = beta1 * *m + (1.0 - beta1) * g;
            *v = beta2 * *v + (1.0 - beta2) * g * g;
            let (m_hat, v_hat) = (*m / (1.0 - beta1.powi(t as i32)), *v / (1.0 - beta2.powi(t as i32)));
            self.values[i] *= 1.0 - LR * method.weight_decay;
            self.values[i] -= LR * m_hat / (v_hat.sqrt() + method.eps);
        }
        let levels = [levels(128), levels(256)];
        for (block, moments) in self.moments.chunks_mut(BLOCK).enumerate() {
            let absmax = [0, 1].map(|k| moments.iter().map(|moments| moments[k].abs()).fold(0.0, f64::max));
            for (i, both) in moments.iter_mut().enumerate() {
                let i = block * BLOCK + i;
                let chances = chances(self.first + i as u32, t);
                for k in 0..2 {
                    let x = if absmax[k] > 0.0 { both[k].abs() / absmax[k] } else { 0.0 };
                    let above = levels[k].partition_point(|&level| level <= x).min(levels[k].len() - 1);
                    let (low, high) = (levels[k][above - 1], levels[k][above]);
                    let part = (x - low) / (high - low);
                    let up = match (k, above) {
                        // A second moment that is not zero stays so.
                        (1, 1) => x > 0.0,
                        (_, 1) => chances[k] < part,
                        _ => chances[k] + part >= 1.0,
                    };
                    self.codes[i][k] = if up { above } else { above - 1 };
                    both[k] = levels[k][self.codes[i][k]] * absmax[k] * both[k].signum();
                }
            }
        }
    }
}

/// Returns the codes of an arena's tensor, without those after its end.
fn codes(arena: &Arena, tensor: usize, length: usize) -> Vec<u8> {
    let bytes: Vec<u8> = words(arena.get(tensor)).iter().flat_map(|word| word.to_le_bytes()).collect();
    assert!(bytes[length..].iter().all(|&code| code == 0), "padding is not zero");
    bytes[..length].to_vec()
}

#[test]
fn it_follows_the_textbook() {
    const STEPS: u32 = 40;
    let lengths = [100, 64, 7, 1300];
    let method = AdamW8bit::new().weight_decay(0.1);
    let mut first = 0;
    let start = params(&Device::cpu(), &lengths);
    let mut textbooks: Vec<Textbook> = Vec::new();
    for (tensor, &length) in lengths.iter().enumerate() {
        let values = floats(start.values().get(tensor)).into_iter().map(f64::from).collect();
        textbooks.push(Textbook { values, moments: vec![[0.0; 2]; length], codes: vec![[0; 2]; length], first });
        first += length.next_multiple_of(BLOCK) as u32;
        for t in 1..=STEPS {
            textbooks[tensor].step(&grads_of(t.into(), tensor, length), t, &method);
        }
    }
    for device in devices() {
        let params = params(&device, &lengths);
        let mut optimizer = Optimizer::new(&params, method, LR).unwrap();
        for t in 1..=STEPS {
            set_grads(&params, t.into());
            optimizer.step().unwrap();
        }
        let state: Vec<&Arena> = optimizer.state().map(|(_, arena)| arena).collect();
        // A moment in f32 is on the other side of its random bits some three times in a million.
        let mut others = 0;
        for (tensor, textbook) in textbooks.iter().enumerate() {
            let values = floats(params.values().get(tensor));
            let (first, second) = (codes(state[0], tensor, values.len()), codes(state[1], tensor, values.len()));
            for i in 0..values.len() {
                let sign = if textbook.moments[i][0] < 0.0 { 0x80 } else { 0 };
                let expected = [textbook.codes[i][0] as u8 | sign, textbook.codes[i][1] as u8];
                let error = (f64::from(values[i]) - textbook.values[i]).abs();
                others += usize::from([first[i], second[i]] != expected || error > 5e-6);
            }
            let scales = [2, 3].map(|number| floats(state[number].get(tensor)));
            for (block, moments) in textbook.moments.chunks(BLOCK).enumerate() {
                for k in 0..2 {
                    let largest = moments.iter().map(|moments| moments[k].abs()).fold(0.0, f64::max);
                    let error = (f64::from(scales[k][block]) - largest).abs();
                    assert!(error <= 1e-5 * largest, "absmax{} of {tensor} on {device}: off by {error}", k + 1);
                }
            }
        }
        assert!(others <= 2, "{others} parameters on {device} are not the textbook's");
    }
}

/// Returns all parameters, concatenated.
fn all(params: &Params) -> Vec<f32> {
    params.values().tensors().iter().flat_map(floats).collect()
}

#[test]
fn it_stays_near_adamw() {
    const STEPS: u64 = 600;
    let lengths = [2000, 300];
    for device in devices() {
        let run = |method: &dyn Fn(&Params) -> Optimizer| {
            let params = params(&device, &lengths);
            let mut optimizer = method(&params);
            let mut before = Vec::new();
            for step in 0..STEPS {
                before = all(&params);
                set_grads(&params, step);
                optimizer.step().unwrap();
            }
            let after = all(&params);
            let update: Vec<f32> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
            (after, update)
        };
        let start = all(&params(&device, &lengths));
        let (exact, exact_update) = run(&|params| Optimizer::new(params, AdamW::new(), 1e-3).unwrap());
        let (coarse, coarse_update) = run(&|params| Optimizer::new(params, AdamW8bit::new(), 1e-3).unwrap());
        let rms = |pairs: &dyn Fn(usize) -> f32| {
            let sum: f64 = (0..start.len()).map(|i| f64::from(pairs(i)).powi(2)).sum();
            (sum / start.len() as f64).sqrt()
        };
        let moved = rms(&|i| exact[i] - start[i]);
        let apart = rms(&|i| coarse[i] - exact[i]);
        let (updated, updated_apart) = (rms(&|i| exact_update[i]), rms(&|i| coarse_update[i] - exact_update[i]));
        // A code has a random error of some 5 % of its moment, and the error of v stays for as long as v remembers: its
        // root varies by some 15 %. The mean stays, and the paths of parameters add up, so most of it averages out.
        assert!(updated_apart < 0.25 * updated, "on {device}: an update of {updated} is off by {updated_apart}");
        assert!(apart < 0.1 * moved, "on {device}: {apart} apart after {moved}");
        // No parameter jumps: if a v became 0 before its m, one step would be thousands of learning rates.
        let farthest = (0..start.len()).map(|i| (coarse[i] - exact[i]).abs()).fold(0.0, f32::max);
        assert!(farthest < 100.0 * 1e-3, "on {device}: one is {farthest} apart");
    }
}

/// Returns the bytes of state per parameter, including padding.
fn bytes_of_state(params: &Params) -> f64 {
    let optimizer = Optimizer::new(params, AdamW8bit::new(), 1e-3).unwrap();
    let words: usize = optimizer.state().flat_map(|(_, arena)| arena.pages()).map(|page| page.len()).sum();
    4.0 * words as f64 / params.element_count() as f64
}

#[test]
fn the_state_takes_less_than_two_bytes_and_a_fifth() {
    let device = Device::cpu();
    let digits = digits(0, &device).1;
    let bytes = bytes_of_state(digits.params());
    assert!((2.125..=2.2).contains(&bytes), "digits: {bytes}");
    assert_eq!(bytes_of_state(&params(&device, &[1 << 20])), 2.125);
}

/// Returns the digits, and the network of the command line.
fn digits(seed: u64, device: &Device) -> (TabularData, TabularModel) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/digits.csv.gz");
    let data = TabularData::prepare(&Table::read(path).unwrap(), "label", None, 0.2, seed, device).unwrap();
    let network = MlpConfig { hidden: vec![128, 64], ..MlpConfig::default() };
    let model = TabularModel::new(data.schema.clone(), network, seed, device).unwrap();
    (data, model)
}

/// The same training as `thalweg train --optimizer adamw8bit`.
#[test]
fn digits_are_learned_to_96_5_percent_in_the_mean_of_five_seeds() {
    let accuracy = |seed: u64| {
        let (data, model) = digits(seed, &Device::cpu());
        let options = FitOptions { epochs: 87, batch_size: 64, seed };
        let steps = options.epochs * options.steps_per_epoch(data.train.len());
        let mut optimizer =
            Optimizer::new(model.params(), AdamW8bit::new(), 1e-3).unwrap().with_clip_norm(1.0).unwrap();
        optimizer.set_rate(WarmupCosine::new(1e-3, steps / 20, steps).over(steps)).unwrap();
        let mut trainer = Trainer::new(model, optimizer, data.schema.loss());
        let history = trainer.fit(&data.train, data.test.as_ref(), &options, |_| ()).unwrap();
        history.epochs.last().unwrap().test.unwrap().accuracy.unwrap()
    };
    let accuracies: Vec<f64> = (0..5).map(accuracy).collect();
    let mean = accuracies.iter().sum::<f64>() / 5.0;
    assert!(mean >= 0.965, "{mean} in the mean of {accuracies:?}");
}
