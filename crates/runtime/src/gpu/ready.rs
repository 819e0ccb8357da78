//! Futures of wgpu without an executor.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Polls a future once. Futures of native backends are ready at once. Those of WebGPU are ready only after the page's
/// event loop has run, so they must be awaited or polled again.
pub(super) fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
