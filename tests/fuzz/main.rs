//! A mutational fuzzer for everything that reads bytes from outside. Plain and seeded, so that stable Rust runs it anywhere and
//! a failure can be had again.
//!
//! Each target starts from the files in `tests/fuzz/corpus/<target>`, changes and joins them, and holds the result against the
//! laws: no panic, the same outcome whole and cut anywhere, what goes out is well framed, what is spliced is JSON.
//! An input that takes a path not taken before joins the pool; the path is approximated by the shape of the outcome.
//! A failing input is written to `target/fuzz/` and its path printed.
//!
//! Environment: `DISPATCH_FUZZ_SECONDS` for each target (default 1), `DISPATCH_FUZZ_SEED` (default 1).

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program with a clock, an environment and a report"
)]

#[path = "../rust/wire/mod.rs"]
mod wire;

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use _core::json::{Cursor, Scan, flag, read_answer};
use _core::rng::Rng;
use _core::sse::{ANTHROPIC, CHAT, CONVERSE, FRAMED_ANTHROPIC, RESPONSES};
use wire::{Plan, answers, check_told, requests, ways};

/// Longest input: more finds nothing new and costs speed.
const MAX_INPUT: usize = 4 << 10;

/// Pieces that mean something to some parser.
const TOKENS: &[&[u8]] = &[
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"\n\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"1\r\n",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"Host: h\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Content-Type: text/event-stream\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"data: ",
    b"data:",
    b"event: error\n",
    b"[DONE]",
    b": c\n\n",
    b"\"usage\":null",
    b"\"choices\":[]",
    b"\"error\":{}",
    b"\"finish_reason\":\"stop\"",
    b"\"index\":1",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b"\\u0065",
    b"\\ud83d",
    b"\xff",
    b"\xe2\x82\xac",
    b"\xef\xbb\xbf",
    b"null",
    b"true",
    b"-1",
    b"1e9",
    b"\"model\":\"m\"",
    b"\"stream\":true",
    b"\"stream_options\":{}",
    b"\"include_usage\":false",
    b"\"stream_options\":null",
];

/// Checks the laws on one input; what it returns tells one path from another.
type Target = fn(&[u8], &mut Rng) -> u64;

fn main() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let span = Duration::from_secs(number("DISPATCH_FUZZ_SECONDS").unwrap_or(1));
    let seed = number("DISPATCH_FUZZ_SEED").unwrap_or(1);
    let targets: [(&str, Target); 5] = [
        ("request", fuzz_request),
        ("answer", fuzz_answer),
        ("stream", fuzz_stream),
        ("body", fuzz_body),
        ("frames", fuzz_frames),
    ];
    let failed: Vec<&str> =
        targets.into_iter().filter(|(name, target)| !run(name, *target, span, seed)).map(|(name, _)| name).collect();
    assert!(failed.is_empty(), "targets that broke a law: {failed:?}");
}

/// Runs one target; returns whether it kept the laws.
fn run(name: &str, target: Target, span: Duration, seed: u64) -> bool {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let mut pool = corpus(&folder);
    assert!(!pool.is_empty(), "no corpus in {}", folder.display());
    let (mut rng, mut paths, mut inputs) = (Rng::new(seed), HashSet::new(), 0_u64);
    let start = Instant::now();
    let mut waiting = pool.clone();
    while start.elapsed() < span || !waiting.is_empty() {
        let input = waiting.pop().unwrap_or_else(|| mutated(&pool, &mut rng));
        inputs += 1;
        match catch_unwind(AssertUnwindSafe(|| target(&input, &mut rng))) {
            Ok(path) if paths.insert(path) => pool.push(input),
            Ok(_) => {}
            Err(_) => {
                println!("{name}: {} breaks a law, after {inputs} inputs of seed {seed}", keep(name, &input));
                return false;
            }
        }
    }
    println!("{name}: {inputs} inputs, {} paths, no law broken", paths.len());
    true
}

fn corpus(folder: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

fn keep(name: &str, input: &[u8]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz");
    let path = folder.join(format!("{name}-{:016x}", hash(&input)));
    let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, input));
    written.map_or_else(|error| format!("an input that cannot be kept ({error})"), |()| path.display().to_string())
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn below(rng: &mut Rng, limit: usize) -> usize {
    usize::try_from(rng.next_u64() % limit.max(1) as u64).expect("it is below a usize")
}

/// One of the pool, changed in one to eight places.
fn mutated(pool: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut input = pool[below(rng, pool.len())].clone();
    for _ in 0..=below(rng, 8) {
        mutate(&mut input, pool, rng);
    }
    input.truncate(MAX_INPUT);
    input
}

fn mutate(input: &mut Vec<u8>, pool: &[Vec<u8>], rng: &mut Rng) {
    let at = below(rng, input.len() + 1);
    let length = below(rng, 16).min(input.len() - at);
    match below(rng, 7) {
        0 if at < input.len() => input[at] ^= 1 << below(rng, 8),
        1 if at < input.len() => input[at] = u8::try_from(below(rng, 256)).expect("it is below 256"),
        2 => drop(input.drain(at..at + length)),
        3 => {
            let copy = input[at..at + length].to_vec();
            drop(input.splice(at..at, copy));
        }
        4 => {
            let other = &pool[below(rng, pool.len())];
            let from = below(rng, other.len() + 1);
            drop(input.splice(at.., other[from..].iter().copied()));
        }
        5 => drop(input.splice(at..at + length, TOKENS[below(rng, TOKENS.len())].iter().copied())),
        _ => drop(input.splice(at..at, TOKENS[below(rng, TOKENS.len())].iter().copied())),
    }
}

