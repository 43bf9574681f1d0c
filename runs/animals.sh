#!/usr/bin/env bash
# AI Animals from an empty folder, all through its API: a site with 1,000 posts and an index of
# similar photos; search in both languages and by photo; a like, a report, a decision, an appeal, a
# deletion.
# bash runs/animals.sh [COUNT of photos]
set -euo pipefail
cd "$(dirname "$0")/.."
export TANUKI_HOME TANUKI_PORT=0 TANUKI_SCHEDULE=false; TANUKI_HOME=$(mktemp -d)
tanuki=.venv/bin/tanuki
$tanuki animals example --count "${1:-1000}" | tee "$TANUKI_HOME/made"
$tanuki up > "$TANUKI_HOME/log" 2>&1 & server=$!
trap 'kill $server; wait $server || true; rm -rf "$TANUKI_HOME"' EXIT
until site=$(grep -om1 'http://[^ ]*[0-9]' "$TANUKI_HOME/log"); do kill -0 $server; sleep 0.2; done

token() { $tanuki users token "$1" run "${@:2}" | tail -1; }
say() { .venv/bin/python -c 'import json,sys; print(*eval(f"[{sys.argv[1]}]", {"it": json.load(sys.stdin)}))' "$1"; }
call() { curl --fail-with-body -sS -X "$1" -H "Authorization: Bearer $2" "$site/api/animals/$3" "${@:4}"; }
json() { call "$1" "$2" "$3" -H 'Content-Type: application/json' -d "$4"; }
me=$(token acorn --scope write); other=$(token asagao --scope write)
one=$(token moderator-one --scope write --scope moderate); two=$(token moderator-two --scope write --scope moderate)

photo=$(find "$TANUKI_HOME/stamps" -path '*/dogs/dog.png')
post=$(call POST "$me" posts -H 'Idempotency-Key: run-1' -F "photo=@$photo" -F 'title=昼寝する柴犬' -F category=dog -F breed=shiba | say 'it["id"]')
again=$(call POST "$me" posts -H 'Idempotency-Key: run-1' -F "photo=@$photo" -F 'title=昼寝する柴犬' -F category=dog -F breed=shiba | say 'it["id"]')
[ "$post" = "$again" ] && echo "Post $post was sent twice and is there once."
until [ "$(call GET "$me" "posts/$post" | say 'it["state"]')" = published ]; do sleep 0.1; done
for words in 柴犬 しば shiba dog ライオン lion; do
  echo "$words: $(call GET "$me" search -G --data-urlencode "q=$words" | say '*[each["post"]["title"] for each in it["items"][:3]]')"
done
echo "similar photos: $(call GET "$me" "posts/$post/similar?k=5" | say '*[each["post"]["title"] for each in it["items"]]')"
call PUT "$other" "posts/$post/like" | say '"likes:", it["likes"]'
case=$(json POST "$other" reports "{\"subject\":\"post\",\"subject_id\":$post,\"reason\":\"stolen\"}" | say 'it["case_id"]')
json POST "$one" "moderation/cases/$case/decision" '{"action":"remove","reason":"stolen","note":"盗用の疑い"}' | say '"decided:", it["action"]'
decision=$(call GET "$me" me/decisions | say 'it["items"][0]["id"]')
appeal=$(json POST "$me" "decisions/$decision/appeal" '{"text":"私の犬です。"}' | say 'it["id"]')
json POST "$two" "moderation/appeals/$appeal/answer" '{"overturn":true,"text":"見直しました。"}' | say '"appeal:", it["state"]'
call GET "$other" "posts/$post" | say '"restored with its likes:", it["state"], it["likes"]'
call DELETE "$me" "posts/$post" | say '"then deleted:", it["state"]'
$tanuki animals audit-log --about "post:$post"
$tanuki animals search 柴犬 --json | { ! grep "\"id\": $post,"; } && echo "Nothing finds it any more."
