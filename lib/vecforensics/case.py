"""The case file: what was migrated, from where to where, and what is expected of it.

YAML in, frozen pydantic models out. Unknown keys are refused, since a misspelt `tolerance` would silently judge by the default.
An error names the line of the YAML file, because a person has to find it there. Relative paths are relative to the file. A secret
is only ever a reference, `env:NAME`, resolved where it is used and never stored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    StringConstraints,
    ValidationError,
    model_validator,
)

from vecforensics.errors import CaseError, holds_password

__all__ = [
    "CASE_ID",
    "Case",
    "Collection",
    "Expected",
    "Rehearsal",
    "Source",
    "Target",
    "Tolerance",
    "load_case",
    "parse_case",
    "resolve_env",
]

CASE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

Name = Annotated[str, StringConstraints(min_length=1, max_length=512)]


def _without_password(uri: str) -> str:
    if holds_password(uri):
        # Case files are copied, committed and sent on.
        raise ValueError("a password stands in it; keep it in an environment variable and write env:NAME")
    return uri


Uri = Annotated[Name, AfterValidator(_without_password)]
_ENV: Final = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")


def _reference(text: str) -> str:
    if not _ENV.fullmatch(text):
        raise ValueError(
            "a key is never written into a case file; keep it in an environment variable and write env:NAME"
        )
    return text


Secret = Annotated[Name, AfterValidator(_reference)]


class _Misplaced(ValueError):
    """A rule over the whole case that one key breaks; `loc` is the way to that key, so that its line can be named."""

    def __init__(self, loc: tuple[str, ...], message: str) -> None:
        self.loc = loc
        super().__init__(message)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=False)


class Source(_Model):
    """Where the records are. `table` names a key of a JSON object; a column may be a dotted path into a JSON object.

    `join` stands between the text columns where there are several.
    """

    uri: Uri
    id: Name
    text: tuple[Name, ...] = ()
    join: str = " "
    metadata: tuple[Name, ...] = ()
    version: Name | None = None
    depends_on: dict[Name, Name] = Field(default_factory=dict)
    table: Name | None = None


class Target(_Model):
    """Where the vectors are. `id`, `vector`, `metadata` name the columns of a store that has columns.

    `exported_from`: the store that a Parquet export comes from, where that has habits with metadata (`stores/habits.py`).
    `api_key`: for a store that asks for one, where it is not in the variable that the store's own client reads.
    """

    uri: Uri
    collection: Name
    id: Name = "id"
    vector: Name = "vector"
    metadata: Name = "metadata"
    exported_from: Literal["chroma", "milvus", "pinecone"] | None = None
    api_key: Secret | None = None

    @model_validator(mode="after")
    def _of_that_store(self) -> Target:
        if self.exported_from and not self.uri.startswith("parquet:"):
            raise ValueError("exported_from is for an export, parquet:PATH")
        named = (self.id, self.vector, self.metadata) != ("id", "vector", "metadata")
        _fitting(self.uri, named, self.api_key)
        return self

    @property
    def store(self) -> str:
        """Whose habits the metadata have: the store's that was exported, else that of the URI."""
        return self.exported_from or self.uri.partition(":")[0]


def _fitting(uri: str, columns_named: bool, api_key: str | None) -> None:
    """Refuse what a store of that kind does not have."""
    remote = uri.startswith("pinecone:")
    if api_key and not remote:
        raise ValueError("api_key is for a store that asks for one, pinecone:INDEX")
    if remote and columns_named:
        raise ValueError("id, vector and metadata name columns, and Pinecone has none: leave them out")


class Expected(_Model):
    """What the vectors should be: embedded again, read from a column of the source, or read from another store.

    `id` and `vector` name the columns of that store, and `api_key` is its key, as in `Target`.
    """

    embedder: Name | None = None
    column: Name | None = None
    uri: Uri | None = None
    collection: Name | None = None
    id: Name | None = None
    vector: Name | None = None
    api_key: Secret | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Expected:
        ways = [name for name in ("embedder", "column", "uri") if getattr(self, name) is not None]
        if len(ways) != 1:
            raise ValueError("give exactly one of embedder, column, uri")
        if (self.uri is None) != (self.collection is None):
            raise ValueError("uri and collection go together")
        if self.uri is None and (self.id or self.vector):
            raise ValueError("id and vector name the columns of a store, and go with uri")
        if self.uri is None and self.api_key:
            raise ValueError("api_key is the key of a store, and goes with uri")
        if self.uri is not None:
            _fitting(self.uri, bool(self.id or self.vector), self.api_key)
        return self


class Collection(_Model):
    """One source, the target it should have become, and what its vectors are expected to be."""

    source: Source
    target: Target
    expected: Expected | None = None

    @model_validator(mode="after")
    def _text_to_embed(self) -> Collection:
        if self.expected is not None and self.expected.embedder is not None and not self.source.text:
            raise ValueError("expected.embedder needs source.text: the columns whose text was embedded")
        return self


class Tolerance(_Model):
    """How far two vectors may be apart and still be the same; cosine distance."""

    cosine: Annotated[float, Field(gt=0, lt=1)] = 1e-5


class Rehearsal(_Model):
    """How often, and in what physical conditions, the migrations are rehearsed for the before/after figures.

    `order_by`: the metadata field in whose order the records were migrated (`created_at`); without it, that of the sources.
    `physics`: knobs of `vecforensics.race.rehearsal.Physics`.
    """

    order_by: Name | None = None
    runs: Annotated[int, Field(ge=2, le=1000)] = 20
    records: Annotated[int, Field(ge=4, le=100_000)] = 400
    seed: int = 57
    physics: dict[Name, float | int | bool] = Field(default_factory=dict)


