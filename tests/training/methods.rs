//! Every optimization method, from one table: launches, replays, invalid settings.

mod frozen;
mod precision;
mod reference;
mod resume;

use std::sync::{Mutex, PoisonError};

use crate::common::{devices, numbers, own_devices};
use serde_json::json;
use thalweg::nn::{
    AdEmaMix, AdaBelief, Adadelta, Adafactor, Adagrad, Adam, AdamW, AdamW8bit, Adamax, Adan, Adopt, Amsgrad, Asgd,
    Capabilities, CautiousAdamW, Error, EvaluationPoint, HessianAverage, Init, Lamb, Lars, Lion, METHODS, Method,
    MethodEntry, Muon, NAdam, NovoGrad, Optimizer, ParameterGroup, Params, ParamsBuilder, Prodigy, RAdam, RmsProp,
    Rprop, ScheduleFreeAdamW, ScheduleFreeSgd, Sgd, Sm3, Soap, Sophia, StateArena, Yogi,
};
use thalweg::tensor::{DType, Device, StepArguments, Tensor};

/// Profiles include the work of all threads on a GPU, so tests that count take turns.
static TURN: Mutex<()> = Mutex::new(());

/// A method in a form with another kernel or other state.
struct Form {
    name: String,
    make: Box<dyn Fn() -> Box<dyn Method>>,
}

/// Returns all methods of the registry: with the library's defaults, with weight decay, and in their other forms.
fn forms() -> Vec<Form> {
    let mut forms = Vec::new();
    for entry in METHODS {
        forms.push(Form { name: entry.name.to_string(), make: Box::new(move || entry.method()) });
        if entry.setting("weight_decay").is_some() {
            let make = move || entry.with(&json!({ "weight_decay": 0.1 })).unwrap();
            forms.push(Form { name: format!("{}, decaying", entry.name), make: Box::new(make) });
        }
        for (name, make) in entry.forms {
            forms.push(Form { name: (*name).to_string(), make: Box::new(*make) });
        }
    }
    forms
}

/// Returns the shapes of parameters: many, of several sizes and of no to three dimensions; wide, tall and square
/// matrices.
fn shapes() -> Vec<Vec<usize>> {
    let matrices: [&[usize]; 8] = [&[17, 23], &[23], &[300, 5], &[], &[64, 64], &[3, 4, 5], &[1], &[2500]];
    let vectors = (0..16).map(|i| vec![[1, 5, 64, 300][i % 4]]);
    matrices.into_iter().map(<[usize]>::to_vec).chain(vectors).collect()
}

/// Makes the tensors of a model.
fn params(device: &Device) -> Params {
    let mut builder = ParamsBuilder::new(7);
    for (i, shape) in shapes().iter().enumerate() {
        builder.add(i.to_string(), shape, Init::Normal { mean: 0.0, deviation: 1.0 }).unwrap();
    }
    builder.build(device).unwrap()
}

/// Returns the bits of a tensor of any type.
fn bits(tensor: &Tensor) -> Vec<u32> {
    match tensor.dtype() {
        DType::F32 => crate::common::floats(tensor).into_iter().map(f32::to_bits).collect(),
        _ => crate::common::words(tensor),
    }
}

/// A run of a method, with the gradients of its steps.
struct Run {
    params: Params,
    optimizer: Optimizer,
    steps: u64,
}

impl Run {
    fn new(device: &Device, form: &Form, clip_norm: Option<f64>) -> Self {
        let params = params(device);
        let mut optimizer = Optimizer::new(&params, (form.make)(), 0.01).unwrap();
        if let Some(norm) = clip_norm {
            optimizer = optimizer.with_clip_norm(norm).unwrap();
        }
        Self { params, optimizer, steps: 0 }
    }

    /// Writes the gradients of the next step.
    fn set_grads(&mut self) {
        self.steps += 1;
        let grads = self.params.grads().unwrap();
        for (i, grad) in grads.tensors().iter().enumerate() {
            grad.write(&numbers(100 * self.steps + i as u64, grad.len(), -1.0, 1.0)).unwrap();
        }
    }

