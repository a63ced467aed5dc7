#!/usr/bin/env bash
# Transcribe a folder on the machines of a Ray cluster, and go on where a run was stopped.
#
#     examples/ray_cluster.sh RECORDINGS TRANSCRIPTS [OPTION...]
#
# On the first machine `ray start --head --port=6379` has run, and on each other machine
# `ray start --address=FIRST:6379`; all see RECORDINGS, TRANSCRIPTS and the model under the same
# names, and have asrkit[ray]. RAY_ADDRESS=FIRST:6379 names the cluster; without it one is started
# on this machine, for as long as the run takes.
#
# Options are those of `asrkit transcribe`, such as --model, --workers 8 or --gpus-per-worker 0.5.
set -euo pipefail

if (($# < 2)); then
  echo "usage: ray_cluster.sh RECORDINGS TRANSCRIPTS [OPTION...]" >&2
  exit 1
fi
recordings=$1
transcripts=$2
shift 2
asrkit transcribe "$recordings" -r -f txt,json -o "$transcripts/" --engine ray --resume "$@"
