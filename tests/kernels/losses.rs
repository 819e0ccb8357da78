//! Losses and normalizations of channels: their rows in the checks of gradients, their functions, and their conventions.

use thalweg::autograd::{CrossEntropyOptions, Reduction, Result, Tape, Var, check_function, loss_functions};
use thalweg::tensor::{Device, Tensor};

use crate::common::{Tolerance, assert_close, assert_same_bits, devices, floats, numbers, tensor};
use crate::gradcheck::{Row, indices};

const NONE: Reduction = Reduction::None;
const MEAN: Reduction = Reduction::Mean;

/// Weights of four classes, the number 2 ignored, and smoothing.
fn options(of: Var<'_>, reduction: Reduction) -> CrossEntropyOptions {
    let weight = tensor(of.value().device(), &[0.5, 2.0, 1.0, 0.25], &[4]);
    CrossEntropyOptions { weight: Some(weight), ignore_index: Some(2), label_smoothing: 0.1, reduction }
}

/// 1 and -1 in turn.
fn signs<'t>(of: Var<'t>, shape: &[usize]) -> Var<'t> {
    let elements: Vec<f32> =
        (0..shape.iter().product()).map(|i: usize| if i.is_multiple_of(2) { 1.0 } else { -1.0 }).collect();
    of.tape().constant(&tensor(of.value().device(), &elements, shape))
}

