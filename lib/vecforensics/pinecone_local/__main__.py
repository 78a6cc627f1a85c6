"""`python -m vecforensics.pinecone_local`: serve until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType

import click

from vecforensics.pinecone_local import PineconeLocal, Refused
from vecforensics.pinecone_local.control_plane import Plan

__all__ = ["main"]


def _plans(_context: click.Context, _parameter: click.Parameter, said: tuple[str, ...]) -> list[Plan]:
    plans = []
    for one in said:
        name, _, shape = one.partition(":")
        dimension, _, metric = shape.partition(":")
        if not dimension.isdecimal():
            raise click.BadParameter(
                f"{one!r} is not NAME:DIMENSION or NAME:DIMENSION:METRIC, as in items:384:cosine"
            )
        try:
            plans.append(Plan(name, int(dimension), metric or "cosine"))
        except Refused as error:
            raise click.BadParameter(f"{one!r}: {error.message}") from None
    if len({plan.name for plan in plans}) < len(plans):
        raise click.BadParameter("two indexes of the same name")
    return plans


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--port", default=5080, show_default=True, help="Port of the control plane; 0 takes a free one."
)
@click.option("--api-key", default="local", show_default=True, help="The key that clients must send.")
@click.option(
    "--index",
    "plans",
    multiple=True,
    callback=_plans,
    metavar="NAME:DIMENSION[:METRIC]",
    help="Make this index.",
)
@click.option(
    "--lag-s", default=0.0, show_default=True, help="Seconds until an acknowledged write is visible."
)
@click.option("--latency-s", default=0.0, show_default=True, help="Seconds that every answer takes.")
def main(port: int, api_key: str, plans: list[Plan], lag_s: float, latency_s: float) -> None:
    """A Pinecone-compatible service on 127.0.0.1, until Ctrl-C. Its state is in memory and ends with it."""
    stop = threading.Event()

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGINT, ask_to_stop)
    signal.signal(signal.SIGTERM, ask_to_stop)
    service = PineconeLocal(api_key, lag_s, port, latency_s)
    try:
        service.__enter__()
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on port {port} ({error.strerror}); try another with --port"
        ) from None
    try:
        for plan in plans:
            service.create(plan)
        click.echo(f"serving {service.url}; the state is in memory and ends with this process (Ctrl-C)")
        click.echo(f"export PINECONE_CONTROLLER_HOST={service.url}")
        click.echo(f"export PINECONE_API_KEY={api_key}")
        for name, (plan, host) in service.plans().items():
            click.echo(f"index {name}: {plan.dimension} dimensions, {plan.metric}, {host}")
        sys.stdout.flush()
        stop.wait()
    finally:
        service.__exit__(None, None, None)
    click.echo("stopped")


if __name__ == "__main__":
    main(prog_name="python -m vecforensics.pinecone_local")
