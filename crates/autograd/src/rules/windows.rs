//! Pooling, interpolation and patches. With g the gradient of the output.
//!
//! Sums over windows are linear, and so is taking the elements at the places of maxima. Each has its transpose as gradient.

use std::sync::Arc;

use thalweg_tensor::{
    AveragePooling, Convolution, MaxPooling, MaxWindows, PadMode, Patches, Resize, SHUFFLE, Tensor, UNSHUFFLE,
    WindowSums, adaptive_averages, adaptive_maxima, norm_pooling, shuffled, unshuffled,
};

use crate::{Result, Var};

impl<'t> Var<'t> {
    /// Sums over windows of the last axes, or their transpose.
    fn window_sums(self, op: &'static str, plan: Arc<WindowSums>, is_transposed: bool) -> Result<Self> {
        let y = self.value().window_sums(op, &plan, is_transposed)?;
        self.tape().record(op, y, &[self], move |pull| {
            let op = if is_transposed { "window_sums" } else { "window_sums_grad" };
            pull.give(0, pull.cotangent()?.window_sums(op, plan.clone(), !is_transposed)?)
        })
    }

    /// Maxima over windows of the last axes, and their places.
    fn window_max(self, op: &'static str, plan: MaxWindows) -> Result<(Self, Tensor)> {
        let (y, places) = self.value().window_max(op, &plan)?;
        let (plan, kept) = (Arc::new(plan), places.clone());
        let y = self.tape().record(op, y, &[self], move |pull| {
            pull.give(0, pull.cotangent()?.window_return(kept.clone(), plan.clone())?)
        })?;
        Ok((y, places))
    }

    /// Adds each element to the one at its place.
    fn window_return(self, places: Tensor, plan: Arc<MaxWindows>) -> Result<Self> {
        let y = self.value().window_return("window_return", &places, &plan)?;
        self.tape().record("window_return", y, &[self], move |pull| {
            pull.give(0, pull.cotangent()?.window_pick(places.clone(), plan.clone())?)
        })
    }

    /// The elements at the places.
    fn window_pick(self, places: Tensor, plan: Arc<MaxWindows>) -> Result<Self> {
        let y = self.value().window_pick("window_pick", &places, &plan)?;
        self.tape().record("window_pick", y, &[self], move |pull| {
            pull.give(0, pull.cotangent()?.window_return(places.clone(), plan.clone())?)
        })
    }

    /// Returns the last axis resized, each place with the nearest element; see [`Tensor::upsample_nearest1d`].
    ///
    /// # Errors
    /// If an extent is 0, or the elements are not f32.
    pub fn upsample_nearest1d(self, size: &Resize<1>) -> Result<Self> {
        let y = self.value().upsample_nearest1d(size)?;
        self.nearest("upsample_nearest1d", y, size)
    }

    /// Returns the last two axes resized, each place with the nearest element; see [`Tensor::upsample_nearest2d`].
    ///
    /// # Errors
    /// If an extent is 0, or the elements are not f32.
    pub fn upsample_nearest2d(self, size: &Resize<2>) -> Result<Self> {
        let y = self.value().upsample_nearest2d(size)?;
        self.nearest("upsample_nearest2d", y, size)
    }

    fn nearest<const D: usize>(self, op: &'static str, y: Tensor, size: &Resize<D>) -> Result<Self> {
        let plan = Arc::new(size.nearest(op, &self.shape())?);
        self.tape().record(op, y, &[self], move |pull| {
            pull.give(0, pull.cotangent()?.window_sums("window_sums_grad", plan.clone(), true)?)
        })
    }

    /// Returns the last two axes resized, by straight lines between neighbours; see [`Tensor::upsample_bilinear2d`].
    ///
    /// # Errors
    /// If an extent is 0, or the elements are not f32.
    pub fn upsample_bilinear2d(self, size: &Resize<2>, align_corners: bool) -> Result<Self> {
        let op = "upsample_bilinear2d";
        self.window_sums(op, Arc::new(size.linear(op, &self.shape(), align_corners)?), false)
    }

    /// Returns the patches of a convolution as columns; see [`Tensor::unfold2d`].
    ///
    /// # Errors
    /// If there are fewer than three axes, a setting is out of range, or a patch is larger than the padded variable.
    pub fn unfold2d(self, kernel_size: [usize; 2], settings: &Convolution<2>) -> Result<Self> {
        let patches = Patches::new("unfold2d", &self.shape(), kernel_size, settings)?;
        let Patches { shape, padding, reach, stride, dilation, result } = patches;
        self.reshape(&shape)?
            .pad(&padding, PadMode::Constant(0.0))?
            .unfold(2, reach[0], stride[0])?
            .unfold(3, reach[1], stride[1])?
            .slice_step(4, None, None, dilation[0])?
            .slice_step(5, None, None, dilation[1])?
            .permute(&[0, 1, 4, 5, 2, 3])?
            .reshape(&result)
    }

