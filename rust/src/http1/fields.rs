//! The fields that decide about framing and connection: read in one way for requests and answers, since a proxy that reads them
//! differently on its two sides can be made to smuggle a message.

use super::Fault;
use super::head;

/// What they say.
#[derive(Default)]
pub(super) struct Framed {
    /// `Content-Length`.
    pub length: Option<u64>,
    /// `Transfer-Encoding: chunked`.
    pub is_chunked: bool,
    /// `Connection: close`.
    pub closes: bool,
    /// `Connection: keep-alive`.
    pub keeps: bool,
}

impl Framed {
    /// Takes a field; `false` when it is none of these.
    ///
    /// # Errors
    /// When its value is not valid, or it came before.
    pub(super) fn take(&mut self, name: &[u8], value: &[u8]) -> Result<bool, Fault> {
        match name.len() {
            // What nearly all say, before it is taken apart.
            10 if same(name, b"connection") && value == b"keep-alive" => self.keeps = true,
            10 if same(name, b"connection") => {
                for option in head::members(value) {
                    self.closes |= option.eq_ignore_ascii_case(b"close");
                    self.keeps |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if same(name, b"content-length") => {
                if self.length.replace(head::content_length(value)?).is_some() {
                    return Err(Fault::bad("Content-Length is given twice"));
                }
            }
            17 if same(name, b"transfer-encoding") => {
                if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Fault::bad("the only Transfer-Encoding here is one chunked"));
                }
                self.is_chunked = true;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether the connection stays after this message, by the default of its version.
    pub(super) const fn stays(&self, minor: u8) -> bool {
        !self.closes && (minor >= 1 || self.keeps)
    }
}

/// Whether the name of a field is a known one, whatever its case.
///
/// Names are tokens (`httparse` refuses others), and of tokens the bit that tells upper from lower case tells nothing else apart but `^`
/// and `~`, which no known name has; so words of eight bytes are compared under that bit.
#[inline]
pub(super) fn same(name: &[u8], known: &[u8]) -> bool {
    if name.len() != known.len() {
        return false;
    }
    // The last word overlaps the one before it.
    let (Some(last), Some(known_last)) = (name.last_chunk(), known.last_chunk()) else {
        return name.iter().zip(known).all(|(one, other)| one | 0x20 == other | 0x20);
    };
    let mut words = name.chunks_exact(8).zip(known.chunks_exact(8));
    let word = |chunk: &[u8]| chunk.first_chunk().copied().map(fold);
    fold(*last) == fold(*known_last) && words.all(|(one, other)| word(one) == word(other))
}

#[inline]
const fn fold(word: [u8; 8]) -> u64 {
    u64::from_ne_bytes(word) | 0x2020_2020_2020_2020
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn names_are_the_same_whatever_their_case_and_only_then() {
        const TOKEN: &[u8] = b"!#$%&'*+-._`|0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        for known in [b"host" as &[u8], b"x-request", b"expect", b"content-length", b"transfer-encoding", b"x_9-0a.b"] {
            assert!(same(known, known) && same(&known.to_ascii_uppercase(), known));
            assert!(!same(&known[1..], known));
            for (at, byte) in (0..known.len()).flat_map(|at| TOKEN.iter().map(move |byte| (at, *byte))) {
                let mut other = known.to_vec();
                other[at] = byte;
                assert_eq!(same(&other, known), other.eq_ignore_ascii_case(known), "{other:?}");
            }
        }
    }
}
