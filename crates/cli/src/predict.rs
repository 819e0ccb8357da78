//! `thalweg predict`: from a model and a table to predictions.

use std::io;

use thalweg::nn::data::Table;
use thalweg::nn::{Predictions, TabularModel, check_writable, write_whole};

use crate::args::train::PredictArgs;
use crate::devices;
use crate::error::{Error, Result};
use crate::output::print;

pub(crate) fn run(args: &PredictArgs) -> Result<()> {
    check_writable(&args.out)?;
    let device = devices::open(&args.device)?;
    let model = TabularModel::load(&args.model, &device)?;
    let table = Table::read(&args.data)?;
    let rows = table.numeric_columns(&model.schema().features)?;
    let predictions = model.predict(&rows)?;
    let lines = to_csv(&model, &predictions).map_err(|source| Error::Output {
        flag: "--out",
        path: args.out.clone(),
        source,
    })?;
    write_whole(&args.out, &lines)?;
    print(&format!(
        "{} predictions of {:?} written to {}\n",
        table.row_count(),
        model.schema().target,
        args.out.display()
    ))
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
