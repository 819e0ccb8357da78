//! The table of a clock: the values of its schedule, and the settings of tensors.

use std::sync::atomic::Ordering;

use super::Clock;
use crate::arena::Arena;
use crate::optim::table::{ROW_ELEMENTS, Row, ScheduleTable, SegmentRows, SegmentSettings};
use crate::optim::time::SCHEDULE;
use crate::{DType, Error, Result, Tensor};

/// The initial number of rows for a schedule. A longer one needs a larger table.
pub(super) const LEAST_TABLE: usize = 4096;

impl Clock {
    /// Uploads the learning rates of the steps, from the first step of the run on; the last one is repeated. Weight
    /// decay and momentum are those of the settings.
    ///
    /// # Errors
    /// See [`set_schedule`](Self::set_schedule).
    pub fn set_learning_rates(&mut self, learning_rates: &[f64]) -> Result<()> {
        self.set_schedule(ScheduleTable::of_learning_rates(learning_rates))
    }

    /// Uploads the values of a schedule, from the first step of the run on. Equal rows at its end are stored as one,
    /// 16 bytes.
    ///
    /// Recordings use the new schedule, unless it is longer than 4,096 rows and than any before it. Then their
    /// replays fail with [`Error::Stale`], and they must be made again.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no learning rate, a value is out of range, or the schedule has more rows than
    /// the device can bind.
    pub fn set_schedule(&mut self, schedule: ScheduleTable) -> Result<()> {
        schedule.check()?;
        self.upload(&schedule)?;
        self.schedule = schedule;
        Ok(())
    }

    /// Returns the schedule of the table.
    #[must_use]
    pub fn schedule(&self) -> &ScheduleTable {
        &self.schedule
    }

    /// Sets the learning rate and weight decay of each tensor of an arena, or freezes it. The update remains one
    /// launch.
    ///
    /// Recordings use new learning rates and weight decays. They fail with [`Error::Stale`] if other tensors are
    /// frozen, or if no settings existed when they were made.
    ///
    /// # Errors
    /// [`Error::Argument`] if the numbers of settings and tensors differ, or a value is out of range;
    /// [`Error::Recording`] while this thread records.
    pub fn set_segments(&mut self, values: &Arena, settings: &[SegmentSettings]) -> Result<()> {
        if settings.len() != values.len() {
            return Err(Error::Argument {
                op: "set_segments",
                name: "settings",
                value: settings.len().to_string(),
                rule: "one for each tensor",
            });
        }
        settings.iter().try_for_each(SegmentSettings::check)?;
        let mut page_starts = Vec::new();
        let mut count = 0;
        for page in values.pages() {
            page_starts.push(count as u32);
            count += page.len() / ROW_ELEMENTS;
        }
        let mut rows = vec![SegmentSettings::default().row(); count];
        for (place, settings) in values.places().zip(settings) {
            let first = page_starts[place.page] as usize + place.offset / ROW_ELEMENTS;
            rows[first..first + place.len.div_ceil(ROW_ELEMENTS)].fill(settings.row());
        }
        self.sums.take_if(|sums| !sums.are_of(values));
        let before = self.segments.replace(SegmentRows { settings: settings.to_vec(), rows, page_starts });
        let uploaded = self.upload(&self.schedule.clone());
        if uploaded.is_err() {
            self.segments = before;
            return uploaded;
        }
        let frozen = |settings: &[SegmentSettings]| settings.iter().map(|s| s.frozen).collect::<Vec<_>>();
        if before.is_none_or(|before| frozen(&before.settings) != frozen(settings)) {
            self.outdate_recordings();
        }
        Ok(())
    }

    /// Makes earlier recordings fail on replay.
    pub(in crate::optim) fn outdate_recordings(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the settings of each tensor; `None` if there are none.
    #[must_use]
    pub fn segments(&self) -> Option<&[SegmentSettings]> {
        self.segments.as_ref().map(|segments| &*segments.settings)
    }

    /// Returns the first row of a page in the table; `None` if there are no settings of tensors.
    #[must_use]
    pub fn first_row(&self, page: usize) -> Option<u32> {
        self.segments.as_ref().map(|segments| segments.page_starts[page])
    }

    pub(super) fn upload(&mut self, schedule: &ScheduleTable) -> Result<()> {
        crate::check_state("schedule or groups")?;
        let schedule = schedule.rows();
        let segments = self.segments.as_ref().map_or(&[][..], |segments| &segments.rows);
        let (start, end) = (segments.len(), segments.len() + schedule.len());
        if self.table.len() < 4 * end {
            let rows = start + schedule.len().next_power_of_two().max(LEAST_TABLE);
            let new = |rows: usize| Tensor::zeros(self.device(), DType::F32, &[4 * rows]);
            // Allocates only the needed rows if the next power of two is too large for the device.
            self.table = new(rows).or_else(|_| new(end)).map_err(|error| match error {
                Error::Limit { .. } | Error::OutOfMemory { .. } => Error::Argument {
                    op: "set_schedule",
                    name: "steps",
                    value: schedule.len().to_string(),
                    rule: "fewer: each takes 16 bytes of one buffer, and the device has none so large",
                },
                other => other,
            })?;
            self.outdate_recordings();
        }
        let write = |from: usize, rows: &[Row]| {
            self.table.slice(0, 4 * from, 4 * (from + rows.len()))?.write(bytemuck::cast_slice::<Row, f32>(rows))
        };
        if start > 0 {
            write(0, segments)?;
        }
        write(start, &schedule)?;
        // Recordings read the length too, so it is stored on the device.
        self.state.slice(0, SCHEDULE, SCHEDULE + 2)?.write(&[schedule.len() as u32, start as u32])
    }
}
