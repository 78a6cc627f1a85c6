"""The case file: what is refused, with the line of the YAML in which a person finds it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecforensics.case import CASE_ID, load_case, parse_case, resolve_env
from vecforensics.errors import CaseError

GOOD = """\
case: ERR-2026-57
title: Data corruption
collections:
  users:
    source: {uri: users.jsonl, id: user_id, text: [name, bio]}
    target: {uri: "lancedb:target", collection: users}
    expected: {embedder: hashing-384}
  posts:
    source:
      uri: posts.jsonl
      id: post_id
      text: [body]
      depends_on: {users: user_id}
    target: {uri: "lancedb:target", collection: posts}
logs: [migration.log]
tolerance: {cosine: 1.0e-5}
"""


def refusal(text: str, tmp_path: Path) -> str:
    file = tmp_path / "case.yaml"
    file.write_text(text)
    with pytest.raises(CaseError) as refused:
        load_case(file)
    line = str(refused.value)
    assert "\n" not in line
    assert line.startswith(str(file))
    assert refused.value.hint
    return line.removeprefix(str(file))


def test_a_good_one(tmp_path: Path) -> None:
    (tmp_path / "case.yaml").write_text(GOOD)
    case = load_case(tmp_path / "case.yaml")

    assert (case.case, list(case.collections), case.tolerance.cosine) == (
        "ERR-2026-57",
        ["users", "posts"],
        1e-5,
    )
    assert case.collections["posts"].source.depends_on == {"users": "user_id"}
    assert case.collections["posts"].expected is None
    assert case.path("users.jsonl") == tmp_path / "users.jsonl"
    assert "folder" not in case.model_dump()


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("tolerance:", "tolerence:", 16, "unknown key 'tolerence'. Known here: "),
        ("cosine:", "cosin:", 16, "unknown key 'tolerance.cosin'. Known here: cosine"),
        ("      id: post_id", "      idd: post_id", 9, "'collections.posts.source.id' is missing"),
        ("text: [body]", "texts: [body]", 12, "unknown key 'collections.posts.source.texts'"),
        ("title: Data", "folder: Data", 2, "unknown key 'folder'"),
        ("title: Data corruption", "case: again", 2, "the key 'case' stands twice"),
        ("title: Data corruption", "7: x", 2, "the key 7 is not text"),
        ("title: Data corruption", "  title: x: y", 2, ""),
        (
            "{embedder: hashing-384}",
            "{embedder: hashing-384, column: v}",
            7,
            "exactly one of embedder, column, uri",
        ),
        ("{embedder: hashing-384}", "{}", 7, "exactly one of embedder, column, uri"),
        ("{embedder: hashing-384}", "{uri: 'parquet:x'}", 7, "uri and collection go together"),
        ("text: [name, bio]", "text: []", 5, "expected.embedder needs source.text"),
        (
            "depends_on: {users: user_id}",
            "depends_on: {people: user_id}",
            13,
            "no collection 'people'; there are: users, posts",
        ),
        ("1.0e-5", "0", 16, "greater than 0"),
        ("1.0e-5", "2", 16, "less than 1"),
        ("1.0e-5", ".nan", 16, "tolerance.cosine"),
        ("logs: [migration.log]", "logs: migration.log", 15, "logs"),
        ("logs: [migration.log]", "settle_s: -1", 15, "settle_s"),
        ("logs: [migration.log]", "rehearsal: {runs: 1}", 15, "rehearsal.runs"),
    ],
)
def test_what_cannot_be_meant_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, words: str
) -> None:
    assert old in GOOD
    shown = refusal(GOOD.replace(old, new, 1), tmp_path)
    where, _, what = shown.removeprefix(":").partition(": ")

    assert words in what
    # A rule that binds several keys is reported at the mapping that holds them, or at the key.
    assert int(where) in (line, line - 1) if words else int(where) >= line


@pytest.mark.parametrize(
    "name", ["../x", "../../etc", "a/b", ".", "..", "-x", "_x", "", " ", "a b", "x" * 65, "ä", "a\n", "a\x00"]
)
def test_a_case_id_cannot_leave_its_folder(tmp_path: Path, name: str) -> None:
    # JSON's spelling of a text is YAML's too. The key stands in line 2, to see that it is found there.
    text = "title: x\n" + GOOD.replace("title: Data corruption\n", "").replace(
        "ERR-2026-57", json.dumps(name), 1
    )
    shown = refusal(text, tmp_path)

    assert shown.startswith(":2: case: ")
    assert list(tmp_path.iterdir()) == [tmp_path / "case.yaml"]


@given(st.text(max_size=80))
def test_a_case_id_that_passes_is_one_harmless_path_part(name: str) -> None:
    if CASE_ID.fullmatch(name):
        assert Path("reports", name).parts == ("reports", name)
        assert name.isascii()
        assert len(name) <= 64


@pytest.mark.parametrize("text", ["", "# nothing\n", "3", "- a\n- b\n", "null"])
def test_a_file_without_keys(tmp_path: Path, text: str) -> None:
    assert "holds no keys" in refusal(text, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "case: [",
        "case: 'x",
        "\tcase: x",
        "case: !!python/object/apply:os.system ['echo']",
        "case: *nowhere",
        "case: x\x07",
        "{" * 5_000,
        "case: " + "[" * 20_000,
    ],
)
def test_what_is_no_safe_yaml(tmp_path: Path, text: str) -> None:
    assert refusal(text, tmp_path)


def test_a_billion_laughs_is_refused_or_harmless(tmp_path: Path) -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
        for before, after in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert "unknown key 'a'" in refusal(GOOD + bomb, tmp_path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"there is no such case file.*vecforensics init"):
        load_case(tmp_path / "none.yaml")
    with pytest.raises(CaseError, match=r"this is a folder.*case\.yaml"):
        load_case(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("title: größe".encode("latin-1"))
    with pytest.raises(CaseError, match=r"not UTF-8 text \(byte 9\)"):
        load_case(tmp_path / "latin.yaml")


def test_a_key_with_nothing_behind_it_is_absent() -> None:
    case = parse_case(GOOD.replace("logs: [migration.log]", "logs:"), folder=Path(), where="x")
    assert case.logs == ()


@pytest.mark.parametrize("field", ["case", "folder"])
def test_a_case_cannot_be_changed(field: str) -> None:
    case = parse_case(GOOD, folder=Path("/a"), where="x")
    with pytest.raises(ValueError, match="frozen"):
        setattr(case, field, "other")


def test_secrets_are_references_that_are_resolved_at_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VF_KEY", "hunter2")
    monkeypatch.delenv("VF_NONE", raising=False)
    values: dict[str, Any] = {
        "env:VF_KEY": "hunter2",
        "plain": "plain",
        "env:": "env:",
        "xenv:VF_KEY": "xenv:VF_KEY",
    }
    assert {text: resolve_env(text, where="w") for text in values} == values
    with pytest.raises(CaseError, match="VF_NONE is not set") as refused:
        resolve_env("env:VF_NONE", where="target.uri")
    assert "hunter2" not in str(refused.value)
