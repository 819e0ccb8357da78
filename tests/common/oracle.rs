//! The oracle: results of other numerical programs (PyTorch, optax), as references.
//!
//! It is next to the checkout, in `../shared/oracle`; otherwise the small copy in `tests/fixtures/oracle` replaces it.
//! Its README defines the format and the measure: a file is `NAME.json` with cases and `NAME.safetensors` with arrays
//! whose names start with the case's id.

use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use thalweg::tensor::functions;
use thalweg::tensor::functions::Elementwise;

/// Returns the folder of the whole oracle, if it exists.
pub(crate) fn whole() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/oracle");
    path.join("README.md").is_file().then_some(path)
}

/// Returns the folder of the small copy.
pub(crate) fn small() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/oracle")
}

/// The cases of a file and its arrays.
#[derive(Debug)]
pub(crate) struct Oracle {
    /// The file's name, without its extension.
    pub(crate) name: String,
    /// Whether this is the whole oracle's file and not the small copy's.
    pub(crate) is_whole: bool,
    settings: Value,
    arrays: Vec<u8>,
}

/// An array, of any stored type.
#[derive(Debug, Clone)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f64>,
}

impl Array {
    pub(crate) fn f32(&self) -> Vec<f32> {
        self.values.iter().map(|&x| x as f32).collect()
    }

    pub(crate) fn u32(&self) -> Vec<u32> {
        self.values.iter().map(|&x| x as u32).collect()
    }
}

impl Oracle {
    /// Opens a file such as `"ops/unary"` or `"optimizers/adamw"`, from the small copy if there is no whole oracle.
    pub(crate) fn open(name: &str) -> Self {
        match whole() {
            Some(folder) => Self::open_in(&folder, name, true),
            None => Self::open_in(&small(), name, false),
        }
    }

    /// Opens a file and passes each case to `hold`, which returns whether it ran. At least `at_least` cases must have
    /// run, of the whole file and of the small copy.
    pub(crate) fn hold_cases(name: &str, at_least: (usize, usize), mut hold: impl FnMut(Case<'_>) -> bool) {
        let oracle = Self::open(name);
        let (mut run, mut left) = (0, Vec::new());
        for case in oracle.cases() {
            let ran = hold(case);
            run += usize::from(ran);
            if !ran && !left.contains(&case.text("op")) {
                left.push(case.text("op"));
            }
        }
        #[allow(clippy::print_stderr, reason = "how many cases ran is said")]
        {
            eprintln!("{name}: {run} of {} cases; not here: {left:?}", oracle.cases().len());
        }
        let at_least = if oracle.is_whole { at_least.0 } else { at_least.1 };
        assert!(run >= at_least, "{name}: {run} cases ran, expected at least {at_least}");
    }

    /// Opens a file of one of the two.
    pub(crate) fn open_in(folder: &Path, name: &str, is_whole: bool) -> Self {
        let read = |ending: &str| {
            let path = folder.join(format!("{name}.{ending}"));
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        // The problems of the optimizers have arrays only, the textbook functions settings only.
        let settings = if folder.join(format!("{name}.json")).is_file() {
            serde_json::from_slice(&read("json")).unwrap_or_else(|error| panic!("{name}.json: {error}"))
        } else {
            Value::Null
        };
        let arrays = if folder.join(format!("{name}.safetensors")).is_file() || settings.is_null() {
            read("safetensors")
        } else {
            safetensors::serialize::<&str, TensorView<'_>, _>([], None).unwrap()
        };
        Self { name: name.to_string(), is_whole, settings, arrays }
    }

    /// Returns the settings above the cases.
    pub(crate) fn settings(&self) -> &Value {
        &self.settings
    }

    /// Returns the cases. Fails if there are none.
    pub(crate) fn cases(&self) -> Vec<Case<'_>> {
        let cases = self.settings["cases"].as_array().unwrap_or_else(|| panic!("{}: no list of cases", self.name));
        assert!(!cases.is_empty(), "{}: the list of cases is empty", self.name);
        cases.iter().map(|settings| Case { oracle: self, settings }).collect()
    }

    /// Returns an array by its full name; it must exist.
    pub(crate) fn array(&self, name: &str) -> Array {
        self.find(name).unwrap_or_else(|| panic!("{}: no array {name:?}", self.name))
    }

    /// Returns an array by its full name, if it exists.
    pub(crate) fn find(&self, name: &str) -> Option<Array> {
        let tensor = self.tensors().tensor(name).ok()?;
        let data = tensor.data();
        let values = match tensor.dtype() {
            Dtype::F32 => data.as_chunks().0.iter().map(|&x| f64::from(f32::from_le_bytes(x))).collect(),
            Dtype::F64 => data.as_chunks().0.iter().map(|&x| f64::from_le_bytes(x)).collect(),
            Dtype::I64 => data.as_chunks().0.iter().map(|&x| i64::from_le_bytes(x) as f64).collect(),
            Dtype::U8 => data.iter().map(|&x| f64::from(x)).collect(),
            other => panic!("{}: {name:?} has elements of type {other:?}", self.name),
        };
        Some(Array { shape: tensor.shape().to_vec(), values })
    }

    /// Returns the names of all arrays, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.tensors().names().into_iter().map(str::to_string).collect();
        names.sort_unstable();
        names
    }

