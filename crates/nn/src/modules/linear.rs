//! [`Linear`].

use std::fmt;

use thalweg_autograd::{Parameter, Var};

use crate::{Activation, Init, Module, ParamsBuilder, Result, parts};

/// A fully connected layer: y = x Wᵀ + b.
///
/// # Shapes
/// x `[n, inputs]`, weight `[outputs, inputs]`, bias `[outputs]` → `[n, outputs]`.
///
/// Weights start by [`Init::FanInUniform`] unless another initialisation is given, biases at zero.
///
/// # Errors
/// [`forward`](Module::forward) fails if the input is not a matrix of f32 with `inputs` columns, if it is on another
/// device, or if the parameters have no memory yet.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Parameter,
    bias: Parameter,
}

parts!(Linear { weight, bias });

impl Linear {
    /// Makes a layer whose parameters are `name.weight` and `name.bias`.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if a number of features is 0, or the name is taken.
    pub fn new(builder: &mut ParamsBuilder, name: impl fmt::Display, inputs: usize, outputs: usize) -> Result<Self> {
        Self::with_init(builder, name, inputs, outputs, Init::FanInUniform)
    }

    /// Makes a layer as [`new`](Self::new) does, with an initialisation of the weights.
    ///
    /// # Errors
    /// Same as [`new`](Self::new).
    pub fn with_init(
        builder: &mut ParamsBuilder,
        name: impl fmt::Display,
        inputs: usize,
        outputs: usize,
        init: Init,
    ) -> Result<Self> {
        let mut builder = builder.path(name);
        Ok(Self {
            weight: builder.add("weight", &[outputs, inputs], init)?,
            bias: builder.add("bias", &[outputs], Init::Zeros)?,
        })
    }

    /// Makes a layer as PyTorch's: its bias starts as its weight, in ±1 / √inputs.
    pub(super) fn with_uniform_bias(
        builder: &mut ParamsBuilder,
        name: impl fmt::Display,
        inputs: usize,
        outputs: usize,
    ) -> Result<Self> {
        let mut builder = builder.path(name);
        let bound = 1.0 / (inputs as f32).sqrt();
        Ok(Self {
            weight: builder.add("weight", &[outputs, inputs], Init::FanInUniform)?,
            bias: builder.add("bias", &[outputs], Init::Uniform { low: -bound, high: bound })?,
        })
    }

    /// Returns the weight, `[outputs, inputs]`.
    #[must_use]
    pub fn weight(&self) -> &Parameter {
        &self.weight
    }

    /// Returns the bias, `[outputs]`.
    #[must_use]
    pub fn bias(&self) -> &Parameter {
        &self.bias
    }

    /// Computes the layer followed by an activation. A ReLU is part of the same launch.
    ///
    /// # Errors
    /// Same as [`Module::forward`].
    pub fn forward_with<'t>(&self, input: Var<'t>, activation: Activation) -> thalweg_autograd::Result<Var<'t>> {
        let tape = input.tape();
        let name = self.weight.name();
        let _scope = tape.scope(name.strip_suffix(".weight").unwrap_or(name));
        let fused = activation == Activation::Relu;
        let output = input.linear(tape.parameter(&self.weight)?, tape.parameter(&self.bias)?, fused)?;
        if fused { Ok(output) } else { activation.forward(output) }
    }
}

impl Module for Linear {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        self.forward_with(input, Activation::Identity)
    }
}
