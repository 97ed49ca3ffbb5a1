//! What of a stream its client has been told, and how another answer goes on from there (CONTRACT 4, recovery after commit).
//!
//! The first stream is only read. A stream that follows it is either an answer to the same request, of which nothing goes out
//! before it has said all that was told, or the continuation of it; in both, only what is new goes out, under the `id` and
//! `created` that the client knows. An answer that says something else has diverged, and nothing of it goes out.

use std::borrow::Cow;

use super::dialect::{DONE, Dialect, effect};
use super::event::Facts;
use super::piece::{Name, Piece, Report};
use super::split::{Block, Splitter};
use crate::json::Span;

/// One growing text of the answer.
#[derive(Debug)]
struct Strand {
    name: Name,
    /// What the client has of it.
    text: Vec<u8>,
    /// How much of that the following answer has said, too.
    at: usize,
}

impl Strand {
    fn due(&self) -> &[u8] {
        &self.text[self.at..]
    }
}

/// What the stream that is read is to its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    First,
    Restart,
    Rest,
}

/// Bytes that stand in for others.
type Edit<'a> = (Span, Cow<'a, [u8]>);

/// See the module.
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
#[derive(Debug)]
pub struct Told {
    dialect: &'static Dialect,
    max_bytes: usize,
    id: Option<Vec<u8>>,
    created: Option<Vec<u8>>,
    has_role: bool,
    has_finish: bool,
    /// Tool calls whose `id` the client has.
    labelled: Vec<u64>,
    strands: Vec<Strand>,
    /// Deltas that the client has.
    pub deltas: u64,
    /// Whether it was told something that another answer cannot be held against.
    pub is_opaque: bool,
    /// Whether the answer that follows says something else.
    pub has_diverged: bool,
    course: Course,
    /// Tokens of the answers before, to be added to what the last one reports.
    before: (u64, u64),
}

impl Told {
    /// Nothing told yet. More than `max_bytes` of text are not remembered.
    #[must_use]
    pub const fn new(dialect: &'static Dialect, max_bytes: usize) -> Self {
        Self {
            dialect,
            max_bytes,
            id: None,
            created: None,
            has_role: false,
            has_finish: false,
            labelled: Vec::new(),
            strands: Vec::new(),
            deltas: 0,
            is_opaque: !dialect.has_choices,
            has_diverged: false,
            course: Course::First,
            before: (0, 0),
        }
    }

    /// Another answer to the same request follows. `before`: input and output tokens to add to what it reports.
    pub fn restart(&mut self, before: (u64, u64)) {
        self.begin(before, Course::Restart);
        for strand in &mut self.strands {
            strand.at = 0;
        }
    }

    /// A continuation follows, asked for with the first `sent` bytes of the content; what was told beyond it must come again.
    pub fn resume(&mut self, sent: usize, before: (u64, u64)) {
        self.begin(before, Course::Rest);
        for strand in &mut self.strands {
            strand.at = if strand.name == Name::Content { sent.min(strand.text.len()) } else { strand.text.len() };
        }
    }

    fn begin(&mut self, before: (u64, u64), course: Course) {
        self.course = course;
        self.has_diverged = false;
        self.before = before;
    }

