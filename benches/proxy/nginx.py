"""nginx twice: as the upstream that answers everything the same, and as the yardstick that forwards to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benches.proxy.rows import Kind

__all__ = ["ANSWER", "command", "mock_config", "plain_config", "yardstick_config"]

ANSWER = json.dumps(
    {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion",
        "created": 1741569952,
        "model": "gpt-4o-mini",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "A robot who learns to paint starts with one blue line. " * 4, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 19, "completion_tokens": 44, "total_tokens": 63, "prompt_tokens_details": {"cached_tokens": 0}},
    },
    separators=(",", ":"),
).encode()
"""A short answer of the usual shape, so that the cost of a request is not the cost of its bytes."""

# One worker, as the sidecar has. Bodies stay in memory (4 MiB holds the largest row), connections are never recycled: both would be
# costs of the setting and not of forwarding.
FRAME = """
worker_processes 1;
daemon off;
pid {folder}/{name}.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  default_type application/json;
  keepalive_requests 100000000;
  keepalive_timeout 600s;
  client_max_body_size 64m;
  client_body_buffer_size 4m;
  client_body_temp_path {folder}/{name}-body;
  proxy_temp_path {folder}/{name}-proxy;
  fastcgi_temp_path {folder}/{name}-fastcgi;
  uwsgi_temp_path {folder}/{name}-uwsgi;
  scgi_temp_path {folder}/{name}-scgi;
{servers}
}}
"""

# `return` alone answers before the body is read, which no provider does. The mirror reads the whole body first; `empty_gif` then refuses
# the POST without touching a file, and that refusal becomes the answer. A body of less than 1,000 bytes comes with its head in one read, so
# there the short way is right, and leaves more of the core to the load.
MOCK = """
  server {{
    listen 127.0.0.1:{plain} backlog=4096;
    listen 127.0.0.1:{tls} ssl backlog=4096;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.key;
    ssl_session_cache shared:mock:4m;
    if ($content_length ~ "^[0-9]{{1,3}}$") {{ return 200 '{answer}'; }}
    location / {{ mirror /read; empty_gif; error_page 405 =200 @answer; }}
    location = /read {{ internal; return 204; }}
    location @answer {{ return 200 '{answer}'; }}
  }}
"""

YARDSTICK = """
  upstream plain {{ server 127.0.0.1:{plain}; keepalive 256; keepalive_requests 100000000; }}
  upstream tls {{ server 127.0.0.1:{tls}; keepalive 256; keepalive_requests 100000000; }}
  upstream stream {{ server 127.0.0.1:{stream}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{listen_plain};
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    location / {{ proxy_pass http://plain; }}
  }}
  server {{
    listen 127.0.0.1:{listen_tls};
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_ssl_verify on;
    proxy_ssl_trusted_certificate {folder}/ca.pem;
    proxy_ssl_name localhost;
    proxy_ssl_session_reuse on;
    location / {{ proxy_pass https://tls; }}
  }}
  server {{
    listen 127.0.0.1:{listen_stream};
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_buffering off;
    proxy_read_timeout 600s;
    location / {{ proxy_pass http://stream; }}
  }}
"""


def mock_config(folder: Path, *, plain: int, tls: int) -> Path:
    """Write the configuration of the upstream: the same answer to everything, in clear on one port and under TLS on the other."""
    servers = MOCK.format(folder=folder, plain=plain, tls=tls, answer=ANSWER.decode())
    return write(folder, "mock", servers)


def plain_config(folder: Path, *, plain: int) -> Path:
    """Write the configuration of the upstream in clear alone, which needs no certificate."""
    answer = ANSWER.decode()
    return write(folder, "mock", f"  server {{ listen 127.0.0.1:{plain} backlog=4096; location / {{ return 200 '{answer}'; }} }}\n")


def yardstick_config(folder: Path, *, upstreams: Mapping[Kind, int], listen: Mapping[Kind, int]) -> Path:
    """Write the configuration of the yardstick: one port for each kind of upstream (`plain`, `tls`, `stream`)."""
    ports = {str(kind): port for kind, port in upstreams.items()}
    ports.update({f"listen_{kind}": port for kind, port in listen.items()})
    return write(folder, "yardstick", YARDSTICK.format(folder=folder, **ports))


def write(folder: Path, name: str, servers: str) -> Path:
    """Put `servers` into the frame that both share."""
    path = folder / f"{name}.conf"
    path.write_text(FRAME.format(folder=folder, name=name, servers=servers))
    return path


def command(nginx: str, config: Path) -> list[str]:
    """Build the command line that runs `config` in the foreground."""
    return [nginx, "-p", str(config.parent), "-e", "stderr", "-c", str(config)]
