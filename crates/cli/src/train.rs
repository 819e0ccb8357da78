//! `thalweg train`: from a table to a model in a file.

mod baseline;
mod flags;
mod limits;
mod report;

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use thalweg::nn::data::{Table, Task};
use thalweg::nn::{
    self, Event, FitOptions, LossScale, MlpConfig, Optimizer, RangeReport, RangeTest, Schedule, TabularData,
    TabularModel, Trainer,
};
use thalweg::tensor::{self, Device};

use crate::args::HalfType;
use crate::args::train::{self as args, TrainArgs};
use crate::error::{Error, Result};
use crate::files::{DATA, Named, check_outputs};
use crate::output::{count, print, to_json};
use crate::{choices, devices};
use flags::Flags;
use report::Metrics;

/// The maximum number of steps, each of which has its learning rate in a table on the device.
const MAX_STEPS: u64 = 1 << 25;

pub(crate) fn run(args: &TrainArgs) -> Result<()> {
    // Everything that can be wrong is checked before the work.
    args.check_method()?;
    args.check_schedule()?;
    args.check_checkpoint()?;
    args.check_clip()?;
    let data_file = Named::new(DATA, &args.data);
    let out = Named::new("--out", &args.out);
    let metrics_file = args.metrics.as_deref().map(|path| Named::new("--metrics", path));
    let table = data_file.read_table()?;
    let checkpoint = args.checkpoint.as_deref().map(|path| Named::new("--checkpoint", path));
    let resume = args.resume.as_deref().map(|path| Named::new("--resume", path));
    let picture = args.range_test.as_deref().map(|path| Named::new("--range-test", path));
    // A range test saves no model.
    let outputs = [picture.is_none().then_some(out), metrics_file, checkpoint, picture];
    // A resumed run may write over the checkpoint that it continues.
    let inputs = [Some(data_file), resume.filter(|_| args.checkpoint != args.resume)];
    check_outputs(
        &inputs.into_iter().flatten().collect::<Vec<_>>(),
        &outputs.into_iter().flatten().collect::<Vec<_>>(),
    )?;
    let device = devices::open_to_compute(&args.device)?;
    let (data, source) = prepare(args, table, &device)?;
    let rows = data.train.len();
    let loss = args.loss(data.schema.target_type())?;
    limits::check(args, &data.train, data.schema.output_count())?;
    let mlp = MlpConfig {
        // Inputs and outputs follow from the columns.
        inputs: 0,
        hidden: args.hidden.iter().map(|&units| units as usize).collect(),
        outputs: 0,
        activation: args.activation(),
        dropout: args.dropout as f32,
    };
    let model = TabularModel::new(data.schema.clone(), mlp, args.seed, &device)?;
    let parameters = model.params().element_count();

    let mut options = FitOptions { epochs: 1, batch_size: args.batch_size as usize, seed: args.seed };
    let steps_per_epoch = options.steps_per_epoch(rows);
    options.epochs = args.epochs(steps_per_epoch);
    let steps = steps_per_epoch.saturating_mul(options.epochs);
    if steps > MAX_STEPS {
        let problem = format!("{} epochs are {steps} steps, but a run has at most {MAX_STEPS}", options.epochs);
        return Err(Error::Unfit { flag: "--epochs", problem });
    }

    let schedule = args.schedule().schedule(args.learning_rate(), args.warmup, steps);
    let optimizer = Optimizer::new(model.params(), args.method()?, schedule.over(steps))?;
    let mut optimizer = optimizer.with_clip(args.clip())?;
    if args.scales_loss() {
        optimizer = optimizer.with_loss_scale(LossScale::default())?;
    }
    if args.has_momentum_schedule()
        && let Some(momentum) = args.schedule().momentum(args.learning_rate(), steps)
        && optimizer.method().capabilities().momentum
    {
        optimizer.set_momentum(momentum.over(steps))?;
    }

    let planned = optimizer.schedule().clone();
    let flags = Flags::of(args, &data, loss, &options);
    let mut trainer = Trainer::new(model, optimizer, loss.loss()).with_autocast(args.autocast.map(HalfType::dtype));
    if let Some(file) = checkpoint {
        trainer.set_note(flags.to_json());
        file.written(trainer.set_checkpoints(file.path, args.checkpoint_every(options.epochs)))?;
    }
    let is_planned_anew = match resume {
        Some(file) => flags.check(file.path, args.gives_epochs())?,
        None => false,
    };
    let done = resume.map(|file| trainer.resume(file.path).map_err(Error::Resume)).transpose()?;
    if let Some(done) = done.filter(|done| *done > options.epochs) {
        let problem = format!("the run has done {done}, and cannot end after {}; give at least {done}", options.epochs);
        return Err(Error::Unfit { flag: "--epochs", problem });
    }
    let has_planned = *trainer.optimizer().schedule() == planned || is_planned_anew;
    if let Some(file) = resume.filter(|_| !has_planned) {
        let problem =
            "the run had another --lr or --schedule, or other --epochs, --batch-size, --warmup or --test-fraction, or other \
                       data; give those that it had"
                .to_string();
        return Err(Error::Resume(nn::Error::Model { path: file.path.to_path_buf(), problem }));
    }

    let info = device.info();
    print(&format!(
        "{source}: {} of {:?} from {}, {} to learn from, {} to test on\n\
         {}{parameters} parameters, {} of {}, on {}, {}\n",
        data.schema.task,
        data.schema.target,
        count(data.schema.features.len() as u64, "feature"),
        count(rows as u64, "row"),
        data.test.as_ref().map_or(0, nn::data::Dataset::len),
        report::classes(&data),
        count(options.epochs, "epoch"),
        count(steps_per_epoch, "step"),
        info.name,
        info.driver,
    ))?;
    if let Some(note) = choices::note(&device) {
        print(&format!("{note}\n"))?;
    }
    report::warn_of_classes(&data);
    if let Some(file) = picture {
        let report = trainer.range_test(&data.train, &RangeTest::default(), &options)?;
        file.write(report.plot()?.as_bytes())?;
        return print(&suggestions(&report, file));
    }
    if let Some(done) = done {
        print(&format!("{} of them done\n", count(done, "epoch")))?;
    }
    let bar = Bar::new(steps);
    let history = trainer.fit(&data.train, data.test.as_ref(), &options, |event| match event {
        Event::Step { step, .. } => bar.0.set_position(step),
        Event::Losses { losses, .. } => bar.0.set_message(format!("loss {}", short(mean(losses)))),
        Event::Epoch(report) => bar.0.set_message(report::summary(report)),
        _ => {}
    });
    drop(bar);
    let history = history.map_err(|error| match error {
        nn::Error::Model { .. } if resume.is_some() => Error::Resume(error),
        error => error.into(),
    })?;
    let (model, _) = trainer.into_parts();
    out.write(&model.to_bytes()?)?;
    let metrics = Metrics::new(&device, &data, parameters, &history, args)?;
    let written = metrics_file.map_or(Ok(()), |file| file.write(to_json(&metrics).as_bytes()));
    // The model is saved, even if the metrics cannot be.
    print(&metrics.summary(out))?;
    metrics.warn();
    written
}

