//! Maxima over windows, with their places, and the ways back from them.

use super::settings::Windows;
use super::{MOST_TURNS, Plane, plane};
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::tensor::expect_dtype;
use crate::threads::{for_each_chunks, for_each_row};
use crate::{DType, Error, Result, Tensor};

/// The place of a maximum of nothing.
const NOWHERE: u32 = u32::MAX;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    height: u32,
    width: u32,
    rows: u32,
    columns: u32,
    length: u32,
}

/// y[plane, row, column] = max x[plane, …] over the window of the row and the column, and its place in the plane.
fn max_twin(call: Call<'_>) {
    let params: Params = call.params();
    let [x, table, y, places] = call.bindings();
    let (x, table) = (x.read::<f32>(), table.read::<u32>());
    let (rows, columns) = (params.rows as usize, params.columns as usize);
    let (size, length) = ((params.height * params.width) as usize, params.length as usize);
    let best_of = |x: &[f32], row: usize, column: usize| {
        let [top, height, distance] = [0, 1, 2].map(|word| table[3 * row + word]);
        let [left, width, step] = [0, 1, 2].map(|word| table[3 * (rows + column) + word]);
        let (mut best, mut place) = (f32::NEG_INFINITY, NOWHERE);
        for v in 0..height {
            let line = (top + v * distance) * params.width + left;
            for u in 0..width {
                let at = line + u * step;
                let value = x[at as usize];
                if place == NOWHERE || value > best || (value.is_nan() && !best.is_nan()) {
                    (best, place) = (value, at);
                }
            }
        }
        (best, place)
    };
    for_each_chunks(
        [&mut y.write::<u32>()[..length], &mut places.write::<u32>()[..length]],
        #[inline(always)]
        |start, [y, places]| {
            for (i, (y, place)) in (start..).zip(y.iter_mut().zip(places)) {
                let row = i / columns;
                let best = best_of(&x[row / rows * size..][..size], row % rows, i % columns);
                (*y, *place) = (best.0.to_bits(), best.1);
            }
        },
    );
}

pub(super) static WINDOW_MAX: Kernel = Kernel {
    shader: &thalweg_shaders::WINDOW_MAX,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Read, Access::Write, Access::WriteAs(DType::U32)],
    variants: &[&[]],
    twin: max_twin,
};

/// y[plane, i] = Σ g[plane, …] over the windows whose place is i.
fn return_twin(call: Call<'_>) {
    let params: Params = call.params();
    let [g, places, table, y] = call.bindings();
    let (g, places, table) = (g.read::<f32>(), places.read::<u32>(), table.read::<u32>());
    let (height, width) = (params.height as usize, params.width as usize);
    let (rows, columns) = (params.rows as usize, params.columns as usize);
    let around = |i: usize| (table[2 * i] as usize, table[2 * i + 1] as usize);
    for_each_row(
        &mut y.write::<f32>()[..params.length as usize],
        width,
        #[inline(always)]
        |line, y| {
            let (row, (top, count)) = (line % height, around(line % height));
            for (column, y) in y.iter_mut().enumerate() {
                let (left, windows) = around(height + column);
                let own = (row * width + column) as u32;
                let mut sum = 0.0;
                for v in top..top + count {
                    let first = (line / height * rows + v) * columns + left;
                    let line = places[first..first + windows].iter().zip(&g[first..first + windows]);
                    sum = line.fold(sum, |sum, (&place, g)| if place == own { sum + g } else { sum });
                }
                *y = sum;
            }
        },
    );
}

pub(super) static WINDOW_RETURN: Kernel = Kernel {
    shader: &thalweg_shaders::WINDOW_RETURN,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::ReadAs(DType::U32), Access::Read, Access::Write],
    variants: &[&[]],
    twin: return_twin,
};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct PickParams {
    size: u32,
    count: u32,
    length: u32,
}

