//! The methods against the oracle (PyTorch, optax): trajectories under given gradients, textbook functions through
//! autograd, and clipping by the global norm; on the CPU and on the GPU.

mod wrappers;

use crate::common::oracle::{self, Array, Case, Oracle};
use crate::common::{devices, floats};
use serde_json::Value;
use thalweg::autograd::{Result, Tape, Var};
use thalweg::nn::{
    AdEmaMix, AdaBelief, Adadelta, Adafactor, Adagrad, Adam, AdamW, Adamax, Adan, Adopt, Amsgrad, Asgd, Clip, Init,
    Lamb, Lars, Lion, Method, Muon, MuonScale, NAdam, NonFinite, NovoGrad, Optimizer, Params, ParamsBuilder, Prodigy,
    RAdam, RmsProp, Rprop, Schedule, ScheduleFreeAdamW, ScheduleFreeSgd, Sgd, Sm3, Soap, Sophia, Yogi,
};
use thalweg::tensor::{Device, Tensor};

/// The learning rate of a case; optax has a name of its own.
fn rate(optimizer: &str, case: Case<'_>) -> f64 {
    case.number(if optimizer.starts_with("optax") { "hyper.learning_rate" } else { "hyper.lr" })
}

/// The method of a case. PyTorch's names are the fields' names; optax has others and leaves out its defaults.
fn method(optimizer: &str, case: Case<'_>) -> Box<dyn Method> {
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

/// The array of a case that holds a method's state for a tensor: PyTorch's names are thalweg's, optax has others.
/// The same for state that is several arrays there, one behind the other.
fn state_arrays(optimizer: &str, state: &str, tensor: &str) -> Vec<String> {
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

fn state_array(optimizer: &str, state: &str, tensor: &str) -> String {
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

/// optax's schedule of schedule-free methods: a ramp from 0, which the first step takes.
#[derive(Debug)]
struct WarmUp {
    lr: f64,
    steps: f64,
}

impl Schedule for WarmUp {
    fn at(&self, step: u64) -> f64 {
        self.lr * (step as f64 / self.steps).min(1.0)
    }

    fn validate(&self) -> Result<(), thalweg::nn::Error> {
        Ok(())
    }
}

/// Parameters with these values, named by their numbers.
fn params(device: &Device, values: &[Array]) -> Params {
    let mut builder = ParamsBuilder::new(0);
    for (i, value) in values.iter().enumerate() {
        builder.add(i.to_string(), &value.shape, Init::Zeros).unwrap();
    }
    let params = builder.build(device).unwrap();
    for (parameter, value) in params.parameters().iter().zip(values) {
        parameter.value().unwrap().write(&value.f32()).unwrap();
    }
    params
}

/// Puts gradients in their places, as a backward pass would.
fn set_grads(params: &Params, grads: &[Vec<f32>]) {
    let arena = params.grads().unwrap();
    for (i, grad) in grads.iter().enumerate() {
        arena.get(i).write(grad).unwrap();
    }
}

/// Declares a test for each of the oracle's files: all of its trajectories, the parameters at every snapshot and the
/// state at the end. The numbers count the cases of the whole oracle and of the small copy.
macro_rules! trajectories {
    ($($test:ident: $file:literal $whole:literal $copy:literal;)*) => {$(
        #[test]
        fn $test() {
            let oracle = Oracle::open(concat!("optimizers/", $file));
            let cases: Vec<Case<'_>> =
                oracle.cases().into_iter().filter(|case| !LEFT_OUT.contains(&case.id())).collect();
            for case in &cases {
                let problem = Oracle::open(&format!("optimizers/problem_{}", case.text("problem")));
                for device in devices() {
                    trajectory($file, *case, &problem, &device);
                }
            }
            assert_eq!(cases.len(), if oracle.is_whole { $whole } else { $copy });
        }
    )*};
}

/// Adafactor with a momentum, and with second moments of matrices that are left whole.
const LEFT_OUT: &[&str] = &["optax.adafactor_1/tree"];

trajectories! {
    sgd_follows_its_trajectories: "sgd" 11 8;
    adagrad_follows_its_trajectories: "adagrad" 7 1;
    rmsprop_follows_its_trajectories: "rmsprop" 8 1;
    adadelta_follows_its_trajectories: "adadelta" 4 1;
    adamax_follows_its_trajectories: "adamax" 4 1;
    rprop_follows_its_trajectories: "rprop" 4 1;
    adabelief_follows_its_trajectories: "optax_adabelief" 2 1;
    yogi_follows_its_trajectories: "optax_yogi" 2 1;
    lion_follows_its_trajectories: "optax_lion" 2 1;
    signum_follows_its_trajectory: "optax_signum" 1 1;
    ademamix_follows_its_trajectory: "optax_ademamix" 1 1;
    adopt_follows_its_trajectory: "optax_adopt" 1 1;
    nadam_follows_its_trajectories: "nadam" 5 1;
    radam_follows_its_trajectories: "radam" 5 1;
    muon_follows_its_trajectories: "muon" 2 1;
    muon_follows_the_trajectories_of_optax: "optax_muon" 2 1;
    adafactor_follows_its_trajectories: "adafactor" 2 1;
    adafactor_follows_a_trajectory_of_optax: "optax_adafactor" 1 1;
    soap_follows_its_trajectory: "po_soap" 1 1;
    sm3_follows_its_trajectories: "optax_sm3" 4 1;
    adan_follows_its_trajectory: "po_adan" 1 1;
    asgd_follows_its_trajectories: "asgd" 4 1;
    lamb_follows_its_trajectories: "optax_lamb" 4 1;
    lars_follows_its_trajectories: "optax_lars" 4 1;
    novograd_follows_its_trajectories: "optax_novograd" 4 1;
    sophia_follows_its_trajectories: "optax_sophia" 2 1;
    prodigy_follows_its_trajectories: "optax_prodigy" 4 1;
    prodigy_without_bias_correction_follows_its_trajectory: "po_prodigy" 1 1;
    schedule_free_sgd_follows_its_trajectory: "optax_schedule_free_sgd" 1 1;
    schedule_free_adamw_follows_its_trajectories: "optax_schedule_free_adamw" 2 1;
    adam_and_amsgrad_follow_their_trajectories: "adam" 10 7;
    adamw_and_amsgrad_follow_their_trajectories: "adamw" 7 5;
}

/// How far PyTorch's Muon may be off after so many steps: it makes orthogonal in bfloat16, and so misses elements of an
/// orthogonal matrix by up to a twelfth; the errors of steps are no more alike than their gradients.
fn in_bfloat16(case: Case<'_>, step: u64, shape: &[usize]) -> f64 {
    let (rows, columns) = (shape[0] as f64, shape[1] as f64);
    let matches = case.get("hyper.adjust_lr_fn") == "match_rms_adamw";
    let scale = if matches { 0.2 * rows.max(columns).sqrt() } else { (rows / columns).max(1.0).sqrt() };
    case.number("hyper.lr") * scale * (step as f64).sqrt() / 12.0
}

fn trajectory(name: &str, case: Case<'_>, problem: &Oracle, device: &Device) {
    let tensors: Vec<&str> = case.get("tensors").as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
    let start: Vec<Array> = tensors.iter().map(|t| problem.array(&format!("init/{t}"))).collect();
    let grads: Vec<Vec<f32>> = tensors.iter().map(|t| problem.array(&format!("grads/{t}")).f32()).collect();
    let params = params(device, &start);
    let file = name;
    let rate = match case.get("hyper.warmup_steps").as_f64() {
        Some(steps) => WarmUp { lr: rate(name, case), steps }.over(case.get("steps").as_u64().unwrap()),
        None => rate(name, case).into(),
    };
    let mut optimizer = Optimizer::new(&params, method(name, case), rate).unwrap();
    let snapshots: Vec<u64> = case.get("snapshots").as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
    let steps = case.get("steps").as_u64().unwrap();
    for step in 1..=steps {
        let of_step = |(grads, value): (&Vec<f32>, &Array)| {
            let length = value.values.len();
            grads[(step as usize - 1) * length..][..length].to_vec()
        };
        set_grads(&params, &grads.iter().zip(&start).map(of_step).collect::<Vec<_>>());
        optimizer.step().unwrap();
        if optimizer.hessian_interval().is_some_and(|interval| (step - 1) % interval == 0) {
            let diagonal = params.values().zeros_like().unwrap();
            for (i, tensor) in tensors.iter().enumerate() {
                let (all, place) = (problem.array(&format!("hess/{tensor}")).f32(), diagonal.get(i));
                place.write(&all[(step as usize - 1) * place.len()..][..place.len()]).unwrap();
            }
            optimizer.update_hessian(&diagonal).unwrap();
        }
        if snapshots.contains(&step) {
            for (tensor, parameter) in tensors.iter().zip(params.parameters()) {
                let name = case.name(&format!("{tensor} after step {step} on {device}"));
                let reference = case.array(&format!("f64/step_{step}/param/{tensor}"));
                let mut bound = case.bound("param").with_inputs(&start);
                if file == "muon" {
                    bound.absolute = in_bfloat16(case, step, &reference.shape);
                }
                oracle::assert_within(&name, &floats(parameter.value().unwrap()), &reference.values, bound);
            }
        }
    }
    assert!(snapshots.contains(&steps), "{}: the last step is looked at", case.id());
    for (state, arena) in optimizer.state() {
        if state == "d" {
            let estimate = floats(arena.get(0));
            for (name, got) in [("estim_lr", estimate[0]), ("numerator_weighted", estimate[2])] {
                let Some(reference) = case.find(&format!("f64/state/{name}")) else { continue };
                let name = case.name(&format!("{name} on {device}"));
                oracle::assert_within(&name, &[got], &reference.values, case.bound("state"));
            }
            continue;
        }
        for (i, tensor) in tensors.iter().enumerate() {
            if arena.get(i).is_empty() {
                continue;
            }
            let name = case.name(&format!("{state} of {tensor} on {device}"));
            let names = state_arrays(file, state, tensor);
            let mut reference = case.array(&names[0]);
            for name in &names[1..] {
                reference.values.extend(case.array(name).values);
            }
            // It is kept with the other sign there.
            if state == "previous_grad" || file == "optax_lars" {
                reference.values.iter_mut().for_each(|x| *x = -*x);
            }
            let mut bound = case.bound("state").with_inputs(&start);
            // The reference's bound allows for any sign and order of eigenvectors; these do not depend on them.
            if file == "po_soap" && (state == "exp_avg" || state.starts_with("GG")) {
                bound.scaled = 1e-5;
            }
            oracle::assert_within(&name, &floats(arena.get(i)), &reference.values, bound);
        }
    }
    // What is wanted in the end of a schedule-free method; and what was there comes back to the bit.
    let before = params.to_host().unwrap();
    optimizer.eval().unwrap();
    for (i, tensor) in tensors.iter().enumerate() {
        let Some(reference) = case.find(&format!("f64/eval_param/{tensor}")) else { continue };
        let x = floats(params.parameters()[i].value().unwrap());
        let bound = case.bound("param").with_inputs(&start);
        oracle::assert_within(&case.name(&format!("x on {device}")), &x, &reference.values, bound);
    }
    if let Some((_, averages)) = optimizer.state().find(|(state, _)| *state == "ax") {
        for (parameter, average) in params.parameters().iter().zip(averages.tensors()) {
            assert_eq!(floats(parameter.value().unwrap()), floats(average), "{}", case.name("ax in place"));
        }
    }
    optimizer.train().unwrap();
    assert_eq!(params.to_host().unwrap(), before, "{}", case.name("after train()"));
    let has_state = tensors.iter().any(|t| case.find(&format!("f64/state/{t}/momentum_buffer")).is_some());
    assert!(optimizer.state().count() > 0 || !has_state, "{}: a state that is not kept", case.id());
    assert_eq!(u64::from(optimizer.read_clock().unwrap().step), steps);
}

/// Element i of a vector, as a scalar.
fn at<'t>(x: Var<'t>, i: usize) -> Result<Var<'t>> {
    x.slice(0, i, i + 1)?.reshape(&[])
}

/// The functions of `optimizers/functions` by their names.
fn objective<'t>(name: &str, data: &Value, x: Var<'t>) -> Result<Var<'t>> {
    let n = x.shape()[0];
    let first = || at(x, 0);
    let second = || at(x, 1);
    match name {
        "rosenbrock2" | "rosenbrock10" => {
            // Σ 100 (x[i + 1] - x[i]²)² + (1 - x[i])²
            let (head, tail) = (x.slice(0, 0, n - 1)?, x.slice(0, 1, n)?);
            let valley = tail.sub(head.square()?)?.square()?.affine(100.0, 0.0)?;
            valley.add(head.affine(-1.0, 1.0)?.square()?)?.sum()
        }
        "quadratic10_cond100" => {
            // ½ xᵀ A x - bᵀ x
            let numbers = |value: &Value| -> Vec<f32> {
                let flat = value.as_array().unwrap().iter();
                flat.flat_map(|v| v.as_array().cloned().unwrap_or(vec![v.clone()]))
                    .map(|v| v.as_f64().unwrap() as f32)
                    .collect()
            };
            let value = x.value();
            let device = value.device();
            let a = x.tape().constant(&Tensor::from_slice(device, &numbers(&data[name]["A"]), &[n, n])?);
            let b = x.tape().constant(&Tensor::from_slice(device, &numbers(&data[name]["b"]), &[n])?);
            let half = a.matmul(x.reshape(&[n, 1])?)?.reshape(&[n])?.affine(0.5, 0.0)?;
            x.mul(half.sub(b)?)?.sum()
        }
        "beale" => {
            // (1.5 - x + x y)² + (2.25 - x + x y²)² + (2.625 - x + x y³)²
            let (x, y) = (first()?, second()?);
            let square = y.mul(y)?;
            let terms = [(1.5, y), (2.25, square), (2.625, square.mul(y)?)];
            let squares = terms.map(|(c, power)| x.mul(power)?.sub(x)?.affine(1.0, c)?.square());
            squares.into_iter().reduce(|sum, term| sum?.add(term?)).unwrap()
        }
        "himmelblau" => {
            // (x² + y - 11)² + (x + y² - 7)²
            let (x, y) = (first()?, second()?);
            let left = x.square()?.add(y)?.affine(1.0, -11.0)?.square()?;
            left.add(x.add(y.square()?)?.affine(1.0, -7.0)?.square()?)
        }
        "quartic" => {
            // x⁴ - 3 x³ + 2
            let x = first()?;
            x.square()?.mul(x.square()?)?.sub(x.mul(x.square()?)?.affine(3.0, 0.0)?)?.affine(1.0, 2.0)
        }
        "ellipse" => {
            // (x - 3)² + 10 (y + 2)²
            let (x, y) = (first()?, second()?);
            x.affine(1.0, -3.0)?.square()?.add(y.affine(1.0, 2.0)?.square()?.affine(10.0, 0.0)?)
        }
        other => panic!("no function {other:?}"),
    }
}

