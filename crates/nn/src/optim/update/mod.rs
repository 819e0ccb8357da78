//! The updates of the methods: settings, kernels and twins.

mod adabelief;
mod adadelta;
mod adafactor;
mod adagrad;
mod adam;
mod adamax;
mod adamw8bit;
mod adan;
mod amsgrad;
mod asgd;
mod lamb;
mod lars;
mod lion;
mod momentum;
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

use thalweg_tensor::Kernel;

pub use adabelief::AdaBeliefUpdate;
pub use adadelta::AdadeltaUpdate;
pub use adafactor::AdafactorUpdate;
pub use adagrad::AdagradUpdate;
pub use adam::AdamUpdate;
pub use adamax::AdamaxUpdate;
pub use adamw8bit::AdamW8bitUpdate;
pub use adan::AdanUpdate;
pub use amsgrad::AmsgradUpdate;
pub use asgd::AsgdUpdate;
pub use lamb::LambUpdate;
pub use lars::LarsUpdate;
pub use lion::LionUpdate;
pub use momentum::MomentumUpdate;
pub use muon::{MuonScale, MuonUpdate};
pub use nadam::NAdamUpdate;
pub use novograd::NovoGradUpdate;
pub use prodigy::ProdigyUpdate;
pub use radam::RAdamUpdate;
pub use rmsprop::RmsPropUpdate;
pub use rprop::RpropUpdate;
pub use schedule_free_adamw::ScheduleFreeAdamWUpdate;
pub use schedule_free_sgd::ScheduleFreeSgdUpdate;
pub use sgd::SgdUpdate;
pub use sm3::Sm3Update;
pub use soap::SoapUpdate;
pub use sophia::SophiaUpdate;
pub use yogi::YogiUpdate;

/// The kernels of all methods: tests and benches iterate over this list.
pub static KERNELS: &[&Kernel] = &[
    &adabelief::ADABELIEF,
    &adadelta::ADADELTA,
    &adafactor::ADAFACTOR_APPLY,
    &adafactor::ADAFACTOR_FACTORS,
    &adafactor::ADAFACTOR_SQUARES,
    &adafactor::ADAFACTOR_SUMS,
    &adagrad::ADAGRAD,
    &adam::ADAM,
    &adamax::ADAMAX,
    &adamw8bit::ADAMW8BIT,
    &adan::ADAN,
    &amsgrad::AMSGRAD,
    &asgd::ASGD,
    &lamb::LAMB,
    &lamb::LAMB_MOMENTS,
    &lars::LARS,
    &novograd::NOVOGRAD,
    &novograd::NOVOGRAD_MOMENT,
    &lion::LION,
    &momentum::MOMENTUM,
    &muon::MUON_APPLY,
    &muon::MUON_MOMENTUM,
    &muon::MUON_NORMALIZE,
    &muon::MUON_POLYNOMIAL,
    &nadam::NADAM,
    &prodigy::PRODIGY,
    &prodigy::PRODIGY_ESTIMATE,
    &prodigy::PRODIGY_SUMS,
    &radam::RADAM,
    &rmsprop::RMSPROP,
    &rprop::RPROP,
    &schedule_free_adamw::SCHEDULE_FREE_ADAMW,
    &schedule_free_sgd::SCHEDULE_FREE_SGD,
    &sgd::SGD,
    &sm3::SM3_COMMIT,
    &sm3::SM3_STEP,
    &soap::SOAP_APPLY,
    &soap::SOAP_AVERAGE,
    &soap::SOAP_BASIS,
    &soap::SOAP_MOMENTS,
    &soap::SOAP_NORMALIZE,
    &sophia::SOPHIA,
    &yogi::YOGI,
];
