//! Updates for software drivers: the texts for hardware, with two vectors instead of one. See
//! `shaders/shared/pairs.wgsl`.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Mutex, OnceLock, PoisonError};

use thalweg_shaders::{ELEMENTS, PAIRS, Shader};

use super::update::MOST_STATE;
use crate::Device;
use crate::kernel::Kernel;

/// Returns the replacement of an update kernel on this device: on software drivers the form in pairs, if the update
/// uses `shaders/shared/elements.wgsl`. `keeps` tells for each arena of state whether it is bound.
pub(super) fn for_device(kernel: &'static Kernel, keeps: &[bool], device: &Device) -> Option<&'static Kernel> {
    if device.is_software() { in_pairs(kernel, keeps) } else { None }
}

/// Returns the kernel of an update in pairs; `None` if it does not process its arena by elements. It is created once
/// and never freed, since launches and pipelines refer to it.
#[doc(hidden)]
pub fn in_pairs(kernel: &'static Kernel, keeps: &[bool]) -> Option<&'static Kernel> {
    type Key = (usize, [bool; MOST_STATE]);
    static KERNELS: OnceLock<Mutex<HashMap<Key, Option<&'static Kernel>>>> = OnceLock::new();
    let mut kept = [false; MOST_STATE];
    kept[..keeps.len()].copy_from_slice(keeps);
    let mut kernels = KERNELS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    *kernels.entry((std::ptr::from_ref(kernel).addr(), kept)).or_insert_with(|| {
        let source = kernel.shader.source();
        source.contains(ELEMENTS).then(|| {
            let text: &'static str = Box::leak(text(&source, &kept).into_boxed_str());
            let shader = Box::leak(Box::new(Shader { name: kernel.name(), path: "generated", text, shared: &[] }));
            let &Kernel { uniform, access, variants, twin, .. } = kernel;
            &*Box::leak(Box::new(Kernel { shader, uniform, access, variants, twin }))
        })
    })
}

/// Rewrites the source of an update.
fn text(source: &str, kept: &[bool]) -> String {
    let (mut load, mut store) = ("fn load_pair(pair: u32) {\n".to_string(), "fn store_pair(pair: u32) {\n".to_string());
    let mut text = String::new();
    for line in source.replace(ELEMENTS, PAIRS).lines() {
        let Some(array) = Array::of(line) else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        let Array { binding, access, name } = array;
        // Writing to a string does not fail.
        let _ = writeln!(text, "@group(0) @binding({binding}) var<storage, {access}> {name}_vectors: array<vec4f>;");
        let _ = writeln!(text, "var<private> {name}: array<vec4f, 2>;");
        if binding.checked_sub(FIRST_STATE_BINDING).is_some_and(|state| !kept[state]) {
            continue;
        }
        let _ = writeln!(load, "    {name} = array({name}_vectors[2u * pair], {name}_vectors[2u * pair + 1u]);");
        if access == "read_write" {
            let _ = writeln!(store, "    {name}_vectors[2u * pair] = {name}[0];");
            let _ = writeln!(store, "    {name}_vectors[2u * pair + 1u] = {name}[1];");
        }
    }
    format!("{text}\n{load}}}\n\n{store}}}\n")
}

/// Binding 5 is the first arena of state: see `shaders/shared/update.wgsl`.
const FIRST_STATE_BINDING: usize = 5;

/// The declaration of an arena.
struct Array<'a> {
    binding: usize,
    access: &'a str,
    name: &'a str,
}

impl<'a> Array<'a> {
    /// Returns the declaration on a line; the table is excluded, since its rows are found by number.
    fn of(line: &'a str) -> Option<Self> {
        let (binding, rest) = line.strip_prefix("@group(0) @binding(")?.split_once(") var<storage, ")?;
        let (access, rest) = rest.split_once("> ")?;
        let name = rest.strip_suffix(": array<vec4f>;")?;
        (name != "table").then_some(Self { binding: binding.parse().ok()?, access, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPDATE: &str = "@group(0) @binding(1) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(2) var<storage, read> grads: array<vec4f>;
@group(0) @binding(3) var<storage, read> table: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> moment: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> spare: array<vec4f>;
";

    #[test]
    fn arrays_become_pairs_but_for_the_table_and_state_that_is_not_there() {
        let text = text(&format!("{UPDATE}{ELEMENTS}"), &[true, false, false, false]);
        assert!(text.contains("@binding(2) var<storage, read> grads_vectors: array<vec4f>;\nvar<private> grads:"));
        assert!(text.contains("@binding(3) var<storage, read> table: array<vec4f>;"));
        let count = |part: &str| text.matches(part).count();
        assert_eq!([count(" = array("), count("_vectors[2u * pair] = ")], [3, 2], "{text}");
        assert!(text.contains("var<private> spare: array<vec4f, 2>;") && !text.contains("spare_vectors["));
        assert!(text.contains("load_pair(pair);") && !text.contains("fn update_block"));
    }
}
