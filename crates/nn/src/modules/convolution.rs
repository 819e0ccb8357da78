//! Convolutions: [`Conv1d`] to [`Conv3d`] and [`ConvTranspose1d`] to [`ConvTranspose3d`].

use std::fmt;

use thalweg_autograd::{Parameter, Var};
use thalweg_tensor::{Convolution, ConvolutionTranspose};

use crate::setting::check;
use crate::{Init, Module, ParamsBuilder, Parts, Result, Visitor};

/// Declares a weight, and a bias for each output channel unless there is none. Both start uniform in ±1 / √fan_in, as in
/// PyTorch: He's initialisation with a slope of √5.
fn declare(
    builder: &mut ParamsBuilder,
    name: impl fmt::Display,
    shape: &[usize],
    channels: Option<usize>,
) -> Result<(Parameter, Option<Parameter>)> {
    let mut builder = builder.path(name);
    let weight = builder.add("weight", shape, Init::FanInUniform)?;
    let fan_in: usize = shape[1..].iter().product();
    let high = (1.0 / (fan_in as f64).sqrt()) as f32;
    let bias = channels.map(|count| builder.add("bias", &[count], Init::Uniform { low: -high, high })).transpose()?;
    Ok((weight, bias))
}

/// Checks what a module is made with: channels, the groups that divide them, and other numbers of at least 1.
fn check_settings(channels: [usize; 2], groups: usize, others: [&[usize]; 3]) -> Result<()> {
    let names = ["kernel_size", "stride", "dilation"];
    for (name, values) in names.into_iter().zip(others) {
        check(name, format!("{values:?}"), !values.contains(&0), "at least 1")?;
    }
    check("in_channels", channels[0], channels[0] > 0, "at least 1")?;
    check("out_channels", channels[1], channels[1] > 0, "at least 1")?;
    let divides = groups > 0 && channels.iter().all(|count| count.is_multiple_of(groups));
    check("groups", groups, divides, "a divisor of the channels of input and output")
}

macro_rules! convolutions {
    ($($name:ident $settings:ident $axes:literal $operation:ident $article:literal $from:literal $to:literal $channels:expr;)*) => {
        $(
            #[doc = concat!($article, " over ", $axes, " of the last axes, with a bias: PyTorch's `", stringify!($name), "`, with its")]
            /// names and initial values.
            ///
            /// # Shapes
            #[doc = $from]
            ///
            /// Weight and bias start uniform in ±1 / √fan_in, where the fan-in is the product of all extents of the weight but
            /// the first.
            ///
            /// # Errors
            #[doc = concat!("[`forward`](Module::forward) fails if the input is not `", $to, "` of f32, if it is on another device, or if")]
            /// the parameters have no memory yet.
            #[derive(Debug, Clone)]
            pub struct $name {
                weight: Parameter,
                bias: Option<Parameter>,
                settings: $settings<$axes>,
            }

            impl $name {
                /// Makes a layer whose parameters are `name.weight` and `name.bias`.
                ///
                /// # Errors
                /// [`Error::Setting`](crate::Error::Setting) if a number is 0, the groups do not divide the channels, or the name
                /// is taken.
                pub fn new(
                    builder: &mut ParamsBuilder,
                    name: impl fmt::Display,
                    in_channels: usize,
                    out_channels: usize,
                    kernel_size: [usize; $axes],
                    settings: $settings<$axes>,
                ) -> Result<Self> {
                    Self::make(builder, name, [in_channels, out_channels], kernel_size, settings, true)
                }

                /// Makes a layer as [`new`](Self::new) does, without a bias.
                ///
                /// # Errors
                /// Same as [`new`](Self::new).
                pub fn without_bias(
                    builder: &mut ParamsBuilder,
                    name: impl fmt::Display,
                    in_channels: usize,
                    out_channels: usize,
                    kernel_size: [usize; $axes],
                    settings: $settings<$axes>,
                ) -> Result<Self> {
                    Self::make(builder, name, [in_channels, out_channels], kernel_size, settings, false)
                }

                fn make(
                    builder: &mut ParamsBuilder,
                    name: impl fmt::Display,
                    channels: [usize; 2],
                    kernel_size: [usize; $axes],
                    settings: $settings<$axes>,
                    has_bias: bool,
                ) -> Result<Self> {
                    let $settings { groups, stride, dilation, .. } = settings;
                    check_settings(channels, groups, [&kernel_size, &stride, &dilation])?;
                    let of: fn([usize; 2], usize) -> [usize; 2] = $channels;
                    let shape = [&of(channels, groups)[..], &kernel_size[..]].concat();
                    let (weight, bias) = declare(builder, name, &shape, has_bias.then_some(channels[1]))?;
                    Ok(Self { weight, bias, settings })
                }

                /// Returns the weight.
                #[must_use]
                pub fn weight(&self) -> &Parameter {
                    &self.weight
                }

                /// Returns the bias, `[out_channels]`, if there is one.
                #[must_use]
                pub fn bias(&self) -> Option<&Parameter> {
                    self.bias.as_ref()
                }
            }

            impl Parts for $name {
                fn visit(&self, visitor: &mut Visitor<'_>) {
                    visitor.part("weight", &self.weight);
                    visitor.part("bias", &self.bias);
                    visitor.setting("stride", &format!("{:?}", self.settings.stride));
                    visitor.setting("padding", &format!("{:?}", self.settings.padding));
                    visitor.setting("dilation", &format!("{:?}", self.settings.dilation));
                    visitor.setting("groups", &self.settings.groups);
                }
            }

            impl Module for $name {
                fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
                    let tape = input.tape();
                    let name = self.weight.name();
                    let _scope = tape.scope(name.strip_suffix(".weight").unwrap_or(name));
                    let bias = self.bias.as_ref().map(|bias| tape.parameter(bias)).transpose()?;
                    input.$operation(tape.parameter(&self.weight)?, bias, &self.settings)
                }
            }
        )*
    };
}

