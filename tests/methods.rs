//! Every method of optimization, from one table: launches, replays, settings that are refused.

#![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

mod common;
#[path = "methods/frozen.rs"]
mod frozen;
#[path = "methods/precision.rs"]
mod precision;
#[path = "methods/resume.rs"]
mod resume;

use std::sync::{Mutex, PoisonError};

use common::{devices, numbers};
use thalweg::nn::update::MuonScale;
use thalweg::nn::{
    AdaBelief, Adadelta, Adafactor, Adagrad, Adam, AdamW, AdamW8bit, Adamax, Adan, Amsgrad, Asgd, Error, Init, Lamb,
    Lars, Lion, Method, Muon, NAdam, NovoGrad, Optimizer, ParameterGroup, Params, ParamsBuilder, Prodigy, RAdam,
    RmsProp, Rprop, ScheduleFreeAdamW, ScheduleFreeSgd, Sgd, Sm3, Soap, Sophia, Yogi,
};
use thalweg::tensor::{DType, Device, Tensor};

/// Profiles see the work of all threads on a GPU, so tests that count take turns.
static TURN: Mutex<()> = Mutex::new(());

type Make = fn() -> Box<dyn Method>;
type MakeParams = fn(&Device) -> Params;

/// All methods, in all forms that launch another kernel or other state.
const METHODS: &[Make] = &[
    || Box::new(Sgd { weight_decay: 0.1, ..Sgd::default() }),
    || Box::new(Sgd { momentum: 0.9, dampening: 0.1, ..Sgd::default() }),
    || Box::new(Sgd { momentum: 0.9, nesterov: true, ..Sgd::default() }),
    || Box::new(Adagrad { lr_decay: 0.1, initial_accumulator_value: 0.1, ..Adagrad::default() }),
    || Box::new(RmsProp::default()),
    || Box::new(RmsProp { momentum: 0.9, ..RmsProp::default() }),
    || Box::new(RmsProp { centered: true, ..RmsProp::default() }),
    || Box::new(RmsProp { momentum: 0.9, centered: true, ..RmsProp::default() }),
    || Box::new(Adadelta::default()),
    || Box::new(Adamax::default()),
    || Box::new(AdaBelief { weight_decay: 0.1, ..AdaBelief::default() }),
    || Box::new(Yogi::default()),
    || Box::new(Lion::default()),
    || Box::new(Rprop::default()),
    || Box::new(ScheduleFreeSgd { weight_decay: 0.1, ..ScheduleFreeSgd::default() }),
    || Box::new(ScheduleFreeAdamW { weight_decay: 0.1, ..ScheduleFreeAdamW::default() }),
    || Box::new(NAdam { weight_decay: 0.1, decoupled: true, ..NAdam::default() }),
    || Box::new(RAdam { betas: (0.8, 0.9), ..RAdam::default() }),
    || Box::new(Adan { weight_decay: 0.1, ..Adan::default() }),
    || Box::new(Asgd { t0: 3.0, lambd: 0.1, ..Asgd::default() }),
    || Box::new(Adam { weight_decay: 0.1, ..Adam::default() }),
    || Box::new(AdamW::default()),
    || Box::new(AdamW8bit::default()),
    || Box::new(Sophia::default()),
    || Box::new(Amsgrad { weight_decay: 0.1, decoupled: true, ..Amsgrad::default() }),
    || Box::new(Lamb { weight_decay: 0.1, ..Lamb::default() }),
    || Box::new(Lars { weight_decay: 0.1, ..Lars::default() }),
    || Box::new(Lars { nesterov: true, eps: 1e-3, ..Lars::default() }),
    || Box::new(NovoGrad { weight_decay: 0.1, ..NovoGrad::default() }),
];

/// Launches of a step without clipping: methods that need norms of tensors have two before the update.
fn launches(method: &dyn Method) -> usize {
    if method.sums_tensors() { 3 } else { 1 }
}

