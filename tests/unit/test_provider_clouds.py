"""Bedrock, Vertex and Azure with identities: paths, addresses, what is refused, what errors mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from dispatch.config import build
from dispatch.errors import ConfigError, Failure
from dispatch.providers.base import find_provider, target_of
from dispatch.providers.identity import AwsIdentity, EntraIdentity, GoogleIdentity, identity_of
from dispatch.translation import native_door

if TYPE_CHECKING:
    from dispatch.config import Endpoint

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "amazon.nova-micro-v1:0"


def endpoint(**fields: Any) -> Endpoint:
    return build({"endpoints": [{"name": "e", **fields}]}).endpoints[0]


def bedrock(model: str = NOVA, **fields: Any) -> Endpoint:
    return endpoint(**{"provider": "bedrock", "model": model, "options": {"region": "us-east-1"}, **fields})


def vertex(model: str = "gemini-x", **options: Any) -> Endpoint:
    return endpoint(provider="vertex", model=model, options={"project": "p", **options})


def lines(one: Endpoint, door: str, secret: str = "") -> list[str]:
    built = find_provider(one.provider).head(one, door, secret)
    assert built is not None
    return built.decode().split("\r\n")[:-1]


def doors(one: Endpoint) -> set[str]:
    hosted = "converse converse_stream invoke invoke_stream predict predict_stream"
    known = f"chat messages generate generate_stream {hosted} count_tokens gemini_count gemini_embed titan_embed cohere_invoke"
    return {door for door in known.split() if find_provider(one.provider).head(one, door, "") is not None}


def test_bedrock_asks_every_model_by_converse_and_anthropics_by_invoke_model() -> None:
    assert doors(bedrock()) == {"converse", "converse_stream"}
    # Clients of Converse itself are passed on.
    assert doors(bedrock(CLAUDE)) == {"invoke", "invoke_stream", "converse", "converse_stream"}
    assert native_door("chat", doors(bedrock(CLAUDE))) == native_door("messages", doors(bedrock(CLAUDE))) == "invoke"
    assert doors(bedrock(CLAUDE, options={"region": "us-east-1", "api": "invoke"})) == {"invoke", "invoke_stream"}
    assert doors(bedrock(CLAUDE, options={"region": "us-east-1", "api": "converse"})) == {"converse", "converse_stream"}
    assert doors(bedrock(CLAUDE, options={"region": "us-east-1", "api": "messages"})) == {"messages"}
    assert lines(bedrock(), "converse_stream")[:2] == [
        "POST /model/amazon.nova-micro-v1%3A0/converse-stream HTTP/1.1",
        "host: bedrock-runtime.us-east-1.amazonaws.com",
    ]
    assert (
        lines(bedrock(CLAUDE), "invoke_stream", "ABSK")[0].split()[1] == f"/model/{CLAUDE.replace(':', '%3A')}/invoke-with-response-stream"
    )
    assert "authorization: Bearer ABSK" in lines(bedrock(CLAUDE), "invoke", "ABSK")


def test_what_a_model_of_bedrock_can_be_asked_by_its_makers_words() -> None:
    assert doors(bedrock("amazon.titan-embed-text-v2:0")) == {"titan_embed"}
    assert doors(bedrock("us.cohere.embed-v4:0")) == {"cohere_invoke"}
    assert lines(bedrock(NOVA), "invoke_model")[0] == "POST /model/amazon.nova-micro-v1%3A0/invoke HTTP/1.1"
    # Only of Anthropic's streams is it known where they end.
    assert find_provider("bedrock").head(bedrock(NOVA), "invoke_model_stream", "") is None
    assert lines(bedrock(CLAUDE), "invoke_model_stream")[0].endswith("/invoke-with-response-stream HTTP/1.1")


def test_the_name_of_a_profile_of_bedrock_is_one_part_of_the_path() -> None:
    arn = "arn:aws:bedrock:us-east-1:000000000000:inference-profile/us.anthropic.claude-3-7-sonnet-20250219-v1:0"
    expected = (
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A000000000000%3Ainference-profile%2Fus.anthropic.claude-3-7-sonnet-20250219-v1%3A0/invoke"
    )

    assert lines(bedrock(arn), "invoke")[0].split()[1] == expected


def test_a_guardrail_stands_in_the_body_or_in_the_head() -> None:
    options = {"region": "us-east-1", "guardrail": {"id": "g1", "version": "2", "trace": "enabled"}}
    rail = {"guardrailIdentifier": "g1", "guardrailVersion": "2", "trace": "enabled"}
    by_converse, by_invoke = bedrock(options=options), bedrock(CLAUDE, options=options)

    assert target_of(find_provider("bedrock"), by_converse).body == {"guardrailConfig": rail}
    # By Converse, if a client asks so.
    assert target_of(find_provider("bedrock"), by_invoke).body == {"guardrailConfig": rail}
    assert lines(by_invoke, "invoke")[-3:] == [
        "x-amzn-bedrock-guardrailidentifier: g1",
        "x-amzn-bedrock-guardrailversion: 2",
        "x-amzn-bedrock-trace: ENABLED",
    ]


def test_who_signs_requests_to_bedrock() -> None:
    provider = find_provider("bedrock")
    keys = {"region": "eu-west-1", "access_key_id": "env:A", "secret_access_key": "env:B"}

    assert identity_of(provider, bedrock()) == AwsIdentity(region="us-east-1")
    assert identity_of(provider, bedrock(options=keys)) == AwsIdentity(region="eu-west-1", access_key_id="env:A", secret_access_key="env:B")
    assert identity_of(provider, bedrock(api_key="env:T")) is None
    assert identity_of(provider, bedrock(options={}, base_url="http://127.0.0.1:1")) is None
    assert provider.origin(bedrock(options={"region": "cn-north-1"})).host == "bedrock-runtime.cn-north-1.amazonaws.com.cn"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"model": "*"}, "endpoints[0].model: the path names the model"),
        ({"options": {}}, "endpoints[0].options.region: missing"),
        ({"options": {"region": "x y"}}, "endpoints[0].options.region: found 'x y'"),
        (
            {"options": {"region": "r", "access_key_id": "env:A"}},
            "endpoints[0].options: `access_key_id` and `secret_access_key` belong together",
        ),
        (
            {"options": {"region": "r", "secret_access_key": "wJalr"}},
            "endpoints[0].options.secret_access_key: expected env:NAME or file:/path; a",
        ),
        ({"options": {"region": "r", "profile": "p"}, "api_key": "env:A"}, "endpoints[0].api_key: a bearer token and keys"),
        ({"options": {"region": "r", "guardrail": {"id": "a\r\nb"}}}, "endpoints[0].options.guardrail.id: found"),
    ],
)
def test_an_endpoint_of_bedrock_that_cannot_be(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bedrock(**fields)

    assert str(caught.value).startswith(says)
    assert "wJalr" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (429, b'{"message":"Too many tokens, please wait before trying again."}', Failure.RATE_LIMITED),
        (200, b'{"__type":"throttlingException","error":{"message":"Too many requests"}}', Failure.RATE_LIMITED),
        (200, b'{"__type":"modelStreamErrorException","error":{"message":"m","originalStatusCode":500}}', Failure.SERVER),
        (200, b'{"__type":"internalServerException","error":{"message":"m"}}', Failure.SERVER),
        (200, b'{"__type":"serviceUnavailableException","error":{"message":"m"}}', Failure.OVERLOADED),
        (200, b'{"__type":"modelTimeoutException","error":{"message":"m"}}', Failure.SERVER),
        (200, b'{"__type":"validationException","error":{"message":"Input is too long for requested model."}}', Failure.CONTEXT_LENGTH),
        (200, b'{"__type":"validationException","error":{"message":"the field x is wrong"}}', Failure.BAD_REQUEST),
        (400, b'{"message":"Input is too long for requested model."}', Failure.CONTEXT_LENGTH),
        (400, b'{"message":"The provided model identifier is invalid."}', Failure.CREDENTIAL),
        (400, b'{"message":"messages.2: Field required"}', Failure.BAD_REQUEST),
        (403, b'{"message":"The security token included in the request is expired"}', Failure.CREDENTIAL),
        (408, b'{"message":"Model has timed out"}', Failure.SERVER),
        (424, b'{"message":"the model failed"}', Failure.SERVER),
        (503, b'{"message":"down"}', Failure.OVERLOADED),
        (500, b"", Failure.SERVER),
    ],
)
def test_what_an_error_of_bedrock_means(status: int, body: bytes, failure: Failure) -> None:
    assert find_provider("bedrock").classify(status, b"application/json", body) is failure


def test_vertex_asks_each_makers_models_in_their_dialect() -> None:
    assert doors(vertex()) == {"generate", "generate_stream", "gemini_count", "gemini_embed"}
    assert doors(vertex("claude-sonnet-4-5@20250929")) == {"predict", "predict_stream", "count_tokens"}
    assert doors(vertex("meta/llama-3.3-70b-instruct-maas")) == {"chat"}
    place = "/v1/projects/p/locations/europe-west4"
    paths = [
        lines(vertex("gemini-x", location="europe-west4"), "generate_stream")[0].split()[1],
        lines(vertex("claude-x@1", location="europe-west4"), "predict_stream")[0].split()[1],
        lines(vertex("claude-x@1", location="europe-west4"), "count_tokens")[0].split()[1],
        lines(vertex("meta/llama", location="europe-west4"), "chat")[0].split()[1],
    ]
    assert paths == [
        f"{place}/publishers/google/models/gemini-x:streamGenerateContent?alt=sse",
        f"{place}/publishers/anthropic/models/claude-x%401:streamRawPredict",
        f"{place}/publishers/anthropic/models/count-tokens:rawPredict",
        f"{place}/endpoints/openapi/chat/completions",
    ]


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("global", "aiplatform.googleapis.com"),
        ("us-central1", "us-central1-aiplatform.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_where_vertex_is(location: str, host: str) -> None:
    assert find_provider("vertex").origin(vertex(location=location)).host == host


def test_a_key_of_express_mode_needs_no_project_and_no_token() -> None:
    one = endpoint(provider="vertex", model="gemini-x", api_key="env:K")

    assert lines(one, "generate", "AQ.k")[0] == "POST /v1/publishers/google/models/gemini-x:generateContent HTTP/1.1"
    assert "x-goog-api-key: AQ.k" in lines(one, "generate", "AQ.k")
    assert identity_of(find_provider("vertex"), one) is None
    assert identity_of(find_provider("vertex"), vertex(credentials="/a.json")) == GoogleIdentity(file="/a.json")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"model": "*", "options": {"project": "p"}}, "endpoints[0].model: the path names the model"),
        ({"model": "claude-x", "api_key": "env:K"}, "endpoints[0].options.project: missing"),
        ({"model": "gemini-x"}, "endpoints[0].options.project: missing"),
        ({"model": "gemini-x", "options": {"project": "p/q"}}, "endpoints[0].options.project: found"),
        (
            {"model": "g", "api_key": "env:K", "options": {"project": "p", "credentials": "/a"}},
            "endpoints[0].api_key: a key and `credentials`",
        ),
    ],
)
def test_an_endpoint_of_vertex_that_cannot_be(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        endpoint(provider="vertex", **fields)

    assert str(caught.value).startswith(says)
    assert "wJalr" not in str(caught.value)


def azure(**fields: Any) -> Endpoint:
    return endpoint(**{"provider": "azure", "model": "gpt", "base_url": "https://n.openai.azure.com", **fields})


def test_azure_with_an_identity_of_entra_has_no_key() -> None:
    one = azure(options={"auth": "entra", "tenant": "t", "client_id": "c", "client_secret": "file:/s"})

    assert identity_of(find_provider("azure"), one) == EntraIdentity(tenant="t", client_id="c", client_secret="file:/s")
    assert not [line for line in lines(one, "chat") if line.startswith(("api-key", "authorization"))]
    assert identity_of(find_provider("azure"), azure(api_key="env:A")) is None


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"api_key": "env:A", "options": {"auth": "entra"}}, "endpoints[0].api_key: `auth: entra` has tokens of its own"),
        (
            {"api_key": "env:A", "options": {"tenant": "t"}},
            "endpoints[0].options.auth: tenant, client_id and client_secret are for `entra`",
        ),
        (
            {"options": {"auth": "entra", "client_secret": "wJalr"}},
            "endpoints[0].options.client_secret: expected env:NAME or file:/path; a",
        ),
    ],
)
def test_an_endpoint_of_azure_whose_identity_cannot_be(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        azure(**fields)

    assert str(caught.value).startswith(says)
    assert "wJalr" not in str(caught.value)
