//! The common part of methods that treat parameters as matrices: the table of matrices on the device, and the loops
//! over it.
//!
//! A method creates a [`MatrixPlan`] with one or more [`MatrixTable`]s, once ([`Clock::plan`]). Each launch processes
//! a [`MatrixGroup`] of the table: the matrices of one page. Its twin gets them from [`MatrixWork::of`] and their
//! time from [`MatrixStep::time_of`]. Twin of `shaders/shared/matrices.wgsl` and `shaders/shared/matrix_step.wgsl`.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::clip::Clip;
use super::clock::Clock;
use super::elements::{clipped, of_row};
use super::table::{ROW_ELEMENTS, Row};
use super::time::{ClockWords, Now, Timing, current_time};
use crate::arena::{Arena, Layout};
use crate::kernel::{Kernel, Launch};
use crate::math;
use crate::memory::Placement;
use crate::{Device, Error, Result, Tensor};

/// The elements of a block, unless the tensor is too large; the most blocks of a tensor; the rows of a segment of a
/// column.
const BLOCK_ELEMENTS: usize = 2048;
const MOST_BLOCKS: usize = 1024;
const SEGMENT_ROWS: usize = 256;

/// The number of elements of a row per lane, before another lane shares it.
const ELEMENTS_PER_LANE: usize = 4;

/// A tensor in the table of a launch. Twin of `Matrix` in WGSL.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct Matrix {
    /// The first element in its page of the parameters.
    pub offset: u32,
    /// The number of rows; 1 if it is not a matrix.
    pub rows: u32,
    /// The number of columns; all elements if it is not a matrix.
    pub columns: u32,
    /// The number of elements.
    pub length: u32,
    /// 1 if the method treats it as a matrix, else 0.
    pub is_matrix: u32,
    /// The number of lanes that share a row.
    pub lanes: u32,
    block_elements: u32,
    segments: u32,
    /// The number of its first block.
    pub first_block: u32,
    /// The number of its first group of rows.
    pub first_group: u32,
    first_tile: u32,
    first_column: u32,
    /// The first element in up to three other arenas, and the number of its blocks.
    pub places: [u32; 4],
}

const MATRIX_WORDS: usize = size_of::<Matrix>() / 4;

impl Matrix {
    /// Returns its elements in a page of the parameters, or of an arena of the same layout.
    #[must_use]
    pub fn of<'a>(&self, page: &'a [f32]) -> &'a [f32] {
        &page[self.offset as usize..][..self.length as usize]
    }

    /// Returns its elements in a page of the parameters, or of an arena of the same layout, to write.
    pub fn of_mut<'a>(&self, page: &'a mut [f32]) -> &'a mut [f32] {
        &mut page[self.offset as usize..][..self.length as usize]
    }

    /// Returns its first `length` elements in another arena of the table.
    #[must_use]
    pub fn at<'a>(&self, arena: usize, page: &'a [f32], length: usize) -> &'a [f32] {
        &page[self.places[arena] as usize..][..length]
    }

    /// Returns its first `length` elements in another arena of the table, to write.
    pub fn at_mut<'a>(&self, arena: usize, page: &'a mut [f32], length: usize) -> &'a mut [f32] {
        &mut page[self.places[arena] as usize..][..length]
    }

    /// Returns its partial sums, one for each block.
    #[must_use]
    pub fn partials<'a>(&self, partials: &'a [f32]) -> &'a [f32] {
        &partials[self.first_block as usize..][..self.places[3] as usize]
    }

    /// Returns its partial sums, one for each block, to write.
    pub fn partials_mut<'a>(&self, partials: &'a mut [f32]) -> &'a mut [f32] {
        &mut partials[self.first_block as usize..][..self.places[3] as usize]
    }

    /// Returns the row and the column of an element.
    #[inline(always)]
    #[must_use]
    pub fn place_of(&self, i: usize) -> (usize, usize) {
        (i / self.columns as usize, i % self.columns as usize)
    }

    /// Returns its rows in groups, one for each workgroup.
    pub fn rows_of_groups(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let (rows, step) = (self.rows as usize, math::LANES / self.lanes as usize);
        (0..rows).step_by(step).map(move |start| start..(start + step).min(rows))
    }

    /// Returns its segments of rows. For each it returns the indices of one number per column in the results of a sum
    /// by columns, and the rows.
    pub fn segments(&self) -> impl Iterator<Item = (std::ops::Range<usize>, std::ops::Range<usize>)> + use<> {
        let (rows, columns, first) = (self.rows as usize, self.columns as usize, self.first_column as usize);
        (0..self.segments as usize).map(move |segment| {
            let start = first + segment * columns;
            let from = segment * SEGMENT_ROWS;
            (start..start + columns, from..(from + SEGMENT_ROWS).min(rows))
        })
    }

    /// Returns the indices of one number per row, which follow those of the columns of all segments.
    #[must_use]
    pub fn rows_after_columns(&self) -> std::ops::Range<usize> {
        let start = (self.first_column + self.segments * self.columns) as usize;
        start..start + self.rows as usize
    }

    /// Returns the elements of each of its blocks.
    pub fn blocks(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let (length, elements) = (self.length as usize, self.block_elements as usize);
        (0..length).step_by(elements.max(1)).map(move |start| start..(start + elements).min(length))
    }
}

