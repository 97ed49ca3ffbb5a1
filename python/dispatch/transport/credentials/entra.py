"""Access tokens of Microsoft Entra: by a client's secret, by a workload's federated token, by the managed identity of the machine.

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow; the order is that of Azure's own libraries.
"""

from __future__ import annotations

import os
from time import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from dispatch.transport.credentials.fetch import CredentialError, fetch_json
from dispatch.transport.credentials.keeper import Issued
from dispatch.transport.credentials.references import bearer, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatch.providers.identity import EntraIdentity

__all__ = ["EntraSource"]

_MACHINE = "http://169.254.169.254/metadata/identity/oauth2/token"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class EntraSource:
    """See the module."""

    def __init__(self, identity: EntraIdentity, environ: Mapping[str, str] = os.environ) -> None:
        self._identity = identity
        self._environ = environ
        self.name = f"Microsoft Entra ({identity.client_id or 'default identity'})"

    async def issue(self, timeout_s: float) -> Issued:
        """Have a token issued."""
        identity, environ = self._identity, self._environ
        tenant = identity.tenant or environ.get("AZURE_TENANT_ID", "")
        client = identity.client_id or environ.get("AZURE_CLIENT_ID", "")
        proof = self._proof()
        if tenant and client and proof:
            form = {"grant_type": "client_credentials", "client_id": client, "scope": identity.scope, **proof}
            url = f"{identity.authority.rstrip('/')}/{quote(tenant)}/oauth2/v2.0/token"
            return _issued(await fetch_json(url, timeout_s, method="POST", form=form))
        if identity.client_secret:
            raise CredentialError("a secret needs a tenant and a client_id")
        return await self._managed(client, timeout_s)

    def _proof(self) -> dict[str, str]:
        identity, environ = self._identity, self._environ
        if identity.client_secret:
            return {"client_secret": read(identity.client_secret, environ)}
        if environ.get("AZURE_CLIENT_SECRET"):
            return {"client_secret": environ["AZURE_CLIENT_SECRET"]}
        if path := environ.get("AZURE_FEDERATED_TOKEN_FILE"):
            return {"client_assertion_type": _ASSERTION, "client_assertion": read(f"file:{path}", environ)}
        return {}

    async def _managed(self, client: str, timeout_s: float) -> Issued:
        environ = self._environ
        query = {"resource": self._identity.scope.removesuffix("/.default")} | ({"client_id": client} if client else {})
        url, version, headers = _MACHINE, "2018-02-01", {"metadata": "true"}
        if environ.get("IDENTITY_ENDPOINT") and environ.get("IDENTITY_HEADER"):
            url, version, headers = environ["IDENTITY_ENDPOINT"], "2019-08-01", {"x-identity-header": environ["IDENTITY_HEADER"]}
        try:
            return _issued(await fetch_json(f"{url}?{urlencode({'api-version': version, **query})}", timeout_s, headers=headers))
        except CredentialError as error:
            raise CredentialError(f"neither a client's secret nor a managed identity: {error}") from None


def _issued(answer: Mapping[str, Any]) -> Issued:
    line = bearer(answer.get("access_token"))
    try:
        if "expires_in" in answer:
            return Issued(line, time() + float(answer["expires_in"]))
        return Issued(line, float(answer["expires_on"]))
    except (KeyError, TypeError, ValueError):
        raise CredentialError("the answer does not say when the token ends") from None
