"""The configuration: what is taken, what is refused, and what the refusal says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from dispatch.config import Config, Endpoint, Fallback, Pool, build, load, locate, pools
from dispatch.config.read import parse
from dispatch.config.reference import markdown
from dispatch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]

TWO = """
endpoints:
  - {name: a, provider: openai, model: gpt-4o, api_key: "env:A", limits: {concurrency: 3}}
  - {name: b, provider: openai_compatible, model: llama, base_url: "http://127.0.0.1:1/v1"}
"""


def config(text: str, environ: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
    return build(parse(text, ".yaml"), environ, overrides)


def refusal(text: str, suffix: str = ".yaml") -> str:
    with pytest.raises(ConfigError) as caught:
        build(parse(text, suffix))
    return str(caught.value)


def pool(text: str) -> Pool:
    plan = config(TWO + f"models: {{m: {text}}}").models["m"].plan
    assert isinstance(plan, Pool)
    return plan


def test_the_three_formats_say_the_same(tmp_path: Path) -> None:
    yaml = tmp_path / "c.yaml"
    yaml.write_text("server: {port: 9}\nendpoints: [{name: a, provider: echo}]\nmodels: {m: a}\ndefaults: {retry: {unknown: true}}\n")
    toml = tmp_path / "c.toml"
    toml.write_text(
        '[server]\nport = 9\n[[endpoints]]\nname = "a"\nprovider = "echo"\n[models]\nm = "a"\n[defaults.retry]\nunknown = true\n'
    )
    json = tmp_path / "c.json"
    json.write_text(
        '{"server": {"port": 9}, "endpoints": [{"name": "a", "provider": "echo"}],'
        ' "models": {"m": "a"}, "defaults": {"retry": {"unknown": true}}}'
    )

    assert load(yaml, {}) == load(toml, {}) == load(json, {})
    assert load(yaml, {}).server.port == 9


def test_a_config_survives_the_way_to_a_worker() -> None:
    original = config(TWO + "models: {m: {fallback: [a, {endpoints: [a, b]}]}, 'x/*': b}")

    assert msgspec.json.decode(msgspec.json.encode(original), type=Config) == original


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("server: {port: -1}", "server.port: found -1, expected int >= 0"),
        ("server: {port: '80'}", "server.port: found '80', expected int"),
        ("server: {hst: x}", "server.hst: unknown key; did you mean 'host'?"),
        ("serve: {}", "serve: unknown key; did you mean 'server'?; there are server, defaults, keys, endpoints, models"),
        ("server: []", "server: found an empty list, expected a mapping"),
        ("endpoints: {}", "endpoints: found an empty mapping, expected a list"),
        ("endpoints: [3]", "endpoints[0]: found 3, expected mapping"),
        ("endpoints: [{provider: echo}]", "endpoints[0].name: missing"),
        ("defaults: {commit: last}", "defaults.commit: found 'last', expected first, whole or a mapping"),
        ("defaults: {commit: 3}", "defaults.commit: found 3, expected text or mapping"),
        ("defaults: {commit: {after_tokens: 0}}", "defaults.commit.after_tokens: found 0, expected int >= 1"),
        ("defaults: {commit: {after: 1}}", "defaults.commit.after: unknown key"),
        ("defaults: {recover: [restart, resume]}", "defaults.recover[1]: found 'resume', expected one of continue, restart"),
        ("defaults: {recover: restart}", "defaults.recover: found 'restart', expected list"),
        ("defaults: {retry: {attempts: 0}}", "defaults.retry.attempts: found 0, expected int >= 1"),
        ("defaults: {health: {ratio: 0}}", "defaults.health.ratio: found 0, expected number > 0.0"),
        ("defaults: {health: {probe: 1}}", "defaults.health.probe: unknown key; did you mean 'probes'?"),
        ("defaults: {retry: {attempts: true}}", "defaults.retry.attempts: found true, expected int"),
        ("server: {cors_origins: [1]}", "server.cors_origins[0]: found 1, expected text"),
        (
            "server: {cors_origins: [localhost]}",
            "server.cors_origins[0]: found 'localhost', expected a web origin such as http://localhost:3000",
        ),
        ("server: {workers: .nan}", "server.workers: found nan, expected a finite number"),
        ("defaults: {retry: {atempts: 3}}", "defaults.retry.atempts: unknown key; did you mean 'attempts'?"),
        ("- a", "found a list, expected a mapping with the keys server, endpoints, models, ..."),
        ("server: {port: 99999999999999999999}", "server.port: found a number of more than 63 bits"),
        ("1: 2", "found the key 1, expected text; put it in quotes"),
        ("models: {m: !!timestamp 2024-01-01}", "models.m: found a date, expected text, a number, a list or a mapping; put it in quotes"),
    ],
)
def test_an_error_names_the_key_what_was_found_and_what_is_expected(text: str, says: str) -> None:
    assert refusal(text) == says


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ("limits: {concurrency: -1}", "endpoints[2].limits.concurrency: found -1, expected int >= 1"),
        ("limits: {requests_per_minute: 5}", "endpoints[2].limits.requests_per_minute: unknown key; did you mean 'requests_per_min'?"),
        ("profile: {good: 0.5, bad: 3}", "endpoints[2].profile.bad: found 3, expected number <= 1.0"),
        ("capabilities: {stream_usage: 1}", "endpoints[2].capabilities.stream_usage: found 1, expected bool"),
        ("headers: {Authorization: x}", "endpoints[2].headers.Authorization: authorization cannot be set here"),
        ('headers: {x: "a\\r\\nb: c"}', "endpoints[2].headers.x: expected visible ASCII on one line"),
        ('headers: {"x y": a}', "endpoints[2].headers.'x y': found 'x y', expected the name of a header field"),
        ("headers: {x: 3}", "endpoints[2].headers.x: found 3, expected text"),
        ("forward_headers: [Cookie]", "endpoints[2].forward_headers[0]: cookie cannot be set here"),
        ("options: {x: 1}", "endpoints[2].options.x: unknown key"),
        ("weight: 70000", "endpoints[2].weight: found 70000, expected int <= 65535"),
    ],
)
def test_an_error_inside_an_endpoint_tells_which_one(fields: str, says: str) -> None:
    assert refusal(TWO + f"  - {{name: c, provider: echo, {fields}}}").startswith(says)


def test_a_provider_that_does_not_exist_is_refused_with_the_nearest() -> None:
    said = refusal("endpoints: [{name: a, provider: opnai}]")

    assert said.startswith("endpoints[0].provider: found 'opnai', expected one of anthropic, azure, ")
    assert said.endswith("; did you mean 'openai'?")


@pytest.mark.parametrize("key", ["sk-proj-0123456789abcdefghij", "env:", "env:1A", "file:", "ENV:A", "env:A B", "sha256:00"])
def test_a_literal_key_is_refused_and_not_repeated(key: str) -> None:
    said = refusal(f'endpoints: [{{name: a, provider: openai, model: m, api_key: "{key}"}}]')

    assert said == "endpoints[0].api_key: expected env:NAME, file:/path or from_client; a key that is written out is refused"
    assert refusal(f'keys: [{{name: k, key: "{key}"}}]').startswith("keys[0].key: expected env:NAME, file:/path or sha256:")


def test_a_secret_in_the_wrong_place_is_not_repeated() -> None:
    assert "0123456789" not in refusal("endpoints: [{name: a, provider: openai, model: m, weight: sk-proj-0123456789abcdefghij}]")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("server:\n  port: 1\n  port: 2\n", "line 3, column 3: the key 'port' appears twice in one mapping"),
        ("a: [", "line 1, column 5: expected the node content, but found '<stream end>'"),
        ("a: &x {b: *x}", "nested too deeply"),
    ],
)
def test_text_that_is_no_good_yaml_is_refused_with_its_place(text: str, says: str) -> None:
    assert says in refusal(text)


def test_a_repeated_key_is_refused_in_json_and_toml_too() -> None:
    assert "the key 'port' appears twice" in refusal('{"server": {"port": 1, "port": 2}}', ".json")
    assert "not valid TOML" in refusal("[server]\nport = 1\nport = 2\n", ".toml")


def test_yaml_is_read_by_its_newer_rules() -> None:
    read = parse("{a: no, b: 2024-10-21, c: 010, d: 0o10, e: 1:30, f: 1e3, g: ~, h: 0x1F, i: -.5, j: Yes, k: true}", ".yaml")

    assert read == {"a": "no", "b": "2024-10-21", "c": 10, "d": 8, "e": "1:30", "f": 1000.0, "h": 31, "i": -0.5, "j": "Yes", "k": True}


def test_a_merged_key_may_be_overridden() -> None:
    text = """
