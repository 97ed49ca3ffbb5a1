//! The law of every parser here: where the network cuts the bytes does not matter.

#[path = "wire/mod.rs"]
mod wire;

use _core::sse::{ANTHROPIC, CHAT, CONVERSE, FRAMED_ANTHROPIC, RESPONSES};
use proptest::prelude::*;
use wire::{Bytes, Plan, answers, check_told, chunked, header, requests, sealed, ways};

/// Whole messages and broken ones: lines that belong together often enough, in any order.
fn request_bytes() -> impl Strategy<Value = Bytes> {
    let start = prop::sample::select(vec![
        "POST /v1/chat/completions HTTP/1.1\r\n",
        "GET http://h/a%20b?key=x HTTP/1.1\r\n",
        "\r\nOPTIONS * HTTP/1.1\r\n",
        "POST /v1/embeddings?a=b HTTP/1.0\r\n",
        "GET /# HTTP/1.1\r\n",
        "GET / HTTP/1.1\n",
    ]);
    let field = prop::sample::select(vec![
        "Accept: a/b\r\n",
        "Connection: close\r\n",
        "Connection: keep-alive, traceparent\r\n",
        "traceparent:  00-1 \t\r\n",
        "X-A: \r\n",
        "X-Abc: \u{e9}\r\n",
        "Content-Type: application/json; charset=utf-8\r\n",
        "Expect: 100-continue\r\n",
        "x-dispatch-session: s\r\n",
        "Bad Name: x\r\n",
        "Host: h\r\n",
    ]);
    let framing = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..60).prop_map(|body| sized(&body)),
        4 => (prop::collection::vec(any::<u8>(), 0..60), 1..20_usize).prop_map(|(body, size)| in_chunks(&body, size)),
        1 => Just(b"\r\n".to_vec()),
        1 => Just(b"Transfer-Encoding: chunked\r\n\r\n4;x=\"y\"\r\nabcd\r\n0\r\nT: 1\r\n\r\n".to_vec()),
        1 => Just(b"Transfer-Encoding: chunked\r\n\r\n4 \r\nabcd\r\n0\r\n\r\n".to_vec()),
        1 => Just(b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcde\r\n0\r\n\r\n".to_vec()),
        1 => Just(b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc".to_vec()),
        1 => Just(b"Content-Length: 5000\r\n\r\n".to_vec()),
    ];
    let one = (start, prop::collection::vec(field, 0..5), framing).prop_map(|(start, fields, framing)| {
        [start.as_bytes(), b"Host: h\r\n", fields.concat().as_bytes(), &framing].concat()
    });
    prop::collection::vec(one, 1..4).prop_map(|messages| Bytes(messages.concat()))
}

