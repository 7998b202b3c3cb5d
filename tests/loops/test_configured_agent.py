"""A loop with an agent from the user's configuration: costs as estimates, versions as they change, secrets kept out."""

from __future__ import annotations

from pathlib import Path

from tests.agents.test_resolve import program
from tests.loops.conftest import Loops

CONFIG = """\
[agents.mine]
command = "{program} {{prompt_file}}"
model = ["--model", "{{model}}"]
version = ["--version"]

[agents.mine.output]
match = {{ type = "result" }}
message = "said"
input_tokens = "sent"
output_tokens = "back"
"""
PRICES = '[models]\n"tiny-*" = { input = 0.4, output = 1 }\n'
BODY = """\
if [ "$1" = --version ]; then echo mine 1.0.0; exit; fi
echo $(($(cat n) - 1)) > n
echo "{\\"type\\": \\"result\\", \\"said\\": \\"used $MINE_API_KEY as $3\\", \\"sent\\": 1000000, \\"back\\": 200000}"
sed "s/mine 1/mine 2/" "$0" > "$0.new" && chmod +x "$0.new" && mv "$0.new" "$0"
"""
SECRET = "0123456789-secret"


def test_a_configured_agents_loop_tells_an_estimate_its_version_and_no_secret(loops: Loops, place: Path) -> None:
    (place / "config.toml").write_text(CONFIG.format(program=program(place / "mine", BODY)))
    (place / "prices.toml").write_text(PRICES)
    env = {"BEATCTL_CONFIG": str(place / "config.toml"), "MINE_API_KEY": SECRET}

    def told(*words: str) -> str:
        said = loops.beatctl(*words, cwd=loops.repository.folder, expect=0, env=env)
        return said.stdout + said.stderr

    loop = "lower n", "--eval", "cat n", "--minimize", "--check", "echo $MINE_API_KEY; test $(cat n) -gt 48"
    status = loops.start(*loop, "--agent", "mine", "-m", "tiny-1", "-n", "2", "--max-cost", "5", expect=0, env=env)
    assert (status["cost_usd"], status["cost_estimated"], status["tokens"]) == (1.2, True, 2400000)
    assert "--max-cost" not in status["said"]
    rows = loops.rows(status["id"])
    assert [row["agent"]["version"] for row in rows[1:]] == ["2.0.0", "2.0.0"]
    assert (
        rows[1]["agent"] | {"name": "mine", "model": "tiny-1", "cost_usd": 0.6, "cost_estimated": True}
        == (rows[1]["agent"])
    )
    assert rows[1]["summary"] == "used *** as tiny-1"
    assert '"***"' in rows[2]["reason"]
    assert "about $1.20 of $5.00" in told("status", status["id"])
    assert "~$0.60" in told("show", status["id"], "1")
    assert "~$1.20" in told("list")
    told("report", status["id"], "--html", str(place / "report.html"))
    report = told("report", status["id"])
    page = (place / "report.html").read_text()
    for text in (report, page):
        assert "~$1.20" in text
        assert "price table" in text
    shown = told("show", status["id"], "2"), told("logs", status["id"]), report, page
    assert all("***" in text and SECRET not in text for text in shown)
    assert SECRET not in str(rows) + told("show", status["id"], "1")
