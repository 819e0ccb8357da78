//! [`ProductPlan`]: the choice of the kernels of a product.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use thalweg_shaders::Shader;

use super::batch::{BATCHED_MATMUL, Batch, GATHER_MATMUL};
use super::candidates::{Candidate, Extents, ProductProfile};
use super::choices::{Choices, Class};
use super::generated::form::{Epilogue, Family, Form, Layout, Loads};
use super::generated::{split, text};
use super::linear::{LINEAR, LINEAR_INPUT_GRAD, LINEAR_WEIGHT_GRAD};
use super::operation::MATMUL;
use super::product::Product;
use crate::DeviceInfo;
use crate::kernel::{Kernel, Launch};
use crate::{DType, Device, Error, Result, Tensor};

/// The kernels of a product.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ProductPlan {
    /// One launch.
    Whole {
        /// The operation's own kernel, or one that replaces it.
        kernel: &'static Kernel,
        /// The number of workgroups.
        workgroups: usize,
        /// The number of arithmetic operations, for profiles.
        operations: u64,
    },
    /// Partial sums over slices of k, and their sum.
    Split {
        /// The product; its `slice` is the length of a slice.
        product: Product,
        epilogue: Epilogue,
        candidate: Candidate,
    },
}

impl ProductPlan {
    /// Launches the kernels. They bind the operands, then the other bindings of the operation's kernel, in order,
    /// with its parameters.
    pub(crate) fn run(&self, params: impl bytemuck::Pod, a: &Tensor, b: &Tensor, rest: &[&Tensor]) -> Result<()> {
        let device = a.device();
        let bind = |launch: Launch| rest.iter().fold(launch, |launch, tensor| launch.bind(tensor));
        match *self {
            Self::Whole { kernel, workgroups, operations } => {
                let launch = Launch::new(kernel, params).bind_whole(a).bind_whole(b);
                bind(launch).workgroups(workgroups).operations(operations).run(device)
            }
            Self::Split { product, epilogue, candidate } => {
                let row_sums = matches!(epilogue, Epilogue::WeightGrad { .. });
                let (m, n) = (product.m as usize, product.n as usize);
                let stride = m * n + if row_sums { m } else { 0 };
                let slices = product.k.div_ceil(product.slice);
                let partial = Tensor::uninitialized(device, DType::F32, &[slices as usize, stride])?;
                let form = form(&product, &Batch::ONE, candidate, Epilogue::Partial { row_sums });
                Launch::new(kernel(form), split::PartialParams { product })
                    .bind_whole(a)
                    .bind_whole(b)
                    .bind(&partial)
                    .workgroups(form.tiles(m, n) * slices as usize)
                    .operations(product.operations())
                    .run(device)?;
                let params = split::SumParams { rows: product.m, columns: product.n, slices, stride: stride as u32 };
                bind(Launch::new(sum_kernel(epilogue), params).bind(&partial))
                    .workgroups(stride.div_ceil(split::SUM_WORKGROUP))
                    .operations(u64::from(slices) * stride as u64)
                    .run(device)
            }
        }
    }
}

/// Overrides the profile for the next products of this thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "tune"), allow(dead_code, reason = "the tuner sets it"))]
pub(crate) enum Forced {
    /// Uses the hand-written kernel of the operation.
    Strided,
    /// Uses this candidate.
    Candidate(Candidate),
    /// Uses this candidate, with slices of k of this length.
    #[cfg(test)]
    Split(Candidate, u32),
}

thread_local! {
    static FORCED: Cell<Option<Forced>> = const { Cell::new(None) };
}

/// Runs a closure that computes its products with one kernel.
#[cfg_attr(not(feature = "tune"), allow(dead_code, reason = "the tuner calls it"))]
pub(crate) fn forced<T>(how: Forced, body: impl FnOnce() -> T) -> T {
    struct Restore(Option<Forced>);
    impl Drop for Restore {
        fn drop(&mut self) {
            FORCED.set(self.0);
        }
    }
    let _restore = Restore(FORCED.replace(Some(how)));
    body()
}

