"""Signatures, and where credentials come from."""

from __future__ import annotations

import asyncio
import json
import pickle
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING, Any

import pytest
from botocore.auth import SigV4Auth  # type: ignore[import-untyped]  # botocore has no types
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]  # the same
from botocore.credentials import Credentials  # type: ignore[import-untyped]  # the same
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from dispatch.providers.identity import AwsIdentity, EntraIdentity, GoogleIdentity
from dispatch.transport.credentials.aws import AwsSource
from dispatch.transport.credentials.entra import EntraSource
from dispatch.transport.credentials.fetch import CredentialError, fetch
from dispatch.transport.credentials.google import GoogleSource, assertion
from dispatch.transport.credentials.keeper import Issued, Keeper
from dispatch.transport.credentials.sigv4 import AwsKeys, sign
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.issuer import Issuer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.issuer import Asked

pytestmark = pytest.mark.anyio

NOW_S = 1_793_000_000.0
DATE = "20261026T073320Z"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
REGION = AwsIdentity(region="eu-west-1")


def of_botocore(request: bytes, keys: AwsKeys, region: str) -> str:
    """The value of `authorization`, as botocore signs."""
    head, _, body = request.partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    fields = dict(one.split(": ", 1) for one in lines)
    signed = {name: value for name, value in fields.items() if name in {"content-type", "host"}}
    one = AWSRequest("POST", f"https://{fields['host']}{line.split()[1]}", headers=signed, data=body)
    one.context["timestamp"] = DATE
    auth = SigV4Auth(Credentials(keys.access_key_id, keys.secret, keys.token or None), "bedrock", region)
    auth._modify_request_before_signing(one)
    signature = auth.signature(auth.string_to_sign(one, auth.canonical_request(one)), one)
    names = auth.signed_headers(auth.headers_to_sign(one))
    return f"AWS4-HMAC-SHA256 Credential={auth.scope(one)}, SignedHeaders={names}, Signature={signature}"


def field(request: bytes, name: str) -> str:
    head = request.partition(b"\r\n\r\n")[0].decode()
    return next(line.split(": ", 1)[1] for line in head.split("\r\n")[1:] if line.split(":")[0] == name)


@given(
    model=st.sampled_from(["us.anthropic.claude-v2%3A0", "arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fx", "a~b_c-d.e"]),
    body=st.binary(max_size=200),
    token=st.sampled_from(["", "FwoGZXIvYXdzEB==/+"]),
    more=st.sampled_from([b"", b"x-team: a\r\n", b"traceparent: 00-1\r\nuser-agent: b  c\r\n"]),
)
def test_a_request_is_signed_as_botocore_signs_it(model: str, body: bytes, token: str, more: bytes) -> None:
    keys = AwsKeys("AKIDEXAMPLE", SECRET, token)
    head = (
        f"POST /model/{model}/converse HTTP/1.1\r\nhost: bedrock-runtime.eu-west-1.amazonaws.com\r\naccept-encoding: identity\r\n".encode()
    )
    request = head + more + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    signed = sign(request, keys, "eu-west-1", "bedrock", NOW_S)

    assert field(signed, "authorization") == of_botocore(request, keys, "eu-west-1")
    assert field(signed, "x-amz-date") == DATE
    assert signed.startswith(request.partition(b"\r\n\r\n")[0])
    assert signed.endswith(b"\r\n\r\n" + body)
    assert SECRET.encode() not in signed


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def account(key: rsa.RSAPrivateKey, form: serialization.PrivateFormat, **fields: str) -> dict[str, str]:
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
    known = {"type": "service_account", "client_email": "s@p.iam.gserviceaccount.com", "private_key_id": "k1", "private_key": pem}
    return known | fields


