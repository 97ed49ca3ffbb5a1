//! The express lane: what most requests need, in one call when they come and one when their answer is there.
//!
//! It does what the doors, the dispatcher and the attempts do step by step in Python, by the same functions of the core and in the same order:
//! key, body, model, admission, endpoint, the request upstream; then both settlements and the answer for the client. Whatever is not plain
//! (no such key or model, a hint in a header, a stream, a refusal) is handed back for them to deal with, with nothing taken or with what
//! was taken. So there is no second place where a decision is made, only a shorter way to it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use sha2::{Digest, Sha256};

use super::numbers::{Count, spent};
use super::routing::{PyEngine, PyLease, PyPool, PyRefusal, PyTicket};
use super::wire::request::Inbound;
use super::wire::response::Answer;
use super::wire::scan::Scan;
use crate::engine::{self, Ending, Outcome, Who, Whose, Wish};
use crate::health::Failure;
use crate::http1::request::flag;
use crate::limit::Use;
use crate::units::Nanos;

/// Flags of a request that has nothing unusual about it, and those that it must not have.
const PLAIN: u32 = flag::COMPLETE | flag::JSON;
const UNUSUAL: u32 = flag::HAS_DEADLINE
    | flag::HAS_SESSION
    | flag::HAS_ORIGIN
    | flag::HAS_ENCODING
    | flag::HAS_REQUEST_ID
    | flag::HAS_DISPATCH
    | flag::MULTIPART;

/// A path of the API.
#[derive(FromPyObject)]
struct DoorRow {
    path: Vec<u8>,
    /// Whether its answers are generated token by token.
    generates: bool,
}

/// A client's key.
#[derive(FromPyObject)]
struct KeyRow {
    digest: [u8; 32],
    slot: u16,
    models: Option<HashSet<String>>,
    /// What its requests are hashed by when they bring nothing of their own.
    affinity: u64,
}

/// An endpoint of a pool: per door the head, none where it has no such door or requests are translated for it; its name for the model.
#[derive(FromPyObject)]
struct LinkRow {
    heads: Vec<Option<Vec<u8>>>,
    model: Vec<u8>,
}

/// A model whose plan begins with a pool.
#[derive(FromPyObject)]
struct ModelRow {
    name: String,
    slot: u16,
    pool: Py<PyPool>,
    links: Vec<LinkRow>,
    /// Per door, the positions that do not offer it.
    cannot: Vec<u128>,
    /// Whether its requests stand in the records.
    noted: bool,
}

struct Model {
    index: usize,
    slot: u16,
    noted: bool,
    pool: Arc<engine::Pool>,
    links: Vec<LinkRow>,
    cannot: Vec<u128>,
}

/// The lane of one generation of the configuration.
#[pyclass(frozen, module = "dispatch._core")]
pub(super) struct Express {
    engine: Arc<engine::Engine>,
    doors: Vec<DoorRow>,
    keys: HashMap<[u8; 32], (isize, KeyRow)>,
    models: HashMap<String, Model>,
    estimate: Estimate,
    /// Without keys: the names by which this machine may be addressed.
    hosts: HashSet<Vec<u8>>,
}

/// How tokens are estimated (`policy/cost.py`).
#[derive(Clone, Copy)]
struct Estimate {
    bytes_per_token: u64,
    per_request: u64,
    output: u64,
}

#[pymethods]
impl Express {
    #[new]
    #[pyo3(signature = (engine, doors, keys, models, estimate, hosts, /))]
    fn new(
        engine: &PyEngine,
        doors: Vec<DoorRow>,
        keys: Vec<KeyRow>,
        models: Vec<ModelRow>,
        estimate: (u64, u64, u64),
        hosts: Vec<Vec<u8>>,
    ) -> Self {
        let model = |(index, row): (usize, ModelRow)| {
            let pool = Arc::clone(&row.pool.get().0);
            let ModelRow { name, slot, links, cannot, noted, .. } = row;
            (name, Model { index, slot, noted, pool, links, cannot })
        };
        Self {
            engine: Arc::clone(&engine.0),
            doors,
            keys: (0..).zip(keys).map(|(index, row)| (row.digest, (index, row))).collect(),
            models: models.into_iter().enumerate().map(model).collect(),
            estimate: Estimate { bytes_per_token: estimate.0.max(1), per_request: estimate.1, output: estimate.2 },
            hosts: hosts.into_iter().collect(),
        }
    }

