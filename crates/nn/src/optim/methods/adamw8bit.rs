//! AdamW with its state in eight bits.

use thalweg_tensor::optim::{
    Block, Decay, Elements, Head, ROW_ELEMENTS, Span, StepArguments, Timing, UPDATE_VARIANTS, access,
};
use thalweg_tensor::{Call, Kernel, Packing};

use super::adam::Params;
use super::{Capabilities, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// [`AdamW`](crate::AdamW) with both moments in eight bits: a code of one byte for each moment of a parameter, and
    /// one scale, the largest moment, per block of 64 parameters:
    ///
    /// ```text
    /// param   = (1 - lr weight_decay) param
    /// moment1 = beta1 decode(state1) absmax1 + (1 - beta1) grad
    /// moment2 = beta2 decode(state2) absmax2 + (1 - beta2) grad²
    /// param   = param - lr / (1 - beta1ᵗ) moment1 / (√moment2 / √(1 - beta2ᵗ) + eps)
    /// absmax1 = max |moment1|,  absmax2 = max moment2
    /// state1  = encode(moment1 / absmax1),  state2 = encode(moment2 / absmax2)
    /// ```
    ///
    /// The state takes 2.125 bytes per parameter, and that of AdamW 8. Usual rate 1e-3. PyTorch and optax do not have
    /// this method; the names of the state are those of the authors' bitsandbytes. Source: Dettmers, Lewis, Shleifer,
    /// Zettlemoyer: 8-bit optimizers via block-wise quantization (ICLR 2022).
    ///
    /// A step is one launch, three with clipping by the global norm, and moves 16.25 bytes per parameter. In software
    /// it is limited by arithmetic: packing, unpacking and hashing take as long as the saved bytes. It reaches half to
    /// six tenths of a copy's bandwidth, in a little less time than AdamW.
    ///
    /// # Numerics
    /// The authors' codes are a table of decades with linear fractions, rounded to nearest. Here a code is a floating-point
    /// number with three bits of mantissa, taken from an f32, so that every device has the same codes without a table.
    /// A code of the first moment has a sign and magnitudes 1.25 · 2⁻¹⁶ … 1, or 0; one of the second 1.25 · 2⁻³² … 1,
    /// or 0. Small moments of a block are as exact as large ones.
    ///
    /// Rounding is stochastic, by a hash of parameter and step, so that the mean stays. The second moment changes by a
    /// thousandth of itself per step, which rounding to nearest would lose. A second moment that is not 0 never
    /// becomes 0. Blocks whose largest moment is below 1e-37 count as 0. Single updates differ from AdamW's by a
    /// seventh, most of which averages out.
    ///
    /// Each tensor starts a new block. Small tensors use eight bits too; the authors' program keeps them in 32.
    "adamw8bit" AdamW8bit {
        /// Decay rates of the first and the second moment.
        betas: (f64, f64) = (0.9, 0.999), fraction;
        /// Added to the root of the second moment, after bias correction.
        eps: f64 = 1e-8, positive;
        /// Weight decay, times the learning rate.
        weight_decay: f64 = 0.01, not_negative;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

const STATE: [(&str, Packing); 4] = [
    ("state1", Packing::Codes),
    ("state2", Packing::Codes),
    ("absmax1", Packing::Blocks),
    ("absmax2", Packing::Blocks),
];

impl Method for AdamW8bit {
    method_of_settings!();

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        STATE.map(|(name, packing)| StateArena::packed(name, packing)).into()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().momentum(true)
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::of_betas(self.betas), self.weight_decay, self.maximize)
            .momentum(self.betas.0)
            .decay(Decay::Decoupled);
        let packing = STATE.map(|(_, packing)| packing);
        Ok(step.run_packed(&ADAMW8BIT, &packing, head, |head| Params::new(head, self.betas, self.eps))?)
    }
}

/// Upper bits of the f32 of code 1 of a moment, less 1: codes are ordered as these bits are.
const FIRST: [u32; 2] = [889, 761];

/// Bits of an f32 that a code does not have.
const CUT: u32 = 20;

/// The factor from an m below code 1 to its chance, in units of 2^-20.
const CHANCES: f32 = 1_048_576.0 / (1.25 / 65_536.0);

/// Scales below it are 0, because their inverse might not be a number.
const LEAST_SCALE: f32 = 1e-37;

/// Words of codes of a block.
const WORDS: usize = ROW_ELEMENTS / 4;

/// Computes the formula of [`AdamW8bit`], block by block.
fn twin(call: Call<'_>) {
    let Params { head, beta2, eps } = call.params();
    let one_minus_beta2 = head.one_minus_beta2();
    let elements = Elements::of(call);
    let key = hash(elements.step());
    elements.each_group(
        ROW_ELEMENTS,
        [(0, WORDS), (1, WORDS), (2, 1), (3, 1)].map(|(place, words)| Span { place, start: 0, words }),
        #[inline(always)]
        |block, values, time, [codes1, codes2, scale1, scale2]| {
            let Some(Block { now, values, grads }) = time.block(block, values) else { return };
            let (beta1, one_minus_beta1) = (now.momentum, now.one_minus_momentum);
            let (step_size, inverse_root) = now.moment_factors();
            let old_scales = [f32::from_bits(scale1[0]), f32::from_bits(scale2[0])];
            let (old1, old2) = (bytes(codes1), bytes(codes2));
            let (mut m, mut v) = ([0f32; ROW_ELEMENTS], [0f32; ROW_ELEMENTS]);
            for i in 0..ROW_ELEMENTS {
                m[i] = beta1 * (decode1(old1[i]) * old_scales[0]) + one_minus_beta1 * grads[i];
            }
            for i in 0..ROW_ELEMENTS {
                v[i] = beta2 * (decode2(old2[i]) * old_scales[1]) + one_minus_beta2 * (grads[i] * grads[i]);
            }
            for i in 0..ROW_ELEMENTS {
                values[i] -= step_size * (m[i] / (v[i].sqrt() * inverse_root + eps));
            }
            let scales = [largest(&m), largest(&v)].map(|scale| if scale >= LEAST_SCALE { scale } else { 0.0 });
            let inverse = scales.map(|scale| if scale > 0.0 { 1.0 / scale } else { 0.0 });
            let first = (block * ROW_ELEMENTS) as u32;
            let mut new = [[0u8; ROW_ELEMENTS]; 2];
            let [new1, new2] = &mut new;
            for i in 0..ROW_ELEMENTS {
                let chance = hash((first + i as u32) ^ key);
                new1[i] = encode1(m[i] * inverse[0], chance >> 12);
                new2[i] = encode2(v[i] * inverse[1], (chance & 0xffff) << 4);
            }
            put(codes1, new1);
            put(codes2, new2);
            (scale1[0], scale2[0]) = (scales[0].to_bits(), scales[1].to_bits());
        },
    );
}

