//! The memory that all workers share: typed rows over cache lines of atomics.
//!
//! No locks, no pointers, no strings, no stored totals. A load is the sum of one line, so nothing drifts and the death of a worker is
//! undone by zeroing its column ([`reclaim`]). The same layout lies on the heap when there is one process.

mod bells;
pub mod layout;
mod minute;
mod reclaim;
pub mod region;
mod rows;

use std::fs::File;
use std::io;
use std::os::fd::RawFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

pub use layout::Sizes;
use layout::Starts;
pub use minute::MinuteRow;
use region::{Line, Region};
pub use rows::{BOOKINGS, EndpointRow, KeyRow, LEFT_OUT, ModelRow, PairRow, PoolRow, TOKEN_KINDS, UserRow, Words};

/// One held quantity of one target: a column per worker.
pub type Columns = [AtomicU32; layout::COLUMNS];

/// A board, however it came to be.
pub struct Board {
    region: Region,
    sizes: Sizes,
    starts: Starts,
    /// What is written to wake a worker, by its column.
    bells: OnceLock<Box<[File]>>,
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
            users: narrow(header[1].wide()[1].load(Relaxed))?,
            sessions: narrow(header[1].wide()[2].load(Relaxed))?,
        };
        check(&sizes)?;
        let (starts, mapped) = (sizes.starts(), region.lines().len());
        if lines != starts.end as u64 || mapped != starts.end {
            return Err(invalid(&format!(
                "{mapped} lines are mapped, the header says {lines}, its sizes need {}",
                starts.end
            )));
        }
        Ok(Self { region, sizes, starts, bells: OnceLock::new() })
    }

    fn fresh(region: Region, sizes: Sizes) -> Self {
        let board = Self { starts: sizes.starts(), region, sizes, bells: OnceLock::new() };
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

    #[inline]
    pub(crate) const fn lines(&self) -> &[Line] {
        self.region.lines()
    }

    /// The row of an endpoint. Rows are checked once, when tables are built; a slot out of range panics here.
    #[must_use]
    #[inline]
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

    /// Counts an attempt that stands in the ledger: its endpoint's, what it cost its model, and its key if that pays. False, without
    /// effect, when there is no such outcome; `outcome` is a place in [`BOOKINGS`].
    #[must_use]
    pub fn book(&self, endpoint: usize, model: usize, key: Option<usize>, outcome: usize, cost_pico: u64) -> bool {
        let (row, model) = (self.endpoint(endpoint), self.model(model));
        let (Some(booked), Some(cost), Some(spent)) =
            (row.booked().get(outcome), row.cost().get(outcome), model.cost().get(outcome))
        else {
            return false;
        };
        booked.fetch_add(1, Relaxed);
        cost.fetch_add(cost_pico, Relaxed);
        spent.fetch_add(cost_pico, Relaxed);
        if let (0, Some(key)) = (outcome, key) {
            self.key(key).cost().fetch_add(cost_pico, Relaxed);
        }
        true
    }

    /// Counts what a translation could not say, at a place in [`LEFT_OUT`]. False, without effect, when there is no such place.
    #[must_use]
    pub fn leave_out(&self, endpoint: usize, place: usize, count: u64) -> bool {
        let Some(word) = self.endpoint(endpoint).left_out().get(place) else { return false };
        word.fetch_add(count, Relaxed);
        true
    }

    /// The row of a user, or after all users the one that stands in for users of a key.
    #[must_use]
    pub fn user(&self, cell: usize) -> UserRow<'_> {
        let rows = u32::try_from(self.sizes.user_rows()).unwrap_or(u32::MAX);
        UserRow(self.row(self.starts.users, cell, rows))
    }

    /// A set of cells for sessions (`engine::sessions`).
    #[must_use]
    pub fn sessions(&self, set: usize) -> &[AtomicU64; 8] {
        let [line] = self.row::<1>(self.starts.sessions, set, self.sizes.sessions);
        line.wide()
    }

    /// What was taken of an endpoint in the last minute.
    #[must_use]
    #[inline]
    pub fn minute(&self, endpoint: usize) -> MinuteRow<'_> {
        MinuteRow(self.row(self.starts.minutes, endpoint, self.sizes.endpoints))
    }

    /// The words of the overhead histogram.
    #[must_use]
    pub fn overhead(&self) -> Words<'_> {
        Words(&self.lines()[layout::OVERHEAD..layout::OVERHEAD + 3])
    }

    /// Requests that wait for a place, at any model.
    #[must_use]
    #[inline]
    pub fn waiting(&self) -> &Columns {
        self.lines()[layout::WAITING].narrow()
    }

    /// Keys at limits of their own that have requests waiting.
    #[must_use]
    pub fn blocked(&self) -> &Columns {
        self.lines()[layout::BLOCKED].narrow()
    }

    #[inline]
    fn row<const N: usize>(&self, start: usize, slot: usize, rows: u32) -> &[Line; N] {
        assert!(slot < rows as usize, "tables are checked before they are used");
        let row = self.lines().get(start + slot * N..).and_then(<[Line]>::first_chunk::<N>);
        row.expect("the sections fit the region by construction")
    }
}

