//! Memory of a device: buffers and the pool that they return to, views of them, and pages that many arrays share.

mod arena;
mod buffer;

pub use arena::{PAGE_BLOCK, Pages, Placement};
pub use buffer::{ALIGNMENT, Buffer, Held, MemoryReport, ToView, View, hold_as};
pub(crate) use buffer::{GpuBuffer, Memory, MemorySource, Pool, named_holder};
