// Compiles the texts that tests/shaders.rs writes, with every set of constants, with Dawn's backend that runs nothing.
//   node check-wgsl.mjs path/of/webgpu/index.js shaders.jsonl
// A line of the file: name, source, bytes of the uniform, access of each storage binding, sets of constants.
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [library, file] = process.argv.slice(2);
let device;
try {
  const { create } = await import(pathToFileURL(path.resolve(library)));
  const gpu = create(['backend=null', 'enable-dawn-features=allow_unsafe_apis']);
  const adapter = await gpu.requestAdapter();
  // Without further limits: a device has those that WebGPU promises.
  device = await adapter.requestDevice({ requiredFeatures: ['subgroups', 'shader-f16'].filter((f) => adapter.features.has(f)) });
} catch (error) {
  console.log(`tools/check-wgsl: skipped: Dawn does not start here: ${error.message}`);
  process.exit(3);
}

const COMPUTE = 4;
const counts = { passed: 0, failed: 0, beyond: 0 };
const problems = new Map();

function note(problem, name) {
  counts.failed += 1;
  problems.set(problem, [...(problems.get(problem) ?? []), name]);
}

function layoutOf({ uniform, access }) {
  const entries = access.map((access, i) => {
    return { binding: i + 1, visibility: COMPUTE, buffer: { type: access === 'read' ? 'read-only-storage' : 'storage' } };
  });
  if (uniform > 0) {
    const buffer = { type: 'uniform', hasDynamicOffset: true, minBindingSize: 16 * Math.ceil(uniform / 16) };
    entries.push({ binding: 0, visibility: COMPUTE, buffer });
  }
  return device.createPipelineLayout({ bindGroupLayouts: [device.createBindGroupLayout({ entries })] });
}

async function check(kernel) {
  const { name, variants } = kernel;
  // Cooperative matrices are an extension of wgpu, which no other compiler accepts.
  if (kernel.source.includes('enable wgpu_cooperative_matrix;')) {
    counts.beyond += 1;
    return;
  }
  // WGSL asks for this line where naga refuses it.
  const code = kernel.source.includes('subgroup_invocation_id') ? `enable subgroups;\n${kernel.source}` : kernel.source;
  device.pushErrorScope('validation');
  const module = device.createShaderModule({ label: name, code });
  const scope = device.popErrorScope();
  const { messages } = await module.getCompilationInfo();
  await scope;
  const errors = messages.filter((message) => message.type === 'error');
  if (errors.length > 0) {
    const lines = code.split('\n');
    errors.forEach(({ message, lineNum }) => note(`${message}: ${(lines[lineNum - 1] ?? '').trim()}`, name));
    return;
  }
  const layout = layoutOf(kernel);
  const compile = async (constants) => {
    try {
      await device.createComputePipelineAsync({ label: name, layout, compute: { module, entryPoint: 'main', constants } });
      counts.passed += 1;
    } catch (error) {
      note(error.message.split('\n')[0], name);
    }
  };
  await Promise.all(variants.map(compile));
}

const kernels = fs.readFileSync(file, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
const AT_ONCE = 64;
for (let i = 0; i < kernels.length; i += AT_ONCE) {
  await Promise.all(kernels.slice(i, i + AT_ONCE).map(check));
}
for (const [problem, names] of problems) {
  console.log(`${[...new Set(names)].join(', ')}: ${problem}`);
}
const { passed, failed, beyond } = counts;
console.log(`tools/check-wgsl: ${kernels.length} texts: ${passed} variants pass, ${failed} problems, ${beyond} texts beyond WGSL left out`);
// Nothing to check is a mistake, too.
process.exit(failed > 0 || passed < kernels.length - beyond ? 1 : 0);
