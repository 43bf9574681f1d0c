#!/usr/bin/env bash
# Five weeks of AI Shop, from an empty folder to the purchase orders of 2021-W03 and their
# evaluation.
# bash runs/shop.sh [FOLDER]; without a folder, the example chain.
# The folder has sales*.csv, stores.csv, items.csv, item_prices.csv, regions.csv and, to compare,
# published_forecast_*.csv.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:-}
export TANUKI_HOME; TANUKI_HOME=$(mktemp -d)
trap 'rm -rf "$TANUKI_HOME"' EXIT
tanuki=.venv/bin/tanuki

if [ -n "$data" ]; then
  arguments=(--regions "$data/regions.csv" --stores "$data/stores.csv" --items "$data/items.csv")
  arguments+=(--prices "$data/item_prices.csv")
  for file in "$data"/sales*.csv; do arguments+=(--sales "$file"); done
else
  # A chain whose sales go on for a week after 2021-W03, so that the week can be evaluated.
  files=$TANUKI_HOME/files
  $tanuki shop example --last-day 2021-01-31 --only-files "$files"
  arguments=()
  for kind in regions stores items prices promotions; do
    arguments+=("--$kind" "$files/$kind.csv")
  done
  for kind in weather deliveries stock sales; do
    for file in "$files/$kind"_2*.csv; do arguments+=("--$kind" "$file"); done
  done
fi
$tanuki shop import "${arguments[@]}"

for week in 2020-W52 2020-W53 2021-W01 2021-W02 2021-W03; do
  $tanuki shop week "$week" --auto
  $tanuki shop evaluate "$week"
done
$tanuki shop forecasts 2021-W03 | sed -n 1,6p
$tanuki shop orders purchase 2021-W03 --out "$TANUKI_HOME/sent" | sed -n 1,6p
echo "$(find "$TANUKI_HOME/sent" -name '*.csv' | wc -l) purchase orders of 2021-W03 are written."

# A model trained on what is known by now becomes the champion only on a GO; a NO-GO exits with 1.
$tanuki shop train --model lightgbm --week 2021-W04 --weeks 4 && status=0 || status=$?
[ "$status" -le 1 ]
$tanuki models show shop-forecast
$tanuki shop alerts
if [ -n "$data" ]; then $tanuki shop compare-published "$data"/published_forecast_*.csv; fi