endpoints:
  - &base {name: a, provider: openai, model: gpt-4o, api_key: "env:A"}
  - &more {<<: *base, name: b, model: gpt-5}
  - {<<: *more, name: c}
"""

    assert [(one.name, one.model) for one in config(text).endpoints] == [("a", "gpt-4o"), ("b", "gpt-5"), ("c", "gpt-5")]


def test_an_empty_section_is_an_empty_section() -> None:
    assert config("server:\nendpoints:\nmodels:\n") == Config()


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ("nobody", "models.m: found 'nobody', expected the name of an endpoint or model"),
        ("{fallback: [a, nobody]}", "models.m.fallback[1]: found 'nobody', expected the name of an endpoint or model"),
        ("{fallback: []}", "models.m.fallback: found an empty list, expected a list of at least one plan"),
        ("{fallback: [m]}", "models.m.fallback[0]: a model may not lead back to itself: m -> m"),
        ("{waterfall: [a]}", "models.m.waterfall: unknown plan; this version has: fallback"),
        ("{falback: [a]}", "models.m.falback: unknown plan; this version has: fallback"),
        ("{fallback: [a], endpoints: [a]}", "models.m.fallback: unknown key"),
        ("{fallback: [{endpoints: [a], deadline_s: 3}]}", "models.m.fallback[0].deadline_s: unknown key"),
        (
            "{fallback: [{fallback: [a], deadline_s: 3}]}",
            "models.m.fallback[0].deadline_s: only a model may set this, not a step of its plan",
        ),
        ("{}", "models.m: found an empty mapping, expected a pool {strategy, endpoints} or a plan (fallback"),
        ("3", "models.m: found 3, expected a name, a pool {strategy, endpoints} or a plan (fallback"),
        ("{endpoints: [a], chioces: 3}", "models.m.chioces: unknown key; did you mean 'choices'?"),
        ("{endpoints: []}", "models.m.endpoints: found an empty list, expected list of length >= 1"),
        ("{strategy: random}", "models.m.endpoints: missing"),
        ("{endpoints: [a, a]}", "models.m.endpoints[1]: 'a' is in this pool already; use `weight` to give it a larger share"),
        ("{endpoints: [aa]}", "models.m.endpoints[0]: found 'aa', expected the name of an endpoint; did you mean 'a'?"),
        ("{endpoints: [m]}", "models.m.endpoints[0]: 'm' is a model; a pool holds endpoints, use `fallback` to compose models"),
        ("{endpoints: [a], strategy: random, choices: 2}", "models.m.choices: random does not compare candidates"),
        ("{endpoints: [a], strategy: p2c, choices: 3}", "models.m.choices: found 3, but p2c means choices: 2; write least_connections"),
        ("{endpoints: [a], bounded_load: 1.5}", "models.m.bounded_load: least_work does not use it"),
        ("{endpoints: [a], strategy: maglev, bounded_load: 0.5}", "models.m.bounded_load: found 0.5, expected more than 1"),
        ("{endpoints: [a], strategy: maglev, hash_on: [ip]}", "models.m.hash_on[0]: found 'ip', expected one of"),
        ("{endpoints: [a], retry: {attempts: 99}}", "models.m.retry.attempts: found 99, expected int <= 16"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(form: str, says: str) -> None:
    assert refusal(TWO + f"models: {{m: {form}}}").startswith(says)


def test_a_circle_of_models_is_refused_and_told() -> None:
    said = refusal(TWO + "models: {x: {fallback: [a, y]}, y: {fallback: [z]}, z: x}")

    assert said == "models.z: a model may not lead back to itself: x -> y -> z -> x"


def test_endpoints_and_models_share_one_namespace() -> None:
    assert refusal(TWO + "models: {a: b}") == "models.a: is the name of endpoints[0] already; endpoints and models share one namespace"
    assert (
        refusal("endpoints: [{name: a, provider: echo}, {name: a, provider: echo}]")
        == "endpoints[1].name: 'a' is the name of endpoints[0] already"
    )


@pytest.mark.parametrize("name", ["a b", "a\\nb", "ä", "", "a,b", 'a\\"b', "-a", "x" * 129, "a*b"])
def test_a_name_that_could_not_stand_in_a_header_or_a_label_is_refused(name: str) -> None:
    assert "expected 1 to 128 letters" in refusal(f'endpoints: [{{name: "{name}", provider: echo}}]')


def test_strategies_have_one_canonical_name() -> None:
    assert (pool("{endpoints: [a]}").strategy, pool("{endpoints: [a]}").choices) == ("least_work", 4)
    assert (pool("{endpoints: [a], strategy: p2c}").strategy, pool("{endpoints: [a], strategy: p2c}").choices) == ("least_connections", 2)
    assert pool("{endpoints: [a], strategy: weighted_round_robin}").strategy == "weighted"
    assert pool("{endpoints: [a], strategy: least_request, choices: 0}").choices == 0
    assert "expected one of least_work" in refusal(TWO + "models: {m: {endpoints: [a], strategy: leastwork}}")


def test_names_become_pools() -> None:
    models = config(TWO + "models: {m: {fallback: [a, n, {endpoints: [a, b]}]}, n: {fallback: [b]}}").models

    assert isinstance(models["m"].plan, Fallback)
    assert [one.endpoints for one in pools(models["m"].plan)] == [("a",), ("b",), ("a", "b")]


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ("{after: p94}", "models.m.hedge.after: found 'p94', expected p95 or a number"),
        ("{after: 0}", "models.m.hedge.after: found 0, expected number > 0.0"),
        ("{after: []}", "models.m.hedge.after: found an empty list, expected number or text"),
        ("{max_share: 2}", "models.m.hedge.max_share: found 2, expected number <= 1.0"),
        ("{share: 0.1}", "models.m.hedge.share: unknown key; did you mean 'max_share'?"),
    ],
)
def test_hedging_that_cannot_be_is_refused(form: str, says: str) -> None:
    assert refusal(TWO + f"models: {{m: {{endpoints: [a], hedge: {form}}}}}") == says


def test_hedging_is_off_unless_asked_for_and_has_caps_then() -> None:
    models = config(TWO + "models: {plain: a, careful: {endpoints: [a], hedge: {}}}").models

    assert models["plain"].settings.hedge is None
    hedge = models["careful"].settings.hedge
    assert hedge is not None
    assert (hedge.after, hedge.max_share, hedge.max_cost_share) == ("p95", 0.02, 0.02)


def test_a_model_repeats_what_it_wants_to_change() -> None:
    text = (
        TWO + "defaults: {stall_s: 7, retry: {cap_s: 2, attempts: 5}}\nmodels: {m: {endpoints: [a], deadline_s: 9, retry: {attempts: 2}}}"
    )
    settings = config(text).models["m"].settings

    assert (settings.deadline_s, settings.stall_s, settings.connect_s) == (9, 7, 5)
    assert (settings.retry.attempts, settings.retry.cap_s, settings.retry.base_s) == (2, 2, 0.25)


def test_the_settings_of_a_model_hold_for_who_asks_for_it() -> None:
    models = config(TWO + "models: {inner: {fallback: [a], deadline_s: 1}, outer: {fallback: [inner]}}").models

    assert (models["inner"].settings.deadline_s, models["outer"].settings.deadline_s) == (1, 600)


def test_a_pattern_passes_the_name_on() -> None:
    found = config(TWO + "models: {m: a, 'x/*': a, 'x/y/*': b}")

    def find(name: str) -> tuple[str, str] | None:
        match = found.find(name)
        return match and (match[0].name, match[1])

    assert find("m") == ("m", "m")
    assert find("x/gpt") == ("x/*", "gpt")
    assert find("x/y/z") == ("x/y/*", "z")
    assert find("x/") is None
    assert find("x/*") == ("x/*", "*")
    assert find("nobody") is None


def test_a_flag_wins_over_the_environment_and_that_over_the_file() -> None:
    text = "server: {port: 1, host: 127.0.0.1, workers: 1}"
    environ = {"DISPATCH_PORT": "2", "DISPATCH_WORKERS": "2", "DISPATCH_DRAIN_S": "1.5", "DISPATCH_WIRE_DIR": "ours, but not of the server"}
    server = config(text, environ, {"server.port": 3, "server.host": None}).server

    assert (server.port, server.workers, server.host, server.drain_s) == (3, 2, "127.0.0.1", 1.5)


def test_a_variable_that_is_no_number_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigError, match=r"DISPATCH_PORT: found 'x', expected int"):
        config("", {"DISPATCH_PORT": "x"})


def test_what_kubernetes_sets_beside_a_service_called_dispatch_is_no_port() -> None:
    assert config("", {"DISPATCH_PORT": "tcp://10.0.0.1:80"}).server.port == 8080


def test_only_known_sections_can_be_overridden() -> None:
    with pytest.raises(ConfigError, match="only keys of server and defaults"):
        config("", None, {"endpoints.0.name": "x"})
    assert config("", None, {"defaults.retry.attempts": 1}).defaults.retry.attempts == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org"])
def test_a_public_address_without_keys_is_refused(host: str) -> None:
    assert "which other machines can reach" in refusal(f'server: {{host: "{host}"}}')
    config(f'server: {{host: "{host}"}}\nkeys: [{{name: k, key: "env:K"}}]')
    config(f'server: {{host: "{host}", unix: /run/dispatch.sock}}')


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_keys(host: str) -> None:
    assert config(f'server: {{host: "{host}"}}').server.host == host


def test_keys_are_checked() -> None:
    text = TWO + "models: {m: a, 'x/*': b}\n"

    key = config(text + "keys: [{name: k, key: 'env:K', models: [m, x/gpt, x/*]}]").keys[0]
    assert key.may_use("m", "m")
    assert key.may_use("x/other", "x/*")
    assert not key.may_use("n", "n")
    assert refusal(text + "keys: [{name: k, key: 'env:K', models: [n]}]") == "keys[0].models[0]: found 'n', expected the name of a model"
    assert (
        refusal(text + "keys: [{name: k, key: 'env:K'}, {name: k, key: 'env:L'}]") == "keys[1].name: 'k' is the name of another key already"
    )


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    (tmp_path / "c.ini").write_text("a=1")
    (tmp_path / "c.yaml").write_bytes(b"\xff")

    with pytest.raises(ConfigError, match=r"cannot read .*none.yaml: No such file"):
        load(tmp_path / "none.yaml", {})
    with pytest.raises(ConfigError, match=r"unknown kind of file '.ini', expected .yaml, .yml, .toml or .json"):
        load(tmp_path / "c.ini", {})
    with pytest.raises(ConfigError, match="is not UTF-8: byte 0"):
        load(tmp_path / "c.yaml", {})


def test_a_file_is_looked_for_in_order(tmp_path: Path) -> None:
    assert locate(None, {}, tmp_path) is None
    (tmp_path / "dispatch.yaml").touch()
    assert locate(None, {}, tmp_path) == tmp_path / "dispatch.yaml"
    assert locate(None, {"DISPATCH_CONFIG": "x.toml"}, tmp_path) == Path("x.toml")
    assert locate("y.json", {"DISPATCH_CONFIG": "x.toml"}, tmp_path) == Path("y.json")


def test_the_example_is_valid() -> None:
    example = load(ROOT / "dispatch.example.yaml", {})

    assert [one.strategy for one in pools(example.models["chat"].plan)] == ["least_work", "round_robin", "ring_hash"]
    assert isinstance(example.endpoint_by_name["openai"], Endpoint)


def test_the_reference_is_current() -> None:
    assert (ROOT / "docs/configuration.md").read_text() == markdown(), "run: python -m dispatch.config.reference > docs/configuration.md"
