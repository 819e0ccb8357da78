//! The rows of the gradient checks, an operation each.

use thalweg::autograd::{Result, Var};
use thalweg::tensor::{Attention, AveragePooling, Cell, Convolution, ConvolutionTranspose, Indexing, MaxPooling};
use thalweg::tensor::{PadMode, Recurrent, Resize, Rotary, Tensor};

use super::Row;

/// Element-wise functions are here only with broadcasting or repeated use.
pub(super) const TABLE: &[Row] = &[
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
