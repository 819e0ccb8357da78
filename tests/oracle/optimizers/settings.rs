//! The methods of the oracle's cases, with their settings, and the names of their state.

use super::*;

/// Returns the learning rate of a case; optax has its own name for it.
pub(super) fn rate(optimizer: &str, case: Case<'_>) -> f64 {
    case.number(if optimizer.starts_with("optax") { "hyper.learning_rate" } else { "hyper.lr" })
}

/// Returns the method of a case. PyTorch's names are the fields' names; optax has others and omits its defaults.
pub(super) fn method(optimizer: &str, case: Case<'_>) -> Box<dyn Method> {
    let number = |name: &str| case.number(&format!("hyper.{name}"));
    let number_or = |name: &str, default: f64| case.get(&format!("hyper.{name}")).as_f64().unwrap_or(default);
    let pair = |name: &str| {
        let pair = case.get(&format!("hyper.{name}"));
        (pair[0].as_f64().unwrap(), pair[1].as_f64().unwrap())
    };
    let betas = || pair("betas");
    let b1_b2 = |default: (f64, f64)| (number_or("b1", default.0), number_or("b2", default.1));
    let (weight_decay, maximize) = (number_or("weight_decay", 0.0), case.is("hyper.maximize"));
    match optimizer {
        "sgd" => Box::new(
            Sgd::new()
                .momentum(number("momentum"))
                .dampening(number("dampening"))
                .weight_decay(weight_decay)
                .nesterov(case.is("hyper.nesterov"))
                .maximize(maximize),
        ),
        "adagrad" => Box::new(
            Adagrad::new()
                .lr_decay(number("lr_decay"))
                .initial_accumulator_value(number("initial_accumulator_value"))
                .eps(number("eps"))
                .weight_decay(weight_decay)
                .maximize(maximize),
        ),
        "rmsprop" => Box::new(
            RmsProp::new()
                .alpha(number("alpha"))
                .eps(number("eps"))
                .momentum(number("momentum"))
                .centered(case.is("hyper.centered"))
                .weight_decay(weight_decay)
                .maximize(maximize),
        ),
        "adam" | "adamw" if case.is("hyper.amsgrad") => {
            let decoupled = optimizer == "adamw";
            Box::new(
                Amsgrad::new()
                    .betas(betas())
                    .eps(number("eps"))
                    .weight_decay(weight_decay)
                    .decoupled(decoupled)
                    .maximize(maximize),
            )
        }
        "adam" => Box::new(Adam::new().betas(betas()).eps(number("eps")).weight_decay(weight_decay).maximize(maximize)),
        "adamw" => {
            Box::new(AdamW::new().betas(betas()).eps(number("eps")).weight_decay(weight_decay).maximize(maximize))
        }
        "adadelta" => Box::new(
            Adadelta::new().rho(number("rho")).eps(number("eps")).weight_decay(weight_decay).maximize(maximize),
        ),
        "adamax" => {
            Box::new(Adamax::new().betas(betas()).eps(number("eps")).weight_decay(weight_decay).maximize(maximize))
        }
        "rprop" => Box::new(Rprop::new().etas(pair("etas")).step_sizes(pair("step_sizes")).maximize(maximize)),
        "nadam" => Box::new(
            NAdam::new()
                .betas(betas())
                .eps(number("eps"))
                .momentum_decay(number("momentum_decay"))
                .weight_decay(weight_decay)
                .decoupled(case.is("hyper.decoupled_weight_decay"))
                .maximize(maximize),
        ),
        "radam" => {
            let decoupled = case.is("hyper.decoupled_weight_decay");
            Box::new(
                RAdam::new()
                    .betas(betas())
                    .eps(number("eps"))
                    .weight_decay(weight_decay)
                    .decoupled(decoupled)
                    .maximize(maximize),
            )
        }
        "po_adan" => {
            let betas = (betas().0, betas().1, case.get("hyper.betas")[2].as_f64().unwrap());
            Box::new(Adan::new().betas(betas).eps(number("eps")).weight_decay(weight_decay).maximize(maximize))
        }
        "asgd" => Box::new(
            Asgd::new()
                .lambd(number("lambd"))
                .alpha(number("alpha"))
                .t0(number("t0"))
                .weight_decay(weight_decay)
                .maximize(maximize),
        ),
        "optax_adabelief" => Box::new(
            AdaBelief::new()
                .betas(b1_b2((0.9, 0.999)))
                .eps(number_or("eps", 1e-16))
                .eps_root(number_or("eps_root", 1e-16))
                .weight_decay(weight_decay)
                .maximize(maximize),
        ),
        "optax_yogi" => Box::new(
            Yogi::new()
                .betas(b1_b2((0.9, 0.999)))
                .eps(number_or("eps", 1e-3))
                .initial_accumulator_value(1e-6)
                .weight_decay(weight_decay)
                .maximize(maximize),
        ),
        "optax_lion" => {
            Box::new(Lion::new().betas(b1_b2((0.9, 0.99))).weight_decay(number("weight_decay")).maximize(maximize))
        }
        "optax_ademamix" => {
            let (b1, b2) = b1_b2((0.9, 0.999));
            Box::new(
                AdEmaMix::new()
                    .betas((b1, b2, number_or("b3", 0.9999)))
                    .alpha(number_or("alpha", 5.0))
                    .eps(number_or("eps", 1e-8))
                    .weight_decay(weight_decay)
                    .maximize(maximize),
            )
        }
        "optax_adopt" => Box::new(
            Adopt::new()
                .betas(b1_b2((0.9, 0.9999)))
                .eps(number_or("eps", 1e-6))
                .weight_decay(weight_decay)
                .maximize(maximize),
        ),
        "optax_signum" => {
            let beta = number("beta");
            Box::new(Lion::new().betas((beta, beta)).weight_decay(weight_decay).maximize(maximize))
        }
        "optax_prodigy" => Box::new(
            Prodigy::new()
                .betas(if case.get("hyper.betas").is_array() { betas() } else { (0.9, 0.999) })
                .d0(number("estim_lr0"))
                .safeguard_warmup(case.is("hyper.safeguard_warmup"))
                .weight_decay(weight_decay),
        ),
        "po_prodigy" => Box::new(
            Prodigy::new()
                .betas(betas())
                .eps(number("eps"))
                .d0(number("d0"))
                .d_coef(number("d_coef"))
                .bias_correction(case.is("hyper.bias_correction"))
                .safeguard_warmup(case.is("hyper.safeguard_warmup"))
                .weight_decay(weight_decay),
        ),
        "optax_sophia" => Box::new(
            Sophia::new()
                .betas(b1_b2((0.965, 0.99)))
                .eps(1e-8)
                .gamma(number_or("gamma", 0.01))
                .clip_threshold(1.0)
                .weight_decay(weight_decay)
                .update_interval(case.get("hyper.update_interval").as_u64().unwrap_or(10))
                .seed(0)
                .maximize(maximize),
        ),
        "adafactor" => Box::new(
            Adafactor::new()
                .beta2_decay(number("beta2_decay"))
                .eps(pair("eps"))
                .d(number("d"))
                .weight_decay(weight_decay)
                .maximize(maximize),
        ),
        // The limit of its learning rate is not reached in these steps.
        "optax_adafactor" => Box::new(Adafactor::new().eps((1e-15, 1e-3))),
        "po_soap" => Box::new(
            Soap::new()
                .betas(betas())
                .shampoo_beta(case.get("hyper.shampoo_beta").as_f64())
                .eps(number("eps"))
                .weight_decay(weight_decay)
                .precondition_frequency(number("precondition_frequency") as u32),
        ),
        "optax_sm3" => Box::new(Sm3::new().momentum(number_or("momentum", 0.9))),
        "muon" => {
            let coefficients = case.get("hyper.ns_coefficients");
            let [a, b, c] = [0, 1, 2].map(|i| coefficients[i].as_f64().unwrap());
            let matches = case.get("hyper.adjust_lr_fn") == "match_rms_adamw";
            Box::new(
                Muon::new()
                    .momentum(number("momentum"))
                    .nesterov(case.is("hyper.nesterov"))
                    .weight_decay(weight_decay)
                    .ns_coefficients((a, b, c))
                    .ns_steps(number("ns_steps") as usize)
                    .eps(number("eps"))
                    .adjust_lr(if matches { MuonScale::MatchRmsAdamw } else { MuonScale::Original }),
            )
        }
        "optax_muon" => Box::new(
            Muon::new()
                .momentum(number_or("beta", 0.95))
                .nesterov(case.get("hyper.nesterov").as_bool().unwrap_or(true))
                .bias_correction(true)
                .weight_decay(weight_decay)
                .ns_steps(number_or("ns_steps", 5.0) as usize)
                .eps(1e-8)
                .adjust_lr(MuonScale::OriginalTransposed),
        ),
        "optax_schedule_free_sgd" => {
            Box::new(ScheduleFreeSgd::new().beta1(0.9).weight_decay(weight_decay).maximize(maximize))
        }
        "optax_schedule_free_adamw" => {
            let betas = b1_b2((0.9, 0.999));
            Box::new(
                ScheduleFreeAdamW::new()
                    .betas(betas)
                    .eps(number_or("eps", 1e-8))
                    .weight_decay(weight_decay)
                    .maximize(maximize),
            )
        }
        "optax_lamb" => Box::new(
            Lamb::new()
                .betas(b1_b2((0.9, 0.999)))
                .eps(number_or("eps", 1e-6))
                .weight_decay(weight_decay)
                .maximize(maximize),
        ),
        "optax_lars" => Box::new(
            Lars::new()
                .momentum(number_or("momentum", 0.9))
                .weight_decay(weight_decay)
                .trust_coefficient(number_or("trust_coefficient", 1e-3))
                .eps(number_or("eps", 0.0))
                .nesterov(case.is("hyper.nesterov"))
                .maximize(maximize),
        ),
        "optax_novograd" => Box::new(
            NovoGrad::new()
                .betas(b1_b2((0.9, 0.25)))
                .eps(number_or("eps", 1e-6))
                .weight_decay(weight_decay)
                .maximize(maximize),
        ),
        other => panic!("no method for {other:?}"),
    }
}

