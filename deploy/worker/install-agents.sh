#!/bin/sh
# Installs the agents that AGENTS names into the folder $1, each at the version of its variable, with the node they run on.
set -eu
prefix=$1
mkdir -p "$prefix/bin"
packages=
for agent in ${AGENTS:-}; do
  case $agent in
    claude) package="@anthropic-ai/claude-code@${CLAUDE_VERSION:?}" ;;
    codex) package="@openai/codex@${CODEX_VERSION:?}" ;;
    gemini) package="@google/gemini-cli@${GEMINI_VERSION:?}" ;;
    opencode) package="opencode-ai@${OPENCODE_VERSION:?}" ;;
    *) echo "Unknown agent \"$agent\" in AGENTS. Known: claude codex gemini opencode." >&2; exit 2 ;;
  esac
  packages="$packages $package"
done
[ -n "$packages" ] || exit 0
# shellcheck disable=SC2086  # a list of words
npm install --global --prefix "$prefix" --no-fund --no-audit --loglevel=error $packages
cp "$(command -v node)" "$prefix/bin/node"
for agent in $AGENTS; do
  PATH="$prefix/bin:$PATH" "$prefix/bin/$agent" --version
done
