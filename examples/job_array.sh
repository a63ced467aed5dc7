#!/usr/bin/env bash
# A large batch as a job array of a cluster: each job does a part of equal duration.
#
#     sbatch examples/job_array.sh recordings.tsv OUT
#
# A job that was killed, or ran out of time, goes on where it stopped when it is submitted again
# (sbatch --requeue does it by itself). When all are done:
#
#     cat OUT/part-*.jsonl >transcripts.jsonl     # in the order of recordings.tsv
#
#SBATCH --job-name=asrkit
#SBATCH --array=1-8
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@30
set -euo pipefail

inputs=${1:?usage: sbatch job_array.sh INPUTS OUT [OPTION...]}
out=${2:?where the parts go}
shift 2

# A name per part that sorts as a number: part-0001.jsonl
part=$(printf '%s/part-%04d.jsonl' "$out" "$SLURM_ARRAY_TASK_ID")
mkdir -p "$out"
exec asrkit transcribe "$inputs" --output "$part" --resume --offline \
  --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" \
  --threads "${SLURM_CPUS_PER_TASK:-1}" --progress none "$@"
