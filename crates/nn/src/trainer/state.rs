//! The state of a run between two epochs, in one file: parameters, optimizer, random counters, and reports.

use std::path::Path;

use serde::{Deserialize, Serialize};
use thalweg_tensor::Tensor;

use super::Trainer;
use super::evaluate::Evaluation;
use super::events::{EpochReport, FitOptions};
use crate::checkpoint::NOTE;
use crate::data::Dataset;
use crate::optim::Stepper;
use crate::{Checkpoint, CheckpointTensor, Error, Parts, Result, Values};

/// The key in the metadata.
const KEY: &str = "training";

/// The progress of a run, and the properties that identify it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) epochs_done: u64,
    epochs: u64,
    batch_size: usize,
    seed: u64,
    rows: usize,
    data_crc32: [u32; 2],
    /// The properties of the model that parameters do not show, and the loss.
    model: String,
    random_counters: Vec<u32>,
}

impl Place {
    /// Makes the place before the first epoch.
    pub(super) fn new(model: String, train: &Dataset, options: &FitOptions) -> Result<Self> {
        let FitOptions { epochs, batch_size, seed } = *options;
        let data_crc32 = [checksum(train.inputs())?, checksum(std::slice::from_ref(train.targets()))?];
        Ok(Self {
            epochs_done: 0,
            epochs,
            batch_size,
            seed,
            rows: train.len(),
            data_crc32,
            model,
            random_counters: Vec::new(),
        })
    }

    /// Returns the place of the same run, later.
    pub(super) fn after(&self, epochs_done: u64) -> Self {
        Self { epochs_done, ..self.clone() }
    }

    /// Returns the number of epochs that the run was planned for.
    pub(super) fn epochs(&self) -> u64 {
        self.epochs
    }

    /// Checks that another place belongs to the same run, with more epochs, or with fewer that are not done yet.
    pub(super) fn check(&self, other: &Self) -> Result<()> {
        let differ = |name, saved: &dyn ToString, own: &dyn ToString| {
            Err(Error::state(name, format!("saved was {}, but here it is {}", saved.to_string(), own.to_string())))
        };
        // The number of steps follows from the rows, so the rows are checked first.
        if self.rows != other.rows {
            return differ("training rows", &self.rows, &other.rows);
        }
        if self.seed != other.seed {
            return differ("seed", &self.seed, &other.seed);
        }
        if self.batch_size != other.batch_size {
            return differ("batch_size", &self.batch_size, &other.batch_size);
        }
        if other.epochs < self.epochs_done {
            let (done, wanted) = (self.epochs_done, other.epochs);
            let problem = format!("the run has done {done}, but here it ends after {wanted}; give at least {done}");
            return Err(Error::state("epochs", problem));
        }
        if self.data_crc32 != other.data_crc32 {
            return Err(Error::state("training rows", "their values are not those of the saved run"));
        }
        Ok(())
    }
}

/// Computes a checksum of tensors, which depends on their order.
fn checksum(tensors: &[Tensor]) -> Result<u32> {
    tensors
        .iter()
        .try_fold(0u32, |sum, tensor| Ok(sum.rotate_left(1) ^ CheckpointTensor::read("data", tensor)?.values.crc32()))
}

impl<M: Parts, S: Stepper> Trainer<M, S> {
    /// Writes everything to a file, whole or not at all.
    pub(super) fn save(&self, path: &Path, place: &Place, history: &[EpochReport]) -> Result<()> {
        let params = self.optimizer().params();
        let place = Place { random_counters: params.random_counters()?, ..place.clone() };
        let mut saved = self.stepper.state_dict()?;
        saved.metadata[KEY] = serde_json::to_value(place).map_err(|error| Error::model(path, error.to_string()))?;
        if let Some(note) = &self.note {
            saved.metadata[NOTE] = note.clone();
        }
        if let Some(plateau) = &self.plateau {
            plateau.save(&mut saved.metadata)?;
        }
        if let Some(average) = &self.average {
            saved.merge(average.state_dict()?)?;
        }
        saved.tensors.splice(0..0, params.to_host()?);
        saved.tensors.extend(reports_to_tensors(history));
        saved.save(path)
    }

