//! How a clock advances: by a launch that computes norms and clip factors, or by the update itself.

use std::sync::atomic::Ordering;

use super::Clock;
use super::kernel::{CLOCK, ClockParams};
use crate::arena::Arena;
use crate::kernel::Launch;
use crate::optim::clip::{Clip, NonFinite};
use crate::optim::loss_scale::LossScale;
use crate::optim::norm::{Norm, launch_norm, partial_count};
use crate::optim::tensor_clip::{launch_scale_rows, launch_tensor_clip};
use crate::optim::time::Timing;
use crate::{DType, Error, Result, Tensor};

impl Clock {
    /// Prepares an update of an arena with these gradients. If norms or clip factors are needed, computes them and
    /// advances the clock (for the launches see [`Clip`]). Otherwise does nothing, and the update advances the clock
    /// itself. Clip factors of single tensors are in the table.
    pub(in crate::optim) fn prepare(&mut self, grads: &Arena, clip: Clip, timing: Timing) -> Result<Prepared> {
        clip.check()?;
        self.guard_recording();
        let may_count = grads.pages().len() == 1 && self.device().counts_workgroups();
        if may_count && !self.reads_norms(clip) {
            self.forget_tensor_factors()?;
            return Ok(Prepared::SelfClocked);
        }
        self.advance_with(grads, clip, timing)?;
        Ok(Prepared::ByLaunch)
    }

    /// Advances the clock with a separate launch, for methods whose launches do not read the clip factors of the
    /// table.
    ///
    /// Computes the norm of the gradients if clipping needs it. Clipping by tensors changes the gradients in place.
    ///
    /// # Errors
    /// If the limit of `clip` is not finite and greater than 0, or a launch fails.
    pub fn advance(&mut self, grads: &Arena, clip: Clip, timing: Timing) -> Result<()> {
        clip.check()?;
        self.guard_recording();
        self.advance_with(grads, clip, timing)?;
        if let (Some(_), Some(segments)) = (clip.by_tensor(), &self.segments) {
            launch_scale_rows(grads, &segments.page_starts, &self.table, &self.state)?;
        }
        Ok(())
    }

    fn advance_with(&mut self, grads: &Arena, clip: Clip, timing: Timing) -> Result<()> {
        if self.loss_scale.is_some() {
            LossScale::check_clip(clip)?;
        }
        let (max_norm, norm) = clip.norm().unwrap_or((0.0, Norm::Euclidean));
        let (partials, count) = if let Some(limit) = clip.by_tensor() {
            self.lay_out(grads)?;
            self.has_tensor_factors = true;
            let sums = self.laid_out()?;
            (launch_tensor_clip(grads, sums, &self.table, limit)?, sums.count())
        } else {
            self.forget_tensor_factors()?;
            let wanted: usize = grads.pages().iter().map(|page| partial_count(page.len())).sum();
            if wanted > self.partials.len() {
                self.partials = Tensor::zeros(self.device(), DType::F32, &[wanted])?;
            }
            let takes_norm = max_norm > 0.0 || self.takes_norm();
            (&self.partials, if takes_norm { launch_norm(grads, &self.partials, norm)? } else { 0 })
        };
        let LossScale { growth_factor, backoff_factor, growth_interval, .. } = self.loss_scale.unwrap_or_default();
        let params = ClockParams {
            timing,
            partials: count as u32,
            max_norm,
            root: norm.power().recip(),
            ignore: (!self.skips(clip)).into(),
            growth_factor: growth_factor as f32,
            backoff_factor: backoff_factor as f32,
            growth_interval,
        };
        Launch::new(&CLOCK, params)
            .constant("NORM", norm.constant())
            .constant("BY_TENSOR", clip.by_tensor().is_some())
            .constant("SCALED", self.loss_scale.is_some())
            .bind(partials)
            .bind(&self.table)
            .bind(&self.state)
            .run(self.device())
    }

    /// Returns whether a step computes the norm of the gradients although it does not clip by it.
    fn takes_norm(&self) -> bool {
        self.measures
            || self.loss_scale.is_some()
            || matches!(self.non_finite, Some(NonFinite::Skip | NonFinite::Error))
    }

    /// Returns whether a step reads the gradients as a whole, in addition to each of them for its own parameter.
    #[must_use]
    pub fn reads_norms(&self, clip: Clip) -> bool {
        clip.norm().is_some() || clip.by_tensor().is_some() || self.takes_norm()
    }

