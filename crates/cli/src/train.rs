//! `thalweg train`: from a table to a model in a file.

mod schedule;

use std::io::{self, IsTerminal};
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use thalweg::nn::data::{Table, Task};
use thalweg::nn::{
    self, AdaBelief, Adadelta, Adafactor, Adagrad, Adam, AdamW, AdamW8bit, Adamax, Adan, Amsgrad, Asgd, Event,
    FitOptions, History, Lamb, Lars, Lion, LossScale, Method, MlpConfig, Muon, NAdam, NovoGrad, Optimizer, Prodigy,
    RAdam, RangeReport, RangeTest, RmsProp, Rprop, ScheduleFreeAdamW, ScheduleFreeSgd, Sgd, Sm3, Soap, Sophia,
    TabularData, TabularModel, Trainer, Yogi,
};
use thalweg::tensor;

use crate::args::train::{self as args, TrainArgs};
use crate::devices;
use crate::error::{Error, Result};
use crate::files::{Named, check_outputs};
use crate::output::{print, to_json};

/// The most parameters: 256 MiB, and training takes some five times as much: gradients, two moments, copies.
const MAX_PARAMETERS: u64 = 1 << 26;

/// The most steps, each of which has its learning rate in a table on the device.
const MAX_STEPS: u64 = 1 << 25;

pub(crate) fn run(args: &TrainArgs) -> Result<()> {
    // What may be wrong is looked at before the work, not behind it.
    args.check_method()?;
    args.check_schedule()?;
    args.check_checkpoint()?;
    args.check_clip()?;
    let data_file = Named::new("DATA", &args.data);
    let out = Named::new("--out", &args.out);
    let metrics_file = args.metrics.as_deref().map(|path| Named::new("--metrics", path));
    let table = Table::read(data_file.path)?;
    let checkpoint = args.checkpoint.as_deref().map(|path| Named::new("--checkpoint", path));
    let resume = args.resume.as_deref().map(|path| Named::new("--resume", path));
    let picture = args.range_test.as_deref().map(|path| Named::new("--range-test", path));
    // A range test saves no model.
    let outputs = [picture.is_none().then_some(out), metrics_file, checkpoint, picture];
    // A run that goes on may write over the checkpoint that it comes from.
    let inputs = [Some(data_file), resume.filter(|_| args.checkpoint != args.resume)];
    check_outputs(
        &inputs.into_iter().flatten().collect::<Vec<_>>(),
        &outputs.into_iter().flatten().collect::<Vec<_>>(),
    )?;
    let device = devices::open_to_compute(&args.device)?;
    let target = match &args.target {
        Some(target) => target.clone(),
        // A table that was read has a column.
        None => table.column_names().last().cloned().unwrap_or_default(),
    };
    let task = args.task.map(|task| match task {
        args::Task::Classification => Task::Classification,
        args::Task::Regression => Task::Regression,
    });
    let data = TabularData::prepare(&table, &target, task, args.test_fraction, args.seed, &device)?;
    check_size(&args.hidden, data.schema.features.len(), data.schema.output_count())?;
    let mlp = MlpConfig {
        // Inputs and outputs follow from the columns.
        inputs: 0,
        hidden: args.hidden.iter().map(|&units| units as usize).collect(),
        outputs: 0,
        activation: args.activation(),
        dropout: args.dropout as f32,
    };
    let model = TabularModel::new(data.schema.clone(), mlp, args.seed, &device).map_err(|error| match error {
        nn::Error::Tensor(limit @ tensor::Error::Limit { .. }) => Error::Unfit {
            flag: "--hidden",
            problem: format!("{limit}; make the layers smaller, or choose another --device"),
        },
        other => other.into(),
    })?;
    let parameters = model.params().element_count();

    let rows = data.train.len();
    let mut options = FitOptions { epochs: 1, batch_size: args.batch_size as usize, seed: args.seed };
    let steps_per_epoch = options.steps_per_epoch(rows);
    options.epochs = args.epochs(steps_per_epoch);
    let steps = steps_per_epoch.saturating_mul(options.epochs);
    if steps > MAX_STEPS {
        let problem = format!("{} epochs are {steps} steps, but a run has at most {MAX_STEPS}", options.epochs);
        return Err(Error::Unfit { flag: "--epochs", problem });
    }

    let mut optimizer = Optimizer::from_boxed(model.params(), method(args))?.with_clip(args.clip())?;
    if args.scales_loss() {
        optimizer = optimizer.with_loss_scale(LossScale::default())?;
    }
    optimizer.set_schedule(&*schedule::of(args, steps), steps)?;
    if let Some(momentum) = schedule::of_momentum(args, steps)
        && optimizer.method().momentum().is_some()
    {
        optimizer.set_momentum_schedule(&*momentum, steps)?;
    }

    let planned = optimizer.schedule().clone();
    let mut trainer = Trainer::new(model, optimizer, data.schema.loss());
    if let Some(file) = checkpoint {
        file.written(trainer.set_checkpoints(file.path, args.checkpoint_every(options.epochs)))?;
    }
    let done = resume.map(|file| trainer.resume(file.path).map_err(Error::Resume)).transpose()?;
    if let Some(file) = resume.filter(|_| *trainer.optimizer().schedule() != planned) {
        let problem =
            "the run had another --schedule, or other --epochs, --batch-size or --warmup; give those that it had"
                .to_string();
        return Err(Error::Resume(nn::Error::Model { path: file.path.to_path_buf(), problem }));
    }

    let info = device.info();
    print(&format!(
        "{}: {} of {target:?} from {}, {} to learn from, {} to test on\n\
         {parameters} parameters, {} of {}, on {}, {}\n",
        args.data.display(),
        data.schema.task,
        count(data.schema.features.len() as u64, "feature"),
        count(rows as u64, "row"),
        data.test.as_ref().map_or(0, nn::data::Dataset::len),
        count(options.epochs, "epoch"),
        count(steps_per_epoch, "step"),
        info.name,
        info.driver,
    ))?;
    if let Some(file) = picture {
        let report = trainer.range_test(&data.train, &RangeTest::default(), &options)?;
        file.write(report.plot()?.as_bytes())?;
        return print(&suggestions(&report, file.path));
    }
    if let Some(done) = done {
        print(&format!("{} of them done\n", count(done, "epoch")))?;
    }
    let bar = progress_bar(steps);
    let history = trainer.fit(&data.train, data.test.as_ref(), &options, |event| match event {
        Event::Step { step, .. } => bar.set_position(step),
        Event::Losses { losses, .. } => bar.set_message(format!("loss {}", short(mean(losses)))),
        Event::Epoch(report) => bar.set_message(summary(report)),
        _ => {}
    });
    let history = history.map_err(|error| match error {
        nn::Error::Model { .. } if resume.is_some() => Error::Resume(error),
        error => error.into(),
    })?;
    bar.finish_and_clear();
    let (model, _) = trainer.into_parts();
    out.written(model.save(out.path))?;
    let metrics = Metrics::new(&device, &data, parameters, &history, args);
    let written = metrics_file.map_or(Ok(()), |file| file.write(to_json(&metrics).as_bytes()));
    // The model is saved, whatever became of the metrics.
    print(&metrics.summary(args))?;
    written
}

