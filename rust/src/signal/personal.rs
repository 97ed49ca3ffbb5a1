//! Personal data that has a form: addresses of mail, telephone numbers, accounts, cards, social security numbers, addresses of machines.
//!
//! Each find is checked as far as its form allows (IBAN: ISO 7064 mod 97; cards: Luhn, ISO/IEC 7812; social security numbers: areas that are
//! given out), so that prices, dates and versions are left alone. Names and street addresses have no form, and are not found.

use std::net::Ipv6Addr;

/// Kinds, as bits of what [`personal`] returns and as names of the configuration.
pub const PERSONAL: [&str; 6] = ["email", "phone", "iban", "card", "ssn", "ip"];

const EMAIL: u8 = 1;
const PHONE: u8 = 1 << 1;
const IBAN: u8 = 1 << 2;
const CARD: u8 = 1 << 3;
const SSN: u8 = 1 << 4;
const IP: u8 = 1 << 5;

/// Longest run of digits with separators that is looked at.
const MOST_RUN: usize = 40;

/// The kinds of personal data in `text`, as bits.
#[must_use]
pub fn personal(text: &str) -> u8 {
    let bytes = text.as_bytes();
    let mut found = 0;
    let mut at = 0;
    // What stood before the byte at hand.
    let mut before = 0;
    while let Some(&byte) = bytes.get(at) {
        let class = CLASSES[usize::from(byte)];
        // Most bytes begin nothing, or stand within a word.
        if class & BEGINS == 0 || class & before & INNER != 0 {
            before = class << 1;
            at += 1;
            continue;
        }
        let (kinds, length) = found_at(bytes, at, byte);
        found |= kinds;
        at += length;
        before = CLASSES[usize::from(bytes[at - 1])] << 1;
    }
    found
}

/// What bytes are for [`personal`].
static CLASSES: [u8; 256] = classes();
/// Something may begin with it.
const BEGINS: u8 = 1;
/// What stands behind it is within a word or a number.
const WITHIN: u8 = 1 << 1;
/// Nothing begins with it within a word; also `WITHIN`, of the byte before.
const INNER: u8 = WITHIN << 1;

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut at = 0;
    while at < classes.len() {
        let byte = at as u8;
        classes[at] = match byte {
            b'@' => BEGINS | WITHIN,
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'f' => BEGINS | WITHIN | INNER,
            b'+' | b'(' | b':' => BEGINS | INNER,
            b'g'..=b'z' | b'_' | b'#' | b'$' => WITHIN,
            _ => 0,
        };
        at += 1;
    }
    classes
}

/// The kinds of what may begin at `at`, and how many bytes are done with.
fn found_at(bytes: &[u8], at: usize, byte: u8) -> (u8, usize) {
    match byte {
        b'@' => (email(bytes, at), 1),
        b'0'..=b'9' | b'+' | b'(' if starts(bytes, at) => {
            let (kinds, end) = number(bytes, at);
            (kinds | address(bytes, at), end - at)
        }
        b'A'..=b'Z' | b'a'..=b'f' if starts(bytes, at) => {
            let (kinds, length) = iban(bytes, at).map_or((0, 1), |length| (IBAN, length));
            (kinds | address(bytes, at), length)
        }
        b':' if bytes.get(at + 1) == Some(&b':') && starts(bytes, at) => (address(bytes, at), 1),
        _ => (0, 1),
    }
}

/// Whether nothing that belongs to a longer word or number stands before.
fn starts(bytes: &[u8], at: usize) -> bool {
    at.checked_sub(1).is_none_or(|before| {
        let byte = bytes[before];
        !byte.is_ascii_alphanumeric() && !matches!(byte, b'_' | b'.' | b'-' | b'#' | b'$' | b'@' | b'/')
            || matches!(byte, b'.' | b'-' | b'/') && before > 0 && bytes[before - 1] == b' '
    })
}

fn email(bytes: &[u8], at: usize) -> u8 {
    let is_local = |byte: &&u8| byte.is_ascii_alphanumeric() || b"._%+-".contains(byte);
    let local = bytes[..at].iter().rev().take_while(is_local).count();
    let rest = &bytes[at + 1..];
    let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b".-".contains(byte)).count();
    let domain = rest[..length].trim_ascii_end();
    let domain = domain.strip_suffix(b".").unwrap_or(domain);
    let last = domain.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    let is_domain = domain.len() > last.len() + 1 && last.len() >= 2 && last.iter().all(u8::is_ascii_alphabetic);
    if local > 0 && is_domain { EMAIL } else { 0 }
}

