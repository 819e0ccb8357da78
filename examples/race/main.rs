//! Races the optimizers over Rosenbrock's and Beale's functions, and draws their paths on the contours.
//!
//! `cargo run --release --example race` prints a table for each function and writes `race-rosenbrock` and `race-beale`,
//! each as `.svg` and `.png`, to the current folder. `-- FOLDER` names another one, `--device NAME` another device than
//! the CPU, `--steps N` another length. `--rates` draws nothing: it tries learning rates and prints the best of each
//! method, which is the source of the rates in the library's registry.
#![allow(clippy::print_stdout, reason = "an example talks")]

mod contour;
mod function;
mod methods;
mod picture;
mod raster;
mod run;

use std::error::Error;
use std::path::PathBuf;

use thalweg::nn::write_whole;
use thalweg::tensor::Device;

use crate::function::FUNCTIONS;
use crate::methods::{Racer, families};
use crate::run::Run;

/// The arguments of the command line.
struct Arguments {
    folder: PathBuf,
    device: String,
    steps: usize,
    rates: bool,
}

impl Arguments {
    fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut arguments = Self { folder: ".".into(), device: "cpu".into(), steps: 2000, rates: false };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--device" => arguments.device = value()?,
                "--steps" => arguments.steps = value()?.parse().map_err(|error| format!("--steps: {error}"))?,
                "--rates" => arguments.rates = true,
                flag if flag.starts_with('-') => {
                    return Err(format!("no flag {flag}; there are --device, --steps and --rates").into());
                }
                folder => arguments.folder = folder.into(),
            }
        }
        Ok(arguments)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let device = Device::open(&arguments.device)?;
    for (number, function) in FUNCTIONS.iter().enumerate() {
        if arguments.rates {
            print_rates(&device, number, arguments.steps)?;
            continue;
        }
        println!("{function}, {} steps on {device}", arguments.steps);
        println!("{}", HEADING);
        let mut panels = Vec::new();
        for family in families() {
            let mut runs = Vec::new();
            for racer in family.racers {
                let run = Run::new(&device, function, racer.method(), racer.rates[number], arguments.steps)?;
                println!("{}", row(&racer, racer.rates[number], &run));
                runs.push((racer.name, run));
            }
            panels.push((family.title, runs));
        }
        let contours = function.contours()?;
        let name = format!("race-{}", function.name.to_lowercase());
        let svg = arguments.folder.join(format!("{name}.svg"));
        write_whole(&svg, picture::svg(function, &contours, &panels)?.as_bytes())?;
        let png = arguments.folder.join(format!("{name}.png"));
        write_whole(&png, &picture::png(function, &contours, &panels)?)?;
        println!("{} and {}\n", svg.display(), png.display());
    }
    Ok(())
}

const HEADING: &str =
    "method                    rate   value at the end   steps to 1e-2   to 1e-4   ends at (the minimum is 0)";

/// Formats a line of the table. "Steps to" is the number of steps until the value stays below a bound.
fn row(racer: &Racer, rate: f64, run: &Run) -> String {
    let steps = |bound| run.steps_to(bound).map_or_else(|| "never".to_string(), |steps| steps.to_string());
    let [x, y] = run.path[run.path.len() - 1];
    let (first, second, end) = (steps(1e-2), steps(1e-4), run.end());
    format!("{:22} {rate:>7} {end:>18.2e} {first:>15} {second:>9}   ({x:.4}, {y:.4})", racer.name)
}

/// Tries 1, 2 and 5 times powers of ten for each method, and keeps the rates whose path stays in the picture. Prints
/// the rate that stays below 1e-4 after the fewest steps, or else the one that ends lowest.
fn print_rates(device: &Device, number: usize, steps: usize) -> thalweg::Result<()> {
    let function = &FUNCTIONS[number];
    println!("{function}: the best of the learning rates 1, 2, 5 · 10ⁿ in {steps} steps");
    for racer in families().into_iter().flat_map(|family| family.racers) {
        let mut best: Option<((usize, f64), f64)> = None;
        for rate in (-6..=1).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power))) {
            let run = Run::new(device, function, racer.method(), rate, steps)?;
            let score = (run.steps_to(1e-4).unwrap_or(usize::MAX), run.end());
            let is_seen = run.path.iter().all(|&point| function.is_in_view(point));
            if is_seen && best.is_none_or(|(other, _)| score < other) {
                best = Some((score, rate));
            }
        }
        match best {
            Some(((steps, end), rate)) if steps < usize::MAX => {
                println!("{:22} {rate:>8.0e}, {steps} steps, ends at {end:.1e}", racer.name);
            }
            Some(((_, end), rate)) => println!("{:22} {rate:>8.0e}, never, ends at {end:.1e}", racer.name),
            None => println!("{:22} none", racer.name),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

    use super::*;

    #[test]
    fn every_method_ends_lower_than_it_began_and_nearer_to_the_minimum() {
        let device = Device::cpu();
        let mut count = 0;
        for (number, function) in FUNCTIONS.iter().enumerate() {
            for racer in families().into_iter().flat_map(|family| family.racers) {
                let run = Run::new(&device, function, racer.method(), racer.rates[number], 500).unwrap();
                let distance = |[x, y]: [f64; 2]| (x - function.minimum[0]).hypot(y - function.minimum[1]);
                let name = format!("{} on {function}", racer.name);
                assert_eq!(run.path.len(), 501, "{name}");
                assert_eq!(run.path[0], function.start.map(|x| f64::from(x as f32)), "{name}");
                assert!(run.end() < 0.5 * run.values[0], "{name}: from {} to {}", run.values[0], run.end());
                assert!(distance(run.path[500]) < distance(run.path[0]), "{name}: ends at {:?}", run.path[500]);
                count += 1;
            }
        }
        assert_eq!(count, 2 * thalweg::nn::METHODS.len());
    }

    #[test]
    fn both_pictures_show_every_method() {
        let function = &FUNCTIONS[1];
        let contours = function.contours().unwrap();
        let device = Device::cpu();
        let run = |racer: Racer| (racer.name, Run::new(&device, function, racer.method(), racer.rates[1], 20).unwrap());
        let panels: Vec<_> =
            families().into_iter().map(|f| (f.title, f.racers.into_iter().map(run).collect::<Vec<_>>())).collect();
        let svg = picture::svg(function, &contours, &panels).unwrap();
        for name in panels.iter().flat_map(|(_, runs)| runs).map(|(name, _)| name) {
            assert!(svg.contains(&format!("{name}\n")), "no {name}");
        }
        let png = picture::png(function, &contours, &panels).unwrap();
        assert!(png.starts_with(b"\x89PNG") && png.len() > 50_000, "{} bytes", png.len());
    }

    #[test]
    fn arguments_are_understood_or_refused() {
        let parse = |line: &str| Arguments::parse(line.split_whitespace().map(str::to_string));
        let arguments = parse("docs --device gpu --steps 7").unwrap();
        assert_eq!((arguments.folder, arguments.device.as_str()), ("docs".into(), "gpu"));
        assert_eq!((arguments.steps, arguments.rates), (7, false));
        for line in ["--step 7", "--steps", "--steps many"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
