//! The methods of [`Tensor`] for the functions of the table.

use crate::{Result, Tensor};

/// Creates a method for each entry. The first tokens are `[&]` or `[]`, for operands passed by reference or by value,
/// and `self`.
#[doc(hidden)]
#[macro_export]
macro_rules! elementwise_methods {
    (
        $reference:tt $this:ident
        $(
            #[doc = $about:literal]
            $(#[doc = $more:literal])*
            $visibility:vis $constant:ident = $name:ident($($argument:ident),+ $(; $($number:ident),+)?) {
                wgsl: $wgsl:expr,
                twin: $twin:expr,
                derivatives: $derivatives:tt,
                $(conventions: [$($convention:literal => $pytorch:literal),* $(,)?],)?
                $(checks: $checks:tt,)?
            }
        )*
    ) => {
        $(
            $crate::elementwise_methods! {
                @one $reference $this [$($argument),+] [$($($number),*)?] $constant $name
                #[doc = concat!(" Returns", $about)]
                $(#[doc = $more])*
                $($(#[doc = concat!("\n* ", $convention, " (PyTorch: ", $pytorch, ")")])*)?
            }
        )*
    };
    (
        @one [$($reference:tt)?] $this:ident [$x:ident] [$($number:ident),*] $constant:ident $name:ident
        $(#[$doc:meta])*
    ) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// If the elements are not floating-point numbers.
        pub fn $name($($reference)? $this $(, $number: f32)*) -> Result<Self> {
            $this.apply(&$crate::functions::$constant, &[$($number),*])
        }
    };
    (
        @one [$($reference:tt)?] $this:ident [$x:ident, $y:ident] [$($number:ident),*] $constant:ident $name:ident
        $(#[$doc:meta])*
    ) => {
        $(#[$doc])*
        ///
        /// The shapes broadcast by NumPy's rule.
        ///
        /// # Errors
        /// If the shapes do not broadcast, the elements are not floating-point numbers or have several types, or the
        /// operands are on different devices or tapes.
        pub fn $name($($reference)? $this, other: $($reference)? Self $(, $number: f32)*) -> Result<Self> {
            $this.apply_with(&$crate::functions::$constant, &[other], &[$($number),*])
        }
    };
    (
        @one [$($reference:tt)?] $this:ident [$x:ident, $y:ident, $z:ident] [$($number:ident),*] $constant:ident $name:ident
        $(#[$doc:meta])*
    ) => {
        $(#[$doc])*
        ///
        /// The shapes broadcast by NumPy's rule.
        ///
        /// # Errors
        /// If the shapes do not broadcast, the elements are no floating-point numbers or have several types, or the operands
        /// are on different devices or tapes.
        pub fn $name(
            $($reference)? $this,
            $y: $($reference)? Self,
            $z: $($reference)? Self
            $(, $number: f32)*
        ) -> Result<Self> {
            $this.apply_with(&$crate::functions::$constant, &[$y, $z], &[$($number),*])
        }
    };
}

impl Tensor {
    crate::for_each_function!(elementwise_methods [&] self);
}
