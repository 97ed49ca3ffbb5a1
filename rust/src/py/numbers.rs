//! Numbers, from Python to the core.

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;

use crate::engine::Who;
use crate::limit::Use;

/// What a request is thought to use.
pub(super) fn estimate(tokens_in: Count, tokens_out: Count) -> Use {
    Use { input: narrow(tokens_in), output: narrow(tokens_out), cached: 0 }
}

/// What it has used.
pub(super) fn spent(tokens_in: Count, tokens_out: Count, tokens_cached: Count) -> Use {
    Use { cached: narrow(tokens_cached), ..estimate(tokens_in, tokens_out) }
}

/// Nobody has four billion tokens; who claims to have more has four billion.
fn narrow(tokens: Count) -> u32 {
    u32::try_from(tokens.0).unwrap_or(u32::MAX)
}

/// A number from 0 to `i64::MAX`. The interpreter reads a signed word in a third of the time of an unsigned one.
#[derive(Clone, Copy)]
pub(super) struct Count(pub(super) u64);

impl FromPyObject<'_, '_> for Count {
    type Error = PyErr;

    fn extract(number: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let signed: i64 = number.extract()?;
        u64::try_from(signed).map(Self).map_err(|_| PyOverflowError::new_err("a count is not negative"))
    }
}

/// A key's slot in the low 16 bits, above them the hash of a user of the key, 0 for none; a negative number for no key.
#[derive(Clone, Copy)]
pub(super) struct Asker(pub(super) Who);

impl FromPyObject<'_, '_> for Asker {
    type Error = PyErr;

    fn extract(number: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        match number.extract::<i64>() {
            Ok(none) if none < 0 => Ok(Self(Who::default())),
            Ok(small) => Ok(Self::of(small.unsigned_abs().into())),
            Err(_) => number.extract().map(Self::of),
        }
    }
}

impl Asker {
    fn of(bits: u128) -> Self {
        let tag = bits >> 16;
        Self(Who { key: Some(bits as u16), user: (tag != 0).then_some(tag) })
    }
}

/// A set of positions: 128 bits, of which nearly always the low ones are enough.
#[derive(Clone, Copy)]
pub(super) struct Mask(pub(super) u128);

impl FromPyObject<'_, '_> for Mask {
    type Error = PyErr;

    fn extract(bits: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        bits.extract::<Count>().map(|low| Self(low.0.into())).or_else(|_| bits.extract().map(Self))
    }
}
