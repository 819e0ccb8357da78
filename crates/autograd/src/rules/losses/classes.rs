//! Losses of classes: cross-entropies, likelihoods, margins, by the number of the class or by probabilities.

use thalweg_tensor::{Error as TensorError, Tensor};

use super::binary::focus;
use super::{Reduction, check, of_one_shape, wide};
use crate::{Result, Var};

/// The settings of [`Var::cross_entropy_with`]. The default is the plain mean.
///
/// ```
/// use thalweg_autograd::{CrossEntropyOptions, Reduction, Tape};
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_autograd::Result<()> {
/// let device = Device::cpu();
/// let tape = Tape::new();
/// let logits = tape.input(&Tensor::from_slice(&device, &[0f32; 6], &[3, 2])?);
/// let classes = Tensor::from_slice(&device, &[0u32, 1, 255], &[3])?;
/// let options = CrossEntropyOptions { ignore_index: Some(255), ..CrossEntropyOptions::default() };
/// let loss = logits.cross_entropy_with(&classes, &options)?;
/// assert!((loss.item()? - 2f32.ln()).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct CrossEntropyOptions {
    /// A weight for each class, f32 `[classes]`. PyTorch's `weight`.
    pub weight: Option<Tensor>,
    /// A target whose rows have a loss of 0 and do not count in the mean. PyTorch's is -100 by default; here none is
    /// ignored.
    pub ignore_index: Option<u32>,
    /// The share of the target that all classes get in equal parts, from 0 to 1.
    pub label_smoothing: f32,
    /// What becomes of the losses of the rows. A mean is divided by the sum of the weights of their classes.
    pub reduction: Reduction,
}

impl CrossEntropyOptions {
    /// Checks the share of smoothing.
    fn check(&self, op: &'static str) -> Result<()> {
        let share = self.label_smoothing;
        check(op, "label_smoothing", share, (0.0..=1.0).contains(&share), "between 0 and 1")
    }
}

/// Scores of classes as rows, and their targets as a list.
struct Rows<'t> {
    /// `[n, classes]`.
    scores: Var<'t>,
    /// u32 `[n]`.
    targets: Tensor,
    /// The shape of the targets as they are given.
    shape: Vec<usize>,
    classes: usize,
}

impl<'t> Rows<'t> {
    /// Takes scores with the classes along axis 1, or along the only axis.
    fn new(op: &'static str, x: Var<'t>, targets: &Tensor) -> Result<Self> {
        let x = wide(x)?;
        let shape = x.shape();
        let axis = class_axis(op, &shape)?;
        let outer: Vec<usize> = shape.iter().enumerate().filter(|(i, _)| *i != axis).map(|(_, &n)| n).collect();
        if targets.shape() != outer {
            let rule = "needs scores [n, classes, …] and targets [n, …]";
            return Err(TensorError::Shape { op, rule, left: shape, right: targets.shape().to_vec() }.into());
        }
        let (classes, rows) = (shape[axis], targets.len());
        let scores = match shape.len() {
            2 => x,
            1 => x.reshape(&[1, classes])?,
            _ => x.movedim(1, -1)?.reshape(&[rows, classes])?,
        };
        Ok(Self { scores, targets: targets.reshape(&[rows])?, shape: outer, classes })
    }

    /// Returns the score of the target of each row, which may be one that is ignored or no class, and the weights.
    fn chosen(&self, weight: Option<&Tensor>, ignore_index: Option<u32>) -> Result<(Var<'t>, Tensor)> {
        let (places, weights) = self.targets.class_weights(self.classes, weight, ignore_index, self.classes)?;
        let scores = self.scores.reshape(&[self.targets.len() * self.classes])?;
        Ok((scores.gather_rows(&places)?, weights))
    }

    /// Returns the losses in the shape of the targets, or their reduction. The divisor of a mean is the sum of `weights`.
    fn reduce(&self, losses: Var<'t>, weights: Option<&Tensor>, reduction: Reduction) -> Result<Var<'t>> {
        match (reduction, weights) {
            (Reduction::Mean, Some(weights)) => losses.sum()?.div(losses.tape().constant(&weights.sum()?)),
            (Reduction::Mean | Reduction::Sum, _) => reduction.of(losses),
            _ => reduction.of(losses.reshape(&self.shape)?),
        }
    }
}

/// Multiplies losses by weights of 0 or more; a weight of 0 gives 0 for any loss.
fn times<'t>(losses: Var<'t>, weights: &Tensor) -> Result<Var<'t>> {
    let weights = losses.tape().constant(weights);
    let zero = losses.tape().constant(&Tensor::scalar(weights.value().device(), 0f32)?);
    weights.where_cond(losses.mul(weights)?, zero)
}

