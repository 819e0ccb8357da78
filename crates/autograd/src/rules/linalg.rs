//! Decompositions, systems and determinants of matrices. With g the gradient of the output.
//!
//! The rules are those of Giles, Collected matrix derivative results for forward and reverse mode algorithmic
//! differentiation (2008), and of Walter, Lehmann: Algorithmic differentiation of linear algebra functions (2010).
//!
//! A decomposition is one operation, with its factors below each other in one matrix.

use thalweg_tensor::Tensor;

use crate::{Result, Var};

impl<'t> Var<'t> {
    /// Returns the Cholesky decomposition of symmetric positive definite matrices; see [`Tensor::cholesky`].
    ///
    /// The gradient is symmetric, as in PyTorch: that of a function of symmetric matrices.
    ///
    /// # Errors
    /// If the elements are not f32, the matrices are not square, or n is above 1,024.
    pub fn cholesky(self) -> Result<Self> {
        self.tape().record("cholesky", self.value().cholesky()?, &[self], |pull| {
            let (l, g) = (pull.output(), pull.cotangent()?);
            let upper = l.mt()?;
            let product = upper.matmul(g)?.tril(0)?;
            let halved = product.sub(product.diagonal(0, -2, -1)?.affine(0.5, 0.0)?.diag_embed(0)?)?;
            // L⁻ᵀ Φ(Lᵀ g) L⁻¹
            let left = upper.solve_triangular(halved, true, true, false)?;
            pull.give(0, symmetric(upper.solve_triangular(left.mt()?, true, true, false)?)?)
        })
    }

    /// Returns the solution X of A X = B, or of X A = B if A is not on the left, for triangular A; see
    /// [`Tensor::solve_triangular`].
    ///
    /// # Errors
    /// As of [`Tensor::solve_triangular`], or if the tapes differ.
    pub fn solve_triangular(self, b: Self, upper: bool, left: bool, unitriangular: bool) -> Result<Self> {
        if !left {
            // An error of shapes names those of the caller.
            if b.shape().len() < 2 {
                self.value().solve_triangular(&b.value(), upper, left, unitriangular)?;
            }
            return self.mt()?.solve_triangular(b.mt()?, !upper, true, unitriangular)?.mt();
        }
        let x = self.value().solve_triangular(&b.value(), upper, left, unitriangular)?;
        self.tape().record("solve_triangular", x, &[self, b], move |pull| {
            let a = pull.input(0);
            let of_b = a.mt()?.solve_triangular(pull.cotangent()?, !upper, true, unitriangular)?;
            if pull.needs(0) {
                let of_a = of_b.matmul(pull.output().mt()?)?.neg()?.sum_to(&a.shape())?;
                let beside = isize::from(unitriangular);
                pull.give(0, if upper { of_a.triu(beside)? } else { of_a.tril(-beside)? })?;
            }
            if pull.needs(1) {
                pull.give(1, of_b.sum_to(&pull.input(1).shape())?)?;
            }
            Ok(())
        })
    }

    /// Returns the LU decomposition of square matrices with row exchanges; see [`Tensor::lu`]. The permutation has no
    /// gradient.
    ///
    /// # Errors
    /// If the elements are not f32, the matrices are not square, or n is above 1,024.
    pub fn lu(self) -> Result<(Self, Self, Self)> {
        let (permutation, l, u) = self.value().lu()?;
        let n = side(&l);
        let exchanges = permutation.clone();
        let both = self.tape().record("lu", Tensor::concatenate(&[l, u], -2)?, &[self], move |pull| {
            let [l, u] = rows(pull.output(), [n, n])?;
            let [of_l, of_u] = rows(pull.cotangent()?, [n, n])?;
            let inner = l.mt()?.matmul(of_l)?.tril(-1)?.add(of_u.matmul(u.mt()?)?.triu(0)?)?;
            // P L⁻ᵀ inner U⁻ᵀ
            let right = u.mt()?.solve_triangular(inner, false, false, false)?;
            let left = l.mt()?.solve_triangular(right, true, true, true)?;
            pull.give(0, pull.constant(&exchanges).matmul(left)?)
        })?;
        let [l, u] = rows(both, [n, n])?;
        Ok((self.tape().constant(&permutation), l, u))
    }

