//! Parsers of numbers in a range.

/// The width of the widest hidden layer: wide networks for tables have some thousands of units.
const MAX_WIDTH: u32 = 65_536;

pub(super) fn positive(text: &str) -> Result<u32, String> {
    match text.trim().parse() {
        Ok(0) | Err(_) => Err(format!("must be a whole number from 1 to {}", u32::MAX)),
        Ok(number) => Ok(number),
    }
}

pub(super) fn seed(text: &str) -> Result<u64, String> {
    text.trim().parse().map_err(|_| format!("must be a whole number from 0 to {}", u64::MAX))
}

/// Parses the width of a hidden layer.
pub(super) fn width(text: &str) -> Result<u32, String> {
    positive(text)
        .ok()
        .filter(|&width| width <= MAX_WIDTH)
        .ok_or_else(|| format!("must be a whole number from 1 to {MAX_WIDTH}, or several of them with commas between"))
}

fn number(text: &str, rule: &str, holds: impl Fn(f64) -> bool) -> Result<f64, String> {
    match text.trim().parse() {
        Ok(number) if holds(number) => Ok(number),
        _ => Err(format!("must be {rule}")),
    }
}

// Learning rates and the like are single precision on the device, where they must be finite too.
pub(super) fn at_least_zero(text: &str) -> Result<f64, String> {
    number(text, "a finite number of at least 0", |x| x >= 0.0 && (x as f32).is_finite())
}

pub(super) fn above_zero(text: &str) -> Result<f64, String> {
    number(text, "finite and greater than 0", |x| x as f32 > 0.0 && (x as f32).is_finite())
}

pub(super) fn below_one(text: &str) -> Result<f64, String> {
    number(text, "at least 0 and less than 1", |x| (0.0..1.0).contains(&x))
}

pub(super) fn probability(text: &str) -> Result<f64, String> {
    number(text, "a probability of at least 0 and less than 1", |x| (0.0..1.0).contains(&x))
}
