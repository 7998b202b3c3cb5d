"""An address to send to holds secrets, whatever its form, and none of them is shown."""

from __future__ import annotations

import pytest

from beatctl.activities.notify.addresses import secrets_in, shown, with_fields, without_secrets


@pytest.mark.parametrize(
    ("url", "may_be_shown"),
    [
        ("slack://T1/A1/secret/#general", "slack://…"),
        ("https://hooks.slack.com/services/T1/A1/secret", "https://hooks.slack.com/…"),
        ("ntfy://topic-nobody-knows", "ntfy://…"),
        ("json://user:pass@ci.example.org:8080/path", "json://ci.example.org:8080/…"),
        ("json://ci.example.org", "json://ci.example.org"),
        ("jsons://[2001:db8::1]:443/x", "jsons://[2001:db8::1]:443/…"),
        ("json://user:pa/ss@ci.example.org", "json://…"),
        ("json://user:12/ss@ci.example.org", "json://…"),
        ("mailto://me:pa@ss@example.org", "mailto://…"),
        ("mailtos://me:word@example.org", "mailtos://example.org"),
        ("mailto://token?to=a@b.c", "mailto://…"),
        ("JSON://HOST/x", "json://HOST/…"),
        ("only-a-token", "…"),
        ("a very long scheme indeed://x", "…"),
    ],
)
def test_of_an_address_its_scheme_is_shown_and_its_host_where_that_is_none_of_its_secrets(
    url: str, may_be_shown: str
) -> None:
    assert shown(url) == may_be_shown


def test_what_a_service_says_is_told_without_what_the_address_holds() -> None:
    url = "json://user:hunter22@ci.example.org:8080/path-1/p%20q%20r?+X-Key=abcd1234"
    said = "POST json://ci.example.org:8080/path-1/p q r failed for user, key abcd1234 (hunter22)\n at ci.example.org"
    told = without_secrets(said, url)
    assert not [secret for secret in ("path-1", "p q r", "user", "abcd1234", "hunter22") if secret in told]
    assert "ci.example.org" in told
    assert "\n" not in told
    assert all(secret not in shown(url) for secret in secrets_in(url))


def test_a_webhook_gets_the_events_fields_beside_the_text_and_other_services_do_not() -> None:
    fields = {"event": "best", "loop": "k3f9", "best": {"iteration": 3, "score": 4.5}, "baseline": None, "reason": None}
    assert with_fields("slack://T/A/B", fields) == "slack://T/A/B"
    assert with_fields("json://host/x", fields) == "json://host/x?%3Aevent=best&%3Aloop=k3f9&%3Abest=4.5"
    assert with_fields("json://host?a=b", fields).startswith("json://host?a=b&%3Aevent=best")
