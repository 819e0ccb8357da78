//! Recurrent layers: a state that each step of a sequence changes, and its gradient.
//!
//! A step is a product of the hidden state with a matrix, and one launch for everything else. The products of the inputs
//! have no order in time, so the caller computes those of all steps at once.

mod cells;
mod step;

use crate::kernel::Launch;
use crate::tensor::expect_dtype;
use crate::{DType, Error, Result, Tensor};

use step::Step;
pub(super) use step::{RECURRENT_STEP, RECURRENT_STEP_GRAD};

/// The cell of a recurrent layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cell {
    /// h' = tanh(x + h): the network of Elman (1990).
    RnnTanh,
    /// h' = max(x + h, 0).
    RnnRelu,
    /// The gated recurrent unit (Cho et al., 2014), with PyTorch's gates r, z, n, whose reset is after the product.
    Gru,
    /// The long short-term memory (Hochreiter, Schmidhuber, 1997), with the gates i, f, g, o.
    Lstm,
}

impl Cell {
    /// Returns the number of gates: the rows of a weight for each hidden unit.
    #[must_use]
    pub const fn gates(self) -> usize {
        match self {
            Self::RnnTanh | Self::RnnRelu => 1,
            Self::Gru => 3,
            Self::Lstm => 4,
        }
    }

    /// Returns the number of states: 2 for an LSTM, h and c, else 1.
    #[must_use]
    pub const fn states(self) -> usize {
        if matches!(self, Self::Lstm) { 2 } else { 1 }
    }
}

/// The settings of [`Tensor::recurrent`].
#[derive(Debug, Clone)]
pub struct Recurrent {
    /// The cell.
    pub cell: Cell,
    /// Whether the last step is the first one to be computed.
    pub reverse: bool,
    /// The number of steps of each row, u32 `[n]`. Later steps leave the row's state as it is. `None` for all steps.
    pub lengths: Option<Tensor>,
}

impl Recurrent {
    /// Makes settings for all steps in their order.
    #[must_use]
    pub fn new(cell: Cell) -> Self {
        Self { cell, reverse: false, lengths: None }
    }

    /// Returns the steps in the order of the computation, each with the one before it.
    fn order(&self, steps: usize) -> impl DoubleEndedIterator<Item = (usize, Option<usize>)> {
        let reverse = self.reverse;
        (0..steps).map(move |i| {
            let at = |i: usize| if reverse { steps - 1 - i } else { i };
            (at(i), i.checked_sub(1).map(at))
        })
    }
}

/// The gradients of [`Tensor::recurrent`].
#[doc(hidden)]
#[derive(Debug)]
pub struct RecurrentGrads {
    /// Of the gates, `[steps, n, gates hidden]`.
    pub gates: Tensor,
    /// Of the products of the hidden states, of the same shape.
    pub products: Tensor,
    /// Of the initial states, `[states, n, hidden]`.
    pub initial: Tensor,
    /// The hidden states before each step, `[steps, n, hidden]`.
    pub before: Tensor,
}

const OP: &str = "recurrent";

/// The sizes of a layer.
#[derive(Clone, Copy)]
struct Sizes {
    steps: usize,
    rows: usize,
    hidden: usize,
}

impl Sizes {
    fn step(&self, settings: &Recurrent, (step, before): (usize, Option<usize>)) -> Step {
        Step {
            rows: self.rows as u32,
            hidden: self.hidden as u32,
            steps: self.steps as u32,
            step: step as u32,
            before: before.unwrap_or(step) as u32,
            is_first: before.is_none().into(),
            has_lengths: settings.lengths.is_some().into(),
            is_last: 0,
        }
    }
}

