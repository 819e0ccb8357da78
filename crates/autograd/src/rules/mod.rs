//! The rules: the value and the pullback of every operation, on variables.

mod convolution;
mod dropout;
mod elementwise;
mod linalg;
mod loss;
mod norm;
mod normalize;
mod prod;
mod product;
mod rearrange;
mod reduce;
mod shape;
mod statistics;
mod views;
