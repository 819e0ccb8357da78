//! Element-wise methods.

use super::*;

pub(crate) fn sgd(pair: &Pair) {
    for (weight_decay, maximize) in [(0.0, false), (0.1, false), (0.1, true)] {
        hold(pair, &Sgd::new().weight_decay(weight_decay).maximize(maximize));
    }
}

pub(crate) fn momentum(pair: &Pair) {
    for (momentum, dampening, weight_decay, nesterov, maximize) in [
        (0.9, 0.0, 0.0, false, false),
        (0.9, 0.5, 0.0, false, false),
        (0.8, 0.0, 0.1, true, false),
        (0.9, 0.0, 0.1, true, true),
    ] {
        hold(
            pair,
            &Sgd::new()
                .momentum(momentum)
                .dampening(dampening)
                .weight_decay(weight_decay)
                .nesterov(nesterov)
                .maximize(maximize),
        );
    }
}

pub(crate) fn adagrad(pair: &Pair) {
    for (lr_decay, initial_accumulator_value, eps, weight_decay, maximize) in
        [(0.0, 0.0, 1e-10, 0.0, false), (0.1, 0.2, 1e-3, 0.1, true)]
    {
        hold(
            pair,
            &Adagrad::new()
                .lr_decay(lr_decay)
                .initial_accumulator_value(initial_accumulator_value)
                .eps(eps)
                .weight_decay(weight_decay)
                .maximize(maximize),
        );
    }
}

pub(crate) fn rmsprop(pair: &Pair) {
    for (momentum, centered, weight_decay, maximize) in
        [(0.0, false, 0.0, false), (0.9, false, 0.1, true), (0.0, true, 0.0, false), (0.8, true, 0.1, false)]
    {
        hold(
            pair,
            &RmsProp::new()
                .alpha(0.9)
                .eps(1e-3)
                .momentum(momentum)
                .centered(centered)
                .weight_decay(weight_decay)
                .maximize(maximize),
        );
    }
}

pub(crate) fn adam(pair: &Pair) {
    for (betas, eps, weight_decay, decoupled, maximize) in ADAMS {
        let adam = Adam::new().betas(betas).eps(eps).weight_decay(weight_decay).maximize(maximize);
        let adamw = AdamW::new().betas(betas).eps(eps).weight_decay(weight_decay).maximize(maximize);
        hold(pair, if decoupled { &adamw } else { &adam });
    }
}

/// Hardware may round a moment to a neighbouring code, a step of at most a sixteenth.
pub(crate) fn adamw8bit(pair: &Pair) {
    let tolerance = pair.tolerance(Tolerance::EXACT, Tolerance::new(2e-2, 1e-1));
    for (betas, eps, weight_decay, _, maximize) in ADAMS {
        hold_within(
            pair,
            &AdamW8bit::new().betas(betas).eps(eps).weight_decay(weight_decay).maximize(maximize),
            tolerance,
        );
    }
}

pub(crate) fn amsgrad(pair: &Pair) {
    for (betas, eps, weight_decay, decoupled, maximize) in ADAMS {
        hold(
            pair,
            &Amsgrad::new().betas(betas).eps(eps).weight_decay(weight_decay).decoupled(decoupled).maximize(maximize),
        );
    }
}

pub(crate) fn adadelta(pair: &Pair) {
    for (rho, eps, weight_decay, maximize) in [(0.9, 1e-6, 0.0, false), (0.95, 1e-3, 0.1, true)] {
        hold(pair, &Adadelta::new().rho(rho).eps(eps).weight_decay(weight_decay).maximize(maximize));
    }
}

pub(crate) fn adamax(pair: &Pair) {
    for (betas, eps, weight_decay, _, maximize) in ADAMS {
        hold(pair, &Adamax::new().betas(betas).eps(eps).weight_decay(weight_decay).maximize(maximize));
    }
}

