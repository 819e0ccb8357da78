//! `thalweg train`: its output, and that two runs give the same.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::{adapters, error_line, example, stdout, thalweg_in};

/// Trains in this folder and returns the content of `--metrics`.
fn train(folder: &Path, data: &str, flags: &str) -> Value {
    let arguments = format!("train {data} --metrics metrics.json {flags}");
    stdout(&thalweg_in(folder, &arguments.split_whitespace().collect::<Vec<_>>()));
    serde_json::from_slice(&fs::read(folder.join("metrics.json")).expect("as written")).expect("JSON")
}

fn losses(metrics: &Value, field: &str) -> Vec<f64> {
    metrics[field].as_array().expect("a list").iter().map(|loss| loss.as_f64().expect("a number")).collect()
}

/// Returns the CPU, and one GPU if there is any.
fn devices() -> Vec<&'static str> {
    if adapters().is_empty() { vec!["cpu"] } else { vec!["cpu", "gpu"] }
}

#[test]
fn the_task_follows_from_the_table_and_the_metrics_are_complete() {
    let folder = tempfile::tempdir().unwrap();
    for (data, task, features, rows, score) in [
        ("iris.csv", "classification", 4, 150, "test_accuracy"),
        ("digits.csv.gz", "classification", 64, 1797, "test_accuracy"),
        ("breast_cancer.csv.gz", "classification", 30, 569, "test_accuracy"),
        ("friedman.csv", "regression", 10, 1000, "test_r2"),
    ] {
        for device in devices() {
            let metrics = train(folder.path(), &example(folder.path(), data), &format!("--epochs 2 --device {device}"));
            for field in ["device", "driver", "target", "optimizer"] {
                assert!(!metrics[field].as_str().unwrap().is_empty(), "{field}: {metrics}");
            }
            assert_eq!((&metrics["task"], &metrics["features"]), (&task.into(), &features.into()));
            let parts = ["train_rows", "test_rows"].map(|part| metrics[part].as_u64().unwrap());
            assert_eq!(parts.iter().sum::<u64>(), rows);
            assert_eq!(parts[1], (rows as f64 * 0.2).round() as u64);
            assert_eq!(metrics["steps"].as_u64().unwrap(), 2 * parts[0].div_ceil(64));
            for field in ["train_loss", "test_loss", "gradient_norm", "lr"] {
                assert_eq!(losses(&metrics, field).len(), 2, "{field}");
            }
            assert!(metrics["parameters"].as_u64().unwrap() > 8_000 && metrics["seconds"].as_f64().unwrap() > 0.0);
            assert!(metrics[score].as_f64().unwrap() <= 1.0, "{metrics}");
            let other = if score == "test_r2" { "test_accuracy" } else { "test_r2" };
            assert!(metrics.get(other).is_none(), "{metrics}");
            assert_eq!(metrics["host_syncs_per_step"], 0.0);
            assert_eq!(metrics["skipped_steps"], 0);
            let launches = metrics["launches_per_step"].as_f64().unwrap();
            assert!((1.0..=13.0).contains(&launches), "{launches} launches a step");
            // Long submissions are split by their measured time, so a busy machine makes more of them.
            let submissions = metrics["submissions_per_step"].as_f64().unwrap();
            assert!(submissions <= launches, "{metrics}");
        }
    }
}

#[test]
fn the_same_command_gives_the_same_bytes_and_devices_agree() {
    let folder = tempfile::tempdir().unwrap();
    for data in ["iris.csv", "friedman.csv"] {
        let mut first_losses = Vec::new();
        for device in devices() {
            let [first, second] = [0, 1].map(|_| {
                let metrics = train(
                    folder.path(),
                    &example(folder.path(), data),
                    &format!("--epochs 3 --dropout 0.1 --device {device}"),
                );
                (losses(&metrics, "train_loss"), fs::read(folder.path().join("model.safetensors")).unwrap())
            });
            assert!(first == second, "{data} on {device}: two runs differ");
            first_losses.push(first.0[0]);
        }
        let spread = first_losses.iter().map(|loss| (loss - first_losses[0]).abs()).fold(0.0, f64::max);
        assert!(spread <= 1e-3, "{data}: {first_losses:?}");
    }
}

#[test]
fn a_seed_draws_another_split_and_other_weights() {
    let folder = tempfile::tempdir().unwrap();
    let run = |seed: u32| {
        let metrics = train(
            folder.path(),
            &example(folder.path(), "iris.csv"),
            &format!("--epochs 1 --device cpu --seed {seed} --lr 0"),
        );
        // The scale of the features is that of the training rows only.
        let model = fs::read(folder.path().join("model.safetensors")).unwrap();
        (losses(&metrics, "test_loss")[0], model)
    };
    let (zero, one) = (run(0), run(1));
    assert_ne!(zero.0, one.0);
    assert_ne!(scale(&zero.1), scale(&one.1));
}

