#!/usr/bin/env bash
# AI Animals from an empty folder, all through its API: a site with 1,000 posts and an index of
# similar photos; search in both languages and by photo; a like, a report, a decision, an appeal
# and a deletion.
# bash runs/animals.sh [COUNT of photos]
set -euo pipefail
cd "$(dirname "$0")/.."
export TANUKI_HOME TANUKI_PORT=0 TANUKI_SCHEDULE=false; TANUKI_HOME=$(mktemp -d)
tanuki=.venv/bin/tanuki
$tanuki animals example --count "${1:-1000}" | tee "$TANUKI_HOME/example-output"
$tanuki up > "$TANUKI_HOME/log" 2>&1 & server=$!
trap 'kill $server; wait $server || true; rm -rf "$TANUKI_HOME"' EXIT
until site=$(grep -om1 'http://[^ ]*[0-9]' "$TANUKI_HOME/log"); do kill -0 $server; sleep 0.2; done

token() { $tanuki users token "$1" run "${@:2}" | tail -1; }
# Print values of the JSON answer on standard input, which the expression calls `answer`.
pick() {
  .venv/bin/python -c '
import json, sys
print(*eval(f"[{sys.argv[1]}]", {"answer": json.load(sys.stdin)}))' "$1"
}
# request METHOD TOKEN PATH [curl's options]
request() {
  curl --fail-with-body -sS -X "$1" -H "Authorization: Bearer $2" "$site/api/animals/$3" "${@:4}"
}
# send_json METHOD TOKEN PATH BODY
send_json() { request "$1" "$2" "$3" -H 'Content-Type: application/json' -d "$4"; }
# Send the photo as acorn; twice with the same idempotency key is once.
create_post() {
  request POST "$acorn" posts -H 'Idempotency-Key: run-1' -F "photo=@$photo" \
    -F 'title=昼寝する柴犬' -F category=dog -F breed=shiba | pick 'answer["id"]'
}

acorn=$(token acorn --scope write)
asagao=$(token asagao --scope write)
moderator_one=$(token moderator-one --scope write --scope moderate)
moderator_two=$(token moderator-two --scope write --scope moderate)

photo=$(find "$TANUKI_HOME/stamps" -path '*/dogs/dog.png')
post=$(create_post)
[ "$(create_post)" = "$post" ] && echo "Post $post was sent twice and is there once."
until [ "$(request GET "$acorn" "posts/$post" | pick 'answer["state"]')" = published ]; do
  sleep 0.1
done

# Search by words and by photo.
for query in 柴犬 しば shiba dog ライオン lion; do
  echo "$query: $(request GET "$acorn" search -G --data-urlencode "q=$query" |
    pick '*[item["post"]["title"] for item in answer["items"][:3]]')"
done
echo "similar photos: $(request GET "$acorn" "posts/$post/similar?k=5" |
  pick '*[item["post"]["title"] for item in answer["items"]]')"

# A like, a report, a moderator's decision, the owner's appeal, another moderator's answer.
request PUT "$asagao" "posts/$post/like" | pick '"likes:", answer["likes"]'
report='{"subject":"post","subject_id":'$post',"reason":"stolen"}'
case=$(send_json POST "$asagao" reports "$report" | pick 'answer["case_id"]')
ruling='{"action":"remove","reason":"stolen","note":"盗用の疑い"}'
send_json POST "$moderator_one" "moderation/cases/$case/decision" "$ruling" |
  pick '"decided:", answer["action"]'
decision=$(request GET "$acorn" me/decisions | pick 'answer["items"][0]["id"]')
appeal=$(send_json POST "$acorn" "decisions/$decision/appeal" '{"text":"私の犬です。"}' |
  pick 'answer["id"]')
send_json POST "$moderator_two" "moderation/appeals/$appeal/answer" \
  '{"overturn":true,"text":"見直しました。"}' | pick '"appeal:", answer["state"]'
request GET "$asagao" "posts/$post" |
  pick '"restored with its likes:", answer["state"], answer["likes"]'

# The deletion, and what stays: the audit log.
request DELETE "$acorn" "posts/$post" | pick '"then deleted:", answer["state"]'
$tanuki animals audit-log --about "post:$post"
$tanuki animals search 柴犬 --json | { ! grep "\"id\": $post,"; } &&
  echo "Nothing finds it any more."
