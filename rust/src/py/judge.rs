//! `Judge` and `Signals`: what a request is, and which rule holds for it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::board::PyBoard;
use super::learn::LearnedRouter;
use super::state;
use crate::board::Board;
use crate::judge::shared::WORDS;
use crate::judge::{Budget, Condition, Name, Reader, Rules, Shared, Signals, Wanted, Weights};
use crate::signal::{MODALITIES, PERSONAL, Prompt, QUESTIONS, Semantic, Shape, languages};

/// Adds the classes of this module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("MODALITIES", MODALITIES.to_vec())?;
    module.add("PERSONAL", PERSONAL.to_vec())?;
    module.add("QUESTIONS", QUESTIONS.to_vec())?;
    module.add("LANGUAGES", languages())?;
    module.add_function(wrap_pyfunction!(read_question, module)?)?;
    module.add_class::<Judge>()?;
    module.add_class::<PyPacer>()?;
    module.add_class::<PyWeights>()?;
    module.add_class::<PySignals>()
}

/// The text that a route reads of a body; empty if there is none.
#[pyfunction]
#[pyo3(signature = (body, /))]
fn read_question(body: &[u8]) -> String {
    Prompt::read(body, false).map(|prompt| prompt.question).unwrap_or_default()
}

type ConditionIn = (String, f64, f64, Vec<String>, bool);

#[pyclass(frozen, module = "dispatch._core")]
struct Judge {
    reader: Reader,
    rules: Rules,
}

#[pymethods]
impl Judge {
    #[new]
    #[expect(clippy::needless_pass_by_value, reason = "as Python hands it over")]
    #[pyo3(signature = (signals, rules, difficulty, topic, learned, routes, /))]
    fn new(
        signals: Vec<String>,
        rules: Vec<Vec<ConditionIn>>,
        difficulty: Option<&LearnedRouter>,
        topic: Option<&LearnedRouter>,
        learned: Option<&LearnedRouter>,
        routes: Vec<Vec<String>>,
    ) -> Self {
        let wants = |name: &str| signals.iter().any(|signal| signal == name);
        let wanted = Wanted {
            language: wants("language"),
            shape: wants("code") || wants("math") || wants("json"),
            question: wants("question"),
            personal: wants("personal"),
        };
        let shared = |given: Option<&LearnedRouter>| given.map(|one| Arc::clone(&one.inner));
        let routes = if routes.is_empty() { None } else { Some(Arc::new(Semantic::new(&routes))) };
        let reader =
            Reader { wanted, difficulty: shared(difficulty), topic: shared(topic), learned: shared(learned), routes };
        let classes = topic.map(|router| router.inner.models().to_vec()).unwrap_or_default();
        let condition = |(name, low, high, texts, is_negated): ConditionIn| Condition {
            name: Name::of(&name),
            low,
            high,
            texts,
            is_negated,
        };
        let rules = rules.into_iter().map(|rule| rule.into_iter().map(condition).collect()).collect();
        Self { reader, rules: Rules::new(rules, classes) }
    }

    #[pyo3(signature = (body, declared, /))]
    fn read(&self, body: &[u8], declared: Vec<(String, String)>) -> PySignals {
        PySignals(self.reader.read(body, declared))
    }

    #[pyo3(signature = (signals, /))]
    fn first(&self, signals: &PySignals) -> isize {
        self.rules.first(&signals.0).map_or(-1, |at| isize::try_from(at).unwrap_or(-1))
    }
}

#[pyclass(frozen, name = "Signals", module = "dispatch._core")]
struct PySignals(Signals);

#[pymethods]
impl PySignals {
    #[staticmethod]
    #[pyo3(signature = (facts, /))]
    fn recorded(facts: &Bound<'_, PyDict>) -> PyResult<Self> {
        let get = |name: &str| {
            facts.get_item(name).transpose().unwrap_or_else(|| Ok(facts.py().None().into_bound(facts.py())))
        };
        let question: String = get("question")?.extract().unwrap_or_default();
        Ok(Self(Signals {
            bytes: get("bytes")?.extract()?,
            turns: get("turns")?.extract()?,
            modality: bits(&MODALITIES, &get("modality")?.extract::<Vec<String>>()?),
            tools: get("tools")?.extract()?,
            form: get("form")?.extract()?,
            is_read: get("is_read")?.extract()?,
            language: get("language")?.extract::<String>()?.into(),
            shape: Shape {
                code: get("code")?.extract()?,
                math: get("math")?.extract()?,
                json: get("json")?.extract()?,
            },
            question: QUESTIONS.iter().position(|name| *name == question),
            personal: bits(&PERSONAL, &get("personal")?.extract::<Vec<String>>()?),
            difficulty: get("difficulty")?.extract()?,
            topic: get("topic")?.extract()?,
            scores: get("scores")?.extract()?,
            nearest: get("nearest")?.extract()?,
            declared: get("declared")?.extract()?,
        }))
    }

    #[pyo3(signature = (route, similarity, /))]
    fn near(&self, route: usize, similarity: f32) -> Self {
        Self(Signals { nearest: Some((route, similarity)), ..self.0.clone() })
    }

