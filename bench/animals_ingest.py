"""Posting through the whole site with the eyes open, beside the ceiling that its single stages allow: an upload by itself, picture, files, records, check, an empty durable run, look.

    python bench/animals_ingest.py [--posts 400] [--photos FOLDER]

The stages and the ceiling are those of `animals_posting.py`, and a look of the eyes. The site is `tanuki serve` and `tanuki worker`;
members post as fast as they are answered, and the clock stops when the last post is published and looked at.
"""

import argparse
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import func, select

from bench.animals_posting import CLIENTS, STAGED, report, stages, through_the_site, timed
from bench.lib.animals_site import RESULTS, Program, Site, people, pictures
from tanuki.animals.images import photo_files
from tanuki.animals.tables import ImageFeatures, Post
from tanuki.animals.vision import backfill, embeddings, registration
from tanuki.platform.resources import Resources

WARM = 6
WAITS = 60.0


def look(res: Resources, photos: list[bytes]) -> dict[str, float]:
    """Median seconds of looking at one stored picture and keeping what is seen, the registry's first use left out."""
    took = []
    embeddings.image_encoder(res).encode([photo_files.clean_upload(res, photos[0]).files["page"]])
    with res.db.read() as db:
        digests = list(db.scalars(backfill.select_missing(embeddings.image_encoder(res).version)))
    for digest in digests:
        took.append(timed(lambda d=digest: embeddings.ensure_embedding(res, d, datetime.now(UTC)))[1])
    return {"look": statistics.median(took)}


def photos_of(folder: Path | None, count: int) -> list[bytes]:
    """So many photos, none twice."""
    if folder is None:
        return pictures(count)
    found = [file.read_bytes() for file in sorted(folder.glob("*.jpg"))[:count]]
    if len(found) < count:
        raise SystemExit(f"{count} photos are needed; found {len(found)}.")
    return found


def all_looked_at(site: Site, posted: int) -> float:
    """Seconds until every post of the bench has a look."""
    began = time.perf_counter()
    with site.resources() as res:
        while time.perf_counter() - began < WAITS:
            with res.db.read() as db:
                wanted = (
                    select(func.count())
                    .select_from(Post)
                    .join(ImageFeatures, ImageFeatures.digest == Post.photo)
                    .where(Post.key.startswith("site-"))
                )
                if (db.scalar(wanted) or 0) >= posted:
                    return time.perf_counter() - began
            time.sleep(0.05)
    raise SystemExit("Some posts were never looked at.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--posts", type=int, default=400)
    parser.add_argument(
        "--photos", type=Path, help="JPEGs to post; pictures made by code, unless given."
    )
    options = parser.parse_args()
    photos = photos_of(options.photos, options.posts + STAGED)
    each = stages(photos[:STAGED], look)
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        with site.resources() as res:
            known = people(res, options.posts // 40 + CLIENTS + 2)
            registration.ensure_live_version(res, datetime.now(UTC))
        try:
            site.begin("serve")
            site.begin("worker")
            warm = Program(site, known[1][1])
            for n in range(WARM):
                warm.post(f"warm-{n}", photos[n], "warm")
            time.sleep(2)
            reached = through_the_site(site, [token for _, token in known[2:]], photos[STAGED:])
            late = all_looked_at(site, options.posts)
        finally:
            site.end()
    reached = options.posts / (options.posts / reached + late)
    print(f"  all looked at {late:.2f} s after the last was published")
    report(each, reached, RESULTS / "animals_ingest.json" if options.posts >= 400 else None)


if __name__ == "__main__":
    main()
