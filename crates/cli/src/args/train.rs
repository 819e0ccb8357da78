//! The command lines of `thalweg train` and `thalweg predict`.

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value};
use thalweg::nn::{Clip, LOSSES, LossEntry, METHODS, Method, MethodEntry, SCHEDULES, ScheduleEntry};
use thalweg::tensor::DType;

use super::ranges::{above_zero, at_least_zero, below_one, positive, probability, seed, width};
use super::{ComputeArgs, HalfType, MatmulPrecision};
use crate::error::Error;

/// The minimum number of updates of a run by default: a small table needs more epochs.
const LEAST_STEPS: u64 = 2_000;

/// The maximum number of checkpoints of a run by default.
const CHECKPOINTS: u64 = 20;

#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// The table to learn from: CSV with a line of headings, also compressed by gzip; - reads standard input
    #[arg(value_name = "DATA")]
    pub(crate) data: PathBuf,
    /// The column to predict [default: the last one]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) target: Option<String>,
    /// Predict classes or numbers [default: inferred from the target's column]
    #[arg(long, value_enum)]
    pub(crate) task: Option<Task>,
    /// Widths of the hidden layers, from the input on
    #[arg(
        long,
        value_name = "WIDTHS",
        value_delimiter = ',',
        default_value = "128,64",
        value_parser = width,
        allow_negative_numbers = true
    )]
    pub(crate) hidden: Vec<u32>,
    /// The function between layers
    #[arg(long, value_enum, default_value_t = Activation::Relu)]
    activation: Activation,
    /// The probability that training drops a hidden activation
    #[arg(long, value_name = "PROBABILITY", default_value_t = 0.0, value_parser = probability, allow_negative_numbers = true)]
    pub(crate) dropout: f64,
    /// The number that training makes small [default: mse for numbers, cross-entropy for classes]
    #[arg(long, value_parser = losses())]
    loss: Option<&'static LossEntry>,
    /// The method that turns gradients into updates
    #[arg(long, value_parser = methods(), default_value = "adamw")]
    pub(crate) optimizer: &'static MethodEntry,
    #[arg(
        long,
        value_name = "RATE",
        value_parser = at_least_zero,
        allow_negative_numbers = true,
        help = RATE_HELP.as_str()
    )]
    lr: Option<f64>,
    #[arg(long, value_parser = below_one, allow_negative_numbers = true, help = MOMENTUM_HELP.as_str())]
    pub(crate) momentum: Option<f64>,
    #[arg(
        long,
        value_name = "DECAY",
        value_parser = at_least_zero,
        allow_negative_numbers = true,
        help = DECAY_HELP.as_str()
    )]
    weight_decay: Option<f64>,
    /// The largest norm of all gradients together; larger ones are scaled down to it; 0 leaves them as they are [default: 1,
    /// with --clip-value 0]
    #[arg(
        long,
        value_name = "NORM",
        conflicts_with = "clip_value",
        value_parser = at_least_zero,
        allow_negative_numbers = true
    )]
    clip_norm: Option<f64>,
    /// The largest size of each element of a gradient; larger ones are set to it
    #[arg(long, value_name = "SIZE", value_parser = above_zero, allow_negative_numbers = true)]
    clip_value: Option<f64>,
    /// How the learning rate changes from step to step [default: constant for schedule-free methods, else warmup-cosine]
    #[arg(long, value_parser = schedules())]
    schedule: Option<&'static ScheduleEntry>,
    /// The share of the steps in which the learning rate rises before the schedule begins [default: 0.05 for
    /// warmup-cosine, noam and wsd, else 0]
    #[arg(long, value_name = "FRACTION", value_parser = below_one, allow_negative_numbers = true)]
    pub(crate) warmup: Option<f64>,
    /// Rows that one step learns from
    #[arg(long, value_name = "ROWS", default_value_t = 64, value_parser = positive, allow_negative_numbers = true)]
    pub(crate) batch_size: u32,
    /// Times to go through the training rows [default: as many as make 2,000 steps]
    #[arg(long, value_name = "N", value_parser = positive, allow_negative_numbers = true)]
    epochs: Option<u32>,
    /// The part of the rows that is held back to test on; 0 learns from all rows
    #[arg(long, value_name = "FRACTION", default_value_t = 0.2, value_parser = below_one, allow_negative_numbers = true)]
    pub(crate) test_fraction: f64,
    /// What all random numbers follow from: the split, the first weights, the order of rows
    #[arg(long, default_value_t = 0, value_parser = seed, allow_negative_numbers = true)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) device: ComputeArgs,
    /// Store the activations of training steps in this type; weights and losses stay f32, and f16 scales the loss
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(crate) autocast: Option<HalfType>,
    /// The file for the trained model; - writes standard output
    #[arg(long, value_name = "FILE", default_value = "model.safetensors")]
    pub(crate) out: PathBuf,
    /// Write all that the run needs to go on to this file, over and over: weights, optimizer, place in the schedule, random
    /// numbers, metrics
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Epochs from one writing of the checkpoint to the next [default: a twentieth of the run]
    #[arg(long, value_name = "N", value_parser = positive, allow_negative_numbers = true)]
    checkpoint_every: Option<u32>,
    /// Go on from this checkpoint, with the same model in the end as if the run had not been stopped; data and all other
    /// flags must be as they were, but --epochs may be given anew, and the schedule is then planned for the new length
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Option<PathBuf>,
    /// Do not train, but try the first steps with learning rates from 1e-7 to 10: say which to take, and draw the losses
    /// into this SVG file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["checkpoint", "resume", "metrics", "out"])]
    pub(crate) range_test: Option<PathBuf>,
    /// Write what was measured in training to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics: Option<PathBuf>,
}

