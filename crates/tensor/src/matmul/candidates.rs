//! The choice of the kernel of a product, from the properties of the device.

use super::generated::form::{Epilogue, Family};
use crate::{DeviceInfo, DeviceKind};

/// The properties of a device that determine the choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ProductProfile {
    /// The lanes of a subgroup, if there are subgroups of one fixed size.
    pub(crate) lanes: Option<u32>,
    /// Whether the driver is software.
    pub(crate) software: bool,
    /// The most threads of a software driver.
    pub(crate) threads: usize,
    /// The number of rows and columns of cooperative matrices, if supported.
    pub(crate) cooperative: Option<u32>,
}

/// The extents of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Extents {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
}

impl Extents {
    /// Returns the number of multiplications and additions.
    pub(crate) fn operations(self) -> f64 {
        2.0 * self.m as f64 * self.n as f64 * self.k as f64
    }
}

/// A candidate kernel: a family, and whether it computes the transposed product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Candidate {
    pub(crate) family: Family,
    pub(crate) swapped: bool,
}

impl Candidate {
    /// Returns the number of vectors that a lane adds to, which determines the length of the text and its compile
    /// time.
    fn units(self) -> u32 {
        match self.family {
            Family::Subgroup { rows, vectors, .. } => rows * vectors,
            Family::Blocks { thread_rows, thread_columns, .. } => thread_rows * thread_columns / 4,
            // Its compile time does not affect the choice.
            Family::Cooperative { .. } => 0,
        }
    }
}

/// The compile time of a unit on lavapipe.
const NANOSECONDS_TO_COMPILE: f64 = 4e6;

/// Tiles of the subgroup family: rows, at least as many as lanes, and vectors per lane. Larger ones load less per
/// result, but take longer to compile: 40, 70, 115, 120 and 235 ms on lavapipe, with an empty cache. The last is for
/// 16 lanes or more, where it is a square. Even larger ones are slower: their text exceeds a processor's cache of
/// decoded instructions.
const SUBGROUP_TILES: [(u32, u32); 6] = [(8, 1), (16, 1), (32, 1), (16, 2), (32, 2), (64, 1)];

/// Below this number of operations hardware uses the strided kernel, which compiles as fast as it launches.
const LEAST_OPERATIONS: f64 = 60e3;

/// Below this number of operations only the smallest kernel is worth compiling, and up to four times as many, one
/// that is twice as long. So the first step of a small network is fast.
const FEW_OPERATIONS: f64 = 2e6;

/// The number of launches after which a software driver's compilation of a kernel should pay off.
const LAUNCHES: f64 = 4000.0;

const fn blocks(rows: u32, columns: u32, thread_rows: u32, thread_columns: u32, depth: u32) -> Family {
    Family::Blocks { rows, columns, thread_rows, thread_columns, depth }
}

/// Tiles of the block family, the largest first; the last is for results with few rows or, swapped, few columns.
const BLOCKS: [Family; 4] =
    [blocks(128, 128, 8, 8, 8), blocks(64, 64, 8, 4, 16), blocks(32, 32, 4, 4, 16), blocks(16, 64, 4, 4, 16)];

/// The number of workgroups that keeps hardware busy: a tile size is chosen only if it has as many.
const BUSY: usize = 128;

/// The fewest steps of k that are worth a slice, whose results are written, read and added.
const LEAST_SLICE: usize = 256;

/// A result with at most this many rows or columns is skinny.
const SKINNY: usize = 16;

impl ProductProfile {
    pub(crate) fn new(info: &DeviceInfo) -> Self {
        let (least, most) = info.subgroup_size;
        // The generator supports these sizes; the smallest and the largest occur only on software drivers.
        let usable = info.features.subgroups && least == most && matches!(least, 4 | 8 | 16 | 32);
        Self {
            lanes: usable.then_some(least),
            software: info.kind == DeviceKind::Software,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            cooperative: info.cooperative_matrix_side,
        }
    }

    /// Returns the kernel with f16 operands, if the adapter has one and the product is large enough to fill it.
    pub(crate) fn of_half_precision(&self, extents: Extents) -> Option<Candidate> {
        let family = Family::Cooperative { lanes: self.lanes?, side: self.cooperative? };
        let Extents { m, n, k } = extents;
        (m.min(n) > SKINNY && k > SKINNY).then_some(Candidate { family, swapped: false })
    }

