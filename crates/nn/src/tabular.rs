//! [`TabularModel`]: a perceptron that predicts from a table, with its file.

use serde::{Deserialize, Serialize};
use std::path::Path;

use thalweg_autograd::{Tape, Var};
use thalweg_tensor::{DType, Device, Tensor};

use crate::data::{Dataset, Standardizer, Table, Task, take_rows, train_test_split};
use crate::error::DataProblem;
use crate::portions::{even_portions, rows_at_once};
use crate::{
    Checkpoint, Error, Loss, LossEntry, Mlp, MlpConfig, Module, Params, ParamsBuilder, Parts, Result, Visitor,
    write_whole,
};

/// The kind of model in a file, to recognise others.
const KIND: &str = "tabular-mlp";

/// A prepared table: split, standardised by its training rows, on the device.
///
/// See [`TabularModel`] for an example.
#[derive(Debug)]
#[non_exhaustive]
pub struct TabularData {
    /// The columns.
    pub schema: Schema,
    /// The rows for training.
    pub train: Dataset,
    /// The rows for testing; `None` if `test_fraction` was 0.
    pub test: Option<Dataset>,
    /// The number of rows of each class in the whole table, in the order of [`Schema::classes`]; empty for a
    /// regression.
    pub class_counts: Vec<usize>,
}

/// The columns of a table for a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// Classification or regression.
    pub task: Task,
    /// The column to predict.
    pub target: String,
    /// The columns to predict from, in the order of the model's inputs.
    pub features: Vec<String>,
    /// The classes, in the order of the model's outputs; empty for a regression.
    pub classes: Vec<String>,
    /// The standardizer of the features.
    pub feature_scale: Standardizer,
    /// The standardizer of the target, for a regression.
    pub target_scale: Option<Standardizer>,
}

impl TabularData {
    /// Prepares a table. All columns except the target are features, and must contain numbers. Without a task it is
    /// inferred from the target by [`Table::infer_task`].
    ///
    /// The seed determines the test rows: a share of `test_fraction` in [0, 1), for a classification class by class;
    /// see [`train_test_split`]. Features, and the target of a regression, are standardised to mean 0 and deviation 1
    /// by the training rows only.
    ///
    /// # Errors
    /// [`Error::Data`] with file, line and column if the table does not fit the task, [`Error::Setting`] if the
    /// fraction is out of range or leaves a part without rows, [`Error::Tensor`] if the device has no room.
    pub fn prepare(
        table: &Table,
        target: &str,
        task: Option<Task>,
        test_fraction: f64,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        table.column_index(target)?;
        let features: Vec<String> = table.column_names().iter().filter(|name| *name != target).cloned().collect();
        if features.is_empty() {
            return Err(table.problem(None, Some(target), DataProblem::NoFeature));
        }
        let task = task.map_or_else(|| table.infer_task(target), Ok)?;
        let is_classification = task == Task::Classification;
        let rows = table.numeric_columns(&features)?;
        let width = features.len();
        let (mut classes, mut labels, mut values) = (Vec::new(), Vec::new(), Vec::new());
        if is_classification {
            classes = table.class_labels(target)?;
            if classes.len() == table.row_count() && test_fraction > 0.0 {
                return Err(table.problem(None, Some(target), DataProblem::SingleRows));
            }
            labels = table.class_indices(target, &classes)?;
        } else {
            values = table.regression_target(target)?;
        }
        let mut class_counts = vec![0; classes.len()];
        labels.iter().for_each(|&class| class_counts[class as usize] += 1);
        let split = train_test_split(table.row_count(), test_fraction, seed, is_classification.then_some(&labels[..]))?;
        let train_rows = take_rows(&rows, width, &split.train)?;
        let feature_scale = Standardizer::fit(&train_rows, width)?;
        let target_scale = match task {
            Task::Classification => None,
            Task::Regression => Some(Standardizer::fit(&take_rows(&values, 1, &split.train)?, 1)?),
        };
        let dataset = |rows: Vec<f64>, of: &[u32]| -> Result<Dataset> {
            let features = feature_scale.apply(&rows)?;
            drop(rows);
            match &target_scale {
                Some(scale) => {
                    let values = scale.apply(&take_rows(&values, 1, of)?)?;
                    Dataset::regression(device, &features, width, &values)
                }
                None => {
                    let labels = take_rows(&labels, 1, of)?;
                    Dataset::classification(device, &features, width, &labels, classes.len())
                }
            }
        };
        let train = dataset(train_rows, &split.train)?;
        let test = match &split.test[..] {
            [] => None,
            test => Some(dataset(take_rows(&rows, width, test)?, test)?),
        };
        let schema = Schema { task, target: target.to_string(), features, classes, feature_scale, target_scale };
        Ok(Self { schema, train, test, class_counts })
    }
}

