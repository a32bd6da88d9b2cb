# Settings shared by server, worker and command line. From the project's root: source infra/prefect/environment.sh
export PATH="$PWD/.venv/bin:$PATH"
export PREFECT_HOME="$PWD/.prefect"
export PREFECT_API_URL="${PREFECT_API_URL:-http://127.0.0.1:4200/api}"
export PREFECT_SERVER_ANALYTICS_ENABLED=false
export DO_NOT_TRACK=1
# Runs report every 30 s; infra/prefect/crash_silent_runs.yaml marks those that fell silent, which frees their slot.
export PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30
