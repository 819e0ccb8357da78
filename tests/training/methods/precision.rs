//! Settings close to 1: their complements, 1 - x, keep their digits on both devices.

use std::sync::PoisonError;

use thalweg::nn::{Init, Method, NAdam, Optimizer, ParamsBuilder, ScheduleFreeAdamW, ScheduleFreeSgd, Sgd, Values};
use thalweg::tensor::Device;

use super::TURN;
use crate::common::devices;

/// Returns the parameter, starting at 0, and the state with this name, after a step for each of these gradients.
fn after(
    device: &Device,
    (method, rate): (impl Method + 'static, f64),
    gradients: impl IntoIterator<Item = f32>,
    state: &str,
) -> [f64; 2] {
    let mut builder = ParamsBuilder::new(0);
    builder.add("w", &[1], Init::Zeros).unwrap();
    let params = builder.build(device).unwrap();
    let mut optimizer = Optimizer::new(&params, method, rate).unwrap();
    for gradient in gradients {
        params.grads().unwrap().tensors()[0].write(&[gradient]).unwrap();
        optimizer.step().unwrap();
    }
    let name = format!("state.w.{state}");
    let saved = optimizer.state_dict().unwrap();
    let tensor = saved.get(&name).unwrap_or_else(|| panic!("{name} is not among the state"));
    let Values::F32(state) = &tensor.values else { panic!("{name} is {:?}", tensor.values) };
    [params.values().tensors()[0].to_vec::<f32>().unwrap()[0].into(), state[0].into()]
}

#[test]
fn dampening_close_to_one_keeps_its_digits() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for device in devices() {
        for dampening in [0.9, 0.99, 0.999, 0.9999] {
            let sgd = Sgd::new().momentum(0.5).dampening(dampening);
            let [_, buffer] = after(&device, (sgd, 1.0), [1.0; 40], "momentum_buffer");
            let expected = (1..40).fold(1.0, |buffer, _| 0.5 * buffer + (1.0 - dampening));
            // At most three roundings of f32, of 6e-8 each: that of 1 - dampening, and one per step, halved by the
            // next.
            approx::assert_relative_eq!(buffer, expected, max_relative = 1.8e-7);
        }
    }
}

/// The step of y is lr (1 - beta1 (1 - c)), where c is 1 / t for a constant rate; only the last gradient is not 0.
#[test]
fn schedule_free_steps_keep_their_digits_where_beta1_is_close_to_one() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    const STEPS: usize = 400;
    let gradients = || (1..=STEPS).map(|step| if step == STEPS { 1.0 } else { 0.0 });
    for device in devices() {
        for beta1 in [0.9, 0.98, 0.999] {
            let expected = -0.5 * (1.0 - beta1 * (1.0 - 1.0 / STEPS as f64));
            // A sum of two and a product with 0.5, which is exact: at most four roundings, including those of the
            // numbers.
            let sgd = ScheduleFreeSgd::new().beta1(beta1);
            let [y, _] = after(&device, (sgd, 0.5), gradients(), "z");
            approx::assert_relative_eq!(y, expected, max_relative = 2.4e-7);
            // Without a memory of squares the direction is 1, except for eps.
            let betas = (beta1, 0.0);
            let adamw = ScheduleFreeAdamW::new().betas(betas).weight_decay(0.0);
            let [y, _] = after(&device, (adamw, 0.5), gradients(), "z");
            approx::assert_relative_eq!(y, expected, max_relative = 3e-7);
        }
    }
}

/// After a gradient and then none, the second step is that of the moment only, over 1 - mu_1 mu_2 mu_3; mu is beta1 at
/// once.
#[test]
fn nadam_keeps_its_digits_where_mu_is_close_to_one() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (eps, momentum_decay) = (1e-8, 1000.0);
    for device in devices() {
        for beta1 in [0.9, 0.999, 0.01] {
            let nadam = NAdam::new().betas((beta1, 0.0)).eps(eps).momentum_decay(momentum_decay).weight_decay(0.0);
            let [w, _] = after(&device, (nadam, 1.0), [1.0, 0.0], "exp_avg");
            let mu = |t: f64| beta1 * (1.0 - 0.5 * 0.96f64.powf(t * momentum_decay));
            let first = (1.0 - mu(1.0)) / (1.0 - mu(1.0)) + mu(2.0) * (1.0 - beta1) / (1.0 - mu(1.0) * mu(2.0));
            let second = mu(3.0) * beta1 * (1.0 - beta1) / (1.0 - mu(1.0) * mu(2.0) * mu(3.0)) / eps;
            // The second step is 1e8 times as large as the first. Some ten operations, of 6e-8 each.
            approx::assert_relative_eq!(w, -(first + second), max_relative = 6e-7);
        }
    }
}
