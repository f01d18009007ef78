//! `Det`: elimination with partial pivoting, in `f64`.

use crate::arguments::Op;
use crate::element::{FLOATS, Stored, dispatch};
use crate::number::Number;
use crate::settle::{kernel, needs};
use crate::strided::count;
use crate::table::{LATEST, Row, same};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Result, Writer};

pub(crate) fn rows() -> Vec<Row> {
    vec![Row::new("Det", (11, LATEST), same(1, 1, FLOATS), Tolerance::Approximate(1e-5), determinant)]
}

fn determinant(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    let [stack @ .., rows, columns] = &shape[..] else { return Err(op.invalid("an input that is no matrix")) };
    if rows != columns {
        return Err(op.invalid(format_args!("matrices of {rows} rows and {columns} columns")));
    }
    op.expect_output(0, stack)?;
    let (size, matrices) = (*rows, count(stack));
    let cells = size * size;
    let mut requirements = needs((matrices * cells * size) as u64, matrices);
    requirements.workspace = u32::try_from(cells * 8).map_err(|_| op.unsupported(format_args!("{size} rows")))?;
    dispatch!(op.input(0)?.dtype, floats, S => {
        kernel(requirements, move |bindings| {
            type E<S> = <S as Stored>::Element;
            let (x, y) = (bindings.input::<E<S>>(0)?, bindings.output::<E<S>>(0)?);
            Ok(Box::new(move |call: &Call| {
                let (x, y) = (call.read(&x), call.write(&y));
                let matrix = call.workspace::<f64>();
                for unit in call.share(matrices, 1) {
                    (0..cells).for_each(|at| matrix.set(at, S::load(x.get(unit * cells + at)).to_f64()));
                    y.set(unit, S::store(<S as Stored>::Value::from_f64(eliminate(&matrix, size))));
                }
                Ok(())
            }))
        })
    })
}

/// The determinant of a matrix that is used up on the way.
fn eliminate(matrix: &Writer<'_, f64>, size: usize) -> f64 {
    let mut product = 1.0;
    for step in 0..size {
        let mut pivot = step;
        for row in step + 1..size {
            if matrix.get(row * size + step).abs() > matrix.get(pivot * size + step).abs() {
                pivot = row;
            }
        }
        let head = matrix.get(pivot * size + step);
        if head == 0.0 {
            return 0.0;
        }
        product *= if pivot == step { head } else { -head };
        for column in step..size {
            let (upper, own) = (matrix.get(pivot * size + column), matrix.get(step * size + column));
            matrix.set(pivot * size + column, own);
            matrix.set(step * size + column, upper);
        }
        for row in step + 1..size {
            let factor = matrix.get(row * size + step) / head;
            for column in step + 1..size {
                let value = matrix.get(row * size + column) - factor * matrix.get(step * size + column);
                matrix.set(row * size + column, value);
            }
        }
    }
    product
}
