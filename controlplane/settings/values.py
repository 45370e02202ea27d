"""What settings there are, by dotted key, and how a text becomes a value of one.

Called by `settings.sources` and `settings.explain`. Pure, derived from the model alone.
"""

import re
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from controlplane.settings.model import Settings


def group_models() -> dict[str, type[BaseModel]]:
    """The groups: table name → model."""
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }


def _fields() -> dict[str, FieldInfo]:
    groups = group_models()
    fields = {name: field for name, field in Settings.model_fields.items() if name not in groups}
    for group, model in groups.items():
        fields |= {f"{group}.{name}": field for name, field in model.model_fields.items()}
    return fields


_FIELDS = _fields()


def known_keys() -> tuple[str, ...]:
    return tuple(_FIELDS)


def types_of(key: str) -> set[Any]:
    """The types that a setting can have, without None; `tuple` for a list of strings, `str` for a choice of words."""
    return _types(_FIELDS[key].annotation) - {type(None)}


def choices_of(key: str) -> tuple[str, ...]:
    """The words that a setting can be. (): any."""
    annotation = _FIELDS[key].annotation
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def is_secret(key: str) -> bool:
    """Whether the value must not be shown (a URL may hold a password)."""
    return SecretStr in types_of(key) or key.endswith("url")


def is_path(key: str) -> bool:
    return Path in types_of(key)


def value_from_text(key: str, text: str) -> Any:
    """What an environment variable's text means for this setting. Text that fits no type stays as it is."""
    types = types_of(key)
    if bool in types and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if int in types and re.fullmatch(r"[+-]?[0-9]{1,18}", text.strip()):
        return int(text)
    if float in types and re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", text.strip()):
        return float(text)
    if tuple in types:
        return _list_from_text(text)
    return text


def _list_from_text(text: str) -> Any:
    if text.lstrip().startswith("["):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            return text
    return [part.strip() for part in text.split(",") if part.strip()]


def _types(annotation: Any) -> set[Any]:
    origin = get_origin(annotation)
    if origin is None:
        return {annotation}
    if origin is tuple:
        return {tuple}
    if origin is Literal:
        return {str}
    arguments = get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return _types(arguments[0])  # Annotated
    return set().union(*(_types(argument) for argument in arguments))
