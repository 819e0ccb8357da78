//! The WGSL kernels of thalweg as text, and a table of all kernels.
//!
//! A kernel file is plain WGSL, used unchanged; sizes and switches are `override` constants. Code shared by several
//! kernels is in `shared/` and is appended. WGSL allows declarations at module scope in any order, so diagnostics
//! keep the line and column of the kernel's own file.
//!
//! ```
//! let shader = &thalweg_shaders::ADAM;
//! assert_eq!(shader.name, "adam");
//! assert!(shader.source().starts_with("// Adam and AdamW"));
//! ```

#![forbid(unsafe_code)]

/// A kernel: its name and its text.
#[derive(Debug)]
pub struct Shader {
    /// The name shared by kernel, CPU twin, pipeline label and bench.
    pub name: &'static str,
    /// The path of the file, relative to this package.
    pub path: &'static str,
    /// The kernel's own source text.
    pub text: &'static str,
    /// Texts from `shared/` that are appended to the source.
    pub shared: &'static [&'static str],
}

impl Shader {
    /// Returns the whole text as passed to the driver: the kernel's own, then the shared texts.
    #[must_use]
    pub fn source(&self) -> String {
        let mut source = String::from(self.text);
        for part in self.shared {
            source.push('\n');
            source.push_str(part);
        }
        source
    }

    /// Returns whether the text, without its comments, reads the extents of the grid, `num_workgroups`.
    #[must_use]
    pub fn reads_grid(&self) -> bool {
        let code = |line: &str| line.split("//").next().is_some_and(|code| code.contains("num_workgroups"));
        std::iter::once(&self.text).chain(self.shared).any(|text| text.lines().any(code))
    }
}

