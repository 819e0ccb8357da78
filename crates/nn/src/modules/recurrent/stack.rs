//! [`Stack`]: the layers and directions of a recurrent network.

use std::fmt;

use thalweg_autograd::{Parameter, Result as TapeResult, Var};
use thalweg_tensor::{Cell, DType, Error as TensorError, Recurrent, Tensor};

use super::RecurrentConfig;
use crate::{Dropout, Init, Module, ParamsBuilder, Parts, Result, Visitor};

/// The parameters of one direction of one layer.
#[derive(Debug)]
struct Direction {
    /// The end of the names: `l0_reverse`.
    ending: String,
    weight_ih: Parameter,
    weight_hh: Parameter,
    /// Those of the input and of the hidden state.
    biases: Option<[Parameter; 2]>,
}

/// The layers of a recurrent network.
#[derive(Debug)]
pub(super) struct Stack {
    cell: Cell,
    config: RecurrentConfig,
    /// One for each layer, or two.
    directions: Vec<Direction>,
    /// Between the layers.
    dropouts: Vec<Dropout>,
}

/// The final states of one direction of one layer.
pub(super) type Finals<'t> = Vec<Var<'t>>;

impl Parts for Stack {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        for Direction { ending, weight_ih, weight_hh, biases } in &self.directions {
            visitor.part(format_args!("weight_ih_{ending}"), weight_ih);
            visitor.part(format_args!("weight_hh_{ending}"), weight_hh);
            if let Some([bias_ih, bias_hh]) = biases {
                visitor.part(format_args!("bias_ih_{ending}"), bias_ih);
                visitor.part(format_args!("bias_hh_{ending}"), bias_hh);
            }
        }
        for (i, dropout) in self.dropouts.iter().enumerate() {
            visitor.part(format_args!("dropouts.{i}"), dropout.mode());
        }
        visitor.setting("cell", &format_args!("{:?}", self.cell));
        visitor.setting("dropout", if self.dropouts.is_empty() { &0.0 } else { &self.config.dropout });
    }
}

impl Stack {
    pub(super) fn new(
        builder: &mut ParamsBuilder,
        name: impl fmt::Display,
        cell: Cell,
        config: &RecurrentConfig,
    ) -> Result<Self> {
        config.validate()?;
        let mut builder = builder.path(name);
        let hidden = config.hidden_size;
        let rows = cell.gates() * hidden;
        let bound = (1.0 / (hidden as f64).sqrt()) as f32;
        let init = Init::Uniform { low: -bound, high: bound };
        let mut directions = Vec::with_capacity(config.num_layers * config.directions());
        for layer in 0..config.num_layers {
            let inputs = if layer == 0 { config.input_size } else { config.directions() * hidden };
            for end in ["", "_reverse"].into_iter().take(config.directions()) {
                let ending = format!("l{layer}{end}");
                let weight_ih = builder.add(format_args!("weight_ih_{ending}"), &[rows, inputs], init)?;
                let weight_hh = builder.add(format_args!("weight_hh_{ending}"), &[rows, hidden], init)?;
                let mut bias = |of: &str| builder.add(format_args!("bias_{of}_{ending}"), &[rows], init);
                let biases = if config.bias { Some([bias("ih")?, bias("hh")?]) } else { None };
                directions.push(Direction { ending, weight_ih, weight_hh, biases });
            }
        }
        let dropouts =
            (1..config.num_layers).map(|_| Dropout::new(&mut builder, config.dropout)).collect::<Result<_>>()?;
        Ok(Self { cell, config: config.clone(), directions, dropouts })
    }

    #[cfg(test)]
    pub(super) fn cell(&self) -> Cell {
        self.cell
    }

    pub(super) fn config(&self) -> &RecurrentConfig {
        &self.config
    }

