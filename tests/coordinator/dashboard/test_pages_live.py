"""A person watches: jobs and disputes go their way on the page, without a reload."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oracle_worker import duties, settlement
from tests.coordinator.dashboard.conftest import Dashboard
from tests.oracle_worker.stage import Liar, Operator, Posted, Stage, done
from tests.oracle_worker.test_challenges import challenged, finish, names

Rows = NDArray[np.uint8]


def mark(page: Any) -> None:
    """Write something into the page that a reload would wipe out."""
    page.evaluate("window.neverReloaded = true")


def is_marked(page: Any) -> bool:
    return bool(page.evaluate("window.neverReloaded === true"))


def shows(page: Any, selector: str, words: str) -> None:
    try:
        page.locator(selector, has_text=words).first.wait_for()
    except Exception as error:
        raise AssertionError(f"{words!r} is not shown: {page.locator('#content').inner_text()[:2000]}") from error


def job_path(posted: Posted) -> str:
    return f"/jobs/0x{posted.id.hex()}"


def release_all(posted: Posted, operators: list[Operator]) -> None:
    """So that their stake draws tickets for the next job and for nothing else."""
    for one in operators:
        settlement.release(one.roles.signer, posted.job)


def test_a_job_goes_from_created_to_settled_without_a_reload(
    page: Any, stage: Stage, honest: list[Operator], wine: Rows
) -> None:
    jury = honest
    page.goto("/")
    shows(page, "h1", "Overview")
    mark(page)
    posted = stage.post(wine, 3)
    link = page.locator(f"a[href='{job_path(posted)}']").first
    link.wait_for()  # it appears on the overview by itself
    assert is_marked(page)
    link.click()
    shows(page, "#state", "Drawing")
    mark(page)
    shows(page, "section", "No seat is taken yet.")
    done(duties.draw(jury[0].roles.signer, posted.job))
    shows(page, "#state", "Committing")
    shows(page, ".phase.now", "ends in")
    for number, one in enumerate(jury):
        done(one.commit(posted))
        page.wait_for_function(f"document.querySelectorAll('.seat').length === {number + 1}")
    shows(page, "#state", "Revealing")
    for one in jury:
        done(duties.reveal(one.roles.signer, posted.job))
    shows(page, "#state", "Challenging")
    page.wait_for_function("document.querySelectorAll('.seat .root.r0').length === 3")
    shows(page, ".badge", "would win")
    finish(stage, posted, jury[0])
    shows(page, "#state", "Accepted")
    shows(page, ".seat .badge", "paid")
    assert is_marked(page)
    release_all(posted, jury)


def test_a_proof_is_shown_and_checked_in_the_page_and_against_the_chain(
    page: Any, stage: Stage, honest: list[Operator], wine: Rows
) -> None:
    posted = challenged(stage, wine, honest)
    finish(stage, posted, honest[0])
    release_all(posted, honest)
    page.goto(job_path(posted))
    shows(page, "#state", "Accepted")
    page.locator("#item").fill("177")
    page.get_by_role("button", name="Show proof").click()
    shows(page, "#proof-status", "Item 177")
    shows(page, ".badge", "verdict(…) returned true")
    page.get_by_role("button", name="Check in this page").click()
    shows(page, "#proof-checked", "Checked here: 9 SHA-256 hashes")
    assert page.locator(".drawing .node.proved").count() == 9
    # the same check refuses a proof with one bit changed
    page.evaluate(
        """() => {
            const button = document.querySelector('[data-check]');
            const proof = JSON.parse(button.dataset.check);
            proof.output = proof.output.slice(0, -1) + (proof.output.endsWith('0') ? '1' : '0');
            button.dataset.check = JSON.stringify(proof);
        }"""
    )
    page.get_by_role("button", name="Check in this page").click()
    shows(page, "#proof-checked", "do not rely on it")
    page.locator("#item").fill("178")
    page.evaluate("document.querySelector('#item').removeAttribute('max')")
    page.get_by_role("button", name="Show proof").click()
    shows(page, "#proof-status", "from 0 to 177")


def test_a_dispute_is_followed_to_its_end(page: Any, stage: Stage, honest: list[Operator], wine: Rows) -> None:
    liars = stage.jury(2, [Liar(100, 150), Liar(100, 150)])
    posted = challenged(stage, wine, [*liars, *honest], quorum=3)
    page.goto(f"/disputes/0x{posted.id.hex()}")
    shows(page, ".empty", "Nobody has demanded")
    mark(page)
    judge = honest[0]
    assert names(judge, posted) == ["demand"]
    shows(page, "#root-1", "Root A")
    shows(page, ".badge", "a demand is open")
    shows(page, ".countdown", "min")
    assert page.locator(".drawing .node.open").count() == 1
    assert "answer" in names(liars[1], posted)
    page.locator(".drawing .node.answered").first.wait_for()
    assert names(judge, posted) == ["answer", "demand"]
    while "refute" not in names(judge, posted):
        for one in liars:
            names(one, posted)
    shows(page, ".badge", "refuted by execution")
    shows(page, ".evidence", "had the chain execute item 100")
    shows(page, ".evidence .logit", "cultivar")
    shows(page, ".evidence .bytes", "alcohol")
    assert page.locator(".drawing .node.refuted").count() == 1
    finish(stage, posted, judge)
    shows(page, "#state", "Accepted")
    assert is_marked(page)
    release_all(posted, [*honest, *liars])


def test_a_page_survives_a_restart_of_the_coordinator_and_says_so(
    page: Any, dashboard: Dashboard, stage: Stage, honest: list[Operator], wine: Rows
) -> None:
    posted = stage.post(wine, 3)
    page.goto(job_path(posted))
    shows(page, "#state", "Drawing")
    dashboard.stop()
    shows(page, "#connection", "The coordinator does not answer. This page shows how things stood at")
    done(duties.draw(honest[0].roles.signer, posted.job))
    assert page.locator("#state").inner_text().count("Drawing")
    dashboard.start()
    shows(page, "#connection", "The coordinator did not answer from")
    shows(page, "#state", "Committing")  # what happened meanwhile
    done(honest[0].commit(posted))
    page.wait_for_function("document.querySelectorAll('.seat').length === 1")  # and it goes on
    shows(page, "#connection", "This page was loaded anew and is up to date.")
    page.goto("/")
    shows(page, "h1", "Overview")
    assert page.locator("#connection").inner_text() == ""


def test_a_page_whose_connection_broke_off_goes_on_where_it_was(page: Any, dashboard: Dashboard) -> None:
    page.goto("/")
    shows(page, "#clock", "block")
    mark(page)
    page.evaluate("window.socket.io.engine.close()")
    shows(page, "#connection", "The coordinator does not answer.")
    page.evaluate("window.socket.connect()")
    shows(page, "#connection", "This page goes on where it was.")
    assert is_marked(page)