/// Methods of several launches, with their number without clipping.
const METHODS_OF_SEVERAL: &[(Make, usize)] = &[
    (|| Box::new(Prodigy { d0: 1e-2, weight_decay: 0.1, ..Prodigy::default() }), 4),
    (|| Box::new(Prodigy { growth_rate: 1.1, bias_correction: false, ..Prodigy::default() }), 4),
];

/// Methods that see parameters as matrices, with the launches of a step on the parameters of [`matrices`].
const MATRIX_METHODS: &[(Make, usize)] = &[
    (|| Box::new(Muon::default()), 4 + 5 * (1 + 3 * MATRICES)),
    (
        || {
            let adjust_lr = MuonScale::MatchRmsAdamw;
            Box::new(Muon { ns_steps: 2, nesterov: false, adjust_lr, adamw_lr: 1e-2, ..Muon::default() })
        },
        4 + 2 * (1 + 3 * MATRICES),
    ),
    (|| Box::new(Adafactor { weight_decay: 0.1, ..Adafactor::default() }), 5),
    (|| Box::new(Adafactor { maximize: true, d: 2.0, ..Adafactor::default() }), 5),
    (|| Box::new(Sm3::default()), 3),
    // Three with two bases, and one whose rows are too many for one.
    (|| Box::new(Soap { precondition_frequency: 3, ..Soap::default() }), 8 + 8 + 8 + 8 + (3 + 1)),
    // One with two bases, two with one, and one with none.
    (
        || {
            let (shampoo_beta, max_precondition_dim) = (Some(0.8), 20);
            Box::new(Soap { precondition_frequency: 1, shampoo_beta, max_precondition_dim, ..Soap::default() })
        },
        8 + (3 + 1) + (3 + 1) + 8,
    ),
];

/// The methods of all tables, with the parameters that they are for.
fn all() -> Vec<(Make, MakeParams)> {
    let of_several = METHODS_OF_SEVERAL.iter().map(|(make, _)| make);
    let of_matrices = MATRIX_METHODS.iter().map(|(make, _)| (*make, matrices as MakeParams));
    METHODS.iter().chain(of_several).map(|make| (*make, params as MakeParams)).chain(of_matrices).collect()
}

/// Parameters of two dimensions in [`matrices`].
const MATRICES: usize = 3;

/// Parameters of no, one, two and three dimensions; wide, tall and square ones.
fn matrices(device: &Device) -> Params {
    let mut builder = ParamsBuilder::new(7);
    let shapes: [&[usize]; 8] = [&[17, 23], &[23], &[300, 5], &[], &[64, 64], &[3, 4, 5], &[1], &[2500]];
    for (i, shape) in shapes.into_iter().enumerate() {
        builder.add(i.to_string(), shape, Init::Normal { mean: 0.0, deviation: 1.0 }).unwrap();
    }
    builder.build(device).unwrap()
}

/// The tensors of a model: many, of several sizes.
fn params(device: &Device) -> Params {
    let mut builder = ParamsBuilder::new(7);
    for i in 0..40 {
        builder.add(i.to_string(), &[[1, 5, 64, 300][i % 4]], Init::Normal { mean: 0.0, deviation: 1.0 }).unwrap();
    }
    builder.build(device).unwrap()
}

/// The bits of a tensor, whatever its type.
fn bits(tensor: &Tensor) -> Vec<u32> {
    match tensor.dtype() {
        DType::F32 => common::floats(tensor).into_iter().map(f32::to_bits).collect(),
        DType::U32 => common::words(tensor),
    }
}

/// A run of a method, with the gradients of its steps.
struct Run {
    params: Params,
    optimizer: Optimizer,
    steps: u64,
}

impl Run {
    fn new(device: &Device, make: Make, clip_norm: Option<f64>) -> Self {
        Self::of(device, params(device), make, clip_norm)
    }

    fn of(device: &Device, params: Params, make: Make, clip_norm: Option<f64>) -> Self {
        assert_eq!(params.device(), device);
        let mut optimizer = Optimizer::from_boxed(&params, make()).unwrap();
        if let Some(norm) = clip_norm {
            optimizer = optimizer.with_clip_norm(norm).unwrap();
        }
        optimizer.set_lr(0.01).unwrap();
        Self { params, optimizer, steps: 0 }
    }

