//! Adafactor.

use super::update::AdafactorUpdate;

use crate::setting::{check, not_negative, positive};

/// Adafactor (Shazeer, Stern: Adafactor: adaptive learning rates with sublinear memory cost, ICML 2018), as
/// `torch.optim.Adafactor`:
///
/// ```text
/// alpha   = max(eps.1, rms(param)) min(lr, 1 / √t),  w = t^beta2_decay
/// row_var = row_var + w (mean of g² over the columns - row_var),  col_var likewise over the rows
/// v       = row_var col_var / max(mean of row_var, eps.0);  of vectors variance = variance + w (g² - variance)
/// u       = g / √max(v, eps.0²)
/// param   = (1 - lr weight_decay) param - alpha u / max(1, rms(u) / d)
/// ```
///
/// The state of a matrix is a number for each row and each column. A tensor of more than two dimensions counts as a matrix
/// of the first one by the others, where PyTorch takes its last two for many matrices.
///
/// 5 launches, 6 with clipping by the norm, whatever the number of tensors: three times a sum over a whole tensor must be
/// known before the next stage. 28 bytes moved per parameter of a matrix. In software a tenth of a copy's bandwidth: the
/// passes over a matrix go element by element rather than by vectors of four, and two of them look up the row and the
/// column of each for a root and a division.
///
/// optax does not limit the learning rate by 1 / √t, adds its epsilon to g² (1e-30, so `eps.0` = 1e-15), has a momentum,
/// and leaves matrices with a side of fewer than 128 whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adafactor {
    /// The learning rate, relative to the parameter's root mean square. Default 0.01.
    pub lr: f64,
    /// The power of the step that is the weight of a new second moment, at most 0. Default -0.8.
    pub beta2_decay: f64,
    /// The least mean of second moments and root of one, and the least root mean square of a parameter that counts. Default
    /// (2⁻²³, 1e-3).
    pub eps: (f64, f64),
    /// The largest root mean square of an update, at least 1. Default 1.
    pub d: f64,
    /// Weight decay, times the learning rate. Default 0.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for Adafactor {
    fn default() -> Self {
        let eps = (f64::from(f32::EPSILON), 1e-3);
        Self { lr: 0.01, beta2_decay: -0.8, eps, d: 1.0, weight_decay: 0.0, maximize: false }
    }
}

impl Adafactor {
    fn check(&self) -> crate::Result<()> {
        let decays = self.beta2_decay.is_finite() && self.beta2_decay <= 0.0;
        check("beta2_decay", self.beta2_decay, decays, "finite and at most 0")?;
        positive("eps.0", self.eps.0)?;
        positive("eps.1", self.eps.1)?;
        check("d", self.d, self.d.is_finite() && self.d >= 1.0, "finite and at least 1")?;
        not_negative("weight_decay", self.weight_decay)
    }
}

fused_method! {
    Adafactor "adafactor", |settings|
    state: &["row_var", "col_var", "variance"],
    check: settings.check(),
    update: AdafactorUpdate {
        beta2_decay: settings.beta2_decay,
        eps: settings.eps,
        d: settings.d,
        weight_decay: settings.weight_decay,
        maximize: settings.maximize,
    },
}