impl Tensor {
    /// Returns the states of a recurrent layer after each step of a sequence. `self` has the products of the inputs with
    /// their weights, and their bias, for all steps.
    ///
    /// ```text
    /// p = h Wᵀ + bias
    /// RNN   h' = tanh(x + p), or max(x + p, 0)
    /// GRU   r = σ(x_r + p_r), z = σ(x_z + p_z), n = tanh(x_n + r p_n), h' = (1 - z) n + z h
    /// LSTM  i, f, o = σ(x + p), g = tanh(x_g + p_g), c' = f c + i g, h' = o tanh c'
    /// ```
    ///
    /// Each step is two launches: the product, and all gates.
    ///
    /// # Shapes
    /// gates `[steps, n, gates · hidden]`, initial states `[n, hidden]` each, weight `[gates · hidden, hidden]`, bias
    /// `[gates · hidden]` → `[states, steps, n, hidden]`. The gates are in PyTorch's order, r, z, n and i, f, g, o. The
    /// states are h, and c of an LSTM.
    ///
    /// # Errors
    /// If the shapes do not fit, the elements are not f32, those of the lengths not u32, or the devices differ.
    pub fn recurrent(
        &self,
        settings: &Recurrent,
        initial: &[&Self],
        weight: &Self,
        bias: Option<&Self>,
    ) -> Result<Self> {
        Ok(self.recurrent_saved(settings, initial, weight, bias)?.0)
    }

    /// Computes [`recurrent`](Self::recurrent), and what its gradient needs.
    #[doc(hidden)]
    pub fn recurrent_saved(
        &self,
        settings: &Recurrent,
        initial: &[&Self],
        weight: &Self,
        bias: Option<&Self>,
    ) -> Result<(Self, Self)> {
        let sizes = self.recurrent_sizes(settings, initial, weight, bias)?;
        let Sizes { steps, rows, hidden } = sizes;
        let (device, cell) = (self.device(), settings.cell);
        let states = Self::uninitialized(device, DType::F32, &[cell.states(), steps, rows, hidden])?;
        let kept = if cell.gates() > 1 { vec![steps, 4, rows, hidden] } else { vec![1] };
        let saved = Self::uninitialized(device, DType::F32, &kept)?;
        if states.is_empty() {
            return Ok((states, saved));
        }
        let gates = self.contiguous()?;
        let initial = initial.iter().map(|state| state.contiguous()).collect::<Result<Vec<_>>>()?;
        let lengths = settings.lengths.as_ref().map(Self::contiguous).transpose()?;
        for (step, before) in settings.order(steps) {
            let hidden_before = match before {
                Some(before) => states.select(0, 0)?.select(0, before)?,
                None => initial[0].clone(),
            };
            let product = match bias {
                Some(bias) => hidden_before.linear(weight, bias, false)?,
                None => hidden_before.matmul(&weight.t()?)?,
            };
            let params = sizes.step(settings, (step, before)).forward();
            let size = rows * hidden;
            Launch::new(&RECURRENT_STEP, params)
                .constant("CELL", cell as u32)
                .bind(&gates)
                .bind(&product)
                .bind(&initial[0])
                .bind(&initial[cell.states() - 1])
                .bind(lengths.as_ref().unwrap_or(&gates))
                .bind(&states)
                .bind(&saved)
                .uses(0, cell.gates() * size)
                .uses(2, if before.is_none() && cell != Cell::Lstm { size } else { 0 })
                .uses(3, if before.is_none() && cell == Cell::Lstm { size } else { 0 })
                .uses(4, lengths.as_ref().map_or(0, Self::len))
                .uses(5, cell.states() * size)
                .uses(6, if cell.gates() > 1 { 4 * size } else { 0 })
                .workgroups(size.div_ceil(64))
                .run(device)?;
        }
        Ok((states, saved))
    }

