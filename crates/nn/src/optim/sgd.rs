//! Stochastic gradient descent.

use super::update::{MomentumUpdate, SgdUpdate};
use thalweg_tensor::{StepArguments, optim::Update};

use super::Method;
use crate::setting::{check, fraction, not_negative};
use crate::{Error, Result};

/// Stochastic gradient descent, plain or with momentum, as `torch.optim.SGD`:
///
/// ```text
/// g   = grad + weight_decay param
/// buf = momentum buf + (1 - dampening) g          (at the first step: g)
/// param = param - lr buf                          (Nesterov: param - lr (g + momentum buf))
/// ```
///
/// One launch, three with clipping by the global norm; 12 bytes moved per parameter and no state, 20 and 4 with momentum.
/// In software 0.8 of a copy's bandwidth, 0.9 to 1 with momentum: [why](crate::Optimizer#bandwidth-in-software). optax
/// has no dampening. Sources: Robbins, Monro (1951); Polyak (1964); Nesterov (1983); Sutskever et al., ICML 2013.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// The learning rate. Default 1e-2.
    pub lr: f64,
    /// What is kept of the moment from step to step; 0 keeps none and needs no memory for it. Default 0.
    pub momentum: f64,
    /// What the gradient is lessened by on its way into the moment. Default 0.
    pub dampening: f64,
    /// Weight decay through the gradient (L2). Default 0.
    pub weight_decay: f64,
    /// Whether to look ahead by Nesterov's rule; needs momentum and no dampening. Default false.
    pub nesterov: bool,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for Sgd {
    fn default() -> Self {
        Self { lr: 1e-2, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false, maximize: false }
    }
}

impl Method for Sgd {
    fn name(&self) -> &'static str {
        "sgd"
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    fn momentum(&self) -> Option<f64> {
        (self.momentum != 0.0).then_some(self.momentum)
    }

    fn validate(&self) -> Result<()> {
        not_negative("lr", self.lr)?;
        fraction("momentum", self.momentum)?;
        check("dampening", self.dampening, (0.0..=1.0).contains(&self.dampening), "between 0 and 1")?;
        not_negative("weight_decay", self.weight_decay)?;
        if self.nesterov && (self.momentum == 0.0 || self.dampening != 0.0) {
            return Err(Error::Setting {
                field: "nesterov",
                value: "true".to_string(),
                rule: "false unless momentum is greater than 0 and dampening is 0",
            });
        }
        Ok(())
    }

    fn state_names(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &[] } else { &["momentum_buffer"] }
    }

    fn update(&self, step: StepArguments<'_>) -> Result<()> {
        let &Self { momentum, dampening, weight_decay, nesterov, maximize, .. } = self;
        if momentum == 0.0 {
            SgdUpdate { weight_decay, maximize }.step(step)?;
        } else {
            MomentumUpdate { momentum, dampening, weight_decay, nesterov, maximize }.step(step)?;
        }
        Ok(())
    }
}
