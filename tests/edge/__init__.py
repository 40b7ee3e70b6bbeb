"""Tests of what stands between the network and the services: TLS, proxies, limits, restarts."""
