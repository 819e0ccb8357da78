//! The text of the kernels that are generated: a file for each family, and what they share.

mod blocks;
mod cooperative;
pub(super) mod form;
pub(super) mod split;
mod subgroup;
pub(super) mod text;
