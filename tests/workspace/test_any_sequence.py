"""Whatever sequence of changes is made, each snapshot comes back exactly."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beatctl.activities.home import Home
from beatctl.activities.workspace import Workspace
from tests.workspace import fingerprint
from tests.workspace.copies import sh

names = st.sampled_from([b"a", b"b", b"a-b", b"\xff", b"n\nl"])
paths = st.lists(names, min_size=1, max_size=3).map(b"/".join)
steps = st.one_of(
    st.tuples(st.just("write"), paths, st.binary(max_size=3)),
    st.tuples(st.just("remove"), paths, st.none()),
    st.tuples(st.just("folder"), paths, st.none()),
    st.tuples(st.just("link"), paths, st.sampled_from([b"a", b"..", b"/tmp", b"nowhere"])),
    st.tuples(st.just("mode"), paths, st.sampled_from([0o600, 0o644, 0o755, 0o777, 0o700])),
    st.tuples(st.just("rename"), paths, paths),
    st.tuples(st.just("capture"), st.none(), st.none()),
    st.tuples(st.just("restore"), st.integers(0, 9), st.none()),
)


def apply(root: bytes, what: str, path: bytes, value: object) -> None:
    """Make one change; one that cannot be made is passed over."""
    absolute = os.path.join(root, path)
    try:
        if os.path.realpath(os.path.dirname(absolute)) != os.path.dirname(absolute):
            return  # never through a link
        if what == "write" and not os.path.islink(absolute):
            os.makedirs(os.path.dirname(absolute), exist_ok=True)
            with open(absolute, "wb") as file:
                file.write(value if isinstance(value, bytes) else b"")
        elif what == "remove":
            if os.path.isdir(absolute) and not os.path.islink(absolute):
                shutil.rmtree(absolute)
            else:
                os.unlink(absolute)
        elif what == "folder":
            os.makedirs(absolute)
        elif what == "link" and isinstance(value, bytes):
            os.symlink(value, absolute)
        elif what == "mode" and isinstance(value, int) and not os.path.islink(absolute):
            os.chmod(absolute, value)
        elif what == "rename" and isinstance(value, bytes):
            os.rename(absolute, os.path.join(root, value))
    except OSError:
        pass


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(steps, max_size=10), st.lists(steps, min_size=5, max_size=40), st.booleans())
def test_each_snapshot_comes_back_after_any_changes(
    at_first: list[tuple[str, bytes, object]], then: list[tuple[str, bytes, object]], repository: bool
) -> None:
    place = Path(tempfile.mkdtemp(prefix="bt-")).resolve()
    try:
        root = place / "work"
        root.mkdir()
        if repository:
            sh(root, "git init -q")
        for what, path, value in at_first:
            if what not in ("capture", "restore"):
                apply(os.fsencode(root), what, path, value)
        workspace = Workspace.open(Home(place / "home").create().loop("k3f9"), root)
        snapshots = [(workspace.baseline, fingerprint.files(root))]
        for number, (what, path, value) in enumerate(then):
            if what == "capture":
                state = fingerprint.files(root)
                captured = workspace.capture(str(number), "m")
                snapshots.append((captured.snapshot, state))
            elif what == "restore":
                snapshot, state = snapshots[int(path) % len(snapshots)]
                expected = bool(fingerprint.differences(fingerprint.files(root), state))
                assert bool(workspace.restore(snapshot, f"{number}-left")) >= expected
                assert fingerprint.differences(state, fingerprint.files(root)) == {}
                assert workspace.edits() == []
            else:
                apply(os.fsencode(root), what, path, value)
        for snapshot, state in reversed(snapshots):
            workspace.restore(snapshot, None)
            assert fingerprint.differences(state, fingerprint.files(root)) == {}
    finally:
        shutil.rmtree(place)
