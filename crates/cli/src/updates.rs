//! The updates that are measured: fused ones over an arena, the same as a composition of tensor operations, and copies
//! as the roof.

use thalweg::nn::update::{
    AdaBeliefUpdate, AdadeltaUpdate, AdafactorUpdate, AdagradUpdate, AdamUpdate, AdamW8bitUpdate, AdamaxUpdate,
    AdanUpdate, AmsgradUpdate, AsgdUpdate, LambUpdate, LarsUpdate, LionUpdate, MomentumUpdate, MuonScale, MuonUpdate,
    NAdamUpdate, NovoGradUpdate, ProdigyUpdate, RAdamUpdate, RmsPropUpdate, RpropUpdate, ScheduleFreeAdamWUpdate,
    ScheduleFreeSgdUpdate, SgdUpdate, Sm3Update, SoapUpdate, SophiaUpdate, YogiUpdate,
};
use thalweg::tensor::optim::Update;
use thalweg::tensor::{
    Arena, Clip, Clock, DType, Device, DeviceKind, Packing, Result, StepArguments, Tensor, copy_by_kernel,
};

/// Bytes that the composition of AdamW moves: nine operations of one operand, four of two.
pub(crate) const ADAMW_COMPOSED_BYTES: u64 = 9 * 8 + 4 * 12;

/// Bytes that a copy moves for an element.
pub(crate) const COPY_BYTES: u64 = 8;

const BETAS: (f64, f64) = (0.9, 0.999);

/// AdamW with its defaults.
pub(crate) const ADAMW: AdamUpdate =
    AdamUpdate { betas: BETAS, eps: 1e-8, weight_decay: 0.01, decoupled: true, maximize: false };

const MOMENTUM: MomentumUpdate =
    MomentumUpdate { momentum: 0.9, dampening: 0.0, weight_decay: 0.0, nesterov: false, maximize: false };

const RMSPROP: RmsPropUpdate =
    RmsPropUpdate { alpha: 0.99, eps: 1e-8, momentum: 0.0, centered: false, weight_decay: 0.0, maximize: false };

/// The fused updates by their names.
const UPDATES: &[(&str, &dyn Update)] = &[
    ("adamw", &ADAMW),
    ("sgd", &SgdUpdate { weight_decay: 0.0, maximize: false }),
    ("momentum", &MOMENTUM),
    ("nesterov", &MomentumUpdate { nesterov: true, ..MOMENTUM }),
    (
        "adagrad",
        &AdagradUpdate {
            lr_decay: 0.0,
            initial_accumulator_value: 0.0,
            eps: 1e-10,
            weight_decay: 0.0,
            maximize: false,
        },
    ),
    ("rmsprop", &RMSPROP),
    ("adadelta", &AdadeltaUpdate { rho: 0.9, eps: 1e-6, weight_decay: 0.0, maximize: false }),
    ("adamax", &AdamaxUpdate { betas: BETAS, eps: 1e-8, weight_decay: 0.0, maximize: false }),
    ("adabelief", &AdaBeliefUpdate { betas: BETAS, eps: 1e-16, eps_root: 1e-16, weight_decay: 0.0, maximize: false }),
    (
        "yogi",
        &YogiUpdate { betas: BETAS, eps: 1e-3, initial_accumulator_value: 1e-6, weight_decay: 0.0, maximize: false },
    ),
    ("lion", &LionUpdate { betas: (0.9, 0.99), weight_decay: 1e-3, maximize: false }),
    ("lamb", &LambUpdate { betas: BETAS, eps: 1e-6, weight_decay: 0.0, maximize: false }),
    (
        "lars",
        &LarsUpdate {
            momentum: 0.9,
            weight_decay: 0.0,
            trust_coefficient: 1e-3,
            eps: 0.0,
            nesterov: false,
            maximize: false,
        },
    ),
    ("novograd", &NovoGradUpdate { betas: (0.9, 0.25), eps: 1e-6, weight_decay: 0.0, maximize: false }),
    ("rprop", &RpropUpdate { first_step: 1e-3, etas: (0.5, 1.2), step_sizes: (1e-6, 50.0), maximize: false }),
    (
        "nadam",
        &NAdamUpdate {
            betas: BETAS,
            eps: 1e-8,
            momentum_decay: 4e-3,
            weight_decay: 0.0,
            decoupled: false,
            maximize: false,
        },
    ),
    ("radam", &RAdamUpdate { betas: BETAS, eps: 1e-8, weight_decay: 0.0, decoupled: false, maximize: false }),
    ("adan", &AdanUpdate { betas: (0.98, 0.92, 0.99), eps: 1e-8, weight_decay: 0.0, maximize: false }),
    ("asgd", &AsgdUpdate { lambd: 1e-4, alpha: 0.75, t0: 1e6, weight_decay: 0.0, maximize: false }),
    ("schedule-free-sgd", &ScheduleFreeSgdUpdate { beta1: 0.9, weight_decay: 0.0, maximize: false }),
    ("schedule-free-adamw", &ScheduleFreeAdamWUpdate { betas: BETAS, eps: 1e-8, weight_decay: 0.0, maximize: false }),
    ("adamw8bit", &AdamW8bitUpdate { betas: BETAS, eps: 1e-8, weight_decay: 0.01, maximize: false }),
    (
        "sophia",
        &SophiaUpdate {
            beta1: 0.965,
            eps: 1e-8,
            gamma: 0.01,
            clip_threshold: 1.0,
            weight_decay: 1e-4,
            maximize: false,
        },
    ),
    (
        "prodigy",
        &ProdigyUpdate {
            betas: BETAS,
            beta3: 0.999_5,
            eps: 1e-8,
            d0: 1e-6,
            d_coef: 1.0,
            growth_rate: f64::INFINITY,
            bias_correction: true,
            safeguard_warmup: false,
            weight_decay: 0.0,
            maximize: false,
        },
    ),
    ("rmsprop-centered", &RmsPropUpdate { centered: true, momentum: 0.9, ..RMSPROP }),
    ("adam", &AdamUpdate { decoupled: false, weight_decay: 0.0, ..ADAMW }),
    ("adafactor", &ADAFACTOR),
    ("sm3", &Sm3Update { momentum: 0.9, eps: 1e-8, maximize: false }),
    ("amsgrad", &AmsgradUpdate { betas: BETAS, eps: 1e-8, weight_decay: 0.0, decoupled: false, maximize: false }),
];

