"""Endpoints made from plain functions: their parameters stay, their answer is made elsewhere."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, get_args, get_origin

from fastapi import Request, UploadFile, params
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, create_model

REQUEST = "endpoint_request"  # a parameter name that no view uses
Endpoint = Callable[..., Any]
"""A function that FastAPI calls with what its signature asks for."""


def wrap_view(view: Endpoint, answer: Callable[[Request, Any], object]) -> Endpoint:
    """An endpoint with the view's parameters that answers with `answer(request, view(…))`."""
    signature = inspect.signature(view, eval_str=True)
    # FastAPI gives the request to one parameter only: a view that asks for it shares ours
    shared = [
        name for name, parameter in signature.parameters.items() if parameter.annotation is Request
    ]

    def endpoint(**arguments: Any) -> object:  # noqa: ANN401 as the wrapped function says
        request = arguments.pop(REQUEST)
        return answer(request, view(**arguments, **dict.fromkeys(shared, request)))

    keywords = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in signature.parameters.items()
        if name not in shared
    ]
    request = inspect.Parameter(REQUEST, inspect.Parameter.KEYWORD_ONLY, annotation=Request)
    endpoint.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*keywords, request], return_annotation=inspect.Signature.empty
    )
    endpoint.__name__, endpoint.__doc__ = view.__name__, view.__doc__
    return endpoint


def accept_json(action: Endpoint) -> Endpoint:
    """The action with one JSON object in place of its form fields. With files it stays a form."""
    signature = inspect.signature(action, eval_str=True)
    fields = {
        name: parameter
        for name, parameter in signature.parameters.items()
        if is_form_field(parameter.annotation)
    }
    if not fields or any(takes_file(field.annotation) for field in fields.values()):
        return action
    form_model = whole_form_model(fields)
    name = f"{action.__name__}_body"
    body_model = strict_model(name, form_model) if form_model else build_body_model(name, fields)

    def endpoint(**arguments: Any) -> object:  # noqa: ANN401 as the wrapped function says
        body = arguments.pop("body")
        if form_model:
            return action(**arguments, **{next(iter(fields)): body})
        return action(**arguments, **{name: getattr(body, name) for name in fields})

    others = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in signature.parameters.items()
        if name not in fields
    ]
    body = inspect.Parameter("body", inspect.Parameter.KEYWORD_ONLY, annotation=body_model)
    endpoint.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*others, body]
    )
    endpoint.__name__, endpoint.__doc__ = action.__name__, action.__doc__
    return endpoint


def build_body_model(name: str, fields: Mapping[str, inspect.Parameter]) -> type[BaseModel]:
    definitions: dict[str, Any] = {
        field: (
            parameter.annotation,
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for field, parameter in fields.items()
    }
    return create_model(name, __config__=ConfigDict(extra="forbid"), **definitions)


def strict_model(name: str, model: type[BaseModel]) -> type[BaseModel]:
    """The form's model for JSON, which refuses unknown fields. A form has the CSRF token as one."""
    return type(name, (model,), {"model_config": ConfigDict(extra="forbid")})


def is_form_field(annotation: object) -> bool:
    return takes_file(annotation) or any(
        isinstance(metadata, params.Form) for metadata in get_args(annotation)[1:]
    )


def takes_file(annotation: object) -> bool:
    """Whether a parameter is a file or a list of files."""
    if any(isinstance(metadata, params.File) for metadata in get_args(annotation)[1:]):
        return True
    return annotation is UploadFile or (
        get_origin(annotation) is list and UploadFile in get_args(annotation)
    )


def whole_form_model(fields: Mapping[str, inspect.Parameter]) -> type[BaseModel] | None:
    """The model of the form, when one parameter takes all of it."""
    if len(fields) != 1:
        return None
    model = get_args(next(iter(fields.values())).annotation)[0]
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def run_in_thread(endpoint: Endpoint) -> Endpoint:
    """A plain function as an async endpoint that runs it in a thread of the pool, and only it.

    FastAPI runs plain functions in a thread, too, but then serializes their answer in a second
    one. A request that had written would wait for that thread before it commits, while all threads
    wait for the rows that it has locked.
    """
    if inspect.iscoroutinefunction(endpoint):
        return endpoint

    @wraps(endpoint)
    async def run_endpoint(*args: object, **kwargs: object) -> object:
        return await run_in_threadpool(endpoint, *args, **kwargs)

    return run_endpoint
