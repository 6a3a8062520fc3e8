"""What follows a search, and what a resumed one remembers of it."""

from dataclasses import replace

from salt_tune.controller.following import Following
from salt_tune.controller.limits import Limits

ASKED = Following(wandb="offline", tensorboard=True, notify="true")


def test_a_resumed_search_goes_on_with_what_it_had() -> None:
    session = ASKED.remembered()
    assert Following().after(session) == replace(ASKED, notify=None), "a run that was handed over runs no command"
    assert [*Following().after(session).callbacks({})] == ["wandb_logger", "tensorboard", "live_table"]
    other = Following(wandb="off", notify="true").after(session)
    assert [*other.callbacks({})] == ["tensorboard", "notify", "live_table"]
    assert [*Following().after({}).callbacks({})] == ["live_table"]


def test_what_prints_is_the_last_and_is_not_remembered() -> None:
    asked = Following(mlflow=True, output="json_lines")
    assert [*asked.callbacks({})] == ["mlflow_logger", "json_lines"]
    assert Following().after(asked.remembered()).output == "screen"
    limits = Limits.parse("8h", None)
    assert Following().callbacks({"seconds": limits.seconds})["live_table"] == {"limits": {"seconds": 8 * 3600}}