/// Returns the means of the features in the model file.
fn scale(model: &[u8]) -> String {
    let (_, header) = safetensors::SafeTensors::read_metadata(model).expect("a model");
    let text = &header.metadata().as_ref().expect("metadata")["thalweg"];
    let manifest: Value = serde_json::from_str(text).expect("JSON");
    let scale = &manifest["metadata"]["schema"]["feature_scale"];
    assert!(scale.is_object(), "{manifest}");
    scale.to_string()
}

#[test]
fn every_flag_reaches_the_training() {
    let folder = tempfile::tempdir().unwrap();
    let iris = example(folder.path(), "iris.csv");
    let plain = losses(&train(folder.path(), &iris, "--epochs 3 --device cpu"), "train_loss");
    for flags in [
        "--hidden 16",
        "--hidden 8,8,8",
        "--activation tanh",
        "--activation gelu",
        "--activation sigmoid",
        "--dropout 0.5",
        "--optimizer adam",
        "--optimizer sgd",
        "--optimizer sgd --momentum 0",
        "--optimizer nesterov",
        "--optimizer adagrad",
        "--optimizer rmsprop",
        "--optimizer rmsprop --momentum 0.9",
        "--optimizer adadelta",
        "--optimizer amsgrad",
        "--optimizer adamax",
        "--optimizer nadam",
        "--optimizer radam",
        "--optimizer adabelief",
        "--optimizer yogi",
        "--optimizer adan",
        "--optimizer lion",
        "--optimizer signum",
        "--optimizer nadamw",
        "--optimizer ademamix",
        "--optimizer adopt",
        "--optimizer cautious-adamw",
        "--optimizer lamb",
        "--optimizer lars",
        "--optimizer lars --momentum 0.5",
        "--optimizer novograd",
        "--optimizer rprop",
        "--optimizer asgd",
        "--optimizer schedule-free-adamw",
        "--optimizer schedule-free-sgd",
        "--optimizer muon",
        "--optimizer adafactor",
        "--optimizer sm3",
        "--optimizer soap",
        "--lr 1e-2",
        "--weight-decay 10",
        "--clip-norm 1e-9",
        "--clip-value 1e-3",
        "--schedule constant",
        "--schedule step",
        "--schedule cosine --lr 2e-3",
        "--schedule multi-step",
        "--schedule exponential",
        "--schedule inverse-time",
        "--schedule polynomial",
        "--schedule linear",
        "--schedule 1-sqrt",
        "--schedule warm-restarts",
        "--schedule noam",
        "--schedule wsd",
        "--schedule cyclic",
        "--schedule one-cycle",
        "--warmup 0.5",
        "--batch-size 7",
        "--test-fraction 0.5",
        "--seed 1",
        "--target species --task classification --lr 0.02",
    ] {
        let changed = losses(&train(folder.path(), &iris, &format!("--epochs 3 --device cpu {flags}")), "train_loss");
        assert_ne!(plain, changed, "{flags}");
    }
    // A schedule of the learning rate that also changes the momentum, unless the momentum is given.
    let one_cycle = |flags: &str| {
        let flags = format!("--epochs 3 --device cpu --optimizer sgd --schedule one-cycle {flags}");
        losses(&train(folder.path(), &iris, &flags), "train_loss")
    };
    assert_ne!(one_cycle(""), one_cycle("--momentum 0.9"));
    let no_test = train(folder.path(), &iris, "--epochs 3 --device cpu --test-fraction 0");
    assert_eq!((&no_test["train_rows"], &no_test["test_rows"]), (&150.into(), &0.into()));
    assert!(losses(&no_test, "test_loss").is_empty() && no_test.get("test_accuracy").is_none(), "{no_test}");
    assert!(no_test["train_accuracy"].is_number());
}

#[test]
fn odd_tables_are_learned_from() {
    let folder = tempfile::tempdir().unwrap();
    let rows = |row: &dyn Fn(usize) -> String| (0..60).map(row).collect::<String>();
    let class = |i: usize| if i.is_multiple_of(2) { "a" } else { "b" };
    for (what, table) in [
        ("a byte order mark and CRLF", format!("\u{feff}x,y\r\n{}", rows(&|i| format!("{i},{}\r\n", class(i))))),
        ("a constant column", format!("c,x,y\n{}", rows(&|i| format!("5,{i},{}\n", class(i))))),
        (
            "classes with commas, quotes, lines",
            format!("x,\"y,\"\"z\"\n{}", rows(&|i| format!("{i},\"{},\n\"\"\"\n", class(i)))),
        ),
        ("huge numbers", format!("x,y\n{}", rows(&|i| format!("{}e36,{}\n", i, class(i))))),
        ("tiny numbers", format!("x,y\n{}", rows(&|i| format!("{}e-44,{}\n", i, class(i))))),
        ("a class of one row", format!("x,y\n{}7,c\n", rows(&|i| format!("{i},{}\n", class(i))))),
        ("three rows", "x,y\n1,a\n2,b\n3,b\n".to_string()),
        ("two rows of a regression", "x,y\n1,1.5\n2,2.5\n".to_string()),
        ("huge targets", format!("x,y\n{}", rows(&|i| format!("{i},{i}.5e36\n")))),
    ] {
        fs::write(folder.path().join("table.csv"), table).unwrap();
        let metrics = train(folder.path(), "table.csv", "--epochs 3 --device cpu");
        assert!(losses(&metrics, "train_loss").iter().all(|loss| loss.is_finite()), "{what}: {metrics}");
        stdout(&thalweg_in(folder.path(), &["predict", "model.safetensors", "table.csv", "--device", "cpu"]));
        let mut lines = csv::Reader::from_path(folder.path().join("predictions.csv")).unwrap();
        let predicted = metrics["train_rows"].as_u64().unwrap() + metrics["test_rows"].as_u64().unwrap();
        assert_eq!(lines.headers().unwrap()[0], *metrics["target"].as_str().unwrap(), "{what}");
        let lines = lines.records().collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!(lines.len() as u64, predicted, "{what}");
    }
}

