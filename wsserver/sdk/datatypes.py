"""Types of data, as an app declares them: what JSON can give, also by pydantic where an app uses that."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec
import msgspec.inspect

from wscore.envelope import NO_DATA, InvalidMessageError, decode_data
from wscore.errors import ConfigError
from wscore.jsonvalues import model_problem

# Reads data as one type; raises InvalidMessageError, with the id of the message that it is given.
Reader = Callable[[msgspec.Raw, str | None], Any]

# The schema of what only Python knows, such as an `object` in a Struct. An empty one msgspec takes for none.
_ANY_JSON: Final = {"description": "any JSON"}


def reader_of(data_type: Any, name: str) -> Reader:
    """Return what reads data as a type; raises ConfigError, about what is called `name`, for one that cannot be."""
    try:
        infos = list(_parts(data_type))
    except TypeError as error:
        raise ConfigError(name, f"its data type cannot be read from JSON: {error}") from None
    if _are_pydantic(infos):
        return _pydantic_reader(data_type, name)
    if isinstance(infos[0], msgspec.inspect.CustomType):
        mend = "use a msgspec.Struct, a dataclass, dict or another type that JSON has"
        raise ConfigError(name, f"{data_type!r} cannot be read from JSON", mend)
    return lambda data, request_id: decode_data(data, data_type, request_id)


def holds_raw(data_type: Any) -> bool:
    """Tell whether a type has a raw slice somewhere within."""
    return any(isinstance(info, msgspec.inspect.RawType) for info in _parts(data_type))


def schema_of(data_type: Any) -> dict[str, Any]:
    """Return the JSON schema of a type that `reader_of` reads."""
    if _are_pydantic(_parts(data_type)):
        from pydantic import TypeAdapter

        return dict(TypeAdapter(data_type).json_schema())
    return msgspec.json.schema(data_type, schema_hook=lambda kind: dict(_ANY_JSON))


def _parts(data_type: Any) -> Iterator[Any]:
    """Yield what a type is made of, itself first; raises TypeError for one that msgspec does not know."""
    seen: set[int] = set()
    infos: list[Any] = [msgspec.inspect.type_info(data_type)]
    while infos:
        info = infos.pop()
        if isinstance(info, (tuple, list)):
            infos += info
        elif isinstance(info, (msgspec.inspect.Type, msgspec.inspect.Field)) and id(info) not in seen:
            seen.add(id(info))
            if isinstance(info, msgspec.inspect.Type):
                yield info
            infos += msgspec.structs.astuple(info)


def _are_pydantic(infos: Iterable[Any]) -> bool:
    """Tell whether a pydantic model is among what a type is made of."""
    customs = [info.cls for info in infos if isinstance(info, msgspec.inspect.CustomType)]
    return "pydantic" in sys.modules and any(hasattr(kind, "__pydantic_validator__") for kind in customs)


def _pydantic_reader(data_type: Any, name: str) -> Reader:
    from pydantic import TypeAdapter, ValidationError
    from pydantic.errors import PydanticUserError

    try:
        validate = TypeAdapter(data_type).validate_json
    except PydanticUserError as error:
        raise ConfigError(name, f"its data type cannot be read by pydantic: {error}") from None

    def read(data: msgspec.Raw, request_id: str | None) -> Any:
        try:
            return validate(b"null" if data is NO_DATA else bytes(data))
        except ValidationError as error:
            problem, path = model_problem(error)
            raise InvalidMessageError(f"{problem} - at `$.data{path}`", request_id) from None

    return read
