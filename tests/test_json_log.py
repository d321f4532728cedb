"""Logs as JSON: one object a line, whatever is said, with the job that it is about."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest

from coordinator.cli.main import main
from oracle_worker import json_log
from oracle_worker.queues import make_sender
from oracle_worker.settings import load

JOB = "0x" + "ab" * 32


def line(message: str, *values: object, **more: Any) -> dict[str, Any]:
    text = json_log.JsonLines().format(logging.LogRecord("a.b", logging.INFO, "f", 1, message, values, **more))
    assert "\n" not in text
    made: dict[str, Any] = json.loads(text)
    return made


def test_a_line_names_the_job_that_it_is_about() -> None:
    json_log.current_job.set(None)
    said = line("job %s: %s", JOB, "reveal", exc_info=None)
    assert said.pop("time").endswith("+00:00")
    assert said == {"level": "info", "logger": "a.b", "message": f"job {JOB}: reveal", "job": JOB}
    assert "job" not in line("no job here", exc_info=None)
    json_log.current_job.set(JOB)
    assert line("commit: 2 seats", exc_info=None)["job"] == JOB
    json_log.current_job.set(None)


def test_a_traceback_and_what_others_wrote_stay_on_one_line() -> None:
    try:
        raise ValueError("two\nlines\x1b[2J")
    except ValueError:
        said = line("failed: %s", "a\nb", exc_info=sys.exc_info())
    assert said["message"] == "failed: a\nb"
    assert "ValueError: two" in said["error"]


def test_a_format_that_does_not_exist_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUORATE_LOG_FORMAT", "xml")
    assert main(["keys", "list"]) == 5
    assert "QUORATE_LOG_FORMAT: 'xml' is no format: text and json are" in capsys.readouterr().err


def test_celery_leaves_the_format_alone_where_it_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_sender(load()).conf.worker_hijack_root_logger
    monkeypatch.setenv("QUORATE_LOG_FORMAT", "json")
    assert not make_sender(load()).conf.worker_hijack_root_logger