/// Steps of a textbook run on a GPU; the CPU runs all of them.
const GPU_STEPS: u64 = 100;

/// Textbook runs that are none of a method of this library's: L-BFGS searches along lines, and SAM takes its gradient at
/// another point.
const NO_METHODS: &[&str] = &["lbfgs", "optax.contrib.sam"];

/// PyTorch's methods from the start of a textbook function to its last record. A record counts where the
/// reference's own run in f32 has stayed within 1e-4 so far; the bound is ten times its worst among these, as for every
/// other case.
#[test]
fn textbook_functions_are_descended() {
    let oracle = Oracle::open("optimizers/functions");
    let data = &oracle.settings()["function_data"];
    let (mut run, mut records) = (0, 0);
    for case in oracle.cases() {
        let optimizer = case.text("optimizer").trim_start_matches("torch.optim.").to_lowercase();
        if NO_METHODS.iter().any(|other| optimizer.starts_with(other)) {
            continue;
        }
        for device in devices() {
            let held = textbook(&optimizer, case, data, &device);
            records += if device.is_cpu() { held } else { 0 };
        }
        run += 1;
    }
    let (runs, at_least) = if oracle.is_whole { (98, 1500) } else { (3, 3 * 12) };
    assert_eq!(run, runs);
    assert!(records >= at_least, "{records} records, expected at least {at_least}");
}