@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
def test_an_assertion_is_signed_by_the_accounts_key(key: rsa.RSAPrivateKey, form: serialization.PrivateFormat) -> None:
    text = assertion(account(key, form), "scope", NOW_S)
    header, claims, signature = text.split(".")
    decoded = [json.loads(urlsafe_b64decode(part + "==")) for part in (header, claims)]

    key.public_key().verify(urlsafe_b64decode(signature + "=="), f"{header}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
    assert decoded == [
        {"alg": "RS256", "typ": "JWT", "kid": "k1"},
        {
            "iss": "s@p.iam.gserviceaccount.com",
            "scope": "scope",
            "aud": "https://oauth2.googleapis.com/token",
            "iat": NOW_S,
            "exp": NOW_S + 3600,
        },
    ]


@pytest.mark.parametrize("pem", ["", "-----BEGIN PRIVATE KEY-----\nSECRETSECRET\n-----END PRIVATE KEY-----\n", "not base64 \u00e9"])
def test_a_key_that_is_none_is_not_repeated(pem: str) -> None:
    with pytest.raises(CredentialError) as caught:
        assertion({"client_email": "a", "private_key": pem}, "s", NOW_S)

    assert str(caught.value) == "the account's private_key is no RSA key of 2,048 bits or more"
    assert caught.value.__cause__ is None


def keys_of(issued: Issued) -> tuple[str, str, str]:
    value = issued.value
    assert isinstance(value, AwsKeys)
    return value.access_key_id, value.secret, value.token


async def test_keys_by_reference_come_first(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("two\n")
    identity = AwsIdentity(region="r", access_key_id="env:A", secret_access_key=f"file:{tmp_path}/secret", session_token="env:T")
    environ = {"A": "one", "T": "three", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}

    assert keys_of(await AwsSource(identity, environ).issue(1)) == ("one", "two", "three")
    assert keys_of(await AwsSource(REGION, environ).issue(1)) == ("x", "y", "")


async def test_profiles_are_read_from_both_files_and_may_name_a_process(tmp_path: Path) -> None:
    made = {"Version": 1, "AccessKeyId": "p", "SecretAccessKey": "q", "SessionToken": "t", "Expiration": "2030-01-01T00:00:00Z"}
    (tmp_path / "made.json").write_text(json.dumps(made))
    (tmp_path / "config").write_text(
        f"[profile dev]\nregion = x\n[profile sso]\ncredential_process = cat {tmp_path}/made.json\n[profile no]\n"
    )
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = d\naws_secret_access_key = e\n[dev]\naws_access_key_id = a\naws_secret_access_key = b%c\n"
    )
    environ = {"AWS_CONFIG_FILE": f"{tmp_path}/config", "AWS_SHARED_CREDENTIALS_FILE": f"{tmp_path}/credentials"}

    async def of(profile: str) -> Issued:
        return await AwsSource(AwsIdentity(region="r", profile=profile), environ).issue(5)

    assert keys_of(await of("dev")) == ("a", "b%c", "")
    sso = await of("sso")
    assert (keys_of(sso), sso.expires_s) == (("p", "q", "t"), 1_893_456_000)
    assert keys_of(await AwsSource(REGION, environ).issue(5)) == ("d", "e", "")
    assert keys_of(await AwsSource(REGION, environ | {"AWS_PROFILE": "dev"}).issue(5)) == ("a", "b%c", "")
    with pytest.raises(CredentialError, match="neither keys nor a credential_process"):
        await of("no")


ENDS = {"AccessKeyId": "k", "SecretAccessKey": "s", "Token": "t", "Expiration": "2030-01-01T00:00:00Z"}


async def test_keys_of_a_web_identity_are_asked_of_the_token_service(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("ey.web\n")
    told = {"AccessKeyId": "k", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": 1_893_456_000.0}
    answer = {"AssumeRoleWithWebIdentityResponse": {"AssumeRoleWithWebIdentityResult": {"Credentials": told}}}
    async with Issuer({"POST /": answer}) as issuer:
        environ = {"AWS_WEB_IDENTITY_TOKEN_FILE": f"{tmp_path}/token", "AWS_ROLE_ARN": "arn:r", "AWS_ENDPOINT_URL_STS": issuer.url}
        issued = await AwsSource(REGION, environ).issue(5)

        assert (keys_of(issued), issued.expires_s) == (("k", "s", "t"), 1_893_456_000)
        assert issuer.asked[0].form == {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": "arn:r",
            "RoleSessionName": "dispatch",
            "WebIdentityToken": "ey.web",
        }


async def test_keys_of_a_container_and_of_a_machine(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("auth")
    answers = {
        "GET /container": ENDS,
        "PUT /latest/api/token": "session",
        "GET /latest/meta-data/iam/security-credentials/ ": "role-1\n",
        "GET /latest/meta-data/iam/security-credentials/role-1": ENDS,
    }
    async with Issuer(answers) as issuer:
        home = {"HOME": str(tmp_path)}
        container = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{issuer.url}/container",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": f"{tmp_path}/token",
        }
        assert keys_of(await AwsSource(REGION, home | container).issue(5)) == ("k", "s", "t")
        assert issuer.asked[0].fields["authorization"] == "auth"
        machine = home | {"AWS_EC2_METADATA_SERVICE_ENDPOINT": issuer.url}
        assert keys_of(await AwsSource(REGION, machine).issue(5)) == ("k", "s", "t")
        assert [one.fields.get("x-aws-ec2-metadata-token") for one in issuer.asked[1:]] == [None, "session", "session"]
        with pytest.raises(CredentialError, match="no keys in the environment"):
            await AwsSource(REGION, machine | {"AWS_EC2_METADATA_DISABLED": "true"}).issue(5)


async def test_tokens_of_google_by_account_login_and_machine(key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    token = {"access_token": "ya29.x", "expires_in": 3599, "token_type": "Bearer"}
    async with Issuer({"POST /token": token, "GET /computeMetadata/v1/instance/service-accounts/default/token": token}) as issuer:
        service = tmp_path / "service.json"
        service.write_text(json.dumps(account(key, serialization.PrivateFormat.PKCS8, token_uri=f"{issuer.url}/token")))
        login = tmp_path / "application_default_credentials.json"
        login.write_text(
            json.dumps(
                {
                    "type": "authorized_user",
                    "client_id": "c",
                    "client_secret": "d",
                    "refresh_token": "r",
                    "token_uri": f"{issuer.url}/token",
                }
            )
        )
        by_file = await GoogleSource(GoogleIdentity(file=str(service)), {}).issue(5)
        await GoogleSource(GoogleIdentity(), {"GOOGLE_APPLICATION_CREDENTIALS": str(service)}).issue(5)
        await GoogleSource(GoogleIdentity(), {"CLOUDSDK_CONFIG": str(tmp_path)}).issue(5)
        machine = {"GCE_METADATA_HOST": issuer.url.removeprefix("http://"), "HOME": "/nowhere"}
        by_machine = await GoogleSource(GoogleIdentity(), machine).issue(5)

        assert by_file.value == by_machine.value == b"authorization: Bearer ya29.x\r\n"
        grants = [one.form.get("grant_type") for one in issuer.asked]
        assert grants == ["urn:ietf:params:oauth:grant-type:jwt-bearer"] * 2 + ["refresh_token", None]
        assert issuer.asked[2].form["refresh_token"] == "r"
        assert issuer.asked[3].fields["metadata-flavor"] == "Google"


async def test_an_account_of_another_type_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"type": "external_account"}))

    with pytest.raises(CredentialError, match="type 'external_account' are not spoken"):
        await GoogleSource(GoogleIdentity(file=str(path)), {}).issue(5)
    with pytest.raises(CredentialError, match="cannot read"):
        await GoogleSource(GoogleIdentity(file=f"{path}x"), {}).issue(5)


async def test_tokens_of_entra_by_secret_workload_and_managed_identity(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("ey.k8s")
    async with Issuer(
        {
            "POST /t/oauth2/v2.0/token": {"access_token": "ey.a", "expires_in": 3599},
            "GET /msi": {"access_token": "ey.m", "expires_on": "1893456000"},
        }
    ) as issuer:
        by_secret = EntraIdentity(tenant="t", client_id="c", client_secret="env:S", authority=issuer.url)
        issued = await EntraSource(by_secret, {"S": "secret"}).issue(5)
        assert issued.value == b"authorization: Bearer ey.a\r\n"
        workload = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "w", "AZURE_FEDERATED_TOKEN_FILE": f"{tmp_path}/token"}
        await EntraSource(EntraIdentity(authority=issuer.url), workload).issue(5)
        managed = await EntraSource(EntraIdentity(client_id="m"), {"IDENTITY_ENDPOINT": f"{issuer.url}/msi", "IDENTITY_HEADER": "h"}).issue(
            5
        )

        assert (managed.value, managed.expires_s) == (b"authorization: Bearer ey.m\r\n", 1_893_456_000)
        assert issuer.asked[0].form == {
            "grant_type": "client_credentials",
            "client_id": "c",
            "scope": "https://cognitiveservices.azure.com/.default",
            "client_secret": "secret",
        }
        assert issuer.asked[1].form["client_assertion"] == "ey.k8s"
        assert issuer.asked[2].line.split()[1] == "/msi?api-version=2019-08-01&resource=https://cognitiveservices.azure.com&client_id=m"
        assert issuer.asked[2].fields["x-identity-header"] == "h"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            (400, {"error": "invalid_grant", "error_description": "the assertion is late"}),
            "127.0.0.1: status 400, invalid_grant: the assertion is late",
        ),
        ((500, "<html>"), "127.0.0.1: status 500"),
        ("[]", "127.0.0.1: the answer is no JSON object"),
        ({"expires_in": 1}, "the answer has no token"),
        ({"access_token": "a\r\nb", "expires_in": 1}, "the answer has no token"),
        ({"access_token": "a"}, "the answer does not say when the token ends"),
    ],
)
async def test_a_bad_answer_is_told_by_its_reason(answer: Any, says: str) -> None:
    async with Issuer({"POST /": answer}) as issuer:
        identity = EntraIdentity(tenant="t", client_id="c", client_secret="env:S", authority=issuer.url)
        with pytest.raises(CredentialError) as caught:
            await EntraSource(identity, {"S": "my-client-secret"}).issue(5)

        assert str(caught.value) == says


