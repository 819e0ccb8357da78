//! Attention and the rotation of vectors by their positions. With p the shares of the keys and g the gradient of y = p v.

use thalweg_tensor::{Attention, DropoutState, Rotary, Tensor};

use crate::walk::Pull;
use crate::{Result, Var};

impl<'t> Var<'t> {
    /// Returns the attention of queries, this variable, to keys and values; see
    /// [`Tensor::scaled_dot_product_attention`].
    ///
    /// In [`Tape::backward`](crate::Tape::backward) the gradients are computed tile by tile, and memory is linear in the
    /// lengths. In [`Tape::grad`](crate::Tape::grad), whose result can be differentiated again, they are composed of matrix
    /// products, with matrices of all scores. A mask with a gradient is composed in this way from the start.
    ///
    /// # Errors
    /// If the shapes do not fit, vectors are longer than 128, the elements are not f32, or the devices or the tapes differ.
    pub fn scaled_dot_product_attention(
        self,
        key: Self,
        value: Self,
        mask: Option<Self>,
        settings: &Attention,
    ) -> Result<Self> {
        let (q, k, v, mask_value) = (self.value(), key.value(), value.value(), mask.map(|mask| mask.value()));
        if mask.is_some_and(|mask| mask.is_tracked()) {
            return self.attention_with_dropout(key, value, mask, settings, None);
        }
        let (y, state) = q.attention_forward(&k, &v, mask_value.as_ref(), settings)?;
        let settings = *settings;
        self.tape().record("scaled_dot_product_attention", y, &[self, key, value], move |pull| {
            let [q, k, v] = [0, 1, 2].map(|i| pull.input(i));
            let g = pull.cotangent()?;
            if !pull.is_plain() {
                let mask = mask_value.as_ref().map(|mask| pull.constant(mask));
                return give_composed(pull, [q, k, v, g], mask, &settings);
            }
            let (k, v, y) = (k.value(), v.value(), pull.output().value());
            let mask = mask_value.as_ref();
            let gradients = q.value().attention_backward(&k, &v, mask, &settings, &y, &state, &g.value())?;
            gradients.iter().enumerate().try_for_each(|(i, gradient)| pull.give(i, pull.constant(gradient)))
        })
    }

    /// Returns attention composed of matrix products, with dropout of the shares of the keys. It stores all scores, so its
    /// memory grows with the product of the lengths.
    ///
    /// # Errors
    /// As [`scaled_dot_product_attention`](Self::scaled_dot_product_attention). If the probability is not in [0, 1).
    pub fn attention_with_dropout(
        self,
        key: Self,
        value: Self,
        mask: Option<Self>,
        settings: &Attention,
        dropout: Option<(f32, &DropoutState)>,
    ) -> Result<Self> {
        let mask_value = mask.map(|mask| mask.value());
        self.value().check_attention(&key.value(), &value.value(), mask_value.as_ref())?;
        let mut shares = self.shares(key.for_heads_of(self)?, mask, settings)?;
        if let Some((probability, state)) = dropout {
            shares = shares.dropout(probability, state)?;
        }
        shares.matmul(value.for_heads_of(self)?)
    }

    /// Returns keys or values with as many heads as queries: each one repeated for those that share it.
    fn for_heads_of(self, queries: Self) -> Result<Self> {
        match group(queries, self) {
            1 => Ok(self),
            group => self.repeat_interleave(group, -3),
        }
    }

