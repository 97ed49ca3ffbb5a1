//! The face to Python: conversions only. Each class is documented in `python/dispatch/_core.pyi`.

mod board;
mod express;
mod hedge;
mod judge;
mod learn;
mod numbers;
mod pattern;
mod records;
mod routing;
mod simulate;
mod state;
mod tables;
mod tls;
mod tokens;
mod trail;
mod turns;
mod vectors;
mod wire;

use pyo3::prelude::*;

/// The extension module `dispatch._core`.
#[pymodule]
#[pyo3(name = "_core")]
fn core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    board::register(module)?;
    express::register(module)?;
    hedge::register(module)?;
    judge::register(module)?;
    learn::register(module)?;
    pattern::register(module)?;
    records::register(module)?;
    routing::register(module)?;
    simulate::register(module)?;
    state::register(module)?;
    tls::register(module)?;
    trail::register(module)?;
    turns::register(module)?;
    tokens::register(module)?;
    vectors::register(module)?;
    wire::register(module)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}
