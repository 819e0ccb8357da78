//! The `gemm` crate, the roofline of matrix products on a CPU, with checked slices.

/// A matrix in a slice: its elements and the strides of rows and of columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    elements: &'a [f32],
    row: usize,
    column: usize,
}

impl<'a> Matrix<'a> {
    /// Makes a matrix of rows of `width` elements, or its transpose.
    pub(crate) fn new(elements: &'a [f32], width: usize, transposed: bool) -> Self {
        let (row, column) = if transposed { (1, width) } else { (width, 1) };
        Self { elements, row, column }
    }
}

/// Computes c = a b on all threads; a is `[m, k]`, b `[k, n]`, c `[m, n]` row-major, none of them empty.
pub(crate) fn multiply([m, n, k]: [usize; 3], a: Matrix<'_>, b: Matrix<'_>, c: &mut [f32]) {
    assert!((m - 1) * a.row + (k - 1) * a.column < a.elements.len(), "a is too short");
    assert!((k - 1) * b.row + (n - 1) * b.column < b.elements.len(), "b is too short");
    assert!(c.len() >= m * n, "c is too short");
    #[allow(unsafe_code, reason = "the crate takes pointers; the slices were just held against the extents")]
    // SAFETY: `a`, `b` and `c` contain every element that extents and strides reach, and `c` is borrowed exclusively.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.elements.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.elements.as_ptr(),
            b.column as isize,
            b.row as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::Rayon(0),
        );
    }
}

/// Computes as [`multiply`], with loops in vectors of 256 bits, the crate's default; wider ones are an option of it.
/// Returns false and does nothing on a processor without them.
#[cfg(target_arch = "x86_64")]
pub(crate) fn multiply_in_256_bits([m, n, k]: [usize; 3], a: Matrix<'_>, b: Matrix<'_>, c: &mut [f32]) -> bool {
    use gemm_common::simd::{MixedSimd, V3};
    use gemm_f32::microkernel::fma::f32::{H_M, H_N, H_UKR, MR_DIV_N, NR, UKR};
    const LANES: usize = 8;

    let Some(simd) = <V3 as MixedSimd<f32, f32, f32, f32>>::try_new() else { return false };
    assert!((m - 1) * a.row + (k - 1) * a.column < a.elements.len(), "a is too short");
    assert!((k - 1) * b.row + (n - 1) * b.column < b.elements.len(), "b is too short");
    assert!(c.len() >= m * n, "c is too short");
    #[allow(unsafe_code, reason = "as above; and the processor was asked for what these loops need")]
    // SAFETY: as above. The result is that of the transposed product, whose columns are the rows of `c`: they are
    // contiguous, as these loops need them.
    unsafe {
        gemm_common::gemm::gemm_basic_generic::<_, f32, LANES, { MR_DIV_N * LANES }, NR, MR_DIV_N, H_M, H_N>(
            simd,
            n,
            m,
            k,
            c.as_mut_ptr(),
            n as isize,
            1,
            false,
            b.elements.as_ptr(),
            b.row as isize,
            b.column as isize,
            a.elements.as_ptr(),
            a.row as isize,
            a.column as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            |a, b, c| a * b + c,
            &UKR,
            &H_UKR,
            false,
            gemm::Parallelism::Rayon(0),
        );
    }
    true
}

/// Returns false: there are no such vectors.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn multiply_in_256_bits(_: [usize; 3], _: Matrix<'_>, _: Matrix<'_>, _: &mut [f32]) -> bool {
    false
}

#[cfg(test)]
mod tests {
    #[test]
    fn transposed_operands_are_read_where_they_lie() {
        // Here, because benches that include this file leave out tests, but not the items around them.
        use super::{Matrix, multiply, multiply_in_256_bits};
        // a = [[1, 2, 3], [4, 5, 6]], b = [[1, 0], [0, 1], [1, 1]].
        let expected = [4.0, 5.0, 10.0, 11.0];
        for (a, a_transposed) in [(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], false), (&[1.0, 4.0, 2.0, 5.0, 3.0, 6.0], true)] {
            for (b, b_transposed) in [(&[1.0, 0.0, 0.0, 1.0, 1.0, 1.0], false), (&[1.0, 0.0, 1.0, 0.0, 1.0, 1.0], true)]
            {
                let a = Matrix::new(a, if a_transposed { 2 } else { 3 }, a_transposed);
                let b = Matrix::new(b, if b_transposed { 3 } else { 2 }, b_transposed);
                let mut c = [0.0; 4];
                multiply([2, 2, 3], a, b, &mut c);
                assert_eq!(c, expected);
                let mut c = [0.0; 4];
                assert!(!multiply_in_256_bits([2, 2, 3], a, b, &mut c) || c == expected);
            }
        }
    }
}
