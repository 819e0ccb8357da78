//! The small copy of the oracle in `tests/fixtures/oracle`: its content, and that it equals the whole one.
//!
//! `THALWEG_UPDATE_ORACLE=1 cargo oracle-copy` makes it again from `../shared/oracle`.

use crate::common::oracle::{self, Oracle};
use crate::common::skip;
use serde_json::{Map, Value};

/// The part of a file in the small copy: the cases that `keep` chooses, and those of their arrays, and of the arrays
/// above the cases, that `keep_array` chooses.
struct Part {
    name: &'static str,
    keep: fn(&Value, &mut Kept) -> bool,
    keep_array: fn(&str) -> bool,
}

/// The number of cases of each operation so far.
type Kept = std::collections::HashMap<String, usize>;

const PARTS: &[Part] = &[
    Part { name: "ops/unary", keep: |case, kept| keep_op(case, kept, UNARY), keep_array: needed },
    Part { name: "ops/binary", keep: |case, kept| keep_op(case, kept, BINARY), keep_array: needed },
    Part { name: "ops/reduce", keep: |case, kept| keep_op(case, kept, REDUCE), keep_array: needed },
    Part { name: "ops/matmul", keep: |case, kept| keep_op(case, kept, MATMUL), keep_array: needed },
    Part { name: "ops/softmax_norm", keep: |case, kept| keep_op(case, kept, SOFTMAX), keep_array: needed },
    Part { name: "ops/nn", keep: |case, kept| keep_op(case, kept, NN), keep_array: needed },
    Part { name: "ops/losses", keep: |case, kept| keep_op(case, kept, LOSSES), keep_array: needed },
    Part { name: "ops/shape", keep: |case, kept| keep_op(case, kept, SHAPE), keep_array: needed },
    Part { name: "ops/programs", keep: |case, kept| keep_op(case, kept, &["program"]), keep_array: needed },
    Part { name: "optimizers/sgd", keep: keep_trajectory, keep_array: needed },
    Part { name: "optimizers/adam", keep: keep_trajectory, keep_array: needed },
    Part { name: "optimizers/adamw", keep: keep_trajectory, keep_array: needed },
    Part { name: "optimizers/adagrad", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/rmsprop", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/adadelta", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/adamax", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/rprop", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/optax_adabelief", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/optax_yogi", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/optax_lion", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/optax_signum", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/optax_ademamix", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/optax_adopt", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/nadam", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/radam", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/po_adan", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/asgd", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/optax_schedule_free_sgd", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/optax_schedule_free_adamw", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/optax_lamb", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/optax_lars", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/optax_novograd", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/optax_sam", keep: |_, _| true, keep_array: needed },
    Part { name: "optimizers/optax_lookahead", keep: |_, _| true, keep_array: needed },
    Part { name: "optimizers/averaging", keep: |_, _| true, keep_array: needed },
    Part { name: "optimizers/problem_square", keep: |_, _| true, keep_array: needed },
    Part { name: "optimizers/optax_prodigy", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/po_prodigy", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/optax_sophia", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/problem_flat_small", keep: |_, _| true, keep_array: |_| true },
    Part { name: "optimizers/muon", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/optax_adafactor", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/optax_muon", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/adafactor", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/optax_sm3", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/po_soap", keep: keep_one, keep_array: needed },
    Part { name: "optimizers/problem_tree", keep: |_, _| true, keep_array: |_| true },
    Part {
        name: "optimizers/clipping",
        keep: |case, _| {
            let is_small = CLIPPING.iter().any(|id| case["id"] == *id);
            is_small || case["op"] == "clip_grad_norm" && case["norm_type"] == 2.0
        },
        keep_array: needed,
    },
    Part { name: "optimizers/functions", keep: keep_textbook, keep_array: needed },
    Part {
        name: "lr_schedules/lr_schedules",
        keep: |case, _| SCHEDULES.iter().any(|id| case["id"] == *id),
        keep_array: |name| !name.starts_with("metric/") || name == "metric/noisy_decay",
    },
    Part {
        name: "networks/second_order",
        keep: |case, _| case["formula"].is_string(),
        keep_array: |name| !name.starts_with("mlp"),
    },
    Part { name: "networks/mlp_digits", keep: |case, _| case["id"] == "adamw_clip_warmup_cosine", keep_array: needed },
];

const UNARY: &[&str] = &[
    "abs",
    "asin",
    "atan",
    "ceil",
    "celu",
    "clamp",
    "cos",
    "cosh",
    "elu",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "floor",
    "gelu",
    "gelu_tanh",
    "hardsigmoid",
    "hardswish",
    "leaky_relu",
    "log",
    "log1p",
    "log2",
    "logsigmoid",
    "mish",
    "neg",
    "pow_scalar",
    "reciprocal",
    "relu",
    "relu6",
    "round",
    "rsqrt",
    "selu",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "sinh",
    "softplus",
    "softsign",
    "sqrt",
    "square",
    "tan",
    "tanh",
];
const BINARY: &[&str] = &[
    "add",
    "add_scalar",
    "addcmul",
    "atan2",
    "div",
    "eq",
    "ge",
    "gt",
    "le",
    "lerp",
    "lt",
    "maximum",
    "minimum",
    "mul",
    "mul_scalar",
    "mul_self",
    "ne",
    "pow",
    "sub",
    "where",
];
const REDUCE: &[&str] = &["amax", "amin", "argmax", "cumsum", "mean", "sum"];
const MATMUL: &[&str] = &["linear", "matmul"];
const NN: &[&str] = &["avg_pool2d", "conv1d", "conv_transpose2d", "embedding", "gru_cell", "max_pool1d", "max_pool2d"];
const SOFTMAX: &[&str] = &["log_softmax", "softmax"];
const SHAPE: &[&str] =
    &["concat", "expand", "index_select", "repeat_interleave", "reshape", "squeeze", "stack", "tile"];
const LOSSES: &[&str] = &["cross_entropy", "mse_loss"];

/// The maximum number of elements of the inputs and outputs of a case, together, and of a case of products.
const MOST_ELEMENTS: f64 = 400.0;
const MOST_ELEMENTS_OF_PRODUCTS: f64 = 1050.0;

/// Chooses the first small cases of each of these operations: one of the many unary ones and of the shapes, two of the
/// others.
fn keep_op(case: &Value, kept: &mut Kept, ops: &[&str]) -> bool {
    let op = case["op"].as_str().unwrap();
    let elements = |list: &Value| -> f64 {
        let shapes = list.as_array().into_iter().flatten();
        shapes.map(|x| x["shape"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).product::<f64>()).sum()
    };
    let most = if ops == MATMUL { MOST_ELEMENTS_OF_PRODUCTS } else { MOST_ELEMENTS };
    if !ops.contains(&op) || elements(&case["inputs"]) + elements(&case["outputs"]) > most {
        return false;
    }
    let count = kept.entry(op.to_string()).or_default();
    *count += 1;
    *count <= if ops == UNARY || ops == SHAPE { 1 } else { 2 }
}

/// Chooses the trajectories on the small problem.
fn keep_trajectory(case: &Value, _: &mut Kept) -> bool {
    case["problem"] == "flat_small"
}

/// Chooses one trajectory of a method, with settings other than the defaults.
fn keep_one(case: &Value, _: &mut Kept) -> bool {
    KEPT.iter().any(|id| case["id"] == *id)
}

/// Kinds of clipping other than the global 2-norm.
const CLIPPING: &[&str] = &[
    "norm_normal_p1.0_max1",
    "norm_normal_p3.0_max1",
    "norm_normal_pinf_max1",
    "norm_nan_pinf_max0.7_strict",
    "per_param_max0.8",
    "value_normal_0.5",
    "optax_block_rms",
    "optax_agc",
];

const KEPT: &[&str] = &[
    "adagrad_2/flat_small",
    "rmsprop_4/flat_small",
    "adadelta_2/flat_small",
    "adamax_1/flat_small",
    "rprop_2/flat_small",
    "optax.adabelief_1/flat_small",
    "optax.yogi_1/flat_small",
    "optax.lion_1/flat_small",
    "optax.signum_0/flat_small",
    "optax.ademamix_0/flat_small",
    "optax.adopt_0/flat_small",
    "optax.schedule_free_sgd_0/flat_small",
    "optax.schedule_free_adamw_1/flat_small",
    "nadam_1/flat_small",
    "radam_3/flat_small",
    "po.adan_0/flat_small",
    "asgd_1/flat_small",
    "optax.lamb_1/flat_small",
    "optax.lars_1/flat_small",
    "optax.novograd_1/flat_small",
    "optax.sophia_1/flat_small",
    "optax.prodigy_1/flat_small",
    "po.prodigy_0/flat_small",
    "optax.muon_1/tree2d",
    "muon_1/tree",
    "optax.adafactor_0/tree",
    "adafactor_1/tree",
    "optax.sm3_1/tree",
    "po.soap_0/square",
];

/// One schedule of each family, including those of two values and compositions.
const SCHEDULES: &[&str] = &[
    "multistep_repeated",
    "polynomial_2",
    "warm_restarts_40_2",
    "cyclic_triangular2",
    "onecycle_three_phase",
    "plateau_3/noisy_decay",
    "sequential_three",
    "chained_constant_exponential",
    "optax_warmup_exponential",
    "optax_piecewise_cosine",
    "noam_d64_w40",
    "wsd_1-sqrt",
];

/// Chooses one function, with the methods that thalweg has.
fn keep_textbook(case: &Value, _: &mut Kept) -> bool {
    ["sgd_nesterov", "adam", "adamw", "sam_sgd"].iter().any(|method| case["id"] == format!("rosenbrock2/{method}"))
}

/// Returns whether the array is needed: all except the reference's own runs in f32, for which the drifts are enough.
fn needed(name: &str) -> bool {
    !name.contains("/f32")
}

/// Returns the bytes of the two files of a part.
fn trim(part: &Part, whole: &Oracle) -> (Option<Vec<u8>>, Vec<u8>) {
    let mut ids = Vec::new();
    let mut json = None;
    let mut all_ids: Vec<&str> = Vec::new();
    if let Value::Object(settings) = whole.settings() {
        let mut kept = Kept::new();
        let cases = settings["cases"].as_array().unwrap();
        all_ids = cases.iter().map(|case| case["id"].as_str().unwrap()).collect();
        let cases: Vec<&Value> = cases.iter().filter(|case| (part.keep)(case, &mut kept)).collect();
        ids.extend(cases.iter().map(|case| case["id"].as_str().unwrap()));
        let mut head: Map<String, Value> = settings.clone();
        head.remove("cases");
        let head = Value::Object(head).to_string();
        let lines: Vec<String> = cases.iter().map(|case| case.to_string()).collect();
        let head = &head[..head.len() - 1];
        json = Some(format!("{head},\"cases\":[\n{}\n]}}\n", lines.join(",\n")).into_bytes());
    }
    let belongs = |name: &str, id: &str| name.strip_prefix(id).is_some_and(|rest| rest.starts_with('/'));
    let tensors = whole.tensors();
    let arrays: Vec<_> = whole
        .names()
        .into_iter()
        .filter(|name| (part.keep_array)(name))
        .filter(|name| {
            let of_no_case = !all_ids.iter().any(|id| belongs(name, id));
            of_no_case || ids.iter().any(|id| belongs(name, id))
        })
        .map(|name| (name.clone(), tensors.tensor(&name).unwrap()))
        .collect();
    (json, safetensors::serialize(arrays, None).unwrap())
}

#[test]
fn the_copy_is_the_whole_oracle_s_and_every_file_has_its_cases() {
    hold_against_the_whole();
    count_cases();
}

fn hold_against_the_whole() {
    let Some(folder) = oracle::whole() else {
        return skip("the comparison with the whole oracle: there is no ../shared/oracle");
    };
    let update = std::env::var_os("THALWEG_UPDATE_ORACLE").is_some();
    for part in PARTS {
        let whole = Oracle::open_in(&folder, part.name, true);
        let (json, arrays) = trim(part, &whole);
        let json_path = oracle::small().join(format!("{}.json", part.name));
        let arrays_path = oracle::small().join(format!("{}.safetensors", part.name));
        if update {
            std::fs::create_dir_all(json_path.parent().unwrap()).unwrap();
            if !whole.names().is_empty() {
                std::fs::write(&arrays_path, &arrays).unwrap();
            }
            if let Some(json) = &json {
                std::fs::write(&json_path, json).unwrap();
            }
        }
        let say = "made by an older program: THALWEG_UPDATE_ORACLE=1 cargo oracle-copy";
        assert!(json.is_none_or(|json| std::fs::read(&json_path).unwrap() == json), "{}: {say}", json_path.display());
        assert!(
            whole.names().is_empty() || std::fs::read(&arrays_path).unwrap() == arrays,
            "{}: {say}",
            arrays_path.display()
        );
    }
}

fn count_cases() {
    let mut bytes = 0;
    for part in PARTS {
        let small = Oracle::open_in(&oracle::small(), part.name, false);
        let cases = if small.settings().is_null() { 0 } else { small.cases().len() };
        let expected = match part.name {
            "ops/unary" => 44,
            "ops/binary" => 35,
            "ops/nn" => 11,
            "ops/reduce" => 12,
            "ops/matmul" | "ops/softmax_norm" | "ops/losses" => 4,
            "ops/programs" => 2,
            "optimizers/sgd" => 8,
            "optimizers/adam" => 7,
            "optimizers/adamw" => 5,

            "optimizers/clipping" => 17,
            "optimizers/functions" => 4,
            "optimizers/averaging" => 7,
            "lr_schedules/lr_schedules" => SCHEDULES.len(),
            "networks/mlp_digits" => 1,
            "networks/second_order" => 3,
            "ops/shape" => 8,
            "optimizers/problem_flat_small" | "optimizers/problem_tree" | "optimizers/problem_square" => 0,
            name if name.starts_with("optimizers/") => 1,
            _ => 0,
        };
        assert_eq!(cases, expected, "{}", part.name);
        assert_eq!(small.names().is_empty(), part.name == "optimizers/functions");
        for ending in ["json", "safetensors"] {
            bytes += std::fs::metadata(oracle::small().join(format!("{}.{ending}", part.name))).map_or(0, |m| m.len());
        }
    }
    assert!(bytes < 1_200_000, "the small copy has {bytes} bytes");
}
