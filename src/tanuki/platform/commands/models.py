"""`tanuki models`: the model server, and the life cycle of every model of both systems."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from sqlalchemy.orm import Session

from tanuki.cli.context import echo, say
from tanuki.cli.output import emit, json_option
from tanuki.errors import NotFound, UserError
from tanuki.platform import accounts
from tanuki.platform.accounts import COMMAND_LINE, Person
from tanuki.platform.commands.context import open_resources
from tanuki.platform.mlops import overview, release, rollout
from tanuki.platform.mlops.evaluation import OVERALL, Comparison
from tanuki.platform.mlops.guardrails import Bounds
from tanuki.platform.mlops.registry import CHALLENGER
from tanuki.platform.mlops.release import ModelChange
from tanuki.platform.mlops.tables import GateVerdict, Release, Rollout

if TYPE_CHECKING:
    from tanuki.platform.resources import Resources

by_option = click.option(
    "--by", help="The person's account; the command line itself, unless given."
)
bound_option = click.option(
    "--bound",
    "bounds",
    multiple=True,
    metavar="NAME=NUMBER",
    help="A guardrail's bound that the version must keep within; may be given again.",
)


@click.group(
    invoke_without_command=True,
    help="Models: serve (also without a subcommand), list, evaluate, release, roll back.",
)
@click.pass_context
def models(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        ctx.invoke(serve)


@models.command(
    help="Serve every live model by the Open Inference Protocol v2, over HTTP and gRPC, "
    "until SIGTERM or Ctrl-C."
)
def serve() -> None:
    from tanuki.platform.commands.model_server import serve_models
    from tanuki.platform.serving.server import ModelServer

    with open_resources() as res:
        if not isinstance(res.models, ModelServer):
            raise UserError(
                "TANUKI_MODEL_SERVER names another server. "
                "A model server answers itself, so leave the setting empty here."
            )
        serve_models(res, res.models)


@models.command("list", help="Every model: champion, challenger and number of versions.")
@json_option
def list_models(as_json: bool) -> None:
    with open_resources() as res, res.db.read() as db:
        rollouts = {row.model: row for row in rollout.list_rollouts(db)}
        names = sorted({*res.registry.names(), *rollouts})
        emit([model_row(db, res, name, rollouts.get(name)) for name in names], as_json)


def model_row(db: Session, res: "Resources", model: str, row: Rollout | None) -> dict[str, object]:
    return {
        "model": model,
        "title": say(res.lifecycle.title(model)),
        "champion": rollout.champion_version(db, res.registry, model),
        "challenger": row.challenger if row else None,
        "mode": row.mode if row else "not_served",
        "share": row.share if row and row.challenger else None,
        "versions": len(res.registry.versions(model)),
        "since": row.at if row else None,
    }


@models.command(
    help="One model: versions, counts of the servers, verdicts with their reasons, releases."
)
@click.argument("model")
@json_option
def show(model: str, as_json: bool) -> None:
    with open_resources() as res, res.db.read() as db:
        details = overview.load_overview(db, res.registry, model)
        if as_json:
            emit([overview.overview_json(res.lifecycle, details)], as_json)
            return
        for title, rows in overview.overview_tables(res.lifecycle, details):
            click.echo(f"\n{title}")
            emit(rows, as_json)


@models.command(
    help="Verdicts about a model's versions, newest first. "
    "The exit code is 1 when the newest is a NO-GO."
)
@click.argument("model")
@click.argument("version", required=False)
@json_option
@click.pass_context
def verdicts(ctx: click.Context, model: str, version: str | None, as_json: bool) -> None:
    with open_resources() as res, res.db.read() as db:
        records = [
            verdict
            for verdict in release.list_verdicts(db, model)
            if version in (None, verdict.version)
        ]
        if not records:
            raise NotFound("The model %(model)s has no evaluated version.", model=model)
        emit([overview.verdict_row(res.lifecycle, verdict) for verdict in records], as_json)
        exit_on_no_go(ctx, records[0])


@models.command(
    help="Evaluate VERSION (a number or alias) beside the champion and record the verdict. "
    "On GO it becomes the champion. On NO-GO nothing changes, there is a sentence for each "
    "reason, and the exit code is 1."
)
@click.argument("model")
@click.argument("version", default=CHALLENGER)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=NUMBER",
    help="An option of this model's evaluation, such as weeks=8; may be given again.",
)
@click.option("--no-release", is_flag=True, help="Only record the verdict.")
@json_option
@click.pass_context
def evaluate(
    ctx: click.Context,
    model: str,
    version: str,
    settings: tuple[str, ...],
    no_release: bool,
    as_json: bool,
) -> None:
    options = {name: int(value) for name, value in parse_numbers(settings).items()}
    with open_resources() as res:
        verdict, released = evaluate_model(
            res, model, version, options=options, release_on_go=not no_release
        )
        print_verdict(res, verdict, released=released, as_json=as_json)
        exit_on_no_go(ctx, verdict)


def evaluate_model(
    res: "Resources",
    model: str,
    version: str,
    *,
    options: Mapping[str, int],
    release_on_go: bool,
) -> tuple[GateVerdict, bool]:
    """Evaluate a version again, record the verdict and release on GO; whether it was released."""
    now = datetime.now(UTC)
    evaluation = res.lifecycle.evaluate(model, version, now, options)
    verdict = res.lifecycle.record_evaluation(model, evaluation, actor=COMMAND_LINE, now=now)
    released = release_on_go and res.lifecycle.release_on_go(verdict, actor=COMMAND_LINE, now=now)
    return verdict, released


def verdict_json(res: "Resources", verdict: GateVerdict, *, released: bool) -> dict[str, object]:
    """A verdict as one JSON object; sentences in English."""
    return {
        "version": verdict.version,
        "verdict": verdict.decision,
        "verdict_id": verdict.id,
        "champion": verdict.champion,
        "released": released,
        "baseline": verdict.report.get("baseline"),
        "reasons": verdict.report["reasons"],
        "sentences": res.lifecycle.render_reasons(verdict),
        "comparisons": verdict.report.get("comparisons", []),
    }


def print_verdict(res: "Resources", verdict: GateVerdict, *, released: bool, as_json: bool) -> None:
    """A verdict, its comparisons over all rows, and a sentence for each reason."""
    details = verdict_json(res, verdict, released=released)
    if as_json:
        emit([details], as_json)
        return
    columns = ("version", "verdict", "champion", "released", "baseline")
    emit([details], as_json, columns)
    comparisons: Sequence[Comparison] = verdict.report.get("comparisons", [])
    emit([comparison_row(line) for line in comparisons if line["slice"] == OVERALL], as_json)
    for sentence in res.lifecycle.render_reasons(verdict, say):
        click.echo(sentence)


def comparison_row(comparison: Comparison) -> dict[str, object]:
    return {
        "measure": comparison["measure"],
        "compared with": comparison["other"],
        "rows": comparison["rows"],
        "worse by": f"{comparison['change']:+.1%}",
        "from": f"{comparison['low']:+.1%}",
        "to": f"{comparison['high']:+.1%}",
    }


def exit_on_no_go(ctx: click.Context, verdict: GateVerdict) -> None:
    """Exit with code 1 when a verdict is NO-GO."""
    if not verdict.go:
        ctx.exit(1)


@models.command("release", help="Make VERSION the champion, on its GO.")
@click.argument("model")
@click.argument("version")
@click.option(
    "--other-interface",
    is_flag=True,
    help="Its inputs or outputs differ from the champion's, and the callers change with it.",
)
@by_option
@json_option
def release_(
    model: str, version: str, other_interface: bool, by: str | None, as_json: bool
) -> None:
    with open_resources() as res:
        with res.db.write() as db:
            change = open_change(db, res, model, by)
            verdict = release.latest_verdict(db, model, version)
            if verdict is None:
                raise UserError(
                    "Version %(version)s has no verdict; please evaluate it first.",
                    version=version,
                )
            entry = release.release_version(change, verdict, same_interface=not other_interface)
        emit([release_json(entry)], as_json)


@models.command(
    help="Make VERSION the champion against a NO-GO: the decision of a person, with a reason."
)
@click.argument("model")
@click.argument("version")
@click.option("--why", required=True, help="The reason.")
@by_option
@json_option
def override(model: str, version: str, why: str, by: str | None, as_json: bool) -> None:
    with open_resources() as res:
        with res.db.write() as db:
            entry = release.override_verdict(open_change(db, res, model, by), version, why)
        emit([release_json(entry)], as_json)


@models.command(help="Let VERSION answer a share of the requests as well; nobody sees its answers.")
@click.argument("model")
@click.argument("version")
@click.option(
    "--share", default=1.0, show_default=True, help="Share of the requests that it answers."
)
@bound_option
@by_option
@json_option
def shadow(
    model: str, version: str, share: float, bounds: tuple[str, ...], by: str | None, as_json: bool
) -> None:
    with open_resources() as res, res.db.write() as db:
        change = open_change(db, res, model, by)
        row = release.start_shadow(change, version, share=share, bounds=parse_bounds(bounds))
        emit([rollout_json(row)], as_json)


@models.command(
    help="Give some people VERSION's answers, on its GO. "
    "It is taken back automatically when it violates a guardrail."
)
@click.argument("model")
@click.argument("version")
@click.option(
    "--share",
    default=0.1,
    show_default=True,
    help="Share of the people who get its answers; always the same people.",
)
@bound_option
@by_option
@json_option
def canary(
    model: str, version: str, share: float, bounds: tuple[str, ...], by: str | None, as_json: bool
) -> None:
    with open_resources() as res, res.db.write() as db:
        change = open_change(db, res, model, by)
        row = release.start_canary(change, version, share=share, bounds=parse_bounds(bounds))
        emit([rollout_json(row)], as_json)


@models.command(help="Make the challenger the champion, on its GO.")
@click.argument("model")
@click.option("--why", default="", help="A reason for the record.")
@by_option
@json_option
def promote(model: str, why: str, by: str | None, as_json: bool) -> None:
    with open_resources() as res, res.db.write() as db:
        entry = release.promote_challenger(open_change(db, res, model, by), why)
        emit([release_json(entry)], as_json)


@models.command(
    help="Take the challenger away or, where there is none, make the previous champion live again. "
    "A second call undoes the latter."
)
@click.argument("model")
@click.option("--why", required=True, help="The reason.")
@by_option
@json_option
def rollback(model: str, why: str, by: str | None, as_json: bool) -> None:
    with open_resources() as res, res.db.write() as db:
        change, row = open_change(db, res, model, by), rollout.load_rollout(db, model)
        if row is not None and row.challenger is not None:
            version = release.dismiss_challenger(change, why)
            emit(
                [{"model": model, "dismissed": version, "champion": row.champion, "why": why}],
                as_json,
            )
        else:
            emit([release_json(release.roll_back_version(change, why))], as_json)


@models.command(
    help="Compute kept predictions again. The exit code is 1 when one differs by a byte."
)
@click.option("--model", help="Of one model only.")
@click.option("--last", default=100, show_default=True, help="How many, the newest first.")
@json_option
@click.pass_context
def replay(ctx: click.Context, model: str | None, last: int, as_json: bool) -> None:
    from tanuki.platform.serving.shadow_replay import replay_predictions

    with open_resources() as res, res.db.read() as db:
        replays = list(
            replay_predictions(db, res.registry, model_cache(res), model=model, limit=last)
        )
    different = [replayed for replayed in replays if replayed.difference is not None]
    if as_json or different:
        emit(
            [
                {
                    "id": replayed.prediction.id,
                    "model": replayed.prediction.model,
                    "version": replayed.prediction.version,
                    "at": replayed.prediction.at,
                    "same": replayed.difference is None,
                    "difference": replayed.difference,
                }
                for replayed in (replays if as_json else different)
            ],
            as_json,
        )
    if not as_json:
        echo(
            "%(same)s of %(all)s predictions are the same, byte for byte.",
            same=len(replays) - len(different),
            all=len(replays),
        )
    if different:
        ctx.exit(1)


def model_cache(res: "Resources") -> Path:
    """The folder for copies of model files."""
    return res.settings.home.absolute() / "models"


def open_change(db: Session, res: "Resources", model: str, by: str | None) -> ModelChange:
    """A change of a model by a person's account, or by the command line."""
    return ModelChange(db, res.registry, model, load_actor(db, by), datetime.now(UTC))


