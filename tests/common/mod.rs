//! Shared parts of the tests: devices, comparisons that report differences, and the oracle.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

pub(crate) mod oracle;

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::OnceLock;

use thalweg::tensor::functions::{ABS, AFFINE, Check, Elementwise, MUL, RECIPROCAL, ROUNDED, SQUARE, SUB, SUM};
use thalweg::tensor::{Device, DeviceKind, Result, Tensor, functions};

/// Returns the GPU that all tests of a process share. Without an adapter the test is reported as skipped, or fails if
/// `THALWEG_REQUIRE_GPU` is set.
pub(crate) fn gpu() -> Option<Device> {
    static GPU: OnceLock<Result<Device>> = OnceLock::new();
    match GPU.get_or_init(Device::gpu) {
        Ok(device) => Some(device.clone()),
        Err(error) => {
            let required = std::env::var_os("THALWEG_REQUIRE_GPU").is_some_and(|value| value != "0");
            assert!(!required, "THALWEG_REQUIRE_GPU is set, but: {error}");
            skip(&format!("its part on a GPU: {error}"));
            None
        }
    }
}

/// Reports a skipped part of the running test, by name: on standard error, and in the file of `THALWEG_SKIPPED`, which
/// `./test` prints at its end.
pub(crate) fn skip(part: &str) {
    let thread = std::thread::current();
    let line = format!("{}: {part}\n", thread.name().unwrap_or("a test"));
    if let Some(path) = std::env::var_os("THALWEG_SKIPPED") {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
    #[allow(clippy::print_stderr, reason = "a skipped part is named")]
    {
        eprint!("skipped: {line}");
    }
}

/// Returns the CPU, and the GPU if there is one.
pub(crate) fn devices() -> Vec<Device> {
    std::iter::once(Device::cpu()).chain(gpu()).collect()
}

/// Opens the GPU again: its settings and counters belong to one test.
pub(crate) fn own_gpu() -> Option<Device> {
    gpu().map(|_| Device::open_new("gpu").unwrap())
}

/// Opens the CPU and the GPU again.
pub(crate) fn own_devices() -> Vec<Device> {
    std::iter::once(Device::open_new("cpu").unwrap()).chain(own_gpu()).collect()
}

/// Returns whether the device is a software driver, which neither contracts a b + c to one rounding nor divides
/// inexactly.
pub(crate) fn is_software(device: &Device) -> bool {
    device.info().kind == DeviceKind::Software
}

/// Returns whether the device flushes subnormal numbers to zero, arguments and results, as WGSL allows: newer software
/// drivers do, and much hardware.
pub(crate) fn flushes_subnormals(device: &Device) -> bool {
    floats(&tensor(device, &[1e-39], &[1]).affine(1.0, 0.0).unwrap()) == [0.0]
}

/// Returns the bound below which results may be zero. It is the smallest normal number; if intermediate results are
/// flushed, it is that number times a factor of the size of an argument.
pub(crate) fn vanishing(device: &Device) -> f32 {
    if flushes_subnormals(device) { 128.0 * f32::MIN_POSITIVE } else { f32::MIN_POSITIVE }
}

/// Returns the elements of a tensor of f32.
pub(crate) fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.to_vec::<f32>().unwrap()
}

/// Returns the elements of a tensor of u32.
pub(crate) fn words(tensor: &Tensor) -> Vec<u32> {
    tensor.to_vec::<u32>().unwrap()
}

/// Makes a tensor of f32 with these elements.
pub(crate) fn tensor(device: &Device, elements: &[f32], shape: &[usize]) -> Tensor {
    Tensor::from_slice(device, elements, shape).unwrap()
}

/// Returns reproducible numbers in [low, high) that do not come from the code under test: the upper 24 bits of a linear
/// congruential generator of 64 bits (Knuth's MMIX).
pub(crate) fn numbers(seed: u64, count: usize, low: f32, high: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            low + (high - low) * ((state >> 40) as f32 / 16_777_216.0)
        })
        .collect()
}

/// The allowed difference of two results: |got - expected| <= absolute + relative |expected|.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tolerance {
    pub(crate) absolute: f32,
    pub(crate) relative: f32,
}

impl Tolerance {
    /// Equal numbers; zeros of either sign are equal.
    pub(crate) const EXACT: Self = Self { absolute: 0.0, relative: 0.0 };

    pub(crate) const fn new(absolute: f32, relative: f32) -> Self {
        Self { absolute, relative }
    }

