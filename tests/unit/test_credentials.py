"""Microsoft Entra's tokens, and what holds for every credential that is asked for."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest
from dispatch.providers.identity import EntraIdentity
from dispatch.transport.credentials.entra import EntraSource
from dispatch.transport.credentials.fetch import CredentialError, fetch
from dispatch.transport.credentials.keeper import Issued
from dispatch.transport.credentials.sigv4 import AwsKeys

from tests.integration.issuer import Issuer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.issuer import Asked

pytestmark = pytest.mark.anyio

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


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
