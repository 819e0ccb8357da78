//! Contour lines by marching squares, and their preparation for a picture: clipping and simplification.

use std::collections::BTreeMap;

/// A line through these points; a closed one ends where it begins.
pub(crate) struct Line {
    pub(crate) level: f64,
    pub(crate) points: Vec<[f64; 2]>,
}

/// Points in rows and columns that fill a view evenly.
pub(crate) struct Grid {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
    pub(crate) view: [[f64; 2]; 2],
}

/// The edge from a point of the grid to its neighbour to the right (0) or above (1).
type Edge = (usize, usize);

impl Grid {
    fn point(&self, index: usize) -> [f64; 2] {
        let place = [index % self.columns, index / self.columns];
        let count = [self.columns, self.rows];
        std::array::from_fn(|i| {
            let [least, most] = self.view[i];
            least + (most - least) * place[i] as f64 / (count[i] - 1) as f64
        })
    }

    /// Returns all points, row by row.
    pub(crate) fn points(&self) -> impl Iterator<Item = [f64; 2]> {
        (0..self.columns * self.rows).map(|index| self.point(index))
    }

    /// Returns the lines along which these values, one per point, have this level.
    pub(crate) fn contour(&self, values: &[f32], level: f64) -> Vec<Line> {
        let is_above = |index: usize| f64::from(values[index]) >= level;
        // The neighbours of each edge: a line passes through a cell from one edge to another.
        let mut next: BTreeMap<Edge, Vec<Edge>> = BTreeMap::new();
        for row in 0..self.rows - 1 {
            for column in 0..self.columns - 1 {
                let corner = row * self.columns + column;
                let corners = [corner, corner + 1, corner + self.columns + 1, corner + self.columns];
                let edges = [(corner, 0), (corner + 1, 1), (corner + self.columns, 0), (corner, 1)];
                let crossed: Vec<usize> =
                    (0..4).filter(|&i| is_above(corners[i]) != is_above(corners[(i + 1) % 4])).collect();
                let mut join = |a: usize, b: usize| {
                    next.entry(edges[a]).or_default().push(edges[b]);
                    next.entry(edges[b]).or_default().push(edges[a]);
                };
                match crossed[..] {
                    [a, b] => join(a, b),
                    // A saddle: the middle decides which corners are connected.
                    [_, _, _, _] => {
                        let middle = corners.iter().map(|&index| f64::from(values[index])).sum::<f64>() / 4.0;
                        let turn = usize::from((middle >= level) == is_above(corner));
                        join(0, if turn == 1 { 1 } else { 3 });
                        join(2, if turn == 1 { 3 } else { 1 });
                    }
                    _ => {}
                }
            }
        }
        let place = |(index, direction): Edge| {
            let other = index + if direction == 0 { 1 } else { self.columns };
            let (from, to) = (f64::from(values[index]), f64::from(values[other]));
            let (start, end, part) = (self.point(index), self.point(other), (level - from) / (to - from));
            std::array::from_fn(|i| start[i] + part * (end[i] - start[i]))
        };
        let mut lines = Vec::new();
        // Open lines begin at the border, at an edge with one neighbour; the rest is closed.
        for open in [true, false] {
            while let Some(first) = next.iter().find(|(_, n)| !open || n.len() == 1).map(|(&edge, _)| edge) {
                let mut line = vec![first];
                let mut edge = first;
                while let Some(other) = next.get_mut(&edge).and_then(Vec::pop) {
                    if let Some(back) = next.get_mut(&other) {
                        back.retain(|&e| e != edge);
                    }
                    line.push(other);
                    edge = other;
                }
                next.retain(|_, neighbours| !neighbours.is_empty());
                lines.push(Line { level, points: line.into_iter().map(place).collect() });
            }
        }
        lines
    }
}

/// Returns the parts of a line inside a view.
pub(crate) fn clip(points: &[[f64; 2]], view: [[f64; 2]; 2]) -> Vec<Vec<[f64; 2]>> {
    let mut parts: Vec<Vec<[f64; 2]>> = Vec::new();
    // The end of the previous part, if the line has not left the view since.
    let mut last = None;
    for pair in points.windows(2) {
        let Some([from, to]) = clip_segment([pair[0], pair[1]], view) else {
            last = None;
            continue;
        };
        match parts.last_mut() {
            Some(part) if last == Some(from) => part.push(to),
            _ => parts.push(vec![from, to]),
        }
        last = Some(to);
    }
    parts
}

/// Returns the part of a segment between the four lines of the border, by Liang and Barsky.
fn clip_segment([from, to]: [[f64; 2]; 2], view: [[f64; 2]; 2]) -> Option<[[f64; 2]; 2]> {
    let (mut enter, mut leave) = (0f64, 1f64);
    for i in 0..2 {
        let length = to[i] - from[i];
        let [at_least, at_most] = view[i].map(|border| (border - from[i]) / length);
        if length == 0.0 {
            if !(view[i][0]..=view[i][1]).contains(&from[i]) {
                return None;
            }
            continue;
        }
        enter = enter.max(at_least.min(at_most));
        leave = leave.min(at_least.max(at_most));
    }
    let is_finite = from.iter().chain(&to).all(|x| x.is_finite());
    // The ends themselves stay as they are, so that the next parts can join them.
    let at = |part: f64| std::array::from_fn(|i| from[i] + part * (to[i] - from[i]));
    let start = if enter == 0.0 { from } else { at(enter) };
    (is_finite && enter <= leave).then(|| [start, if leave == 1.0 { to } else { at(leave) }])
}