    /// The content told so far.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        self.strands.iter().find(|strand| strand.name == Name::Content).map_or(b"", |strand| &strand.text)
    }

    /// Whether content, and after it nothing but content, was told: what a continuation can go on from.
    #[must_use]
    pub fn is_prose(&self) -> bool {
        !self.is_opaque
            && !self.has_finish
            && !self.content().is_empty()
            && self.strands.iter().all(|strand| strand.name == Name::Content || strand.name.is_reasoning())
    }

    /// Bytes of all that was told.
    #[must_use]
    pub fn size(&self) -> usize {
        self.strands.iter().map(|strand| strand.text.len()).sum()
    }

    /// Whether the answer that follows has said all that was told.
    #[must_use]
    pub fn is_aligned(&self) -> bool {
        self.strands.iter().all(|strand| strand.due().is_empty())
    }

    /// Takes whole events of the stream; returns what may go to the client, which is all of it for the first stream.
    pub fn take<'a>(&mut self, events: &'a [u8]) -> Cow<'a, [u8]> {
        let (mut splitter, mut at, mut out) = (Splitter::default(), 0, Vec::new());
        while at < events.len() {
            let rest = &events[at..];
            let block = splitter.next(rest, true).unwrap_or_else(|| splitter.rest(rest));
            let whole = &rest[..block.length];
            if self.course == Course::First {
                self.note(whole, &block);
            } else if !self.has_diverged {
                self.follow(whole, &block, &mut out);
            }
            at += block.length;
        }
        if self.course == Course::First { Cow::Borrowed(events) } else { Cow::Owned(out) }
    }

    fn note(&mut self, block: &[u8], parts: &Block) {
        let Some(data) = data_of(block, parts) else { return };
        if self.is_opaque {
            self.deltas += u64::from(self.is_delta(&data, parts.name.of(block)));
            return;
        }
        let Ok(piece) = Piece::read(&data) else { return };
        self.is_opaque |= piece.is_opaque;
        let copy = |span: Span| span.of(&data).to_vec();
        self.id = self.id.take().or_else(|| piece.id.map(copy));
        self.created = self.created.take().or_else(|| piece.created.map(copy));
        self.has_role |= piece.role.is_some();
        self.has_finish |= piece.finish.is_some();
        for (index, _) in &piece.labels {
            if !self.labelled.contains(index) {
                self.labelled.push(*index);
            }
        }
        self.deltas += u64::from(!piece.strings.is_empty() || piece.is_opaque);
        for (name, text) in &piece.strings {
            match text.decode(&data) {
                Some(value) => {
                    let place = self.place(*name);
                    self.strands[place].text.extend_from_slice(&value);
                }
                None => self.is_opaque = true,
            }
        }
        self.check_size();
    }

    /// Whether an event of any dialect is part of the answer's substance.
    fn is_delta(&self, data: &[u8], name: &[u8]) -> bool {
        Facts::read(data).is_ok_and(|facts| {
            let kind = facts.kind.and_then(|kind| kind.decode(data));
            facts.has_delta || self.dialect.effects(kind.as_deref().unwrap_or(name)) & effect::DELTA != 0
        })
    }

    fn check_size(&mut self) {
        if self.size() > self.max_bytes {
            self.is_opaque = true;
            self.strands = Vec::new();
        }
    }

    fn place(&mut self, name: Name) -> usize {
        if let Some(place) = self.strands.iter().position(|strand| strand.name == name) {
            return place;
        }
        self.strands.push(Strand { name, text: Vec::new(), at: 0 });
        self.strands.len() - 1
    }

    fn follow(&mut self, block: &[u8], parts: &Block, out: &mut Vec<u8>) {
        let Some(data) = data_of(block, parts) else {
            let is_done = parts.data_lines > 0;
            self.has_diverged |= is_done && !self.is_aligned();
            if self.is_aligned() {
                out.extend_from_slice(block);
            }
            return;
        };
        let Ok(piece) = Piece::read(&data) else { return };
        let Some(edits) = self.compare(&piece, &data) else { return };
        // An event's data may stand in several lines; here it gets one.
        let (start, end) = (parts.data.start, if parts.data_lines == 1 { parts.data.end } else { block.len() });
        out.extend_from_slice(&block[..start]);
        write_edited(&data, edits, out);
        out.extend_from_slice(if parts.data_lines == 1 { &block[end..] } else { b"\n\n" });
    }

    /// What to change in an event so that it tells only what is new; `None`: it tells nothing new, or has diverged.
    fn compare<'a>(&mut self, piece: &Piece, data: &'a [u8]) -> Option<Vec<Edit<'a>>> {
        let was_aligned = self.is_aligned();
        let (mut edits, mut rests) = (Vec::new(), Vec::new());
        for (name, text) in &piece.strings {
            let Some((overlap, rest)) = self.advance(*name, text.decode(data)) else {
                self.has_diverged = true;
                return None;
            };
            if overlap > 0 {
                edits.push((text.quoted(), Cow::Owned(quoted(&rest))));
            }
            if !rest.is_empty() {
                rests.push((*name, rest));
            }
        }
        let strays = self.course == Course::Rest && rests.iter().any(|(name, _)| name.is_reasoning());
        let is_early = !self.is_aligned() && (!rests.is_empty() || piece.finish.is_some());
        // The client knows the answer's end already.
        let is_late = self.has_finish && !rests.is_empty();
        self.has_diverged |= strays || is_early || is_late || (piece.is_opaque && !was_aligned);
        let is_new = !rests.is_empty() || piece.finish.is_some() || piece.report.is_some();
        if self.has_diverged || !self.is_aligned() || !(is_new || was_aligned && piece.role.is_none()) {
            return None;
        }
        self.is_opaque |= piece.is_opaque;
        self.deltas += u64::from(!rests.is_empty());
        for (name, rest) in rests {
            let place = self.place(name);
            let strand = &mut self.strands[place];
            strand.text.extend_from_slice(&rest);
            strand.at = strand.text.len();
        }
        self.check_size();
        self.dress(piece, data, &mut edits);
        edits.sort_by_key(|(span, _)| span.start);
        Some(edits)
    }

    /// Moves on in what was told by as much of `value` as it covers; returns how much that is, and the rest. `None`: it differs.
    fn advance(&mut self, name: Name, value: Option<Cow<'_, [u8]>>) -> Option<(usize, Vec<u8>)> {
        let value = value?;
        let Some(strand) = self.strands.iter_mut().find(|strand| strand.name == name) else {
            return Some((0, value.into_owned()));
        };
        let overlap = strand.due().len().min(value.len());
        if strand.due()[..overlap] != value[..overlap] {
            return None;
        }
        strand.at += overlap;
        Some((overlap, value[overlap..].to_vec()))
    }

    /// What makes an event part of the stream that the client knows: its id, its time, no second role, label or end, the sum of usage.
    fn dress(&mut self, piece: &Piece, data: &[u8], edits: &mut Vec<Edit<'_>>) {
        for (own, span) in [(&self.id, piece.id), (&self.created, piece.created)] {
            if let (Some(own), Some(span)) = (own, span) {
                edits.push((span, Cow::Owned(own.clone())));
            }
        }
        if let Some(span) = piece.role
            && std::mem::replace(&mut self.has_role, true)
        {
            edits.push((span, Cow::Borrowed(b"null")));
        }
        if let Some(span) = piece.finish
            && std::mem::replace(&mut self.has_finish, true)
        {
            edits.push((span, Cow::Borrowed(b"null")));
        }
        for (index, span) in &piece.labels {
            if self.labelled.contains(index) {
                edits.push((*span, Cow::Borrowed(b"null")));
            } else {
                self.labelled.push(*index);
            }
        }
        if let Some(report) = &piece.report {
            self.sum(report, data, edits);
        }
    }

    fn sum(&self, report: &Report, data: &[u8], edits: &mut Vec<Edit<'_>>) {
        let (input, output) = self.before;
        for (span, more) in [(report.input, input), (report.output, output), (report.total, input + output)] {
            let Some(span) = span else { continue };
            if let Some(number) = std::str::from_utf8(span.of(data)).ok().and_then(|text| text.parse::<u64>().ok()) {
                edits.push((span, Cow::Owned(number.saturating_add(more).to_string().into_bytes())));
            }
        }
    }
}

