//! The command line.

use std::path::PathBuf;

use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use thalweg::tensor::DType;

use crate::updates;

mod ranges;
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
    Train(Box<train::TrainArgs>),
    /// Predict with a saved network
    Predict(train::PredictArgs),
    /// List the devices with their drivers, limits and features
    Devices(DevicesArgs),
    /// Show what each kernel of a training step takes
    Profile(ProfileArgs),
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
    Optim(OptimArgs),
    /// Matrix products at the shapes of a small network, beside the `gemm` crate on all threads
    Matmul(BenchArgs),
    /// A training step of a small network, eager and recorded, beside the time of its kernels
    Step(StepArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) device: ComputeArgs,
    /// Write the figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Take a few seconds: fewer sizes, short and rough measurements
    #[arg(long)]
    pub(crate) quick: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OptimArgs {
    #[command(flatten)]
    pub(crate) bench: BenchArgs,
    /// Only these, and without --quick each for longer [default: all]
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(updates::names()),
        hide_possible_values = true
    )]
    pub(crate) optimizer: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct StepArgs {
    #[command(flatten)]
    pub(crate) bench: BenchArgs,
    /// Rows of a step, several to compare
    #[arg(
        long,
        value_name = "ROWS",
        value_delimiter = ',',
        default_value = "64,512",
        value_parser = batch,
        allow_negative_numbers = true
    )]
    pub(crate) batch: Vec<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct ProfileArgs {
    #[command(flatten)]
    pub(crate) device: ComputeArgs,
    /// Units of the layers, from the inputs to the classes
    #[arg(long, value_name = "WIDTHS", default_value = "784,256,128,10", value_parser = network, allow_negative_numbers = true)]
    pub(crate) network: Network,
    /// Rows of a step
    #[arg(
        long,
        value_name = "ROWS",
        default_value_t = 64,
        value_parser = batch,
        allow_negative_numbers = true
    )]
    pub(crate) batch: u32,
    /// Write the first steps to this file as a trace for Perfetto or Chrome
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
}

fn batch(text: &str) -> Result<u32, String> {
    let rows = text.trim().parse().ok().filter(|rows| (1..=65_536).contains(rows));
    rows.ok_or_else(|| "must be a whole number from 1 to 65536".to_string())
}

/// Units of the layers of a perceptron.
#[derive(Debug, Clone)]
pub(crate) struct Network(pub(crate) Vec<usize>);

/// The maximum number of weights of a network: a training step then keeps 1 GiB.
const MOST_WEIGHTS: usize = 1 << 26;

fn network(text: &str) -> Result<Network, String> {
    let widths = text.split(',').map(|width| width.trim().parse().ok().filter(|width| (1..=65_536).contains(width)));
    let widths: Option<Vec<usize>> = widths.collect();
    let widths = widths
        .filter(|widths| widths.len() >= 2)
        .ok_or("must be two widths or more with commas between, each from 1 to 65536")?;
    let weights: usize = widths.windows(2).map(|pair| pair[0] * pair[1]).sum();
    if weights > MOST_WEIGHTS {
        return Err(format!("these are {weights} weights, and {MOST_WEIGHTS} are the most; choose smaller widths"));
    }
    Ok(Network(widths))
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

/// A device, and how it is to compute.
#[derive(Debug, Args)]
pub(crate) struct ComputeArgs {
    #[command(flatten)]
    pub(crate) choice: DeviceArg,
    /// Numbers that matrix products multiply: f16 rounds them, for cooperative matrices (tensor cores), and scales the loss
    /// of a training step; refused where the device has none
    #[arg(long, value_enum, value_name = "PRECISION", default_value = "f32")]
    pub(crate) matmul_precision: MatmulPrecision,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MatmulPrecision {
    F32,
    F16,
}

/// A floating-point type of 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HalfType {
    F16,
    Bf16,
}

impl HalfType {
    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }
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
