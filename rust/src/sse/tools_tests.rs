//! Calls that are cut, and how much was said, in the streams of dialects whose events have types.

use super::frames_tests::event;
use super::{ANTHROPIC, CHAT, COHERE, CONVERSE, Dialect, RESPONSES, Relay, state};
use crate::http1::body::{Decoder, Framing};

fn state_after(dialect: &'static Dialect, events: &[String]) -> Relay {
    let mut relay = Relay::new(Decoder::new(Framing::UntilEnd), false, false, dialect);
    for event in events {
        relay.forward(format!("data: {event}\n\n").as_bytes());
    }
    relay
}

fn is_cut(relay: &Relay) -> bool {
    relay.stream.state & state::CUT_CALL != 0
}

/// A call of Anthropic's in these pieces, block `index` of its message.
fn blocks(index: u32, pieces: &[&str]) -> Vec<String> {
    let mut events = vec![format!(
        r#"{{"type":"content_block_start","index":{index},"content_block":{{"type":"tool_use","name":"f","input":{{}}}}}}"#
    )];
    events.extend(pieces.iter().map(|piece| {
        format!(
            r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"input_json_delta","partial_json":"{piece}"}}}}"#
        )
    }));
    events.push(format!(r#"{{"type":"content_block_stop","index":{index}}}"#));
    events
}

fn stopped(reason: &str) -> String {
    format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}"}},"usage":{{"output_tokens":3}}}}"#)
}

#[test]
fn a_call_of_anthropics_is_cut_where_the_message_finishes_inside_its_json() {
    let anthropic =
        |pieces: &[&str], end: &[String]| is_cut(&state_after(&ANTHROPIC, &[blocks(1, pieces), end.to_vec()].concat()));
    let stop = || r#"{"type":"message_stop"}"#.to_owned();
    assert!(anthropic(&["{\\\"a\\\"", ": \\\"b"], &[stopped("tool_use")]));
    assert!(anthropic(&["{"], &[stop()]), "without any reason");
    assert!(!anthropic(&["", "{\\\"a\\\"", ": \\\"b\\\"}"], &[stopped("tool_use"), stop()]));
    assert!(!anthropic(&[], &[stopped("tool_use")]), "a call without arguments");
    for limited in ["max_tokens", "refusal", "pause_turn", "model_context_window_exceeded"] {
        assert!(!anthropic(&["{"], &[stopped(limited), stop()]), "{limited} says so itself");
    }
}

#[test]
fn pieces_of_two_blocks_are_told_apart() {
    let whole = blocks(1, &["{", "}"]);
    let cut = blocks(2, &["[1"]);
    let events = [&whole[..1], &cut[..2], &whole[1..], &[stopped("tool_use")]].concat();
    assert!(is_cut(&state_after(&ANTHROPIC, &events)));
}

#[test]
fn text_that_looks_like_json_is_no_call() {
    let text = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"{"}}"#.to_owned();
    assert!(!is_cut(&state_after(&ANTHROPIC, &[text, stopped("end_turn")])));
    let text = r#"{"type":"response.output_text.delta","output_index":0,"delta":"{"}"#.to_owned();
    let input = r#"{"type":"response.custom_tool_call_input.delta","output_index":1,"delta":"{"}"#.to_owned();
    let done = r#"{"type":"response.completed","response":{}}"#.to_owned();
    assert!(!is_cut(&state_after(&RESPONSES, &[text, input, done])));
}

