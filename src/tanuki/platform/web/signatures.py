"""Endpoints made from plain functions: what they ask for stays as they say it, what they answer is decided elsewhere."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_origin

from fastapi import Request, UploadFile, params
from pydantic import BaseModel, ConfigDict, create_model

REQUEST = "kit_request"  # a name that no view uses


def answering(
    view: Callable[..., Any], answer: Callable[[Request, Any], Any]
) -> Callable[..., Any]:
    """An endpoint with a view's own parameters, whose answer is made from the request and what the view gave."""
    signature = inspect.signature(view, eval_str=True)

    def endpoint(**given: Any) -> Any:
        request = given.pop(REQUEST)
        return answer(request, view(**given))

    asked = inspect.Parameter(REQUEST, inspect.Parameter.KEYWORD_ONLY, annotation=Request)
    keywords = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in signature.parameters.values()
    ]
    asked_for = [*keywords, asked]
    endpoint.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=asked_for, return_annotation=inspect.Signature.empty
    )
    endpoint.__name__, endpoint.__doc__ = view.__name__, view.__doc__
    return endpoint


def from_json(do: Callable[..., Any]) -> Callable[..., Any]:
    """The same action with one JSON object instead of form fields. One that takes files stays a form."""
    signature = inspect.signature(do, eval_str=True)
    fields = {name: each for name, each in signature.parameters.items() if in_form(each.annotation)}
    if not fields or any(takes_file(field.annotation) for field in fields.values()):
        return do
    shapes: dict[str, Any] = {
        name: (each.annotation, ... if each.default is inspect.Parameter.empty else each.default)
        for name, each in fields.items()
    }
    whole = whole_form(fields)
    body = whole or create_model(
        f"{do.__name__}_body", __config__=ConfigDict(extra="forbid"), **shapes
    )

    def act(**given: Any) -> Any:
        sent = given.pop("body")
        return do(
            **given,
            **(
                {next(iter(fields)): sent}
                if whole
                else {name: getattr(sent, name) for name in fields}
            ),
        )

    rest = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, each in signature.parameters.items()
        if name not in fields
    ]
    body_parameter = inspect.Parameter("body", inspect.Parameter.KEYWORD_ONLY, annotation=body)
    act.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*rest, body_parameter]
    )
    act.__name__, act.__doc__ = do.__name__, do.__doc__
    return act


def in_form(annotation: Any) -> bool:
    """Whether a parameter comes from a form."""
    return takes_file(annotation) or any(
        isinstance(metadata, params.Form) for metadata in get_args(annotation)[1:]
    )


def takes_file(annotation: Any) -> bool:
    """Whether a parameter is a file or several."""
    if any(isinstance(metadata, params.File) for metadata in get_args(annotation)[1:]):
        return True
    return annotation is UploadFile or (
        get_origin(annotation) is list and UploadFile in get_args(annotation)
    )


def whole_form(fields: Mapping[str, inspect.Parameter]) -> type[BaseModel] | None:
    """The model, when the whole form is one."""
    if len(fields) != 1:
        return None
    shape = get_args(next(iter(fields.values())).annotation)[0]
    return shape if isinstance(shape, type) and issubclass(shape, BaseModel) else None
