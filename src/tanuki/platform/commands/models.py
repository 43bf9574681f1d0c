"""`tanuki models`: the model server, and what is registered, judged, live and beside it; the steps there and back."""

import signal
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tanuki.cli.output import emit, json_option, resources
from tanuki.errors import NotFound, UserError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from tanuki.platform.accounts import Person
    from tanuki.platform.mlops.guardrails import Bounds
    from tanuki.platform.mlops.tables import Release, Serving
    from tanuki.platform.resources import Resources

DRAIN_SECONDS = 30  # for what was begun, when the server ends

by_option = click.option(
    "--by", help="The person's account; the command line itself, unless given."
)
bound_option = click.option(
    "--bound",
    "bounds",
    multiple=True,
    metavar="NAME=NUMBER",
    help="A bound that it must keep within; may be given again.",
)
share_help = "Share of the people who get its answers; always the same people."


@click.group(
    invoke_without_command=True,
    help="Models: serve those that are live (without a subcommand, too), list, release, watch, go back.",
)
@click.pass_context
def models(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        ctx.invoke(serve)


@models.command(
    help="Serve every live model by the Open Inference Protocol v2, over HTTP and gRPC, until SIGTERM or Ctrl-C."
)
def serve() -> None:
    from tanuki.platform.serving.server import Models

    with resources() as res:
        if not isinstance(res.models, Models):
            raise UserError(
                "TANUKI_MODELS names another server; a model server answers itself, so leave it empty here."
            )
        serve_models(res, res.models)


def serve_models(res: "Resources", served: Any) -> None:
    """HTTP and gRPC until stopped; what was begun is answered before the end."""
    import uvicorn

    from tanuki.platform import gc_tuning, log
    from tanuki.platform.serving import grpc_server as grpc_service
    from tanuki.platform.serving import rest_server

    log.set_up(res.settings)
    grpc_server, grpc_port = grpc_service.server(
        served, f"{res.settings.host}:{res.settings.models_grpc_port}"
    )
    config = uvicorn.Config(
        rest_server.app(served),
        host=res.settings.host,
        port=res.settings.models_port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )

    class Announcing(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            for server in self.servers if self.started else []:
                host, port = server.sockets[0].getsockname()[:2]
                click.echo(
                    f"Models are at http://{host}:{port}/v2 and grpc://{res.settings.host}:{grpc_port}"
                )

        async def shutdown(self, sockets: Any = None) -> None:
            ended = grpc_server.stop(DRAIN_SECONDS)  # takes no more, as HTTP does now
            await super().shutdown(sockets)
            ended.wait()

    load_all(served)
    stop = threading.Event()
    follower = threading.Thread(
        target=follow, args=(served, stop), name="models-follow", daemon=True
    )
    follower.start()
    grpc_server.start()
    server = Announcing(config)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(
            name, lambda *_: None
        )  # uvicorn sends itself again what ended it, when it has ended
    gc_tuning.keep_short()
    server.run()
    stop.set()
    if not server.started:
        raise UserError(
            "Port %(port)s cannot be listened on; another program may have it.",
            port=res.settings.models_port,
        )


def load_all(served: Any) -> None:
    """Load what is live, before anybody asks; what cannot be loaded is said in the log, and the others serve."""
    for name in served.names():
        served.ready(name)


def follow(served: Any, stop: threading.Event) -> None:
    """Load models that went live for the first time since the server began."""
    from sqlalchemy.exc import SQLAlchemyError

    while not stop.wait(1.0):
        try:
            load_all(served)
        except SQLAlchemyError:
            continue  # the next look will do; the plans' own look says so in the log


@models.command(
    "list",
    help="Every model: what is live, what stands beside it, and how many versions there are.",
)
@json_option
def list_(as_json: bool) -> None:
    from tanuki.platform.mlops import rollout

    with resources() as res, res.db.read() as db:
        rows = []
        serving = {each.model: each for each in rollout.plans(db)}
        for name in sorted({*res.registry.names(), *serving}):
            plan = serving.get(name)
            versions = res.registry.versions(name)
            rows.append(
                {
                    "model": name,
                    "champion": rollout.champion(db, res.registry, name),
                    "challenger": plan.challenger if plan else None,
                    "mode": plan.mode if plan else "not served",
                    "share": plan.share if plan and plan.challenger else None,
                    "versions": len(versions),
                    "since": plan.at if plan else None,
                }
            )
        emit(rows, as_json)


@models.command(
    help="One model: its versions, what was counted of them, verdicts with their sentences, releases."
)
@click.argument("model")
@json_option
def show(model: str, as_json: bool) -> None:
    from tanuki.platform.mlops import overview

    with resources() as res, res.db.read() as db:
        found = overview.of(db, res.registry, model)
        if as_json:
            emit([overview.as_json(found)], as_json)
            return
        for title, rows in overview.tables(found):
            click.echo(f"\n{title}")
            emit(rows, as_json)


@models.command(
    help="What the gate found about a model's versions, newest first; exit code 1 when the newest is a NO-GO."
)
@click.argument("model")
@click.argument("version", required=False)
@json_option
@click.pass_context
def gate(ctx: click.Context, model: str, version: str | None, as_json: bool) -> None:
    from tanuki.platform.mlops import overview, release

    with resources() as res, res.db.read() as db:
        found = [
            verdict for verdict in release.verdicts(db, model) if version in (None, verdict.version)
        ]
    if not found:
        raise NotFound(
            "No version of the model %(model)s was judged; its own training judges it.", model=model
        )
    emit([overview.verdict(each) for each in found], as_json)
    if not found[0].go:
        ctx.exit(1)


@models.command(
    help="Make VERSION the champion: on the GO that it has or, with --override, against a NO-GO, by a named person with a reason."
)
@click.argument("model")
@click.argument("version")
@click.option("--override", is_flag=True, help="Against the gate's NO-GO.")
@click.option("--why", default="", help="The reason; needed with --override.")
@click.option(
    "--other-shape",
    is_flag=True,
    help="It takes or gives something else than the live version, and who asks it changes with it.",
)
@by_option
@json_option
def release(
    model: str,
    version: str,
    override: bool,
    why: str,
    other_shape: bool,
    by: str | None,
    as_json: bool,
) -> None:
    from tanuki.platform.mlops import release as live

    with resources() as res:
        with res.db.write() as db:
            who, now = person(db, by), datetime.now(UTC)
            if override:
                made = live.override(db, res.registry, who, model, version, why=why, now=now)
            else:
                verdict = live.latest(db, model, version)
                if verdict is None:
                    raise UserError(
                        "Version %(version)s was never judged; let the gate judge it first.",
                        version=version,
                    )
                made = live.release(db, res.registry, who, verdict, now, other_shape=other_shape)
        emit([released(made)], as_json)


@models.command(help="Let VERSION answer a share of the requests, too; nobody sees what it says.")
@click.argument("model")
@click.argument("version")
@click.option(
    "--share", default=1.0, show_default=True, help="Share of the requests that it answers, too."
)
@bound_option
@by_option
@json_option
def shadow(
    model: str, version: str, share: float, bounds: tuple[str, ...], by: str | None, as_json: bool
) -> None:
    from tanuki.platform.mlops import release as live

    with resources() as res, res.db.write() as db:
        made = live.shadow(
            db,
            res.registry,
            person(db, by),
            model,
            version,
            datetime.now(UTC),
            share=share,
            bounds=bounds_of(bounds),
        )
        emit([planned(made)], as_json)


@models.command(
    help="Let some people have VERSION's answers, on its GO; it goes by itself when it leaves its bounds."
)
@click.argument("model")
@click.argument("version")
@click.option("--share", default=0.1, show_default=True, help=share_help)
@bound_option
@by_option
@json_option
def canary(
    model: str, version: str, share: float, bounds: tuple[str, ...], by: str | None, as_json: bool
) -> None:
    from tanuki.platform.mlops import release as live

    with resources() as res, res.db.write() as db:
        made = live.canary(
            db,
            res.registry,
            person(db, by),
            model,
            version,
            datetime.now(UTC),
            share=share,
            bounds=bounds_of(bounds),
        )
        emit([planned(made)], as_json)


@models.command(help="Make the challenger the champion, on its GO.")
@click.argument("model")
@click.option("--why", default="", help="A reason to remember.")
@by_option
@json_option
def promote(model: str, why: str, by: str | None, as_json: bool) -> None:
    from tanuki.platform.mlops import release as live

    with resources() as res, res.db.write() as db:
        emit(
            [
                released(
                    live.promote(
                        db, res.registry, person(db, by), model, datetime.now(UTC), why=why
                    )
                )
            ],
            as_json,
        )


@models.command(
    help="Back: the challenger goes or, where there is none, the version that was live before is live again."
)
@click.argument("model")
@click.option("--why", required=True, help="The reason.")
@by_option
@json_option
def rollback(model: str, why: str, by: str | None, as_json: bool) -> None:
    from tanuki.platform.mlops import release as live
    from tanuki.platform.mlops import rollout

    with resources() as res, res.db.write() as db:
        who, now, found = person(db, by), datetime.now(UTC), rollout.plan(db, model)
        if found is not None and found.challenger is not None:
            gone = live.dismiss(db, res.registry, who, model, now, why=why)
            emit(
                [{"model": model, "dismissed": gone, "champion": found.champion, "why": why}],
                as_json,
            )
        else:
            emit([released(live.rollback(db, res.registry, who, model, why=why, now=now))], as_json)


@models.command(
    help="Compute answers that were kept again, byte for byte; exit code 1 when one differs."
)
@click.option("--model", help="Of one model only.")
@click.option("--last", default=100, show_default=True, help="How many, the newest first.")
@json_option
@click.pass_context
def replay(ctx: click.Context, model: str | None, last: int, as_json: bool) -> None:
    from tanuki.platform.serving import shadow_replay as kept

    with resources() as res, res.db.read() as db:
        found = list(
            kept.again(
                db, res.registry, res.settings.home.absolute() / "models", model=model, last=last
            )
        )
    different = [each for each in found if each.different is not None]
    if as_json or different:
        emit(
            [
                {
                    "id": each.prediction.id,
                    "model": each.prediction.model,
                    "version": each.prediction.version,
                    "at": each.prediction.at,
                    "same": each.different is None,
                    "different": each.different,
                }
                for each in (found if as_json else different)
            ],
            as_json,
        )
    if not as_json:
        click.echo(
            f"{len(found) - len(different)} of {len(found)} answers are the same, byte for byte."
        )
    if different:
        ctx.exit(1)


def person(db: "Session", name: str | None) -> "Person":
    """Somebody by their account; the command line itself when nobody is named. Raises NotFound."""
    from tanuki.platform import accounts

    if name is None:
        return accounts.COMMAND_LINE
    found = accounts.person(db, name)
    if found is None:
        raise NotFound("There is no account %(name)s.", name=name)
    return found


def bounds_of(given: tuple[str, ...]) -> "Bounds | None":
    """Bounds from the command line. Raises UserError."""
    from tanuki.platform.mlops.guardrails import Bounds

    known, found = Bounds().as_json(), {}
    for each in given:
        name, _, value = each.partition("=")
        if name not in known:
            raise UserError(
                "%(name)s is no bound; expected one of %(known)s.",
                name=name,
                known=", ".join(known),
            )
        try:
            found[name] = float(value)
        except ValueError as error:
            raise UserError(
                "The bound %(name)s is %(value)s; expected a number.", name=name, value=value
            ) from error
    return Bounds.read(found) if found else None


def released(made: "Release") -> dict[str, Any]:
    """A change of what is live, in a line."""
    return {
        name: getattr(made, name)
        for name in ("model", "version", "previous", "kind", "at", "by", "why")
    }


def planned(made: "Serving") -> dict[str, Any]:
    """A plan, in a line."""
    return {
        name: getattr(made, name)
        for name in ("model", "champion", "challenger", "mode", "share", "at")
    }
