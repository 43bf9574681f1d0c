"""The child processes: they may be killed, hang or crash and it costs one picture; none is left behind."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bench.lib.damaged_images import FORMATS, draw_photo, encode_image
from bench.lib.decompression_bombs import build_many_scans

from tanuki.animals.images import decoder, photo_files
from tanuki.animals.images.decoder import DecodedPhoto, DecodeJob, Decoder, Refusal
from tanuki.errors import TooMany

SIZES = {"list": 320, "full": 2048}
JPEG = encode_image(draw_photo(1, 200, 150), "jpeg")
PROGRAM = """
import sys, time
from tanuki.animals.images import photo_files
from tanuki.animals.images.decoder import Decoder
decoder = Decoder()
photo_files.clean_image(decoder, open(sys.argv[1], "rb").read())
print(*[child.process.pid for child in decoder.alive], flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def pool():
    made = Decoder(2)
    yield made
    made.close()


def job(source: str = "jpeg") -> DecodeJob:
    return DecodeJob(source, 50_000_000, SIZES, 82)


def pids(pool: Decoder) -> set[int]:
    return {child.process.pid for child in pool.alive}


def gone(pid: int, within_s: float = 10.0) -> bool:
    """Whether a process ends, also when nobody has asked what became of it."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            state, threads = (
                Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0],
                list(Path(f"/proc/{pid}/task").iterdir()),
            )
            if state == "Z" and len(threads) == 1:  # its other threads may take a moment longer
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def until_busy(pool: Decoder, pid: int) -> None:
    """Wait until a child is computing."""
    while (
        int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11]) < 20
    ):  # hundredths of a second
        time.sleep(0.01)


# ---- the usual day -----------------------------------------------------------------------------


def test_a_child_is_ready_soon_and_kept(pool):
    begun = time.perf_counter()
    pool.decode(JPEG, job())
    assert time.perf_counter() - begun < 5  # 0.2 s where nothing else runs
    first = pids(pool)
    for _ in range(5):
        assert isinstance(pool.decode(JPEG, job()), DecodedPhoto)
    assert pids(pool) == first and len(first) == 1


def test_threads_share_the_children_and_get_their_own_pictures(pool):
    sent = [
        (source, encode_image(draw_photo(seed, 160 + seed, 120), source))
        for seed in range(6)
        for source in FORMATS
    ]
    alone = [pool.decode(content, job(source)) for source, content in sent]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda pair: pool.decode(pair[1], job(pair[0])), sent * 3))
    assert together == alone * 3
    assert len(pids(pool)) == 2


def test_a_child_is_replaced_after_many_jobs(pool, monkeypatch):
    monkeypatch.setattr(decoder, "JOBS_PER_PROCESS", 3)
    seen = set()
    for _ in range(7):
        pool.decode(JPEG, job())
        seen |= pids(pool)
    assert len(seen) >= 2
    assert all(gone(pid) for pid in seen - pids(pool))


def test_children_know_nothing_that_is_secret(pool, monkeypatch):
    monkeypatch.setenv("TANUKI_SECRET_KEY", "hush")
    pool.decode(JPEG, job())
    for pid in pids(pool):
        names = {
            line.partition(b"=")[0]
            for line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if line
        }
        assert names <= {b"LANG", b"VIPS_CONCURRENCY", b"MALLOC_ARENA_MAX"}
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert f"Max data size             {decoder.MAX_HEAP_MB << 20}" in limits
        assert "Max file size             0" in limits


def test_callers_wait_for_their_turn_but_not_for_ever(monkeypatch):
    pool = Decoder(1)
    pool.decode(JPEG, job())
    (pid,) = pids(pool)
    slow = threading.Thread(target=pool.decode, args=(build_many_scans(), job()))
    slow.start()
    until_busy(pool, pid)
    monkeypatch.setattr(decoder, "QUEUE_TIMEOUT_SECONDS", 0.05)
    with pytest.raises(TooMany, match="Too many pictures are being read"):
        pool.decode(JPEG, job())
    monkeypatch.setattr(decoder, "QUEUE_TIMEOUT_SECONDS", 20.0)
    assert isinstance(pool.decode(JPEG, job()), DecodedPhoto)
    slow.join()
    pool.close()


# ---- bad days ----------------------------------------------------------------------------------


def test_a_child_killed_at_work_costs_its_own_picture_only(pool, caplog):
    pool.decode(JPEG, job())
    (pid,) = pids(pool)
    with ThreadPoolExecutor(2) as threads, caplog.at_level(logging.WARNING):
        slow = threads.submit(pool.decode, build_many_scans(), job())
        until_busy(pool, pid)
        beside = threads.submit(pool.decode, JPEG, job())
        assert isinstance(beside.result(), DecodedPhoto)
        os.kill(pid, signal.SIGKILL)
        assert slow.result() == Refusal("damaged")
    assert caplog.records[-1].code == -signal.SIGKILL
    assert pid not in pids(pool)
    assert isinstance(pool.decode(JPEG, job()), DecodedPhoto)


def test_a_child_killed_while_it_waits_is_replaced_without_loss(pool):
    pool.decode(JPEG, job())
    (pid,) = pids(pool)
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)
    assert isinstance(pool.decode(JPEG, job()), DecodedPhoto)
    assert pid not in pids(pool)


def test_a_child_that_hangs_is_killed(pool, monkeypatch):
    pool.decode(JPEG, job())
    (pid,) = pids(pool)
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(decoder, "MAX_WALL_SECONDS", 0.3)
    assert pool.decode(JPEG + bytes(1_000_000), job()) == Refusal(
        "time"
    )  # more than fits into a pipe: writing ends too
    assert gone(pid)
    monkeypatch.undo()
    assert isinstance(pool.decode(JPEG, job()), DecodedPhoto)


def test_a_child_that_says_nonsense_is_not_believed(pool, monkeypatch, tmp_path):
    for said in (
        "b'nonsense\\n'",
        'b\'{"peak_mb": 1, "files": {"full": 99999999999}}\\n\'',
        "b'[]\\n'",
        "b''",
    ):
        script = tmp_path / "liar.py"
        script.write_text(
            f"import sys\nsys.stdout.buffer.write(b'\\n' + {said})\nsys.stdout.flush()\nsys.stdin.buffer.readline()\n"
        )
        monkeypatch.setattr(decoder, "SCRIPT", script)
        assert pool.decode(JPEG, job()) == Refusal("damaged")
    script.write_text("raise SystemExit(3)")
    with pytest.raises(OSError, match="does not start: exit status 3"):
        pool.decode(JPEG, job())
    monkeypatch.undo()
    assert isinstance(pool.decode(JPEG, job()), DecodedPhoto)


# ---- at the end --------------------------------------------------------------------------------


def test_closing_leaves_no_process_behind():
    pool = Decoder(2)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: pool.decode(JPEG, job()), range(8)))
    children = pids(pool)
    pool.close()
    assert children and not any(Path(f"/proc/{pid}").exists() for pid in children)


@pytest.mark.parametrize("end", ["ends", "is killed"])
def test_children_end_with_their_process(tmp_path, end):
    (tmp_path / "photo.jpg").write_bytes(JPEG)
    command = [
        sys.executable,
        "-c",
        PROGRAM,
        str(tmp_path / "photo.jpg"),
        "0" if end == "ends" else "60",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [int(pid) for pid in parent.stdout.readline().split()]
        if end == "is killed":
            parent.kill()
    assert children and all(gone(pid) for pid in children)
    assert parent.returncode == (0 if end == "ends" else -signal.SIGKILL)


def test_resources_keep_one_decoder_and_end_it_when_they_close(embedded):
    photo_files.clean_upload(embedded, JPEG)
    first = embedded.process_cache.get(Decoder, Decoder)
    assert embedded.process_cache.get(Decoder, Decoder) is first
    assert first.alive
    embedded.process_cache.close()
    assert not first.alive
    assert photo_files.clean_upload(embedded, JPEG).source == "jpeg"
    assert embedded.process_cache.get(Decoder, Decoder) is not first