/// Returns the plan for a product on a device; `products` is `None` on the CPU.
pub(crate) fn plan(products: Option<&Products>, product: &Product, batch: &Batch, epilogue: Epilogue) -> ProductPlan {
    let extents = Extents { m: product.m as usize, n: product.n as usize, k: product.k as usize };
    let count = batch.count as usize;
    let operations = product.operations() * count as u64;
    let workgroups = match epilogue {
        Epilogue::Gather { .. } => (count * extents.m * extents.n.div_ceil(4)).div_ceil(64),
        _ => count * product.workgroups(),
    };
    let strided = ProductPlan::Whole { kernel: base(epilogue), workgroups, operations };
    let (candidate, slice) = match FORCED.get() {
        Some(Forced::Strided) => (None, None),
        Some(Forced::Candidate(candidate)) => (Some(candidate), None),
        #[cfg(test)]
        Some(Forced::Split(candidate, slice)) => (Some(candidate), Some(slice)),
        None => products.map_or((None, None), |products| products.choose(product, batch, extents, epilogue)),
    };
    // Clamped indices need at least one row and one column.
    let Some(candidate) = candidate.filter(|_| extents.m > 0 && extents.n > 0) else { return strided };
    match slice {
        Some(slice) if product.k > 0 => {
            ProductPlan::Split { product: Product { slice, ..*product }, epilogue, candidate }
        }
        _ => {
            let form = form(product, batch, candidate, epilogue);
            let workgroups = count * form.tiles(extents.m, extents.n);
            ProductPlan::Whole { kernel: kernel(form), workgroups, operations }
        }
    }
}

/// The precision of the operands of matrix products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MatmulPrecision {
    /// Operands stay in f32.
    #[default]
    F32,
    /// Rounded to f16, whose fractions have 10 bits and whose largest number is 65,504. Numbers below 6e-5 lose
    /// digits, and those below 6e-8 become 0. Products are added in f32. Cooperative matrices, also called tensor
    /// cores, compute this. Products with an extent of 16 or less stay in f32.
    F16,
}

/// See [`DeviceProducts::set_matmul_precision`](super::DeviceProducts::set_matmul_precision).
pub(super) fn set_precision(device: &Device, precision: MatmulPrecision) -> Result<()> {
    let half_precision = precision == MatmulPrecision::F16;
    match products(device) {
        Some(products) if !half_precision || products.profile.cooperative.is_some() => {
            products.half_precision.store(half_precision, Ordering::Relaxed);
        }
        None if !half_precision => {}
        _ => {
            return Err(Error::Argument {
                op: "set_matmul_precision",
                name: "precision",
                value: "f16".to_string(),
                rule: "f32 on this device, which has no cooperative matrices of f16",
            });
        }
    }
    Ok(())
}

/// See [`DeviceProducts::matmul_precision`](super::DeviceProducts::matmul_precision).
pub(super) fn precision(device: &Device) -> MatmulPrecision {
    match products(device).is_some_and(|products| products.half_precision.load(Ordering::Relaxed)) {
        true => MatmulPrecision::F16,
        false => MatmulPrecision::F32,
    }
}

/// Returns the state for the choice of product kernels on a device; `None` on the CPU, which has one kernel.
pub(crate) fn products(device: &Device) -> Option<&Products> {
    (!device.is_cpu()).then(|| device.extension(|| Products::new(&device.info())))
}

/// The state of a GPU's products: its profile, and its measured choices.
#[derive(Debug)]
pub(crate) struct Products {
    pub(crate) profile: ProductProfile,
    half_precision: AtomicBool,
    pub(super) tuned: RwLock<Choices>,
}

impl Products {
    /// Creates the state of a device without tuned products.
    fn new(info: &DeviceInfo) -> Self {
        Self { profile: ProductProfile::new(info), half_precision: AtomicBool::new(false), tuned: RwLock::default() }
    }

