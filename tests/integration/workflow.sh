#!/usr/bin/env bash
# The two workflows of the requirements, command by command as they stand there. Ids are taken from what
# the commands print. Run in an empty folder; the sessions are separate processes:
#   workflow.sh basic | workflow.sh session-1 | workflow.sh session-2
set -euo pipefail

id() { head -n 1 | cut -d ' ' -f 2; } # "model baseline-v1_0c2c61d4  artifacts/models/..." -> the id

shows() { # TEXT ARTIFACT...: each artifact is named in the text
  local text=$1 artifact
  shift
  for artifact in "$@"; do
    grep -q -- "$artifact" <<<"$text" || { echo "not shown: $artifact in: $text" >&2; exit 1; }
  done
}

basic() {
  # 1. the initial baseline model, without a grid
  cat >model.yaml <<'YAML'
nodes:
  - id: user_requests
    kind: pmf
    pmf: { "100": 0.3, "150": 0.5, "200": 0.2 }
  - id: auth_service
    kind: expr
    expr: "user_requests * 0.95"
YAML
  shows "$(flowtime run --model model.yaml --out artifacts 2>&1)" "137.75" "no grid: 24 bins of 1 hour"

  # 2. create and run
  model=$(flowtime sim new --template checkout --name baseline-v1 --out artifacts | id)
  for file in model.yaml catalog.json; do test -s "artifacts/models/$model/v1/$file"; done
  run=$(flowtime run --model "$model" --out artifacts --name "baseline-run" | id)
  for file in binned_v0.csv catalog.json; do test -s "artifacts/runs/$run/$file"; done

  # 3. export
  flowtime export --run "$run" --format gold --out exports/baseline.csv
  flowtime export --run "$run" --format parquet --out exports/baseline.parquet
  test -s exports/baseline.csv -a -s exports/baseline.parquet

  # 4. import
  telemetry=$(flowtime import --data exports/baseline.csv --out artifacts --name "baseline-reimport" --tags "validation,loop-test" | id)
  for file in binned_v0.csv catalog.json; do test -s "artifacts/telemetry/$telemetry/$file"; done
  cmp "artifacts/telemetry/$telemetry/binned_v0.csv" "artifacts/runs/$run/binned_v0.csv"

  # 5. list
  shows "$(flowtime list --kind all --last 1h)" "baseline-v1" "baseline-run" "baseline-reimport"

  # 6. verify
  flowtime test-loop --model "$model"
}

session-1() {
  conservative=$(flowtime sim new --template e-commerce --name shop-conservative --out artifacts | id)
  optimistic=$(flowtime sim new --template e-commerce --name shop-optimistic --out artifacts | id)
  flowtime run --model "$conservative" --out artifacts --tags "baseline,conservative" | id >conservative-run
  flowtime run --model "$optimistic" --out artifacts --tags "scenario,optimistic"
}

session-2() {
  shows "$(flowtime list --kind run --tag baseline --last 7d)" "shop-conservative_run"
  shows "$(flowtime list --kind model --query shop)" "shop-conservative" "shop-optimistic"
  flowtime export --run "$(cat conservative-run)" --format parquet --out analysis/conservative.parquet
  {
    echo "time_bin,component_id,measure,value"
    for hour in 00 01 02 03; do echo "2025-09-01T$hour:00:00Z,shop,orders,1$hour"; done
  } >prod-sept-data.csv
  flowtime import --data prod-sept-data.csv --out artifacts --name "prod-sept-baseline" --tags "production,september"
  shows "$(flowtime list --tag baseline,scenario,production --sort created_desc)" \
    "shop-conservative_run" "shop-optimistic_run" "prod-sept-baseline"
}

"$1"