/// Loads and stores of elements of bf16, two in a word: `bf16_load`, `bf16_store`, `bf16_at`, `bf16_pair`.
pub const BF16: &str = include_str!("shared/bf16.wgsl");
const CLOCK_STATE: &str = include_str!("shared/clock.wgsl");
/// The clock for kernels that do not advance it with a counter.
const CLOCK_WORDS: &str = concat!(include_str!("shared/clock.wgsl"), "\n", include_str!("shared/plain_clock.wgsl"));
/// Loads and stores of elements of f16, two in a word: `f16_load`, `f16_store`, `f16_at`, `f16_pair`.
pub const F16: &str = include_str!("shared/f16.wgsl");
/// The WGSL function `note_fault(index: u32, bound: u32, operation: u32)`, which notes an index that is out of range for
/// the next read-back. The kernel binds `faults: array<atomic<u32>, 4>`.
pub const FAULTS: &str = include_str!("shared/faults.wgsl");
const GATHER: &str = include_str!("shared/gather.wgsl");
/// The WGSL function `group_index(group: vec3u, groups: vec3u) -> u32`: the number of a workgroup, from
/// `workgroup_id` and `num_workgroups`, in a grid that may be folded over x and y.
pub const GRID: &str = include_str!("shared/grid.wgsl");
/// Scalar functions that are correct on every driver.
pub const MATH: &str = include_str!("shared/math.wgsl");
const INDEX: &str = include_str!("shared/index.wgsl");
const JACOBI: &str = include_str!("shared/jacobi.wgsl");
const JACOBI_ROUND: &str = include_str!("shared/jacobi_round.wgsl");
const JACOBI_SWEEPS: &str = include_str!("shared/jacobi_sweeps.wgsl");
const LAMB_DIRECTION: &str = include_str!("shared/lamb.wgsl");
const ATTENTION_PARTS: &str = include_str!("shared/attention.wgsl");
const ATTENTION_GRAD: &str = include_str!("shared/attention_grad.wgsl");
const ADAFACTOR: &str = include_str!("shared/adafactor.wgsl");
const CAUTIOUS: &str = include_str!("shared/cautious.wgsl");
const MATRICES: &str = include_str!("shared/matrices.wgsl");
const MATRIX_BLOCKS: &str = include_str!("shared/matrix_blocks.wgsl");
const MATRIX_ROWS: &str = include_str!("shared/matrix_rows.wgsl");
const MATRIX_STEP: &str = include_str!("shared/matrix_step.wgsl");
const MATRIX_TIME: &str = include_str!("shared/matrix_time.wgsl");
const MATRIX_WAYS: &str = include_str!("shared/matrix_ways.wgsl");
const MEAN: &str = include_str!("shared/mean.wgsl");
const MOMENTS: &str = include_str!("shared/moments.wgsl");
const NORMAL: &str = include_str!("shared/normal.wgsl");
const PAGES: &str = include_str!("shared/pages.wgsl");
const PHILOX: &str = include_str!("shared/philox.wgsl");
const POWER_BELOW: &str = include_str!("shared/power_below.wgsl");
const PRODUCT: &str = concat!(include_str!("shared/product_extents.wgsl"), "\n", include_str!("shared/product.wgsl"));
/// The extents of a matrix product: `Product`.
pub const PRODUCT_EXTENTS: &str = include_str!("shared/product_extents.wgsl");
/// A batch of matrix products: `Batch` and `offsets_of`.
pub const PRODUCT_BATCH: &str = include_str!("shared/product_batch.wgsl");
const REMAP_RULES: &str = include_str!("shared/remap.wgsl");
const SELF_CLOCK: &str = include_str!("shared/self_clock.wgsl");
const SHORT_ROWS: &str = include_str!("shared/short_rows.wgsl");
const SOAP: &str = include_str!("shared/soap.wgsl");
/// Scalar functions that few kernels call; they need [`MATH`].
pub const SPECIAL: &str = include_str!("shared/special.wgsl");
/// The end of a tensor whose length is no multiple of four: `keep_first`.
pub const TAIL: &str = include_str!("shared/tail.wgsl");
const TREE: &str = include_str!("shared/tree.wgsl");
/// The texts appended to the kernel of an element-wise update; `shared/elements.wgsl` lists the required
/// declarations.
pub const ELEMENT_WISE_UPDATE: &[&str] = &[GRID, CLOCK_STATE, SELF_CLOCK, UPDATE];
const UPDATE: &str = concat!(include_str!("shared/update.wgsl"), "\n", include_str!("shared/elements.wgsl"));
/// The loop of an element-wise update over an arena.
pub const ELEMENTS: &str = include_str!("shared/elements.wgsl");
/// The same loop for software drivers, two vectors at a time, instead of [`ELEMENTS`].
pub const PAIRS: &str = include_str!("shared/pairs.wgsl");
/// The loop over the chunks of tensors, with the code shared by updates.
const CHUNKS: &str = concat!(include_str!("shared/update.wgsl"), "\n", include_str!("shared/chunks.wgsl"));
const SEGMENTS: &str = include_str!("shared/segments.wgsl");
const OWN_FACTOR: &str = include_str!("shared/own_factor.wgsl");
/// The shared code without a loop over an arena, for updates that have their own.
const UPDATE_STEP: &str = include_str!("shared/update.wgsl");

/// Declares the kernels and their table: constant, name, file, shared texts.
macro_rules! shaders {
    ($($constant:ident $name:literal $path:literal [$($shared:ident),*];)*) => {
        $(
            #[doc = concat!("The kernel of `", $path, "`.")]
            pub static $constant: Shader =
                Shader { name: $name, path: $path, text: include_str!($path), shared: &[$($shared),*] };
        )*

        /// All kernels.
        pub static ALL: &[&Shader] = &[$(&$constant),*];
    };
}

