//! [`Dataset`], [`Batch`] and [`Batches`]: rows on the device, and batches gathered there.

use thalweg_tensor::{DType, Device, Error as TensorError, Tensor, hold_as, next_batch};

use super::shuffle;
use crate::{Error, Result};

/// Samples on a device: one or more inputs, and targets, row by row.
#[derive(Debug, Clone)]
pub struct Dataset {
    rows: Batch,
    largest_class: Option<u32>,
}

/// Some rows of a data set: the batch of a step, or a portion of an evaluation.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Batch {
    /// The inputs, each `[rows, …]`.
    pub inputs: Vec<Tensor>,
    /// The targets, `[rows, …]`.
    pub targets: Tensor,
}

impl Batch {
    /// Returns the number of rows.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a batch has at least one row")]
    pub fn len(&self) -> usize {
        self.targets.shape()[0]
    }
}

impl Dataset {
    /// Makes a data set with one input.
    ///
    /// # Shapes
    /// features `[n, …]`, as `[n, f]` for a table or `[n, channels, height, width]` for pictures; targets `[n, …]`, as
    /// u32 `[n]` for classes or f32 `[n, k]` for values. Types are f32 or u32.
    ///
    /// For classes it reads back the largest one, which waits for the device.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the numbers of rows differ, a tensor is empty, or the devices differ.
    pub fn new(features: Tensor, targets: Tensor) -> Result<Self> {
        Self::with_inputs(vec![features], targets)
    }

    /// Makes a data set with several inputs, for a model that takes as many. See [`new`](Self::new).
    ///
    /// # Errors
    /// Same as [`new`](Self::new), and if there is no input.
    pub fn with_inputs(inputs: Vec<Tensor>, targets: Tensor) -> Result<Self> {
        let rows = checked(inputs, targets)?;
        let targets = &rows.targets;
        let largest_class = match targets.dtype() {
            DType::U32 => targets.to_vec::<u32>()?.into_iter().max(),
            DType::F32 | DType::F16 | DType::BF16 => None,
        };
        Ok(Self { rows, largest_class })
    }

    /// Makes a data set of features, `[n, width]` row-major, and one class of `0..class_count` per row.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the numbers of elements do not fit, a class is out of range, or the device has no room.
    pub fn classification(
        device: &Device,
        features: &[f32],
        width: usize,
        classes: &[u32],
        class_count: usize,
    ) -> Result<Self> {
        let largest_class = classes.iter().copied().max();
        if let Some(class) = largest_class.filter(|&class| class as usize >= class_count) {
            return Err(TensorError::Argument {
                op: "dataset",
                name: "classes",
                value: class.to_string(),
                rule: "less than the number of classes",
            }
            .into());
        }
        check_rows(features.len(), width, classes.len(), "there must be one class per row of features")?;
        let (features, targets) = hold_as("data", || -> Result<_> {
            let features = Tensor::from_slice(device, features, &[classes.len(), width])?;
            Ok((features, Tensor::from_slice(device, classes, &[classes.len()])?))
        })?;
        Ok(Self { rows: checked(vec![features], targets)?, largest_class })
    }

    /// Makes a data set of features, `[n, width]` row-major, and one value per row. For several targets per row, make
    /// tensors and use [`new`](Self::new).
    ///
    /// # Errors
    /// [`Error::Tensor`] if features and values differ in their number of rows, or the device has no room.
    pub fn regression(device: &Device, features: &[f32], width: usize, values: &[f32]) -> Result<Self> {
        let rule = "there must be one value per row of features; for several targets per row use Dataset::new, with targets \
                    [n, k]";
        check_rows(features.len(), width, values.len(), rule)?;
        let (features, targets) = hold_as("data", || -> Result<_> {
            let features = Tensor::from_slice(device, features, &[values.len(), width])?;
            Ok((features, Tensor::from_slice(device, values, &[values.len(), 1])?))
        })?;
        Self::new(features, targets)
    }

    /// Returns the inputs, each `[n, …]`; there is at least one.
    #[must_use]
    pub fn inputs(&self) -> &[Tensor] {
        &self.rows.inputs
    }

    /// Returns the first input, `[n, …]`.
    #[must_use]
    pub fn features(&self) -> &Tensor {
        &self.rows.inputs[0]
    }