/// Returns how many records were held against the reference.
fn textbook(optimizer: &str, case: Case<'_>, data: &Value, device: &Device) -> usize {
    let list = |path: &str| case.get(path).as_array().unwrap().clone();
    let vector =
        |value: &Value| -> Vec<f64> { value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect() };
    let start = vector(case.get("x0"));
    let params = params(device, &[Array { shape: vec![start.len()], values: start }]);
    let parameter = &params.parameters()[0];
    let mut optimizer = Optimizer::new(&params, method(optimizer, case), rate(optimizer, case)).unwrap();
    let drifts = vector(case.get("drift_scaled_per_record"));
    // RAdam flies off on some functions; drifts say nothing where the reference's run in f32 is infinite or NaN.
    let is_tame = |record: &Value| vector(record).iter().all(|x| x.abs() < 1e4);
    let tame = list("params_f64").iter().take_while(|record| is_tame(record)).count();
    let within: Vec<f64> = drifts.into_iter().take(tame).take_while(|&drift| drift < 1e-4).collect();
    let bound = within.iter().fold(1e-6, |bound: f64, drift| bound.max(10.0 * drift));
    let (mut step, mut held) = (0, 0);
    for (record, reference) in list("record_steps").iter().zip(list("params_f64")).take(within.len()) {
        let record = record.as_u64().unwrap();
        if !device.is_cpu() && record > GPU_STEPS {
            break;
        }
        while step < record {
            let tape = Tape::new();
            let value = objective(case.text("function"), data, tape.parameter(parameter).unwrap()).unwrap();
            params.zero_grad();
            tape.backward(value).unwrap();
            optimizer.step().unwrap();
            step += 1;
        }
        let name = case.name(&format!("after step {step} on {device}"));
        let x = floats(parameter.value().unwrap());
        oracle::assert_scaled(&name, &x, &vector(&reference), bound);
        held += 1;
    }
    held
}

