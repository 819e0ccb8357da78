//! The `thalweg` program: trains networks on tables, predicts with them, lists devices, measures and tunes kernels.
//!
//! Exit status: 0 success, 2 wrong usage or bad input, 1 a failure of the machine.

mod args;
mod bench;
mod choices;
mod devices;
mod environment;
mod error;
mod files;
mod output;
mod predict;
mod profile;
mod table;
mod train;
mod tune;
mod updates;

use std::process::ExitCode;

use clap::Parser;

use args::{Bench, Command, Program};
use error::{Error, MOST_THREADS, Result};

fn main() -> ExitCode {
    environment::prepare();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.report();
            ExitCode::from(error.exit_status())
        }
    }
}

fn run() -> Result<()> {
    let program = Program::try_parse().map_err(Error::Arguments)?;
    check_threads()?;
    match program.command {
        Command::Train(args) => train::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Devices(args) => devices::run(&args),
        Command::Profile(args) => profile::run(&args),
        Command::Bench(Bench::Optim(args)) => bench::optim::run(&args),
        Command::Bench(Bench::Matmul(args)) => bench::matmul::run(&args),
        Command::Bench(Bench::Step(args)) => bench::step::run(&args),
        Command::Tune(args) => tune::run(&args),
    }
}

/// Checks the number of threads in the variable: the library would ignore an invalid one and use all threads.
fn check_threads() -> Result<()> {
    let Some(value) = std::env::var_os("THALWEG_THREADS") else { return Ok(()) };
    let value = value.to_string_lossy().into_owned();
    match value.trim().parse() {
        Ok(threads) if (1..=MOST_THREADS).contains(&threads) => Ok(()),
        _ => Err(Error::Threads { value }),
    }
}
