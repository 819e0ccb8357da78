//! Recurrent layers and cells. A layer of many steps is one operation, whose gradient walks back through the steps itself.

use thalweg_tensor::{Cell, DType, Recurrent, RecurrentGrads, Tensor};

use crate::walk::Pull;
use crate::{Result, Var};

/// Writes a method for each cell with one state.
macro_rules! cells {
    ($($(#[$doc:meta])* $name:ident $cell:ident;)*) => {
        impl Var<'_> {
            $(
                $(#[$doc])*
                pub fn $name(
                    self,
                    hidden: Self,
                    weight_ih: Self,
                    weight_hh: Self,
                    bias_ih: Option<Self>,
                    bias_hh: Option<Self>,
                ) -> Result<Self> {
                    let states = self.cell_states(Cell::$cell, &[hidden], [weight_ih, weight_hh], [bias_ih, bias_hh])?;
                    states.reshape(&hidden.shape())
                }
            )*
        }
    };
}

cells! {
    /// Returns the hidden state after a step of the network of Elman, h' = tanh(x W_ihᵀ + b_ih + h W_hhᵀ + b_hh); see
    /// [`Tensor::rnn_tanh_cell`].
    ///
    /// # Errors
    /// As [`lstm_cell`](Self::lstm_cell).
    rnn_tanh_cell RnnTanh;

    /// Returns the hidden state after a step, as [`rnn_tanh_cell`](Self::rnn_tanh_cell) with a ReLU; see
    /// [`Tensor::rnn_relu_cell`].
    ///
    /// # Errors
    /// As [`lstm_cell`](Self::lstm_cell).
    rnn_relu_cell RnnRelu;

    /// Returns the hidden state after a step of a gated recurrent unit; see [`Tensor::gru_cell`].
    ///
    /// # Errors
    /// As [`lstm_cell`](Self::lstm_cell).
    gru_cell Gru;
}

impl<'t> Var<'t> {
    /// Returns the states of a recurrent layer after each step of a sequence; see [`Tensor::recurrent`].
    ///
    /// # Shapes
    /// gates `[steps, n, gates · hidden]`, initial states `[n, hidden]` each, weight `[gates · hidden, hidden]`, bias
    /// `[gates · hidden]` → `[states, steps, n, hidden]`.
    ///
    /// # Errors
    /// If the shapes do not fit, the elements are not f32, or the devices or the tapes differ.
    pub fn recurrent(self, settings: &Recurrent, initial: &[Self], weight: Self, bias: Option<Self>) -> Result<Self> {
        let values: Vec<Tensor> = initial.iter().map(Self::value).collect();
        let references: Vec<&Tensor> = values.iter().collect();
        let bias_value = bias.map(|bias| bias.value());
        let (states, saved) =
            self.value().recurrent_saved(settings, &references, &weight.value(), bias_value.as_ref())?;
        let inputs: Vec<Self> = [self].into_iter().chain(initial.iter().copied()).chain([weight]).chain(bias).collect();
        let own = settings.clone();
        self.tape().record("recurrent", states, &inputs, move |pull| pullback(&own, &saved, pull))
    }

    /// Returns the hidden state and the cell's state after a step of a long short-term memory; see
    /// [`Tensor::lstm_cell`].
    ///
    /// # Errors
    /// If the shapes do not fit, the elements are not f32, or the devices or the tapes differ.
    pub fn lstm_cell(
        self,
        (hidden, cell): (Self, Self),
        weight_ih: Self,
        weight_hh: Self,
        bias_ih: Option<Self>,
        bias_hh: Option<Self>,
    ) -> Result<(Self, Self)> {
        let states = self.cell_states(Cell::Lstm, &[hidden, cell], [weight_ih, weight_hh], [bias_ih, bias_hh])?;
        let of = |i: usize| states.select(0, i)?.reshape(&hidden.shape());
        Ok((of(0)?, of(1)?))
    }

    /// Returns the states after one step.
    fn cell_states(
        self,
        cell: Cell,
        states: &[Self],
        [weight_ih, weight_hh]: [Self; 2],
        [bias_ih, bias_hh]: [Option<Self>; 2],
    ) -> Result<Self> {
        let rows = |x: Self| if x.shape().len() == 1 { x.unsqueeze(0) } else { Ok(x) };
        let x = rows(self)?;
        let gates = match bias_ih {
            Some(bias) => x.linear(weight_ih, bias, false)?,
            None => x.matmul(weight_ih.t()?)?,
        };
        let states = states.iter().map(|state| rows(*state)).collect::<Result<Vec<_>>>()?;
        gates.unsqueeze(0)?.recurrent(&Recurrent::new(cell), &states, weight_hh, bias_hh)
    }
}

fn pullback(settings: &Recurrent, saved: &Tensor, pull: &Pull<'_, '_>) -> Result<()> {
    if !pull.is_plain() {
        return pull.give_through(|inputs| composed(settings, inputs));
    }
    let count = settings.cell.states();
    let (weight, bias) = (1 + count, 2 + count);
    let has_bias = pull.inputs() > bias;
    let values: Vec<Tensor> = (0..count).map(|i| pull.input(1 + i).value()).collect();
    let initial: Vec<&Tensor> = values.iter().collect();
    let states = pull.output().value();
    let grad = pull.cotangent()?.value();
    let grads = grad.recurrent_grads(settings, (&states, saved), &initial, &pull.input(weight).value())?;
    let RecurrentGrads { gates, products, initial, before } = grads;
    if pull.needs(0) {
        pull.give(0, pull.constant(&gates))?;
    }
    for i in 0..count {
        if pull.needs(1 + i) {
            pull.give(1 + i, pull.constant(&initial.select(0, i)?))?;
        }
    }
    let needs_bias = has_bias && pull.needs(bias);
    let rows = |x: &Tensor| x.reshape(&[x.shape()[0] * x.shape()[1], x.shape()[2]]);
    let (products, before) = (rows(&products)?, rows(&before)?);
    if needs_bias && pull.needs(weight) {
        if let Some(([weight_grad, bias_grad], accumulate)) = pull.claim([weight, bias])? {
            products.linear_weight_grad_into(&before, &weight_grad, &bias_grad, accumulate)?;
            return Ok(());
        }
        let zeros = |i: usize| Tensor::zeros(products.device(), DType::F32, &pull.input(i).shape());
        let (weight_grad, bias_grad) = (zeros(weight)?, zeros(bias)?);
        products.linear_weight_grad_into(&before, &weight_grad, &bias_grad, false)?;
        pull.give(weight, pull.constant(&weight_grad))?;
        return pull.give(bias, pull.constant(&bias_grad));
    }
    if pull.needs(weight) {
        pull.give(weight, pull.constant(&products.t()?.matmul(&before)?))?;
    }
    if needs_bias {
        pull.give(bias, pull.constant(&products.sum_along(0, false)?))?;
    }
    Ok(())
}

/// The states of all steps by operations that can be differentiated again.
fn composed<'t>(settings: &Recurrent, inputs: &[Var<'t>]) -> Result<Var<'t>> {
    let cell = settings.cell;
    let (gates, rest) = (inputs[0], &inputs[1..]);
    let (initial, parameters) = rest.split_at(cell.states());
    let (weight, bias) = (parameters[0], parameters.get(1));
    let (steps, tape) = (gates.shape()[0], gates.tape());
    let active = settings.lengths.as_ref().map(|lengths| lengths.steps_before(steps)).transpose()?;
    let mut states = initial.to_vec();
    let mut of_steps = vec![initial.to_vec(); steps];
    let order: Vec<usize> = if settings.reverse { (0..steps).rev().collect() } else { (0..steps).collect() };
    for step in order {
        let x = gates.select(0, step)?;
        let p = match bias {
            Some(bias) => states[0].linear(weight, *bias, false)?,
            None => states[0].matmul(weight.t()?)?,
        };
        let mut next = next_states(cell, x, p, &states)?;
        if let Some(active) = &active {
            let active = tape.constant(&active.select(0, step)?.unsqueeze(1)?);
            for (next, state) in next.iter_mut().zip(&states) {
                *next = active.where_cond(*next, *state)?;
            }
        }
        states = next;
        of_steps[step].clone_from(&states);
    }
    let parts: Vec<Var<'t>> = (0..cell.states()).flat_map(|i| of_steps.iter().map(move |states| states[i])).collect();
    let shape = initial[0].shape();
    Var::stack(&parts, 0)?.reshape(&[&[cell.states(), steps], &shape[..]].concat())
}

/// The states after a step, from the parts x and p of its gates.
fn next_states<'t>(cell: Cell, x: Var<'t>, p: Var<'t>, states: &[Var<'t>]) -> Result<Vec<Var<'t>>> {
    Ok(match cell {
        Cell::RnnTanh => vec![x.add(p)?.tanh()?],
        Cell::RnnRelu => vec![x.add(p)?.relu()?],
        Cell::Gru => {
            let (x, p) = (x.chunk(1, 3)?, p.chunk(1, 3)?);
            let (reset, keep) = (x[0].add(p[0])?.sigmoid()?, x[1].add(p[1])?.sigmoid()?);
            let next = x[2].add(reset.mul(p[2])?)?.tanh()?;
            vec![next.add(keep.mul(states[0].sub(next)?)?)?]
        }
        Cell::Lstm => {
            let gates = x.add(p)?.chunk(1, 4)?;
            let (input, forget, output) = (gates[0].sigmoid()?, gates[1].sigmoid()?, gates[3].sigmoid()?);
            let state = forget.mul(states[1])?.add(input.mul(gates[2].tanh()?)?)?;
            vec![output.mul(state.tanh()?)?, state]
        }
    })
}
