"""A witness for terminals: the lanes drawn with plain characters, the prose below, all of it escaped and width-aware.

Everything is ASCII, so that it survives any terminal, log file and mail. The two runs stand side by side where the terminal is
wide enough, else one below the other. Control characters in ids are shown as escapes (`errors.printable`), and what is beyond
ASCII too: an id can neither move the cursor nor turn the line around.
"""

from __future__ import annotations

import shutil
import textwrap

from vecforensics.errors import printable
from vecforensics.race.model import Exploration, OperationKind, Trace, Verdict, Witness
from vecforensics.race.views.certificate import certificate_lines, replay_command
from vecforensics.race.views.prose import explain, explain_verdict
from vecforensics.race.views.story import Lane, RowKind, Run, Span, Story, took_effect
from vecforensics.race.views.telling import tell
from vecforensics.race.views.words import clip, place_text

__all__ = ["ascii_only", "exploration_text", "lanes_text"]

_GUTTER = 5
_NARROWEST, _WIDEST = 9, 16
_WAYS = {OperationKind.UPSERT: "==>", OperationKind.DELETE: "=x>", OperationKind.FETCH: "<--"}


def ascii_only(text: str) -> str:
    """`text` with what is beyond ASCII as escapes, and typographic signs of ours in plain form."""
    plain = text.translate(
        {0x2026: "..", 0x201C: '"', 0x201D: '"', 0x2019: "'", 0x2013: "-", 0x2212: "-", 0x00D7: "x"}
    )
    return plain.encode("ascii", "backslashreplace").decode()


def exploration_text(exploration: Exploration, width: int | None = None) -> str:
    """Verdict, prose, lanes, constraints, certificate and the string that replays it. `width` in columns, else the terminal's."""
    width = width or shutil.get_terminal_size((100, 24)).columns
    mark = {Verdict.FAILING: "FAILING", Verdict.PROVED: "PROVED", Verdict.SAMPLED: "NONE FOUND (sampled)"}
    lines = [f"{mark[exploration.verdict]}  {clip(exploration.suspect, max(width - 12, 20))}", ""]
    lines += textwrap.wrap(explain_verdict(exploration), width)
    witness = exploration.witness
    if witness is not None:
        lines += ["", f"kinds: {', '.join(witness.kinds)}", "", *_prose(witness, width), ""]
        lines += [lanes_text(witness, width), ""]
        lines += [f"constraint: {clip(item.text, max(width - 12, 20))}" for item in witness.constraints]
    lines += ["", *certificate_lines(exploration)]
    for leak in exploration.leaks:
        lines += textwrap.wrap(f"leak: {printable(leak, 1_000)}", width, subsequent_indent="      ")
    if witness is not None:
        lines.append(f"replay: {printable(replay_command(exploration), 6000)}")
    return ascii_only("\n".join(lines))


def _prose(witness: Witness, width: int) -> list[str]:
    lines: list[str] = []
    for sentence in explain(witness).sentences:
        lines += textwrap.wrap(ascii_only(sentence.text), width)
        lines += [
            f"    {place_text(place)}  {clip(place.text, max(width - 30, 20))}" for place in sentence.places
        ]
    return lines