impl TrainArgs {
    pub(crate) fn learning_rate(&self) -> f64 {
        self.lr.unwrap_or(self.optimizer.lr)
    }

    /// Returns the loss, which must fit the type of the targets.
    pub(crate) fn loss(&self, targets: DType) -> Result<&'static LossEntry, Error> {
        let fits = |entry: &LossEntry| entry.loss().target_type() == targets;
        let Some(loss) = self.loss.filter(|loss| !fits(loss)) else {
            return Ok(self.loss.unwrap_or_else(|| LossEntry::of_targets(targets)));
        };
        let others: Vec<&str> = LOSSES.iter().filter(|entry| fits(entry)).map(|entry| entry.name).collect();
        let (held, task) = match targets {
            DType::U32 => ("classes", "regression"),
            _ => ("numbers", "classification"),
        };
        let (name, others) = (loss.name, others.join(" or "));
        let problem =
            format!("{name} is not for {held}, which the target holds; choose {others}, or set --task {task}");
        Err(Error::Unfit { flag: "--loss", problem })
    }

    pub(crate) fn weight_decay(&self) -> f64 {
        let default = || self.optimizer.setting("weight_decay").and_then(|decay| decay.as_f64());
        self.weight_decay.or_else(default).unwrap_or(0.0)
    }

    /// Returns the method with the settings of the flags.
    pub(crate) fn method(&self) -> Result<Box<dyn Method>, Error> {
        let flags = [
            ("momentum", self.momentum.map(Value::from)),
            ("weight_decay", self.weight_decay.map(Value::from)),
            ("seed", Some(self.seed.into())),
            // Its rate is the first step of each parameter, for any schedule.
            ("first_step", Some(self.learning_rate().into())),
        ];
        let has = |name| self.optimizer.setting(name).is_some();
        let settings = flags.into_iter().filter(|(name, _)| has(name));
        let settings: Map<String, Value> = settings.filter_map(|(name, value)| Some((name.into(), value?))).collect();
        Ok(self.optimizer.with(&settings.into())?)
    }

    /// Checks that the method has a setting for each flag; the flag would change nothing otherwise.
    pub(crate) fn check_method(&self) -> Result<(), Error> {
        let lacks = |setting| self.optimizer.setting(setting).is_none();
        let (flag, others) = if self.momentum.is_some() && lacks("momentum") {
            ("--momentum", with_setting("momentum", "or"))
        } else if self.weight_decay > Some(0.0) && lacks("weight_decay") {
            ("--weight-decay", format!("any but {}", without_setting("weight_decay", "and")))
        } else if self.range_test.is_some() && finds_its_steps(self.optimizer) {
            let others = names(METHODS.iter().filter(|entry| finds_its_steps(entry)), "and");
            ("--range-test", format!("any but {others}"))
        } else {
            return Ok(());
        };
        Err(Error::NoSetting { flag, optimizer: self.optimizer.name, others })
    }

    /// Checks that no warm-up precedes a schedule that begins with a rise.
    pub(crate) fn check_schedule(&self) -> Result<(), Error> {
        match self.warmup {
            Some(share) if share > 0.0 && self.schedule().is_cyclic => {
                let rule = "left out for cyclic and one-cycle, which rise by themselves";
                Err(thalweg::nn::Error::Setting { field: "warmup", value: share.to_string(), rule }.into())
            }
            _ => Ok(()),
        }
    }

    /// Checks that checkpoints are written if the number of epochs between them is given.
    pub(crate) fn check_checkpoint(&self) -> Result<(), Error> {
        if self.checkpoint.as_deref().is_some_and(|path| path == std::path::Path::new("-")) {
            let problem = "it is written over and over, which standard output is not; give a file".to_string();
            return Err(Error::Unfit { flag: "--checkpoint -", problem });
        }
        match (self.checkpoint_every, &self.checkpoint) {
            (Some(epochs), None) => {
                let rule = "left out, or come with the --checkpoint FILE to write";
                let (field, value) = ("checkpoint_every", epochs.to_string());
                Err(thalweg::nn::Error::Setting { field, value, rule }.into())
            }
            _ => Ok(()),
        }
    }

    /// Returns whether the schedule also changes the momentum, if there is one and the user has not set it.
    pub(crate) fn has_momentum_schedule(&self) -> bool {
        self.schedule().is_cyclic && self.momentum.is_none()
    }

    /// Returns whether the loss is scaled, so that small gradients do not vanish when products round to f16.
    pub(crate) fn scales_loss(&self) -> bool {
        self.device.matmul_precision == MatmulPrecision::F16 || self.autocast == Some(HalfType::F16)
    }

    /// Checks that the clipping of gradients works with this scale.
    pub(crate) fn check_clip(&self) -> Result<(), Error> {
        if self.scales_loss() && matches!(self.clip(), Clip::Value(_)) {
            let scaling =
                if self.autocast == Some(HalfType::F16) { "--autocast f16" } else { "--matmul-precision f16" };
            let problem = format!("it cannot be used with {scaling}, which scales the loss; use --clip-norm");
            return Err(Error::Unfit { flag: "--clip-value", problem });
        }
        Ok(())
    }

    pub(crate) fn clip(&self) -> Clip {
        match (self.clip_value, self.clip_norm.unwrap_or(1.0)) {
            (Some(value), _) => Clip::Value(value),
            (None, 0.0) => Clip::Off,
            (None, norm) => Clip::Norm(norm),
        }
    }

    /// Returns the number of epochs, for `steps_per_epoch` steps each.
    pub(crate) fn epochs(&self, steps_per_epoch: u64) -> u64 {
        self.epochs.map_or_else(|| LEAST_STEPS.div_ceil(steps_per_epoch.max(1)), u64::from)
    }

    /// Returns whether the number of epochs is given and does not follow from the data.
    pub(crate) fn gives_epochs(&self) -> bool {
        self.epochs.is_some()
    }

    pub(crate) fn schedule(&self) -> &'static ScheduleEntry {
        let default = || ScheduleEntry::find(self.optimizer.schedule).unwrap_or(&SCHEDULES[0]);
        self.schedule.unwrap_or_else(default)
    }

    /// Returns the number of epochs between checkpoints, for a run of `epochs` epochs.
    pub(crate) fn checkpoint_every(&self, epochs: u64) -> u64 {
        self.checkpoint_every.map_or_else(|| epochs.div_ceil(CHECKPOINTS).max(1), u64::from)
    }

    pub(crate) fn activation(&self) -> thalweg::nn::Activation {
        match self.activation {
            Activation::Relu => thalweg::nn::Activation::Relu,
            Activation::Tanh => thalweg::nn::Activation::Tanh,
            Activation::Gelu => thalweg::nn::Activation::Gelu,
            Activation::Sigmoid => thalweg::nn::Activation::Sigmoid,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    /// The model that training has saved
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
    /// The table to predict for: CSV with the headings that the model was trained with, the target's left out or not; -
    /// reads standard input
    #[arg(value_name = "DATA")]
    pub(crate) data: PathBuf,
    /// The file for the predictions, as CSV; - writes standard output
    #[arg(long, value_name = "FILE", default_value = "predictions.csv")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) device: ComputeArgs,
    /// Store the activations of training steps in this type; weights and losses stay f32, and f16 scales the loss
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(crate) autocast: Option<HalfType>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Task {
    Classification,
    Regression,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Activation {
    Relu,
    Tanh,
    Gelu,
    Sigmoid,
}

/// Returns the parser of `--optimizer`: the names of the registry.
fn methods() -> impl TypedValueParser<Value = &'static MethodEntry> {
    let values = METHODS.iter().map(|entry| PossibleValue::new(entry.name).aliases(entry.aliases));
    let find = |name: String| MethodEntry::find(&name).ok_or("unknown");
    PossibleValuesParser::new(values).try_map(find)
}

/// Returns the parser of `--schedule`: the names of the registry.
fn schedules() -> impl TypedValueParser<Value = &'static ScheduleEntry> {
    let values = SCHEDULES.iter().map(|entry| PossibleValue::new(entry.name).help(entry.about));
    PossibleValuesParser::new(values).try_map(|name| ScheduleEntry::find(&name).ok_or("unknown"))
}

/// Returns the parser of `--loss`: the names of the registry.
fn losses() -> impl TypedValueParser<Value = &'static LossEntry> {
    let values = LOSSES.iter().map(|entry| PossibleValue::new(entry.name).help(entry.about));
    PossibleValuesParser::new(values).try_map(|name| LossEntry::find(&name).ok_or("unknown"))
}