    /// Returns the kernel for a product, `None` for the strided one, and the length of its slices if k is split.
    fn choose(
        &self,
        product: &Product,
        batch: &Batch,
        extents: Extents,
        epilogue: Epilogue,
    ) -> (Option<Candidate>, Option<u32>) {
        let half_precision = self.half_precision.load(Ordering::Relaxed);
        if let Some(candidate) = self.profile.of_half_precision(extents).filter(|_| half_precision) {
            return (Some(candidate), None);
        }
        let made = |candidate| is_made(&form(product, batch, candidate, epilogue));
        let chosen = self.profile.choose(extents, batch.count as usize, epilogue, made);
        if epilogue.is_batched() {
            return (chosen, None);
        }
        if let Some(slice) = chosen.and_then(|candidate| self.profile.slice(extents, candidate)) {
            return (chosen, Some(slice));
        }
        let tuned = self.tuned.read().unwrap_or_else(PoisonError::into_inner);
        if tuned.is_empty() || extents.k == 0 {
            return (chosen, None);
        }
        (tuned.get(&Class::of(extents, loads(product, batch))).copied().unwrap_or(chosen), None)
    }
}

/// Returns the form of a candidate for the strides of a product.
pub(super) fn form(product: &Product, batch: &Batch, candidate: Candidate, epilogue: Epilogue) -> Form {
    let Candidate { family, swapped } = candidate;
    let vector_stores = product.n.is_multiple_of(4) && !matches!(epilogue, Epilogue::Partial { .. });
    let loads = if let Epilogue::Gather { .. } = epilogue { Loads::Tables } else { loads(product, batch) };
    Form { family, loads, vector_stores, swapped, epilogue }
}

/// Returns how the operands of a product can be loaded.
pub(super) fn loads(product: &Product, batch: &Batch) -> Loads {
    let even = |x: u32| x.is_multiple_of(4);
    if !batch.a_strides.into_iter().chain(batch.b_strides).all(even) {
        return Loads::Scalars;
    }
    let layout = |offset: u32, outer: u32, inner: u32, extent: u32| {
        // Slices of k also start at multiples of four.
        if inner == 1 && even(offset) && even(outer) && even(product.k) && even(product.slice) && product.k > 0 {
            Some(Layout::Inner)
        } else if outer == 1 && even(offset) && even(inner) && even(extent) {
            Some(Layout::Outer)
        } else {
            None
        }
    };
    let a = layout(product.a_offset, product.a_row, product.a_column, product.m);
    let b = layout(product.b_offset, product.b_column, product.b_row, product.n);
    match (a, b) {
        (Some(a), Some(b)) => Loads::Vectors(a, b),
        _ => Loads::Scalars,
    }
}

/// Returns the kernel of the operation with an epilogue.
fn base(epilogue: Epilogue) -> &'static Kernel {
    match epilogue {
        Epilogue::Matmul { .. } | Epilogue::Partial { .. } => &MATMUL,
        Epilogue::Batch { .. } => &BATCHED_MATMUL,
        Epilogue::Gather { .. } => &GATHER_MATMUL,
        Epilogue::Linear { .. } => &LINEAR,
        Epilogue::InputGrad => &LINEAR_INPUT_GRAD,
        Epilogue::WeightGrad { .. } => &LINEAR_WEIGHT_GRAD,
    }
}

/// Returns the generated kernels of this process by form.
fn kernels() -> MutexGuard<'static, HashMap<Form, &'static Kernel>> {
    static KERNELS: OnceLock<Mutex<HashMap<Form, &'static Kernel>>> = OnceLock::new();
    KERNELS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns whether a form's kernel has been created, and so has probably been compiled.
fn is_made(form: &Form) -> bool {
    kernels().contains_key(form)
}

/// Returns the generated kernel of a form. It is created once and never freed, since launches and pipelines refer to
/// it.
pub(super) fn kernel(form: Form) -> &'static Kernel {
    let mut kernels = kernels();
    kernels.entry(form).or_insert_with(|| {
        let shader = shader(form.name(), text::generate(&form));
        Box::leak(Box::new(match form.epilogue {
            Epilogue::Partial { .. } => Kernel {
                shader,
                uniform: size_of::<split::PartialParams>(),
                access: MATMUL.access,
                variants: MATMUL.variants,
                twin: split::partial_twin,
            },
            _ => {
                let Kernel { uniform, access, variants, twin, .. } = *base(form.epilogue);
                Kernel { shader, uniform, access, variants, twin }
            }
        }))
    })
}