/// What a range test says.
fn suggestions(report: &RangeReport, picture: &Path) -> String {
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
    text + &format!("picture saved to {}; nothing was trained\n", picture.display())
}

/// Refuses networks that no memory holds, before it is asked for.
fn check_size(hidden: &[u32], inputs: usize, outputs: usize) -> Result<()> {
    let widths: Vec<u64> =
        [inputs as u64].into_iter().chain(hidden.iter().map(|&w| w.into())).chain([outputs as u64]).collect();
    let parameters =
        widths.windows(2).fold(0u64, |sum, pair| sum.saturating_add(pair[0].saturating_add(1).saturating_mul(pair[1])));
    if parameters > MAX_PARAMETERS {
        let problem =
            format!("the network would have {parameters} parameters, but at most {MAX_PARAMETERS}; make it smaller");
        return Err(Error::Unfit { flag: "--hidden", problem });
    }
    Ok(())
}

fn method(args: &TrainArgs) -> Box<dyn Method> {
    use args::Optimizer as Name;
    let (lr, weight_decay) = (args.learning_rate(), args.weight_decay());
    let sgd = Sgd { lr, momentum: args.momentum(), weight_decay, ..Sgd::default() };
    match args.optimizer {
        Name::Adamw => Box::new(AdamW { lr, weight_decay, ..AdamW::default() }),
        Name::Adamw8bit => Box::new(AdamW8bit { lr, weight_decay, ..AdamW8bit::default() }),
        Name::Adam => Box::new(Adam { lr, weight_decay, ..Adam::default() }),
        Name::Sgd | Name::Momentum => Box::new(sgd),
        Name::Nesterov => Box::new(Sgd { nesterov: true, ..sgd }),
        Name::Adagrad => Box::new(Adagrad { lr, weight_decay, ..Adagrad::default() }),
        Name::Rmsprop => Box::new(RmsProp { lr, momentum: args.momentum(), weight_decay, ..RmsProp::default() }),
        Name::Adadelta => Box::new(Adadelta { lr, weight_decay, ..Adadelta::default() }),
        Name::Amsgrad => Box::new(Amsgrad { lr, weight_decay, ..Amsgrad::default() }),
        Name::Adamax => Box::new(Adamax { lr, weight_decay, ..Adamax::default() }),
        Name::Nadam => Box::new(NAdam { lr, weight_decay, ..NAdam::default() }),
        Name::Radam => Box::new(RAdam { lr, weight_decay, ..RAdam::default() }),
        Name::Adabelief => Box::new(AdaBelief { lr, weight_decay, ..AdaBelief::default() }),
        Name::Yogi => Box::new(Yogi { lr, weight_decay, ..Yogi::default() }),
        Name::Adan => Box::new(Adan { lr, weight_decay, ..Adan::default() }),
        Name::Lion => Box::new(Lion { lr, weight_decay, ..Lion::default() }),
        Name::Lamb => Box::new(Lamb { lr, weight_decay, ..Lamb::default() }),
        Name::Lars => Box::new(Lars { lr, momentum: args.momentum(), weight_decay, ..Lars::default() }),
        Name::Novograd => Box::new(NovoGrad { lr, weight_decay, ..NovoGrad::default() }),
        Name::Sophia => Box::new(Sophia { lr, weight_decay, seed: args.seed, ..Sophia::default() }),
        // Most schedules warm up.
        Name::Prodigy => Box::new(Prodigy { lr, weight_decay, safeguard_warmup: true, ..Prodigy::default() }),
        Name::Asgd => Box::new(Asgd { lr, weight_decay, ..Asgd::default() }),
        Name::ScheduleFreeAdamw => Box::new(ScheduleFreeAdamW { lr, weight_decay, ..ScheduleFreeAdamW::default() }),
        Name::ScheduleFreeSgd => Box::new(ScheduleFreeSgd { lr, weight_decay, ..ScheduleFreeSgd::default() }),
        // Muon's learning rate is for orthogonal updates; that of the biases is the usual tenth of it.
        Name::Muon => {
            let (momentum, adamw_lr) = (args.momentum(), 0.1 * lr);
            Box::new(Muon { lr, momentum, weight_decay, adamw_lr, ..Muon::default() })
        }
        Name::Adafactor => Box::new(Adafactor { lr, weight_decay, ..Adafactor::default() }),
        Name::Sm3 => Box::new(Sm3 { lr, momentum: args.momentum(), ..Sm3::default() }),
        Name::Soap => Box::new(Soap { lr, weight_decay, ..Soap::default() }),
        Name::Rprop => Box::new(Rprop { lr, ..Rprop::default() }),
    }
}

