# Shared by dist_*.sh and slurm_*.sh, which source it.
#
# PYTHON is the interpreter. Unless the caller sets it, it is `python` of the
# active environment. If none is active, it is that of the checkout's .venv or,
# where only that one has been made, of .venv-integrations (setup_env.sh).
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ -z "${PYTHON:-}" ]; then
    PYTHON=python
    if [ -z "${VIRTUAL_ENV:-}" ] && [ "${CONDA_DEFAULT_ENV:-base}" = base ]; then
        for venv in .venv-integrations .venv; do
            if [ -x "$ROOT/$venv/bin/python" ]; then
                PYTHON=$ROOT/$venv/bin/python
            fi
        done
    fi
fi
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"

# need COUNT USAGE ARGS...: end with the usage if arguments are missing.
need() {
    if [ $(($# - 2)) -lt "$1" ]; then
        echo "usage: $2" >&2
        exit 2
    fi
}

# take_restarts ARGS...: set RESTARTS to the value of --max-restarts, and REST
# to the other arguments.
take_restarts() {
    RESTARTS=0 REST=()
    local resume=no
    while [ $# -gt 0 ]; do
        case $1 in
            --max-restarts) RESTARTS=${2:-} && shift ;;
            --max-restarts=*) RESTARTS=${1#*=} ;;
            --resume)
                # A word after it is a checkpoint, which every restart takes.
                case ${2:---} in -*) resume=newest ;; esac
                REST+=("$1")
                ;;
            *) REST+=("$1") ;;
        esac
        shift $(($# > 0))
    done
    if ! [[ $RESTARTS =~ ^[0-9]+$ ]]; then
        echo "error: expected a number for --max-restarts, got '$RESTARTS'" >&2
        exit 2
    fi
    if [ "$RESTARTS" -gt 0 ] && [ $resume = no ]; then
        echo "error: expected --resume, without a checkpoint, beside" \
            "--max-restarts: a restart would begin from the start" >&2
        exit 2
    fi
}

# run_distributed PROCESSES SCRIPT ARGS...: by torchrun, on this node. A process
# that fails makes all of them start again, at most RESTARTS times.
run_distributed() {
    if ! [[ $1 =~ ^[1-9][0-9]*$ ]]; then
        echo "error: expected the number of processes, 1 or more, got '$1'" >&2
        exit 2
    fi
    # torchrun would give each process one thread, but the matching uses more.
    local share=$(($(nproc) / $1))
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((share > 0 ? share : 1))}
    # One machine: a free port, on an address that needs no name server.
    local where=(--standalone --local-addr=127.0.0.1)
    if [ "${NNODES:-1}" -gt 1 ] && [ "${RESTARTS:-0}" -gt 0 ]; then
        # The nodes agree on a restart; their order is not fixed.
        where=(--nnodes="$NNODES" --rdzv-backend=c10d --rdzv-id=ata_mm
            --rdzv-endpoint="${MASTER_ADDR:-127.0.0.1}:${PORT:-29500}")
    elif [ "${NNODES:-1}" -gt 1 ] || [ -n "${PORT:-}" ]; then
        where=(--nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}"
            --master_addr="${MASTER_ADDR:-127.0.0.1}"
            --master_port="${PORT:-29500}")
    fi
    if [ "${RESTARTS:-0}" -gt 0 ]; then
        # A store of its own for each start: in a shared one processes find the
        # addresses of those that have ended.
        export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    fi
    exec "$PYTHON" -m torch.distributed.run "${where[@]}" \
        --nproc_per_node="$1" --max-restarts="${RESTARTS:-0}" "${@:2}"
}

# run_slurm PARTITION JOB_NAME SCRIPT ARGS...: one task a GPU, by srun.
run_slurm() {
    local gpus=${GPUS:-8}
    local per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
    # A separate port for each job, since several jobs may share a node.
    export MASTER_PORT=${MASTER_PORT:-$((12000 + RANDOM % 20000))}
    # SRUN_ARGS is unquoted: it holds several words.
    exec srun -p "$1" --job-name="$2" --gres="gpu:$per_node" \
        --ntasks="$gpus" --ntasks-per-node="$per_node" \
        --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
        ${SRUN_ARGS:-} "$PYTHON" -u "${@:3}" --launcher=slurm
}