/// Leaves out points within `tolerance` of the line without them, measured in units of `scale` (Douglas and Peucker).
pub(crate) fn simplify(points: &[[f64; 2]], scale: [f64; 2], tolerance: f64) -> Vec<[f64; 2]> {
    if points.len() < 3 {
        return points.to_vec();
    }
    let scaled: Vec<[f64; 2]> = points.iter().map(|p| [p[0] * scale[0], p[1] * scale[1]]).collect();
    let mut kept = vec![false; points.len()];
    let mut spans = vec![(0, points.len() - 1)];
    while let Some((first, last)) = spans.pop() {
        (kept[first], kept[last]) = (true, true);
        let distance = |i: usize| (i, distance(scaled[i], scaled[first], scaled[last]));
        let farthest = (first + 1..last).map(distance).max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((middle, _)) = farthest.filter(|&(_, distance)| distance > tolerance) {
            spans.extend([(first, middle), (middle, last)]);
        }
    }
    points.iter().zip(kept).filter(|&(_, kept)| kept).map(|(&point, _)| point).collect()
}

/// Returns the distance from a point to a segment.
pub(crate) fn distance(point: [f64; 2], from: [f64; 2], to: [f64; 2]) -> f64 {
    let along = [to[0] - from[0], to[1] - from[1]];
    let square = along[0].powi(2) + along[1].powi(2);
    let dot = (point[0] - from[0]) * along[0] + (point[1] - from[1]) * along[1];
    let part = if square > 0.0 { (dot / square).clamp(0.0, 1.0) } else { 0.0 };
    (point[0] - from[0] - part * along[0]).hypot(point[1] - from[1] - part * along[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contour_of_a_cone_is_a_closed_circle() {
        let grid = Grid { columns: 81, rows: 61, view: [[-2.0, 2.0], [-1.5, 1.5]] };
        let values: Vec<f32> = grid.points().map(|[x, y]| x.hypot(y) as f32).collect();
        let lines = grid.contour(&values, 1.0);
        assert_eq!(lines.len(), 1);
        let points = &lines[0].points;
        assert!(points.len() > 100 && points[0] == points[points.len() - 1]);
        assert!(points.iter().all(|[x, y]| (x.hypot(*y) - 1.0).abs() < 1e-3));
        // At 1.8 the view cuts it into two arcs, which begin and end at the border.
        let lines = grid.contour(&values, 1.8);
        assert_eq!(lines.len(), 2);
        for [_, y] in lines.iter().flat_map(|line| [line.points[0], line.points[line.points.len() - 1]]) {
            assert!((y.abs() - 1.5).abs() < 1e-12, "{y}");
        }
    }

    #[test]
    fn a_saddle_joins_the_corners_that_its_middle_joins() {
        let grid = Grid { columns: 2, rows: 2, view: [[0.0, 1.0], [0.0, 1.0]] };
        // High at the lower left and the upper right. A high middle joins these: the lines cut off the other corners.
        for (high, cut_off) in [(10.0, [1.0, 0.0]), (1.0, [0.0, 0.0])] {
            let lines = grid.contour(&[high, 0.0, 0.0, high], 0.75);
            assert_eq!(lines.len(), 2);
            let is_near = |line: &Line| line.points.iter().all(|p| (p[0] - cut_off[0]).hypot(p[1] - cut_off[1]) < 0.95);
            assert!(lines.iter().any(is_near), "{high}");
        }
    }

    #[test]
    fn lines_end_at_the_border_and_come_back() {
        let view = [[0.0, 1.0], [0.0, 1.0]];
        let parts = clip(&[[0.5, 0.5], [1.5, 0.5], [1.5, 0.25], [0.5, 0.25], [0.25, 0.25]], view);
        assert_eq!(parts, [vec![[0.5, 0.5], [1.0, 0.5]], vec![[1.0, 0.25], [0.5, 0.25], [0.25, 0.25]]]);
        assert_eq!(clip(&[[-1.0, 2.0], [2.0, 2.0]], view), Vec::<Vec<[f64; 2]>>::new());
        assert_eq!(clip(&[[0.5, 0.5], [f64::NAN, 0.5]], view), Vec::<Vec<[f64; 2]>>::new());
    }

    #[test]
    fn points_on_a_straight_line_are_left_out() {
        let points = [[0.0, 0.0], [1.0, 0.05], [2.0, 0.0], [2.0, 5.0]];
        assert_eq!(simplify(&points, [1.0, 1.0], 0.1), [points[0], points[2], points[3]]);
        assert_eq!(simplify(&points, [1.0, 4.0], 0.1), points);
        assert_eq!(simplify(&points[..1], [1.0, 1.0], 0.1), points[..1]);
    }
}
