"""The image model on real photos: category precision of its embeddings, animal or not, speed.

    python -m bench.animals_image_model FOLDER [FOLDER ...] [--fit FOLDER]

Its embeddings are compared with the raw features and with other ways to reduce them. A folder holds
photos and manifest.csv with the columns file, kind and label, and may have category and source.
What has to be fitted (PCA) is fitted on the folder after --fit only, so that nothing is measured on
what it was fitted on. The project's own projection needs no photos: see vision/onnx_export.py.
"""

import argparse
import csv
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx

from bench.lib.reporting import RESULTS, print_target
from tanuki.animals.vision import encoder, onnx_export, torch_weights
from tanuki.platform.mlops.runtimes import OnnxRunner

K = 10
CATS = {
    "tabby",
    "tiger_cat",
    "Persian_cat",
    "Siamese_cat",
    "Egyptian_cat",
}  # ImageNet's classes of house cats
LEAST = 0.90
Features = np.ndarray[Any, Any]


class Raw:
    """The network with its 1,280 features beside the outputs, in this process."""

    def __init__(self, folder: Path) -> None:
        said = encoder.build_encoder(folder)
        made = onnx.load(str(folder / "model.onnx"))
        features = next(node.output[0] for node in made.graph.node if node.op_type == "Flatten")
        made.graph.output.append(
            onnx.helper.make_tensor_value_info(features, onnx.TensorProto.FLOAT, ["n", 1280])
        )
        onnx.save(made, str(folder / "model.onnx"))
        outputs = [*said["outputs"], {"name": features, "datatype": "FP32", "shape": [-1, 1280]}]
        self.model, self.features = OnnxRunner(folder, {**said, "outputs": outputs}), features

    def see(self, images: Features) -> dict[str, Features]:
        """Embedding, scores and features of prepared pictures."""
        out = self.model.run({onnx_export.INPUT: images})
        return {
            "embedding": out[onnx_export.EMBEDDING],
            "scores": out[onnx_export.SCORES],
            "features": out[self.features],
        }


def looked_at(
    model: Raw, folder: Path
) -> tuple[list[dict[str, str]], dict[str, Features], dict[str, float]]:
    """The manifest's rows, what is seen in each photo, and photos a second: prepared, looked at."""
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    seen: dict[str, list[Features]] = {"embedding": [], "scores": [], "features": []}
    took = {"prepare": 0.0, "look": 0.0}
    for row in rows:
        content = (folder / row["file"]).read_bytes()
        began = time.perf_counter()
        image = encoder.prepare_image(content)[None]
        prepared = time.perf_counter()
        for name, each in model.see(image).items():
            seen[name].append(each[0])
        took["look"] += time.perf_counter() - prepared
        took["prepare"] += prepared - began
    return (
        rows,
        {name: np.stack(each) for name, each in seen.items()},
        {name: len(rows) / each for name, each in took.items()},
    )


def ways(fit: dict[str, Features] | None) -> dict[str, Any]:
    """The embeddings that are compared, each a function of what was seen."""
    read = torch_weights.load_weights(torch_weights.find_package_weights())
    weight = read["_fc.weight"] - read["_fc.weight"].mean(axis=0)
    _, strength, directions = np.linalg.svd(weight, full_matrices=False)
    made: dict[str, Any] = {
        "ours": lambda seen: seen["embedding"],
        "raw 1280": lambda seen: seen["features"],
    }
    made["square roots 1280"] = lambda seen: np.sqrt(seen["features"])
    for d in (64, 128, 192, 256):
        made[f"classifier's directions {d}"] = lambda seen, d=d: seen["features"] @ directions[:d].T
        made[f"the same by strength {d}"] = lambda seen, d=d: (
            seen["features"] @ (directions[:d].T * strength[:d])
        )
        made[f"the same of square roots {d}"] = lambda seen, d=d: (
            np.sqrt(seen["features"]) @ directions[:d].T
        )
    made["scores 1000"] = lambda seen: seen["scores"]
    made["log scores 1000"] = lambda seen: (
        np.log(seen["scores"] + 1e-9) - np.log(seen["scores"] + 1e-9).mean(axis=1, keepdims=True)
    )
    if fit is not None:
        middle = unit(fit["features"]).mean(axis=0)
        _, spread, axes = np.linalg.svd(unit(fit["features"]) - middle, full_matrices=False)
        for d in (64, 128, 256):
            made[f"PCA {d}"] = lambda seen, d=d: (unit(seen["features"]) - middle) @ axes[:d].T
            made[f"PCA, whitened {d}"] = lambda seen, d=d: (
                (unit(seen["features"]) - middle) @ (axes[:d].T / spread[:d])
            )
    return made


