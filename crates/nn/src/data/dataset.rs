//! [`Dataset`] and [`Batches`]: rows that lie on the device, and batches that are gathered there.

use thalweg_tensor::{DType, Device, Error as TensorError, Tensor, hold_as, next_batch};

use super::shuffle;
use crate::{Error, Result};

/// Samples that lie on a device: features and targets, row by row.
#[derive(Debug, Clone)]
pub struct Dataset {
    features: Tensor,
    targets: Tensor,
}

impl Dataset {
    /// A data set of tensors.
    ///
    /// # Shapes
    /// features f32 `[n, f]`; targets u32 `[n]` (classes) or f32 `[n, k]` (values).
    ///
    /// # Errors
    /// [`Error::Tensor`] where shapes or types are others, there is no row or no feature, or the devices differ.
    pub fn new(features: Tensor, targets: Tensor) -> Result<Self> {
        let op = "dataset";
        if features.dtype() != DType::F32 {
            return Err(TensorError::DType { op, expected: DType::F32, found: features.dtype() }.into());
        }
        let fits = match (features.shape(), targets.dtype(), targets.shape()) {
            ([n, _], DType::U32, [m]) | ([n, _], DType::F32, [m, _]) => n == m,
            _ => false,
        };
        if !fits || features.is_empty() || targets.is_empty() {
            return Err(TensorError::Shape {
                op,
                rule: "features must be [n, f] and targets u32 [n] or f32 [n, k], none of them empty",
                left: features.shape().to_vec(),
                right: targets.shape().to_vec(),
            }
            .into());
        }
        if features.device() != targets.device() {
            let (left, right) = (features.device().to_string(), targets.device().to_string());
            return Err(TensorError::Device { op, left, right }.into());
        }
        Ok(Self { features, targets })
    }

    /// A data set of features, `[n, width]` row-major, and one class of `0..class_count` per row.
    ///
    /// # Errors
    /// [`Error::Tensor`] where the numbers of elements do not fit, a class is out of range, or the device has no room.
    pub fn classification(
        device: &Device,
        features: &[f32],
        width: usize,
        classes: &[u32],
        class_count: usize,
    ) -> Result<Self> {
        if let Some(class) = classes.iter().find(|class| **class as usize >= class_count) {
            return Err(TensorError::Argument {
                op: "dataset",
                name: "classes",
                value: class.to_string(),
                rule: "less than the number of classes",
            }
            .into());
        }
        check_rows(features.len(), width, classes.len(), "there must be one class per row of features")?;
        let tensors = || -> Result<_> {
            let features = Tensor::from_slice(device, features, &[classes.len(), width])?;
            Ok((features, Tensor::from_slice(device, classes, &[classes.len()])?))
        };
        let (features, targets) = hold_as("data", tensors)?;
        Self::new(features, targets)
    }

    /// Returns a data set of features, `[n, width]` row-major, and one value per row. For several targets per row, make
    /// tensors and use [`new`](Self::new).
    ///
    /// # Errors
    /// [`Error::Tensor`] if there is not one value for each row of features, or the device has no room.
    pub fn regression(device: &Device, features: &[f32], width: usize, values: &[f32]) -> Result<Self> {
        let rule = "there must be one value per row of features; for several targets per row use Dataset::new, with targets \
                    [n, k]";
        check_rows(features.len(), width, values.len(), rule)?;
        let tensors = || -> Result<_> {
            let features = Tensor::from_slice(device, features, &[values.len(), width])?;
            Ok((features, Tensor::from_slice(device, values, &[values.len(), 1])?))
        };
        let (features, targets) = hold_as("data", tensors)?;
        Self::new(features, targets)
    }

    /// The features, f32 `[n, f]`.
    #[must_use]
    pub fn features(&self) -> &Tensor {
        &self.features
    }

    /// The targets, u32 `[n]` or f32 `[n, k]`.
    #[must_use]
    pub fn targets(&self) -> &Tensor {
        &self.targets
    }

    /// The number of samples.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a data set has at least one sample")]
    pub fn len(&self) -> usize {
        self.features.shape()[0]
    }

    /// The number of features.
    #[must_use]
    pub fn feature_count(&self) -> usize {
        self.features.shape()[1]
    }

    /// The device it lies on.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.features.device()
    }
}

/// Checks that so many features are `targets` rows of `width`; the error has the shapes of both.
fn check_rows(features: usize, width: usize, targets: usize, rule: &'static str) -> Result<()> {
    if targets.checked_mul(width) == Some(features) {
        return Ok(());
    }
    let left = features.checked_div(width).map_or(vec![features], |rows| vec![rows, width]);
    Err(TensorError::Shape { op: "dataset", rule, left, right: vec![targets] }.into())
}

/// Batches of a data set, in an order that is shuffled anew every epoch, gathered on the device.
///
/// The order is a pure function of seed and epoch: a run that starts again at an epoch sees the same batches.
///
/// ```
/// use thalweg_nn::data::{Batches, Dataset};
/// use thalweg_tensor::Device;
/// # fn main() -> thalweg_nn::Result<()> {
/// let dataset = Dataset::regression(&Device::cpu(), &[1.0, 2.0, 3.0, 4.0], 1, &[2.0, 4.0, 6.0, 8.0])?;
/// let mut batches = Batches::new(dataset, 0)?;
/// batches.start_epoch(0)?;
/// let (x, y) = batches.next(3)?;
/// assert_eq!((x.shape(), y.shape()), (&[3, 1][..], &[3, 1][..]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Batches {
    dataset: Dataset,
    seed: u64,
    order: Tensor,
    cursor: Tensor,
}