/// The part of a table that a launch processes. Twin of `Work` in WGSL.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct MatrixWork {
    /// The number of the first tensor.
    pub first: u32,
    /// The number of tensors.
    pub count: u32,
    first_block: u32,
    /// The blocks of these tensors.
    pub blocks: u32,
    first_group: u32,
    /// The groups of rows of these tensors.
    pub groups: u32,
    first_tile: u32,
    /// The tiles of columns by segments of these tensors.
    pub tiles: u32,
}

impl MatrixWork {
    /// Returns the tensors of a launch.
    #[must_use]
    pub fn of<'a>(&self, table: &'a [u32]) -> &'a [Matrix] {
        let matrices: &[Matrix] = bytemuck::cast_slice(table);
        &matrices[self.first as usize..][..self.count as usize]
    }
}

/// The settings common to all tensors of a step. Twin of `MatrixStep` in WGSL.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct MatrixStep {
    weight_decay: f32,
    momentum: f32,
    one_minus_momentum: f32,
    segmented: u32,
    first_row: u32,
    clip: u32,
    clip_value: f32,
    maximize: u32,
}

impl MatrixStep {
    /// Returns the settings of a method, with the clipping of the step.
    #[must_use]
    pub fn new(weight_decay: f64, momentum: f64, maximize: bool, clip: Clip) -> Self {
        let clip_value = clip.value();
        Self {
            weight_decay: weight_decay as f32,
            momentum: momentum as f32,
            one_minus_momentum: (1.0 - momentum) as f32,
            segmented: 0,
            first_row: 0,
            clip: clip_value.is_some().into(),
            clip_value: clip_value.unwrap_or(0.0),
            maximize: maximize.into(),
        }
    }

    /// Returns the settings for a page of the parameters.
    #[must_use]
    pub fn on_page(self, clock: &Clock, page: usize) -> Self {
        let first_row = clock.first_row(page);
        Self { segmented: first_row.is_some().into(), first_row: first_row.unwrap_or(0), ..self }
    }

    /// Returns the time of a tensor; `None` if it is frozen or the step is skipped.
    #[must_use]
    pub fn time_of(&self, matrix: &Matrix, table: &[f32], clock: &[u32]) -> Option<Now> {
        self.time_at(matrix.offset, table, clock)
    }

    /// Returns the time of the tensor that begins at this element of its page, like [`time_of`](Self::time_of).
    #[must_use]
    pub fn time_at(&self, offset: u32, table: &[f32], clock: &[u32]) -> Option<Now> {
        let clock: &ClockWords = bytemuck::from_bytes(bytemuck::cast_slice(clock));
        let timing = Timing::without_betas().with_one_minus_beta1(self.one_minus_momentum);
        let (now, _) = current_time(clock, &[], timing, (self.weight_decay, self.momentum), false);
        // A NaN is passed on.
        if now.clip_factor < 0.0 {
            return None;
        }
        if self.segmented == 0 {
            return Some(now);
        }
        let table: &[Row] = bytemuck::cast_slice(table);
        of_row(table[self.first_row as usize + offset as usize / ROW_ELEMENTS], &now)
    }

    /// Returns an element of the gradient, clipped by value if the step does so.
    #[inline(always)]
    #[must_use]
    pub fn limited(&self, grad: f32) -> f32 {
        if self.clip != 0 { clipped(grad, self.clip_value) } else { grad }
    }

    /// Returns the clip factor, negated if the method maximizes.
    #[must_use]
    pub fn grad_factor(&self, now: &Now) -> f32 {
        if self.maximize != 0 { -now.clip_factor } else { now.clip_factor }
    }
}

