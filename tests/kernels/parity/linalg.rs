//! Decompositions and systems: each result is checked by its definition in f64 on both devices, and compared.

use thalweg::tensor::{Device, Tensor};

use crate::common::{Tolerance, assert_close, floats, is_software, numbers, tensor};
use crate::parity::Pair;

/// Extents around those of a workgroup and of the parts of a launch.
const SIDES: [usize; 9] = [0, 1, 2, 3, 17, 63, 64, 65, 130];

/// The unit of rounding.
const UNIT: f64 = f32::EPSILON as f64;

/// A batch of matrices in f64, with their extents.
#[derive(Debug, Clone)]
struct Batch {
    rows: usize,
    columns: usize,
    matrices: Vec<Vec<f64>>,
}

impl Batch {
    fn of(x: &Tensor) -> Self {
        let [.., rows, columns] = *x.shape() else { panic!("{:?}", x.shape()) };
        let elements: Vec<f64> = floats(&x.contiguous().unwrap()).into_iter().map(f64::from).collect();
        let matrices = elements.chunks((rows * columns).max(1)).map(<[f64]>::to_vec).collect();
        Self { rows, columns, matrices }
    }

    fn each(
        &self,
        other: &Self,
        [rows, columns]: [usize; 2],
        of: impl Fn(&[f64], &[f64], usize, usize) -> f64,
    ) -> Self {
        let matrix = |(a, b): (&Vec<f64>, &Vec<f64>)| {
            (0..rows * columns).map(|at| of(a, b, at / columns, at % columns)).collect()
        };
        Self { rows, columns, matrices: self.matrices.iter().zip(&other.matrices).map(matrix).collect() }
    }

    fn times(&self, other: &Self) -> Self {
        let (inner, columns) = (self.columns, other.columns);
        assert_eq!(inner, other.rows);
        self.each(other, [self.rows, columns], |a, b, i, j| {
            (0..inner).map(|l| a[i * inner + l] * b[l * columns + j]).sum()
        })
    }

    fn transposed(&self) -> Self {
        let (rows, columns) = (self.rows, self.columns);
        self.each(self, [columns, rows], |a, _, i, j| a[j * columns + i])
    }

    fn scaled(&self, list: &[f32]) -> Self {
        let mut scaled = self.clone();
        for (matrix, list) in scaled.matrices.iter_mut().zip(list.chunks(self.columns.max(1))) {
            matrix.iter_mut().enumerate().for_each(|(at, x)| *x *= f64::from(list[at % list.len()]));
        }
        scaled
    }

    /// ‖self - other‖ / ‖other‖ of the worst matrix, by the norms of Frobenius.
    fn error(&self, other: &Self) -> f64 {
        assert_eq!((self.rows, self.columns), (other.rows, other.columns));
        let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
        let errors = self.matrices.iter().zip(&other.matrices).map(|(a, b)| {
            let size = norm(&mut b.iter().copied());
            norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / if size == 0.0 { 1.0 } else { size }
        });
        errors.fold(0.0, |worst, error| if error <= worst { worst } else { error })
    }

    /// ‖1 - self‖ / √n of the worst matrix.
    fn distance_from_one(&self) -> f64 {
        let n = self.columns;
        self.error(&self.each(self, [n, n], |_, _, i, j| f64::from(u8::from(i == j))))
    }
}

/// A batch of 3 random matrices, the same on every device.
fn random(device: &Device, seed: u64, rows: usize, columns: usize) -> Tensor {
    tensor(device, &numbers(seed, 3 * rows * columns, -1.0, 1.0), &[3, rows, columns])
}

/// Random matrices whose condition is a small number.
fn well(device: &Device, n: usize) -> Tensor {
    let unit = Tensor::eye(device, n, n).unwrap().affine((n as f32).sqrt() * 2.0, 0.0).unwrap();
    random(device, 5, n, n).add(&unit).unwrap()
}

fn mt(x: &Tensor) -> Tensor {
    x.transpose(-2, -1).unwrap()
}

/// Checks on each device, and that both have nearly the same results.
fn hold(pair: &Pair, what: &str, tolerance: Tolerance, compute: impl Fn(&Device, &str) -> Vec<Tensor>) {
    let expected = compute(&pair.cpu, &format!("{what} on the CPU"));
    let got = compute(&pair.gpu, &format!("{what} on the GPU"));
    let tolerance = if is_software(&pair.gpu) { Tolerance::EXACT } else { tolerance };
    for (got, expected) in got.iter().zip(&expected) {
        assert_eq!(got.shape(), expected.shape(), "{what}");
        assert_close(what, &floats(got), &floats(expected), tolerance);
    }
}

