"""What a request costs beside nginx's `proxy_pass`: `make bench-proxy`. The method is in `benches/method.md`."""
