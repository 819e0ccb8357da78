//! A training step written by hand, without a framework: the reference for the library's CPU backend.
//!
//! The network is 784-256-128-10 with ReLU, the loss cross-entropy, the optimizer AdamW with the gradients clipped to a
//! global norm of 1. Products use the `gemm` crate. Everything else is plain loops, which `pulp` compiles for the
//! processor's widest vectors; `rayon` splits the large ones. Weights are `[in, out]`, the best layout for these
//! products.

use rayon::prelude::*;

/// The units of the layers.
pub(crate) const WIDTHS: [usize; 4] = [784, 256, 128, 10];

/// The rows of the data set of the batches.
pub(crate) const ROWS: usize = 4096;

/// The learning rate, the decay rates of the moments, epsilon and weight decay.
pub(crate) const LEARNING_RATE: f32 = 1e-3;
pub(crate) const BETAS: (f32, f32) = (0.9, 0.999);
pub(crate) const EPS: f32 = 1e-8;
pub(crate) const WEIGHT_DECAY: f32 = 0.01;

/// The global norm that gradients are clipped to.
pub(crate) const MAX_NORM: f32 = 1.0;

const LAYERS: usize = 3;

/// The minimum number of elements for splitting a loop, and the size of its pieces.
const PIECE: usize = 16 * 1024;

/// The minimum number of operations for splitting a product.
const PARALLEL_OPERATIONS: usize = 4_000_000;

/// A network in training, with everything that a step needs.
pub(crate) struct ByHand {
    batch: usize,
    features: Vec<f32>,
    targets: Vec<u32>,
    order: Vec<u32>,
    position: usize,
    /// Weights and biases of all layers, concatenated.
    params: Vec<f32>,
    grads: Vec<f32>,
    moment1: Vec<f32>,
    moment2: Vec<f32>,
    corrections: (f32, f32),
    /// The input of each layer, and the logits after the last.
    activations: [Vec<f32>; LAYERS + 1],
    /// The gradients of the outputs of each layer.
    deltas: [Vec<f32>; LAYERS],
    classes: Vec<u32>,
    losses: Vec<f32>,
}

impl ByHand {
    /// Makes a network, a data set and an order of its rows, all drawn from the seed.
    pub(crate) fn new(batch: usize, seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let features = (0..ROWS * WIDTHS[0]).map(|_| numbers.unit()).collect();
        let targets = (0..ROWS).map(|_| numbers.below(WIDTHS[LAYERS])).collect();
        let mut order: Vec<u32> = (0..ROWS as u32).collect();
        for last in (1..ROWS).rev() {
            order.swap(last, numbers.below(last + 1) as usize);
        }
        let mut params = vec![0.0; offset(LAYERS)];
        for layer in 0..LAYERS {
            // He's uniform initialisation, with which gradients are long enough for clipping.
            let bound = (6.0 / WIDTHS[layer] as f32).sqrt();
            params[offset(layer)..offset(layer + 1)].fill_with(|| bound * (2.0 * numbers.unit() - 1.0));
        }
        let zeros = vec![0.0; params.len()];
        Self {
            batch,
            features,
            targets,
            order,
            position: 0,
            params,
            grads: zeros.clone(),
            moment1: zeros.clone(),
            moment2: zeros,
            corrections: (0.0, 0.0),
            activations: WIDTHS.map(|width| vec![0.0; batch * width]),
            deltas: [1, 2, 3].map(|layer| vec![0.0; batch * WIDTHS[layer]]),
            classes: vec![0; batch],
            losses: Vec::new(),
        }
    }

    /// Returns the data set: features `[ROWS, 784]`, classes, and the order of the rows in the batches.
    pub(crate) fn data(&self) -> (&[f32], &[u32], &[u32]) {
        (&self.features, &self.targets, &self.order)
    }

    /// Returns the rows of a batch.
    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// Returns the current weight `[out, in]` and bias of a layer.
    pub(crate) fn layer(&self, layer: usize) -> (Vec<f32>, Vec<f32>) {
        let (inputs, outputs) = (WIDTHS[layer], WIDTHS[layer + 1]);
        let (weight, bias) = self.params[offset(layer)..offset(layer + 1)].split_at(inputs * outputs);
        let transposed = (0..inputs * outputs).map(|i| weight[i % inputs * outputs + i / inputs]).collect();
        (transposed, bias.to_vec())
    }

