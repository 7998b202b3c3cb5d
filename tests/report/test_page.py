"""The page `report --html` writes: it needs nothing but itself, and what agents wrote stays text."""

from __future__ import annotations

import json
import os
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from beatctl.activities.home import Home
from beatctl.activities.ledger import Ledger
from beatctl.activities.records import AgentRow
from beatctl.cli.report.diffs import KEPT_EACH, Diffs, Shown, collected, fitted, readable, weight
from beatctl.cli.report.model import made
from beatctl.cli.report.page import page
from beatctl.cli.report.picture import drawn
from tests.report.ledgers import STARTED, Made, noisy, optimized, pipeline, retried, row, with_snapshots
from tests.support import Beatctl

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7 * 7 }} "
HOSTILE += "\t\x1b[31m\u202e 👩‍💻 \"quoted\" & 'so'"
VOID = {"meta", "input", "br", "img", "link", "hr"}


class Read(HTMLParser):
    """A page's tags, attributes and the text outside of script and style; fails on tags that don't match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style"):
            self.scripts.append(data)
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def data(self) -> Any:
        return json.loads(next(script for script in self.scripts if script.startswith('{"')))


def assert_needs_no_network(found: Read) -> None:
    for tag, attributes in found.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "img")
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
        assert not [name for name in attributes if name.startswith("on")]
    assert not [script for script in found.scripts if "@import" in script or "url(" in script]
    policy = next(one["content"] for tag, one in found.tags if one.get("http-equiv") == "Content-Security-Policy")
    assert (policy or "").startswith("default-src 'none';")


def read(loop: Made, diffs: Diffs | None = None) -> Read:
    report = made(loop.status, loop.spec, loop.rows)
    return Read(page(report, loop.rows, diffs or Diffs({}), STARTED))


def ledger_rows(found: Read) -> list[dict[str, str | None]]:
    return [attributes for tag, attributes in found.tags if tag == "tr" and "data-v" in attributes]


@pytest.mark.parametrize(
    "loop",
    [
        noisy(60),
        retried(["exit code 1"] * 3, passed=True),
        retried([], passed=False, state="running", outcome=None, best=None),
        pipeline(),
        optimized([row(0, "baseline", 5.0)]),
        optimized([], state="running", outcome=None),
        optimized([row(0, "baseline", 5.0), *(row(number, "discard", 5.0, parent=0) for number in range(1, 9))]),
        optimized([row(0, "baseline"), row(1, "crash", parent=0)], outcome="failed", reason="no-baseline"),
        optimized([row(0, "baseline", 1e308), row(1, "keep", -1e308, parent=0), row(2, "keep", 5e-324, parent=1)]),
    ],
)
def test_every_kind_of_loop_has_a_page_that_needs_no_network(loop: Made) -> None:
    found = read(loop)
    assert_needs_no_network(found)
    assert len(ledger_rows(found)) == len(loop.rows)
    points = [attributes for tag, attributes in found.tags if tag == "use" and "data-n" in attributes]
    wanted = len(loop.rows) - (loop.status.strategy == "retry")
    assert len(points) == wanted
    for point in points:
        for at in (point["x"], point["y"]):
            assert at is not None
            assert 0 <= float(at.removesuffix("%")) <= 100


def test_what_agents_and_users_wrote_stays_text() -> None:
    agent = AgentRow(name=HOSTILE, model=HOSTILE, cost_usd=0.1)
    rows = [
        row(0, "baseline", 5.0, snapshot="a" * 40),
        row(1, "keep", 4.0, parent=0, summary=HOSTILE, reason=HOSTILE, agent=agent),
        row(2, "crash", parent=1, summary=HOSTILE, reason=HOSTILE, agent=agent),
        row(3, "discard", 5.0, parent=1, summary="x" * 5000 + HOSTILE, agent=agent),
    ]
    loop = optimized(rows, goal=HOSTILE, agent=HOSTILE, detail=HOSTILE, directory=HOSTILE, warnings=[HOSTILE])
    loop.spec = {"evaluator": HOSTILE, "check": HOSTILE, "steps": [HOSTILE]}
    diff = Shown(readable(HOSTILE + "\n"), 10, True)
    found = read(loop, Diffs({1: diff, 2: diff, 3: Shown("", 9, True)}, HOSTILE))
    assert_needs_no_network(found)
    assert [tag for tag, _ in found.tags].count("script") == 2
    assert "<script>alert(1)</script><img src=x onerror=alert(2)> {{ 7 * 7 }}" in found.text
    assert "\x1b" not in found.text
    assert "\u202e" not in found.text
    assert found.data["diffs"]["2"][0] == diff.text
    tries = retried([HOSTILE, HOSTILE], passed=True)
    assert_needs_no_network(read(tries))


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Made]:
    """700 experiments, each with a real commit."""
    folder = tmp_path_factory.mktemp("night")
    home = Home(folder / "state")
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    environ |= {"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.com"}
    environ |= {"GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.com"}
    return home, with_snapshots(noisy(700), home, folder / "repo", environ)


def test_seven_hundred_experiments_with_their_diffs_are_one_small_page(night: tuple[Home, Made]) -> None:
    home, loop = night
    report = made(loop.status, loop.spec, loop.rows)
    diffs = collected(home.loop(loop.status.id), report, loop.rows)
    assert diffs.problem == ""
    text = page(report, loop.rows, diffs, STARTED)
    assert len(text.encode()) < 3_000_000
    found = Read(text)
    assert_needs_no_network(found)
    assert len(ledger_rows(found)) == 701
    for kept in report.kept:
        assert f"// dropped in {kept.iteration}: </script> 'é'" in diffs.shown[kept.iteration].text
        assert not diffs.shown[kept.iteration].cut
    others = {number for number in diffs.shown if number not in {kept.iteration for kept in report.kept}}
    assert {int(number) for number in found.data["diffs"]} == others
    assert len(others) > 600


def test_a_page_is_made_without_diffs_when_folder_or_repository_is_gone(night: tuple[Home, Made], place: Path) -> None:
    home, loop = night
    report = made(loop.status, loop.spec, loop.rows)
    gone = collected(Home(place).loop("k3f9"), report, loop.rows)
    assert gone.shown == {}
    assert "can't be shown" in Read(page(report, loop.rows, gone, STARTED)).text
    state = Path(shutil.copytree(home.root, place / "state"))
    for note in (state / "loops" / "k3f9" / "workspace").glob("state-*"):
        note.write_bytes(note.read_bytes().replace(loop.status.directory.encode(), str(place / "removed").encode()))
    removed = collected(Home(state).loop("k3f9"), report, loop.rows)
    assert removed.shown == {}
    assert "can't be shown" in removed.problem


def test_long_diffs_are_cut_alike_and_short_ones_are_whole() -> None:
    long = "".join(f"+line {number} <&>\n" for number in range(20_000))
    texts = {1: Shown("+short\n", 7, False), 2: Shown(long, len(long), False), 3: Shown(long, len(long), False)}
    found = fitted(texts, 100_000, KEPT_EACH)
    assert found[1] == Shown("+short\n", 7, False)
    for number in (2, 3):
        assert found[number].cut
        assert found[number].text.endswith("\n")
        assert 40_000 < weight(found[number].text) <= 50_000
    assert sum(weight(diff.text) for diff in found.values()) <= 100_000
    crowd = fitted(dict.fromkeys(range(5000), Shown("x" * 5000, 5000, False)), 100_000, KEPT_EACH)
    assert all(diff.cut or diff.text for diff in crowd.values())
    assert sum(weight(diff.text) for diff in crowd.values()) <= 100_000


def test_thousands_of_points_are_thinned_and_the_kept_ones_stay() -> None:
    loop = noisy(5000)
    report = made(loop.status, loop.spec, loop.rows)
    picture = drawn(report, loop.rows)
    assert len(picture.points) < 3000
    assert picture.left_out == 5001 - len(picture.points)
    assert {kept.iteration for kept in report.kept} <= {point.iteration for point in picture.points}


class TestWritten:
    """The real command on a made ledger: where the files go."""

    @pytest.fixture
    def loop(self, beatctl: Beatctl, place: Path) -> Made:
        loop = noisy(150)
        (place / "shop").mkdir()
        loop.status = loop.status.model_copy(update={"directory": str(place / "shop")})
        loop.add_to(Ledger(Home(beatctl.home).ledger))
        return loop

    def test_a_file_is_written_whole_and_an_older_report_replaced(
        self, beatctl: Beatctl, place: Path, loop: Made
    ) -> None:
        for _ in range(2):
            done = beatctl("report", "k3f9", "--html", "k.html", "--tsv", "k.tsv", cwd=place, expect=0)
            assert done.stdout == ""
            assert f"{place / 'k.html'} (" in done.stderr
        assert_needs_no_network(Read((place / "k.html").read_text()))
        assert (place / "k.tsv").read_text() == beatctl("report", "k3f9", "--tsv", cwd=place).stdout
        assert len((place / "k.tsv").read_text().splitlines()) == 152
        assert {path.name for path in place.iterdir()} == {"home", "shop", "state", "k.html", "k.tsv"}

    def test_nothing_of_the_users_is_written_over(self, beatctl: Beatctl, place: Path, loop: Made) -> None:
        (place / "notes.html").write_text("mine")
        for words in (["--html", "notes.html"], ["--tsv", "notes.html"], ["--html", "shop"], ["--html", "no/k.html"]):
            done = beatctl("report", "k3f9", *words, cwd=place, expect=2)
            assert done.stdout == ""
            assert len(done.stderr.splitlines()) == 1
        assert (place / "notes.html").read_text() == "mine"
        running = loop.status.model_copy(update={"state": "running", "outcome": None, "version": 9})
        Ledger(Home(beatctl.home).ledger).write(running)
        done = beatctl("report", "k3f9", "--html", "shop/k.html", cwd=place, expect=2)
        assert "taken for an edit" in done.stderr
        assert list((place / "shop").iterdir()) == []

    def test_a_pipe_gets_the_page_and_stays_a_pipe(self, beatctl: Beatctl, place: Path, loop: Made) -> None:
        pipe = place / "pipe"
        os.mkfifo(pipe)
        running = beatctl.popen("report", "k3f9", "--html", "pipe", cwd=place)
        assert_needs_no_network(Read(pipe.read_text()))
        assert running.wait(timeout=60) == 0
        assert pipe.is_fifo()

    def test_stdout_holds_one_thing(self, beatctl: Beatctl, place: Path, loop: Made) -> None:
        facts = beatctl("report", "--json", "--html", "k.html", cwd=place / "shop", expect=0)
        assert facts.json["outcome"] == "improved"
        assert facts.json["next"][0]["command"] == "beatctl diff k3f9"
        assert beatctl("report", "--json", "--tsv", cwd=place / "shop", expect=2).stdout == ""
        html = beatctl("report", "k3f9", "--html", "-", cwd=place, expect=0)
        assert_needs_no_network(Read(html.stdout))
        assert "No loop" in beatctl("report", "zzz", "--tsv", cwd=place, expect=2).stderr
        assert "\x1b" not in beatctl("report", "k3f9", cwd=place, expect=0).stdout