    /// Returns the solution X of A X = B by an LU decomposition; see [`Tensor::solve`].
    ///
    /// # Errors
    /// As of [`Tensor::solve`], or if the tapes differ.
    pub fn solve(self, b: Self) -> Result<Self> {
        let (of_a, of_b) = (self.shape(), b.shape());
        let is_batch = of_b.len() + 1 == of_a.len() && of_b[..] == of_a[..of_b.len()];
        if of_b.len() == 1 || is_batch {
            return self.solve(b.unsqueeze(-1)?)?.squeeze(-1);
        }
        self.tape().record("solve", self.value().solve(&b.value())?, &[self, b], |pull| {
            let a = pull.input(0);
            let of_b = a.mt()?.solve(pull.cotangent()?)?;
            if pull.needs(0) {
                pull.give(0, of_b.matmul(pull.output().mt()?)?.neg()?.sum_to(&a.shape())?)?;
            }
            if pull.needs(1) {
                pull.give(1, of_b.sum_to(&pull.input(1).shape())?)?;
            }
            Ok(())
        })
    }

    /// Returns the inverses of square matrices; see [`Tensor::inv`].
    ///
    /// # Errors
    /// If the elements are not f32, the matrices are not square, or n is above 1,024.
    pub fn inv(self) -> Result<Self> {
        self.tape().record("inv", self.value().inv()?, &[self], |pull| {
            let transposed = pull.output().mt()?;
            pull.give(0, transposed.matmul(pull.cotangent()?)?.matmul(transposed)?.neg()?)
        })
    }

    /// Returns the determinants of square matrices; see [`Tensor::det`]. The gradient of a singular matrix is NaN, where
    /// PyTorch's may be finite.
    ///
    /// # Errors
    /// If the elements are not f32, the matrices are not square, or n is above 1,024.
    pub fn det(self) -> Result<Self> {
        self.tape().record("det", self.value().det()?, &[self], |pull| {
            let factor = pull.cotangent()?.mul(pull.output())?;
            pull.give(0, pull.input(0).inv()?.mt()?.mul(factor.unsqueeze(-1)?.unsqueeze(-1)?)?)
        })
    }

    /// Returns the signs of the determinants of square matrices, and the logarithms of their magnitudes; see
    /// [`Tensor::slogdet`]. The signs have no gradient.
    ///
    /// # Errors
    /// If the elements are not f32, the matrices are not square, or n is above 1,024.
    pub fn slogdet(self) -> Result<(Self, Self)> {
        let (sign, logarithm) = self.value().slogdet()?;
        let logarithm = self.tape().record("slogdet", logarithm, &[self], |pull| {
            let g = pull.cotangent()?.unsqueeze(-1)?.unsqueeze(-1)?;
            pull.give(0, pull.input(0).inv()?.mt()?.mul(g)?)
        })?;
        Ok((self.tape().constant(&sign), logarithm))
    }

    /// Returns the reduced QR decomposition of matrices; see [`Tensor::qr`]. Gradients need matrices of full rank; of a wide
    /// one, the first columns.
    ///
    /// # Errors
    /// If the elements are not f32, there are fewer than two axes, or m or n is above 1,024.
    pub fn qr(self) -> Result<(Self, Self)> {
        let shape = self.shape();
        if let &[.., m, n] = &shape[..]
            && m < n
        {
            self.value().qr()?;
            let (q, r) = self.slice(-1, 0, m)?.qr()?;
            let others = q.mt()?.matmul(self.slice(-1, m, n)?)?;
            return Ok((q, Self::concatenate(&[r, others], -1)?));
        }
        let (q, r) = self.value().qr()?;
        let extents = [q.shape()[shape.len() - 2], side(&r)];
        let both = self.tape().record("qr", Tensor::concatenate(&[q, r], -2)?, &[self], move |pull| {
            let [q, r] = rows(pull.output(), extents)?;
            let [of_q, of_r] = rows(pull.cotangent()?, extents)?;
            let inner = r.matmul(of_r.mt()?)?.sub(of_q.mt()?.matmul(q)?)?;
            let mirrored = inner.tril(0)?.add(inner.tril(-1)?.mt()?)?;
            let sum = of_q.add(q.matmul(mirrored)?)?;
            pull.give(0, r.mt()?.solve_triangular(sum, false, false, false)?)
        })?;
        let [q, r] = rows(both, extents)?;
        Ok((q, r))
    }

