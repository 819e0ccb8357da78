//! Every differentiable operation compared with centred differences, first and second derivatives, on the CPU and on a
//! GPU.
//!
//! Inputs are away from kinks. The bound of 1e-3 on the relative error is ten times the default for "right". Rounding
//! in f32 over a step of 5e-3 gives some 1e-5 to 1e-4, except for elements near a zero of a third derivative.

mod linalg;

use thalweg::autograd::{GradientCheck, Result, Tape, Var, check_function, check_gradient, jvp, vjp};
use thalweg::tensor::functions::{Check, MUL, SIGN};
use thalweg::tensor::{
    Attention, AveragePooling, Cell, Convolution, ConvolutionTranspose, Device, MaxPooling, Recurrent, Resize,
};
use thalweg::tensor::{Indexing, PadMode, Rotary, Tensor, functions};

pub(crate) type Function = for<'t> fn(&'t Tape, &[Var<'t>]) -> Result<Var<'t>>;

/// Name, function, the range and the shapes of its inputs.
pub(crate) type Row = (&'static str, Function, (f32, f32), &'static [&'static [usize]]);

/// Element-wise functions are here only with broadcasting or repeated use.
const TABLE: &[Row] = &[
    ("relu of negatives and positives", |_, x| x[0].add(x[0].neg()?.relu()?.relu()?), (-2.0, -0.1), &[&[3, 5]]),
    ("add", |_, x| x[0].add(x[1]), (-2.0, 2.0), &[&[3, 5], &[5]]),
    ("sub", |_, x| x[0].sub(x[1]), (-2.0, 2.0), &[&[3, 1], &[2, 1, 5]]),
    ("mul", |_, x| x[0].mul(x[1]), (-2.0, 2.0), &[&[3, 5], &[3, 1]]),
    ("div", |_, x| x[0].div(x[1]), (0.5, 2.0), &[&[3, 5], &[1, 5]]),
    ("maximum", |_, x| x[0].maximum(x[1].affine(1.0, 3.0)?), (-1.0, 1.0), &[&[3, 5], &[5]]),
    ("minimum", |_, x| x[0].minimum(x[1].affine(1.0, 3.0)?), (-1.0, 1.0), &[&[3, 5], &[5]]),
    ("pow", |_, x| x[0].pow(x[1]), (0.5, 2.0), &[&[3, 5], &[5]]),
    ("mul with itself", |_, x| x[0].mul(x[0])?.add(x[0]), (-2.0, 2.0), &[&[3, 5]]),
    ("sum", |_, x| x[0].square()?.sum(), (-2.0, 2.0), &[&[3, 5]]),
    ("mean", |_, x| x[0].square()?.mean(), (-2.0, 2.0), &[&[3, 5]]),
    ("max", |_, x| x[0].max(), (-2.0, 2.0), &[&[7]]),
    ("min", |_, x| x[0].min(), (-2.0, 2.0), &[&[7]]),
    ("sum_along", |_, x| x[0].square()?.sum_along(1, true), (-2.0, 2.0), &[&[2, 3, 4]]),
    ("mean_along", |_, x| x[0].square()?.mean_along(0, true), (-2.0, 2.0), &[&[2, 3, 4]]),
    ("max_along", |_, x| x[0].max_along(1, true), (-2.0, 2.0), &[&[3, 4]]),
    ("min_along", |_, x| x[0].min_along(0, true), (-2.0, 2.0), &[&[3, 4]]),
    ("prod", |_, x| x[0].prod(), (0.5, 2.0), &[&[7]]),
    ("prod_along", |_, x| x[0].square()?.prod_along([0, 2], true), (0.5, 1.5), &[&[2, 3, 3]]),
    ("var", |_, x| x[0].square()?.var(1.0), (-2.0, 2.0), &[&[3, 5]]),
    ("var_along", |_, x| x[0].square()?.var_along([0, 2], 0.0, false), (-2.0, 2.0), &[&[2, 3, 4]]),
    ("std", |_, x| x[0].square()?.std(0.0), (-2.0, 2.0), &[&[3, 5]]),
    ("std_along", |_, x| x[0].square()?.std_along(1, 1.0, true), (-2.0, 2.0), &[&[2, 4, 3]]),
    ("logsumexp_along", |_, x| x[0].square()?.logsumexp_along([0, 2], false), (-2.0, 2.0), &[&[2, 3, 4]]),
    ("norm, p = 1", |_, x| x[0].norm(1.0), (0.5, 2.0), &[&[7]]),
    ("norm, p = 2", |_, x| x[0].norm(2.0), (-2.0, 2.0), &[&[7]]),
    ("norm, p = ∞", |_, x| x[0].norm(f32::INFINITY), (-2.0, 2.0), &[&[7]]),
    ("norm_along, p = -∞", |_, x| x[0].norm_along(f32::NEG_INFINITY, 0, false), (0.5, 2.0), &[&[4, 3]]),
    ("norm_along, p = 2", |_, x| x[0].square()?.norm_along(2.0, [0, 2], true), (-2.0, 2.0), &[&[2, 3, 4]]),
    ("norm_along, p = 3", |_, x| x[0].norm_along(3.0, 1, false), (0.5, 2.0), &[&[3, 4]]),
    ("norm_along, p = 0.5", |_, x| x[0].norm_along(0.5, 1, false), (0.5, 2.0), &[&[3, 2]]),
    ("norm_along, p = -1.5", |_, x| x[0].norm_along(-1.5, 0, false), (0.5, 2.0), &[&[3, 4]]),
    ("cumsum", |_, x| x[0].square()?.cumsum(1), (-2.0, 2.0), &[&[2, 3, 4]]),
    ("cumsum of rows", |_, x| x[0].square()?.cumsum(-1), (-2.0, 2.0), &[&[3, 5]]),
    ("cumsum of a view", |_, x| x[0].transpose(0, 2)?.square()?.cumsum(0), (-2.0, 2.0), &[&[2, 3, 4]]),
    ("cumsum of a number", |_, x| x[0].square()?.cumsum(0), (0.5, 2.0), &[&[]]),
    ("cumsum_reversed", |_, x| x[0].square()?.cumsum_reversed(-2), (-2.0, 2.0), &[&[2, 3, 4]]),
    ("cumsum_reversed of rows", |_, x| x[0].square()?.cumsum_reversed(1), (-2.0, 2.0), &[&[3, 5]]),
    ("sum_to", |_, x| x[0].square()?.sum_to(&[3, 1]), (-2.0, 2.0), &[&[2, 3, 4]]),
    (
        "layer_norm",
        |_, x| x[0].layer_norm(&[3, 4], Some(x[1]), Some(x[2]), 1e-2),
        (-2.0, 2.0),
        &[&[2, 3, 4], &[3, 4], &[3, 4]],
    ),
    ("rms_norm", |_, x| x[0].rms_norm(&[4], Some(x[1]), 1e-2), (-2.0, 2.0), &[&[3, 4], &[4]]),
    ("normalize", |_, x| x[0].normalize(2.0, 0, 1e-12)?.mul(x[1]), (0.3, 2.0), &[&[4, 3], &[4, 3]]),
    ("cosine_similarity", |_, x| x[0].cosine_similarity(x[1], -1, 1e-8), (0.3, 2.0), &[&[3, 4], &[4]]),
    ("softmax", |_, x| x[0].softmax(-1), (-2.0, 2.0), &[&[3, 5]]),
    ("softmax of columns", |_, x| x[0].softmax(1), (-2.0, 2.0), &[&[2, 4, 3]]),
    ("log_softmax of columns", |_, x| x[0].log_softmax(0), (-2.0, 2.0), &[&[4, 3]]),
    ("log_softmax", |_, x| x[0].log_softmax(-1), (-2.0, 2.0), &[&[3, 5]]),
    ("reshape", |_, x| x[0].square()?.reshape(&[5, 3]), (-2.0, 2.0), &[&[3, 5]]),
    ("transpose", |_, x| x[0].square()?.transpose(0, 2), (-2.0, 2.0), &[&[2, 3, 4]]),
    ("permute", |_, x| x[0].square()?.permute(&[2, 0, 1]), (-2.0, 2.0), &[&[2, 3, 4]]),
    ("broadcast_to", |_, x| x[0].square()?.broadcast_to(&[2, 3, 4]), (-2.0, 2.0), &[&[3, 1]]),
    ("slice", |_, x| x[0].square()?.slice(1, 1, 3), (-2.0, 2.0), &[&[2, 4, 3]]),
    ("concatenate", |_, x| Var::concatenate(&[x[0].square()?, x[1], x[0]], 0), (-2.0, 2.0), &[&[2, 3], &[1, 3]]),
    ("slice_step", |_, x| x[0].square()?.slice_step(1, 1, -1, 2), (-2.0, 2.0), &[&[2, 7, 3]]),
    ("select", |_, x| x[0].square()?.select(1, -2), (-2.0, 2.0), &[&[2, 4, 3]]),
    ("flatten and unflatten", |_, x| x[0].square()?.flatten(0, 1)?.unflatten(0, &[3, -1]), (-2.0, 2.0), &[&[2, 3, 2]]),
    ("movedim", |_, x| x[0].square()?.movedim(0, -1)?.movedim(2, 1), (-2.0, 2.0), &[&[2, 3, 4]]),
    ("expand", |_, x| x[0].square()?.squeeze_all()?.unsqueeze(1)?.expand(&[2, -1, 3]), (-2.0, 2.0), &[&[1, 4, 1]]),
    ("diagonal", |_, x| x[0].square()?.diagonal(-1, 2, 0), (-2.0, 2.0), &[&[3, 2, 4]]),
    ("diagonal of a wide matrix", |_, x| x[0].square()?.diagonal(1, 0, 1), (-2.0, 2.0), &[&[2, 5, 2]]),
    ("unfold", |_, x| x[0].square()?.unfold(1, 3, 2), (-2.0, 2.0), &[&[2, 8]]),
    ("unfold with gaps", |_, x| x[0].square()?.unfold(0, 2, 3), (-2.0, 2.0), &[&[7, 2]]),
    (
        "split and stack",
        |_, x| Var::stack(&x[0].square()?.chunk(1, 2)?, 1)?.mul(x[1]),
        (-2.0, 2.0),
        &[&[3, 4], &[3, 2, 2]],
    ),
    (
        "concatenate along the last axis",
        |_, x| Var::concatenate(&[x[0].square()?, x[1], x[0]], -1),
        (-2.0, 2.0),
        &[&[3, 2], &[3, 1]],
    ),
    ("flip", |_, x| x[0].square()?.flip([0, -1]), (-2.0, 2.0), &[&[2, 3, 2]]),
    ("roll", |_, x| x[0].square()?.roll(&[2, -1], &[1, 0]), (-2.0, 2.0), &[&[3, 4]]),
    ("repeat", |_, x| x[0].square()?.repeat(&[2, 1, 3]), (-2.0, 2.0), &[&[2, 3]]),
    ("repeat_interleave", |_, x| x[0].square()?.repeat_interleave(3, 0), (-2.0, 2.0), &[&[2, 3]]),
    ("pad", |_, x| x[0].square()?.pad(&[(2, -1), (0, 1)], PadMode::Constant(0.5)), (-2.0, 2.0), &[&[3, 2]]),
    ("pad, reflect", |_, x| x[0].square()?.pad(&[(2, 3), (-1, 1)], PadMode::Reflect), (-2.0, 2.0), &[&[4, 3]]),
    ("pad, replicate", |_, x| x[0].square()?.pad(&[(2, 1), (0, 2)], PadMode::Replicate), (-2.0, 2.0), &[&[3, 1]]),
    ("pad, circular", |_, x| x[0].square()?.pad(&[(3, 2), (1, -1)], PadMode::Circular), (-2.0, 2.0), &[&[3, 2]]),
    ("tril and triu", |_, x| x[0].square()?.tril(1)?.triu(-1), (-2.0, 2.0), &[&[2, 4, 4]]),
    ("diag", |_, x| x[0].square()?.diag(-2)?.diag(-2)?.diag(1), (-2.0, 2.0), &[&[3]]),
    ("trace", |_, x| x[0].square()?.trace(), (-2.0, 2.0), &[&[3, 4]]),
    (
        "meshgrid",
        |_, x| {
            let grids = Var::meshgrid(&[x[0].square()?, x[1]], Indexing::Cartesian)?;
            grids[0].mul(grids[1])
        },
        (-2.0, 2.0),
        &[&[3], &[2]],
    ),
    ("squeeze and unsqueeze", |_, x| x[0].squeeze(1)?.square()?.unsqueeze(0), (-2.0, 2.0), &[&[3, 1, 2]]),
    ("gather_rows", |_, x| x[0].square()?.gather_rows(&indices(x[0], &[2, 0, 2])?), (-2.0, 2.0), &[&[3, 4]]),
    (
        "scatter_add_rows",
        |_, x| x[0].square()?.scatter_add_rows(&indices(x[0], &[2, 0, 2])?, 4),
        (-2.0, 2.0),
        &[&[3, 4]],
    ),
    ("cumprod", |_, x| x[0].square()?.cumprod(1), (0.5, 1.5), &[&[2, 4, 3]]),
    ("cumprod of a number", |_, x| x[0].square()?.cumprod(0), (0.5, 1.5), &[&[]]),
    ("logcumsumexp", |_, x| x[0].square()?.logcumsumexp(-2), (-2.0, 2.0), &[&[2, 4, 3]]),
    ("logcumsumexp_reversed", |_, x| x[0].square()?.logcumsumexp_reversed(0), (-2.0, 2.0), &[&[5]]),
    ("cummax", |_, x| Ok(x[0].square()?.cummax(0)?.0), (0.5, 2.0), &[&[5, 2]]),
    ("cummin", |_, x| Ok(x[0].square()?.cummin(-1)?.0), (0.5, 2.0), &[&[2, 5]]),
    ("gather", |_, x| x[0].square()?.gather(0, &rows(x[0], &[2, 0, 2, 1, 1, 1, 0, 0])?), (-2.0, 2.0), &[&[3, 2]]),
    ("gather_last", |_, x| x[0].square()?.gather_last(0, &rows(x[0], &[2, 0, 2, 1])?), (-2.0, 2.0), &[&[4, 2]]),
    ("index_select", |_, x| x[0].square()?.index_select(1, &indices(x[0], &[2, 0, 2])?), (-2.0, 2.0), &[&[2, 3, 2]]),
    ("scatter", |_, x| x[0].square()?.scatter(0, &rows(x[0], &[2, 0, 2, 1])?, x[1]), (-2.0, 2.0), &[&[4, 2], &[2, 2]]),
    (
        "scatter_add",
        |_, x| x[0].square()?.scatter_add(0, &rows(x[0], &[2, 0, 2, 1])?, x[1].square()?),
        (-2.0, 2.0),
        &[&[4, 3], &[2, 2]],
    ),
    (
        "index_add",
        |_, x| x[0].square()?.index_add(-1, &indices(x[0], &[2, 0, 2])?, x[1].square()?),
        (-2.0, 2.0),
        &[&[2, 3], &[2, 3]],
    ),
    ("masked_fill", |_, x| x[0].square()?.masked_fill(&mask(x[0])?, -3.0), (-2.0, 2.0), &[&[2, 3]]),
    ("masked_select", |_, x| x[0].square()?.masked_select(&mask(x[0])?), (-2.0, 2.0), &[&[2, 3]]),
    ("sort", |_, x| Ok(x[0].square()?.sort(0, false)?.0), (0.5, 2.0), &[&[5, 2]]),
    ("topk", |_, x| Ok(x[0].square()?.topk(2, -1, true)?.0), (0.5, 2.0), &[&[2, 5]]),
    ("median", |_, x| Ok(x[0].square()?.median(0, false)?.0), (0.5, 2.0), &[&[5, 2]]),
    ("matmul", |_, x| x[0].matmul(x[1]), (-1.0, 1.0), &[&[3, 4], &[4, 2]]),
    ("matmul of transposed views", |_, x| x[0].t()?.matmul(x[1].t()?), (-1.0, 1.0), &[&[4, 3], &[2, 4]]),
    ("matmul with itself", |_, x| x[0].matmul(x[0]), (-1.0, 1.0), &[&[3, 3]]),
    ("linear", |_, x| x[0].linear(x[1], x[2], false), (-1.0, 1.0), &[&[3, 4], &[2, 4], &[2]]),
    ("linear with relu", |_, x| x[0].linear(x[1], x[2], true), (0.1, 1.0), &[&[3, 4], &[2, 4], &[2]]),
    (
        "two layers, the mask carried by the product",
        |_, x| x[0].linear(x[1], x[2], true)?.linear(x[3], x[4], false),
        (0.1, 1.0),
        &[&[3, 4], &[5, 4], &[5], &[2, 5], &[2]],
    ),
    (
        "a hidden layer that is read twice",
        |_, x| {
            let hidden = x[0].linear(x[1], x[2], true)?;
            hidden.linear(x[3], x[4], false)?.add(hidden.sum_along(1, true)?)
        },
        (0.1, 1.0),
        &[&[3, 4], &[5, 4], &[5], &[2, 5], &[2]],
    ),
    ("matmul of a batch", |_, x| x[0].matmul(x[1]), (-1.0, 1.0), &[&[2, 3, 4], &[2, 4, 2]]),
    ("matmul of stretched batches", |_, x| x[0].matmul(x[1]), (-1.0, 1.0), &[&[2, 1, 3, 4], &[3, 4, 2]]),
    ("matmul of many rows", |_, x| x[0].matmul(x[1]), (-1.0, 1.0), &[&[2, 3, 4], &[4, 2]]),
    ("matmul of one matrix with a batch", |_, x| x[0].matmul(x[1]), (-1.0, 1.0), &[&[3, 4], &[2, 4, 2]]),
    ("matmul of a vector with a batch", |_, x| x[0].matmul(x[1]), (-1.0, 1.0), &[&[4], &[2, 4, 2]]),
    ("matmul of vectors", |_, x| x[0].matmul(x[1]), (-1.0, 1.0), &[&[4], &[4]]),
    ("linear of three axes", |_, x| x[0].linear(x[1], x[2], false), (-1.0, 1.0), &[&[2, 3, 4], &[5, 4], &[5]]),
    (
        "conv1d in groups, with strides",
        |_, x| {
            let settings = Convolution { stride: [2], padding: [2], dilation: [2], groups: 2 };
            x[0].conv1d(x[1], Some(x[2]), &settings)
        },
        (-1.0, 1.0),
        &[&[2, 4, 7], &[4, 2, 3], &[4]],
    ),
    ("conv2d", |_, x| x[0].conv2d(x[1], Some(x[2]), &PADDED), (-1.0, 1.0), &[&[2, 2, 4, 3], &[3, 2, 3, 2], &[3]]),
    ("conv2d without a bias", |_, x| x[0].conv2d(x[1], None, &PADDED), (-1.0, 1.0), &[&[1, 1, 4, 4], &[1, 1, 2, 2]]),
    (
        "conv3d",
        |_, x| x[0].conv3d(x[1], None, &Convolution { stride: [1, 2, 1], ..Convolution::default() }),
        (-1.0, 1.0),
        &[&[1, 2, 2, 4, 3], &[2, 2, 2, 2, 2]],
    ),
    (
        "conv_transpose2d",
        |_, x| {
            let settings = ConvolutionTranspose {
                stride: [2, 3],
                padding: [1, 0],
                output_padding: [1, 2],
                groups: 2,
                ..ConvolutionTranspose::default()
            };
            x[0].conv_transpose2d(x[1], Some(x[2]), &settings)
        },
        (-1.0, 1.0),
        &[&[2, 2, 2, 3], &[2, 2, 3, 2], &[4]],
    ),
    (
        "max_pool2d",
        |_, x| {
            let settings = MaxPooling { stride: [1, 2], padding: [1, 1], ..MaxPooling::new([2, 3]) };
            x[0].square()?.max_pool2d(&settings)
        },
        (0.1, 3.0),
        &[&[2, 3, 4]],
    ),
    ("max_pool1d", |_, x| x[0].square()?.max_pool1d(&MaxPooling::new([2])), (0.1, 3.0), &[&[3, 5]]),
    ("adaptive_max_pool2d", |_, x| x[0].square()?.adaptive_max_pool2d([2, 1]), (0.1, 3.0), &[&[2, 3, 2]]),
    (
        "avg_pool2d",
        |_, x| {
            let settings = AveragePooling { stride: [2, 1], padding: [1, 1], ..AveragePooling::new([3, 2]) };
            x[0].square()?.avg_pool2d(&AveragePooling { count_include_pad: false, ceil_mode: true, ..settings })
        },
        (-2.0, 2.0),
        &[&[2, 4, 3]],
    ),
    ("avg_pool1d", |_, x| x[0].square()?.avg_pool1d(&AveragePooling::new([2])), (-2.0, 2.0), &[&[3, 5]]),
    ("adaptive_avg_pool2d", |_, x| x[0].square()?.adaptive_avg_pool2d([2, 3]), (-2.0, 2.0), &[&[2, 3, 4]]),
    ("adaptive_avg_pool1d", |_, x| x[0].square()?.adaptive_avg_pool1d([1]), (-2.0, 2.0), &[&[2, 5]]),
    ("lp_pool2d", |_, x| x[0].lp_pool2d(3.0, [2, 2], [1, 2], true), (0.5, 2.0), &[&[2, 3, 5]]),
    ("lp_pool1d", |_, x| x[0].lp_pool1d(2.0, [3], None, false), (0.5, 2.0), &[&[2, 7]]),
    ("upsample_nearest1d", |_, x| x[0].square()?.upsample_nearest1d(&Resize::Factor([3.0])), (-2.0, 2.0), &[&[2, 3]]),
    ("upsample_nearest2d", |_, x| x[0].square()?.upsample_nearest2d(&Resize::Size([5, 2])), (-2.0, 2.0), &[&[2, 3, 4]]),
    (
        "upsample_bilinear2d",
        |_, x| x[0].square()?.upsample_bilinear2d(&Resize::Size([5, 2]), false),
        (-2.0, 2.0),
        &[&[2, 3, 4]],
    ),
    (
        "upsample_bilinear2d, corners aligned",
        |_, x| x[0].square()?.upsample_bilinear2d(&Resize::Factor([2.0, 1.5]), true),
        (-2.0, 2.0),
        &[&[2, 2, 3]],
    ),
    ("unfold2d", |_, x| x[0].square()?.unfold2d([3, 2], &PADDED), (-2.0, 2.0), &[&[1, 2, 4, 3]]),
    (
        "pixel_shuffle and back",
        |_, x| x[0].square()?.pixel_shuffle(2)?.square()?.pixel_unshuffle(2),
        (-2.0, 2.0),
        &[&[1, 4, 2, 3]],
    ),
    ("embedding", |_, x| x[0].square()?.embedding(&indices(x[0], &[2, 0, 2, 1])?, None), (-2.0, 2.0), &[&[3, 4]]),
    (
        "rnn_tanh_cell",
        |_, x| x[0].rnn_tanh_cell(x[1], x[2], x[3], Some(x[4]), None),
        (-1.0, 1.0),
        &[&[2, 3], &[2, 4], &[4, 3], &[4, 4], &[4]],
    ),
    (
        "rnn_relu_cell",
        |_, x| x[0].rnn_relu_cell(x[1], x[2], x[3], None, Some(x[4])),
        (0.1, 1.0),
        &[&[3], &[4], &[4, 3], &[4, 4], &[4]],
    ),
    (
        "gru_cell",
        |_, x| x[0].gru_cell(x[1], x[2], x[3], Some(x[4]), Some(x[5])),
        (-1.0, 1.0),
        &[&[2, 3], &[2, 2], &[6, 3], &[6, 2], &[6], &[6]],
    ),
    (
        "lstm_cell",
        |_, x| {
            let (hidden, cell) = x[0].lstm_cell((x[1], x[2]), x[3], x[4], Some(x[5]), Some(x[6]))?;
            hidden.mul(cell)?.add(cell)
        },
        (-1.0, 1.0),
        &[&[2, 3], &[2, 2], &[2, 2], &[8, 3], &[8, 2], &[8], &[8]],
    ),
    (
        "recurrent, LSTM",
        |_, x| x[0].recurrent(&Recurrent::new(Cell::Lstm), &[x[1], x[2]], x[3], Some(x[4])),
        (-1.0, 1.0),
        &[&[3, 2, 8], &[2, 2], &[2, 2], &[8, 2], &[8]],
    ),
    (
        "recurrent, LSTM whose states are one variable",
        |_, x| x[0].recurrent(&Recurrent::new(Cell::Lstm), &[x[1], x[1]], x[2], None),
        (-1.0, 1.0),
        &[&[2, 2, 8], &[2, 2], &[8, 2]],
    ),
    (
        "recurrent, GRU backwards with lengths",
        |_, x| {
            let lengths = Some(indices(x[0], &[3, 1])?);
            let settings = Recurrent { reverse: true, lengths, ..Recurrent::new(Cell::Gru) };
            x[0].recurrent(&settings, &[x[1]], x[2], Some(x[3]))
        },
        (-1.0, 1.0),
        &[&[3, 2, 6], &[2, 2], &[6, 2], &[6]],
    ),
    (
        "recurrent, LSTM with lengths",
        |_, x| {
            let settings = Recurrent { lengths: Some(indices(x[0], &[1, 3])?), ..Recurrent::new(Cell::Lstm) };
            x[0].recurrent(&settings, &[x[1], x[2]], x[3], Some(x[4]))
        },
        (-1.0, 1.0),
        &[&[3, 2, 8], &[2, 2], &[2, 2], &[8, 2], &[8]],
    ),
    (
        "recurrent, RNN backwards",
        |_, x| {
            let settings = Recurrent { reverse: true, ..Recurrent::new(Cell::RnnTanh) };
            x[0].recurrent(&settings, &[x[1]], x[2], Some(x[3]))
        },
        (-1.0, 1.0),
        &[&[3, 2, 3], &[2, 3], &[3, 3], &[3]],
    ),
    (
        "attention",
        |_, x| x[0].scaled_dot_product_attention(x[1], x[2], None, &Attention::default()),
        (-1.0, 1.0),
        &[&[2, 2, 3, 4], &[2, 2, 5, 4], &[2, 2, 5, 4]],
    ),
    (
        "attention, causal, with shared heads",
        |_, x| x[0].scaled_dot_product_attention(x[1], x[2], None, &Attention { scale: Some(0.8), causal: true }),
        (-1.0, 1.0),
        &[&[4, 5, 2], &[2, 6, 2], &[2, 6, 2]],
    ),
    (
        "attention with a mask that has a gradient",
        |_, x| x[0].scaled_dot_product_attention(x[1], x[1], Some(x[2]), &Attention::default()),
        (-1.0, 1.0),
        &[&[2, 3, 2], &[2, 4, 2], &[3, 4]],
    ),
    ("rotary", |_, x| x[0].square()?.rotary(&positions(x[0])?, &Rotary::default()), (-1.0, 1.0), &[&[2, 3, 4]]),
    (
        "rotary, interleaved",
        |_, x| x[0].square()?.rotary(&positions(x[0])?, &Rotary { interleaved: true, ..Rotary::default() }),
        (-1.0, 1.0),
        &[&[2, 3, 4]],
    ),
    ("cross_entropy", |_, x| x[0].cross_entropy(&indices(x[0], &[2, 0, 1])?), (-2.0, 2.0), &[&[3, 4]]),
    (
        "cross_entropy, scaled",
        |_, x| x[0].cross_entropy(&indices(x[0], &[2, 0, 1])?)?.affine(-3.0, 1.0),
        (-2.0, 2.0),
        &[&[3, 4]],
    ),
    ("cross_entropy_per_row", |_, x| x[0].cross_entropy_per_row(&indices(x[0], &[2, 0, 1])?), (-2.0, 2.0), &[&[3, 4]]),
    ("mse", |_, x| x[0].mse(&Tensor::full(x[0].value().device(), 0.25f32, &[3, 4])?), (-2.0, 2.0), &[&[3, 4]]),
];

/// Convolutions with a border.
const PADDED: Convolution<2> = Convolution { stride: [1, 1], padding: [1, 1], dilation: [1, 1], groups: 1 };

fn positions(of: Var<'_>) -> Result<Tensor> {
    Ok(Tensor::from_slice(of.value().device(), &[0.0f32, 1.5, 7.0], &[3])?)
}

/// All rows: those of losses, normalizations and linear algebra have their own file.
fn table() -> impl Iterator<Item = &'static Row> {
    TABLE.iter().chain(crate::losses::TABLE).chain(linalg::TABLE)
}

pub(crate) fn indices(of: Var<'_>, rows: &[u32]) -> Result<Tensor> {
    Ok(Tensor::from_slice(of.value().device(), rows, &[rows.len()])?)
}

/// Indices in two columns.
fn rows(of: Var<'_>, rows: &[u32]) -> Result<Tensor> {
    Ok(indices(of, rows)?.reshape(&[rows.len() / 2, 2])?)
}

/// The first two of three columns.
fn mask(of: Var<'_>) -> Result<Tensor> {
    Ok(Tensor::from_slice(of.value().device(), &[1f32, 1.0, 0.0], &[3])?)
}

fn inputs(device: &Device, (low, high): (f32, f32), shapes: &[&[usize]]) -> Vec<Tensor> {
    let draw = |(i, shape): (usize, &&[usize])| Tensor::uniform(device, 17, i as u64, low, high, shape).unwrap();
    shapes.iter().enumerate().map(draw).collect()
}

/// Each function of the table, and others, on all of its pieces.
#[test]
fn derivatives_of_every_element_wise_function() {
    for device in crate::common::devices() {
        for function in [1, 2, 3].into_iter().flat_map(crate::common::functions_of) {
            let reports = check_function(&device, function.function).unwrap();
            assert!(!reports.is_empty(), "{function:?} is not checked");
            for report in reports {
                assert!(report.is_right(), "{device}: {report}");
            }
        }
    }
}

functions! {
    /// x clamped, with the gradient that ignores the bounds.
    UNBOUNDED = unbounded(x; low, high) {
        wgsl: "return minimum(maximum(x, low), high);",
        twin: x.clamp(low, high),
        derivatives: [g],
        checks: [Check::over(-2.0, 2.0).numbers(&[-0.5, 0.7])],
    }

    /// |x|, with the gradient of positive numbers.
    ONE_SIDED = one_sided(x) {
        wgsl: "return abs(x);",
        twin: x.abs(),
        derivatives: [g],
        checks: [Check::over(-2.0, 2.0)],
    }

    /// x |x|, with the right gradient 2 |x| of a wrong gradient.
    WRONG_TWICE = wrong_twice(x) {
        wgsl: "return x * abs(x);",
        twin: x * x.abs(),
        derivatives: [MUL(g, WRONG_SLOPE(x))],
        checks: [Check::over(-2.0, 2.0)],
    }

    /// 2 |x|, with half of the gradient.
    WRONG_SLOPE = wrong_slope(x) {
        wgsl: "return 2.0 * abs(x);",
        twin: 2.0 * x.abs(),
        derivatives: [MUL(g, SIGN(x))],
    }
}

#[test]
fn a_gradient_that_is_wrong_on_a_piece_is_found() {
    let reports = |function| check_function(&Device::cpu(), function).unwrap();
    for function in [&UNBOUNDED, &ONE_SIDED] {
        let reports = reports(function);
        assert!(reports.len() == 1 && reports[0].first.relative_error > 0.1, "{}", reports[0]);
    }
    let wrong = &reports(&WRONG_TWICE)[0];
    assert!(wrong.first.relative_error < 1e-3 && wrong.second[0].relative_error > 0.05 && !wrong.is_right(), "{wrong}");
}

/// Derivatives far from the curved part of a function, where 1 - y² and similar forms lose their digits.
#[test]
fn derivatives_keep_their_digits_far_from_zero() {
    /// The exact derivative, in f64.
    type Exact = fn(f64) -> f64;
    let table: [(&'static functions::Elementwise, Exact, &[f32]); 3] = [
        (&functions::EXPM1, |x| x.exp(), &[-1e-3, -1.0, -10.0, -16.0, -18.0, -40.0, 3.0]),
        (
            &functions::TANH,
            |x| 4.0 * (-2.0 * x.abs()).exp() / (1.0 + (-2.0 * x.abs()).exp()).powi(2),
            &[0.0, 0.1, 1.0, -5.0, 9.0, 12.0, -30.0],
        ),
        (
            &functions::SIGMOID,
            |x| (-x.abs()).exp() / (1.0 + (-x.abs()).exp()).powi(2),
            &[0.0, -0.1, 1.0, -8.0, 15.0, 40.0, -60.0],
        ),
    ];
    for device in crate::common::devices() {
        for (function, exact, arguments) in table {
            let tape = Tape::new();
            let x = tape.input(&crate::common::tensor(&device, arguments, &[arguments.len()]));
            let gradients = tape.backward(x.apply(function, &[]).unwrap().sum().unwrap()).unwrap();
            for (got, &x) in crate::common::floats(gradients.get(x).unwrap()).into_iter().zip(arguments) {
                let expected = exact(f64::from(x));
                // Some ulps of 6e-8: an exponential has an error of two or three, and is squared.
                let error = (f64::from(got) - expected).abs() / expected;
                assert!(error < 6e-7, "{device}: {function:?} at {x}: {got:e}, not {expected:e}");
            }
        }
    }
}

/// The conventions of the table at kinks, ties and NaN: function, numbers, arguments, result, derivatives.
#[test]
fn conventions_hold() {
    use functions::*;
    let nan = f32::NAN;
    let infinity = f32::INFINITY;
    pub(crate) type Row = (&'static Elementwise, &'static [f32], Vec<f32>, f32, Vec<f32>);
    let table: Vec<Row> = vec![
        (&ABS, &[], vec![0.0], 0.0, vec![0.0]),
        (&ABS, &[], vec![nan], nan, vec![nan]),
        (&SIGN, &[], vec![nan], nan, vec![0.0]),
        (&SQRT, &[], vec![0.0], 0.0, vec![infinity]),
        (&SQRT, &[], vec![-1.0], nan, vec![nan]),
        (&RECIPROCAL, &[], vec![0.0], infinity, vec![-infinity]),
        (&CLAMP, &[-0.5, 0.5], vec![-0.5], -0.5, vec![1.0]),
        (&CLAMP, &[-0.5, 0.5], vec![0.5], 0.5, vec![1.0]),
        (&CLAMP, &[-0.5, 0.5], vec![nan], nan, vec![0.0]),
        (&CLAMP, &[0.5, -0.5], vec![0.0], -0.5, vec![0.0]),
        (&LOG, &[], vec![0.0], -infinity, vec![infinity]),
        (&LOG1P, &[], vec![-1.0], -infinity, vec![infinity]),
        (&POWF, &[0.0], vec![nan], 1.0, vec![0.0]),
        (&POWF, &[0.0], vec![0.0], 1.0, vec![0.0]),
        (&SIN, &[], vec![infinity], nan, vec![nan]),
        (&RELU, &[], vec![0.0], 0.0, vec![0.0]),
        (&RELU, &[], vec![nan], nan, vec![1.0]),
        (&LEAKY_RELU, &[0.25], vec![0.0], 0.0, vec![0.25]),
        (&LEAKY_RELU, &[0.25], vec![nan], nan, vec![0.25]),
        (&GELU, &[], vec![-infinity], 0.0, vec![nan]),
        (&GELU, &[], vec![infinity], infinity, vec![nan]),
        (&SILU, &[], vec![-infinity], nan, vec![nan]),
        (&DIV, &[], vec![0.0, 0.0], nan, vec![infinity, nan]),
        (&MAXIMUM, &[], vec![2.0, 2.0], 2.0, vec![0.5, 0.5]),
        (&MINIMUM, &[], vec![2.0, 2.0], 2.0, vec![0.5, 0.5]),
        (&MAXIMUM, &[], vec![nan, 2.0], nan, vec![0.0, 0.0]),
        (&MINIMUM, &[], vec![2.0, nan], nan, vec![0.0, 0.0]),
        (&POW, &[], vec![0.0, 0.0], 1.0, vec![0.0, 0.0]),
        (&POW, &[], vec![0.0, 2.0], 0.0, vec![0.0, 0.0]),
        (&LE, &[], vec![nan, nan], 0.0, vec![0.0, 0.0]),
    ];
    for device in crate::common::devices() {
        for (function, numbers, arguments, result, derivatives) in &table {
            let tape = Tape::new();
            let inputs: Vec<Var<'_>> =
                arguments.iter().map(|&x| tape.input(&Tensor::scalar(&device, x).unwrap())).collect();
            let y = inputs[0].apply_with(function, &inputs[1..], numbers).unwrap();
            let gradients = tape.backward(y).unwrap();
            let of = |x: &Var<'_>| gradients.get(*x).map_or(0.0, |gradient| crate::common::floats(gradient)[0]);
            let got: Vec<f32> = inputs.iter().map(of).collect();
            let same = |x: f32, y: f32| x == y || (x.is_nan() && y.is_nan());
            let holds = same(y.item().unwrap(), *result) && got.iter().zip(derivatives).all(|(x, y)| same(*x, *y));
            let value = y.item().unwrap();
            assert!(holds, "{device}: {function:?} of {arguments:?} is {value} with derivatives {got:?}");
        }
    }
}

#[test]
fn first_derivatives() {
    for device in crate::common::devices() {
        for (name, function, range, shapes) in table() {
            let inputs = inputs(&device, *range, shapes);
            let report = check_gradient(&GradientCheck::default(), &inputs, function).unwrap();
            assert!(report.relative_error < 1e-3, "{name} on {device}: {report}");
        }
    }
}

#[test]
fn second_derivatives() {
    // The gradient of the sum of squares, as a function of the first input: its own gradient is a Hessian-vector product.
    let devices = crate::common::devices();
    for (device, (name, function, range, shapes)) in
        devices.iter().flat_map(|device| table().map(move |row| (device, row)))
    {
        let inputs = inputs(device, *range, shapes);
        let report = check_gradient(&GradientCheck::default(), &inputs, |tape, x| {
            if !x[0].is_tracked() {
                // Differences need values only; the gradient itself needs a tape that tracks.
                let inner = Tape::new();
                let y: Vec<Var<'_>> = x.iter().map(|x| inner.input(&x.value())).collect();
                let first = inner.grad(function(&inner, &y)?.square()?.sum()?, &[y[0]])?[0];
                return Ok(tape.constant(&first.value()));
            }
            // Plus zero times the input: a gradient that does not depend on it then still has one, of zeros.
            tape.grad(function(tape, x)?.square()?.sum()?, &[x[0]])?[0].add(x[0].affine(0.0, 0.0)?)
        })
        .unwrap();
        assert!(report.relative_error < 3e-3, "{name} on {device}: {report}");
    }
}

/// Forward mode and reverse mode are transposes of each other: ⟨c, J t⟩ = ⟨Jᵀ c, t⟩.
fn hold_forward_mode(
    name: &str,
    device: &Device,
    inputs: &[Tensor],
    function: impl for<'t> Fn(&'t Tape, &[Var<'t>]) -> Result<Var<'t>>,
) {
    let draw = |seed, like: &Tensor| Tensor::uniform(device, seed, 0, -1.0, 1.0, like.shape()).unwrap();
    let tangents: Vec<Tensor> = (100..).zip(inputs).map(|(seed, input)| draw(seed, input)).collect();
    let (value, tangent) = jvp(inputs, &tangents, &function).unwrap();
    let cotangent = draw(99, &value);
    let (_, gradients) = vjp(inputs, &cotangent, &function).unwrap();
    let terms = |x: &Tensor, y: &Tensor| -> Vec<f64> {
        let (x, y) = (crate::common::floats(x), crate::common::floats(y));
        x.iter().zip(&y).map(|(&x, &y)| f64::from(x) * f64::from(y)).collect()
    };
    let forward = terms(&cotangent, &tangent);
    let reverse: Vec<f64> =
        gradients.iter().zip(&tangents).flat_map(|(gradient, tangent)| terms(gradient, tangent)).collect();
    let size: f64 = forward.iter().chain(&reverse).map(|term| term.abs()).sum();
    let difference = (forward.iter().sum::<f64>() - reverse.iter().sum::<f64>()).abs();
    assert!(difference <= 2e-5 * size, "{name} on {device}: differs by {difference:e} of {size:e}");
}

#[test]
fn forward_mode_of_every_operation() {
    for device in crate::common::devices() {
        for (name, function, range, shapes) in table() {
            hold_forward_mode(name, &device, &inputs(&device, *range, shapes), function);
        }
    }
}

#[test]
fn forward_mode_of_every_element_wise_function() {
    for device in crate::common::devices() {
        for function in [1, 2, 3].into_iter().flat_map(crate::common::functions_of) {
            for check in function.function.checks.iter().filter(|check| check.smooth_range().is_some()) {
                let shapes: Vec<&[usize]> =
                    [&[3, 4][..], &[4], &[3, 1]][..function.function.function.arguments.len()].to_vec();
                let inputs = inputs(&device, check.smooth_range().unwrap(), &shapes);
                hold_forward_mode(function.function.name(), &device, &inputs, |_, x| {
                    x[0].apply_with(function.function, &x[1..], check.own_numbers())
                });
            }
        }
    }
}

/// First and second derivatives where elements are zero: of a product, each is the product of the elements that are left.
#[test]
fn products_have_derivatives_at_zeros() {
    for elements in [[2.0f32, 0.0, 3.0, -1.5, 0.5], [0.0, 2.0, 0.0, 3.0, -1.5], [0.0, 0.0, 2.0, 0.0, 1.0]] {
        let left = |out: &[usize]| -> f32 {
            elements.iter().enumerate().filter(|(i, _)| !out.contains(i)).map(|(_, x)| x).product()
        };
        let first: Vec<f32> = (0..5).map(|i| left(&[i])).collect();
        for device in crate::common::devices() {
            let tape = Tape::new();
            let x = tape.input(&crate::common::tensor(&device, &elements, &[5, 1]));
            let y = x.prod_along(0, false).unwrap();
            let gradient = tape.grad(y.sum().unwrap(), &[x]).unwrap()[0];
            let plain = tape.backward(y.sum().unwrap()).unwrap();
            for got in [gradient.value(), plain.get(x).unwrap().clone()] {
                assert_eq!(crate::common::floats(&got), first, "{device}");
            }
            for i in 0..5 {
                let of_one = tape.grad(gradient.slice(0, i, i + 1).unwrap().sum().unwrap(), &[x]).unwrap()[0];
                let second: Vec<f32> = (0..5).map(|j| if i == j { 0.0 } else { left(&[i, j]) }).collect();
                assert_eq!(crate::common::floats(&of_one.value()), second, "{device}: row {i} of {elements:?}");
            }
        }
    }
}

/// Gradients where a formula would divide by zero or take infinity from infinity.
#[test]
fn gradients_of_reductions_at_their_kinks() {
    pub(crate) type Row = (&'static str, fn(Var<'_>) -> Result<Var<'_>>, [f32; 3], [f32; 3]);
    let (infinity, nan) = (f32::INFINITY, f32::NAN);
    let table: &[Row] = &[
        ("std of equal ones", |x| x.std(0.0), [0.1; 3], [0.0; 3]),
        ("norm of zeros, p = 1", |x| x.norm(1.0), [0.0; 3], [0.0; 3]),
        ("norm of zeros, p = 2", |x| x.norm(2.0), [0.0; 3], [0.0; 3]),
        ("norm of zeros, p = 3", |x| x.norm(3.0), [0.0; 3], [0.0; 3]),
        ("norm of zeros, p = 1.5", |x| x.norm(1.5), [0.0; 3], [0.0; 3]),
        ("norm of zeros, p = ∞", |x| x.norm(f32::INFINITY), [0.0; 3], [0.0; 3]),
        ("norm with a zero, p = 1.5", |x| x.norm(1.5), [0.0, 4.0, 0.0], [0.0, 1.0, 0.0]),
        ("norm with a zero, p = -1", |x| x.norm(-1.0), [0.0, 4.0, 0.0], [0.0; 3]),
        ("norm of equal ones, p = ∞", |x| x.norm(f32::INFINITY), [2.0, -2.0, 1.0], [0.5, -0.5, 0.0]),
        ("norm of huge ones", |x| x.norm(2.0), [0.0, -3e38, 0.0], [0.0, -1.0, 0.0]),
        ("logsumexp of nothing but -∞", |x| x.logsumexp_along(.., false), [-infinity; 3], [0.0; 3]),
        ("logsumexp with -∞", |x| x.logsumexp_along(.., false), [-infinity, 1e4, 1e4], [0.0, 0.5, 0.5]),
        ("logsumexp with ∞", |x| x.logsumexp_along(.., false), [infinity, 0.0, -infinity], [nan, 0.0, 0.0]),
        ("count_nonzero", |x| x.add(x.count_nonzero()?)?.sum(), [0.0, 1.0, nan], [1.0; 3]),
    ];
    for device in crate::common::devices() {
        for (name, function, elements, expected) in table {
            let tape = Tape::new();
            let x = tape.input(&crate::common::tensor(&device, elements, &[3]));
            let y = function(x).unwrap();
            let plain = tape.backward(y).unwrap();
            let graph = tape.grad(y, &[x]).unwrap()[0].value();
            for got in [plain.get(x).unwrap(), &graph] {
                let tolerance = crate::common::Tolerance::new(1e-6, 1e-6);
                crate::common::assert_close(
                    &format!("{name} on {device}"),
                    &crate::common::floats(got),
                    expected,
                    tolerance,
                );
            }
        }
    }
}

#[test]
fn a_broadcast_gradient_reaches_the_bias() {
    // The sum passes one number to all elements, a view with strides of 0.
    for device in crate::common::devices() {
        let tape = Tape::new();
        let draw = |seed, shape: &[usize]| Tensor::uniform(&device, seed, 0, -1.0, 1.0, shape).unwrap();
        let (x, weight) = (tape.constant(&draw(1, &[6, 4])), tape.input(&draw(2, &[70, 4])));
        let bias = tape.input(&draw(3, &[70]));
        let gradients = tape.backward(x.linear(weight, bias, false).unwrap().sum().unwrap()).unwrap();
        assert_eq!(crate::common::floats(gradients.get(bias).unwrap()), [6.0; 70], "{device}");
        let columns = crate::common::floats(&x.value().sum_along(0, true).unwrap());
        for row in crate::common::floats(gradients.get(weight).unwrap()).chunks(4) {
            assert!(row.iter().zip(&columns).all(|(a, b)| (a - b).abs() < 1e-5), "{device}: {row:?} {columns:?}");
        }
        let other = Tape::new();
        assert!(gradients.get(other.input(&draw(4, &[70]))).is_none());
    }
}
