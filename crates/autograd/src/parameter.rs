//! [`Parameter`]: a trainable tensor with its gradient.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use thalweg_tensor::{DType, Tensor};

use crate::{Error, Result};

/// A trainable tensor: a name, a shape, and, once it has memory, a value and a gradient, which are slices of arenas.
/// A clone is the same parameter, and cheap.
///
/// Backward passes add to the gradient until [`zero_grad`](Self::zero_grad), which writes no memory: the first pass
/// after it overwrites the gradient.
///
/// ```
/// use thalweg_autograd::{Parameter, Tape};
/// use thalweg_tensor::{DType, Device, Tensor};
/// # fn main() -> thalweg_autograd::Result<()> {
/// let device = Device::cpu();
/// let slope = Parameter::declare("slope", &[]);
/// slope.bind(Tensor::scalar(&device, 3.0f32)?, Tensor::zeros(&device, DType::F32, &[])?)?;
/// for _ in 0..2 {
///     let tape = Tape::new();
///     tape.backward(tape.parameter(&slope)?.square()?)?;
/// }
/// assert_eq!(slope.grad()?.item::<f32>()?, 12.0);
/// slope.zero_grad();
/// assert_eq!(slope.grad()?.item::<f32>()?, 0.0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Parameter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    shape: Vec<usize>,
    memory: OnceLock<Memory>,
    grad_state: AtomicU8,
    /// Whether a caller has got the memory of the gradient since the gradient was last zeroed, and may have written
    /// it.
    grad_exposed: AtomicBool,
    frozen: AtomicBool,
}

#[derive(Debug)]
struct Memory {
    value: Tensor,
    grad: Tensor,
}

/// The gradient is zero, and so is its memory.
const ZERO: u8 = 0;
/// The memory contains the gradient.
const WRITTEN: u8 = 1;
/// The gradient is zero, but its memory contains an old one.
const STALE: u8 = 2;

impl Parameter {
    /// Creates a parameter without memory.
    #[must_use]
    pub fn declare(name: impl Into<String>, shape: &[usize]) -> Self {
        Self(Arc::new(Inner {
            name: name.into(),
            shape: shape.to_vec(),
            memory: OnceLock::new(),
            grad_state: AtomicU8::new(ZERO),
            grad_exposed: AtomicBool::new(false),
            frozen: AtomicBool::new(false),
        }))
    }

    /// Sets its memory, once: a value and a gradient, both f32 of the declared shape. The gradient must be zero.
    ///
    /// # Errors
    /// If a shape is not the declared one, a type is not f32, the devices differ, or the parameter already has
    /// memory.
    pub fn bind(&self, value: Tensor, grad: Tensor) -> Result<()> {
        let refused = |found: &Tensor| Error::Binding {
            name: self.0.name.clone(),
            expected: self.0.shape.clone(),
            found: found.shape().to_vec(),
        };
        for tensor in [&value, &grad] {
            let (expected, found) = (DType::F32, tensor.dtype());
            if found != expected {
                return Err(thalweg_tensor::Error::DType { op: "bind", expected, found }.into());
            }
            if tensor.shape() != self.shape() || tensor.device() != value.device() {
                return Err(refused(tensor));
            }
        }
        self.0.memory.set(Memory { value, grad }).map_err(|memory| refused(&memory.value))
    }

    /// Returns its name, unique in a model.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns its shape.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    /// Returns its value.
    ///
    /// # Errors
    /// If it has no memory yet.
    pub fn value(&self) -> Result<&Tensor> {
        Ok(&self.memory()?.value)
    }

    /// Returns its gradient, as left by backward passes. From then on it counts as written
    /// ([`has_grad`](Self::has_grad)), since the caller may write it.
    ///
    /// # Errors
    /// If it has no memory yet, or work on the device has failed.
    pub fn grad(&self) -> Result<&Tensor> {
        self.settle()?;
        let grad = &self.memory()?.grad;
        self.0.grad_exposed.store(true, Ordering::Relaxed);
        Ok(grad)
    }

    /// Returns whether the gradient may have been written since it was last zeroed: by a backward pass, or by a
    /// caller of [`grad`](Self::grad).
    #[must_use]
    pub fn has_grad(&self) -> bool {
        self.accumulates() || self.0.grad_exposed.load(Ordering::Relaxed)
    }

    /// Freezes or unfreezes the parameter, like PyTorch's `requires_grad_`.
    ///
    /// A tape treats a frozen parameter as a constant: its gradient is not computed, and the existing one becomes
    /// zero. Optimizers change neither the parameter nor its state, regardless of moments and weight decay. A
    /// recording that uses the parameter cannot be replayed after a change: it fails with
    /// [`thalweg_tensor::Error::Stale`].
    pub fn set_frozen(&self, frozen: bool) {
        self.0.frozen.store(frozen, Ordering::Relaxed);
        if frozen {
            self.zero_grad();
        }
    }