    #[pyo3(signature = (inbound, now_ns, draw, /))]
    fn take(&self, inbound: &Bound<'_, Inbound>, now_ns: u64, draw: u64) -> PyResult<Option<Py<PyAny>>> {
        let py = inbound.py();
        let request = inbound.get();
        let Some((door, key)) = self.recognise(request) else { return Ok(None) };
        // A body that is refused is read again on the ordinary way, which says why.
        let Ok(scan) = Scan::of_request(inbound) else { return Ok(None) };
        let Some(model) = self.model(&scan, door, key) else { return Ok(Some(Py::new(py, scan)?.into_any())) };
        let tokens = self.tokens(&scan, door, model);
        let (number, now) = (self.engine.records().begin(), Nanos(now_ns));
        let bare = Job::new(number, door, key.map_or(-1, |(index, _)| *index), model.index, tokens);
        let request = if model.noted { number } else { 0 };
        let who = Who::from(key.map(|(_, row)| row.slot));
        let admitted = self.engine.admit(model.slot, who, tokens, now);
        let job = match self.engine.noted(request, model.slot, who, now, admitted) {
            Ok(ticket) => model.place(
                py,
                &scan,
                door,
                &Ask { tokens, now, draw, affinity: key.map_or(0, |(_, row)| row.affinity), request },
                bare.with_ticket(py, ticket)?,
            )?,
            Err((refusal, whose)) => Job { refusal: Some(Py::new(py, PyRefusal(refusal, whose))?), ..bare },
        };
        Ok(Some(Py::new(py, Job { scan: Some(Py::new(py, scan)?), ..job })?.into_any()))
    }
}

/// What a place is asked for.
struct Ask {
    tokens: Use,
    now: Nanos,
    draw: u64,
    /// Of the key; 0: none.
    affinity: u64,
    /// The number in the records; 0: none.
    request: u64,
}

impl Model {
    /// Adds to a job its place on an endpoint and the request for that, or the refusal.
    fn place(&self, py: Python<'_>, scan: &Scan, door: usize, ask: &Ask, job: Job) -> PyResult<Job> {
        let hash = [scan.inner.affinity, ask.affinity].into_iter().find(|affinity| *affinity != 0);
        let Ask { tokens, now, draw, request, .. } = *ask;
        let wish = Wish { tried: self.cannot[door], tokens, now, draw, hash, request };
        match self.pool.acquire(&wish) {
            Ok(lease) => {
                let position = lease.position();
                let link = &self.links[position];
                let composed = |head: &Vec<u8>| scan.composed(py, head, &link.model, false).map(Bound::unbind);
                let request = link.heads[door].as_ref().map(composed).transpose()?;
                Ok(Job { position, request, lease: Some(Py::new(py, PyLease(lease))?), ..job })
            }
            Err(refusal) => Ok(Job { refusal: Some(Py::new(py, PyRefusal(refusal, Whose::Pool))?), ..job }),
        }
    }
}

impl Job {
    /// Settles the place and the ticket of a request that was answered.
    fn close(&self, now: Nanos, overhead: Nanos, used: Use) {
        if let Some(lease) = &self.lease {
            lease.get().0.settle(&Ending { failure: Failure::None, now, used, cool_ms: 0 });
        }
        if let Some(ticket) = &self.ticket {
            ticket.get().0.settle(&Outcome { failure: Failure::None, now, overhead, used });
        }
    }

    const fn new(number: u64, door: usize, key: isize, model: usize, tokens: Use) -> Self {
        Self {
            number,
            door,
            key,
            model,
            tokens,
            position: 0,
            scan: None,
            ticket: None,
            lease: None,
            refusal: None,
            request: None,
        }
    }

    fn with_ticket(self, py: Python<'_>, ticket: engine::Ticket) -> PyResult<Self> {
        Ok(Self { ticket: Some(Py::new(py, PyTicket(ticket))?), ..self })
    }
}

impl Express {
    /// The door, and the key if keys are configured; `None` when the request is not plain or either is not known.
    fn recognise(&self, inbound: &Inbound) -> Option<(usize, Option<&(isize, KeyRow)>)> {
        let flags = inbound.all_flags();
        if flags & (PLAIN | UNUSUAL) != PLAIN {
            return None;
        }
        let (method, path) = inbound.request.line();
        let door = self.doors.iter().position(|door| door.path == path).filter(|_| method == b"POST")?;
        if self.keys.is_empty() {
            return self.is_named(inbound).then_some((door, None));
        }
        let digest: [u8; 32] = Sha256::digest(&*inbound.request.dispatch_key()?).into();
        Some((door, Some(self.keys.get(&digest)?)))
    }

