//! The rules: for every operation its value and its pullback, side by side, on variables.

mod binary;
mod loss;
mod product;
mod reduce;
mod shape;
mod unary;