    /// Returns the bits of parameters and state.
    fn bits(&self) -> Vec<u32> {
        let arenas = [self.params.values()].into_iter().chain(self.optimizer.state().map(|(_, arena)| arena));
        arenas.flat_map(|arena| arena.pages()).flat_map(bits).collect()
    }

    /// Returns the names of the kernels of a step.
    fn launches(&mut self, device: &Device) -> Vec<String> {
        self.set_grads();
        let (profile, ()) = device.profile(|| self.optimizer.step()).unwrap();
        profile.launches().iter().map(|launch| launch.kernel.to_string()).collect()
    }
}

/// A method whose launches do not use the rows of the table advances the clock with its own launch, which includes the
/// norm; for the others clipping adds both.
#[test]
fn a_step_is_as_many_launches_as_its_method_says_and_clipping_adds_one_or_two() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for device in own_devices() {
        for form in forms() {
            let launches = Run::new(&device, &form, None).launches(&device);
            assert_eq!(launches.len(), (form.make)().launches(&shapes()), "{} on {device}: {launches:?}", form.name);
            let added = if launches.iter().any(|kernel| kernel == "clock") { 1 } else { 2 };
            let clipped = Run::new(&device, &form, Some(1.0)).launches(&device);
            assert_eq!(clipped.len(), launches.len() + added, "{} on {device}: {clipped:?}", form.name);
        }
    }
}

#[test]
fn methods_take_no_more_launches_than_before() {
    // SOAP has two bases for three of the matrices, and one for the tall one.
    let matrices = shapes().iter().filter(|shape| shape.len() == 2).count();
    for (name, launches) in [
        ("adamw", 1),
        ("nesterov", 1),
        ("rmsprop", 1),
        ("adamw8bit", 1),
        ("sophia", 1),
        ("lamb", 3),
        ("lars", 3),
        ("novograd", 3),
        ("ademamix", 1),
        ("adopt", 1),
        ("cautious-adamw", 3),
        ("prodigy", 4),
        ("muon", 4 + 5 * (1 + 3 * matrices)),
        ("adafactor", 5),
        ("sm3", 3),
        ("soap", 8 + 3 * 8 + (3 + 1)),
    ] {
        assert_eq!(MethodEntry::find(name).unwrap().method().launches(&shapes()), launches, "{name}");
    }
}

/// Temporary memory of a step comes from the pool and returns to it.
#[test]
fn steps_take_no_more_memory() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for form in forms() {
        let device = Device::open_new("cpu").unwrap();
        let mut run = Run::new(&device, &form, Some(1.0));
        run.set_grads();
        run.optimizer.step().unwrap();
        let before = device.memory();
        for _ in 0..3 {
            run.optimizer.step().unwrap();
        }
        assert_eq!(device.memory(), before, "{}", form.name);
    }
}

/// A step whose gradients are not finite changes neither parameters nor state, and frozen parameters stay at every step.
#[test]
fn skipped_steps_and_frozen_parameters_change_nothing() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    const FROZEN: [usize; 3] = [0, 1, 7];
    for device in devices() {
        for form in forms() {
            let mut run = Run::new(&device, &form, Some(5.0));
            let groups = FROZEN.map(|i| ParameterGroup { frozen: true, ..ParameterGroup::of(i.to_string()) });
            run.optimizer = run.optimizer.with_groups(&groups).unwrap();
            let name = format!("{} on {device}", form.name);
            let of_frozen = |run: &Run| -> Vec<Vec<u32>> {
                let state = run.optimizer.state().map(|(_, arena)| arena);
                // An arena that all parameters share has no part of a single one.
                let arenas = [run.params.values()].into_iter().chain(state).filter(|arena| arena.len() > FROZEN[2]);
                arenas.flat_map(|arena| FROZEN.map(|i| bits(arena.get(i)))).collect()
            };
            let frozen = of_frozen(&run);
            run.set_grads();
            run.optimizer.step().unwrap();
            let before = run.bits();
            run.set_grads();
            // In a parameter that is not frozen: others do not count.
            run.params.grads().unwrap().get(2).write(&[f32::NAN; 1500]).unwrap();
            run.optimizer.step().unwrap();
            assert!(run.bits() == before, "{name}: a skipped step has changed something");
            run.set_grads();
            run.optimizer.step().unwrap();
            assert!(run.bits() != before, "{name}: nothing has changed");
            assert!(of_frozen(&run) == frozen, "{name}: something frozen has changed");
            assert_eq!(run.optimizer.read_clock().unwrap().skipped, 1);
        }
    }
}

