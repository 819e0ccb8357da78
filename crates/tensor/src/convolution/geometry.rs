//! [`Geometry`]: the extents of a convolution, checked, and the tables of places that make it a matrix product.

use super::Strides;
use crate::{Error, Result};

/// The extents of a convolution of any number of axes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Samples of the batch.
    pub(super) samples: usize,
    pub(super) groups: usize,
    /// Channels of a group of the input, and of the output.
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// The spatial extents of the input, without padding, of the kernel and of the output.
    pub(super) input: Vec<usize>,
    pub(super) kernel: Vec<usize>,
    pub(super) output: Vec<usize>,
    pub(super) strides: Strides,
}

impl Geometry {
    /// Returns the extents of the convolution of an input with a weight.
    ///
    /// # Errors
    /// If the shapes do not fit each other, or the kernel is larger than the padded input.
    pub(super) fn new(op: &'static str, input: &[usize], weight: &[usize], strides: &Strides) -> Result<Self> {
        let wrong = |rule| Err(Error::Shape { op, rule, left: input.to_vec(), right: weight.to_vec() });
        strides.check(op)?;
        let axes = strides.stride.len();
        if input.len() != axes + 2 || weight.len() != axes + 2 {
            return wrong("the input must be [samples, channels, …] and the weight [out, in / groups, …]");
        }
        let groups = strides.groups;
        if input[1] != weight[1] * groups || !weight[0].is_multiple_of(groups) {
            return wrong("the channels of input and weight do not fit, or groups do not divide them");
        }
        let (extents, kernel) = (&input[2..], &weight[2..]);
        if kernel.contains(&0) {
            return wrong("the kernel is empty");
        }
        let mut output = Vec::with_capacity(axes);
        for d in 0..axes {
            let padded = extents[d].saturating_add(2 * strides.padding[d]);
            let Some(room) = padded.checked_sub(strides.reach(d, kernel[d]) + 1) else {
                return wrong("the kernel is larger than the padded input");
            };
            output.push(room / strides.stride[d] + 1);
        }
        Ok(Self {
            samples: input[0],
            groups,
            inputs: weight[1],
            outputs: weight[0] / groups,
            input: extents.to_vec(),
            kernel: kernel.to_vec(),
            output,
            strides: strides.clone(),
        })
    }

    pub(super) fn axes(&self) -> usize {
        self.kernel.len()
    }

    /// Returns the shape of the input.
    pub(super) fn input_shape(&self) -> Vec<usize> {
        [&[self.samples, self.groups * self.inputs], &self.input[..]].concat()
    }

    /// Returns the shape of the weight.
    pub(super) fn weight_shape(&self) -> Vec<usize> {
        [&[self.groups * self.outputs, self.inputs], &self.kernel[..]].concat()
    }

    /// Returns the shape of the output.
    pub(super) fn output_shape(&self) -> Vec<usize> {
        [&[self.samples, self.groups * self.outputs], &self.output[..]].concat()
    }

    /// Returns the number of elements of a kernel, for one pair of channels.
    pub(super) fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Returns the number of elements of a channel of the output.
    pub(super) fn pixels(&self) -> usize {
        self.output.iter().product()
    }

    /// Returns the extents of the padded input.
    pub(super) fn padded(&self) -> Vec<usize> {
        self.input.iter().zip(&self.strides.padding).map(|(extent, padding)| extent + 2 * padding).collect()
    }

    /// Returns the extents of the gradient of the output, spread by the strides, with room for the kernel around it.
    pub(super) fn spread(&self) -> Vec<usize> {
        (0..self.axes()).map(|d| self.input[d] + self.strides.reach(d, self.kernel[d])).collect()
    }

    /// Returns the axes of the kernel with their distances in an image of these extents.
    pub(super) fn kernel_axes(&self, image: &[usize]) -> Vec<(usize, usize)> {
        let pitches = pitches(image);
        (0..self.axes()).map(|d| (self.kernel[d], self.strides.dilation[d] * pitches[d])).collect()
    }

    /// Returns the axes of the output with their distances in the padded input.
    pub(super) fn output_axes(&self) -> Vec<(usize, usize)> {
        let pitches = pitches(&self.padded());
        (0..self.axes()).map(|d| (self.output[d], self.strides.stride[d] * pitches[d])).collect()
    }
}

/// Returns the distances of neighbours along the axes of an image.
fn pitches(extents: &[usize]) -> Vec<usize> {
    crate::shape::contiguous_strides(extents)
}

/// Returns the axes of the elements of an image.
pub(super) fn image_axes(extents: &[usize], pitches_of: &[usize]) -> Vec<(usize, usize)> {
    extents.iter().copied().zip(pitches(pitches_of)).collect()
}

/// Appends the places of all coordinates, in row-major order, of axes with these extents and distances.
pub(super) fn push_places(table: &mut Vec<u32>, axes: &[(usize, usize)]) {
    let count = axes.iter().map(|(extent, _)| extent).product::<usize>();
    let mut coordinates = vec![0; axes.len()];
    let mut place = 0;
    for _ in 0..count {
        table.push(place as u32);
        for (coordinate, &(extent, distance)) in coordinates.iter_mut().zip(axes).rev() {
            *coordinate += 1;
            place += distance;
            if *coordinate < extent {
                break;
            }
            place -= extent * distance;
            *coordinate = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_row_major_order() {
        let mut table = Vec::new();
        push_places(&mut table, &[(2, 100), (3, 10), (2, 1)]);
        assert_eq!(table, [0, 1, 10, 11, 20, 21, 100, 101, 110, 111, 120, 121]);
        push_places(&mut table, &[(0, 5), (3, 1)]);
        push_places(&mut table, &[]);
        assert_eq!(table[12..], [0]);
    }
}
