//! `thalweg predict`: from a model and a table to predictions.

use std::io;

use thalweg::nn::data::Table;
use thalweg::nn::{self, Predictions, TabularModel};
use thalweg::tensor;

use crate::args::train::PredictArgs;
use crate::devices;
use crate::error::{Error, Result};
use crate::files::{DATA, Named, check_outputs};
use crate::output::{count, print};

pub(crate) fn run(args: &PredictArgs) -> Result<()> {
    let (out, data) = (Named::new("--out", &args.out), Named::new(DATA, &args.data));
    check_outputs(&[Named::new("MODEL", &args.model), data], &[out])?;
    let device = devices::open_to_compute(&args.device)?;
    let model = TabularModel::load(&args.model, &device).map_err(|error| match error {
        nn::Error::Tensor(limit @ tensor::Error::Limit { .. }) => Error::Unfit {
            flag: "--device",
            problem: format!("the weights of {} do not fit: {limit}; choose another device", args.model.display()),
        },
        other => other.into(),
    })?;
    let table = data.read_table()?;
    let rows = table.numeric_columns(&model.schema().features)?;
    let predictions = model.predict(&rows)?;
    check_finite(&predictions, &table)?;
    let lines = to_csv(&model, &predictions).map_err(|source| Error::Output {
        flag: "--out",
        path: args.out.clone(),
        source,
    })?;
    out.write(&lines)?;
    let predictions = count(table.row_count() as u64, "prediction");
    print(&format!("{predictions} of {:?} written to {}\n", model.schema().target, out.name()))
}

/// Checks that predictions are finite: cells are finite numbers, but the output of a network may not be.
fn check_finite(predictions: &Predictions, table: &Table) -> Result<()> {
    let row = match predictions {
        Predictions::Classes { classes, probabilities } => {
            let columns = probabilities.len() / classes.len().max(1);
            probabilities.iter().position(|value| !value.is_finite()).map(|place| place / columns.max(1))
        }
        Predictions::Values(values) => values.iter().position(|value| !value.is_finite()),
        _ => None,
    };
    match row {
        Some(row) => {
            let line = table.line(row).unwrap_or_default();
            Err(Error::Row { path: table.path().to_path_buf(), line })
        }
        None => Ok(()),
    }
}

/// Returns a line for each row: the prediction, and for a classification the probability of each class.
fn to_csv(model: &TabularModel, predictions: &Predictions) -> io::Result<Vec<u8>> {
    let mut lines = csv::Writer::from_writer(Vec::new());
    match predictions {
        Predictions::Classes { classes, probabilities } => {
            let names = &model.schema().classes;
            let mut header = vec![model.schema().target.clone()];
            header.extend(names.iter().map(|name| format!("probability_{name}")));
            lines.write_record(&header)?;
            for (&class, probabilities) in classes.iter().zip(probabilities.chunks(names.len())) {
                let mut line = vec![names[class as usize].clone()];
                line.extend(probabilities.iter().map(f32::to_string));
                lines.write_record(&line)?;
            }
        }
        Predictions::Values(values) => {
            lines.write_record([&model.schema().target])?;
            for value in values {
                lines.write_record([value.to_string()])?;
            }
        }
        _ => {}
    }
    lines.into_inner().map_err(csv::IntoInnerError::into_error)
}
