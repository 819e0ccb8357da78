//! `thalweg bench matmul`: matrix products of a training step, each next to the `gemm` crate on all threads.

use serde::Serialize;
use thalweg::tensor::{DType, Device, DeviceKind, Tensor};

use super::gemm::{self, Matrix};
use super::measure::{Pace, Work, measure};
use super::{progress, report};
use crate::args::BenchArgs;
use crate::error::Result;
use crate::table::table;

/// Inputs and outputs of the layers of the network that `bench step` trains.
const LAYERS: [(usize, usize); 3] = [(784, 256), (256, 128), (128, 10)];

/// The number of products submitted at once, so that neither the calls of the host nor the submissions count.
const AT_ONCE: usize = 8;

/// A product c[m, n] = a[m, k] b[k, n]; a transposed operand is stored as `[k, m]` or `[n, k]`.
#[derive(Debug, Clone, Copy)]
struct Form {
    name: &'static str,
    m: usize,
    n: usize,
    k: usize,
    transpose_a: bool,
    transpose_b: bool,
}

impl Form {
    /// Returns x Wᵀ, dy W and dyᵀ x of a layer.
    fn of_layer(batch: usize, (inputs, outputs): (usize, usize)) -> [Self; 3] {
        let form = |name, m, n, k, transpose_a, transpose_b| Self { name, m, n, k, transpose_a, transpose_b };
        [
            form("forward", batch, outputs, inputs, false, true),
            form("input-grad", batch, inputs, outputs, false, false),
            form("weight-grad", outputs, inputs, batch, true, false),
        ]
    }

    fn square(size: usize) -> Self {
        Self { name: "square", m: size, n: size, k: size, transpose_a: false, transpose_b: false }
    }

    fn all(device: &Device, quick: bool) -> Vec<Self> {
        let (batches, squares): (&[usize], &[usize]) = match device.info().kind {
            _ if quick => (&[64], &[256]),
            // Only a GPU multiplies such matrices in a reasonable time.
            DeviceKind::Hardware => (&[64, 512], &[256, 512, 1024, 4096]),
            DeviceKind::Cpu | DeviceKind::Software => (&[64, 512], &[256, 512, 1024]),
        };
        let layers = batches.iter().flat_map(|&batch| LAYERS.into_iter().flat_map(move |l| Self::of_layer(batch, l)));
        layers.chain(squares.iter().map(|&size| Self::square(size))).collect()
    }

    fn operations(&self) -> f64 {
        2.0 * self.m as f64 * self.n as f64 * self.k as f64
    }

    /// Returns the shapes of the operands in memory.
    fn shapes(&self) -> [[usize; 2]; 2] {
        let shape = |rows, columns, transposed| if transposed { [columns, rows] } else { [rows, columns] };
        [shape(self.m, self.k, self.transpose_a), shape(self.k, self.n, self.transpose_b)]
    }

    /// Measures the product on the device and with the crate, in turns.
    fn measure(&self, device: &Device, pace: Pace, tick: impl FnMut()) -> Result<Row> {
        let operand = |stream, shape: &[usize]| Tensor::uniform(device, 0, stream, -1.0, 1.0, shape);
        let [a_shape, b_shape] = self.shapes();
        let (a, b) = (operand(0, &a_shape)?, operand(1, &b_shape)?);
        let (a_elements, b_elements) = (a.to_vec::<f32>()?, b.to_vec::<f32>()?);
        let view = |tensor: Tensor, transposed: bool| if transposed { tensor.t() } else { Ok(tensor) };
        let (a, b) = (view(a, self.transpose_a)?, view(b, self.transpose_b)?);
        let c = Tensor::zeros(device, DType::F32, &[self.m, self.n])?;
        let (recording, ()) = device.record(|| a.matmul_into(&b, &c, false))?;

        let a_matrix = Matrix::new(&a_elements, a_shape[1], self.transpose_a);
        let b_matrix = Matrix::new(&b_elements, b_shape[1], self.transpose_b);
        let extents = [self.m, self.n, self.k];
        let [mut product, mut product_256] = [0, 1].map(|_| vec![0.0; self.m * self.n]);
        let has_256 = gemm::multiply_in_256_bits(extents, a_matrix, b_matrix, &mut product_256);
        let by_gemm = || {
            (0..AT_ONCE).for_each(|_| gemm::multiply(extents, a_matrix, b_matrix, &mut product));
            Ok(())
        };
        let by_gemm_256 = || {
            (0..AT_ONCE).for_each(|_| {
                gemm::multiply_in_256_bits(extents, a_matrix, b_matrix, &mut product_256);
            });
            Ok(())
        };
        let mut works: Vec<Work<'_>> = vec![Box::new(|| recording.replay(AT_ONCE)), Box::new(by_gemm)];
        if has_256 {
            works.push(Box::new(by_gemm_256));
        }
        let measured = measure(device, pace, &mut works, tick)?;
        let rate = |i: usize| self.operations() * AT_ONCE as f64 / measured[i].seconds / 1e9;
        let (gflops, gemm_gflops, gemm_256_gflops) = (rate(0), rate(1), has_256.then(|| rate(2)));
        Ok(Row {
            form: self.name,
            m: self.m,
            n: self.n,
            k: self.k,
            transpose_a: self.transpose_a,
            transpose_b: self.transpose_b,
            microseconds: 1e6 * measured[0].seconds / AT_ONCE as f64,
            gflops,
            gemm_gflops,
            share: gflops / gemm_gflops,
            gemm_256_gflops,
            share_of_256: gemm_256_gflops.map(|gemm| gflops / gemm),
        })
    }
}

