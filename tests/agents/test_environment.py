"""What a child sees of the shell the loop was started from."""

from __future__ import annotations

import subprocess

import pytest

from beatctl.activities.agents import child_environment

# Measured: what a command sees that claude 2.1, codex 0.169, gemini 0.61 and opencode 1.18 run.
FROM_CLAUDE = {
    "AI_AGENT": "claude-code_2-1-197_agent",
    "CLAUDECODE": "1",
    "CLAUDE_CODE_CHILD_SESSION": "1",
    "CLAUDE_CODE_ENTRYPOINT": "sdk-cli",
    "CLAUDE_CODE_EXECPATH": "/lib/claude",
    "CLAUDE_CODE_SESSION_ID": "dadf4f40",
    "CLAUDE_EFFORT": "high",
    "COREPACK_ENABLE_AUTO_PIN": "0",
    "GIT_EDITOR": "true",
}
FROM_CODEX = {
    "CODEX_APPLY_PATCH_PRESERVE_LINE_ENDINGS": "1",
    "CODEX_CI": "1",
    "CODEX_MANAGED_BY_NPM": "1",
    "CODEX_MANAGED_PACKAGE_ROOT": "/lib/codex",
    "CODEX_SANDBOX": "seatbelt",
    "CODEX_SANDBOX_NETWORK_DISABLED": "1",
    "CODEX_SESSION_ID": "01a1",
    "CODEX_THREAD_ID": "01a1",
    "CODEX_TOOL_CALL_ID": "call_1",
    "CODEX_VERSION": "0.169.0",
    "NO_COLOR": "1",
    "PAGER": "cat",
    "GH_PAGER": "cat",
    "GIT_PAGER": "cat",
}
FROM_GEMINI = {
    "GEMINI_CLI": "1",
    "GEMINI_CLI_NO_RELAUNCH": "true",
    "GEMINI_CLI_TRUST_WORKSPACE": "true",
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_KEY_0": "credential.helper",
    "GIT_CONFIG_VALUE_0": "",
    "GIT_CONFIG_KEY_1": "core.hooksPath",
    "GIT_CONFIG_VALUE_1": "",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_ASKPASS": "",
}
FROM_OPENCODE = {"OPENCODE": "1", "OPENCODE_PID": "4711", "AGENT": "1"}
OUTER_LOOP = {
    "BEATCTL_TRY": "x",
    "BEATCTL_LOOP": "k3f9",
    "BEATCTL_ITERATION": "3",
    "BEATCTL_STEP": "1",
    "BEATCTL_SCORE_FILE": "/s",
}
USERS = {
    "PATH": "/bin",
    "HOME": "/home/ada",
    "ANTHROPIC_API_KEY": "k",
    "ANTHROPIC_BASE_URL": "http://proxy",
    "OPENAI_API_KEY": "k",
    "GEMINI_API_KEY": "k",
    "CLAUDE_CONFIG_DIR": "/c",
    "CLAUDE_CODE_USE_BEDROCK": "1",
    "CLAUDE_CODE_USE_VERTEX": "1",
    "CLAUDE_CODE_USE_FOUNDRY": "1",
    "CLAUDE_CODE_SKIP_BEDROCK_AUTH": "1",
    "CLAUDE_CODE_OAUTH_TOKEN": "t",
    "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "9",
    "CLAUDE_CODE_MAX_RETRIES": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_API_KEY_HELPER_TTL_MS": "1",
    "CLAUDE_CODE_CLIENT_CERT": "/cert",
    "CLAUDE_CODE_CLIENT_KEY_PASSPHRASE": "p",
    "CODEX_HOME": "/x",
    "CODEX_API_KEY": "k",
    "CODEX_CA_CERTIFICATE": "/ca",
    "GEMINI_SANDBOX": "docker",
    "GEMINI_CLI_HOME": "/g",
    "GEMINI_CLI_SYSTEM_SETTINGS_PATH": "/g.json",
    "OPENCODE_CONFIG_CONTENT": "{}",
    "OPENCODE_API_KEY": "k",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_SSH_COMMAND": "ssh -i k",
    "IS_SANDBOX": "1",
    "BEATCTL_HOME": "/b",
    "BEATCTL_TEMPORAL_CLI": "/t",
    "VIRTUAL_ENV": "/v",
}


@pytest.mark.parametrize("outer", [FROM_CLAUDE, FROM_CODEX, FROM_GEMINI, FROM_OPENCODE, OUTER_LOOP])
def test_what_an_outer_agent_added_is_gone_and_what_the_user_set_is_there(outer: dict[str, str]) -> None:
    assert child_environment(USERS | outer) == USERS


def test_common_settings_are_the_users_where_no_agent_set_them() -> None:
    users = {
        "GIT_EDITOR": "true",
        "NO_COLOR": "1",
        "PAGER": "cat",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ASKPASS": "",
        "AGENT": "1",
    }
    assert child_environment(users) == users
    assert child_environment({"GEMINI_CLI": "1", "GIT_CONFIG_GLOBAL": "/my/config"}) == {
        "GIT_CONFIG_GLOBAL": "/my/config"
    }


def test_a_loop_started_from_a_git_hook_works_on_its_own_repository() -> None:
    names = subprocess.run(["git", "rev-parse", "--local-env-vars"], capture_output=True, text=True, check=True)
    local = dict.fromkeys(names.stdout.split(), "1")
    assert "GIT_DIR" in local
    assert child_environment(USERS | local) == USERS
