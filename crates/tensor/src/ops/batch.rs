//! Batches of a data set on the device.

use super::advance::Advance;
use super::gather_rows::{Shares, gather};
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::{DType, Error, Result, Tensor};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    rows: u32,
    columns: u32,
    target_columns: u32,
    count: u32,
    lanes: u32,
    groups: u32,
    zero: u32,
}

/// x[i] = features[order[(position + i) mod rows]], y the same of targets; then position += count, where COUNTED.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let is_counted = call.constant("COUNTED") != 0.0;
    let [features, targets, order, cursor, x, y] = call.bindings();
    let (features, targets, order) = (features.read::<u32>(), targets.read::<u32>(), order.read::<u32>());
    let (cursor, x, y) = (cursor.write::<u32>(), x.write::<u32>(), y.write::<u32>());
    let (position, rows) = (cursor[0] as usize, params.rows);
    let count = params.count as usize;
    for (source, columns, target) in [(features, params.columns, x), (targets, params.target_columns, y)] {
        let columns = columns as usize;
        gather(source, rows, columns, &mut target[..count * columns], |i| order[(position + i) % rows as usize]);
    }
    if is_counted {
        cursor[0] = (cursor[0] + params.count) % params.rows;
    }
}

pub(super) static BATCH: Kernel = Kernel {
    shader: &thalweg_shaders::BATCH,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Read, Access::Read, Access::Write, Access::Write, Access::Write],
    variants: &[
        &[("BY_FOUR", 0.0), ("COUNTED", 0.0)],
        &[("BY_FOUR", 1.0), ("COUNTED", 0.0)],
        &[("BY_FOUR", 0.0), ("COUNTED", 1.0)],
        &[("BY_FOUR", 1.0), ("COUNTED", 1.0)],
    ],
    twin,
};

/// Returns the next `count` samples of a data set on the device, in one launch, which also advances the cursor; see
/// [`Device::set_workgroup_counting`](crate::Device::set_workgroup_counting).
///
/// Row `order[p]` is the sample at position p; positions wrap around after the last row. An invalid row number gives
/// a sample of NaN (for u32 0x7fc00000, the same bits), as in [`Tensor::gather_rows`].
///
/// # Shapes
/// features `[rows, …]`, targets `[rows, …]`, order u32 `[rows]`, cursor u32 `[2]` (position and the kernel's count,
/// both 0 at the start) → features and targets `[count, …]`.
///
/// # Errors
/// If shapes or types do not match, there is no row, or the devices differ.
pub fn next_batch(
    features: &Tensor,
    targets: &Tensor,
    order: &Tensor,
    cursor: &Tensor,
    count: usize,
) -> Result<(Tensor, Tensor)> {
    let op = "batch";
    crate::tensor::expect_dtype(op, order, DType::U32)?;
    crate::tensor::expect_dtype(op, cursor, DType::U32)?;
    crate::tensor::expect_words(op, features)?;
    crate::tensor::expect_words(op, targets)?;
    for tensor in [targets, order, cursor] {
        features.same_device(op, tensor)?;
    }
    let rows = features.shape().first().copied().unwrap_or(0);
    if rows == 0 || targets.shape().first() != Some(&rows) || order.shape() != [rows] || cursor.shape() != [2] {
        return Err(Error::Shape {
            op,
            rule: "features and targets need as many rows as the order has places, at least one",
            left: features.shape().to_vec(),
            right: targets.shape().to_vec(),
        });
    }
    let (columns, target_columns) = (features.len() / rows, targets.len() / rows);
    let taken = |tensor: &Tensor| {
        let mut shape = tensor.shape().to_vec();
        shape[0] = count;
        Tensor::uninitialized(tensor.device(), tensor.dtype(), &shape)
    };
    let (x, y) = (taken(features)?, taken(targets)?);
    let shares = Shares::new(features.device(), count, columns);
    let params = Params {
        rows: rows as u32,
        columns: columns as u32,
        target_columns: target_columns as u32,
        count: count as u32,
        lanes: shares.lanes as u32,
        groups: shares.workgroups as u32,
        zero: 0,
    };
    let is_counted = features.device().counts_workgroups();
    Launch::new(&BATCH, params)
        .constant("BY_FOUR", shares.by_four)
        .constant("COUNTED", is_counted)
        .bind(&features.contiguous()?)
        .bind(&targets.contiguous()?)
        .bind(&order.contiguous()?)
        .bind(cursor)
        .bind(&x)
        .bind(&y)
        .uses(0, count * columns)
        .uses(1, count * target_columns)
        .uses(2, count)
        .workgroups(shares.workgroups + (count * target_columns).div_ceil(64))
        .run(features.device())?;
    if !is_counted {
        Advance { amount: params.count % params.rows, modulus: params.rows, rate: 0.0 }.run(cursor)?;
    }
    Ok((x, y))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    #[test]
    fn batches_follow_the_order_and_run_on() {
        let device = Device::cpu();
        let features = Tensor::from_slice(&device, &[0.0f32, 0.5, 1.0, 1.5, 2.0, 2.5], &[3, 2]).unwrap();
        let targets = Tensor::from_slice(&device, &[10u32, 11, 12], &[3]).unwrap();
        let order = Tensor::from_slice(&device, &[2u32, 0, 1], &[3]).unwrap();
        let cursor = Tensor::zeros(&device, DType::U32, &[2]).unwrap();
        let (x, y) = next_batch(&features, &targets, &order, &cursor, 2).unwrap();
        assert_eq!(x.to_vec::<f32>().unwrap(), [2.0, 2.5, 0.0, 0.5]);
        assert_eq!(y.to_vec::<u32>().unwrap(), [12, 10]);
        let (_, y) = next_batch(&features, &targets, &order, &cursor, 2).unwrap();
        assert_eq!(y.to_vec::<u32>().unwrap(), [11, 12]);
    }
}
