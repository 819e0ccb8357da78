//! The clock of the host.

/// The clock for profiles and the pace of submissions: the standard library's, or the page's in a browser.
#[cfg(not(target_family = "wasm"))]
pub use std::time::Instant;
/// The clock for profiles and the pace of submissions: the standard library's, or the page's in a browser.
#[cfg(target_family = "wasm")]
pub use web_time::Instant;
