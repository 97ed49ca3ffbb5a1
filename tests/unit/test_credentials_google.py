"""Google: assertions of service accounts, and where tokens come from."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from dispatch.providers.identity import GoogleIdentity
from dispatch.transport.credentials.fetch import CredentialError
from dispatch.transport.credentials.google import GoogleSource, assertion

from tests.integration.issuer import Issuer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

NOW_S = 1_793_000_000.0


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


def workload(issuer: Issuer, source: dict[str, Any], **fields: Any) -> dict[str, Any]:
    known = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k8s",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{issuer.url}/v1/token",
        "credential_source": source,
    }
    return known | fields


async def test_a_workloads_token_is_exchanged_for_one_of_googles(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("ey.k8s\n")
    path = tmp_path / "workload.json"
    exchanged = {"access_token": "ya29.sts", "expires_in": 3599, "token_type": "Bearer"}
    acting = {"accessToken": "ya29.acting", "expireTime": "2030-01-01T00:00:00Z"}
    answers = {"POST /v1/token": exchanged, "POST /acting": acting, "GET /azure": {"access_token": "ey.azure"}}
    async with Issuer(answers) as issuer:
        path.write_text(json.dumps(workload(issuer, {"file": f"{tmp_path}/token"})))
        direct = await GoogleSource(GoogleIdentity(file=str(path)), {}).issue(5)
        (tmp_path / "token").write_text("ey.rotated\n")
        source = {
            "url": f"{issuer.url}/azure",
            "headers": {"Metadata": "true"},
            "format": {"type": "json", "subject_token_field_name": "access_token"},
        }
        path.write_text(json.dumps(workload(issuer, source, service_account_impersonation_url=f"{issuer.url}/acting")))
        acted = await GoogleSource(GoogleIdentity(file=str(path)), {}).issue(5)

    assert direct.value == b"authorization: Bearer ya29.sts\r\n"
    assert (acted.value, acted.expires_s) == (b"authorization: Bearer ya29.acting\r\n", 1_893_456_000)
    assert issuer.asked[0].form == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k8s",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "subject_token": "ey.k8s",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
    }
    assert [one.line.split()[1] for one in issuer.asked[1:]] == ["/azure", "/v1/token", "/acting"]
    assert issuer.asked[1].fields["metadata"] == "true"
    assert issuer.asked[2].form["subject_token"] == "ey.azure"
    assert issuer.asked[3].fields["authorization"] == "Bearer ya29.sts"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"environment_id": "aws1"}, "AWS and programs are not"),
        ({"file": "/nowhere/token"}, "cannot read /nowhere/token"),
        (None, "`file` and `url` are spoken"),
    ],
)
async def test_a_workloads_token_that_is_not_there_is_told(source: Any, says: str, tmp_path: Path) -> None:
    async with Issuer({}) as issuer:
        (tmp_path / "w.json").write_text(json.dumps(workload(issuer, source)))
        with pytest.raises(CredentialError, match=says):
            await GoogleSource(GoogleIdentity(file=f"{tmp_path}/w.json"), {}).issue(5)


async def test_an_account_of_another_type_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"type": "gdch_service_account"}))

    with pytest.raises(CredentialError, match="type 'gdch_service_account' are not spoken"):
        await GoogleSource(GoogleIdentity(file=str(path)), {}).issue(5)
    with pytest.raises(CredentialError, match="cannot read"):
        await GoogleSource(GoogleIdentity(file=f"{path}x"), {}).issue(5)
