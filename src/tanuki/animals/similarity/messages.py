"""Sentences of the index's gate."""

from tanuki.animals.vision.evaluation import IMAGE_SLICES
from tanuki.i18n import msgid
from tanuki.platform.mlops.reasons import ReasonTexts

INDEX_TEXTS = ReasonTexts(
    messages={
        "unreadable": msgid("It cannot be read: %(why)s"),
        "dimension_mismatch": msgid(
            "The index was built for %(index)s-dimensional embeddings;"
            " the image model gives %(encoder)s."
        ),
        "not_finite": msgid("%(rows)s of %(of)s vectors hold what is not a number."),
        "future_images": msgid(
            "It claims to have all pictures up to number %(index)s, but the newest is %(newest)s:"
            " new photos would be missing from its results."
        ),
        "missing_images": msgid("%(rows)s of %(of)s published pictures are not in it."),
        "missing_images_slice": msgid(
            "%(slice)s %(label)s: %(rows)s of %(of)s published pictures are not in it."
        ),
        "different_vectors": msgid(
            "%(rows)s of %(of)s vectors differ from what the image model gives for the picture."
        ),
        "slower_than_champion": msgid(
            "A query takes %(challenger)s ms, %(times)s times as long as with the live index."
        ),
        "slower_than_exact": msgid(
            "A query takes %(challenger)s ms; comparing every picture takes %(exact)s ms."
        ),
        "too_large": msgid(
            "It has %(megabytes)s MB; for its pictures at most %(most)s MB are expected."
        ),
        "worse_small_category": msgid(
            "%(slice)s %(label)s: %(challenger)s of the nearest are missed; the live index misses"
            " %(champion)s (%(rows)s pictures, every one of them a query)."
        ),
    },
    formats={
        "newest": ",",
        "future_images.index": ",",
        "challenger": ".2f",
        "exact": ".2f",
        "times": ".1f",
        "megabytes": ".1f",
        "most": ".1f",
        "worse_small_category.challenger": ".0%",
        "worse_small_category.champion": ".0%",
        "worse_small_category.rows": "",
    },
    slices=IMAGE_SLICES,
    measures={
        "recall_loss": msgid("share of the ten nearest that is missed"),
        "category_mismatch": msgid("share of another category among the results"),
    },
)