/// Returns the data on the device, and the name of their source. The table is dropped before the training.
fn prepare(args: &TrainArgs, table: Table, device: &Device) -> Result<(TabularData, String)> {
    let target = match &args.target {
        Some(target) => target.clone(),
        // Every table has a column.
        None => table.column_names().last().cloned().unwrap_or_default(),
    };
    let task = args.task.map(|task| match task {
        args::Task::Classification => Task::Classification,
        args::Task::Regression => Task::Regression,
    });
    let data = TabularData::prepare(&table, &target, task, args.test_fraction, args.seed, device);
    let data = data.map_err(|error| match error {
        nn::Error::Tensor(limit @ tensor::Error::Limit { .. }) => {
            let (rows, columns) = (table.row_count(), table.column_names().len());
            let problem = format!("{rows} rows of {columns} columns: {limit}; use fewer rows, or another device");
            Error::Unfit { flag: "--device", problem }
        }
        other => other.into(),
    })?;
    Ok((data, table.path().display().to_string()))
}

/// Formats the suggestions of a range test.
fn suggestions(report: &RangeReport, picture: Named<'_>) -> String {
    let (Some(first), Some(last)) = (report.points.first(), report.points.last()) else { return String::new() };
    let end = if report.stopped_early { "where the loss was over four times its least" } else { "the end of the test" };
    let steps = count(report.points.len() as u64, "step");
    let mut text = format!("learning rates from {:.0e} to {:.1e} in {steps}, to {end}\n", first.lr, last.lr);
    text += &match (report.steepest, report.minimum_over_ten) {
        (Some(steepest), Some(tenth)) => {
            format!("the loss falls steepest at --lr {steepest:.1e}; a tenth of where it is least: --lr {tenth:.1e}\n")
        }
        _ => "the loss does not fall: look at the data, or try another --optimizer or --batch-size\n".to_string(),
    };
    text + &format!("picture saved to {}; nothing was trained\n", picture.name())
}

/// The progress of a run, on a terminal only: elsewhere it would fill logs. It is cleared at any end of the run.
struct Bar(ProgressBar);

impl Bar {
    fn new(steps: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr_with_hz(10));
        if !io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let template = "{bar:16} {pos}/{len} steps, {eta} left, {wide_msg}";
        Self(bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())))
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn mean(losses: &[f32]) -> f64 {
    losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / losses.len() as f64
}

/// Formats a number of any size for people.
fn short(value: f64) -> String {
    if value.abs() < 1e4 { format!("{value:.4}") } else { format!("{value:.3e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_cleared_however_the_run_ends() {
        let bar = Bar::new(10);
        let same = bar.0.clone();
        let fails = |bar: Bar| -> Result<(), ()> {
            bar.0.set_position(3);
            Err(())
        };
        assert!(!same.is_finished());
        fails(bar).unwrap_err();
        assert!(same.is_finished());
    }
}
