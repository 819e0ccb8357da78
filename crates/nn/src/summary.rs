//! [`Summary`]: the layers of a model as a table.

use std::fmt;

use thalweg_autograd::{Operation, Tape};
use thalweg_tensor::{DType, Tensor};

use crate::{Error, Module, Parts, Result};

/// A layer of a [`Summary`]: the parameters and buffers that have one path.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SummaryRow {
    /// The path within the model, such as `layers.0`; empty for the model's own parameters.
    pub path: String,
    /// The shape of its output; `None` without an input, or if the layer has not run.
    pub output: Option<Vec<usize>>,
    /// The number of elements of its parameters, without those of earlier layers.
    pub parameters: usize,
    /// The number of products that are added up in matrix products, convolutions and recurrent layers; `None` without an
    /// input.
    pub multiply_adds: Option<u64>,
}

/// The layers of a model with their outputs, parameters and costs, and the totals. It is formatted as a table.
///
/// ```
/// use thalweg_nn::{Mlp, MlpConfig, Module, ParamsBuilder};
/// use thalweg_tensor::Device;
/// # fn main() -> thalweg_nn::Result<()> {
/// let mut builder = ParamsBuilder::new(0);
/// let config = MlpConfig { inputs: 4, hidden: vec![16], outputs: 3, ..MlpConfig::default() };
/// let model = Mlp::new(&mut builder, &config)?;
/// let _params = builder.build(&Device::cpu())?;
/// let summary = model.summary_of_input(&[8, 4])?;
/// assert_eq!((summary.parameters(), summary.multiply_adds()), (131, Some(896)));
/// println!("{summary}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    rows: Vec<SummaryRow>,
    output: Option<Vec<usize>>,
    trainable: usize,
    buffers: usize,
}

impl Summary {
    /// Makes the table of a model that has not run.
    pub(crate) fn of(model: &(impl Parts + ?Sized)) -> Self {
        Self::with_operations(model, None)
    }

    /// Makes the table of a model with an input of zeros.
    ///
    /// # Errors
    /// [`Error::State`] if the model has no parameter with memory; those of the forward pass.
    pub(crate) fn of_input(model: &(impl Module + ?Sized), input: &[usize]) -> Result<Self> {
        let parameters = model.parameters();
        let first = parameters.first().ok_or_else(|| Error::state("summary", "the model has no parameters"))?;
        let tape = Tape::inference();
        let x = tape.constant(&Tensor::zeros(first.value()?.device(), DType::F32, input)?);
        let output = model.forward(x)?.shape();
        Ok(Self::with_operations(model, Some((&tape.operations(), output))))
    }

    fn with_operations(model: &(impl Parts + ?Sized), run: Option<(&[Operation], Vec<usize>)>) -> Self {
        let parent = |name: &str| name.rsplit_once('.').map_or("", |(path, _)| path).to_string();
        // A tape has the paths of the parameters' own names, which may start further out.
        let mut rows: Vec<(String, SummaryRow)> = Vec::new();
        let mut trainable = 0;
        for (name, parameter) in model.named_parameters() {
            let (path, elements) = (parent(&name), parameter.shape().iter().product::<usize>());
            trainable += if parameter.is_frozen() { 0 } else { elements };
            match rows.iter_mut().find(|(_, row)| row.path == path) {
                Some((_, row)) => row.parameters += elements,
                None => {
                    let row = SummaryRow { path, output: None, parameters: elements, multiply_adds: None };
                    rows.push((parent(parameter.name()), row));
                }
            }
        }
        if let Some((operations, _)) = &run {
            rows.iter_mut().for_each(|(_, row)| row.multiply_adds = Some(0));
            for operation in *operations {
                let path = operation.path.as_deref().unwrap_or("");
                let cost = multiply_adds(operation);
                let found = rows.iter().position(|(own, _)| own == path);
                let place = match found {
                    Some(place) => place,
                    // Products outside of layers have a row too.
                    None if cost > 0 => {
                        let (path, output) = (path.to_string(), None);
                        let row = SummaryRow { path: path.clone(), output, parameters: 0, multiply_adds: Some(0) };
                        rows.push((path, row));
                        rows.len() - 1
                    }
                    None => continue,
                };
                let row = &mut rows[place].1;
                row.output = Some(operation.shape.clone());
                row.multiply_adds = row.multiply_adds.map(|sum| sum + cost);
            }
        }
        let buffers = model.named_buffers().iter().map(|(_, buffer)| buffer.shape().iter().product::<usize>()).sum();
        let rows = rows.into_iter().map(|(_, row)| row).collect();
        Self { rows, output: run.map(|(_, output)| output), trainable, buffers }
    }