#[test]
fn a_replayed_step_has_the_bits_of_an_eager_one() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    const STEPS: usize = 12;
    for device in devices() {
        for form in forms() {
            for clip_norm in [None, Some(5.0)] {
                let mut eager = Run::new(&device, &form, clip_norm);
                let before = eager.bits();
                for _ in 0..STEPS {
                    eager.set_grads();
                    eager.optimizer.step().unwrap();
                }
                let mut replayed = Run::new(&device, &form, clip_norm);
                replayed.set_grads();
                let optimizer = &mut replayed.optimizer;
                let (recording, ()) = device.record(|| optimizer.step()).unwrap();
                for _ in 1..STEPS {
                    replayed.set_grads();
                    recording.replay(1).unwrap();
                }
                let name = format!("{} on {device}, clip_norm {clip_norm:?}", form.name);
                assert!(eager.bits() == replayed.bits(), "{name}: the bits differ");
                assert!(eager.bits() != before, "{name}: nothing has changed");
                assert_eq!(replayed.optimizer.read_clock().unwrap().step as usize, STEPS, "{name}");
            }
        }
    }
}

/// PyTorch's `sign` of NaN is NaN; WGSL leaves it open.
#[test]
fn a_gradient_that_is_not_a_number_makes_its_parameter_one_where_methods_go_by_signs() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    /// A tensor of five elements.
    const FIVE: usize = 9;
    for device in devices() {
        for name in ["lion", "rprop", "yogi", "signum", "adopt", "cautious-adamw"] {
            let entry = MethodEntry::find(name).unwrap();
            let form = Form { name: name.to_string(), make: Box::new(move || entry.method()) };
            let mut run = Run::new(&device, &form, None);
            for _ in 0..2 {
                run.set_grads();
                run.params.grads().unwrap().get(FIVE).write(&[0.5, f32::NAN, -0.5, 0.0, 1.0]).unwrap();
                run.optimizer.step().unwrap();
            }
            let values = crate::common::floats(run.params.values().get(FIVE));
            let is_nan: Vec<bool> = values.iter().map(|x| x.is_nan()).collect();
            assert_eq!(is_nan, [false, true, false, false, false], "{:?} on {device}", run.optimizer.method());
        }
    }
}

