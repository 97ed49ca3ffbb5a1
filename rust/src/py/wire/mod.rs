//! The classes of `dispatch.wire`: readers of messages, and what they read.

mod error;
pub(super) mod request;
pub(super) mod response;
pub(super) mod scan;
mod told;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::http1::Limits;
use crate::http1::head::MAX_FIELDS;

/// Adds the classes to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<error::ProtocolError>()?;
    module.add_class::<error::BodyError>()?;
    module.add_class::<request::RequestReader>()?;
    module.add_class::<request::Inbound>()?;
    module.add_class::<scan::Scan>()?;
    module.add_class::<response::ResponseReader>()?;
    module.add_class::<response::Answer>()?;
    module.add_class::<told::Told>()?;
    module.add_function(wrap_pyfunction!(scan::affinity, module)?)?;
    module.add_function(wrap_pyfunction!(response::read_answer, module)?)
}

/// One `bytes` of all pieces, written in place.
fn joined<'py>(py: Python<'py>, pieces: &[&[u8]]) -> PyResult<Bound<'py, PyBytes>> {
    let length = pieces.iter().map(|piece| piece.len()).sum();
    PyBytes::new_with(py, length, |mut rest| {
        for piece in pieces {
            let (place, after) = rest.split_at_mut(piece.len());
            place.copy_from_slice(piece);
            rest = after;
        }
        Ok(())
    })
}

fn limits(max_head_bytes: usize, max_fields: usize) -> PyResult<Limits> {
    if max_fields > MAX_FIELDS {
        return Err(pyo3::exceptions::PyValueError::new_err(format!("max_fields is at most {MAX_FIELDS}")));
    }
    Ok(Limits { head_bytes: max_head_bytes, fields: max_fields })
}

/// Decimal digits of `number`, and the index of the first.
fn decimal(mut number: usize) -> ([u8; 20], usize) {
    let (mut digits, mut first) = ([b'0'; 20], 20);
    loop {
        first -= 1;
        digits[first] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            return (digits, first);
        }
    }
}
