//! The text of the generated kernels: a file for each family, and shared parts.

mod blocks;
mod cooperative;
pub(super) mod form;
pub(super) mod split;
mod subgroup;
pub(super) mod text;