/// A tensor of a group has the bits of a run in which all tensors have that group's settings.
#[test]
fn groups_hold_for_methods_that_need_norms_of_tensors() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let makes: [fn(f64) -> Box<dyn Method>; 4] = [
        |weight_decay| Box::new(Lamb::new().weight_decay(weight_decay)),
        |weight_decay| Box::new(Lars::new().weight_decay(weight_decay)),
        |weight_decay| Box::new(NovoGrad::new().weight_decay(weight_decay)),
        |weight_decay| Box::new(CautiousAdamW::new().weight_decay(weight_decay)),
    ];
    for device in devices() {
        for make in makes {
            let run = |lr: f64, weight_decay: f64, groups: &[ParameterGroup]| {
                let params = params(&device);
                let optimizer = Optimizer::new(&params, make(weight_decay), lr).unwrap().with_groups(groups).unwrap();
                let mut run = Run { params, optimizer, steps: 0 };
                for _ in 0..3 {
                    run.set_grads();
                    run.optimizer.step().unwrap();
                }
                run.params.values().tensors().iter().map(crate::common::floats).collect::<Vec<_>>()
            };
            let apart = run(
                0.125,
                0.1,
                &[
                    ParameterGroup { lr_scale: Some(0.5), ..ParameterGroup::of("?1") },
                    ParameterGroup { weight_decay: Some(0.3), ..ParameterGroup::of("?2") },
                    ParameterGroup { frozen: true, ..ParameterGroup::of("?3") },
                ],
            );
            let (plain, slow, decayed) = (run(0.125, 0.1, &[]), run(0.0625, 0.1, &[]), run(0.125, 0.3, &[]));
            let start: Vec<_> = params(&device).values().tensors().iter().map(crate::common::floats).collect();
            for i in 0..apart.len() {
                let group = if i < 10 { 0 } else { i % 10 };
                let expected = [&plain, &slow, &decayed, &start].get(group).map_or(&plain[i], |run| &run[i]);
                assert!(&apart[i] == expected, "{:?} on {device}: tensor {i} is not as its group", make(0.1));
            }
            assert!(plain != slow && plain != decayed && plain != start);
        }
    }
}

