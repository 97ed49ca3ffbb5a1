//! The memory that all workers share: typed rows over cache lines of atomics.
//!
//! No locks, no pointers, no strings, no stored totals. A load is the sum of one line, so nothing drifts and the death of a worker is
//! undone by zeroing its column ([`reclaim`]). The same layout lies on the heap when there is one process.

pub mod layout;
mod reclaim;
pub mod region;

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

pub use layout::Sizes;
use layout::{ENDPOINT_LINES, KEY_LINES, MODEL_LINES, PAIR_LINES, POOL_LINES, Starts};
use region::{Line, Region};

/// One held quantity of one target: a column per worker.
pub type Columns = [AtomicU32; layout::COLUMNS];

/// A board, however it came to be.
pub struct Board {
    region: Region,
    sizes: Sizes,
    starts: Starts,
}

impl Board {
    /// A board for one process.
    ///
    /// # Errors
    /// When `sizes` are out of range.
    pub fn heap(sizes: Sizes) -> io::Result<Self> {
        check(&sizes)?;
        Ok(Self::fresh(Region::heap(sizes.starts().end), sizes))
    }

    /// A board in an unnamed file, for [`Board::attach`] in other processes.
    ///
    /// # Errors
    /// When `sizes` are out of range, or the system has no room.
    pub fn create(sizes: Sizes) -> io::Result<Self> {
        check(&sizes)?;
        Ok(Self::fresh(Region::shared(sizes.starts().end)?, sizes))
    }

    /// The board behind a descriptor that another process made.
    ///
    /// # Errors
    /// When it is no board, one of another version, or its length does not fit its sizes; nothing beyond the header is read then.
    pub fn attach(fd: RawFd) -> io::Result<Self> {
        let region = Region::attach(fd)?;
        let header = region.lines().first_chunk::<{ layout::HEADER_LINES }>().ok_or_else(|| invalid("too short"))?;
        let [magic, version, lines, rest @ ..] = header[0].wide().each_ref().map(|word| word.load(Relaxed));
        if magic != layout::MAGIC {
            return Err(invalid("not a board: the magic number is missing"));
        }
        if version != layout::VERSION {
            return Err(invalid(&format!("layout version {version}, this build reads {}", layout::VERSION)));
        }
        let narrow = |word: u64| u32::try_from(word).map_err(|_| invalid("a size is out of range"));
        let sizes = Sizes {
            workers: narrow(rest[0])?,
            endpoints: narrow(rest[1])?,
            keys: narrow(rest[2])?,
            models: narrow(rest[3])?,
            pairs: narrow(rest[4])?,
            pools: narrow(header[1].wide()[0].load(Relaxed))?,
        };
        check(&sizes)?;
        let (starts, mapped) = (sizes.starts(), region.lines().len());
        if lines != starts.end as u64 || mapped != starts.end {
            return Err(invalid(&format!(
                "{mapped} lines are mapped, the header says {lines}, its sizes need {}",
                starts.end
            )));
        }
        Ok(Self { region, sizes, starts })
    }

    fn fresh(region: Region, sizes: Sizes) -> Self {
        let board = Self { starts: sizes.starts(), region, sizes };
        let [first, second, ..] = board.lines() else { unreachable!("the header has eight lines") };
        let words = sizes.words();
        let [magic, version, lines, rest @ ..] = first.wide();
        version.store(layout::VERSION, Relaxed);
        lines.store(board.starts.end as u64, Relaxed);
        for (cell, word) in rest.iter().chain(second.wide()).zip(words) {
            cell.store(word, Relaxed);
        }
        magic.store(layout::MAGIC, Relaxed);
        board
    }