const MUON: MuonUpdate = MuonUpdate {
    momentum: 0.95,
    nesterov: true,
    bias_correction: false,
    weight_decay: 0.1,
    ns_coefficients: (3.4445, -4.775, 2.0315),
    ns_steps: 5,
    eps: 1e-7,
    scale: MuonScale::Original,
    adamw_rate: 1.0,
    adamw_betas: BETAS,
    adamw_eps: 1e-8,
};

const SOAP: SoapUpdate = SoapUpdate {
    betas: (0.95, 0.95),
    shampoo_beta: 0.95,
    eps: 1e-8,
    weight_decay: 0.01,
    precondition_frequency: 10,
    max_precondition_dim: 256,
};

const ADAFACTOR: AdafactorUpdate =
    AdafactorUpdate { beta2_decay: -0.8, eps: (1e-7, 1e-3), d: 1.0, weight_decay: 0.0, maximize: false };

/// Updates that are bound by products of matrices, and take long over many parameters.
const WITH_PRODUCTS: &[(&str, &dyn Update)] = &[("muon", &MUON), ("soap", &SOAP)];

/// The most parameters that these are measured with.
const MOST_WITH_PRODUCTS: usize = 64 << 10;

/// What is measured with so many parameters.
pub(crate) fn updates_of(
    device: &Device,
    parameters: usize,
) -> impl Iterator<Item = (&'static str, &'static dyn Update)> {
    let with_products = if parameters <= MOST_WITH_PRODUCTS { WITH_PRODUCTS } else { &[] };
    // It refuses sides like these on drivers in software.
    let has_soap = device.info().kind != DeviceKind::Software;
    UPDATES.iter().chain(with_products).copied().filter(move |(name, _)| has_soap || *name != "soap")
}

/// The names of all that can be measured.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    UPDATES.iter().chain(WITH_PRODUCTS).map(|&(name, _)| name)
}

/// The sides of a matrix of so many elements that is as square as it can be.
fn sides(elements: usize) -> Vec<usize> {
    let rows = (1..=elements.isqrt()).rev().find(|rows| elements.is_multiple_of(*rows)).unwrap_or(1);
    vec![rows, elements / rows]
}

/// Bytes that an update must move for a parameter by its own mathematics; where gradients are clipped by their norm, the
/// gradient in once more.
pub(crate) fn update_bytes(update: &dyn Update, clip: Clip) -> u64 {
    update.bytes_per_parameter() + if matches!(clip, Clip::Norm(_)) { 4 } else { 0 }
}

/// The most arenas of state that an update has.
const MOST_STATE: usize = 5;

const LEARNING_RATE: f64 = 1e-3;

