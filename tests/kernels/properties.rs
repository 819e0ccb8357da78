//! Random cases on the GPU and on the CPU: shapes of up to six axes, empty ones, strides, stretched axes, types, axes and
//! settings are drawn.
//!
//! `THALWEG_CASES=1000000 cargo kernels properties` is the long mode; `THALWEG_SEED` draws other cases.

use thalweg::tensor::functions::Elementwise;
use thalweg::tensor::{Convolution, DType, Device, PadMode, Result, Tensor, functions, philox};

use crate::common::{Tolerance, assert_close, floats, words};
use crate::parity::Pair;

/// The cases that are drawn by default.
const CASES: u64 = 10_000;

/// The most elements of an operand.
const MOST_ELEMENTS: usize = 3000;

/// Random numbers of one case.
struct Draw {
    case: u64,
    seed: u32,
    count: u32,
}

impl Draw {
    fn bits(&mut self) -> u32 {
        self.count += 1;
        philox([self.case as u32, (self.case >> 32) as u32, self.count, 0], [self.seed, 7])[0]
    }

    /// A whole number below `end`.
    fn below(&mut self, end: usize) -> usize {
        ((u64::from(self.bits()) * end as u64) >> 32) as usize
    }

    fn from(&mut self, first: usize, last: usize) -> usize {
        first + self.below(last - first + 1)
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn number(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * (self.bits() >> 8) as f32 / 16_777_216.0
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// A shape of up to `rank` axes. One in 30 extents is 0.
    fn shape(&mut self, least: usize, most: usize) -> Vec<usize> {
        let rank = self.from(least, most);
        let mut shape = Vec::new();
        for _ in 0..rank {
            let room = MOST_ELEMENTS / shape.iter().map(|&extent: &usize| extent.max(1)).product::<usize>();
            let extent = match self.below(30) {
                0 => 0,
                1..4 => 1,
                4 => self.from(1, room.clamp(1, 1100)),
                _ => self.from(1, room.clamp(1, 7)),
            };
            shape.push(extent);
        }
        shape
    }

    /// Some axes of a shape, each once, from the front or the back.
    fn axes(&mut self, rank: usize) -> Vec<isize> {
        let mut axes: Vec<isize> = (0..rank as isize).filter(|_| self.chance(2)).collect();
        axes.iter_mut().for_each(|axis| *axis = self.signed(*axis as usize, rank));
        axes
    }

    fn signed(&mut self, axis: usize, rank: usize) -> isize {
        if self.chance(2) { axis as isize - rank as isize } else { axis as isize }
    }

    fn axis(&mut self, rank: usize) -> isize {
        let axis = self.below(rank);
        self.signed(axis, rank)
    }

    fn order(&mut self, rank: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..rank).collect();
        for i in (1..rank).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }
}

/// An operand of a shape: a view into a larger tensor, with its axes in another order, some of them stretched.
struct Operand {
    elements: Vec<f32>,
    stored: Vec<usize>,
    order: Vec<usize>,
    starts: Vec<usize>,
    kept: Vec<usize>,
    shape: Vec<usize>,
    dtype: DType,
}

impl Operand {
    fn draw(draw: &mut Draw, shape: &[usize], low: f32, high: f32) -> Self {
        let is_plain = draw.chance(3);
        // The order of the axes in memory, and what of each is kept.
        let order = if is_plain { (0..shape.len()).collect() } else { draw.order(shape.len()) };
        let kept: Vec<usize> =
            shape.iter().map(|&extent| if !is_plain && extent > 0 && draw.chance(6) { 1 } else { extent }).collect();
        let starts: Vec<usize> =
            kept.iter().map(|_| if is_plain { 0 } else { draw.below(3) / 2 * draw.below(4) }).collect();
        let behind: Vec<usize> = kept.iter().map(|_| if is_plain { 0 } else { draw.below(3) / 2 }).collect();
        let stored: Vec<usize> = order.iter().map(|&d| starts[d] + kept[d] + behind[d]).collect();
        let count = stored.iter().product();
        let elements = (0..count).map(|_| draw.number(low, high)).collect();
        Self { elements, stored, order, starts, kept, shape: shape.to_vec(), dtype: DType::F32 }
    }