    /// Returns the shares of the keys, `[…, l, s]`: the softmax of the scores, 0 in rows without a key.
    fn shares(self, key: Self, mask: Option<Self>, settings: &Attention) -> Result<Self> {
        let width = self.shape().last().copied().unwrap_or(1);
        let mut scores = self.matmul(key.transpose(-2, -1)?)?.affine(settings.scale_of(width), 0.0)?;
        if let Some(mask) = mask {
            scores = scores.add(mask)?;
        }
        if settings.causal {
            let (shape, device) = (scores.shape(), self.value().device().clone());
            let hidden = Tensor::full(&device, f32::NEG_INFINITY, &shape[shape.len() - 2..])?.triu(1)?;
            scores = scores.add(self.tape().constant(&hidden))?;
        }
        if scores.value().is_empty() {
            return Ok(scores);
        }
        let largest = scores.value().max_along(-1, true)?.clamp(f32::MIN, f32::INFINITY)?;
        let powers = scores.sub(self.tape().constant(&largest))?.exp()?;
        let sums = powers.sum_along(-1, true)?;
        powers.div(sums.add(sums.is_zero()?)?)
    }

    /// Returns the vectors rotated by their positions; see [`Tensor::rotary`]. The positions have no gradient.
    ///
    /// # Errors
    /// If the width is odd, the positions do not fit, the elements are not f32, or the devices differ.
    pub fn rotary(self, positions: &Tensor, settings: &Rotary) -> Result<Self> {
        let [cosines, sines] = self.value().rotary_factors(positions, settings)?.map(|x| self.tape().constant(&x));
        let half = cosines.shape().last().copied().unwrap_or(0);
        let shape = self.shape();
        let outer = &shape[..shape.len() - 1];
        let (split, axis) = if settings.interleaved { ([half, 2], -1) } else { ([2, half], -2) };
        let pairs = self.reshape(&[outer, &split[..]].concat())?;
        let (x, y) = (pairs.select(axis, 0)?, pairs.select(axis, 1)?);
        let turned = [x.mul(cosines)?.sub(y.mul(sines)?)?, y.mul(cosines)?.add(x.mul(sines)?)?];
        Var::stack(&turned, axis)?.reshape(&shape)
    }
}

/// How many heads of queries share one of keys.
fn group(queries: Var<'_>, keys: Var<'_>) -> usize {
    let (queries, keys) = (queries.shape(), keys.shape());
    match queries.len() {
        0..3 => 1,
        rank => queries[rank - 3].checked_div(keys[rank - 3]).unwrap_or(1).max(1),
    }
}

/// Passes the gradients as variables: dv = pᵀ g, ds = p (g vᵀ - Σ p g vᵀ), dq = scale ds k, dk = scale dsᵀ q.
fn give_composed<'t>(
    pull: &Pull<'t, '_>,
    [q, k, v, g]: [Var<'t>; 4],
    mask: Option<Var<'t>>,
    settings: &Attention,
) -> Result<()> {
    let (keys, values) = (k.for_heads_of(q)?, v.for_heads_of(q)?);
    let scale = settings.scale_of(q.shape().last().copied().unwrap_or(1));
    let shares = q.shares(keys, mask, settings)?;
    // The sum over the heads that share one.
    let gathered = |gradient: Var<'t>, like: Var<'t>| {
        let (group, shape) = (group(q, like), like.shape());
        if group == 1 {
            return Ok(gradient);
        }
        let heads = shape.len() - 3;
        let split = [&shape[..=heads], &[group], &shape[heads + 1..]].concat();
        gradient.reshape(&split)?.sum_along(heads + 1, false)
    };
    if pull.needs(2) {
        pull.give(2, gathered(shares.transpose(-2, -1)?.matmul(g)?, v)?)?;
    }
    if !(pull.needs(0) || pull.needs(1)) {
        return Ok(());
    }
    let of_shares = g.matmul(values.transpose(-2, -1)?)?;
    let mean = shares.mul(of_shares)?.sum_along(-1, true)?;
    let of_scores = shares.mul(of_shares.sub(mean)?)?.affine(scale, 0.0)?;
    if pull.needs(0) {
        pull.give(0, of_scores.matmul(keys)?)?;
    }
    if pull.needs(1) {
        pull.give(1, gathered(of_scores.transpose(-2, -1)?.matmul(q)?, k)?)?;
    }
    Ok(())
}
