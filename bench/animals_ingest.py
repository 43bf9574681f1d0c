"""Posting through the whole site, image model on, as a share of what its single stages allow.

    python -m bench.animals_ingest [--posts 400] [--photos FOLDER]

As `bench.animals_posting`, with the embedding as one more stage. The clock stops when the last post
is published and every photo has its embedding. Target: at least 0.60 of the ceiling.
"""

import argparse
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import func, select

from bench.lib.animals_site import Site, generate_photos
from bench.lib.posting_stages import (
    KEY_PREFIX,
    PHOTOS_PER_STAGE,
    POLL_SECONDS,
    REPORTED_POSTS,
    measure_stages,
    post_through_site,
    report_share,
    start_site,
)
from bench.lib.timing import time_call
from tanuki.animals.images import photo_files
from tanuki.animals.tables import ImageFeatures, Post
from tanuki.animals.vision import backfill, embeddings, registration
from tanuki.platform.resources import Resources

TIMEOUT_SECONDS = 60.0


def measure_embedding(res: Resources, photos: list[bytes]) -> dict[str, float]:
    """Median seconds to embed one stored photo and store its features, without the first use."""
    encoder = embeddings.image_encoder(res)
    encoder.encode([photo_files.clean_upload(res, photos[0]).files["page"]])
    with res.db.read() as db:
        digests = list(db.scalars(backfill.select_missing(encoder.version)))
    seconds = [time_call(lambda digest=digest: embed_photo(res, digest))[1] for digest in digests]
    return {"embedding": statistics.median(seconds)}


def embed_photo(res: Resources, digest: str) -> None:
    embeddings.ensure_embedding(res, digest, datetime.now(UTC))


def load_photos(folder: Path | None, count: int) -> list[bytes]:
    """So many different photos."""
    if folder is None:
        return generate_photos(count)
    files = sorted(folder.glob("*.jpg"))[:count]
    if len(files) < count:
        raise SystemExit(f"{folder} has {len(files)} JPEG files; expected at least {count}.")
    return [file.read_bytes() for file in files]


def wait_for_embeddings(site: Site, posts: int) -> float:
    """Seconds until every post has an embedding."""
    embedded = (
        select(func.count())
        .select_from(Post)
        .join(ImageFeatures, ImageFeatures.digest == Post.photo)
        .where(Post.key.startswith(KEY_PREFIX))
    )
    started = time.perf_counter()
    with site.resources() as res:
        while time.perf_counter() - started < TIMEOUT_SECONDS:
            with res.db.read() as db:
                if (db.scalar(embedded) or 0) >= posts:
                    return time.perf_counter() - started
            time.sleep(POLL_SECONDS)
    raise SystemExit(f"Some posts have no embedding after {TIMEOUT_SECONDS:.0f} seconds.")


def release_encoder(res: Resources) -> None:
    registration.ensure_live_version(res, datetime.now(UTC))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--posts", type=int, default=REPORTED_POSTS)
    parser.add_argument("--photos", type=Path, help="folder of JPEGs; generated unless given")
    options = parser.parse_args()
    photos = load_photos(options.photos, options.posts + PHOTOS_PER_STAGE)
    stages = measure_stages(photos[:PHOTOS_PER_STAGE], [measure_embedding])
    with start_site(options.posts, photos, release_encoder) as (site, tokens):
        seconds = post_through_site(site, tokens, photos[PHOTOS_PER_STAGE:])
        embedding_seconds = wait_for_embeddings(site, options.posts)
    print(f"  all embedded {embedding_seconds:.2f} s after the last publication")
    report_share("animals_ingest", stages, options.posts, seconds + embedding_seconds)


if __name__ == "__main__":
    main()
