"""Posting through the whole site, image model off, as a share of what its single stages allow.

    python -m bench.animals_posting [--posts 400]

Stages: an upload by itself, picture, files, records, checks, an empty durable run. The site is
`tanuki serve` and `tanuki worker`. Members post as fast as they are answered; the clock stops when
the last post is published. Target: at least 0.60 of the ceiling.
"""

import argparse

from bench.lib.animals_site import generate_photos
from bench.lib.posting_stages import (
    PHOTOS_PER_STAGE,
    REPORTED_POSTS,
    measure_stages,
    post_through_site,
    report_share,
    start_site,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--posts", type=int, default=REPORTED_POSTS)
    options = parser.parse_args()
    photos = generate_photos(options.posts + PHOTOS_PER_STAGE)
    stages = measure_stages(photos[:PHOTOS_PER_STAGE])
    with start_site(options.posts, photos) as (site, tokens):
        seconds = post_through_site(site, tokens, photos[PHOTOS_PER_STAGE:])
    report_share("animals_posting", stages, options.posts, seconds)


if __name__ == "__main__":
    main()
