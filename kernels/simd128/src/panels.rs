//! Matrices in the order that `tile` reads them: panels of 8 rows as [k][8], panels of 4 columns as [k][4].
//! What a panel lacks at the edge of the matrix is zero.

use crate::tile::{COLUMNS, ROWS};
use crate::vector::{load, load_part, splat, store, transpose, v128};

/// A matrix in memory: element (row, column) lies at `start[row * row_stride + column * column_stride]`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix {
    pub(crate) start: *const f32,
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

impl Matrix {
    /// # Safety
    /// Row and column lie in the matrix.
    unsafe fn at(&self, row: usize, column: usize) -> *const f32 {
        // SAFETY: the caller's promise.
        unsafe { self.start.add(row * self.row_stride + column * self.column_stride) }
    }

    /// Rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self { row_stride: self.column_stride, column_stride: self.row_stride, ..self }
    }
}

/// Packs rows `row .. row + rows` (at most 8) and columns `from .. from + k` into one panel of 8 rows.
///
/// # Safety
/// The matrix holds these rows and columns, and `panel` holds `k * 8` floats.
pub(crate) unsafe fn pack_rows(matrix: Matrix, row: usize, rows: usize, from: usize, k: usize, panel: *mut f32) {
    // SAFETY: the caller's promise; the two halves fill floats 0..4 and 4..8 of each step.
    unsafe {
        let low = rows.min(4);
        spread(matrix, (row, low), (from, k), panel, ROWS);
        spread(matrix, (row + low, rows - low), (from, k), panel.add(4), ROWS);
    }
}

/// Packs columns `column .. column + columns` (at most 4) and rows `from .. from + k` into one panel of 4 columns.
///
/// # Safety
/// The matrix holds these rows and columns, and `panel` holds `k * 4` floats.
pub(crate) unsafe fn pack_columns(
    matrix: Matrix,
    column: usize,
    columns: usize,
    from: usize,
    k: usize,
    panel: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe { spread(matrix.transposed(), (column, columns), (from, k), panel, COLUMNS) }
}

/// Writes `lanes` (at most 4) rows of the matrix as lanes: step p goes to `panel[p * stride ..][..4]`.
///
/// # Safety
/// As for [`pack_rows`]; `panel` holds `(k - 1) * stride + 4` floats.
#[inline(never)]
unsafe fn spread(
    matrix: Matrix,
    (row, lanes): (usize, usize),
    (from, k): (usize, usize),
    panel: *mut f32,
    stride: usize,
) {
    // SAFETY: rows `row .. row + lanes` and columns `from .. from + k` are in the matrix; a lane that is not there reads no memory.
    unsafe {
        if lanes == 0 {
            for p in 0..k {
                store(panel.add(p * stride), splat(0.0));
            }
        } else if matrix.row_stride == 1 {
            for p in 0..k {
                let source = matrix.at(row, from + p);
                let v = if lanes == 4 { load(source) } else { load_part(source, lanes) };
                store(panel.add(p * stride), v);
            }
        } else if matrix.column_stride == 1 {
            let rows: [*const f32; 4] = core::array::from_fn(|i| matrix.at(row + i.min(lanes - 1), from));
            let mut p = 0;
            while p + 4 <= k {
                let v = |i: usize| -> v128 { if i < lanes { load(rows[i].add(p)) } else { splat(0.0) } };
                for (q, v) in transpose([v(0), v(1), v(2), v(3)]).into_iter().enumerate() {
                    store(panel.add((p + q) * stride), v);
                }
                p += 4;
            }
            for p in p..k {
                for (i, source) in rows.iter().enumerate() {
                    panel.add(p * stride + i).write(if i < lanes { source.add(p).read() } else { 0.0 });
                }
            }
        } else {
            for p in 0..k {
                for i in 0..4 {
                    let value = if i < lanes { matrix.at(row + i, from + p).read() } else { 0.0 };
                    panel.add(p * stride + i).write(value);
                }
            }
        }
    }
}

/// Floats of all row panels of a matrix with `rows` rows.
pub(crate) fn row_panel_floats(rows: usize, k: usize) -> usize {
    rows.div_ceil(ROWS) * ROWS * k
}

/// Floats of all column panels of a matrix with `columns` columns.
pub(crate) fn column_panel_floats(columns: usize, k: usize) -> usize {
    columns.div_ceil(COLUMNS) * COLUMNS * k
}

/// Packs all rows, each panel with the whole of k.
///
/// # Safety
/// The matrix has `rows` rows and `k` columns, and `panels` holds [`row_panel_floats`].
pub(crate) unsafe fn pack_all_rows(matrix: Matrix, rows: usize, k: usize, panels: *mut f32) {
    for row in (0..rows).step_by(ROWS) {
        // SAFETY: the caller's promise.
        unsafe { pack_rows(matrix, row, ROWS.min(rows - row), 0, k, panels.add(row * k)) };
    }
}

/// Packs all columns, each panel with the whole of k.
///
/// # Safety
/// The matrix has `k` rows and `columns` columns, and `panels` holds [`column_panel_floats`].
pub(crate) unsafe fn pack_all_columns(matrix: Matrix, columns: usize, k: usize, panels: *mut f32) {
    for column in (0..columns).step_by(COLUMNS) {
        // SAFETY: the caller's promise.
        unsafe { pack_columns(matrix, column, COLUMNS.min(columns - column), 0, k, panels.add(column * k)) };
    }
}

/// Writes four rows of k (`sources`, `columns` floats each) as steps `p .. p + 4` of column panels that lie `panel_floats` apart.
///
/// # Safety
/// Each source holds `columns` floats; the panels hold the steps.
#[inline(never)]
pub(crate) unsafe fn interleave(
    sources: [*const f32; 4],
    columns: usize,
    panels: *mut f32,
    panel_floats: usize,
    p: usize,
) {
    let whole = columns / COLUMNS;
    // SAFETY: the caller's promise; the last panel may be a part, its missing lanes become zero.
    unsafe {
        let mut to = panels.add(p * COLUMNS);
        for j in 0..whole {
            let at = j * COLUMNS;
            let v = [
                load(sources[0].add(at)),
                load(sources[1].add(at)),
                load(sources[2].add(at)),
                load(sources[3].add(at)),
            ];
            store(to, v[0]);
            store(to.add(4), v[1]);
            store(to.add(8), v[2]);
            store(to.add(12), v[3]);
            to = to.add(panel_floats);
        }
        let rest = columns % COLUMNS;
        if rest > 0 {
            for (i, source) in sources.iter().enumerate() {
                store(to.add(i * COLUMNS), load_part(source.add(whole * COLUMNS), rest));
            }
        }
    }
}

/// The same for one row of k.
///
/// # Safety
/// As for [`interleave`].
#[inline(never)]
pub(crate) unsafe fn interleave_one(
    source: *const f32,
    columns: usize,
    panels: *mut f32,
    panel_floats: usize,
    p: usize,
) {
    let whole = columns / COLUMNS;
    // SAFETY: as in `interleave`.
    unsafe {
        let mut to = panels.add(p * COLUMNS);
        for j in 0..whole {
            store(to, load(source.add(j * COLUMNS)));
            to = to.add(panel_floats);
        }
        let rest = columns % COLUMNS;
        if rest > 0 {
            store(to, load_part(source.add(whole * COLUMNS), rest));
        }
    }
}
