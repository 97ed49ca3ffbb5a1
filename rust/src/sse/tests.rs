use super::{ANTHROPIC, CHAT, COHERE, Dialect, OLLAMA, Output, RAW, RESPONSES, Relay, state};
use crate::http1::body::{Decoder, Framing};

const ROLE: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}],\"usage\":null}\n\n";
const HI: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}],\"usage\":null}\n\n";
const STOP: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// A relay to an HTTP/1.0 client of a stream that the connection's end completes: no framing on either side.
fn bare(inject: bool, dialect: &'static Dialect) -> Relay {
    Relay::new(Decoder::new(Framing::UntilEnd), inject, false, dialect)
}

fn text(output: &Output<'_>, input: &str) -> String {
    match output {
        Output::Nothing => String::new(),
        Output::Same => input.to_owned(),
        Output::Frame(frame) => String::from_utf8(frame.pieces().concat()).unwrap(),
    }
}

fn forward(relay: &mut Relay, input: &str) -> String {
    text(&relay.forward(input.as_bytes()), input)
}

fn without_null_usage(event: &str) -> String {
    event.replace(",\"usage\":null", "")
}

#[test]
fn nothing_goes_out_before_the_first_delta() {
    let mut relay = bare(false, &CHAT);
    assert_eq!(forward(&mut relay, ": wait\n\n"), "");
    assert_eq!(forward(&mut relay, ROLE), "");
    assert_eq!(relay.stream.state, 0);
    assert_eq!(forward(&mut relay, HI), [": wait\n\n", ROLE, HI].concat());
    assert_eq!(relay.stream.state, state::COMMITTED);
    assert_eq!(forward(&mut relay, ": more\n\n"), ": more\n\n");
}

#[test]
fn every_kind_of_delta_commits_and_nothing_else() {
    for delta in [
        r#""content":"x""#,
        r#""reasoning_content":"x""#,
        r#""reasoning":"x""#,
        r#""refusal":"x""#,
        r#""tool_calls":[{}]"#,
        r#""function_call":{"name":"f"}"#,
        r#""audio":{"id":"a"}"#,
        r#""content":[{"type":"thinking"}]"#,
    ] {
        let mut relay = bare(false, &CHAT);
        let event = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{{delta}}}}}]}}\n\n");
        assert_eq!(forward(&mut relay, &event), event);
    }
    for event in [
        ROLE,
        USAGE,
        "data: {\"choices\":[],\"prompt_filter_results\":[{}]}\n\n",
        "event: ping\ndata: {}\n\n",
        "retry: 5\n\n",
    ] {
        let mut relay = bare(false, &CHAT);
        assert_eq!(forward(&mut relay, event), "", "{event}");
        assert_eq!(relay.stream.state & state::COMMITTED, 0);
    }
    let mut relay = bare(false, &CHAT);
    assert_ne!(forward(&mut relay, "data: {\"choices\":[{\"index\":0,\"text\":\"x\"}]}\n\n"), "", "text completions");
}

#[test]
fn a_keep_alive_lets_comments_out_and_holds_events() {
    let mut relay = bare(false, &CHAT);
    assert_eq!(forward(&mut relay, &[": a\n\n", ROLE].concat()), "");
    assert_eq!(text(&relay.release(), ""), ": a\n\n");
    assert_eq!(forward(&mut relay, ": b\n\n"), ": b\n\n");
    assert_eq!(forward(&mut relay, HI), [ROLE, HI].concat());
}

#[test]
fn the_usage_event_that_only_we_asked_for_is_withheld_with_its_null_fields() {
    let mut relay = bare(true, &CHAT);
    let all = [ROLE, HI, STOP, USAGE, DONE].concat();
    let expected =
        [without_null_usage(ROLE), without_null_usage(HI), without_null_usage(STOP), DONE.to_owned()].concat();
    assert_eq!(forward(&mut relay, &all), expected);
    assert_eq!((relay.stream.usage.input, relay.stream.usage.output), (3, 4));
    let mut relay = bare(false, &CHAT);
    assert_eq!(forward(&mut relay, &all), all, "a client that asked sees it");
}

#[test]
fn a_null_usage_goes_from_any_place_in_its_event() {
    let shown = |members: &str| {
        let mut relay = bare(true, &CHAT);
        forward(&mut relay, &format!("data: {{{members}}}\n\n"))
    };
    let choices = r#""choices":[{"index":0,"delta":{"content":"\"usage\":null","usage":null}}]"#;
    let expected = format!("data: {{{choices}}}\n\n");
    assert_eq!(shown(&format!("{choices},\"usage\":null")), expected);
    assert_eq!(shown(&format!("\"usage\":null,{choices}")), expected);
    assert_eq!(shown(&format!("\"usage\" : null , {choices}")), expected);
    assert_eq!(shown(&format!("{choices} , \"us\\u0061ge\": null")), expected);
    assert_eq!(shown(&format!("\"a\":1,\"usage\":null,{choices}")), format!("data: {{\"a\":1,{choices}}}\n\n"));
}

