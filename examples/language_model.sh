#!/usr/bin/env bash
# A language model for a domain: from sentences of the domain to a model that expects them.
#
#     examples/language_model.sh SENTENCES.txt MODEL OUT [DEV.tsv TEST.tsv]
#
# SENTENCES has a sentence a line: reports, menus, transcripts. OUT becomes a copy of MODEL with the
# language model inside; `--model OUT` uses it. With recordings and their texts (columns
# audio_filepath and text) its weights are tuned on DEV, and TEST says what it is worth.
set -euo pipefail

sentences=${1:?usage: language_model.sh SENTENCES.txt MODEL OUT [DEV.tsv TEST.tsv]}
model=${2:?a CTC model}
out=${3:?a folder to make}
dev=${4:-} test=${5:+$(realpath "$5")}

asrkit convert lm "$sentences" "$model" "$out" ${dev:+--tune "$dev"}
if [[ -n $test ]]; then
  work=$(mktemp -d)
  trap 'rm -r "$work"' EXIT
  asrkit transcribe --quiet "$test" --model "$model" --no-lm -f jsonl >"$work/before.jsonl"
  asrkit transcribe --quiet "$test" --model "$out" -f jsonl >"$work/after.jsonl"
  (cd "$work" && asrkit eval-wer "$test" before.jsonl after.jsonl) # and if the difference is chance
fi
