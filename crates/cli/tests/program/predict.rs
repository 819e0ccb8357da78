//! `thalweg predict`: a line for each row, and the same on every device.

use std::fs;
use std::path::Path;

use crate::common::{adapters, error_line, example, stdout, thalweg_in};

fn run(folder: &Path, command: &str) -> String {
    stdout(&thalweg_in(folder, &command.split_whitespace().collect::<Vec<_>>()))
}

/// Returns the predictions in this file: names of columns, and lines.
fn read(path: &Path) -> (Vec<String>, Vec<Vec<String>>) {
    let mut reader = csv::Reader::from_path(path).expect("as written");
    let names = reader.headers().expect("names").iter().map(str::to_string).collect();
    let lines = reader.records().map(|line| line.expect("a line").iter().map(str::to_string).collect()).collect();
    (names, lines)
}

#[test]
fn most_of_iris_is_recognised_whatever_the_columns_and_the_device() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let iris = example(folder.path(), "iris.csv");
    run(folder.path(), &format!("train {iris} --epochs 200 --device cpu"));
    run(folder.path(), &format!("predict model.safetensors {iris} --device cpu"));
    let (names, lines) = read(&at("predictions.csv"));
    assert_eq!(names, ["species", "probability_setosa", "probability_versicolor", "probability_virginica"]);

    let text = fs::read_to_string(at(&iris)).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), rows.len() - 1);
    let right = lines.iter().zip(&rows[1..]).filter(|(line, row)| line[0] == row[4]).count();
    assert!(right > 140, "{right} of 150");
    for line in &lines {
        let probabilities: Vec<f64> = line[1..].iter().map(|cell| cell.parse().unwrap()).collect();
        let best = (0..3).max_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b])).unwrap();
        assert_eq!(names[1 + best], format!("probability_{}", line[0]));
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{line:?}");
    }

    // Without the target, in another order, with one more column.
    let turned: String = rows.iter().map(|row| format!("{},{},note,{},{}\n", row[3], row[1], row[0], row[2])).collect();
    fs::write(at("turned.csv"), turned.replacen("note", "remark", 1)).unwrap();
    run(folder.path(), "predict model.safetensors turned.csv --out turned-out.csv --device cpu");
    assert_eq!(fs::read(at("turned-out.csv")).unwrap(), fs::read(at("predictions.csv")).unwrap());

    for adapter in adapters() {
        run(folder.path(), &format!("predict model.safetensors {iris} --out gpu.csv --device {}", adapter["index"]));
        let (_, others) = read(&at("gpu.csv"));
        for (line, other) in lines.iter().zip(&others) {
            assert_eq!(line[0], other[0]);
            for (a, b) in line[1..].iter().zip(&other[1..]) {
                let (a, b): (f64, f64) = (a.parse().unwrap(), b.parse().unwrap());
                assert!((a - b).abs() < 1e-4, "{line:?} {other:?}");
            }
        }
    }
}

#[test]
fn values_come_in_the_unit_of_the_target() {
    let folder = tempfile::tempdir().unwrap();
    let friedman = example(folder.path(), "friedman.csv");
    run(folder.path(), &format!("train {friedman} --epochs 40 --device cpu"));
    run(folder.path(), &format!("predict model.safetensors {friedman} --device cpu"));
    let (names, lines) = read(&folder.path().join("predictions.csv"));
    assert_eq!((names.len(), lines.len()), (1, 1000));
    let text = fs::read_to_string(folder.path().join(&friedman)).unwrap();
    let expected: Vec<f64> =
        text.lines().skip(1).map(|line| line.rsplit(',').next().unwrap().parse().unwrap()).collect();
    let mean = expected.iter().sum::<f64>() / 1000.0;
    let total: f64 = expected.iter().map(|y| (y - mean).powi(2)).sum();
    let residual: f64 =
        lines.iter().zip(&expected).map(|(line, y)| (line[0].parse::<f64>().unwrap() - y).powi(2)).sum();
    assert!(1.0 - residual / total > 0.8, "R² {}", 1.0 - residual / total);
}

#[test]
fn packed_tables_are_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let digits = example(folder.path(), "digits.csv.gz");
    run(folder.path(), &format!("train {digits} --epochs 2 --device cpu"));
    run(folder.path(), &format!("predict model.safetensors {digits} --device cpu"));
    assert_eq!(read(&folder.path().join("predictions.csv")).1.len(), 1797);
}

/// All of these rows at once would take 135 MB in the wide layer, more than many devices can bind.
#[test]
fn many_rows_go_through_a_wide_layer_on_every_device() {
    let folder = tempfile::tempdir().unwrap();
    let iris = example(folder.path(), "iris.csv");
    run(folder.path(), &format!("train {iris} --epochs 5 --hidden 2048 --device cpu"));
    let text = fs::read_to_string(folder.path().join(&iris)).unwrap();
    let (header, rows) = text.split_once('\n').unwrap();
    fs::write(folder.path().join("many.csv"), format!("{header}\n{}", rows.repeat(110))).unwrap();
    run(folder.path(), "predict model.safetensors many.csv --device cpu");
    let (_, expected) = read(&folder.path().join("predictions.csv"));
    assert_eq!(expected.len(), 16_500);
    // Every portion has the same rows.
    assert!(expected.iter().enumerate().all(|(i, line)| *line == expected[i % 150]));
    for adapter in adapters() {
        run(folder.path(), &format!("predict model.safetensors many.csv --out gpu.csv --device {}", adapter["index"]));
        let (_, lines) = read(&folder.path().join("gpu.csv"));
        let same = lines.iter().zip(&expected).filter(|(line, expected)| line[0] == expected[0]).count();
        // Classes of nearly equal probability may change places.
        assert!(lines.len() == expected.len() && same > 16_400, "{same} of {}", lines.len());
    }
}

#[test]
fn a_row_without_a_finite_prediction_is_named() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &format!("train {} --epochs 2 --device cpu", example(folder.path(), "iris.csv")));
    let header = fs::read_to_string(folder.path().join("iris.csv")).unwrap().lines().next().unwrap().to_string();
    fs::write(folder.path().join("far.csv"), format!("{header}\n1,2,3,4,x\n\n1e38,3e38,-3e38,1e38,x\n")).unwrap();
    let line =
        error_line(&thalweg_in(folder.path(), &["predict", "model.safetensors", "far.csv", "--device", "cpu"]), 2);
    assert!(line.contains("far.csv, line 4"), "{line}");
    assert!(!folder.path().join("predictions.csv").exists());
}

#[cfg(unix)]
#[test]
fn a_stream_gets_the_predictions_alone() {
    let folder = tempfile::tempdir().unwrap();
    let iris = example(folder.path(), "iris.csv");
    run(folder.path(), &format!("train {iris} --epochs 2 --device cpu"));
    let text = run(folder.path(), &format!("predict model.safetensors {iris} --out /dev/stdout --device cpu"));
    assert_eq!(text.lines().count(), 151, "{text}");
}
