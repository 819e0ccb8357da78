//! The program's messages about data and networks: classes and their rows, a network that has learned nothing, paths.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::common::{example, stdout, thalweg_in};

fn train(folder: &Path, flags: &str) -> Output {
    thalweg_in(folder, &format!("train {flags} --device cpu").split(' ').collect::<Vec<_>>())
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

#[test]
fn few_classes_are_listed_with_their_rows() {
    let folder = tempfile::tempdir().unwrap();
    example(folder.path(), "iris.csv");
    let output = train(folder.path(), "iris.csv --epochs 20");
    assert!(
        stdout(&output).contains("\nrows of each class: setosa: 50, versicolor: 50, virginica: 50\n"),
        "{output:?}"
    );
    assert!(stderr(&output).is_empty(), "{output:?}");
    let rows: String = (0..300).map(|i| format!("{i},class {}\n", i % 30)).collect();
    fs::write(folder.path().join("many.csv"), format!("x,y\n{rows}")).unwrap();
    assert!(!stdout(&train(folder.path(), "many.csv --epochs 1")).contains("rows of each class"));
}

#[test]
fn classes_that_may_be_slips_are_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let rows = |last: &str| {
        let rows: String = (0..40).map(|i| format!("{i},{}\n", if i < 20 { "yes" } else { "no" })).collect();
        format!("x,y\n{rows}{last}")
    };
    for (last, warnings) in [
        ("", &[][..]),
        (
            "40,NA\n41,?\n42,?\n",
            &["\"?\" is a class, of 2 rows; if it marks", "\"NA\" is a class, of 1 row; if it marks"],
        ),
        ("40,ys\n", &["column \"y\": class \"ys\" has one row"]),
        ("40,a\n41,b\n42,c\n", &["3 classes have one row each, among them \"a\" and \"c\""]),
    ] {
        fs::write(folder.path().join("t.csv"), rows(last)).unwrap();
        let output = train(folder.path(), "t.csv --epochs 60 --test-fraction 0");
        stdout(&output);
        let text = stderr(&output);
        assert_eq!(text.lines().count(), warnings.len(), "{text}");
        for (line, warning) in text.lines().zip(warnings) {
            assert!(line.starts_with("warning: ") && line.contains(warning), "{line}");
        }
    }
}

#[test]
fn classes_are_called_as_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let classes = ["007", "7", "A1", "B2", "C3"];
    let rows: String = (0..100).map(|i| format!("{i},{}\n", classes[i / 20])).collect();
    fs::write(folder.path().join("t.csv"), format!("x,y\n{rows}")).unwrap();
    stdout(&train(folder.path(), "t.csv --epochs 2"));
    stdout(&thalweg_in(folder.path(), &["predict", "model.safetensors", "t.csv", "--device", "cpu"]));
    let text = fs::read_to_string(folder.path().join("predictions.csv")).unwrap();
    let expected = "y,probability_007,probability_7,probability_A1,probability_B2,probability_C3";
    assert_eq!(text.lines().next(), Some(expected));
}

#[test]
fn a_network_that_has_learned_nothing_is_not_reported_as_a_success() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["iris.csv", "friedman.csv"] {
        example(folder.path(), name);
    }
    // Numbers without a rule: the middle digits of squares.
    let noise = |i: u64| ((i * 7919 + 13) % 10_007).pow(3) / 1000 % 1000;
    let row = |i: u64, y: String| (0..20).map(|j| format!("{},", noise(20 * i + j))).collect::<String>() + &y + "\n";
    let header = (0..20).map(|j| format!("x{j},")).collect::<String>() + "y\n";
    let classes: String = (0..200).map(|i| row(i, ["a", "b"][(noise(5000 + i) % 2) as usize].to_string())).collect();
    let values: String = (0..200).map(|i| row(i, format!("{}.5", noise(9000 + i)))).collect();
    fs::write(folder.path().join("classes.csv"), header.clone() + &classes).unwrap();
    fs::write(folder.path().join("values.csv"), header + &values).unwrap();
    for (flags, guess) in [
        ("iris.csv --lr 100", "no better than always saying \"setosa\", which is right for 33.33 % of the test rows"),
        ("iris.csv --lr 100 --test-fraction 0", "which is right for 33.33 % of the training rows"),
        ("classes.csv", "no better than always saying"),
        ("values.csv", "no better than the mean of \"y\" on the test rows"),
    ] {
        let output = train(folder.path(), &format!("{flags} --metrics metrics.json"));
        assert!(stdout(&output).contains(guess), "{flags}: {output:?}");
        assert!(stderr(&output).starts_with("warning: the network has learned nothing"), "{flags}: {output:?}");
        let metrics = fs::read_to_string(folder.path().join("metrics.json")).unwrap();
        assert!(metrics.contains("\"no_better_than\": "), "{flags}: {metrics}");
    }
    for flags in ["iris.csv --epochs 50", "friedman.csv --epochs 40"] {
        let output = train(folder.path(), flags);
        assert!(!stdout(&output).contains("no better than") && stderr(&output).is_empty(), "{flags}: {output:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_path_with_blanks_can_be_pasted_into_a_shell() {
    let folder = tempfile::tempdir().unwrap();
    example(folder.path(), "iris.csv");
    let arguments = ["train", "iris.csv", "--epochs", "2", "--device", "cpu", "--out", "my model"];
    let text = stdout(&thalweg_in(folder.path(), &arguments));
    assert!(text.ends_with(" predict 'my model' DATA.csv\n"), "{text}");
}
