//! The rules: the value and the pullback of every operation, on variables.

mod attention;
mod convolution;
mod dropout;
mod elementwise;
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