/// y[plane, i] = x[plane, places[plane, i]].
fn pick_twin(call: Call<'_>) {
    let params: PickParams = call.params();
    let [x, places, y] = call.bindings();
    let (x, places) = (x.read::<f32>(), places.read::<u32>());
    let (size, count) = (params.size as usize, params.count as usize);
    for_each_row(
        &mut y.write::<f32>()[..params.length as usize],
        count,
        #[inline(always)]
        |plane, y| {
            let x = &x[plane * size..][..size];
            let places = &places[plane * count..][..count];
            y.iter_mut().zip(places).for_each(|(y, &place)| *y = x.get(place as usize).copied().unwrap_or(0.0));
        },
    );
}

pub(super) static WINDOW_PICK: Kernel = Kernel {
    shader: &thalweg_shaders::WINDOW_PICK,
    uniform: size_of::<PickParams>(),
    access: &[Access::Read, Access::ReadAs(DType::U32), Access::Write],
    variants: &[&[]],
    twin: pick_twin,
};

/// The windows of maxima over the last axes.
#[doc(hidden)]
#[derive(Debug)]
pub struct MaxWindows {
    /// The extents of the input and of the result, one for each axis.
    input: Vec<usize>,
    output: Vec<usize>,
    /// For each place of the result: the first element of its window, their number and their distance.
    windows: Vec<u32>,
    /// For each element: the first window around it, and their number.
    around: Vec<u32>,
}

/// A window along an axis: where it starts, the number of its elements, their distance.
type Window = (usize, usize, usize);

impl MaxWindows {
    /// Returns the windows of pooling.
    pub(super) fn of_pooling(op: &'static str, axes: &[Windows]) -> Result<Self> {
        let axis = |windows: &Windows| {
            let spans: Vec<(isize, isize)> = (0..windows.count).map(|window| windows.span(window)).collect();
            let inside = |&(start, end): &(isize, isize)| {
                let missing = (-start).max(0).unsigned_abs().div_ceil(windows.dilation);
                let first = start + (missing * windows.dilation).cast_signed();
                let end = end.min(windows.extent.cast_signed());
                let count = (end - first).max(0).unsigned_abs().div_ceil(windows.dilation);
                // One without elements starts anywhere.
                (if count == 0 { 0 } else { first.unsigned_abs() }, count, windows.dilation)
            };
            (windows.extent, spans.iter().map(inside).collect(), spans)
        };
        Self::new(op, axes.iter().map(axis).collect())
    }

    /// Returns the windows between these places, which do not decrease.
    pub(super) fn of_spans(op: &'static str, axes: Vec<(usize, Vec<(usize, usize)>)>) -> Result<Self> {
        let axis = |(extent, spans): (usize, Vec<(usize, usize)>)| {
            let windows = spans.iter().map(|&(start, end)| (start, end - start, 1)).collect();
            (extent, windows, spans.into_iter().map(|(start, end)| (start.cast_signed(), end.cast_signed())).collect())
        };
        Self::new(op, axes.into_iter().map(axis).collect())
    }

    /// For each axis: its extent, the windows, and where each starts and ends, which do not decrease.
    fn new(op: &'static str, axes: Vec<(usize, Vec<Window>, Vec<(isize, isize)>)>) -> Result<Self> {
        let (mut windows, mut around) = (Vec::new(), Vec::new());
        // The most elements of a window, and the most windows around an element.
        let (mut elements, mut covers) = (1usize, 1usize);
        let input: Vec<usize> = axes.iter().map(|(extent, ..)| *extent).collect();
        let output: Vec<usize> = axes.iter().map(|(_, windows, _)| windows.len()).collect();
        if axes.len() == 1 {
            windows.extend([0, 1, 1]);
            around.extend([0, 1]);
        }
        for (extent, of, spans) in axes {
            windows.extend(of.iter().flat_map(|&(start, count, step)| [start, count, step].map(|word| word as u32)));
            elements = elements.saturating_mul(of.iter().map(|window| window.1).max().unwrap_or(0));
            let (mut first, mut end, mut most) = (0, 0, 0);
            for place in 0..extent.cast_signed() {
                while end < spans.len() && spans[end].0 <= place {
                    end += 1;
                }
                while first < end && spans[first].1 <= place {
                    first += 1;
                }
                around.extend([first as u32, (end - first) as u32]);
                most = most.max(end - first);
            }
            covers = covers.saturating_mul(most);
        }
        if elements.max(covers) > MOST_TURNS {
            let value = format!("{elements} elements, {covers} around an element");
            return Err(Error::Argument { op, name: "windows", value, rule: "at most 32,768 of both" });
        }
        Ok(Self { input, output, windows, around })
    }

