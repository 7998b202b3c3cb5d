"""The environment children get: the one of the shell that started the loop, less what an outer agent added.

A loop is often started by an agent, and by an agent of another loop. What that one added speaks of its own session and
would make the inner one misbehave; what the user set (keys, endpoints, limits) has to stay.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# What `git rev-parse --local-env-vars` lists: it would send the child's git to the repository of a git hook that the
# loop was started from.
_GIT_LOCAL = frozenset(
    f"GIT_{name}"
    for name in (
        *("DIR", "WORK_TREE", "INDEX_FILE", "OBJECT_DIRECTORY", "ALTERNATE_OBJECT_DIRECTORIES", "COMMON_DIR"),
        *("CONFIG", "CONFIG_PARAMETERS", "CONFIG_COUNT", "IMPLICIT_WORK_TREE", "GRAFT_FILE", "NO_REPLACE_OBJECTS"),
        *("REPLACE_REF_BASE", "PREFIX", "INTERNAL_SUPER_PREFIX", "SHALLOW_FILE"),
    )
)

_ADDED = re.compile(
    r"""
    CLAUDECODE | CLAUDE_CODE_.* | AI_AGENT
  | CLAUDE_(EFFORT|SESSION_ID|PROJECT_DIR|PLUGIN_.*|ENV_FILE|JOB_DIR|SKILL_DIR|BG_.*|BRIDGE_.*|AGENT_SDK_VERSION)
  | CODEX_(CI|SANDBOX.*|SESSION_ID|THREAD_ID|TOOL_CALL_ID|VERSION|MANAGED_.*|APPLY_PATCH_.*|SNAPSHOT_.*
          |NETWORK_.*|PERMISSION_PROFILE|INTERNAL_.*|EXEC_SERVER_.*|SHELL_.*)
  | GEMINI_CLI(_.*)?
  | OPENCODE(_(PID|TERMINAL|RUN_ID|PROCESS_ROLE))?
  | GIT_CONFIG_(KEY|VALUE)_\d+
  | BEATCTL_(TRY|LOOP|ITERATION|STEP|SCORE_FILE|RUN)(_.*)?
  | BEATCTL_PAYLOAD_KEY(_FILE)?
    """,
    re.VERBOSE,
)

_SETTINGS = re.compile(
    r"""
    CLAUDE_CODE_(
        USE_.* | SKIP_.*_AUTH | DISABLE_.* | ENABLE_.* | MAX_.* | OAUTH_TOKEN | API_KEY_HELPER_TTL_MS
      | CLIENT_(CERT|KEY|KEY_PASSPHRASE) | CERT_STORE | EFFORT_LEVEL | SUBAGENT_MODEL | GIT_BASH_PATH | SHELL
      | SHELL_PREFIX | EXTRA_BODY | OTEL_.* | AUTO_COMPACT_WINDOW | FILE_READ_MAX_OUTPUT_TOKENS | HTTPS?_PROXY
      | ATTRIBUTION_HEADER | TMPDIR | PLUGIN_GIT_TIMEOUT_MS | BUBBLEWRAP | SIMPLE
    )
  | GEMINI_CLI_(HOME|SYSTEM_SETTINGS_PATH|SYSTEM_DEFAULTS_PATH|TRUSTED_FOLDERS_PATH|CUSTOM_HEADERS|USE_COMPUTE_ADC)
    """,
    re.VERBOSE,
)

# Common variables an agent gives its commands, by the variable that says whose commands they are. They are taken away
# only where they still have the value that agent gives them.
_MARKED: dict[str, dict[str, str]] = {
    "CLAUDECODE": {"GIT_EDITOR": "true", "COREPACK_ENABLE_AUTO_PIN": "0"},
    "CODEX_THREAD_ID": {"NO_COLOR": "1", "PAGER": "cat", "GIT_PAGER": "cat", "GH_PAGER": "cat", "COLORTERM": ""},
    "GEMINI_CLI": {
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
        "PAGER": "cat",
        "GIT_PAGER": "cat",
    },
    "OPENCODE": {"AGENT": "1"},
}


_SERVER_SECRETS = frozenset(("TEMPORAL_API_KEY", "TEMPORAL_TLS_CLIENT_KEY_DATA"))
"""They open the server that the loop is on, where it is on a shared one; else they are the user's project's."""


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without what an outer agent, an outer loop or a git hook added, and without the keys of the loop's
    Temporal server. Pure."""
    return {name: value for name, value in environ.items() if not _is_added(name, value, environ)}


def _is_added(name: str, value: str, environ: Mapping[str, str]) -> bool:
    if name in _GIT_LOCAL or (_ADDED.fullmatch(name) and not _SETTINGS.fullmatch(name)):
        return True
    if name in _SERVER_SECRETS and (environ.get("BEATCTL_PROFILE") or environ.get("TEMPORAL_ADDRESS")):
        return True
    return any(marker in environ and values.get(name) == value for marker, values in _MARKED.items())
