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
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for option in head::members(value) {
                    self.closes |= option.eq_ignore_ascii_case(b"close");
                    self.keeps |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.replace(head::content_length(value)?).is_some() {
                    return Err(Fault::bad("Content-Length is given twice"));
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
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
