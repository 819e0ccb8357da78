//! Keeps a driver from writing to the program's standard error while adapters are looked for.
//!
//! Mesa's layer that chooses the adapter of a desktop asks the Wayland server. Without a desktop, in a container or over a
//! plain remote shell, Wayland's library then prints `error: XDG_RUNTIME_DIR is invalid or not set in the environment`
//! each time. The program learns nothing from it, and cannot turn it off but by a variable that has to be set before it
//! starts.

use std::sync::Once;

/// Silences the messages of Wayland's library where there is no desktop for them to be about.
pub(super) fn silence_wayland() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let folder = std::env::var_os("XDG_RUNTIME_DIR");
        if !folder.is_some_and(|folder| std::path::Path::new(&folder).is_absolute()) {
            set_handler();
        }
    });
}

#[cfg(target_os = "linux")]
fn set_handler() {
    use std::ffi::{c_char, c_void};

    /// Takes a format and its arguments, which C passes by a pointer, and does nothing with them.
    extern "C" fn ignore(_format: *const c_char, _arguments: *mut c_void) {}

    type SetHandler = unsafe extern "C" fn(extern "C" fn(*const c_char, *mut c_void));

    #[allow(unsafe_code, reason = "the library has a function for it, in C")]
    // SAFETY: the library's start-up code does nothing but to make it usable. The function has this signature since its
    // first release, takes any handler at any time, and keeps it; the handler lives as long as the process, and so does
    // the library, which is never closed. It reads no argument, so it need not know how they are passed.
    unsafe {
        let Ok(library) = libloading::Library::new("libwayland-client.so.0") else { return };
        if let Ok(set_handler) = library.get::<SetHandler>(b"wl_log_set_handler_client\0") {
            set_handler(ignore);
        }
        std::mem::forget(library);
    }
}

/// Other systems have neither.
#[cfg(not(target_os = "linux"))]
fn set_handler() {}
