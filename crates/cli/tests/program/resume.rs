//! `thalweg train --checkpoint` and `--resume`: a killed run continues to the same model.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{adapters, error_line, example, stdout, thalweg_in};

const FLAGS: &str = "train iris.csv --dropout 0.1 --hidden 16 --batch-size 4";

fn run(folder: &Path, flags: &str) -> std::process::Output {
    thalweg_in(folder, &format!("{FLAGS} {flags}").split_whitespace().collect::<Vec<_>>())
}

/// Starts a run with checkpoints and kills it after the first of them.
fn kill(folder: &Path, flags: &str) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_thalweg"))
        .current_dir(folder)
        .args(format!("{FLAGS} {flags} --checkpoint run --checkpoint-every 1 --out killed").split_whitespace())
        .stdout(Stdio::null())
        .spawn()
        .expect("the program starts");
    let start = Instant::now();
    while !folder.join("run").exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "no checkpoint comes");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().expect("it runs");
    child.wait().expect("it runs");
    assert!(!folder.join("killed").exists(), "the run has ended before it was killed");
}

#[test]
fn a_run_that_was_killed_goes_on_to_the_same_model() {
    let devices = if adapters().is_empty() { vec!["cpu"] } else { vec!["cpu", "gpu"] };
    for device in devices {
        for optimizer in ["adamw", "schedule-free-adamw"] {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path();
            example(folder, "iris.csv");
            let flags = format!("--epochs 60 --device {device} --optimizer {optimizer}");
            stdout(&run(folder, &format!("{flags} --out whole --metrics whole.json")));
            kill(folder, &flags);
            let text = stdout(&run(
                folder,
                &format!("{flags} --resume run --checkpoint run --out resumed --metrics resumed.json"),
            ));
            assert!(text.contains(" of them done"), "{text}");
            let [whole, resumed] = ["whole", "resumed"].map(|name| fs::read(folder.join(name)).unwrap());
            assert!(whole == resumed, "{optimizer} on {device}: another model");
            let [whole, resumed] = ["whole.json", "resumed.json"].map(|name| {
                let metrics: serde_json::Value = serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap();
                ["epochs", "train_loss", "test_loss", "gradient_norm", "lr", "test_accuracy", "train_accuracy"]
                    .map(|field| metrics[field].clone())
            });
            assert_eq!(whole, resumed, "{optimizer} on {device}: other metrics");
        }
    }
}

/// Returns the parameters of a model, with their names.
fn parameters(file: &Path) -> Vec<(String, Vec<u8>)> {
    let bytes = fs::read(file).expect("the file is there");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("it is a safetensors file");
    let mut parameters: Vec<_> =
        tensors.iter().map(|(name, tensor)| (name.to_string(), tensor.data().to_vec())).collect();
    parameters.sort();
    parameters
}

#[test]
fn a_checkpoint_of_format_1_goes_on_to_the_bits_of_the_program_that_wrote_it() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/format1");
    for (name, flags) in [
        ("adamw", ""),
        ("nesterov", "--schedule cyclic"),
        ("rprop", "--lr 0.002"),
        ("muon", "--lr 0.03"),
        ("prodigy", ""),
        ("adamw8bit", ""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        // Columns of mean 0 and deviation 1, which that program, with tables in f32, rounded as this one does.
        fs::copy(fixtures.join("signs.csv"), folder.join("signs.csv")).unwrap();
        fs::copy(fixtures.join(format!("{name}.checkpoint")), folder.join("run")).unwrap();
        let flags = format!(
            "train signs.csv --device cpu --hidden 4 --epochs 6 --seed 3 --test-fraction 0 --optimizer {name} {flags} \
             --resume run --out whole"
        );
        let text = stdout(&thalweg_in(folder, &flags.split_whitespace().collect::<Vec<_>>()));
        assert!(text.contains("4 epochs of them done"), "{name}: {text}");
        let expected = parameters(&fixtures.join(format!("{name}.model")));
        assert!(parameters(&folder.join("whole")) == expected, "{name}: other parameters");
    }
}

