//! Large tensors: more elements than workgroups of one dimension have lanes, long sums, more bytes than one binding holds.

use thalweg::tensor::{DType, Error, Tensor};

use crate::common::{devices, floats};

/// More than 65,535 workgroups of 256 elements, and a tail.
const MANY: usize = 65_535 * 256 + 259;

#[test]
fn element_wise_functions_of_many_elements() {
    for device in devices() {
        let x = Tensor::arange(&device, 0.0, 4096.0, 1.0).unwrap().repeat(&[MANY / 4096 + 1]).unwrap();
        let x = x.slice(0, 1, MANY + 1).unwrap();
        let y = floats(&x.affine(2.0, 1.0).unwrap());
        assert_eq!(y.len(), MANY);
        let wrong = y.iter().enumerate().find(|(i, y)| **y != (2 * ((i + 1) % 4096) + 1) as f32);
        assert!(wrong.is_none(), "{device}: {wrong:?}");
    }
}

#[test]
fn reductions_of_many_elements() {
    const LENGTH: usize = 1 << 25;
    for device in devices() {
        let ones = Tensor::full(&device, 1f32, &[LENGTH]).unwrap();
        assert_eq!(ones.sum().unwrap().item::<f32>().unwrap(), LENGTH as f32, "{device}");
        assert_eq!(ones.mean().unwrap().item::<f32>().unwrap(), 1.0, "{device}");
        let rows = ones.reshape(&[2, LENGTH / 2]).unwrap();
        assert_eq!(floats(&rows.sum_along(1, false).unwrap()), [(LENGTH / 2) as f32; 2], "{device}");
        assert_eq!(floats(&rows.sum_along(0, false).unwrap().slice(0, 0, 3).unwrap()), [2.0; 3], "{device}");
        // A third has no exact f32: 2^25 of them are right to a few ulp in a tree, and to 1e-3 one by one.
        let thirds = ones.affine(1.0 / 3.0, 0.0).unwrap().sum().unwrap().item::<f32>().unwrap();
        let expected = f64::from(1f32 / 3.0) * LENGTH as f64;
        assert!((f64::from(thirds) / expected - 1.0).abs() < 3e-7, "{device}: {thirds}");
    }
}

#[test]
fn a_tensor_that_no_binding_holds_is_right_or_refused() {
    // 640 MiB: more than the 128 MiB that WebGPU promises.
    let shape = [160, 1 << 20];
    for device in devices() {
        match Tensor::full(&device, 2f32, &shape) {
            Ok(x) => {
                let y = x.slice(0, 158, 160).unwrap().square().unwrap();
                assert_eq!(floats(&y.slice(1, (1 << 20) - 2, 1 << 20).unwrap()), [4.0; 4], "{device}");
            }
            Err(error) => {
                assert!(matches!(error, Error::Limit { .. } | Error::OutOfMemory { .. }), "{device}: {error}")
            }
        }
        let too_many = Tensor::zeros(&device, DType::F32, &[1 << 16, 1 << 16]);
        assert!(matches!(too_many, Err(Error::Limit { .. })), "{device}");
    }
}