def load_actor(db: Session, name: str | None) -> Person:
    """A person by account; the command line itself when nobody is named. Raises NotFound."""
    if name is None:
        return COMMAND_LINE
    person = accounts.find_person(db, name)
    if person is None:
        raise NotFound("There is no account %(name)s.", name=name)
    return person


def parse_bounds(texts: Sequence[str]) -> Bounds | None:
    """Bounds from `NAME=NUMBER`; None without any. Raises UserError."""
    values, names = parse_numbers(texts), Bounds().as_json().keys()
    for name in values.keys() - names:
        raise UserError(
            "%(name)s is not a bound; expected one of %(known)s.", name=name, known=", ".join(names)
        )
    return Bounds.from_json(values) if values else None


def parse_numbers(texts: Sequence[str]) -> dict[str, float]:
    """Numbers by name from texts like `weeks=8`. Raises UserError."""
    values = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            values[name] = float(value)
        except ValueError as error:
            raise UserError(
                "%(name)s is given as %(value)r; expected NAME=NUMBER.", name=name, value=value
            ) from error
    return values


def release_json(entry: Release) -> dict[str, object]:
    return {"model": entry.model, **overview.release_row(entry)}


def rollout_json(row: Rollout) -> dict[str, object]:
    names = ("model", "champion", "challenger", "mode", "share", "at")
    return {name: getattr(row, name) for name in names}
