//! Weighted sums over windows of neighbours, and their transposes.

use super::{MOST_TURNS, Plane, plane};
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::tensor::expect_dtype;
use crate::threads::for_each_row;
use crate::{DType, Error, Result, Tensor};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    height: u32,
    width: u32,
    rows: u32,
    columns: u32,
    length: u32,
}

/// y[plane, row, column] = Σ weight weight x[plane, …] / divisor, over the window of the row and the column.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let [x, table, y] = call.bindings();
    let (x, table, y) = (x.read::<f32>(), table.read::<u32>(), y.write::<f32>());
    let (rows, columns, width) = (params.rows as usize, params.columns as usize, params.width as usize);
    let window = |i: usize| {
        let [start, count, at, divisor] = [0, 1, 2, 3].map(|word| table[4 * i + word]);
        (start as usize, count as usize, at as usize, f32::from_bits(divisor))
    };
    for_each_row(
        &mut y[..params.length as usize],
        columns,
        #[inline(always)]
        |row, y| {
            let (top, height, row_at, row_divisor) = window(row % rows);
            let first = (row / rows * params.height as usize + top) * width;
            for (column, y) in y.iter_mut().enumerate() {
                let (left, count, at, divisor) = window(rows + column);
                let weights = &table[at..at + count];
                let mut sum = 0.0;
                for v in 0..height {
                    let x = &x[first + v * width + left..][..count];
                    let line = x.iter().zip(weights).fold(0.0, |sum, (x, weight)| sum + f32::from_bits(*weight) * x);
                    sum += f32::from_bits(table[row_at + v]) * line;
                }
                *y = sum / (row_divisor * divisor);
            }
        },
    );
}

pub(super) static WINDOW_SUM: Kernel = Kernel {
    shader: &thalweg_shaders::WINDOW_SUM,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Read, Access::Write],
    variants: &[&[]],
    twin,
};

/// The sum over some neighbours: where they start, how many they are, their first weight, and what the sum is divided by.
#[derive(Debug, Clone, Copy)]
struct Band {
    start: usize,
    count: usize,
    at: usize,
    divisor: f32,
}

/// The sums along an axis: a sparse matrix with a band in each row.
#[derive(Debug, Clone)]
pub(super) struct Bands {
    /// The extent of the axis that is summed.
    extent: usize,
    rows: Vec<Band>,
    weights: Vec<f32>,
}

impl Bands {
    /// Every element stays.
    fn same(extent: usize) -> Self {
        Self::of_windows(extent, (0..extent).map(|i| (i, i + 1, 1.0)))
    }

    /// The sums over windows, each a start, an end and a divisor. Neither starts nor ends decrease.
    pub(super) fn of_windows(extent: usize, windows: impl Iterator<Item = (usize, usize, f32)>) -> Self {
        let band = |(start, end, divisor)| Band { start, count: end - start, at: 0, divisor };
        let rows: Vec<Band> = windows.map(band).collect();
        let most = rows.iter().map(|row| row.count).max().unwrap_or(0);
        Self { extent, rows, weights: vec![1.0; most] }
    }

    /// Between two neighbours: the first one, and the weights of both, of which the second may be missing.
    pub(super) fn between(extent: usize, places: impl Iterator<Item = (usize, f64)>) -> Self {
        let (mut rows, mut weights) = (Vec::new(), Vec::new());
        for (start, second) in places {
            let count = if start + 1 < extent { 2 } else { 1 };
            rows.push(Band { start, count, at: weights.len(), divisor: 1.0 });
            weights.extend([(1.0 - second) as f32, second as f32]);
        }
        Self { extent, rows, weights }
    }

    /// The matrix with rows and columns exchanged. `is_even` if all weights of a row are equal, as those of windows.
    pub(super) fn transposed(&self, is_even: bool) -> Self {
        let divisor = self.rows.first().map_or(1.0, |row| row.divisor);
        let is_same = self.rows.iter().all(|row| row.divisor == divisor);
        let mut rows = Vec::with_capacity(self.extent);
        let (mut first, mut end) = (0, 0);
        let mut weights = Vec::new();
        if is_even && !is_same {
            // A weight for each of the rows, which lie side by side.
            weights.extend(self.rows.iter().map(|row| 1.0 / row.divisor));
        }
        for column in 0..self.extent {
            while end < self.rows.len() && self.rows[end].start <= column {
                end += 1;
            }
            while first < end && self.rows[first].start + self.rows[first].count <= column {
                first += 1;
            }
            let mut band =
                Band { start: first, count: end - first, at: 0, divisor: if is_same { divisor } else { 1.0 } };
            if !is_even {
                band.at = weights.len();
                let weight = |row: &Band| self.weights[row.at + column - row.start];
                weights.extend(self.rows[first..end].iter().map(weight));
            } else if !is_same {
                band.at = first;
            }
            rows.push(band);
        }
        if is_even && is_same {
            weights = vec![1.0; rows.iter().map(|row| row.count).max().unwrap_or(0)];
        }
        Self { extent: self.rows.len(), rows, weights }
    }

    fn most(&self) -> usize {
        self.rows.iter().map(|row| row.count).max().unwrap_or(0)
    }

