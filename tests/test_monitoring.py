"""What processes tell of themselves, and that dashboard and alerts ask only for what is told."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from contracts.deployment import Deployment
from coordinator.daemon import Daemon
from coordinator.metrics import CoordinatorMetrics, queue_depths
from coordinator.scheduler import Action, ActionKind
from coordinator.settings import load
from oracle_worker.monitoring import SignerMetrics, monitoring
from oracle_worker.settings import PREFIX
from tests.end_to_end.services import RedisServer
from tests.requirements import missing

try:
    import yaml
except ImportError:
    missing("PyYAML", "pip install PyYAML")

FOLDER = Path(__file__).resolve().parents[1] / "deploy" / "monitoring"
NOWHERE = "0x" + "11" * 20
SECRET = "hunter2hunter2hunter2"


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A coordinator whose node, broker and relay are nowhere, and whose URLs hold secrets."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    Deployment(31_337, NOWHERE, NOWHERE, NOWHERE, NOWHERE, 1).save(tmp_path / "deployment.json")
    made = Daemon(
        load(
            rpc_url=f"http://u:{SECRET}@127.0.0.1:1/{SECRET},http://127.0.0.1:2/{SECRET}",
            broker_url=f"redis://:{SECRET}@127.0.0.1:1/0",
            deployment=tmp_path / "deployment.json",
            database=tmp_path / "jobs.sqlite",
            worker=NOWHERE,
        )
    )
    yield made
    made.close()


def told() -> set[str]:
    """The names of everything that any process tells."""
    registries = (CoordinatorMetrics().registry, SignerMetrics().registry)
    return {
        one.name + ("_total" if one.type == "counter" else "") for registry in registries for one in registry.collect()
    }


def asked_for(text: str) -> set[str]:
    return set(re.findall(r"\bquorate_\w+", text))


def test_every_alert_asks_for_what_is_told_and_stands_in_the_operators_guide() -> None:
    rules = [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
    guide = (FOLDER.parents[1] / "docs" / "operators.md").read_text("utf-8")
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 10
    for rule in rules:
        assert asked_for(rule["expr"]) <= told(), rule["alert"]
        assert rule["annotations"]["summary"], rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert f"`{rule['alert']}`" in guide, rule["alert"]


def test_the_dashboard_asks_for_what_is_told_and_for_all_of_it() -> None:
    dashboard = json.loads((FOLDER / "grafana.json").read_text())
    asked = asked_for(json.dumps([target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]))
    assert asked == told()
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_labels_that_alerts_choose_by_are_ones_that_are_given() -> None:
    text = (FOLDER / "alerts.yml").read_text()
    assert set(re.findall(r'duty="(\w+)"', text)) <= {kind.value for kind in ActionKind}
    assert set(re.findall(r'status="(\w+)"', text)) <= {"succeeded", "failed"}


def test_the_scraped_ports_are_the_units() -> None:
    targets = [
        one["targets"][0]
        for one in yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"][0]["static_configs"]
    ]
    assert targets == ["127.0.0.1:9464", "127.0.0.1:9465"]


def test_metrics_and_health_are_served_on_loopback_and_nothing_else_is(daemon: Daemon) -> None:
    with monitoring(0, [daemon.metrics.registry, SignerMetrics().registry], daemon.report) as port:
        url = f"http://127.0.0.1:{port}"
        text = requests.get(f"{url}/metrics", timeout=30).text
        assert 'quorate_duties_due{duty="reveal"} 0.0' in text
        assert "quorate_gas_spent_wei_total 0.0" in text
        assert requests.get(f"{url}/healthz", timeout=30).json()["healthy"] is True
        assert requests.get(f"{url}/etc/passwd", timeout=30).status_code == 404
        assert requests.post(f"{url}/metrics", timeout=30).status_code == 501
        # a page of a name that leads here reads nothing
        assert requests.get(f"{url}/metrics", headers={"Host": "attacker.example"}, timeout=30).status_code == 403
    with monitoring(None, [], daemon.report) as port:
        assert port is None


def test_a_coordinator_that_fails_is_unwell_after_a_while_and_says_why_without_secrets(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    daemon._one_cycle(threading.Event())
    monkeypatch.setattr("coordinator.daemon.UNHEALTHY_SECONDS", -1.0)
    with monitoring(0, [daemon.metrics.registry], daemon.report) as port:
        answer = requests.get(f"http://127.0.0.1:{port}/healthz", timeout=30)
        metrics = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    assert answer.status_code == 503
    assert answer.json()["healthy"] is False
    assert "127.0.0.1:1" in answer.json()["last_error"]
    assert "quorate_cycle_failures_in_a_row 1.0" in metrics
    assert SECRET not in answer.text + metrics


def test_what_is_due_and_how_much_time_is_left_is_told() -> None:
    metrics = CoordinatorMetrics()
    reveal = [Action(ActionKind.REVEAL, bytes([number]) * 32, left=100 * number) for number in (3, 1, 2)]
    metrics.due([*reveal, Action(ActionKind.SETTLE, bytes(32))])
    value = metrics.registry.get_sample_value
    assert value("quorate_duties_due", {"duty": "reveal"}) == 3
    assert value("quorate_duties_due", {"duty": "settle"}) == 1
    assert value("quorate_seconds_to_deadline", {"duty": "reveal"}) == 100
    settle: Any = value("quorate_seconds_to_deadline", {"duty": "settle"})
    assert settle != settle  # NaN: nothing is lost by waiting
    metrics.due([])
    assert value("quorate_duties_due", {"duty": "reveal"}) == 0


def test_the_depth_of_queues_is_asked_of_redis_and_unknown_where_it_is_down(tmp_path: Path) -> None:
    import redis

    with RedisServer(tmp_path / "redis") as server:
        given = load(broker_url=server.url, queue_prefix="ada.")
        with redis.Redis.from_url(server.url) as client:
            client.rpush("ada.signer", "1", "2", "3")
        assert queue_depths(given) == {"compute": 0, "examine": 0, "signer": 3}
    assert queue_depths(given) == {"compute": None, "examine": None, "signer": None}
    assert queue_depths(load(broker_url="memory://")) == {}