#[test]
fn wrong_settings_are_refused_by_the_name_of_the_field() {
    let adagrad = Adagrad::new();
    let rmsprop = RmsProp::new();
    let amsgrad = Amsgrad::new();
    let rprop = Rprop::new();
    let muon = Muon::new();
    let adafactor = Adafactor::new();
    let soap = Soap::new();
    let wrong: Vec<(&str, Box<dyn Method>)> = vec![
        ("momentum", Box::new(Sgd::new().momentum(1.0))),
        ("betas.1", Box::new(Adam::new().betas((0.9, 1.0)))),
        ("eps", Box::new(AdamW::new().eps(0.0))),
        ("eps", Box::new(AdamW8bit::new().eps(0.0))),
        ("betas.1", Box::new(AdamW8bit::new().betas((0.9, 1.0)))),
        ("d0", Box::new(Prodigy::new().d0(0.0))),
        ("beta3", Box::new(Prodigy::new().beta3(Some(1.0)))),
        ("d_coef", Box::new(Prodigy::new().d_coef(-1.0))),
        ("growth_rate", Box::new(Prodigy::new().growth_rate(Some(0.9)))),
        ("growth_rate", Box::new(Prodigy::new().growth_rate(Some(f64::NAN)))),
        ("gamma", Box::new(Sophia::new().gamma(0.0))),
        ("clip_threshold", Box::new(Sophia::new().clip_threshold(f64::INFINITY))),
        ("update_interval", Box::new(Sophia::new().update_interval(0))),
        ("lr_decay", Box::new(adagrad.lr_decay(-0.1))),
        ("initial_accumulator_value", Box::new(adagrad.initial_accumulator_value(-1.0))),
        ("eps", Box::new(adagrad.eps(0.0))),
        ("weight_decay", Box::new(adagrad.weight_decay(-1.0))),
        ("alpha", Box::new(rmsprop.alpha(1.0))),
        ("eps", Box::new(rmsprop.eps(-1e-8))),
        ("momentum", Box::new(rmsprop.momentum(1.5))),
        ("weight_decay", Box::new(rmsprop.weight_decay(f64::INFINITY))),
        ("rho", Box::new(Adadelta::new().rho(1.0))),
        ("eps", Box::new(Adadelta::new().eps(0.0))),
        ("betas.1", Box::new(Adamax::new().betas((0.9, 1.0)))),
        ("eps_root", Box::new(AdaBelief::new().eps_root(-1.0))),
        ("initial_accumulator_value", Box::new(Yogi::new().initial_accumulator_value(-1.0))),
        ("betas.1", Box::new(Lion::new().betas((0.9, 1.0)))),
        ("etas.0", Box::new(rprop.etas((1.0, 1.2)))),
        ("etas.1", Box::new(rprop.etas((0.5, 1.0)))),
        ("step_sizes.0", Box::new(rprop.step_sizes((0.0, 1.0)))),
        ("step_sizes.1", Box::new(rprop.step_sizes((0.1, 0.01)))),
        ("momentum_decay", Box::new(NAdam::new().momentum_decay(-1.0))),
        ("shampoo_beta", Box::new(soap.shampoo_beta(Some(1.0)))),
        ("precondition_frequency", Box::new(soap.precondition_frequency(0))),
        ("max_precondition_dim", Box::new(soap.max_precondition_dim(1025))),
        ("betas.1", Box::new(soap.betas((0.9, 1.0)))),
        ("beta2_decay", Box::new(adafactor.beta2_decay(0.5))),
        ("eps.0", Box::new(adafactor.eps((0.0, 1e-3)))),
        ("eps.1", Box::new(adafactor.eps((1e-7, f64::NAN)))),
        ("d", Box::new(adafactor.d(0.5))),
        ("weight_decay", Box::new(adafactor.weight_decay(-1.0))),
        ("momentum", Box::new(Sm3::new().momentum(1.0))),
        ("eps", Box::new(Sm3::new().eps(0.0))),
        ("momentum", Box::new(muon.momentum(1.0))),
        ("ns_coefficients.2", Box::new(muon.ns_coefficients((3.0, -4.0, f64::NAN)))),
        ("ns_steps", Box::new(muon.ns_steps(0))),
        ("eps", Box::new(muon.eps(0.0))),
        ("adamw_rate", Box::new(muon.adamw_rate(-1.0))),
        ("first_step", Box::new(rprop.first_step(Some(-1.0)))),
        ("nesterov", Box::new(Sgd::new().nesterov(true))),
        ("nesterov", Box::new(Sgd::new().momentum(0.9).dampening(0.1).nesterov(true))),
        ("adamw_betas.1", Box::new(muon.adamw_betas((0.9, 1.0)))),
        ("betas.1", Box::new(RAdam::new().betas((0.9, 1.0)))),
        ("betas.2", Box::new(Adan::new().betas((0.9, 0.9, 1.0)))),
        ("betas.2", Box::new(AdEmaMix::new().betas((0.9, 0.999, 1.0)))),
        ("alpha", Box::new(AdEmaMix::new().alpha(-1.0))),
        ("betas.1", Box::new(Adopt::new().betas((0.9, 1.0)))),
        ("eps", Box::new(Adopt::new().eps(0.0))),
        ("eps", Box::new(CautiousAdamW::new().eps(0.0))),
        ("weight_decay", Box::new(CautiousAdamW::new().weight_decay(-0.1))),
        ("t0", Box::new(Asgd::new().t0(-1.0))),
        ("lambd", Box::new(Asgd::new().lambd(f64::NAN))),
        ("alpha", Box::new(Asgd::new().alpha(-0.5))),
        ("beta1", Box::new(ScheduleFreeSgd::new().beta1(1.0))),
        ("betas.0", Box::new(ScheduleFreeAdamW::new().betas((0.0, 0.9)))),
        ("betas.0", Box::new(Lamb::new().betas((1.0, 0.9)))),
        ("eps", Box::new(Lamb::new().eps(0.0))),
        ("momentum", Box::new(Lars::new().momentum(1.0))),
        ("trust_coefficient", Box::new(Lars::new().trust_coefficient(0.0))),
        ("eps", Box::new(Lars::new().eps(-1.0))),
        ("weight_decay", Box::new(NovoGrad::new().weight_decay(-1.0))),
        ("betas.1", Box::new(NovoGrad::new().betas((0.9, 1.0)))),
        ("betas.0", Box::new(amsgrad.betas((-0.1, 0.9)))),
        ("eps", Box::new(amsgrad.eps(f64::NAN))),
    ];
    for (expected, method) in wrong {
        match method.validate() {
            Err(Error::Setting { field, .. }) => assert_eq!(field, expected, "{method:?}"),
            other => panic!("{method:?}: {other:?}"),
        }
    }
    let params = params(&Device::cpu());
    for (rate, rule) in [(-1.0, "finite and at least 0"), (f64::NAN, "finite and at least 0")] {
        match Optimizer::new(&params, Adagrad::new(), rate) {
            Err(Error::Setting { field: "learning_rate", rule: found, .. }) => assert_eq!(found, rule),
            other => panic!("a rate of {rate}: {other:?}"),
        }
    }
}

