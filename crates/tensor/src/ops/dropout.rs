//! Dropout, with counter-based random numbers.

use super::advance::{Advance, COUNTED_VARIANTS};
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::philox::{RUN, philox_run};
use crate::tensor::expect_dtype;
use crate::threads::for_each_chunks;
use crate::{DType, Device, Error, Result, Tensor};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    length: u32,
    seed_low: u32,
    seed_high: u32,
    stream_low: u32,
    stream_high: u32,
    threshold: u32,
    scale: f32,
    zero: u32,
}

/// mask[4 c + i] = scale where word i of Philox at counter (c, call, stream) is at least the threshold; y = x mask.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let is_counted = call.constant("COUNTED") != 0.0;
    let [x, state, y, mask] = call.bindings();
    let (x, state) = (x.read::<f32>(), state.write::<u32>());
    let (y, mask) = (y.write::<f32>(), mask.write::<f32>());
    let (rest, key) = ([state[0], params.stream_low, params.stream_high], [params.seed_low, params.seed_high]);
    for_each_chunks(
        [mask, y],
        #[inline(always)]
        |start, [mask, y]| {
            let runs = mask.chunks_mut(4 * RUN).zip(y.chunks_mut(4 * RUN)).zip(x[start..].chunks(4 * RUN));
            for (run, ((mask, y), x)) in runs.enumerate() {
                let words = philox_run((start / 4 + run * RUN) as u32, rest, key);
                for (((mask, y), &x), &word) in mask.iter_mut().zip(y).zip(x).zip(words.as_flattened()) {
                    *mask = if word >= params.threshold { params.scale } else { 0.0 };
                    *y = x * *mask;
                }
            }
        },
    );
    if is_counted {
        state[0] = state[0].wrapping_add(1);
    }
}

pub(super) static DROPOUT: Kernel = Kernel {
    shader: &thalweg_shaders::DROPOUT,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Write, Access::Write, Access::Write],
    variants: COUNTED_VARIANTS,
    twin,
};

/// The random state of one dropout layer: seed, stream, and a counter of calls on the device, which each call
/// advances.
#[derive(Debug, Clone)]
pub struct DropoutState {
    seed: u64,
    stream: u64,
    /// {calls so far, finished workgroups of the current call}.
    counter: Tensor,
}

impl DropoutState {
    /// Creates a state before its first call.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn new(device: &Device, seed: u64, stream: u64) -> Result<Self> {
        crate::check_state("dropout state")?;
        Ok(Self { seed, stream, counter: Tensor::zeros(device, DType::U32, &[2])? })
    }

    /// Returns the number of calls so far. Waits for the device.
    ///
    /// # Errors
    /// If work on the device has failed.
    pub fn calls(&self) -> Result<u32> {
        Ok(self.counter.to_vec::<u32>()?[0])
    }

    /// Sets the number of calls, to continue an interrupted run.
    ///
    /// # Errors
    /// If work on the device has failed.
    pub fn set_calls(&self, calls: u32) -> Result<()> {
        self.counter.write(&[calls, 0])
    }
}

impl Tensor {
    /// Applies dropout: each element is zeroed with the given probability, and otherwise divided by 1 - probability,
    /// so that the mean is preserved. Returns the result and the mask, which is the derivative: 0 or 1 / (1 -
    /// probability).
    ///
    /// # Shapes
    /// `[…]` → result and mask of the same shape.
    ///
    /// # Errors
    /// If the probability is not in [0, 1), the elements are not f32, or the devices differ.
    pub fn dropout(&self, probability: f32, state: &DropoutState) -> Result<(Self, Self)> {
        expect_dtype("dropout", self, DType::F32)?;
        self.same_device("dropout", &state.counter)?;
        if !(0.0..1.0).contains(&probability) {
            return Err(Error::Argument {
                op: "dropout",
                name: "probability",
                value: probability.to_string(),
                rule: "at least 0 and less than 1",
            });
        }
        let y = Self::uninitialized(self.device(), DType::F32, self.shape())?;
        let mask = Self::uninitialized(self.device(), DType::F32, self.shape())?;
        let params = Params {
            length: self.len() as u32,
            seed_low: state.seed as u32,
            seed_high: (state.seed >> 32) as u32,
            stream_low: state.stream as u32,
            stream_high: (state.stream >> 32) as u32,
            threshold: (f64::from(probability) * 4_294_967_296.0) as u32,
            scale: 1.0 / (1.0 - probability),
            zero: 0,
        };
        let is_counted = self.device().counts_workgroups();
        Launch::new(&DROPOUT, params)
            .constant("COUNTED", is_counted)
            .bind(&self.contiguous()?)
            .bind(&state.counter)
            .bind(&y)
            .bind(&mask)
            .workgroups(self.len().div_ceil(256))
            .run(self.device())?;
        if !is_counted {
            Advance { amount: 1, modulus: 0, rate: 0.0 }.run(&state.counter)?;
        }
        Ok((y, mask))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_stays_and_every_call_draws_anew() {
        let device = Device::cpu();
        let state = DropoutState::new(&device, 5, 1).unwrap();
        let x = Tensor::full(&device, 1.0f32, &[40_000]).unwrap();
        let (y, mask) = x.dropout(0.25, &state).unwrap();
        let (y, mask) = (y.to_vec::<f32>().unwrap(), mask.to_vec::<f32>().unwrap());
        assert_eq!(y, mask);
        let kept = y.iter().filter(|&&y| y > 0.0).count();
        // Five standard deviations of a binomial count: 5 sqrt(40,000 · 0.25 · 0.75).
        assert!(kept.abs_diff(30_000) < 433, "{kept}");
        assert!(y.iter().all(|&y| y == 0.0 || y == 1.0 / 0.75));
        assert_ne!(x.dropout(0.25, &state).unwrap().0.to_vec::<f32>().unwrap(), y);
        assert_eq!(state.calls().unwrap(), 2);
        state.set_calls(0).unwrap();
        assert_eq!(x.dropout(0.25, &state).unwrap().0.to_vec::<f32>().unwrap(), y);
        assert!(x.dropout(1.0, &state).is_err() && x.dropout(f32::NAN, &state).is_err());
    }
}