/// Returns the arrays of a case with a method's state for a tensor: PyTorch's names are thalweg's, optax has others.
/// State that is several arrays there is concatenated.
pub(super) fn state_arrays(optimizer: &str, state: &str, tensor: &str) -> Vec<String> {
    let is_matrix = tensor.starts_with('w');
    match (optimizer, state) {
        ("optax_sm3", "accumulator") => {
            (0..if is_matrix { 2 } else { 1 }).map(|i| format!("f64/state/0.mu.{tensor}.{i}")).collect()
        }
        ("optax_sm3", _) => vec![format!("f64/state/0.nu.{tensor}")],
        // The longer side is that of its columns.
        ("optax_adafactor", "variance") => vec![format!("f64/state/0.v.{tensor}")],
        ("optax_adafactor", _) => {
            let side = if (state == "row_var") == (tensor == "w0") { "v_row" } else { "v_col" };
            vec![format!("f64/state/0.{side}.{tensor}")]
        }
        _ => vec![state_array(optimizer, state, tensor)],
    }
}

pub(super) fn state_array(optimizer: &str, state: &str, tensor: &str) -> String {
    if !optimizer.starts_with("optax") {
        return format!("f64/state/{tensor}/{state}");
    }
    let name = match state {
        "exp_avg" | "exp_avg_sq" if optimizer == "optax_prodigy" => state,
        "s" => "grad_sum",
        "p0" => "params0",
        "z" => "z",
        "momentum_buffer" if optimizer == "optax_muon" => "inner_states.muon.inner_state.0.mu",
        "exp_avg_sq" if optimizer.starts_with("optax_schedule_free") => "base_optimizer_state.0.nu",
        "momentum_buffer" => "3.trace",
        "exp_avg" if optimizer == "optax_ademamix" => "0.m1",
        "exp_avg_slow" => "0.m2",
        "exp_avg" if optimizer == "optax_signum" => "0.ema",
        "exp_avg" => "0.mu",
        "exp_avg_sq" | "exp_avg_var" | "hessian" => "0.nu",
        other => panic!("no name for {other:?} in {optimizer}"),
    };
    format!("f64/state/{name}.{tensor}")
}