/// A method with wrong information about its state.
#[derive(Debug)]
struct Wrong(Capabilities);

impl Method for Wrong {
    fn name(&self) -> &'static str {
        "wrong"
    }

    fn settings(&self) -> serde_json::Value {
        json!({})
    }

    fn validate(&self) -> thalweg::nn::Result<()> {
        Ok(())
    }

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        vec![StateArena::like_parameters("there")]
    }

    fn capabilities(&self) -> Capabilities {
        self.0
    }

    fn step(&self, step: StepArguments<'_>) -> thalweg::nn::Result<()> {
        Sgd::new().step(StepArguments { state: &[], ..step })
    }
}

#[test]
fn a_method_that_names_a_state_which_it_does_not_keep_is_refused() {
    let params = params(&Device::cpu());
    let named = |state| {
        let hessian = HessianAverage { state, beta2: 0.9, interval: 1, seed: 0 };
        let evaluation = EvaluationPoint::Blend { state, weight: 1.0 };
        Wrong(Capabilities::new().hessian(hessian).evaluation(evaluation))
    };
    let mut optimizer = Optimizer::new(&params, named("elsewhere"), 0.1).unwrap();
    let diagonal = params.values().zeros_like().unwrap();
    for refused in [optimizer.eval(), optimizer.update_hessian(&diagonal)] {
        let message = refused.unwrap_err().to_string();
        assert_eq!(
            message,
            "state = \"elsewhere\" of wrong, but it must be the name of an arena that the method keeps"
        );
    }
    let mut optimizer = Optimizer::new(&params, named("there"), 0.1).unwrap();
    optimizer.update_hessian(&diagonal).unwrap();
    optimizer.eval().unwrap();
}

/// SOAP's bases have orthogonal columns, in the first step by rotations and in the next ones by iteration. With a
/// software driver, sides whose loops it would end are an error.
#[test]
fn soap_has_orthogonal_bases_or_says_that_it_cannot() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for device in devices() {
        for side in [64, 128] {
            let mut builder = ParamsBuilder::new(3);
            builder.add("weight", &[side, 40], Init::Normal { mean: 0.0, deviation: 1.0 }).unwrap();
            let params = builder.build(&device).unwrap();
            let soap = Soap::new().precondition_frequency(1);
            let mut optimizer = Optimizer::new(&params, soap, 3e-3).unwrap();
            for step in 0..3 {
                params.grads().unwrap().get(0).write(&numbers(step, side * 40, -1.0, 1.0)).unwrap();
                let done = optimizer.step();
                if crate::common::is_software(&device) && side > 64 {
                    let refused = done.unwrap_err().to_string();
                    assert!(refused.contains("max_precondition_dim") && refused.contains("64"), "{refused}");
                    break;
                }
                done.unwrap();
                let (_, arena) = optimizer.state().find(|(name, _)| *name == "Q.0").unwrap();
                let q = crate::common::floats(arena.get(0));
                for i in 0..side {
                    for j in 0..side {
                        let dot: f32 = (0..side).map(|row| q[row * side + i] * q[row * side + j]).sum();
                        let off = (dot - if i == j { 1.0 } else { 0.0 }).abs();
                        // Some roundings of 6e-8 for each of the rotations or reflections that make an element.
                        assert!(off < 2e-5, "{device}, side {side}, step {step}: columns {i} and {j} are {off} off");
                    }
                }
            }
        }
    }
}
