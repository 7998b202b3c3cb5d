"""Takes the documents' pictures anew: `make pictures`. Needs tmux and Chromium; runs a real loop of a minute or two."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from beatctl.worker.server_program import find_or_fetch
from tests.docs.picture_project import START, make
from tests.support import Beatctl, clean_environment, remove_tree, wait_until

DOCS = Path(__file__).parents[2] / "docs"
COLUMNS, ROWS = 80, 19
SHOWN_AT = 17
"""The iteration that the live view is taken in."""
_COLOURS = [(224, 108, 117), (152, 195, 121), (229, 192, 123), (97, 175, 239), (198, 120, 221), (86, 182, 194)]
_THEME = TerminalTheme(
    (24, 26, 31),
    (215, 218, 224),
    [(40, 44, 52), *_COLOURS, (171, 178, 191)],
    [(92, 99, 112), *_COLOURS, (255, 255, 255)],
)
# Rich's own would fetch a font from the network.
_SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
 font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def main() -> None:
    chromium = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
    if not chromium or not shutil.which("tmux"):
        sys.exit("make pictures needs tmux and Chromium on PATH.")
    folder = Path(tempfile.mkdtemp(prefix="bt-pictures-")).resolve()
    project = folder / "home" / "dashboard"
    environ = clean_environment(folder, str(find_or_fetch(os.environ, print)))
    beatctl = Beatctl({**environ, "PICTURE_PAUSE_S": "0.9"})
    try:
        project.mkdir()
        make(project)
        DOCS.joinpath("live-view.svg").write_text(live_view(beatctl, project), encoding="utf-8")
        beatctl("report", "--html", str(folder / "report.html"), cwd=project, expect=0)
        line = [chromium, "--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1200,1000"]
        picture = f"--screenshot={DOCS / 'report.png'}"
        subprocess.run([*line, picture, f"file://{folder}/report.html"], check=True, capture_output=True)
    finally:
        beatctl.close()
        remove_tree(folder)


def live_view(beatctl: Beatctl, project: Path) -> str:
    """Start the loop in a real terminal, and give a frame of its live view as an SVG; returns when the loop is over."""
    command = shlex.join([str(beatctl.program), *START])
    tmux = ["tmux", "-L", f"pictures-{os.getpid()}", "-f", "/dev/null"]

    def do(*words: str) -> str:
        return subprocess.run(
            [*tmux, *words], cwd=project, env=beatctl.environ, check=True, capture_output=True, text=True
        ).stdout

    do("new-session", "-d", "-s", "s", "-x", str(COLUMNS), "-y", str(ROWS), f"COLORTERM=truecolor {command}; sleep 600")
    try:

        def frame() -> str:
            found = do("capture-pane", "-p", "-e", "-t", "s")
            shown = f"#{SHOWN_AT} " in found and f"#{SHOWN_AT - 1} " in found
            return found if shown and re.search(r"\| .*\w", found) else ""

        ansi = wait_until(frame, "the frame", timeout_s=300, every_s=0.1)
        wait_until(lambda: beatctl("status", "--json", cwd=project).json["state"] == "finished", "the end", 300, 1)
    finally:
        do("kill-server")
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    console.print(Text.from_ansi(ansi.rstrip("\n")))
    return console.export_svg(title="beatctl", theme=_THEME, code_format=_SVG)


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"{DOCS}/live-view.svg and report.png are new ({time.monotonic() - began:.0f} s).")
