//! The flags of a run, which its checkpoints store, so that it continues with the same ones.

use std::path::Path;

use serde_json::Value;
use thalweg::nn::{self, Checkpoint, FitOptions, LossEntry, TabularData};

use crate::args::train::TrainArgs;
use crate::error::{Error, Result};

/// The flag whose value may change when a run is resumed.
const EPOCHS: &str = "--epochs";

/// The flags that must not change, in an order in which later ones follow from earlier ones: the number of epochs
/// depends on the rows, unless it is given.
pub(super) struct Flags(Vec<(&'static str, String)>);

impl Flags {
    pub(super) fn of(args: &TrainArgs, data: &TabularData, loss: &LossEntry, options: &FitOptions) -> Self {
        let rows = data.train.len() + data.test.as_ref().map_or(0, nn::data::Dataset::len);
        let optional = |value: Option<f64>| value.map_or("its default".to_string(), |value| value.to_string());
        let hidden: Vec<String> = args.hidden.iter().map(u32::to_string).collect();
        let (clip_norm, clip_value) = match args.clip() {
            nn::Clip::Norm(norm) => (norm, 0.0),
            nn::Clip::Value(value) => (0.0, value),
            _ => (0.0, 0.0),
        };
        Self(vec![
            ("DATA of rows:", rows.to_string()),
            ("--target", data.schema.target.clone()),
            ("--task", data.schema.task.to_string()),
            ("--test-fraction", args.test_fraction.to_string()),
            ("--seed", args.seed.to_string()),
            ("--hidden", hidden.join(",")),
            ("--activation", format!("{:?}", args.activation()).to_lowercase()),
            ("--dropout", args.dropout.to_string()),
            ("--loss", loss.name.to_string()),
            ("--optimizer", args.optimizer.name.to_string()),
            ("--lr", args.learning_rate().to_string()),
            ("--momentum", optional(args.momentum)),
            ("--weight-decay", args.weight_decay().to_string()),
            ("--clip-norm", clip_norm.to_string()),
            ("--clip-value", clip_value.to_string()),
            ("--schedule", args.schedule().name.to_string()),
            ("--warmup", optional(args.warmup)),
            ("--batch-size", args.batch_size.to_string()),
            (EPOCHS, options.epochs.to_string()),
            ("--matmul-precision", format!("{:?}", args.device.matmul_precision).to_lowercase()),
            ("--autocast", args.autocast.map_or_else(|| "none".to_string(), |autocast| autocast.dtype().to_string())),
        ])
    }

    /// Returns an array of pairs, which keeps their order.
    pub(super) fn to_json(&self) -> Value {
        self.0.iter().map(|(flag, value)| Value::from(vec![(*flag).to_string(), value.clone()])).collect()
    }

    /// Checks that a checkpoint is from a run with the same flags, except the number of epochs if it is `extended`.
    /// Returns whether that number differs. The trainer itself checks a checkpoint without flags.
    pub(super) fn check(&self, checkpoint: &Path, extended: bool) -> Result<bool> {
        let saved = Checkpoint::load(checkpoint).map_err(Error::Resume)?;
        let Some(saved) = saved.note().and_then(Value::as_array) else { return Ok(false) };
        let mut has_other_epochs = false;
        for (flag, new) in &self.0 {
            let old = saved.iter().find(|pair| pair[0] == *flag).and_then(|pair| pair[1].as_str());
            if let Some(old) = old.filter(|old| old != new) {
                if *flag == EPOCHS && extended {
                    has_other_epochs = true;
                    continue;
                }
                let (flag, old, new) = ((*flag).to_string(), old.to_string(), new.clone());
                return Err(Error::Changed { checkpoint: checkpoint.to_path_buf(), flag, old, new });
            }
        }
        Ok(has_other_epochs)
    }
}