fn small(what: &str, error: f64, bound: f64) {
    assert!(error <= bound, "{what}: {error:e} is above {bound:e}");
}

pub(crate) fn cholesky(pair: &Pair) {
    for n in SIDES.into_iter().chain([512]) {
        let elements = numbers(n as u64, if n > 200 { n * n } else { 3 * n * n }, -1.0, 1.0);
        let batch = if n > 200 { 1 } else { 3 };
        hold(pair, &format!("cholesky of {n}"), Tolerance::new(1e-5 * (n as f32).sqrt(), 1e-5), |device, what| {
            let x = tensor(device, &elements, &[batch, n, n]);
            let unit = Tensor::eye(device, n, n).unwrap().affine(2.0 * n as f32 + 2.0, 0.0).unwrap();
            let a = x.add(&mt(&x)).unwrap().add(&unit).unwrap();
            let l = a.cholesky().unwrap();
            let l_f64 = Batch::of(&l);
            small(what, l_f64.times(&l_f64.transposed()).error(&Batch::of(&a)), UNIT * (n as f64).max(2.0));
            assert_eq!(floats(&l.triu(1).unwrap()).iter().find(|x| **x != 0.0), None, "{what}");
            vec![l]
        });
    }
    // The second is not positive definite, the third has no finite elements.
    pair.compare("bad matrices", Tolerance::EXACT, |device| {
        let elements = [4.0, 9.0, 2.0, 5.0, 1.0, 0.0, 2.0, 1.0, f32::INFINITY, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, f32::NAN];
        let l = tensor(device, &elements, &[4, 2, 2]).cholesky().unwrap();
        let nan = f32::NAN;
        let bad = [nan, 0.0, nan, nan];
        let expected = [[2.0, 0.0, 1.0, 2.0], bad, bad, bad].concat();
        assert_close("bad matrices", &floats(&l), &expected, Tolerance::EXACT);
        vec![l]
    });
}

pub(crate) fn solve_triangular(pair: &Pair) {
    for (n, columns) in [(0, 3), (3, 0), (1, 1), (2, 5), (17, 16), (64, 17), (65, 1), (130, 40), (512, 3)] {
        let what = format!("a triangle of {n} with {columns} right sides");
        hold(pair, &what, Tolerance::new(1e-5, 1e-5), |device, what| {
            // Elements beside the diagonal are small, so that every triangle has a small condition.
            let unit = Tensor::eye(device, n, n).unwrap();
            let a = random(device, 1, n, n).affine(1.0 / (n.max(1) as f32), 0.0).unwrap();
            let (full, b) = (a.add(&unit).unwrap(), random(device, 2, n, columns));
            let mut results = Vec::new();
            for (upper, left, is_unit) in [
                (false, true, false),
                (true, true, false),
                (false, false, false),
                (true, false, true),
                (false, true, true),
            ] {
                let b = if left { b.clone() } else { mt(&b) };
                let x = full.solve_triangular(&b, upper, left, is_unit).unwrap();
                let triangle = match (upper, is_unit) {
                    (false, false) => full.tril(0).unwrap(),
                    (true, false) => full.triu(0).unwrap(),
                    (false, true) => full.tril(-1).unwrap().add(&unit).unwrap(),
                    (true, true) => full.triu(1).unwrap().add(&unit).unwrap(),
                };
                let (x_f64, triangle) = (Batch::of(&x), Batch::of(&triangle));
                let product = if left { triangle.times(&x_f64) } else { x_f64.times(&triangle) };
                small(&format!("{what}, {upper} {left} {is_unit}"), product.error(&Batch::of(&b)), 16.0 * UNIT);
                results.push(x);
            }
            results
        });
    }
    pair.compare("a stretched batch", Tolerance::new(1e-5, 1e-5), |device| {
        let a = tensor(device, &[2.0, 0.0, 1.0, 4.0], &[1, 2, 2]);
        let b = tensor(device, &numbers(3, 12, -1.0, 1.0), &[3, 2, 2]);
        let x = a.solve_triangular(&b, false, true, false).unwrap();
        assert_eq!(x.shape(), [3, 2, 2]);
        vec![x, mt(&a).solve_triangular(&mt(&b), true, true, false).unwrap()]
    });
}