    /// Returns the targets, `[n, …]`.
    #[must_use]
    pub fn targets(&self) -> &Tensor {
        &self.rows.targets
    }

    /// Returns the largest class among the targets, or `None` if they are values.
    #[must_use]
    pub fn largest_class(&self) -> Option<u32> {
        self.largest_class
    }

    /// Returns the number of samples.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a data set has at least one sample")]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns the number of features: the elements in a row of the first input.
    #[must_use]
    pub fn feature_count(&self) -> usize {
        self.features().len() / self.len()
    }

    /// Returns the device of the data.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.targets().device()
    }

    /// Returns the rows `start..end`, as views of the data.
    ///
    /// # Errors
    /// [`Error::Tensor`] if there are no such rows.
    pub fn slice(&self, start: usize, end: usize) -> Result<Batch> {
        let inputs = self.inputs().iter().map(|input| Ok(input.slice(0, start, end)?)).collect::<Result<_>>()?;
        Ok(Batch { inputs, targets: self.targets().slice(0, start, end)? })
    }
}

/// Checks that inputs and targets have the same rows.
fn checked(inputs: Vec<Tensor>, targets: Tensor) -> Result<Batch> {
    let op = "dataset";
    let rows = targets.shape().first();
    if inputs.is_empty() {
        let rule = "at least one";
        return Err(TensorError::Argument { op, name: "inputs", value: "none".to_string(), rule }.into());
    }
    for input in &inputs {
        if rows.is_none() || input.shape().first() != rows || input.is_empty() || targets.is_empty() {
            let rule = "features must be [n, …] and targets [n, …] with as many rows, none of them empty";
            let (left, right) = (input.shape().to_vec(), targets.shape().to_vec());
            return Err(TensorError::Shape { op, rule, left, right }.into());
        }
        if input.device() != targets.device() {
            let (left, right) = (input.device().to_string(), targets.device().to_string());
            return Err(TensorError::Device { op, left, right }.into());
        }
    }
    Ok(Batch { inputs, targets })
}

/// Checks that `features` numbers are `targets` rows of `width`; the error has the shapes of both.
fn check_rows(features: usize, width: usize, targets: usize, rule: &'static str) -> Result<()> {
    if targets.checked_mul(width) == Some(features) {
        return Ok(());
    }
    let left = features.checked_div(width).map_or(vec![features], |rows| vec![rows, width]);
    Err(TensorError::Shape { op: "dataset", rule, left, right: vec![targets] }.into())
}

/// Batches of a data set, gathered on the device in an order that every epoch shuffles anew.
///
/// The order is a pure function of seed and epoch: a run that resumes at an epoch sees the same batches.
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
    /// The positions in the order, one for each launch of a batch.
    cursors: Vec<Tensor>,
}

impl Batches {
    /// Makes the batches of a data set, in the order of epoch 0.
    ///
    /// # Errors
    /// [`Error::Setting`] if there are more rows than a u32 counts, [`Error::Tensor`] if the device has no room.
    pub fn new(dataset: Dataset, seed: u64) -> Result<Self> {
        let order = epoch_order(dataset.len(), seed, 0)?;
        let launches = 1 + (dataset.inputs().len() - 1).div_ceil(2);
        let (order, cursors) = hold_as("data", || -> Result<_> {
            let order = Tensor::from_slice(dataset.device(), &order, &[order.len()])?;
            let cursors = (0..launches).map(|_| Ok(Tensor::zeros(dataset.device(), DType::U32, &[2])?));
            Ok((order, cursors.collect::<Result<_>>()?))
        })?;
        Ok(Self { dataset, seed, order, cursors })
    }

    /// Returns the data set.
    #[must_use]
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Shuffles the rows into the order of an epoch and begins with the first of them.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device fails.
    pub fn start_epoch(&mut self, epoch: u64) -> Result<()> {
        self.order.write(&epoch_order(self.dataset.len(), self.seed, epoch)?)?;
        self.cursors.iter().try_for_each(|cursor| Ok(cursor.write(&[0u32, 0])?))
    }

    /// Gathers the first input and the targets of the next `count` samples. The first sample of the order follows the
    /// last one. [`next_batch`](Self::next_batch) gathers all inputs.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device fails or has no room.
    pub fn next(&mut self, count: usize) -> Result<(Tensor, Tensor)> {
        let Batch { mut inputs, targets } = self.next_batch(count)?;
        Ok((inputs.swap_remove(0), targets))
    }