class Case(_Model):
    """A whole case file. `folder` is where it lies; it is no key of the file.

    `suspect` and `corrected` name migration code (`file.js`, `file.py:function`, `package.module:function`); without `corrected`
    the bundled strategy `waves` is what the suspect is held against.

    `claims`: figures that others have stated about the incident, before and after its repair, under names such as `error_rate`
    (a share), `latency_ms`, `crashes`. The report quotes them as claims beside what was measured.
    """

    case: Name
    title: str = ""
    collections: Annotated[dict[Name, Collection], Field(min_length=1)]
    logs: tuple[Name, ...] = ()
    suspect: Name | None = None
    corrected: Name | None = None
    tolerance: Tolerance = Tolerance()
    settle_s: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    rehearsal: Rehearsal = Rehearsal()
    claims: dict[Name, tuple[FiniteFloat, FiniteFloat]] = Field(default_factory=dict)
    folder: Path = Field(default=Path(), exclude=True)

    @model_validator(mode="after")
    def _consistent(self) -> Case:
        if not CASE_ID.fullmatch(self.case):
            raise _Misplaced(("case",), "must match ^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
        for name, collection in self.collections.items():
            for parent in collection.source.depends_on:
                if parent not in self.collections:
                    known = ", ".join(self.collections)
                    raise _Misplaced(
                        ("collections", name, "source", "depends_on"),
                        f"no collection {parent!r}; there are: {known}",
                    )
        return self

    def path(self, relative: str) -> Path:
        """A path of the case file, made absolute."""
        return (self.folder / relative).resolve()


def resolve_env(text: str, *, where: str) -> str:
    """`text`, or the value of the environment variable that `env:NAME` refers to."""
    found = _ENV.fullmatch(text)
    if not found:
        return text
    value = os.environ.get(found.group(1))
    if value is None:
        raise CaseError(
            f"the environment variable {found.group(1)} is not set",
            where=where,
            hint="Export it and try again",
        )
    return value


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice: the second would win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is not text", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def load_case(path: str | Path) -> Case:
    """Read a case file. Raises CaseError with file, line and what to do."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CaseError(
            "there is no such case file", where=str(file), hint="Write one with: vecforensics init"
        ) from None
    except IsADirectoryError:
        raise CaseError(
            "this is a folder, not a case file", where=str(file), hint="Name the case.yaml in it"
        ) from None
    except UnicodeDecodeError as error:
        raise CaseError(
            f"not UTF-8 text (byte {error.start})", where=str(file), hint="Save it as UTF-8"
        ) from None
    except OSError as error:
        raise CaseError(
            f"cannot be read ({error.strerror})", where=str(file), hint="Check the path and its rights"
        ) from None
    return parse_case(text, folder=file.resolve().parent, where=str(file))


def parse_case(text: str, *, folder: Path, where: str) -> Case:
    """Validate the text of a case file whose relative paths start at `folder`. Raises CaseError naming `where` and the line."""
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506  a SafeLoader with one more refusal
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise CaseError(str(error.problem), where=f"{where}:{line}", hint="Mend the YAML there") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CaseError(
            f"not YAML ({error})",
            where=where,
            hint="Mend the file or write a new one with: vecforensics init",
        ) from None
    if not isinstance(document, dict):
        raise CaseError(
            "holds no keys", where=where, hint="Write a commented example with: vecforensics init"
        )
    if "folder" in document:
        raise CaseError("unknown key 'folder'", where=f"{where}:{_line(tree, ('folder',))}", hint="Remove it")
    try:
        case = Case.model_validate(_without_null_folder(document))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        loc = tuple(part for part in first["loc"] if part != "[key]")
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, _Misplaced):
            loc += cause.loc
        raise CaseError(
            _reason(first["type"], first["msg"], loc),
            where=f"{where}:{_line(tree, loc)}",
            hint=_known_keys(loc) if first["type"] == "extra_forbidden" else "See docs/case-file.md",
        ) from None
    return case.model_copy(update={"folder": folder})


def _without_null_folder(document: Mapping[str, Any]) -> dict[str, Any]:
    """A key with nothing behind it (`logs:`) means that it is absent."""
    return {key: value for key, value in document.items() if value is not None}


def _reason(kind: str, message: str, loc: tuple[Any, ...]) -> str:
    path = ".".join(str(part) for part in loc)
    if kind == "extra_forbidden":
        return f"unknown key {path!r}"
    if kind == "missing":
        return f"the key {path!r} is missing"
    message = message.removeprefix("Value error, ")
    return message if not path or message.startswith(path) else f"{path}: {message}"


_MODELS: Final[Mapping[str, type[_Model]]] = {
    "source": Source,
    "target": Target,
    "expected": Expected,
    "tolerance": Tolerance,
    "rehearsal": Rehearsal,
}


def _known_keys(loc: tuple[Any, ...]) -> str:
    default = Collection if len(loc) > 1 else Case
    model = _MODELS.get(str(loc[-2]), default) if len(loc) > 1 else default
    return "Known here: " + ", ".join(sorted(set(model.model_fields) - {"folder"}))


def _line(tree: yaml.Node | None, loc: tuple[Any, ...]) -> int:
    """The line of the deepest node on the way `loc`, from 1."""
    line = 1
    node = tree
    for part in loc:
        match = next(_children(node, part), None)
        if match is None:
            break
        line, node = match
    return line


def _children(node: yaml.Node | None, part: Any) -> Iterator[tuple[int, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                yield key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        yield node.value[part].start_mark.line + 1, node.value[part]
