//! Modules without parameters that change extents: pooling, [`Upsample`] and [`Flatten`].

use thalweg_autograd::Var;
use thalweg_tensor::{AveragePooling, MaxPooling, Resize};

use crate::{Module, Parts, Visitor};

macro_rules! pooling {
    ($($name:ident $settings:ident $axes:literal $operation:ident $what:literal;)*) => {
        $(
            #[doc = concat!($what, " over windows of the last ", $axes, " axes: PyTorch's `", stringify!($name), "`.")]
            ///
            #[doc = concat!("[`new`](Self::new) makes windows that lie side by side; other settings are turned into the module by `", stringify!($name), "::from`.")]
            #[doc = concat!("Shapes and errors are those of [`Var::", stringify!($operation), "`].")]
            #[derive(Debug, Clone, Copy, PartialEq)]
            pub struct $name($settings<$axes>);

            impl $name {
                /// Makes a module with windows of these extents, side by side.
                #[must_use]
                pub const fn new(kernel_size: [usize; $axes]) -> Self {
                    Self($settings::new(kernel_size))
                }
            }

            impl From<$settings<$axes>> for $name {
                fn from(settings: $settings<$axes>) -> Self {
                    Self(settings)
                }
            }

            impl Parts for $name {
                fn visit(&self, visitor: &mut Visitor<'_>) {
                    visitor.setting("kernel_size", &format!("{:?}", self.0.kernel_size));
                    visitor.setting("stride", &format!("{:?}", self.0.stride));
                    visitor.setting("padding", &format!("{:?}", self.0.padding));
                }
            }

            impl Module for $name {
                fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
                    input.$operation(&self.0)
                }
            }
        )*
    };
}

pooling! {
    MaxPool1d MaxPooling 1 max_pool1d "The maximum";
    MaxPool2d MaxPooling 2 max_pool2d "The maximum";
    AvgPool1d AveragePooling 1 avg_pool1d "The average";
    AvgPool2d AveragePooling 2 avg_pool2d "The average";
}

macro_rules! adaptive {
    ($($name:ident $axes:literal $operation:ident;)*) => {
        $(
            #[doc = concat!("Averages over so many windows of the last ", $axes, " axes that the result has given extents: PyTorch's `", stringify!($name), "`.")]
            ///
            #[doc = concat!("Shapes and errors are those of [`Var::", stringify!($operation), "`].")]
            #[derive(Debug, Clone, Copy, PartialEq)]
            pub struct $name([usize; $axes]);

            impl $name {
                /// Makes a module whose results have these extents.
                #[must_use]
                pub const fn new(output_size: [usize; $axes]) -> Self {
                    Self(output_size)
                }
            }

            impl Parts for $name {
                fn visit(&self, visitor: &mut Visitor<'_>) {
                    visitor.setting("output_size", &format!("{:?}", self.0));
                }
            }

            impl Module for $name {
                fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
                    input.$operation(self.0)
                }
            }
        )*
    };
}

adaptive! {
    AdaptiveAvgPool1d 1 adaptive_avg_pool1d;
    AdaptiveAvgPool2d 2 adaptive_avg_pool2d;
}

/// Resizes the last axes, by the nearest element or by straight lines: PyTorch's `Upsample`.
///
/// ```
/// use thalweg_nn::Upsample;
/// use thalweg_tensor::Resize;
/// let doubled = Upsample::nearest(Resize::Factor([2.0, 2.0]));
/// let thumbnail = Upsample::bilinear(Resize::Size([32, 32]), false);
/// # let _ = (doubled, thumbnail);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Upsample(Mode);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Nearest1d(Resize<1>),
    Nearest(Resize<2>),
    Bilinear(Resize<2>, bool),
}

impl Upsample {
    /// Makes a module that takes the nearest element along the last axis.
    #[must_use]
    pub const fn nearest1d(size: Resize<1>) -> Self {
        Self(Mode::Nearest1d(size))
    }

    /// Makes a module that takes the nearest element along the last two axes.
    #[must_use]
    pub const fn nearest(size: Resize<2>) -> Self {
        Self(Mode::Nearest(size))
    }

