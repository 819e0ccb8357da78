//! Memory of a device: buffers and their pool, views of buffers, and pages shared by many arrays.

mod arena;
mod buffer;

pub use arena::{PAGE_BLOCK, Pages, Placement};
pub use buffer::{ALIGNMENT, Buffer, Held, MemoryReport, ToView, View, hold_as};
pub(crate) use buffer::{GpuBuffer, Memory, MemorySource, Pool, named_holder};