#[test]
fn a_call_of_responses_is_cut_by_its_deltas_or_by_what_is_said_to_be_all_of_it() {
    let delta = |piece: &str| {
        format!(r#"{{"type":"response.function_call_arguments.delta","output_index":2,"delta":"{piece}"}}"#)
    };
    let all = |text: &str| {
        format!(r#"{{"type":"response.function_call_arguments.done","output_index":2,"arguments":"{text}"}}"#)
    };
    let end = |kind: &str| format!(r#"{{"type":"response.{kind}","response":{{}}}}"#);
    let responses = |events: &[String]| is_cut(&state_after(&RESPONSES, events));
    assert!(responses(&[delta("{\\\"a"), end("completed")]));
    assert!(responses(&[delta("{}"), all("{"), end("completed")]));
    assert!(!responses(&[delta("{"), all("{}"), end("completed")]), "the last word counts");
    assert!(!responses(&[delta("{"), delta("}"), all("{}"), end("completed")]));
    assert!(!responses(&[delta("{"), end("incomplete")]), "it says so itself");
}

#[test]
fn a_call_of_coheres_is_cut_where_the_message_ends_inside_its_json() {
    let piece = |kind: &str, piece: &str| {
        format!(
            r#"{{"type":"tool-call-{kind}","index":1,"delta":{{"message":{{"tool_calls":{{"id":"t","function":{{"arguments":"{piece}"}}}}}}}}}}"#
        )
    };
    let end = |reason: &str| {
        format!(
            r#"{{"type":"message-end","delta":{{"finish_reason":"{reason}","usage":{{"tokens":{{"output_tokens":3}}}}}}}}"#
        )
    };
    let cohere = |events: &[String]| is_cut(&state_after(&COHERE, events));
    assert!(cohere(&[piece("start", ""), piece("delta", "{\\\"a\\\""), end("TOOL_CALL")]));
    assert!(!cohere(&[piece("start", ""), piece("delta", "{\\\"a\\\""), piece("delta", ":1}"), end("TOOL_CALL")]));
    assert!(!cohere(&[piece("start", ""), piece("delta", "{"), end("MAX_TOKENS")]), "it says so itself");
    let text = r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"{"}}}}"#.to_owned();
    assert!(!cohere(&[text, end("COMPLETE")]), "text is no call");
}

#[test]
fn a_call_of_converse_is_cut_where_the_message_stops_inside_its_json() {
    let converse = |pieces: &[(u8, &str)], reason: &str| {
        let mut told: Vec<(String, &str)> = pieces
            .iter()
            .map(|(index, piece)| {
                (
                    format!(r#"{{"contentBlockIndex":{index},"delta":{{"toolUse":{{"input":"{piece}"}}}}}}"#),
                    "contentBlockDelta",
                )
            })
            .collect();
        told.push((format!(r#"{{"stopReason":"{reason}"}}"#), "messageStop"));
        let mut relay = Relay::new(Decoder::new(Framing::UntilEnd), false, false, &CONVERSE);
        for (payload, name) in told {
            relay.forward(&event(name, &payload));
        }
        is_cut(&relay)
    };
    assert!(converse(&[(1, "{\\\"a\\\""), (1, ": \\\"b")], "tool_use"));
    assert!(converse(&[(1, "{}"), (2, "[1")], "tool_use"), "of two calls one");
    assert!(!converse(&[(1, "{"), (2, "[1"), (1, "}"), (2, "]")], "tool_use"));
    for limited in ["max_tokens", "guardrail_intervened", "content_filtered", "model_context_window_exceeded"] {
        assert!(!converse(&[(1, "{")], limited), "{limited} says so itself");
    }
}

#[test]
fn a_cut_call_is_the_last_that_is_known_of_a_stream() {
    let mut relay = state_after(&ANTHROPIC, &blocks(0, &["{"]));
    let end = format!("event: message_delta\ndata: {}\n\n", stopped("tool_use"));
    relay.forward(end.as_bytes());
    assert!(is_cut(&relay));
    assert_eq!(relay.stream.state & state::FINISHED, 0);
    assert!(!relay.stream.is_complete());
}

#[test]
fn substance_is_measured_without_what_stands_around_it() {
    let said = |dialect, events: &[&str]| {
        state_after(dialect, &events.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>()).stream.text
    };
    let chat = r#"{"id":"c1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"four"}}]}"#;
    assert_eq!(said(&CHAT, &[chat, chat]), 8, "without its quotes");
    assert_eq!(said(&CHAT, &[r#"{"choices":[{"delta":{"role":"assistant","content":""}}],"usage":null}"#]), 0);
    let block = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"four"}}"#;
    assert_eq!(said(&ANTHROPIC, &[r#"{"type":"ping"}"#, block]), 4);
    assert_eq!(said(&RESPONSES, &[r#"{"type":"response.output_text.delta","delta":"four"}"#]), 4);
}
