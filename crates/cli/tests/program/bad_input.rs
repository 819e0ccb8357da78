//! Bad input gives one line that names the file, line, column or flag, and status 2, and does not change files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{adapters, error_line, example, stdout, thalweg_in};

/// Returns every file in a folder and below, with its content.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(contents(&path));
            found.insert(path, None);
        } else {
            found.insert(path.clone(), Some(fs::read(&path).expect("a file")));
        }
    }
    found
}

/// Runs a command that must fail with this status and one line that has all of these parts, and must change no file.
fn refused(folder: &Path, status: i32, command: &str, parts: &[&str]) {
    let before = contents(folder);
    let arguments: Vec<&str> = command.split(' ').collect();
    let output = thalweg_in(folder, &arguments);
    // Training reports its plan, and may fail after it.
    let started = !output.stdout.is_empty();
    let line = error_line(&std::process::Output { stdout: Vec::new(), ..output }, status);
    assert!(!started || status == 1 || line.contains("diverged"), "{command}: found out too late: {line}");
    for part in parts {
        assert!(line.contains(part), "{command}: {part:?} is not in {line}");
    }
    assert!(before == contents(folder), "{command}: files have changed");
}

/// Returns a folder with iris, a model of it, and outputs of earlier runs.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    example(at, "iris.csv");
    let arguments = ["train", "iris.csv", "--epochs", "2", "--device", "cpu", "--metrics", "metrics.json"];
    stdout(&thalweg_in(at, &arguments));
    fs::write(at.join("predictions.csv"), "old").expect("written");
    fs::create_dir(at.join("a-folder")).expect("made");
    fs::write(at.join("read-only"), "old").expect("written");
    let mut permissions = fs::metadata(at.join("read-only")).expect("there").permissions();
    permissions.set_readonly(true);
    fs::set_permissions(at.join("read-only"), permissions).expect("set");
    folder
}

/// Returns a header, some good rows, then these lines.
fn table(lines: &str) -> String {
    let rows: String = (0..20).map(|i| format!("{i},{},{}\n", 20 - i, if i < 10 { "left" } else { "right" })).collect();
    format!("x,z,side\n{rows}{lines}")
}