impl Schema {
    /// Returns the number of outputs of a model for a row: one per class, or one.
    #[must_use]
    pub fn output_count(&self) -> usize {
        match self.task {
            Task::Classification => self.classes.len(),
            Task::Regression => 1,
        }
    }

    /// Returns the default loss of the task: see [`LOSSES`](crate::LOSSES).
    #[must_use]
    pub fn loss(&self) -> Box<dyn Loss> {
        LossEntry::of_targets(self.target_type()).loss()
    }

    /// Returns the type of the targets: u32 for classes, f32 for numbers.
    #[must_use]
    pub fn target_type(&self) -> DType {
        match self.task {
            Task::Classification => DType::U32,
            Task::Regression => DType::F32,
        }
    }

    /// Checks that the parts agree with each other and with a network: a file may contain anything.
    fn check(&self, mlp: &MlpConfig) -> std::result::Result<(), &'static str> {
        let usable = |scale: &Standardizer, width: usize| {
            scale.mean.len() == width
                && scale.scale.len() == width
                && scale.mean.iter().chain(&scale.scale).all(|x| x.is_finite())
                && scale.scale.iter().all(|&x| x != 0.0)
        };
        if self.features.len() != mlp.inputs || self.output_count() != mlp.outputs {
            return Err("its columns do not fit its network");
        }
        let target_fits = match self.task {
            Task::Classification => self.target_scale.is_none(),
            Task::Regression => self.target_scale.as_ref().is_some_and(|scale| usable(scale, 1)),
        };
        if !usable(&self.feature_scale, self.features.len()) || !target_fits {
            return Err("its standardisation is not usable");
        }
        Ok(())
    }
}

/// A perceptron with its columns. Its file contains both, as a [`Checkpoint`].
///
/// ```
/// use thalweg_nn::data::Table;
/// use thalweg_nn::{FitOptions, MlpConfig, Optimizer, Predictions, Sgd, TabularData, TabularModel, Trainer};
/// use thalweg_tensor::Device;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let text = "height,width,kind\n1,9,fir\n2,8,fir\n8,1,oak\n9,2,oak\n";
/// let table = Table::from_reader("trees.csv", text.as_bytes())?;
/// let device = Device::cpu();
/// let data = TabularData::prepare(&table, "kind", None, 0.0, 0, &device)?;
///
/// let config = MlpConfig { hidden: vec![8], ..MlpConfig::default() };
/// let model = TabularModel::new(data.schema.clone(), config, 0, &device)?;
/// let optimizer = Optimizer::new(model.params(), Sgd::new(), 0.5)?;
/// let mut trainer = Trainer::new(model, optimizer, data.schema.loss());
/// trainer.fit(&data.train, None, &FitOptions { epochs: 50, batch_size: 4, seed: 0 }, |_| ())?;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("trees.safetensors");
/// trainer.model().save(&path)?;
/// let model = TabularModel::load(&path, &device)?;
/// let Predictions::Classes { classes, .. } = model.predict(&[1.5, 8.0, 8.0, 1.5])? else { unreachable!() };
/// let kinds: Vec<&str> = classes.iter().map(|&class| model.schema().classes[class as usize].as_str()).collect();
/// assert_eq!(kinds, ["fir", "oak"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TabularModel {
    schema: Schema,
    config: MlpConfig,
    mlp: Mlp,
    params: Params,
}

/// The predictions of a model for some rows.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Predictions {
    /// For a classification.
    Classes {
        /// The most probable class of each row, as an index into [`Schema::classes`].
        classes: Vec<u32>,
        /// The probabilities of all classes, `[rows, classes]` row-major.
        probabilities: Vec<f32>,
    },
    /// For a regression: one value per row, in the target's own unit. A network gives some seven digits of the
    /// standardised value, and [`Schema::target_scale`] is applied in f64.
    Values(Vec<f64>),
}