/// How a case of `optimizers/clipping` clips; `None` for one that thalweg leaves out.
fn clipping(case: Case<'_>) -> Option<Clip> {
    Some(match case.text("op") {
        "clip_grad_norm" => match (case.number("max_norm"), case.number("norm_type")) {
            (max_norm, 2.0) => Clip::Norm(max_norm),
            (max_norm, p) => Clip::PNorm { max_norm, p },
        },
        "clip_grad_norm_per_tensor" => Clip::TensorNorm(case.number("max_norm")),
        "clip_grad_value" => Clip::Value(case.number("clip_value")),
        "optax_global_norm" => Clip::Norm(case.number("max_norm")),
        "optax_block_rms" => Clip::TensorRms(case.number("threshold")),
        "optax_agc" => Clip::Off,
        // The mean taken off each gradient is no clipping.
        "optax_centralize" => return None,
        other => panic!("no clipping {other:?}"),
    })
}

/// Clipping as the update sees it: a plain step of SGD from zero, at a learning rate of 1, leaves the clipped gradients
/// with the other sign.
#[test]
fn gradients_are_clipped_as_pytorch_and_optax_do() {
    let oracle = Oracle::open("optimizers/clipping");
    let mut held = std::collections::BTreeMap::<&str, usize>::new();
    for case in oracle.cases() {
        let Some(clip) = clipping(case) else { continue };
        let inputs: Vec<Array> =
            (0..).map_while(|i| oracle.find(&format!("input/{}/{i}", case.text("input")))).collect();
        assert_eq!(inputs.len(), 5);
        for device in devices() {
            let outcome = clip_case(case, clip, &inputs, &device);
            *held.entry(outcome).or_default() += usize::from(device.is_cpu());
        }
    }
    let held: Vec<_> = held.into_iter().collect();
    let expected: &[_] = if oracle.is_whole {
        &[("clipped", 42), ("error", 10), ("overflow", 1), ("refused", 3)]
    } else {
        &[("clipped", 14), ("error", 3)]
    };
    assert_eq!(held, expected);
}

