use super::frames::{BadFrame, Frames, crc32};
use super::{CONVERSE, FRAMED_ANTHROPIC, Output, Relay, state};
use crate::http1::body::{Decoder, Framing};

/// A frame with headers of text.
fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in headers {
        lines.push(u8::try_from(name.len()).unwrap());
        lines.extend_from_slice(name.as_bytes());
        lines.push(7);
        lines.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        lines.extend_from_slice(value.as_bytes());
    }
    sealed(&lines, payload)
}

fn sealed(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + headers.len() + payload.len()).unwrap();
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(&u32::try_from(headers.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(&crc32(&bytes).to_be_bytes());
    bytes.extend_from_slice(headers);
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(&crc32(&bytes).to_be_bytes());
    bytes
}

pub(super) fn event(name: &str, payload: &str) -> Vec<u8> {
    frame(
        &[(":event-type", name), (":content-type", "application/json"), (":message-type", "event")],
        payload.as_bytes(),
    )
}

fn read(pieces: &[&[u8]]) -> Result<String, BadFrame> {
    let (mut frames, mut text) = (Frames::default(), Vec::new());
    for piece in pieces {
        frames.push(piece, &mut text)?;
    }
    Ok(String::from_utf8(text).unwrap())
}

#[test]
fn the_checksum_is_that_of_gzip() {
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
}

#[test]
fn an_event_comes_out_under_its_name_wherever_its_frame_is_cut() {
    let bytes =
        [event("messageStart", "{\"role\":\"assistant\"}"), event("contentBlockStop", "{\n}"), event("x", "")].concat();
    let expected = concat!(
        "event: messageStart\ndata: {\"messageStart\":{\"role\":\"assistant\"}}\n\n",
        "event: contentBlockStop\ndata: {\"contentBlockStop\":{ }}\n\n",
        "event: x\ndata: {\"x\":{}}\n\n"
    );
    assert_eq!(read(&[&bytes]).unwrap(), expected);
    for at in 0..bytes.len() {
        assert_eq!(read(&[&bytes[..at], &bytes[at..]]).unwrap(), expected);
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(&single).unwrap(), expected);
}

#[test]
fn a_chunk_is_unwrapped_and_named_by_its_type_or_its_only_member() {
    // {"type":"ping","é":1}, {"messageStop":{}}, and no base64.
    let bytes = [
        event("chunk", "{\"bytes\":\"eyJ0eXBlIjoicGluZyIsIsOpIjoxfQ==\",\"p\":\"abc\"}"),
        event("chunk", "{\"bytes\":\"eyJtZXNzYWdlU3RvcCI6e319\"}"),
        event("chunk", "{\"bytes\":\"!\"}"),
    ]
    .concat();
    let expected = "event: ping\ndata: {\"type\":\"ping\",\"é\":1}\n\nevent: messageStop\ndata: {\"messageStop\":{}}\n\ndata: \n\n";
    assert_eq!(read(&[&bytes]).unwrap(), expected);
}

#[test]
fn an_exception_is_an_error_event_with_its_name_and_what_it_says() {
    let named =
        |payload: &[u8]| frame(&[(":exception-type", "throttlingException"), (":message-type", "exception")], payload);
    let error =
        frame(&[(":message-type", "error"), (":error-code", "InternalFailure"), (":error-message", "a \"b\"")], b"");
    let bytes = [named(b"{\"message\":\"slow\"}"), named(b"no json"), error].concat();
    let expected = concat!(
        "event: error\ndata: {\"__type\":\"throttlingException\",\"error\":{\"message\":\"slow\"}}\n\n",
        "event: error\ndata: {\"__type\":\"throttlingException\",\"error\":{\"message\":\"no json\"}}\n\n",
        "event: error\ndata: {\"__type\":\"InternalFailure\",\"error\":{\"message\":\"a \\\"b\\\"\"}}\n\n"
    );
    assert_eq!(read(&[&bytes]).unwrap(), expected);
}

#[test]
fn a_bit_that_is_wrong_anywhere_is_found() {
    let good = event("messageStop", "{\"stopReason\":\"end_turn\"}");
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 4;
        assert_eq!(read(&[&bytes]), Err(BadFrame), "byte {at}");
    }
}