#[test]
fn what_looks_like_a_usage_event_and_holds_more_is_not_withheld() {
    for event in [
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3},\"prompt_filter_results\":[{\"a\":1}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3}}\n\n",
        "data: {\"choices\":[]}\n\n",
    ] {
        let mut relay = bare(true, &CHAT);
        let sent = [HI, event].concat();
        assert_eq!(forward(&mut relay, &sent), without_null_usage(HI) + event);
    }
}

#[test]
fn a_malformed_event_is_dropped_and_counted() {
    let mut relay = bare(false, &CHAT);
    assert_eq!(forward(&mut relay, &[HI, "data: {\"choices\":\n\n", "data: {}x\n\n", HI].concat()), [HI, HI].concat());
    assert_eq!(relay.stream.dropped, 2);
}

#[test]
fn an_error_stops_the_output_and_is_kept_for_the_caller() {
    for event in [
        "data: {\"error\":{\"message\":\"m\"}}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1},\"error\":{\"code\":502}}\n\n",
        "event: error\ndata: {\"message\":\"m\"}\n\n",
        "data: {\"object\":\"error\",\"message\":\"m\"}\n\n",
        "{\n  \"error\": {\"code\": 503}\n}\n\n",
    ] {
        let mut relay = bare(true, &CHAT);
        let all = [HI, event, STOP, DONE].concat();
        assert_eq!(forward(&mut relay, &all), without_null_usage(HI), "{event}");
        assert_eq!(relay.stream.state, state::COMMITTED | state::ERROR);
        assert!(relay.stream.error_event.starts_with(b"{"));
        relay.on_end();
        assert_eq!(text(&relay.finish(), ""), "");
        assert_eq!(relay.stream.state & state::CLOSED, 0);
    }
}

#[test]
fn a_stream_is_finished_when_every_choice_seen_is() {
    let chunk = |index: u32, reason: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":{index},\"delta\":{{\"content\":\"x\"}},\"finish_reason\":{reason}}}]}}\n\n"
        )
    };
    let mut relay = bare(false, &CHAT);
    let mut finished = |event: &str| {
        let _ = relay.forward(event.as_bytes());
        relay.stream.state & state::FINISHED != 0
    };
    assert!(!finished(&chunk(0, "null")));
    assert!(!finished(&chunk(1, "null")));
    assert!(!finished(&chunk(0, "\"stop\"")));
    assert!(finished(&chunk(1, "\"length\"")));
    assert!(!finished(&chunk(2, "null")), "a choice that came late");
    assert!(finished(&chunk(2, "\"stop\"")));
    assert!(!finished(&chunk(1000, "\"stop\"")), "an index that cannot be told apart never counts as finished");
}

#[expect(clippy::cognitive_complexity, reason = "a list of cases, each one assertion")]
#[test]
fn typed_dialects_commit_finish_and_end_by_their_types() {
    let typed = |kind: &str, rest: &str| format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{rest}}}\n\n");
    let mut relay = bare(false, &ANTHROPIC);
    let start = typed(
        "message_start",
        ",\"message\":{\"usage\":{\"input_tokens\":5,\"cache_read_input_tokens\":2,\"output_tokens\":1}}",
    );
    assert_eq!(forward(&mut relay, &start), "");
    assert_eq!(relay.stream.state, 0, "usage at the start is not final");
    let delta = typed("content_block_delta", ",\"delta\":{\"type\":\"text_delta\",\"text\":\"x\"}");
    assert_eq!(forward(&mut relay, &delta), start + &delta);
    forward(
        &mut relay,
        &typed("message_delta", ",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":9}"),
    );
    assert_eq!(relay.stream.state, state::COMMITTED | state::FINISHED | state::USAGE);
    assert_eq!((relay.stream.usage.input, relay.stream.usage.output, relay.stream.usage.cached), (7, 9, 2));
    forward(&mut relay, &typed("message_stop", ""));
    assert_eq!(relay.stream.state & (state::TERMINATED | state::CLOSED), state::TERMINATED | state::CLOSED);

    let mut relay = bare(false, &RESPONSES);
    assert_eq!(forward(&mut relay, &typed("response.created", ",\"response\":{\"usage\":null,\"error\":null}")), "");
    assert_ne!(forward(&mut relay, &typed("response.output_text.delta", ",\"delta\":\"x\"")), "");
    forward(
        &mut relay,
        &typed("response.completed", ",\"response\":{\"usage\":{\"input_tokens\":1,\"output_tokens\":2}}"),
    );
    assert_eq!(relay.stream.state, state::COMMITTED | state::FINISHED | state::USAGE | state::TERMINATED);
    assert_eq!(forward(&mut relay, DONE), DONE, "which some send after their terminator");
    for kind in ["response.failed", "error"] {
        let mut relay = bare(false, &RESPONSES);
        forward(&mut relay, &typed(kind, ""));
        assert_eq!(relay.stream.state, state::ERROR);
    }
}