/// The JSON of an event; `None` for a comment and for the terminator.
fn data_of<'a>(block: &'a [u8], parts: &Block) -> Option<Cow<'a, [u8]>> {
    let data = match parts.data_lines {
        0 => return None,
        1 => Cow::Borrowed(parts.data.of(block)),
        _ => {
            let mut joined = parts.joined(block);
            // Line ends stand between tokens only; as spaces they cannot end the one line that the data gets.
            joined.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
            Cow::Owned(joined)
        }
    };
    (data.trim_ascii() != DONE).then_some(data)
}

fn write_edited(data: &[u8], edits: Vec<Edit<'_>>, out: &mut Vec<u8>) {
    let mut at = 0;
    for (span, with) in edits {
        out.extend_from_slice(&data[at..span.start]);
        out.extend_from_slice(&with);
        at = span.end;
    }
    out.extend_from_slice(&data[at..]);
}

/// `text`, which is UTF-8, as a JSON string.
fn quoted(text: &[u8]) -> Vec<u8> {
    let mut string = Vec::with_capacity(text.len() + 2);
    string.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => string.extend_from_slice(&[b'\\', byte]),
            b'\n' => string.extend_from_slice(b"\\n"),
            0..0x20 => string.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => string.push(byte),
        }
    }
    string.push(b'"');
    string
}