#[test]
fn a_flag_that_has_changed_is_named_with_both_values() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    example(folder, "iris.csv");
    stdout(&thalweg_in(
        folder,
        &"train iris.csv --device cpu --checkpoint run --epochs 2".split(' ').collect::<Vec<_>>(),
    ));
    for (flags, expected) in [
        ("--epochs 2 --optimizer sgd", "--optimizer adamw, but now it is sgd"),
        ("--epochs 2 --lr 0.5", "--lr 0.001, but now it is 0.5"),
        ("--epochs 2 --hidden 8", "--hidden 128,64, but now it is 8"),
        ("--epochs 2 --clip-norm 0", "--clip-norm 1, but now it is 0"),
        ("--epochs 2 --activation tanh", "--activation relu, but now it is tanh"),
        ("--epochs 2 --dropout 0.5", "--dropout 0, but now it is 0.5"),
        ("--epochs 2 --weight-decay 0", "--weight-decay 0.01, but now it is 0"),
        ("--epochs 2 --schedule constant", "--schedule warmup-cosine, but now it is constant"),
        ("--epochs 2 --warmup 0.5", "--warmup its default, but now it is 0.5"),
        ("--epochs 2 --seed 1", "--seed 0, but now it is 1"),
        // Without --epochs, their number follows from these.
        ("--test-fraction 0.5", "--test-fraction 0.2, but now it is 0.5"),
        ("--batch-size 7", "--batch-size 64, but now it is 7"),
        ("", "--epochs 2, but now it is 1000"),
    ] {
        let command = format!("train iris.csv --device cpu --resume run {flags}");
        let line = error_line(&thalweg_in(folder, &command.split_whitespace().collect::<Vec<_>>()), 2);
        assert!(line.contains(&format!("--resume run: the run had {expected}; ")), "{flags}: {line}");
    }
    let text = fs::read_to_string(folder.join("iris.csv")).unwrap();
    fs::write(folder.join("iris.csv"), &text[..text.trim_end().rfind('\n').unwrap()]).unwrap();
    let line = error_line(&thalweg_in(folder, &["train", "iris.csv", "--device", "cpu", "--resume", "run"]), 2);
    assert!(line.contains("the run had DATA of rows: 150, but now it is 149"), "{line}");
}

#[test]
fn a_run_goes_on_beyond_its_planned_length() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    example(folder, "iris.csv");
    let rates = |name: &str| -> Vec<f64> {
        let metrics: serde_json::Value = serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap();
        metrics["lr"].as_array().unwrap().iter().map(|lr| lr.as_f64().unwrap()).collect()
    };
    for schedule in ["constant", "warmup-cosine", "one-cycle"] {
        let flags = format!("--device cpu --optimizer sgd --schedule {schedule}");
        stdout(&run(folder, &format!("{flags} --epochs 8 --out whole --metrics whole.json")));
        stdout(&run(folder, &format!("{flags} --epochs 4 --checkpoint run --out short --metrics short.json")));
        let text = stdout(&run(
            folder,
            &format!("{flags} --epochs 8 --resume run --checkpoint longer --out longer.model --metrics longer.json"),
        ));
        assert!(text.contains("8 epochs of ") && text.contains("4 epochs of them done"), "{text}");
        assert_eq!(rates("longer.json"), [&rates("short.json")[..], &rates("whole.json")[4..]].concat(), "{schedule}");
        let [whole, longer] = ["whole", "longer.model"].map(|name| fs::read(folder.join(name)).unwrap());
        assert_eq!(whole == longer, schedule == "constant", "{schedule}");
        // The longer run equals a run of its length.
        stdout(&run(folder, &format!("{flags} --epochs 8 --resume longer --out again.model")));
        assert!(fs::read(folder.join("again.model")).unwrap() == longer, "{schedule}");
        let line = error_line(&run(folder, &format!("{flags} --epochs 3 --resume run")), 2);
        assert!(line.contains("--epochs: the run has done 4, and cannot end after 3; give at least 4"), "{line}");
    }
}

#[test]
fn the_next_run_removes_what_a_killed_one_was_writing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    example(folder, "iris.csv");
    let half = folder.join(".thalweg-abcdefghijkl.tmp");
    fs::write(&half, b"half of a checkpoint").unwrap();
    kill(folder, "--device cpu --epochs 60");
    stdout(&run(folder, "--device cpu --epochs 60 --resume run --checkpoint run"));
    let left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".thalweg")), "{left:?}");
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    example(folder, "iris.csv");
    let flags = "--device cpu --epochs 2";
    stdout(&run(folder, &format!("{flags} --checkpoint run")));
    for (flags, expected) in [
        ("--device cpu --epochs 2 --resume iris.csv", "iris.csv: "),
        (
            "--device cpu --epochs 2 --out other --resume model.safetensors",
            "model.safetensors: training: the file is no checkpoint",
        ),
        ("--device cpu --epochs 2 --resume missing", "--resume: cannot read missing: "),
        ("--device cpu --resume run --out run", "--out run: this is also the file of --resume"),
        ("--device cpu --checkpoint iris.csv", "--checkpoint iris.csv: this is also the file of DATA"),
        ("--device cpu --checkpoint no/run", "--checkpoint no/run: "),
        (
            "--device cpu --checkpoint-every 3",
            "--checkpoint-every 3: it must be left out, or come with the --checkpoint FILE",
        ),
        ("--device cpu --checkpoint run --checkpoint-every 0", "'--checkpoint-every <N>'"),
    ] {
        let line = error_line(&run(folder, flags), 2);
        assert!(line.contains(expected), "{flags}: {line}");
    }
}
