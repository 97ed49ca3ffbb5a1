//! The choices of requests: what was asked of a pool, what its strategy read, who was chosen, and what became of that.

use std::sync::atomic::Ordering::Relaxed;

use super::{Choice, NONE, OPEN, Records};
use crate::board::region::Line;
use crate::engine::lease::{Ending, Trial};
use crate::engine::pool::Wish;
use crate::engine::refusal::{Refusal, place_of, why_at};
use crate::engine::tape::Tape;
use crate::limit::Use;
use crate::units::Nanos;

/// Bits of the status word, beside outcome, reason, position, checks and units.
const SOFT: u64 = 1 << 32;
const RETRY: u64 = 1 << 33;
const HASHED: u64 = 1 << 34;
const LONG: u64 = 1 << 35;

/// A choice that is being made.
pub(in crate::engine) struct Slot<'a> {
    rest: &'a Line,
    units: &'a [Line],
    pub(in crate::engine) serial: u32,
}

impl Slot<'_> {
    /// What its strategy reads is written here.
    pub(in crate::engine) fn tape(&self) -> Tape<'_> {
        Tape::over(&self.rest.wide()[4..], self.units)
    }

    /// It was made.
    pub(in crate::engine) fn close(&self, tape: &Tape<'_>, is_soft: bool, found: &Result<(usize, Trial), Refusal>) {
        let (at, why) = match found {
            Ok((at, _)) => (*at as u64 & NONE, 0),
            Err(refusal) => (NONE, u64::from(place_of(refusal.why))),
        };
        let read = tape.written().map_or(LONG, |(checked, used)| (checked as u64) << 40 | (used as u64) << 48);
        let hashed = self.rest.wide()[3].load(Relaxed) & HASHED;
        let soft = if is_soft { SOFT } else { 0 };
        self.rest.wide()[3].store(OPEN | why << 8 | at << 16 | hashed | soft | read, Relaxed);
    }
}

impl Records {
    /// A place for a choice that a noted request asks for.
    ///
    /// One that waits is refused again and again: only the last time is kept, and what comes of it.
    pub(in crate::engine) fn open(&self, tag: u32, wish: &Wish) -> Option<Slot<'_>> {
        let owner = &self.own(wish.request)?.first()?.wide()[7];
        let told = owner.load(Relaxed);
        let last = told as u32;
        let again = last != 0 && self.own_choice(last).is_some_and(|lines| was_refused(lines, tag));
        let serial = if again { last } else { self.serials.fetch_add(1, Relaxed).wrapping_add(1).max(1) };
        let [numbers, rest, units @ ..] = self.choice(serial) else { return None };
        if !again {
            numbers.wide()[0].store(u64::from(last) << 32 | u64::from(serial), Relaxed);
            owner.store(told & !u64::from(u32::MAX) | u64::from(serial), Relaxed);
        }
        let Wish { request, tried, tokens, now, draw, hash } = *wish;
        let asked = u64::from(tokens.input) << 32 | u64::from(tokens.output);
        let words = [request, now.0, draw, hash.unwrap_or(0), tried as u64, (tried >> 64) as u64, asked];
        for (word, value) in numbers.wide()[1..].iter().zip(words) {
            word.store(value, Relaxed);
        }
        let hashed = if hash.is_some() { HASHED } else { 0 };
        for (word, value) in rest.wide().iter().zip([0, 0, u64::from(tag), OPEN | NONE << 16 | hashed | LONG]) {
            word.store(value, Relaxed);
        }
        Some(Slot { rest, units, serial })
    }

    /// An attempt is over.
    pub(in crate::engine) fn ended(&self, serial: u32, ending: &Ending) {
        let Some([_, rest, ..]) = self.own_choice(serial) else { return };
        let [ended, _, _, status, ..] = rest.wide();
        ended.store(ending.now.0, Relaxed);
        write_used(rest, ending.used);
        status.store(status.load(Relaxed) & !OPEN | ending.failure as u64, Relaxed);
    }

    /// A part of something that lasts has used so much.
    pub(in crate::engine) fn charged(&self, serial: u32, more: Use) {
        if let Some([_, rest, ..]) = self.own_choice(serial) {
            write_used(rest, more);
        }
    }

    /// An attempt follows another one.
    pub(in crate::engine) fn retried(&self, serial: u32) {
        if let Some([_, rest, ..]) = self.own_choice(serial) {
            rest.wide()[3].fetch_or(RETRY, Relaxed);
        }
    }

    /// The lines of a choice, if they are still its own.
    fn own_choice(&self, serial: u32) -> Option<&[Line]> {
        let lines = self.choice(serial);
        (serial != 0 && lines.first()?.wide()[0].load(Relaxed) as u32 == serial).then_some(lines)
    }

    /// The choices of a request, in order, and whether these are all: later ones of others may have taken the place of the first ones.
    #[must_use]
    pub fn choices(&self, number: u64) -> (Vec<Choice>, bool) {
        let last =
            self.own(number).and_then(|lines| lines.first()).map_or(0, |line| line.wide()[7].load(Relaxed) as u32);
        let (mut found, mut serial) = (Vec::new(), last);
        while let Some([numbers, rest, units @ ..]) = self.own_choice(serial) {
            if numbers.wide()[1].load(Relaxed) != number {
                break;
            }
            found.push(read(numbers, rest, units));
            serial = (numbers.wide()[0].load(Relaxed) >> 32) as u32;
        }
        found.reverse();
        (found, serial == 0)
    }
}