/// Returns whether a range test of learning rates tells nothing about a method.
fn finds_its_steps(entry: &MethodEntry) -> bool {
    entry.method().capabilities().own_step_size
}

/// Formats names as a list: `a, b and c`.
fn names<'a>(entries: impl Iterator<Item = &'a MethodEntry>, last: &str) -> String {
    let names: Vec<&str> = entries.map(|entry| entry.name).collect();
    match names.split_last() {
        Some((name, rest)) if !rest.is_empty() => format!("{} {last} {name}", rest.join(", ")),
        _ => names.concat(),
    }
}

fn with_setting(setting: &str, last: &str) -> String {
    names(METHODS.iter().filter(|entry| entry.setting(setting).is_some()), last)
}

fn without_setting(setting: &str, last: &str) -> String {
    names(METHODS.iter().filter(|entry| entry.setting(setting).is_none()), last)
}

/// Formats the defaults of a setting: those of single methods, then that of all others.
fn defaults(setting: &str, other: f64) -> String {
    let mut values: Vec<f64> = METHODS.iter().filter_map(|entry| entry.setting(setting)?.as_f64()).collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values.dedup();
    let of = |value: f64| {
        let has = |entry: &&MethodEntry| entry.setting(setting).and_then(|own| own.as_f64()) == Some(value);
        format!("{}: {value}", names(METHODS.iter().filter(has), "and"))
    };
    let own: Vec<String> = values.into_iter().filter(|value| *value != other).map(of).collect();
    if own.is_empty() { other.to_string() } else { format!("{}, else {other}", own.join("; ")) }
}