    /// Returns the output and the final state of a network with one state.
    pub(super) fn forward_one<'t>(
        &self,
        input: Var<'t>,
        hidden: Option<Var<'t>>,
        lengths: Option<&Tensor>,
    ) -> TapeResult<(Var<'t>, Var<'t>)> {
        let (output, finals) = self.forward(input, hidden.map(|hidden| vec![hidden]), lengths)?;
        Ok((output, self.stacked(&finals, 0)?))
    }

    /// Returns the final states number `state` of all layers as one variable.
    pub(super) fn stacked<'t>(&self, finals: &[Finals<'t>], state: usize) -> TapeResult<Var<'t>> {
        Var::stack(&finals.iter().map(|states| states[state]).collect::<Vec<_>>(), 0)
    }

    /// Returns the output, and the final states of each direction of each layer.
    pub(super) fn forward<'t>(
        &self,
        input: Var<'t>,
        initial: Option<Vec<Var<'t>>>,
        lengths: Option<&Tensor>,
    ) -> TapeResult<(Var<'t>, Vec<Finals<'t>>)> {
        if input.shape().len() == 2 {
            let batch_axis = usize::from(!self.config.batch_first);
            let initial = initial.map(|states| states.into_iter().map(|state| state.unsqueeze(1)).collect());
            let (output, finals) = self.forward(input.unsqueeze(batch_axis)?, initial.transpose()?, lengths)?;
            let squeezed = |states: Finals<'t>| states.into_iter().map(|state| state.squeeze(0)).collect();
            return Ok((output.squeeze(batch_axis)?, finals.into_iter().map(squeezed).collect::<TapeResult<_>>()?));
        }
        let (tape, name) = (input.tape(), self.directions[0].weight_ih.name());
        let _scope = tape.scope(name.strip_suffix(".weight_ih_l0").unwrap_or(name));
        let mut x = if self.config.batch_first { input.transpose(0, 1)? } else { input };
        let (steps, rows) = self.check(x)?;
        let states = match initial {
            Some(states) => self.split(&states, rows)?,
            None => {
                let zeros = Tensor::zeros(x.value().device(), DType::F32, &[rows, self.config.hidden_size])?;
                vec![vec![tape.constant(&zeros); self.cell.states()]; self.directions.len()]
            }
        };
        let active = match lengths {
            Some(lengths) => Some(tape.constant(&lengths.steps_before(steps)?.unsqueeze(-1)?)),
            None => None,
        };
        let mut finals = Vec::with_capacity(self.directions.len());
        let layers = self.directions.chunks(self.config.directions()).zip(states.chunks(self.config.directions()));
        for (layer, (directions, states)) in layers.enumerate() {
            if layer > 0 {
                x = self.dropouts[layer - 1].forward(x)?;
            }
            let mut outputs = Vec::with_capacity(directions.len());
            for (i, (direction, initial)) in directions.iter().zip(states).enumerate() {
                let settings = Recurrent { cell: self.cell, reverse: i == 1, lengths: lengths.cloned() };
                let (output, last) = direction.forward(x, &settings, initial)?;
                outputs.push(match active {
                    Some(active) => active.where_cond(output, tape.constant(&zero(x)?))?,
                    None => output,
                });
                finals.push(last);
            }
            x = if outputs.len() == 1 { outputs[0] } else { Var::concatenate(&outputs, -1)? };
        }
        let output = if self.config.batch_first { x.transpose(0, 1)? } else { x };
        Ok((output, finals))
    }

    /// Checks an input `[steps, n, input_size]`, and returns its first two extents.
    fn check(&self, input: Var<'_>) -> TapeResult<(usize, usize)> {
        match input.shape()[..] {
            [steps, rows, features] if steps > 0 && features == self.config.input_size => Ok((steps, rows)),
            _ => Err(TensorError::Shape {
                op: "recurrent",
                rule: "the input must have 2 or 3 axes, at least one step, and input_size features",
                left: input.shape(),
                right: vec![self.config.input_size],
            }
            .into()),
        }
    }

    /// Splits initial states `[layers · directions, n, hidden]` into those of each direction of each layer.
    fn split<'t>(&self, states: &[Var<'t>], rows: usize) -> TapeResult<Vec<Finals<'t>>> {
        let expected = [self.directions.len(), rows, self.config.hidden_size];
        for state in states {
            if state.shape() != expected {
                let rule = "an initial state must be [num_layers · directions, n, hidden_size]";
                let (left, right) = (state.shape(), expected.to_vec());
                return Err(TensorError::Shape { op: "recurrent", rule, left, right }.into());
            }
        }
        (0..self.directions.len()).map(|i| states.iter().map(|state| state.select(0, i)).collect()).collect()
    }
}

/// The number 0 on the device of a variable.
fn zero(like: Var<'_>) -> TapeResult<Tensor> {
    Ok(Tensor::zeros(like.value().device(), DType::F32, &[])?)
}

impl Direction {
    /// Returns the hidden states of all steps, and all states after the last one.
    fn forward<'t>(&self, x: Var<'t>, settings: &Recurrent, initial: &[Var<'t>]) -> TapeResult<(Var<'t>, Finals<'t>)> {
        let tape = x.tape();
        let (weight_ih, weight_hh) = (tape.parameter(&self.weight_ih)?, tape.parameter(&self.weight_hh)?);
        let (gates, bias) = match &self.biases {
            Some([bias_ih, bias_hh]) => {
                (x.linear(weight_ih, tape.parameter(bias_ih)?, false)?, Some(tape.parameter(bias_hh)?))
            }
            None => (x.matmul(weight_ih.t()?)?, None),
        };
        let states = gates.recurrent(settings, initial, weight_hh, bias)?;
        let last = states.select(1, if settings.reverse { 0 } else { -1 })?;
        let finals = (0..settings.cell.states()).map(|i| last.select(0, i)).collect::<TapeResult<_>>()?;
        // The output is the last operation of the layer.
        let output = if settings.cell.states() == 1 { states.squeeze(0)? } else { states.select(0, 0)? };
        Ok((output, finals))
    }
}
