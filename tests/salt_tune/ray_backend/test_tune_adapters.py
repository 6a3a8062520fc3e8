"""What Ray says of a trial, in our words."""

from salt_tune.ray_backend.tune_adapters import last_line


def test_the_last_line_of_an_error_names_the_cause() -> None:
    assert last_line(RuntimeError("first\n\n  the cause  \n\n")) == "the cause"
    assert last_line(RuntimeError()) == "RuntimeError"
