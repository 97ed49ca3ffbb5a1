//! `TlsConfig`, `TlsSession`, `TlsError` and `sign_rs256` of `dispatch._core`.

use crate::error::TableError;
use crate::rs256;
use crate::tls::{Config, Options, Session, TlsError as Fault};
use pyo3::exceptions::{PyConnectionError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

pyo3::import_exception!(dispatch.errors, ConfigError);
pyo3::create_exception!(dispatch._core, TlsError, PyConnectionError);

fn refused(error: TableError) -> PyErr {
    ConfigError::new_err((error.path, error.reason))
}

impl From<Fault> for PyErr {
    fn from(fault: Fault) -> Self {
        TlsError::new_err(fault.to_string())
    }
}

/// Whom we trust and who we are.
#[pyclass(frozen, module = "dispatch._core")]
pub(crate) struct TlsConfig(Config);

#[pymethods]
impl TlsConfig {
    #[new]
    #[pyo3(signature = (roots, use_system_roots, client_cert_pem, client_key_pem))]
    fn new(
        py: Python<'_>,
        roots: Option<&[u8]>,
        use_system_roots: bool,
        client_cert_pem: Option<&[u8]>,
        client_key_pem: Option<&[u8]>,
    ) -> PyResult<Self> {
        let options = Options { roots, use_system_roots, client_cert: client_cert_pem, client_key: client_key_pem };
        // Reads the system's store: some milliseconds of disk and parsing.
        py.detach(|| Config::new(options)).map(Self).map_err(refused)
    }
}

/// One connection to one server. Not frozen: each call advances the session, and a connection belongs to one loop; two threads
/// in it at once is a mistake that PyO3's borrow flag turns into an exception.
#[pyclass(module = "dispatch._core")]
pub(crate) struct TlsSession(Session);

#[pymethods]
impl TlsSession {
    #[new]
    fn new(config: &TlsConfig, server_name: &str) -> PyResult<Self> {
        Ok(Self(Session::new(&config.0, server_name)?))
    }

    fn receive<'py>(&mut self, py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let mut plain = Vec::with_capacity(data.len());
        self.0.receive(data, &mut plain)?;
        Ok(PyBytes::new(py, &plain))
    }

    fn send<'py>(&mut self, py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let sealed = self.0.send(data)?;
        Ok(PyBytes::new(py, &sealed))
    }

    fn outgoing<'py>(&mut self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.outgoing())
    }

    fn close<'py>(&mut self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.close())
    }

    #[getter]
    fn server_name(&self) -> &str {
        self.0.server_name()
    }

    #[getter]
    fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    #[getter]
    fn needs_attention(&self) -> bool {
        self.0.needs_attention()
    }

    #[getter]
    fn peer_closed(&self) -> bool {
        self.0.is_peer_closed()
    }

    #[getter]
    fn is_resumed(&self) -> bool {
        self.0.is_resumed()
    }

    #[getter]
    fn version(&self) -> &'static str {
        self.0.version()
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.0)
    }
}

#[pyfunction]
#[pyo3(signature = (key, text, /))]
fn sign_rs256<'py>(py: Python<'py>, key: &[u8], text: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let signature = rs256::sign(key, text).map_err(PyValueError::new_err)?;
    Ok(PyBytes::new(py, &signature))
}

/// Add this area's names to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<TlsConfig>()?;
    module.add_class::<TlsSession>()?;
    module.add_function(wrap_pyfunction!(sign_rs256, module)?)?;
    module.add("TlsError", module.py().get_type::<TlsError>())
}
