#!/usr/bin/env bash
# A study on a SLURM cluster: one scheduler, a worker for each task, and the study itself, which alone needs the folder of
# the results. Workers bring their results home by the network. Add tasks for more trainings at a time.
#
#     sbatch configs/studies/slurm.sh configs/studies/core.yaml runs/core
#
# With a GPU for each task: `#SBATCH --gpus-per-task=1`, `--resources "GPU=1"` after `dask worker`, and
# `training.device: cuda` in the study. The same command again goes on with a study that ran out of time.
#SBATCH --job-name=qhybrid-study
#SBATCH --ntasks=8
#SBATCH --cpus-per-task=2
#SBATCH --mem-per-cpu=2G
#SBATCH --time=08:00:00
set -euo pipefail
study="$1"
out="$2"

file="$(mktemp -d "${SLURM_SUBMIT_DIR:-$PWD}/.dask-XXXXXX")/scheduler.json" # where all nodes can read it
trap 'rm -rf "$(dirname "$file")"; kill $(jobs -p) 2>/dev/null || true' EXIT
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"

dask scheduler --host "$(hostname)" --port 0 --scheduler-file "$file" &
srun dask worker --scheduler-file "$file" --nthreads 1 --memory-limit 0 --local-directory "${TMPDIR:-/tmp}" &
until [ -s "$file" ]; do sleep 1; done
qhybrid study "$study" --out "$out" --scheduler "$file"
