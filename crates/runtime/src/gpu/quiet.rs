//! Stops a driver from writing to the program's standard error during the search for adapters.
//!
//! Mesa's layer that selects the adapter of a desktop queries the Wayland server. Without a desktop, in a container
//! or a plain remote shell, Wayland's library then prints `error: XDG_RUNTIME_DIR is invalid or not set in the
//! environment` each time. The message is useless here, and only a variable set before the program starts turns it
//! off.

use std::sync::Once;

/// Silences the messages of Wayland's library if there is no desktop.
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

    /// Ignores a format and its arguments, which C passes by a pointer.
    extern "C" fn ignore(_format: *const c_char, _arguments: *mut c_void) {}

    type SetHandler = unsafe extern "C" fn(extern "C" fn(*const c_char, *mut c_void));

    #[allow(unsafe_code, reason = "the library has a function for it, in C")]
    // SAFETY: the library's start-up code only initializes the library. The function has had this signature since its
    // first release, takes any handler at any time, and stores it. The handler and the library, which is never
    // closed, both live as long as the process. The handler reads no argument, so their calling convention does not
    // matter.
    unsafe {
        let Ok(library) = libloading::Library::new("libwayland-client.so.0") else { return };
        if let Ok(set_handler) = library.get::<SetHandler>(b"wl_log_set_handler_client\0") {
            set_handler(ignore);
        }
        std::mem::forget(library);
    }
}

/// Does nothing: other systems do not use Wayland.
#[cfg(not(target_os = "linux"))]
fn set_handler() {}