    /// Returns whether it is frozen.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.0.frozen.load(Ordering::Relaxed)
    }

    /// Makes the recording in progress on this thread, if any, fail on replay once the parameter is frozen or
    /// unfrozen. Tapes and optimizers do so for the parameters that they use.
    ///
    /// # Errors
    /// If it has no memory yet.
    pub fn guard_frozen(&self) -> Result<()> {
        if !thalweg_tensor::is_recording(self.value()?.device()) {
            return Ok(());
        }
        let (parameter, was_frozen) = (self.clone(), self.is_frozen());
        thalweg_tensor::guard(move || {
            if parameter.is_frozen() == was_frozen {
                return Ok(());
            }
            let change = if was_frozen { "unfrozen" } else { "frozen" };
            let problem =
                format!("parameter {:?} was {change} after the recording was made; record again", parameter.name());
            Err(thalweg_tensor::Error::Stale { problem })
        });
        Ok(())
    }

    /// Zeroes the gradient. No memory is written; the next backward pass overwrites it.
    pub fn zero_grad(&self) {
        if self.0.grad_exposed.swap(false, Ordering::Relaxed) {
            self.0.grad_state.store(STALE, Ordering::Relaxed);
            return;
        }
        // Only a written gradient becomes stale; zero memory stays zero.
        let _ = self.0.grad_state.compare_exchange(WRITTEN, STALE, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Marks the memory of the gradient as written by other code than a backward pass, so that the next pass adds to
    /// it.
    pub fn mark_grad_written(&self) {
        self.0.grad_state.store(WRITTEN, Ordering::Relaxed);
    }

    /// Zeroes the memory of a gradient that no backward pass has written since it was zeroed. Optimizers call it
    /// before they read all gradients at once.
    ///
    /// # Errors
    /// If it has no memory yet, or work on the device has failed.
    pub fn settle(&self) -> Result<()> {
        if self.0.grad_state.load(Ordering::Relaxed) == STALE {
            self.memory()?.grad.fill(0f32)?;
            self.0.grad_state.store(ZERO, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Returns the memory of the gradient, and whether to add to it; from now on it counts as written.
    pub(crate) fn claim(&self) -> Result<(Tensor, bool)> {
        let grad = self.memory()?.grad.clone();
        let before = self.0.grad_state.swap(WRITTEN, Ordering::Relaxed);
        // A replay writes the memory again, regardless of the state on the host.
        let written = self.0.clone();
        thalweg_tensor::on_replay(move || written.grad_state.store(WRITTEN, Ordering::Relaxed));
        Ok((grad, before == WRITTEN))
    }

    /// Returns whether a backward pass adds to the gradient instead of overwriting it.
    pub(crate) fn accumulates(&self) -> bool {
        self.0.grad_state.load(Ordering::Relaxed) == WRITTEN
    }

    /// Returns whether both are the same parameter, and not just parameters of the same name.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns a number that is unique among living parameters.
    pub(crate) fn key(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    fn memory(&self) -> Result<&Memory> {
        self.0.memory.get().ok_or_else(|| Error::Unbound { name: self.0.name.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;
    use thalweg_tensor::Device;

    #[test]
    fn a_frozen_parameter_is_a_constant_and_has_no_gradient() {
        let device = Device::cpu();
        let [slope, offset] = ["slope", "offset"].map(|name| {
            let parameter = Parameter::declare(name, &[]);
            let grad = Tensor::zeros(&device, DType::F32, &[]).unwrap();
            parameter.bind(Tensor::scalar(&device, 3.0f32).unwrap(), grad).unwrap();
            parameter
        });
        let backward = || {
            let tape = Tape::new();
            let product = tape.parameter(&slope).unwrap().mul(tape.parameter(&offset).unwrap()).unwrap();
            tape.backward(product).unwrap();
            [&slope, &offset].map(|parameter| parameter.grad().unwrap().item::<f32>().unwrap())
        };
        assert_eq!(backward(), [3.0, 3.0]);
        slope.set_frozen(true);
        assert_eq!(backward(), [0.0, 6.0]);
        slope.set_frozen(false);
        assert_eq!(backward(), [3.0, 9.0]);
    }

    #[test]
    fn a_gradient_that_was_written_by_hand_is_there_until_it_is_made_zero() {
        let device = Device::cpu();
        let parameter = Parameter::declare("scale", &[]);
        let grad = Tensor::zeros(&device, DType::F32, &[]).unwrap();
        parameter.bind(Tensor::scalar(&device, 3.0f32).unwrap(), grad).unwrap();
        assert!(!parameter.has_grad());
        parameter.grad().unwrap().write(&[7.0f32]).unwrap();
        assert!(parameter.has_grad());
        parameter.zero_grad();
        assert!(!parameter.has_grad());
        assert_eq!(parameter.grad().unwrap().item::<f32>().unwrap(), 0.0);
    }

    #[test]
    fn a_recording_is_refused_once_a_parameter_of_it_is_frozen_or_unfrozen() {
        let device = Device::cpu();
        let parameter = Parameter::declare("scale", &[]);
        let grad = Tensor::zeros(&device, DType::F32, &[]).unwrap();
        parameter.bind(Tensor::scalar(&device, 3.0f32).unwrap(), grad).unwrap();
        let (recording, ()) = device
            .record(|| -> Result<()> {
                let tape = Tape::new();
                tape.backward(tape.parameter(&parameter)?.square()?)?;
                Ok(())
            })
            .unwrap();
        recording.replay(1).unwrap();
        parameter.set_frozen(true);
        assert_eq!(
            recording.replay(1).unwrap_err().to_string(),
            "replay: parameter \"scale\" was frozen after the recording was made; record again"
        );
        parameter.set_frozen(false);
        recording.replay(1).unwrap();
    }
}
