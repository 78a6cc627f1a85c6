"""Effects: the only code that changes the target, and it writes down every step first.

One group of writes is one call of the store and two commits of the ledger: SENT before it, APPLIED after the acknowledgement.
What can go wrong in between is decided here and nowhere else:

* a transient error (429, 5xx, a time-out, a broken connection): the outcome is unknown, so what stands is read back, and
  only what did not land is sent again;
* a refusal: the group is halved until the refused row stands alone; that one goes to quarantine with its reason, the others on;
* a store that refuses everything is not full of poison records: the work stops, and everything stays as the ledger says.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from typing import Final, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.arrow_columns import texts
from vecforensics.errors import ToolFailed, printable
from vecforensics.migrate.chain import State
from vecforensics.migrate.keeping import Keeping, Kept
from vecforensics.migrate.ledger import Ledger
from vecforensics.migrate.place import Place, Write, pack, unpack
from vecforensics.migrate.strategies import Vector
from vecforensics.retry import Retry, is_transient, nobody_may

__all__ = ["Effects", "Refusals", "why"]

_Result = TypeVar("_Result")

# So many refusals without one success, and it is the other side that is broken, not the records.
_HOPELESS: Final = 16
_NOBODY_CAN_WRITE: Final = frozenset({errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES, errno.EPERM})
_TIDY_EVERY: Final = 256
# Rows of one pre-image: bounded, since SQLite keeps at most a gigabyte in one value.
_IMAGE_ROWS: Final = 1_024


def why(error: BaseException) -> str:
    """An error as a reason of one line."""
    return printable(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


class Refusals:
    """Tells poison records from a broken other side: counts successes and refusals of one store or embedder.

    `take_back` is called before the other side is declared broken: who was given up because of it was not to blame.
    """

    def __init__(self, whose: str, take_back: Callable[[], None]) -> None:
        self.whose, self._take_back = whose, take_back
        self.accepted = 0
        self.refused = 0

    def refuse(self, reason: str) -> None:
        """Count one. Raises ToolFailed where there were many and nothing was ever accepted."""
        self.refused += 1
        if self.refused >= _HOPELESS:
            self.all_refused(reason)

    def all_refused(self, reason: str) -> None:
        """Raise ToolFailed unless something was accepted before."""
        if not self.accepted:
            self._take_back()
            raise ToolFailed(
                f"refuses every record ({reason})",
                where=self.whose,
                hint="Nothing was lost: mend it and run the same command again",
            )


class Effects:
    """The effects on all places of one migration. Thread-safe for different places."""

    def __init__(self, ledger: Ledger, places: Mapping[str, Place], retry: Retry) -> None:
        self.ledger, self.places, self.retry = ledger, places, retry
        self._kept: dict[str, Kept] = {}
        self._refusals = {id(place): Refusals(place.writer.uri, self.take_back) for place in places.values()}
        self._given_up: dict[int, State] = {}

    def give_up(self, op: int, reason: str) -> None:
        """Quarantine a record that somebody refused, or whose parent was."""
        self._given_up[op] = self.ledger.state(op)
        self.ledger.advance([op], State.QUARANTINED, reason)

    def take_back(self) -> None:
        """Nobody was given up: the next run tries them all again, and those that are poison indeed end where they were."""
        for state in (State.INTENT, State.SENT):
            ops = [op for op, was in self._given_up.items() if was is state]
            self.ledger.advance(ops, state, "not to blame: everything is refused")
        self._given_up.clear()

    def prepare(self, collection: str, ops: Mapping[int, str]) -> list[pa.Table]:
        """Save what stands under the keys of `ops` (operation → id), and note under which ids several rows stand. Gives the rows
        as they stood before anything was sent."""
        place = self.places[collection]
        fresh = [op for op in ops if self.ledger.state(op) is State.PLANNED]
        stood = self._saved(collection, ops.keys() - fresh, ops)
        for start in range(0, len(fresh), _IMAGE_ROWS):
            some = fresh[start : start + _IMAGE_ROWS]
            rows = self.retried(place, partial(place.preimage, [ops[op] for op in some]))
            self.ledger.save_preimage(collection, some, pack(rows))
            stood.append(rows)
        started = [
            ops[op] for op in ops if self.ledger.state(op) in (State.INTENT, State.SENT, State.APPLIED)
        ]
        self.retried(place, lambda: place.standing(started))
        return stood

    def _saved(self, collection: str, begun: Set[int], ops: Mapping[int, str]) -> list[pa.Table]:
        """The rows of earlier pre-images under the keys of the operations `begun`."""
        place, found = self.places[collection], []
        for name, of, rows in self.ledger.preimages() if begun else ():
            mine = [ops[op] for op in of if op in begun] if name == collection else []
            if mine:
                table = unpack(rows)
                found.append(table.filter(pc.is_in(place.ids_of(table), value_set=texts(mine))))
        return found

    def keep(
        self,
        collection: str,
        ops: Mapping[int, str],
        stood: Sequence[pa.Table],
        keeping: Keeping,
        accept_loss: bool,
    ) -> None:
        """Settle what the records of `ops` (operation → id) keep of the rows that `stood` for them, until the next call for that
        collection. Quarantines those of which something cannot be kept, unless `accept_loss`: the plan said so of no such row."""
        place, ids = self.places[collection], list(ops.values())
        elsewhere = keeping.elsewhere(ids)
        if elsewhere:
            stood = [*stood, self.retried(place, partial(place.preimage, elsewhere))]
        kept = keeping.kept(ids, [(rows, place.ids_of(rows).to_pylist()) for rows in stood])
        self._kept[collection] = kept
        for op, record_id in ops.items():
            if record_id in kept.lost and not accept_loss and self.ledger.state(op) is State.INTENT:
                names = ", ".join(map(printable, kept.lost[record_id]))
                reason = f"what its rows hold since the plan was made cannot be kept: {names}"
                self.ledger.advance([op], State.QUARANTINED, reason)

    def write(self, collection: str, writes: Sequence[Write]) -> list[None]:
        """Make `writes` stand or quarantine them: afterwards each is APPLIED or QUARANTINED."""
        place = self.places[collection]
        good: list[Write] = []
        for write in writes:
            wrong = _unfit(write.vector, place.dimension)
            if wrong:
                self.ledger.advance([write.op], State.QUARANTINED, wrong)
            else:
                good.append(write)
        unknown = [write for write in good if self.ledger.state(write.op) is State.SENT]
        fresh = [write.op for write in good if self.ledger.state(write.op) is not State.SENT]
        self.ledger.advance(fresh, State.SENT)
        landed = self._landed(place, unknown) if unknown else []
        done = {write.op for write in landed}
        kept = self._kept[collection]
        applied, refused = self._send(place, [write for write in good if write.op not in done], kept)
        if len(refused) > 1 and len(refused) == len(writes):
            self._refusals[id(place)].all_refused(refused[0][1])
        self.ledger.advance([write.op for write in [*landed, *applied]], State.APPLIED)
        for write, reason in refused:
            self.give_up(write.op, reason)
        return [None] * len(writes)

    def remove(self, collection: str, ops: Mapping[int, str], judged: Mapping[str, str]) -> None:
        """Delete the rows of `ops` (operation → id) and read back that they are gone: from INTENT or SENT to VERIFIED.

        `judged`: id → digest of what the diff saw there. What is no longer that was not judged, and stays.
        """
        place = self.places[collection]
        fresh = {op: ops[op] for op in ops if self.ledger.state(op) is State.INTENT}
        there = self.retried(place, lambda: place.standing(list(fresh.values())))
        other = [op for op, one in fresh.items() if one in there and there[one].digest != judged.get(one)]
        self.ledger.advance(other, State.QUARANTINED, "changed since the evidence was collected: it stays")
        self.ledger.advance([op for op in ops if self.ledger.state(op) is State.INTENT], State.SENT)
        sent = [op for op in ops if self.ledger.state(op) is State.SENT]
        if sent:
            self.retried(place, lambda: place.remove([ops[op] for op in sent]))
            self.ledger.advance(sent, State.APPLIED)
        applied = [op for op in ops if self.ledger.state(op) is State.APPLIED]
        left = self.retried(place, lambda: place.standing([ops[op] for op in applied]))
        stubborn = [op for op in applied if ops[op] in left]
        gone = set(applied) - set(stubborn)
        self.ledger.advance([op for op in applied if op in gone], State.VERIFIED)
        self.ledger.advance(stubborn, State.QUARANTINED, "the deletion was acknowledged, but the row stands")

    def confirm(self, collection: str, writes: Sequence[Write]) -> None:
        """Read back what was acknowledged: VERIFIED where it stands as meant; else sent once more, then quarantined."""
        place = self.places[collection]
        applied = [write for write in writes if self.ledger.state(write.op) is State.APPLIED]
        doubtful = self._verify(place, applied)
        if not doubtful:
            return
        self.ledger.advance(
            [write.op for write in doubtful], State.SENT, "acknowledged, but not there when read back"
        )
        self.write(collection, doubtful)
        again = [write for write in doubtful if self.ledger.state(write.op) is State.APPLIED]
        self.ledger.advance(
            [write.op for write in self._verify(place, again)],
            State.QUARANTINED,
            "acknowledged twice, but what stands there is not what was written",
        )

    def _verify(self, place: Place, writes: Sequence[Write]) -> list[Write]:
        """VERIFIED for those that stand as meant, with the digest of what stands; the others are given back."""
        if not writes:
            return []
        standing = self.retried(place, lambda: place.standing([write.id for write in writes]))
        right = {
            write.op: standing[write.id].digest
            for write in writes
            if place.as_meant(write, standing.get(write.id))
        }
        self.ledger.advance(list(right), State.VERIFIED, right)
        return [write for write in writes if write.op not in right]

    def _send(
        self, place: Place, group: Sequence[Write], kept: Kept
    ) -> tuple[list[Write], list[tuple[Write, str]]]:
        """Those that the store acknowledged, and those that it refused with the reason."""
        if not group:
            return [], []
        landed: list[Write] = []
        rest = list(group)
        try:
            for attempt in self.retry.around():
                with attempt, place.lock:
                    if attempt.num > 1:
                        here = {write.op for write in self._landed(place, rest)}
                        landed += [write for write in rest if write.op in here]
                        rest = [write for write in rest if write.op not in here]
                        self.ledger.note(
                            "retry",
                            {
                                "store": place.writer.uri,
                                "attempt": attempt.num,
                                "landed": len(here),
                                "again": len(rest),
                            },
                        )
                    if rest:
                        place.put(rest, kept)
                        self._tidy(place)
        except Exception as error:
            self._stop_if_out_of_reach(place, error)
            refusals = self._refusals[id(place)]
            if len(rest) == 1:
                reason = f"the store refuses it ({why(error)})"
                refusals.refuse(reason)
                return landed, [(rest[0], reason)]
            half = len(rest) // 2
            applied, refused = self._send(place, rest[:half], kept)
            more, others = self._send(place, rest[half:], kept)
            return [*landed, *applied, *more], [*refused, *others]
        self._refusals[id(place)].accepted += len(group)
        return list(group), []

    def _tidy(self, place: Place) -> None:
        """Now and then, so that one-by-one writing does not grow slower with every write. It may fail: nothing depends on it."""
        place.calls += 1
        if place.calls % _TIDY_EVERY == 0:
            try:
                place.writer.optimize(place.collection)
            except Exception as error:
                self.ledger.note("tidying failed", {"store": place.writer.uri, "error": why(error)})

    def _landed(self, place: Place, writes: Sequence[Write]) -> list[Write]:
        standing = self.retried(place, lambda: place.standing([write.id for write in writes]))
        return [write for write in writes if place.as_meant(write, standing.get(write.id))]

    def retried(self, place: Place, call: Callable[[], _Result]) -> _Result:
        """What `call` gives; transient errors are retried. Raises ToolFailed where it does not work."""
        try:
            for attempt in self.retry.around():
                with attempt, place.lock:
                    return call()
        except Exception as error:
            self._stop_if_out_of_reach(place, error)
            raise ToolFailed(
                f"the store fails ({why(error)})",
                where=place.writer.uri,
                hint="Nothing is lost: mend it and run the same command again",
            ) from error
        raise AssertionError("an attempt either returns or raises")

    def _stop_if_out_of_reach(self, place: Place, error: Exception) -> None:
        """Raise ToolFailed where the error says nothing about the rows: the ledger is broken, the store away or read-only."""
        if isinstance(error, ToolFailed):
            raise error
        no_disk = isinstance(error, OSError) and error.errno in _NOBODY_CAN_WRITE
        if is_transient(error) or nobody_may(error) or no_disk:
            raise ToolFailed(
                f"the store is out of reach ({why(error)}); the ledger says what was done",
                where=place.writer.uri,
                hint="Run the same command again when it is back: it goes on where it stopped",
            ) from error


def _unfit(vector: Vector, dimension: int) -> str:
    """Why a vector cannot be written, "" where it can."""
    if vector.shape != (dimension,):
        return (
            f"the vector has the shape {vector.shape}, the collection's vectors have {dimension} components"
        )
    if not np.isfinite(vector).all():
        return "the vector holds NaN or infinity"
    if not vector.any():
        return "the vector is all zeros: no search can rank it"
    return ""
