//! The messages of a run: before it, during it, and at its end.

use serde::Serialize;
use thalweg::nn::data::{Dataset, Task, marks_missing};
use thalweg::nn::{EpochReport, History, TabularData};
use thalweg::tensor::Device;

use super::{baseline, short};
use crate::args::train::TrainArgs;
use crate::error::Result;
use crate::files::Named;
use crate::output::{count, one_line, quoted, warn};

/// The maximum number of classes that are listed.
const LISTED_CLASSES: usize = 20;

/// Returns a line with the rows of each class, if there are few classes.
pub(super) fn classes(data: &TabularData) -> String {
    let classes = &data.schema.classes;
    if classes.is_empty() || classes.len() > LISTED_CLASSES {
        return String::new();
    }
    let each = classes.iter().zip(&data.class_counts).map(|(class, count)| format!("{class}: {count}"));
    format!("rows of each class: {}\n", one_line(&each.collect::<Vec<_>>().join(", ")))
}

/// Warns of classes of one row, which cannot be in both parts, and of a class that may mean a missing value.
pub(super) fn warn_of_classes(data: &TabularData) {
    let (target, classes) = (&data.schema.target, data.schema.classes.iter().zip(&data.class_counts));
    let is_single = |(class, count): &(&String, &usize)| **count == 1 && !marks_missing(class);
    let single: Vec<&str> = classes.clone().filter(is_single).map(|(class, _)| class.as_str()).collect();
    match single[..] {
        [] => {}
        [class] => warn(&format!("column {target:?}: class {class:?} has one row; correct it, or leave the row out")),
        [first, .., last] => warn(&format!(
            "column {target:?}: {} classes have one row each, among them {first:?} and {last:?}; correct them, or leave the \
             rows out",
            single.len()
        )),
    }
    for (class, rows) in classes.filter(|(class, _)| marks_missing(class)) {
        let rows = count(*rows as u64, "row");
        warn(&format!(
            "column {target:?}: {class:?} is a class, of {rows}; if it marks missing values, leave them out"
        ));
    }
}

/// Returns the text next to the bar, which is short enough to fit there.
pub(super) fn summary(report: &EpochReport) -> String {
    let mut text = format!("loss {}", short(report.train_loss));
    if let Some(test) = &report.test {
        if let Some(accuracy) = test.accuracy {
            text += &format!(", test accuracy {:.1} %", 100.0 * accuracy);
        }
        if let Some(r2) = test.r2 {
            text += &format!(", test R² {}", short(r2));
        }
    }
    text
}

/// The content of the file of `--metrics`.
#[derive(Serialize)]
pub(super) struct Metrics {
    device: String,
    driver: String,
    task: Task,
    target: String,
    features: usize,
    classes: Vec<String>,
    train_rows: usize,
    test_rows: usize,
    parameters: usize,
    optimizer: String,
    seed: u64,
    epochs: u64,
    steps: u64,
    seconds: f64,
    /// One number per epoch, as in the following lists.
    train_loss: Vec<f64>,
    test_loss: Vec<f64>,
    gradient_norm: Vec<f64>,
    lr: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    train_accuracy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    test_accuracy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    train_r2: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    test_r2: Option<f64>,
    skipped_steps: u32,
    clipped_steps: u32,
    launches_per_step: f64,
    submissions_per_step: f64,
    host_syncs_per_step: f64,
    /// The guess that the network does not beat; omitted if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_better_than: Option<String>,
}

impl Metrics {
    pub(super) fn new(
        device: &Device,
        data: &TabularData,
        parameters: usize,
        history: &History,
        args: &TrainArgs,
    ) -> Result<Self> {
        let info = device.info();
        let last = history.epochs.last();
        let test = last.and_then(|report| report.test);
        // A run that was resumed at its end has done no steps.
        let per_step = |count: u64| count as f64 / history.steps.max(1) as f64;
        let each = |value: fn(&EpochReport) -> f64| history.epochs.iter().map(value).collect();
        Ok(Self {
            device: info.name,
            driver: info.driver,
            task: data.schema.task,
            target: data.schema.target.clone(),
            features: data.schema.features.len(),
            classes: data.schema.classes.clone(),
            train_rows: data.train.len(),
            test_rows: data.test.as_ref().map_or(0, Dataset::len),
            parameters,
            optimizer: args.optimizer.name.to_string(),
            seed: args.seed,
            epochs: history.epochs.len() as u64,
            steps: history.steps,
            seconds: history.seconds,
            train_loss: each(|report| report.train_loss),
            test_loss: history.epochs.iter().filter_map(|report| report.test.map(|test| test.loss)).collect(),
            gradient_norm: each(|report| report.gradient_norm),
            lr: each(|report| report.lr),
            train_accuracy: history.train.accuracy,
            test_accuracy: test.and_then(|test| test.accuracy),
            train_r2: history.train.r2,
            test_r2: test.and_then(|test| test.r2),
            skipped_steps: last.map_or(0, |report| report.skipped),
            clipped_steps: last.map_or(0, |report| report.clipped),
            launches_per_step: per_step(history.counters.launches),
            submissions_per_step: per_step(history.counters.submissions),
            host_syncs_per_step: per_step(history.counters.host_syncs),
            no_better_than: baseline::no_better_than(data, history)?,
        })
    }

    /// Returns the message at the end.
    pub(super) fn summary(&self, out: Named<'_>) -> String {
        let mut text = format!("{} in {:.1} s", count(self.steps, "step"), self.seconds);
        for (name, loss) in [("train", self.train_loss.last()), ("test", self.test_loss.last())] {
            if let Some(loss) = loss {
                text += &format!(", {name} loss {}", short(*loss));
            }
        }
        if let Some(accuracy) = self.test_accuracy {
            text += &format!(", test accuracy {:.2} %", 100.0 * accuracy);
        }
        if let Some(r2) = self.test_r2 {
            text += &format!(", test R² {}", short(r2));
        }
        if self.skipped_steps > 0 {
            text += &format!(
                "\n{} of {} steps were skipped, because the gradient was not finite: try a lower --lr",
                self.skipped_steps, self.steps
            );
        }
        if let Some(guess) = &self.no_better_than {
            text += &format!("\nno better than {guess}");
        }
        if out.is_pipe() {
            return format!("{text}\nmodel written to {}\n", out.name());
        }
        // As the user called it: the shell may not find it elsewhere.
        let program = std::env::args_os().next().unwrap_or_else(|| "thalweg".into());
        let (program, path) = (quoted(program.as_ref()), quoted(out.path));
        format!("{text}\nmodel saved to {}; to predict with it: {program} predict {path} DATA.csv\n", out.name())
    }

    /// Warns if the network has learned nothing.
    pub(super) fn warn(&self) {
        if self.no_better_than.is_some() {
            warn("the network has learned nothing that helps; try a lower --lr, other columns, or another --target");
        }
    }
}
