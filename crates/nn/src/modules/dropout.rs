//! [`Dropout`].

use std::sync::Arc;

use thalweg_autograd::{Tape, Var};
use thalweg_tensor::{Device, DropoutState};

use crate::params::RandomStream;
use crate::setting::fraction;
use crate::{Mode, Module, ParamsBuilder, Parts, Result, Visitor};

/// Dropout: in training, each element is zero with probability p and otherwise x / (1 - p), which keeps the mean. At
/// prediction it does nothing (Srivastava et al., JMLR 2014, in the inverted form). Any shape.
///
/// Random numbers come from a counter on the device: every call draws new ones, and a run repeats to the bit.
#[derive(Debug)]
pub struct Dropout {
    probability: f32,
    mode: Mode,
    stream: Arc<RandomStream>,
}

impl Dropout {
    /// Makes a layer that drops with this probability. Each layer of a builder has its own random numbers.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if the probability is not in [0, 1).
    pub fn new(builder: &mut ParamsBuilder, probability: f32) -> Result<Self> {
        fraction("dropout", probability)?;
        Ok(Self { probability, mode: Mode::default(), stream: builder.dropout_stream() })
    }

    /// Returns the probability and the random numbers on a device if something is dropped on this tape.
    pub(super) fn active(
        &self,
        tape: &Tape,
        device: &Device,
    ) -> thalweg_autograd::Result<Option<(f32, &DropoutState)>> {
        if self.probability == 0.0 || !self.mode.is_training(tape) {
            return Ok(None);
        }
        Ok(Some((self.probability, self.stream.state(device)?)))
    }

    /// Returns the mode, for a module that lists its parts without their settings.
    pub(super) fn mode(&self) -> &Mode {
        &self.mode
    }
}

impl Parts for Dropout {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.part("mode", &self.mode);
        visitor.setting("probability", &self.probability);
    }
}

impl Module for Dropout {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        match self.active(input.tape(), input.value().device())? {
            Some((probability, state)) => input.dropout(probability, state),
            None => Ok(input),
        }
    }
}
