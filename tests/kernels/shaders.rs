//! Every kernel's shader, with every set of constants: valid for SPIR-V, MSL and HLSL, inside the portable limits,
//! and with the bindings that its kernel declares.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;

use naga::back::{PipelineConstants, hlsl, msl, pipeline_constants::process_overrides, spv};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, ShaderStage, StorageAccess};
use thalweg::nn::kernels;
use thalweg::tensor::functions::function_kernels;
use thalweg::tensor::optim::in_pairs;
use thalweg::tensor::{DType, Device, Error, Kernel, Recording, product_kernels};

use crate::common::functions_of;

type Constants = &'static [(&'static str, f64)];

/// The limits that WebGPU guarantees on every device.
const MOST_STORAGE_BUFFERS: usize = 8;
const MOST_INVOCATIONS: u32 = 256;
const MOST_WORKGROUP_BYTES: u32 = 16 * 1024;

/// Checks a text as the shader of a kernel, with one set of constants.
fn check(kernel: &Kernel, source: &str, constants: Constants) -> Result<(), String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|error| error.emit_to_string(source))?;
    // No capability beyond those of every device, except for kernels that are chosen if there are subgroups.
    let subgroups = source.contains("subgroup_invocation_id");
    let cooperative = source.contains("enable wgpu_cooperative_matrix;");
    let mut capabilities = if subgroups { Capabilities::SUBGROUP } else { Capabilities::empty() };
    capabilities.set(Capabilities::COOPERATIVE_MATRIX | Capabilities::SHADER_FLOAT16, cooperative);
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .subgroup_operations(naga::valid::SubgroupOperationSet::all())
        .validate(&module)
        .map_err(|error| error.emit_to_string(source))?;
    check_bindings(kernel, &module)?;
    let constants: PipelineConstants = constants.iter().map(|&(name, value)| (name.to_string(), value)).collect();
    let entry = (ShaderStage::Compute, "main");
    let (module, info) =
        process_overrides(&module, &info, Some(entry), &constants).map_err(|error| format!("overrides: {error}"))?;
    check_limits(&module)?;
    let entry_point = Some((entry.0, entry.1.to_string()));

    let pipeline = spv::PipelineOptions { shader_stage: entry.0, entry_point: entry.1.to_string() };
    let words = spv::write_vec(&module, &info, &spv::Options::default(), Some(&pipeline))
        .map_err(|error| format!("SPIR-V: {error}"))?;

    let lang_version = (2, if cooperative { 3 } else { subgroups.into() });
    let options = msl::Options { lang_version, ..Default::default() };
    let pipeline = msl::PipelineOptions { entry_point: entry_point.clone(), ..Default::default() };
    let (metal, _) = msl::write_string(&module, &info, &options, &pipeline).map_err(|error| format!("MSL: {error}"))?;

    // DX12 has no cooperative matrices.
    let (mut direct, options) = (String::new(), hlsl::Options::default());
    if !cooperative {
        hlsl::Writer::new(&mut direct, &options, &hlsl::PipelineOptions { entry_point })
            .write(&module, &info, None)
            .map_err(|error| format!("HLSL: {error}"))?;
    }
    if words.is_empty() || metal.is_empty() || (direct.is_empty() && !cooperative) {
        return Err("a back end wrote nothing".to_string());
    }
    Ok(())
}

/// Checks that binding 0 is the uniform, if there is one, and the storage buffers follow from 1 with the declared
/// access.
fn check_bindings(kernel: &Kernel, module: &naga::Module) -> Result<(), String> {
    let mut uniform = 0;
    let mut storage = vec![None; kernel.access.len()];
    for (_, variable) in module.global_variables.iter() {
        let Some(binding) = variable.binding else { continue };
        let name = variable.name.as_deref().unwrap_or("?");
        if binding.group != 0 {
            return Err(format!("{name} lies in group {}", binding.group));
        }
        match variable.space {
            AddressSpace::Uniform if binding.binding == 0 => {
                uniform = module.types[variable.ty].inner.size(module.to_ctx()) as usize;
            }
            AddressSpace::Storage { access } if binding.binding > 0 => {
                let place = storage.get_mut(binding.binding as usize - 1);
                *place.ok_or(format!("{name} has binding {}, which no launch binds", binding.binding))? =
                    Some(access.contains(StorageAccess::STORE));
            }
            space => return Err(format!("{name} at binding {} lies in {space:?}", binding.binding)),
        }
    }
    // A uniform's size is rounded up to 16 bytes.
    if uniform.next_multiple_of(16) != kernel.uniform.next_multiple_of(16) {
        return Err(format!("the uniform has {uniform} bytes, the kernel's parameters {}", kernel.uniform));
    }
    let declared: Vec<Option<bool>> = kernel.access.iter().map(|access| Some(access.writes())).collect();
    if storage != declared {
        return Err(format!("the bindings are {storage:?} (written or not), the kernel declares {:?}", kernel.access));
    }
    Ok(())
}