    /// Makes a module that interpolates linearly along the last two axes; see [`Var::upsample_bilinear2d`].
    #[must_use]
    pub const fn bilinear(size: Resize<2>, align_corners: bool) -> Self {
        Self(Mode::Bilinear(size, align_corners))
    }
}

impl Parts for Upsample {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.setting("mode", &format!("{:?}", self.0));
    }
}

impl Module for Upsample {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        match &self.0 {
            Mode::Nearest1d(size) => input.upsample_nearest1d(size),
            Mode::Nearest(size) => input.upsample_nearest2d(size),
            Mode::Bilinear(size, align_corners) => input.upsample_bilinear2d(size, *align_corners),
        }
    }
}

/// Joins the axes `start_dim` to `end_dim`, by default all but the first: PyTorch's `Flatten`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flatten {
    start_dim: isize,
    end_dim: isize,
}

impl Default for Flatten {
    fn default() -> Self {
        Self::new(1, -1)
    }
}

impl Flatten {
    /// Makes a module that joins these axes and those between them. Negative ones count from the back.
    #[must_use]
    pub const fn new(start_dim: isize, end_dim: isize) -> Self {
        Self { start_dim, end_dim }
    }
}

impl Parts for Flatten {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.setting("start_dim", &self.start_dim);
        visitor.setting("end_dim", &self.end_dim);
    }
}

impl Module for Flatten {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        input.flatten(self.start_dim, self.end_dim)
    }
}

#[cfg(test)]
mod tests {
    use thalweg_autograd::Tape;
    use thalweg_tensor::Tensor;

    use super::*;
    use crate::testing::devices;

    #[test]
    fn modules_are_their_operations_on_every_device() {
        let elements: Vec<f32> = (0..16).map(|i| i as f32).collect();
        for device in devices() {
            let tape = Tape::inference();
            let x = tape.constant(&Tensor::from_slice(&device, &elements, &[1, 1, 4, 4]).unwrap());
            let hold = |module: &dyn Module, shape: &[usize], expected: &[f32]| {
                let y = module.forward(x).unwrap();
                assert_eq!(y.shape(), shape, "{device}");
                assert_eq!(y.value().to_vec::<f32>().unwrap()[..expected.len()], *expected, "{device}");
            };
            hold(&MaxPool1d::new([2]), &[1, 1, 4, 2], &[1.0, 3.0, 5.0, 7.0]);
            hold(&MaxPool2d::new([2, 2]), &[1, 1, 2, 2], &[5.0, 7.0, 13.0, 15.0]);
            let wide = MaxPooling { stride: [1, 1], ..MaxPooling::new([3, 3]) };
            hold(&MaxPool2d::from(wide), &[1, 1, 2, 2], &[10.0, 11.0, 14.0, 15.0]);
            hold(&AvgPool1d::new([2]), &[1, 1, 4, 2], &[0.5, 2.5, 4.5, 6.5]);
            hold(&AvgPool2d::new([2, 2]), &[1, 1, 2, 2], &[2.5, 4.5, 10.5, 12.5]);
            hold(&AdaptiveAvgPool1d::new([1]), &[1, 1, 4, 1], &[1.5, 5.5, 9.5, 13.5]);
            hold(&AdaptiveAvgPool2d::new([1, 1]), &[1, 1, 1, 1], &[7.5]);
            hold(&Upsample::nearest1d(Resize::Factor([2.0])), &[1, 1, 4, 8], &[0.0, 0.0, 1.0, 1.0]);
            hold(&Upsample::nearest(Resize::Size([8, 4])), &[1, 1, 8, 4], &[0.0, 1.0, 2.0, 3.0, 0.0]);
            hold(&Upsample::bilinear(Resize::Size([7, 7]), true), &[1, 1, 7, 7], &[0.0, 0.5, 1.0]);
            hold(&Flatten::default(), &[1, 16], &elements);
            hold(&Flatten::new(0, 2), &[4, 4], &elements);
        }
        assert_eq!(MaxPool2d::new([2, 3]).settings(), "kernel_size [2, 3], stride [2, 3], padding [0, 0]");
        assert!(Flatten::default().parameters().is_empty());
    }
}