/// Digits and what separates them, from `at` on.
#[expect(clippy::struct_excessive_bools, reason = "each says whether a mark was seen")]
struct Run {
    digits: [u8; MOST_RUN],
    count: usize,
    /// Lengths of the groups between separators.
    groups: [u8; 8],
    group_count: usize,
    dots: bool,
    slashes: bool,
    separators: usize,
    /// A separator that counts if a digit follows.
    pending: bool,
    plus: bool,
    parens: bool,
    /// Where the first group ends.
    first_end: usize,
    end: usize,
}

impl Run {
    fn of(bytes: &[u8], start: usize) -> Self {
        let mut run = Self {
            digits: [0; MOST_RUN],
            count: 0,
            groups: [0; 8],
            group_count: 0,
            dots: false,
            slashes: false,
            separators: 0,
            pending: false,
            plus: false,
            parens: false,
            first_end: start + 1,
            end: start + 1,
        };
        let mut was_digit = false;
        for (offset, &byte) in bytes[start..].iter().take(MOST_RUN).enumerate() {
            if byte.is_ascii_digit() {
                run.take(byte, was_digit);
                run.end = start + offset + 1;
                if run.group_count == 1 {
                    run.first_end = run.end;
                }
            } else if !run.separate(byte, offset, was_digit) {
                break;
            }
            was_digit = byte.is_ascii_digit();
        }
        run
    }

    fn take(&mut self, byte: u8, goes_on: bool) {
        self.digits[self.count] = byte - b'0';
        self.count += 1;
        self.separators += usize::from(std::mem::take(&mut self.pending));
        if !goes_on && self.group_count < self.groups.len() {
            self.group_count += 1;
        }
        let last = self.group_count.saturating_sub(1);
        self.groups[last] = self.groups[last].saturating_add(1);
    }

    /// Takes what is no digit. Returns whether the run may go on.
    fn separate(&mut self, byte: u8, offset: usize, was_digit: bool) -> bool {
        match byte {
            b'+' if offset == 0 => self.plus = true,
            b'(' => self.parens = true,
            b')' if self.parens => {}
            b' ' if !was_digit && !self.parens && offset > 0 => return false,
            b' ' | b'-' => self.pending |= was_digit,
            b'.' => self.dots = true,
            b'/' => self.slashes = true,
            _ => return false,
        }
        byte == b'(' || byte == b')' || byte == b'+' || was_digit || self.parens
    }

    fn digits(&self) -> &[u8] {
        &self.digits[..self.count]
    }

    fn groups(&self) -> &[u8] {
        &self.groups[..self.group_count]
    }

    fn is_card(&self) -> bool {
        // Issuers' first digits and lengths: Visa, Mastercard, American Express, Discover, Diners.
        let fits = match (self.digits[0], self.digits[1]) {
            (4, _) => matches!(self.count, 13 | 16 | 19),
            (5, 1..=5) | (2, 2..=7) | (6, 0 | 2 | 4 | 5) => self.count == 16,
            (3, 4 | 7) => self.count == 15,
            (3, 0 | 6 | 8 | 9) => self.count == 14,
            _ => false,
        };
        let is_grouped = matches!(self.groups(), [_] | [4, 4, 4, 4] | [4, 6, 5] | [4, 4, 4, 4, 3]);
        fits && is_grouped && !self.dots && !self.slashes && !self.plus && luhn(self.digits())
    }

    fn is_ssn(&self) -> bool {
        let digits = self.digits();
        let area = digits.iter().take(3).fold(0_u16, |sum, digit| sum * 10 + u16::from(*digit));
        self.groups() == [3, 2, 4]
            && self.separators == 2
            && !(area == 0 || area == 666 || area >= 900)
            && digits[3..5] != [0, 0]
            && digits[5..] != [0; 4]
    }

    fn is_ip(&self) -> bool {
        let mut from = 0;
        let mut is_byte = |length: &u8| {
            let part = &self.digits[from..from + usize::from(*length)];
            from += usize::from(*length);
            part.iter().fold(0_u32, |sum, digit| sum * 10 + u32::from(*digit)) <= 255
                && (part.len() == 1 || part[0] != 0)
        };
        let is_dotted = self.dots && self.separators == 0 && !self.slashes && !self.plus && !self.parens;
        is_dotted && self.group_count == 4 && self.groups().iter().all(|length| *length <= 3 && is_byte(length))
    }

    /// An international number, one of North America in its groups, or one with a national prefix.
    fn is_phone(&self) -> bool {
        let groups = self.groups();
        if self.plus {
            return (8..=15).contains(&self.count) && self.digits[0] != 0;
        }
        let american = matches!(groups, [3, 3, 4] | [1, 3, 3, 4]) && (self.count == 10 || self.digits[0] == 1);
        let area = self.digits[self.count.saturating_sub(10)];
        if american && area >= 2 && !self.slashes {
            return true;
        }
        let is_grouped = group_ends(groups) && !self.dots;
        let international = self.digits[0] == 0 && self.digits[1] == 0 && (10..=15).contains(&self.count);
        let national = self.digits[0] == 0 && self.digits[1] != 0 && (9..=12).contains(&self.count);
        is_grouped && (international || national)
    }
}