    /// How much room it has.
    #[must_use]
    pub const fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// The descriptor to hand to other processes; -1 on the heap.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.region.fd()
    }

    pub(crate) fn lines(&self) -> &[Line] {
        self.region.lines()
    }

    /// The row of an endpoint. Rows are checked once, when tables are built; a slot out of range panics here.
    #[must_use]
    pub fn endpoint(&self, slot: usize) -> EndpointRow<'_> {
        EndpointRow(self.row(self.starts.endpoints, slot, self.sizes.endpoints))
    }

    /// The row of a key.
    #[must_use]
    pub fn key(&self, slot: usize) -> KeyRow<'_> {
        KeyRow(self.row(self.starts.keys, slot, self.sizes.keys))
    }

    /// The row of a model.
    #[must_use]
    pub fn model(&self, slot: usize) -> ModelRow<'_> {
        ModelRow(self.row(self.starts.models, slot, self.sizes.models))
    }

    /// The row of a (model, endpoint) pair.
    #[must_use]
    pub fn pair(&self, slot: usize) -> PairRow<'_> {
        PairRow(self.row(self.starts.pairs, slot, self.sizes.pairs))
    }

    /// The row of a pool.
    #[must_use]
    pub fn pool(&self, slot: usize) -> PoolRow<'_> {
        PoolRow(self.row(self.starts.pools, slot, self.sizes.pools))
    }

    /// The words of the overhead histogram.
    #[must_use]
    pub fn overhead(&self) -> Words<'_> {
        Words(&self.lines()[layout::OVERHEAD..layout::OVERHEAD + 3])
    }

    fn row<const N: usize>(&self, start: usize, slot: usize, rows: u32) -> &[Line; N] {
        assert!(slot < rows as usize, "slot {slot} of {rows}: tables are checked before they are used");
        let at = start + slot * N;
        self.lines()[at..].first_chunk::<N>().expect("the sections fit the region by construction")
    }
}

/// Adjacent wide lines as one run of words.
#[derive(Clone, Copy)]
pub struct Words<'a>(&'a [Line]);

impl<'a> Words<'a> {
    /// The word at `index`.
    #[must_use]
    pub fn at(self, index: usize) -> &'a AtomicU64 {
        &self.0[index / 8].wide()[index % 8]
    }

    /// How many there are.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.len() * 8
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// Kinds of tokens that are counted, in the order of their words.
pub const TOKEN_KINDS: [&str; 3] = ["input", "output", "cached"];

/// One endpoint.
#[derive(Clone, Copy)]
pub struct EndpointRow<'a>(&'a [Line; ENDPOINT_LINES]);

impl<'a> EndpointRow<'a> {
    /// Requests in flight.
    #[must_use]
    pub const fn in_flight(self) -> &'a Columns {
        self.0[0].narrow()
    }
    /// Estimated prompt tokens that wait for their first token.
    #[must_use]
    pub const fn prefill(self) -> &'a Columns {
        self.0[1].narrow()
    }
    /// Estimated output tokens still owed.
    #[must_use]
    pub const fn decode(self) -> &'a Columns {
        self.0[2].narrow()
    }
    /// Half-open probes on their way.
    #[must_use]
    pub const fn probes(self) -> &'a Columns {
        self.0[3].narrow()
    }
    /// The five token buckets, in the order of `limit::KINDS`.
    #[must_use]
    pub const fn buckets(self) -> &'a [AtomicU64; 8] {
        self.0[4].wide()
    }
    /// Not to be asked before this instant, ns.
    #[must_use]
    pub const fn not_before(self) -> &'a AtomicU64 {
        &self.0[4].wide()[5]
    }
    /// The circuit breaker (`health::breaker`).
    #[must_use]
    pub const fn breaker(self) -> &'a AtomicU64 {
        &self.0[4].wide()[6]
    }
    /// Average time to first token (`health::ewma`).
    #[must_use]
    pub const fn latency(self) -> &'a AtomicU64 {
        &self.0[4].wide()[7]
    }
    /// Average time per token of work.
    #[must_use]
    pub const fn pace(self) -> &'a AtomicU64 {
        &self.0[5].wide()[0]
    }
    /// Attempts that were retries.
    #[must_use]
    pub const fn retries(self) -> &'a AtomicU64 {
        &self.0[5].wide()[1]
    }
    /// Times that its breaker opened.
    #[must_use]
    pub const fn trips(self) -> &'a AtomicU64 {
        &self.0[5].wide()[2]
    }
    /// Tokens used, by kind.
    #[must_use]
    pub fn tokens(self) -> &'a [AtomicU64] {
        &self.0[5].wide()[3..6]
    }
    /// Attempts, by how they ended.
    #[must_use]
    pub fn attempts(self) -> Words<'a> {
        Words(&self.0[6..9])
    }
}

