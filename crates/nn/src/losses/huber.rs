//! [`Huber`].

use thalweg_autograd::{Reduction, Var};

use super::Loss;
use crate::setting::check;

/// Huber's loss of numbers: squared near the target, and linear far from it, so that outliers count less.
///
/// ```text
/// loss(d) = d² / 2                   if |d| <= delta,    d = output - target
///           delta (|d| - delta / 2)  otherwise
/// ```
///
/// The loss of a batch is the mean over all elements.
///
/// # Shapes
/// Output and targets f32 of one shape → `[]`. The loss is one launch, plus the mean.
///
/// PyTorch's `HuberLoss` (P. J. Huber, "Robust estimation of a location parameter", 1964).
///
/// # Errors
/// If the shapes differ, or delta is not a number greater than 0.
///
/// ```
/// use thalweg_autograd::Tape;
/// use thalweg_nn::{Huber, Loss};
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_nn::Result<()> {
/// let device = Device::cpu();
/// let tape = Tape::new();
/// let output = tape.input(&Tensor::from_slice(&device, &[0.5, 10.0], &[2, 1])?);
/// let loss = Huber::new().of(output, &Tensor::from_slice(&device, &[0.0, 0.0], &[2, 1])?)?;
/// assert_eq!(loss.item()?, (0.125 + 9.5) / 2.0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Huber {
    delta: f32,
}

impl Default for Huber {
    fn default() -> Self {
        Self { delta: 1.0 }
    }
}

impl Huber {
    /// Returns the loss with a delta of 1.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the distance from the target at which the loss becomes linear; greater than 0. Default 1.
    #[must_use]
    pub fn delta(self, delta: f32) -> Self {
        Self { delta }
    }
}

impl Loss for Huber {
    fn per_row<'t>(&self, output: Var<'t>, targets: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        check("delta", self.delta, self.delta > 0.0 && self.delta.is_finite(), "a number greater than 0")?;
        output.huber_loss(targets, Reduction::None, self.delta)
    }
}

#[cfg(test)]
mod tests {
    use thalweg_autograd::Tape;
    use thalweg_tensor::{Device, Tensor};

    use super::*;
    use crate::Result;
    use crate::testing::devices;

    const OUTPUT: [f32; 6] = [0.5, -2.0, 3.0, 0.0, -0.25, 40.0];
    const TARGETS: [f32; 6] = [0.25, 1.0, 2.5, 0.0, 1.5, -7.0];

    /// Returns the loss and its gradient.
    fn on(device: &Device, loss: Huber) -> Result<(f32, Vec<f32>)> {
        let tape = Tape::new();
        let output = tape.input(&Tensor::from_slice(device, &OUTPUT, &[3, 2])?);
        let mean = loss.of(output, &Tensor::from_slice(device, &TARGETS, &[3, 2])?)?;
        let gradients = tape.backward(mean)?;
        let gradient = gradients.get(output).unwrap().to_vec()?;
        Ok((mean.item()?, gradient))
    }

    #[test]
    fn losses_and_gradients_are_those_of_the_formula_on_every_device() {
        for delta in [1.0, 0.25, 5.0f32] {
            let wide = f64::from(delta);
            let distances = OUTPUT.iter().zip(TARGETS).map(|(&x, y)| f64::from(x) - f64::from(y));
            let of = |d: f64| if d.abs() <= wide { 0.5 * d * d } else { wide * (d.abs() - 0.5 * wide) };
            let expected = distances.clone().map(of).sum::<f64>() / 6.0;
            let slopes: Vec<f64> = distances.map(|d| d.clamp(-wide, wide) / 6.0).collect();
            for device in devices() {
                let (loss, gradient) = on(&device, Huber::new().delta(delta)).unwrap();
                // The rounding of sums and products.
                assert!((f64::from(loss) - expected).abs() < 1e-6 * expected, "{device}: {loss} and not {expected}");
                for (x, expected) in gradient.into_iter().zip(&slopes) {
                    assert!((f64::from(x) - expected).abs() <= 1e-6 * expected.abs(), "{device}: {x}, {expected}");
                }
            }
        }
    }

    #[test]
    fn a_recorded_step_has_the_bits_of_an_eager_one() {
        for device in devices() {
            let targets = Tensor::from_slice(&device, &TARGETS, &[3, 2]).unwrap();
            let output = Tensor::from_slice(&device, &OUTPUT, &[3, 2]).unwrap();
            let gradient = Tensor::zeros(&device, thalweg_tensor::DType::F32, &[3, 2]).unwrap();
            let step = || -> Result<()> {
                let tape = Tape::new();
                let x = tape.input(&output);
                let gradients = tape.backward(Huber::new().of(x, &targets)?)?;
                Ok(gradients.get(x).unwrap().copy_into(&gradient)?)
            };
            step().unwrap();
            let eager = gradient.to_vec::<f32>().unwrap();
            let (recording, ()) = device.record(step).unwrap();
            gradient.fill(f32::NAN).unwrap();
            recording.replay(1).unwrap();
            assert_eq!(gradient.to_vec::<f32>().unwrap(), eager, "{device}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let device = Device::cpu();
        let message = |loss: Huber, shape: &[usize]| {
            let tape = Tape::new();
            let output = tape.input(&Tensor::from_slice(&device, &OUTPUT, &[3, 2]).unwrap());
            let targets = Tensor::zeros(&device, thalweg_tensor::DType::F32, shape).unwrap();
            loss.of(output, &targets).unwrap_err().to_string()
        };
        assert!(message(Huber::new(), &[3, 1]).contains("one shape"));
        for delta in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(message(Huber::new().delta(delta), &[3, 2]).starts_with("delta = "), "{delta}");
        }
    }
}