    /// Gathers the next `count` samples, as [`next`](Self::next), with all their inputs. It takes one launch, and one
    /// more for every two further inputs.
    ///
    /// # Errors
    /// Same as [`next`](Self::next).
    pub fn next_batch(&mut self, count: usize) -> Result<Batch> {
        let Batch { inputs, targets } = &self.dataset.rows;
        let (first, taken_targets) = next_batch(&inputs[0], targets, &self.order, &self.cursors[0], count)?;
        let mut taken = vec![first];
        for (pair, cursor) in inputs[1..].chunks(2).zip(&self.cursors[1..]) {
            // The kernel takes two tensors; the targets fill the place of a missing partner.
            let (input, partner) = (&pair[0], pair.get(1));
            let (input, other) = next_batch(input, partner.unwrap_or(targets), &self.order, cursor, count)?;
            taken.push(input);
            taken.extend(partner.map(|_| other));
        }
        Ok(Batch { inputs: taken, targets: taken_targets })
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
        assert!(Dataset::with_inputs(vec![], tensor(DType::F32, &[2])).unwrap_err().to_string().contains("inputs"));
        assert!(Dataset::new(tensor(DType::F32, &[2, 2]), tensor(DType::F32, &[])).is_err());
        assert!(Dataset::new(tensor(DType::F32, &[2, 0]), tensor(DType::F32, &[2])).is_err());
        assert!(Dataset::new(tensor(DType::F32, &[2, 2]), tensor(DType::F32, &[3, 1])).is_err());
        assert!(Dataset::new(tensor(DType::F32, &[2, 2]), tensor(DType::F32, &[2, 3])).is_ok());
    }

    #[test]
    fn inputs_and_targets_of_any_rank_are_gathered_together() {
        let device = Device::cpu();
        let (rows, order) = (6, epoch_order(6, 1, 0).unwrap());
        // Every element encodes its row.
        let input = |columns: usize| {
            let values: Vec<f32> = (0..rows * columns).map(|i| (i / columns) as f32).collect();
            Tensor::from_slice(&device, &values, &[rows, columns]).unwrap()
        };
        let words = Tensor::from_slice(&device, &[0u32, 1, 2, 3, 4, 5], &[rows]).unwrap();
        let targets = input(8).reshape(&[rows, 2, 4]).unwrap();
        for count in 1..=4 {
            let inputs = [input(12).reshape(&[rows, 3, 2, 2]).unwrap(), words.clone(), input(1), input(5)];
            let dataset = Dataset::with_inputs(inputs[..count].to_vec(), targets.clone()).unwrap();
            let mut batches = Batches::new(dataset, 1).unwrap();
            for step in 0..3 {
                let batch = batches.next_batch(2).unwrap();
                assert_eq!((batch.len(), batch.targets.shape()), (2, &[2, 2, 4][..]));
                let expected = &order[2 * step..][..2];
                for (taken, input) in
                    batch.inputs.iter().chain([&batch.targets]).zip(inputs[..count].iter().chain([&targets]))
                {
                    assert_eq!(taken.shape()[1..], input.shape()[1..]);
                    let found: Vec<u32> = match taken.dtype() {
                        DType::U32 => taken.to_vec().unwrap(),
                        _ => taken.to_vec::<f32>().unwrap().into_iter().map(|x| x as u32).collect(),
                    };
                    let columns = found.len() / 2;
                    assert!((0..found.len()).all(|i| found[i] == expected[i / columns]), "{found:?} {expected:?}");
                }
            }
        }
    }

    #[test]
    fn the_largest_class_is_known() {
        let device = Device::cpu();
        let features = Tensor::zeros(&device, DType::F32, &[3, 1]).unwrap();
        let classes = Tensor::from_slice(&device, &[2u32, 7, 0], &[3]).unwrap();
        assert_eq!(Dataset::new(features.clone(), classes).unwrap().largest_class(), Some(7));
        assert_eq!(Dataset::new(features.clone(), features).unwrap().largest_class(), None);
        assert_eq!(numbers(&device, 4).largest_class(), Some(3));
    }
}
