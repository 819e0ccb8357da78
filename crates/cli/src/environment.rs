//! A variable that a driver reads. A program cannot set it for itself without unsafe code, so the program replaces
//! itself once by a new process with the variable set.
//!
//! `LP_NATIVE_VECTOR_WIDTH=512`: lavapipe computes in vectors of 256 bits, even if the processor has AVX-512. With
//! twice as many lanes a training step takes a fifth to a third less time, with the same bits.

/// Sets the variable in a new process. Returns if it need not or cannot be set.
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
        // Returns only after an error; then lavapipe is slower, and everything else works.
        let _ = command.args(words).env(name, value).exec();
    }
}

/// Returns the variable for lavapipe's vectors, unless the user has set it.
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

/// Does nothing: no driver needs it.
#[cfg(not(target_os = "linux"))]
pub(crate) fn prepare() {}
