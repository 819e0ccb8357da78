// Keeps the first `count` components of a vector and zeroes the rest.
//
// Kernels that work on `vec4f` use it if the length is not a multiple of four. The elements after a tensor in its
// buffer are padding, which must stay zero in the arena of parameters.

fn keep_first(value: vec4f, count: u32) -> vec4f {
    return select(vec4f(0.0), value, vec4u(0u, 1u, 2u, 3u) < vec4u(count));
}