/// Parameters with gradients and state. All updates of them go over the same memory.
pub(crate) struct Parameters {
    values: Arena,
    grads: Arena,
    state: Vec<Arena>,
}

impl Parameters {
    /// So many tensors of so many elements each.
    pub(crate) fn new(device: &Device, tensors: usize, elements: usize) -> Result<Self> {
        let values = Arena::new(device, &vec![sides(elements); tensors])?;
        let grads = values.zeros_like()?;
        let state = (0..MOST_STATE).map(|_| values.zeros_like()).collect::<Result<Vec<_>>>()?;
        values.pages().iter().try_for_each(|page| page.fill(0.5f32))?;
        grads.pages().iter().try_for_each(|page| page.fill(0.01f32))?;
        Ok(Self { values, grads, state })
    }

    /// A step of a fused update, whose gradients are clipped so.
    pub(crate) fn update(&self, update: &'static dyn Update, clip: Clip) -> Result<impl FnMut() -> Result<()>> {
        let shapes: Vec<Vec<usize>> = self.values.tensors().iter().map(|tensor| tensor.shape().to_vec()).collect();
        let arena = |number: usize| match (update.state_shapes(number, &shapes), update.packing(number)) {
            (Some(shapes), _) => Arena::new(self.values.device(), &shapes),
            (None, Packing::Plain) => Ok(self.state[number].clone()),
            (None, packing) => self.values.zeros_packed(packing),
        };
        let state = (0..update.state_count()).map(arena).collect::<Result<Vec<_>>>()?;
        for (number, arena) in state.iter().enumerate().filter(|(number, _)| update.packing(*number) == Packing::Plain)
        {
            arena.pages().iter().try_for_each(|page| page.fill(update.initial_state(number)))?;
        }
        let mut clock = Clock::new(self.values.device(), LEARNING_RATE)?;
        let (values, grads) = (&self.values, &self.grads);
        Ok(move || update.step(StepArguments { values, grads, state: &state, clock: &mut clock, clip }))
    }

    /// A step of AdamW as a composition of tensor operations, tensor by tensor.
    pub(crate) fn adamw_composed(&self) -> Result<impl FnMut() -> Result<()>> {
        let zeros = |value: &Tensor| Tensor::zeros(value.device(), DType::F32, value.shape());
        let mut states = self
            .values
            .tensors()
            .iter()
            .map(|value| Ok((value.clone(), zeros(value)?, zeros(value)?)))
            .collect::<Result<Vec<_>>>()?;
        let mut step = 0;
        Ok(move || {
            step += 1;
            for ((value, moment1, moment2), grad) in states.iter_mut().zip(self.grads.tensors()) {
                compose_adamw(value, grad, moment1, moment2, step)?;
            }
            Ok(())
        })
    }
}

/// The formula of [`AdamUpdate`], an operation a launch.
pub(crate) fn compose_adamw(
    value: &mut Tensor,
    grad: &Tensor,
    moment1: &mut Tensor,
    moment2: &mut Tensor,
    step: i32,
) -> Result<()> {
    let (beta1, beta2) = ADAMW.betas;
    let correction = |beta: f64| 1.0 - beta.powi(step);
    *moment1 = moment1.affine(beta1 as f32, 0.0)?.add(&grad.affine((1.0 - beta1) as f32, 0.0)?)?;
    *moment2 = moment2.affine(beta2 as f32, 0.0)?.add(&grad.square()?.affine((1.0 - beta2) as f32, 0.0)?)?;
    let denominator = moment2.sqrt()?.affine((1.0 / correction(beta2).sqrt()) as f32, ADAMW.eps as f32)?;
    let update = moment1.div(&denominator)?.affine((LEARNING_RATE / correction(beta1)) as f32, 0.0)?;
    *value = value.affine((1.0 - LEARNING_RATE * ADAMW.weight_decay) as f32, 0.0)?.sub(&update)?;
    Ok(())
}

/// Copies of so many elements by kernels whose lanes move one, two and four vectors.
pub(crate) fn copies(device: &Device, elements: usize) -> Result<Vec<impl FnMut() -> Result<()> + use<>>> {
    let x = Tensor::full(device, 0.5f32, &[elements])?;
    let y = Tensor::zeros(device, DType::F32, &[elements])?;
    // On the CPU the three are one.
    let widths: &[u32] = if device.is_cpu() { &[1] } else { &[1, 2, 4] };
    Ok(widths
        .iter()
        .map(|&vectors_per_lane| {
            let (x, y) = (x.clone(), y.clone());
            move || copy_by_kernel(&x, &y, vectors_per_lane)
        })
        .collect())
}