/// On a terminal only: elsewhere it would fill logs.
fn progress_bar(steps: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr_with_hz(10));
    if !io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let template = "{bar:16} {pos}/{len} steps, {eta} left, {wide_msg}";
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Beside the bar, and short enough to fit there.
fn summary(report: &nn::EpochReport) -> String {
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

fn mean(losses: &[f32]) -> f64 {
    losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / losses.len() as f64
}

/// A number as people read it, however large.
fn short(value: f64) -> String {
    if value.abs() < 1e4 { format!("{value:.4}") } else { format!("{value:.3e}") }
}

/// A number of things.
fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// What `--metrics` writes.
#[derive(Serialize)]
struct Metrics {
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
    /// One number an epoch, as the lists that follow.
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
}

impl Metrics {
    fn new(
        device: &thalweg::tensor::Device,
        data: &TabularData,
        parameters: usize,
        history: &History,
        args: &TrainArgs,
    ) -> Self {
        let info = device.info();
        let last = history.epochs.last();
        let test = last.and_then(|report| report.test);
        // A run that was resumed at its end has done none.
        let per_step = |count: u64| count as f64 / history.steps.max(1) as f64;
        let each = |value: fn(&nn::EpochReport) -> f64| history.epochs.iter().map(value).collect();
        Self {
            device: info.name,
            driver: info.driver,
            task: data.schema.task,
            target: data.schema.target.clone(),
            features: data.schema.features.len(),
            classes: data.schema.classes.clone(),
            train_rows: data.train.len(),
            test_rows: data.test.as_ref().map_or(0, nn::data::Dataset::len),
            parameters,
            optimizer: args.optimizer.name(),
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
        }
    }

    /// What is printed at the end.
    fn summary(&self, args: &TrainArgs) -> String {
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
        let out = args.out.display();
        // As the user has called it: it need not be where the shell finds it.
        let program = std::env::args_os().next().unwrap_or_else(|| "thalweg".into());
        let program = program.to_string_lossy();
        format!("{text}\nmodel saved to {out}; to predict with it: {program} predict {out} DATA.csv\n")
    }
}