#[test]
fn the_client_gets_its_last_chunk_once_and_only_after_a_complete_stream() {
    let mut relay = Relay::new(Decoder::new(Framing::UntilEnd), false, true, &CHAT);
    assert_eq!(forward(&mut relay, HI), format!("{:x}\r\n{HI}\r\n", HI.len()));
    assert_eq!(forward(&mut relay, DONE), format!("e\r\n{DONE}\r\n0\r\n\r\n"));
    assert_eq!(forward(&mut relay, HI), "", "nothing follows the terminator");
    relay.on_end();
    assert_eq!(text(&relay.finish(), ""), "");

    let mut relay = Relay::new(Decoder::new(Framing::UntilEnd), false, true, &CHAT);
    forward(&mut relay, &[HI, STOP].concat());
    relay.on_end();
    assert_eq!(text(&relay.finish(), ""), "0\r\n\r\n", "finish reasons complete a stream without a terminator");

    let mut relay = Relay::new(Decoder::new(Framing::UntilEnd), false, true, &CHAT);
    forward(&mut relay, HI);
    relay.on_end();
    assert_eq!(text(&relay.finish(), ""), "", "half an answer has no clean end");
    assert_eq!(relay.stream.state, state::COMMITTED | state::ENDED);
}

#[test]
fn a_message_that_is_cut_is_bad_even_when_the_stream_was_fine() {
    let mut relay = Relay::new(Decoder::new(Framing::Chunked), false, true, &CHAT);
    let chunk = format!("{:x}\r\n{HI}\r\n", HI.len());
    assert_eq!(relay.forward(chunk.as_bytes()), Output::Same, "one chunk in, the same chunk out");
    relay.on_end();
    assert_eq!(relay.stream.state, state::COMMITTED | state::BAD_FRAMING);
    assert_eq!(text(&relay.finish(), ""), "");
    let mut relay = Relay::new(Decoder::new(Framing::Chunked), false, true, &CHAT);
    assert_eq!(forward(&mut relay, &format!("{chunk}zz\r\n")), chunk);
    assert_eq!(relay.stream.state, state::COMMITTED | state::BAD_FRAMING);
}

#[test]
fn the_rest_of_a_stream_is_an_event_even_without_its_empty_line() {
    let mut relay = bare(false, &CHAT);
    forward(&mut relay, HI);
    assert_eq!(forward(&mut relay, "data: [DONE]"), "");
    relay.on_end();
    assert_eq!(text(&relay.finish(), ""), DONE);
    assert_eq!(relay.stream.state & state::TERMINATED, state::TERMINATED);
}

#[test]
fn a_terminator_after_nothing_waits_for_a_decision() {
    let mut relay = Relay::new(Decoder::new(Framing::UntilEnd), false, true, &CHAT);
    assert_eq!(forward(&mut relay, DONE), "");
    assert_eq!(relay.stream.state, state::TERMINATED);
    assert_eq!(text(&relay.finish(), ""), format!("e\r\n{DONE}\r\n0\r\n\r\n"));
}

#[test]
fn a_byte_order_mark_and_every_line_end_are_understood() {
    for end in ["\n", "\r\n", "\r"] {
        let mut relay = bare(false, &CHAT);
        let event = format!(
            "data: {{{end}data:\"choices\":{end}data:[{{\"index\":0,\"delta\":{{\"content\":\"x\"}}}}]}}{end}{end}"
        );
        let mut shown = forward(&mut relay, &format!("\u{feff}{event}"));
        shown += &forward(&mut relay, ": x");
        assert_eq!(shown, event, "{end:?}");
    }
}

#[test]
fn an_event_without_end_is_not_collected_for_ever() {
    let mut relay = bare(false, &CHAT);
    let piece = "x".repeat(100_000);
    for _ in 0..11 {
        assert_eq!(forward(&mut relay, &piece), "");
    }
    assert_eq!(relay.stream.state, state::BAD_FRAMING);
    let mut relay = bare(false, &CHAT);
    for _ in 0..20_000 {
        forward(&mut relay, ROLE);
    }
    assert_eq!(relay.stream.state, state::BAD_FRAMING, "nor are events that never become an answer");
}

