//! Shapes, strides and broadcasting, all in elements.

use crate::{Error, Result};

/// The most dimensions of a tensor: strides are passed to kernels in two vectors of four.
pub const MAX_RANK: usize = 8;

/// The most elements of a tensor: kernels use 32-bit byte offsets.
const MOST_ELEMENTS: u64 = 1 << 30;

/// Returns the number of elements of a shape, or an error if it is too large.
pub(crate) fn element_count(op: &'static str, shape: &[usize]) -> Result<usize> {
    if shape.len() > MAX_RANK {
        return Err(Error::Rank { op, expected: "at most 8 dimensions", shape: shape.to_vec() });
    }
    let mut count: u64 = 1;
    // Strides are products of extents, so they must be within the limit in an empty tensor as well.
    for &extent in shape {
        count = count.saturating_mul(extent.max(1) as u64);
    }
    if count > MOST_ELEMENTS {
        return Err(Error::Limit { op, limit: "elements of a tensor", asked: count, allowed: MOST_ELEMENTS });
    }
    Ok(if shape.contains(&0) { 0 } else { count as usize })
}

/// Returns the row-major strides of a shape.
pub(crate) fn contiguous_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for d in (1..shape.len()).rev() {
        strides[d - 1] = strides[d] * shape[d].max(1);
    }
    strides
}

/// Returns whether elements are contiguous in memory. Extents of 1 may have any stride.
pub(crate) fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    for (&extent, &stride) in shape.iter().zip(strides).rev() {
        if extent == 0 {
            return true;
        }
        if extent != 1 {
            if stride != expected {
                return false;
            }
            expected *= extent;
        }
    }
    true
}

/// Returns the shape that two shapes broadcast to, by NumPy's rule: aligned at the last dimension, an extent of 1 is
/// repeated.
pub(crate) fn broadcast(op: &'static str, left: &[usize], right: &[usize]) -> Result<Vec<usize>> {
    let rank = left.len().max(right.len());
    let extent = |shape: &[usize], d: usize| if d + shape.len() < rank { 1 } else { shape[d + shape.len() - rank] };
    (0..rank)
        .map(|d| match (extent(left, d), extent(right, d)) {
            (a, b) if a == b => Ok(a),
            (1, b) => Ok(b),
            (a, 1) => Ok(a),
            _ => Err(Error::Shape {
                op,
                rule: "the shapes do not broadcast",
                left: left.to_vec(),
                right: right.to_vec(),
            }),
        })
        .collect()
}

/// Returns the strides for reading `shape` as `target`: 0 for broadcast dimensions. Returns `None` if it does not
/// broadcast.
pub(crate) fn broadcast_strides(shape: &[usize], strides: &[usize], target: &[usize]) -> Option<Vec<usize>> {
    let missing = target.len().checked_sub(shape.len())?;
    let mut result = vec![0; target.len()];
    for (d, (&extent, &stride)) in shape.iter().zip(strides).enumerate() {
        result[d + missing] = match (extent, target[d + missing]) {
            (a, b) if a == b => stride,
            (1, _) => 0,
            _ => return None,
        };
    }
    Some(result)
}

/// Merges neighbouring dimensions that are contiguous under all of the given strides, and drops extents of 1, so that
/// kernels need fewer divisions per element.
pub(crate) fn collapse<const N: usize>(shape: &[usize], strides: [&[usize]; N]) -> (Vec<usize>, [Vec<usize>; N]) {
    let mut out_shape: Vec<usize> = Vec::new();
    let mut out_strides: [Vec<usize>; N] = std::array::from_fn(|_| Vec::new());
    for d in 0..shape.len() {
        if shape[d] == 1 {
            continue;
        }
        let joins = !out_shape.is_empty()
            && (0..N).all(|i| out_strides[i].last().is_some_and(|&outer| outer == strides[i][d] * shape[d]));
        if joins {
            let last = out_shape.len() - 1;
            out_shape[last] *= shape[d];
            for i in 0..N {
                out_strides[i][last] = strides[i][d];
            }
        } else {
            out_shape.push(shape[d]);
            for i in 0..N {
                out_strides[i].push(strides[i][d]);
            }
        }
    }
    (out_shape, out_strides)
}

/// Packs a list of at most [`MAX_RANK`] numbers into a kernel's two vectors of four.
pub(crate) fn pack(values: &[usize]) -> [[u32; 4]; 2] {
    let mut packed = [[0; 4]; 2];
    for (d, &value) in values.iter().enumerate() {
        packed[d / 4][d % 4] = value as u32;
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_follows_numpy() {
        assert_eq!(broadcast("add", &[3, 1], &[4]).unwrap(), vec![3, 4]);
        assert_eq!(broadcast("add", &[], &[2, 2]).unwrap(), vec![2, 2]);
        assert_eq!(broadcast("add", &[0, 1], &[1, 5]).unwrap(), vec![0, 5]);
        let error = broadcast("add", &[3, 2], &[4]).unwrap_err();
        assert_eq!(error.to_string(), "add: the shapes do not broadcast, [3, 2] × [4]");
    }

    #[test]
    fn strides_of_a_stretched_shape_are_zero() {
        assert_eq!(broadcast_strides(&[3, 1], &[1, 1], &[2, 3, 4]), Some(vec![0, 1, 0]));
        assert_eq!(broadcast_strides(&[3], &[1], &[4]), None);
        assert_eq!(broadcast_strides(&[3, 4], &[4, 1], &[4]), None);
    }

    #[test]
    fn gapless_dimensions_collapse() {
        let (shape, [strides]) = collapse(&[2, 3, 4], [&[12, 4, 1]]);
        assert_eq!((shape, strides), (vec![24], vec![1]));
        let (shape, [strides]) = collapse(&[2, 3, 4], [&[12, 1, 3]]);
        assert_eq!((shape, strides), (vec![2, 3, 4], vec![12, 1, 3]));
        let (shape, [a, b]) = collapse(&[2, 3, 4], [&[12, 4, 1], &[0, 4, 1]]);
        assert_eq!((shape, a, b), (vec![2, 12], vec![12, 1], vec![0, 1]));
    }

    #[test]
    fn sizes_that_overflow_an_index_are_refused() {
        assert!(element_count("zeros", &[1 << 16, 1 << 16]).is_err());
        assert!(element_count("zeros", &[usize::MAX, usize::MAX]).is_err());
        assert!(element_count("zeros", &[usize::MAX, 0]).is_err());
        assert_eq!(element_count("zeros", &[1 << 20, 0]).unwrap(), 0);
    }
}
