"""What needs a person of the services that follow streams: pure rules."""

from collections.abc import Iterator

from headrace.errors import FindingCode, Remedy
from headrace.maintenance.health.wording import counted
from headrace.standing.facts import Standing
from headrace.standing.finding import Finding
from headrace.standing.wording import listed, moment


def service_findings(standing: Standing) -> Iterator[Finding]:
    """Find services that failed or vanished, and streams that nothing follows any more."""
    yield from _failed(standing)
    yield from _stopped(standing)


def _failed(standing: Standing) -> Iterator[Finding]:
    failed = [each for each in standing.streams if each.trouble]
    if not failed:
        return
    first, *others = failed
    more = f"; the same for {listed([each.stream for each in others])}" if others else ""
    yield Finding(
        kind="wrong",
        code=FindingCode.SERVICE_FAILED,
        subject=listed([f"stream {each.stream}" for each in failed]),
        text=f"the service that follows {first.stream} has {first.trouble}{more}",
        since=min((each.trouble_at for each in failed if each.trouble_at), default=None),
        remedies=(Remedy.run("ingest", "run", *(each.stream for each in failed), "--follow"),),
        concerns=tuple(name for each in failed for name in (each.stream, each.table)),
        breaks=True,
    )


def _stopped(standing: Standing) -> Iterator[Finding]:
    """Find streams whose last service was asked to stop: it may have fenced the one that should run."""
    stopped = [each for each in standing.streams if each.stopped_at is not None]
    if not stopped:
        return
    first, *others = sorted(stopped, key=lambda each: (not each.former, each.stream))
    text = f"was followed until {moment(first.stopped_at)} UTC, and no service follows it now"
    if first.waiting:
        text += f"; {counted(first.waiting, first.parts)} of `{first.source}` not ingested yet"
    if first.former:
        text += f"; a service before that {first.former}"
    if others:
        text += f"; {listed([each.stream for each in others])} also not followed"
    names = [first.stream, *(each.stream for each in others)]
    yield Finding(
        kind="behind",
        code=FindingCode.NOT_FOLLOWED,
        subject=listed([f"stream {each}" for each in names]),
        text=text,
        since=min((each.stopped_at for each in stopped if each.stopped_at), default=None),
        remedies=(Remedy.run("ingest", "run", *names, "--follow"),),
        concerns=tuple(name for each in (first, *others) for name in (each.stream, each.table)),
    )