#[test]
fn gemini_commits_by_its_candidates_and_finishes_by_their_reason() {
    let mut relay = bare(false, &CHAT);
    let begin = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"x\"}],\"role\":\"model\"}}]}\r\n\r\n";
    assert_eq!(forward(&mut relay, begin), begin);
    assert_eq!(relay.stream.state, state::COMMITTED);
    forward(
        &mut relay,
        "data: {\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":4,\"candidatesTokenCount\":2,\"thoughtsTokenCount\":3}}\r\n\r\n",
    );
    assert_eq!(relay.stream.state, state::COMMITTED | state::FINISHED | state::USAGE);
    let usage = relay.stream.usage;
    assert_eq!((usage.input, usage.output, usage.reasoning), (4, 5, 3));
    let mut relay = bare(false, &CHAT);
    forward(&mut relay, "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\n\n");
    assert_eq!(relay.stream.state & state::FINISHED, state::FINISHED);
}

#[test]
fn a_raw_stream_is_only_unframed() {
    let mut relay = Relay::new(Decoder::new(Framing::Chunked), false, false, &RAW);
    assert_eq!(forward(&mut relay, "3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n"), "{\"a\":1}");
    assert_eq!(relay.stream.state, state::ENDED);
}

#[test]
fn each_line_of_ollama_is_an_event_and_the_last_one_says_so() {
    let mut relay = bare(false, &OLLAMA);
    assert_eq!(forward(&mut relay, "{\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":false}\n"), "");
    assert_eq!(relay.stream.state, 0, "an empty message commits nothing");
    let first = "{\"message\":{\"content\":\"\",\"thinking\":\"x\"},\"done\":false}\n";
    assert!(forward(&mut relay, first).ends_with(first));
    assert_eq!(relay.stream.state, state::COMMITTED);
    let last = "{\"done\":true,\"prompt_eval_count\":4,\"eval_count\":2}";
    assert_eq!(forward(&mut relay, last), "");
    assert_eq!(forward(&mut relay, "\n"), format!("{last}\n"));
    assert_eq!(relay.stream.state & (state::COMPLETE | state::USAGE), state::COMPLETE | state::USAGE);
    assert_eq!((relay.stream.usage.input, relay.stream.usage.output, relay.stream.deltas), (4, 2, 1));
}

#[test]
fn a_line_of_ollama_may_be_cut_anywhere_and_an_empty_one_is_left_out() {
    let mut relay = bare(false, &OLLAMA);
    assert_eq!(forward(&mut relay, "\n{\"resp"), "");
    assert_eq!(forward(&mut relay, "onse\":\"y\"}\r"), "");
    assert_eq!(forward(&mut relay, "\n"), "{\"response\":\"y\"}\r\n");
    assert_eq!(relay.stream.deltas, 1);
}

#[test]
fn an_error_in_a_line_of_ollama_is_kept_back() {
    let mut relay = bare(false, &OLLAMA);
    forward(&mut relay, "{\"response\":\"y\"}\n");
    assert_eq!(forward(&mut relay, "{\"error\":\"out of memory\"}\n"), "");
    assert_eq!(relay.stream.state & state::ERROR, state::ERROR);
    assert_eq!(relay.stream.error_event, b"{\"error\":\"out of memory\"}");
}

#[test]
fn cohere_tells_usage_and_errors_in_the_delta_of_its_last_event() {
    let begin = "data: {\"type\":\"content-delta\",\"delta\":{\"message\":{\"content\":{\"text\":\"x\"}}}}\n\n";
    let mut relay = bare(false, &COHERE);
    assert_eq!(forward(&mut relay, begin), begin);
    let end = "data: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"COMPLETE\",\"usage\":{\"billed_units\":{\"input_tokens\":1,\"output_tokens\":1},\"tokens\":{\"input_tokens\":69,\"output_tokens\":89},\"cached_tokens\":16}}}\n\n";
    forward(&mut relay, end);
    assert_eq!(relay.stream.state, state::COMMITTED | state::FINISHED | state::USAGE);
    let usage = relay.stream.usage;
    assert_eq!((usage.input, usage.output, usage.cached), (69, 89, 16));
    let mut relay = bare(false, &COHERE);
    forward(&mut relay, begin);
    forward(
        &mut relay,
        "data: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"ERROR\",\"error\":\"gone\"}}\n\n",
    );
    assert_eq!(relay.stream.state & state::ERROR, state::ERROR);
}
