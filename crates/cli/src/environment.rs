//! Variables that drivers read and a program cannot set for itself without unsafe code: so it starts itself anew in its
//! own place, once, with those that it wants set.
//!
//! - `NODEVICE_SELECT=1`: Mesa's layer that chooses the adapter of a desktop asks the Wayland server, and where
//!   `XDG_RUNTIME_DIR` is not set, in a container or over a plain remote shell, it prints `error: XDG_RUNTIME_DIR is
//!   invalid` each time that adapters are looked for.
//! - `LP_NATIVE_VECTOR_WIDTH=512`: lavapipe computes in vectors of 256 bits, also where the processor has AVX-512. With
//!   twice as many lanes a training step takes a fifth to a third less time, and gives the same bits.

/// Returns where nothing needs to be set, or nothing can be.
#[cfg(target_os = "linux")]
pub(crate) fn prepare() {
    use std::env;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    let wanted: Vec<_> = [quiet(), wide()].into_iter().flatten().collect();
    if wanted.is_empty() {
        return;
    }
    if let Ok(program) = env::current_exe() {
        let mut command = Command::new(program);
        let mut words = env::args_os();
        if let Some(name) = words.next() {
            command.arg0(name);
        }
        // Comes back only where it fails; then the layer complains, lavapipe is slower, and all else works.
        let _ = command.args(words).envs(wanted).exec();
    }
}

/// The layer's switch, where there is no desktop. Whoever uses the layer's own variables has a wish that it should hear.
#[cfg(target_os = "linux")]
fn quiet() -> Option<(&'static str, &'static str)> {
    const SWITCH: &str = "NODEVICE_SELECT";
    let untouched = [SWITCH, "MESA_VK_DEVICE_SELECT"].iter().all(|name| std::env::var_os(name).is_none());
    let desktop = std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|folder| std::path::Path::new(&folder).is_absolute());
    (untouched && !desktop).then_some((SWITCH, "1"))
}

/// Lavapipe's vectors, unless somebody has chosen them.
#[cfg(target_os = "linux")]
fn wide() -> Option<(&'static str, &'static str)> {
    const WIDTH: &str = "LP_NATIVE_VECTOR_WIDTH";
    #[cfg(target_arch = "x86_64")]
    let has_them = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    #[cfg(not(target_arch = "x86_64"))]
    let has_them = false;
    (has_them && std::env::var_os(WIDTH).is_none()).then_some((WIDTH, "512"))
}

/// No driver needs any.
#[cfg(not(target_os = "linux"))]
pub(crate) fn prepare() {}
