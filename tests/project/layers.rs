//! The layers of the project, by the imports of its sources: no import leads upward.

mod imports;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use imports::{Import, imports};

/// A crate: its name in sources, the folder of its sources, and its rooms from the lowest to the highest. A room is a
/// file or a folder beside `lib.rs`. If no order is given, only cycles through folders are refused.
struct Crate {
    name: &'static str,
    folder: &'static str,
    rooms: &'static [&'static str],
}

/// The step that the program compares the library with: it uses wgpu directly.
const WITHOUT_THE_LIBRARY: &str = "crates/cli/src/bench/by_hand_gpu.rs";

/// From the lowest to the highest: a crate uses only those before it.
const CRATES: [Crate; 7] = [
    Crate { name: "thalweg_shaders", folder: "shaders", rooms: &[] },
    Crate {
        name: "thalweg_runtime",
        folder: "crates/runtime/src",
        rooms: &[
            "dtype",
            "error",
            "info",
            "math",
            "philox",
            "time",
            "origin",
            "threads",
            "memory",
            "elementwise",
            "kernel",
            "profile",
            "cpu",
            "gpu",
            "no_gpu",
            "device",
            "recording",
        ],
    },
    Crate {
        name: "thalweg_tensor",
        folder: "crates/tensor/src",
        rooms: &[
            "axis",
            "shape",
            "tensor",
            "views",
            "print",
            "arena",
            "functions",
            "ops",
            "matmul",
            "linalg",
            "convolution",
            "windows",
            "optim",
        ],
    },
    Crate { name: "thalweg_autograd", folder: "crates/autograd/src", rooms: &[] },
    Crate { name: "thalweg_nn", folder: "crates/nn/src", rooms: &[] },
    Crate { name: "thalweg", folder: "src", rooms: &[] },
    Crate { name: "thalweg_cli", folder: "crates/cli/src", rooms: &[] },
];

/// A source of a crate.
#[derive(Clone)]
struct Source {
    /// The number of the crate.
    owner: usize,
    /// The path within the folder of the crate's sources.
    path: String,
    text: String,
}

impl Source {
    /// Returns the module of the file; that of `lib.rs` and of `main.rs` is empty.
    fn module(&self) -> Vec<String> {
        let mut module: Vec<String> = self.path.trim_end_matches(".rs").split('/').map(str::to_string).collect();
        if ["mod", "lib", "main"].contains(&module[module.len() - 1].as_str()) {
            module.pop();
        }
        module
    }
}

/// Returns the sources of all crates.
fn sources() -> Vec<Source> {
    fn add(owner: usize, root: &Path, folder: &Path, sources: &mut Vec<Source>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                add(owner, root, &path, sources);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let within = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                sources.push(Source { owner, path: within, text });
            }
        }
    }
    let mut sources = Vec::new();
    for (owner, krate) in CRATES.iter().enumerate() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(krate.folder);
        add(owner, &root, &root, &mut sources);
    }
    sources
}

/// A crate by its sources.
struct House<'a> {
    owner: usize,
    sources: Vec<&'a Source>,
    modules: BTreeSet<Vec<String>>,
    /// The rooms of the names that the root of the crate re-exports.
    exported: BTreeMap<String, String>,
}

impl<'a> House<'a> {
    fn new(owner: usize, sources: &'a [Source]) -> Self {
        let sources: Vec<&Source> = sources.iter().filter(|source| source.owner == owner).collect();
        let modules = sources.iter().map(|source| source.module()).filter(|module| !module.is_empty()).collect();
        let mut house = Self { owner, sources, modules, exported: BTreeMap::new() };
        for source in house.sources.clone().into_iter().filter(|source| source.module().is_empty()) {
            for import in imports(&source.text, &[]) {
                if let (Some(name), Some(room)) = (&import.name, house.room_of(&import)) {
                    house.exported.insert(name.clone(), room);
                }
            }
        }
        house
    }

    /// Returns the room of an import within the crate.
    fn room_of(&self, import: &Import) -> Option<String> {
        let first = import.within(|module| self.modules.contains(module))?.into_iter().next()?;
        let is_room = self.modules.iter().any(|module| module[0] == first);
        if is_room { Some(first) } else { self.exported.get(&first).cloned() }
    }

    fn is_folder(&self, room: &str) -> bool {
        self.modules.iter().any(|module| module[0] == room && module.len() > 1)
    }

    fn violations(&self) -> Vec<String> {
        let krate = &CRATES[self.owner];
        let mut violations = Vec::new();
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for source in &self.sources {
            let module = source.module();
            let place = format!("{}/{}", krate.folder, source.path);
            for import in imports(&source.text, &module) {
                let path = import.path.join("::");
                let knows_wgpu = krate.name == "thalweg_runtime" || place == WITHOUT_THE_LIBRARY;
                if import.path[0] == "wgpu" && !knows_wgpu {
                    violations.push(format!("{place}: {path}, but only the runtime knows wgpu"));
                }
                if CRATES[self.owner..].iter().any(|other| other.name == import.path[0] && !self.is_own_name(&import)) {
                    violations.push(format!("{place}: {path} is of a crate that is not below"));
                }
                let (Some(own), Some(target)) = (module.first(), self.room_of(&import)) else { continue };
                if *own == target {
                    continue;
                }
                let floor = |room: &str| krate.rooms.iter().position(|known| *known == room);
                if floor(&target) > floor(own) {
                    violations.push(format!("{place}: {path}, but {target} is above {own}"));
                }
                uses.entry(own.clone()).or_default().insert(target);
            }
        }
        let rooms: BTreeSet<&String> = self.modules.iter().map(|module| &module[0]).collect();
        for room in &rooms {
            if !krate.rooms.is_empty() && !krate.rooms.contains(&room.as_str()) {
                violations.push(format!("{}: {room} has no place in the order of rooms", krate.name));
            }
            let reached = reached(&uses, room);
            if self.is_folder(room) && reached.contains(*room) {
                let back: Vec<&String> = reached.iter().filter(|other| reached_from(&uses, other, room)).collect();
                violations.push(format!("{}: a cycle through the folder {room}: {back:?}", krate.name));
            }
        }
        violations
    }

