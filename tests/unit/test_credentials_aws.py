"""AWS: signatures, and where keys are found."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from botocore.auth import SigV4Auth  # type: ignore[import-untyped]  # botocore has no types
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]  # the same
from botocore.credentials import Credentials  # type: ignore[import-untyped]  # the same
from dispatch.providers.identity import AwsIdentity
from dispatch.transport.credentials.aws import AwsSource
from dispatch.transport.credentials.fetch import CredentialError
from dispatch.transport.credentials.sigv4 import AwsKeys, sign
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.issuer import Issuer

if TYPE_CHECKING:
    from pathlib import Path

    from dispatch.transport.credentials.keeper import Issued

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
    with pytest.raises(CredentialError, match="neither keys nor a role nor a credential_process"):
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


TEMPORARY = {"AccessKeyId": "k", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": 1_893_456_000.0}


async def test_a_profile_assumes_a_role_by_requests_that_are_signed_with_the_keys_of_its_source(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        "[profile base]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = secret\n"
        "[profile role]\nrole_arn = arn:r\nsource_profile = base\nexternal_id = x1\n"
        "[profile second]\nrole_arn = arn:s\nsource_profile = role\n"
        "[profile own]\nrole_arn = arn:o\nsource_profile = own\naws_access_key_id = a\naws_secret_access_key = b\n"
        "[profile environment]\nrole_arn = arn:e\ncredential_source = Environment\n"
        "[profile none]\nrole_arn = arn:n\n[profile loop]\nrole_arn = arn:l\nsource_profile = loop\n"
    )
    answer = {"AssumeRoleResponse": {"AssumeRoleResult": {"Credentials": TEMPORARY}}}
    async with Issuer({"POST /": answer}) as issuer:
        environ = {"AWS_CONFIG_FILE": f"{tmp_path}/config", "HOME": str(tmp_path), "AWS_ENDPOINT_URL_STS": issuer.url}

        async def of(profile: str, **more: str) -> Issued:
            return await AwsSource(AwsIdentity(region="eu-west-1", profile=profile), environ | more).issue(5)

        issued = await of("role")
        assert (keys_of(issued), issued.expires_s) == (("k", "s", "t"), 1_893_456_000)
        [asked] = issuer.asked
        form = {"Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": "arn:r", "RoleSessionName": "dispatch", "ExternalId": "x1"}
        assert asked.form == form
        assert asked.fields["authorization"] == signed_by_botocore(asked.fields, urlencode(form).encode())
        await of("second")
        await of("own")
        await of("environment", AWS_ACCESS_KEY_ID="env", AWS_SECRET_ACCESS_KEY="s")
        signers = [one.fields["authorization"].split("Credential=")[1].split("/")[0] for one in issuer.asked]
        assert signers == ["AKIDEXAMPLE", "AKIDEXAMPLE", "k", "a", "env"]
        assert issuer.asked[2].fields["x-amz-security-token"] == "t"
        with pytest.raises(CredentialError, match="needs a source_profile"):
            await of("none")
        with pytest.raises(CredentialError, match="'loop' has neither keys"):
            await of("loop")


def signed_by_botocore(fields: dict[str, str], body: bytes) -> str:
    """What `authorization` must be of a request to the token service."""
    shown = {name: fields[name] for name in ("content-type", "host")}
    one = AWSRequest("POST", f"http://{fields['host']}/", headers=shown, data=body)
    one.context["timestamp"] = fields["x-amz-date"]
    auth = SigV4Auth(Credentials("AKIDEXAMPLE", "secret"), "sts", "eu-west-1")
    auth._modify_request_before_signing(one)
    signature = auth.signature(auth.string_to_sign(one, auth.canonical_request(one)), one)
    names = auth.signed_headers(auth.headers_to_sign(one))
    return f"AWS4-HMAC-SHA256 Credential={auth.scope(one)}, SignedHeaders={names}, Signature={signature}"
