#!/usr/bin/env bash
# Work pool, deployment and automation on the server that PREFECT_API_URL names. Run from the project's root; repeatable.
set -euo pipefail

prefect --no-prompt work-pool create sheap-local --type process --overwrite
prefect --no-prompt deploy --all

# An automation is created anew each time, so the old one goes first.
prefect --no-prompt automation delete crash-silent-runs 2>/dev/null || true
prefect --no-prompt automation create --from-file infra/prefect/crash_silent_runs.yaml
