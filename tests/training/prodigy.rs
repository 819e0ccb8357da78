//! Prodigy compared with the textbook, for cases that the oracle does not have: limited growth, groups, more parameters
//! than one partial sum has.

use crate::common::{devices, floats, numbers};
use thalweg::nn::{Init, Optimizer, ParameterGroup, Params, ParamsBuilder, Prodigy};
use thalweg::tensor::Device;

const LENGTHS: [usize; 3] = [20_000, 70, 5];
const SCALES: [f64; 3] = [1.0, 0.5, 1.0];
const FROZEN: usize = 2;
const STEPS: usize = 30;

const LR: f64 = 0.7;

fn method() -> Prodigy {
    Prodigy::new().betas((0.9, 0.99)).beta3(Some(0.98)).d0(1e-3).d_coef(2.0).growth_rate(Some(1.3)).weight_decay(0.01)
}

fn params(device: &Device) -> Params {
    let mut builder = ParamsBuilder::new(2);
    for (i, length) in LENGTHS.into_iter().enumerate() {
        builder.add(format!("p{i}"), &[length], Init::Normal { mean: 0.0, deviation: 1.0 }).unwrap();
    }
    builder.build(device).unwrap()
}

/// Returns the gradients of a step: mostly the same direction, so that the distance grows.
fn grads(step: usize, tensor: usize) -> Vec<f32> {
    let length = LENGTHS[tensor];
    let direction = numbers(tensor as u64, length, -1.0, 1.0);
    let noise = numbers(100 + (10 * step + tensor) as u64, length, -0.3, 0.3);
    direction.iter().zip(noise).map(|(x, noise)| x + noise).collect()
}

/// Runs the method in f64, tensor by tensor, from the paper's algorithm 4 with the authors' limit of growth. Returns d
/// at every step, and the final parameters.
fn textbook(start: &[Vec<f32>]) -> (Vec<f64>, Vec<Vec<f64>>) {
    let p0: Vec<Vec<f64>> = start.iter().map(|p| p.iter().map(|&x| f64::from(x)).collect()).collect();
    let mut p = p0.clone();
    let zeros = || LENGTHS.map(|length| vec![0.0; length]);
    let (mut m, mut v, mut s) = (zeros(), zeros(), zeros());
    let method = method();
    let (mut d, mut d_max, mut numerator) = (method.d0, method.d0, 0.0);
    let (beta1, beta2) = method.betas;
    let beta3 = method.beta3.unwrap();
    let mut ds = Vec::new();
    for t in 1..=STEPS {
        let correction = (1.0 - beta2.powi(t as i32)).sqrt() / (1.0 - beta1.powi(t as i32));
        let (mut products, mut magnitudes) = (0.0, 0.0);
        for tensor in (0..LENGTHS.len()).filter(|&tensor| tensor != FROZEN) {
            let dlr = d * LR * SCALES[tensor] * correction;
            for (i, g) in grads(t, tensor).into_iter().map(f64::from).enumerate() {
                s[tensor][i] = beta3 * s[tensor][i] + d / method.d0 * dlr * g;
                products += dlr * g * (p0[tensor][i] - p[tensor][i]);
                magnitudes += s[tensor][i].abs();
                m[tensor][i] = beta1 * m[tensor][i] + (1.0 - beta1) * d * g;
                v[tensor][i] = beta2 * v[tensor][i] + (1.0 - beta2) * (d * g).powi(2);
            }
        }
        numerator = beta3 * numerator + d / method.d0 * products;
        let d_hat = method.d_coef * numerator / magnitudes;
        let before = d;
        if d == method.d0 {
            d = d.max(d_hat);
        }
        d_max = d_max.max(d_hat);
        d = d_max.min(d * method.growth_rate.unwrap());
        for tensor in (0..LENGTHS.len()).filter(|&tensor| tensor != FROZEN) {
            let dlr = before * LR * SCALES[tensor] * correction;
            for i in 0..LENGTHS[tensor] {
                p[tensor][i] -= dlr * method.weight_decay * p[tensor][i];
                p[tensor][i] -= dlr * m[tensor][i] / (v[tensor][i].sqrt() + d * method.eps);
            }
        }
        ds.push(d);
    }
    (ds, p)
}

#[test]
fn it_follows_the_textbook_with_groups_and_a_limit_of_growth() {
    let start: Vec<Vec<f32>> = params(&Device::cpu()).values().tensors().iter().map(floats).collect();
    let (ds, expected) = textbook(&start);
    let growth: Vec<f64> = ds.windows(2).map(|pair| pair[1] / pair[0]).collect();
    assert!(growth.iter().any(|&x| (x - 1.3).abs() < 1e-12), "the limit was never reached: {growth:?}");
    assert!(growth.iter().any(|&x| x < 1.29), "there was nothing but the limit: {growth:?}");
    for device in devices() {
        let params = params(&device);
        let groups = [
            ParameterGroup { lr_scale: Some(0.5), ..ParameterGroup::of("p1") },
            ParameterGroup { frozen: true, ..ParameterGroup::of("p2") },
        ];
        let mut optimizer = Optimizer::new(&params, method(), LR).unwrap().with_groups(&groups).unwrap();
        for (step, d) in ds.iter().enumerate() {
            for (tensor, grad) in params.grads().unwrap().tensors().iter().enumerate() {
                grad.write(&grads(step + 1, tensor)).unwrap();
            }
            optimizer.step().unwrap();
            let (_, estimate) = optimizer.state().find(|(name, _)| *name == "d").unwrap();
            let got = f64::from(floats(estimate.get(0))[0]);
            // Sums of twenty thousand terms in f32, in a tree.
            assert!((got - d).abs() < 1e-4 * d, "d after step {} on {device}: {got} is not {d}", step + 1);
        }
        for (tensor, expected) in expected.iter().enumerate() {
            let got = floats(params.values().get(tensor));
            for (got, expected) in got.iter().zip(expected) {
                let error = (f64::from(*got) - expected).abs();
                assert!(error < 1e-4 * expected.abs().max(1.0), "p{tensor} on {device}: {got} is not {expected}");
            }
        }
    }
}