    /// Returns the layers, in the order of the visit.
    #[must_use]
    pub fn rows(&self) -> &[SummaryRow] {
        &self.rows
    }

    /// Returns the number of elements of all parameters. Shared ones count once.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.rows.iter().map(|row| row.parameters).sum()
    }

    /// Returns the multiply-adds of all layers; `None` without an input.
    #[must_use]
    pub fn multiply_adds(&self) -> Option<u64> {
        self.output.as_ref()?;
        Some(self.rows.iter().filter_map(|row| row.multiply_adds).sum())
    }
}

/// Returns the number of products that an operation adds up.
fn multiply_adds(operation: &Operation) -> u64 {
    let elements = |shape: &[usize]| shape.iter().map(|&extent| extent as u64).product::<u64>();
    let inputs = &operation.inputs;
    match operation.name {
        "matmul" | "linear" => elements(&operation.shape) * inputs[0].last().map_or(1, |&inner| inner as u64),
        "conv1d" | "conv2d" | "conv3d" => elements(&operation.shape) * elements(&inputs[1][1..]),
        "conv_transpose1d" | "conv_transpose2d" | "conv_transpose3d" => {
            elements(&inputs[0]) * elements(&inputs[1][1..])
        }
        "recurrent" => elements(&inputs[0]) * inputs[1].last().map_or(1, |&hidden| hidden as u64),
        _ => 0,
    }
}

/// Writes a number with commas between groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = |shape: &Option<Vec<usize>>| shape.as_ref().map_or("-".to_string(), |shape| format!("{shape:?}"));
        let cost = |cost: Option<u64>| cost.map_or("-".to_string(), grouped);
        let mut lines = vec![["layer", "output", "parameters", "multiply-adds"].map(str::to_string)];
        lines.extend(self.rows.iter().map(|row| {
            let path = if row.path.is_empty() { "(model)".to_string() } else { row.path.clone() };
            [path, shape(&row.output), grouped(row.parameters as u64), cost(row.multiply_adds)]
        }));
        let total = grouped(self.parameters() as u64);
        lines.push(["total".to_string(), shape(&self.output), total, cost(self.multiply_adds())]);
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2), width(3)];
        let rule = "-".repeat(widths.iter().sum::<usize>() + 6);
        for (i, [path, output, parameters, cost]) in lines.iter().enumerate() {
            if i == 1 || i + 1 == lines.len() {
                writeln!(f, "{rule}")?;
            }
            writeln!(
                f,
                "{path:<0$}  {output:<1$}  {parameters:>2$}  {cost:>3$}",
                widths[0], widths[1], widths[2], widths[3]
            )?;
        }
        let (trainable, buffers) = (grouped(self.trainable as u64), grouped(self.buffers as u64));
        write!(f, "{trainable} trainable parameters, {buffers} elements in buffers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, Linear, Lstm, ParamsBuilder, RecurrentConfig, Residual, Sequential};
    use thalweg_tensor::Device;

    fn model() -> (Sequential, crate::Params) {
        let mut builder = ParamsBuilder::new(0);
        let mut path = builder.path("net");
        let lstm = Lstm::new(&mut path, 0, &RecurrentConfig::new(4, 32)).unwrap();
        let inner = Linear::new(&mut path.path(1), "body", 32, 32).unwrap();
        let model = Sequential::new()
            .then(lstm)
            .then(Residual::new(inner))
            .then(Activation::Tanh)
            .then(Linear::new(&mut path, 3, 32, 3).unwrap());
        drop(path);
        (model, builder.build(&Device::cpu()).unwrap())
    }

    #[test]
    fn a_table_has_shapes_and_costs_after_a_run() {
        let (model, params) = model();
        params.parameters()[0].set_frozen(true);
        let expected = "\
layer   output      parameters  multiply-adds
---------------------------------------------
0       [5, 2, 32]       4,864         46,080
1.body  [5, 2, 32]       1,056         10,240
3       [5, 2, 3]           99            960
---------------------------------------------
total   [5, 2, 3]        6,019         57,280
5,507 trainable parameters, 0 elements in buffers";
        assert_eq!(model.summary_of_input(&[5, 2, 4]).unwrap().to_string(), expected);
        assert!(model.summary_of_input(&[5, 2, 3]).is_err());
    }

    #[test]
    fn a_table_without_a_run_has_parameters_only() {
        let (model, _params) = model();
        let expected = "\
layer   output  parameters  multiply-adds
-----------------------------------------
0       -            4,864              -
1.body  -            1,056              -
3       -               99              -
-----------------------------------------
total   -            6,019              -
6,019 trainable parameters, 0 elements in buffers";
        assert_eq!(model.summary().to_string(), expected);
    }
}