/// Returns the axis of the classes, as in PyTorch.
fn class_axis(op: &'static str, shape: &[usize]) -> Result<usize> {
    match shape.len() {
        0 => Err(TensorError::Rank { op, expected: "at least one dimension", shape: Vec::new() }.into()),
        1 => Ok(0),
        _ => Ok(1),
    }
}

impl<'t> Var<'t> {
    /// Returns the cross-entropy of logits with their classes, with settings: weights of classes, a target to ignore, label
    /// smoothing, and the reduction. It is PyTorch's `cross_entropy` with indices.
    ///
    /// With weights w, a smoothing of ε and C classes, a row with the target t has the loss
    ///
    /// ```text
    /// (1 - ε) wₜ (-ln softmax(x)ₜ) + ε / C Σ w (-ln softmax(x))
    /// ```
    ///
    /// The plain mean is [`cross_entropy`](Self::cross_entropy), one launch with its gradient.
    ///
    /// # Shapes
    /// Logits `[n, classes, …]`, targets u32 `[n, …]` → `[n, …]`, or `[]` if it is reduced. A row alone is `[classes]`, with
    /// a target `[]`.
    ///
    /// # Numerics
    /// A target that is no class gives NaN, unless it is ignored. The mean of rows that are all ignored is NaN.
    ///
    /// # Errors
    /// If shapes or types do not match, the smoothing is not between 0 and 1, or the devices differ.
    pub fn cross_entropy_with(self, targets: &Tensor, options: &CrossEntropyOptions) -> Result<Self> {
        let op = "cross_entropy";
        options.check(op)?;
        let rows = Rows::new(op, self, targets)?;
        let CrossEntropyOptions { weight, ignore_index, label_smoothing, reduction } = options;
        let weight = weight.as_ref();
        if weight.is_none() && ignore_index.is_none() && *label_smoothing == 0.0 {
            if *reduction == Reduction::Mean {
                return rows.scores.cross_entropy(&rows.targets);
            }
            return rows.reduce(rows.scores.cross_entropy_per_row(&rows.targets)?, None, *reduction);
        }
        // The targets of ignored rows may be no classes.
        let (targets, weights) = rows.targets.class_weights(rows.classes, weight, *ignore_index, 0)?;
        let mut losses = times(rows.scores.cross_entropy_per_row(&targets)?, &weights)?;
        if *label_smoothing > 0.0 {
            let scores = rows.scores.log_softmax(-1)?;
            let scores = weight.map_or(Ok(scores), |weight| scores.mul(self.tape().constant(weight)))?;
            let counted = match weight {
                None => weights.clone(),
                Some(_) => rows.targets.class_weights(rows.classes, None, *ignore_index, 0)?.1,
            };
            let share = label_smoothing / rows.classes as f32;
            let even = times(scores.sum_along(-1, false)?.affine(-share, 0.0)?, &counted)?;
            losses = losses.affine(1.0 - label_smoothing, 0.0)?.add(even)?;
        }
        rows.reduce(losses, Some(&weights), *reduction)
    }

    /// Returns the cross-entropy of logits with probabilities: -Σ w target ln softmax(x) over the classes. It is PyTorch's
    /// `cross_entropy` with floating-point targets.
    ///
    /// With a smoothing of ε the targets are (1 - ε) target + ε / C. A mean is over the rows, whatever the weights are. No
    /// target can be ignored. Both variables have gradients.
    ///
    /// # Shapes
    /// Both `[n, classes, …]` → `[n, …]`, or `[]` if it is reduced.
    ///
    /// # Errors
    /// If the shapes differ, a target is to be ignored, the smoothing is not between 0 and 1, the elements are not f32, or
    /// the operands are on different devices or tapes.
    pub fn cross_entropy_soft(self, target: Self, options: &CrossEntropyOptions) -> Result<Self> {
        let op = "cross_entropy_soft";
        options.check(op)?;
        if let Some(index) = options.ignore_index {
            let rule = "None, if the targets are probabilities";
            return Err(TensorError::Argument { op, name: "ignore_index", value: index.to_string(), rule }.into());
        }
        let [x, mut target] = of_one_shape(op, self, target)?;
        let shape = self.shape();
        let axis = class_axis(op, &shape)?;
        if options.label_smoothing > 0.0 {
            let share = options.label_smoothing / shape[axis] as f32;
            target = target.affine(1.0 - options.label_smoothing, share)?;
        }
        let mut terms = x.log_softmax(axis)?.mul(target)?;
        if let Some(weight) = &options.weight {
            let mut broadcast = vec![1; shape.len() - axis];
            broadcast[0] = shape[axis];
            if weight.shape() != [shape[axis]] {
                let (rule, right) = ("there must be a weight for each class", weight.shape().to_vec());
                return Err(TensorError::Shape { op, rule, left: shape, right }.into());
            }
            terms = terms.mul(self.tape().constant(&weight.reshape(&broadcast)?))?;
        }
        options.reduction.of(terms.sum_along(axis, false)?.neg()?)
    }

