//! SOAP.

use super::update::SoapUpdate;

use crate::setting::{check, check_adam, fraction};

/// SOAP (Vyas et al.: SOAP: improving and stabilizing Shampoo using Adam, ICLR 2025): Adam in the eigenbases of Shampoo's
/// preconditioner. PyTorch does not have it; this is the authors' rule as `pytorch_optimizer` computes it:
///
/// ```text
/// m  = beta1 m + (1 - beta1) g,      g' = Q0ᵀ g Q1,  m' = Q0ᵀ m Q1
/// v  = beta2 v + (1 - beta2) g'²,    u  = Q0 (m' / (√v + eps)) Q1ᵀ
/// param = (1 - lr weight_decay) (param - lr √(1 - beta2ᵗ) / (1 - beta1ᵗ) u)
/// GG0   = shampoo_beta GG0 + (1 - shampoo_beta) g gᵀ,      GG1 likewise of gᵀ g
/// ```
///
/// The first step moves nothing: from its gradients come the first eigenbases Q0 and Q1, of GG0 and GG1. The updates t
/// are counted behind it. After each `precondition_frequency` of them one step of orthogonal iteration follows the bases.
/// Parameters of fewer than two dimensions go by Adam with the same numbers; a tensor of more counts as a matrix of the
/// first one by the others. A side longer than `max_precondition_dim` has no basis; a driver in software refuses bases of sides
/// over 64, since it may end the loops that find them.
///
/// 8 launches, 9 with clipping by the norm, and 8 products for each matrix, 4 where only one side has a basis; beside
/// these, 48 bytes moved per parameter. A basis is the work of one workgroup: k³ operations some times over, so sides of
/// many hundreds make the steps slow at which it changes. State: two numbers for a parameter and 2 k² for a side of k;
/// four more copies of the parameters live within a step. The products are what limits it: in software, at 256 by 256, a
/// twentieth of a copy's bandwidth, and a step at which the bases change takes three times as long as another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Soap {
    /// The learning rate. Default 3e-3.
    pub lr: f64,
    /// Decay rates of the moments. Default (0.95, 0.95).
    pub betas: (f64, f64),
    /// The decay rate of the preconditioners; none for that of the second moment. Default none.
    pub shampoo_beta: Option<f64>,
    /// Added to the root of the second moment. Default 1e-8.
    pub eps: f64,
    /// Weight decay, times the learning rate. Default 0.01.
    pub weight_decay: f64,
    /// Updates from one step of the bases to the next, at least 1. Default 10.
    pub precondition_frequency: u32,
    /// The longest side that has a basis, at most 1,024. Default 256.
    pub max_precondition_dim: usize,
}

impl Default for Soap {
    fn default() -> Self {
        Self {
            lr: 3e-3,
            betas: (0.95, 0.95),
            shampoo_beta: None,
            eps: 1e-8,
            weight_decay: 0.01,
            precondition_frequency: 10,
            max_precondition_dim: 256,
        }
    }
}

impl Soap {
    fn check(&self) -> crate::Result<()> {
        check_adam(self.betas, self.eps, self.weight_decay)?;
        fraction("shampoo_beta", self.shampoo_beta.unwrap_or(0.0))?;
        let frequency = self.precondition_frequency;
        check("precondition_frequency", frequency, frequency > 0, "at least 1")?;
        let most = self.max_precondition_dim;
        check("max_precondition_dim", most, most <= 1024, "at most 1024")
    }
}

fused_method! {
    Soap "soap", |settings|
    state: &["exp_avg", "exp_avg_sq", "GG.0", "GG.1", "Q.0", "Q.1"],
    momentum: Some(settings.betas.0),
    check: settings.check(),
    update: SoapUpdate {
        betas: settings.betas,
        shampoo_beta: settings.shampoo_beta.unwrap_or(settings.betas.1),
        eps: settings.eps,
        weight_decay: settings.weight_decay,
        precondition_frequency: settings.precondition_frequency,
        max_precondition_dim: settings.max_precondition_dim,
    },
}
