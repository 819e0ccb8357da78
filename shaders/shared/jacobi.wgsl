// Rotations of pairs of columns: the pairs of a round, and the angle.
//
// twin: crates/tensor/src/linalg/jacobi.rs
// source: Golub, Van Loan: Matrix computations, section 8.5

// Returns the pair at a position in a round of a tournament of n, which is even: the smaller number first.
fn pair_at(place: u32, round: u32, n: u32) -> vec2u {
    var a = n - 1u;
    var b = round;
    if (place > 0u) {
        a = (round + place) % (n - 1u);
        b = (round + n - 1u - place) % (n - 1u);
    }
    return vec2u(min(a, b), max(a, b));
}

// Returns the sine s, s / (1 + c) and the tangent of the rotation that makes pq zero.
fn rotation_of(pp: f32, qq: f32, pq: f32) -> vec3f {
    let theta = 0.5 * (qq - pp) / pq;
    var t = 0.5 / theta;
    if (abs(theta) < 1e6) { t = select(1.0, -1.0, theta < 0.0) / (abs(theta) + sqrt(theta * theta + 1.0)); }
    let cosine = 1.0 / sqrt(t * t + 1.0);
    let sine = t * cosine;
    return vec3f(sine, sine / (1.0 + cosine), t);
}

// Returns (c x - s y, s x + c y) from s and s / (1 + c), which have less rounding than c.
fn rotated(v: vec2f, sine: f32, tau: f32) -> vec2f {
    return vec2f(v.x - sine * (v.y + tau * v.x), v.y + sine * (v.x - tau * v.y));
}
