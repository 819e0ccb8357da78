//! [`Axis`] and [`Axes`]: the numbers of dimensions, from the front or from the back.

use std::ops::RangeFull;

use crate::{Error, Result};

/// The number of an axis of a tensor: 0 is the first one. Signed numbers may be negative and count from the back, so that
/// -1 is the last axis.
pub trait Axis: Copy {
    /// Returns the number from the front among `rank` axes, or `None` if there is no such axis.
    fn place(self, rank: usize) -> Option<usize>;

    /// Returns the number as text, for errors.
    fn text(self) -> String;

    /// Returns the number from the front.
    ///
    /// # Errors
    /// If the shape has no such axis.
    fn of(self, op: &'static str, shape: &[usize]) -> Result<usize> {
        self.place(shape.len()).ok_or_else(|| no_axis(op, &self.text(), shape))
    }
}

fn no_axis(op: &'static str, axis: &str, shape: &[usize]) -> Error {
    Error::Argument { op, name: "axis", value: format!("{axis} of shape {shape:?}"), rule: "an axis of the tensor" }
}

/// A set of axes of a tensor: one number, an array or a slice of numbers, or `..` for all axes.
///
/// ```
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_tensor::Result<()> {
/// let x = Tensor::full(&Device::cpu(), 1f32, &[2, 3, 4])?;
/// assert_eq!(x.sum_along(-1, false)?.shape(), [2, 3]);
/// assert_eq!(x.sum_along([0, 2], true)?.shape(), [1, 3, 1]);
/// assert_eq!(x.sum_along(.., false)?.item::<f32>()?, 24.0);
/// # Ok(())
/// # }
/// ```
pub trait Axes {
    /// Returns the numbers from the front, in ascending order.
    ///
    /// # Errors
    /// If the shape has no such axis, or an axis is named twice.
    fn of(self, op: &'static str, shape: &[usize]) -> Result<Vec<usize>>;
}

macro_rules! axis {
    ($($number:ty),*) => {
        $(
            impl Axis for $number {
                #[allow(unused_comparisons, clippy::cast_possible_wrap, reason = "the numbers may be unsigned")]
                fn place(self, rank: usize) -> Option<usize> {
                    let from_front = if self < 0 { (self as isize).checked_add_unsigned(rank)? } else { self as isize };
                    usize::try_from(from_front).ok().filter(|place| *place < rank)
                }

                fn text(self) -> String {
                    self.to_string()
                }
            }

            impl Axes for $number {
                fn of(self, op: &'static str, shape: &[usize]) -> Result<Vec<usize>> {
                    Ok(vec![Axis::of(self, op, shape)?])
                }
            }
        )*
    };
}

axis!(i32, i64, isize, usize);

impl<A: Axis> Axes for &[A] {
    fn of(self, op: &'static str, shape: &[usize]) -> Result<Vec<usize>> {
        let mut places = self.iter().map(|axis| axis.of(op, shape)).collect::<Result<Vec<_>>>()?;
        places.sort_unstable();
        if let Some(pair) = places.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::Argument {
                op,
                name: "axes",
                value: format!("{} twice, of shape {shape:?}", pair[0]),
                rule: "each axis once",
            });
        }
        Ok(places)
    }
}

impl<A: Axis, const N: usize> Axes for [A; N] {
    fn of(self, op: &'static str, shape: &[usize]) -> Result<Vec<usize>> {
        self.as_slice().of(op, shape)
    }
}

impl<A: Axis, const N: usize> Axes for &[A; N] {
    fn of(self, op: &'static str, shape: &[usize]) -> Result<Vec<usize>> {
        self.as_slice().of(op, shape)
    }
}

impl<A: Axis> Axes for &Vec<A> {
    fn of(self, op: &'static str, shape: &[usize]) -> Result<Vec<usize>> {
        self.as_slice().of(op, shape)
    }
}

impl Axes for RangeFull {
    fn of(self, _: &'static str, shape: &[usize]) -> Result<Vec<usize>> {
        Ok((0..shape.len()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_numbers_count_from_the_back() {
        assert_eq!(
            (0.place(3), 2usize.place(3), (-1).place(3), (-3i64).place(3)),
            (Some(0), Some(2), Some(2), Some(0))
        );
        assert_eq!(
            (3.place(3), (-4).place(3), 0.place(0), isize::MIN.place(3), usize::MAX.place(3)),
            Default::default()
        );
    }

    #[test]
    fn sets_are_sorted_and_have_each_axis_once() {
        let shape = [2, 3, 4];
        assert_eq!(Axes::of([-1, 0], "sum", &shape).unwrap(), [0, 2]);
        assert_eq!(Axes::of(.., "sum", &shape).unwrap(), [0, 1, 2]);
        let twice = Axes::of([1, -2], "sum", &shape).unwrap_err().to_string();
        assert!(twice.contains("1 twice, of shape [2, 3, 4]"), "{twice}");
        let missing = Axes::of(-4, "sum", &shape).unwrap_err().to_string();
        assert!(missing.contains("-4 of shape [2, 3, 4]"), "{missing}");
    }
}