/// Adds to what an attempt has used; what lasts is charged before it ends.
fn write_used(rest: &Line, more: Use) {
    let [_, used, tag, ..] = rest.wide();
    let Use { input, output, cached } = read_used(rest);
    let (input, output) = (input.saturating_add(more.input), output.saturating_add(more.output));
    used.store(u64::from(input) << 32 | u64::from(output), Relaxed);
    let cached = cached.saturating_add(more.cached);
    tag.store(u64::from(cached) << 32 | tag.load(Relaxed) & u64::from(u32::MAX), Relaxed);
}

fn read_used(rest: &Line) -> Use {
    let [_, used, tag, ..] = rest.wide();
    let (used, tag) = (used.load(Relaxed), tag.load(Relaxed));
    Use { input: (used >> 32) as u32, output: used as u32, cached: (tag >> 32) as u32 }
}

/// Whether nobody of this pool took it.
fn was_refused(lines: &[Line], tag: u32) -> bool {
    lines.get(1).is_some_and(|rest| {
        let [_, _, pool, status, ..] = rest.wide();
        status.load(Relaxed) >> 8 & 0xFF != 0 && pool.load(Relaxed) as u32 == tag
    })
}

fn read(numbers: &Line, rest: &Line, units: &[Line]) -> Choice {
    let [_, request, now, draw, hash, low, high, asked] = numbers.wide().each_ref().map(|word| word.load(Relaxed));
    let [ended, _, tag, status, checks @ ..] = rest.wide().each_ref().map(|word| word.load(Relaxed));
    let tokens = Use { input: (asked >> 32) as u32, output: asked as u32, cached: 0 };
    let tape = (status & LONG == 0).then(|| {
        let used = (status >> 48 & 0xFF) as usize;
        let units = units.iter().flat_map(Line::narrow).take(used).map(|unit| unit.load(Relaxed));
        ((status >> 40 & 0xFF) as usize, checks.to_vec(), units.collect())
    });
    Choice {
        tag: tag as u32,
        wish: Wish {
            request,
            tried: u128::from(low) | u128::from(high) << 64,
            tokens,
            now: Nanos(now),
            draw,
            hash: (status & HASHED != 0).then_some(hash),
        },
        at: Some((status >> 16) as u16).filter(|at| u64::from(*at) != NONE),
        refused: why_at((status >> 8) as u8),
        is_soft: status & SOFT != 0,
        is_retry: status & RETRY != 0,
        outcome: Some(status as u8).filter(|outcome| u64::from(*outcome) != OPEN),
        ended: Nanos(ended),
        used: read_used(rest),
        tape,
    }
}