    /// Returns whether two numbers agree. NaN agrees only with NaN, an infinity only with itself.
    pub(crate) fn holds(self, got: f32, expected: f32) -> bool {
        if got.is_nan() || expected.is_nan() {
            return got.is_nan() && expected.is_nan();
        }
        got == expected
            || (got.is_finite()
                && expected.is_finite()
                && (got - expected).abs() <= self.absolute + self.relative * expected.abs())
    }
}

/// Returns the number of floats between two floats; `None` if one is NaN.
pub(crate) fn ulps(x: f32, y: f32) -> Option<u64> {
    let place = |x: f32| {
        let magnitude = i64::from(x.to_bits() & 0x7fff_ffff);
        if x.is_sign_negative() { -magnitude } else { magnitude }
    };
    (!x.is_nan() && !y.is_nan()).then(|| place(x).abs_diff(place(y)))
}

/// Fails if two results differ by more than the tolerance, and shows the first ten places.
pub(crate) fn assert_close(what: &str, got: &[f32], expected: &[f32], tolerance: Tolerance) {
    assert_eq!(got.len(), expected.len(), "{what}: the numbers of elements differ");
    report(what, got, expected, |i| tolerance.holds(got[i], expected[i]), &format!("{tolerance:?}"));
}

/// Fails if two results differ in a bit, and shows the first ten places. All NaNs are equal.
pub(crate) fn assert_same_bits(what: &str, got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len(), "{what}: the numbers of elements differ");
    let same = |i: usize| got[i].to_bits() == expected[i].to_bits() || (got[i].is_nan() && expected[i].is_nan());
    report(what, got, expected, same, "same bits");
}

/// Fails if `holds` is false for a place, and shows the first ten.
pub(crate) fn report(what: &str, got: &[f32], expected: &[f32], holds: impl Fn(usize) -> bool, rule: &str) {
    let wrong: Vec<usize> = (0..got.len()).filter(|&i| !holds(i)).collect();
    if wrong.is_empty() {
        return;
    }
    let mut text = format!("{what}: {} of {} elements differ ({rule})", wrong.len(), got.len());
    for &i in wrong.iter().take(10) {
        let distance = ulps(got[i], expected[i]).map_or("-".to_string(), |ulps| ulps.to_string());
        text += &format!("\n  [{i}] got {:e}, expected {:e}, {distance} ulp", got[i], expected[i]);
    }
    panic!("{text}");
}

functions! {
    /// x / (1 + |x|), element by element: a function that the library does not have.
    pub(crate) SOFTSIGN = softsign(x) {
        wgsl: "return x / (1.0 + abs(x));",
        twin: x / (1.0 + x.abs()),
        derivatives: [MUL(g, SQUARE(RECIPROCAL(AFFINE[1.0, 1.0](ABS(x)))))],
        checks: [Check::over(-10.0, 10.0).within(ROUNDED).smooth(-2.0, 2.0).kink(|x, _| x[0].abs())],
    }

    /// scale (x - y)², element by element, with the name of a function of the kernels.
    pub(crate) SQUARED_DISTANCE = power(x, y; scale) {
        wgsl: "let d = x - y;
    return scale * (d * d);",
        twin: {
            let d = x - y;
            scale * (d * d)
        },
        derivatives: [AFFINE[2.0 * scale, 0.0](MUL(g, SUB(x, y))), AFFINE[-2.0 * scale, 0.0](MUL(g, SUB(x, y)))],
        checks: [Check::over(-3.0, 3.0).numbers(&[0.75])],
    }

    /// x + t (y - x), element by element.
    pub(crate) LERP = lerp(x, y, t) {
        wgsl: "return x + t * (y - x);",
        twin: x + t * (y - x),
        derivatives: [MUL(g, AFFINE[-1.0, 1.0](t)), MUL(g, t), MUL(g, SUB(y, x))],
        checks: [Check::over(-3.0, 3.0).within(SUM)],
    }
}

/// A function with numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbered {
    pub(crate) function: &'static Elementwise,
    pub(crate) numbers: &'static [f32],
}

impl Numbered {
    /// Computes the function of a tensor, and of others if it has several arguments.
    pub(crate) fn of(self, x: &Tensor, others: &[&Tensor]) -> Result<Tensor> {
        x.apply_with(self.function, others, self.numbers)
    }
}

/// Returns all functions with this number of arguments, with the numbers of their first check: those of the table,
/// those of derivatives, and those of this file.
pub(crate) fn functions_of(arguments: usize) -> Vec<Numbered> {
    let own = [&SOFTSIGN, &SQUARED_DISTANCE, &LERP];
    let all = functions::all().into_iter().chain(functions::slopes()).chain(own);
    all.filter(|function| function.function.arguments.len() == arguments)
        .map(|function| Numbered { function, numbers: function.checks[0].own_numbers() })
        .collect()
}
