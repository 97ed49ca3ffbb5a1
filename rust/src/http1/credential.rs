//! Who asks: the credential that a request carries, in each place where a provider's SDK puts it (CONTRACT 9).

use std::borrow::Cow;

use super::request::Request;

/// Fields of the providers' own dialects that hold a bare key: Anthropic, Azure, Gemini.
const KEY_FIELDS: [&[u8]; 3] = [b"x-api-key", b"api-key", b"x-goog-api-key"];

impl<B: AsRef<[u8]>> Request<B> {
    /// The key for this sidecar: `x-dispatch-key`, which wins, else [`Self::credential`], else the access key id of an AWS signature.
    #[must_use]
    pub fn dispatch_key(&self) -> Option<Cow<'_, [u8]>> {
        let own = self.message.header(b"x-dispatch-key").map(Cow::Borrowed);
        let signer = || self.message.header(b"authorization").and_then(signer).map(Cow::Borrowed);
        own.or_else(|| self.credential()).or_else(signer).filter(|key| !key.is_empty())
    }

    /// The credential in the provider's own place: `Authorization: Bearer`, a key field, or `?key=`.
    #[must_use]
    pub fn credential(&self) -> Option<Cow<'_, [u8]>> {
        let bearer = self.message.header(b"authorization").and_then(bearer);
        let field = || KEY_FIELDS.iter().find_map(|name| self.message.header(name));
        bearer.or_else(field).map(Cow::Borrowed).or_else(|| query_key(self.query()))
    }
}

/// The token of a `Bearer` credential; the scheme's case does not matter (RFC 9110 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_first_chunk::<7>()?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// The access key id of a request that is signed as AWS's are (Signature Version 4): its SDKs send a bare token over TLS alone. The
/// signature is over a secret that nobody here has, so that the id itself is the key.
fn signer(value: &[u8]) -> Option<&[u8]> {
    let fields = value.strip_prefix(b"AWS4-HMAC-SHA256 ")?;
    let credential =
        fields.split(|&byte| byte == b',').find_map(|field| field.trim_ascii().strip_prefix(b"Credential="))?;
    // Behind it: date, region, service, and a constant.
    credential.rsplitn(5, |&byte| byte == b'/').nth(4)
}

fn query_key(query: &[u8]) -> Option<Cow<'_, [u8]>> {
    let value = query.split(|&byte| byte == b'&').find_map(|pair| pair.strip_prefix(b"key="))?;
    Some(if memchr::memchr2(b'%', b'+', value).is_some() { Cow::Owned(percent_decoded(value)) } else { value.into() })
}

/// Form decoding; an escape that is none stays as it is.
fn percent_decoded(value: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        let escape = after.first_chunk::<2>().filter(|_| byte == b'%').and_then(|digits| hex_byte(*digits));
        decoded.push(escape.unwrap_or(if byte == b'+' { b' ' } else { byte }));
        rest = if escape.is_some() { &after[2..] } else { after };
    }
    decoded
}

fn hex_byte(digits: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(digits[0])? << 4 | digit(digits[1])?)
}