/// The tables of a method on the device, and the layouts of its temporary arenas. It depends only on the arenas.
#[derive(Debug)]
pub struct MatrixPlan {
    method: &'static str,
    /// The layouts of the parameters and other arenas.
    of: Vec<Arc<Layout>>,
    /// The tables.
    pub tables: Vec<MatrixTable>,
    /// The layouts of arenas that are temporary within a step.
    pub layouts: Vec<Arc<Layout>>,
}

impl MatrixPlan {
    /// Returns the plan of a method for these arenas.
    #[must_use]
    pub fn new(method: &'static str, arenas: &[&Arena], tables: Vec<MatrixTable>, layouts: Vec<Arc<Layout>>) -> Self {
        let of = arenas.iter().map(|arena| arena.layout().clone()).collect();
        Self { method, of, tables, layouts }
    }

    pub(super) fn is_for(&self, method: &'static str, arenas: &[&Arena]) -> bool {
        self.method == method
            && self.of.len() == arenas.len()
            && self.of.iter().zip(arenas).all(|(layout, arena)| Arc::ptr_eq(layout, arena.layout()))
    }
}

/// The table of an arena's tensors, and the launches that cover them: one for each page.
#[derive(Debug)]
pub struct MatrixTable {
    /// The tensors, in the layout of the kernels.
    pub matrices: Tensor,
    /// The launches.
    pub launches: Vec<MatrixGroup>,
    /// The number of blocks of all tensors.
    pub blocks: usize,
    /// The number of groups of rows of all tensors.
    pub groups: usize,
    /// The number of results of a sum by columns and rows: one per column of each segment, and one per row.
    pub columns: usize,
}

/// Neighbouring tensors that share a page in each arena.
#[derive(Debug, Clone)]
pub struct MatrixGroup {
    /// The part of the table.
    pub work: MatrixWork,
    /// The page of the parameters.
    pub page: usize,
    /// The pages of the other arenas.
    pub pages: [usize; 3],
}

/// Returns the extents of a tensor of two or more dimensions as a matrix: the first dimension by the product of the
/// others.
#[must_use]
pub fn as_matrix(shape: &[usize]) -> Option<(usize, usize)> {
    (shape.len() >= 2).then(|| (shape[0], shape[1..].iter().product()))
}

impl MatrixTable {
    /// Creates the table of the tensors of `layout`, with their offsets in up to three other layouts. `matrix`
    /// returns the extents of a shape that the method treats as a matrix.
    ///
    /// # Errors
    /// If there are more than 2³² blocks, or the device has no room.
    pub fn new(
        device: &Device,
        layout: &Layout,
        others: &[&Layout],
        matrix: impl Fn(&[usize]) -> Option<(usize, usize)>,
    ) -> Result<Self> {
        let mut matrices: Vec<Matrix> = Vec::new();
        let mut launches: Vec<MatrixGroup> = Vec::new();
        let mut pages: [Option<usize>; 4] = [None; 4];
        let (mut blocks, mut groups, mut tiles, mut columns) = (0, 0, 0, 0);
        let others: Vec<Vec<Placement>> = others.iter().map(|layout| layout.places().collect()).collect();
        for (number, (place, shape)) in layout.places().zip(layout.shapes()).enumerate() {
            let found = if place.len > 0 { matrix(shape) } else { None };
            let (rows, width) = found.unwrap_or((1, place.len));
            let lanes = width.div_ceil(ELEMENTS_PER_LANE).next_power_of_two().min(math::LANES);
            let block_elements = BLOCK_ELEMENTS.max(place.len.div_ceil(MOST_BLOCKS));
            let segments = rows.div_ceil(SEGMENT_ROWS);
            // If a tensor has no elements, its page does not matter.
            let here: [Option<usize>; 4] = std::array::from_fn(|i| {
                let place = if i == 0 { Some(&place) } else { others.get(i - 1).map(|places| &places[number]) };
                place.filter(|place| place.len > 0).map(|place| place.page)
            });
            let fits = pages.iter().zip(here).all(|(open, here)| open.is_none() || here.is_none() || *open == here);
            if launches.is_empty() || !fits {
                pages = [None; 4];
                let work = MatrixWork {
                    first: number as u32,
                    count: 0,
                    first_block: blocks as u32,
                    blocks: 0,
                    first_group: groups as u32,
                    groups: 0,
                    first_tile: tiles as u32,
                    tiles: 0,
                };
                launches.push(MatrixGroup { work, page: 0, pages: [0; 3] });
            }
            pages.iter_mut().zip(here).for_each(|(open, here)| *open = open.or(here));
            let offset = |arena: usize| others.get(arena).map_or(0, |places| places[number].offset as u32);
            let own_blocks = place.len.div_ceil(block_elements);
            matrices.push(Matrix {
                offset: place.offset as u32,
                rows: rows as u32,
                columns: width as u32,
                length: place.len as u32,
                is_matrix: found.is_some().into(),
                lanes: lanes as u32,
                block_elements: block_elements as u32,
                segments: segments as u32,
                first_block: blocks as u32,
                first_group: groups as u32,
                first_tile: tiles as u32,
                first_column: columns as u32,
                places: [offset(0), offset(1), offset(2), own_blocks as u32],
            });
            let own_groups = if found.is_some() { rows.div_ceil(math::LANES / lanes) } else { 0 };
            let own_tiles = if found.is_some() { width.div_ceil(math::LANES) * segments } else { 0 };
            blocks += own_blocks;
            groups += own_groups;
            tiles += own_tiles;
            columns += if found.is_some() { segments * width + rows } else { 0 };
            if let Some(group) = launches.last_mut() {
                group.work.count += 1;
                group.work.blocks += own_blocks as u32;
                group.work.groups += own_groups as u32;
                group.work.tiles += own_tiles as u32;
                group.page = pages[0].unwrap_or(0);
                group.pages = [1, 2, 3].map(|i| pages[i].unwrap_or(0));
            }
        }
        if [blocks, groups, tiles, columns].iter().any(|&count| u32::try_from(count).is_err()) {
            let allowed = u64::from(u32::MAX);
            return Err(Error::Limit { op: "matrices", limit: "workgroups", asked: tiles as u64, allowed });
        }
        let words: &[u32] = bytemuck::cast_slice(&matrices);
        // A table without tensors has a row that no launch reads.
        let words = if words.is_empty() { &[0; MATRIX_WORDS][..] } else { words };
        let matrices = Tensor::from_slice(device, words, &[words.len()])?;
        Ok(Self { matrices, launches, blocks, groups, columns })
    }
}