/// Seconds since 1970, ids, metres: large numbers with small differences between rows.
#[test]
fn large_numbers_that_differ_little_are_learned_and_predicted() {
    let folder = tempfile::tempdir().unwrap();
    let rows = |row: &dyn Fn(f64) -> String| (0..200).map(|i| row(f64::from(i))).collect::<String>();
    for (what, table) in [
        ("a feature", rows(&|i| format!("{},{}.5\n", 1_700_000_000.0 + i, i))),
        ("a target", rows(&|i| format!("{i},{}\n", 1_700_000_000.0 + i))),
        ("both", rows(&|i| format!("{},{}\n", 1e8 + 0.1 * i, -1e12 - 3.0 * i))),
    ] {
        fs::write(folder.path().join("table.csv"), format!("x,y\n{table}")).unwrap();
        let metrics = train(folder.path(), "table.csv", "--epochs 30 --device cpu");
        assert!(metrics["test_r2"].as_f64().unwrap() > 0.99, "{what}: {}", metrics["test_r2"]);
        stdout(&thalweg_in(folder.path(), &["predict", "model.safetensors", "table.csv", "--device", "cpu"]));
        let predictions = fs::read_to_string(folder.path().join("predictions.csv")).unwrap();
        let values: Vec<f64> = predictions.lines().skip(1).map(|line| line.parse().unwrap()).collect();
        let expected: Vec<f64> = table.lines().map(|line| line.split(',').nth(1).unwrap().parse().unwrap()).collect();
        let spread = expected[199] - expected[0];
        // The network's errors are some hundredths of the spread.
        for (value, expected) in values.iter().zip(&expected) {
            assert!(((value - expected) / spread).abs() < 0.1, "{what}: {value}, {expected}");
        }
    }
}

#[test]
fn the_end_says_how_well_it_went_and_where_the_model_is() {
    let folder = tempfile::tempdir().unwrap();
    let iris = example(folder.path(), "iris.csv");
    let text = stdout(&thalweg_in(folder.path(), &["train", &iris, "--out", "iris.safetensors", "--device", "cpu"]));
    for part in ["classification of \"species\" from 4 features, 120 rows", "2000 steps", "test accuracy"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(text.ends_with(" predict iris.safetensors DATA.csv\n"), "{text}");
    // Only the table and the model are left.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_range_test_suggests_a_learning_rate_and_saves_a_picture_alone() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    example(folder, "iris.csv");
    let text = stdout(&thalweg_in(folder, &["train", "iris.csv", "--device", "cpu", "--range-test", "rates.svg"]));
    assert!(text.contains("falls steepest at --lr ") && text.contains("rates.svg; nothing was trained"), "{text}");
    let picture = std::fs::read_to_string(folder.join("rates.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("learning rate"));
    assert!(!folder.join("model.safetensors").exists());
    let refused = thalweg_in(folder, &["train", "iris.csv", "--range-test", "rates.svg", "--out", "model"]);
    assert!(error_line(&refused, 2).contains("--range-test"));
}

#[test]
fn a_loss_is_chosen_by_name_and_must_fit_the_target() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (data, loss, problem) in [
        ("iris.csv", "cross-entropy", "mse is not for classes, which the target holds; choose cross-entropy"),
        ("friedman.csv", "mse", "cross-entropy is not for numbers, which the target holds; choose mse"),
    ] {
        let data = example(folder, data);
        let plain = losses(&train(folder, &data, "--epochs 2 --device cpu"), "train_loss");
        let chosen = losses(&train(folder, &data, &format!("--epochs 2 --device cpu --loss {loss}")), "train_loss");
        assert_eq!(plain, chosen, "{loss} is the default");
        let other = if loss == "mse" { "cross-entropy" } else { "mse" };
        let refused = thalweg_in(folder, &["train", &data, "--device", "cpu", "--loss", other]);
        let line = error_line(&refused, 2);
        assert!(line.contains(&format!("--loss: {problem}")), "{line}");
    }
}
