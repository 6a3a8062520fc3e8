"""Where the kernel's count of processes killed for memory is found."""

from pathlib import Path

import pytest

from salt_tune.resources.memory_kills import memory_kills

GROUPS = {
    "version 2": ("0::/user/me\n", "sys/fs/cgroup/user/me/memory.events", "low 0\nmax 9\noom 4\noom_kill 3\n"),
    "version 2, of a container": ("0::/\n", "sys/fs/cgroup/memory.events", "oom 4\noom_kill 3\noom_group_kill 1\n"),
    "version 1": ("4:memory:/a/b\n0::/\n", "sys/fs/cgroup/memory/a/b/memory.oom_control", "under_oom 0\noom_kill 3\n"),
    "the machine": ("0::/\n", "proc/vmstat", "pgfault 17\noom_kill 3\noom_kill_x 9\n"),
}


@pytest.mark.parametrize(("groups", "file", "content"), GROUPS.values(), ids=GROUPS)
def test_it_is_found(tmp_path: Path, groups: str, file: str, content: str) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups)
    (tmp_path / "proc/vmstat").write_text("oom_kill 99\n")
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(content)
    assert memory_kills(tmp_path) == 3


def test_where_nothing_counts_there_are_none(tmp_path: Path) -> None:
    assert memory_kills(tmp_path) == 0


def test_of_this_machine_it_only_grows() -> None:
    assert 0 <= memory_kills() <= memory_kills()