def unit(vectors: Features) -> Features:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def precision(vectors: Features, kinds: Features, asked: Features) -> float:
    """Of the ten nearest of each photo asked about, the share of its own kind."""
    near = unit(vectors)
    right, total = 0.0, 0
    for start in range(0, len(near), 500):
        rows = np.arange(start, min(start + 500, len(near)))
        rows = rows[asked[rows]]
        if len(rows):
            cosines = near[rows] @ near.T
            cosines[np.arange(len(rows)), rows] = -9
            top = np.argpartition(-cosines, K, axis=1)[:, :K]
            right += float((kinds[top] == kinds[rows][:, None]).mean(axis=1).sum())
            total += len(rows)
    return right / total if total else float("nan")


def kinds_of(rows: list[dict[str, str]]) -> Features:
    """What each photo is of: cat, dog, or its label."""

    def kind(row: dict[str, str]) -> str:
        if row.get("category") in ("cat", "dog"):
            return row["category"]
        return "cat" if row["label"] in CATS else row["label"]

    return np.array([kind(row) for row in rows])


def auc(scores: Features, right: Features) -> float:
    """How likely a right one has the larger score."""
    order = np.argsort(np.argsort(scores, kind="stable"), kind="stable") + 1
    n = right.sum()
    return float((order[right].sum() - n * (n + 1) / 2) / (n * (len(right) - n)))


def measured(folder: Path, model: Raw, fit: dict[str, Features] | None) -> dict[str, Any]:
    """Every way on one folder."""
    rows, seen, speed = looked_at(model, folder)
    kinds = kinds_of(rows)
    made: dict[str, Any] = {"photos": len(rows), "per_s": speed, "ways": {}}
    animal = np.array([row["kind"] == "animal" for row in rows])
    made["animal_auc"] = auc(seen["scores"][:, : encoder.ANIMAL_CLASSES].sum(axis=1), animal)
    singles = np.array([row.get("source") == "imagenet1k" for row in rows])
    print(
        f"{folder.name}: {len(rows)} photos, {speed['prepare']:.0f} prepared and {speed['look']:.0f} looked at a second; animal or not: AUC {made['animal_auc']:.4f}"
    )
    for name, way in ways(fit).items():
        vectors = way(seen)
        found = {
            kind: precision(vectors, kinds, (kinds == kind) & ~singles) for kind in ("cat", "dog")
        }
        others = animal & ~np.isin(kinds, ["cat", "dog"]) & ~singles
        if others.any():
            found["others by label"] = precision(vectors, kinds, others)
        made["ways"][name] = {"dimension": int(vectors.shape[1]), **found}
        print(
            f"  {name:34} {vectors.shape[1]:5} numbers   "
            + "   ".join(f"{kind} {share:.4f}" for kind, share in found.items())
        )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--fit", type=Path, help="Photos that PCA is fitted on.")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        model = Raw(Path(folder))
        fit = looked_at(model, options.fit)[1] if options.fit else None
        found = {each.name: measured(each, model, fit) for each in options.folders}
    good = True
    for name, each in found.items():
        ours, raw = each["ways"]["ours"], each["ways"]["raw 1280"]
        right = (
            ours["cat"] >= LEAST
            and ours["cat"] >= raw["cat"]
            and ours["dimension"] * 5 <= raw["dimension"]
        )
        print_target(
            right,
            f"{name}: cats {ours['cat']:.4f} (at least {LEAST}),"
            f" raw features {raw['cat']:.4f} with five times the numbers",
        )
        good &= right
    if all(each["photos"] >= 1000 for each in found.values()):
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "animals_eyes.json").write_text(
            json.dumps(found, indent=1) + "\n", encoding="utf-8"
        )
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