fn sized(body: &[u8]) -> Vec<u8> {
    [format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn in_chunks(body: &[u8], size: usize) -> Vec<u8> {
    [b"Transfer-Encoding: chunked\r\n\r\n".as_slice(), &chunked(body, size)].concat()
}

fn answer_bytes() -> impl Strategy<Value = Bytes> {
    let before =
        prop::sample::select(vec!["", "", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Hints\r\na: b\r\n\r\n"]);
    let start = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 429 \r\n",
        "HTTP/1.1 204 X\r\n",
    ]);
    let field = prop::sample::select(vec![
        "Content-Type: application/json\r\n",
        "Retry-After: 3\r\n",
        "Keep-Alive: timeout=5, max=100\r\n",
        "Connection: close\r\n",
        "Content-Encoding: gzip\r\n",
    ]);
    let body = prop::sample::select(vec![
        r#"{"usage":{"prompt_tokens":3,"completion_tokens":4}}"#,
        r#"{"a":[1,2,{"b":"\u00e9"}]}"#,
        "no json",
        "",
    ]);
    let framing = (body, 0..3, 1..9_usize).prop_map(|(body, kind, size)| match kind {
        0 => sized(body.as_bytes()),
        1 => in_chunks(body.as_bytes(), size),
        _ => [b"\r\n", body.as_bytes()].concat(),
    });
    let after = prop::sample::select(vec!["", "", "", "x"]);
    (before, start, prop::collection::vec(field, 0..3), framing, after).prop_map(
        |(before, start, fields, framing, after)| {
            Bytes(
                [before.as_bytes(), start.as_bytes(), fields.concat().as_bytes(), &framing, after.as_bytes()].concat(),
            )
        },
    )
}

/// Events of all dialects and things that are none, with any line ends.
fn stream_payload() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(vec![
        r#"data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"usage":null}"#,
        r#"data: {"usage":null,"choices":[{"index":0,"delta":{"content":"h\u00e9"}}]}"#,
        r#"data:{"choices":[{"index":1,"delta":{"tool_calls":[{"index":0}]},"finish_reason":null}]}"#,
        r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#,
        r#"data: {"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]}"#,
        r#"data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}"#,
        r#"data: {"choices":[],"prompt_filter_results":[{"a":1}],"usage":{"prompt_tokens":7}}"#,
        r#"data: {"error":{"message":"no"}}"#,
        r#"data: {"broken"#,
        "data: [DONE]",
        "data",
        "data: {\ndata: \"choices\": []}",
        ": comment",
        "event: ping",
        "event: error",
        "id: 7",
        "{\"error\":{\"code\":503}}",
        r#"data: {"type":"message_start","message":{"usage":{"input_tokens":5,"output_tokens":1}}}"#,
        r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}"#,
        r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}"#,
        r#"data: {"type":"message_stop"}"#,
        r#"data: {"type":"response.output_text.delta","delta":"x"}"#,
        r#"data: {"type":"response.completed","response":{"usage":{"input_tokens":1,"output_tokens":2}}}"#,
        "\u{feff}data: 1",
        "",
    ]);
    let end = prop::sample::select(vec!["\n\n", "\r\n\r\n", "\r\r", "\n", "\r\n", "\r", "\n\r\n", ""]);
    prop::collection::vec((line, end), 0..12)
        .prop_map(|parts| parts.into_iter().flat_map(|(line, end)| [line, end]).collect::<String>().into_bytes())
}