async def test_an_answer_that_repeats_what_was_sent_does_not_give_it_away() -> None:
    def echo(asked: Asked) -> tuple[int, dict[str, str]]:
        return 400, {"error": "invalid_request", "error_description": f"bad value {asked.form['client_secret']}"}

    async with Issuer({"POST /": echo}) as issuer:
        identity = EntraIdentity(tenant="t", client_id="c", client_secret="env:S", authority=issuer.url)
        with pytest.raises(CredentialError) as caught:
            await EntraSource(identity, {"S": "sk-abcdefghijklmnopqrstuvwxyz0123456789"}).issue(5)

        assert "abcdefghijklmnop" not in str(caught.value)


async def test_a_credential_is_asked_for_over_https_or_nearby_only() -> None:
    for url in ("http://example.com/token", "http://10.0.0.1/token", "ftp://localhost.example/"):
        with pytest.raises(CredentialError, match="over https only"):
            await fetch(url, 1)


def test_nothing_that_holds_a_secret_shows_it() -> None:
    keys = AwsKeys("AKID", SECRET, "token")
    issued = Issued(keys, 1.0)

    for shown in (repr(keys), repr(issued), str(issued), f"{keys}"):
        assert SECRET not in shown
        assert "token" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(keys)


class Scripted:
    """A source whose issues are given."""

    name = "script"

    def __init__(self, *script: Issued | Exception) -> None:
        self.script = [*script]
        self.asked = 0

    async def issue(self, timeout_s: float) -> Issued:
        del timeout_s
        self.asked += 1
        one = self.script.pop(0)
        if isinstance(one, Exception):
            raise one
        return one


