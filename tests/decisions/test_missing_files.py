"""What a worktree lacks, and the command that is guessed to make it."""

from __future__ import annotations

import pytest

from beatctl.activities.missing_files import setup_command


@pytest.mark.parametrize(
    ("missing", "files", "command"),
    [
        (["node_modules"], ["package.json", "package-lock.json"], "npm ci"),
        (["node_modules"], ["package.json", "pnpm-lock.yaml"], "pnpm install --frozen-lockfile"),
        (["node_modules"], ["package.json"], "npm install"),
        ([".venv"], ["pyproject.toml", "uv.lock"], "uv sync"),
        (["venv"], ["requirements.txt"], "python3 -m venv venv && venv/bin/pip install -r requirements.txt"),
        (["target"], ["Cargo.toml"], "cargo build"),
        (["vendor"], ["go.mod"], "go mod vendor"),
        ([".venv", "node_modules"], ["package-lock.json", "poetry.lock"], "npm ci && poetry install"),
        (
            ["node_modules", ".env"],
            ["yarn.lock"],
            "(yarn install --immutable || yarn install --frozen-lockfile) && cp /home/ada/app/.env .",
        ),
        (["dist"], ["package-lock.json"], ""),
        (["node_modules"], ["Makefile"], ""),
    ],
)
def test_the_lock_file_says_what_makes_the_missing_folder(missing: list[str], files: list[str], command: str) -> None:
    assert setup_command(missing, files, "/home/ada/app") == command


def test_a_file_is_copied_to_where_it_belongs_from_wherever_setup_runs() -> None:
    assert setup_command([".env"], [], "/my app", "web/ui") == "cp '/my app/.env' ../.."
