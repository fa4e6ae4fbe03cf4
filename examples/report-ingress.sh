#!/usr/bin/env bash
# What an ingest server may tell corecastd each second about a stream: its rate and how much waits. Any gRPC client does;
# by reflection it needs no proto file.
#   examples/report-ingress.sh STREAM BITS_PER_SECOND [WAITING_PACKETS]
set -euo pipefail
stream=${1:?stream name} bps=${2:?bits per second} waiting=${3:-0}
exec npx buf curl --protocol grpc --http2-prior-knowledge \
  --unix-socket "${CORECAST_SOCKET:-/run/corecast/corecast.sock}" \
  --data "{\"reports\":[{\"stream\":\"$stream\",\"bitrateBps\":$bps,\"queueLength\":\"$waiting\"}]}" \
  http://localhost/corecast.v1.HostService/ReportIngress
