//! [`Check`]: test arguments for an element-wise function, and the tolerance for comparing two devices.

/// The largest allowed difference of two results: |got - expected| <= absolute + relative |expected|.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// For software drivers, which round each operation as the CPU does: absolute and relative.
    pub software: (f32, f32),
    /// For hardware, which may contract a b + c to one rounding, and compute quotients and roots less accurately.
    pub hardware: (f32, f32),
}

impl Tolerance {
    /// Returns the same tolerance for all devices.
    #[must_use]
    pub const fn new(absolute: f32, relative: f32) -> Self {
        Self { software: (absolute, relative), hardware: (absolute, relative) }
    }

    /// Returns the tolerance with other bounds for hardware.
    #[must_use]
    pub const fn on_hardware(self, absolute: f32, relative: f32) -> Self {
        Self { hardware: (absolute, relative), ..self }
    }
}

// 1 ulp is at most 1.2e-7 of a number. The twins use the standard library, accurate to an ulp. The shaders' own
// functions are accurate to two or three.

/// The same numbers; positive and negative zeros are equal.
pub const EXACT: Tolerance = Tolerance::new(0.0, 0.0);

/// One division or root. Vulkan allows hardware 2.5 ulp for a division, and computes the root from an inverse root
/// with 2 ulp.
pub const ROUNDED: Tolerance = EXACT.on_hardware(0.0, 6e-7);

/// A root and a division.
pub const TWICE_ROUNDED: Tolerance = EXACT.on_hardware(0.0, 1e-6);

/// One exponential, logarithm or the like.
pub const FEW_ULP: Tolerance = Tolerance::new(0.0, 5e-7);

/// Two inexact steps, or a sum that loses a bit.
pub const MORE_ULP: Tolerance = Tolerance::new(0.0, 1e-6);

/// A difference of inexact parts that cancel: near 0.5 a hyperbolic tangent is twelve times its distance from x.
pub const SERIES: Tolerance = Tolerance::new(0.0, 5e-6);

/// A complementary error function. Both devices share the formula. Contracted, its exponent of at most 100 is off by 100
/// half-ulps, 6e-6.
pub const ERFC_TOLERANCE: Tolerance = Tolerance::new(0.0, 1e-6).on_hardware(1e-7, 1e-5);

/// A sine. Near a zero of the function the reduced argument has an absolute error: 8,192 is 5,215 quarter turns, and
/// each constant of the reduction is accurate to 2⁻³⁶ or better.
pub const SINE: Tolerance = Tolerance::new(5e-7, 5e-7);

/// A product and a sum of numbers up to 10, which hardware may round once instead of twice.
pub const SUM: Tolerance = EXACT.on_hardware(2e-6, 2e-7);

/// e^(y ln x): the exponent, at most 88, is accurate to an ulp, and its absolute error is the result's relative one.
pub const POWER: Tolerance = Tolerance::new(0.0, 1.5e-5);

/// Arguments of a function for tests.
///
/// The ranges apply to each argument. Parity tests compare the GPU with the twin over the whole range. Gradient
/// checks use the smooth range, away from kinks.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    pub(super) numbers: &'static [f32],
    pub(super) range: (f32, f32),
    pub(super) tolerance: Tolerance,
    smooth: Option<(f32, f32)>,
    kink: Option<Judge<f32>>,
    pub(super) limit: f32,
    pub(super) may_vanish: Option<Judge<bool>>,
}

/// A function of the arguments for one element and of the numbers.
type Judge<T> = fn(&[f32], &[f32]) -> T;

impl Check {
    /// Returns a check over a range, with exact results and gradients over the same range.
    #[must_use]
    pub const fn over(low: f32, high: f32) -> Self {
        Self {
            numbers: &[],
            range: (low, high),
            tolerance: EXACT,
            smooth: Some((low, high)),
            kink: None,
            limit: f32::INFINITY,
            may_vanish: None,
        }
    }

    /// Sets the numbers of the function.
    #[must_use]
    pub const fn numbers(self, numbers: &'static [f32]) -> Self {
        Self { numbers, ..self }
    }

    /// Sets the tolerance for comparing two devices.
    #[must_use]
    pub const fn within(self, tolerance: Tolerance) -> Self {
        Self { tolerance, ..self }
    }

    /// Sets the range in which gradients are compared with differences: where the function's third derivative is
    /// small relative to the function.
    #[must_use]
    pub const fn smooth(self, low: f32, high: f32) -> Self {
        Self { smooth: Some((low, high)), ..self }
    }

    /// Disables the gradient check.
    #[must_use]
    pub const fn without_gradients(self) -> Self {
        Self { smooth: None, ..self }
    }

    /// Sets the distance of arguments from the nearest kink or tie, which gradient checks avoid. The function
    /// receives the arguments for one element and the numbers.
    #[must_use]
    pub const fn kink(self, distance: fn(&[f32], &[f32]) -> f32) -> Self {
        Self { kink: Some(distance), ..self }
    }

    /// Excludes finite arguments of larger magnitude from comparisons.
    #[must_use]
    pub const fn up_to(self, limit: f32) -> Self {
        Self { limit, ..self }
    }

    /// Sets where a device that flushes subnormal numbers to zero may return zero instead of any result. The function
    /// receives the arguments for one element and the numbers.
    #[must_use]
    pub const fn may_vanish(self, condition: fn(&[f32], &[f32]) -> bool) -> Self {
        Self { may_vanish: Some(condition), ..self }
    }

    /// Returns the numbers of the function.
    #[must_use]
    pub const fn own_numbers(&self) -> &'static [f32] {
        self.numbers
    }

    /// Returns the tolerance for comparing two devices.
    #[must_use]
    pub const fn tolerance(&self) -> Tolerance {
        self.tolerance
    }

    /// Returns the range in which gradients are compared with differences; `None` if they are not checked.
    #[must_use]
    pub const fn smooth_range(&self) -> Option<(f32, f32)> {
        self.smooth
    }

    /// Returns the distance of arguments from the nearest kink, infinity if there is none.
    #[must_use]
    pub fn distance_from_kink(&self, arguments: &[f32]) -> f32 {
        self.kink.map_or(f32::INFINITY, |distance| distance(arguments, self.numbers))
    }
}
