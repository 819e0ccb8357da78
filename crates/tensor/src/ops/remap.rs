//! Copies with a rule for each axis: where a coordinate of the result comes from. Flips, rolls, repetitions, padding,
//! bands of a matrix and joins are such copies.

use crate::kernel::{Access, Call, Kernel, Launch};
use crate::threads::for_each_row;
use crate::{DType, Element, Result, Tensor, f16, shape};

/// Where the coordinates along an axis come from. The numbers are those of `shared/remap.wgsl`.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Rule {
    /// Element i moves to place `shift + step · i`; all other places are filled.
    Spread { shift: isize, step: usize },
    /// From `place - shift`, or from the nearest end of the axis.
    Clamp { shift: isize },
    /// From `place - shift`, mirrored at the first and the last element. It may be outside by less than the extent.
    Mirror { shift: isize },
    /// From `place - shift` around the axis. The shift is not positive.
    Wrap { shift: isize },
    /// From the back.
    Backwards,
    /// Each element so many times.
    Divide { by: usize },
}

impl Rule {
    /// Every element stays.
    pub(crate) const SAME: Self = Self::Spread { shift: 0, step: 1 };

    /// Its number, shift and step.
    fn numbers(self) -> (u32, i32, u32) {
        match self {
            Self::Spread { shift, step } => (0, shift as i32, step as u32),
            Self::Clamp { shift } => (1, shift as i32, 1),
            Self::Mirror { shift } => (2, shift as i32, 1),
            Self::Wrap { shift } => (3, shift as i32, 1),
            Self::Backwards => (4, 0, 1),
            Self::Divide { by } => (5, 0, by as u32),
        }
    }
}

/// An axis of the result: its extent, the stride and the extent of the source, and the rule.
#[derive(Clone, Copy)]
struct Mapped {
    extent: usize,
    stride: usize,
    source: usize,
    rule: Rule,
}

impl Mapped {
    fn is_same(&self) -> bool {
        self.rule == Rule::SAME && self.extent == self.source
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    /// Extent, stride, extent of the source, number of the rule.
    axes: [[u32; 4]; 8],
    shifts: [[i32; 4]; 2],
    steps: [[u32; 4]; 2],
    length: u32,
    rank: u32,
    offset: u32,
    fill: u32,
    banded: u32,
    low: i32,
    high: i32,
    run: u32,
    pitch: u32,
    start: u32,
}

impl Params {
    fn new(axes: &[Mapped], offset: usize, fill: u32, band: Option<(isize, isize)>) -> Self {
        let mut params: Self = bytemuck::Zeroable::zeroed();
        for (d, axis) in axes.iter().enumerate() {
            let (rule, shift, step) = axis.rule.numbers();
            params.axes[d] = [axis.extent as u32, axis.stride as u32, axis.source as u32, rule];
            params.shifts[d / 4][d % 4] = shift;
            params.steps[d / 4][d % 4] = step;
        }
        (params.rank, params.offset, params.fill) = (axes.len() as u32, offset as u32, fill);
        params.length = axes.iter().map(|axis| axis.extent).product::<usize>() as u32;
        // No two coordinates are as far apart.
        let bound = |distance: isize| distance.clamp(-(1 << 30), 1 << 30) as i32;
        if let Some((low, high)) = band {
            (params.banded, params.low, params.high) = (1, bound(low), bound(high));
        }
        (params.run, params.pitch) = (params.length, params.length);
        params
    }

    /// The coordinate in the source of a place along an axis.
    #[inline(always)]
    fn coordinate(&self, d: usize, place: u32) -> Option<u32> {
        let [_, _, extent, rule] = self.axes[d];
        let last = extent as i32 - 1;
        let (shifted, step) = (place as i32 - self.shifts[d / 4][d % 4], self.steps[d / 4][d % 4]);
        match rule {
            1 => Some(shifted.clamp(0, last) as u32),
            2 => Some((last - (last - shifted.abs()).abs()) as u32),
            3 => Some(shifted as u32 % extent),
            4 => Some(extent - 1 - place),
            5 => Some(place / step),
            _ => {
                let is_inside = shifted >= 0 && (shifted as u32).is_multiple_of(step) && shifted as u32 / step < extent;
                is_inside.then(|| shifted as u32 / step)
            }
        }
    }