    /// Returns the arrays as they are stored.
    pub(crate) fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.arrays).unwrap_or_else(|error| panic!("{}.safetensors: {error}", self.name))
    }
}

/// One case of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case<'a> {
    oracle: &'a Oracle,
    settings: &'a Value,
}

impl<'a> Case<'a> {
    pub(crate) fn id(&self) -> &'a str {
        self.text("id")
    }

    /// Returns a setting of the case by a path of keys with dots, such as `"hyper.betas"`, or null if it is missing.
    pub(crate) fn get(&self, path: &str) -> &'a Value {
        path.split('.').fold(self.settings, |value, key| &value[key])
    }

    /// Returns a setting that is a text.
    pub(crate) fn text(&self, path: &str) -> &'a str {
        self.get(path).as_str().unwrap_or_else(|| panic!("{}: {path} is no text", self.oracle.name))
    }

    /// Returns a setting that is a number, or one of JSON's texts for NaN and infinities.
    pub(crate) fn number(&self, path: &str) -> f64 {
        match self.get(path) {
            Value::String(text) => text.parse().unwrap_or(f64::NAN),
            value => {
                value.as_f64().unwrap_or_else(|| panic!("{} {}: {path} is no number", self.oracle.name, self.id()))
            }
        }
    }

    /// Returns whether a setting is true; a missing one is not.
    pub(crate) fn is(&self, path: &str) -> bool {
        self.get(path).as_bool().unwrap_or(false)
    }

    /// Returns whether the case has a flag, such as `"convention"`.
    pub(crate) fn has_flag(&self, flag: &str) -> bool {
        self.get("flags").as_array().is_some_and(|flags| flags.iter().any(|f| f == flag))
    }

    /// Returns an array of the case, by its name after the id: `case.array("out/f64/0")`.
    pub(crate) fn array(&self, name: &str) -> Array {
        self.oracle.array(&format!("{}/{name}", self.id()))
    }

    /// Returns an array of the case, if it exists.
    pub(crate) fn find(&self, name: &str) -> Option<Array> {
        self.oracle.find(&format!("{}/{name}", self.id()))
    }

    /// Returns the element-wise function of the case with its numbers, or `None` if the table does not have it.
    pub(crate) fn function(&self) -> Option<(&'static Elementwise, Vec<f32>)> {
        let name = match self.text("op") {
            "pow_scalar" => "powf",
            "where" => "where_cond",
            // PyTorch's softplus has a scale.
            "softplus" if self.get("attrs.beta").as_f64().is_some_and(|beta| beta != 1.0) => return None,
            name => name,
        };
        let function = functions::all().into_iter().find(|function| function.name() == name)?;
        let number = |name: &&str| {
            let (attribute, default) = match *name {
                "slope" => ("negative_slope", 0.01),
                "low" => ("min", f64::NEG_INFINITY),
                "high" => ("max", f64::INFINITY),
                "alpha" => ("alpha", 1.0),
                name => (name, f64::NAN),
            };
            self.get(&format!("attrs.{attribute}")).as_f64().unwrap_or(default) as f32
        };
        Some((function, function.function.numbers.iter().map(number).collect()))
    }

    /// Returns the bound for one part of the case: `"out"`, `"grad"`, `"param"`, `"state"`, `"loss"`, `"final"`, ….
    /// Cases that are ill conditioned in f32 also pass with an absolute error of ten times the reference's own f32 run.
    pub(crate) fn bound(&self, part: &str) -> Bound {
        let scaled = self.number(&format!("{part}_tol_scaled"));
        let absolute = if self.has_flag("ill_conditioned_in_f32") {
            10.0 * self.number(&format!("{part}_drift.abs"))
        } else {
            0.0
        };
        Bound { scaled, absolute, largest_input: 1.0 }
    }

    /// Returns `what` after the names of file and case.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{} {} {what}", self.oracle.name, self.id())
    }
}

