//! The methods, and their registry: a row for each name, which the program, the benches, the examples and the tests
//! use.

mod adabelief;
mod adadelta;
mod adafactor;
mod adagrad;
mod adam;
mod adamax;
mod adamw8bit;
mod adan;
mod ademamix;
mod adopt;
mod amsgrad;
mod asgd;
mod cautious_adamw;
mod lamb;
mod lars;
mod lion;
mod muon;
mod nadam;
mod novograd;
mod prodigy;
mod radam;
mod rmsprop;
mod rprop;
mod schedule_free_adamw;
mod schedule_free_sgd;
mod sgd;
mod sm3;
mod soap;
mod sophia;
mod yogi;

use super::{Capabilities, EvaluationPoint, HessianAverage, Method, MethodEntry, MethodFamily, StateArena};

pub use adabelief::AdaBelief;
pub use adadelta::Adadelta;
pub use adafactor::Adafactor;
pub use adagrad::Adagrad;
pub use adam::{Adam, AdamW};
pub use adamax::Adamax;
pub use adamw8bit::AdamW8bit;
pub use adan::Adan;
pub use ademamix::AdEmaMix;
pub use adopt::Adopt;
pub use amsgrad::Amsgrad;
pub use asgd::Asgd;
pub use cautious_adamw::CautiousAdamW;
pub use lamb::Lamb;
pub use lars::Lars;
pub use lion::Lion;
pub use muon::{Muon, MuonScale};
pub use nadam::NAdam;
pub use novograd::NovoGrad;
pub use prodigy::Prodigy;
pub use radam::RAdam;
pub use rmsprop::RmsProp;
pub use rprop::Rprop;
pub use schedule_free_adamw::ScheduleFreeAdamW;
pub use schedule_free_sgd::ScheduleFreeSgd;
pub use sgd::Sgd;
pub use sm3::Sm3;
pub use soap::Soap;
pub use sophia::Sophia;
pub use yogi::Yogi;

