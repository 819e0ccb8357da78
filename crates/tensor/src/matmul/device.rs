//! [`DeviceProducts`]: the settings of a device for matrix products.

use super::choices::{self, ProductChoice};
use super::plan::{self, MatmulPrecision};
#[cfg(feature = "tune")]
use super::tune::{self, ProductShape, ProductTuning};
use crate::{Device, Result};

/// The precision of the matrix products of a [`Device`], and the choice of their kernels.
pub trait DeviceProducts {
    /// Sets the precision of matrix products launched or recorded on this device from now on: those of layers, their
    /// gradients, and optimizers. It applies to all users of the device. Small gradients vanish in f16, unless the
    /// loss is [scaled](crate::LossScale). Scaling does not affect products of unscaled values: those of SOAP, whose
    /// small gradients lose digits, and estimates of the Hessian's diagonal for Sophia.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if the precision is [`F16`](MatmulPrecision::F16) and the device
    /// has no such matrices ([`DeviceInfo::cooperative_matrix_side`](crate::DeviceInfo::cooperative_matrix_side));
    /// the CPU has none.
    ///
    /// ```
    /// use thalweg_tensor::{Device, DeviceProducts, MatmulPrecision};
    /// let device = Device::best();
    /// if device.info().cooperative_matrix_side.is_some() {
    ///     device.set_matmul_precision(MatmulPrecision::F16).unwrap();
    /// } else {
    ///     assert!(device.set_matmul_precision(MatmulPrecision::F16).is_err());
    /// }
    /// ```
    fn set_matmul_precision(&self, precision: MatmulPrecision) -> Result<()>;

    /// Returns the precision of matrix products on this device.
    #[must_use]
    fn matmul_precision(&self) -> MatmulPrecision;

    /// Measures the kernels for matrix products of these shapes in turn, and uses the fastest on this device from now
    /// on. [`set_product_choices`](Self::set_product_choices) sets the same choices in a later program.
    ///
    /// All candidates give the same bits on a driver that does not contract products and sums. On others, including
    /// most hardware, the last bits of results may depend on the choices. Shapes for which the sum over k is split
    /// are skipped. Shapes of a class that was already measured in the same call are skipped too. On the CPU there is
    /// nothing to choose, and no row.
    ///
    /// # Errors
    /// If the device fails or has no room, and while a recording is made.
    ///
    /// ```
    /// use thalweg_tensor::Device;
    /// use thalweg_tensor::tune::{DeviceProducts, ProductShape};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let tuning = Device::cpu().tune_products(&ProductShape::layer(64, 784, 256))?;
    /// assert!(tuning.rows.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "tune")]
    fn tune_products(&self, shapes: &[ProductShape]) -> Result<ProductTuning>;

    /// Sets the kernels for matrix products launched or recorded on this device from now on, replacing all earlier
    /// choices. It applies to all users of the device. The last bits of results may change, as with
    /// [`tune_products`](Self::tune_products). A device without choices uses its profile. Kernels that this device
    /// does not have are ignored; on the CPU there is nothing to choose.
    ///
    /// Choices are valid for the adapter and the driver on which they were measured, and for one
    /// [`PRODUCT_KERNELS_VERSION`](crate::tune::PRODUCT_KERNELS_VERSION). `thalweg tune` stores them in a file that
    /// the program reads; the library reads no file.
    ///
    /// ```
    /// use thalweg_tensor::tune::{DeviceProducts, ProductShape};
    /// use thalweg_tensor::Device;
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let tuning = Device::cpu().tune_products(&ProductShape::layer(64, 784, 256))?;
    /// Device::cpu().set_product_choices(&tuning.choices);
    /// # Ok(())
    /// # }
    /// ```
    fn set_product_choices(&self, choices: &[ProductChoice]);
}

impl DeviceProducts for Device {
    fn set_matmul_precision(&self, precision: MatmulPrecision) -> Result<()> {
        plan::set_precision(self, precision)
    }

    fn matmul_precision(&self) -> MatmulPrecision {
        plan::precision(self)
    }

    #[cfg(feature = "tune")]
    fn tune_products(&self, shapes: &[ProductShape]) -> Result<ProductTuning> {
        tune::tune_products(self, shapes)
    }

    fn set_product_choices(&self, choices: &[ProductChoice]) {
        choices::set_choices(self, choices);
    }
}
