//! A count on the device, advanced by a separate launch.

use crate::kernel::{Access, Call, Kernel, Launch};
use crate::{Result, Tensor};

/// The increment of a count.
#[repr(C)]
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Advance {
    pub(crate) amount: u32,
    /// The count wraps around to 0 at this value; 0 for no wrap-around.
    pub(crate) modulus: u32,
    /// The rate at which the third word, as f32, tends to 1; 0 if there is none.
    pub(crate) rate: f32,
}

impl Advance {
    /// Advances the first word of `words` and, if there is a rate, the third.
    pub(crate) fn run(self, words: &Tensor) -> Result<()> {
        Launch::new(&ADVANCE, self).bind(words).run(words.device())
    }
}

fn twin(call: Call<'_>) {
    let Advance { amount, modulus, rate } = call.params();
    let [words] = call.bindings();
    let words = words.write::<u32>();
    let next = words[0].wrapping_add(amount);
    words[0] = next.checked_rem(modulus).unwrap_or(next);
    if rate > 0.0 {
        let before = f32::from_bits(words[2]);
        words[2] = (before + rate * (1.0 - before)).to_bits();
    }
}

pub(super) static ADVANCE: Kernel = Kernel {
    shader: &thalweg_shaders::ADVANCE,
    uniform: size_of::<Advance>(),
    access: &[Access::Write],
    variants: &[&[]],
    twin,
};

/// The override constants of kernels that count their workgroups and have no other constants.
pub(super) const COUNTED_VARIANTS: &[&[(&str, f64)]] = &[&[("COUNTED", 0.0)], &[("COUNTED", 1.0)]];
