"""Credentials that are made, renewed and signed with: AWS's keys, Google's and Microsoft's tokens.

An endpoint says who it is (`providers.identity`); a *source* knows where its credential comes from; a *keeper* has it renewed ahead of
time, so that no request waits for it but the first; `CredentialedOrigin` puts it into requests as they leave. Nothing here shows a secret:
not in a repr, not in an error, not in a log.
"""

from __future__ import annotations

__all__: list[str] = []
