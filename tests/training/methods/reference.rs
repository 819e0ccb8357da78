//! Trajectories of methods compared with their formulas, written here in f64 for one tensor at a time.

use std::sync::PoisonError;

use serde_json::json;
use thalweg::nn::{Init, MethodEntry, Optimizer, ParamsBuilder};

use super::TURN;
use crate::common::{devices, floats, numbers};

const STEPS: usize = 20;
const RATE: f64 = 0.01;
const DECAY: f64 = 0.1;

/// The sizes of the tensors: one chunk and several, with and without a tail.
const SIZES: [usize; 5] = [391, 5, 1, 64, 5000];

/// A step of a tensor: its number, the parameters, their gradients and three arrays of state, which begin with zeros.
type Rule = fn(usize, &mut [f64], &[f64], &mut [Vec<f64>; 3]);

/// Returns the gradients of a step. The second tensor has an element without a gradient. The gradients of the last
/// tensor change sign and halve at every other step, except one of 5,000, so that few moments have the sign of their
/// gradient.
fn gradients(step: usize) -> Vec<Vec<f32>> {
    let mut all: Vec<Vec<f32>> =
        SIZES.iter().enumerate().map(|(i, &n)| numbers((100 * step + i) as u64, n, -1.0, 1.0)).collect();
    all[1][3] = 0.0;
    let factor = if step.is_multiple_of(2) { -0.5 } else { 1.0 };
    all[4] = numbers(7, SIZES[4], -1.0, 1.0).into_iter().map(|x| factor * x).collect();
    all[4][0] = 0.7;
    all
}

/// Compares a method, with weight decay, with its formula after every step and on every device.
fn hold(name: &str, settings: &serde_json::Value, rule: Rule) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for device in devices() {
        let mut builder = ParamsBuilder::new(5);
        for (i, &size) in SIZES.iter().enumerate() {
            builder.add(i.to_string(), &[size], Init::Normal { mean: 0.0, deviation: 1.0 }).unwrap();
        }
        let params = builder.build(&device).unwrap();
        let method = MethodEntry::find(name).unwrap().with(settings).unwrap();
        let mut optimizer = Optimizer::new(&params, method, RATE).unwrap();
        let mut expected: Vec<Vec<f64>> = params
            .values()
            .tensors()
            .iter()
            .map(|tensor| floats(tensor).into_iter().map(f64::from).collect())
            .collect();
        let start = expected.clone();
        let mut largest: Vec<Vec<f64>> = start.iter().map(|values| values.iter().map(|x| x.abs()).collect()).collect();
        let mut state: Vec<[Vec<f64>; 3]> = SIZES.iter().map(|&n| std::array::from_fn(|_| vec![0.0; n])).collect();
        for step in 1..=STEPS {
            for (i, grads) in gradients(step).iter().enumerate() {
                params.grads().unwrap().get(i).write(grads).unwrap();
                let grads: Vec<f64> = grads.iter().map(|&x| f64::from(x)).collect();
                rule(step, &mut expected[i], &grads, &mut state[i]);
                for (largest, x) in largest[i].iter_mut().zip(&expected[i]) {
                    *largest = largest.max(x.abs());
                }
            }
            optimizer.step().unwrap();
            for (i, tensor) in params.values().tensors().iter().enumerate() {
                for (j, (got, expected)) in floats(tensor).into_iter().zip(&expected[i]).enumerate() {
                    // Some ten roundings of 6e-8 per step: of the parameter at its largest, and of the direction, whose
                    // size is about 1 and which is multiplied by the rate.
                    let allowed = step as f64 * 6e-7 * (largest[i][j] + RATE);
                    let error = (f64::from(got) - expected).abs();
                    assert!(
                        error <= allowed,
                        "{name} on {device}, step {step}, element {j} of tensor {i}: {got}, expected {expected}"
                    );
                }
            }
        }
        let moved = |i: usize| expected[i].iter().zip(&start[i]).all(|(x, start)| (x - start).abs() > 1e-6);
        assert!((0..SIZES.len()).all(moved), "{name}: a parameter has not moved");
    }
}

/// Updates an average with a decay rate, and returns it.
fn average(old: &mut f64, beta: f64, x: f64) -> f64 {
    *old = beta * *old + (1.0 - beta) * x;
    *old
}