#[test]
fn tables_that_cannot_be_learned_from() {
    let folder = folder();
    let numbered = |lines: &str| table(lines).replace("left", "1.5").replace("right", "2.5");
    for (content, flags, parts) in [
        (String::new(), "", &["the file is empty"][..]),
        ("x,y\n".to_string(), "", &["no row"]),
        (table("1,2\n"), "", &["line 22", "2 cells", "3 columns"]),
        (table("\n\n1,2,left,4\n"), "", &["line 24", "4 cells"]),
        (table("1,two,left\n"), "", &["line 22", "\"z\"", "\"two\" is not a number"]),
        (table("1,NaN,left\n"), "", &["line 22", "\"z\"", "NaN"]),
        (table("1,-inf,left\n"), "", &["line 22", "\"z\"", "-inf"]),
        (table("1e39,2,left\n"), "", &["line 22", "\"x\"", "1e39"]),
        (table("1,,left\n"), "", &["line 22", "\"z\"", "empty"]),
        (table("1,2,\n"), "", &["line 22", "\"side\"", "empty"]),
        (table("1,2,left\n"), " --target y", &["\"y\"", "x, z, side"]),
        (table(""), " --target z", &["line 2", "\"side\"", "\"left\" is not a number"]),
        (table(""), " --task regression", &["line 2", "\"side\"", "\"left\" is not a number"]),
        (numbered("1,2,nan\n"), "", &["line 22", "\"side\"", "nan"]),
        (numbered("1,2,inf\n"), " --task classification", &["line 22", "\"side\"", "inf"]),
        (numbered("1,2,much\n"), "", &["line 22", "\"side\"", "\"much\" is not a number"]),
        ("x,y\n1,a\n2,a\n".to_string(), "", &["\"y\"", "class \"a\""]),
        ("x,y\n1,a\n".to_string(), "", &["\"y\"", "class \"a\""]),
        ("x,y\n1,0.5\n2,0.5\n".to_string(), "", &["\"y\"", "0.5"]),
        ("x,y\n1,a\n2,b\n3,c\n".to_string(), "", &["\"y\"", "a class of its own", "fraction of 0"]),
        ("y\na\nb\na\n".to_string(), "", &["\"y\"", "no other column"]),
        ("y\n0.5\n1.5\n".to_string(), "", &["\"y\"", "no other column"]),
        ("x,x,y\n1,2,a\n".to_string(), "", &["line 1", "\"x\"", "two columns"]),
        ("x,,y\n1,2,a\n".to_string(), "", &["line 1", "column 2"]),
        ("x;y\n1;a\n".to_string(), "", &["line 1", "comma"]),
        ("1.5,2.5\n1,2\n".to_string(), "", &["line 1", "column names"]),
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n".to_string(), "", &["line 1", "put a line of column names in front of it"]),
        ("0,0,0,1\n1,0,1,1\n".to_string(), "", &["line 1", "column names"]),
        ("1,2,2,4\n5,6,7,8\n".to_string(), "", &["line 1", "column names"]),
        ("x|z|y\n1|2|a\n".to_string(), "", &["line 1", "vertical bars", "commas"]),
        ("x z y\n1 2 a\n".to_string(), "", &["line 1", "blanks", "commas"]),
        (format!("sep=,\n{}", table("")), "", &["line 1", "\"sep=,\" is neither column names nor a row"]),
        (format!("# made by hand\n{}", table("")), "", &["line 1", "\"# made by hand\" is neither"]),
        (table("# the end\n"), "", &["line 22", "\"# the end\" is neither"]),
        (table("1,2,\"left\n"), "", &["line 22", "a quote opens in this line and is never closed"]),
        (table("").replacen("5,15,left", "5,15,\"left", 1), "", &["line 7", "quote opens in this line"]),
        (table("1,2,\"le\"ft\n"), "", &["line 22", "text after its closing quote"]),
        (table("1,\"5,left\n2,3,right\n3,\"6,left\n"), "", &["line 22", "quote"]),
        (table("").replacen("x,z,side", "x,\"z,side", 1), "", &["line 1", "quote opens"]),
        (table("1,NA,left\n"), "", &["line 22", "\"z\"", "\"NA\" marks a missing value", "leave the row out"]),
        (numbered("1,2,NA\n"), "", &["line 22", "\"side\"", "\"NA\" marks a missing value", "leave the row out"]),
        (format!("x,y\n1,{}\n2\n", "long".repeat(1_000_000)), "", &["line 3", "1 cell,"]),
        ("x,y\n1,\u{1b}[31m\n2,\u{1b}[31m\n".to_string(), "", &["\\u{1b}[31m"]),
    ] {
        fs::write(folder.path().join("bad.csv"), &content).unwrap();
        let parts = [&["bad.csv"], parts].concat();
        for output in ["", " --metrics metrics.json"] {
            refused(folder.path(), 2, &format!("train bad.csv --device cpu{output}{flags}"), &parts);
        }
    }
    for (content, part) in
        [(&b"x,y\n1,a\n2,\xff\n"[..], "line 3"), (b"\x1f\x8b\x08\0\0\0", "gzip"), (b"\0\xff\0", "line 1")]
    {
        fs::write(folder.path().join("bad.csv"), content).unwrap();
        refused(folder.path(), 2, "train bad.csv --device cpu", &["bad.csv", part]);
    }
    refused(folder.path(), 2, "train none.csv", &["none.csv"]);
    refused(folder.path(), 2, "train a-folder", &["a-folder"]);
}

