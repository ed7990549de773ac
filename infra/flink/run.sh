#!/usr/bin/env bash
# Runs one process of Flink in a container: infra/flink/config.yaml, and the addresses of the containers.
set -euo pipefail
{
  cat /etc/headrace/config.yaml
  echo "jobmanager.rpc.address: flink"
  echo "jobmanager.bind-host: 0.0.0.0"
  echo "taskmanager.bind-host: 0.0.0.0"
  echo "taskmanager.numberOfTaskSlots: $FLINK_SLOTS"
  echo "rest.address: flink"
  echo "rest.bind-address: 0.0.0.0"
  echo "rest.port: 8081"
  echo "rest.bind-port: 8081"
  echo "sql-gateway.endpoint.rest.address: 0.0.0.0"
  echo "sql-gateway.endpoint.rest.bind-address: 0.0.0.0"
  echo "sql-gateway.endpoint.rest.port: 8083"
  echo "sql-gateway.endpoint.rest.bind-port: 8083"
  echo "execution.checkpointing.dir: s3://lake/flink/checkpoints"
  echo "execution.checkpointing.savepoint-dir: s3://lake/flink/savepoints"
  echo "s3.endpoint: http://s3:7070"
  echo "s3.path.style.access: true"
  echo "s3.access-key: operator"
  echo "s3.secret-key: $S3_SECRET_KEY"
  echo "metrics.reporter.prometheus.factory.class: org.apache.flink.metrics.prometheus.PrometheusReporterFactory"
  echo "metrics.reporter.prometheus.port: 9249"
} > /opt/flink/conf/config.yaml
if [ "$1" = gateway ]; then
  exec /opt/flink/bin/sql-gateway.sh start-foreground
fi
exec /docker-entrypoint.sh "$1"