/// The allowed difference between a result and the reference.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    /// The bound of max |x - r| / max(|r|, rms(r)).
    pub(crate) scaled: f64,
    /// An alternative bound of max |x - r|; 0 if only the scaled one counts.
    pub(crate) absolute: f64,
    /// The largest input: if the reference is 0 everywhere, max |x - r| must be at most 1e-6 of it.
    pub(crate) largest_input: f64,
}

impl Bound {
    pub(crate) fn scaled(scaled: f64) -> Self {
        Self { scaled, absolute: 0.0, largest_input: 1.0 }
    }

    /// Sets the largest magnitude of these inputs.
    pub(crate) fn with_inputs<'a>(mut self, inputs: impl IntoIterator<Item = &'a Array>) -> Self {
        let magnitudes = inputs.into_iter().flat_map(|input| &input.values).filter(|x| x.is_finite()).map(|x| x.abs());
        self.largest_input = magnitudes.fold(0.0, f64::max);
        self
    }
}

/// Returns max |x - r| / max(|r|, rms(r)) over the elements with a finite reference, and max |x - r|.
pub(crate) fn scaled_error(got: &[f32], reference: &[f64]) -> (f64, f64) {
    let finite: Vec<(f64, f64)> =
        got.iter().zip(reference).filter(|(_, r)| r.is_finite()).map(|(&x, &r)| (f64::from(x), r)).collect();
    let rms = (finite.iter().map(|(_, r)| r * r).sum::<f64>() / finite.len().max(1) as f64).sqrt();
    finite.iter().fold((0.0, 0.0), |(scaled, absolute): (f64, f64), &(x, r)| {
        let error = (x - r).abs();
        let scaled_here = if error == 0.0 { 0.0 } else { error / r.abs().max(rms) };
        (scaled.max(scaled_here), absolute.max(error))
    })
}

/// Fails if a result differs from the reference by more than the bound, or has NaNs and infinities elsewhere.
pub(crate) fn assert_within(name: &str, got: &[f32], reference: &[f64], bound: Bound) {
    assert_eq!(got.len(), reference.len(), "{name}: the numbers of elements differ");
    for (i, (&x, &r)) in got.iter().zip(reference).enumerate() {
        let same = if r.is_nan() { x.is_nan() } else { r.is_finite() == x.is_finite() && !x.is_nan() };
        let same = same && (!r.is_infinite() || (x > 0.0) == (r > 0.0));
        assert!(same, "{name}: [{i}] got {x:e}, the reference is {r:e}");
    }
    let (scaled, absolute) = scaled_error(got, reference);
    let passes = if reference.iter().all(|r| *r == 0.0) {
        absolute <= 1e-6 * bound.largest_input
    } else {
        scaled <= bound.scaled || absolute <= bound.absolute
    };
    if !passes {
        let expected: Vec<f32> = reference.iter().map(|&r| r as f32).collect();
        let worst = |i: usize| (f64::from(got[i]) - reference[i]).abs() < 0.5 * absolute;
        let rule = format!("scaled error {scaled:.2e}, absolute {absolute:.2e}, allowed {bound:?}; the largest follow");
        super::report(name, got, &expected, |i| !reference[i].is_finite() || worst(i), &rule);
    }
}

/// Checks as [`assert_within`] with a scaled error only.
pub(crate) fn assert_scaled(name: &str, got: &[f32], reference: &[f64], tol_scaled: f64) {
    assert_within(name, got, reference, Bound::scaled(tol_scaled));
}
