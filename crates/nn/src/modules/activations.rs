//! [`Activation`].

use std::fmt;
use std::str::FromStr;

use thalweg_autograd::Var;

use crate::{Error, Module, Result, parts};

/// An activation function, applied element-wise: a module without parameters. Its name in text and in files is
/// lower case: `relu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Activation {
    /// max(x, 0).
    #[default]
    Relu,
    /// The hyperbolic tangent.
    Tanh,
    /// The Gaussian error linear unit, x Φ(x), in its exact form by erf (Hendrycks, Gimpel, 2016).
    Gelu,
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// x.
    Identity,
}

parts!(Activation {});

impl Module for Activation {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        match self {
            Self::Relu => input.relu(),
            Self::Tanh => input.tanh(),
            Self::Gelu => input.gelu(),
            Self::Sigmoid => input.sigmoid(),
            Self::Identity => Ok(input),
        }
    }
}

const ACTIVATIONS: [(&str, Activation); 5] = [
    ("relu", Activation::Relu),
    ("tanh", Activation::Tanh),
    ("gelu", Activation::Gelu),
    ("sigmoid", Activation::Sigmoid),
    ("identity", Activation::Identity),
];

impl FromStr for Activation {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        ACTIVATIONS.iter().find(|(known, _)| *known == name).map(|&(_, activation)| activation).ok_or_else(|| {
            Error::Setting {
                field: "activation",
                value: name.to_string(),
                rule: "relu, tanh, gelu, sigmoid or identity",
            }
        })
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = ACTIVATIONS.iter().find(|(_, activation)| activation == self);
        f.write_str(known.map_or("?", |(name, _)| name))
    }
}