shaders! {
    ADABELIEF "adabelief" "optim/adabelief.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE, MOMENTS];
    ADADELTA "adadelta" "optim/adadelta.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE];
    ADAFACTOR_APPLY "adafactor_apply" "optim/adafactor_apply.wgsl" [GRID, TREE, MATH, MATRICES, MATRIX_BLOCKS, MATRIX_STEP, ADAFACTOR];
    ADAFACTOR_FACTORS "adafactor_factors" "optim/adafactor_factors.wgsl"
        [GRID, TREE, MATH, CLOCK_WORDS, MATRICES, MATRIX_STEP, MATRIX_TIME, ADAFACTOR];
    ADAFACTOR_SQUARES "adafactor_squares" "optim/adafactor_squares.wgsl" [GRID, TREE, MATH, MATRICES, MATRIX_BLOCKS, MATRIX_STEP, ADAFACTOR];
    ADAFACTOR_SUMS "adafactor_sums" "optim/adafactor_sums.wgsl"
        [GRID, TREE, MATH, CLOCK_WORDS, MATRICES, MATRIX_WAYS, MATRIX_ROWS, MATRIX_STEP, MATRIX_TIME, ADAFACTOR];
    ADAGRAD "adagrad" "optim/adagrad.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE];
    ADAM "adam" "optim/adam.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE, MOMENTS];
    ADAMW8BIT "adamw8bit" "optim/adamw8bit.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE_STEP, MOMENTS];
    ADAMAX "adamax" "optim/adamax.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE];
    ADAN "adan" "optim/adan.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE];
    ADEMAMIX "ademamix" "optim/ademamix.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE];
    ADOPT "adopt" "optim/adopt.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE];
    AMSGRAD "amsgrad" "optim/amsgrad.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE, MOMENTS];
    ADAPTIVE_CLIP "adaptive_clip" "optim/adaptive_clip.wgsl" [GRID, MATH, TREE];
    ADVANCE "advance" "tensor/advance.wgsl" [];
    ARGMAX "argmax" "tensor/argmax.wgsl" [GRID, MATH];
    ASGD "asgd" "optim/asgd.wgsl" [GRID, MATH, CLOCK_STATE, SELF_CLOCK, UPDATE];
    ATTENTION "attention" "tensor/attention.wgsl" [GRID, MATH, ATTENTION_PARTS];
    ATTENTION_KEY_GRAD "attention_key_grad" "tensor/attention_key_grad.wgsl" [GRID, MATH, ATTENTION_PARTS, ATTENTION_GRAD];
    ATTENTION_QUERY_GRAD "attention_query_grad" "tensor/attention_query_grad.wgsl" [GRID, MATH, ATTENTION_PARTS, ATTENTION_GRAD];
    AVERAGE "average" "optim/average.wgsl" [GRID, PAGES];
    BATCH "batch" "tensor/batch.wgsl" [GRID, GATHER];
    BATCHED_MATMUL "batched_matmul" "tensor/batched_matmul.wgsl" [GRID, PRODUCT, PRODUCT_BATCH];
    CAUTIOUS_ADAMW "cautious_adamw" "optim/cautious_adamw.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE, CAUTIOUS];
    CAUTIOUS_MOMENTS "cautious_moments" "optim/cautious_moments.wgsl" [GRID, MATH, TREE, CLOCK_STATE, SELF_CLOCK, CHUNKS, CAUTIOUS];
    CAUTIOUS_SCALE "cautious_scale" "optim/cautious_scale.wgsl" [GRID, MATH, TREE, SEGMENTS, OWN_FACTOR];
    CLASS_WEIGHTS "class_weights" "tensor/class_weights.wgsl" [GRID, MATH];
    CHOLESKY "cholesky" "tensor/cholesky.wgsl" [GRID, MATH];
    CLOCK "clock" "optim/clock.wgsl" [MATH, TREE, CLOCK_WORDS];
    COPY "copy" "tensor/copy.wgsl" [GRID];
    COPY_HALVES "copy_halves" "tensor/copy_halves.wgsl" [GRID];
    COPY_ROOF "copy_roof" "optim/copy_roof.wgsl" [GRID];
    CROSS_ENTROPY "cross_entropy" "tensor/cross_entropy.wgsl" [GRID, MATH, TREE, SHORT_ROWS];
    CROSS_ENTROPY_MEAN "cross_entropy_mean" "tensor/cross_entropy_mean.wgsl" [MATH, TREE, MEAN];
    CUMSUM_COLUMNS "cumsum_columns" "tensor/cumsum_columns.wgsl" [GRID];
    CUMSUM_ROWS "cumsum_rows" "tensor/cumsum_rows.wgsl" [GRID];
    DROPOUT "dropout" "tensor/dropout.wgsl" [GRID, TAIL, PHILOX];
    EIGH "eigh" "tensor/eigh.wgsl" [GRID, MATH, TREE, POWER_BELOW, JACOBI, JACOBI_ROUND, JACOBI_SWEEPS];
    FILL "fill" "tensor/fill.wgsl" [GRID];
    FILL_HALVES "fill_halves" "tensor/fill_halves.wgsl" [GRID];
    GATHER_MATMUL "gather_matmul" "tensor/gather_matmul.wgsl" [GRID, PRODUCT_EXTENTS, PRODUCT_BATCH];
    GATHER_ELEMENTS "gather" "tensor/gather.wgsl" [GRID, INDEX, FAULTS];
    GATHER_ROWS "gather_rows" "tensor/gather_rows.wgsl" [GRID, GATHER, FAULTS];
    GRAD_NORM "grad_norm" "optim/grad_norm.wgsl" [MATH, TREE];
    LAMB "lamb" "optim/lamb.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE, LAMB_DIRECTION];
    LAMB_MOMENTS "lamb_moments" "optim/lamb_moments.wgsl" [GRID, MATH, TREE, CLOCK_STATE, SELF_CLOCK, CHUNKS, LAMB_DIRECTION];
    LARS "lars" "optim/lars.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE];
    HESSIAN "hessian" "optim/hessian.wgsl" [GRID, MATH];
    LINEAR "linear" "tensor/linear.wgsl" [GRID, PRODUCT];
    LINEAR_INPUT_GRAD "linear_input_grad" "tensor/linear_input_grad.wgsl" [GRID, PRODUCT];
    LINEAR_WEIGHT_GRAD "linear_weight_grad" "tensor/linear_weight_grad.wgsl" [GRID, PRODUCT];
    LION "lion" "optim/lion.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE];
    LOOKAHEAD "lookahead" "optim/lookahead.wgsl" [GRID, PAGES];
    LU "lu" "tensor/lu.wgsl" [GRID];
    MATMUL "matmul" "tensor/matmul.wgsl" [GRID, PRODUCT];
    MOMENTUM "momentum" "optim/momentum.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE];
    MSE "mse" "tensor/mse.wgsl" [GRID];
    MSE_MEAN "mse_mean" "tensor/mse_mean.wgsl" [MATH, TREE, MEAN];
    MULTINOMIAL "multinomial" "tensor/multinomial.wgsl" [GRID, PHILOX];
    MUON_APPLY "muon_apply" "optim/muon_apply.wgsl" [GRID, CLOCK_WORDS, MATRICES, MATRIX_BLOCKS, MATRIX_STEP, MATRIX_TIME];
    MUON_MOMENTUM "muon_momentum" "optim/muon_momentum.wgsl" [GRID, TREE, MATH, CLOCK_WORDS, MATRICES, MATRIX_BLOCKS, MATRIX_STEP, MATRIX_TIME];
    MUON_NORMALIZE "muon_normalize" "optim/muon_normalize.wgsl" [GRID, TREE, MATH, MATRICES, MATRIX_BLOCKS];
    MUON_POLYNOMIAL "muon_polynomial" "optim/muon_polynomial.wgsl" [GRID, MATRICES, MATRIX_BLOCKS];
    NADAM "nadam" "optim/nadam.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE];
    NOVOGRAD "novograd" "optim/novograd.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE];
    NOVOGRAD_MOMENT "novograd_moment" "optim/novograd_moment.wgsl" [GRID, MATH, TREE, CLOCK_WORDS, SEGMENTS];
    ONE_HOT "one_hot" "tensor/one_hot.wgsl" [GRID];
    PARAMETER_NORMS "parameter_norms" "optim/parameter_norms.wgsl" [GRID, MATH, TREE, CLOCK_STATE, SELF_CLOCK, CHUNKS];
    PRODIGY "prodigy" "optim/prodigy.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE];
    PRODIGY_ESTIMATE "prodigy_estimate" "optim/prodigy_estimate.wgsl" [MATH, TREE, CLOCK_WORDS];
    PRODIGY_SUMS "prodigy_sums" "optim/prodigy_sums.wgsl" [GRID, MATH, TREE, CLOCK_STATE, SELF_CLOCK, UPDATE_STEP];
    QR "qr" "tensor/qr.wgsl" [GRID, MATH, TREE, POWER_BELOW];
    RADAM "radam" "optim/radam.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE];
    RANDOM "random" "tensor/random.wgsl" [GRID, TAIL, MATH, PHILOX, NORMAL];
    RECORD_VALUE "record_value" "tensor/record_value.wgsl" [];
    RECURRENT_STEP "recurrent_step" "tensor/recurrent_step.wgsl" [GRID, MATH];
    RECURRENT_STEP_GRAD "recurrent_step_grad" "tensor/recurrent_step_grad.wgsl" [GRID, MATH];
    REDUCE_COLUMNS "reduce_columns" "tensor/reduce_columns.wgsl" [GRID, MATH];
    REDUCE_ROWS "reduce_rows" "tensor/reduce_rows.wgsl" [GRID, MATH, TREE, SHORT_ROWS];
    REMAP "remap" "tensor/remap.wgsl" [GRID, REMAP_RULES];
    REMAP_HALVES "remap_halves" "tensor/remap_halves.wgsl" [GRID, REMAP_RULES];
    RMSPROP "rmsprop" "optim/rmsprop.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE];
    RPROP "rprop" "optim/rprop.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE];
    SCALE "scale" "optim/scale.wgsl" [GRID, PAGES];
    SCALE_ROWS "scale_rows" "optim/scale_rows.wgsl" [GRID, CLOCK_WORDS];
    SAMPLE_CLASSES "sample_classes" "tensor/sample_classes.wgsl" [GRID, MATH, PHILOX];
    SAMPLE_NORMAL "sample_normal" "tensor/sample_normal.wgsl" [GRID, TAIL, MATH, PHILOX, NORMAL];
    SCAN "scan" "tensor/scan.wgsl" [GRID, MATH];
    SCAN_EXTREMES "scan_extremes" "tensor/scan_extremes.wgsl" [GRID, MATH];
    SCATTER "scatter" "tensor/scatter.wgsl" [GRID];
    SCATTER_ADD "scatter_add" "tensor/scatter_add.wgsl" [GRID, INDEX, FAULTS];
    SCATTER_KEYS "scatter_keys" "tensor/scatter_keys.wgsl" [GRID, INDEX, FAULTS];
    SCATTER_WINNERS "scatter_winners" "tensor/scatter_winners.wgsl" [GRID, INDEX, FAULTS];
    SEGMENT_SUMS "segment_sums" "tensor/segment_sums.wgsl" [GRID, FAULTS];
    SCHEDULE_FREE_ADAMW "schedule_free_adamw" "optim/schedule_free_adamw.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE];
    SCHEDULE_FREE_SGD "schedule_free_sgd" "optim/schedule_free_sgd.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE];
    SGD "sgd" "optim/sgd.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE];
    SHARPNESS_ASCENT "sharpness_ascent" "optim/sharpness_ascent.wgsl" [GRID, PAGES];
    SHARPNESS_NORM "sharpness_norm" "optim/sharpness_norm.wgsl" [MATH, TREE];
    SHARPNESS_SCALE "sharpness_scale" "optim/sharpness_scale.wgsl" [MATH, TREE];
    SM3_COMMIT "sm3_commit" "optim/sm3_commit.wgsl" [GRID, MATH, CLOCK_WORDS, MATRICES, MATRIX_STEP, MATRIX_TIME];
    SM3_STEP "sm3_step" "optim/sm3_step.wgsl"
        [GRID, MATH, CLOCK_WORDS, MATRICES, MATRIX_WAYS, MATRIX_ROWS, MATRIX_STEP, MATRIX_TIME];
    SOAP_APPLY "soap_apply" "optim/soap_apply.wgsl" [GRID, CLOCK_WORDS, MATRICES, MATRIX_BLOCKS, MATRIX_STEP, MATRIX_TIME, SOAP];
    SOAP_AVERAGE "soap_average" "optim/soap_average.wgsl" [GRID, CLOCK_WORDS, MATRICES, MATRIX_BLOCKS, MATRIX_STEP, MATRIX_TIME, SOAP];
    SOAP_BASIS "soap_basis" "optim/soap_basis.wgsl"
        [GRID, TREE, MATH, CLOCK_WORDS, MATRICES, MATRIX_STEP, MATRIX_TIME, SOAP, JACOBI, JACOBI_ROUND];
    SOAP_MOMENTS "soap_moments" "optim/soap_moments.wgsl" [GRID, CLOCK_WORDS, MATRICES, MATRIX_BLOCKS, MATRIX_STEP, MATRIX_TIME, SOAP];
    SOAP_NORMALIZE "soap_normalize" "optim/soap_normalize.wgsl"
        [GRID, CLOCK_WORDS, MATRICES, MATRIX_BLOCKS, MATRIX_STEP, MATRIX_TIME, SOAP];
    SORTED_PLACE "sorted_place" "tensor/sorted_place.wgsl" [GRID];
    SORT_BLOCKS "sort_blocks" "tensor/sort_blocks.wgsl" [GRID];
    SORT_MERGE "sort_merge" "tensor/sort_merge.wgsl" [GRID];
    SOFTMAX "softmax" "tensor/softmax.wgsl" [GRID, MATH, TREE, SHORT_ROWS];
    SOLVE_TRIANGULAR "solve_triangular" "tensor/solve_triangular.wgsl" [GRID];
    SWAP_IN "swap_in" "optim/swap_in.wgsl" [GRID, PAGES];
    STATISTICS "statistics" "optim/statistics.wgsl" [MATH, TREE, CLOCK_WORDS];
    SVD "svd" "tensor/svd.wgsl" [GRID, MATH, TREE, POWER_BELOW, JACOBI, JACOBI_SWEEPS];
    TENSOR_CLIP "tensor_clip" "optim/tensor_clip.wgsl" [GRID, MATH, TREE, SEGMENTS];
    TENSOR_NORMS "tensor_norms" "optim/tensor_norms.wgsl" [GRID, MATH, TREE];
    TRUST_RATIO "trust_ratio" "optim/trust_ratio.wgsl" [GRID, MATH, TREE, SEGMENTS, OWN_FACTOR];
    SOPHIA "sophia" "optim/sophia.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE];
    UNRAVEL "unravel" "tensor/unravel.wgsl" [GRID];
    UPDATE_NORMS "update_norms" "optim/update_norms.wgsl" [MATH, TREE];
    WINDOW_MAX "window_max" "tensor/window_max.wgsl" [GRID, MATH];
    WINDOW_PICK "window_pick" "tensor/window_pick.wgsl" [GRID];
    WINDOW_RETURN "window_return" "tensor/window_return.wgsl" [GRID];
    WINDOW_SUM "window_sum" "tensor/window_sum.wgsl" [GRID];
    YOGI "yogi" "optim/yogi.wgsl" [GRID, CLOCK_STATE, SELF_CLOCK, UPDATE, MOMENTS];
}
