"""Webhooks never reach this network by any spelling, and what they carry can be verified."""

from __future__ import annotations

import time

import openai
import pytest

from router.jobs.signing import headers, new_secret
from router.jobs.targets import judge, parse, parse_allowed
from stoker.errors import WebhookRefused

NOWHERE = parse_allowed([])
PRIVATE = [
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.9.9",
    "192.168.0.1",
    "169.254.169.254",
    "169.254.0.1",
    "100.64.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "100.100.100.200",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2002:a00:1::",
    "2001:0:0:0:0:0:80ff:fffe",
    "100::1",
]
UGLY = [
    "ftp://example.com",
    "file:///etc/passwd",
    "gopher://x",
    "javascript:alert(1)",
    "http://",
    "https:///path",
    "//example.com",
    "example.com",
    "http://user@example.com",
    "http://user:pw@example.com",
    "http://example.com:99999",
    "http://[::1",
    "http://exa%20mple.com\\@127.0.0.1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_no_private_address_by_any_spelling(address: str) -> None:
    with pytest.raises(WebhookRefused):
        judge(parse("https://hooks.example/x"), [address], NOWHERE)
    with pytest.raises(WebhookRefused):
        judge(parse("https://hooks.example/x"), ["93.184.216.34", address], NOWHERE)


@pytest.mark.parametrize("url", [*UGLY, "http://a b.example/", "http://x/" + "a" * 3000, "http://x/\r\nHost: y"])
def test_no_odd_url(url: str) -> None:
    with pytest.raises(WebhookRefused):
        parse(url)


def test_public_and_allowed_addresses_are_fine() -> None:
    target = parse("https://Hooks.example.:8443/a?b=c")
    assert target == ("https", "hooks.example", 8443, "/a?b=c")
    assert judge(target, ["93.184.216.34", "2606:2800:220:1::1"], NOWHERE) == "93.184.216.34"
    assert judge(target, ["127.0.0.1"], parse_allowed(["127.0.0.0/8"])) == "127.0.0.1"
    assert judge(target, ["::ffff:10.1.2.3"], parse_allowed(["10.0.0.0/8"])) == "::ffff:a01:203"
    assert judge(target, ["10.1.2.3"], parse_allowed(["hooks.example"])) == "10.1.2.3"
    with pytest.raises(WebhookRefused):
        judge(target, [], NOWHERE)


def test_the_openai_package_verifies_a_delivery() -> None:
    secret, body = new_secret(), b'{"type": "job.succeeded", "timestamp": "2026-01-01T00:00:00Z", "data": {"id": "job_1"}}'
    client = openai.OpenAI(api_key="x", webhook_secret=secret)
    client.webhooks.verify_signature(body, headers(secret, "evt_1", time.time(), body))
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.verify_signature(body + b" ", headers(secret, "evt_1", time.time(), body))
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.verify_signature(body, headers(new_secret(), "evt_1", time.time(), body))
