//! Adaptive gradient clipping: by the norms of the parameters, unit by unit.

use bytemuck::{Pod, Zeroable};

use crate::arena::Arena;
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::math;
use crate::threads::for_each_range;
use crate::{DType, Error, Result, Tensor};

/// Adaptive gradient clipping, AGC (Brock, De, Smith, Simonyan: High-performance large-scale image recognition
/// without normalization, ICML 2021). Each unit's gradient is scaled down in place if it is long relative to the
/// unit's parameters,
/// ```text
/// most = clipping max(‖param‖, eps)
/// grad = grad most / max(‖grad‖, 1e-6)      where ‖grad‖ > most
/// ```
///
/// like `optax.adaptive_grad_clip`. A **unit** is the part of a tensor at one index of its first dimension: a row of
/// the weights `[out, in]` of a linear layer, which produces one output. A tensor of fewer than two dimensions is one
/// unit. (optax stores linear weights as `[in, out]` and uses columns.)
///
/// It needs one launch per page, for any number of tensors, before the rest of a step; [`Clip`](super::Clip) may
/// follow. A workgroup takes a unit, so a single unit of millions of elements is slow on hardware. A norm that is not
/// finite keeps or spreads non-finite values, which [`NonFinite`](super::NonFinite) handles afterwards.
///
/// ```
/// use thalweg_tensor::{AdaptiveClip, Arena, Device};
/// # fn main() -> thalweg_tensor::Result<()> {
/// let values = Arena::new(&Device::cpu(), &[vec![2, 2]])?;
/// let grads = values.zeros_like()?;
/// values.get(0).write(&[3.0f32, 4.0, 30.0, 40.0])?;
/// grads.get(0).write(&[0.0f32, 2.0, 0.0, 2.0])?;
/// AdaptiveClip::new(&values, 0.1, 1e-3)?.clip(&values, &grads)?;
/// // Rows of length 5 and 50: a tenth of it is 0.5 and 5.
/// assert_eq!(grads.get(0).to_vec::<f32>()?, [0.0, 0.5, 0.0, 2.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct AdaptiveClip {
    clipping: f32,
    eps: f32,
    units: Tensor,
    /// The first unit of each page, followed by the number of all units.
    page_units: Vec<u32>,
}

impl AdaptiveClip {
    /// Returns the largest ratio of the norms of gradient and unit, and the smallest norm of a unit.
    #[must_use]
    pub fn settings(&self) -> (f32, f32) {
        (self.clipping, self.eps)
    }

    /// Creates the clipping for arenas of this layout.
    ///
    /// # Errors
    /// If `clipping` or `eps` is not finite and greater than 0, or the device has no room for the table of units.
    pub fn new(values: &Arena, clipping: f64, eps: f64) -> Result<Self> {
        for (name, value) in [("clipping", clipping), ("eps", eps)] {
            if !((value as f32).is_finite() && value as f32 > 0.0) {
                return Err(Error::Argument {
                    op: "adaptive_clip",
                    name,
                    value: value.to_string(),
                    rule: "finite and greater than 0",
                });
            }
        }
        let (mut units, mut page_units) = (Vec::<[u32; 2]>::new(), vec![0]);
        for (place, tensor) in values.places().zip(values.tensors()) {
            while page_units.len() <= place.page {
                page_units.push(units.len() as u32);
            }
            let rows = if tensor.shape().len() < 2 { 1 } else { tensor.shape()[0] };
            let length = place.len.checked_div(rows).unwrap_or(0);
            if length > 0 {
                units.extend((0..rows).map(|row| [(place.offset + row * length) as u32, length as u32]));
            }
        }
        page_units.resize(values.pages().len() + 1, units.len() as u32);
        let table = Tensor::zeros(values.device(), DType::U32, &[2 * units.len().max(1)])?;
        if !units.is_empty() {
            table.write(units.as_flattened())?;
        }
        Ok(Self { clipping: clipping as f32, eps: eps as f32, units: table, page_units })
    }

    /// Clips gradients in place, based on these parameters.
    ///
    /// # Errors
    /// If the arenas have other pages than those of the layout.
    pub fn clip(&self, values: &Arena, grads: &Arena) -> Result<()> {
        values.same_layout("adaptive_clip", &[grads])?;
        if values.pages().len() + 1 != self.page_units.len() {
            return Err(Error::Argument {
                op: "adaptive_clip",
                name: "values",
                value: format!("{} pages", values.pages().len()),
                rule: "of the layout that the clipping was made for",
            });
        }
        for (number, (values, grads)) in values.pages().iter().zip(grads.pages()).enumerate() {
            let first_unit = self.page_units[number];
            let unit_count = self.page_units[number + 1] - first_unit;
            if unit_count > 0 {
                let params = Params { first_unit, unit_count, clipping: self.clipping, eps: self.eps };
                Launch::new(&ADAPTIVE_CLIP, params)
                    .bind(grads)
                    .bind(values)
                    .bind(&self.units)
                    .workgroups(unit_count as usize)
                    .run(grads.device())?;
            }
        }
        Ok(())
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first_unit: u32,
    unit_count: u32,
    clipping: f32,
    eps: f32,
}

/// The formula of [`AdaptiveClip`], unit by unit.
fn twin(call: Call<'_>) {
    let Params { first_unit, unit_count, clipping, eps } = call.params();
    let [grads, values, units] = call.bindings();
    let (grads, values) = (grads.write::<f32>(), values.read::<f32>());
    let units: &[[u32; 2]] = units.read::<u32>().as_chunks().0;
    let units = &units[first_unit as usize..][..unit_count as usize];
    for_each_range(
        units,
        1,
        // A unit has no result except its gradient.
        &mut vec![(); units.len()],
        [grads],
        #[inline(always)]
        |[start, length], (), [grads]| {
            let values = &values[start as usize..][..length as usize];
            let value_norm = math::tree_sum(values, |x| x * x).sqrt();
            let norm = math::tree_sum(grads, |x| x * x).sqrt();
            let most = clipping * value_norm.max(eps);
            if norm > most {
                let factor = most / norm.max(1e-6);
                grads.iter_mut().for_each(|grad| *grad *= factor);
            }
        },
    );
}

pub(crate) static ADAPTIVE_CLIP: Kernel = Kernel {
    shader: &thalweg_shaders::ADAPTIVE_CLIP,
    uniform: size_of::<Params>(),
    access: &[Access::Write, Access::Read, Access::Read],
    variants: &[&[]],
    twin,
};
