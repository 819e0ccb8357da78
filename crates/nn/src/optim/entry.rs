//! [`MethodEntry`]: a row of the registry of methods.

use serde::de::DeserializeOwned;
use serde_json::Value;
use thalweg_tensor::Kernel;

use super::{METHODS, Method};
use crate::{Error, Result};

/// A function that makes a method.
pub type MakeMethod = fn() -> Box<dyn Method>;

/// A method by its name, with all facts about it that other files use.
///
/// ```
/// use serde_json::json;
/// use thalweg_nn::MethodEntry;
/// let entry = MethodEntry::find("adamw").unwrap();
/// assert_eq!(entry.lr, 1e-3);
/// let method = entry.with(&json!({ "weight_decay": 0.1 })).unwrap();
/// assert_eq!(method.settings()["weight_decay"], 0.1);
/// assert!(entry.with(&json!({ "nesterov": true })).is_err());
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct MethodEntry {
    /// The name on the command line.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// A learning rate that works well for small networks: the program's default.
    pub lr: f64,
    /// The name of the program's default schedule.
    pub schedule: &'static str,
    /// The family that it is drawn with.
    pub family: MethodFamily,
    /// Learning rates for Rosenbrock's and for Beale's function, from `cargo run --example race -- --rates`.
    pub race: [f64; 2],
    /// Its kernels, without those of earlier rows.
    pub kernels: &'static [&'static Kernel],
    /// Whether matrix products dominate its time, so that it is slow for many parameters.
    pub has_products: bool,
    /// Settings with other kernels or other state, with names. Tests use all of them.
    pub forms: &'static [(&'static str, MakeMethod)],
    /// The method with the library's defaults.
    pub(super) new: MakeMethod,
    /// The method with the program's defaults, if they differ.
    pub(super) program: Option<MakeMethod>,
    /// The method with the settings of a JSON object.
    pub(super) parse: fn(Value) -> Result<Box<dyn Method>>,
}

/// Methods that are drawn side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MethodFamily {
    /// The gradient and its moment.
    Moment,
    /// A scale or a sign for each coordinate.
    Coordinates,
    /// Adam and its variants.
    Adam,
    /// Later methods with two moments.
    AfterAdam,
    /// Methods that use norms, distance or curvature.
    Norms,
    /// Methods that use rows and columns, or packed state.
    Matrices,
}

impl MethodFamily {
    /// All families, in the order in which they are drawn.
    pub const ALL: [Self; 6] =
        [Self::Moment, Self::Coordinates, Self::Adam, Self::AfterAdam, Self::Norms, Self::Matrices];

    /// Returns the title of its picture.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Moment => "The gradient and its moment",
            Self::Coordinates => "A scale, or the sign, for each coordinate",
            Self::Adam => "Adam and its variants",
            Self::AfterAdam => "After Adam",
            Self::Norms => "By norms, distance or curvature",
            Self::Matrices => "By rows and columns, or in eight bits",
        }
    }
}

impl MethodEntry {
    /// Returns the row of a method without special properties.
    pub(super) const fn of<M: Method + DeserializeOwned + 'static>(new: MakeMethod) -> Self {
        Self {
            name: "",
            aliases: &[],
            lr: 1e-3,
            schedule: "warmup-cosine",
            family: MethodFamily::AfterAdam,
            race: [1e-3; 2],
            kernels: &[],
            has_products: false,
            forms: &[],
            new,
            program: None,
            parse: parse::<M>,
        }
    }

    /// Returns the row of this name or alias.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        METHODS.iter().find(|entry| entry.name == name || entry.aliases.contains(&name))
    }

    /// Returns the method with the library's defaults.
    #[must_use]
    pub fn method(&self) -> Box<dyn Method> {
        (self.new)()
    }

    /// Returns the method with the program's defaults.
    #[must_use]
    pub fn program_method(&self) -> Box<dyn Method> {
        self.program.unwrap_or(self.new)()
    }

    /// Returns the value of a setting in the program, or `None` if the method does not have it.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<Value> {
        self.program_method().settings().get(name).cloned()
    }

    /// Returns the program's method with some settings replaced by those of a JSON object.
    ///
    /// # Errors
    /// [`Error::Setting`] if the method does not have a setting, or a value is of another type or out of its range.
    pub fn with(&self, settings: &Value) -> Result<Box<dyn Method>> {
        let mut all = self.program_method().settings();
        if let (Some(all), Some(settings)) = (all.as_object_mut(), settings.as_object()) {
            all.extend(settings.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        (self.parse)(all)
    }
}

/// Parses a method with these settings.
fn parse<M: Method + DeserializeOwned + 'static>(settings: Value) -> Result<Box<dyn Method>> {
    let method: M = serde_json::from_value(settings).map_err(|error| Error::Setting {
        field: "settings",
        value: error.to_string(),
        rule: "an object of the settings that the method has",
    })?;
    method.validate()?;
    Ok(Box::new(method))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_makes_its_method_in_all_forms_and_again_from_its_settings() {
        let mut names = std::collections::BTreeSet::new();
        for entry in METHODS {
            for name in [entry.name].iter().chain(entry.aliases).chain(entry.forms.iter().map(|(name, _)| name)) {
                assert!(names.insert(*name), "the name {name} occurs twice");
            }
            assert!(std::ptr::eq(MethodEntry::find(entry.name).unwrap(), entry));
            for method in
                [entry.method(), entry.program_method()].into_iter().chain(entry.forms.iter().map(|(_, make)| make()))
            {
                method.validate().unwrap();
                let again = (entry.parse)(method.settings()).unwrap();
                assert_eq!(format!("{method:?}"), format!("{again:?}"));
                assert_eq!(method.name(), again.name());
            }
            let unknown = entry.with(&serde_json::json!({ "magic": 1 })).unwrap_err().to_string();
            assert!(unknown.contains("unknown field `magic`"), "{unknown}");
        }
    }

    #[test]
    fn no_kernel_is_in_two_rows() {
        let mut names = std::collections::BTreeSet::new();
        for kernel in METHODS.iter().flat_map(|entry| entry.kernels) {
            assert!(names.insert(kernel.name()), "{}", kernel.name());
        }
    }
}