    /// Returns the extents of all axes if the last ones are these.
    fn outer<'a>(&self, op: &'static str, shape: &'a [usize], expected: &[usize]) -> Result<&'a [usize]> {
        shape.strip_suffix(expected).ok_or_else(|| Error::Shape {
            op,
            rule: "the windows are for other extents",
            left: shape.to_vec(),
            right: expected.to_vec(),
        })
    }

    fn params(&self, length: usize) -> [u32; 5] {
        let ([height, width], [rows, columns]): (Plane, Plane) = (plane(&self.input), plane(&self.output));
        [height, width, rows, columns, length].map(|count| count as u32)
    }
}

impl Tensor {
    /// Returns the maxima over windows, and the u32 place of each in its plane.
    #[doc(hidden)]
    pub fn window_max(&self, op: &'static str, plan: &MaxWindows) -> Result<(Self, Self)> {
        expect_dtype(op, self, DType::F32)?;
        let shape = [plan.outer(op, self.shape(), &plan.input)?, &plan.output].concat();
        let y = Self::uninitialized(self.device(), DType::F32, &shape)?;
        let places = Self::uninitialized(self.device(), DType::U32, &shape)?;
        Launch::new(&WINDOW_MAX, plan.params(y.len()))
            .bind(&self.contiguous()?)
            .bind(&Self::from_slice(self.device(), &plan.windows, &[plan.windows.len()])?)
            .bind(&y)
            .bind(&places)
            .workgroups(y.len().div_ceil(64))
            .run(self.device())?;
        Ok((y, places))
    }

    /// Returns a tensor to whose elements those at the places of the maxima are added, in the order of the windows.
    #[doc(hidden)]
    pub fn window_return(&self, op: &'static str, places: &Self, plan: &MaxWindows) -> Result<Self> {
        expect_dtype(op, self, DType::F32)?;
        self.same_device(op, places)?;
        let outer = plan.outer(op, self.shape(), &plan.output)?;
        let y = Self::uninitialized(self.device(), DType::F32, &[outer, &plan.input].concat())?;
        Launch::new(&WINDOW_RETURN, plan.params(y.len()))
            .bind(&self.contiguous()?)
            .bind(&places.contiguous()?)
            .bind(&Self::from_slice(self.device(), &plan.around, &[plan.around.len()])?)
            .bind(&y)
            .workgroups(y.len().div_ceil(64))
            .run(self.device())?;
        Ok(y)
    }

    /// Returns the elements at the places of maxima.
    #[doc(hidden)]
    pub fn window_pick(&self, op: &'static str, places: &Self, plan: &MaxWindows) -> Result<Self> {
        expect_dtype(op, self, DType::F32)?;
        self.same_device(op, places)?;
        let shape = [plan.outer(op, self.shape(), &plan.input)?, &plan.output].concat();
        let y = Self::uninitialized(self.device(), DType::F32, &shape)?;
        let [size, count] = [&plan.input, &plan.output].map(|extents| extents.iter().product::<usize>());
        Launch::new(&WINDOW_PICK, [size, count, y.len()].map(|count| count as u32))
            .bind(&self.contiguous()?)
            .bind(&places.contiguous()?)
            .bind(&y)
            .uses(0, y.len())
            .workgroups(y.len().div_ceil(64))
            .run(self.device())?;
        Ok(y)
    }
}
