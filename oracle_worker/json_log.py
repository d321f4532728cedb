"""Logs for machines: one JSON object a line, with the job that it is about. QUORATE_LOG_FORMAT=json asks for it."""

from __future__ import annotations

import datetime
import json
import logging
import os
import re
from contextvars import ContextVar
from typing import Any

from oracle_worker.settings_file import BadSettings

VARIABLE = "QUORATE_LOG_FORMAT"
current_job: ContextVar[str | None] = ContextVar("current_job", default=None)
"""The job, as 0x-hex, that this thread works on."""
_NAMED = re.compile(r"\bjob (0x[0-9a-f]{64})\b")


class JsonLines(logging.Formatter):
    """time (UTC), level, logger, message; job where it is known; error with its traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """As logging calls it."""
        message = record.getMessage()
        named = _NAMED.search(message)
        line: dict[str, Any] = {
            "time": datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
        }
        if job := named[1] if named else current_job.get():
            line["job"] = job
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def is_wanted() -> bool:
    """Whether the environment asks for it. Raises BadSettings."""
    wanted = os.environ.get(VARIABLE, "text")
    if wanted not in ("text", "json"):
        raise BadSettings(f"{VARIABLE}: {ascii(wanted)[:40]} is no format: text and json are")
    return wanted == "json"