pub(crate) fn lu(pair: &Pair) {
    for n in SIDES.into_iter().chain([512]) {
        let size = (n as f32).sqrt();
        hold(pair, &format!("systems of {n}"), Tolerance::new(2e-5 * size, 2e-5), |device, what| {
            let a = well(device, n);
            // As it is, the largest element of a column is on the diagonal; turned around, it is not.
            let a = if n > 200 { a.slice(0, 0, 1).unwrap().flip(1).unwrap() } else { a.flip(1).unwrap() };
            let batch = a.shape()[0];
            let b = random(device, 6, n, 4).slice(0, 0, batch).unwrap();
            let (p, l, u) = a.lu().unwrap();
            let product = Batch::of(&p).times(&Batch::of(&l)).times(&Batch::of(&u));
            small(what, product.error(&Batch::of(&a)), UNIT * (n as f64).max(2.0));
            let (x, inverse) = (a.solve(&b).unwrap(), a.inv().unwrap());
            // The condition is about 3.
            let bound = 4.0 * UNIT * (n as f64).sqrt().max(2.0);
            small(what, Batch::of(&a).times(&Batch::of(&x)).error(&Batch::of(&b)), bound);
            small(what, Batch::of(&a).times(&Batch::of(&inverse)).distance_from_one(), bound);
            let vector = a.solve(&b.select(-1, 1).unwrap()).unwrap();
            assert_close(what, &floats(&vector), &floats(&x.select(-1, 1).unwrap()), Tolerance::EXACT);
            let (sign, logarithm) = a.slogdet().unwrap();
            assert_eq!(sign.shape(), [batch]);
            if n <= 17 {
                let product = sign.mul(&logarithm.exp().unwrap()).unwrap();
                let close = Tolerance::new(0.0, 1e-4);
                assert_close(what, &floats(&a.det().unwrap()), &floats(&product), close);
            }
            vec![p, l, u, x, inverse, sign]
        });
    }
    pair.compare("small determinants", Tolerance::new(1e-6, 1e-6), |device| {
        let a = tensor(device, &[1.0, 2.0, 3.0, 4.0, 0.0, 1.0, 1.0, 0.0, 1.0, 2.0, 2.0, 4.0], &[3, 2, 2]);
        let (sign, logarithm) = a.slogdet().unwrap();
        let close = Tolerance::new(1e-6, 1e-6);
        assert_close("det", &floats(&a.det().unwrap()), &[-2.0, -1.0, 0.0], close);
        assert_close("sign", &floats(&sign), &[-1.0, -1.0, 0.0], close);
        assert_close("log", &floats(&logarithm), &[2f32.ln(), 0.0, f32::NEG_INFINITY], close);
        let none = Tensor::zeros(device, thalweg::tensor::DType::F32, &[2, 0, 0]).unwrap();
        assert_eq!(floats(&none.det().unwrap()), [1.0, 1.0]);
        vec![sign, logarithm]
    });
}

pub(crate) fn qr(pair: &Pair) {
    let shapes = [(0, 3), (3, 0), (1, 1), (1, 4), (5, 2), (64, 65), (65, 64), (130, 17), (17, 130), (200, 200)];
    for (m, n) in shapes.into_iter().chain([(512, 512)]) {
        // Hardware rounds otherwise, and the condition of a random matrix multiplies that.
        let tolerance = Tolerance::new(1e-3 * m.max(n) as f32, 0.0);
        hold(pair, &format!("qr of {m} by {n}"), tolerance, |device, what| {
            let a = random(device, 8, m, n);
            let a = if m > 200 { a.slice(0, 0, 1).unwrap() } else { a };
            let (q, r) = a.qr().unwrap();
            let q_f64 = Batch::of(&q);
            let bound = UNIT * (m.max(n) as f64).sqrt().max(2.0) * 2.0;
            small(what, q_f64.times(&Batch::of(&r)).error(&Batch::of(&a)), bound);
            small(what, q_f64.transposed().times(&q_f64).distance_from_one(), bound);
            assert_eq!(floats(&r.tril(-1).unwrap()).iter().find(|x| **x != 0.0), None, "{what}");
            vec![q, r]
        });
    }
    pair.compare("LAPACK's signs, huge and tiny numbers, zeros", Tolerance::new(0.0, 1e-6), |device| {
        let a = tensor(device, &[3.0, 4.0, -3.0, 4.0, 2.0, 0.0, 3e38, 1e38, 3e-30, 4e-30, 0.0, 0.0], &[6, 2, 1]);
        let (q, r) = a.qr().unwrap();
        let expected = [-5.0, 5.0, 2.0, -(10f32.sqrt() * 1e38), -5e-30, 0.0];
        assert_close("signs", &floats(&r), &expected, Tolerance::new(0.0, 1e-6));
        vec![q, r]
    });
}

/// Values of a decomposition have an error of some ε ‖A‖; vectors have signs of their own on hardware.
fn values(n: usize) -> Tolerance {
    Tolerance::new(3e-6 * n as f32, 0.0)
}

