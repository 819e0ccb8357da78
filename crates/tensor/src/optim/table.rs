//! The contents of the table that updates read: the settings of tensors, and the schedule.

use crate::{Error, Result};

/// A row of the clock's table: a step of the schedule, or the settings of 64 parameters.
///
/// A step has learning rate, weight decay, momentum and 1 - momentum; a number below 0 means that the schedule has
/// none. 64 parameters have the scale of their learning rate, below 0 if they are frozen; their weight decay, below 0
/// if the common one applies; their clip factor; and the factor that a method computes from norms.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Row(pub [f32; 4]);

/// The values of a schedule for the steps of a run, from the first one on; the last entry of each list is repeated.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleTable {
    /// Learning rates, at least one: finite and at least 0.
    pub learning_rates: Vec<f64>,
    /// Weight decays, finite and at least 0; empty if the settings of the method apply.
    pub weight_decays: Vec<f64>,
    /// Momentums, or decay rates of the first moment, at least 0 and less than 1; empty if the settings apply.
    pub momentums: Vec<f64>,
}

impl ScheduleTable {
    /// Creates a schedule of learning rates only.
    #[must_use]
    pub fn of_learning_rates(learning_rates: &[f64]) -> Self {
        Self { learning_rates: learning_rates.to_vec(), weight_decays: Vec::new(), momentums: Vec::new() }
    }

    pub(super) fn check(&self) -> Result<()> {
        let wrong = |name, values: &[f64], is_right: fn(f64) -> bool, rule| {
            let wrong = values.iter().find(|value| !is_right(**value));
            wrong.map_or(Ok(()), |value| {
                Err(Error::Argument { op: "set_schedule", name, value: value.to_string(), rule })
            })
        };
        let not_negative = |value: f64| (value as f32).is_finite() && value >= 0.0;
        if self.learning_rates.is_empty() {
            return Err(Error::Argument {
                op: "set_schedule",
                name: "learning_rate",
                value: "none".to_string(),
                rule: "one at least",
            });
        }
        wrong("learning_rate", &self.learning_rates, not_negative, "finite and at least 0")?;
        wrong("weight_decay", &self.weight_decays, not_negative, "finite and at least 0")?;
        wrong("momentum", &self.momentums, |value| (0.0..1.0).contains(&value), "at least 0 and less than 1")
    }

    /// The number of steps after which no value changes.
    pub(super) fn len(&self) -> usize {
        self.learning_rates.len().max(self.weight_decays.len()).max(self.momentums.len())
    }

    /// Returns the rows of the table; the last one applies to all later steps.
    pub(super) fn rows(&self) -> Vec<Row> {
        let length = self.len();
        let at = |values: &[f64], i: usize| values.get(i).or(values.last()).copied();
        let mut rows: Vec<Row> = (0..length)
            .map(|i| {
                let momentum = at(&self.momentums, i);
                let row = [
                    at(&self.learning_rates, i),
                    at(&self.weight_decays, i),
                    momentum,
                    momentum.map(|momentum| 1.0 - momentum),
                ];
                Row(row.map(|value| value.unwrap_or(-1.0) as f32))
            })
            .collect();
        let bits = |row: &Row| row.0.map(f32::to_bits);
        while let [.., before, last] = &*rows
            && bits(before) == bits(last)
        {
            rows.pop();
        }
        rows
    }
}

/// The settings of a tensor of parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SegmentSettings {
    /// The factor of its learning rate: finite and at least 0. Default 1.
    pub lr_scale: f64,
    /// Its weight decay, instead of the common one: finite and at least 0. Default none.
    pub weight_decay: Option<f64>,
    /// Whether it does not change, nor does its state. Default false.
    pub frozen: bool,
}

impl Default for SegmentSettings {
    fn default() -> Self {
        Self { lr_scale: 1.0, weight_decay: None, frozen: false }
    }
}

impl SegmentSettings {
    /// Returns the row of the table; its third number is a clip factor.
    pub(super) fn row(&self) -> Row {
        let scale = if self.frozen { -1.0 } else { self.lr_scale as f32 };
        Row([scale, self.weight_decay.unwrap_or(-1.0) as f32, 1.0, 0.0])
    }

    pub(super) fn check(&self) -> Result<()> {
        for (name, value) in [("lr_scale", self.lr_scale), ("weight_decay", self.weight_decay.unwrap_or(0.0))] {
            if !((value as f32).is_finite() && value >= 0.0) {
                return Err(Error::Argument {
                    op: "set_segments",
                    name,
                    value: value.to_string(),
                    rule: "finite and at least 0",
                });
            }
        }
        Ok(())
    }
}

/// The tensors of an arena in the table.
#[derive(Debug)]
pub(super) struct SegmentRows {
    pub(super) settings: Vec<SegmentSettings>,
    pub(super) rows: Vec<Row>,
    /// Where the rows of each page begin.
    pub(super) page_starts: Vec<u32>,
}

/// The number of parameters that share a row of the clock's table. A tensor begins at a multiple of it in its page.
pub const ROW_ELEMENTS: usize = crate::DType::F32.alignment();

const _: () = assert!(ROW_ELEMENTS == 64, "shaders/shared/update.wgsl counts on it");