    /// Writes the row with this number: all places along the last axis.
    #[inline(always)]
    fn copy_row<T: Element>(&self, row: u32, fill: T, x: &[T], y: &mut [T]) {
        let last = self.rank as usize - 1;
        let (mut index, mut rest, mut above) = (self.offset as usize, row, 0);
        for d in (0..last).rev() {
            let [extent, stride, ..] = self.axes[d];
            let place = rest % extent;
            rest /= extent;
            if d + 1 == last {
                above = place as i32;
            }
            match self.coordinate(d, place) {
                Some(found) => index += (found * stride) as usize,
                None => return y.fill(fill),
            }
        }
        let [_, stride, source, rule] = self.axes[last];
        let shift = self.shifts[last / 4][last % 4];
        if rule == 0 && self.steps[last / 4][last % 4] == 1 && self.banded == 0 && shift >= 0 {
            // Nothing, then one element after the other, then nothing.
            let (before, y) = y.split_at_mut((shift as usize).min(y.len()));
            let (inside, after) = y.split_at_mut((source as usize).min(y.len()));
            before.fill(fill);
            after.fill(fill);
            match stride {
                1 => inside.copy_from_slice(&x[index..][..inside.len()]),
                _ => (0..).zip(inside).for_each(|(i, y): (usize, _)| *y = x[index + i * stride as usize]),
            }
            return;
        }
        for (place, y) in (0..).zip(y) {
            let distance = place as i32 - above;
            let is_inside = self.banded == 0 || (self.low..=self.high).contains(&distance);
            let found = self.coordinate(last, place).filter(|_| is_inside);
            *y = found.map_or(fill, |found| x[index + (found * stride) as usize]);
        }
    }
}

/// y[i] = x[…], each coordinate by its rule.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let [x, y] = call.bindings();
    copy(&params, params.fill, x.read::<u32>(), y.write::<u32>());
}

/// y[i] = x[…], of 16 bits each.
fn halves_twin(call: Call<'_>) {
    let params: Params = call.params();
    let [x, y] = call.bindings();
    let fill = f16::from_bits(params.fill as u16);
    copy(&params, fill, x.read::<f16>(), &mut y.write::<f16>()[..params.length as usize]);
}

#[inline(always)]
fn copy<T: Element>(params: &Params, fill: T, x: &[T], y: &mut [T]) {
    let inner = params.axes[params.rank as usize - 1][0] as usize;
    let (start, run) = (params.start as usize, params.run as usize);
    if run == params.length as usize {
        return for_each_row(
            &mut y[start..start + run],
            inner,
            #[inline(always)]
            |row, y| params.copy_row(row as u32, fill, x, y),
        );
    }
    for_each_row(
        y,
        params.pitch as usize,
        #[inline(always)]
        |outer, y| {
            let first = (outer * (run / inner)) as u32;
            (first..)
                .zip(y[start..start + run].chunks_mut(inner))
                .for_each(|(row, y)| params.copy_row(row, fill, x, y));
        },
    );
}

pub(crate) static REMAP: Kernel = Kernel {
    shader: &thalweg_shaders::REMAP,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Write],
    variants: &[&[]],
    twin,
};

pub(crate) static REMAP_HALVES: Kernel = Kernel {
    shader: &thalweg_shaders::REMAP_HALVES,
    uniform: size_of::<Params>(),
    access: &[Access::ReadAs(DType::F16), Access::WriteAs(DType::F16)],
    variants: &[&[]],
    twin: halves_twin,
};