pub(crate) fn eigh(pair: &Pair) {
    for n in SIDES {
        let side = n as f64;
        hold(pair, &format!("eigh of {n}"), values(n), |device, what| {
            let x = random(device, 9, n, n);
            // One has the eigenvalues of its negative, one is diagonal, one has rank 2.
            let lines = random(device, 10, n, 2).slice(0, 0, 1).unwrap();
            let parts = [
                x.slice(0, 0, 1).unwrap(),
                x.slice(0, 1, 2).unwrap().mul(&Tensor::eye(device, n, n).unwrap()).unwrap(),
                lines.matmul(&mt(&lines)).unwrap(),
            ];
            let x = Tensor::concatenate(&parts, 0).unwrap();
            let a = x.add(&mt(&x)).unwrap();
            let (w, v) = a.tril(0).unwrap().eigh().unwrap();
            let (w_list, v_f64) = (floats(&w), Batch::of(&v));
            assert!(w_list.chunks(n.max(1)).all(|w| w.is_sorted()), "{what}: {w_list:?}");
            let bound = UNIT * side.sqrt().max(2.0) * 2.0;
            small(what, v_f64.scaled(&w_list).times(&v_f64.transposed()).error(&Batch::of(&a)), bound);
            small(what, v_f64.transposed().times(&v_f64).distance_from_one(), bound);
            vec![w]
        });
    }
    pair.compare("huge, tiny and bad matrices", Tolerance::new(0.0, 1e-5), |device| {
        let elements = [2e38, 0.0, 1e38, 2e38, 2e-30, 0.0, 1e-30, 2e-30, f32::NAN, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0];
        let (w, v) = tensor(device, &elements, &[4, 2, 2]).eigh().unwrap();
        let nan = f32::NAN;
        let expected = [1e38, 3e38, 1e-30, 3e-30, nan, nan, 0.0, 0.0];
        assert_close("values", &floats(&w), &expected, Tolerance::new(0.0, 1e-5));
        assert!(floats(&v)[8..12].iter().all(|x| x.is_nan()));
        vec![w]
    });
}

pub(crate) fn svd(pair: &Pair) {
    let shapes = [(0, 3), (3, 0), (1, 1), (1, 4), (5, 2), (2, 5), (64, 65), (65, 64), (130, 17), (130, 130)];
    for (m, n) in shapes {
        hold(pair, &format!("svd of {m} by {n}"), values(m.max(n)), |device, what| {
            // The last one has rank 1 at most.
            let (x, line) = (random(device, 11, m, n), random(device, 12, m, 1).slice(0, 0, 1).unwrap());
            let same = line.broadcast_to(&[1, m, n]).unwrap();
            let a = Tensor::concatenate(&[x.slice(0, 0, 2).unwrap(), same], 0).unwrap();
            let (u, s, vh) = a.svd().unwrap();
            let (list, u_f64, vh_f64) = (floats(&s), Batch::of(&u), Batch::of(&vh));
            let is_descending = |s: &[f32]| s.is_sorted_by(|a, b| a >= b) && s.iter().all(|s| *s >= 0.0);
            assert!(list.chunks(m.min(n).max(1)).all(is_descending), "{what}: {list:?}");
            let bound = UNIT * (m.max(n) as f64).sqrt().max(2.0) * 4.0;
            small(what, u_f64.scaled(&list).times(&vh_f64).error(&Batch::of(&a)), bound);
            small(what, u_f64.transposed().times(&u_f64).distance_from_one(), bound);
            small(what, vh_f64.times(&vh_f64.transposed()).distance_from_one(), bound);
            assert_close(what, &floats(&a.svdvals().unwrap()), &list, Tolerance::EXACT);
            vec![s]
        });
    }
    pair.compare("zeros, huge, tiny and bad matrices", Tolerance::new(0.0, 1e-5), |device| {
        let elements = [0.0, 0.0, 0.0, 0.0, 3e38, 0.0, 0.0, 1e38, 0.0, 3e-30, 1e-30, 0.0, 1.0, f32::INFINITY, 0.0, 1.0];
        let (u, s, _) = tensor(device, &elements, &[4, 2, 2]).svd().unwrap();
        let nan = f32::NAN;
        assert_close("values", &floats(&s), &[0.0, 0.0, 3e38, 1e38, 3e-30, 1e-30, nan, nan], Tolerance::new(0.0, 1e-5));
        assert_eq!(floats(&u)[..4], [1.0, 0.0, 0.0, 1.0]);
        vec![s]
    });
}
