//! A part for training and a part for testing.

use std::collections::BTreeMap;

use super::shuffle;
use crate::{Error, Result};

/// Row numbers of the two parts of a data set, each in rising order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The rows to train on.
    pub train: Vec<u32>,
    /// The rows to test on; none if the fraction is 0.
    pub test: Vec<u32>,
}

/// The stream of the shuffle, far from those of the epochs, which count from 0.
const STREAM: u64 = u64::MAX;

/// Splits rows into a part for training and a part for testing. A seed gives the same split on every machine.
///
/// The test part has `row_count · test_fraction` rows, rounded, at least one; none if the fraction is 0. With `classes`
/// (one per row) it has every class in the same proportion, up to rounding, and never all rows of a class. If classes
/// of few rows keep their last one for training, the test part is smaller by as many.
///
/// # Errors
/// [`Error::Setting`] if the fraction is not in [0, 1), or leaves a part without rows; [`Error::Tensor`] if there is
/// not one class per row.
///
/// ```
/// # fn main() -> thalweg_nn::Result<()> {
/// let split = thalweg_nn::data::train_test_split(100, 0.2, 0, None)?;
/// assert_eq!((split.train.len(), split.test.len()), (80, 20));
/// # Ok(())
/// # }
/// ```
pub fn train_test_split(row_count: usize, test_fraction: f64, seed: u64, classes: Option<&[u32]>) -> Result<Split> {
    let setting = |rule| Error::Setting { field: "test_fraction", value: test_fraction.to_string(), rule };
    if !(0.0..1.0).contains(&test_fraction) {
        return Err(setting("at least 0 and less than 1"));
    }
    let count = u32::try_from(row_count).ok().filter(|count| *count < u32::MAX).ok_or_else(|| Error::Setting {
        field: "row_count",
        value: row_count.to_string(),
        rule: "less than 4294967295",
    })?;
    if let Some(classes) = classes.filter(|classes| classes.len() != row_count) {
        let (left, right) = (vec![row_count], vec![classes.len()]);
        let rule = "there must be one class per row";
        return Err(thalweg_tensor::Error::Shape { op: "train_test_split", rule, left, right }.into());
    }
    if test_fraction == 0.0 {
        return if count == 0 {
            Err(setting("such that each part has a row"))
        } else {
            Ok(Split { train: (0..count).collect(), test: Vec::new() })
        };
    }

    let mut order: Vec<u32> = (0..count).collect();
    shuffle(&mut order, seed, STREAM);
    // The number of rows of each class that the test part still needs.
    let mut quotas = match classes {
        Some(classes) => class_quotas(classes, test_fraction),
        None => BTreeMap::from([(0, test_count(row_count, test_fraction))]),
    };
    let mut is_test = vec![false; row_count];
    for row in order {
        let class = classes.map_or(0, |classes| classes[row as usize]);
        if let Some(quota) = quotas.get_mut(&class).filter(|quota| **quota > 0) {
            *quota -= 1;
            is_test[row as usize] = true;
        }
    }
    let (test, train): (Vec<u32>, Vec<u32>) = (0..count).partition(|row| is_test[*row as usize]);
    if train.is_empty() || test.is_empty() {
        return Err(setting("such that each part has a row"));
    }
    Ok(Split { train, test })
}

fn test_count(rows: usize, fraction: f64) -> usize {
    ((rows as f64 * fraction).round() as usize).max(1)
}

/// Returns the number of test rows of each class, by largest remainders; a class keeps at least one row for training.
fn class_quotas(classes: &[u32], fraction: f64) -> BTreeMap<u32, usize> {
    let mut sizes = BTreeMap::new();
    for class in classes {
        *sizes.entry(*class).or_insert(0usize) += 1;
    }
    let mut quotas = BTreeMap::new();
    let mut remainders = Vec::new();
    for (&class, &size) in &sizes {
        let exact = size as f64 * fraction;
        quotas.insert(class, (exact.floor() as usize).min(size - 1));
        remainders.push((exact - exact.floor(), class));
    }
    // The sort is stable: of equal remainders, the lower class comes first.
    remainders.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let mut missing = test_count(classes.len(), fraction).saturating_sub(quotas.values().sum());
    for (remainder, class) in remainders {
        let may_grow = |quota: usize| missing > 0 && remainder > 0.0 && quota + 1 < sizes[&class];
        if let Some(quota) = quotas.get_mut(&class).filter(|quota| may_grow(**quota)) {
            *quota += 1;
            missing -= 1;
        }
    }
    quotas
}