    /// Takes one step on the next batch, and returns its mean loss.
    pub(crate) fn step(&mut self) -> f32 {
        // Enters the pool once, so that the parallel parts inside need not wake it from outside each time.
        rayon::scope(|_| {
            self.gather();
            self.forward();
            let loss = self.loss();
            self.backward();
            let scale = clip_factor(sum_of_squares(&self.grads));
            self.update(scale);
            self.losses.push(loss);
            loss
        })
    }

    fn gather(&mut self) {
        let (width, position) = (WIDTHS[0], self.position);
        let (features, order) = (&self.features, &self.order);
        let rows = (PIECE / width).max(1);
        self.activations[0].par_chunks_mut(rows * width).enumerate().for_each(|(piece, x)| {
            for (i, x) in x.chunks_mut(width).enumerate() {
                let row = order[(position + piece * rows + i) % ROWS] as usize;
                x.copy_from_slice(&features[row * width..][..width]);
            }
        });
        for (i, class) in self.classes.iter_mut().enumerate() {
            *class = self.targets[order[(position + i) % ROWS] as usize];
        }
        self.position = (position + self.batch) % ROWS;
    }

    fn forward(&mut self) {
        for layer in 0..LAYERS {
            let (inputs, outputs) = (WIDTHS[layer], WIDTHS[layer + 1]);
            let (weight, bias) = self.params[offset(layer)..offset(layer + 1)].split_at(inputs * outputs);
            let (before, after) = self.activations.split_at_mut(layer + 1);
            let (x, y) = (&before[layer], &mut after[0]);
            multiply([self.batch, outputs, inputs], (x, inputs, 1), (weight, outputs, 1), y);
            let lowest = if layer + 1 < LAYERS { 0.0 } else { f32::NEG_INFINITY };
            vectorized(|| {
                for row in y.chunks_mut(outputs) {
                    row.iter_mut().zip(bias).for_each(|(y, &bias)| *y = (*y + bias).max(lowest));
                }
            });
        }
    }

    /// Returns the mean loss, and writes its gradient by the logits into the last delta.
    fn loss(&mut self) -> f32 {
        let (classes, scale) = (WIDTHS[LAYERS], 1.0 / self.batch as f32);
        let rows = self.activations[LAYERS].chunks(classes).zip(self.deltas[LAYERS - 1].chunks_mut(classes));
        let mut loss = 0.0;
        for ((logits, delta), &class) in rows.zip(&self.classes) {
            let largest = logits.iter().fold(f32::NEG_INFINITY, |largest, &x| largest.max(x));
            delta.iter_mut().zip(logits).for_each(|(delta, &x)| *delta = (x - largest).exp());
            let sum: f32 = delta.iter().sum();
            loss += sum.ln() - (logits[class as usize] - largest);
            delta.iter_mut().for_each(|delta| *delta *= scale / sum);
            delta[class as usize] -= scale;
        }
        loss * scale
    }

    fn backward(&mut self) {
        for layer in (0..LAYERS).rev() {
            let (inputs, outputs) = (WIDTHS[layer], WIDTHS[layer + 1]);
            let (before, after) = self.deltas.split_at_mut(layer);
            let (x, dy) = (&self.activations[layer], &after[0]);
            let (dw, db) = self.grads[offset(layer)..offset(layer + 1)].split_at_mut(inputs * outputs);
            multiply([inputs, outputs, self.batch], (x, 1, inputs), (dy, outputs, 1), dw);
            vectorized(|| {
                db.fill(0.0);
                for row in dy.chunks(outputs) {
                    db.iter_mut().zip(row).for_each(|(db, &dy)| *db += dy);
                }
            });
            if let Some(dx) = before.last_mut() {
                let weight = &self.params[offset(layer)..][..inputs * outputs];
                multiply([self.batch, inputs, outputs], (dy, outputs, 1), (weight, 1, outputs), dx);
                vectorized(|| dx.iter_mut().zip(x).for_each(|(dx, &x)| *dx = if x > 0.0 { *dx } else { 0.0 }));
            }
        }
    }

