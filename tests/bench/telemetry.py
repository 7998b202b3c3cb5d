"""What telemetry costs the worker: its CPU time an iteration, with none sent, and with all of it sent to a receiver."""

from __future__ import annotations

from pathlib import Path

from beatctl.activities.home import Home
from beatctl.worker.what_runs import running
from tests.bench.figures import heading, line, median
from tests.bench.loops import cpu, gaps_of, make_folder, run
from tests.bench.memory import memory
from tests.support import Beatctl
from tests.telemetry.receiver import receiving


def measure(beatctl: Beatctl, folder: Path, iterations: int) -> None:
    """Run the same loop of no-op commands with a worker of each kind, alternately, and print both."""
    heading(f"telemetry ({iterations} iterations each, twice, no-op commands in a git repository)")
    with receiving() as receiver:
        kinds = {"off": {}, "on": {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.address}}
        spent: dict[str, list[float]] = {kind: [] for kind in kinds}
        held: dict[str, list[float]] = {kind: [] for kind in kinds}
        gaps: dict[str, list[float]] = {kind: [] for kind in kinds}
        for turn in range(2):
            for kind, variables in kinds.items():
                own = Beatctl({**beatctl.environ, **variables})
                place = folder.with_name(f"{folder.name}-{kind}-{turn}")
                make_folder(place, in_git=True)
                own("down", cwd=place)
                own("up", "-d", cwd=place, expect=0)
                before = cpu(own).get("worker", 0.0)
                gaps[kind] += gaps_of(own, run(own, place, iterations), iterations)
                spent[kind].append(1000 * (cpu(own).get("worker", 0.0) - before) / iterations)
                found = running(Home(own.home), own.environ)
                if found is not None and found.worker_pid is not None and Path("/proc/self/smaps_rollup").exists():
                    held[kind].append(memory(found.worker_pid)[0])
                own("down", cwd=place)
        for kind in kinds:
            line(f"CPU of the worker, {kind}", f"{median(spent[kind]):.1f} ms", "an iteration")
            line(f"median between starts, {kind}", f"{1000 * median(gaps[kind]):.0f} ms")
            if held[kind]:
                line(f"memory of the worker, {kind}", f"{median(held[kind]):.0f} MB")
        line("spans received", f"{len(receiver.spans)}")
