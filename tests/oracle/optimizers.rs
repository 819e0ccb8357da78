//! The methods compared with the oracle (PyTorch, optax): trajectories with given gradients, textbook functions through
//! autograd, and clipping by the global norm; on the CPU and on the GPU.

mod clipping;
mod settings;
mod textbook;
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

use settings::{method, rate, state_arrays};

/// optax's schedule of schedule-free methods: a ramp from 0, which the first step uses.
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

/// Makes parameters with these values, named by their numbers.
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

/// Writes gradients, as a backward pass would.
fn set_grads(params: &Params, grads: &[Vec<f32>]) {
    let arena = params.grads().unwrap();
    for (i, grad) in grads.iter().enumerate() {
        arena.get(i).write(grad).unwrap();
    }
}

/// Declares a test for each of the oracle's files: all of its trajectories, the parameters at every snapshot and the
/// state at the end. The numbers are those of the cases in the whole oracle and in the small copy.
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

/// Adafactor with a momentum, and with second moments of matrices that are not factored.
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

/// Returns the error of PyTorch's Muon after a number of steps. It orthogonalises in bfloat16, with errors of up to a
/// twelfth in elements of an orthogonal matrix; the errors of steps are as different as their gradients.
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
            // It has the other sign there.
            if state == "previous_grad" || file == "optax_lars" {
                reference.values.iter_mut().for_each(|x| *x = -*x);
            }
            let mut bound = case.bound("state").with_inputs(&start);
            // The reference's bound allows for any sign and order of eigenvectors; these tensors do not depend on them.
            if file == "po_soap" && (state == "exp_avg" || state.starts_with("GG")) {
                bound.scaled = 1e-5;
            }
            oracle::assert_within(&name, &floats(arena.get(i)), &reference.values, bound);
        }
    }
    // The final result of a schedule-free method; and the parameters are restored to the bit.
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
