"""Items in threads: which results, which threads, and what is left behind."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from mlx_canary import threads
from mlx_canary.backend import mx

assert np.__version__  # its BLAS has to be loaded by now
BLAS = ThreadpoolController().select(user_api="blas")


def n_blas_threads() -> int:
    return max((library["num_threads"] for library in BLAS.info()), default=0)


@pytest.fixture(params=[1, 3])
def n_threads(request):
    """As many as a machine may have; BLAS's own."""
    if n_blas_threads() == 0:
        pytest.skip("BLAS does not tell its threads")
    with BLAS.limit(limits=request.param):
        if threads.n_threads() != request.param:
            pytest.skip("streams of this MLX belong to no thread: one item after the other")
        yield request.param


def test_results_keep_their_order(n_threads):
    """And each was made where BLAS has a single thread; afterwards it has its own number again."""
    together = threading.Barrier(n_threads)

    def look(item: int) -> tuple[int, int, str]:
        together.wait(60)
        return item, n_blas_threads(), threading.current_thread().name

    found = threads.in_threads(look, range(3 * n_threads))
    assert [item for item, _, _ in found] == list(range(3 * n_threads))
    assert {n for _, n, _ in found} == {1}
    assert len({name for *_, name in found}) == n_threads
    assert n_blas_threads() == n_threads


def test_an_error_comes_out(n_threads):
    with pytest.raises(ZeroDivisionError):
        threads.in_threads(lambda item: 1 // item, [1, 0, 1])
    assert n_blas_threads() == n_threads


def test_an_error_waits_for_the_other_items(n_threads):
    """BLAS had all its threads again while they still ran."""
    n_others, finished = n_threads - 1, []
    together = threading.Barrier(n_threads)

    def compute(item: int) -> None:
        together.wait(60)
        if item == 0:
            raise ZeroDivisionError
        time.sleep(0.2)  # the error comes out meanwhile, if nothing holds it back
        finished.append(n_blas_threads())

    with pytest.raises(ZeroDivisionError):
        threads.in_threads(compute, range(n_threads))
    assert finished == [1] * n_others


def test_no_thread_is_left_behind(n_threads):
    """MLX's streams have threads of the operating system's, which Python does not list."""
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        pytest.skip("only Linux lists the threads of a process")

    def multiply(item: int) -> float:
        matrix = mx.full((4, 4), item, mx.float32)
        return float((matrix @ matrix).sum())

    def repeat(times: int) -> int:
        for _ in range(times):
            threads.in_threads(multiply, range(3 * n_threads))
        return len(list(tasks.iterdir()))

    few, many = repeat(2), repeat(20)
    assert many < few + n_threads  # all may not have been at work by then


@pytest.mark.parametrize("n_shares", [1, 2, 3, 7])
def test_shares_are_all_of_it(n_shares):
    seen = np.zeros(5, int)

    def add(part: slice) -> None:
        seen[part] += 1

    threads.in_shares(add, 5, n_shares)
    assert seen.tolist() == [1] * 5


def test_shares_are_worked_on_at_once():
    together = threading.Barrier(3)
    threads.in_shares(lambda part: together.wait(60), 3, 3)


@pytest.mark.parametrize("failing", [0, 2])
def test_an_error_comes_out_of_a_share(failing):
    def fail(part: slice) -> None:
        if part.start == failing:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        threads.in_shares(fail, 3, 3)


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_waits_for_the_other_shares(failing):
    """They still wrote to what its caller went on to use."""
    seen, together = np.zeros(3, int), threading.Barrier(3)

    def write(part: slice) -> None:
        together.wait(60)
        if part.start == failing:
            raise ZeroDivisionError
        time.sleep(0.2)  # as above
        seen[part] = 1

    with pytest.raises(ZeroDivisionError):
        threads.in_shares(write, 3, 3)
    assert seen.sum() == 2


@pytest.mark.parametrize("function", ["in_shares(add, 5, 3)", "in_threads(add, [slice(0, 2), slice(2, 5)])"])
def test_a_thread_that_outlives_the_main_one(function):
    """Python takes no more work for other threads then."""
    script = f"""
import threading, time
import numpy as np
from threadpoolctl import ThreadpoolController
from mlx_canary import threads

seen, main = np.zeros(5, int), threading.main_thread()

def add(part):
    seen[part] += 1

def work():
    main.join()
    time.sleep(0.1)
    threads.{function}
    print(seen.tolist())

ThreadpoolController().limit(limits=2)
threading.Thread(target=work).start()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    assert (done.stdout, done.stderr) == ("[1, 1, 1, 1, 1]\n", "")
