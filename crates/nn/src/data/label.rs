//! Decides whether two cells of a target are the same class.

use std::cmp::Ordering;

use crate::error::DataProblem;

/// Returns whether the cell of a target is a number.
///
/// # Errors
/// If the cell is empty, NaN or infinite, which is no class.
pub(super) fn is_number(cell: &str) -> Result<bool, DataProblem> {
    match cell.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(true),
        Ok(_) => Err(DataProblem::NotFinite { cell: cell.to_string() }),
        Err(_) if cell.is_empty() => Err(DataProblem::EmptyCell),
        Err(_) => Ok(false),
    }
}

/// A number by its decimal digits, which an f64 would round: `1`, `1.0` and `1e0` are the same, and long whole numbers
/// stay different.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Decimal {
    negative: bool,
    /// The value is 0.DIGITS · 10^point; neither the first digit nor the last one is 0.
    point: i64,
    /// Empty for 0.
    digits: String,
}

impl Decimal {
    /// Returns the decimal of a text that is a finite number.
    pub(super) fn of(text: &str) -> Self {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = [whole, fraction].concat();
        let zeros = digits.len() - digits.trim_start_matches('0').len();
        let digits = digits.trim_matches('0').to_string();
        if digits.is_empty() {
            return Self { negative: false, point: 0, digits };
        }
        // An exponent outside of i64 belongs to a number that an f64 rounds to 0.
        let exponent = exponent.parse().unwrap_or(i64::MIN / 2);
        Self { negative, point: whole.len() as i64 - zeros as i64 + exponent, digits }
    }

    /// Returns whether there is no fraction.
    pub(super) fn is_whole(&self) -> bool {
        self.digits.len() as i64 <= self.point.max(0)
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| match number {
            _ if number.digits.is_empty() => 0,
            Self { negative: true, .. } => -1,
            _ => 1,
        };
        sign(self).cmp(&sign(other)).then_with(|| {
            // After a common beginning, the number with more digits is larger.
            let by_size = self.point.cmp(&other.point).then_with(|| self.digits.cmp(&other.digits));
            if self.negative { by_size.reverse() } else { by_size }
        })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_to_write_a_number_are_one_decimal() {
        for same in [
            &["1", "1.0", "01", "+1", "1e0", "10e-1", "0.1E+1", "1."][..],
            &["0", "-0", "0.000", "0e5", ".0"],
            &["-0.05", "-.05", "-5e-2", "-0.050"],
            &["12345678901234567", "12345678901234567.0"],
        ] {
            assert!(same.iter().all(|text| Decimal::of(text) == Decimal::of(same[0])), "{same:?}");
        }
        assert_ne!(Decimal::of("9007199254740992"), Decimal::of("9007199254740993"));
    }

    #[test]
    fn decimals_are_in_the_order_of_their_values() {
        let sorted = [
            "-1e30",
            "-12345678901234568",
            "-12345678901234567",
            "-100",
            "-99.5",
            "-1",
            "-0.1",
            "-1e-9",
            "0",
            "1e-300",
            "0.05",
            "0.5",
            "0.51",
            "1",
            "1.25",
            "9",
            "10",
            "11",
            "100",
            "9007199254740992",
            "9007199254740993",
            "1e300",
        ];
        for (i, left) in sorted.iter().enumerate() {
            for (j, right) in sorted.iter().enumerate() {
                assert_eq!(Decimal::of(left).cmp(&Decimal::of(right)), i.cmp(&j), "{left} and {right}");
            }
        }
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        for (text, whole) in
            [("0", true), ("5.0", true), ("-20", true), ("1e3", true), ("12.5", false), ("0.5", false), ("1e-3", false)]
        {
            assert_eq!(Decimal::of(text).is_whole(), whole, "{text}");
        }
        assert!(!Decimal::of("9007199254740993.5").is_whole());
    }
}
