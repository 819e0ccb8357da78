//! [`TabularModel`]: a perceptron with all that it needs to predict from a table, and back from its file.

use serde::{Deserialize, Serialize};
use std::path::Path;

use thalweg_autograd::{Tape, Var};
use thalweg_tensor::{Device, Tensor};

use crate::data::{Dataset, Standardizer, Table, Task, take_rows, train_test_split};
use crate::error::DataProblem;
use crate::{
    Checkpoint, CrossEntropy, Error, Loss, Mlp, MlpConfig, Module, Mse, Params, ParamsBuilder, Parts, Result, Visitor,
};

/// What kind of model a file holds, so that another one is told apart.
const KIND: &str = "tabular-mlp";

/// A table made ready: split, standardised by its training rows, on the device.
///
/// See [`TabularModel`] for an example.
#[derive(Debug)]
#[non_exhaustive]
pub struct TabularData {
    /// What it says of its columns.
    pub schema: Schema,
    /// The rows to learn from.
    pub train: Dataset,
    /// The rows that were held back; none where `test_fraction` was 0.
    pub test: Option<Dataset>,
}

/// The columns of a table as a model sees them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// Classification or regression.
    pub task: Task,
    /// The column that is predicted.
    pub target: String,
    /// The columns that it is predicted from, in the order of the model's inputs.
    pub features: Vec<String>,
    /// The classes, in the order of the model's outputs; empty for a regression.
    pub classes: Vec<String>,
    /// How features are brought to mean 0 and deviation 1.
    pub feature_scale: Standardizer,
    /// How the target is, for a regression.
    pub target_scale: Option<Standardizer>,
}

impl TabularData {
    /// Makes a table ready. All columns but the target are features, and must hold numbers. Without a task it is inferred
    /// from the target by [`Table::infer_task`].
    ///
    /// The seed decides which rows are held back, a share of `test_fraction` in [0, 1), of a classification class by
    /// class; see [`train_test_split`]. Features, and the target of a regression, are brought to mean 0 and deviation 1
    /// by the training rows alone.
    ///
    /// # Errors
    /// [`Error::Data`] with file, line and column where the table does not fit the task, [`Error::Setting`] where the
    /// fraction is out of range or leaves a part without rows, [`Error::Tensor`] where the device has no room.
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
        let rows = table.numeric_columns(&features)?;
        let width = features.len();
        let (classes, labels, values) = match task {
            Task::Classification => {
                let classes = table.class_labels(target)?;
                if classes.len() == table.row_count() && test_fraction > 0.0 {
                    return Err(table.problem(None, Some(target), DataProblem::SingleRows));
                }
                let labels = table.class_indices(target, &classes)?;
                (classes, Some(labels), Vec::new())
            }
            Task::Regression => (Vec::new(), None, table.regression_target(target)?),
        };
        let split = train_test_split(table.row_count(), test_fraction, seed, labels.as_deref())?;
        let feature_scale = Standardizer::fit(&take_rows(&rows, width, &split.train)?, width)?;
        let target_scale = match task {
            Task::Classification => None,
            Task::Regression => Some(Standardizer::fit(&take_rows(&values, 1, &split.train)?, 1)?),
        };
        let dataset = |of: &[u32]| -> Result<Dataset> {
            let mut features = take_rows(&rows, width, of)?;
            feature_scale.apply(&mut features)?;
            match (&labels, &target_scale) {
                (Some(labels), _) => {
                    let labels = take_rows(labels, 1, of)?;
                    Dataset::classification(device, &features, width, &labels, classes.len())
                }
                (None, scale) => {
                    let mut values = take_rows(&values, 1, of)?;
                    if let Some(scale) = scale {
                        scale.apply(&mut values)?;
                    }
                    Dataset::regression(device, &features, width, &values)
                }
            }
        };
        let train = dataset(&split.train)?;
        let test = if split.test.is_empty() { None } else { Some(dataset(&split.test)?) };
        let schema = Schema { task, target: target.to_string(), features, classes, feature_scale, target_scale };
        Ok(Self { schema, train, test })
    }
}