/// Rows of the checks of gradients.
pub(crate) const TABLE: &[Row] = &[
    ("mse_loss", |_, x| x[0].mse_loss(x[1], MEAN), (-2.0, 2.0), &[&[3, 4], &[3, 4]]),
    ("l1_loss", |_, x| x[0].l1_loss(x[1].affine(1.0, 3.0)?, NONE), (-1.0, 1.0), &[&[3, 4], &[3, 4]]),
    ("huber_loss", |_, x| x[0].huber_loss(x[1], MEAN, 5.0), (-2.0, 2.0), &[&[3, 4], &[3, 4]]),
    ("smooth_l1_loss", |_, x| x[0].smooth_l1_loss(x[1], NONE, 5.0), (-2.0, 2.0), &[&[3, 4], &[3, 4]]),
    (
        "quantile_loss",
        |_, x| x[0].square()?.quantile_loss(x[1].affine(1.0, 9.0)?, 0.9, MEAN),
        (-1.0, 1.0),
        &[&[3], &[3]],
    ),
    ("poisson_nll_loss", |_, x| x[0].poisson_nll_loss(x[1], true, false, 0.0, MEAN), (-1.0, 1.0), &[&[5], &[5]]),
    (
        "poisson_nll_loss of rates",
        |_, x| x[0].poisson_nll_loss(x[1], false, true, 1e-3, NONE),
        (1.2, 2.5),
        &[&[5], &[5]],
    ),
    (
        "gaussian_nll_loss",
        |_, x| x[0].gaussian_nll_loss(x[1], x[2], true, 1e-3, NONE),
        (0.7, 2.0),
        &[&[3, 2], &[3, 2], &[3]],
    ),
    ("kl_div", |_, x| x[0].kl_div(x[1], Reduction::BatchMean, false), (0.3, 2.0), &[&[3, 4], &[3, 4]]),
    ("kl_div of logarithms", |_, x| x[0].kl_div(x[1], NONE, true), (-1.0, 1.0), &[&[3, 4], &[3, 4]]),
    (
        "binary_cross_entropy",
        |_, x| x[0].binary_cross_entropy(x[1], Some(&Tensor::scalar(x[0].value().device(), 0.5f32)?), NONE),
        (0.3, 0.7),
        &[&[3, 4], &[3, 4]],
    ),
    (
        "binary_cross_entropy_with_logits",
        |_, x| x[0].binary_cross_entropy_with_logits(x[1], None, NONE, None),
        (0.1, 0.9),
        &[&[3, 4], &[3, 4]],
    ),
    (
        "binary_cross_entropy_with_logits, weighted",
        |_, x| {
            let weight = tensor(x[0].value().device(), &[0.5, 1.0, 2.0, 3.0], &[4]);
            x[0].binary_cross_entropy_with_logits(x[1], Some(&weight), MEAN, Some(&weight))
        },
        (0.1, 0.9),
        &[&[3, 4], &[3, 4]],
    ),
    ("sigmoid_focal_loss", |_, x| x[0].sigmoid_focal_loss(x[1], 0.25, 2.0, NONE), (0.1, 0.9), &[&[3, 4], &[3, 4]]),
    ("hinge_loss", |_, x| x[0].hinge_loss(x[1], NONE), (-0.9, 0.9), &[&[5], &[5]]),
    (
        "hinge_embedding_loss",
        |_, x| x[0].square()?.hinge_embedding_loss(signs(x[0], &[6]), 2.0, NONE),
        (-1.0, 1.0),
        &[&[6]],
    ),
    ("soft_margin_loss", |_, x| x[0].soft_margin_loss(x[1], NONE), (-1.0, 1.0), &[&[5], &[5]]),
    (
        "margin_ranking_loss",
        |_, x| x[0].square()?.margin_ranking_loss(x[1], signs(x[0], &[6]), 5.0, MEAN),
        (-1.0, 1.0),
        &[&[6], &[6]],
    ),
    (
        "cosine_embedding_loss",
        |_, x| x[0].cosine_embedding_loss(x[1], signs(x[0], &[4]), 0.1, NONE),
        (0.3, 2.0),
        &[&[4, 3], &[4, 3]],
    ),
    (
        "triplet_margin_loss",
        |_, x| x[0].triplet_margin_loss(x[1].affine(1.0, 2.0)?, x[2].affine(1.0, -2.0)?, 3.0, 2.0, 1e-6, false, NONE),
        (-0.5, 0.5),
        &[&[3, 4], &[3, 4], &[3, 4]],
    ),
    (
        "triplet_margin_loss with swap, p = 3",
        |_, x| x[0].triplet_margin_loss(x[1].affine(1.0, 4.0)?, x[2].affine(1.0, 2.0)?, 1.0, 3.0, 1e-6, true, MEAN),
        (-0.5, 0.5),
        &[&[3, 4], &[3, 4], &[3, 4]],
    ),
    (
        "cross_entropy_with, along axis 1",
        |_, x| x[0].cross_entropy_with(&indices(x[0], &[2, 0, 1, 3])?.reshape(&[2, 2])?, &options(x[0], NONE)),
        (-2.0, 2.0),
        &[&[2, 4, 2]],
    ),
    (
        "cross_entropy_with, mean",
        |_, x| x[0].cross_entropy_with(&indices(x[0], &[2, 0, 1])?, &options(x[0], MEAN)),
        (-2.0, 2.0),
        &[&[3, 4]],
    ),
    (
        "cross_entropy_soft",
        |_, x| {
            let options = CrossEntropyOptions { ignore_index: None, ..options(x[0], MEAN) };
            x[0].cross_entropy_soft(x[1], &options)
        },
        (0.1, 1.0),
        &[&[2, 4, 3], &[2, 4, 3]],
    ),
    (
        "nll_loss",
        |_, x| {
            let weight = tensor(x[0].value().device(), &[0.5, 2.0, 1.0, 0.25], &[4]);
            x[0].square()?.nll_loss(&indices(x[0], &[2, 0, 1])?, Some(&weight), Some(0), MEAN)
        },
        (-2.0, 2.0),
        &[&[3, 4]],
    ),
    ("focal_loss", |_, x| x[0].focal_loss(&indices(x[0], &[2, 0, 1])?, 2.0, None, NONE), (-1.0, 1.0), &[&[3, 4]]),
    (
        "multi_margin_loss",
        |_, x| x[0].multi_margin_loss(&indices(x[0], &[2, 0, 1])?, 2, 3.0, None, NONE),
        (-1.0, 1.0),
        &[&[3, 4]],
    ),
    (
        "batch_norm",
        |_, x| x[0].batch_norm(None, None, Some(x[1]), Some(x[2]), true, 0.1, 1e-2),
        (-2.0, 2.0),
        &[&[3, 2, 4], &[2], &[2]],
    ),
    (
        "batch_norm at prediction",
        |_, x| {
            let statistics = tensor(x[0].value().device(), &[0.5, 2.0], &[2]);
            x[0].square()?.batch_norm(Some(&statistics), Some(&statistics), Some(x[1]), None, false, 0.1, 1e-2)
        },
        (-2.0, 2.0),
        &[&[3, 2], &[2]],
    ),
    ("group_norm", |_, x| x[0].group_norm(2, Some(x[1]), Some(x[2]), 1e-2), (-2.0, 2.0), &[&[2, 4, 3], &[4], &[4]]),
    ("instance_norm", |_, x| x[0].instance_norm(Some(x[1]), None, 1e-2), (-2.0, 2.0), &[&[2, 3, 2, 2], &[3]]),
];

