//! The command line.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand};

pub(crate) mod train;

/// Train small neural networks on any GPU, or on the CPU.
#[derive(Debug, Parser)]
#[command(name = "thalweg", version)]
pub(crate) struct Program {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a network on a table and save it
    Train(train::TrainArgs),
    /// Predict with a saved network
    Predict(train::PredictArgs),
    /// List the devices with their drivers, limits and features
    Devices(DevicesArgs),
    /// Measure kernels on a device, beside what it can move at best
    #[command(subcommand)]
    Bench(Bench),
    /// Find the fastest kernels for matrix products on a device and keep the choice
    Tune(TuneArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DevicesArgs {
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Fused updates of optimizers, beside compositions of tensor operations and plain copies
    Optim(BenchArgs),
    /// Matrix products at the shapes of a small network, beside the `gemm` crate on all threads
    Matmul(BenchArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) device: DeviceArg,
    /// Write the figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Take a few seconds: fewer sizes, short and rough measurements
    #[arg(long)]
    pub(crate) quick: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TuneArgs {
    #[command(flatten)]
    pub(crate) device: DeviceArg,
    /// Take a few seconds: one small layer
    #[arg(long)]
    pub(crate) quick: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DeviceArg {
    /// Where to compute: auto (a hardware GPU if there is one, else the CPU), cpu, gpu, an index, or part of a name
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) device: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Program::command().debug_assert();
    }
}
