//! Muon.

use super::update::{MuonScale, MuonUpdate};

use crate::Result;
use crate::setting::{check, fraction, not_negative, positive};

/// Muon (Jordan et al.: Muon, an optimizer for hidden layers in neural networks, 2024), as `torch.optim.Muon` but in f32
/// throughout, where PyTorch makes orthogonal in bfloat16:
///
/// ```text
/// buffer = momentum buffer + (1 - momentum) g
/// x      = buffer, or with nesterov momentum buffer + (1 - momentum) g
/// x      = x / max(‖x‖, eps)
/// x      = (a I + b A + c A²) x, with A = x xᵀ, ns_steps times      (of the transpose, where there are more rows)
/// param  = (1 - lr weight_decay) param - lr scale x
/// ```
///
/// This is for parameters of two dimensions. All others, which PyTorch refuses, go by [`AdamW`](crate::AdamW) with
/// `adamw_lr`, `adamw_betas` and `adamw_eps` and the same weight decay, as `optax.contrib.muon` does it. A schedule, or
/// another learning rate set later, moves both rates in the proportion of `lr` to `adamw_lr`. A schedule of the momentum is
/// that of the matrices.
///
/// 4 launches, 5 with clipping by the norm, and 1 + 3 for each matrix in each iteration: 4 + 5 (1 + 3 M) by default.
/// Beside the products, 36 bytes moved per parameter of a matrix; 4 of state, and 8 of others. Two more copies of the
/// matrices, and two squares of the smaller side of each, live within a step. The products are what limits it: of a
/// matrix of m by n, the smaller side m, 2 m² (2 n + m) operations an iteration, at the rate of matrix products of the
/// device; in software, at 256 by 256, a fiftieth of a copy's bandwidth.
///
/// optax differs in `bias_correction`, which it has, and in its `eps`, which it adds to the norm (1e-8); it scales for
/// matrices of inputs by outputs ([`MuonScale::OriginalTransposed`]).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Muon {
    /// The learning rate. Default 1e-3.
    pub lr: f64,
    /// What is kept of the buffer. Default 0.95.
    pub momentum: f64,
    /// Whether to look one step of momentum ahead. Default true.
    pub nesterov: bool,
    /// Whether what nesterov adds up, buffer and gradient, is corrected for the buffer's start from zero. Default false.
    pub bias_correction: bool,
    /// Weight decay, times the learning rate. Default 0.1.
    pub weight_decay: f64,
    /// The coefficients of an iteration. Default (3.4445, -4.775, 2.0315).
    pub ns_coefficients: (f64, f64, f64),
    /// Newton-Schulz iterations, at most 100. Default 5.
    pub ns_steps: usize,
    /// The least norm that a matrix is divided by. Default 1e-7.
    pub eps: f64,
    /// How the learning rate is scaled to the extents of a matrix, PyTorch's `adjust_lr_fn`. Default `Original`.
    pub adjust_lr: MuonScale,
    /// The learning rate of what is no matrix. Default 1e-3.
    pub adamw_lr: f64,
    /// Decay rates of its moments. Default (0.9, 0.999).
    pub adamw_betas: (f64, f64),
    /// Added to the root of its second moment. Default 1e-8.
    pub adamw_eps: f64,
}

impl Default for Muon {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            momentum: 0.95,
            nesterov: true,
            bias_correction: false,
            weight_decay: 0.1,
            ns_coefficients: (3.4445, -4.775, 2.0315),
            ns_steps: 5,
            eps: 1e-7,
            adjust_lr: MuonScale::Original,
            adamw_lr: 1e-3,
            adamw_betas: (0.9, 0.999),
            adamw_eps: 1e-8,
        }
    }
}

impl Muon {
    fn check(&self) -> Result<()> {
        fraction("momentum", self.momentum)?;
        not_negative("weight_decay", self.weight_decay)?;
        let (a, b, c) = self.ns_coefficients;
        for (field, value) in [("ns_coefficients.0", a), ("ns_coefficients.1", b), ("ns_coefficients.2", c)] {
            check(field, value, value.is_finite(), "finite")?;
        }
        check("ns_steps", self.ns_steps, (1..=100).contains(&self.ns_steps), "at least 1 and at most 100")?;
        positive("eps", self.eps)?;
        not_negative("adamw_lr", self.adamw_lr)?;
        fraction("adamw_betas.0", self.adamw_betas.0)?;
        fraction("adamw_betas.1", self.adamw_betas.1)?;
        positive("adamw_eps", self.adamw_eps)
    }
}

fused_method! {
    Muon "muon", |settings|
    state: &["momentum_buffer", "exp_avg", "exp_avg_sq"],
    momentum: Some(settings.momentum),
    check: settings.check(),
    update: MuonUpdate {
        momentum: settings.momentum,
        nesterov: settings.nesterov,
        bias_correction: settings.bias_correction,
        weight_decay: settings.weight_decay,
        ns_coefficients: settings.ns_coefficients,
        ns_steps: settings.ns_steps,
        eps: settings.eps,
        scale: settings.adjust_lr,
        adamw_rate: if settings.lr > 0.0 { settings.adamw_lr / settings.lr } else { 0.0 },
        adamw_betas: settings.adamw_betas,
        adamw_eps: settings.adamw_eps,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AdamW, Constant, Init, Method, Optimizer, Params, ParamsBuilder};
    use thalweg_tensor::Device;

    fn run(method: impl Method + 'static, shape: &[usize], lr: f64) -> Params {
        let mut builder = ParamsBuilder::new(1);
        builder.add("parameter", shape, Init::Normal { mean: 0.0, deviation: 1.0 }).unwrap();
        let params = builder.build(&Device::cpu()).unwrap();
        let mut optimizer = Optimizer::new(&params, method).unwrap();
        optimizer.set_schedule(&Constant { lr }, 5).unwrap();
        for step in 0..5 {
            let grad = params.grads().unwrap().get(0);
            let numbers: Vec<f32> = (0..grad.len()).map(|i| ((i * 37 + step * 11) % 19) as f32 - 8.5).collect();
            grad.write(&numbers).unwrap();
            optimizer.step().unwrap();
        }
        params
    }

    #[test]
    fn what_is_no_matrix_goes_by_adamw_at_its_share_of_the_learning_rate() {
        let muon = Muon { lr: 0.2, adamw_lr: 0.1, adamw_betas: (0.8, 0.9), adamw_eps: 1e-3, ..Muon::default() };
        let adamw = AdamW { betas: (0.8, 0.9), eps: 1e-3, weight_decay: 0.1, ..AdamW::default() };
        for shape in [&[70][..], &[], &[2, 3, 4]] {
            let values = |params: &Params| params.values().get(0).to_vec::<f32>().unwrap();
            let (got, expected) = (values(&run(muon, shape, 0.02)), values(&run(adamw, shape, 0.01)));
            for (got, expected) in got.iter().zip(&expected) {
                assert!((got - expected).abs() < 2e-6 * expected.abs().max(1.0), "{got} is not {expected}");
            }
        }
    }
}
