"""Quality and speed of the image model on real photos, beside other ways to make embeddings.

    python -m bench.animals_image_model --photos FOLDER [FOLDER ...] [--fit FOLDER]

Measured: the share of a cat's (a dog's) ten nearest neighbours that are cats (dogs), the AUC of
"animal or no animal", photos per second. A folder holds photos and manifest.csv with the columns
file, kind and label, and may have category and source. PCA is fitted on the folder of --fit only,
never on photos that it is measured on.
"""

import argparse
import csv
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from bench.lib.reporting import print_target, write_results
from tanuki.animals.vision import encoder, onnx_export, torch_weights
from tanuki.animals.vision.labels import ANIMAL_CLASSES
from tanuki.animals.vision.nearest_neighbours import find_nearest
from tanuki.platform.mlops.runtimes import OnnxRunner

Array = NDArray[Any]
Outputs = dict[str, Array]
"""The model's outputs of many photos, by name; a row each."""
Embedder = Callable[[Outputs], Array]

EMBEDDING, SCORES, FEATURES = "embedding", "scores", "features"
FEATURE_DIMENSION = 1_280
NEIGHBOURS = 10
MIN_CAT_PRECISION = 0.90
MIN_REDUCTION = 5  # of the dimension, beside the raw features
OURS, RAW_FEATURES = "ours", "raw 1280"
IMAGENET_CATS = {"tabby", "tiger_cat", "Persian_cat", "Siamese_cat", "Egyptian_cat"}
PETS = ("cat", "dog")
UNGROUPED_SOURCE = "imagenet1k"
"""One photo per class: they are neighbours of others but are not queries."""
REPORTED_PHOTOS = 1_000  # results of a folder with fewer photos are not written


class FeatureModel:
    """The image model in this process, which gives its 1,280 features, too."""

    def __init__(self, folder: Path) -> None:
        description = encoder.build_encoder(folder)
        model = onnx.load(str(folder / "model.onnx"))
        self.features = next(
            node.output[0] for node in model.graph.node if node.op_type == "Flatten"
        )
        shape = ["n", FEATURE_DIMENSION]
        output = onnx.helper.make_tensor_value_info(self.features, onnx.TensorProto.FLOAT, shape)
        model.graph.output.append(output)
        onnx.save(model, str(folder / "model.onnx"))
        tensor = {"name": self.features, "datatype": "FP32", "shape": [-1, FEATURE_DIMENSION]}
        outputs = [*description["outputs"], tensor]
        self.runner = OnnxRunner(folder, {**description, "outputs": outputs})

    def infer(self, images: Array) -> Outputs:
        """Embedding, scores and features of prepared pictures."""
        outputs = self.runner.run({onnx_export.INPUT: images})
        return {
            EMBEDDING: outputs[onnx_export.EMBEDDING],
            SCORES: outputs[onnx_export.SCORES],
            FEATURES: outputs[self.features],
        }


@dataclass(frozen=True)
class Photos:
    """The rows of a folder's manifest, the model's outputs, and photos per second by stage."""

    rows: list[dict[str, str]]
    outputs: Outputs
    per_s: dict[str, float]

    def labels(self) -> Array:
        """What each photo shows: cat, dog, or its label."""
        return np.array([read_label(row) for row in self.rows])

    def animals(self) -> Array:
        """Whether each photo shows an animal."""
        return np.array([row["kind"] == "animal" for row in self.rows])

    def queries(self) -> Array:
        """Whether the neighbours of each photo are counted."""
        return np.array([row.get("source") != UNGROUPED_SOURCE for row in self.rows])


def read_label(row: dict[str, str]) -> str:
    if row.get("category") in PETS:
        return row["category"]
    return "cat" if row["label"] in IMAGENET_CATS else row["label"]


def encode_folder(model: FeatureModel, folder: Path) -> Photos:
    """Encode the photos of a folder one by one."""
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as manifest:
        rows = list(csv.DictReader(manifest))
    outputs: dict[str, list[Array]] = {EMBEDDING: [], SCORES: [], FEATURES: []}
    seconds = {"prepare": 0.0, "infer": 0.0}
    for row in rows:
        content = (folder / row["file"]).read_bytes()
        start = time.perf_counter()
        image = encoder.prepare_image(content)[None]
        prepared = time.perf_counter()
        for name, values in model.infer(image).items():
            outputs[name].append(values[0])
        seconds["infer"] += time.perf_counter() - prepared
        seconds["prepare"] += prepared - start
    return Photos(
        rows,
        {name: np.stack(values) for name, values in outputs.items()},
        {stage: len(rows) / spent for stage, spent in seconds.items()},
    )


# ---- the embeddings that are compared ------------------------------------------------------------


def list_embedders(fit: Outputs | None) -> dict[str, Embedder]:
    """Functions from the model's outputs to embeddings, by name; PCA only with outputs to fit."""
    embedders: dict[str, Embedder] = {
        OURS: lambda outputs: outputs[EMBEDDING],
        RAW_FEATURES: lambda outputs: outputs[FEATURES],
        "square roots 1280": lambda outputs: np.sqrt(outputs[FEATURES]),
        **list_classifier_projections(),
        "scores 1000": lambda outputs: outputs[SCORES],
        "log scores 1000": lambda outputs: centre_rows(np.log(outputs[SCORES] + 1e-9)),
    }
    return embedders if fit is None else embedders | list_pca_projections(fit)


