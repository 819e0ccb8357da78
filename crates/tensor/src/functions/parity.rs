//! [`Elementwise::check_parity`]: compares the kernel of a function on a device with its twin.

use std::fmt;

use super::{Check, Elementwise};
use crate::philox::{philox, unit_interval};
use crate::{Device, DeviceKind, Result, Tensor};

/// NaN, infinities, zeros, the ends of the range and points where functions change.
const SPECIAL: [f32; 38] = [
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    0.0,
    -0.0,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    1e30,
    -1e30,
    1e-30,
    -1e-30,
    1.0,
    -1.0,
    2.0,
    -2.0,
    3.0,
    -3.0,
    0.5,
    -0.5,
    1e-7,
    -1e-7,
    88.72,
    88.73,
    -87.0,
    -88.0,
    -103.9,
    -104.1,
    20.0,
    -20.0,
    14.0,
    -14.5,
    1000.5,
    -1000.0,
    8191.0,
    0.999_999_9,
    -0.999_999_9,
];

/// Numbers below the smallest normal one, which a device may flush to zero.
const SUBNORMAL: [f32; 6] = [1e-38, -1e-38, 1e-40, -1e-40, 1e-45, -1e-45];

/// The number of arguments drawn from the range of a check: a prime.
const DRAWN: usize = 1009;

/// The comparison of a function's kernel with its twin.
#[derive(Debug, Clone, PartialEq)]
pub struct ParityReport {
    /// The number of compared results.
    pub compared: usize,
    /// The number of results outside the tolerance.
    pub different: usize,
    /// The first of them.
    pub first: Option<DifferentResult>,
}

/// A result that differs between a device and the twin.
#[derive(Debug, Clone, PartialEq)]
pub struct DifferentResult {
    /// The name of the function.
    pub function: &'static str,
    /// The arguments.
    pub arguments: Vec<f32>,
    /// The numbers of the function.
    pub numbers: Vec<f32>,
    /// The result of the device.
    pub got: f32,
    /// The result of the twin.
    pub expected: f32,
}

impl ParityReport {
    /// Returns whether all results agree.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.different == 0
    }
}

impl fmt::Display for ParityReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} results differ", self.different, self.compared)?;
        if let Some(DifferentResult { function, arguments, numbers, got, expected }) = &self.first {
            write!(
                f,
                "; {function} of {arguments:?} with {numbers:?} is {got:e} on the device, {expected:e} by the twin"
            )?;
        }
        Ok(())
    }
}

impl Elementwise {
    /// Compares the kernel of the function on a device with its twin, using the [checks](Check) of its entry: for
    /// arguments over the whole range, for NaN, infinities and other special values in all combinations, and for
    /// subnormal numbers.
    ///
    /// NaN equals NaN, and an infinity equals itself. A result below the smallest normal number may be zero on a
    /// device.
    ///
    /// # Errors
    /// If the device fails, for example because the function's WGSL does not compile.
    ///
    /// ```
    /// use thalweg_tensor::{Device, functions};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let report = functions::SOFTPLUS.check_parity(&Device::best())?;
    /// assert!(report.agrees(), "{report}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn check_parity(&'static self, device: &Device) -> Result<ParityReport> {
        let flushes = flushes_subnormals(device)?;
        let mut report = ParityReport { compared: 0, different: 0, first: None };
        for check in self.checks {
            let mut comparison = Comparison { function: self, check, device, flushes, report: &mut report };
            comparison.compare(&self.drawn(check), Kind::Ordinary)?;
            comparison.compare(&self.combinations(&SPECIAL), Kind::Special)?;
            if self.function.arguments.len() == 1 {
                comparison.compare(&self.combinations(&SUBNORMAL), Kind::Subnormal)?;
            }
        }
        Ok(report)
    }

    /// Returns arguments over the range of a check, a list for each argument.
    fn drawn(&self, check: &Check) -> Vec<Vec<f32>> {
        let (low, high) = check.range;
        let draw = |argument: usize, i: usize| {
            low + (high - low) * unit_interval(philox([i as u32, argument as u32, 0, 0], [0; 2])[0])
        };
        (0..self.function.arguments.len()).map(|argument| (0..DRAWN).map(|i| draw(argument, i)).collect()).collect()
    }

    /// Returns all combinations of some values, a list for each argument.
    fn combinations(&self, values: &[f32]) -> Vec<Vec<f32>> {
        let arguments = self.function.arguments.len();
        let count = values.len().pow(arguments as u32);
        let value = |argument: usize, i: usize| values[i / values.len().pow(argument as u32) % values.len()];
        (0..arguments).map(|argument| (0..count).map(|i| value(argument, i)).collect()).collect()
    }
}