class Clock:
    def __init__(self) -> None:
        self.now = NOW_S

    def __call__(self) -> float:
        return self.now


async def settled(keeper: Keeper, clock: Clock, now: float) -> None:
    """Let the coarse timer come at `now`, and what it starts end."""
    clock.now = now
    keeper.sweep()
    while keeper._task is not None:
        await keeper.wait_closed()
        await asyncio.sleep(0)


async def test_a_credential_is_renewed_before_its_end_and_not_earlier() -> None:
    clock = Clock()
    source = Scripted(Issued("one", NOW_S + 3600), Issued("two", NOW_S + 7200))
    keeper = Keeper(source, 5, now=clock, steady=clock)
    keeper.users = 0
    await settled(keeper, clock, NOW_S)
    assert keeper.value == "one"
    await settled(keeper, clock, NOW_S + 3299)
    assert source.asked == 1
    await settled(keeper, clock, NOW_S + 3301)

    assert (source.asked, keeper.value) == (2, "two")


async def test_a_failed_renewal_is_tried_again_and_the_credential_is_used_to_its_end() -> None:
    clock = Clock()
    source = Scripted(Issued("one", NOW_S + 100), *[CredentialError("down")] * 3, Issued("two", NOW_S + 4000))
    keeper = Keeper(source, 5, now=clock, steady=clock)
    await settled(keeper, clock, NOW_S)
    for after_s, asked in ((81, 2), (81.5, 2), (82.5, 3), (83, 3), (85, 4)):
        await settled(keeper, clock, NOW_S + after_s)
        assert (keeper.value, source.asked) == ("one", asked)
    clock.now = NOW_S + 90.5
    keeper.sweep()
    assert keeper.value is None
    assert "down" in repr(keeper)
    await settled(keeper, clock, NOW_S + 90.5)

    assert keeper.value == "two"


async def test_a_credential_that_was_refused_is_asked_for_anew_but_not_at_each_refusal() -> None:
    clock = Clock()
    source = Scripted(Issued("one"), Issued("two"))
    keeper = Keeper(source, 5, now=clock, steady=clock)
    await settled(keeper, clock, NOW_S)
    keeper.doubt()
    await settled(keeper, clock, NOW_S + 10)
    assert source.asked == 1
    keeper.doubt()
    await settled(keeper, clock, NOW_S + 31)
    assert source.asked == 1
    keeper.doubt()
    await settled(keeper, clock, NOW_S + 32)

    assert keeper.value == "two"
