"""The log files of the demo's processes are limited, while the processes continue to write to them."""

import os
from threading import Thread

from emm_pipeline.cli.demo.log_files import rotate
from emm_pipeline.cli.demo.processes import ProcessGroup


def test_a_process_writes_on_to_its_log_after_a_rotation(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ProcessGroup(tmp_path / "logs") as processes:
        processes.start("chatty", ["sh", "-c", 'exec cat < "$0"', pipe], os.environ)
        log = processes.log("chatty")
        with pipe.open("wb", buffering=0) as file:
            writer = Thread(target=file.write, args=(b"old\n" * 500_000,))
            writer.start()
            while log.stat().st_size <= 1_000_000:
                pass
            processes.rotate_logs(1_000_000)
            writer.join()
            file.write(b"new\n")
        processes._running["chatty"].wait(60)
        assert log.with_name("chatty.log.1").stat().st_size > 1_000_000
        assert log.stat().st_size < 1_000_004
        assert log.read_bytes().endswith(b"new\n")
        assert b"\0" not in log.read_bytes(), "the process writes at the end of the file, not where it was before"


def test_a_small_log_and_one_that_does_not_exist_are_not_changed(tmp_path):
    log = tmp_path / "daemon.log"
    assert not rotate(log)
    log.write_text("a line\n")
    assert not rotate(log)
    assert [path.name for path in tmp_path.iterdir()] == ["daemon.log"]


def test_a_log_keeps_only_its_last_copy(tmp_path):
    log = tmp_path / "daemon.log"
    for text in ("first", "second"):
        log.write_text(text)
        assert rotate(log, 3)
        assert log.read_text() == ""
    assert log.with_name("daemon.log.1").read_text() == "second"
    assert len(list(tmp_path.iterdir())) == 2
