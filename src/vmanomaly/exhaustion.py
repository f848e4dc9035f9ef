"""Resources of the process that are used up, by the errors that say so."""

from __future__ import annotations

import errno

_MEMORY = (
    "out of memory; raise the limit (ulimit -v, the memory of the control group), or read less"
)
_THREADS = (
    "no more threads can be started; raise the limit of processes (ulimit -u, pids.max of the "
    "control group) or of memory (ulimit -v)"
)
_DESCRIPTORS = "too many open files; raise the limit (ulimit -n)"
_BY_NUMBER = {
    errno.ENOMEM: _MEMORY,
    errno.EFBIG: "a file is as large as allowed; raise the limit of file sizes (ulimit -f)",
    errno.EMFILE: _DESCRIPTORS,
    errno.ENFILE: _DESCRIPTORS,
}
# Of libraries that cannot be loaded.
_NO_ROOM_FOR_LIBRARY = ("failed to map segment", "cannot allocate memory")


def exhausted(error: BaseException | None) -> str | None:
    """Return which resource is used up according to an error, or its causes, and the remedy.

    Returns
    -------
    str or None
        None if the error says something else.

    Examples
    --------
    >>> exhausted(OSError(24, "Too many open files"))
    'too many open files; raise the limit (ulimit -n)'
    >>> exhausted(ValueError("nothing of the kind")) is None
    True
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if remedy := _remedy(error):
            return remedy
        error = error.__cause__ or error.__context__
    return None


def _remedy(error: BaseException) -> str | None:
    if isinstance(error, MemoryError):
        return _MEMORY
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return _THREADS
    if isinstance(error, ImportError | OSError):
        if any(words in str(error).lower() for words in _NO_ROOM_FOR_LIBRARY):
            return _MEMORY
        return _BY_NUMBER.get(getattr(error, "errno", None) or 0)
    return None