static RATE_HELP: LazyLock<String> = LazyLock::new(|| {
    let lr = |name| MethodEntry::find(name).map_or(0.0, |entry| entry.lr);
    format!(
        "The learning rate, at its highest where the schedule changes it [default: by the method; adamw: {}, sgd: {}]",
        lr("adamw"),
        lr("sgd")
    )
});

static MOMENTUM_HELP: LazyLock<String> = LazyLock::new(|| {
    let methods = with_setting("momentum", "and");
    format!("The share of their moment that {methods} keep at a step [default: {}]", defaults("momentum", 0.9))
});

static DECAY_HELP: LazyLock<String> = LazyLock::new(|| {
    let without = without_setting("weight_decay", "and");
    format!(
        "Weight decay; the library's page of each method says how it decays, and {without} have none [default: {}]",
        defaults("weight_decay", 0.0)
    )
});

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Train {
        #[command(flatten)]
        args: TrainArgs,
    }

    #[derive(Debug, Parser)]
    struct Predict {
        #[command(flatten)]
        args: PredictArgs,
    }

    fn train(flags: &str) -> Result<TrainArgs, String> {
        let words = ["train", "data.csv"].into_iter().chain(flags.split_whitespace());
        Train::try_parse_from(words).map(|train| train.args).map_err(|error| error.to_string())
    }

    fn setting(args: &TrainArgs, name: &str) -> f64 {
        args.method().unwrap().settings()[name].as_f64().unwrap()
    }

    fn decay(args: &TrainArgs) -> f64 {
        setting(args, "weight_decay")
    }

    #[test]
    fn defaults_follow_the_optimizer_and_the_data() {
        let args = train("").unwrap();
        assert_eq!((args.hidden.as_slice(), args.optimizer.name), (&[128, 64][..], "adamw"));
        assert_eq!((args.learning_rate(), decay(&args), args.clip()), (1e-3, 1e-2, Clip::Norm(1.0)));
        // Iris: 120 training rows, 2 batches.
        assert_eq!((args.epochs(2), args.epochs(23), args.epochs(5_000)), (1000, 87, 1));
        let args = train("--optimizer sgd --clip-norm 0 --epochs 3 --hidden 32").unwrap();
        assert_eq!((args.learning_rate(), decay(&args), args.clip()), (1e-2, 0.0, Clip::Off));
        assert_eq!(train("--clip-value 0.5").unwrap().clip(), Clip::Value(0.5));
        assert!(train("--clip-value 0.5 --clip-norm 1").unwrap_err().contains("cannot be used with"));
        assert_eq!((args.epochs(2), args.hidden.as_slice()), (3, &[32][..]));
        let predict = Predict::try_parse_from(["predict", "model.safetensors", "data.csv"]).unwrap().args;
        assert_eq!(predict.out, PathBuf::from("predictions.csv"));
    }

    #[test]
    fn flags_that_a_method_has_no_setting_for_are_refused_by_its_name() {
        for optimizer in METHODS.iter().map(|entry| entry.name) {
            let has_momentum = ["sgd", "momentum", "nesterov", "lars", "rmsprop", "muon", "sm3"].contains(&optimizer);
            let has_decay = !["rprop", "sm3"].contains(&optimizer);
            for (flag, is_set) in [("--momentum", has_momentum), ("--weight-decay", has_decay)] {
                let result = train(&format!("--optimizer {optimizer} {flag} 0.5")).unwrap().check_method();
                match result.map_err(|error| error.to_string()) {
                    Ok(()) => assert!(is_set, "{optimizer} {flag}"),
                    Err(message) => {
                        let is_named = message.contains(flag) && message.contains(&format!("{optimizer} has no"));
                        assert!(!is_set && is_named, "{optimizer} {flag}: {message}");
                    }
                }
            }
            train(&format!("--optimizer {optimizer}")).unwrap().check_method().unwrap();
        }
        let momentum = |flags: &str| setting(&train(flags).unwrap(), "momentum");
        assert_eq!(momentum("--optimizer sgd"), 0.9);
        assert_eq!(momentum("--optimizer rmsprop"), 0.0);
        assert_eq!(momentum("--optimizer rmsprop --momentum 0.8"), 0.8);
    }

    #[test]
    fn values_out_of_range_are_refused_by_the_name_of_the_flag() {
        for (flag, values) in [
            ("--lr", "nan inf -1 1e39 fast"),
            ("--hidden", "0 128,0 128,,64 -3 wide , 65537 999999999"),
            ("--dropout", "1 -0.1 nan 2"),
            ("--test-fraction", "1 nan -0.2"),
            ("--batch-size", "0 -1 1.5"),
            ("--epochs", "0 many"),
            ("--momentum", "1 nan -0.1"),
            ("--weight-decay", "nan -1"),
            ("--clip-norm", "nan -1 inf"),
            ("--clip-value", "nan -1 inf 0 1e-60"),
            ("--seed", "-1 x"),
            ("--optimizer", "lbfgs"),
            ("--loss", "hinge"),
            ("--activation", "step"),
            ("--schedule", "magic"),
            ("--warmup", "1 nan -0.1 all"),
            ("--task", "clustering"),
        ] {
            for value in values.split_whitespace() {
                for separator in ["=", " "] {
                    let message = train(&format!("{flag}{separator}{value}")).unwrap_err();
                    assert!(message.contains(flag) && !message.contains("tip"), "{flag} {value}: {message}");
                }
            }
        }
    }
}