#[test]
fn ademamix_follows_its_formula() {
    let settings = json!({ "betas": [0.8, 0.99, 0.95], "alpha": 3.0, "eps": 1e-4, "weight_decay": DECAY });
    hold("ademamix", &settings, |t, params, grads, [fast, slow, squares]| {
        for (i, g) in grads.iter().enumerate() {
            let fast = average(&mut fast[i], 0.8, *g) / (1.0 - 0.8f64.powi(t as i32));
            let slow = average(&mut slow[i], 0.95, *g);
            let square = average(&mut squares[i], 0.99, g * g) / (1.0 - 0.99f64.powi(t as i32));
            params[i] -= RATE * ((fast + 3.0 * slow) / (square.sqrt() + 1e-4) + DECAY * params[i]);
        }
    });
}

#[test]
fn adopt_follows_its_formula() {
    let settings = json!({ "betas": [0.8, 0.99], "eps": 1e-2, "weight_decay": DECAY });
    hold("adopt", &settings, |t, params, grads, [moment, squares, _]| {
        for (i, g) in grads.iter().enumerate() {
            if t == 1 {
                squares[i] = g * g;
                continue;
            }
            let limit = ((t - 1) as f64).powf(0.25);
            let scaled = (g / squares[i].sqrt().max(1e-2)).clamp(-limit, limit);
            params[i] -= RATE * (average(&mut moment[i], 0.8, scaled) + DECAY * params[i]);
            average(&mut squares[i], 0.99, g * g);
        }
    });
}

#[test]
fn cautious_adamw_follows_its_formula_and_divides_by_a_thousandth_at_least() {
    let settings = json!({ "betas": [0.9, 0.99], "eps": 1e-4, "weight_decay": DECAY });
    hold("cautious-adamw", &settings, |t, params, grads, [moment, squares, _]| {
        let mut directions = Vec::new();
        let mut agreeing = 0.0;
        for (i, g) in grads.iter().enumerate() {
            let m = average(&mut moment[i], 0.9, *g);
            let square = average(&mut squares[i], 0.99, g * g) / (1.0 - 0.99f64.powi(t as i32));
            let agrees = m * g > 0.0;
            agreeing += f64::from(u8::from(agrees));
            let direction = m / (1.0 - 0.9f64.powi(t as i32)) / (square.sqrt() + 1e-4);
            directions.push(if agrees { direction } else { 0.0 });
        }
        let share = agreeing / grads.len() as f64;
        if grads.len() == 5000 && t.is_multiple_of(2) {
            assert_eq!(share, 2e-4, "the limit is reached");
        }
        for (param, direction) in params.iter_mut().zip(directions) {
            *param -= RATE * DECAY * *param;
            *param -= RATE * direction / share.max(1e-3);
        }
    });
}

#[test]
fn nadamw_follows_its_formula() {
    let settings = json!({ "betas": [0.8, 0.99], "eps": 1e-4, "momentum_decay": 0.1, "weight_decay": DECAY });
    hold("nadamw", &settings, |t, params, grads, [moment, squares, _]| {
        let mu = |t: usize| 0.8 * (1.0 - 0.5 * 0.96f64.powf(t as f64 * 0.1));
        let product: f64 = (1..=t).map(mu).product();
        let next = product * mu(t + 1);
        for (i, g) in grads.iter().enumerate() {
            let m = average(&mut moment[i], 0.8, *g);
            let square = average(&mut squares[i], 0.99, g * g) / (1.0 - 0.99f64.powi(t as i32));
            let ahead = (1.0 - mu(t)) / (1.0 - product) * g + mu(t + 1) / (1.0 - next) * m;
            params[i] -= RATE * (ahead / (square.sqrt() + 1e-4) + DECAY * params[i]);
        }
    });
}

#[test]
fn signum_follows_the_sign_of_its_moment() {
    hold("signum", &json!({ "weight_decay": DECAY }), |_, params, grads, [moment, ..]| {
        for (i, g) in grads.iter().enumerate() {
            let m = average(&mut moment[i], 0.9, *g);
            let sign = if m == 0.0 { 0.0 } else { m.signum() };
            params[i] -= RATE * (sign + DECAY * params[i]);
        }
    });
}

#[test]
fn names_of_settings_have_their_defaults() {
    let settings = |name: &str| MethodEntry::find(name).unwrap().program_method().settings();
    let nadamw = settings("nadamw");
    assert_eq!((&nadamw["weight_decay"], &nadamw["decoupled"]), (&json!(0.01), &json!(true)));
    let signum = settings("signum");
    assert_eq!((&signum["weight_decay"], &signum["betas"]), (&json!(0.0), &json!([0.9, 0.9])));
    assert_eq!(settings("ademamix")["betas"], json!([0.9, 0.999, 0.9999]));
    assert_eq!(settings("adopt")["betas"], json!([0.9, 0.9999]));
    assert_eq!(settings("cautious-adamw")["weight_decay"], json!(0.01));
}
