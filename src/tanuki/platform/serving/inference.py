"""Asking models: the interface of those in this process and of those on a server."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tanuki.errors import UserError
from tanuki.platform.mlops.runtimes import Array, Arrays, ModelError

Metadata = dict[str, Any]
"""A model's inputs and outputs as the Open Inference Protocol describes them, in JSON."""


@dataclass(frozen=True)
class InferenceAnswer:
    """The outputs, the version that gave them, and the role it answered in (`ServedAs`)."""

    outputs: dict[str, Array]
    version: str
    served_as: str


class Inference(Protocol):
    """Models that answer, in this process or on a server.

    `infer` raises NotFound, ModelError, and UserError for wrong inputs. The same `person` always
    gets the same version. `seconds`: within which the answer is needed.
    """

    def infer(
        self,
        model: str,
        inputs: Arrays,
        *,
        version: str | None = None,
        person: str | None = None,
        seconds: float | None = None,
    ) -> InferenceAnswer: ...

    def ready(self, model: str, version: str | None = None) -> bool: ...

    def metadata(self, model: str, version: str | None = None) -> Metadata: ...

    def refresh(self) -> None: ...

    def close(self) -> None: ...


def answer_error(model: str, version: str, error: UserError) -> ModelError:
    """The error of a caller whose version gave no answer; it keeps the status."""
    failure = ModelError(
        "The model %(model)s (version %(version)s) gave no answer: %(why)s",
        model=model,
        version=version,
        why=str(error),
    )
    failure.status = error.status
    return failure


def person_parameters(person: str | None) -> Mapping[str, str]:
    """The parameters of a request; servers that know nothing of people ignore them."""
    return {} if person is None else {"person": person}
