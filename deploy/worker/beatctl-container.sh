#!/bin/sh
# What a container of beatctl runs: `beatctl up OPTIONS`, or any other beatctl command.
#
# A container's end is the end of every process in it, and an agent may have cost dollars. So after SIGTERM the worker ends
# at once (nothing new begins), and the container stays until the agents that run have come to their own end or time limit:
# their results are on the volume, and the next container takes them in. How long that may take is the platform's grace
# period; what it cuts off is run again. A second SIGTERM doesn't wait.
set -u

left=$(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=REPLACE-ME.*/\1/p' | sort | tr '\n' ' ')
if [ -n "$left" ]; then
  echo "Still the example's value: ${left% }. Put yours in its place." >&2
  exit 2
fi
[ $# -gt 0 ] || set -- up
[ "$1" = up ] || exec beatctl "$@"

# How many agents (and evaluators) run. `down` also keeps a command typed meanwhile from bringing the worker back.
running() {
  beatctl down --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["agents"]))'
}

beatctl "$@" &
child=$!
trap 'kill -TERM "$child" 2>/dev/null' TERM INT HUP
wait "$child"
code=$?
while kill -0 "$child" 2>/dev/null; do  # a signal ended the wait
  wait "$child"
  code=$?
done

trap 'echo "Not waiting for agents any longer; they will run again." >&2; exit "$code"' TERM INT HUP
told=
while number=$(running) && [ "$number" -gt 0 ]; do
  [ "$number" = "$told" ] || echo "Waiting for $number running agent(s) or evaluator(s) to end." >&2
  told=$number
  sleep 2 &
  wait $!
done
exit "$code"