    /// Returns the eigenvalues and eigenvectors of symmetric matrices; see [`Tensor::eigh`].
    ///
    /// The gradient is symmetric: that of a function of symmetric matrices. It is right where equal values share their
    /// vectors only if the function does not depend on how.
    ///
    /// # Errors
    /// If the elements are not f32, the matrices are not square, or n is above 512.
    pub fn eigh(self) -> Result<(Self, Self)> {
        let (values, vectors) = self.value().eigh()?;
        let n = side(&vectors);
        let both = Tensor::concatenate(&[values.unsqueeze(-2)?, vectors], -2)?;
        let both = self.tape().record("eigh", both, &[self], move |pull| {
            let [w, v] = rows(pull.output(), [1, n])?;
            let [of_w, of_v] = rows(pull.cotangent()?, [1, n])?;
            let turned = v.mt()?.matmul(of_v)?.mul(reciprocal(w.sub(w.mt()?)?)?)?;
            let inner = turned.add(of_w.squeeze(-2)?.diag_embed(0)?)?;
            pull.give(0, symmetric(v.matmul(inner)?.matmul(v.mt()?)?)?)
        })?;
        let [w, v] = rows(both, [1, n])?;
        Ok((w.squeeze(-2)?, v))
    }

    /// Returns the reduced singular value decomposition of matrices; see [`Tensor::svd`].
    ///
    /// The gradient is right where equal values share their vectors only if the function does not depend on how.
    ///
    /// # Errors
    /// If the elements are not f32, there are fewer than two axes, or m or n is above 512.
    pub fn svd(self) -> Result<(Self, Self, Self)> {
        let (u, s, vh) = self.value().svd()?;
        let (m, n) = (u.shape()[u.rank() - 2], side(&vh));
        let extents = [m, 1, n];
        let all = Tensor::concatenate(&[u, s.unsqueeze(-2)?, vh.transpose(-2, -1)?], -2)?;
        let all = self.tape().record("svd", all, &[self], move |pull| {
            let [u, s, v] = rows(pull.output(), extents)?;
            let [of_u, of_s, of_v] = rows(pull.cotangent()?, extents)?;
            let gaps = reciprocal(s.sub(s.mt()?)?.mul(s.add(s.mt()?)?)?)?;
            let left = u.mt()?.matmul(of_u)?;
            let right = v.mt()?.matmul(of_v)?;
            let inner = left.sub(left.mt()?)?.mul(gaps)?.mul(s)?;
            let inner = inner.add(right.sub(right.mt()?)?.mul(gaps)?.mul(s.mt()?)?)?;
            let inner = inner.add(of_s.squeeze(-2)?.diag_embed(0)?)?;
            let mut gradient = u.matmul(inner)?.matmul(v.mt()?)?;
            // What of the vectors' gradients is outside their space.
            if m > n {
                let outside = of_u.sub(u.matmul(left)?)?.mul(reciprocal(s)?)?;
                gradient = gradient.add(outside.matmul(v.mt()?)?)?;
            }
            if n > m {
                let outside = of_v.sub(v.matmul(right)?)?.mul(reciprocal(s)?)?;
                gradient = gradient.add(u.matmul(outside.mt()?)?)?;
            }
            pull.give(0, gradient)
        })?;
        let [u, s, v] = rows(all, extents)?;
        Ok((u, s.squeeze(-2)?, v.mt()?))
    }

    /// Returns the singular values of matrices in descending order; see [`Tensor::svdvals`].
    ///
    /// # Errors
    /// If the elements are not f32, there are fewer than two axes, or m or n is above 512.
    pub fn svdvals(self) -> Result<Self> {
        if !self.is_tracked() {
            return Ok(self.tape().constant(&self.value().svdvals()?));
        }
        Ok(self.svd()?.1)
    }

    /// The transposes of the matrices.
    fn mt(self) -> Result<Self> {
        self.transpose(-2, -1)
    }
}

/// The last extent.
fn side(x: &Tensor) -> usize {
    x.shape()[x.rank() - 1]
}

/// Divides the rows of each matrix into parts.
fn rows<const N: usize>(x: Var<'_>, extents: [usize; N]) -> Result<[Var<'_>; N]> {
    let mut parts = [x; N];
    let mut start = 0;
    for (part, extent) in parts.iter_mut().zip(extents) {
        *part = x.slice(-2, start, start + extent)?;
        start += extent;
    }
    Ok(parts)
}

/// The mean of each matrix and its transpose.
fn symmetric(x: Var<'_>) -> Result<Var<'_>> {
    x.add(x.mt()?)?.affine(0.5, 0.0)
}

/// 1 / x, and 0 where x is zero.
fn reciprocal(x: Var<'_>) -> Result<Var<'_>> {
    let vanishes = x.is_zero()?;
    vanishes.affine(-1.0, 1.0)?.div(x.add(vanishes)?)
}
