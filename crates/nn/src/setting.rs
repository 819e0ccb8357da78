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

/// Any setting: an error with the rule where it is not good.
pub(crate) fn check(field: &'static str, value: impl ToString, good: bool, rule: &'static str) -> Result<()> {
    if good { Ok(()) } else { Err(Error::Setting { field, value: value.to_string(), rule }) }
}