pub(crate) fn adabelief(pair: &Pair) {
    for (betas, eps, weight_decay, _, maximize) in ADAMS {
        // Lavapipe's compiler rearranges the difference from the new moment, with one rounding more or less.
        let tolerance = pair.tolerance(Tolerance::new(2e-6, 2e-6), Tolerance::new(1e-5, 1e-5));
        let update =
            AdaBelief::new().betas(betas).eps(eps).eps_root(1e-10).weight_decay(weight_decay).maximize(maximize);
        hold_within(pair, &update, tolerance);
    }
}

pub(crate) fn yogi(pair: &Pair) {
    for (betas, eps, weight_decay, _, maximize) in ADAMS {
        hold(
            pair,
            &Yogi::new()
                .betas(betas)
                .eps(eps)
                .initial_accumulator_value(1e-6)
                .weight_decay(weight_decay)
                .maximize(maximize),
        );
    }
}

pub(crate) fn lion(pair: &Pair) {
    for (betas, _, weight_decay, _, maximize) in ADAMS {
        hold(pair, &Lion::new().betas(betas).weight_decay(weight_decay).maximize(maximize));
    }
}

pub(crate) fn sophia(pair: &Pair) {
    for (beta1, gamma, weight_decay, maximize) in [(0.965, 0.01, 0.0, false), (0.8, 0.5, 0.1, true)] {
        let (eps, clip_threshold) = (0.1, 0.9);
        hold(
            pair,
            &Sophia::new()
                .betas((beta1, 0.99))
                .eps(eps)
                .gamma(gamma)
                .clip_threshold(clip_threshold)
                .weight_decay(weight_decay)
                .maximize(maximize),
        );
    }
}

/// The average of the Hessian's diagonal, and the update that uses it.
pub(crate) fn hessian(pair: &Pair) {
    let update = Sophia::new().betas((0.9, 0.99)).eps(1e-3).gamma(0.5).clip_threshold(1.0).weight_decay(0.1);
    for (curvature, page_elements, is_apart) in [
        (Curvature::Diagonal, usize::MAX, false),
        (Curvature::SampledGradient(64.0), 1024, false),
        (Curvature::Diagonal, 1024, true),
        (Curvature::SampledGradient(3.0), usize::MAX, true),
    ] {
        let what = format!("{curvature:?}, pages of {page_elements}, set apart: {is_apart}");
        let run = |device: &Device| {
            let mut run = Run::new(device, &update, &shapes(), page_elements);
            if is_apart {
                run.set_apart();
            }
            let frozen = run.frozen();
            let mut before = Vec::new();
            for t in 0..STEPS as u64 {
                write(&run.grads, 2 + t);
                run.step(&update, Clip::Off);
                write(&run.grads, 50 + t);
                let last = run.grads.tensors().last().unwrap();
                if t == 3 {
                    // Elements that are not finite are left out.
                    last.slice(0, 7, 9).unwrap().write(&[f32::NAN, f32::NEG_INFINITY]).unwrap();
                    before = floats(&run.state[1].tensors().last().unwrap().slice(0, 7, 9).unwrap());
                }
                run.clock.average_hessian(&run.state[1], &run.grads, 0.9, curvature).unwrap();
                if t == 3 {
                    let after = floats(&run.state[1].tensors().last().unwrap().slice(0, 7, 9).unwrap());
                    assert_eq!(before, after, "{what}");
                }
            }
            run.assert_padding_is_zero(&what);
            assert_eq!(run.frozen() == frozen, is_apart, "{what}: only frozen parameters keep their values");
            run.pages()
        };
        crate::common::assert_close(&what, &run(&pair.gpu), &run(&pair.cpu), tolerance(pair));
    }
}

pub(crate) fn rprop(pair: &Pair) {
    for (etas, step_sizes, maximize) in [((0.5, 1.2), (1e-6, 50.0), false), ((0.3, 1.5), (0.08, 0.12), true)] {
        hold(pair, &Rprop::new().first_step(Some(0.1)).etas(etas).step_sizes(step_sizes).maximize(maximize));
    }
}

