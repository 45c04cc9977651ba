"""Plain values held to the types that a dataclass or a TypedDict declares: what is read from a file, in one place."""

import dataclasses
import types
import typing
from typing import Any, Literal, Union


def misfit(value: Any, kind: Any, where: str = "") -> str:
    """What of `value` is not of the type `kind`, such as `width: '16'`; "" if all is.

    Of a dataclass or TypedDict a dict with some or all of its fields, others beside them, and those that a TypedDict
    requires; `float` takes whole numbers, no number takes truth values, text is such as can be written.

    >>> misfit({"a": [1, "b"]}, dict[str, list[int]])
    "a.1: 'b'"
    >>> misfit(1, float), misfit(True, int), misfit(None, int | None)
    ('', 'True', '')
    """
    wrong = f"{where}: {value!r:.60}".removeprefix(": ")
    if kind is Any:
        return _unwritable(value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return "" if any(type(value) is type(one) and value == one for one in arguments) else wrong
    if origin in (Union, types.UnionType):
        return "" if any(not misfit(value, one) for one in arguments) else wrong
    if typing.is_typeddict(kind) or dataclasses.is_dataclass(kind):
        return _of_fields(value, kind, where) if isinstance(value, dict) else wrong
    if origin is dict:
        if not isinstance(value, dict):
            return wrong
        parts = [(name, name, arguments[0]) for name in value] + [(n, v, arguments[1]) for n, v in value.items()]
        return next((found for name, part, one in parts if (found := misfit(part, one, _inside(where, name)))), "")
    if origin is list:
        if not isinstance(value, list):
            return wrong
        parts_of = (misfit(part, arguments[0], _inside(where, number)) for number, part in enumerate(value))
        return next((found for found in parts_of if found), "")
    if kind is float:
        return "" if isinstance(value, int | float) and not isinstance(value, bool) else wrong
    if kind is int:
        return "" if isinstance(value, int) and not isinstance(value, bool) else wrong
    return (_unwritable(value, where) if kind is str else "") if isinstance(value, kind) else wrong


def _of_fields(value: dict[Any, Any], kind: Any, where: str) -> str:
    missing = [name for name in getattr(kind, "__required_keys__", ()) if name not in value]
    if missing:
        return f"no {_inside(where, sorted(missing)[0])}"
    hints = typing.get_type_hints(kind)
    parts = ((name, part, hints.get(name, Any)) for name, part in value.items())
    return next((found for name, part, one in parts if (found := misfit(part, one, _inside(where, name)))), "")


def _inside(where: str, name: Any) -> str:
    return f"{where}.{name}".removeprefix(".")


def _unwritable(value: Any, where: str) -> str:
    """What text in `value` cannot be written, as a lone surrogate cannot; "" if all can."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            try:
                item.encode()
            except UnicodeEncodeError:
                return f"{where}: {item!a:.60}".removeprefix(": ")
        elif isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple):
            waiting += item
    return ""
