"""A value that is never shown: not by repr, str or JSON, and in no error message."""

MASK = "***"


class Secret:
    """A string that only `reveal` returns. It is falsy if empty, which means that it was not set.

    It can be pickled, because actors receive their settings; msgspec refuses to encode it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str = "") -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself, for the call that needs it and never for a message."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other.reveal()

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f"Secret({self})"

    def __str__(self) -> str:
        return MASK if self._value else ""

    def __format__(self, format_spec: str) -> str:
        return format(str(self), format_spec)

    def __reduce__(self) -> tuple[type["Secret"], tuple[str]]:
        return Secret, (self._value,)
