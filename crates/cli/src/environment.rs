//! A variable that a driver reads and that a program cannot set for itself without unsafe code: so the program starts
//! itself anew in its own place, once, with the variable set.
//!
//! `LP_NATIVE_VECTOR_WIDTH=512`: lavapipe computes in vectors of 256 bits, also if the processor has AVX-512. With twice
//! as many lanes a training step takes a fifth to a third less time, and gives the same bits.

/// Returns where nothing needs to be set, or nothing can be.
#[cfg(target_os = "linux")]
pub(crate) fn prepare() {
    use std::env;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    let Some((name, value)) = wide() else { return };
    if let Ok(program) = env::current_exe() {
        let mut command = Command::new(program);
        let mut words = env::args_os();
        if let Some(name) = words.next() {
            command.arg0(name);
        }
        // Comes back only where it fails; then lavapipe is slower, and all else works.
        let _ = command.args(words).env(name, value).exec();
    }
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
