"""The nesting depth of a document, found without building it: two scanners, linear in its length, without recursion.

Each first counts the bytes that could open a container, which settles nearly every event; only a document with more of
them than the bound is scanned exactly. For a malformed document the answer is arbitrary: the decoder refuses it.
"""

_ALL_BYTES = bytes(range(256))
_NOT_BRACKETS = bytes(byte for byte in _ALL_BYTES if byte not in b"[]{}")
_NOT_MSGPACK_CONTAINERS = bytes(byte for byte in _ALL_BYTES if not (0x80 <= byte <= 0x9F or 0xDC <= byte <= 0xDF))
_OPENERS = frozenset(b"[{")


def is_json_too_deep(value: bytes, depth_max: int) -> bool:
    """Return whether objects and arrays nest deeper than `depth_max`; brackets inside strings do not count."""
    if value.count(b"[") + value.count(b"{") <= depth_max:
        return False
    # Without escapes every other piece between quotes is outside a string.
    unescaped = value.replace(rb"\\", b"").replace(rb"\"", b"")
    depth = 0
    for byte in b"".join(unescaped.split(b'"')[::2]).translate(None, _NOT_BRACKETS):
        depth += 1 if byte in _OPENERS else -1
        if depth > depth_max:
            return True
    return False


def is_msgpack_too_deep(value: bytes, depth_max: int) -> bool:
    """Return whether maps and arrays nest deeper than `depth_max`; a truncated document counts as far as it goes."""
    if len(value.translate(None, _NOT_MSGPACK_CONTAINERS)) <= depth_max:
        return False
    open_items: list[int] = []
    position = 0
    while position < len(value):
        items, position = _next_msgpack(value, position)
        if items:
            open_items.append(items)
            if len(open_items) > depth_max:
                return True
            continue
        while open_items:
            open_items[-1] -= 1
            if open_items[-1]:
                break
            open_items.pop()
    return False


def _next_msgpack(value: bytes, position: int) -> tuple[int, int]:
    """Return the number of items of the container at `position` (0: no container), and the next object's position."""
    code = value[position]
    position += 1
    if code in _SIZED:
        length_bytes, extra_bytes = _SIZED[code]
        length = int.from_bytes(value[position : position + length_bytes], "big")
        return 0, position + length_bytes + extra_bytes + length
    if code in _COUNTED:
        length_bytes, factor = _COUNTED[code]
        return factor * int.from_bytes(value[position : position + length_bytes], "big"), position + length_bytes
    if 0x80 <= code <= 0x8F:
        return 2 * (code & 0x0F), position
    if 0x90 <= code <= 0x9F:
        return code & 0x0F, position
    if 0xA0 <= code <= 0xBF:
        return 0, position + (code & 0x1F)
    return 0, position + _FIXED.get(code, 0)


# https://github.com/msgpack/msgpack/blob/master/spec.md, "Formats".
_SIZED = {
    0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0),  # bin
    0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1),  # ext: a length, then a type byte
    0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0),  # str
}  # fmt: skip
_COUNTED = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
_FIXED = {
    0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8,
    0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17,
}  # fmt: skip