convolutions! {
    Conv1d Convolution 1 conv1d "A convolution"
        "`[n, in, l]`, weight `[out, in / groups, k]`, bias `[out]` → `[n, out, l']`." "[n, in_channels, l]"
        |[inputs, outputs], groups| [outputs, inputs / groups];
    Conv2d Convolution 2 conv2d "A convolution"
        "`[n, in, h, w]`, weight `[out, in / groups, kh, kw]`, bias `[out]` → `[n, out, h', w']`." "[n, in_channels, h, w]"
        |[inputs, outputs], groups| [outputs, inputs / groups];
    Conv3d Convolution 3 conv3d "A convolution"
        "`[n, in, d, h, w]`, weight `[out, in / groups, kd, kh, kw]`, bias `[out]` → `[n, out, d', h', w']`." "[n, in_channels, d, h, w]"
        |[inputs, outputs], groups| [outputs, inputs / groups];
    ConvTranspose1d ConvolutionTranspose 1 conv_transpose1d "A transposed convolution"
        "`[n, in, l]`, weight `[in, out / groups, k]`, bias `[out]` → `[n, out, l']`." "[n, in_channels, l]"
        |[inputs, outputs], groups| [inputs, outputs / groups];
    ConvTranspose2d ConvolutionTranspose 2 conv_transpose2d "A transposed convolution"
        "`[n, in, h, w]`, weight `[in, out / groups, kh, kw]`, bias `[out]` → `[n, out, h', w']`." "[n, in_channels, h, w]"
        |[inputs, outputs], groups| [inputs, outputs / groups];
    ConvTranspose3d ConvolutionTranspose 3 conv_transpose3d "A transposed convolution"
        "`[n, in, d, h, w]`, weight `[in, out / groups, kd, kh, kw]`, bias `[out]` → `[n, out, d', h', w']`." "[n, in_channels, d, h, w]"
        |[inputs, outputs], groups| [inputs, outputs / groups];
}

#[cfg(test)]
mod tests {
    use thalweg_autograd::Tape;
    use thalweg_tensor::{DType, Tensor};

    use super::*;
    use crate::testing::devices;

    /// The shapes of the output, the weight and the bias of a module on an input of zeros.
    fn shapes<M: Module>(make: impl Fn(&mut ParamsBuilder) -> Result<M>, input: &[usize]) -> Vec<Vec<usize>> {
        let mut all = Vec::new();
        for device in devices() {
            let mut builder = ParamsBuilder::new(0);
            let module = make(&mut builder).unwrap();
            let _params = builder.build(&device).unwrap();
            let tape = Tape::new();
            let y = module.forward(tape.constant(&Tensor::zeros(&device, DType::F32, input).unwrap())).unwrap();
            // Zeros give the bias, and all parameters have gradients.
            tape.backward(y.sum().unwrap()).unwrap();
            let named = module.named_parameters();
            assert_eq!(named[0].0, "weight");
            let bias: Vec<f32> = named.get(1).map_or(vec![0.0], |(_, bias)| bias.value().unwrap().to_vec().unwrap());
            let y_elements: Vec<f32> = y.value().to_vec().unwrap();
            assert_eq!(y_elements[0], bias[0], "{device}");
            all = vec![y.shape()];
            all.extend(named.iter().map(|(_, parameter)| parameter.shape().to_vec()));
        }
        all
    }

