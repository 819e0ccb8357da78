//! The rules: the value and the pullback of every operation, on variables.

mod attention;
mod convolution;
mod dropout;
mod elementwise;
mod index;
mod linalg;
mod loss;
pub(crate) mod losses;
mod norm;
mod normalize;
mod normalize_channels;
mod prod;
mod product;
mod rearrange;
mod recurrent;
mod reduce;
mod scan;
mod shape;
mod statistics;
mod views;
mod windows;
