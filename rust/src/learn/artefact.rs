//! A router as bytes: magic, version, names, numbers, and a digest of it all. Nothing in it is executed, every length is checked.

use std::fmt;

use sha2::{Digest, Sha256};

use super::calibrate::Curve;
use super::examples::{COLUMNS, Scales};
use super::router::{Router, UNKNOWN_IDF, UNSEEN};
use super::rows::Rows;
use crate::signal::{BUCKETS, SURFACE};

const MAGIC: &[u8; 8] = b"dsprout\n";
/// Grows with every change of features or format: a router of another version would predict nonsense.
const VERSION: u32 = 2;
/// The version before had no curves, and is read as it was.
const WITHOUT_CURVES: u32 = 1;
const DIGEST: usize = 16;
const MOST_NAMES: usize = 256;

/// Bytes that are no router of this version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtefactError(pub String);

impl fmt::Display for ArtefactError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ArtefactError {}

type Result<T> = std::result::Result<T, ArtefactError>;

impl Router {
    /// The router as bytes for [`Router::decode`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(VERSION.to_le_bytes());
        put_names(&mut out, &self.models);
        put_names(&mut out, &self.groups);
        put_length(&mut out, self.curves.len());
        for curve in &self.curves {
            put_floats(&mut out, &curve.0);
        }
        for floats in [&self.means, &self.group_means, &self.group_shares, &self.heads] {
            put_floats(&mut out, floats);
        }
        put_floats(&mut out, &self.scales.mean);
        put_floats(&mut out, &self.scales.deviation);
        put_seen(&mut out, &self.places);
        for (idf, _) in self.scales.idf.iter().zip(&self.places).filter(|(_, place)| **place != UNSEEN) {
            out.extend(idf.to_le_bytes());
        }
        out.extend(self.rows.weights());
        let digest = Sha256::digest(&out);
        out.extend(&digest[..DIGEST]);
        out
    }

    /// Reads what [`Router::encode`] wrote.
    ///
    /// # Errors
    /// It is something else, of another version, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::open(bytes)?;
        let (models, groups) = (reader.names()?, reader.names()?);
        let curves = reader.curves(models.len())?;
        let (means, group_means) = (reader.floats(models.len())?, reader.floats(models.len() * groups.len())?);
        let (group_shares, heads) = (reader.floats(groups.len())?, reader.floats(1 + models.len() + groups.len())?);
        let (mean, deviation) = (reader.counts()?, reader.counts()?);
        let places = reader.places()?;
        let seen = places.iter().filter(|place| **place != UNSEEN).count();
        let buckets = places[..BUCKETS].iter().filter(|place| **place != UNSEEN).count();
        let known = reader.floats(buckets)?;
        let idf =
            places[..BUCKETS].iter().map(|place| known.get(*place as usize).copied().unwrap_or(UNKNOWN_IDF)).collect();
        let weights = reader.take(seen * heads.len())?;
        reader.end()?;
        let mut rows = Rows::new(heads.len());
        for (at, row) in weights.chunks_exact(heads.len()).enumerate() {
            rows.add(known.get(at).copied().unwrap_or_default(), row.iter().map(|byte| i8::from_le_bytes([*byte])));
        }
        let scales = Scales { idf, mean, deviation };
        Ok(Self { models, groups, means, group_means, group_shares, scales, curves, heads, places, rows })
    }
}

fn put_names(out: &mut Vec<u8>, names: &[String]) {
    put_length(out, names.len());
    for name in names {
        put_length(out, name.len());
        out.extend(name.as_bytes());
    }
}

#[expect(clippy::cast_possible_truncation, reason = "names of models, and fewer than 256 of them")]
fn put_length(out: &mut Vec<u8>, length: usize) {
    out.extend((length as u32).to_le_bytes());
}

fn put_floats(out: &mut Vec<u8>, floats: &[f32]) {
    out.extend(floats.iter().flat_map(|float| float.to_le_bytes()));
}

/// A bit for each bucket: whether training saw it.
fn put_seen(out: &mut Vec<u8>, places: &[u32]) {
    out.extend(
        places[..BUCKETS]
            .chunks_exact(8)
            .map(|eight| eight.iter().enumerate().fold(0, |byte, (at, place)| byte | u8::from(*place != UNSEEN) << at)),
    );
}

/// Bytes that are taken from the front.
struct Reader<'a> {
    rest: &'a [u8],
    has_curves: bool,
}

impl<'a> Reader<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self> {
        let Some(body) = bytes.strip_prefix(MAGIC) else { return fault("it is no router of dispatch") };
        let version = body.first_chunk::<4>().map(|four| u32::from_le_bytes(*four));
        if !matches!(version, Some(VERSION | WITHOUT_CURVES)) {
            return fault(&format!("it is of version {}, expected {VERSION}: train it again", version.unwrap_or(0)));
        }
        let (content, digest) = bytes.split_at(bytes.len().saturating_sub(DIGEST));
        if Sha256::digest(content)[..DIGEST] != *digest {
            return fault("it is damaged: its digest does not fit");
        }
        Ok(Self { rest: &content[MAGIC.len() + 4..], has_curves: version == Some(VERSION) })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => fault("it ends too early"),
        }
    }

    fn length(&mut self) -> Result<usize> {
        let four = self.take(4)?;
        Ok(four.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }

    fn names(&mut self) -> Result<Vec<String>> {
        let count = self.length()?;
        if count > MOST_NAMES {
            return fault("it names too many models");
        }
        (0..count).map(|_| self.name()).collect()
    }

    fn name(&mut self) -> Result<String> {
        let length = self.length()?;
        String::from_utf8(self.take(length)?.to_vec()).or_else(|_| fault("a name is not UTF-8"))
    }

    fn curves(&mut self, models: usize) -> Result<Vec<Curve>> {
        let count = if self.has_curves { self.length()? } else { 0 };
        if count != 0 && count != models {
            return fault("it has curves of other models");
        }
        let floats = self.floats(count * Curve::TERMS)?;
        Ok(floats.chunks_exact(Curve::TERMS).map(|four| Curve([four[0], four[1], four[2], four[3]])).collect())
    }

    fn floats(&mut self, count: usize) -> Result<Vec<f32>> {
        let bytes = self.take(count * 4)?;
        let floats: Vec<f32> =
            bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect();
        if floats.iter().all(|float| float.is_finite()) { Ok(floats) } else { fault("a number is not finite") }
    }

    fn counts(&mut self) -> Result<[f32; SURFACE]> {
        let floats = self.floats(SURFACE)?;
        floats.try_into().or_else(|_| fault("it ends too early"))
    }

    fn places(&mut self) -> Result<Vec<u32>> {
        let seen = self.take(BUCKETS / 8)?;
        let mut rows = 0;
        let place = |at: usize| {
            // Counts and the constant follow the buckets, always.
            let is_seen = at >= BUCKETS || seen[at / 8] >> (at % 8) & 1 == 1;
            let row = rows;
            rows += u32::from(is_seen);
            if is_seen { row } else { UNSEEN }
        };
        Ok((0..COLUMNS).map(place).collect())
    }

    fn end(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { fault("something follows its end") }
    }
}

fn fault<T>(reason: &str) -> Result<T> {
    Err(ArtefactError(reason.to_owned()))
}
