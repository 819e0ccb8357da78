//! [`Extensions`]: the values that layers above store on a device, one of each type.

use std::any::Any;
use std::sync::OnceLock;

/// Values of different types, each created on first use. They live as long as the device, so a look-up takes no lock:
/// it walks a short list.
#[derive(Default)]
pub(super) struct Extensions(OnceLock<Box<Entry>>);

struct Entry {
    value: Box<dyn Any + Send + Sync>,
    rest: Extensions,
}

impl Extensions {
    /// Returns the value of type `T`. If there is none, `make` creates it.
    pub(super) fn get_or_init<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> &T {
        let mut make = Some(make);
        let mut list = self;
        loop {
            // Another thread may insert a value of another type here first. Then this value goes into the rest of the
            // list.
            let entry = list.0.get_or_init(|| {
                let make = make.take().unwrap_or_else(|| unreachable!("a value is made once, at the end of the list"));
                Box::new(Entry { value: Box::new(make()), rest: Self::default() })
            });
            match entry.value.downcast_ref() {
                Some(value) => return value,
                None => list = &entry.rest,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_one_value_that_is_made_once() {
        let extensions = Extensions::default();
        std::thread::scope(|scope| {
            for i in 0..4u32 {
                let extensions = &extensions;
                scope.spawn(move || {
                    let number = *extensions.get_or_init(|| i);
                    let text = extensions.get_or_init(|| i.to_string()).clone();
                    assert_eq!(
                        (number, text),
                        (*extensions.get_or_init(|| 7), extensions.get_or_init(String::new).clone())
                    );
                });
            }
        });
        assert!(*extensions.get_or_init(|| 9u32) < 4);
        assert_eq!(*extensions.get_or_init(|| 9u64), 9);
    }
}
