"""Decoder processes: kills, hangs and crashes lose one picture, and no process stays behind."""

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
def decoder_pool():
    pool = Decoder(2)
    yield pool
    pool.close()


def make_job(source: str = "jpeg") -> DecodeJob:
    return DecodeJob(source, 50_000_000, SIZES, 82)


def list_pids(decoder_pool: Decoder) -> set[int]:
    return {child.process.pid for child in decoder_pool.alive}


def is_process_gone(pid: int, within_s: float = 10.0) -> bool:
    """Whether a process ends, even when its parent has not collected its exit status."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
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


def wait_until_busy(decoder_pool: Decoder, pid: int) -> None:
    """Wait until a child is computing."""
    # Field 11 after the name is the processor time in hundredths of a second.
    while int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11]) < 20:
        time.sleep(0.01)


# ---- normal operation --------------------------------------------------------------------------


def test_a_process_starts_fast_and_is_reused(decoder_pool):
    start = time.perf_counter()
    decoder_pool.decode(JPEG, make_job())
    assert time.perf_counter() - start < 5  # 0.2 s where nothing else runs
    first_pids = list_pids(decoder_pool)
    for _ in range(5):
        assert isinstance(decoder_pool.decode(JPEG, make_job()), DecodedPhoto)
    assert list_pids(decoder_pool) == first_pids and len(first_pids) == 1


def test_threads_share_the_processes_and_get_their_own_results(decoder_pool):
    files = [
        (source, encode_image(draw_photo(seed, 160 + seed, 120), source))
        for seed in range(6)
        for source in FORMATS
    ]
    expected = [decoder_pool.decode(content, make_job(source)) for source, content in files]
    with ThreadPoolExecutor(8) as threads:
        results = list(
            threads.map(lambda pair: decoder_pool.decode(pair[1], make_job(pair[0])), files * 3)
        )
    assert results == expected * 3
    assert len(list_pids(decoder_pool)) == 2


def test_a_process_is_replaced_after_many_jobs(decoder_pool, monkeypatch):
    monkeypatch.setattr(decoder, "JOBS_PER_PROCESS", 3)
    all_pids = set()
    for _ in range(7):
        decoder_pool.decode(JPEG, make_job())
        all_pids |= list_pids(decoder_pool)
    assert len(all_pids) >= 2
    assert all(is_process_gone(pid) for pid in all_pids - list_pids(decoder_pool))


def test_processes_have_no_secrets_and_strict_limits(decoder_pool, monkeypatch):
    monkeypatch.setenv("TANUKI_SECRET_KEY", "hush")
    decoder_pool.decode(JPEG, make_job())
    for pid in list_pids(decoder_pool):
        names = {
            line.partition(b"=")[0]
            for line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if line
        }
        assert names <= {b"LANG", b"VIPS_CONCURRENCY", b"MALLOC_ARENA_MAX"}
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert f"Max data size             {decoder.MAX_HEAP_MB << 20}" in limits
        assert "Max file size             0" in limits


def test_callers_queue_with_a_timeout(monkeypatch):
    decoder_pool = Decoder(1)
    decoder_pool.decode(JPEG, make_job())
    (pid,) = list_pids(decoder_pool)
    slow = threading.Thread(target=decoder_pool.decode, args=(build_many_scans(), make_job()))
    slow.start()
    wait_until_busy(decoder_pool, pid)
    monkeypatch.setattr(decoder, "QUEUE_TIMEOUT_SECONDS", 0.05)
    with pytest.raises(TooMany, match="Too many pictures are being read"):
        decoder_pool.decode(JPEG, make_job())
    monkeypatch.setattr(decoder, "QUEUE_TIMEOUT_SECONDS", 20.0)
    assert isinstance(decoder_pool.decode(JPEG, make_job()), DecodedPhoto)
    slow.join()
    decoder_pool.close()


# ---- failures ----------------------------------------------------------------------------------


def test_a_process_killed_during_a_job_loses_only_that_job(decoder_pool, caplog):
    decoder_pool.decode(JPEG, make_job())
    (pid,) = list_pids(decoder_pool)
    with ThreadPoolExecutor(2) as threads, caplog.at_level(logging.WARNING):
        first_job = threads.submit(decoder_pool.decode, build_many_scans(), make_job())
        wait_until_busy(decoder_pool, pid)
        second_job = threads.submit(decoder_pool.decode, JPEG, make_job())
        assert isinstance(second_job.result(), DecodedPhoto)
        os.kill(pid, signal.SIGKILL)
        assert first_job.result() == Refusal("damaged")
    assert caplog.records[-1].code == -signal.SIGKILL
    assert pid not in list_pids(decoder_pool)
    assert isinstance(decoder_pool.decode(JPEG, make_job()), DecodedPhoto)


def test_an_idle_process_that_is_killed_is_replaced_without_loss(decoder_pool):
    decoder_pool.decode(JPEG, make_job())
    (pid,) = list_pids(decoder_pool)
    os.kill(pid, signal.SIGKILL)
    assert is_process_gone(pid)
    assert isinstance(decoder_pool.decode(JPEG, make_job()), DecodedPhoto)
    assert pid not in list_pids(decoder_pool)


def test_a_process_that_hangs_is_killed(decoder_pool, monkeypatch):
    decoder_pool.decode(JPEG, make_job())
    (pid,) = list_pids(decoder_pool)
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(decoder, "MAX_WALL_SECONDS", 0.3)
    # More bytes than fit into a pipe, so that writing ends as well.
    assert decoder_pool.decode(JPEG + bytes(1_000_000), make_job()) == Refusal("time")
    assert is_process_gone(pid)
    monkeypatch.undo()
    assert isinstance(decoder_pool.decode(JPEG, make_job()), DecodedPhoto)


def test_an_invalid_answer_of_a_process_is_refused(decoder_pool, monkeypatch, tmp_path):
    for answer in (
        "b'nonsense\\n'",
        'b\'{"peak_mb": 1, "files": {"full": 99999999999}}\\n\'',
        "b'[]\\n'",
        "b''",
    ):
        script = tmp_path / "liar.py"
        script.write_text(
            f"import sys\nsys.stdout.buffer.write(b'\\n' + {answer})\n"
            "sys.stdout.flush()\nsys.stdin.buffer.readline()\n"
        )
        monkeypatch.setattr(decoder, "SCRIPT", script)
        assert decoder_pool.decode(JPEG, make_job()) == Refusal("damaged")
    script.write_text("raise SystemExit(3)")
    with pytest.raises(OSError, match="does not start: exit status 3"):
        decoder_pool.decode(JPEG, make_job())
    monkeypatch.undo()
    assert isinstance(decoder_pool.decode(JPEG, make_job()), DecodedPhoto)


# ---- closing -----------------------------------------------------------------------------------


def test_closing_ends_all_processes():
    decoder_pool = Decoder(2)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: decoder_pool.decode(JPEG, make_job()), range(8)))
    children = list_pids(decoder_pool)
    decoder_pool.close()
    assert children and not any(Path(f"/proc/{pid}").exists() for pid in children)


@pytest.mark.parametrize("end", ["ends", "is killed"])
def test_processes_end_with_their_parent(tmp_path, end):
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
    assert children and all(is_process_gone(pid) for pid in children)
    assert parent.returncode == (0 if end == "ends" else -signal.SIGKILL)


def test_resources_share_one_decoder_and_close_it(embedded):
    photo_files.clean_upload(embedded, JPEG)
    first_decoder = embedded.process_cache.get(Decoder, Decoder)
    assert embedded.process_cache.get(Decoder, Decoder) is first_decoder
    assert first_decoder.alive
    embedded.process_cache.close()
    assert not first_decoder.alive
    assert photo_files.clean_upload(embedded, JPEG).source == "jpeg"
    assert embedded.process_cache.get(Decoder, Decoder) is not first_decoder