impl Schema {
    /// The numbers that a model gives for a row: one a class, or one.
    #[must_use]
    pub fn output_count(&self) -> usize {
        match self.task {
            Task::Classification => self.classes.len(),
            Task::Regression => 1,
        }
    }

    /// Returns the loss that fits the task.
    #[must_use]
    pub fn loss(&self) -> Box<dyn Loss> {
        match self.task {
            Task::Classification => Box::new(CrossEntropy),
            Task::Regression => Box::new(Mse),
        }
    }

    /// Whether the parts agree with each other and with a network: a file may say anything.
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

/// A perceptron with the columns it was trained on. Its file holds both, as a [`Checkpoint`].
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
/// let optimizer = Optimizer::new(model.params(), Sgd { lr: 0.5, ..Sgd::default() })?;
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

/// What a model says of some rows.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Predictions {
    /// Of a classification.
    Classes {
        /// The most probable class of each row, as an index into [`Schema::classes`].
        classes: Vec<u32>,
        /// The probabilities of all classes, `[rows, classes]` row-major.
        probabilities: Vec<f32>,
    },
    /// Of a regression: one value for each row, in the target's own unit.
    Values(Vec<f32>),
}

/// The metadata of a file.
#[derive(Serialize, Deserialize)]
struct Metadata {
    kind: String,
    schema: Schema,
    mlp: MlpConfig,
}

impl TabularModel {
    /// A model with fresh parameters, drawn from the seed. Inputs and outputs of the network follow from the columns,
    /// whatever `mlp` says; the other settings are those of `mlp`.
    ///
    /// # Errors
    /// [`Error::Setting`] where a setting is not valid, [`Error::Tensor`] where the device has no room.
    pub fn new(schema: Schema, mlp: MlpConfig, seed: u64, device: &Device) -> Result<Self> {
        let config = MlpConfig { inputs: schema.features.len(), outputs: schema.output_count(), ..mlp };
        let mut builder = ParamsBuilder::new(seed);
        let mlp = Mlp::new(&mut builder, &config)?;
        let params = builder.build(device)?;
        Ok(Self { schema, config, mlp, params })
    }

    /// The columns it was trained on.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Its parameters.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Writes the model to a file, whole or not at all. The same model gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be written (its old content stays), [`Error::Tensor`] where the device fails.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let metadata = Metadata { kind: KIND.to_string(), schema: self.schema.clone(), mlp: self.config.clone() };
        let metadata = serde_json::to_value(metadata).map_err(|error| Error::model(path, error.to_string()))?;
        Checkpoint { metadata, tensors: self.params.to_host()? }.save(path)
    }

    /// Reads a model from a file, onto a device.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be read, [`Error::Model`] where it is damaged or holds no such model,
    /// [`Error::Tensor`] where the device has no room.
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
        // Held against the file before memory is made: sizes in a file may be anything.
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

    /// Predicts for rows of features in their own units, `[rows, features]` row-major, in the order of
    /// [`Schema::features`].
    ///
    /// # Errors
    /// [`Error::Tensor`] where the number of values is not a multiple of that of the features, or the device fails.
    pub fn predict(&self, rows: &[f32]) -> Result<Predictions> {
        let mut rows = rows.to_vec();
        self.schema.feature_scale.apply(&mut rows)?;
        let count = rows.len().checked_div(self.config.inputs).unwrap_or(0);
        let features = Tensor::from_slice(self.params.device(), &rows, &[count, self.config.inputs])?;
        let tape = Tape::inference();
        let output = self.mlp.forward(tape.constant(&features))?.value();
        match &self.schema.target_scale {
            None => Ok(Predictions::Classes {
                classes: output.argmax()?.to_vec()?,
                probabilities: output.softmax()?.to_vec()?,
            }),
            Some(scale) => {
                let mut values = output.to_vec::<f32>()?;
                scale.invert(&mut values)?;
                Ok(Predictions::Values(values))
            }
        }
    }
}

/// The parts are those of the network, under the same names.
impl Parts for TabularModel {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        self.mlp.visit(visitor);
    }
}

impl Module for TabularModel {
    fn forward<'t>(&self, input: Var<'t>) -> Result<Var<'t>> {
        self.mlp.forward(input)
    }
}
