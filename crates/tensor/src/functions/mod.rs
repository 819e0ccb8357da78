//! The element-wise functions, one entry each.

mod activations;
mod arithmetic;
mod binary;
mod slopes;
mod transcendental;

pub(crate) use activations::*;
pub(crate) use arithmetic::*;
pub(crate) use binary::*;
pub(crate) use slopes::*;
pub(crate) use transcendental::*;

/// Declares functions: the constant, the name with arguments and numbers, the WGSL body and the twin's formula.
macro_rules! functions {
    ($(
        $(#[doc = $doc:literal])*
        $constant:ident = $name:ident($($argument:ident),+ $(; $($number:ident),+)?) {
            wgsl: $wgsl:literal,
            twin: $twin:expr,
        }
    )*) => {
        $(
            $(#[doc = $doc])*
            pub(crate) static $constant: $crate::elementwise::Function = $crate::elementwise::Function {
                name: stringify!($name),
                arguments: &[$(stringify!($argument)),+],
                numbers: &[$($(stringify!($number)),+)?],
                wgsl: $wgsl,
                twin: $crate::twin!(|$($argument),+ $(; $($number),+)?| $twin),
            };
        )*
    };
}
use functions;
