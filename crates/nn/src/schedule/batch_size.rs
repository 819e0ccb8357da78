//! The learning rate for another batch size.

use super::check_positive;
use crate::Result;
use crate::setting::not_negative;

/// Returns the learning rate for a batch of `batch_size` rows, from the one that is good for `base_batch_size`:
/// `lr · batch_size / base_batch_size`.
///
/// For gradient descent with and without momentum. Use a warm-up if the result is large. For adaptive methods see
/// [`square_root_scaling`].
///
/// Source: Goyal et al.: Accurate, large minibatch SGD, training ImageNet in 1 hour (2017).
///
/// # Errors
/// If the learning rate is negative or not finite, or a batch has no row.
///
/// ```
/// # fn main() -> thalweg_nn::Result<()> {
/// assert_eq!(thalweg_nn::schedule::linear_scaling(0.1, 1024, 256)?, 0.4);
/// # Ok(())
/// # }
/// ```
pub fn linear_scaling(lr: f64, batch_size: u64, base_batch_size: u64) -> Result<f64> {
    Ok(lr * ratio(lr, batch_size, base_batch_size)?)
}

/// Returns the learning rate of an adaptive method, such as Adam, for a batch of `batch_size` rows, from the one that
/// is good for `base_batch_size`: `lr · √(batch_size / base_batch_size)`.
///
/// Source: Malladi et al.: On the SDEs and scaling rules for adaptive gradient algorithms (NeurIPS 2022), who change
/// betas and eps too; Krizhevsky: One weird trick for parallelizing convolutional neural networks (2014).
///
/// # Errors
/// Same as [`linear_scaling`].
///
/// ```
/// # fn main() -> thalweg_nn::Result<()> {
/// assert_eq!(thalweg_nn::schedule::square_root_scaling(0.1, 1024, 256)?, 0.2);
/// # Ok(())
/// # }
/// ```
pub fn square_root_scaling(lr: f64, batch_size: u64, base_batch_size: u64) -> Result<f64> {
    Ok(lr * ratio(lr, batch_size, base_batch_size)?.sqrt())
}

fn ratio(lr: f64, batch_size: u64, base_batch_size: u64) -> Result<f64> {
    not_negative("lr", lr)?;
    check_positive("batch_size", batch_size)?;
    check_positive("base_batch_size", base_batch_size)?;
    Ok(batch_size as f64 / base_batch_size as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_are_named() {
        for (lr, batch_size, base_batch_size, start) in
            [(-1.0, 1, 1, "lr = -1"), (1.0, 0, 1, "batch_size = 0"), (1.0, 1, 0, "base_batch_size = 0")]
        {
            for scaling in [linear_scaling, square_root_scaling] {
                let error = scaling(lr, batch_size, base_batch_size).unwrap_err().to_string();
                assert!(error.starts_with(start), "{error}");
            }
        }
    }
}
