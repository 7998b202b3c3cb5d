"""The server: MCP on stdin and stdout. Each call is a function in a thread; what goes wrong is a result in words."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import logging
import signal
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from pydantic import ValidationError

from beatctl import __version__
from beatctl.cli.crash import words as crash_words
from beatctl.cli.follow import Signals
from beatctl.cli.loops import Loops, candidates
from beatctl.cli.mcp import acting, looking, starting, waiting, words
from beatctl.cli.mcp.schemas import tidy
from beatctl.cli.mcp.tool import Call, Progress, Result, Tool, folder_of
from beatctl.cli.output import heard
from beatctl.cli.problems import Problem

TOOLS: Sequence[Tool] = [*starting.TOOLS, *waiting.TOOLS, *looking.TOOLS, *acting.TOOLS]

INSTRUCTIONS = """\
beatctl runs durable loops: a coding agent works on a goal again and again, a command judges every result, the best is
kept and the rest is undone. start_loop begins one in the background and returns at once; it goes on, and spends money,
when this client ends. wait_for_loop waits for its end, loop_report tells what it came to, apply_loop makes commits of
it. A goal that one edit settles needs no loop.\
"""


_GONE = (
    asyncio.CancelledError,
    concurrent.futures.CancelledError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
)
"""What telling a client raises that has cancelled the call or gone away."""


def serve() -> None:
    """Speak MCP until the client closes its end."""
    logging.getLogger("mcp").setLevel(logging.ERROR)
    try:
        anyio.run(_serve)
    except* BrokenPipeError:
        pass  # a client that went away in the middle of an answer is no failure


async def _serve() -> None:
    server: Server[Any] = Server(
        "beatctl",
        version=__version__,
        title="beatctl: durable loops for coding agents",
        instructions=INSTRUCTIONS,
        on_list_tools=_list_tools,
        on_call_tool=_call_tool,
    )
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def _list_tools(_: ServerRequestContext[Any], __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[described(tool) for tool in TOOLS])


def described(tool: Tool) -> types.Tool:
    """A tool as clients are told of it."""
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tidy(tool.takes.model_json_schema(), optional=True),
        output_schema=tidy(tool.gives.model_json_schema(mode="serialization")),
        annotations=types.ToolAnnotations(
            title=tool.title,
            read_only_hint=tool.kind == "reads",
            destructive_hint=tool.kind == "destroys",
            idempotent_hint=tool.kind == "reads" or tool.again_is_nothing,
            open_world_hint=tool.open_world,
        ),
    )


async def _call_tool(context: ServerRequestContext[Any], asked: types.CallToolRequestParams) -> types.CallToolResult:
    tool = next((tool for tool in TOOLS if tool.name == asked.name), None)
    if tool is None:
        return _refused(words.no_such_tool(asked.name, [tool.name for tool in TOOLS]))

    def progress(done: float, of: float | None, text: str) -> None:
        with contextlib.suppress(*_GONE):
            anyio.from_thread.run(context.session.report_progress, done, of, text)

    signals = Signals()
    async with _cancelled_by_the_client(signals):
        return await anyio.to_thread.run_sync(_done, tool, asked.arguments or {}, progress, signals)


@contextlib.asynccontextmanager
async def _cancelled_by_the_client(signals: Signals) -> AsyncIterator[None]:
    """A cancelled call's thread is told so, and ends by itself: it may be in the middle of something."""

    async def note() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            signals.came = signal.SIGINT

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(note)
        yield
        tasks.cancel_scope.cancel()


def _done(tool: Tool, arguments: dict[str, Any], progress: Progress, signals: Signals) -> types.CallToolResult:
    """The call's result. Whatever goes wrong is one too."""
    loops, lines = Loops(), itertools.count(1)

    def tell(line: str) -> None:
        """What takes a while says so: the first loop of all may have to build the server's program."""
        if tool.kind != "reads":  # a wait tells of its progress itself
            progress(next(lines), None, words.in_tool_words(line))

    with heard(tell) as said:
        try:
            try:
                given = tool.takes.model_validate(arguments)
            except ValidationError as wrong:
                return _refused(_misunderstood(wrong, tool, loops))
            result = tool.work(Call(loops, folder_of(given), progress, signals), given)
        except Problem as problem:
            return _refused("\n".join([*said, problem.text]))
        except Exception as error:
            return _refused(crash_words(error)[0])
    return _answer(result.model_copy(update={"messages": [*said, *result.messages]}))


def _answer(result: Result) -> types.CallToolResult:
    found = result.model_dump(mode="json")
    for key in ("messages", "warnings", "now", "next", "stuck"):
        if key in found:
            found[key] = _in_tool_words(found[key])
    text = type(result).model_validate(found).model_dump_json()
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], structured_content=found)


def _in_tool_words(value: Any) -> Any:
    return [words.in_tool_words(one) for one in value] if isinstance(value, list) else words.in_tool_words(value)


def _misunderstood(wrong: ValidationError, tool: Tool, loops: Loops) -> str:
    text = words.not_understood(wrong, tool.name, tool.takes)
    if any(error["loc"] == ("loop",) for error in wrong.errors()):
        known = loops.all()
        text += f" There are:\n{candidates(known)}" if known else " There are no loops yet."
    return text


def _refused(text: str) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=words.in_tool_words(text).strip())], is_error=True
    )