fn check_limits(module: &naga::Module) -> Result<(), String> {
    let storage = module
        .global_variables
        .iter()
        .filter(|(_, variable)| matches!(variable.space, AddressSpace::Storage { .. }))
        .count();
    if storage > MOST_STORAGE_BUFFERS {
        return Err(format!("{storage} storage buffers, portable are {MOST_STORAGE_BUFFERS}"));
    }
    let entry = module.entry_points.iter().find(|entry| entry.name == "main").ok_or("no entry point `main`")?;
    let invocations: u32 = entry.workgroup_size.iter().product();
    if invocations > MOST_INVOCATIONS {
        return Err(format!("{invocations} invocations, portable are {MOST_INVOCATIONS}"));
    }
    let workgroup: u32 = module
        .global_variables
        .iter()
        .filter(|(_, variable)| variable.space == AddressSpace::WorkGroup)
        .map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx()))
        .sum();
    if workgroup > MOST_WORKGROUP_BYTES {
        return Err(format!("{workgroup} bytes of workgroup memory, portable are {MOST_WORKGROUP_BYTES}"));
    }
    Ok(())
}

/// Returns the hand-written kernels, and those of the element-wise functions.
fn all_kernels() -> impl Iterator<Item = &'static Kernel> {
    kernels().chain(function_kernels())
}

#[test]
fn every_kernel_is_valid_for_every_back_end() {
    let mut checked = 0;
    for kernel in all_kernels() {
        assert!(!kernel.variants.is_empty(), "{}: no variant, so nothing would be checked", kernel.name());
        for variant in kernel.variants {
            check(kernel, &kernel.shader.source(), variant)
                .unwrap_or_else(|error| panic!("{} {variant:?}: {error}", kernel.shader.path));
            checked += 1;
        }
    }
    assert!(checked >= 200, "{checked} variants were checked");
}

/// Makes a recording of every function, with operands of every kind, results and state.
fn recording_of_chains() -> Recording {
    let device = Device::cpu();
    let value = |seed, shape: &[usize]| {
        crate::common::tensor(&device, &crate::common::numbers(seed, shape.iter().product(), 0.1, 1.0), shape)
    };
    let (x, y, row, column) = (value(1, &[6, 10]), value(2, &[6, 10]), value(3, &[10]), value(4, &[6, 1]));
    let (recording, _kept) = device
        .record(|| -> Result<_, Error> {
            let [unary, binary, ternary] = [1, 2, 3].map(functions_of);
            let mut kept = Vec::new();
            for f in &unary {
                kept.push(f.of(&f.of(&x, &[])?, &[])?);
                kept.push(kept[kept.len() - 1].sum()?);
            }
            for f in &binary {
                let first = f.of(&f.of(&x, &[&y])?, &[&row])?;
                kept.push(f.of(&f.of(&first, &[&column])?, &[&row.slice(0, 1, 2)?])?);
                kept.push(kept[kept.len() - 1].sum()?);
            }
            for f in &ternary {
                kept.push(f.of(&f.of(&x, &[&y, &row])?, &[&column, &x])?);
                kept.push(kept[kept.len() - 1].sum()?);
            }
            let mut all = x.clone();
            for (i, f) in unary.iter().enumerate() {
                all = binary[i % binary.len()].of(&f.of(&all, &[])?, &[&y])?;
            }
            all.copy_into(&x)?;
            Ok(kept)
        })
        .unwrap();
    recording
}

/// Makes recordings of chains over f16 and bf16, with operands of every kind, results and state.
fn recordings_of_halves() -> [Recording; 2] {
    [DType::F16, DType::BF16].map(|dtype| {
        let device = Device::cpu();
        let value = |shape: &[usize]| {
            let numbers = crate::common::numbers(1, shape.iter().product(), 0.1, 1.0);
            crate::common::tensor(&device, &numbers, shape).to_dtype(dtype).unwrap()
        };
        let (x, y, row, column) = (value(&[6, 10]), value(&[6, 10]), value(&[10]), value(&[6, 1]));
        let body = || -> Result<_, Error> {
            let z = x.add(&y)?.mul(&row)?.sub(&column)?.add(&row.slice(0, 1, 2)?)?.tanh()?;
            z.copy_into(&x)?;
            Ok(z)
        };
        device.record(body).unwrap().0
    })
}