/// Frames of Bedrock's streams, some of them broken, and bytes between them.
fn frame_payload() -> impl Strategy<Value = Vec<u8>> {
    let named = |message: &'static str, kind: &'static str, name: &'static str, payload: &'static str| {
        let headers =
            [header(kind, name), header(":content-type", "application/json"), header(":message-type", message)];
        sealed(&headers.concat(), payload.as_bytes())
    };
    let event = |name, payload| named("event", ":event-type", name, payload);
    let good = prop::sample::select(vec![
        event("messageStart", r#"{"role":"assistant"}"#),
        event("contentBlockDelta", "{\"delta\":{\"text\":\"h\u{e9}\"},\n\"p\":\"ab\"}"),
        event("contentBlockStop", ""),
        event("messageStop", r#"{"stopReason":"end_turn"}"#),
        event("metadata", r#"{"usage":{"inputTokens":3,"outputTokens":4,"cacheReadInputTokens":2}}"#),
        event("metadata", "no json"),
        event("initial-response", ""),
        // {"type":"content_block_delta","index":0}, {"type":"message_stop"}, and no base64.
        event("chunk", r#"{"bytes":"eyJ0eXBlIjoiY29udGVudF9ibG9ja19kZWx0YSIsImluZGV4IjowfQ==","p":"a"}"#),
        event("chunk", r#"{"bytes":"eyJ0eXBlIjoibWVzc2FnZV9zdG9wIn0="}"#),
        event("chunk", r#"{"bytes":"!"}"#),
        named("exception", ":exception-type", "throttlingException", r#"{"message":"slow"}"#),
        named("error", ":error-code", "Bad", ""),
    ]);
    let bad = (prop::collection::vec(any::<u8>(), 0..20), prop::collection::vec(any::<u8>(), 0..20))
        .prop_map(|(headers, payload)| sealed(&headers, &payload));
    let flipped = (good.clone(), any::<usize>()).prop_map(|(mut bytes, at)| {
        let at = at % bytes.len();
        bytes[at] ^= 8;
        bytes
    });
    let one = prop_oneof![12 => good, 1 => bad, 1 => flipped, 1 => prop::collection::vec(any::<u8>(), 0..20)];
    prop::collection::vec(one, 0..10).prop_map(|frames| frames.concat())
}

fn frame_bytes() -> impl Strategy<Value = Bytes> {
    (frame_payload(), 0..3, 1..200_usize).prop_map(|(payload, kind, size)| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\n".to_vec();
        let rest = match kind {
            0 => sized(&payload),
            1 => in_chunks(&payload, size),
            _ => [b"\r\n".as_slice(), &payload].concat(),
        };
        Bytes([head, rest].concat())
    })
}

fn plans() -> impl Strategy<Value = Plan> {
    let dialect = prop::sample::select(vec![0_u8, 0, 1, 2]);
    (any::<bool>(), any::<bool>(), dialect, any::<bool>()).prop_map(|(inject, chunked, dialect, eof)| Plan {
        inject,
        chunked,
        dialect: [&CHAT, &RESPONSES, &ANTHROPIC][usize::from(dialect)],
        eof,
    })
}

fn stream_bytes() -> impl Strategy<Value = Bytes> {
    (stream_payload(), 0..4, 1..200_usize).prop_map(|(payload, kind, size)| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n".to_vec();
        let rest = match kind {
            0 => sized(&payload),
            1 => in_chunks(&payload, size),
            2 => in_chunks(&payload, 100_000),
            _ => [b"\r\n".as_slice(), &payload].concat(),
        };
        Bytes([head, rest].concat())
    })
}

proptest! {
    #[test]
    fn cuts_of_requests_do_not_matter(bytes in request_bytes(), places in prop::collection::vec(any::<usize>(), 0..6)) {
        let [whole, bytewise, random] = ways(&bytes.0, &places).try_into().expect("three ways");
        let expected = requests(&whole);
        prop_assert_eq!(&requests(&bytewise), &expected);
        prop_assert_eq!(&requests(&random), &expected);
    }

    #[test]
    fn cuts_of_answers_do_not_matter(
        bytes in answer_bytes(),
        places in prop::collection::vec(any::<usize>(), 0..6),
        plan in plans(),
    ) {
        let [whole, bytewise, random] = ways(&bytes.0, &places).try_into().expect("three ways");
        let expected = answers(&whole, plan);
        // What follows a whole answer is a leftover in one piece, and bytes that nobody asked for in another.
        let (bytewise, random) = (answers(&bytewise, plan), answers(&random, plan));
        for other in [bytewise, random] {
            if other.wrong.is_some() && expected.wrong.is_none() {
                let expected = expected.answer.as_ref().expect("an answer was whole");
                prop_assert!(!expected.is_reusable);
            } else {
                prop_assert_eq!(&other, &expected);
            }
        }
    }

    #[test]
    fn cuts_of_streams_do_not_matter(
        bytes in stream_bytes(),
        places in prop::collection::vec(any::<usize>(), 0..6),
        plan in plans(),
    ) {
        let [whole, bytewise, random] = ways(&bytes.0, &places).try_into().expect("three ways");
        let expected = answers(&whole, plan);
        if let Some(told) = &expected.told {
            check_told(told, plan);
        }
        prop_assert_eq!(&answers(&bytewise, plan), &expected);
        prop_assert_eq!(&answers(&random, plan), &expected);
    }

    #[test]
    fn cuts_of_frames_do_not_matter(
        bytes in frame_bytes(),
        places in prop::collection::vec(any::<usize>(), 0..6),
        plan in plans(),
        is_converse in any::<bool>(),
    ) {
        let plan = Plan { inject: false, dialect: if is_converse { &CONVERSE } else { &FRAMED_ANTHROPIC }, ..plan };
        let [whole, bytewise, random] = ways(&bytes.0, &places).try_into().expect("three ways");
        let expected = answers(&whole, plan);
        if let Some(told) = &expected.told {
            check_told(told, plan);
        }
        prop_assert_eq!(&answers(&bytewise, plan), &expected);
        prop_assert_eq!(&answers(&random, plan), &expected);
    }
}
