//! Schedules that follow a metric besides the steps: reduce-on-plateau.

use std::fmt;

use crate::schedule::{PlateauState, ReduceOnPlateau};
use crate::{EpochReport, Error, Optimizer, Result};

/// The key in the metadata of a checkpoint.
const KEY: &str = "plateau";

/// A schedule that follows a metric of the reports.
pub(super) struct Plateau {
    schedule: ReduceOnPlateau,
    metric: Box<dyn Fn(&EpochReport) -> f64 + Send>,
}

impl Plateau {
    pub(super) fn new(schedule: ReduceOnPlateau, metric: impl Fn(&EpochReport) -> f64 + Send + 'static) -> Self {
        Self { schedule, metric: Box::new(metric) }
    }

    pub(super) fn schedule(&self) -> &ReduceOnPlateau {
        &self.schedule
    }

    /// Passes the report of an epoch to the schedule, and sets the learning rate if it falls.
    pub(super) fn observe(&mut self, report: &EpochReport, optimizer: &mut Optimizer) -> Result<()> {
        let before = self.schedule.lr();
        let lr = self.schedule.observe((self.metric)(report));
        if lr == before { Ok(()) } else { optimizer.set_rate(lr) }
    }

    /// Saves its state as an object of the metadata.
    pub(super) fn save(&self, metadata: &mut serde_json::Value) -> Result<()> {
        let state = serde_json::to_value((self.schedule.settings(), self.schedule.state()));
        metadata[KEY] = state.map_err(|error| Error::state(KEY, error.to_string()))?;
        Ok(())
    }

    /// Returns the saved schedule.
    pub(super) fn saved(&self, metadata: &serde_json::Value) -> Result<ReduceOnPlateau> {
        let found = metadata.get(KEY).ok_or_else(|| Error::state(KEY, "there is no such state in the file"))?;
        let (settings, state): (_, PlateauState) = serde_json::from_value(found.clone()).map_err(|error| {
            Error::state(KEY, format!("the saved state is of another version, or damaged ({error})"))
        })?;
        let own = self.schedule.settings();
        if settings != own {
            return Err(Error::state(KEY, format!("saved was {settings:?}, but here it is {own:?}")));
        }
        ReduceOnPlateau::from_state(settings, state).map_err(|error| Error::state(KEY, error.to_string()))
    }

    /// Continues from a saved schedule.
    pub(super) fn restore(&mut self, schedule: ReduceOnPlateau) {
        self.schedule = schedule;
    }
}

impl fmt::Debug for Plateau {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.schedule.fmt(f)
    }
}
