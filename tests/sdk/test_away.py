"""What a run does while its server is away: its end waits, and what was raised in its block is not hidden."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from azureml import _life_of_run
from azureml.core import Experiment, Run, Workspace
from azureml.exceptions import ServiceException

from tests.sdk.live import Signed
from tests.sdk.wire import Wire

AWAY_S = 2.0


@pytest.fixture
def exp(attached: Path, wire: Wire, signed_in: Signed, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """Over the wire, with less patience for single calls than the server is away."""
    monkeypatch.setenv("STUDIO_URL", wire.url)
    made = Experiment(Workspace.from_config(), "away")
    made._api.transport.patience_s = AWAY_S / 10
    return made


@pytest.fixture
def go_away(wire: Wire) -> Iterator[Callable[[], None]]:
    """Cuts the wire, and mends it a while later."""
    mending = threading.Timer(AWAY_S, wire.mend)

    def go() -> None:
        wire.cut()
        mending.start()

    yield go
    mending.cancel()


def seen(run: Run, signed_in: Signed, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The run as the server has it."""
    monkeypatch.setenv("STUDIO_URL", signed_in.url)
    return Run(Experiment(Workspace.from_config(), "away"), run.id).get_details_with_logs()


def boom(run: Run) -> None:
    """Leave a block by an exception."""
    with run:
        raise LookupError("boom")


@pytest.mark.parametrize(
    ("act", "status"), [(Run.complete, "Completed"), (Run.fail, "Failed"), (Run.cancel, "Canceled")]
)
@pytest.mark.parametrize("metrics", [0, 3])
def test_an_end_by_hand_waits_for_the_server(
    exp: Experiment,
    go_away: Callable[[], None],
    signed_in: Signed,
    monkeypatch: pytest.MonkeyPatch,
    attached: Path,
    act: Callable[[Run], None],
    status: str,
    metrics: int,
) -> None:
    run = exp.start_logging(snapshot_directory=None)
    (attached / "outputs" / "model.txt").write_text("m")
    go_away()
    for number in range(metrics):
        run.log("a", number)
    act(run)
    assert run.status == status
    assert seen(run, signed_in, monkeypatch)["status"] == status
    assert run.get_file_names() == ["outputs/model.txt"]


@pytest.mark.parametrize("metrics", [0, 3])
def test_leaving_a_block_waits_for_the_server(
    exp: Experiment,
    go_away: Callable[[], None],
    signed_in: Signed,
    monkeypatch: pytest.MonkeyPatch,
    metrics: int,
) -> None:
    with exp.start_logging(snapshot_directory=None, outputs=None) as run:
        go_away()
        print("the last line")
        for number in range(metrics):
            run.log("a", number)
    details = seen(run, signed_in, monkeypatch)
    assert (run.status, details["status"]) == ("Completed", "Completed")
    assert details["logFiles"] == {"user_logs/std_log.txt": "the last line\n"}


def test_a_block_that_fails_while_the_server_is_away_ends_failed(
    exp: Experiment, go_away: Callable[[], None], signed_in: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = exp.start_logging(snapshot_directory=None, outputs=None)
    go_away()
    with pytest.raises(LookupError, match="boom"):
        boom(run)
    assert seen(run, signed_in, monkeypatch)["status"] == "Failed"


def test_what_is_raised_in_a_block_is_not_hidden_by_a_server_that_stays_away(
    exp: Experiment, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = exp.start_logging(snapshot_directory=None, outputs=None)
    monkeypatch.setattr(_life_of_run, "END_PATIENCE_S", 0.5)
    wire.cut()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("error")
        with pytest.raises(LookupError, match="boom"):
            boom(run)
    assert "could not be ended" in str(warned[-1].message)
    with pytest.raises(ServiceException, match="does not answer"):
        run.complete()
    wire.mend()
    run.complete()
