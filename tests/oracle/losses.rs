//! Losses compared with the oracle (PyTorch): their values and their gradients.

use thalweg::autograd::{CrossEntropyOptions, Reduction, Result, Tape, Var};
use thalweg::tensor::Tensor;

use crate::common::oracle::Case;
use crate::gradients::attribute;
use crate::ops::{Kind, input, outcome};

/// The losses of additions, products and comparisons.
const ARITHMETIC: &[&str] = &[
    "mse_loss",
    "l1_loss",
    "huber_loss",
    "smooth_l1_loss",
    "hinge_loss",
    "hinge_embedding_loss",
    "multi_margin_loss",
    "margin_ranking_loss",
];

fn reduction(case: Case<'_>) -> Reduction {
    match case.text("attrs.reduction") {
        "none" => Reduction::None,
        "mean" => Reduction::Mean,
        "sum" => Reduction::Sum,
        "batchmean" => Reduction::BatchMean,
        other => panic!("no reduction {other}"),
    }
}

/// PyTorch's default of -100, which no class is, is another number that no class is.
fn ignored(case: Case<'_>) -> Option<u32> {
    case.get("attrs.ignore_index").as_i64().map(|index| index as u32)
}

fn classes(case: Case<'_>, x: Var<'_>) -> Tensor {
    let targets = case.array("in/1");
    let elements: Vec<u32> = targets.values.iter().map(|&class| class as i64 as u32).collect();
    Tensor::from_slice(x.value().device(), &elements, &targets.shape).unwrap()
}

fn apply<'t>(case: Case<'_>, x: &[Var<'t>]) -> Option<Result<Var<'t>>> {
    let number = |name: &str| attribute(case, name, f64::NAN);
    let third = || x.get(2).map(Var::value);
    let reduction = reduction(case);
    let options = || CrossEntropyOptions {
        weight: third(),
        ignore_index: ignored(case),
        label_smoothing: attribute(case, "label_smoothing", 0.0),
        reduction,
    };
    Some(match case.text("op") {
        "mse_loss" => x[0].mse_loss(x[1], reduction),
        "l1_loss" => x[0].l1_loss(x[1], reduction),
        "huber_loss" => x[0].huber_loss(x[1], reduction, number("delta")),
        "smooth_l1_loss" => x[0].smooth_l1_loss(x[1], reduction, number("beta")),
        "cross_entropy" | "cross_entropy_nd" => x[0].cross_entropy_with(&classes(case, x[0]), &options()),
        "cross_entropy_soft" => x[0].cross_entropy_soft(x[1], &options()),
        "nll_loss" => x[0].nll_loss(&classes(case, x[0]), third().as_ref(), ignored(case), reduction),
        "bce_loss" => x[0].binary_cross_entropy(x[1], None, reduction),
        "bce_with_logits" => x[0].binary_cross_entropy_with_logits(x[1], None, reduction, third().as_ref()),
        "kl_div" => x[0].kl_div(x[1], reduction, case.is("attrs.log_target")),
        "soft_margin_loss" => x[0].soft_margin_loss(x[1], reduction),
        "hinge_loss" => x[0].hinge_loss(x[1], reduction),
        "hinge_embedding_loss" => x[0].hinge_embedding_loss(x[1], number("margin"), reduction),
        "multi_margin_loss" => {
            x[0].multi_margin_loss(&classes(case, x[0]), number("p") as u32, number("margin"), None, reduction)
        }
        "cosine_embedding_loss" => x[0].cosine_embedding_loss(x[1], x[2], number("margin"), reduction),
        "margin_ranking_loss" => x[0].margin_ranking_loss(x[1], x[2], number("margin"), reduction),
        "triplet_margin_loss" => {
            let (margin, p, eps) = (number("margin"), number("p"), number("eps"));
            x[0].triplet_margin_loss(x[1], x[2], margin, p, eps, false, reduction)
        }
        "poisson_nll_loss" => {
            let (log_input, full) = (case.is("attrs.log_input"), case.is("attrs.full"));
            x[0].poisson_nll_loss(x[1], log_input, full, 1e-8, reduction)
        }
        "gaussian_nll_loss" => x[0].gaussian_nll_loss(x[1], x[2], false, number("eps"), reduction),
        _ => return None,
    })
}

#[test]
fn values() {
    crate::ops::hold("ops/losses", (107, 4), |device, case| {
        let tape = Tape::new();
        let count = (0..).take_while(|i| case.find(&format!("in/{i}")).is_some()).count();
        let inputs: Vec<Var<'_>> = (0..count).map(|i| tape.constant(&input(device, case, i))).collect();
        let kind = if ARITHMETIC.contains(&case.text("op")) { Kind::Arithmetic } else { Kind::Transcendental };
        Some(outcome(&apply(case, &inputs)?.unwrap().value(), kind))
    });
}

#[test]
fn gradients() {
    crate::gradients::hold("ops/losses", (106, 4), apply);
}
