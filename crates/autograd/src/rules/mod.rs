//! The rules: the value and the pullback of every operation, on variables.

mod convolution;
mod dropout;
mod elementwise;
mod loss;
mod product;
mod rearrange;
mod reduce;
mod shape;
mod views;
mod windows;
