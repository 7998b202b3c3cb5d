"""Secrets of the environment stay out of what is stored and shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from beatctl.activities.masking import cut_off, masked, secrets_of
from beatctl.activities.run_files import TryFiles
from beatctl.cli.live.seen import Running, Words
from beatctl.cli.logs import Output, _Printer

ENVIRON = {
    "OPENAI_API_KEY": "sk-0123456789",
    "GITHUB_TOKEN": 'gh"p\\0123',
    "db_password": "hunter2-hunter2",
    "AWS_SECRET": "short",
    "GOOGLE_APPLICATION_CREDENTIALS": "/home/ada/credentials.json",
    "BEATCTL_MAX_TOKENS": "50000000",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer 0123",
    "HOME": "/home/ada-0123456789",
    "DEPLOY_KEY": "-----BEGIN KEY-----\nMIIEowIBAAKCAQ\n-----END KEY-----",
}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key sk-0123456789, twice sk-0123456789", "key ***, twice ***"),
        ("login with hunter2-hunter2!", "login with ***!"),
        ('{"t": "gh\\"p\\\\0123"} gh"p\\0123', '{"t": "***"} ***'),
        ("MIIEowIBAAKCAQ", "***"),
        ("sent with authorization=Bearer 0123", "sent with ***"),
        ("short /home/ada/credentials.json 50000000 /home/ada-0123456789 safe.directory", None),
        ("it was cut off: sk-01234567…", "it was cut off: ***…"),
        ("a word that ends as one begins: sk", None),
    ],
)
def test_a_secrets_value_is_not_shown_and_nothing_else_is_hidden(text: str, shown: str | None) -> None:
    assert masked(text, secrets_of(ENVIRON)) == (text if shown is None else shown)


def test_a_text_that_ends_within_a_secret_is_held_back_whole() -> None:
    assert cut_off("said sk-0", ["sk-0123456789"]) == 4
    assert cut_off("said sk-0123456789", ["sk-0123456789"]) == 0
    assert cut_off("ss", ["sss-1", "s-2"]) == 2
    assert cut_off("", ["sss-1"]) == 0


def test_logs_hide_a_secret_that_comes_in_two_pieces(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    files = TryFiles(tmp_path / "agent", 1)
    files.stdout.parent.mkdir(parents=True, exist_ok=True)
    printer = _Printer(["sk-0123456789"])
    written = b""
    for piece in (b"a sk-01234", b"56789 b sk-", b"0 c s"):
        written += piece
        files.stdout.write_bytes(written)
        printer.print_new([Output(1, files)])
    printer.print_new([Output(1, files)], whole=True)
    assert capfdbinary.readouterr().out == b"==> #1 agent <==\na *** b sk-0 c s"
    assert files.stdout.read_bytes() == written


def test_the_live_views_line_about_an_agent_hides_a_secret(tmp_path: Path) -> None:
    files = TryFiles(tmp_path / "agent", 1)
    files.stdout.parent.mkdir(parents=True, exist_ok=True)
    files.stdout.write_text("calling with sk-0123456789 now\n")
    child = Running(1, "agent", "my-agent", 0.0, files)
    assert Words({"my-agent": "command"}, str(tmp_path), ["sk-0123456789"]).of(child) == "calling with *** now"