    /// Returns groups of channels as squares of pixels; see [`Tensor::pixel_shuffle`].
    ///
    /// # Errors
    /// If there are fewer than three axes, or the square of the factor does not divide the channels.
    pub fn pixel_shuffle(self, upscale_factor: usize) -> Result<Self> {
        let [split, joined] = shuffled("pixel_shuffle", &self.shape(), upscale_factor)?;
        self.reshape(&split)?.permute(&SHUFFLE)?.reshape(&joined)
    }

    /// Returns squares of pixels as groups of channels; see [`Tensor::pixel_unshuffle`].
    ///
    /// # Errors
    /// If there are fewer than three axes, or the factor does not divide height and width.
    pub fn pixel_unshuffle(self, downscale_factor: usize) -> Result<Self> {
        let [split, joined] = unshuffled("pixel_unshuffle", &self.shape(), downscale_factor)?;
        self.reshape(&split)?.permute(&UNSHUFFLE)?.reshape(&joined)
    }
}

macro_rules! pooling {
    ($axes:literal $max:ident $max_with_indices:ident $avg:ident $adaptive_avg:ident $adaptive_max:ident $lp:ident) => {
        impl<'t> Var<'t> {
            #[doc = concat!(" Returns the maxima over windows; see [`Tensor::", stringify!($max), "`]. The first of equal elements has the")]
            /// gradient.
            ///
            /// # Errors
            /// If a setting is out of range, a window has more than 32,768 elements, or the elements are not f32.
            pub fn $max(self, settings: &MaxPooling<$axes>) -> Result<Self> {
                Ok(self.window_max(stringify!($max), settings.plan(stringify!($max), &self.shape())?)?.0)
            }

            #[doc = concat!(" Returns the maxima over windows and their places; see [`Tensor::", stringify!($max_with_indices), "`].")]
            ///
            /// # Errors
            #[doc = concat!(" As of [`", stringify!($max), "`](Self::", stringify!($max), ").")]
            pub fn $max_with_indices(self, settings: &MaxPooling<$axes>) -> Result<(Self, Tensor)> {
                let op = stringify!($max_with_indices);
                self.window_max(op, settings.plan(op, &self.shape())?)
            }

            #[doc = concat!(" Returns the averages over windows; see [`Tensor::", stringify!($avg), "`].")]
            ///
            /// # Errors
            /// If a setting is out of range, or the elements are not f32.
            pub fn $avg(self, settings: &AveragePooling<$axes>) -> Result<Self> {
                let op = stringify!($avg);
                self.window_sums(op, Arc::new(settings.plan(op, &self.shape())?), false)
            }

            #[doc = concat!(" Returns the averages over so many windows; see [`Tensor::", stringify!($adaptive_avg), "`].")]
            ///
            /// # Errors
            /// If an extent is 0, of the result or of the variable, or the elements are not f32.
            pub fn $adaptive_avg(self, output_size: [usize; $axes]) -> Result<Self> {
                let op = stringify!($adaptive_avg);
                self.window_sums(op, Arc::new(adaptive_averages(op, &self.shape(), output_size)?), false)
            }

            #[doc = concat!(" Returns the maxima over so many windows; see [`Tensor::", stringify!($adaptive_max), "`].")]
            ///
            /// # Errors
            /// If an extent is 0, a window has more than 32,768 elements, or the elements are not f32.
            pub fn $adaptive_max(self, output_size: [usize; $axes]) -> Result<Self> {
                let op = stringify!($adaptive_max);
                Ok(self.window_max(op, adaptive_maxima(op, &self.shape(), output_size)?)?.0)
            }

            #[doc = concat!(" Returns the norms over windows; see [`Tensor::", stringify!($lp), "`].")]
            ///
            /// # Errors
            /// If a setting is out of range, p is 0 or not finite, or the elements are not f32.
            pub fn $lp(
                self,
                p: f32,
                kernel_size: [usize; $axes],
                stride: impl Into<Option<[usize; $axes]>>,
                ceil_mode: bool,
            ) -> Result<Self> {
                let settings = norm_pooling(stringify!($lp), p, kernel_size, stride.into(), ceil_mode)?;
                let count: usize = kernel_size.iter().product();
                self.powf(p)?.$avg(&settings)?.affine(count as f32, 0.0)?.powf(1.0 / p)
            }
        }
    };
}

pooling!(1 max_pool1d max_pool1d_with_indices avg_pool1d adaptive_avg_pool1d adaptive_max_pool1d lp_pool1d);
pooling!(2 max_pool2d max_pool2d_with_indices avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d lp_pool2d);