    /// Returns all kernels that this profile may choose.
    pub(crate) fn candidates(&self) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for family in self.families() {
            candidates.push(Candidate { family, swapped: false });
        }
        // The smallest tile is for few columns: the last block, or the first subgroup tile.
        let skinny = match candidates.first() {
            Some(Candidate { family: family @ Family::Subgroup { .. }, .. }) => *family,
            _ => BLOCKS[BLOCKS.len() - 1],
        };
        candidates.push(Candidate { family: skinny, swapped: true });
        candidates
    }

    fn families(&self) -> Vec<Family> {
        match self.lanes {
            Some(lanes) if self.software => {
                let mut families = Vec::new();
                for (rows, vectors) in SUBGROUP_TILES {
                    let family = Family::Subgroup { lanes, rows: rows.max(lanes), vectors };
                    if rows <= 4 * lanes.max(8) && !families.contains(&family) {
                        families.push(family);
                    }
                }
                families
            }
            _ => BLOCKS.to_vec(),
        }
    }

    /// Returns the kernel for a product, or for `count` of them at once; `None` for the plain strided one. Kernels for which `made` returns `true`
    /// need no compilation.
    pub(crate) fn choose(
        &self,
        extents: Extents,
        count: usize,
        epilogue: Epilogue,
        made: impl Fn(Candidate) -> bool,
    ) -> Option<Candidate> {
        let operations = count as f64 * extents.operations();
        // On software drivers the strided kernel takes longer to compile than the smallest tile.
        let subgroups = self.software && self.lanes.is_some();
        if extents.k == 0 || (operations < LEAST_OPERATIONS && !subgroups) {
            return None;
        }
        let candidates = self.candidates();
        let mut fitting = candidates.iter().copied();
        if subgroups {
            let smallest = candidates.first().map_or(0, |candidate| candidate.units());
            let most = match operations / FEW_OPERATIONS {
                ..1.0 => smallest,
                ..4.0 => 2 * smallest,
                _ => u32::MAX,
            };
            let estimates = fitting.filter_map(|candidate| {
                let compilation = match candidate.units() {
                    _ if made(candidate) => 0.0,
                    units if units > most => return None,
                    units => NANOSECONDS_TO_COMPILE * f64::from(units) / LAUNCHES,
                };
                Some((candidate, self.estimate(candidate, extents, count) + compilation))
            });
            return estimates.min_by(|x, y| x.1.total_cmp(&y.1)).map(|(candidate, _)| candidate);
        }
        let Extents { m, n, .. } = extents;
        // Swapped kernels do not split k, which is long in a weight's gradient.
        let can_swap = !matches!(epilogue, Epilogue::WeightGrad { .. });
        if m <= SKINNY || (n <= SKINNY && can_swap) {
            return fitting.find(|candidate| candidate.family.tile().0 <= SKINNY && candidate.swapped == (m > SKINNY));
        }
        let tiles = |candidate: &Candidate| {
            let (rows, columns) = candidate.family.tile();
            count * m.div_ceil(rows) * n.div_ceil(columns)
        };
        let mut fitting = fitting.filter(|candidate| !candidate.swapped && candidate.family.tile().0 > SKINNY);
        let smallest = Candidate { family: BLOCKS[2], swapped: false };
        Some(fitting.find(|candidate| tiles(candidate) >= BUSY).unwrap_or(smallest))
    }

    /// Returns the length of a slice of k if the sum is split: for results with few tiles and a long sum, on
    /// hardware.
    pub(crate) fn slice(&self, extents: Extents, candidate: Candidate) -> Option<u32> {
        let Extents { m, n, k } = extents;
        if self.software || candidate.swapped {
            return None;
        }
        let (rows, columns) = candidate.family.tile();
        let tiles = m.div_ceil(rows) * n.div_ceil(columns);
        let slices = (BUSY / tiles).min(k / LEAST_SLICE);
        // Slices of a multiple of 16 consist of whole vectors and whole stages.
        (slices >= 2).then(|| k.div_ceil(slices).next_multiple_of(16) as u32)
    }

    /// Estimates the nanoseconds of a software driver. A step of four k costs 15 for each load of a subgroup and 2.9
    /// for each vector that it adds to, as measured on lavapipe with eight lanes. Threads share the tiles evenly.
    fn estimate(&self, candidate: Candidate, extents: Extents, count: usize) -> f64 {
        let Family::Subgroup { lanes, rows, vectors } = candidate.family else { return f64::INFINITY };
        let Extents { m, n, k } = extents;
        let (m, n) = if candidate.swapped { (n, m) } else { (m, n) };
        let (tile_rows, tile_columns) = candidate.family.tile();
        let tiles = count * m.div_ceil(tile_rows) * n.div_ceil(tile_columns);
        let loads = f64::from(rows / lanes + 4 * vectors) * f64::from(lanes) / 8.0;
        let step = 15.0 * loads + 2.9 * f64::from(rows * vectors);
        // A store costs as much as a load; more if lanes store to separate rows, and even more element by element.
        let slower = match candidate.swapped {
            false => 1.0,
            true if extents.n.is_multiple_of(4) => 1.75,
            true => 3.0,
        };
        let stores = 15.0 * f64::from(rows * vectors) * f64::from(lanes) / 8.0 * slower;
        tiles.div_ceil(self.threads) as f64 * (step * k.div_ceil(4) as f64 + stores)
    }
}
