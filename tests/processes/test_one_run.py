from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from beatctl.activities.processes import StartFailed, save_environment
from tests.processes.support import Bench


async def test_exit_code_and_output_are_told_as_they_were(bench: Bench) -> None:
    try_ = bench.new("sh", "-c", "echo out; echo err >&2; exit 7")
    result = await bench.run(try_)
    assert (result.exit_code, result.signal, result.ended_by, result.error) == (7, None, "exit", None)
    assert (try_.stdout.read_text(), try_.stderr.read_text()) == ("out\n", "err\n")
    assert result.ended_at >= result.started_at
    assert result.cpu_s > 0
    assert result.max_rss > 100_000


async def test_what_an_agent_printed_is_private_to_the_user(bench: Bench) -> None:
    try_ = bench.new("sh", "-c", "echo secret")
    await bench.run(try_)
    iteration = try_.run.parent
    assert {path.name for path in iteration.iterdir()} == {"run.1.jsonl", "run.1.stdout", "run.1.stderr"}
    for path in iteration.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(iteration.stat().st_mode) == 0o700


async def test_death_by_a_signal_is_no_exit_code(bench: Bench) -> None:
    result = await bench.run(bench.new("sh", "-c", "kill -SEGV $$"))
    assert (result.exit_code, result.signal, result.ended_by) == (None, 11, "exit")


async def test_missing_program_is_127_with_a_sentence(bench: Bench) -> None:
    result = await bench.run(bench.new("no-such-agent"))
    assert (result.exit_code, result.ended_by) == (127, "not-started")
    assert result.error == '"no-such-agent" was not found on PATH. Install it, or give its full path.'


async def test_program_without_the_executable_bit_is_126_with_the_remedy(bench: Bench) -> None:
    (bench.root / "agent.sh").write_text("#!/bin/sh\n")
    result = await bench.run(bench.new("./agent.sh"))
    assert (result.exit_code, result.ended_by) == (126, "not-started")
    assert "chmod +x ./agent.sh" in str(result.error)


async def test_script_whose_interpreter_is_gone_says_so(bench: Bench) -> None:
    script = bench.root / "agent.sh"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    result = await bench.run(bench.new("./agent.sh"))
    assert result.exit_code == 127
    assert "first line" in str(result.error)


async def test_script_without_a_first_line_runs_as_in_a_shell(bench: Bench) -> None:
    script = bench.root / "agent.sh"
    script.write_text('echo "got $1"\n')
    script.chmod(0o755)
    try_ = bench.new("./agent.sh", "a b")
    assert (await bench.run(try_)).exit_code == 0
    assert try_.stdout.read_text() == "got a b\n"


async def test_program_of_another_machine_is_126(bench: Bench) -> None:
    program = bench.root / "agent"
    program.write_bytes(b"\x00\x01\x02not a program")
    program.chmod(0o755)
    result = await bench.run(bench.new("./agent"))
    assert (result.exit_code, result.ended_by) == (126, "not-started")


async def test_folder_that_is_gone_is_named(bench: Bench) -> None:
    result = await bench.run(bench.new("true", cwd=str(bench.root / "gone")))
    assert (result.exit_code, result.ended_by) == (None, "not-started")
    assert str(bench.root / "gone") in str(result.error)


async def test_argument_list_too_long_is_an_error_and_no_hang(bench: Bench) -> None:
    result = await bench.run(bench.new("true", "x" * 3_000_000))
    assert (result.exit_code, result.ended_by) == (126, "not-started")
    assert "too long" in str(result.error)


async def test_prompt_reaches_the_agent_by_standard_input(bench: Bench) -> None:
    (bench.root / "prompt").write_text("make it so")
    try_ = bench.new("cat", stdin=str(bench.root / "prompt"))
    await bench.run(try_)
    assert try_.stdout.read_text() == "make it so"


async def test_agent_that_asks_gets_an_end_of_file_and_does_not_hang(bench: Bench) -> None:
    assert (await bench.run(bench.new("cat"))).exit_code == 0


_SHOW = "import os,sys; sys.stdout.buffer.write(repr(sorted(os.environb.items())).encode())"