/// The metadata of a file.
#[derive(Serialize, Deserialize)]
struct Metadata {
    kind: String,
    schema: Schema,
    mlp: MlpConfig,
}

impl TabularModel {
    /// Makes a model with fresh parameters, drawn from the seed. The columns determine the inputs and outputs of the
    /// network; the other settings are those of `mlp`.
    ///
    /// # Errors
    /// [`Error::Setting`] if a setting is not valid, [`Error::Tensor`] if the device has no room.
    pub fn new(schema: Schema, mlp: MlpConfig, seed: u64, device: &Device) -> Result<Self> {
        let config = MlpConfig { inputs: schema.features.len(), outputs: schema.output_count(), ..mlp };
        let mut builder = ParamsBuilder::new(seed);
        let mlp = Mlp::new(&mut builder, &config)?;
        let params = builder.build(device)?;
        Ok(Self { schema, config, mlp, params })
    }

    /// Returns the columns it was trained on.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Returns its parameters.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Writes the model to a file, whole or not at all. Equal models give equal bytes.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written (its old content stays), [`Error::Tensor`] if the device fails.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        write_whole(path, &self.to_bytes()?)
    }

    /// Returns the bytes of the file that [`save`](Self::save) writes.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device fails.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let metadata = Metadata { kind: KIND.to_string(), schema: self.schema.clone(), mlp: self.config.clone() };
        let problem = |problem: String| Error::state("model", problem);
        let metadata = serde_json::to_value(metadata).map_err(|error| problem(error.to_string()))?;
        Checkpoint { metadata, tensors: self.params.to_host()? }.to_bytes().map_err(problem)
    }

    /// Reads a model from a file, onto a device.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Model`] if it is damaged or contains no such model,
    /// [`Error::Tensor`] if the device has no room.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let path = path.as_ref();
        let Checkpoint { metadata, tensors } = Checkpoint::load(path)?;
        let Metadata { kind, schema, mlp: config } = serde_json::from_value(metadata)
            .map_err(|error| Error::model(path, format!("it holds no model of a table ({error})")))?;
        if kind != KIND {
            return Err(Error::model(path, format!("it holds a model of kind {kind:?}, not {KIND:?}")));
        }
        schema.check(&config).map_err(|problem| Error::model(path, problem))?;
        let mut builder = ParamsBuilder::new(0);
        let mlp = Mlp::new(&mut builder, &config).map_err(|error| Error::model(path, error.to_string()))?;
        // Compared with the file before the allocation: sizes in a file may be anything.
        let expected = mlp.parameters();
        let fits = expected.len() == tensors.len()
            && expected.iter().zip(&tensors).all(|(p, t)| p.name() == t.name && p.shape() == t.shape);
        if !fits {
            return Err(Error::model(path, "its tensors do not fit its network"));
        }
        if let Some(tensor) = tensors.iter().find(|tensor| !tensor.is_finite()) {
            return Err(Error::model(path, format!("tensor {:?} holds values that are not finite", tensor.name)));
        }
        let params = builder.build_from(device, &tensors).map_err(|error| match error {
            Error::State { .. } => Error::model(path, error.to_string()),
            error => error,
        })?;
        Ok(Self { schema, config, mlp, params })
    }

    /// Predicts for rows of features in their original units, `[rows, features]` row-major, in the order of
    /// [`Schema::features`].
    ///
    /// The network computes the rows in portions that fit on the device. On the CPU and on software drivers the
    /// predictions have the same bits for any portions.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the number of values is not a multiple of the number of features, or the device fails.
    pub fn predict(&self, rows: &[f64]) -> Result<Predictions> {
        let widths = [self.config.inputs, self.config.outputs].into_iter().chain(self.config.hidden.iter().copied());
        self.predict_by(rows, rows_at_once(self.params.device(), widths))
    }

    /// Predicts in portions of at least `at_once` rows, and less than twice as many.
    fn predict_by(&self, rows: &[f64], at_once: usize) -> Result<Predictions> {
        let (device, width) = (self.params.device(), self.config.inputs);
        let features = self.schema.feature_scale.apply(rows)?;
        let count = features.len() / width.max(1);
        let (mut classes, mut probabilities, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for part in even_portions(count, at_once) {
            let part =
                Tensor::from_slice(device, &features[part.start * width..part.end * width], &[part.len(), width])?;
            let tape = Tape::inference();
            let output = self.mlp.forward(tape.constant(&part))?.value();
            if self.schema.target_scale.is_none() {
                classes.extend(output.argmax(-1, false)?.to_vec::<u32>()?);
                probabilities.extend(output.softmax(-1)?.to_vec::<f32>()?);
            } else {
                values.extend(output.to_vec::<f32>()?);
            }
        }
        Ok(match &self.schema.target_scale {
            None => Predictions::Classes { classes, probabilities },
            Some(scale) => Predictions::Values(scale.invert(&values)?),
        })
    }
}