    /// Reads a file and restores everything; nothing is changed if it does not fit.
    pub(super) fn load(&mut self, path: &Path) -> Result<(Place, Vec<EpochReport>)> {
        let saved = Checkpoint::load(path)?;
        self.load_saved(&saved).map_err(|error| match error {
            Error::State { .. } => Error::model(path, error.to_string()),
            error => error,
        })
    }

    fn load_saved(&mut self, saved: &Checkpoint) -> Result<(Place, Vec<EpochReport>)> {
        let params = self.optimizer().params().clone();
        let place = saved.metadata.get(KEY).ok_or_else(|| {
            Error::state(KEY, "the file is no checkpoint of a run; give one that was written in training")
        })?;
        let place: Place = serde_json::from_value(place.clone())
            .map_err(|error| Error::state(KEY, format!("the state is of another version, or damaged ({error})")))?;
        let history = reports_from_tensors(saved, place.epochs_done)?;
        params.check(&saved.tensors)?;
        let model = self.settings();
        if place.model != model {
            return Err(Error::state("model", format!("saved was {}, but here it is {model}", place.model)));
        }
        params.check_random_counters(&place.random_counters)?;
        let plateau = self.plateau.as_ref().map(|plateau| plateau.saved(&saved.metadata)).transpose()?;
        self.average.as_ref().map_or(Ok(()), |average| average.check_state_dict(saved))?;
        self.stepper.load_state_dict(saved)?;
        self.average.as_mut().map_or(Ok(()), |average| average.load_state_dict(saved))?;
        if let (Some(own), Some(saved)) = (&mut self.plateau, plateau) {
            own.restore(saved);
        }
        params.load(&saved.tensors)?;
        params.set_random_counters(&place.random_counters)?;
        Ok((place, history))
    }
}

/// The name of a number of every report, and the number.
type Column = (&'static str, fn(&EpochReport) -> Option<f64>);

const COLUMNS: [Column; 8] = [
    ("history.train_loss", |report| Some(report.train_loss)),
    ("history.test_loss", |report| report.test.map(|test| test.loss)),
    ("history.test_accuracy", |report| report.test.and_then(|test| test.accuracy)),
    ("history.test_r2", |report| report.test.and_then(|test| test.r2)),
    ("history.gradient_norm", |report| Some(report.gradient_norm)),
    ("history.lr", |report| Some(report.lr)),
    ("history.skipped", |report| Some(report.skipped.into())),
    ("history.clipped", |report| Some(report.clipped.into())),
];

/// Returns a list per number, with one entry per epoch, for the numbers that the reports have.
fn reports_to_tensors(history: &[EpochReport]) -> Vec<CheckpointTensor> {
    let tensor = |(name, of): &Column| {
        let values: Vec<f64> = history.iter().map(of).collect::<Option<_>>()?;
        Some(CheckpointTensor { name: (*name).to_string(), shape: vec![values.len()], values: values.into() })
    };
    COLUMNS.iter().filter_map(tensor).collect()
}

fn reports_from_tensors(saved: &Checkpoint, epochs: u64) -> Result<Vec<EpochReport>> {
    let column = |name: &str| match saved.get(name).map(|tensor| &tensor.values) {
        None => Ok(None),
        Some(Values::F64(values)) if values.len() as u64 == epochs => Ok(Some(values)),
        Some(_) => Err(Error::state(name, format!("it must have {epochs} elements of F64"))),
    };
    let needed = |name: &str| column(name)?.ok_or_else(|| Error::state(name, "the tensor is missing"));
    let (test_loss, test_accuracy, test_r2) =
        (column("history.test_loss")?, column("history.test_accuracy")?, column("history.test_r2")?);
    let (train_loss, gradient_norm, lr) =
        (needed("history.train_loss")?, needed("history.gradient_norm")?, needed("history.lr")?);
    let (skipped, clipped) = (needed("history.skipped")?, needed("history.clipped")?);
    let report = |i: usize| EpochReport {
        epoch: i as u64 + 1,
        train_loss: train_loss[i],
        test: test_loss.map(|loss| Evaluation {
            loss: loss[i],
            accuracy: test_accuracy.map(|accuracy| accuracy[i]),
            r2: test_r2.map(|r2| r2[i]),
        }),
        gradient_norm: gradient_norm[i],
        lr: lr[i],
        skipped: skipped[i] as u32,
        clipped: clipped[i] as u32,
    };
    Ok((0..train_loss.len()).map(report).collect())
}