#[test]
fn the_functions_of_losses_are_the_same_on_every_device_and_have_right_derivatives() {
    let mut wrong = String::new();
    for device in devices() {
        for function in loss_functions() {
            let report = function.check_parity(&device).unwrap();
            if !report.agrees() {
                wrong += &format!("{device}: {report}\n");
            }
            for report in check_function(&device, function).unwrap() {
                if !report.is_right() {
                    wrong += &format!("{device}: {report}\n");
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The plain mean is the fused one, on one launch; a class that has a weight of 1 or a target that no row has changes
/// nothing but rounding.
#[test]
fn the_plain_mean_of_cross_entropies_keeps_its_bits() {
    for device in devices() {
        let x = tensor(&device, &numbers(1, 7 * 5, -3.0, 3.0), &[7, 5]);
        let classes = Tensor::from_slice(&device, &[0u32, 4, 2, 2, 1, 3, 0], &[7]).unwrap();
        let loss = |options: &CrossEntropyOptions| {
            let tape = Tape::new();
            let x = tape.input(&x);
            let y = x.cross_entropy_with(&classes, options).unwrap();
            let gradients = tape.backward(y).unwrap();
            (floats(&y.value()), floats(gradients.get(x).unwrap()))
        };
        let (mean, gradient) = loss(&CrossEntropyOptions::default());
        let (fused, slopes) = x.cross_entropy_mean(&classes, None).unwrap();
        assert_same_bits("mean", &mean, &floats(&fused));
        assert_same_bits("gradient", &gradient, &floats(&slopes));
        let ones = Some(Tensor::full(&device, 1f32, &[5]).unwrap());
        let settings = [
            CrossEntropyOptions { weight: ones, ..CrossEntropyOptions::default() },
            CrossEntropyOptions { ignore_index: Some(255), ..CrossEntropyOptions::default() },
        ];
        for options in settings {
            let (other, other_gradient) = loss(&options);
            let close = Tolerance::new(1e-7, 1e-6);
            assert_close(&format!("{options:?} on {device}"), &other, &mean, close);
            assert_close(&format!("{options:?} on {device}, gradient"), &other_gradient, &gradient, close);
        }
        let tape = Tape::new();
        let variable = tape.input(&x);
        let run = || {
            let tape = Tape::new();
            tape.input(&x).cross_entropy_with(&classes, &CrossEntropyOptions::default()).map(|y| y.value())
        };
        assert_eq!(device.record(run).unwrap().0.launches(), 1, "{device}");
        // A row alone, and no rows at all.
        let row = variable.select(0, 1).unwrap();
        let class = classes.slice(0, 1, 2).unwrap().reshape(&[]).unwrap();
        let alone = row.cross_entropy_with(&class, &CrossEntropyOptions::default()).unwrap();
        let per_row = variable.cross_entropy_per_row(&classes).unwrap();
        assert_close(
            "a row alone",
            &floats(&alone.value()),
            &floats(&per_row.value())[1..2],
            Tolerance::new(0.0, 1e-6),
        );
        let sum = CrossEntropyOptions { reduction: Reduction::Sum, label_smoothing: 0.5, ..options(variable, NONE) };
        let nothing = variable.slice(0, 0, 0).unwrap().slice(1, 0, 4).unwrap();
        let empty = nothing.cross_entropy_with(&classes.slice(0, 0, 0).unwrap(), &sum).unwrap();
        assert_eq!(empty.item().unwrap(), 0.0, "{device}");
    }
}

/// Targets that are no classes, ignored ones among them.
#[test]
fn a_target_that_is_no_class_is_nan_unless_it_is_ignored() {
    for device in devices() {
        let tape = Tape::new();
        let x = tape.input(&tensor(&device, &numbers(2, 8, -1.0, 1.0), &[2, 4]));
        let targets = Tensor::from_slice(&device, &[255u32, 1], &[2]).unwrap();
        let options = |ignore_index| CrossEntropyOptions { ignore_index, label_smoothing: 0.1, ..Default::default() };
        let results = |ignored: Option<u32>| -> Result<[f32; 3]> {
            let loss = x.cross_entropy_with(&targets, &options(ignored))?;
            let likelihood = x.log_softmax(-1)?.nll_loss(&targets, None, ignored, MEAN)?;
            Ok([loss.item()?, likelihood.item()?, x.multi_margin_loss(&targets, 1, 1.0, None, MEAN)?.item()?])
        };
        assert!(results(None).unwrap().iter().all(|loss| loss.is_nan()), "{device}");
        let [loss, likelihood, margin] = results(Some(255)).unwrap();
        assert!(loss.is_finite() && likelihood.is_finite() && margin.is_nan(), "{device}");
        let second = x.slice(0, 1, 2).unwrap().cross_entropy(&targets.slice(0, 1, 2).unwrap()).unwrap();
        assert!((likelihood - second.item().unwrap()).abs() < 1e-6, "{device}");
        let gradients = tape.backward(x.cross_entropy_with(&targets, &options(Some(255))).unwrap()).unwrap();
        let gradient = floats(gradients.get(x).unwrap());
        assert!(gradient[..4] == [0.0; 4] && gradient[4..].iter().all(|g| *g != 0.0), "{device}: {gradient:?}");
    }
}

/// The numbers of logits for which a formula would overflow or lose all digits, and the limits of focal losses.
#[test]
fn losses_of_logits_are_exact_far_from_zero() {
    for device in devices() {
        let tape = Tape::new();
        let x = tape.input(&tensor(&device, &[-80.0, 80.0, 3e38, -3e38], &[4]));
        let y = tape.constant(&tensor(&device, &[0.0, 1.0, 1.0, 0.0], &[4]));
        let losses = x.binary_cross_entropy_with_logits(y, None, NONE, None).unwrap();
        let gradient = tape.backward(losses.sum().unwrap()).unwrap();
        let small = (-80f32).exp();
        let close = Tolerance::new(0.0, 1e-6);
        assert_close(&format!("losses on {device}"), &floats(&losses.value()), &[small, small, 0.0, 0.0], close);
        assert_close("gradient", &floats(gradient.get(x).unwrap()), &[small, -small, 0.0, 0.0], close);
        // A class that is certain has a focal loss of 0, and a slope of 0, for any gamma.
        let logits = tape.input(&tensor(&device, &[200.0, 0.0], &[1, 2]));
        for gamma in [0.0, 0.5, 1.0, 2.0] {
            let loss = logits.focal_loss(&Tensor::full(&device, 0u32, &[1]).unwrap(), gamma, None, MEAN).unwrap();
            let gradient = tape.backward(loss).unwrap();
            assert_eq!((loss.item().unwrap(), floats(gradient.get(logits).unwrap())), (0.0, vec![0.0; 2]), "{device}");
        }
        let entropy = x.binary_cross_entropy_with_logits(y, None, MEAN, None).unwrap();
        let focal = x.sigmoid_focal_loss(y, -1.0, 0.0, MEAN).unwrap();
        assert_eq!(entropy.item().unwrap(), focal.item().unwrap(), "{device}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let device = Device::cpu();
    let tape = Tape::new();
    let x = tape.input(&tensor(&device, &[0.5; 12], &[3, 4]));
    let other = tape.constant(&tensor(&device, &[0.5; 4], &[4]));
    let classes = Tensor::full(&device, 0u32, &[4]).unwrap();
    let refused: [(Result<Var<'_>>, &str); 9] = [
        (x.l1_loss(other, MEAN), "one shape"),
        (x.huber_loss(x, MEAN, 0.0), "delta = 0"),
        (x.smooth_l1_loss(x, MEAN, f32::NAN), "beta = NaN"),
        (x.quantile_loss(x, 1.5, MEAN), "tau = 1.5"),
        (x.cross_entropy_with(&classes, &CrossEntropyOptions::default()), "[n, classes, …]"),
        (x.cross_entropy_soft(x, &options(x, MEAN)), "ignore_index = 2"),
        (x.multi_margin_loss(&classes, 3, 1.0, None, MEAN), "p = 3"),
        (other.binary_cross_entropy(other, Some(&x.value()), MEAN), "must broadcast to the input"),
        (x.cosine_embedding_loss(x, other, 0.0, MEAN), "a target for each vector"),
    ];
    for (result, rule) in refused {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(rule), "{message}");
    }
}

/// The running statistics move on the device, also in a replayed step.
#[test]
fn running_statistics_move_in_a_replay() {
    for device in devices() {
        let x = tensor(&device, &numbers(3, 6 * 2, -3.0, 3.0), &[6, 2]);
        let run = |recorded: bool| {
            let [mean, var] = [0f32, 1.0].map(|value| Tensor::full(&device, value, &[2]).unwrap());
            let step = || {
                let tape = Tape::new();
                let y = tape.input(&x).batch_norm(Some(&mean), Some(&var), None, None, true, 0.3, 1e-5)?;
                tape.backward(y.square()?.sum()?).map(|_| ())
            };
            if recorded {
                device.record(step).unwrap().0.replay(2).unwrap();
            } else {
                (0..3).for_each(|_| step().unwrap());
            }
            [floats(&mean), floats(&var)].concat()
        };
        let (eager, replayed) = (run(false), run(true));
        assert_same_bits(&format!("{device}"), &replayed, &eager);
        assert!(eager[0] != 0.0 && eager[2] != 1.0, "{eager:?}");
    }
}
