"""Where AWS's keys are found, in the order of AWS's own tools; where they are temporary, with their end.

The endpoint's own references; a profile that it names; else environment, web identity (EKS), the default profile, the container (ECS, EKS
pod identity), the machine (EC2). A profile may assume a role, or name a `credential_process`: so SSO is reached through AWS's own tool
(`aws configure export-credentials --format process`).
"""

from __future__ import annotations

import asyncio
import configparser
import os
import shlex
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dispatch.transport.credentials.fetch import CredentialError, fetch, fetch_json
from dispatch.transport.credentials.keeper import Issued
from dispatch.transport.credentials.references import read
from dispatch.transport.credentials.roles import assume, assume_by_token, sts_url
from dispatch.transport.credentials.sigv4 import AwsKeys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatch.providers.identity import AwsIdentity

__all__ = ["AwsSource"]

_MACHINE = "http://169.254.169.254"
_CONTAINER = "http://169.254.170.2"
_MACHINE_S = 1.0
"""The machine's service answers in milliseconds, or there is none."""


class AwsSource:
    """See the module."""

    def __init__(self, identity: AwsIdentity, environ: Mapping[str, str] = os.environ) -> None:
        self._identity = identity
        self._environ = environ
        self.name = f"AWS ({f'profile {identity.profile}' if identity.profile else identity.access_key_id or 'default keys'})"

    async def issue(self, timeout_s: float) -> Issued:
        """Find keys, or have some issued."""
        identity = self._identity
        environ = self._environ
        if identity.access_key_id:
            token = read(identity.session_token, environ) if identity.session_token else ""
            return Issued(AwsKeys(read(identity.access_key_id, environ), read(identity.secret_access_key, environ), token))
        if identity.profile:
            return await self._required(identity.profile, timeout_s)
        if environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY"):
            return _keys(environ, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        if environ.get("AWS_WEB_IDENTITY_TOKEN_FILE") and environ.get("AWS_ROLE_ARN"):
            name = environ.get("AWS_ROLE_SESSION_NAME", "")
            return await self._web_identity(environ["AWS_ROLE_ARN"], name, environ["AWS_WEB_IDENTITY_TOKEN_FILE"], timeout_s)
        if environ.get("AWS_PROFILE"):
            return await self._required(environ["AWS_PROFILE"], timeout_s)
        found = await self._profile("default", timeout_s)
        if found is not None:
            return found
        if environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") or environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
            return await self._container(timeout_s)
        return await self._machine(timeout_s)

    @property
    def _region(self) -> str:
        """Of the token service."""
        return self._environ.get("AWS_REGION") or self._identity.region

    async def _required(self, profile: str, timeout_s: float, seen: tuple[str, ...] = ()) -> Issued:
        found = await self._profile(profile, timeout_s, seen)
        if found is None:
            raise CredentialError(
                f"the profile {profile!r} has neither keys nor a role nor a credential_process (for SSO: aws configure "
                "export-credentials --format process)"
            )
        return found

    async def _profile(self, name: str, timeout_s: float, seen: tuple[str, ...] = ()) -> Issued | None:
        found: dict[str, str] = {}
        home = Path(self._environ.get("HOME") or "/")
        config = Path(self._environ.get("AWS_CONFIG_FILE") or home / ".aws" / "config")
        credentials = Path(self._environ.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws" / "credentials")
        for path, section in ((config, name if name == "default" else f"profile {name}"), (credentials, name)):
            found |= _section(path, section)
        # A profile that names itself as its source has keys of its own beside its role.
        if found.get("role_arn") and name not in seen:
            return await self._role(found, timeout_s, (*seen, name))
        if found.get("aws_access_key_id") and found.get("aws_secret_access_key"):
            return _keys(found, "aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        command = found.get("credential_process")
        return await _process(command) if command else None

    async def _web_identity(self, role: str, name: str, file: str, timeout_s: float) -> Issued:
        token = read(f"file:{file}", self._environ)
        return _issued(await assume_by_token(role, name, token, sts_url(self._region, self._environ), timeout_s))

    async def _role(self, found: Mapping[str, str], timeout_s: float, seen: tuple[str, ...]) -> Issued:
        """Keys of the role that a profile assumes, with a token or with the keys of another profile, of the environment or of a service."""
        if found.get("web_identity_token_file"):
            name = found.get("role_session_name", "")
            return await self._web_identity(found["role_arn"], name, found["web_identity_token_file"], timeout_s)
        source, place = found.get("source_profile"), found.get("credential_source", "").lower()
        if source:
            own = await self._required(source, timeout_s, seen)
        elif place == "environment":
            own = _keys(self._environ, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        elif place in {"ecscontainer", "ec2instancemetadata"}:
            own = await (self._container if place == "ecscontainer" else self._machine)(timeout_s)
        else:
            raise CredentialError(f"the role {found['role_arn']} needs a source_profile, a credential_source or a web_identity_token_file")
        return _issued(await assume(own.value, found, self._region, sts_url(self._region, self._environ), timeout_s))

    async def _container(self, timeout_s: float) -> Issued:
        environ = self._environ
        relative = environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        url = f"{_CONTAINER}{relative}" if relative else environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
        token = environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
        if path := environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
            token = read(f"file:{path}", environ)
        return _issued(await fetch_json(url, timeout_s, headers={"authorization": token} if token else None))

    async def _machine(self, timeout_s: float) -> Issued:
        environ = self._environ
        if environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            raise CredentialError("no keys in the environment, the files or the container")
        root = (environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or _MACHINE).rstrip("/")
        patience_s = min(timeout_s, _MACHINE_S)
        try:
            ttl = {"x-aws-ec2-metadata-token-ttl-seconds": "21600"}
            token = (await fetch(f"{root}/latest/api/token", patience_s, method="PUT", headers=ttl)).decode("ascii", "replace")
            headers = {"x-aws-ec2-metadata-token": token}
            path = f"{root}/latest/meta-data/iam/security-credentials/"
            role = (await fetch(path, patience_s, headers=headers)).decode("ascii", "replace").split("\n", 1)[0].strip()
            return _issued(await fetch_json(path + role, patience_s, headers=headers))
        except CredentialError as error:
            raise CredentialError(f"no keys in the environment, the files or the container, and of this machine: {error}") from None


def _section(path: Path, name: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        return {}
    except configparser.Error:
        raise CredentialError(f"{path} is no file of profiles") from None
    return dict(parser[name]) if parser.has_section(name) else {}


def _keys(found: Mapping[str, str], key: str, secret: str, token: str) -> Issued:
    return Issued(AwsKeys(found[key].strip(), found[secret].strip(), found.get(token, "").strip()))


async def _process(command: str) -> Issued:
    program, *arguments = shlex.split(command)
    try:
        made = await asyncio.create_subprocess_exec(
            program, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError as error:
        raise CredentialError(f"credential_process: {error.strerror or 'cannot be run'}") from None
    try:
        output, _ = await made.communicate()
    finally:
        if made.returncode is None:
            made.kill()
    try:
        tree: Any = msgspec.json.decode(output)
    except (msgspec.DecodeError, UnicodeDecodeError):
        tree = None
    if made.returncode or not isinstance(tree, dict):
        raise CredentialError(f"credential_process ended with {made.returncode} and {'no ' if not isinstance(tree, dict) else ''}JSON")
    return _issued(tree)


def _issued(tree: dict[str, Any]) -> Issued:
    """Keys in the words of AWS's services: `Token` or `SessionToken`, the end as a date or as seconds."""
    key, secret = tree.get("AccessKeyId"), tree.get("SecretAccessKey")
    if not isinstance(key, str) or not isinstance(secret, str):
        raise CredentialError("the answer has no keys")
    ends = tree.get("Expiration")
    try:
        expires_s = float("inf") if ends is None else _seconds(ends)
    except ValueError:
        raise CredentialError("the keys' end is no date") from None
    return Issued(AwsKeys(key, secret, str(tree.get("Token") or tree.get("SessionToken") or "")), expires_s)


def _seconds(ends: str | float) -> float:
    return datetime.fromisoformat(ends).timestamp() if isinstance(ends, str) else float(ends)
