//! Every kernel on the GPU compared with its twin on the CPU, through the public operations: sizes around a
//! workgroup's, views, special values, grids that fold, and random shapes.

mod attention;
mod elementwise;
mod halves;
mod index;
mod linalg;
mod norms;
mod optim;
mod pages;
mod products;
mod random;
mod rearrange;
mod recurrent;
mod reductions;
mod rows;
mod scan;
mod shapes;
mod windows;

use std::collections::BTreeSet;

use crate::common::Tolerance;
use thalweg::nn::{METHODS, kernels};
use thalweg::tensor::{DType, Device, Kernel, Tensor};

/// Numbers of elements: none, one, around a vector's, a wave's and a workgroup's, and a prime.
const SIZES: [usize; 13] = [0, 1, 3, 4, 5, 63, 64, 65, 255, 256, 257, 512, 1009];

/// More than 65,535 workgroups, the maximum of one dimension of a launch, so that the grid folds.
const FOLDED: usize = 65_535 + 66;

/// Declares a test for each kernel, with its name. `every_kernel_has_its_test` finds missing ones.
macro_rules! kernels {
    ($($kernel:ident: $test:path;)*) => {
        const COVERED: &[&str] = &[$(stringify!($kernel)),*];

        $(
            #[test]
            fn $kernel() {
                if let Some(pair) = Pair::open() {
                    $test(&pair);
                }
            }
        )*
    };
}

kernels! {
    advance: rows::advance;
    adabelief: optim::adabelief;
    adadelta: optim::adadelta;
    adafactor_apply: optim::adafactor_apply;
    adafactor_factors: optim::adafactor_factors;
    adafactor_squares: optim::adafactor_squares;
    adafactor_sums: optim::adafactor_sums;
    adagrad: optim::adagrad;
    adam: optim::adam;
    adamax: optim::adamax;
    adamw8bit: optim::adamw8bit;
    adan: optim::adan;
    amsgrad: optim::amsgrad;
    adaptive_clip: norms::adaptive_clip;
    argmax: reductions::argmax;
    asgd: optim::asgd;
    attention: attention::attention;
    attention_key_grad: attention::attention_grads;
    attention_query_grad: attention::attention_grads;
    average: pages::average;
    batch: rows::batch;
    batched_matmul: products::batched_matmul;
    cautious_scale: norms::cautious_scale;
    class_weights: rows::class_weights;
    cholesky: linalg::cholesky;
    clock: optim::clock;
    copy: elementwise::copy;
    copy_halves: halves::copy;
    copy_roof: elementwise::copy_roof;
    cross_entropy: rows::cross_entropy;
    cross_entropy_mean: rows::cross_entropy_mean;
    cumsum_columns: reductions::cumsum_columns;
    cumsum_rows: reductions::cumsum_rows;
    dropout: random::dropout;
    eigh: linalg::eigh;
    fill: elementwise::fill;
    fill_halves: halves::fill;
    gather_matmul: products::gather_matmul;
    gather: index::gather;
    gather_rows: rows::gather_rows;
    grad_norm: optim::grad_norm;
    lamb: norms::lamb;
    lamb_moments: norms::lamb_moments;
    lars: norms::lars;
    linear: products::linear;
    linear_input_grad: products::linear_input_grad;
    linear_weight_grad: products::linear_weight_grad;
    hessian: optim::hessian;
    lion: optim::lion;
    lookahead: pages::lookahead;
    lu: linalg::lu;
    matmul: products::matmul;
    momentum: optim::momentum;
    mse: rows::mse;
    mse_mean: rows::mse_mean;
    multinomial: random::multinomial;
    muon_apply: optim::muon_apply;
    muon_momentum: optim::muon_momentum;
    muon_normalize: optim::muon_normalize;
    muon_polynomial: optim::muon_polynomial;
    nadam: optim::nadam;
    novograd: norms::novograd;
    novograd_moment: norms::novograd_moment;
    one_hot: rearrange::one_hot;
    parameter_norms: norms::parameter_norms;
    prodigy: optim::prodigy;
    prodigy_estimate: optim::prodigy_estimate;
    prodigy_sums: optim::prodigy_sums;
    qr: linalg::qr;
    radam: optim::radam;
    random: random::random;
    record_value: rows::record_value;
    recurrent_step: recurrent::step;
    recurrent_step_grad: recurrent::step_grad;
    reduce_columns: reductions::reduce_columns;
    reduce_rows: reductions::reduce_rows;
    remap: rearrange::remap;
    remap_halves: rearrange::remap_halves;
    rmsprop: optim::rmsprop;
    rprop: optim::rprop;
    scale: pages::scale;
    scale_rows: norms::scale_rows;
    scan: scan::scan;
    scan_extremes: scan::scan_extremes;
    scatter: index::scatter;
    scatter_add: index::scatter_add;
    scatter_keys: index::scatter_sorted;
    scatter_winners: index::scatter;
    segment_sums: rows::scatter_add_rows;
    schedule_free_adamw: optim::schedule_free_adamw;
    schedule_free_sgd: optim::schedule_free_sgd;
    sample_classes: random::sample_classes;
    sample_normal: random::sample_normal;
    sgd: optim::sgd;
    sharpness_ascent: pages::sharpness;
    sharpness_norm: pages::sharpness;
    sharpness_scale: pages::sharpness;
    sm3_commit: optim::sm3_commit;
    sm3_step: optim::sm3_step;
    soap_apply: optim::soap_apply;
    soap_average: optim::soap_average;
    soap_basis: optim::soap_basis;
    soap_moments: optim::soap_moments;
    soap_normalize: optim::soap_normalize;
    solve_triangular: linalg::solve_triangular;
    sophia: optim::sophia;
    softmax: rows::softmax;
    sort_blocks: index::sort_blocks;
    sort_merge: index::sort_merge;
    sorted_place: index::median;
    svd: linalg::svd;
    swap_in: pages::swap_in;
    statistics: norms::statistics;
    tensor_clip: norms::tensor_clip;
    tensor_norms: norms::tensor_norms;
    trust_ratio: norms::trust_ratio;
    unravel: index::masks;
    update_norms: norms::update_norms;
    window_max: windows::window_max;
    window_pick: windows::window_pick;
    window_return: windows::window_return;
    window_sum: windows::window_sum;
    yogi: optim::yogi;
}