#[test]
fn lengths_that_cannot_be_are_refused_at_the_prelude() {
    for (length, headers) in [(15_u32, 0_u32), (16, 1), (40, 30), (u32::MAX, 0), ((1 << 20) + 1, 0), (20, u32::MAX)] {
        let mut bytes = [length.to_be_bytes(), headers.to_be_bytes()].concat();
        bytes.extend_from_slice(&crc32(&bytes).to_be_bytes());
        assert_eq!(read(&[&bytes]), Err(BadFrame), "{length} {headers}");
    }
}

#[test]
fn headers_of_every_type_are_passed_over_and_unknown_types_refused() {
    let name = |kind: u8| [1, b'a', kind];
    let event =
        [[13, b':'].as_slice(), b"message-type", &[7, 0, 5], b"event", &[11, b':'], b"event-type", &[7, 0, 1, b'x']]
            .concat();
    let typed: [(u8, usize); 8] = [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (8, 8), (9, 16)];
    let mut headers = event.clone();
    for (kind, length) in typed {
        headers.extend_from_slice(&name(kind));
        headers.extend(vec![0; length]);
    }
    headers.extend_from_slice(&[1, b'b', 6, 0, 2, 0, 0]);
    assert_eq!(read(&[&sealed(&headers, b"1")]).unwrap(), "event: x\ndata: {\"x\":1}\n\n");
    for broken in [&[event.as_slice(), &name(10)].concat(), &[event.as_slice(), &[9, b'a']].concat(), &b"".to_vec()] {
        assert_eq!(read(&[&sealed(broken, b"{}")]), Err(BadFrame));
    }
}

/// What a client gets, and how it stands.
fn relayed(relay: &mut Relay, bytes: &[u8]) -> String {
    match relay.forward(bytes) {
        Output::Nothing => String::new(),
        Output::Same => "the same".to_owned(),
        Output::Frame(frame) => String::from_utf8(frame.pieces().concat()).unwrap(),
    }
}

#[test]
fn a_converse_stream_commits_by_its_deltas_and_finishes_by_its_stop() {
    let mut relay = Relay::new(Decoder::new(Framing::UntilEnd), false, false, &CONVERSE);
    assert_eq!(relayed(&mut relay, &event("messageStart", "{\"role\":\"assistant\"}")), "");
    let delta = relayed(&mut relay, &event("contentBlockDelta", "{\"delta\":{\"text\":\"x\"}}"));
    assert!(
        delta.ends_with("event: contentBlockDelta\ndata: {\"contentBlockDelta\":{\"delta\":{\"text\":\"x\"}}}\n\n")
    );
    assert_eq!(relay.stream.state, state::COMMITTED);
    relayed(&mut relay, &event("messageStop", "{\"stopReason\":\"end_turn\"}"));
    relayed(
        &mut relay,
        &event("metadata", "{\"usage\":{\"inputTokens\":3,\"outputTokens\":4,\"cacheReadInputTokens\":2}}"),
    );
    assert_eq!(relay.stream.state, state::COMMITTED | state::FINISHED | state::USAGE);
    let usage = relay.stream.usage;
    assert_eq!((usage.input, usage.output, usage.cached), (5, 4, 2));
}

#[test]
fn an_exception_ends_a_stream_and_is_kept_for_the_caller() {
    for dialect in [&CONVERSE, &FRAMED_ANTHROPIC] {
        let mut relay = Relay::new(Decoder::new(Framing::UntilEnd), false, true, dialect);
        let headers = [(":message-type", "exception"), (":exception-type", "modelStreamErrorException")];
        assert_eq!(relayed(&mut relay, &frame(&headers, b"{\"message\":\"m\"}")), "");
        assert_eq!(relay.stream.state, state::ERROR);
        assert_eq!(relay.stream.error_event, br#"{"__type":"modelStreamErrorException","error":{"message":"m"}}"#);
    }
}

#[test]
fn a_broken_frame_breaks_the_stream_after_the_events_before_it() {
    let mut relay = Relay::new(Decoder::new(Framing::UntilEnd), false, false, &CONVERSE);
    let mut bytes = event("contentBlockDelta", "{\"delta\":{\"text\":\"x\"}}");
    bytes.extend_from_slice(&[0; 12]);
    assert!(relayed(&mut relay, &bytes).contains("contentBlockDelta"));
    assert_eq!(relay.stream.state, state::COMMITTED | state::BAD_FRAMING);
}