def list_classifier_projections() -> dict[str, Embedder]:
    """Projections on the first singular directions of the classifier's weights."""
    weights = torch_weights.load_weights(torch_weights.find_package_weights())
    classifier = weights["_fc.weight"] - weights["_fc.weight"].mean(axis=0)
    _, strengths, directions = np.linalg.svd(classifier, full_matrices=False)
    embedders: dict[str, Embedder] = {}
    for d in (64, 128, 192, 256):
        axes, scaled = directions[:d].T, directions[:d].T * strengths[:d]
        embedders |= {
            f"classifier's directions {d}": lambda outputs, axes=axes: outputs[FEATURES] @ axes,
            f"scaled directions {d}": lambda outputs, axes=scaled: outputs[FEATURES] @ axes,
            f"directions of square roots {d}": lambda outputs, axes=axes: (
                np.sqrt(outputs[FEATURES]) @ axes
            ),
        }
    return embedders


def list_pca_projections(fit: Outputs) -> dict[str, Embedder]:
    """Principal components of the normalised features of other photos."""
    features = normalise_rows(fit[FEATURES])
    mean = features.mean(axis=0)
    _, spread, directions = np.linalg.svd(features - mean, full_matrices=False)

    def project(outputs: Outputs, axes: Array) -> Array:
        return np.asarray((normalise_rows(outputs[FEATURES]) - mean) @ axes)

    embedders: dict[str, Embedder] = {}
    for d in (64, 128, 256):
        axes = directions[:d].T
        embedders |= {
            f"PCA {d}": lambda outputs, axes=axes: project(outputs, axes),
            f"PCA, whitened {d}": lambda outputs, axes=axes / spread[:d]: project(outputs, axes),
        }
    return embedders


def normalise_rows(vectors: Array) -> Array:
    """Rows of length 1; a row of zeros stays."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def centre_rows(vectors: Array) -> Array:
    return np.asarray(vectors - vectors.mean(axis=1, keepdims=True))


# ---- measures ------------------------------------------------------------------------------------


def measure_precision(vectors: Array, labels: Array, queries: Array) -> float:
    """Precision@10: the share of the queries' ten nearest neighbours that have their label."""
    positions = np.flatnonzero(queries)
    if not len(positions):
        return float("nan")
    normal = normalise_rows(vectors)
    neighbours, _ = find_nearest(normal, normal[positions], NEIGHBOURS + 1)
    own = neighbours == positions[:, None]
    own[~own.any(axis=1), -1] = True  # more than ten equal vectors
    others = neighbours[~own].reshape(len(positions), NEIGHBOURS)
    return float((labels[others] == labels[positions][:, None]).mean())


def measure_auc(scores: Array, positive: Array) -> float:
    """Area under the ROC curve: how likely a positive photo has the larger score."""
    ranks = np.argsort(np.argsort(scores, kind="stable"), kind="stable") + 1
    count = positive.sum()
    pairs = count * (len(positive) - count)
    return float((ranks[positive].sum() - count * (count + 1) / 2) / pairs)


def measure_folder(photos: Photos, fit: Outputs | None) -> dict[str, Any]:
    """Figures of one folder."""
    labels, animals, queries = photos.labels(), photos.animals(), photos.queries()
    animal_scores = photos.outputs[SCORES][:, :ANIMAL_CLASSES].sum(axis=1)
    groups = {pet: (labels == pet) & queries for pet in PETS}
    others = animals & ~np.isin(labels, PETS) & queries
    if others.any():
        groups["others by label"] = others
    embeddings = {}
    for name, embed in list_embedders(fit).items():
        vectors = embed(photos.outputs)
        embeddings[name] = {
            "dimension": int(vectors.shape[1]),
            **{
                group: measure_precision(vectors, labels, members)
                for group, members in groups.items()
            },
        }
    return {
        "photos": len(photos.rows),
        "per_s": photos.per_s,
        "animal_auc": measure_auc(animal_scores, animals),
        "embeddings": embeddings,
    }


# ---- the report ----------------------------------------------------------------------------------


def print_folder(name: str, figures: dict[str, Any]) -> None:
    per_s = figures["per_s"]
    print(
        f"{name}: {figures['photos']} photos, {per_s['prepare']:.0f} prepared and"
        f" {per_s['infer']:.0f} encoded per second; animal or not: AUC {figures['animal_auc']:.4f}"
    )
    for embedding, row in figures["embeddings"].items():
        groups = {group: share for group, share in row.items() if group != "dimension"}
        shares = "   ".join(f"{group} {share:.4f}" for group, share in groups.items())
        print(f"  {embedding:34} {row['dimension']:5} dimensions   {shares}")


def print_folder_target(name: str, figures: dict[str, Any]) -> bool:
    """Whether our embedding is good enough, no worse than the raw features, and much smaller."""
    ours, raw = figures["embeddings"][OURS], figures["embeddings"][RAW_FEATURES]
    met = (
        ours["cat"] >= max(MIN_CAT_PRECISION, raw["cat"])
        and ours["dimension"] * MIN_REDUCTION <= raw["dimension"]
    )
    print_target(
        met,
        f"{name}: cats {ours['cat']:.4f} (at least {MIN_CAT_PRECISION}),"
        f" raw features {raw['cat']:.4f} with {MIN_REDUCTION} times the dimension",
    )
    return bool(met)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, nargs="+", required=True, metavar="FOLDER")
    parser.add_argument("--fit", type=Path, metavar="FOLDER", help="Photos to fit PCA on.")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        model = FeatureModel(Path(folder))
        fit = encode_folder(model, options.fit).outputs if options.fit else None
        results = {
            photos.name: measure_folder(encode_folder(model, photos), fit)
            for photos in options.photos
        }
    for name, figures in results.items():
        print_folder(name, figures)
    met = [print_folder_target(name, figures) for name, figures in results.items()]
    if all(figures["photos"] >= REPORTED_PHOTOS for figures in results.values()):
        write_results("animals_image_model", results)
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
