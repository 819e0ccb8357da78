//! Replaces the parameters by other values: averages, and the evaluation points of schedule-free methods.

use super::clock::Clock;
use super::pages::{PAGE_AND_TABLE_VARIANTS, over_page, vectors};
use super::table::ROW_ELEMENTS;
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::threads::for_each_chunks;
use crate::{Arena, Result, Tensor};

/// The operands of a launch.
pub(super) struct SwapIn<'a> {
    pub(super) values: &'a Arena,
    pub(super) others: &'a Arena,
    pub(super) kept: &'a Arena,
    pub(super) weight: f32,
    /// A tensor of words, and the index of one that is 0 as long as there are no other values.
    pub(super) count: (&'a Tensor, usize),
    pub(super) table: &'a Tensor,
    /// Where the rows of each page begin in the table, if they mark frozen tensors.
    pub(super) first_rows: Option<Vec<u32>>,
}

/// kept = param; param = param + weight (other - param).
pub(super) fn swap_in(swap: SwapIn<'_>) -> Result<()> {
    let SwapIn { values, others, kept, weight, count: (counts, count), table, first_rows } = swap;
    values.same_layout("swap_in", &[others, kept])?;
    for (number, page) in values.pages().iter().enumerate() {
        let first_row = first_rows.as_ref().map_or(0, |rows| rows[number]);
        let params = Params { vectors: vectors(page), first_row, weight, count: count as u32 };
        let launch = Launch::new(&SWAP_IN, params)
            .constant("SEGMENTED", first_rows.is_some())
            .bind(page)
            .bind(&others.pages()[number])
            .bind(table)
            .bind(counts)
            .bind(&kept.pages()[number]);
        over_page(launch, page).run(page.device())?;
    }
    Ok(())
}

impl Clock {
    /// Replaces the parameters by param + weight (other - param), and stores the old ones in `kept`, bit by bit: one
    /// launch per page. Frozen parameters do not change, and before the first step none change. With a weight of 1
    /// the result is `others`.
    ///
    /// # Errors
    /// If the layouts differ, or work on the device has failed.
    pub fn swap_in(&self, values: &Arena, others: &Arena, weight: f64, kept: &Arena) -> Result<()> {
        swap_in(SwapIn {
            values,
            others,
            kept,
            weight: weight as f32,
            count: (self.state(), super::time::STEP),
            table: self.table(),
            first_rows: (0..values.pages().len()).map(|page| self.first_row(page)).collect(),
        })
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    first_row: u32,
    weight: f32,
    count: u32,
}

/// The formula above, element by element.
fn twin(call: Call<'_>) {
    let Params { first_row, weight, count, .. } = call.params();
    let is_segmented = call.constant("SEGMENTED") != 0.0;
    let [values, others, table, counts, kept] = call.bindings();
    let (others, table) = (others.read::<f32>(), table.read::<f32>());
    let has_others = counts.read::<u32>()[count as usize] != 0;
    let is_frozen = |i: usize| is_segmented && table[4 * (first_row as usize + i / ROW_ELEMENTS)] < 0.0;
    for_each_chunks(
        [values.write::<f32>(), kept.write::<f32>()],
        #[inline(always)]
        |start, [values, kept]| {
            kept.copy_from_slice(values);
            let rows = values.chunks_mut(ROW_ELEMENTS).zip(others[start..].chunks(ROW_ELEMENTS));
            for (number, (values, others)) in rows.enumerate() {
                if !has_others || is_frozen(start + number * ROW_ELEMENTS) {
                    continue;
                }
                for (value, other) in values.iter_mut().zip(others) {
                    *value = if weight == 1.0 { *other } else { *value + weight * (other - *value) };
                }
            }
        },
    );
}

pub(crate) static SWAP_IN: Kernel = Kernel {
    shader: &thalweg_shaders::SWAP_IN,
    uniform: size_of::<Params>(),
    access: &[Access::Write, Access::Read, Access::Read, Access::Read, Access::Write],
    variants: PAGE_AND_TABLE_VARIANTS,
    twin,
};