#[derive(Debug, Serialize)]
struct Row {
    form: &'static str,
    m: usize,
    n: usize,
    k: usize,
    transpose_a: bool,
    transpose_b: bool,
    microseconds: f64,
    /// 2 m n k operations divided by the time of one product.
    gflops: f64,
    gemm_gflops: f64,
    share: f64,
    /// The crate's rate in vectors of 256 bits, if the processor has them.
    gemm_256_gflops: Option<f64>,
    share_of_256: Option<f64>,
}

pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    let measure = |device: &Device, pace| {
        let forms = Form::all(device, args.quick);
        let progress = progress(forms.len());
        let rows = forms.iter().map(|form| {
            progress.set_message(format!("{} {} x {} x {}", form.name, form.m, form.n, form.k));
            let row = form.measure(device, pace, || progress.tick());
            device.release_memory();
            progress.inc(1);
            row
        });
        let rows = rows.collect::<Result<Vec<_>>>();
        progress.finish_and_clear();
        rows
    };
    report(args, measure, render)
}

const HEADINGS: [&str; 11] =
    ["form", "m", "n", "k", "operands", "us", "GFLOP/s", "gemm GFLOP/s", "share", "gemm-256 GFLOP/s", "share"];

const NUMBERS: [bool; 11] = [false, true, true, true, false, true, true, true, true, true, true];

fn render(rows: &[Row]) -> String {
    let optional = |number: Option<f64>| number.map_or_else(|| "-".to_string(), |number| format!("{number:.2}"));
    let operand = |name, transposed| format!("{name}{}", if transposed { "ᵀ" } else { "" });
    let cells: Vec<_> = rows
        .iter()
        .map(|row| {
            [
                row.form.to_string(),
                row.m.to_string(),
                row.n.to_string(),
                row.k.to_string(),
                format!("{} {}", operand("a", row.transpose_a), operand("b", row.transpose_b)),
                format!("{:.1}", row.microseconds),
                format!("{:.2}", row.gflops),
                format!("{:.2}", row.gemm_gflops),
                format!("{:.2}", row.share),
                optional(row.gemm_256_gflops),
                optional(row.share_of_256),
            ]
        })
        .collect();
    let table = table(HEADINGS, NUMBERS, &cells);
    format!(
        "{table}\nc[m, n] = a[m, k] b[k, n], ᵀ: the operand lies transposed; gemm: the crate of this name on all \
         threads of the CPU, taking turns, in the widest vectors of the processor; gemm-256: in those of 256 bits that it \
         is built for by default; share: of it\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_layer_are_those_of_a_training_step() {
        let [forward, input_grad, weight_grad] = Form::of_layer(64, (784, 256));
        // x [64, 784], W [256, 784], dy [64, 256].
        assert_eq!(forward.shapes(), [[64, 784], [256, 784]]);
        assert_eq!(input_grad.shapes(), [[64, 256], [256, 784]]);
        assert_eq!(weight_grad.shapes(), [[64, 256], [64, 784]]);
        for form in [forward, input_grad, weight_grad] {
            assert!((form.operations() - 2.0 * 64.0 * 784.0 * 256.0).abs() < 0.5);
        }
    }
}
