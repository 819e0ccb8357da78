//! The element-wise functions, one entry each.
//!
//! An entry contains everything about a function: its name and numbers, the body of its WGSL kernel, its twin on the
//! CPU, its derivatives as expressions of other entries, its conventions compared to PyTorch's, and the ranges and
//! tolerances of its tests. The methods of [`Tensor`](crate::Tensor) and of variables, the kernels, fusion in
//! recordings, the tests and `docs/operations.md` are generated from the entries.
//!
//! Entries are declared with [`functions!`](crate::functions!), also outside this crate:
//!
//! ```
//! use thalweg_tensor::functions::{Check, FEW_ULP, MUL};
//! use thalweg_tensor::{Device, Tensor, functions};
//!
//! functions! {
//!     /// x², scaled.
//!     pub SCALED_SQUARE = scaled_square(x; scale) {
//!         wgsl: "return scale * x * x;",
//!         twin: scale * x * x,
//!         derivatives: [MUL(g, TWICE[scale](x))],
//!         checks: [Check::over(-10.0, 10.0).numbers(&[0.25]).within(FEW_ULP)],
//!     }
//!
//!     /// 2 x, scaled.
//!     pub TWICE = twice(x; scale) {
//!         wgsl: "return 2.0 * scale * x;",
//!         twin: 2.0 * scale * x,
//!         derivatives: [TWICE[scale](MUL(g, 0.5))],
//!     }
//! }
//!
//! # fn main() -> thalweg_tensor::Result<()> {
//! let x = Tensor::from_slice(&Device::best(), &[1.0, 4.0], &[2])?;
//! assert_eq!(x.apply(&SCALED_SQUARE, &[0.5])?.to_vec::<f32>()?, [0.5, 8.0]);
//! # Ok(())
//! # }
//! ```

mod activations;
mod apply;
mod arithmetic;
mod binary;
mod check;
mod convert;
mod expression;
mod hard;
mod kernel;
mod methods;
mod parity;
mod rounding;
mod slopes;
mod ternary;
mod transcendental;
mod trigonometric;

use std::fmt;

use crate::elementwise::Function;

pub use activations::*;
pub use arithmetic::*;
pub use binary::*;
pub use check::{
    Check, ERFC_TOLERANCE, EXACT, FEW_ULP, MORE_ULP, POWER, ROUNDED, SERIES, SINE, SUM, TWICE_ROUNDED, Tolerance,
};
pub use expression::{Expression, Numbers, first_numbers, padded_numbers};
pub use hard::*;
pub use kernel::function_kernels;
pub use parity::{DifferentResult, ParityReport};
pub use rounding::*;
#[doc(hidden)]
pub use slopes::*;
pub use ternary::*;
pub use transcendental::*;
pub use trigonometric::*;

/// An element-wise function with its derivatives, its conventions and its tests: an entry of the table, or one
/// declared elsewhere with [`functions!`](crate::functions!).
pub struct Elementwise {
    /// The function itself.
    pub function: Function,
    /// A description of its result, a noun phrase.
    pub about: &'static str,
    /// For each argument the gradient with respect to it; `None` if the gradient is zero.
    pub derivatives: &'static [Option<Expression>],
    /// The derivatives as text.
    pub derivative_texts: &'static [&'static str],
    /// Its conventions at kinks, ties, NaN and limits, each with PyTorch's convention.
    pub conventions: &'static [(&'static str, &'static str)],
    /// Its tests.
    pub checks: &'static [Check],
}

impl Elementwise {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.function.name
    }
}

/// Returns 1 if a condition holds, else 0.
fn truth(condition: bool) -> f32 {
    f32::from(u8::from(condition))
}

impl fmt::Debug for Elementwise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Elementwise({})", self.function.name)
    }
}