impl Batches {
    /// Batches of a data set, in the order of epoch 0.
    ///
    /// # Errors
    /// [`Error::Setting`] where there are more rows than a u32 counts, [`Error::Tensor`] where the device has no room.
    pub fn new(dataset: Dataset, seed: u64) -> Result<Self> {
        let order = epoch_order(dataset.len(), seed, 0)?;
        let (order, cursor) = hold_as("data", || -> Result<_> {
            let order = Tensor::from_slice(dataset.device(), &order, &[order.len()])?;
            Ok((order, Tensor::zeros(dataset.device(), DType::U32, &[2])?))
        })?;
        Ok(Self { dataset, seed, order, cursor })
    }

    /// The data set.
    #[must_use]
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Brings the rows into the order of an epoch and begins with the first of them.
    ///
    /// # Errors
    /// [`Error::Tensor`] where the device fails.
    pub fn start_epoch(&mut self, epoch: u64) -> Result<()> {
        self.order.write(&epoch_order(self.dataset.len(), self.seed, epoch)?)?;
        self.cursor.write(&[0u32, 0])?;
        Ok(())
    }

    /// Features and targets of the next `count` samples; after the last sample of the order comes the first again.
    ///
    /// # Errors
    /// [`Error::Tensor`] where the device fails or has no room.
    pub fn next(&mut self, count: usize) -> Result<(Tensor, Tensor)> {
        let Dataset { features, targets } = &self.dataset;
        Ok(next_batch(features, targets, &self.order, &self.cursor, count)?)
    }
}

fn epoch_order(rows: usize, seed: u64, epoch: u64) -> Result<Vec<u32>> {
    let rows = u32::try_from(rows).map_err(|_| Error::Setting {
        field: "rows",
        value: rows.to_string(),
        rule: "less than 4294967296",
    })?;
    let mut order: Vec<u32> = (0..rows).collect();
    shuffle(&mut order, seed, epoch);
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(device: &Device, count: usize) -> Dataset {
        let features: Vec<f32> = (0..2 * count).map(|i| i as f32).collect();
        let classes: Vec<u32> = (0..count as u32).collect();
        Dataset::classification(device, &features, 2, &classes, count).unwrap()
    }

    #[test]
    fn an_epoch_shows_every_sample_once_with_its_own_target() {
        let mut batches = Batches::new(numbers(&Device::cpu(), 10), 3).unwrap();
        let epoch = |batches: &mut Batches, epoch| {
            batches.start_epoch(epoch).unwrap();
            let mut seen = Vec::new();
            for count in [4, 4, 2] {
                let (x, y) = batches.next(count).unwrap();
                let (x, y) = (x.to_vec::<f32>().unwrap(), y.to_vec::<u32>().unwrap());
                for (x, y) in x.chunks(2).zip(&y) {
                    assert_eq!(x, [2.0 * *y as f32, 2.0 * *y as f32 + 1.0]);
                }
                seen.extend(y);
            }
            seen
        };
        let (first, second) = (epoch(&mut batches, 0), epoch(&mut batches, 1));
        assert_ne!(first, second);
        assert_eq!(epoch(&mut batches, 0), first);
        let mut fresh = Batches::new(numbers(&Device::cpu(), 10), 3).unwrap();
        assert_eq!(epoch(&mut fresh, 1), second);
        let mut sorted = second;
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..10));
    }

    #[test]
    fn an_epoch_may_start_in_the_middle_of_another() {
        let mut batches = Batches::new(numbers(&Device::cpu(), 5), 0).unwrap();
        let first = batches.next(5).unwrap().1.to_vec::<u32>().unwrap();
        batches.next(3).unwrap();
        batches.start_epoch(0).unwrap();
        assert_eq!(batches.next(5).unwrap().1.to_vec::<u32>().unwrap(), first);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let device = Device::cpu();
        assert!(Dataset::classification(&device, &[1.0; 4], 2, &[0, 2], 2).unwrap_err().to_string().contains("= 2,"));
        assert!(Dataset::classification(&device, &[1.0; 3], 2, &[0, 1], 2).is_err());
        let error = Dataset::regression(&device, &[1.0; 6], 2, &[0.0; 6]).unwrap_err().to_string();
        assert_eq!(
            error,
            "dataset: there must be one value per row of features; for several targets per row use Dataset::new, with \
             targets [n, k], [3, 2] × [6]"
        );
        assert!(Dataset::regression(&device, &[], 2, &[]).is_err());
        assert!(Dataset::regression(&device, &[], 0, &[1.0]).is_err());
        let tensor = |dtype, shape: &[usize]| Tensor::zeros(&device, dtype, shape).unwrap();
        assert!(Dataset::new(tensor(DType::U32, &[2, 2]), tensor(DType::U32, &[2])).is_err());
        assert!(Dataset::new(tensor(DType::F32, &[2, 2]), tensor(DType::F32, &[2])).is_err());
        assert!(Dataset::new(tensor(DType::F32, &[2, 2]), tensor(DType::F32, &[3, 1])).is_err());
        assert!(Dataset::new(tensor(DType::F32, &[2, 2]), tensor(DType::F32, &[2, 3])).is_ok());
    }
}