#[test]
fn flags_with_values_that_cannot_be() {
    let folder = folder();
    for (flag, values) in [
        ("--lr", &["nan", "-1", "inf", "", "fast"][..]),
        ("--hidden", &["0", ",", "", "-4", "64,0", "999999999", "wide"]),
        ("--batch-size", &["0", "-1", "1.5", "99999999999"]),
        ("--epochs", &["0", "-1", "4294967295"]),
        ("--test-fraction", &["1", "-0.5", "nan", "2"]),
        ("--dropout", &["1", "-1", "nan"]),
        ("--momentum", &["1", "-1", "nan"]),
        ("--weight-decay", &["-1", "nan"]),
        ("--clip-norm", &["-1", "nan", "inf"]),
        ("--seed", &["-1", "99999999999999999999", "x"]),
        ("--task", &["clustering"]),
        ("--optimizer", &["lbfgs"]),
        ("--activation", &["step"]),
        ("--schedule", &["never"]),
        ("--warmup", &["1", "-0.1", "nan"]),
        ("--device", &["", "4096", "no-such-device"]),
        ("--matmul-precision", &["f8", "16"]),
        ("--no-such-flag", &["1"]),
    ] {
        for value in values {
            refused(folder.path(), 2, &format!("train iris.csv {flag} {value}"), &[flag]);
        }
    }
    refused(folder.path(), 2, "train iris.csv --optimizer rprop --weight-decay 0.1", &["--weight-decay", "rprop"]);
    refused(folder.path(), 2, "train iris.csv --optimizer lion --momentum 0.5", &["--momentum", "lion has no"]);
    let command = "train iris.csv --device cpu --matmul-precision f16";
    refused(folder.path(), 2, command, &["--matmul-precision", "cpu has no cooperative matrices"]);
    let command = "train iris.csv --matmul-precision f16 --clip-value 1";
    refused(folder.path(), 2, command, &["--clip-value", "--clip-norm"]);
    refused(folder.path(), 2, "train iris.csv --momentum 0.9", &["--momentum", "adamw has no"]);
    for schedule in ["cyclic", "one-cycle"] {
        let command = format!("train iris.csv --schedule {schedule} --warmup 0.1");
        refused(folder.path(), 2, &command, &["--warmup 0.1", schedule]);
    }
    refused(folder.path(), 2, "train iris.csv --optimizer nesterov --momentum 0", &["--nesterov", "momentum"]);
    refused(folder.path(), 2, "train iris.csv --hidden 65536,65536 --device cpu", &["--hidden", "parameters"]);
    // A layer of 4 GiB: over the limit of any adapter's bindings, or of the program.
    for adapter in adapters() {
        let command = format!("train iris.csv --hidden 65536,16384 --device {}", adapter["index"]);
        refused(folder.path(), 2, &command, &["--hidden"]);
        // A layer that the program accepts, on an adapter whose limit is known to be lower.
        if adapter["max_binding_bytes"].as_u64().unwrap() < 200 << 20 {
            let command = format!("train iris.csv --hidden 60000,1000 --device {}", adapter["index"]);
            refused(folder.path(), 2, &command, &["--hidden", "--device", "limit"]);
        }
    }
    refused(folder.path(), 2, "train iris.csv --test-fraction 0.999 --target sepal_width_cm", &["species"]);
    refused(folder.path(), 2, "train --device cpu", &["<DATA>"]);
    refused(folder.path(), 2, "predict --device cpu", &["<MODEL>"]);
}

#[test]
fn outputs_that_cannot_be_written() {
    let folder = folder();
    for path in [
        "a-folder",
        "none/file",
        "read-only",
        "read-only/file",
        ".",
        "",
        "iris.csv",
        "./iris.csv",
        "a-folder/../iris.csv",
    ] {
        for flag in ["--out", "--metrics"] {
            refused(folder.path(), 2, &format!("train iris.csv --device cpu --epochs 2 {flag} {path}"), &[flag, path]);
        }
        let command = format!("predict model.safetensors iris.csv --device cpu --out {path}");
        refused(folder.path(), 2, &command, &["--out", path]);
    }
    let same = "train iris.csv --device cpu --out new --metrics ./new";
    refused(folder.path(), 2, same, &["--metrics ./new", "--out"]);
    let same = "predict model.safetensors iris.csv --device cpu --out model.safetensors";
    refused(folder.path(), 2, same, &["--out model.safetensors", "MODEL"]);
    if cfg!(target_os = "linux") {
        // A full disk is the machine's failure.
        for flag in ["--out", "--metrics"] {
            let command = format!("train iris.csv --device cpu --epochs 2 --out /dev/null {flag} /dev/full");
            let command = command.replace("--out /dev/null --out", "--out");
            refused(folder.path(), 1, &command, &[flag, "/dev/full", "No space"]);
        }
    }
}

/// The shell limits each file to a few thousand bytes, as a full disk would.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_leaves_the_old_files_whole() {
    let folder = folder();
    let before = contents(folder.path());
    let program = env!("CARGO_BIN_EXE_thalweg");
    for flags in ["--out model.safetensors", "--out new --checkpoint run --checkpoint-every 1"] {
        let script =
            format!("trap '' XFSZ; ulimit -f 8; exec {program} train iris.csv --epochs 2 --device cpu {flags}");
        let output = std::process::Command::new("bash").current_dir(&folder).args(["-c", &script]).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.starts_with("error: ") && text.contains("too large"), "{text}");
        assert!(before == contents(folder.path()), "{flags}: files have changed");
    }
}

