//! The first difference between two lists of work, as text.

use std::sync::Arc;

use crate::DType;
use crate::kernel::{Launch, Work};
use crate::memory::{Buffer, View};

/// Returns the first difference. A list created the buffers from `first_buffer` on itself.
pub(super) fn between(left: &[Work], right: &[Work], first_buffer: u64) -> Option<String> {
    for (place, (x, y)) in left.iter().zip(right).enumerate() {
        let difference = match (x, y) {
            (Work::Launch(x), Work::Launch(y)) => of_launches(x, y, first_buffer).map(|d| (x.kernel.name(), d)),
            (
                Work::Copy { source, source_offset, target, target_offset, bytes },
                Work::Copy { source: s, source_offset: so, target: t, target_offset: to, bytes: b },
            ) => {
                let views = [
                    (of_bytes(source, *source_offset, *bytes), of_bytes(s, *so, *b)),
                    (of_bytes(target, *target_offset, *bytes), of_bytes(t, *to, *b)),
                ];
                let names = ["source", "target"].into_iter();
                let different = names.zip(&views).find(|(_, (x, y))| !is_same_place(x, y, first_buffer));
                different.map(|(name, _)| ("copy", format!("the {name} is another")))
            }
            (Work::Clear { buffer, offset, bytes }, Work::Clear { buffer: b, offset: o, bytes: n }) => {
                let (x, y) = (of_bytes(buffer, *offset, *bytes), of_bytes(b, *o, *n));
                (!is_same_place(&x, &y, first_buffer)).then(|| ("clear", "the memory is another".to_string()))
            }
            _ => Some((name(x), format!("the other has {} there", name(y)))),
        };
        if let Some((name, difference)) = difference {
            let module = module(x).map_or_else(String::new, |path| format!(" in {path}"));
            return Some(format!("work {} of {}, {name}{module}: {difference}", place + 1, left.len()));
        }
    }
    let more = |work: &Work| format!("work {}, {}: only one has it", left.len().min(right.len()) + 1, name(work));
    left.get(right.len()).or_else(|| right.get(left.len())).map(more)
}

/// Returns the view of bytes that are copied or cleared, as words.
fn of_bytes(buffer: &Arc<Buffer>, offset: usize, bytes: usize) -> View {
    View::new(buffer.clone(), DType::U32, offset / 4, bytes / 4)
}

fn name(work: &Work) -> &'static str {
    match work {
        Work::Launch(launch) => launch.kernel.name(),
        Work::Copy { .. } => "copy",
        Work::Clear { .. } => "clear",
    }
}

/// Returns the path of the work's module.
fn module(work: &Work) -> Option<&str> {
    match work {
        Work::Launch(launch) => launch.origin.path.as_deref(),
        _ => None,
    }
}

fn of_launches(x: &Launch, y: &Launch, first_buffer: u64) -> Option<String> {
    let is_same_kernel = std::ptr::eq(x.kernel, y.kernel);
    if !is_same_kernel && !have_one_twin(x, y) {
        return Some(format!("the other has {} there", y.kernel.name()));
    }
    if x.constants != y.constants {
        return Some(format!("its constants are {:?} and {:?}", x.constants, y.constants));
    }
    if x.params != y.params {
        let words = x.params.chunks(4).zip(y.params.chunks(4));
        let different: Vec<String> = words
            .enumerate()
            .filter(|(_, (x, y))| x != y)
            .map(|(i, (x, y))| format!("word {i} is {} and {}", number(x), number(y)))
            .collect();
        return Some(format!("its parameters differ: {}", different.join(", ")));
    }
    if is_same_kernel && x.workgroups != y.workgroups {
        return Some(format!("it has {} and {} workgroups", x.workgroups, y.workgroups));
    }
    let mut views = x.views.iter().zip(&y.views);
    let binding = views.position(|(x, y)| !is_same_place(x, y, first_buffer))?;
    Some(format!("binding {} is other memory", binding + 1))
}

/// Returns whether two kernels compute the same from the same parameters. An operation may have several kernels, and
/// the choice depends on which are already compiled.
fn have_one_twin(x: &Launch, y: &Launch) -> bool {
    // The twins of generated chains and of element-wise functions need more than parameters.
    let is_whole = |launch: &Launch| launch.extra.is_none() && launch.application.is_none();
    std::ptr::fn_addr_eq(x.kernel.twin, y.kernel.twin) && is_whole(x) && is_whole(y)
}

/// Formats a word of parameters, whose type is unknown: as a float if it looks like one, else as an integer.
fn number(bytes: &[u8]) -> String {
    let Ok(word) = bytes.try_into().map(u32::from_le_bytes) else { return format!("{bytes:?}") };
    let float = f32::from_bits(word);
    if float.is_normal() && (1e-20..1e20).contains(&float.abs()) { format!("{float}") } else { word.to_string() }
}

/// Returns whether two views are the same. Offsets and sizes must agree, and for existing memory the buffers too.
fn is_same_place(x: &View, y: &View, first_buffer: u64) -> bool {
    let is_inside = |view: &View| view.buffer.id() >= first_buffer;
    let same_buffer = match (is_inside(x), is_inside(y)) {
        (true, true) => true,
        (false, false) => x.buffer.id() == y.buffer.id(),
        _ => false,
    };
    same_buffer && (x.byte_offset(), x.byte_length()) == (y.byte_offset(), y.byte_length())
}