/// One API key.
#[derive(Clone, Copy)]
pub struct KeyRow<'a>(&'a [Line; KEY_LINES]);

impl<'a> KeyRow<'a> {
    /// Requests in flight.
    #[must_use]
    pub const fn in_flight(self) -> &'a Columns {
        self.0[0].narrow()
    }
    /// The five token buckets.
    #[must_use]
    pub const fn buckets(self) -> &'a [AtomicU64; 8] {
        self.0[1].wide()
    }
    /// Requests that were let in and have ended.
    #[must_use]
    pub const fn requests(self) -> &'a AtomicU64 {
        &self.0[2].wide()[0]
    }
    /// Requests that its limits refused.
    #[must_use]
    pub const fn refused(self) -> &'a AtomicU64 {
        &self.0[2].wide()[1]
    }
    /// Tokens delivered, by kind.
    #[must_use]
    pub fn tokens(self) -> &'a [AtomicU64] {
        &self.0[2].wide()[2..5]
    }
}

/// One model.
#[derive(Clone, Copy)]
pub struct ModelRow<'a>(&'a [Line; MODEL_LINES]);

impl<'a> ModelRow<'a> {
    /// Requests in flight.
    #[must_use]
    pub const fn in_flight(self) -> &'a Columns {
        self.0[0].narrow()
    }
    /// Requests that wait for a place.
    #[must_use]
    pub const fn queued(self) -> &'a Columns {
        self.0[1].narrow()
    }
    /// The five token buckets.
    #[must_use]
    pub const fn buckets(self) -> &'a [AtomicU64; 8] {
        self.0[2].wide()
    }
    /// Requests, by how they ended.
    #[must_use]
    pub fn outcomes(self) -> Words<'a> {
        Words(&self.0[3..6])
    }
}

/// One model on one endpoint.
#[derive(Clone, Copy)]
pub struct PairRow<'a>(&'a [Line; PAIR_LINES]);

impl<'a> PairRow<'a> {
    /// Histogram of the time to the first token.
    #[must_use]
    pub fn first_token(self) -> Words<'a> {
        Words(&self.0[..3])
    }
    /// Histogram of the time to the end of the answer.
    #[must_use]
    pub fn duration(self) -> Words<'a> {
        Words(&self.0[3..])
    }
}

/// One pool.
#[derive(Clone, Copy)]
pub struct PoolRow<'a>(&'a [Line; POOL_LINES]);

impl<'a> PoolRow<'a> {
    /// Turns given out: the shared cursor of ordered strategies.
    #[must_use]
    pub const fn cursor(self) -> &'a AtomicU64 {
        &self.0[0].wide()[0]
    }
    /// The bucket of the retry budget.
    #[must_use]
    pub const fn budget(self) -> &'a AtomicU64 {
        &self.0[0].wide()[1]
    }
    /// Retries that the budget refused.
    #[must_use]
    pub const fn exhausted(self) -> &'a AtomicU64 {
        &self.0[0].wide()[2]
    }
}

fn check(sizes: &Sizes) -> io::Result<()> {
    sizes.fault().map_or(Ok(()), |fault| Err(io::Error::new(io::ErrorKind::InvalidInput, fault)))
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("board: {reason}"))
}