    fn update(&mut self, clip_factor: f32) {
        let (c1, c2) = &mut self.corrections;
        *c1 += (1.0 - BETAS.0) * (1.0 - *c1);
        *c2 += (1.0 - BETAS.1) * (1.0 - *c2);
        adamw(&mut self.params, &self.grads, &mut self.moment1, &mut self.moment2, clip_factor, self.corrections);
    }
}

/// Returns the offset of the parameters of a layer.
fn offset(layer: usize) -> usize {
    (0..layer).map(|layer| (WIDTHS[layer] + 1) * WIDTHS[layer + 1]).sum()
}

/// Returns min(1, MAX_NORM / (norm + 1e-6)).
fn clip_factor(sum_of_squares: f32) -> f32 {
    (MAX_NORM / (sum_of_squares.sqrt() + 1e-6)).min(1.0)
}

/// Returns the sum of squares, in an order that does not depend on the number of threads.
fn sum_of_squares(x: &[f32]) -> f32 {
    let piece = |x: &[f32]| {
        vectorized(|| {
            let mut sums = [0f32; 64];
            for x in x.chunks(64) {
                sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += x * x);
            }
            sums.iter().sum::<f32>()
        })
    };
    x.par_chunks(PIECE).map(piece).sum()
}

/// Takes a step of AdamW over plain slices, as a vectorised loop.
pub(crate) fn adamw(
    params: &mut [f32],
    grads: &[f32],
    moment1: &mut [f32],
    moment2: &mut [f32],
    clip_factor: f32,
    corrections: (f32, f32),
) {
    let (step_size, root) = (LEARNING_RATE / corrections.0, 1.0 / corrections.1.sqrt());
    let kept = 1.0 - LEARNING_RATE * WEIGHT_DECAY;
    params
        .par_chunks_mut(PIECE)
        .zip(grads.par_chunks(PIECE))
        .zip(moment1.par_chunks_mut(PIECE))
        .zip(moment2.par_chunks_mut(PIECE))
        .for_each(|(((params, grads), moment1), moment2)| {
            vectorized(|| {
                for (((param, &grad), m), v) in params.iter_mut().zip(grads).zip(moment1).zip(moment2) {
                    let grad = clip_factor * grad;
                    *m = BETAS.0 * *m + (1.0 - BETAS.0) * grad;
                    *v = BETAS.1 * *v + (1.0 - BETAS.1) * (grad * grad);
                    *param = kept * *param - step_size * (*m / (v.sqrt() * root + EPS));
                }
            });
        });
}

/// Computes c[m, n] = a[m, k] b[k, n]: operands with the strides of their rows and columns, c contiguous.
fn multiply([m, n, k]: [usize; 3], a: (&[f32], usize, usize), b: (&[f32], usize, usize), c: &mut [f32]) {
    assert!(a.0.len() == m * k && b.0.len() == k * n && c.len() == m * n, "operands do not fit");
    let parallelism =
        if 2 * m * n * k < PARALLEL_OPERATIONS { gemm::Parallelism::None } else { gemm::Parallelism::Rayon(0) };
    let (a_pointer, b_pointer) = (a.0.as_ptr(), b.0.as_ptr());
    #[allow(unsafe_code, reason = "the library takes pointers; the slices were just held against the extents")]
    // SAFETY: the extents give the number of elements of each operand, and the strides are those of its rows and
    // columns, in one order or the other.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            n as isize,
            false,
            a_pointer,
            a.2 as isize,
            a.1 as isize,
            b_pointer,
            b.2 as isize,
            b.1 as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// Runs a loop compiled for the processor's widest vectors.
#[inline(always)]
fn vectorized<T>(body: impl FnOnce() -> T) -> T {
    pulp::Arch::new().dispatch(body)
}

/// Reproducible numbers: a linear congruential generator of 64 bits (Knuth's MMIX), of which the upper 24 count.
struct Numbers(u64);

impl Numbers {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 40
    }

    fn unit(&mut self) -> f32 {
        self.bits() as f32 / 16_777_216.0
    }

    fn below(&mut self, bound: usize) -> u32 {
        (self.bits() % bound as u64) as u32
    }
}
