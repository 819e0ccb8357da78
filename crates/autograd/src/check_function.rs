//! [`check_function`]: compares the derivatives of an element-wise function with finite differences.

use std::fmt;

use thalweg_tensor::functions::{Check, Elementwise};
use thalweg_tensor::{Device, Tensor, philox};

use crate::{GradientCheck, GradientReport, Result, Tape, Var, check_gradient};

/// The shape of the arguments.
const SHAPE: [usize; 2] = [3, 5];

/// The smallest distance of arguments from a kink: ten times the step of the differences.
const LEAST_DISTANCE: f32 = 0.05;

/// The derivatives of an element-wise function, for one check of its entry.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionReport {
    /// The name of the function.
    pub function: &'static str,
    /// The numbers of the function.
    pub numbers: &'static [f32],
    /// The gradients with respect to all arguments.
    pub first: GradientReport,
    /// The second derivatives, computed as gradients of gradients: one report for each argument.
    pub second: Vec<GradientReport>,
}

impl FunctionReport {
    /// Returns whether the relative errors are below 1e-3 for first and 3e-3 for second derivatives. Rounding in f32
    /// over a step of 5e-3 causes errors of some 1e-5 to 1e-4, and larger ones near the zero of a third derivative.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.first.relative_error < 1e-3 && self.second.iter().all(|report| report.relative_error < 3e-3)
    }
}

impl fmt::Display for FunctionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {:?}: {}", self.function, self.numbers, self.first)?;
        self.second.iter().enumerate().try_for_each(|(i, report)| write!(f, "; second, argument {i}: {report}"))
    }
}

/// Compares the first and second derivatives of an element-wise function with centred differences, once for each
/// check of its entry that has a smooth range. The arguments avoid kinks.
///
/// # Errors
/// If the device fails.
///
/// ```
/// use thalweg_autograd::check_function;
/// use thalweg_tensor::{Device, functions};
/// # fn main() -> thalweg_autograd::Result<()> {
/// for report in check_function(&Device::cpu(), &functions::CLAMP)? {
///     assert!(report.is_right(), "{report}");
/// }
/// # Ok(())
/// # }
/// ```
pub fn check_function(device: &Device, function: &'static Elementwise) -> Result<Vec<FunctionReport>> {
    let checked = function.checks.iter().filter_map(|check| Some((check, check.smooth_range()?)));
    checked.map(|(check, range)| report(device, function, check, range)).collect()
}

fn report(device: &Device, function: &'static Elementwise, check: &Check, range: (f32, f32)) -> Result<FunctionReport> {
    let elements = draw(function.function.arguments.len(), check, range);
    let upload = |elements: &Vec<f32>| Tensor::from_slice(device, elements, &SHAPE);
    let inputs = elements.iter().map(upload).collect::<Result<Vec<_>, _>>()?;
    let numbers = check.own_numbers();
    let options = GradientCheck::default();
    let first = check_gradient(&options, &inputs, |_, x| x[0].apply_with(function, &x[1..], numbers))?;
    // The gradient of the sum of (f + ½)² with respect to one argument; its own gradient is a Hessian-vector product.
    // It is not zero for a linear function or a square root.
    let gradient_in = |i: usize| {
        check_gradient(&options, &inputs, move |tape, x| {
            if x[i].is_tracked() {
                return gradient_of_squares(tape, x, i, function, numbers);
            }
            // Differences need only values; the gradient needs a tape that tracks.
            let inner = Tape::new();
            let inputs: Vec<Var<'_>> = x.iter().map(|x| inner.input(&x.value())).collect();
            Ok(tape.constant(&gradient_of_squares(&inner, &inputs, i, function, numbers)?.value()))
        })
    };
    let second = (0..inputs.len()).map(gradient_in).collect::<Result<_>>()?;
    Ok(FunctionReport { function: function.name(), numbers, first, second })
}

/// Returns the gradient of the sum of (f + ½)² with respect to argument `i`.
fn gradient_of_squares<'t>(
    tape: &'t Tape,
    x: &[Var<'t>],
    i: usize,
    function: &'static Elementwise,
    numbers: &[f32],
) -> Result<Var<'t>> {
    let squares = x[0].apply_with(function, &x[1..], numbers)?.affine(1.0, 0.5)?.square()?.sum()?;
    let gradient = tape.grad(squares, &[x[i]])?[0];
    // Adds zero times the arguments, so that a gradient that does not depend on them has a gradient of zeros.
    x.iter().try_fold(gradient, |sum, x| sum.add(x.affine(0.0, 0.0)?))
}

/// Returns arguments in the range, away from kinks: a list for each argument.
fn draw(arguments: usize, check: &Check, (low, high): (f32, f32)) -> Vec<Vec<f32>> {
    const TRIES: u32 = 1000;
    let unit = |word: u32| (word >> 8) as f32 / 16_777_216.0;
    let at = |element: usize, time: u32| -> Vec<f32> {
        let of_argument = |i: usize| low + (high - low) * unit(philox([element as u32, i as u32, time, 0], [17, 0])[0]);
        (0..arguments).map(of_argument).collect()
    };
    let is_far = |x: &Vec<f32>| check.distance_from_kink(x) >= LEAST_DISTANCE;
    let elements: Vec<Vec<f32>> = (0..SHAPE.iter().product())
        .map(|element| (0..TRIES).map(|time| at(element, time)).find(is_far).unwrap_or_else(|| at(element, 0)))
        .collect();
    (0..arguments).map(|i| elements.iter().map(|element| element[i]).collect()).collect()
}
