//! Checks of settings, which name the field and what it must be.

use crate::{Error, Result};

/// A setting that must be finite and at least 0.
pub(crate) fn not_negative(field: &'static str, value: f64) -> Result<()> {
    check(field, value, value.is_finite() && value >= 0.0, "a finite number of at least 0")
}

/// A decay rate or a probability.
pub(crate) fn fraction(field: &'static str, value: impl Into<f64> + Copy + ToString) -> Result<()> {
    check(field, value, (0.0..1.0).contains(&value.into()), "at least 0 and less than 1")
}

/// A setting that must be finite and greater than 0.
pub(crate) fn positive(field: &'static str, value: f64) -> Result<()> {
    check(field, value, value.is_finite() && value > 0.0, "finite and greater than 0")
}

/// The settings of Adam, which its variants have too.
pub(crate) fn check_adam(betas: (f64, f64), eps: f64, weight_decay: f64) -> Result<()> {
    fraction("betas.0", betas.0)?;
    fraction("betas.1", betas.1)?;
    positive("eps", eps)?;
    not_negative("weight_decay", weight_decay)
}

/// Any setting: an error with the rule where it is not good.
pub(crate) fn check(field: &'static str, value: impl ToString, good: bool, rule: &'static str) -> Result<()> {
    if good { Ok(()) } else { Err(Error::Setting { field, value: value.to_string(), rule }) }
}
