use super::*;
use crate::Device;

/// The convolution by its definition, over coordinates, in f64.
fn by_definition(x: &Tensor, weight: &Tensor, strides: &Strides) -> (Vec<usize>, Vec<f64>) {
    let geometry = Geometry::new("conv", x.shape(), weight.shape(), strides).unwrap();
    let (input, kernel) = (x.to_vec::<f32>().unwrap(), weight.to_vec::<f32>().unwrap());
    let shape = geometry.output_shape();
    let coordinates = |mut i: usize, extents: &[usize]| {
        let mut result = vec![0; extents.len()];
        for d in (0..extents.len()).rev() {
            result[d] = i % extents[d];
            i /= extents[d];
        }
        result
    };
    let of = |i: usize| {
        let at = coordinates(i, &shape);
        let group = at[1] / geometry.outputs;
        let mut sum = 0.0;
        for channel in 0..geometry.inputs {
            for tap in 0..geometry.taps() {
                let offset = coordinates(tap, &geometry.kernel);
                let mut place = at[0] * geometry.groups * geometry.inputs + group * geometry.inputs + channel;
                let mut is_inside = true;
                for d in 0..geometry.axes() {
                    let from = at[d + 2] * strides.stride[d] + offset[d] * strides.dilation[d];
                    let from = from.checked_sub(strides.padding[d]).filter(|&from| from < geometry.input[d]);
                    is_inside &= from.is_some();
                    place = place * geometry.input[d] + from.unwrap_or(0);
                }
                if is_inside {
                    let weight = kernel[(at[1] * geometry.inputs + channel) * geometry.taps() + tap];
                    sum += f64::from(input[place]) * f64::from(weight);
                }
            }
        }
        sum
    };
    let count = shape.iter().product();
    let values = (0..count).map(of).collect();
    (shape, values)
}

fn numbers(seed: u64, shape: &[usize]) -> Tensor {
    Tensor::uniform(&Device::cpu(), seed, 0, -1.0, 1.0, shape).unwrap()
}

fn strides(stride: &[usize], padding: &[usize], dilation: &[usize], groups: usize) -> Strides {
    Strides { stride: stride.to_vec(), padding: padding.to_vec(), dilation: dilation.to_vec(), groups }
}

fn close(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (i, (&x, &y)) in found.iter().zip(expected).enumerate() {
        assert!((f64::from(x) - y).abs() < 1e-5 * (1.0 + y.abs()), "{i}: {x} and not {y}");
    }
}

/// ⟨a, b⟩
fn inner(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (a.to_vec::<f32>().unwrap(), b.to_vec::<f32>().unwrap());
    a.iter().zip(&b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
}

#[test]
fn convolutions_are_their_definition_and_gradients_are_adjoint() {
    let cases = [
        (vec![2, 3, 9], vec![4, 3, 3], strides(&[1], &[0], &[1], 1)),
        (vec![2, 4, 9], vec![6, 2, 3], strides(&[2], &[2], &[2], 2)),
        (vec![3, 2, 5, 6], vec![4, 2, 3, 2], strides(&[1, 1], &[1, 0], &[1, 1], 1)),
        (vec![2, 2, 8, 7], vec![3, 2, 3, 3], strides(&[2, 3], &[1, 2], &[1, 2], 1)),
        (vec![1, 4, 6, 6], vec![4, 1, 3, 3], strides(&[1, 1], &[1, 1], &[1, 1], 4)),
        (vec![2, 1, 4, 4], vec![2, 1, 1, 1], strides(&[3, 3], &[2, 2], &[1, 1], 1)),
        (vec![2, 2, 3, 4, 5], vec![3, 2, 2, 3, 2], strides(&[1, 2, 2], &[1, 1, 0], &[1, 1, 2], 1)),
        (vec![70, 1, 5, 5], vec![2, 1, 2, 2], strides(&[1, 1], &[0, 0], &[1, 1], 1)),
    ];
    for (x, weight, strides) in cases {
        let (x, weight) = (numbers(1, &x), numbers(2, &weight));
        let y = x.convolve("conv", &weight, None, &strides).unwrap();
        let (shape, expected) = by_definition(&x, &weight, &strides);
        assert_eq!(y.shape(), shape);
        close(&y.to_vec::<f32>().unwrap(), &expected);
        // ⟨g, conv(x, w)⟩ = ⟨dx, x⟩ = ⟨dw, w⟩
        let g = numbers(3, y.shape());
        let whole = inner(&g, &y);
        let dx = g.convolve_transpose("conv", &weight, None, &x.shape()[2..], &strides).unwrap();
        let dw = numbers(4, weight.shape());
        g.convolve_weight_into(&x, &dw, false, &strides).unwrap();
        assert!((inner(&dx, &x) - whole).abs() < 1e-4 && (inner(&dw, &weight) - whole).abs() < 1e-4, "{strides:?}");
        g.convolve_weight_into(&x, &dw, true, &strides).unwrap();
        assert!((inner(&dw, &weight) - 2.0 * whole).abs() < 1e-4, "{strides:?}");
    }
}

#[test]
fn a_bias_is_added_to_its_channel_and_views_are_read() {
    let x = numbers(1, &[2, 6, 5, 4]).permute(&[0, 3, 2, 1]).unwrap();
    let (weight, bias) = (numbers(2, &[4, 2, 3, 3]), numbers(3, &[4]));
    let settings = Convolution { groups: 2, padding: [1, 1], ..Convolution::default() };
    let plain = x.conv2d(&weight, None, &settings).unwrap();
    let with_bias = x.conv2d(&weight, Some(&bias), &settings).unwrap();
    let expected = plain.add(&bias.reshape(&[4, 1, 1]).unwrap()).unwrap();
    let expected: Vec<f64> = expected.to_vec::<f32>().unwrap().into_iter().map(f64::from).collect();
    close(&with_bias.to_vec::<f32>().unwrap(), &expected);
}

#[test]
fn what_does_not_fit_is_refused() {
    let (x, weight) = (numbers(1, &[2, 3, 4, 4]), numbers(2, &[4, 3, 3, 3]));
    let default = Convolution::<2>::default();
    assert!(x.conv2d(&numbers(2, &[4, 2, 3, 3]), None, &default).is_err());
    assert!(x.conv2d(&numbers(2, &[4, 3, 5, 3]), None, &default).is_err());
    assert!(x.conv2d(&weight, Some(&numbers(3, &[3])), &default).is_err());
    assert!(x.conv2d(&weight, None, &Convolution { stride: [0, 1], ..default }).is_err());
    assert!(x.conv2d(&weight, None, &Convolution { groups: 0, ..default }).is_err());
    assert!(x.conv2d(&weight, None, &Convolution { groups: 2, ..default }).is_err());
    assert!(x.conv1d(&weight, None, &Convolution::default()).is_err());
    let transposed = ConvolutionTranspose::<2>::default();
    assert!(x.conv_transpose2d(&weight, None, &transposed).is_err());
    let weight = numbers(2, &[3, 4, 3, 3]);
    assert_eq!(x.conv_transpose2d(&weight, None, &transposed).unwrap().shape(), [2, 4, 6, 6]);
    assert!(x.conv_transpose2d(&weight, None, &ConvolutionTranspose { output_padding: [1, 0], ..transposed }).is_err());
    assert!(x.conv_transpose2d(&weight, None, &ConvolutionTranspose { padding: [3, 3], ..transposed }).is_err());
    let none = numbers(1, &[0, 3, 4, 4]);
    assert_eq!(none.conv2d(&numbers(2, &[4, 3, 3, 3]), None, &default).unwrap().shape(), [0, 4, 2, 2]);
}
