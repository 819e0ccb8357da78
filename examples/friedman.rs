//! Writes `examples/data/friedman.csv`: 1,000 rows of Friedman's first benchmark function with unit noise.
//!
//! `cargo run --example friedman` gives the file of the repository, to the byte. An argument names another path.
#![allow(clippy::print_stdout, reason = "an example talks")]

use std::fmt::Write as _;

use thalweg::nn::{data::friedman1, write_whole};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).unwrap_or_else(|| "examples/data/friedman.csv".into());
    let (inputs, targets) = friedman1(1000, 1.0, 0);

    let mut text: String = (0..10).map(|input| format!("x{input},")).collect();
    text.push_str("y\n");
    for (x, y) in inputs.chunks(10).zip(&targets) {
        // Rust prints the shortest decimal that parses as the same f32.
        for value in x {
            write!(text, "{value},")?;
        }
        writeln!(text, "{y}")?;
    }
    write_whole(&path, text.as_bytes())?;
    println!("{} rows in {}", targets.len(), path.display());
    Ok(())
}