/// Two functions are the same if they are one `static`.
impl PartialEq for Elementwise {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Elementwise {}

/// Calls a macro with some tokens and the entries of all files whose functions have methods.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_function {
    ($callback:ident $($extra:tt)*) => {
        $crate::arithmetic_functions!($callback $($extra)*);
        $crate::rounding_functions!($callback $($extra)*);
        $crate::transcendental_functions!($callback $($extra)*);
        $crate::trigonometric_functions!($callback $($extra)*);
        $crate::activation_functions!($callback $($extra)*);
        $crate::hard_functions!($callback $($extra)*);
        $crate::binary_functions!($callback $($extra)*);
        $crate::ternary_functions!($callback $($extra)*);
    };
}

/// Declares element-wise functions, each as a `static` [`Elementwise`](crate::functions::Elementwise).
///
/// An entry is
///
/// ```text
/// /// A description of the result, as a noun phrase.
/// pub CONSTANT = name(argument, …; number, …) {
///     wgsl: "the body of a WGSL function that returns the result",
///     twin: the same in Rust,
///     derivatives: [one for each argument],
///     conventions: ["At 0 the derivative is 0" => "the same in PyTorch"],
///     checks: [Check::over(-1.0, 1.0)],
/// }
/// ```
///
/// A function has one to three arguments and up to four numbers, which are constants for all elements. The WGSL body
/// may call the functions of `shaders/shared/math.wgsl`.
///
/// A derivative is the gradient with respect to an argument: `flat` for zero, or calls of other functions by their
/// constants, such as `MUL(g, AFFINE[2.0, 0.0](x))`. Here `g` is the gradient with respect to the result, `result` is
/// the result itself, and numbers are expressions of the function's own numbers. `conventions` and `checks` are
/// optional.
///
/// [`Tensor::apply`](crate::Tensor::apply) applies an entry; [the module](mod@crate::functions) has an example.
#[macro_export]
macro_rules! functions {
    ($(
        #[doc = $about:literal]
        $(#[doc = $more:literal])*
        $visibility:vis $constant:ident = $name:ident($($argument:ident),+ $(; $($number:ident),+)?) {
            wgsl: $wgsl:expr,
            twin: $twin:expr,
            derivatives: [$($derivative:tt)*],
            $(conventions: [$($convention:literal => $pytorch:literal),* $(,)?],)?
            $(checks: [$($check:expr),* $(,)?],)?
        }
    )*) => {
        $(
            #[doc = concat!(" The function whose result is", $about)]
            $(#[doc = $more])*
            $visibility static $constant: $crate::functions::Elementwise = $crate::functions::Elementwise {
                function: $crate::Function {
                    name: stringify!($name),
                    arguments: &[$(stringify!($argument)),+],
                    numbers: &[$($(stringify!($number)),+)?],
                    wgsl: $wgsl,
                    twin: $crate::twin!(|$($argument),+ ; $($($number),+)?| $twin),
                },
                about: concat!($about $(, "\n", $more)*),
                derivatives: $crate::derivatives!([$($argument),+] [$($($number),+)?] $($derivative)*),
                derivative_texts: $crate::derivative_texts!($($derivative)*),
                conventions: &[$($(($convention, $pytorch)),*)?],
                checks: &[$($($check),*)?],
            };
        )*
    };
}

/// Returns the list of the functions passed to it.
macro_rules! list {
    ($(
        $(#[doc = $doc:literal])*
        $visibility:vis $constant:ident = $name:ident $arguments:tt $entry:tt
    )*) => { &[$(&$constant),*] as &[&'static Elementwise] };
}

/// Returns the functions of the table with methods, in the order of their files.
#[must_use]
pub fn all() -> Vec<&'static Elementwise> {
    [
        crate::arithmetic_functions!(list),
        crate::rounding_functions!(list),
        crate::transcendental_functions!(list),
        crate::trigonometric_functions!(list),
        crate::activation_functions!(list),
        crate::hard_functions!(list),
        crate::binary_functions!(list),
        crate::ternary_functions!(list),
    ]
    .concat()
}

/// Returns the functions used only in derivatives, which have no methods.
#[doc(hidden)]
#[must_use]
pub fn slopes() -> Vec<&'static Elementwise> {
    crate::slope_functions!(list).to_vec()
}