#[test]
fn what_a_device_cannot_hold_is_named_with_rows_layer_flag_and_bytes() {
    let folder = folder();
    for adapter in adapters() {
        let most = adapter["max_binding_bytes"].as_u64().unwrap();
        let rows = 150_000;
        let width = most / 4 / rows + 1;
        if width > 65_536 {
            continue;
        }
        let line = |i: u64| format!("{i},{}\n", if i.is_multiple_of(2) { "a" } else { "b" });
        fs::write(folder.path().join("long.csv"), format!("x,y\n{}", (0..rows).map(line).collect::<String>())).unwrap();
        let command = format!(
            "train long.csv --hidden {width} --batch-size {rows} --test-fraction 0 --device {}",
            adapter["index"]
        );
        let bytes = (4 * rows * width).to_string();
        refused(
            folder.path(),
            2,
            &command,
            &["--batch-size", "150000 rows", &format!("{width} units"), &bytes, "--hidden"],
        );
        fs::remove_file(folder.path().join("long.csv")).unwrap();
    }
}

#[test]
fn training_that_diverges_keeps_the_old_model() {
    let folder = folder();
    let gpu = !adapters().is_empty();
    for device in ["cpu", "gpu"].into_iter().filter(|&device| gpu || device == "cpu") {
        for flags in
            ["--lr 1e30", "--lr 1e30 --clip-norm 0", "--lr 1e30 --epochs 1 --clip-norm 0", "--weight-decay 1e30"]
        {
            let command = format!("train iris.csv --device {device} --metrics metrics.json {flags}");
            refused(folder.path(), 2, &command, &["diverged", "--lr"]);
        }
    }
}

#[test]
fn models_that_are_none() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let model = fs::read(at("model.safetensors")).unwrap();
    let refuse = |content: &[u8], part: &str| {
        fs::write(at("bad.safetensors"), content).unwrap();
        refused(folder.path(), 2, "predict bad.safetensors iris.csv --device cpu", &["bad.safetensors", part]);
    };
    for length in [0, 5, 100, 1000, model.len() - 1] {
        refuse(&model[..length], "truncated");
    }
    refuse(&[&model[..], b"x"].concat(), "longer");
    // A bit in the length of the header, the header, the metadata, and the weights.
    for place in [0, 3, 8, 9, 20, 40, 200, 400, model.len() - 1000, model.len() - 1] {
        let mut altered = model.clone();
        altered[place] ^= 4;
        refuse(&altered, ": ");
    }
    refuse(b"hello, world", "not a safetensors file");
    refuse(&fs::read(at("iris.csv")).unwrap(), "not a safetensors file");
    let header = br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    refuse(&[&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat(), "another program");
    refused(folder.path(), 2, "predict none.safetensors iris.csv", &["none.safetensors"]);
    refused(folder.path(), 2, "predict a-folder iris.csv", &["a-folder"]);
}

#[test]
fn tables_that_a_model_cannot_predict_for() {
    let folder = folder();
    let header = "sepal_length_cm,sepal_width_cm,petal_length_cm,petal_width_cm";
    for (content, parts) in [
        (String::new(), &["empty"][..]),
        (format!("{header}\n"), &["no row"]),
        (
            "sepal_length_cm,sepal_width_cm,petal_width_cm\n1,2,3\n".to_string(),
            &["\"petal_length_cm\"", "no such column"],
        ),
        (format!("{header}\n1,2,3,4\n1,2,x,4\n"), &["line 3", "\"petal_length_cm\"", "\"x\""]),
        (format!("{header}\n1,2,3,4\n1,2,nan,4\n"), &["line 3", "\"petal_length_cm\"", "nan"]),
        (format!("{header}\n1,2,3,4\n1,2,,4\n"), &["line 3", "\"petal_length_cm\"", "empty"]),
        (format!("{header}\n1,2,3,4\n1,2,3\n"), &["line 3", "3 cells"]),
    ] {
        fs::write(folder.path().join("bad.csv"), content).unwrap();
        let parts = [&["bad.csv"], parts].concat();
        refused(folder.path(), 2, "predict model.safetensors bad.csv --device cpu", &parts);
    }
    refused(folder.path(), 2, "predict model.safetensors none.csv --device cpu", &["none.csv"]);
    refused(
        folder.path(),
        2,
        "predict model.safetensors iris.csv --device no-such-device",
        &["--device no-such-device"],
    );
}

#[test]
fn a_reader_that_has_seen_enough_does_not_end_the_training() {
    let folder = folder();
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    // The reading end is closed before the program writes.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_thalweg"))
        .current_dir(folder.path())
        .args(["train", "iris.csv", "--epochs", "2", "--device", "cpu"])
        .stdout(writer)
        .status()
        .unwrap();
    assert!(status.success() && folder.path().join("model.safetensors").exists());
}