    /// Returns the gradients of [`recurrent`](Self::recurrent), for that of its result, `self`, with its operands and its
    /// results. Each step is two launches.
    ///
    /// # Errors
    /// If the shapes do not fit.
    #[doc(hidden)]
    pub fn recurrent_grads(
        &self,
        settings: &Recurrent,
        (states, saved): (&Self, &Self),
        initial: &[&Self],
        weight: &Self,
    ) -> Result<RecurrentGrads> {
        let cell = settings.cell;
        let &[_, steps, rows, hidden] = self.shape() else {
            return Err(Error::Rank { op: OP, expected: "4 axes", shape: self.shape().to_vec() });
        };
        let (sizes, size, device) = (Sizes { steps, rows, hidden }, rows * hidden, self.device());
        let parts = if cell == Cell::Gru { 2 } else { 1 };
        let grads = Self::uninitialized(device, DType::F32, &[parts, steps, rows, cell.gates() * hidden])?;
        let carry = Self::zeros(device, DType::F32, &[cell.states(), rows, hidden])?;
        let grad = self.contiguous()?;
        let initial = initial.iter().map(|state| state.contiguous()).collect::<Result<Vec<_>>>()?;
        let lengths = settings.lengths.as_ref().map(Self::contiguous).transpose()?;
        let [of_gates, of_products] = [grads.select(0, 0)?, grads.select(0, -1)?];
        let order = if states.is_empty() { 0 } else { steps };
        for (i, (step, before)) in settings.order(order).enumerate().collect::<Vec<_>>().into_iter().rev() {
            let params = Step { is_last: (i + 1 == steps).into(), ..sizes.step(settings, (step, before)) };
            Launch::new(&RECURRENT_STEP_GRAD, params)
                .constant("CELL", cell as u32)
                .bind(&grad)
                .bind(saved)
                .bind(states)
                .bind(&initial[cell.states() - 1])
                .bind(lengths.as_ref().unwrap_or(&grad))
                .bind(&carry)
                .bind(&grads)
                .uses(0, cell.states() * size)
                .uses(1, if cell.gates() > 1 { 4 * size } else { 0 })
                .uses(2, cell.states() * size)
                .uses(3, if before.is_none() && cell.gates() > 1 { size } else { 0 })
                .uses(4, lengths.as_ref().map_or(0, Self::len))
                .uses(6, parts * cell.gates() * size)
                .workgroups(size.div_ceil(64))
                .run(device)?;
            of_products.select(0, step)?.matmul_into(weight, &carry.select(0, 0)?, true)?;
        }
        let of_hidden = states.select(0, 0)?;
        let first = initial[0].unsqueeze(0)?;
        let before = match (settings.reverse, steps) {
            (_, 0) => of_hidden,
            (false, _) => Self::concatenate(&[first, of_hidden.slice(0, 0, steps - 1)?], 0)?,
            (true, _) => Self::concatenate(&[of_hidden.slice(0, 1, steps)?, first], 0)?,
        };
        Ok(RecurrentGrads { gates: of_gates, products: of_products, initial: carry, before })
    }

    /// Returns 1 for the steps of each row before its length, else 0.
    ///
    /// # Shapes
    /// lengths u32 `[n]` → `[steps, n]`.
    ///
    /// # Errors
    /// If the elements are not u32.
    #[doc(hidden)]
    pub fn steps_before(&self, steps: usize) -> Result<Self> {
        self.one_hot(steps)?.cumsum(-1)?.affine(-1.0, 1.0)?.transpose(0, -1)
    }

    /// Checks the operands of a layer and returns its sizes.
    fn recurrent_sizes(
        &self,
        settings: &Recurrent,
        initial: &[&Self],
        weight: &Self,
        bias: Option<&Self>,
    ) -> Result<Sizes> {
        let cell = settings.cell;
        let &[steps, rows, width] = self.shape() else {
            let expected = "3 axes, of steps, rows and gates";
            return Err(Error::Rank { op: OP, expected, shape: self.shape().to_vec() });
        };
        if initial.len() != cell.states() {
            let rule = "1 for RNN and GRU, 2 for LSTM";
            return Err(Error::Argument { op: OP, name: "initial states", value: initial.len().to_string(), rule });
        }
        let hidden = width / cell.gates();
        let shape = |rule, operand: &Self, expected: &[usize]| {
            if operand.shape() == expected {
                return Ok(());
            }
            Err(Error::Shape { op: OP, rule, left: operand.shape().to_vec(), right: expected.to_vec() })
        };
        shape(
            "the weight must have a row for each gate, and a column for each hidden unit",
            weight,
            &[cell.gates() * hidden, hidden],
        )?;
        shape("there must be a gate for each row of the weight", self, &[steps, rows, cell.gates() * hidden])?;
        for state in initial {
            shape("an initial state must be of rows and hidden units", state, &[rows, hidden])?;
        }
        if let Some(bias) = bias {
            shape("the bias must have an element for each row of the weight", bias, &[cell.gates() * hidden])?;
        }
        for operand in [self, weight].into_iter().chain(initial.iter().copied()).chain(bias) {
            expect_dtype(OP, operand, DType::F32)?;
            self.same_device(OP, operand)?;
        }
        if let Some(lengths) = &settings.lengths {
            shape("there must be a length for each row", lengths, &[rows])?;
            expect_dtype(OP, lengths, DType::U32)?;
            self.same_device(OP, lengths)?;
        }
        Ok(Sizes { steps, rows, hidden })
    }
}
