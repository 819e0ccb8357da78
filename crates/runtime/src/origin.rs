//! [`Origin`]: the module and the part of a training step of some work.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// The part of a training step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Pass {
    /// The forward pass, and all other work.
    #[default]
    Forward,
    /// The backward pass.
    Backward,
    /// The update by an optimizer.
    Update,
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Update => "update",
        })
    }
}

/// The module, the part of a training step and the operation of some work. Launches, profiles and the nodes of a tape
/// carry it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// The path of the module, such as `layers.0`; `None` outside modules.
    pub path: Option<Arc<str>>,
    /// The part of a training step.
    pub pass: Pass,
    /// In a backward pass, the operation whose gradient is computed.
    pub operation: Option<&'static str>,
}

impl Origin {
    /// Returns the origin of this thread's current work.
    #[must_use]
    pub fn current() -> Self {
        CURRENT.with_borrow(Self::clone)
    }

    /// Sets the origin of this thread's work until the result is dropped.
    pub fn enter(self) -> Scope {
        Scope { before: CURRENT.replace(self), _of_this_thread: PhantomData }
    }

    /// Returns the innermost module that contains both, with the other fields of `self`.
    pub(crate) fn common(&self, other: &Self) -> Self {
        let path = self.path.as_deref().zip(other.path.as_deref()).and_then(|(one, other)| {
            let same = one.split('.').zip(other.split('.')).take_while(|(one, other)| one == other);
            let length: usize = same.map(|(part, _)| part.len() + 1).sum();
            // Removes the dot after the last part.
            (length > 0).then(|| &one[..length - 1])
        });
        let path = if path == self.path.as_deref() { self.path.clone() } else { path.map(Arc::from) };
        Self { path, pass: self.pass, operation: self.operation }
    }
}

thread_local! {
    static CURRENT: RefCell<Origin> =
        const { RefCell::new(Origin { path: None, pass: Pass::Forward, operation: None }) };
}

/// Restores the previous origin of this thread's work when it is dropped. [`Origin::enter`] and [`scope`] return it.
#[derive(Debug)]
#[must_use = "the scope ends when this is dropped"]
pub struct Scope {
    before: Origin,
    /// A scope ends on the thread where it began.
    _of_this_thread: PhantomData<*const ()>,
}

impl Drop for Scope {
    fn drop(&mut self) {
        CURRENT.set(std::mem::take(&mut self.before));
    }
}

/// Sets the module of this thread's work until the result is dropped.
///
/// A nested scope is a part of the outer one, and their names are joined by a dot. A name that begins with the path
/// of the outer scope is a full path, so that modules may use the full names of their parameters.
///
/// ```
/// use thalweg_runtime::{Origin, scope};
/// let path = || Origin::current().path;
/// let _encoder = scope("encoder");
/// {
///     let _layer = scope("encoder.0");
///     let _part = scope("attention");
///     assert_eq!(path().as_deref(), Some("encoder.0.attention"));
/// }
/// assert_eq!(path().as_deref(), Some("encoder"));
/// ```
pub fn scope(name: &str) -> Scope {
    let around = Origin::current();
    let path = match &around.path {
        Some(path) if !is_within(name, path) => Arc::from(format!("{path}.{name}")),
        _ => Arc::from(name),
    };
    Origin { path: Some(path), ..around }.enter()
}

/// Returns whether a path equals another one, or is nested in it.
fn is_within(path: &str, around: &str) -> bool {
    path.strip_prefix(around).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: Option<&str>) -> Origin {
        Origin { path: path.map(Arc::from), ..Origin::default() }
    }

    #[test]
    fn scopes_nest_and_end() {
        assert_eq!(Origin::current(), Origin::default());
        {
            let _outer = scope("net");
            assert_eq!(Origin::current(), of(Some("net")));
            let inner = scope("nets");
            assert_eq!(Origin::current(), of(Some("net.nets")));
            drop(inner);
            let _same = scope("net");
            assert_eq!(Origin::current(), of(Some("net")));
            let back = Origin { pass: Pass::Backward, operation: Some("mul"), ..of(None) };
            let _back = back.clone().enter();
            assert_eq!(Origin::current(), back);
        }
        assert_eq!(Origin::current(), Origin::default());
    }

    #[test]
    fn what_two_origins_have_in_common_is_the_module_around_both() {
        let common = |one: &str, other: &str| of(Some(one)).common(&of(Some(other))).path;
        assert_eq!(common("a.b.c", "a.b.d").as_deref(), Some("a.b"));
        assert_eq!(common("a.b", "a.b.c").as_deref(), Some("a.b"));
        assert_eq!(common("a.bc", "a.b").as_deref(), Some("a"));
        assert_eq!(common("ab", "a"), None);
        assert_eq!(of(Some("a")).common(&of(None)).path, None);
        assert_eq!(of(Some("a")).common(&of(Some("a"))), of(Some("a")));
    }
}
