//! `thalweg bench`: kernels measured on the user's own device, each beside its roof.

mod measure;
pub(crate) mod optim;
mod updates;
