//! The running average of the Hessian's diagonal.

use super::clock::Clock;
use super::table::{ROW_ELEMENTS, Row};
use crate::Result;
use crate::arena::{Arena, UPDATE_BLOCK};
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::threads::for_each_chunk_of;

/// The kind of an estimate of the Hessian's diagonal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Curvature {
    /// The diagonal itself.
    Diagonal,
    /// The gradient of a loss whose targets were sampled from the model (Gauss-Newton-Bartlett). The diagonal is its
    /// square times this, the number of terms in the mean loss.
    SampledGradient(f64),
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    first_row: u32,
    beta2: f32,
    one_minus_beta2: f32,
    scale: f32,
}

impl Clock {
    /// Adds an estimate to the running average of the Hessian's diagonal, in one launch per page:
    ///
    /// ```text
    /// hessian = beta2 hessian + (1 - beta2) h,    h = estimate, or scale estimate² of a sampled gradient
    /// ```
    ///
    /// The averages of frozen parameters and of estimates that are not finite do not change. The time does not
    /// advance.
    ///
    /// # Errors
    /// If the arenas have different layouts, or the device fails.
    pub fn average_hessian(&self, hessian: &Arena, estimate: &Arena, beta2: f64, curvature: Curvature) -> Result<()> {
        hessian.same_layout("hessian", &[estimate])?;
        let scale = if let Curvature::SampledGradient(terms) = curvature { terms } else { 1.0 };
        for (number, page) in hessian.pages().iter().enumerate() {
            let first_row = self.first_row(number);
            let params = Params {
                vectors: (page.len() / 4) as u32,
                first_row: first_row.unwrap_or(0),
                beta2: beta2 as f32,
                one_minus_beta2: (1.0 - beta2) as f32,
                scale: scale as f32,
            };
            Launch::new(&HESSIAN, params)
                .constant("SQUARED", matches!(curvature, Curvature::SampledGradient(_)))
                .constant("SEGMENTED", first_row.is_some())
                .bind(page)
                .bind(&estimate.pages()[number])
                .bind(self.table())
                .workgroups(page.len() / UPDATE_BLOCK)
                .run(page.device())?;
        }
        Ok(())
    }
}

/// hessian = beta2 hessian + (1 - beta2) h, unless that is not finite or the parameter is frozen.
fn twin(call: Call<'_>) {
    let Params { first_row, beta2, one_minus_beta2, scale, .. } = call.params();
    let (squared, segmented) = (call.constant("SQUARED") != 0.0, call.constant("SEGMENTED") != 0.0);
    let [hessian, diagonal, table] = call.bindings();
    let (diagonal, rows) = (diagonal.read::<f32>(), bytemuck::cast_slice::<f32, Row>(table.read()));
    for_each_chunk_of(
        UPDATE_BLOCK,
        hessian.write::<f32>(),
        #[inline(always)]
        |start, hessian| {
            for (number, hessian) in hessian.chunks_mut(ROW_ELEMENTS).enumerate() {
                let first = start + number * ROW_ELEMENTS;
                let is_frozen = segmented && rows[first_row as usize + first / ROW_ELEMENTS].0[0] < 0.0;
                for (hessian, &x) in hessian.iter_mut().zip(&diagonal[first..]) {
                    let h = if squared { scale * (x * x) } else { x };
                    let next = beta2 * *hessian + one_minus_beta2 * h;
                    *hessian = if is_frozen || !next.is_finite() { *hessian } else { next };
                }
            }
        },
    );
}

pub(crate) static HESSIAN: Kernel = Kernel {
    shader: &thalweg_shaders::HESSIAN,
    uniform: size_of::<Params>(),
    access: &[Access::Write, Access::Read, Access::Read],
    variants: &[
        &[("SQUARED", 0.0), ("SEGMENTED", 0.0)],
        &[("SQUARED", 1.0), ("SEGMENTED", 0.0)],
        &[("SQUARED", 0.0), ("SEGMENTED", 1.0)],
        &[("SQUARED", 1.0), ("SEGMENTED", 1.0)],
    ],
    twin,
};