/// The source of arguments.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Ordinary,
    Special,
    Subnormal,
}

struct Comparison<'a> {
    function: &'static Elementwise,
    check: &'a Check,
    device: &'a Device,
    /// Whether the device flushes subnormal numbers to zero.
    flushes: bool,
    report: &'a mut ParityReport,
}

impl Comparison<'_> {
    /// Compares the results for some arguments, a list for each argument.
    fn compare(&mut self, arguments: &[Vec<f32>], kind: Kind) -> Result<()> {
        let (function, numbers) = (self.function, self.check.numbers);
        let tensor = |elements: &Vec<f32>| Tensor::from_slice(self.device, elements, &[elements.len()]);
        let operands = arguments.iter().map(tensor).collect::<Result<Vec<_>>>()?;
        let others: Vec<&Tensor> = operands[1..].iter().collect();
        let got: Vec<f32> = operands[0].apply_with(function, &others, numbers)?.to_vec()?;
        let mut expected = vec![0.0; got.len()];
        let slices: Vec<&[f32]> = arguments.iter().map(Vec::as_slice).collect();
        (function.function.twin)(&slices, numbers, &mut expected);
        for (i, (&got, &expected)) in got.iter().zip(&expected).enumerate() {
            let at: Vec<f32> = arguments.iter().map(|elements| elements[i]).collect();
            if self.leaves_out(&at) {
                continue;
            }
            self.report.compared += 1;
            if !self.holds(&at, kind, got, expected) {
                self.report.different += 1;
                let (function, numbers) = (function.name(), numbers.to_vec());
                self.report.first.get_or_insert(DifferentResult { function, arguments: at, numbers, got, expected });
            }
        }
        Ok(())
    }

    fn leaves_out(&self, at: &[f32]) -> bool {
        let may_vanish = || self.check.may_vanish.is_some_and(|condition| condition(at, self.check.numbers));
        at.iter().any(|x| x.is_finite() && x.abs() > self.check.limit) || (self.flushes && may_vanish())
    }

    fn holds(&self, at: &[f32], kind: Kind, got: f32, expected: f32) -> bool {
        let tolerance = self.check.tolerance;
        let is_hardware = self.device.info().kind == DeviceKind::Hardware;
        let (absolute, relative) = if is_hardware { tolerance.hardware } else { tolerance.software };
        // Intermediate results may be flushed as well, and then be multiplied by an argument.
        let vanishing = if self.flushes { 128.0 * f32::MIN_POSITIVE } else { f32::MIN_POSITIVE };
        // Products of special values span the whole range, so an absolute error is meaningless.
        let absolute = if kind == Kind::Special && at.len() > 1 { vanishing } else { absolute.max(vanishing) };
        let close = |expected: f32| {
            if got.is_nan() || expected.is_nan() {
                return got.is_nan() && expected.is_nan();
            }
            let finite = got.is_finite() && expected.is_finite();
            got == expected || (finite && (got - expected).abs() <= absolute + relative * expected.abs())
        };
        // The function of the number, or of the zero that the device may flush it to.
        let flushed = || self.function.function.of(&[0f32.copysign(at[0])], self.check.numbers);
        close(expected) || (kind == Kind::Subnormal && close(flushed()))
    }
}

/// Returns whether a device flushes subnormal numbers to zero, as WGSL allows.
fn flushes_subnormals(device: &Device) -> Result<bool> {
    Ok(Tensor::from_slice(device, &[1e-39f32], &[1])?.affine(1.0, 0.0)?.to_vec::<f32>()? == [0.0])
}
