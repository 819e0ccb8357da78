//! [`OnceMap`]: values that are each created once, without blocking other keys.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Values by key. A caller waits if its value is being created; other values are created concurrently.
#[derive(Debug)]
pub(super) struct OnceMap<K, V> {
    places: Mutex<HashMap<K, Arc<Mutex<Option<V>>>>>,
}

impl<K, V> Default for OnceMap<K, V> {
    fn default() -> Self {
        Self { places: Mutex::default() }
    }
}

impl<K: Hash + Eq, V: Clone> OnceMap<K, V> {
    /// Returns the value of a key, and creates it if there is none. A failed creation is retried on the next call.
    pub(super) fn get_or_make<E>(&self, key: K, make: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        let place = self.places.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        match &*place {
            Some(value) => Ok(value.clone()),
            None => Ok(place.insert(make()?).clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_value_that_takes_long_keeps_no_other_waiting() {
        let map = OnceMap::<u32, u32>::default();
        let (started, has_started) = mpsc::channel();
        let (let_go, go) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let map = &map;
            let slow = scope.spawn(move || {
                map.get_or_make(1, || {
                    started.send(()).unwrap();
                    go.recv().unwrap();
                    Ok::<_, Infallible>(10)
                })
            });
            has_started.recv().unwrap();
            let (done, is_done) = mpsc::channel();
            scope.spawn(move || done.send(map.get_or_make(2, || Ok::<_, Infallible>(20))).unwrap());
            // Only a map that blocks other keys takes this long.
            let other = is_done.recv_timeout(Duration::from_secs(60));
            let_go.send(()).unwrap();
            assert_eq!(other, Ok(Ok(20)));
            assert_eq!(slow.join().unwrap(), Ok(10));
        });
    }

    #[test]
    fn values_are_made_once_and_failures_are_tried_again() {
        let map = OnceMap::<&str, u32>::default();
        assert_eq!(map.get_or_make("a", || Err("not now")), Err("not now"));
        assert_eq!(map.get_or_make("a", || Ok::<_, &str>(1)), Ok(1));
        assert_eq!(map.get_or_make("a", || Err("never asked")), Ok(1));
    }
}