/// A number for a summary of an outcome.
fn shape(summary: &impl Debug) -> u64 {
    hash(&format!("{summary:?}"))
}

fn places(rng: &mut Rng) -> Vec<usize> {
    (0..=below(rng, 4)).map(|_| below(rng, MAX_INPUT)).collect()
}

fn fuzz_request(input: &[u8], rng: &mut Rng) -> u64 {
    let [whole, bytewise, random] = ways(input, &places(rng)).try_into().expect("three ways");
    let expected = requests(&whole);
    assert_eq!(requests(&bytewise), expected);
    assert_eq!(requests(&random), expected);
    let summary: Vec<_> = expected
        .0
        .iter()
        .map(|seen| (seen.flags, seen.fields.len(), seen.query.0.is_empty(), seen.body.0.len().min(3)))
        .collect();
    shape(&(summary, expected.1))
}

fn plan(rng: &mut Rng) -> Plan {
    let dialect = [&CHAT, &CHAT, &RESPONSES, &ANTHROPIC][below(rng, 4)];
    Plan { inject: below(rng, 2) == 0, chunked: below(rng, 2) == 0, dialect, eof: below(rng, 2) == 0 }
}

fn fuzz_answer(input: &[u8], rng: &mut Rng) -> u64 {
    let plan = plan(rng);
    let [whole, bytewise, random] = ways(input, &places(rng)).try_into().expect("three ways");
    let expected = answers(&whole, plan);
    if let Some(told) = &expected.told {
        check_told(told, plan);
    }
    for other in [answers(&bytewise, plan), answers(&random, plan)] {
        // What follows a whole answer is a leftover in one piece, and bytes that nobody asked for in another.
        if other.wrong.is_some() && expected.wrong.is_none() {
            assert!(expected.answer.as_ref().is_none_or(|answer| !answer.is_reusable));
        } else {
            assert_eq!(other, expected);
        }
    }
    let summary = expected.answer.as_ref().map(|answer| (answer.status / 100, answer.flags, answer.is_reusable));
    let told = expected.told.as_ref().map(|told| (told.state, told.dropped.min(3), told.usage.input > 0));
    shape(&(summary, told, expected.wrong))
}

fn fuzz_stream(input: &[u8], rng: &mut Rng) -> u64 {
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
    let size = 1 + below(rng, 300);
    let message = match below(rng, 2) {
        0 => [head.as_slice(), b"\r\n", input].concat(),
        _ => [head.as_slice(), b"Transfer-Encoding: chunked\r\n\r\n", &wire::chunked(input, size)].concat(),
    };
    fuzz_answer(&message, rng)
}

/// As it is, or each line as the headers and the payload of a frame that is right but for what it says.
fn fuzz_frames(input: &[u8], rng: &mut Rng) -> u64 {
    let sealed = |line: &[u8]| {
        let (headers, payload) = line.split_at(line.iter().position(|&byte| byte == b'{').unwrap_or(line.len()));
        wire::sealed(headers, payload)
    };
    let body = match below(rng, 3) {
        0 => input.to_vec(),
        _ => input.split(|&byte| byte == b'\n').flat_map(sealed).collect(),
    };
    let plan = Plan { inject: false, dialect: [&CONVERSE, &FRAMED_ANTHROPIC][below(rng, 2)], ..plan(rng) };
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\n\r\n";
    let message = [head.as_slice(), &body].concat();
    let [whole, bytewise, random] = ways(&message, &places(rng)).try_into().expect("three ways");
    let expected = answers(&whole, plan);
    assert_eq!(answers(&bytewise, plan), expected);
    assert_eq!(answers(&random, plan), expected);
    let told = expected.told.expect("a stream began");
    check_told(&told, plan);
    shape(&(told.state, told.dropped.min(3), told.payload.0.len().min(3), told.usage.input > 0))
}

fn fuzz_body(input: &[u8], _rng: &mut Rng) -> u64 {
    let answer = read_answer(input);
    let scan = Scan::new(input);
    if let Ok(scan) = &scan {
        assert!(answer.is_ok(), "two readers, two opinions");
        check_splice(input, scan, false);
        check_splice(input, scan, true);
    }
    let is_json = Cursor::new(input).is_ok_and(|mut cursor| cursor.skip().is_ok() && cursor.end().is_ok());
    assert_eq!(is_json, answer.is_ok(), "skipping validates as reading does");
    let scan = scan.map(|scan| (scan.flags, scan.stream, scan.text_bytes.min(2), scan.affinity != 0));
    shape(&(scan.map_err(|error| (error.code, error.param)), answer.map_err(|error| error.what)))
}

/// A changed copy says what was asked for, and everything else as before.
fn check_splice(input: &[u8], scan: &Scan, inject: bool) {
    let splice = scan.splice(br#""n\"w""#, inject);
    let copy = splice.pieces(input).concat();
    assert_eq!(copy.len(), splice.length(input.len()));
    let again = Scan::new(&copy).expect("a splice stays JSON");
    assert_eq!(again.model, "n\"w");
    let facts = |scan: &Scan| (scan.stream, scan.n, scan.max_tokens, scan.text_bytes, scan.affinity);
    assert_eq!(facts(&again), facts(scan));
    let asks = |scan: &Scan| scan.flags & flag::INCLUDE_USAGE_TRUE != 0;
    assert_eq!(asks(&again), asks(scan) || (inject && scan.stream), "usage is asked for iff it should be");
    let back = again.splice(quoted(&scan.model).as_bytes(), false).pieces(&copy).concat();
    assert!(Scan::new(&back).is_ok_and(|back| back.model == scan.model));
}

/// `text` as a JSON string, all of it escaped.
fn quoted(text: &str) -> String {
    let units: Vec<String> = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{}\"", units.concat())
}
