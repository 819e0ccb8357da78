use super::*;
use crate::{Convolution, DType, Device, Tensor, f16};

fn numbers(shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    let elements: Vec<f32> = (0..count).map(|i| i as f32).collect();
    Tensor::from_slice(&Device::cpu(), &elements, shape).unwrap()
}

fn floats(x: &Tensor) -> Vec<f32> {
    x.to_vec().unwrap()
}

#[test]
fn maxima_have_the_first_place_and_nan_is_the_largest() {
    let x = Tensor::from_slice(&Device::cpu(), &[1f32, 1.0, f32::NAN, 5.0, f32::NEG_INFINITY, f32::NEG_INFINITY], &[6]);
    let (y, places) = x.unwrap().max_pool1d_with_indices(&MaxPooling::new([2])).unwrap();
    let y = floats(&y);
    assert!(y[0] == 1.0 && y[1].is_nan() && y[2] == f32::NEG_INFINITY);
    assert_eq!(places.to_vec::<u32>().unwrap(), [0, 2, 4]);
    let (y, places) = numbers(&[1, 4, 3]).max_pool2d_with_indices(&MaxPooling::new([2, 3])).unwrap();
    assert_eq!((floats(&y), places.to_vec::<u32>().unwrap()), (vec![5.0, 11.0], vec![5, 11]));
}

#[test]
fn windows_hang_over_as_in_pytorch() {
    let count =
        |extent: usize, settings: MaxPooling<1>| numbers(&[extent]).max_pool1d(&settings).map(|y| y.len()).unwrap_or(0);
    let up = |settings: MaxPooling<1>| MaxPooling { ceil_mode: true, ..settings };
    let three = MaxPooling { stride: [2], ..MaxPooling::new([3]) };
    assert_eq!((count(8, three), count(8, up(three)), count(7, up(three))), (3, 4, 3));
    // No window starts after the end.
    let far = MaxPooling { stride: [5], ..MaxPooling::new([2]) };
    assert_eq!((count(5, far), count(5, up(far)), count(6, up(far))), (1, 1, 2));
    assert_eq!((count(2, three), count(2, up(three))), (0, 1));
    assert_eq!(count(0, MaxPooling::new([1])), 0);
    for wrong in [
        MaxPooling { padding: [2], ..MaxPooling::new([3]) },
        MaxPooling { stride: [0], ..MaxPooling::new([3]) },
        MaxPooling { dilation: [0], ..MaxPooling::new([3]) },
        MaxPooling::new([0]),
        MaxPooling::new([40_000]),
    ] {
        assert_eq!(count(50_000, wrong), 0, "{wrong:?}");
    }
    assert!(numbers(&[4]).max_pool2d(&MaxPooling::new([1, 1])).is_err());
}

#[test]
fn averages_count_what_they_are_told_to() {
    let ones = Tensor::full(&Device::cpu(), 1f32, &[1, 4]).unwrap();
    let padded = AveragePooling { padding: [1], stride: [2], ..AveragePooling::new([3]) };
    let of = |settings: AveragePooling<1>| floats(&ones.avg_pool1d(&settings).unwrap());
    assert_eq!(of(padded), [2.0 / 3.0, 1.0]);
    assert_eq!(of(AveragePooling { count_include_pad: false, ..padded }), [1.0, 1.0]);
    assert_eq!(of(AveragePooling { divisor_override: Some(2), ..padded }), [1.0, 1.5]);
    assert_eq!(of(AveragePooling { ceil_mode: true, ..padded }), [2.0 / 3.0, 1.0, 0.5]);
    assert!(ones.avg_pool1d(&AveragePooling { divisor_override: Some(0), ..padded }).is_err());
    let x = numbers(&[2, 2, 3]);
    assert_eq!(floats(&x.adaptive_avg_pool2d([1, 2]).unwrap()), [2.0, 3.0, 8.0, 9.0]);
    assert_eq!(floats(&x.adaptive_max_pool2d([1, 2]).unwrap()), [4.0, 5.0, 10.0, 11.0]);
    assert!(x.adaptive_avg_pool1d([0]).is_err());
    let norms = numbers(&[4]).lp_pool1d(2.0, [2], None, false).unwrap();
    assert_eq!(floats(&norms), [1.0, 13f32.sqrt()]);
    assert!(x.lp_pool1d(0.0, [2], [1], false).is_err());
    assert_eq!(
        Tensor::zeros(&Device::cpu(), DType::F32, &[0, 4]).unwrap().avg_pool1d(&padded).unwrap().shape(),
        [0, 2]
    );
}

#[test]
fn sizes_are_reached_by_the_nearest_and_by_lines() {
    let x = numbers(&[3]);
    let to = |size| floats(&x.upsample_nearest1d(&Resize::Size([size])).unwrap());
    assert_eq!((to(5), to(6), to(2)), (vec![0., 0., 1., 1., 2.], vec![0., 0., 1., 1., 2., 2.], vec![0., 1.]));
    assert_eq!(floats(&x.upsample_nearest1d(&Resize::Factor([1.5])).unwrap()), [0., 0., 1., 2.]);
    let half = numbers(&[1, 2]).to_dtype(DType::F16).unwrap();
    let half = half.upsample_nearest2d(&Resize::Factor([2.0, 1.0])).unwrap();
    assert_eq!(half.to_vec::<f16>().unwrap(), [0.0, 1.0, 0.0, 1.0].map(f16::from_f32));
    let x = numbers(&[1, 3]);
    let lines = |size, align| floats(&x.upsample_bilinear2d(&Resize::Size([1, size]), align).unwrap());
    assert_eq!(lines(5, true), [0.0, 0.5, 1.0, 1.5, 2.0]);
    assert_eq!(lines(6, false), [0.0, 0.25, 0.75, 1.25, 1.75, 2.0]);
    assert_eq!(lines(1, true), [0.0]);
    for size in [Resize::Size([1, 0]), Resize::Factor([1.0, f64::NAN]), Resize::Factor([1.0, -1.0])] {
        assert!(x.upsample_bilinear2d(&size, false).is_err());
    }
}

#[test]
fn patches_are_columns_and_shuffles_go_back() {
    let x = numbers(&[1, 1, 3, 3]);
    let y = x.unfold2d([2, 2], &Convolution::default()).unwrap();
    assert_eq!((y.shape(), &floats(&y)[..4]), (&[1, 4, 4][..], &[0.0, 1.0, 3.0, 4.0][..]));
    let wide = Convolution { dilation: [2, 2], ..Convolution::default() };
    assert_eq!(floats(&x.unfold2d([2, 2], &wide).unwrap()), [0.0, 2.0, 6.0, 8.0]);
    assert!(x.unfold2d([4, 1], &Convolution::default()).is_err());
    assert!(x.unfold2d([1, 1], &Convolution { groups: 2, ..Convolution::default() }).is_err());
    let channels = numbers(&[1, 4, 1, 2]);
    let shuffled = channels.pixel_shuffle(2).unwrap();
    assert_eq!((shuffled.shape(), floats(&shuffled)), (&[1, 1, 2, 4][..], vec![0., 2., 1., 3., 4., 6., 5., 7.]));
    assert_eq!(floats(&shuffled.pixel_unshuffle(2).unwrap()), floats(&channels));
    assert!(channels.pixel_shuffle(3).is_err() && channels.pixel_unshuffle(2).is_err());
}
