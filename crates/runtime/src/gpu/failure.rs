//! [`Failure`]: the first error of submitted work, which every later call returns.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ready::poll_once;
use crate::{Error, Result};

/// The first error of submitted work. Every later call returns it.
#[derive(Debug, Clone, Default)]
pub(super) struct Failure(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    error: Option<Error>,
    /// Pending error scopes. There are none on native backends, which answer at once.
    scopes: Vec<Scope>,
}

/// The future answer of an error scope.
struct Scope(Pin<Box<dyn Future<Output = Option<Error>> + Send>>);

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scope")
    }
}

impl State {
    /// Processes the answers of error scopes that have arrived.
    fn settle(&mut self) {
        let Self { error, scopes } = self;
        scopes.retain_mut(|scope| match poll_once(&mut scope.0) {
            None => true,
            Some(answer) => {
                if error.is_none() {
                    *error = answer;
                }
                false
            }
        });
    }
}

impl Failure {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores an error, unless there is one already.
    pub(super) fn set(&self, error: Error) {
        self.state().error.get_or_insert(error);
    }

    /// Replaces the stored error by its cause.
    pub(super) fn lose(&self, error: Error) {
        self.state().error = Some(error);
    }

    /// Returns the stored error.
    pub(super) fn check(&self) -> Result<()> {
        let mut state = self.state();
        if !state.scopes.is_empty() {
            state.settle();
        }
        state.error.clone().map_or(Ok(()), Err)
    }

    /// Closes an error scope without waiting for its answer. Native backends answer at once, and the error is returned.
    /// In a browser the answer comes later: the error is stored then, and a later call returns it.
    ///
    /// # Errors
    /// The error that the scope has caught.
    pub(super) fn close_scope(
        &self,
        scope: wgpu::ErrorScopeGuard,
        describe: impl FnOnce(wgpu::Error) -> Error + Send + 'static,
    ) -> Result<()> {
        let caught = scope.pop();
        let mut scope = Scope(Box::pin(async move { caught.await.map(describe) }));
        match poll_once(&mut scope.0) {
            Some(answer) => answer.map_or(Ok(()), Err),
            None => {
                self.state().scopes.push(scope);
                Ok(())
            }
        }
    }
}