    /// Returns the negative log-likelihood of classes, `-w x[target]`, of log-probabilities x.
    ///
    /// A row with the target `ignore_index` has a loss of 0. A mean is divided by the sum of the weights of the targets.
    ///
    /// # Shapes
    /// Log-probabilities `[n, classes, …]`, targets u32 `[n, …]`, weights `[classes]` → `[n, …]`, or `[]` if it is reduced.
    ///
    /// # Numerics
    /// As of [`cross_entropy_with`](Self::cross_entropy_with).
    ///
    /// # Errors
    /// If shapes or types do not match, or the devices differ.
    pub fn nll_loss(
        self,
        targets: &Tensor,
        weight: Option<&Tensor>,
        ignore_index: Option<u32>,
        reduction: Reduction,
    ) -> Result<Self> {
        let rows = Rows::new("nll_loss", self, targets)?;
        let (chosen, weights) = rows.chosen(weight, ignore_index)?;
        rows.reduce(times(chosen.neg()?, &weights)?, Some(&weights), reduction)
    }

    /// Returns the focal loss of logits with their classes: the cross-entropy of each row times (1 - p)^γ, p being the
    /// probability of its class (Lin et al., 2017). With a gamma of 0 it is the cross-entropy.
    ///
    /// A mean is over the rows, whatever the weights are.
    ///
    /// # Shapes
    /// As of [`nll_loss`](Self::nll_loss).
    ///
    /// # Errors
    /// If shapes or types do not match, gamma is negative or not finite, or the devices differ.
    pub fn focal_loss(
        self,
        targets: &Tensor,
        gamma: f32,
        weight: Option<&Tensor>,
        reduction: Reduction,
    ) -> Result<Self> {
        let op = "focal_loss";
        check(op, "gamma", gamma, gamma >= 0.0 && gamma.is_finite(), "a finite number of at least 0")?;
        let rows = Rows::new(op, self, targets)?;
        let entropy = rows.scores.cross_entropy_per_row(&rows.targets)?;
        let mut losses = entropy.mul(focus(entropy.neg()?.expm1()?.neg()?, gamma)?)?;
        if weight.is_some() {
            losses = times(losses, &rows.targets.class_weights(rows.classes, weight, None, 0)?.1)?;
        }
        rows.reduce(losses, None, reduction)
    }

    /// Returns the margins of the classes: `Σ max(0, margin - x[target] + x)ᵖ` over the other classes, divided by the number
    /// of classes and multiplied by the weight of the target.
    ///
    /// A mean is over the rows, whatever the weights are. PyTorch's defaults are a p of 1 and a margin of 1.
    ///
    /// # Shapes
    /// As of [`nll_loss`](Self::nll_loss).
    ///
    /// # Numerics
    /// A target that is no class gives NaN.
    ///
    /// # Errors
    /// If shapes or types do not match, p is neither 1 nor 2, or the devices differ.
    pub fn multi_margin_loss(
        self,
        targets: &Tensor,
        p: u32,
        margin: f32,
        weight: Option<&Tensor>,
        reduction: Reduction,
    ) -> Result<Self> {
        let op = "multi_margin_loss";
        check(op, "p", p as f32, p == 1 || p == 2, "1 or 2")?;
        let rows = Rows::new(op, self, targets)?;
        let (chosen, weights) = rows.chosen(weight, None)?;
        let mut margins = rows.scores.sub(chosen.unsqueeze(1)?)?.affine(1.0, margin)?.relu()?;
        if p == 2 {
            margins = margins.square()?;
        }
        let others = rows.targets.one_hot(rows.classes)?.affine(-1.0, 1.0)?;
        let sums = margins.mul(self.tape().constant(&others))?.sum_along(-1, false)?;
        let losses = times(sums.affine(1.0 / rows.classes as f32, 0.0)?, &weights)?;
        rows.reduce(losses, None, reduction)
    }
}
