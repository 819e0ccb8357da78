//! Methods that use parameters as matrices.

use super::*;

/// Some steps on both devices of a method that uses parameters as matrices: one page and several, clipped in all ways,
/// with groups of parameters; a skipped step changes nothing.
pub(super) fn hold_matrices(pair: &Pair, method: &dyn Method, tolerance: Tolerance) {
    let few: &[&[usize]] =
        &[&[17, 23], &[23], &[0, 4], &[9, 7], &[300, 5], &[], &[3, 4, 5], &[40, 33], &[1, 9], &[70, 1]];
    let large: &[&[usize]] = &[&[70_001], &[600, 130], &[5], &[12, 2100]];
    hold_shapes(pair, method, tolerance, &[(few, usize::MAX), (few, 2048), (large, usize::MAX)]);
}

/// Checks as [`hold_matrices`] does, with these shapes on pages of `page_elements` elements.
fn hold_shapes(pair: &Pair, method: &dyn Method, tolerance: Tolerance, cases: &[(&[&[usize]], usize)]) {
    for &(shapes, page_elements) in cases {
        let shapes: Vec<Vec<usize>> = shapes.iter().map(|shape| shape.to_vec()).collect();
        for (clip, is_apart) in
            [(Clip::Off, false), (Clip::Norm(1.0), true), (Clip::Norm(1e9), false), (Clip::Value(0.3), true)]
        {
            let what = format!("{method:?}, pages of {page_elements}, {clip:?}, set apart: {is_apart}");
            let run = |device: &Device| {
                let mut run = Run::new(device, method, &shapes, page_elements);
                for (arena, wanted) in run.state.iter_mut().zip(method.state(&shapes)) {
                    if let Some(shapes) = wanted.shapes() {
                        *arena = Arena::with_page_size(device, shapes, page_elements).unwrap();
                    }
                }
                if is_apart {
                    run.set_apart();
                }
                let frozen = run.frozen();
                for t in 0..STEPS {
                    write(&run.grads, 2 + t as u64);
                    if t == 3 && matches!(clip, Clip::Norm(_)) {
                        let before = run.pages();
                        run.grads
                            .get(3)
                            .slice(0, 0, 1)
                            .unwrap()
                            .write(&vec![f32::NAN; run.grads.get(3).shape()[1..].iter().product()])
                            .unwrap();
                        run.step(method, clip);
                        crate::common::assert_same_bits(&format!("{what}, skipped"), &run.pages(), &before);
                        continue;
                    }
                    run.step(method, clip);
                }
                run.assert_padding_is_zero(&what);
                assert_eq!(run.frozen() == frozen, is_apart, "{what}: only frozen parameters keep their values");
                run.pages()
            };
            let (expected, got) = (run(&pair.cpu), run(&pair.gpu));
            assert!(expected.iter().all(|x| x.is_finite()), "{what}");
            crate::common::assert_close(&what, &got, &expected, tolerance);
        }
    }
}

/// The power of the step differs in the last bits.
const FACTORED: Tolerance = Tolerance::new(4e-6, 4e-6);

const ADAFACTOR: Adafactor = Adafactor::new().beta2_decay(-0.8).eps((1e-7, 1e-3)).d(1.0).weight_decay(0.0);

pub(crate) fn adafactor_sums(pair: &Pair) {
    hold_matrices(pair, &ADAFACTOR, FACTORED);
}

pub(crate) fn adafactor_factors(pair: &Pair) {
    hold_matrices(pair, &ADAFACTOR.beta2_decay(-0.5).eps((1e-3, 0.1)), FACTORED);
}

pub(crate) fn adafactor_squares(pair: &Pair) {
    hold_matrices(pair, &ADAFACTOR.d(1.1).maximize(true), FACTORED);
}

pub(crate) fn adafactor_apply(pair: &Pair) {
    hold_matrices(pair, &ADAFACTOR.d(2.0).weight_decay(0.1), FACTORED);
}

pub(crate) fn sm3_step(pair: &Pair) {
    hold_matrices(pair, &Sm3::new().momentum(0.9).eps(1e-8), tolerance(pair));
}

pub(crate) fn sm3_commit(pair: &Pair) {
    hold_matrices(pair, &Sm3::new().momentum(0.0).eps(1e-3).maximize(true), tolerance(pair));
}

/// Products are summed in another order on the CPU, and eigenvectors amplify the difference. In a direction in which
/// the first gradients are only rounding, the basis is undetermined. So the sides with a basis are much shorter than
/// the others here.
fn hold_rotated(pair: &Pair, update: &Soap) {
    let few: &[&[usize]] = &[&[40, 12], &[23], &[7, 30], &[20, 5], &[3, 2, 9], &[12, 41], &[], &[1, 50]];
    let large: &[&[usize]] = &[&[200, 33], &[5], &[33, 300], &[2, 100]];
    let tolerance = Tolerance::new(1e-3, 1e-3);
    let with = |max_precondition_dim| update.eps(1e-2).max_precondition_dim(max_precondition_dim);
    hold_shapes(pair, &with(12), tolerance, &[(few, usize::MAX), (few, 2048)]);
    hold_shapes(pair, &with(33), tolerance, &[(large, usize::MAX)]);
}

/// First without bases: then everything is element-wise.
const SOAP: Soap = Soap::new()
    .betas((0.9, 0.95))
    .shampoo_beta(Some(0.95))
    .eps(1e-8)
    .weight_decay(0.1)
    .precondition_frequency(2)
    .max_precondition_dim(0);

pub(crate) fn soap_moments(pair: &Pair) {
    hold_matrices(pair, &SOAP, tolerance(pair));
}

pub(crate) fn soap_apply(pair: &Pair) {
    hold_matrices(pair, &SOAP.betas((0.0, 0.0)).weight_decay(0.0), tolerance(pair));
}

pub(crate) fn soap_normalize(pair: &Pair) {
    hold_rotated(pair, &SOAP.precondition_frequency(100));
}

pub(crate) fn soap_average(pair: &Pair) {
    hold_rotated(pair, &SOAP.shampoo_beta(Some(0.5)));
}

pub(crate) fn soap_basis(pair: &Pair) {
    hold_rotated(pair, &SOAP.precondition_frequency(1));
}

/// Products are summed in another order on the CPU, and an orthogonal factor amplifies the difference.
const ORTHOGONAL: Tolerance = Tolerance::new(2e-4, 1e-4);

const MUON: Muon = Muon::new()
    .momentum(0.9)
    .nesterov(true)
    .weight_decay(0.1)
    .ns_coefficients((3.4445, -4.775, 2.0315))
    .ns_steps(5)
    .eps(1e-7)
    .adjust_lr(MuonScale::Original)
    .adamw_rate(0.5)
    .adamw_betas((0.9, 0.99))
    .adamw_eps(1e-8);

pub(crate) fn muon_momentum(pair: &Pair) {
    let scale = MuonScale::OriginalTransposed;
    hold_matrices(pair, &MUON.bias_correction(true).ns_steps(1).adjust_lr(scale), ORTHOGONAL);
}

pub(crate) fn muon_normalize(pair: &Pair) {
    hold_matrices(pair, &MUON.nesterov(false).ns_steps(1), ORTHOGONAL);
}

pub(crate) fn muon_polynomial(pair: &Pair) {
    hold_matrices(pair, &MUON, ORTHOGONAL);
}

pub(crate) fn muon_apply(pair: &Pair) {
    let scale = MuonScale::MatchRmsAdamw;
    hold_matrices(pair, &MUON.nesterov(false).ns_steps(2).adjust_lr(scale), ORTHOGONAL);
}
