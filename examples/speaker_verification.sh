#!/usr/bin/env bash
# Is it the same voice? Pairs whose answers are known set a threshold that answers the others.
#
#     examples/speaker_verification.sh PAIRS [MODEL]
#
# PAIRS has a pair a line, paths beside the list: `FILE FILE target` (one voice), `FILE FILE
# nontarget` (two), or `FILE FILE`, which is asked. examples/trials.txt shows the form.
set -euo pipefail

pairs=${1:?usage: speaker_verification.sh PAIRS [MODEL]}
model=${2:-demo-speaker} # synthetic voices; for those of people: anton-l/wav2vec2-base-superb-sv
scores=$(mktemp)
trap 'rm -f "$scores"' EXIT

# A line a pair: file, file, cosine, and what it is. Error rates go to stderr.
asrkit embed --pairs "$pairs" --model "$model" >"$scores"

# The threshold is halfway between the least alike of one voice and the most alike of two.
awk -F'\t' '
  NR == FNR && $4 == "target"    && (low == "" || $3 < low)   { low = $3 }
  NR == FNR && $4 == "nontarget" && (high == "" || $3 > high) { high = $3 }
  NR != FNR && FNR == 1 { threshold = (low + high) / 2; printf "threshold\t%.3f\n", threshold }
  NR != FNR && $4 == "" { print ($3 >= threshold ? "same" : "different") "\t" $3 "\t" $1 "\t" $2 }
' "$scores" "$scores"