    /// Puts the gradients of the next step in their places.
    fn set_grads(&mut self) {
        self.steps += 1;
        let grads = self.params.grads().unwrap();
        for (i, grad) in grads.tensors().iter().enumerate() {
            grad.write(&numbers(100 * self.steps + i as u64, grad.len(), -1.0, 1.0)).unwrap();
        }
    }

    /// The bits of parameters and state.
    fn bits(&self) -> Vec<u32> {
        let arenas = [self.params.values()].into_iter().chain(self.optimizer.state().map(|(_, arena)| arena));
        arenas.flat_map(|arena| arena.pages()).flat_map(bits).collect()
    }
}

#[test]
fn a_step_is_one_launch_or_three_and_two_more_with_clipping() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for device in devices() {
        for make in METHODS {
            for (clip_norm, for_clipping) in [(None, 0), (Some(1.0), 2)] {
                let mut run = Run::new(&device, *make, clip_norm);
                run.set_grads();
                let (profile, ()) = device.profile(|| run.optimizer.step()).unwrap();
                let method = run.optimizer.method();
                let expected = launches(method) + for_clipping;
                assert_eq!(profile.launches().len(), expected, "{method:?} on {device}, clip_norm {clip_norm:?}");
            }
        }
    }
}

#[test]
fn a_step_of_several_launches_is_as_many_as_its_page_says_and_one_more_with_clipping() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for device in devices() {
        for (make, launches) in METHODS_OF_SEVERAL {
            for (clip_norm, expected) in [(None, *launches), (Some(1.0), launches + 1)] {
                let mut run = Run::new(&device, *make, clip_norm);
                run.set_grads();
                let (profile, ()) = device.profile(|| run.optimizer.step()).unwrap();
                assert_eq!(profile.launches().len(), expected, "{:?} on {device}", run.optimizer.method());
            }
        }
    }
}

#[test]
fn a_step_over_matrices_is_as_many_launches_as_its_page_says() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for device in devices() {
        for (make, launches) in MATRIX_METHODS {
            for (clip_norm, expected) in [(None, *launches), (Some(1.0), launches + 1)] {
                let mut run = Run::of(&device, matrices(&device), *make, clip_norm);
                run.set_grads();
                let (profile, ()) = device.profile(|| run.optimizer.step()).unwrap();
                let launches = profile.launches().len();
                assert_eq!(launches, expected, "{:?} on {device}, clip_norm {clip_norm:?}", run.optimizer.method());
            }
        }
    }
}

/// What lives within a step comes from the pool and goes back to it.
#[test]
fn steps_over_matrices_take_no_more_memory() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for (make, _) in MATRIX_METHODS {
        let device = Device::cpu();
        let mut run = Run::of(&device, matrices(&device), *make, Some(1.0));
        run.set_grads();
        run.optimizer.step().unwrap();
        let before = device.memory();
        for _ in 0..3 {
            run.optimizer.step().unwrap();
        }
        assert_eq!(device.memory(), before, "{:?}", run.optimizer.method());
    }
}