    #[test]
    fn modules_have_the_parameters_of_pytorch() {
        let half = Convolution { groups: 2, padding: [1], ..Convolution::default() };
        let found = shapes(|b| Conv1d::new(b, "c", 4, 6, [3], half), &[2, 4, 5]);
        assert_eq!(found, [vec![2, 6, 5], vec![6, 2, 3], vec![6]]);
        let strided = Convolution { stride: [2, 1], ..Convolution::default() };
        let found = shapes(|b| Conv2d::new(b, "c", 3, 5, [3, 2], strided), &[1, 3, 7, 4]);
        assert_eq!(found, [vec![1, 5, 3, 3], vec![5, 3, 3, 2], vec![5]]);
        let found = shapes(|b| Conv3d::without_bias(b, "c", 1, 2, [2, 2, 2], Convolution::default()), &[1, 1, 3, 3, 3]);
        assert_eq!(found, [vec![1, 2, 2, 2, 2], vec![2, 1, 2, 2, 2]]);
        let double = ConvolutionTranspose { stride: [2], groups: 2, ..ConvolutionTranspose::default() };
        let found = shapes(|b| ConvTranspose1d::new(b, "c", 4, 6, [2], double), &[1, 4, 3]);
        assert_eq!(found, [vec![1, 6, 6], vec![4, 3, 2], vec![6]]);
        let plain = ConvolutionTranspose::default();
        let found = shapes(|b| ConvTranspose2d::new(b, "c", 2, 3, [2, 3], plain), &[1, 2, 4, 4]);
        assert_eq!(found, [vec![1, 3, 5, 6], vec![2, 3, 2, 3], vec![3]]);
        let plain = ConvolutionTranspose::default();
        let found = shapes(|b| ConvTranspose3d::new(b, "c", 2, 1, [1, 2, 1], plain), &[1, 2, 2, 2, 2]);
        assert_eq!(found, [vec![1, 1, 2, 3, 2], vec![2, 1, 1, 2, 1], vec![1]]);
    }

    #[test]
    fn initial_values_are_uniform_within_the_bound_of_pytorch() {
        let mut builder = ParamsBuilder::new(7);
        let conv = Conv2d::new(&mut builder, "conv", 8, 64, [3, 3], Convolution::default()).unwrap();
        let _params = builder.build(&thalweg_tensor::Device::cpu()).unwrap();
        let bound = 1.0 / 72f32.sqrt();
        for parameter in [conv.weight(), conv.bias().unwrap()] {
            let values: Vec<f32> = parameter.value().unwrap().to_vec().unwrap();
            let largest = values.iter().fold(0f32, |most, x| most.max(x.abs()));
            assert!(largest <= bound && largest > 0.9 * bound, "{}: {largest}", parameter.name());
            let deviation = (values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32).sqrt();
            assert!((deviation / (bound / 3f32.sqrt()) - 1.0).abs() < 0.3, "{}: {deviation}", parameter.name());
        }
        assert_eq!(conv.weight().name(), "conv.weight");
        assert_eq!(conv.settings(), "stride [1, 1], padding [0, 0], dilation [1, 1], groups 1");
    }

    #[test]
    fn what_makes_no_layer_is_refused() {
        let mut builder = ParamsBuilder::new(0);
        let plain = Convolution::<2>::default();
        assert!(Conv2d::new(&mut builder, "a", 0, 1, [1, 1], plain).is_err());
        assert!(Conv2d::new(&mut builder, "a", 1, 0, [1, 1], plain).is_err());
        assert!(Conv2d::new(&mut builder, "a", 1, 1, [1, 0], plain).is_err());
        assert!(Conv2d::new(&mut builder, "a", 2, 3, [1, 1], Convolution { groups: 2, ..plain }).is_err());
        assert!(Conv2d::new(&mut builder, "a", 2, 2, [1, 1], Convolution { stride: [0, 1], ..plain }).is_err());
        Conv2d::new(&mut builder, "a", 1, 1, [1, 1], plain).unwrap();
        assert!(Conv2d::new(&mut builder, "a", 1, 1, [1, 1], plain).is_err());
    }
}