#[test]
fn generated_kernels_are_valid_for_every_back_end() {
    let (recording, halves) = (recording_of_chains(), recordings_of_halves());
    assert!(halves.iter().all(|recording| recording.launches() == 1));
    let mut checked = 0;
    for kernel in recording.generated().chain(halves.iter().flat_map(Recording::generated)) {
        check(kernel, &kernel.shader.source(), &[])
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", kernel.name(), kernel.shader.text));
        checked += 1;
    }
    let least = [1, 2, 3].into_iter().map(|arguments| functions_of(arguments).len()).sum::<usize>() + 3;
    assert!(checked >= least, "{checked} kernels were generated, expected at least {least}");
}

/// The generated products, divided among all threads, because they are many.
#[test]
fn every_generated_product_is_valid_for_every_back_end() {
    let kernels = product_kernels();
    let names: BTreeSet<&str> = kernels.iter().map(|kernel| kernel.shader.text).collect();
    assert_eq!(names.len(), kernels.len(), "a text stands twice");
    assert!(kernels.len() >= 500, "{} kernels were checked", kernels.len());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for part in kernels.chunks(kernels.len().div_ceil(threads)) {
            scope.spawn(move || {
                for kernel in part {
                    check(kernel, kernel.shader.text, &[])
                        .unwrap_or_else(|error| panic!("{}: {error}\n{}", kernel.name(), kernel.shader.text));
                }
            });
        }
    });
}

/// The texts of updates for software, with every set of constants, with and without each arena of state.
#[test]
fn updates_in_pairs_are_valid_for_every_back_end() {
    let mut checked = 0;
    for kernel in kernels() {
        let states = kernel.access.len().saturating_sub(4);
        for kept in 0..=states {
            let keeps: Vec<bool> = (0..states).map(|state| state < kept).collect();
            let Some(pairs) = in_pairs(kernel, &keeps) else { continue };
            for variant in pairs.variants {
                check(pairs, pairs.shader.text, variant)
                    .unwrap_or_else(|error| panic!("{} {variant:?}: {error}\n{}", kernel.name(), pairs.shader.text));
                checked += 1;
            }
        }
    }
    // 25 methods are element-wise, each with at least four sets of constants.
    assert!(checked >= 100, "{checked} variants were checked");
}

/// `tools/check-wgsl` reads the file: a line for each text, with layout and constants.
#[test]
fn every_text_is_written_for_other_compilers() {
    let recording = recording_of_chains();
    let listed = all_kernels().map(|kernel| (kernel, kernel.variants));
    let pairs = kernels().filter_map(|kernel| in_pairs(kernel, &vec![true; kernel.access.len().saturating_sub(4)]));
    let listed = listed.chain(pairs.map(|kernel| (kernel, kernel.variants)));
    let halves = recordings_of_halves();
    let generated = product_kernels().into_iter().chain(recording.generated());
    let generated = generated.chain(halves.iter().flat_map(Recording::generated));
    let all = listed.chain(generated.map(|kernel| (kernel, &[&[] as Constants][..])));
    let lines = all.map(|(kernel, variants)| {
        let access = kernel.access.iter().map(|access| if access.writes() { "write" } else { "read" });
        let line = serde_json::json!({
            "name": kernel.name(),
            "source": kernel.shader.source(),
            "uniform": kernel.uniform,
            "access": access.collect::<Vec<_>>(),
            "variants": variants.iter().map(|set| set.iter().copied().collect()).collect::<Vec<BTreeMap<_, _>>>(),
        });
        format!("{line}\n")
    });
    let text: String = lines.collect();
    assert!(all_kernels().all(|kernel| text.contains(&format!("\"name\":\"{}\"", kernel.name()))));
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("shaders.jsonl"), text).unwrap();
}

#[test]
fn every_shader_has_its_kernel_and_its_file() {
    let shaders: BTreeSet<&str> = thalweg_shaders::ALL.iter().map(|shader| shader.name).collect();
    let names: BTreeSet<&str> = kernels().map(|kernel| kernel.name()).collect();
    assert_eq!(shaders, names);
    assert_eq!(shaders.len(), thalweg_shaders::ALL.len(), "a name stands twice");
    assert_eq!(names.len(), kernels().count(), "a name stands twice");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let listed: BTreeSet<_> = thalweg_shaders::ALL.iter().map(|shader| folder.join(shader.path)).collect();
    let lying = ["tensor", "optim"].iter().flat_map(|part| std::fs::read_dir(folder.join(part)).unwrap());
    let lying: BTreeSet<_> = lying.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(listed, lying);
    for shader in thalweg_shaders::ALL {
        assert!(shader.path.ends_with(&format!("/{}.wgsl", shader.name)), "{}", shader.path);
    }
}

