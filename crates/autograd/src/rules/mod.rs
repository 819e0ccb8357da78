//! The rules: for every operation its value and its pullback, side by side, on variables.

mod dropout;
mod elementwise;
mod loss;
mod norm;
mod normalize;
mod prod;
mod product;
mod reduce;
mod shape;
mod statistics;