#[test]
fn methods_without_a_test_of_their_own_agree_on_both_devices() {
    if let Some(pair) = Pair::open() {
        optim::other_methods(&pair, COVERED);
    }
}

#[test]
fn every_kernel_has_its_test() {
    let of_methods = METHODS.iter().flat_map(|entry| entry.kernels).map(|kernel| kernel.name());
    let covered: BTreeSet<&str> = COVERED.iter().copied().chain(of_methods).collect();
    let names: BTreeSet<&str> = kernels().map(|kernel| kernel.name()).collect();
    assert_eq!(covered, names);
}

/// Returns a kernel by its name.
fn kernel(name: &str) -> &'static Kernel {
    kernels().find(|kernel| kernel.name() == name).unwrap_or_else(|| panic!("no kernel {name}"))
}

/// The two devices to compare.
pub(crate) struct Pair {
    pub(crate) cpu: Device,
    pub(crate) gpu: Device,
}

impl Pair {
    pub(crate) fn open() -> Option<Self> {
        Some(Self { cpu: Device::cpu(), gpu: crate::common::gpu()? })
    }

    /// Returns the tolerance for the device. Software drivers round every operation as the CPU does; hardware may
    /// contract a b + c, divide within 2.5 ulp and have its own square root.
    pub(crate) fn tolerance(&self, software: Tolerance, hardware: Tolerance) -> Tolerance {
        if crate::common::is_software(&self.gpu) { software } else { hardware }
    }

    /// Computes on both devices and compares all results: f32 within the tolerance, u32 exactly.
    fn compare(&self, what: &str, tolerance: Tolerance, compute: impl Fn(&Device) -> Vec<Tensor>) {
        self.compare_by(what, compute, |what, got, expected| {
            crate::common::assert_close(what, got, expected, tolerance)
        });
    }

    /// Computes on both devices and compares all bits.
    fn compare_bits(&self, what: &str, compute: impl Fn(&Device) -> Vec<Tensor>) {
        self.compare_by(what, compute, crate::common::assert_same_bits);
    }

    fn compare_by(&self, what: &str, compute: impl Fn(&Device) -> Vec<Tensor>, assert: impl Fn(&str, &[f32], &[f32])) {
        let (expected, got) = (compute(&self.cpu), compute(&self.gpu));
        assert_eq!(expected.len(), got.len());
        assert!(!expected.is_empty(), "{what}: nothing was computed");
        for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let what = format!("{what}, result {i}");
            assert_eq!(got.shape(), expected.shape(), "{what}");
            assert_eq!(got.dtype(), expected.dtype(), "{what}");
            match got.dtype() {
                DType::F32 => assert(&what, &crate::common::floats(got), &crate::common::floats(expected)),
                _ => assert_eq!(crate::common::words(got), crate::common::words(expected), "{what}"),
            }
        }
    }
}