    /// Returns whether the program names the library of its own package.
    fn is_own_name(&self, import: &Import) -> bool {
        import.path.len() == 1 || CRATES[self.owner].name != import.path[0] && self.modules.contains(&import.path[..1])
    }
}

/// Returns all rooms that a room uses, directly or indirectly.
fn reached(uses: &BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<String> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from.to_string()]);
    while let Some(room) = open.pop() {
        for next in uses.get(&room).into_iter().flatten() {
            if reached.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    reached
}

fn reached_from(uses: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> bool {
    reached(uses, from).contains(to)
}

fn violations(sources: &[Source]) -> Vec<String> {
    (0..CRATES.len()).flat_map(|owner| House::new(owner, sources).violations()).collect()
}

#[test]
fn no_import_runs_back_up() {
    let found = violations(&sources());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The manifests also follow the order: a dependency is a crate below.
#[test]
fn no_manifest_depends_on_a_crate_above() {
    for (owner, krate) in CRATES.iter().enumerate() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(krate.folder);
        let folder = if folder.ends_with("src") { folder.parent().unwrap().to_path_buf() } else { folder };
        let text = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let dependencies = text.split("[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        for line in dependencies.lines().filter(|line| line.starts_with("thalweg")) {
            let name = line.split(['.', ' ']).next().unwrap().replace('-', "_");
            let place = CRATES.iter().position(|other| other.name == name);
            assert!(place.is_some_and(|place| place < owner), "{}: {line}", krate.name);
        }
    }
}

/// Returns the sources with one more.
fn with(name: &str, path: &str, text: &str) -> Vec<Source> {
    let owner = CRATES.iter().position(|krate| krate.name == name).unwrap();
    let mut all = sources();
    all.push(Source { owner, path: path.to_string(), text: text.to_string() });
    all
}

#[test]
fn planted_imports_are_found() {
    for (name, path, text, wanted) in [
        ("thalweg_runtime", "device/planted.rs", "use crate::recording::Recording;", "recording is above device"),
        (
            "thalweg_runtime",
            "device/planted.rs",
            "fn f() { super::super::recording::f(); }",
            "recording is above device",
        ),
        ("thalweg_runtime", "device/planted.rs", "use crate::{Error, Recording};", "recording is above device"),
        (
            "thalweg_runtime",
            "memory/planted.rs",
            "use crate::{error::{Error, Result}, device as d};",
            "device is above",
        ),
        ("thalweg_runtime", "kernel.rs", "use crate::Device;", "device is above kernel"),
        ("thalweg_runtime", "planted.rs", "", "planted has no place"),
        ("thalweg_runtime", "gpu/planted.rs", "use thalweg_tensor::Tensor;", "not below"),
        ("thalweg_tensor", "ops/planted.rs", "fn f(clock: &crate::Clock) {}", "optim is above ops"),
        ("thalweg_tensor", "tensor.rs", "use crate::ops::BinaryOp;", "ops is above tensor"),
        (
            "thalweg_tensor",
            "matmul/planted.rs",
            "mod inner { use super::super::super::optim; }",
            "optim is above matmul",
        ),
        ("thalweg_tensor", "ops/planted.rs", "use wgpu::Device;", "only the runtime knows wgpu"),
        ("thalweg_tensor", "lib.rs", "pub use thalweg_autograd::Tape;", "not below"),
        ("thalweg_nn", "schedule/planted.rs", "use crate::optim::Optimizer;", "a cycle through the folder"),
        ("thalweg_autograd", "rules/planted.rs", "type T = thalweg_nn::Params;", "not below"),
    ] {
        let found = violations(&with(name, path, text));
        assert!(found.iter().any(|line| line.contains(wanted)), "{path}: {text}: {found:?}");
    }
}

#[test]
fn comments_texts_tests_and_imports_from_below_are_none() {
    for (name, path, text) in [
        ("thalweg_runtime", "device/planted.rs", "//! use crate::recording;\n/* crate::recording::f */\n"),
        ("thalweg_runtime", "device/planted.rs", "const A: &str = r#\"use crate::recording::\"A\";\"#;"),
        ("thalweg_runtime", "device/planted.rs", "#[cfg(test)]\nmod tests { use crate::recording::Recording; }"),
        ("thalweg_runtime", "device/planted.rs", "fn f<'a>(x: &'a str, c: char) -> bool { c == '\"' || c == '\\'' }"),
        ("thalweg_runtime", "device/planted.rs", "use super::observer; use crate::{gpu::Gpu, memory::*};"),
        (
            "thalweg_tensor",
            "optim/planted.rs",
            "use crate::{Tensor, ops, matmul::Product}; use thalweg_runtime::Device;",
        ),
    ] {
        let found = violations(&with(name, path, text));
        assert_eq!(found, Vec::<String>::new(), "{text}");
    }
}
