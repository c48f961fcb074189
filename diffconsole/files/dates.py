"""When something was made, as files state it."""

from __future__ import annotations

import datetime
import os

__all__ = ["created"]


def created() -> str:
    """Return the time now in UTC, to the second, as ISO 8601 has it.

    Where the environment holds ``SOURCE_DATE_EPOCH``, a whole number of seconds since 1970, it is
    that time: the same run then writes the same bytes (https://reproducible-builds.org).
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch.isascii() and epoch.isdigit() and len(epoch) < 12:
        return datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc).isoformat()
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0).isoformat()