async def test_child_has_the_shells_environment_and_nothing_of_the_worker(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_WORKER", "secret")
    path = bench.root / "environment.json"
    save_environment(path, {"A": "1", "B": "\udcff\udcfe", "C": "naïve", "E": ""})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    try_ = bench.python(_SHOW, environment_file=str(path), extra_environment={"A": "2", "D": "x\udc80"})
    await bench.run(try_)
    seen = dict(eval(try_.stdout.read_bytes()))
    seen.pop(b"LC_CTYPE", None)  # Python's own doing, in the child
    assert seen.pop(b"BEATCTL_TRY") == try_.identity().encode()
    assert seen == {b"A": b"2", b"B": b"\xff\xfe", b"C": "naïve".encode(), b"D": b"x\x80", b"E": b""}


async def test_program_is_looked_for_on_the_shells_path_not_the_workers(bench: Bench) -> None:
    tool = bench.root / "bin" / "my-agent"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho mine\n")
    tool.chmod(0o755)
    path = bench.root / "environment.json"
    save_environment(path, {"PATH": f"/nowhere:{tool.parent}"})
    try_ = bench.new("my-agent", environment_file=str(path))
    await bench.run(try_)
    assert try_.stdout.read_text() == "mine\n"


async def test_lost_environment_file_spawns_nothing(bench: Bench) -> None:
    try_ = bench.new("touch", "ran", environment_file=str(bench.root / "gone.json"))
    with pytest.raises(StartFailed, match=r"gone\.json: No such file"):
        await bench.start(try_)
    assert try_.state() == "fresh"
    assert not (bench.root / "ran").exists()


async def test_odd_folder_and_argument_bytes_arrive(bench: Bench) -> None:
    folder = os.fsencode(bench.root) + b"/odd \xff\n"
    os.mkdir(folder)
    code = "import os,sys;sys.stdout.buffer.write(os.getcwdb()+b'|'+os.fsencode(sys.argv[1]))"
    try_ = bench.new(sys.executable, "-c", code, "\udcfe", cwd=os.fsdecode(folder))
    await bench.run(try_)
    assert try_.stdout.read_bytes() == folder + b"|\xfe"


async def test_child_starts_with_a_clean_slate(bench: Bench) -> None:
    code = (
        "import os,signal,json;"
        "ignored=[int(n) for n in signal.valid_signals() if signal.getsignal(n)==signal.SIG_IGN];"
        "blocked=[int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK,[])];"
        "os.chdir('/proc/self/fd');"
        "open_=[fd for fd in map(int,os.listdir('.')) if fd>2 and os.path.exists(str(fd))];"
        "print(json.dumps([ignored,blocked,open_,os.getsid(0)==os.getpid()]))"
    )
    try_ = bench.python(code)
    assert (await bench.run(try_)).exit_code == 0, try_.stderr.read_text()
    # Python itself ignores PIPE and XFSZ.
    assert json.loads(try_.stdout.read_text()) == [[13, 25], [], [], True]


async def test_broken_pipe_ends_a_pipeline_as_in_a_shell(bench: Bench) -> None:
    result = await bench.run(bench.new("bash", "-o", "pipefail", "-c", "yes | head -1 >/dev/null"))
    assert result.exit_code == 128 + 13


async def test_fifty_megabytes_are_kept_whole(bench: Bench) -> None:
    try_ = bench.new("sh", "-c", "head -c 52428800 /dev/zero; head -c 1000 /dev/zero >&2")
    assert (await bench.run(try_)).exit_code == 0
    assert (try_.stdout.stat().st_size, try_.stderr.stat().st_size) == (52428800, 1000)


async def test_invalid_utf8_is_kept_byte_for_byte(bench: Bench) -> None:
    try_ = bench.new("printf", "\\377\\376\\n")
    await bench.run(try_)
    assert try_.stdout.read_bytes() == b"\xff\xfe\n"


async def test_endless_output_does_not_fill_the_disk(bench: Bench) -> None:
    result = await bench.run(bench.new("sh", "-c", "yes; sleep 1000", output_limit=1_000_000, grace_s=0.1))
    assert result.ended_by == "output-limit"


async def test_file_size_and_umask_of_the_user_stay(bench: Bench, tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        bench.spawner()
        await bench.run(bench.new("touch", "made"))
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o640
