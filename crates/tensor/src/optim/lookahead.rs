//! Lookahead's slow weights.

use super::clock::Clock;
use super::pages::{PAGE_AND_TABLE_VARIANTS, over_page, vectors};
use super::table::ROW_ELEMENTS;
use super::time::STEP;
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::threads::for_each_chunks;
use crate::{Arena, Error, Result};

impl Clock {
    /// Applies Lookahead (Zhang et al. 2019) after a step. If the number of steps is a multiple of `period`,
    ///
    /// ```text
    /// slow  = slow + alpha (param - slow),    param = slow
    /// ```
    ///
    /// otherwise nothing changes. Frozen parameters and their slow weights do not change. One launch per page.
    ///
    /// # Errors
    /// If the period is 0, the layouts differ, or work on the device has failed.
    pub fn look_ahead(&self, values: &Arena, slow: &Arena, period: u32, alpha: f64) -> Result<()> {
        if period == 0 {
            return Err(Error::Argument {
                op: "lookahead",
                name: "period",
                value: "0".to_string(),
                rule: "at least 1",
            });
        }
        values.same_layout("lookahead", &[slow])?;
        for (number, (page, slow)) in values.pages().iter().zip(slow.pages()).enumerate() {
            let row = self.first_row(number);
            let params = Params { vectors: vectors(page), period, alpha: alpha as f32, first_row: row.unwrap_or(0) };
            let launch = Launch::new(&LOOKAHEAD, params)
                .constant("SEGMENTED", row.is_some())
                .bind(page)
                .bind(slow)
                .bind(self.state())
                .bind(self.table());
            over_page(launch, page).run(page.device())?;
        }
        Ok(())
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    period: u32,
    alpha: f32,
    first_row: u32,
}

/// The formula of [`Clock::look_ahead`], element by element.
fn twin(call: Call<'_>) {
    let Params { period, alpha, first_row, .. } = call.params();
    let is_segmented = call.constant("SEGMENTED") != 0.0;
    let [values, slow, clock, table] = call.bindings();
    let table = table.read::<f32>();
    if clock.read::<u32>()[STEP] % period != 0 {
        return;
    }
    for_each_chunks(
        [values.write::<f32>(), slow.write::<f32>()],
        #[inline(always)]
        move |start, [values, slow]| {
            let rows = values.chunks_mut(ROW_ELEMENTS).zip(slow.chunks_mut(ROW_ELEMENTS));
            for (number, (values, slow)) in rows.enumerate() {
                let row = first_row as usize + start / ROW_ELEMENTS + number;
                if is_segmented && table[4 * row] < 0.0 {
                    continue;
                }
                for (value, slow) in values.iter_mut().zip(slow) {
                    *slow += alpha * (*value - *slow);
                    *value = *slow;
                }
            }
        },
    );
}

pub(crate) static LOOKAHEAD: Kernel = Kernel {
    shader: &thalweg_shaders::LOOKAHEAD,
    uniform: size_of::<Params>(),
    access: &[Access::Write, Access::Write, Access::Read, Access::Read],
    variants: PAGE_AND_TABLE_VARIANTS,
    twin,
};
