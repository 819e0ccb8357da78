//! Frozen parameters: frozen themselves, or by a group of one optimizer.

use thalweg_autograd::Parameter;
use thalweg_tensor::{Arena, SegmentSettings, hold_as, is_recording};

use super::{Optimizer, ParameterGroup, groups};
use crate::{Params, Result};

/// A copy of the gradients in which those of some parameters are zero.
#[derive(Debug, Default)]
pub(super) struct Masked(Option<Arena>);

impl Masked {
    /// Copies the gradients, with zeros for the parameters that are left out.
    fn take(&mut self, grads: &Arena, is_left_out: impl Fn(usize) -> bool) -> Result<()> {
        let masked = match self.0.take() {
            Some(masked) => masked,
            None => hold_as("gradients", || grads.zeros_like())?,
        };
        let masked = self.0.insert(masked);
        masked.copy_from(grads)?;
        (0..grads.len()).filter(|&i| is_left_out(i)).try_for_each(|i| Ok(masked.get(i).fill(0f32)?))
    }

    /// Returns the copy, or the given gradients if nothing is left out.
    pub(super) fn or<'a>(&'a self, is_masked: bool, grads: &'a Arena) -> &'a Arena {
        self.0.as_ref().filter(|_| is_masked).unwrap_or(grads)
    }
}

impl Optimizer {
    /// Replaces all earlier groups, and [`without_decay_on_bias_and_norm`](Self::without_decay_on_bias_and_norm), by
    /// these groups. A parameter that leaves a frozen group continues from its current value and state, so a model can
    /// be unfrozen step by step.
    ///
    /// Earlier recordings fail with [`thalweg_tensor::Error::Stale`] if the set of frozen parameters has changed.
    ///
    /// # Errors
    /// Same as [`with_groups`](Self::with_groups); nothing is changed then.
    pub fn set_groups(&mut self, groups: &[ParameterGroup]) -> Result<()> {
        let mut settings = vec![SegmentSettings::default(); self.params.len()];
        groups::apply(groups, &*self.method, self.params.parameters(), &mut settings)?;
        self.set_segments(settings)
    }

    pub(super) fn set_segments(&mut self, settings: Vec<SegmentSettings>) -> Result<()> {
        self.clock.set_segments(self.params.values(), &effective(&settings, &self.params))?;
        self.segments = settings;
        Ok(())
    }

    /// Returns the settings of each parameter: its groups, and whether it is frozen itself.
    pub(super) fn effective_segments(&self) -> Vec<SegmentSettings> {
        effective(&self.segments, &self.params)
    }

    /// Updates the table on the device if parameters were frozen or unfrozen since the last step, and makes a recording
    /// refuse its replay after the next such change.
    pub(super) fn follow_freezing(&mut self) -> Result<()> {
        let parameters = self.params.parameters();
        let is_current = match self.clock.segments() {
            Some(rows) => rows
                .iter()
                .zip(&self.segments)
                .zip(parameters)
                .all(|((row, own), parameter)| row.frozen == (own.frozen || parameter.is_frozen())),
            None => !parameters.iter().any(Parameter::is_frozen),
        };
        if !is_current {
            self.clock.set_segments(self.params.values(), &self.effective_segments())?;
        }
        if is_recording(self.params.device()) {
            parameters.iter().try_for_each(Parameter::guard_frozen)?;
        }
        Ok(())
    }

    /// Returns whether a parameter has a gradient for another optimizer only.
    fn leaves_out(&self, i: usize) -> bool {
        let parameter = &self.params.parameters()[i];
        self.segments[i].frozen && !parameter.is_frozen() && parameter.has_grad()
    }

    /// Masks the gradients of parameters that a group has frozen, if the step reads gradients as a whole. Returns
    /// whether there are any: then the step uses the masked copy.
    pub(super) fn mask_gradients(&mut self, reads_all: bool) -> Result<bool> {
        if !reads_all || !(0..self.params.len()).any(|i| self.leaves_out(i)) {
            return Ok(false);
        }
        let mut masked = std::mem::take(&mut self.masked);
        let done = masked.take(self.params.settled_grads()?, |i| self.leaves_out(i));
        self.masked = masked;
        done.map(|()| true)
    }
}

fn effective(settings: &[SegmentSettings], params: &Params) -> Vec<SegmentSettings> {
    let pairs = settings.iter().zip(params.parameters());
    pairs.map(|(own, p)| SegmentSettings { frozen: own.frozen || p.is_frozen(), ..*own }).collect()
}