/// The parts are those of the network, with the same names.
impl Parts for TabularModel {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        self.mlp.visit(visitor);
    }
}

impl Module for TabularModel {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        self.mlp.forward(input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::devices;

    fn model(device: &Device, task: Task, hidden: &[usize]) -> TabularModel {
        let scale = |width| Standardizer { mean: vec![0.25; width], scale: vec![2.0; width] };
        let (classes, target_scale) = match task {
            Task::Classification => (["a", "b", "c"].map(str::to_string).to_vec(), None),
            Task::Regression => (Vec::new(), Some(scale(1))),
        };
        let features = (0..5).map(|i| format!("x{i}")).collect();
        let schema = Schema { task, target: "y".into(), features, classes, feature_scale: scale(5), target_scale };
        let config = MlpConfig { hidden: hidden.to_vec(), ..MlpConfig::default() };
        TabularModel::new(schema, config, 0, device).unwrap()
    }

    #[test]
    fn predictions_do_not_depend_on_the_portions() {
        let rows: Vec<f64> = (0..5 * 3000u32).map(|i| f64::from(i * 7919 % 1009) / 300.0 - 1.5).collect();
        for device in devices() {
            let least = rows_at_once(&device, [usize::MAX]);
            for task in Task::ALL {
                // Matrix products, and products with vectors.
                for hidden in [&[24, 16][..], &[], &[1]] {
                    for count in [1025, 3000] {
                        let model = model(&device, task, hidden);
                        let rows = &rows[..5 * count];
                        let whole = model.predict_by(rows, count).unwrap();
                        for at_once in [least, 2 * least, 960] {
                            let predictions = model.predict_by(rows, at_once).unwrap();
                            assert!(predictions == whole, "{task} by {hidden:?} on {device}: {count} by {at_once}");
                        }
                        assert!(model.predict(rows).unwrap() == whole, "{task} by {hidden:?} on {device}");
                    }
                }
            }
        }
    }

    /// On the CPU a profile has only the launches of its own thread.
    #[test]
    fn loading_draws_no_initial_values() {
        let device = Device::cpu();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let (made, saved) = device.profile(|| -> Result<_> { Ok(model(&device, Task::Regression, &[16])) }).unwrap();
        assert!(made.launches().iter().any(|launch| launch.kernel == "random"), "{:?}", made.launches());
        saved.save(&path).unwrap();
        let (load, loaded) = device.profile(|| TabularModel::load(&path, &device)).unwrap();
        assert!(load.launches().is_empty(), "{:?}", load.launches());
        assert_eq!(loaded.to_bytes().unwrap(), saved.to_bytes().unwrap());
    }

    #[test]
    fn no_rows_have_no_predictions() {
        let model = |task| model(&Device::cpu(), task, &[4]);
        assert_eq!(model(Task::Regression).predict(&[]).unwrap(), Predictions::Values(Vec::new()));
        let none = Predictions::Classes { classes: Vec::new(), probabilities: Vec::new() };
        assert_eq!(model(Task::Classification).predict(&[]).unwrap(), none);
        assert!(model(Task::Regression).predict(&[1.0; 7]).is_err());
    }

    /// Means and scales have the same form in a file, as f32 or as f64.
    #[test]
    fn scales_of_either_precision_are_read_from_a_file() {
        let text = r#"{"mean":[5.831666469573975,0.1],"scale":[0.8330649733543396,2.0]}"#;
        let scale: Standardizer = serde_json::from_str(text).unwrap();
        assert_eq!(scale.mean, [f64::from(5.831_666_5_f32), 0.1]);
        assert_eq!(serde_json::to_string(&scale).unwrap(), text);
    }
}