    #[getter]
    fn facts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let signals = &self.0;
        let facts = PyDict::new(py);
        facts.set_item("bytes", signals.bytes)?;
        facts.set_item("turns", signals.turns)?;
        facts.set_item("modality", named(&MODALITIES, signals.modality))?;
        facts.set_item("tools", signals.tools)?;
        facts.set_item("form", signals.form)?;
        facts.set_item("is_read", signals.is_read)?;
        facts.set_item("language", signals.language.as_ref())?;
        facts.set_item("code", signals.shape.code)?;
        facts.set_item("math", signals.shape.math)?;
        facts.set_item("json", signals.shape.json)?;
        facts.set_item("question", self.question())?;
        facts.set_item("personal", named(&PERSONAL, signals.personal))?;
        facts.set_item("difficulty", signals.difficulty)?;
        facts.set_item("topic", signals.topic)?;
        facts.set_item("scores", &signals.scores)?;
        facts.set_item("nearest", signals.nearest)?;
        facts.set_item("declared", &signals.declared)?;
        Ok(facts)
    }

    #[getter]
    const fn is_read(&self) -> bool {
        self.0.is_read
    }

    #[getter]
    fn language(&self) -> &str {
        &self.0.language
    }

    #[getter]
    fn question(&self) -> &'static str {
        self.0.question.map_or("other", |at| QUESTIONS[at])
    }

    #[getter]
    const fn difficulty(&self) -> f32 {
        self.0.difficulty
    }

    #[getter]
    const fn topic(&self) -> Option<(usize, f32)> {
        self.0.topic
    }

    #[getter]
    fn scores(&self) -> Vec<f32> {
        self.0.scores.clone()
    }

    #[getter]
    const fn nearest(&self) -> Option<(usize, f32)> {
        self.0.nearest
    }

    #[getter]
    fn declared(&self) -> Vec<(String, String)> {
        self.0.declared.clone()
    }

    #[getter]
    fn personal(&self) -> Vec<&'static str> {
        named(&PERSONAL, self.0.personal)
    }

    fn __repr__(&self) -> String {
        format!(
            "Signals({} bytes, {} turns, {})",
            self.0.bytes,
            self.0.turns,
            named(&MODALITIES, self.0.modality).join("+")
        )
    }
}

/// Candidates of a learned route, weighed.
#[pyclass(frozen, name = "Weights", module = "dispatch._core")]
struct PyWeights(Weights);

#[pymethods]
impl PyWeights {
    #[new]
    #[pyo3(signature = (rows, costs, /))]
    fn new(rows: Vec<usize>, costs: Vec<f64>) -> PyResult<Self> {
        let fault = || PyValueError::new_err("expected as many costs as rows, and one at least");
        Weights::new(rows, costs).map(Self).ok_or_else(fault)
    }

    #[expect(clippy::needless_pass_by_value, reason = "as Python hands it over")]
    #[pyo3(signature = (signals, price, bias, is_there, /))]
    fn weigh(&self, signals: &PySignals, price: f64, bias: Vec<f64>, is_there: Vec<bool>) -> Option<(usize, Vec<f64>)> {
        self.0.weigh(&signals.0.scores, price, &bias, &is_there)
    }
}

/// A budget's pacer, on a board or alone.
#[pyclass(frozen, name = "Pacer", module = "dispatch._core")]
struct PyPacer {
    board: Option<(Arc<Board>, usize)>,
    own: [AtomicU64; WORDS],
    budget: Budget,
}

impl PyPacer {
    fn shared(&self) -> Shared<'_> {
        let words = self.board.as_ref().and_then(|(board, row)| board.pool(*row).pace());
        Shared::new(words.unwrap_or(&self.own), self.budget)
    }
}

#[pymethods]
impl PyPacer {
    #[new]
    #[pyo3(signature = (rate, window, *, is_share, board=None, row=0))]
    fn new(rate: f64, window: f64, is_share: bool, board: Option<&PyBoard>, row: usize) -> PyResult<Self> {
        let budget = if is_share { Budget::Share { part: rate, window } } else { Budget::Money { rate, window } };
        if let Some(board) = board {
            state::check(row, board.0.sizes().pools)?;
        }
        let board = board.map(|board| (Arc::clone(&board.0), row));
        Ok(Self { board, own: Default::default(), budget })
    }

    #[pyo3(signature = (amount, /))]
    fn spend(&self, amount: u64) {
        self.shared().spend(amount);
    }

    #[pyo3(signature = (windows, base, /))]
    fn restore(&self, windows: f64, base: f64) {
        self.shared().restore(windows, base);
    }

    #[pyo3(signature = (now_ns, /))]
    fn standing(&self, now_ns: u64) -> Option<(f64, f64, f64)> {
        self.shared().standing(now_ns).map(|found| (found.price, found.windows, found.base))
    }
}

fn named(names: &[&'static str], bits: u8) -> Vec<&'static str> {
    names.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).map(|(_, name)| *name).collect()
}

fn bits(names: &[&str], found: &[String]) -> u8 {
    names
        .iter()
        .enumerate()
        .filter(|(_, name)| found.iter().any(|one| one == *name))
        .fold(0, |bits, (at, _)| bits | 1 << at)
}