fn check(sizes: &Sizes) -> io::Result<()> {
    sizes.fault().map_or(Ok(()), |fault| Err(io::Error::new(io::ErrorKind::InvalidInput, fault)))
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("board: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes =
        Sizes { workers: 16, endpoints: 3, keys: 4, models: 2, pairs: 5, pools: 2, users: 3, sessions: 2 };

    #[test]
    fn rows_do_not_overlap_and_fill_the_board() {
        let board = Board::heap(SIZES).unwrap();
        let held: usize = SIZES.held().map(|range| range.len()).sum();
        assert_eq!(held, 3 * 4 + 4 + 2 * 5 + (3 + 4) + 2);
        for slot in 0..3 {
            board.endpoint(slot).attempts().at(23).fetch_add(1, Relaxed);
            board.endpoint(slot).in_flight()[15].fetch_add(1, Relaxed);
        }
        board.key(3).tokens()[2].fetch_add(1, Relaxed);
        board.model(1).outcomes().at(23).fetch_add(1, Relaxed);
        board.model(1).turns().at(1023).fetch_add(1, Relaxed);
        board.waiting()[15].fetch_add(1, Relaxed);
        board.pair(4).duration().at(23).fetch_add(1, Relaxed);
        board.pool(1).exhausted().fetch_add(1, Relaxed);
        board.user(6).buckets()[4].fetch_add(1, Relaxed);
        board.sessions(1)[7].fetch_add(1, Relaxed);
        board.minute(2).ring(4).at(127).fetch_add(1, Relaxed);
        let touched = |line: &Line| line.wide().iter().any(|word| word.load(Relaxed) != 0);
        assert_eq!(board.lines().iter().filter(|line| touched(line)).count(), 2 + 6 + 1 + 2 + 1 + 1 + 1 + 1 + 1 + 1);
    }

    #[test]
    fn two_mappings_of_one_board_are_one_board() {
        let first = Board::create(SIZES).unwrap();
        let second = Board::attach(first.fd()).unwrap();
        assert_eq!(second.sizes(), &SIZES);
        second.endpoint(2).in_flight()[15].store(7, Relaxed);
        assert_eq!(first.endpoint(2).in_flight()[15].load(Relaxed), 7);
    }

    #[test]
    fn what_is_no_board_of_ours_is_refused() {
        let refusal = |change: &dyn Fn(&Board)| {
            let board = Board::create(SIZES).unwrap();
            change(&board);
            Board::attach(board.fd()).err().unwrap().to_string()
        };
        let word = |board: &Board, at: usize, value: u64| board.lines()[at / 8].wide()[at % 8].store(value, Relaxed);
        assert!(refusal(&|board| word(board, 0, 1)).contains("magic"));
        assert!(refusal(&|board| word(board, 1, 99)).contains("layout version 99"));
        assert!(refusal(&|board| word(board, 2, 5)).contains("header says 5"));
        assert!(refusal(&|board| word(board, 3, 17)).contains("workers: 17"));
        assert!(refusal(&|board| word(board, 4, 4)).contains("its sizes need"));
        assert!(refusal(&|board| word(board, 8, u64::MAX)).contains("out of range"));
        assert!(Board::attach(-1).is_err());
        assert!(Board::attach(10_000).is_err());
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        assert!(Board::heap(Sizes { workers: 17, ..SIZES }).is_err());
        assert!(Board::heap(Sizes { endpoints: 0, ..SIZES }).is_err());
        assert!(Board::heap(Sizes { keys: 65_537, ..SIZES }).is_err());
        assert!(Board::heap(Sizes { pairs: 1 << 21, ..SIZES }).is_err());
        assert!(Board::heap(Sizes { users: 65_537, ..SIZES }).is_err());
        assert!(Board::heap(Sizes { sessions: 65_537, ..SIZES }).is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_that_may_shrink_is_refused() {
        use std::os::fd::AsRawFd;
        let path = std::env::temp_dir().join(format!("dispatch-unsealed-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.set_len(4_096).unwrap();
        assert!(Board::attach(file.as_raw_fd()).is_err());
    }
}
