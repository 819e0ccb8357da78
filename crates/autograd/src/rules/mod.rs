//! The rules: the value and the pullback of every operation, on variables.

mod dropout;
mod elementwise;
mod index;
mod loss;
mod product;
mod reduce;
mod scan;
mod shape;
