//! Rotations of pairs of columns. Twin of `shaders/shared/jacobi.wgsl`, `jacobi_round.wgsl` and `jacobi_sweeps.wgsl`.

/// The most sweeps over all pairs; they end when only rounding is left.
pub(super) const MOST_SWEEPS: usize = 16;

/// The most columns that are rotated.
pub(super) const MOST_COLUMNS: usize = 512;

/// The rounds of a sweep over the pairs of k columns. If k is odd, one column pauses in each round.
pub fn rounds(k: usize) -> usize {
    k + k % 2 - 1
}

/// Returns the pairs of a round of a tournament of k, the smaller number first.
pub(super) fn pairs(k: usize, round: usize) -> impl Iterator<Item = (usize, usize)> {
    let n = k + k % 2;
    let pair = move |place| match place {
        0 => (n - 1, round),
        _ => ((round + place) % (n - 1), (round + n - 1 - place) % (n - 1)),
    };
    (0..n / 2).map(pair).map(|(a, b)| (a.min(b), a.max(b))).filter(move |&(_, q)| q < k)
}

/// A rotation: its sine s, and s / (1 + c), which has less rounding than the cosine c; and its tangent.
#[derive(Clone, Copy, Default)]
pub(super) struct Rotation {
    pub(super) sine: f32,
    tau: f32,
    tangent: f32,
}

impl Rotation {
    /// The rotation that makes pq zero.
    #[inline(always)]
    pub(super) fn new(pp: f32, qq: f32, pq: f32) -> Self {
        let theta = 0.5 * (qq - pp) / pq;
        let tangent = if theta.abs() < 1e6 {
            (if theta < 0.0 { -1.0 } else { 1.0 }) / (theta.abs() + (theta * theta + 1.0).sqrt())
        } else {
            0.5 / theta
        };
        let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
        let sine = tangent * cosine;
        Self { sine, tau: sine / (1.0 + cosine), tangent }
    }

    /// Returns (c x - s y, s x + c y).
    #[inline(always)]
    pub(super) fn of(self, x: f32, y: f32) -> (f32, f32) {
        (x - self.sine * (y + self.tau * x), y + self.sine * (x - self.tau * y))
    }
}

/// Computes JᵀAJ and Q J for the rotations J of a round of a symmetric matrix with n rows, at most `2 PAIRS`, and of its basis.
/// Returns whether there were any. Twin of `shaders/shared/jacobi_round.wgsl`.
#[inline(always)]
pub fn rotate_pairs<const PAIRS: usize>(a: &mut [f32], basis: &mut [f32], n: usize, round: usize) -> bool {
    let mut rotations = [((0, 0), Rotation::default()); PAIRS];
    let mut count = 0;
    let mut has_rotated = false;
    for (p, q) in pairs(n, round) {
        let (pp, qq, pq) = (a[p * n + p], a[q * n + q], a[p * n + q]);
        let is_rounding = !(pq.abs() > 1e-11 && pq * pq > 1e-16 * (pp * qq).abs());
        let rotation = if is_rounding { Rotation::default() } else { Rotation::new(pp, qq, pq) };
        rotations[count] = ((p, q), rotation);
        has_rotated |= !is_rounding;
        count += 1;
    }
    let rotations = &rotations[..count];
    let mut kept = [(0.0, 0.0, 0.0, 0.0); PAIRS];
    for (kept, &((p, q), rotation)) in kept.iter_mut().zip(rotations) {
        let (pp, qq, pq, qp) = (a[p * n + p], a[q * n + q], a[p * n + q], a[q * n + p]);
        let step = rotation.tangent * pq;
        *kept = if rotation.sine == 0.0 { (pp, qq, pq, qp) } else { (pp - step, qq + step, 0.0, 0.0) };
    }
    for row in a.chunks_mut(n).chain(basis.chunks_mut(n)) {
        for &((p, q), rotation) in rotations {
            (row[p], row[q]) = rotation.of(row[p], row[q]);
        }
    }
    for (&((p, q), rotation), kept) in rotations.iter().zip(kept) {
        let (before, from) = a.split_at_mut(q * n);
        for (x, y) in before[p * n..][..n].iter_mut().zip(&mut from[..n]) {
            (*x, *y) = rotation.of(*x, *y);
        }
        (a[p * n + p], a[q * n + q], a[p * n + q], a[q * n + p]) = kept;
    }
    has_rotated
}

/// The state of a matrix between launches. It begins with numbers that kernels know by their places.
pub(super) struct State<'a>(pub(super) &'a mut [u32]);

impl State<'_> {
    /// Begins; a matrix whose largest element is not finite is done at once, and its power is NaN.
    pub(super) fn start(&mut self, largest: f32, scale: f32) {
        let is_finite = largest.is_finite();
        let state = [0.0, if is_finite { 0.0 } else { 1.0 }, if is_finite { scale } else { f32::NAN }];
        self.0.copy_from_slice(&state.map(f32::to_bits));
    }

    /// Calls `rotate` with the steps of a launch, until a sweep has rotated nothing.
    #[inline(always)]
    pub(super) fn run(&mut self, steps: std::ops::Range<u32>, rounds: usize, mut rotate: impl FnMut(usize) -> bool) {
        for step in steps {
            if f32::from_bits(self.0[1]) != 0.0 {
                return;
            }
            let round = step as usize % rounds;
            if rotate(round) {
                self.0[0] = 1f32.to_bits();
            }
            if round + 1 == rounds {
                let is_done = f32::from_bits(self.0[0]) == 0.0;
                self.0[0] = 0;
                self.0[1] = if is_done { 1f32 } else { 0.0 }.to_bits();
            }
        }
    }

    /// Returns the power of two by which the matrix was divided; NaN if an element is not finite.
    pub(super) fn scale(&self) -> f32 {
        f32::from_bits(self.0[2])
    }
}