    /// Returns whether a norm that is not finite skips the step.
    fn skips(&self, clip: Clip) -> bool {
        match self.non_finite {
            _ if self.loss_scale.is_some() => true,
            Some(NonFinite::Skip | NonFinite::Error) => true,
            Some(NonFinite::Ignore) => false,
            None => clip.norm().is_some() || clip.by_tensor().is_some(),
        }
    }

    /// Resets the clip factors of an earlier step in the table.
    fn forget_tensor_factors(&mut self) -> Result<()> {
        if self.has_tensor_factors {
            self.upload(&self.schedule.clone())?;
            self.has_tensor_factors = false;
        }
        Ok(())
    }

    /// Makes the recording in progress on this thread fail on replay after a change that it does not include.
    pub(super) fn guard_recording(&self) {
        if !crate::is_recording(self.device()) {
            return;
        }
        let (changes, then) = (self.changes.clone(), self.changes.load(Ordering::Relaxed));
        crate::guard(move || {
            if changes.load(Ordering::Relaxed) == then {
                return Ok(());
            }
            let problem = "a longer schedule, other frozen parameters or another clipping have been set; record again";
            Err(Error::Stale { problem: problem.to_string() })
        });
    }
}

/// How the clock is advanced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::optim) enum Prepared {
    /// By a launch before the update.
    ByLaunch,
    /// By the update.
    SelfClocked,
}

impl Prepared {
    /// Returns the value of the updates' override constant.
    pub(in crate::optim) fn self_clocked(self) -> bool {
        self == Self::SelfClocked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    #[test]
    fn the_norm_is_global_and_a_norm_that_is_not_finite_is_counted() {
        let device = Device::cpu();
        let grads = Arena::with_page_size(&device, &[vec![900], vec![400]], 1024).unwrap();
        grads.get(0).fill(3f32).unwrap();
        grads.get(1).fill(4f32).unwrap();
        let mut clock = Clock::new(&device, 0.5).unwrap();
        let timing = Timing::of_betas((0.9, 0.999));
        clock.advance(&grads, Clip::Norm(1.0), timing).unwrap();
        let state = clock.read().unwrap();
        approx::assert_relative_eq!(state.gradient_norm, (900f32 * 9.0 + 400.0 * 16.0).sqrt(), max_relative = 1e-6);
        assert_eq!((state.step, state.clipped, state.skipped), (1, 1, 0));
        grads.get(1).fill(f32::NAN).unwrap();
        clock.advance(&grads, Clip::Norm(1.0), timing).unwrap();
        let state = clock.read().unwrap();
        assert_eq!((state.step, state.clipped, state.skipped), (1, 1, 1));
        assert!(state.gradient_norm_sum > 100.0);
        clock.restart_gradient_norm_sum().unwrap();
        assert_eq!((clock.read().unwrap().step, clock.read().unwrap().gradient_norm_sum), (1, 0.0));
        assert!(clock.advance(&grads, Clip::Norm(f64::NAN), timing).is_err());
        assert!(clock.set_learning_rates(&[0.1, -0.1]).is_err() && clock.set_learning_rates(&[]).is_err());
    }

    #[test]
    fn tensors_are_clipped_in_place_for_updates_that_do_not_read_their_rows() {
        let device = Device::cpu();
        let grads = Arena::with_page_size(&device, &[vec![900], vec![400]], 1024).unwrap();
        grads.get(0).fill(3f32).unwrap();
        grads.get(1).fill(0.01f32).unwrap();
        let mut clock = Clock::new(&device, 0.5).unwrap();
        clock.advance(&grads, Clip::TensorNorm(1.0), Timing::without_betas()).unwrap();
        let [first, second] = [0, 1].map(|i| grads.get(i).to_vec::<f32>().unwrap());
        approx::assert_relative_eq!(first[899], 1.0 / 30.0, max_relative = 1e-6);
        assert_eq!(second[399], 0.01);
        let state = clock.read().unwrap();
        assert_eq!((state.step, state.clipped), (1, 1));
        // Using the rows a second time would change nothing.
        let table = clock.table().to_vec::<f32>().unwrap();
        assert!((0..32).all(|row| table[4 * row + 2] == 1.0));
    }
}
