//! `thalweg predict`: from a model and a table to predictions.

use std::io;

use thalweg::nn::data::Table;
use thalweg::nn::{Predictions, TabularModel};

use crate::args::train::PredictArgs;
use crate::devices;
use crate::error::{Error, Result};
use crate::files::{Named, check_outputs};
use crate::output::print;

pub(crate) fn run(args: &PredictArgs) -> Result<()> {
    let out = Named::new("--out", &args.out);
    check_outputs(&[Named::new("MODEL", &args.model), Named::new("DATA", &args.data)], &[out])?;
    let device = devices::open_to_compute(&args.device)?;
    let model = TabularModel::load(&args.model, &device)?;
    let table = Table::read(&args.data)?;
    let rows = table.numeric_columns(&model.schema().features)?;
    let predictions = model.predict(&rows)?;
    check_finite(&predictions, &table)?;
    let lines = to_csv(&model, &predictions).map_err(|source| Error::Output {
        flag: "--out",
        path: args.out.clone(),
        source,
    })?;
    out.write(&lines)?;
    if out.is_stream() {
        // It may be standard output, where predictions alone belong.
        return Ok(());
    }
    print(&format!(
        "{} predictions of {:?} written to {}\n",
        table.row_count(),
        model.schema().target,
        args.out.display()
    ))
}

/// Cells are finite numbers, but what a network makes of them may not be.
fn check_finite(predictions: &Predictions, table: &Table) -> Result<()> {
    let (values, columns) = match predictions {
        Predictions::Classes { classes, probabilities } => (probabilities, probabilities.len() / classes.len().max(1)),
        Predictions::Values(values) => (values, 1),
        _ => return Ok(()),
    };
    match values.iter().position(|value| !value.is_finite()) {
        Some(place) => {
            let line = table.line(place / columns.max(1)).unwrap_or_default();
            Err(Error::Row { path: table.path().to_path_buf(), line })
        }
        None => Ok(()),
    }
}

/// A line for each row: the prediction, and for a classification the probability of each class.
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
