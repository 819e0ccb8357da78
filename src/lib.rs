//! Training of small neural networks on any GPU, on wgpu and WGSL.
//!
//! This package re-exports the crates it is made of: [`tensor`], [`autograd`] and [`nn`].

pub use thalweg_autograd as autograd;
pub use thalweg_nn as nn;
pub use thalweg_tensor as tensor;