/// Returns the kernel that adds partial sums for an epilogue.
fn sum_kernel(epilogue: Epilogue) -> &'static Kernel {
    static KERNELS: OnceLock<Mutex<HashMap<Epilogue, &'static Kernel>>> = OnceLock::new();
    let mut kernels = KERNELS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    kernels.entry(epilogue).or_insert_with(|| {
        let shader = shader(format!("{}_sum", base(epilogue).name()), split::sum_text(epilogue));
        Box::leak(Box::new(split::sum_kernel(epilogue, shader)))
    })
}

/// Creates a shader that lives as long as the process.
fn shader(name: String, text: String) -> &'static Shader {
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    Box::leak(Box::new(Shader { name: leak(name), path: "generated", text: leak(text), shared: &[] }))
}

/// Returns all generated kernels that a profile can choose: for software drivers with subgroups of 4, 8, 16 and 32
/// lanes, and for other devices. It is for tests that compile every text with the back ends; listing kernels compiles
/// none.
#[doc(hidden)]
#[must_use]
pub fn product_kernels() -> Vec<&'static Kernel> {
    let profile = |lanes| ProductProfile { lanes, software: lanes.is_some(), threads: 2, cooperative: None };
    let profiles = [None, Some(4), Some(8), Some(16), Some(32)].map(profile).into_iter();
    let cooperative = [(8, 8), (32, 8), (32, 16)]
        .map(|(lanes, side)| Candidate { family: Family::Cooperative { lanes, side }, swapped: false });
    let candidates = profiles.flat_map(|profile| profile.candidates()).chain(cooperative);
    let kernels = candidates.flat_map(forms).map(kernel);
    kernels.chain(EPILOGUES.into_iter().filter(|epilogue| !epilogue.is_batched()).map(sum_kernel)).collect()
}

/// The epilogues of all operations.
const EPILOGUES: [Epilogue; 12] = [
    Epilogue::Matmul { accumulate: false },
    Epilogue::Matmul { accumulate: true },
    Epilogue::Linear { relu: false },
    Epilogue::Linear { relu: true },
    Epilogue::InputGrad,
    Epilogue::WeightGrad { accumulate: false },
    Epilogue::WeightGrad { accumulate: true },
    Epilogue::Batch { accumulate: false },
    Epilogue::Batch { accumulate: true },
    Epilogue::Gather { bias: false, accumulate: false },
    Epilogue::Gather { bias: true, accumulate: false },
    Epilogue::Gather { bias: false, accumulate: true },
];

/// Returns all forms of a candidate.
fn forms(candidate: Candidate) -> Vec<Form> {
    let Candidate { family, swapped } = candidate;
    let layouts = [Layout::Inner, Layout::Outer];
    let vectors = layouts.iter().flat_map(|&a| layouts.map(|b| Loads::Vectors(a, b)));
    let mut forms = Vec::new();
    for loads in vectors.chain([Loads::Scalars, Loads::Tables]) {
        let gathers = loads == Loads::Tables;
        let epilogues = EPILOGUES.into_iter().filter(|epilogue| matches!(epilogue, Epilogue::Gather { .. }) == gathers);
        for vector_stores in [true, false] {
            let form = |epilogue| Form { family, loads, vector_stores, swapped, epilogue };
            forms.extend(epilogues.clone().map(form));
        }
        if gathers {
            continue;
        }
        if let (Family::Blocks { .. }, false) = (family, swapped) {
            for row_sums in [false, true] {
                let epilogue = Epilogue::Partial { row_sums };
                forms.push(Form { family, loads, vector_stores: false, swapped, epilogue });
            }
        }
    }
    forms
}