    /// Whether `Host` is a name of this machine: with it or without a port, as the ordinary way looks at it.
    fn is_named(&self, inbound: &Inbound) -> bool {
        let Some(host) = inbound.request.message.header(b"host") else { return false };
        let name = host.iter().rposition(|byte| *byte == b':').map_or(host, |colon| &host[..colon]);
        self.hosts.contains(host) || self.hosts.contains(name)
    }

    /// The model, if it is on the lane, the key may use it, and the answer is to come whole.
    fn model(&self, scan: &Scan, door: usize, key: Option<&(isize, KeyRow)>) -> Option<&Model> {
        let name = &scan.inner.model;
        let model = self.models.get(name).filter(|_| !scan.inner.stream)?;
        let may = key.and_then(|(_, row)| row.models.as_ref()).is_none_or(|models| models.contains(name));
        (may && model.cannot[door] != u128::MAX).then_some(model)
    }

    fn tokens(&self, scan: &Scan, door: usize, model: &Model) -> Use {
        let (scan, estimate, learned) = (&scan.inner, self.estimate, self.engine.learned(model.slot));
        let most = learned.output(scan.max_tokens, estimate.output);
        let output = if self.doors[door].generates { most.saturating_mul(scan.n.max(1)) } else { 0 };
        let input = scan.text_bytes.div_ceil(estimate.bytes_per_token) + estimate.per_request;
        Use { input: learned.input(input), output: u32::try_from(output).unwrap_or(u32::MAX), cached: 0 }
    }
}

/// A request on the lane.
#[pyclass(frozen, module = "dispatch._core")]
pub(super) struct Job {
    number: u64,
    door: usize,
    key: isize,
    model: usize,
    tokens: Use,
    scan: Option<Py<Scan>>,
    ticket: Option<Py<PyTicket>>,
    lease: Option<Py<PyLease>>,
    refusal: Option<Py<PyRefusal>>,
    position: usize,
    request: Option<Py<PyBytes>>,
}

#[pymethods]
impl Job {
    #[getter]
    const fn number(&self) -> u64 {
        self.number
    }

    #[getter]
    const fn door(&self) -> usize {
        self.door
    }

    #[getter]
    const fn key(&self) -> isize {
        self.key
    }

    #[getter]
    const fn model(&self) -> usize {
        self.model
    }

    #[getter]
    const fn position(&self) -> usize {
        self.position
    }

    #[getter]
    fn request(&self, py: Python<'_>) -> Option<Py<PyBytes>> {
        self.request.as_ref().map(|request| request.clone_ref(py))
    }

    #[getter]
    fn scan(&self, py: Python<'_>) -> Option<Py<Scan>> {
        self.scan.as_ref().map(|scan| scan.clone_ref(py))
    }

    #[getter]
    fn ticket(&self, py: Python<'_>) -> Option<Py<PyTicket>> {
        self.ticket.as_ref().map(|ticket| ticket.clone_ref(py))
    }

    #[getter]
    fn lease(&self, py: Python<'_>) -> Option<Py<PyLease>> {
        self.lease.as_ref().map(|lease| lease.clone_ref(py))
    }

    #[getter]
    fn refusal(&self, py: Python<'_>) -> Option<Py<PyRefusal>> {
        self.refusal.as_ref().map(|refusal| refusal.clone_ref(py))
    }

    #[getter]
    const fn tokens(&self) -> (u32, u32) {
        (self.tokens.input, self.tokens.output)
    }

    #[pyo3(signature = (answer, now_ns, overhead_ns, extra, /))]
    fn deliver<'py>(
        &self,
        py: Python<'py>,
        answer: &Answer,
        now_ns: u64,
        overhead_ns: u64,
        extra: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.close(Nanos(now_ns), Nanos(overhead_ns), answer.used());
        let more = |out: &mut Vec<u8>| {
            if let Some(ticket) = &self.ticket {
                ticket.get().0.write_lines(self.number, out);
            }
            out.extend_from_slice(extra);
        };
        answer.composed(py, b"HTTP/1.1 200 OK\r\n", more, usize::try_from(overhead_ns / 1000).unwrap_or(usize::MAX))
    }

    #[pyo3(signature = (now_ns, overhead_ns, tokens_in, tokens_out, tokens_cached, /))]
    fn settle(&self, now_ns: Count, overhead_ns: Count, tokens_in: Count, tokens_out: Count, tokens_cached: Count) {
        let used = spent(tokens_in, tokens_out, tokens_cached);
        self.close(Nanos(now_ns.0), Nanos(overhead_ns.0), used);
    }
}

/// Adds the classes to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Express>()?;
    module.add_class::<Job>()
}
