#!/bin/bash
# Board agent with boards made of software, in one container: the agent opens their serial lines, which are pseudo
# terminals and exist only inside it. Usage: virtual-boards.sh NUMBER PROFILE
set -euo pipefail
number=$1 profile=$2
run=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

index=0
while [ "$index" -lt "$number" ]; do
    port=$((21000 + index)) tty=$run/tty$index control=$run/control$index
    lutlab-virtual-board --profile "$profile" --xvc-port "$port" --tty-link "$tty" --control "$control" &
    cat >>"$run/lab.toml" <<LAB
[[board]]
key = "virtual-$index"
kind = "virtual"
profile = "$profile"
labels = ["virtual"]
[board.cable]
kind = "xvc-client"
host = "127.0.0.1"
port = $port
[board.serial]
path = "$tty"
[board.control]
path = "$control"
LAB
    index=$((index + 1))
done

export LUTLAB_AGENT_LAB_FILE="$run/lab.toml"
lutlab-board-agent &
# Whichever ends takes the others along; the container's restart policy brings all of them back.
wait -n || true
echo "virtual-boards.sh: a process ended" >&2
exit 1