/// Combines the terms of a row that several lanes share, in their order: lane s takes the elements s, s + lanes, …,
/// and then halves are folded onto each other. Twin of `shaders/shared/matrix_rows.wgsl`.
#[inline(always)]
pub fn fold_row(row: &[f32], lanes: usize, join: impl Fn(f32, f32) -> f32, term: impl Fn(f32) -> f32) -> f32 {
    let mut folded = [0.0; math::LANES];
    for chunk in row.chunks(lanes) {
        for (lane, &x) in folded.iter_mut().zip(chunk) {
            *lane = join(*lane, term(x));
        }
    }
    let mut half = lanes / 2;
    while half > 0 {
        for lane in 0..half {
            folded[lane] = join(folded[lane], folded[lane + half]);
        }
        half /= 2;
    }
    folded[0]
}

/// Checks the arenas of a step against the shapes of each arena of state; `None` means the shapes of the parameters.
///
/// # Errors
/// If the number of arenas or their shapes differ, or they are on different devices.
pub fn check_arenas(
    op: &'static str,
    values: &Arena,
    grads: &Arena,
    state: &[Arena],
    shapes: &[Option<&[Vec<usize>]>],
) -> Result<()> {
    values.same_layout(op, &[grads])?;
    if state.len() != shapes.len() {
        let value = format!("{} arenas", state.len());
        return Err(Error::Argument { op, name: "state", value, rule: "one arena for each that the update keeps" });
    }
    for (arena, shapes) in state.iter().zip(shapes) {
        values.pages()[0].same_device(op, &arena.pages()[0])?;
        match shapes {
            None => values.same_layout(op, &[arena])?,
            Some(shapes) => {
                let wrong = arena.len() != shapes.len()
                    || arena.tensors().iter().zip(*shapes).any(|(tensor, shape)| tensor.shape() != shape);
                if wrong {
                    let value = "arenas of other shapes".to_string();
                    return Err(Error::Argument { op, name: "state", value, rule: "those that `state_shapes` tells" });
                }
            }
        }
    }
    Ok(())
}

/// Returns the shapes of an arena's tensors.
#[must_use]
pub fn shapes_of(arena: &Arena) -> Vec<Vec<usize>> {
    arena.tensors().iter().map(|tensor| tensor.shape().to_vec()).collect()
}

/// Launches a kernel with these bindings and `workgroups` workgroups.
///
/// # Errors
/// If the device rejects the launch.
pub fn launch<P: Pod>(kernel: &'static Kernel, params: P, views: &[&Tensor], workgroups: u32) -> Result<()> {
    let launch = views.iter().fold(Launch::new(kernel, params), |launch, view| launch.bind(view));
    launch.workgroups(workgroups as usize).run(views[0].device())
}