    /// Whole numbers, whose sums and products are exact.
    fn whole(draw: &mut Draw, shape: &[usize]) -> Self {
        let mut operand = Self::draw(draw, shape, -4.5, 4.5);
        operand.elements.iter_mut().for_each(|x| *x = x.round());
        operand
    }

    fn with_dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    fn on(&self, device: &Device) -> Result<Tensor> {
        let stored = Tensor::from_slice(device, &self.elements, &self.stored)?.to_dtype(self.dtype)?;
        let mut inverse = vec![0; self.order.len()];
        self.order.iter().enumerate().for_each(|(place, &d)| inverse[d] = place);
        let mut x = stored.permute(&inverse)?;
        for (d, (&start, &extent)) in self.starts.iter().zip(&self.kept).enumerate() {
            x = x.slice(d, start, start + extent)?;
        }
        x.broadcast_to(&self.shape)
    }
}

type Compute = Box<dyn Fn(&Device) -> Result<Vec<Tensor>>>;

/// A case: a name, a tolerance, and a computation on a device.
struct Case {
    what: String,
    tolerance: Tolerance,
    compute: Compute,
}

fn case(what: String, tolerance: Tolerance, compute: impl Fn(&Device) -> Result<Vec<Tensor>> + 'static) -> Case {
    Case { what, tolerance, compute: Box::new(compute) }
}

/// A function of the table on operands that broadcast.
fn elementwise(draw: &mut Draw, pair: &Pair) -> Case {
    let all: Vec<&'static Elementwise> =
        functions::all().into_iter().filter(|function| function.checks[0].smooth_range().is_some()).collect();
    let function = *draw.of(&all);
    let check = function.checks[0];
    let (low, high) = check.smooth_range().unwrap();
    let (software, hardware) = (check.tolerance().software, check.tolerance().hardware);
    let whole = draw.shape(0, 6);
    let is_exact = software == (0.0, 0.0);
    let dtype = if is_exact { *draw.of(&[DType::F32, DType::F32, DType::F16, DType::BF16]) } else { DType::F32 };
    let operands: Vec<Operand> = (0..function.function.arguments.len())
        .map(|i| {
            let lacks = if i == 0 { 0 } else { draw.below(whole.len() + 1) };
            let shape: Vec<usize> =
                whole[lacks..].iter().map(|&extent| if i > 0 && draw.chance(5) { 1 } else { extent }).collect();
            Operand::draw(draw, &shape, low, high).with_dtype(dtype)
        })
        .collect();
    let bound = |(absolute, relative): (f32, f32)| Tolerance::new(absolute.max(1e-38), relative);
    let tolerance = pair.tolerance(bound(software), bound(hardware));
    case(format!("{} {whole:?} {dtype}", function.name()), tolerance, move |device| {
        let x = operands.iter().map(|operand| operand.on(device)).collect::<Result<Vec<_>>>()?;
        let y = x[0].apply_with(function, &x[1..].iter().collect::<Vec<_>>(), check.own_numbers())?;
        Ok(vec![y.to_dtype(DType::F32)?])
    })
}

fn reduction(draw: &mut Draw, pair: &Pair) -> Case {
    let shape = draw.shape(0, 6);
    let (axes, keepdim, which) = (draw.axes(shape.len()), draw.chance(2), draw.below(9));
    let x = Operand::draw(draw, &shape, -2.0, 2.0);
    let hardware = Tolerance::new(1e-5, 1e-5);
    let tolerance = if which < 4 { pair.tolerance(Tolerance::EXACT, hardware) } else { Tolerance::new(2e-5, 2e-5) };
    case(format!("reduction {which} of {shape:?} over {axes:?}, {keepdim}"), tolerance, move |device| {
        let x = x.on(device)?;
        Ok(vec![match which {
            0 => x.sum_along(&axes, keepdim)?,
            1 => x.mean_along(&axes, keepdim)?,
            2 => x.max_along(&axes, keepdim)?,
            3 => x.min_along(&axes, keepdim)?,
            4 => x.prod_along(&axes, keepdim)?,
            5 => x.var_along(&axes, 0.0, keepdim)?,
            6 => x.norm_along(2.0, &axes, keepdim)?,
            7 => x.logsumexp_along(&axes, keepdim)?,
            _ => x.sum()?,
        }])
    })
}

fn along_an_axis(draw: &mut Draw, pair: &Pair) -> Case {
    let shape = draw.shape(1, 5);
    let (axis, keepdim, which) = (draw.axis(shape.len()), draw.chance(2), draw.below(6));
    let is_empty = shape[axis.rem_euclid(shape.len() as isize) as usize] == 0;
    // Whole numbers have ties.
    let x = if draw.chance(2) { Operand::whole(draw, &shape) } else { Operand::draw(draw, &shape, -3.0, 3.0) };
    let tolerance = if which < 3 {
        pair.tolerance(Tolerance::EXACT, Tolerance::new(1e-4, 1e-5))
    } else {
        Tolerance::new(1e-6, 1e-5)
    };
    case(format!("along {axis} of {shape:?}, {which}"), tolerance, move |device| {
        let x = x.on(device)?;
        Ok(vec![match which {
            0 if !is_empty => x.argmax(axis, keepdim)?,
            1 if !is_empty => x.argmin(axis, keepdim)?,
            0..3 => x.cumsum(axis)?,
            3 => x.softmax(axis)?,
            4 => x.log_softmax(axis)?,
            _ => x.cumsum_reversed(axis)?.affine(0.125, 0.0)?,
        }])
    })
}

fn product(draw: &mut Draw, _: &Pair) -> Case {
    let [m, n, k] = [0, 1, 2].map(|_| if draw.chance(8) { draw.from(0, 70) } else { draw.from(1, 12) });
    let batch =
        if draw.chance(3) { Vec::new() } else { draw.shape(0, 3).into_iter().map(|extent| extent.min(5)).collect() };
    let sub = |draw: &mut Draw| -> Vec<usize> {
        let lacks = draw.below(batch.len() + 1);
        batch[lacks..].iter().map(|&extent| if draw.chance(4) { 1 } else { extent }).collect()
    };
    let (a_shape, b_shape) = ([sub(draw), vec![m, k]].concat(), [sub(draw), vec![k, n]].concat());
    let (a, b) = (Operand::whole(draw, &a_shape), Operand::whole(draw, &b_shape));
    case(format!("{a_shape:?} × {b_shape:?}"), Tolerance::EXACT, move |device| {
        Ok(vec![a.on(device)?.matmul(&b.on(device)?)?])
    })
}

fn einsum(draw: &mut Draw, _: &Pair) -> Case {
    const SPECS: [&str; 10] = [
        "ij,jk->ik",
        "bij,bjk->bik",
        "bhqd,bhkd->bhqk",
        "ij,ij->",
        "ii->i",
        "ijk->ki",
        "i,j->ij",
        "ij,jk,kl->il",
        "iji->j",
        "bij,jk->kb",
    ];
    let spec = *draw.of(&SPECS);
    let extents: Vec<usize> = (0..26).map(|_| if draw.chance(30) { 0 } else { draw.from(1, 6) }).collect();
    let inputs = spec.split("->").next().unwrap();
    let operands: Vec<Operand> = inputs
        .split(',')
        .map(|letters| {
            let shape: Vec<usize> = letters.bytes().map(|letter| extents[usize::from(letter - b'a')]).collect();
            Operand::whole(draw, &shape)
        })
        .collect();
    case(format!("einsum {spec}"), Tolerance::EXACT, move |device| {
        let x = operands.iter().map(|operand| operand.on(device)).collect::<Result<Vec<_>>>()?;
        Ok(vec![Tensor::einsum(spec, &x.iter().collect::<Vec<_>>())?])
    })
}

fn rearrangement(draw: &mut Draw, _: &Pair) -> Case {
    let shape = draw.shape(2, 6);
    let rank = shape.len();
    let dtype = *draw.of(&[DType::F32, DType::F32, DType::F16, DType::BF16]);
    let x = Operand::whole(draw, &shape).with_dtype(dtype);
    let other = Operand::whole(draw, &shape).with_dtype(dtype);
    let (axis, axes, which) = (draw.axis(rank), draw.axes(rank), draw.below(12));
    let place = axis.rem_euclid(rank as isize) as usize;
    let extent = shape[place];
    let shifts: Vec<isize> = axes.iter().map(|_| draw.below(11) as isize - 5).collect();
    let counts: Vec<usize> = (0..rank).map(|_| draw.from(1, 2)).collect();
    let mode = *draw.of(&[PadMode::Constant(1.5), PadMode::Reflect, PadMode::Replicate, PadMode::Circular]);
    let widths: Vec<(isize, isize)> = shape
        .iter()
        .map(|&extent| {
            let most = match mode {
                PadMode::Constant(_) => 3,
                PadMode::Reflect => extent.saturating_sub(1).min(3),
                PadMode::Replicate => 3 * extent.min(1),
                PadMode::Circular => extent.min(3),
            };
            (draw.from(0, most) as isize, draw.from(0, most) as isize)
        })
        .collect();
    let diagonal = draw.below(7) as isize - 3;
    let (count, size) = (draw.from(1, 3), draw.from(1, extent.max(1)));
    let what = format!(
        "rearrangement {which} of {shape:?} {dtype}, axis {axis} {axes:?} {shifts:?} {widths:?} {mode:?} {diagonal}"
    );
    case(what, Tolerance::EXACT, move |device| {
        let x = x.on(device)?;
        let y = match which {
            0 => x.flip(&axes)?,
            1 => x.roll(&shifts, &axes)?,
            2 => x.pad(&widths, mode)?,
            3 => x.repeat(&counts)?,
            4 => x.repeat_interleave(count, axis)?,
            5 => x.tril(diagonal)?,
            6 => x.triu(diagonal)?,
            7 => Tensor::concatenate(&[x.clone(), other.on(device)?, x], axis)?,
            8 => Tensor::stack(&[x, other.on(device)?], axis)?,
            9 => x.diagonal(diagonal, 0, -1)?.copy()?,
            10 if extent > 0 => x.unfold(axis, size, count)?.copy()?,
            _ => x.slice_step(axis, None, None, count)?.copy()?,
        };
        Ok(vec![y.to_dtype(DType::F32)?])
    })
}

fn convolution(draw: &mut Draw, _: &Pair) -> Case {
    let (groups, kernel) = (draw.from(1, 3), [draw.from(1, 3), draw.from(1, 3)]);
    let settings = Convolution {
        stride: [draw.from(1, 3), draw.from(1, 2)],
        padding: [draw.below(3), draw.below(3)],
        dilation: [draw.from(1, 2), draw.from(1, 2)],
        groups,
    };
    let (inputs, outputs) = (draw.from(1, 3), draw.from(1, 4));
    let extents = [draw.from(5, 9), draw.from(5, 12)];
    let samples = draw.from(0, 4);
    let x = Operand::whole(draw, &[samples, groups * inputs, extents[0], extents[1]]);
    let weight = Operand::whole(draw, &[groups * outputs, inputs, kernel[0], kernel[1]]);
    let bias = Operand::whole(draw, &[groups * outputs]);
    case(format!("conv2d {settings:?} {extents:?} {kernel:?}"), Tolerance::EXACT, move |device| {
        let (x, weight) = (x.on(device)?, weight.on(device)?);
        let y = x.conv2d(&weight, Some(&bias.on(device)?), &settings)?;
        let strides = (&settings).into();
        let dw = Tensor::zeros(device, DType::F32, weight.shape())?;
        y.convolve_weight_into(&x, &dw, false, &strides)?;
        Ok(vec![y.convolve_transpose("conv", &weight, None, &x.shape()[2..], &strides)?, y, dw])
    })
}

fn indexing(draw: &mut Draw, _: &Pair) -> Case {
    let shape = draw.shape(1, 4);
    let axis = draw.axis(shape.len());
    let place = axis.rem_euclid(shape.len() as isize) as usize;
    let extent = shape[place];
    let count = if extent == 0 { 0 } else { draw.from(0, 9) };
    let list: Vec<u32> = (0..count).map(|_| draw.below(extent) as u32).collect();
    let mut many = shape.clone();
    many[place] = count;
    let elements = many.iter().product::<usize>();
    let all: Vec<u32> = (0..elements).map(|_| draw.below(extent.max(1)) as u32).collect();
    let (x, source) = (Operand::whole(draw, &shape), Operand::whole(draw, &many));
    let which = draw.below(9);
    let k = draw.from(0, extent);
    let (descending, value) = (draw.chance(2), draw.number(-1.0, 1.0));
    let mask = Operand::whole(draw, &shape);
    case(format!("indices {which} of {shape:?} along {axis}, {count}, {k}"), Tolerance::EXACT, move |device| {
        let (x, source) = (x.on(device)?, source.on(device)?);
        let indices = Tensor::from_slice(device, &list, &[count])?;
        let each = Tensor::from_slice(device, &all, &many)?;
        let pair = |(values, places): (Tensor, Tensor)| vec![values, places];
        Ok(match which {
            0 => vec![x.index_select(axis, &indices)?],
            1 => vec![x.gather(axis, &each)?],
            2 => vec![x.scatter(axis, &each, &source)?],
            3 => vec![x.scatter_add(axis, &each, &source)?],
            4 => vec![x.index_add(axis, &indices, &source)?],
            5 => pair(x.sort(axis, descending)?),
            6 => pair(x.topk(k, axis, descending)?),
            7 => vec![x.masked_fill(&mask.on(device)?.relu()?, value)?],
            _ => vec![x.masked_select(&mask.on(device)?.relu()?)?],
        })
    })
}

/// The kinds of cases, in turn.
const KINDS: [fn(&mut Draw, &Pair) -> Case; 11] = [
    elementwise,
    reduction,
    along_an_axis,
    rearrangement,
    product,
    elementwise,
    rearrangement,
    einsum,
    convolution,
    indexing,
    indexing,
];

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn properties() {
    let Some(pair) = Pair::open() else { return };
    let cases = from_environment("THALWEG_CASES").unwrap_or(CASES);
    let seed = from_environment("THALWEG_SEED").unwrap_or(1) as u32;
    for number in 0..cases {
        let mut draw = Draw { case: number, seed, count: 0 };
        let case = KINDS[number as usize % KINDS.len()](&mut draw, &pair);
        let what = format!("case {number} of seed {seed}: {}", case.what);
        let on = |device: &Device| (case.compute)(device).unwrap_or_else(|error| panic!("{what} on {device}: {error}"));
        let (expected, got) = (on(&pair.cpu), on(&pair.gpu));
        assert_eq!(expected.len(), got.len(), "{what}");
        for (got, expected) in got.iter().zip(&expected) {
            assert_eq!((got.shape(), got.dtype()), (expected.shape(), expected.dtype()), "{what}");
            match got.dtype() {
                DType::F32 => assert_close(&what, &floats(got), &floats(expected), case.tolerance),
                _ => assert_eq!(words(got), words(expected), "{what}"),
            }
        }
    }
    #[allow(clippy::print_stderr, reason = "the number of cases is part of the result")]
    let report = || {
        eprintln!("{cases} random cases of {} kinds agree on {} and {}", KINDS.len(), pair.cpu, pair.gpu);
    };
    report();
}