/// Joins neighbouring axes whose elements all stay and lie without a gap, and drops those of extent 1. Axis `split` is
/// neither dropped nor joined to those before it, and the last `kept` axes stay as they are.
fn collapse(axes: Vec<Mapped>, split: Option<usize>, kept: usize) -> Vec<Mapped> {
    let joined = axes.len() - kept.min(axes.len());
    let mut result: Vec<Mapped> = Vec::new();
    let mut is_open = false;
    for (d, axis) in axes.into_iter().enumerate() {
        let is_free = d < joined && axis.is_same();
        is_open &= is_free && split != Some(d);
        match result.last_mut() {
            _ if is_free && axis.extent == 1 && split != Some(d) => continue,
            Some(outer) if is_open && outer.stride == axis.stride * axis.extent => {
                let extent = outer.extent * axis.extent;
                *outer = Mapped { extent, source: extent, ..axis };
            }
            _ => result.push(axis),
        }
        is_open = is_free;
    }
    if result.is_empty() {
        result.push(Mapped { extent: 1, stride: 0, source: 1, rule: Rule::SAME });
    }
    result
}

impl Tensor {
    /// Returns a tensor whose axes have these extents, with elements by the rules. Elements that come from nowhere, or lie
    /// outside of the band of the last two axes, get the bits of `fill`: column - row is in the range of the band.
    ///
    /// # Errors
    /// If the shape is too large, or the device has no room.
    pub(crate) fn remap(
        &self,
        op: &'static str,
        rules: &[(usize, Rule)],
        band: Option<(isize, isize)>,
        fill: u32,
    ) -> Result<Self> {
        let shape: Vec<usize> = rules.iter().map(|(extent, _)| *extent).collect();
        shape::element_count(op, &shape)?;
        let y = Self::uninitialized(self.device(), self.dtype(), &shape)?;
        if y.is_empty() {
            return Ok(y);
        }
        if self.is_empty() {
            match self.dtype().size() {
                2 => y.bits_as(DType::F16).fill(f16::from_bits(fill as u16))?,
                _ => y.bits_as(DType::U32).fill(fill)?,
            }
            return Ok(y);
        }
        let mapped = |(d, &(extent, rule))| Mapped { extent, stride: self.strides()[d], source: self.shape()[d], rule };
        let axes = rules.iter().enumerate().map(mapped).collect();
        let axes = collapse(axes, None, if band.is_some() { 2 } else { 0 });
        let params = Params::new(&axes, self.offset(), fill, band);
        if self.dtype().size() == 2 {
            Launch::new(&REMAP_HALVES, params)
                .bind_whole(&self.bits_as(DType::F16))
                .bind_whole(&y.bits_as(DType::F16))
                .uses(0, self.len().min(y.len()))
                .uses(1, y.len())
                .workgroups(y.len().div_ceil(2).div_ceil(64))
                .run(self.device())?;
        } else {
            Launch::new(&REMAP, params)
                .bind_whole(self)
                .bind(&y)
                .uses(0, self.len().min(y.len()))
                .workgroups(y.len().div_ceil(64))
                .run(self.device())?;
        }
        Ok(y)
    }

    /// Writes the elements, of 32 bits, over those of a contiguous `target` from index `start` of the axis on. The other
    /// extents are the same.
    pub(crate) fn write_into(&self, target: &Self, axis: usize, start: usize) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let of = self.shape().iter().zip(self.strides());
        let mapped = |(&extent, &stride)| Mapped { extent, stride, source: extent, rule: Rule::SAME };
        let inner: usize = self.shape()[axis + 1..].iter().product();
        let mut params = Params::new(&collapse(of.map(mapped).collect(), Some(axis), 0), self.offset(), 0, None);
        (params.run, params.pitch) = ((self.shape()[axis] * inner) as u32, (target.shape()[axis] * inner) as u32);
        params.start = (start * inner) as u32;
        Launch::new(&REMAP, params)
            .bind_whole(self)
            .bind(target)
            .uses(0, self.len())
            .uses(1, self.len())
            .workgroups(self.len().div_ceil(64))
            .run(self.device())
    }
}