/// All methods, in the order of the program's help.
pub static METHODS: &[MethodEntry] = &[
    MethodEntry {
        name: "adamw",
        family: MethodFamily::Adam,
        race: [0.1, 0.2],
        ..MethodEntry::of::<AdamW>(|| Box::new(AdamW::new()))
    },
    MethodEntry {
        name: "adam",
        family: MethodFamily::Adam,
        race: [0.1, 0.5],
        kernels: &[&adam::ADAM],
        ..MethodEntry::of::<Adam>(|| Box::new(Adam::new()))
    },
    MethodEntry {
        name: "sgd",
        lr: 1e-2,
        family: MethodFamily::Moment,
        race: [2e-3, 2e-2],
        kernels: &[&sgd::SGD, &sgd::MOMENTUM],
        program: Some(|| Box::new(Sgd::new().momentum(0.9))),
        forms: &[("sgd-dampened", || Box::new(Sgd::new().momentum(0.9).dampening(0.1)))],
        ..MethodEntry::of::<Sgd>(|| Box::new(Sgd::new()))
    },
    MethodEntry {
        name: "momentum",
        lr: 1e-2,
        family: MethodFamily::Moment,
        race: [2e-3, 1e-2],
        ..MethodEntry::of::<Sgd>(|| Box::new(Sgd::new().momentum(0.9)))
    },
    MethodEntry {
        name: "nesterov",
        lr: 1e-2,
        family: MethodFamily::Moment,
        race: [1e-3, 5e-3],
        ..MethodEntry::of::<Sgd>(|| Box::new(Sgd::new().momentum(0.9).nesterov(true)))
    },
    MethodEntry {
        name: "adagrad",
        lr: 1e-2,
        family: MethodFamily::Coordinates,
        race: [0.5, 0.5],
        kernels: &[&adagrad::ADAGRAD],
        forms: &[("adagrad-decaying", || Box::new(Adagrad::new().lr_decay(0.1).initial_accumulator_value(0.1)))],
        ..MethodEntry::of::<Adagrad>(|| Box::new(Adagrad::new()))
    },
    MethodEntry {
        name: "rmsprop",
        family: MethodFamily::Coordinates,
        race: [5e-3, 2e-3],
        kernels: &[&rmsprop::RMSPROP],
        forms: &[
            ("rmsprop-momentum", || Box::new(RmsProp::new().momentum(0.9))),
            ("rmsprop-deviation", || Box::new(RmsProp::new().centered(true))),
            ("rmsprop-centered", || Box::new(RmsProp::new().momentum(0.9).centered(true))),
        ],
        ..MethodEntry::of::<RmsProp>(|| Box::new(RmsProp::new()))
    },
    MethodEntry {
        name: "adadelta",
        lr: 1.0,
        family: MethodFamily::Coordinates,
        race: [0.2, 0.5],
        kernels: &[&adadelta::ADADELTA],
        ..MethodEntry::of::<Adadelta>(|| Box::new(Adadelta::new()))
    },
    MethodEntry {
        name: "amsgrad",
        family: MethodFamily::Adam,
        race: [0.5, 0.5],
        kernels: &[&amsgrad::AMSGRAD],
        forms: &[("amsgrad-decoupled", || Box::new(Amsgrad::new().weight_decay(0.1).decoupled(true)))],
        ..MethodEntry::of::<Amsgrad>(|| Box::new(Amsgrad::new()))
    },
    MethodEntry {
        name: "adamax",
        lr: 5e-3,
        family: MethodFamily::Adam,
        race: [0.5, 0.5],
        kernels: &[&adamax::ADAMAX],
        ..MethodEntry::of::<Adamax>(|| Box::new(Adamax::new()))
    },
    MethodEntry {
        name: "nadam",
        lr: 2e-3,
        family: MethodFamily::Adam,
        race: [5e-2, 5e-2],
        kernels: &[&nadam::NADAM],
        forms: &[("nadam-decoupled", || Box::new(NAdam::new().weight_decay(0.1).decoupled(true)))],
        ..MethodEntry::of::<NAdam>(|| Box::new(NAdam::new()))
    },
    MethodEntry {
        name: "nadamw",
        lr: 2e-3,
        family: MethodFamily::Adam,
        race: [2e-2, 5e-2],
        ..MethodEntry::of::<NAdam>(|| Box::new(NAdam::new().weight_decay(0.01).decoupled(true)))
    },
    MethodEntry {
        name: "radam",
        lr: 5e-3,
        family: MethodFamily::AfterAdam,
        race: [5e-3, 5e-2],
        kernels: &[&radam::RADAM],
        forms: &[
            ("radam-short", || Box::new(RAdam::new().betas((0.8, 0.9)))),
            ("radam-decoupled", || Box::new(RAdam::new().weight_decay(0.1).decoupled(true))),
        ],
        ..MethodEntry::of::<RAdam>(|| Box::new(RAdam::new()))
    },
    MethodEntry {
        name: "adabelief",
        family: MethodFamily::AfterAdam,
        race: [0.5, 0.2],
        kernels: &[&adabelief::ADABELIEF],
        ..MethodEntry::of::<AdaBelief>(|| Box::new(AdaBelief::new()))
    },
    MethodEntry {
        name: "yogi",
        lr: 1e-2,
        family: MethodFamily::AfterAdam,
        race: [0.5, 0.5],
        kernels: &[&yogi::YOGI],
        ..MethodEntry::of::<Yogi>(|| Box::new(Yogi::new()))
    },
    MethodEntry {
        name: "adan",
        lr: 5e-3,
        family: MethodFamily::AfterAdam,
        race: [5e-3, 2e-2],
        kernels: &[&adan::ADAN],
        ..MethodEntry::of::<Adan>(|| Box::new(Adan::new()))
    },
    MethodEntry {
        name: "ademamix",
        lr: 3e-4,
        family: MethodFamily::AfterAdam,
        race: [0.2, 0.2],
        kernels: &[&ademamix::ADEMAMIX],
        ..MethodEntry::of::<AdEmaMix>(|| Box::new(AdEmaMix::new()))
    },
    MethodEntry {
        name: "adopt",
        family: MethodFamily::AfterAdam,
        race: [2.0, 0.2],
        kernels: &[&adopt::ADOPT],
        ..MethodEntry::of::<Adopt>(|| Box::new(Adopt::new()))
    },
    MethodEntry {
        name: "cautious-adamw",
        family: MethodFamily::AfterAdam,
        race: [0.1, 0.2],
        kernels: &[&cautious_adamw::CAUTIOUS_ADAMW, &cautious_adamw::CAUTIOUS_MOMENTS, &cautious_adamw::CAUTIOUS_SCALE],
        ..MethodEntry::of::<CautiousAdamW>(|| Box::new(CautiousAdamW::new()))
    },
    MethodEntry {
        name: "adamw8bit",
        family: MethodFamily::Matrices,
        race: [0.1, 0.2],
        kernels: &[&adamw8bit::ADAMW8BIT],
        ..MethodEntry::of::<AdamW8bit>(|| Box::new(AdamW8bit::new()))
    },
    MethodEntry {
        name: "lion",
        lr: 2e-4,
        family: MethodFamily::Coordinates,
        race: [2e-3, 2e-3],
        kernels: &[&lion::LION],
        ..MethodEntry::of::<Lion>(|| Box::new(Lion::new()))
    },
    MethodEntry {
        name: "signum",
        lr: 2e-4,
        family: MethodFamily::Coordinates,
        race: [2e-3, 1e-3],
        ..MethodEntry::of::<Lion>(|| Box::new(Lion::new().betas((0.9, 0.9)).weight_decay(0.0)))
    },
    MethodEntry {
        name: "lamb",
        family: MethodFamily::Norms,
        race: [0.1, 2e-3],
        kernels: &[&lamb::LAMB, &lamb::LAMB_MOMENTS],
        ..MethodEntry::of::<Lamb>(|| Box::new(Lamb::new()))
    },
    MethodEntry {
        name: "lars",
        lr: 0.3,
        family: MethodFamily::Norms,
        race: [2.0, 0.5],
        kernels: &[&lars::LARS],
        forms: &[("lars-nesterov", || Box::new(Lars::new().nesterov(true).eps(1e-3)))],
        ..MethodEntry::of::<Lars>(|| Box::new(Lars::new()))
    },
    MethodEntry {
        name: "novograd",
        family: MethodFamily::Norms,
        race: [5e-4, 2e-3],
        kernels: &[&novograd::NOVOGRAD, &novograd::NOVOGRAD_MOMENT],
        ..MethodEntry::of::<NovoGrad>(|| Box::new(NovoGrad::new()))
    },
    MethodEntry {
        name: "sophia",
        lr: 3e-4,
        family: MethodFamily::Norms,
        race: [5e-2, 5e-2],
        kernels: &[&sophia::SOPHIA],
        program: Some(|| Box::new(Sophia::new().weight_decay(0.0))),
        ..MethodEntry::of::<Sophia>(|| Box::new(Sophia::new()))
    },
    MethodEntry {
        name: "prodigy",
        lr: 1.0,
        family: MethodFamily::Norms,
        race: [0.2, 2.0],
        kernels: &[&prodigy::PRODIGY, &prodigy::PRODIGY_ESTIMATE, &prodigy::PRODIGY_SUMS],
        // Most schedules warm up.
        program: Some(|| Box::new(Prodigy::new().safeguard_warmup(true))),
        forms: &[
            ("prodigy-decaying", || Box::new(Prodigy::new().d0(1e-2).weight_decay(0.1))),
            ("prodigy-limited", || Box::new(Prodigy::new().growth_rate(Some(1.1)).bias_correction(false))),
        ],
        ..MethodEntry::of::<Prodigy>(|| Box::new(Prodigy::new()))
    },
    MethodEntry {
        name: "rprop",
        family: MethodFamily::Coordinates,
        race: [1e-5, 1.0],
        kernels: &[&rprop::RPROP],
        ..MethodEntry::of::<Rprop>(|| Box::new(Rprop::new()))
    },
    MethodEntry {
        name: "asgd",
        lr: 0.1,
        family: MethodFamily::Moment,
        race: [2e-3, 2e-2],
        kernels: &[&asgd::ASGD],
        forms: &[("asgd-early", || Box::new(Asgd::new().t0(3.0).lambd(0.1)))],
        ..MethodEntry::of::<Asgd>(|| Box::new(Asgd::new()))
    },
    MethodEntry {
        name: "schedule-free-adamw",
        lr: 2.5e-3,
        schedule: "constant",
        family: MethodFamily::AfterAdam,
        race: [2e-2, 0.2],
        kernels: &[&schedule_free_adamw::SCHEDULE_FREE_ADAMW],
        ..MethodEntry::of::<ScheduleFreeAdamW>(|| Box::new(ScheduleFreeAdamW::new()))
    },
    MethodEntry {
        name: "schedule-free-sgd",
        lr: 0.5,
        schedule: "constant",
        family: MethodFamily::Moment,
        race: [5e-3, 5e-2],
        kernels: &[&schedule_free_sgd::SCHEDULE_FREE_SGD],
        ..MethodEntry::of::<ScheduleFreeSgd>(|| Box::new(ScheduleFreeSgd::new()))
    },
    MethodEntry {
        name: "muon",
        lr: 1e-2,
        family: MethodFamily::Matrices,
        // The point is a matrix of one row; its orthogonalisation scales it to a length of about 1.
        race: [5e-3, 5e-3],
        kernels: &[&muon::MUON_APPLY, &muon::MUON_MOMENTUM, &muon::MUON_NORMALIZE, &muon::MUON_POLYNOMIAL],
        has_products: true,
        // The rate is that of orthogonal updates; the biases use the usual tenth of it.
        program: Some(|| Box::new(Muon::new().adamw_rate(0.1))),
        forms: &[("muon-short", || {
            Box::new(Muon::new().ns_steps(2).nesterov(false).adjust_lr(MuonScale::MatchRmsAdamw).adamw_rate(10.0))
        })],
        ..MethodEntry::of::<Muon>(|| Box::new(Muon::new()))
    },
    MethodEntry {
        name: "adafactor",
        lr: 2e-2,
        family: MethodFamily::Matrices,
        race: [0.2, 2e-3],
        kernels: &[
            &adafactor::ADAFACTOR_APPLY,
            &adafactor::ADAFACTOR_FACTORS,
            &adafactor::ADAFACTOR_SQUARES,
            &adafactor::ADAFACTOR_SUMS,
        ],
        forms: &[("adafactor-limited", || Box::new(Adafactor::new().d(2.0)))],
        ..MethodEntry::of::<Adafactor>(|| Box::new(Adafactor::new()))
    },
    MethodEntry {
        name: "sm3",
        lr: 0.1,
        family: MethodFamily::Matrices,
        race: [5.0, 5.0],
        kernels: &[&sm3::SM3_COMMIT, &sm3::SM3_STEP],
        ..MethodEntry::of::<Sm3>(|| Box::new(Sm3::new()))
    },
    MethodEntry {
        name: "soap",
        lr: 3e-3,
        family: MethodFamily::Matrices,
        race: [2e-2, 5e-2],
        kernels: &[
            &soap::SOAP_APPLY,
            &soap::SOAP_AVERAGE,
            &soap::SOAP_BASIS,
            &soap::SOAP_MOMENTS,
            &soap::SOAP_NORMALIZE,
        ],
        has_products: true,
        forms: &[
            ("soap-often", || Box::new(Soap::new().precondition_frequency(3))),
            ("soap-narrow", || {
                Box::new(Soap::new().precondition_frequency(1).shampoo_beta(Some(0.8)).max_precondition_dim(20))
            }),
        ],
        ..MethodEntry::of::<Soap>(|| Box::new(Soap::new()))
    },
];
