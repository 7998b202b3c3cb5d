"""The report of a loop that really ran: the figures are the ledger's, the diffs the experiments' own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.loops.conftest import Repository
from tests.report.test_page import Read, assert_needs_no_network
from tests.support import Beatctl

AGENT = """
case $i in
  1) echo 40 > n; echo '<b>forty</b> & less' ;;
  2) echo 41 > n; echo 'not better' ;;
  3) exit 7 ;;
  4) echo 'no number' > n; echo 'broke it' ;;
  5) echo 30 > n; echo 'thirty' ;;
esac
"""


@pytest.fixture
def repository(place: Path, environment: dict[str, str]) -> Repository:
    return Repository(place / "repo", environment)


def test_a_morning_after_with_its_figures_and_diffs(
    shared_beatctl: Beatctl, repository: Repository, place: Path
) -> None:
    words = ["lower n", "--eval", "cat n", "--minimize", "--agent", repository.agent(AGENT), "-n", "5", "--json"]
    started = shared_beatctl("start", *words, cwd=repository.folder, expect=0).json
    loop, folder = started["id"], repository.folder

    text = shared_beatctl("report", cwd=folder, expect=0).stdout
    assert text.startswith(f"{loop}  improved")
    for part in ("50 → 30  -40.0%  in #5", "2 keep, 1 discard, 2 crash", "50%  <b>forty</b> & less", "50%  thirty"):
        assert part in text
    assert f"beatctl diff {loop}" in text
    assert "\x1b" not in text

    facts = shared_beatctl("report", loop[:3], "--json", cwd=folder, expect=0).json
    times = facts["times"]
    parts = sum(times[name] for name in ("agent_s", "evaluator_s", "rest_s", "waiting_s", "under_way_s"))
    assert parts == pytest.approx(times["total_s"], abs=0.01)
    assert [kept["iteration"] for kept in facts["kept"]] == [1, 5]
    assert [miss["iteration"] for miss in facts["near_misses"]] == [2]

    rows = shared_beatctl("show", loop, "--json", cwd=folder, expect=0).json
    table = shared_beatctl("report", loop, "--tsv", "-", cwd=folder, expect=0).stdout.splitlines()
    assert [line.split("\t")[:3] for line in table[1:]] == [
        [row["snapshot"][:7], score, status]
        for row, score, status in zip(
            rows,
            ("50", "40", "41", "", "", "30"),
            ("keep", "keep", "discard", "crash", "crash", "keep"),
            strict=True,
        )
    ]

    page = place / "report.html"
    shared_beatctl("report", loop, "--html", str(page), cwd=folder, expect=0)
    found = Read(page.read_text())
    assert_needs_no_network(found)
    assert "-50 +40" in found.text
    assert "+41\n" in found.data["diffs"]["2"][0]
    assert "+no number\n" in found.data["diffs"]["4"][0]

    shutil.rmtree(folder)
    shutil.rmtree(shared_beatctl.home / "loops" / loop)
    text = shared_beatctl("report", loop, "--html", str(page), cwd=place, expect=0).stderr
    assert str(page) in text
    assert "50 → 30" in shared_beatctl("report", loop, cwd=place, expect=0).stdout
    assert "can't be shown" in Read(page.read_text()).text
