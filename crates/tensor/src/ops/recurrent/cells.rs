//! Single steps of recurrent layers.

use super::{Cell, Recurrent};
use crate::{Result, Tensor};

/// Writes a method for each cell with one state.
macro_rules! cells {
    ($($(#[$doc:meta])* $name:ident $cell:ident;)*) => {
        impl Tensor {
            $(
                $(#[$doc])*
                pub fn $name(
                    &self,
                    hidden: &Self,
                    weight_ih: &Self,
                    weight_hh: &Self,
                    bias_ih: Option<&Self>,
                    bias_hh: Option<&Self>,
                ) -> Result<Self> {
                    let states = self.cell_states(Cell::$cell, &[hidden], [weight_ih, weight_hh], [bias_ih, bias_hh])?;
                    states.reshape(hidden.shape())
                }
            )*
        }
    };
}

cells! {
    /// Returns the hidden state after a step of the network of Elman: h' = tanh(x W_ihᵀ + b_ih + h W_hhᵀ + b_hh).
    ///
    /// # Shapes
    /// As of [`lstm_cell`](Self::lstm_cell), with one row of the weights for each hidden unit.
    ///
    /// # Errors
    /// As of [`lstm_cell`](Self::lstm_cell).
    rnn_tanh_cell RnnTanh;

    /// Returns the hidden state after a step, as [`rnn_tanh_cell`](Self::rnn_tanh_cell) with a ReLU.
    ///
    /// # Errors
    /// As of [`lstm_cell`](Self::lstm_cell).
    rnn_relu_cell RnnRelu;

    /// Returns the hidden state after a step of a gated recurrent unit; see [`recurrent`](Self::recurrent). The rows of
    /// the weights are those of the gates r, z, n.
    ///
    /// # Shapes
    /// As of [`lstm_cell`](Self::lstm_cell), with three gates.
    ///
    /// # Errors
    /// As of [`lstm_cell`](Self::lstm_cell).
    gru_cell Gru;
}

impl Tensor {
    /// Returns the hidden state and the cell's state after a step of a long short-term memory; see
    /// [`recurrent`](Self::recurrent). The rows of the weights are those of the gates i, f, g, o.
    ///
    /// # Shapes
    /// x `[n, inputs]`, states `[n, hidden]`, `weight_ih` `[4 hidden, inputs]`, `weight_hh` `[4 hidden, hidden]`, biases
    /// `[4 hidden]` → two states `[n, hidden]`. Without a batch x is `[inputs]` and states are `[hidden]`.
    ///
    /// # Errors
    /// If the shapes do not fit, the elements are not f32, or the devices differ.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let device = Device::cpu();
    /// let zeros = |shape: &[usize]| Tensor::full(&device, 0f32, shape);
    /// let x = Tensor::full(&device, 1f32, &[2, 3])?;
    /// let c = Tensor::full(&device, 1f32, &[2, 1])?;
    /// // All gates are σ(0) = ½, so half of the cell's state is left.
    /// let (h, c) = x.lstm_cell((&zeros(&[2, 1])?, &c), &zeros(&[4, 3])?, &zeros(&[4, 1])?, None, None)?;
    /// assert_eq!(c.to_vec::<f32>()?, [0.5; 2]);
    /// assert_eq!(h.shape(), [2, 1]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn lstm_cell(
        &self,
        (hidden, cell): (&Self, &Self),
        weight_ih: &Self,
        weight_hh: &Self,
        bias_ih: Option<&Self>,
        bias_hh: Option<&Self>,
    ) -> Result<(Self, Self)> {
        let states = self.cell_states(Cell::Lstm, &[hidden, cell], [weight_ih, weight_hh], [bias_ih, bias_hh])?;
        let of = |i: usize| states.select(0, i)?.reshape(hidden.shape());
        Ok((of(0)?, of(1)?))
    }

    /// Returns the states after one step.
    fn cell_states(
        &self,
        cell: Cell,
        states: &[&Self],
        [weight_ih, weight_hh]: [&Self; 2],
        [bias_ih, bias_hh]: [Option<&Self>; 2],
    ) -> Result<Self> {
        let rows = |x: &Self| if x.rank() == 1 { x.unsqueeze(0) } else { Ok(x.clone()) };
        let x = rows(self)?;
        let gates = match bias_ih {
            Some(bias) => x.linear(weight_ih, bias, false)?,
            None => x.matmul(&weight_ih.t()?)?,
        };
        let states = states.iter().map(|state| rows(state)).collect::<Result<Vec<_>>>()?;
        let states: Vec<&Self> = states.iter().collect();
        gates.unsqueeze(0)?.recurrent(&Recurrent::new(cell), &states, weight_hh, bias_hh)
    }
}