/// Returns the codes of a block.
#[inline(always)]
fn bytes(words: &[u32]) -> [u8; ROW_ELEMENTS] {
    let mut bytes = [0; ROW_ELEMENTS];
    for (bytes, word) in bytes.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

#[inline(always)]
fn put(words: &mut [u32], bytes: &[u8; ROW_ELEMENTS]) {
    let (bytes, _) = bytes.as_chunks::<4>();
    for (word, bytes) in words.iter_mut().zip(bytes) {
        *word = u32::from_le_bytes(*bytes);
    }
}

/// Returns the largest magnitude, lane by lane, so that the loop is vectorised.
#[inline(always)]
fn largest(x: &[f32; ROW_ELEMENTS]) -> f32 {
    let mut lanes = [0f32; 16];
    for x in x.as_chunks::<16>().0 {
        for (lane, x) in lanes.iter_mut().zip(x) {
            *lane = if x.abs() > *lane { x.abs() } else { *lane };
        }
    }
    lanes.into_iter().fold(0.0, f32::max)
}

#[inline(always)]
fn decode1(code: u8) -> f32 {
    let (magnitude, sign) = (u32::from(code & 0x7f), u32::from(code & 0x80));
    f32::from_bits(if magnitude > 0 { ((magnitude + FIRST[0]) << CUT) | (sign << 24) } else { 0 })
}

#[inline(always)]
fn decode2(code: u8) -> f32 {
    f32::from_bits(if code > 0 { (u32::from(code) + FIRST[1]) << CUT } else { 0 })
}

/// `chance` has 20 random bits.
#[inline(always)]
fn encode1(x: f32, chance: u32) -> u8 {
    let bits = x.to_bits() & 0x7fff_ffff;
    let small = u32::from((chance as f32) < f32::from_bits(bits) * CHANCES);
    let normal = ((bits + chance) >> CUT).wrapping_sub(FIRST[0]).min(127);
    let magnitude = if bits >= (FIRST[0] + 1) << CUT { normal } else { small };
    // No negative zero: padding is 0.
    let sign = if magnitude > 0 { (x.to_bits() >> 24) & 0x80 } else { 0 };
    (magnitude | sign) as u8
}

#[inline(always)]
fn encode2(x: f32, chance: u32) -> u8 {
    let bits = x.to_bits() & 0x7fff_ffff;
    let code = (((bits + chance) >> CUT).max(FIRST[1] + 1) - FIRST[1]).min(255);
    if bits > 0 { code as u8 } else { 0 }
}

/// Computes Appleby's finaliser of MurmurHash3: every bit of the result depends on every bit of `x`.
#[inline(always)]
fn hash(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
    let x = (x ^ (x >> 13)).wrapping_mul(0xc2b2_ae35);
    x ^ (x >> 16)
}

pub(crate) static ADAMW8BIT: Kernel = Kernel {
    shader: &thalweg_shaders::ADAMW8BIT,
    uniform: size_of::<Params>(),
    access: access(4),
    variants: UPDATE_VARIANTS,
    twin,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back_and_numbers_between_two_codes_go_to_both_by_their_place() {
        for code in 0..=255u8 {
            for chance in [0, 1, (1 << CUT) - 1] {
                let second = decode2(code);
                assert_eq!(encode2(second, chance), code);
                // Negative zero is the one unused code.
                if code != 0x80 {
                    assert_eq!(encode1(decode1(code), chance), code);
                }
            }
        }
        assert_eq!((decode1(127), decode1(255), decode2(255)), (1.0, -1.0, 1.0));
        assert_eq!((decode1(1), decode2(1)), (1.25 / 65_536.0, 1.25 / 4_294_967_296.0));
        // A quarter of the distance from one code to the next: a quarter of the chances.
        let up = |x: f32, encode: fn(f32, u32) -> u8, code: u8| {
            (0..1 << CUT).filter(|&chance| encode(x, chance) == code + 1).count()
        };
        for code in [1u8, 60, 126] {
            let between = |decode: fn(u8) -> f32| 0.75 * decode(code) + 0.25 * decode(code + 1);
            assert_eq!(up(between(decode1), encode1, code), 1 << (CUT - 2));
            assert_eq!(up(between(decode2), encode2, code), 1 << (CUT - 2));
        }
        assert!(up(0.25 * decode1(1), encode1, 0).abs_diff(1 << (CUT - 2)) < 2);
        // A second moment that is not zero stays so.
        assert_eq!((encode2(1e-30, 0), encode2(0.0, (1 << CUT) - 1), encode1(-0.0, 0)), (1, 0, 0));
    }
}