def lanes_text(witness: Witness, width: int = 100, *, beside: Trace | None = None) -> str:
    """The swim lanes, at most `width` columns wide, as long as a lane can be `_NARROWEST` columns."""
    fits = max(2, (width - _GUTTER) // _NARROWEST)
    story = tell(witness, beside=beside, most_lanes=min(6, fits))
    runs = [story.failing] if story.beside is None else [story.failing, story.beside]
    pair_width = (width - 3) // 2
    lanes = max(len(run.lanes) for run in runs)
    if len(runs) == 2 and pair_width >= _GUTTER + lanes * (_NARROWEST + 2):
        left, right = (_block(run, pair_width) for run in runs)
        height = max(len(left), len(right))
        left += [""] * (height - len(left))
        right += [""] * (height - len(right))
        lines = [f"{one:<{pair_width}} | {other}".rstrip() for one, other in zip(left, right, strict=True)]
    else:
        lines = []
        for run in runs:
            lines += [*_block(run, width), ""]
    lines += _edges(story, width)
    return ascii_only("\n".join(lines).rstrip())


def _edges(story: Story, width: int) -> list[str]:
    found = []
    for edge in story.missing:
        text = f"missing: {story.edge_text(edge)}. Nothing in the code makes it so."
        found += textwrap.wrap(f"~{edge.letter}~ {ascii_only(text)}", width, subsequent_indent="    ")
    for met in story.met:
        text = f"together: {story.meeting_text(met)}, in the same round of the event loop."
        found += textwrap.wrap(ascii_only(text), width, subsequent_indent="    ")
    if story.left_out:
        found.append(f"operations of the run that are not drawn: {story.left_out}")
    return found


def _block(run: Run, width: int) -> list[str]:
    """One run as lines of at most `width` characters."""
    cell = max(_NARROWEST, min(_WIDEST, (width - _GUTTER) // max(len(run.lanes), 1)))
    canvas = _Canvas(run, cell)
    title = f"{'x' if run.failing else 'ok'} {run.title}"
    head = [title[:width], ""]
    head.append(" " * _GUTTER + "".join(_left(lane.title, cell) for lane in run.lanes))
    head.append(" " * _GUTTER + "".join(_left(lane.subtitle, cell) for lane in run.lanes))
    return [line.rstrip()[:width] for line in [*head, *canvas.lines()]]


def _left(text: str, cell: int) -> str:
    return f"{_short(text, cell - 1):<{cell}}"


def _short(text: str, limit: int) -> str:
    """ASCII and at most `limit` long; escapes of foreign letters make an id longer, so it is cut after they are made."""
    plain = ascii_only(clip(text, 400))
    return plain if len(plain) <= limit else f"{plain[: limit - 2]}.."


class _Canvas:
    """The lanes of one run, line by line."""

    def __init__(self, run: Run, cell: int) -> None:
        self.run, self.cell = run, cell
        self.there = {lane.key: False for lane in run.lanes if not lane.is_task}

    def lines(self) -> list[str]:
        found: list[str] = []
        for n, row in enumerate(self.run.rows):
            found += self.event(n)
            for name in row.begins:
                span = self.run.span(name)
                if span is not None:
                    found.append(self.line(n, {self.column(span): f"o {self.verb(span)}"}, begun=span))
        return found

    def column(self, span: Span) -> int:
        return next(
            n for n, lane in enumerate(self.run.lanes) if lane.is_task and lane.key == span.operation.task
        )

    def verb(self, span: Span) -> str:
        operation = span.operation
        lane = self.run.lanes[self.column(span)]
        same = operation.kind in _WAYS or lane.subtitle == operation.key
        return operation.kind.value if same else f"{operation.kind.value} {operation.key}"

    def event(self, n: int) -> list[str]:
        row = self.run.rows[n]
        span = self.run.span(row.event.operation) if row.event is not None else None
        width = self.cell * len(self.run.lanes)
        match row.kind:
            case RowKind.DONE | RowKind.FAULT | RowKind.CANCEL if span is not None:
                return self.ending(n, span)
            case RowKind.RETURN:
                return [" " * _GUTTER + " the migration returns ".center(width - 1, "-")]
            case RowKind.FOLD:
                self.hidden(n)
                return [f"{'+' + str(row.folded):>{_GUTTER - 1}} " + self.line(n, {})[_GUTTER:]]
            case RowKind.ERROR:
                return [" " * _GUTTER + _short(f"! {row.text}", max(width - 1, 10))]
            case RowKind.END:
                ends = {key: (said, right) for key, said, right in self.run.ends}
                words = {
                    k: ("ok " if ends[lane.key][1] else "X ") + ends[lane.key][0]
                    for k, lane in enumerate(self.run.lanes)
                    if not lane.is_task
                }
                return [self.line(n, words, last=True)]
            case _:
                return []

    def ending(self, n: int, span: Span) -> list[str]:
        row, operation = self.run.rows[n], span.operation
        assert row.event is not None
        column = self.column(span)
        words = {column: "*"}
        target = next(
            (k for k, lane in enumerate(self.run.lanes) if not lane.is_task and lane.key == operation.key),
            None,
        )
        arrow = ""
        if row.kind is RowKind.CANCEL:
            words[column] = "x cancelled"
        elif row.kind is RowKind.FAULT:
            words[column] = "! fault"
        if operation.kind in _WAYS and target is not None and row.kind is not RowKind.CANCEL:
            arrow = _WAYS[operation.kind]
            if operation.kind is OperationKind.FETCH:
                words[target] = "found" if row.event.read_from else "empty"
            elif took_effect(row.event):
                foreign = operation.record_id not in (None, operation.key)
                words[target] = f"={operation.record_id}" if foreign else "written"
                if operation.kind is OperationKind.DELETE:
                    words[target] = "deleted"
                self.there[operation.key] = operation.kind is OperationKind.UPSERT
        line = self.line(n, words, ended=span)
        if arrow and target is not None:
            line = self.draw(line, column, target, arrow)
        head = f"{row.number:>{_GUTTER - 1}} "
        lines = [head + line[_GUTTER:]]
        if row.kind is RowKind.FAULT:
            lines.append(
                " " * _GUTTER + _short(f"! {row.text}", max(self.cell * len(self.run.lanes) - 1, 10))
            )
        return lines

    def draw(self, line: str, column: int, target: int, arrow: str) -> str:
        """The arrow in the free part between the task's cell and the key's."""
        start, stop = _GUTTER + column * self.cell + 2, _GUTTER + target * self.cell - 1
        body = arrow[1] * max(stop - start, 1)
        body = f"<{body[1:]}" if arrow.startswith("<") else f"{body[:-1]}>"
        return line[:start] + body + line[start + len(body) :]

    def hidden(self, n: int) -> None:
        for event in self.run.rows[n].hidden:
            operation = self.run.trace.operation(event.operation)
            written = operation is not None and operation.kind in (OperationKind.UPSERT, OperationKind.DELETE)
            if written and operation is not None and operation.key in self.there and took_effect(event):
                self.there[operation.key] = operation.kind is OperationKind.UPSERT

    def line(
        self,
        n: int,
        words: dict[int, str],
        *,
        begun: Span | None = None,
        ended: Span | None = None,
        last: bool = False,
    ) -> str:
        cells = []
        for k, lane in enumerate(self.run.lanes):
            text = words.get(k)
            cells.append(
                _left(text if text is not None else self.idle(lane, n, begun, ended, last), self.cell)
            )
        return " " * _GUTTER + "".join(cells)

    def idle(self, lane: Lane, n: int, begun: Span | None, ended: Span | None, last: bool) -> str:
        """What a lane shows where nothing happens in it: "|" under way or present, ":" nothing under the key."""
        if last:
            return ""
        if not lane.is_task:
            return "|" if self.there[lane.key] else ":"
        mine = [
            span for span in self.run.spans if span.operation.task == lane.key and span not in (begun, ended)
        ]
        names = list(self.run.rows[n].begins)
        for span in mine:
            begun_before = span.begin < n or (
                span.begin == n
                and begun is not None
                and names.index(span.operation.id) < names.index(begun.operation.id)
            )
            if begun_before and (span.end is None or span.end > n):
                return "|"
        return ""
