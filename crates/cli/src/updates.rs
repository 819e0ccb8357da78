//! The measured updates: fused ones over an arena, the same as a composition of tensor operations, and copies as the
//! roofline.

use std::rc::Rc;

use thalweg::nn::{AdamW, METHODS, Method, StateArena};
use thalweg::tensor::{
    Arena, Clip, Clock, DType, Device, DeviceKind, Packing, Result, StepArguments, Tensor, copy_by_kernel,
};

/// The bytes that the composition of AdamW moves: nine operations of one operand, four of two.
pub(crate) const ADAMW_COMPOSED_BYTES: u64 = 9 * 8 + 4 * 12;

/// The bytes that a copy moves per element.
pub(crate) const COPY_BYTES: u64 = 8;

/// AdamW with its defaults.
pub(crate) const ADAMW: AdamW = AdamW::new();

/// The maximum number of parameters for measuring methods with matrix products.
const MOST_WITH_PRODUCTS: usize = 64 << 10;

/// Returns the methods to measure with `parameters` parameters: all of the registry, with defaults, and some in other
/// forms.
pub(crate) fn updates_of(device: &Device, parameters: usize) -> impl Iterator<Item = (&'static str, Rc<dyn Method>)> {
    // SOAP refuses sides like these on software drivers.
    let has_soap = device.info().kind != DeviceKind::Software;
    METHODS
        .iter()
        .filter(move |entry| !entry.has_products || parameters <= MOST_WITH_PRODUCTS)
        .filter(move |entry| has_soap || entry.name != "soap")
        .flat_map(|entry| {
            let forms = entry.forms.iter().map(|(name, make)| (*name, Rc::from(make())));
            std::iter::once((entry.name, Rc::from(entry.method()))).chain(forms)
        })
        .filter(move |(_, method): &(_, Rc<dyn Method>)| has_soap || method.name() != "soap")
}

/// Returns the names of all measurements.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    METHODS.iter().flat_map(|entry| std::iter::once(entry.name).chain(entry.forms.iter().map(|(name, _)| *name)))
}

/// Returns the sides of a matrix of `elements` elements that is as square as possible.
fn sides(elements: usize) -> Vec<usize> {
    let rows = (1..=elements.isqrt()).rev().find(|rows| elements.is_multiple_of(*rows)).unwrap_or(1);
    vec![rows, elements / rows]
}

/// Returns the bytes that a method must move per parameter by its own mathematics. Clipping by the norm reads the
/// gradient once more.
pub(crate) fn update_bytes(method: &dyn Method, clip: Clip) -> u64 {
    method.bytes_per_parameter() + if matches!(clip, Clip::Norm(_)) { 4 } else { 0 }
}

/// Converts the error of a method into an error of the device.
fn tensor_error(error: thalweg::nn::Error) -> thalweg::tensor::Error {
    match error {
        thalweg::nn::Error::Tensor(error) => error,
        other => thalweg::tensor::Error::Argument {
            op: "optimizer",
            name: "method",
            value: other.to_string(),
            rule: "one that steps",
        },
    }
}

/// The maximum number of arenas of state of an update.
const MOST_STATE: usize = 5;

const LEARNING_RATE: f64 = 1e-3;

/// Parameters with gradients and state. All updates of them use the same memory.
pub(crate) struct Parameters {
    values: Arena,
    grads: Arena,
    state: Vec<Arena>,
}

impl Parameters {
    /// Makes `tensors` tensors of `elements` elements each.
    pub(crate) fn new(device: &Device, tensors: usize, elements: usize) -> Result<Self> {
        let values = Arena::new(device, &vec![sides(elements); tensors])?;
        let grads = values.zeros_like()?;
        let state = (0..MOST_STATE).map(|_| values.zeros_like()).collect::<Result<Vec<_>>>()?;
        values.pages().iter().try_for_each(|page| page.fill(0.5f32))?;
        grads.pages().iter().try_for_each(|page| page.fill(0.01f32))?;
        Ok(Self { values, grads, state })
    }

    /// Returns a step of a method with this clipping. All methods share its state if its layout is that of the
    /// parameters.
    pub(crate) fn update(&self, method: Rc<dyn Method>, clip: Clip) -> Result<impl FnMut() -> Result<()>> {
        let shapes: Vec<Vec<usize>> = self.values.tensors().iter().map(|tensor| tensor.shape().to_vec()).collect();
        let arena = |(number, wanted): (usize, &StateArena)| {
            let own = wanted.make(&self.values, LEARNING_RATE).map_err(tensor_error)?;
            if wanted.shapes().is_some() || wanted.packing() != Packing::Plain {
                return Ok(own);
            }
            self.state[number].copy_from(&own)?;
            Ok(self.state[number].clone())
        };
        let state = method.state(&shapes).iter().enumerate().map(arena).collect::<Result<Vec<_>>>()?;
        let mut clock = Clock::new(self.values.device(), LEARNING_RATE)?;
        let (values, grads) = (&self.values, &self.grads);
        Ok(move || {
            method.step(StepArguments { values, grads, state: &state, clock: &mut clock, clip }).map_err(tensor_error)
        })
    }

    /// Returns a step of AdamW as a composition of tensor operations, tensor by tensor.
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

/// Computes the formula of [`AdamUpdate`], with a launch per operation.
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

/// The multiple of elements that fills all workgroups of copy kernels.
const WHOLE: usize = 1024;

/// Returns copies of `elements` elements, rounded up so that no load needs a test, by kernels whose lanes move one, two
/// and four vectors.
pub(crate) fn copies(device: &Device, elements: usize) -> Result<Vec<impl FnMut() -> Result<()> + use<>>> {
    let elements = elements.next_multiple_of(WHOLE);
    let x = Tensor::full(device, 0.5f32, &[elements])?;
    let y = Tensor::zeros(device, DType::F32, &[elements])?;
    // On the CPU the three are the same.
    let widths: &[u32] = if device.is_cpu() { &[1] } else { &[1, 2, 4] };
    Ok(widths
        .iter()
        .map(|&vectors_per_lane| {
            let (x, y) = (x.clone(), y.clone());
            move || copy_by_kernel(&x, &y, vectors_per_lane)
        })
        .collect())
}