/// A tensor with its first dimension last. optax takes the norms of units over the first dimension, as its linear weights
/// are `[in, out]`; units of thalweg are rows of `[out, in]`.
fn units_first(x: &Array) -> Array {
    if x.shape.len() < 2 {
        return x.clone();
    }
    let (inputs, units) = (x.shape[0], x.values.len() / x.shape[0]);
    let values = (0..units).flat_map(|unit| (0..inputs).map(move |i| x.values[i * units + unit])).collect();
    Array { shape: vec![units, inputs], values }
}

/// Holds a case against the oracle, and says what became of it.
fn clip_case(case: Case<'_>, clip: Clip, whole: &[Array], device: &Device) -> &'static str {
    let name = case.name(&device.to_string());
    let is_agc = case.text("op") == "optax_agc";
    let count = case.get("tensors").as_u64().unwrap_or(whole.len() as u64) as usize;
    let turned = |x: &Array| if is_agc { units_first(x) } else { x.clone() };
    let inputs: Vec<Array> = whole[..count].iter().map(turned).collect();
    let start: Vec<Array> =
        inputs.iter().map(|x| Array { shape: x.shape.clone(), values: vec![0.0; x.values.len()] }).collect();
    let params = params(device, &start);
    let optimizer = || Optimizer::new(&params, Sgd::new(), 1.0).unwrap();
    // Without a limit there is nothing to clip by; PyTorch clips everything to 0.
    if clip == Clip::Value(0.0) {
        let error = optimizer().with_clip(clip).unwrap_err().to_string();
        assert_eq!(error, "clip_value = 0, but it must be finite and greater than 0", "{name}");
        return "refused";
    }
    let policy = if case.is("error_if_nonfinite") { NonFinite::Error } else { NonFinite::Ignore };
    let mut optimizer = optimizer().with_clip(clip).unwrap().with_non_finite(policy);
    if is_agc {
        optimizer = optimizer.with_adaptive_clip(case.number("clipping"), case.number("eps")).unwrap();
        // The oracle's parameters: a tenth of the input, turned around along its last dimension.
        for (parameter, input) in params.parameters().iter().zip(whole) {
            let length = input.shape.last().copied().unwrap_or(1);
            let values = input.values.chunks(length).flat_map(|row| row.iter().rev().map(|x| 0.1 * x)).collect();
            let values = units_first(&Array { shape: input.shape.clone(), values });
            parameter.value().unwrap().write(&values.f32()).unwrap();
        }
    }
    set_grads(&params, &inputs.iter().map(Array::f32).collect::<Vec<_>>());
    optimizer.step().unwrap();
    let values: Vec<Vec<f32>> = params.parameters().iter().map(|p| floats(p.value().unwrap())).collect();
    if case.is("expect_error") {
        let error = optimizer.read_clock().unwrap_err().to_string();
        assert!(error.starts_with("step 1: the norm of the gradients is not finite"), "{name}: {error}");
        assert!(values.concat().iter().all(|x| x.to_bits() == 0), "{name}");
        for (parameter, input) in params.parameters().iter().zip(&inputs) {
            crate::common::assert_same_bits(&name, &floats(parameter.grad().unwrap()), &input.f32());
        }
        return "error";
    }
    let clock = optimizer.read_clock().unwrap();
    assert_eq!((clock.step, clock.skipped), (1, 0), "{name}");
    let bound = case.number("tol_scaled");
    if let Some(total) = case.get("total_norm_f64").as_f64() {
        // PyTorch's own norm in f32 overflows as ours does.
        if case.get("total_norm_f32") == "inf" {
            assert_eq!(clock.gradient_norm, f32::INFINITY, "{name}");
            assert!(values.concat().iter().all(|x| *x == 0.0), "{name}");
            return "overflow";
        }
        oracle::assert_scaled(&name, &[clock.gradient_norm], &[total], bound);
        assert_eq!(clock.clipped, u32::from(case.number("max_norm") < total), "{name}");
    }
    for (i, (parameter, values)) in params.parameters().iter().zip(values).enumerate() {
        let reference = turned(&case.array(&format!("f64/{i}")));
        // Units are clipped in place, the rest on the way into the update.
        let clipped = if is_agc { floats(parameter.grad().unwrap()) } else { values.iter().map(|x| -x).collect() };
        oracle::assert_scaled(&format!("{name}, tensor {i}"), &clipped, &reference.values, bound);
    }
    "clipped"
}
