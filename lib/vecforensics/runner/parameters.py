"""What may go into a notebook: parameters that it declares, of the type that it declares, and never a secret.

papermill lets an unknown or misspelt parameter pass with one line in its log, and stores every value twice in the executed
copy. So a run is refused beforehand: the names and types are held against what `papermill.inspect_notebook` reads from the
cell tagged `parameters`, and a secret may only be given as `env:NAME`, which the library resolves where it is used.
"""

from __future__ import annotations

import ast
import difflib
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from vecforensics.errors import InputError, ToolFailed
from vecforensics.run_folder import RunFolder

__all__ = ["check_parameters", "load_notebook", "secret_values", "without_secrets"]

_REFERENCE: Final = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
_SECRET_NAME: Final = frozenset(
    [
        "key",
        "apikey",
        "token",
        "password",
        "passwd",
        "pwd",
        "passphrase",
        "secret",
        "credential",
        "credentials",
    ]
)
# Spellings that the issuers chose so that a leak can be found: Pinecone, OpenAI and Anthropic, GitHub, AWS, Slack, Hugging Face,
# Google, a JSON web token, a PEM private key, a password inside a URL.
_SECRET_VALUE: Final = re.compile(
    r"pcsk_\w{8}|\bsk-[\w-]{16}|\bgh[pousr]_\w{16}|\bgithub_pat_\w{16}|\b(AKIA|ASIA)[A-Z0-9]{12}|\bxox[abprs]-\w{8}|\bhf_\w{16}"
    r"|\bAIza[\w-]{20}|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.|-----BEGIN [A-Z ]*PRIVATE KEY|://[^/\s:@]*:[^/\s@]+@"
)
# A shorter value (a flag, a port) is no secret, and would be found everywhere.
_SHORTEST_SECRET: Final = 8
_Types = type | tuple[type, ...]
_PLAIN: Final[Mapping[str, _Types]] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "bool": bool,
    "list": list,
    "dict": dict,
}


def load_notebook(path: Path) -> Any:
    """The notebook as an nbformat node. Raises InputError where it is none, or is not for Python."""
    import nbformat
    from nbformat.reader import NotJSONError

    try:
        notebook = nbformat.reads(  # type: ignore[no-untyped-call]
            path.read_text(encoding="utf-8"), as_version=4
        )
    except FileNotFoundError:
        raise InputError("there is no such notebook", where=str(path), hint="Check the name") from None
    except (NotJSONError, nbformat.ValidationError, ValueError, AttributeError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0][:120]
        raise InputError(
            f"is no notebook ({reason})", where=str(path), hint="Save it in JupyterLab again"
        ) from None
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror})", where=str(path), hint="Check its rights"
        ) from None
    spec = notebook.metadata.setdefault("kernelspec", {"name": "python3", "display_name": "Python 3"})
    if spec.setdefault("language", "python") != "python":
        raise InputError(
            f"is written in {spec['language']}", where=str(path), hint="Only Python notebooks run here"
        )
    return notebook


def check_parameters(
    notebook: Any, name: str, parameters: Mapping[str, Any], secrets: Mapping[str, str]
) -> None:
    """Refuse what the notebook `name` does not declare, another type than it declares, and secrets. Raises InputError.

    `secrets`: the values of environment variables by name, as `secret_values` finds them.
    """
    from papermill import inspect_notebook

    declared = inspect_notebook(notebook)
    for parameter, value in parameters.items():
        if parameter not in declared:
            near = difflib.get_close_matches(parameter, declared, n=1)
            known = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(declared) or 'none'}"
            raise InputError(f"has no parameter {parameter!r}", where=name, hint=known)
        _refuse_secret(parameter, value, name, secrets)
        if not _is_plain(value):
            raise InputError(
                f"the parameter {parameter!r} is {value!r}, which a notebook cannot hold",
                where=name,
                hint="Give text, a finite number, true or false, or a list or mapping of those",
            )
        kind = _kind(declared[parameter])
        if kind and not _fits(value, ast.parse(kind, mode="eval").body, f"{name}, parameter {parameter!r}"):
            raise InputError(
                f"the parameter {parameter!r} is {type(value).__name__}, not {kind}",
                where=name,
                hint=f"Give {kind}",
            )


def secret_values(run: RunFolder) -> dict[str, str]:
    """The environment variables that the run's case refers to as `env:NAME`, with their values; paths are not secret."""
    case_file = run.evidence / "case.yaml"
    text = case_file.read_text(encoding="utf-8") if case_file.is_file() else ""
    values = {name: os.environ.get(name, "") for name in _REFERENCE.findall(text)}
    return {
        name: value
        for name, value in values.items()
        if len(value) >= _SHORTEST_SECRET and not os.path.exists(value)
    }


def without_secrets(value: Any, secrets: Mapping[str, str]) -> Any:
    """`value` with each secret, wherever it stands in a text, replaced by its reference."""
    if isinstance(value, str):
        for name, secret in secrets.items():
            value = value.replace(secret, f"env:{name}")
        return value
    if isinstance(value, dict):
        # In place: a notebook node is a dict of its own kind.
        for key in value:
            value[key] = without_secrets(value[key], secrets)
        return value
    return [without_secrets(item, secrets) for item in value] if isinstance(value, list) else value


def _refuse_secret(parameter: str, value: Any, name: str, secrets: Mapping[str, str]) -> None:
    hint = "Put it into the environment and give env:NAME"
    words = set(re.sub(r"([a-z])([A-Z])", r"\1_\2", parameter).lower().split("_"))
    reference = isinstance(value, str) and _REFERENCE.fullmatch(value) is not None
    if words & _SECRET_NAME and value not in (None, "") and not reference:
        raise InputError(f"the parameter {parameter!r} holds a secret", where=name, hint=hint)
    for text in _texts(value):
        if _SECRET_VALUE.search(text) or any(secret in text for secret in secrets.values()):
            raise InputError(f"the value of {parameter!r} looks like a secret", where=name, hint=hint)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for item in pair for text in _texts(item)]
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | int)


def _kind(declared: Mapping[str, str]) -> str:
    """The type as the notebook declares it, else that of its default; "" where the default is None: anything goes."""
    if declared["inferred_type_name"] != "None":
        return declared["inferred_type_name"]
    try:
        default = ast.literal_eval(declared["default"])
    except (ValueError, SyntaxError):
        return ""
    return "" if default is None else type(default).__name__


def _fits(value: Any, kind: ast.expr, where: str) -> bool:
    match kind:
        case ast.Constant(value=None):
            return value is None
        case ast.Name(id=name) if name in _PLAIN:
            return isinstance(value, _PLAIN[name]) and (name == "bool" or not isinstance(value, bool))
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return value is None or _fits(value, inner, where)
        case ast.Subscript(value=ast.Name(id="list"), slice=inner):
            return isinstance(value, list) and all(_fits(item, inner, where) for item in value)
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[_, inner])):
            return isinstance(value, dict) and all(_fits(item, inner, where) for item in value.values())
    raise ToolFailed(
        f"the type {ast.unparse(kind)!r} cannot be checked",
        where=where,
        hint="Declare it as str, int, float, bool, list[…], dict[str, …] or Optional[…]",
    )