#[test]
fn every_shader_names_its_twin() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for shader in thalweg_shaders::ALL {
        let line = shader.text.lines().find(|line| line.starts_with("// twin"));
        let path = line.and_then(|line| line.split_whitespace().last()).unwrap_or_else(|| panic!("{}", shader.path));
        let constant = shader.name.to_uppercase();
        let text = std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(text.contains(&format!("thalweg_shaders::{constant}")), "{}: {path} has not its twin", shader.path);
    }
}

/// The overrides of a shader are the constants in its kernel's variants.
#[test]
fn every_override_is_in_the_variants() {
    for kernel in all_kernels() {
        let module = naga::front::wgsl::parse_str(&kernel.shader.source()).unwrap();
        let declared: BTreeSet<&str> =
            module.overrides.iter().map(|(_, constant)| constant.name.as_deref().unwrap()).collect();
        for variant in kernel.variants {
            let given: BTreeSet<&str> = variant.iter().map(|(name, _)| *name).collect();
            assert_eq!(declared, given, "{}", kernel.name());
        }
    }
}

#[test]
fn broken_shaders_fail() {
    let square = function_kernels().into_iter().find(|kernel| kernel.name() == "square").unwrap();
    let good = square.shader.source();
    let broken = |from: &str, to: &str| {
        assert!(good.contains(from), "{from:?} is not in the text any more");
        check(square, &good.replacen(from, to, 1), square.variants[0]).unwrap_err()
    };
    check(square, &good, square.variants[0]).unwrap();
    let error = broken("return x * x;", "return x * x");
    assert!(error.contains("expected"), "{error}");
    let error = broken("return x * x;", "return 1u + x;");
    assert!(error.contains("'apply' is invalid"), "{error}");
    let error = broken("var<storage, read> b0", "var<storage, read_write> b0");
    assert!(error.contains("the kernel declares"), "{error}");
    let error = broken("@binding(1)", "@binding(3)");
    assert!(error.contains("which no launch binds"), "{error}");
    let error = broken("    length: u32,", "    length: u32,\n    more: vec4f,");
    assert!(error.contains("the uniform has"), "{error}");
    let error = broken("@workgroup_size(64)", "@workgroup_size(512)");
    assert!(error.contains("512 invocations"), "{error}");
    let large = "var<workgroup> large: array<f32, 4097>;\n";
    let large = good.replace("    b1[i] =", "    large[lane] = 1.0;\n    b1[i] = large[0] *") + large;
    let error = check(square, &large, square.variants[0]).unwrap_err();
    assert!(error.contains("16388 bytes"), "{error}");
    let error = check(square, &good, &[("OPERATION", 1.0)]).unwrap_err();
    assert!(error.starts_with("overrides"), "{error}");
}

/// wgpu's backend that runs nothing accepts every kernel with the limits of every device.
#[test]
fn pipelines_are_created_with_default_limits() {
    let (device, _queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    for kernel in all_kernels() {
        let buffer = |binding, ty, has_dynamic_offset| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None },
            count: None,
        };
        let uniform = (kernel.uniform > 0).then(|| buffer(0, wgpu::BufferBindingType::Uniform, true));
        let storage = kernel.access.iter().enumerate().map(|(i, access)| {
            let read_only = !access.writes();
            buffer(i as u32 + 1, wgpu::BufferBindingType::Storage { read_only }, false)
        });
        let entries: Vec<_> = uniform.into_iter().chain(storage).collect();
        for variant in kernel.variants {
            let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
            let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(kernel.name()),
                source: wgpu::ShaderSource::Wgsl(kernel.shader.source().into()),
            });
            let layout =
                device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
            let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: None,
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            });
            let _pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(kernel.name()),
                layout: Some(&layout),
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions { constants: variant, ..Default::default() },
                cache: None,
            });
            let error = std::pin::pin!(scope.pop());
            // The backend does everything at once, so the result is ready.
            let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
            match error.poll(context) {
                std::task::Poll::Ready(None) => {}
                answer => panic!("{} {variant:?}: {answer:?}", kernel.name()),
            }
        }
    }
}
