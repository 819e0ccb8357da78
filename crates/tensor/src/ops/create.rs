//! Tensors that are made from a few numbers: identities, ranges, grids.

use crate::{Device, Error, Result, Tensor, shape};

/// The order of the first two axes of a [`meshgrid`](Tensor::meshgrid).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indexing {
    /// The first list runs along the first axis, as rows of a matrix: PyTorch's "ij".
    Matrix,
    /// The first list runs along the second axis, as x in a picture: PyTorch's "xy".
    Cartesian,
}

impl Tensor {
    /// Returns the matrix with ones on its main diagonal and zeros elsewhere.
    ///
    /// # Errors
    /// If the matrix is too large, or the device has no room.
    pub fn eye(device: &Device, rows: usize, columns: usize) -> Result<Self> {
        shape::element_count("eye", &[rows, columns])?;
        // A stretched view, of which nothing but the diagonal is kept.
        let ones = Self::full(device, 1f32, &[1, 1])?.broadcast_to(&[rows, columns])?;
        ones.remap("eye", &ones.rules(), Some((0, 0)), 0)
    }

    /// Returns the numbers from `start` on in steps, as long as they lie before `end`: start + i · step.
    ///
    /// # Shapes
    /// `[ceil((end - start) / step)]`.
    ///
    /// # Numerics
    /// Counts and values are computed in f64, and each value is rounded once to f32, as in PyTorch. The rounding of a step
    /// such as 0.1 may add a number at the end that is `end` itself.
    ///
    /// # Errors
    /// If a number is not finite, `step` is 0 or leads away from `end`, or the result is too large.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let device = Device::cpu();
    /// assert_eq!(Tensor::arange(&device, 1.0, 2.5, 0.5)?.to_vec::<f32>()?, [1.0, 1.5, 2.0]);
    /// assert_eq!(Tensor::linspace(&device, 0.0, 1.0, 5)?.to_vec::<f32>()?, [0.0, 0.25, 0.5, 0.75, 1.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn arange(device: &Device, start: f64, end: f64, step: f64) -> Result<Self> {
        let count = ((end - start) / step).ceil();
        // Not a number if the step is 0, and negative if it leads away.
        if !(start.is_finite() && end.is_finite() && step.is_finite() && count.is_finite() && count >= 0.0) {
            return Err(Error::Argument {
                op: "arange",
                name: "step",
                value: format!("{step} from {start} to {end}"),
                rule: "a finite step from the start towards the end",
            });
        }
        let count = count as usize;
        shape::element_count("arange", &[count])?;
        let elements: Vec<f32> = (0..count).map(|i| (start + i as f64 * step) as f32).collect();
        Self::from_slice(device, &elements, &[count])
    }

    /// Returns numbers at equal distances from `start` to `end`, both included. One number is `start`.
    ///
    /// # Shapes
    /// `[count]`.
    ///
    /// # Numerics
    /// The first half is counted from the start and the second half from the end, as in PyTorch, so both ends are exact.
    /// Values are computed in f64 and rounded once.
    ///
    /// # Errors
    /// If the result is too large, or the device has no room.
    pub fn linspace(device: &Device, start: f64, end: f64, count: usize) -> Result<Self> {
        shape::element_count("linspace", &[count])?;
        let step = if count > 1 { (end - start) / (count - 1) as f64 } else { 0.0 };
        let value = |i: usize| {
            if i < count / 2 || count == 1 { start + i as f64 * step } else { end - (count - 1 - i) as f64 * step }
        };
        let elements: Vec<f32> = (0..count).map(|i| value(i) as f32).collect();
        Self::from_slice(device, &elements, &[count])
    }

    /// Returns the coordinates of the grid that lists span: views of one shape, in each of which one list runs along its
    /// axis.
    ///
    /// # Shapes
    /// `[nᵢ]` each → `[n₀, n₁, …]` each; with [`Indexing::Cartesian`] `[n₁, n₀, …]`.
    ///
    /// # Errors
    /// If there is none, one has more than one dimension, or the grid is too large.
    pub fn meshgrid(lists: &[Self], indexing: Indexing) -> Result<Vec<Self>> {
        if lists.is_empty() {
            let (value, rule) = ("[]".to_string(), "at least one list");
            return Err(Error::Argument { op: "meshgrid", name: "lists", value, rule });
        }
        if let Some(list) = lists.iter().find(|list| list.rank() > 1) {
            return Err(Error::Rank { op: "meshgrid", expected: "at most 1 dimension", shape: list.shape().to_vec() });
        }
        let mut shape: Vec<usize> = lists.iter().map(Self::len).collect();
        let is_swapped = indexing == Indexing::Cartesian && shape.len() > 1;
        if is_swapped {
            shape.swap(0, 1);
        }
        shape::element_count("meshgrid", &shape)?;
        let grid = |(i, list): (usize, &Self)| {
            let axis = if is_swapped && i < 2 { 1 - i } else { i };
            let mut strides = vec![0; shape.len()];
            strides[axis] = list.strides().first().copied().unwrap_or(0);
            list.view(shape.clone(), strides, list.offset())
        };
        Ok(lists.iter().enumerate().map(grid).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    fn floats(x: Result<Tensor>) -> Vec<f32> {
        x.unwrap().to_vec().unwrap()
    }

    #[test]
    fn identities() {
        let device = Device::cpu();
        assert_eq!(floats(Tensor::eye(&device, 2, 3)), [1., 0., 0., 0., 1., 0.]);
        assert_eq!(floats(Tensor::eye(&device, 3, 1)), [1., 0., 0.]);
        assert_eq!(Tensor::eye(&device, 0, 3).unwrap().shape(), [0, 3]);
        assert!(Tensor::eye(&device, 1 << 20, 1 << 20).is_err());
    }

    #[test]
    fn ranges_count_as_pytorchs() {
        let device = Device::cpu();
        let of = |start, end, step| Tensor::arange(&device, start, end, step);
        assert_eq!(floats(of(0.0, 1.0, 0.1)).len(), 10);
        // 0.3 / 0.1 is a little below 3 in f64, and 0.9 / 0.1 and (1.3 - 1) / 0.1 a little above 9 and 3.
        assert_eq!((floats(of(0.0, 0.3, 0.1)).len(), floats(of(1.0, 1.3, 0.1)).len()), (3, 4));
        assert_eq!(floats(of(3.0, 0.0, -1.0)), [3., 2., 1.]);
        assert_eq!(floats(of(2.0, 2.0, 1.0)), [0f32; 0]);
        for (start, end, step) in [(0.0, 1.0, 0.0), (0.0, 1.0, -1.0), (0.0, f64::INFINITY, 1.0), (f64::NAN, 1.0, 1.0)] {
            assert!(of(start, end, step).is_err(), "{start} {end} {step}");
        }
        assert!(of(0.0, 1e300, 1.0).is_err() && of(0.0, 0.0, 0.0).is_err());
    }

    #[test]
    fn both_ends_of_a_linear_space_are_exact() {
        let device = Device::cpu();
        let of = |start, end, count| floats(Tensor::linspace(&device, start, end, count));
        let x = of(-1.0, 1.0, 11);
        assert!(x[0] == -1.0 && x[10] == 1.0 && x.iter().zip(x.iter().rev()).all(|(a, b)| *a == -*b), "{x:?}");
        assert_eq!((of(2.0, 5.0, 1), of(2.0, 5.0, 0), of(2.0, 5.0, 2)), (vec![2.0], vec![], vec![2.0, 5.0]));
    }

    #[test]
    fn grids_have_the_order_of_the_indexing() {
        let device = Device::cpu();
        let lists = [Tensor::arange(&device, 0.0, 2.0, 1.0).unwrap(), Tensor::arange(&device, 5.0, 8.0, 1.0).unwrap()];
        let grids = Tensor::meshgrid(&lists, Indexing::Matrix).unwrap();
        assert_eq!(grids[0].to_vec::<f32>().unwrap(), [0., 0., 0., 1., 1., 1.]);
        assert_eq!(grids[1].to_vec::<f32>().unwrap(), [5., 6., 7., 5., 6., 7.]);
        let grids = Tensor::meshgrid(&lists, Indexing::Cartesian).unwrap();
        assert_eq!((grids[0].shape(), grids[0].to_vec::<f32>().unwrap()), (&[3, 2][..], vec![0., 1., 0., 1., 0., 1.]));
        let scalar = Tensor::full(&device, 4f32, &[]).unwrap();
        assert_eq!(Tensor::meshgrid(&[scalar], Indexing::Cartesian).unwrap()[0].shape(), [1]);
        let matrix = Tensor::zeros(&device, DType::F32, &[2, 2]).unwrap();
        assert!(
            Tensor::meshgrid(&[matrix], Indexing::Matrix).is_err() && Tensor::meshgrid(&[], Indexing::Matrix).is_err()
        );
    }
}
