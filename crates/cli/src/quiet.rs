//! Keeps a Vulkan layer from complaining where there is no desktop.
//!
//! Mesa's layer that chooses the adapter of a desktop asks the Wayland server, and where `XDG_RUNTIME_DIR` is not set,
//! in a container or over a plain remote shell, it prints `error: XDG_RUNTIME_DIR is invalid` each time that adapters are
//! looked for. It has a switch in the environment, which a program cannot set for itself without unsafe code: so it
//! starts itself anew in its own place, once, with the switch set.

/// Returns where nothing needs to be done, or nothing can be.
#[cfg(target_os = "linux")]
pub(crate) fn without_desktop() {
    use std::env;
    use std::os::unix::process::CommandExt;
    use std::path::Path;
    use std::process::Command;

    const SWITCH: &str = "NODEVICE_SELECT";
    // Whoever uses the layer's own variables has a wish that it should hear.
    let untouched = [SWITCH, "MESA_VK_DEVICE_SELECT"].iter().all(|name| env::var_os(name).is_none());
    let desktop = env::var_os("XDG_RUNTIME_DIR").is_some_and(|folder| Path::new(&folder).is_absolute());
    if let (true, false, Ok(program)) = (untouched, desktop, env::current_exe()) {
        let mut command = Command::new(program);
        let mut words = env::args_os();
        if let Some(name) = words.next() {
            command.arg0(name);
        }
        // Comes back only where it fails; then the layer complains, and all else works.
        let _ = command.args(words).env(SWITCH, "1").exec();
    }
}

/// There is no such layer.
#[cfg(not(target_os = "linux"))]
pub(crate) fn without_desktop() {}