/// A step whose gradients are not finite changes neither parameters nor state, and what is frozen stays at every step.
#[test]
fn skipped_steps_and_frozen_matrices_change_nothing() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for device in devices() {
        for (make, _) in MATRIX_METHODS {
            let mut run = Run::of(&device, matrices(&device), *make, Some(5.0));
            let groups = ["0", "1", "7"].map(|name| ParameterGroup { frozen: true, ..ParameterGroup::of(name) });
            run.optimizer = run.optimizer.with_groups(&groups).unwrap();
            let name = format!("{:?} on {device}", run.optimizer.method());
            let of_frozen = |run: &Run| -> Vec<Vec<f32>> {
                let arenas = [run.params.values()].into_iter().chain(run.optimizer.state().map(|(_, arena)| arena));
                arenas.flat_map(|arena| [0, 1, 7].map(|i| common::floats(arena.get(i)))).collect()
            };
            let frozen = of_frozen(&run);
            run.set_grads();
            run.optimizer.step().unwrap();
            let before = run.bits();
            run.set_grads();
            // Of a parameter that is not frozen: others do not count.
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
        for (make, params) in &all() {
            for clip_norm in [None, Some(5.0)] {
                let mut eager = Run::of(&device, params(&device), *make, clip_norm);
                let before = eager.bits();
                for _ in 0..STEPS {
                    eager.set_grads();
                    eager.optimizer.step().unwrap();
                }
                let mut replayed = Run::of(&device, params(&device), *make, clip_norm);
                replayed.set_grads();
                let optimizer = &mut replayed.optimizer;
                let (recording, ()) = device.record(|| optimizer.step()).unwrap();
                for _ in 1..STEPS {
                    replayed.set_grads();
                    recording.replay(1).unwrap();
                }
                let name = format!("{:?} on {device}, clip_norm {clip_norm:?}", eager.optimizer.method());
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
    let makes: [Make; 3] = [|| Box::new(Lion::default()), || Box::new(Rprop::default()), || Box::new(Yogi::default())];
    for device in devices() {
        for make in makes {
            let mut run = Run::new(&device, make, None);
            for _ in 0..2 {
                run.set_grads();
                run.params.grads().unwrap().get(1).write(&[0.5, f32::NAN, -0.5, 0.0, 1.0]).unwrap();
                run.optimizer.step().unwrap();
            }
            let values = common::floats(run.params.values().get(1));
            let is_nan: Vec<bool> = values.iter().map(|x| x.is_nan()).collect();
            assert_eq!(is_nan, [false, true, false, false, false], "{:?} on {device}", run.optimizer.method());
        }
    }
}

/// Methods that need norms go by tensors, so that a tensor in a group must have the bits that it has in a run where all
/// are like the group.
#[test]
fn groups_hold_for_methods_that_need_norms_of_tensors() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let makes: [fn(f64) -> Box<dyn Method>; 3] = [
        |weight_decay| Box::new(Lamb { weight_decay, ..Lamb::default() }),
        |weight_decay| Box::new(Lars { weight_decay, ..Lars::default() }),
        |weight_decay| Box::new(NovoGrad { weight_decay, ..NovoGrad::default() }),
    ];
    for device in devices() {
        for make in makes {
            let run = |lr: f64, weight_decay: f64, groups: &[ParameterGroup]| {
                let params = params(&device);
                let optimizer = Optimizer::from_boxed(&params, make(weight_decay)).unwrap();
                let mut optimizer = optimizer.with_groups(groups).unwrap();
                optimizer.set_lr(lr).unwrap();
                let mut run = Run { params, optimizer, steps: 0 };
                for _ in 0..3 {
                    run.set_grads();
                    run.optimizer.step().unwrap();
                }
                run.params.values().tensors().iter().map(common::floats).collect::<Vec<_>>()
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
            let start: Vec<_> = params(&device).values().tensors().iter().map(common::floats).collect();
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
    let adagrad = Adagrad::default();
    let rmsprop = RmsProp::default();
    let amsgrad = Amsgrad::default();
    let rprop = Rprop::default();
    let muon = Muon::default();
    let adafactor = Adafactor::default();
    let soap = Soap::default();
    let wrong: Vec<(&str, Box<dyn Method>)> = vec![
        ("lr", Box::new(Sgd { lr: -1.0, ..Sgd::default() })),
        ("momentum", Box::new(Sgd { momentum: 1.0, ..Sgd::default() })),
        ("betas.1", Box::new(Adam { betas: (0.9, 1.0), ..Adam::default() })),
        ("eps", Box::new(AdamW { eps: 0.0, ..AdamW::default() })),
        ("eps", Box::new(AdamW8bit { eps: 0.0, ..AdamW8bit::default() })),
        ("betas.1", Box::new(AdamW8bit { betas: (0.9, 1.0), ..AdamW8bit::default() })),
        ("d0", Box::new(Prodigy { d0: 0.0, ..Prodigy::default() })),
        ("beta3", Box::new(Prodigy { beta3: Some(1.0), ..Prodigy::default() })),
        ("d_coef", Box::new(Prodigy { d_coef: -1.0, ..Prodigy::default() })),
        ("growth_rate", Box::new(Prodigy { growth_rate: 0.9, ..Prodigy::default() })),
        ("growth_rate", Box::new(Prodigy { growth_rate: f64::NAN, ..Prodigy::default() })),
        ("gamma", Box::new(Sophia { gamma: 0.0, ..Sophia::default() })),
        ("clip_threshold", Box::new(Sophia { clip_threshold: f64::INFINITY, ..Sophia::default() })),
        ("update_interval", Box::new(Sophia { update_interval: 0, ..Sophia::default() })),
        ("lr", Box::new(Adagrad { lr: f64::NAN, ..adagrad })),
        ("lr_decay", Box::new(Adagrad { lr_decay: -0.1, ..adagrad })),
        ("initial_accumulator_value", Box::new(Adagrad { initial_accumulator_value: -1.0, ..adagrad })),
        ("eps", Box::new(Adagrad { eps: 0.0, ..adagrad })),
        ("weight_decay", Box::new(Adagrad { weight_decay: -1.0, ..adagrad })),
        ("alpha", Box::new(RmsProp { alpha: 1.0, ..rmsprop })),
        ("eps", Box::new(RmsProp { eps: -1e-8, ..rmsprop })),
        ("momentum", Box::new(RmsProp { momentum: 1.5, ..rmsprop })),
        ("weight_decay", Box::new(RmsProp { weight_decay: f64::INFINITY, ..rmsprop })),
        ("rho", Box::new(Adadelta { rho: 1.0, ..Adadelta::default() })),
        ("eps", Box::new(Adadelta { eps: 0.0, ..Adadelta::default() })),
        ("betas.1", Box::new(Adamax { betas: (0.9, 1.0), ..Adamax::default() })),
        ("eps_root", Box::new(AdaBelief { eps_root: -1.0, ..AdaBelief::default() })),
        ("initial_accumulator_value", Box::new(Yogi { initial_accumulator_value: -1.0, ..Yogi::default() })),
        ("betas.1", Box::new(Lion { betas: (0.9, 1.0), ..Lion::default() })),
        ("etas.0", Box::new(Rprop { etas: (1.0, 1.2), ..rprop })),
        ("etas.1", Box::new(Rprop { etas: (0.5, 1.0), ..rprop })),
        ("step_sizes.0", Box::new(Rprop { step_sizes: (0.0, 1.0), ..rprop })),
        ("step_sizes.1", Box::new(Rprop { step_sizes: (0.1, 0.01), ..rprop })),
        ("momentum_decay", Box::new(NAdam { momentum_decay: -1.0, ..NAdam::default() })),
        ("shampoo_beta", Box::new(Soap { shampoo_beta: Some(1.0), ..soap })),
        ("precondition_frequency", Box::new(Soap { precondition_frequency: 0, ..soap })),
        ("max_precondition_dim", Box::new(Soap { max_precondition_dim: 1025, ..soap })),
        ("betas.1", Box::new(Soap { betas: (0.9, 1.0), ..soap })),
        ("beta2_decay", Box::new(Adafactor { beta2_decay: 0.5, ..adafactor })),
        ("eps.0", Box::new(Adafactor { eps: (0.0, 1e-3), ..adafactor })),
        ("eps.1", Box::new(Adafactor { eps: (1e-7, f64::NAN), ..adafactor })),
        ("d", Box::new(Adafactor { d: 0.5, ..adafactor })),
        ("weight_decay", Box::new(Adafactor { weight_decay: -1.0, ..adafactor })),
        ("momentum", Box::new(Sm3 { momentum: 1.0, ..Sm3::default() })),
        ("eps", Box::new(Sm3 { eps: 0.0, ..Sm3::default() })),
        ("momentum", Box::new(Muon { momentum: 1.0, ..muon })),
        ("ns_coefficients.2", Box::new(Muon { ns_coefficients: (3.0, -4.0, f64::NAN), ..muon })),
        ("ns_steps", Box::new(Muon { ns_steps: 0, ..muon })),
        ("eps", Box::new(Muon { eps: 0.0, ..muon })),
        ("adamw_lr", Box::new(Muon { adamw_lr: -1.0, ..muon })),
        ("adamw_betas.1", Box::new(Muon { adamw_betas: (0.9, 1.0), ..muon })),
        ("betas.1", Box::new(RAdam { betas: (0.9, 1.0), ..RAdam::default() })),
        ("betas.2", Box::new(Adan { betas: (0.9, 0.9, 1.0), ..Adan::default() })),
        ("t0", Box::new(Asgd { t0: -1.0, ..Asgd::default() })),
        ("lambd", Box::new(Asgd { lambd: f64::NAN, ..Asgd::default() })),
        ("alpha", Box::new(Asgd { alpha: -0.5, ..Asgd::default() })),
        ("beta1", Box::new(ScheduleFreeSgd { beta1: 1.0, ..ScheduleFreeSgd::default() })),
        ("betas.0", Box::new(ScheduleFreeAdamW { betas: (0.0, 0.9), ..ScheduleFreeAdamW::default() })),
        ("betas.0", Box::new(Lamb { betas: (1.0, 0.9), ..Lamb::default() })),
        ("eps", Box::new(Lamb { eps: 0.0, ..Lamb::default() })),
        ("momentum", Box::new(Lars { momentum: 1.0, ..Lars::default() })),
        ("trust_coefficient", Box::new(Lars { trust_coefficient: 0.0, ..Lars::default() })),
        ("eps", Box::new(Lars { eps: -1.0, ..Lars::default() })),
        ("weight_decay", Box::new(NovoGrad { weight_decay: -1.0, ..NovoGrad::default() })),
        ("betas.1", Box::new(NovoGrad { betas: (0.9, 1.0), ..NovoGrad::default() })),
        ("betas.0", Box::new(Amsgrad { betas: (-0.1, 0.9), ..amsgrad })),
        ("eps", Box::new(Amsgrad { eps: f64::NAN, ..amsgrad })),
    ];
    for (expected, method) in wrong {
        match method.validate() {
            Err(Error::Setting { field, .. }) => assert_eq!(field, expected, "{method:?}"),
            other => panic!("{method:?}: {other:?}"),
        }
    }
    let several = METHODS_OF_SEVERAL.iter().chain(MATRIX_METHODS).map(|(make, _)| make);
    for make in METHODS.iter().chain(several) {
        make().validate().unwrap();
        assert!(make().lr() > 0.0);
    }
}

/// Products of the columns of SOAP's bases, in the first step by rotations and in the next ones by iteration; and a driver in
/// software refuses sides whose loops it would end.
#[test]
fn soap_has_orthogonal_bases_or_says_that_it_cannot() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for device in devices() {
        for side in [64, 128] {
            let mut builder = ParamsBuilder::new(3);
            builder.add("weight", &[side, 40], Init::Normal { mean: 0.0, deviation: 1.0 }).unwrap();
            let params = builder.build(&device).unwrap();
            let soap = Soap { precondition_frequency: 1, ..Soap::default() };
            let mut optimizer = Optimizer::new(&params, soap).unwrap();
            for step in 0..3 {
                params.grads().unwrap().get(0).write(&numbers(step, side * 40, -1.0, 1.0)).unwrap();
                let done = optimizer.step();
                if common::is_software(&device) && side > 64 {
                    let refused = done.unwrap_err().to_string();
                    assert!(refused.contains("max_precondition_dim") && refused.contains("64"), "{refused}");
                    break;
                }
                done.unwrap();
                let (_, arena) = optimizer.state().find(|(name, _)| *name == "Q.0").unwrap();
                let q = common::floats(arena.get(0));
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