/// Returns some rows of a row-major array of `width` columns, in the given order.
///
/// # Errors
/// [`Error::Tensor`] if the array does not have a row.
pub fn take_rows<T: Copy>(values: &[T], width: usize, rows: &[u32]) -> Result<Vec<T>> {
    let mut taken = Vec::new();
    for row in rows {
        let start = (*row as usize).saturating_mul(width);
        let cells = start.checked_add(width).and_then(|end| values.get(start..end)).ok_or_else(|| {
            let (left, right) = (vec![values.len()], vec![*row as usize, width]);
            thalweg_tensor::Error::Shape { op: "take_rows", rule: "the row is none of the array's", left, right }
        })?;
        taken.extend_from_slice(cells);
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_partition(split: &Split, count: usize) {
        let mut all: Vec<u32> = split.train.iter().chain(&split.test).copied().collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..count as u32));
        assert!(split.train.is_sorted() && split.test.is_sorted() && !split.train.is_empty());
    }

    #[test]
    fn parts_are_a_partition_of_the_asked_size() {
        for count in [2, 3, 10, 101, 1797] {
            for fraction in [0.0, 1e-9, 0.1, 0.2, 1.0 / 3.0, 0.5, 0.7] {
                for seed in [0, 1, u64::MAX] {
                    match train_test_split(count, fraction, seed, None) {
                        Ok(split) => {
                            check_partition(&split, count);
                            let expected = if fraction == 0.0 { 0 } else { test_count(count, fraction) };
                            assert_eq!(split.test.len(), expected);
                        }
                        Err(_) => assert_eq!(test_count(count, fraction), count, "{count} {fraction}"),
                    }
                }
            }
        }
    }

    #[test]
    fn classes_keep_their_proportions() {
        for seed in 0..20 {
            // Sizes 1, 2, 4, 8, … 512.
            let mut classes: Vec<u32> = (0..10).flat_map(|class| vec![class; 1 << class]).collect();
            shuffle(&mut classes, seed, 0);
            for fraction in [0.01, 0.2, 0.5, 0.9] {
                let split = train_test_split(classes.len(), fraction, seed, Some(&classes)).unwrap();
                check_partition(&split, classes.len());
                for class in 0..10u32 {
                    let in_test = split.test.iter().filter(|row| classes[**row as usize] == class).count();
                    let exact = f64::from(1 << class) * fraction;
                    assert!((in_test as f64 - exact).abs() < 1.0, "class {class}: {in_test} of {exact}");
                    assert!(in_test < 1usize << class);
                }
                if fraction < 0.5 {
                    assert_eq!(split.test.len(), test_count(classes.len(), fraction));
                }
            }
        }
    }

    #[test]
    fn a_seed_gives_one_split_and_another_seed_another() {
        let split = |seed| train_test_split(100, 0.2, seed, None).unwrap();
        assert_eq!(split(0), split(0));
        assert_ne!(split(0), split(1));
        assert_eq!(&split(0).test[..5], [4, 11, 13, 14, 16]);
    }

    #[test]
    fn bad_fractions_and_lone_rows_are_errors() {
        for fraction in [f64::NAN, -0.1, 1.0, f64::INFINITY] {
            let error = train_test_split(10, fraction, 0, None).unwrap_err();
            assert!(error.to_string().starts_with(&format!("test_fraction = {fraction}, but")), "{error}");
        }
        assert!(train_test_split(1, 0.2, 0, None).is_err());
        assert!(train_test_split(0, 0.0, 0, None).is_err());
        assert!(train_test_split(2, 0.99, 0, None).is_err());
        assert!(train_test_split(3, 0.5, 0, Some(&[0, 1])).is_err());
        // Every class has one row, which training needs.
        assert!(train_test_split(3, 0.5, 0, Some(&[0, 1, 2])).is_err());
    }

    #[test]
    fn rows_are_taken_in_order() {
        assert_eq!(take_rows(&[1, 2, 3, 4, 5, 6], 2, &[2, 0]).unwrap(), [5, 6, 1, 2]);
        assert!(take_rows(&[1, 2, 3, 4, 5], 2, &[2]).is_err() && take_rows(&[1; 4], usize::MAX, &[3]).is_err());
    }
}