    /// Splits long sums: into those of parts of at most so many elements, and the sums of the parts.
    fn split(&self, most: usize) -> [Self; 2] {
        let (mut parts, mut sums) = (Vec::new(), Vec::new());
        for row in &self.rows {
            let first = parts.len();
            for done in (0..row.count).step_by(most) {
                let count = most.min(row.count - done);
                parts.push(Band { start: row.start + done, count, at: row.at + done, divisor: 1.0 });
            }
            sums.push(Band { start: first, count: parts.len() - first, at: 0, divisor: row.divisor });
        }
        let extent = parts.len();
        let weights = vec![1.0; sums.iter().map(|sum: &Band| sum.count).max().unwrap_or(0)];
        let parts = Self { extent: self.extent, rows: parts, weights: self.weights.clone() };
        [parts, Self { extent, rows: sums, weights }]
    }
}

/// Sums over windows of the last axes, and their transpose.
#[doc(hidden)]
#[derive(Debug)]
pub struct WindowSums {
    /// For each of the axes.
    sums: Vec<Bands>,
    transposed: Vec<Bands>,
}

impl WindowSums {
    /// `is_even` if all weights of a sum are equal.
    pub(super) fn new(sums: Vec<Bands>, is_even: bool) -> Self {
        let transposed = sums.iter().map(|bands| bands.transposed(is_even)).collect();
        Self { sums, transposed }
    }
}

/// The longest sum along one axis in one launch, and the most elements of a window of two axes; longer ones take several
/// launches.
const LONGEST: usize = 1024;
const MOST_ELEMENTS: usize = 4096;
const _: () = assert!(MOST_ELEMENTS <= MOST_TURNS);

impl Tensor {
    /// Returns the sums over the windows of a plan, or the transpose of them.
    #[doc(hidden)]
    pub fn window_sums(&self, op: &'static str, plan: &WindowSums, is_transposed: bool) -> Result<Self> {
        expect_dtype(op, self, DType::F32)?;
        let axes = if is_transposed { &plan.transposed } else { &plan.sums };
        let outer = self.rank().saturating_sub(axes.len());
        if self.rank() < axes.len() || !self.shape()[outer..].iter().eq(axes.iter().map(|bands| &bands.extent)) {
            let right = axes.iter().map(|bands| bands.extent).collect();
            return Err(Error::Shape { op, rule: "the plan is for other extents", left: self.shape().to_vec(), right });
        }
        let shape: Vec<usize> =
            self.shape()[..outer].iter().copied().chain(axes.iter().map(|bands| bands.rows.len())).collect();
        let extents = plane(&self.shape()[outer..]);
        let planes = self.shape()[..outer].iter().product();
        let mut y = self.contiguous()?.reshape(&[planes, extents[0], extents[1]])?;
        let one = Bands::same(1);
        let mut rest = match &axes[..] {
            [bands] => [one, bands.clone()],
            axes => [axes[0].clone(), axes[1].clone()],
        };
        for axis in [0, 1] {
            while rest[axis].most() > LONGEST {
                let [parts, sums] = rest[axis].split(LONGEST);
                y = y.sum_axis(op, axis, parts)?;
                rest[axis] = sums;
            }
        }
        let [rows, columns] = rest;
        let y = if rows.most() * columns.most() > MOST_ELEMENTS {
            y.sum_axis(op, 0, rows)?.sum_axis(op, 1, columns)?
        } else {
            y.sum_plane(op, [&rows, &columns])?
        };
        y.reshape(&shape)
    }

    /// The sums along one axis of two.
    fn sum_axis(&self, op: &'static str, axis: usize, bands: Bands) -> Result<Self> {
        let same = Bands::same(self.shape()[2 - axis]);
        self.sum_plane(op, if axis == 0 { [&bands, &same] } else { [&same, &bands] })
    }

    /// The sums of a contiguous tensor of three axes along the last two.
    fn sum_plane(&self, op: &'static str, axes: [&Bands; 2]) -> Result<Self> {
        let [rows, columns] = axes.map(|bands| bands.rows.len());
        let planes = self.shape()[0];
        crate::shape::element_count(op, &[planes, rows, columns])?;
        let y = Self::uninitialized(self.device(), DType::F32, &[planes, rows, columns])?;
        let mut table = Vec::with_capacity(4 * (rows + columns) + axes[0].weights.len() + axes[1].weights.len());
        let mut weights = 4 * (rows + columns);
        for bands in axes {
            for &Band { start, count, at, divisor } in &bands.rows {
                table.extend([start as u32, count as u32, (weights + at) as u32, divisor.to_bits()]);
            }
            weights += bands.weights.len();
        }
        table.extend(axes.into_iter().flat_map(|bands| &bands.weights).map(|weight| weight.to_bits()));
        let [height, width]: Plane = [self.shape()[1], self.shape()[2]];
        let params = [height, width, rows, columns, y.len()].map(|count| count as u32);
        let sums = |bands: &Bands| bands.rows.iter().map(|row| row.count as u64).sum::<u64>();
        Launch::new(&WINDOW_SUM, params)
            .bind(self)
            .bind(&Self::from_slice(self.device(), &table, &[table.len()])?)
            .bind(&y)
            .operations(2 * planes as u64 * sums(axes[0]) * sums(axes[1]))
            .workgroups(y.len().div_ceil(64))
            .run(self.device())?;
        Ok(y)
    }
}