pub(crate) fn nadam(pair: &Pair) {
    for (betas, eps, weight_decay, decoupled, maximize) in ADAMS {
        let momentum_decay = 4e-3;
        hold(
            pair,
            &NAdam::new()
                .betas(betas)
                .eps(eps)
                .momentum_decay(momentum_decay)
                .weight_decay(weight_decay)
                .decoupled(decoupled)
                .maximize(maximize),
        );
    }
}

pub(crate) fn radam(pair: &Pair) {
    for (betas, eps, weight_decay, decoupled, maximize) in ADAMS {
        hold(
            pair,
            &RAdam::new().betas(betas).eps(eps).weight_decay(weight_decay).decoupled(decoupled).maximize(maximize),
        );
    }
    // Short averages, so that rectification begins within these steps.
    let update = RAdam::new().betas((0.5, 0.7)).eps(1e-8).weight_decay(0.0);
    hold(pair, &update);
}

const PRODIGY: Prodigy = Prodigy::new()
    .betas((0.9, 0.999))
    .beta3(Some(0.99))
    .eps(1e-8)
    .d0(1e-3)
    .d_coef(1.0)
    .growth_rate(None)
    .bias_correction(true)
    .weight_decay(0.0);

pub(crate) fn prodigy(pair: &Pair) {
    for update in [PRODIGY, PRODIGY.weight_decay(0.1).maximize(true).eps(1e-2)] {
        hold(pair, &update);
    }
}

/// The estimate, with limited growth.
pub(crate) fn prodigy_estimate(pair: &Pair) {
    for update in [PRODIGY.growth_rate(Some(1.02)).d_coef(3.0), PRODIGY.growth_rate(Some(1.5)).bias_correction(false)] {
        hold(pair, &update);
    }
}

/// The sums, which a warm-up does not affect.
pub(crate) fn prodigy_sums(pair: &Pair) {
    hold(pair, &PRODIGY.safeguard_warmup(true).bias_correction(false).beta3(Some(0.5)));
}

pub(crate) fn adan(pair: &Pair) {
    for (betas, weight_decay, maximize) in [((0.98, 0.92, 0.99), 0.0, false), ((0.9, 0.8, 0.95), 0.1, true)] {
        hold(pair, &Adan::new().betas(betas).eps(1e-8).weight_decay(weight_decay).maximize(maximize));
    }
}

/// Its learning rate uses an exponential and a logarithm, which differ between devices.
pub(crate) fn asgd(pair: &Pair) {
    let tolerance = pair.tolerance(Tolerance::new(2e-6, 2e-6), Tolerance::new(1e-5, 1e-5));
    for (lambd, alpha, t0, weight_decay, maximize) in [(1e-4, 0.75, 1e6, 0.0, false), (0.5, 0.5, 1.0, 0.1, true)] {
        hold_within(
            pair,
            &Asgd::new().lambd(lambd).alpha(alpha).t0(t0).weight_decay(weight_decay).maximize(maximize),
            tolerance,
        );
    }
}

pub(crate) fn schedule_free_sgd(pair: &Pair) {
    for (beta1, weight_decay, maximize) in [(0.9, 0.0, false), (0.95, 0.1, true)] {
        hold(pair, &ScheduleFreeSgd::new().beta1(beta1).weight_decay(weight_decay).maximize(maximize));
    }
}

pub(crate) fn schedule_free_adamw(pair: &Pair) {
    for (betas, eps, weight_decay, _, maximize) in ADAMS {
        hold(pair, &ScheduleFreeAdamW::new().betas(betas).eps(eps).weight_decay(weight_decay).maximize(maximize));
    }
}

/// Settings of Adam and of its variants: betas, epsilon, weight decay, whether it is decoupled, whether to ascend.
type AdamSettings = ((f64, f64), f64, f64, bool, bool);

const ADAMS: [AdamSettings; 4] = [
    ((0.9, 0.999), 1e-8, 0.0, false, false),
    ((0.9, 0.999), 1e-8, 0.1, false, false),
    ((0.9, 0.999), 1e-8, 0.1, true, false),
    ((0.8, 0.95), 1e-2, 0.1, true, true),
];