/// More than one group, the first of two to five digits: how a prefix is set off.
fn group_ends(groups: &[u8]) -> bool {
    groups.len() > 1 && (2..=5).contains(&groups[0])
}

/// What the number at `at` is, and where to go on: behind its first group if it is nothing, since another number may stand before one.
fn number(bytes: &[u8], at: usize) -> (u8, usize) {
    let run = Run::of(bytes, at);
    if run.count < 4 || bytes.get(run.end).is_some_and(|next| next.is_ascii_alphabetic() || *next == b'_') {
        return (0, run.first_end);
    }
    let kinds = if run.is_card() {
        CARD
    } else if run.is_ip() {
        IP
    } else if run.is_ssn() {
        SSN
    } else if run.is_phone() {
        PHONE
    } else {
        return (0, run.first_end);
    };
    (kinds, run.end)
}

/// The check digit of cards (ISO/IEC 7812-1, annex B).
fn luhn(digits: &[u8]) -> bool {
    let doubled = |digit: u8| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| u32::from(if at % 2 == 1 { doubled(*digit) } else { *digit }))
        .sum();
    sum % 10 == 0 && digits.iter().any(|digit| *digit != digits[0])
}

/// Length of an international account number: two letters, two digits, eleven to thirty more, in groups or not (ISO 13616, check by ISO 7064).
fn iban(bytes: &[u8], at: usize) -> Option<usize> {
    let [a, b, c, d] = bytes.get(at..at + 4)?.first_chunk::<4>()?;
    if !(a.is_ascii_uppercase() && b.is_ascii_uppercase() && c.is_ascii_digit() && d.is_ascii_digit()) {
        return None;
    }
    let mut signs = [0_u8; 34];
    let mut count = 0;
    for (offset, &byte) in bytes[at..].iter().take(44).enumerate() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' if count < signs.len() => {
                signs[count] = byte;
                count += 1;
            }
            b' ' => {}
            _ => break,
        }
        let ends = !bytes.get(at + offset + 1).is_some_and(u8::is_ascii_alphanumeric);
        // Words may follow an account number: any length that checks is one.
        if count >= 15 && ends && remainder(&signs[4..count], &signs[..4]) == 1 {
            return Some(offset + 1);
        }
    }
    None
}

fn remainder(body: &[u8], head: &[u8]) -> u32 {
    body.iter().chain(head).fold(0, |rest, sign| {
        if sign.is_ascii_digit() {
            (rest * 10 + u32::from(sign - b'0')) % 97
        } else {
            (rest * 100 + u32::from(sign - b'A') + 10) % 97
        }
    })
}

/// An address of IP version 6.
fn address(bytes: &[u8], at: usize) -> u8 {
    let length = bytes[at..].iter().take(40).take_while(|byte| byte.is_ascii_hexdigit() || **byte == b':').count();
    let token = &bytes[at..at + length];
    let mut colons = token.iter().filter(|byte| **byte == b':');
    if colons.next().and(colons.next()).is_none() || token.len() < 6 {
        return 0;
    }
    let parsed = std::str::from_utf8(token).ok().and_then(|text| text.trim_end_matches(':').parse::<Ipv6Addr>().ok());
    if parsed.is_some() { IP } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_the_form_of_personal_data_is_found() {
        for (text, kind) in [
            ("write to Ann.Lee+x@mail.example.org.", EMAIL),
            ("call +49 30 901820 today", PHONE),
            ("tel: (415) 555-2671", PHONE),
            ("Tel. 030 901820-55", PHONE),
            ("0044 20 7946 0958", PHONE),
            ("my account DE89 3704 0044 0532 0130 00 please", IBAN),
            ("GB82WEST12345698765432", IBAN),
            ("card 4111 1111 1111 1111, exp 12/27", CARD),
            ("ssn 078-05-1120", SSN),
            ("from 192.168.17.4 at noon", IP),
            ("2001:db8::8a2e:370:7334", IP),
        ] {
            assert_eq!(personal(text), kind, "{text}");
        }
    }

    #[test]
    fn numbers_that_are_no_personal_data_are_left_alone() {
        for text in [
            "on 2024-01-15 at 12:30:45",
            "costs $1,234,567.89 or 3.14159265",
            "version 10.4.22 of 1.2.3",
            "ISBN 978-3-16-148410-0",
            "the year 1999-2004, pages 100-200",
            "order 1234567890123456",
            "x = 10 20 30 40 50 60 70",
            "@property and user@localhost",
            "000-12-3456 and 666-12-3456",
            "DE89370400440532013001",
        ] {
            assert_eq!(personal(text), 0, "{text}");
        }
    }
}
