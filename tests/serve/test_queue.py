"""The queue: bounded, with deadlines; cancelled requests leave it, and accepted ones are finished."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from small_server import LIMITS, client_of, loader, settings, small_image, wait_for
from starlette.testclient import TestClient

from yoso.serve.app import create
from yoso.serve.metrics import Metrics
from yoso.serve.problems import Problem
from yoso.serve.work import WorkQueue

IMAGE = small_image()
RAW = {"content-type": "image/png"}


def post(client):
    return client.post("/v1/panoptic", content=IMAGE, headers=RAW)


@pytest.fixture
def queue():
    made = WorkQueue(1, 2, Metrics())
    made.start()
    yield made
    made.drain()
    made.join(5)


def test_jobs_run_in_order_and_give_their_results(queue):
    async def all_of_them():
        return await asyncio.gather(*(queue.run(lambda number=number: number, 5) for number in range(2)))

    assert asyncio.run(all_of_them()) == [0, 1]


def test_an_error_of_a_job_is_raised_for_it_alone(queue):
    def fail():
        raise KeyError("x")

    async def both():
        return await asyncio.gather(queue.run(fail, 5), queue.run(lambda: 1, 5), return_exceptions=True)

    error, result = asyncio.run(both())
    assert isinstance(error, KeyError)
    assert result == 1


def test_a_full_queue_refuses_and_says_when_to_come_back(queue):
    async def fill():
        gate = threading.Event()
        first = asyncio.create_task(queue.run(gate.wait, 5))
        while queue._num_running == 0:
            await asyncio.sleep(0.001)
        waiting = [asyncio.create_task(queue.run(lambda: 1, 5)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Problem) as caught:
            await queue.run(lambda: 1, 5)
        gate.set()
        assert await asyncio.gather(first, *waiting) == [True, 1, 1]
        return caught.value

    problem = asyncio.run(fill())
    assert (problem.kind, problem.status) == ("queue-full", 429)
    assert 1 <= int(problem.headers["Retry-After"]) <= 60


def test_cancelled_and_late_jobs_never_start(queue):
    started = []

    async def give_up():
        gate = threading.Event()
        first = asyncio.create_task(queue.run(gate.wait, 5))
        while queue._num_running == 0:
            await asyncio.sleep(0.001)
        cancelled = asyncio.create_task(queue.run(lambda: started.append("cancelled"), 5))
        late = asyncio.create_task(queue.run(lambda: started.append("late"), 0.02))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        with pytest.raises(Problem, match=r"within 0.02 seconds") as caught:
            await late
        assert len(queue._jobs) == 0
        gate.set()
        await first
        return caught.value

    problem = asyncio.run(give_up())
    assert (problem.kind, problem.status) == ("deadline-exceeded", 503)
    assert started == []


def test_draining_finishes_what_was_accepted():
    queue = WorkQueue(2, 5, Metrics())
    queue.start()

    async def drain():
        jobs = [asyncio.create_task(queue.run(lambda: time.sleep(0.02) or 1, 5)) for _ in range(5)]
        await asyncio.sleep(0)
        queue.drain()
        with pytest.raises(Problem) as caught:
            await queue.run(lambda: 1, 5)
        return await asyncio.gather(*jobs), caught.value.kind

    assert asyncio.run(drain()) == ([1] * 5, "draining")
    queue.join(5)
    assert not any(thread.is_alive() for thread in queue._threads)


def test_the_server_answers_429_and_then_works_again(engine):
    application = create(settings(limits=replace(LIMITS, queue_length=2)))
    with client_of(application) as client, ThreadPoolExecutor(8) as pool:
        engine.gate.clear()
        running = pool.submit(post, client)
        wait_for(lambda: engine.num_started == 1)
        waiting = [pool.submit(post, client) for _ in range(2)]
        wait_for(lambda: len(application.service.queue._jobs) == 2)
        assert "yoso_queue_depth 2.0" in client.get("/metrics").text
        refused = post(client)
        assert (refused.status_code, refused.json()["type"]) == (429, "urn:yoso:queue-full")
        assert int(refused.headers["retry-after"]) >= 1
        engine.gate.set()
        assert [future.result().status_code for future in [running, *waiting]] == [200] * 3
        assert post(client).status_code == 200
        assert 'yoso_rejections_total{reason="queue-full"} 1.0' in client.get("/metrics").text


def test_a_deadline_is_a_503(engine):
    with client_of(create(settings(limits=replace(LIMITS, request_seconds=0.1)))) as client:
        engine.gate.clear()
        response = post(client)
        engine.gate.set()
        assert (response.status_code, response.json()["type"]) == (503, "urn:yoso:deadline-exceeded")
        assert "retry-after" in response.headers


def test_loading_failed_and_draining_models_are_503(engines, monkeypatch):
    gate = threading.Event()
    load = loader(engines)
    monkeypatch.setattr("yoso.serve.models.load", lambda *words: gate.wait(10) and load(*words))
    application = create(settings("quick", "missing"))
    with TestClient(application.asgi, base_url="http://localhost") as client:
        assert client.get("/v2/health/live").status_code == 200
        response = client.get("/v2/health/ready")
        assert (response.status_code, response.json()["type"]) == (503, "urn:yoso:loading")
        response = post(client)
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert [model["state"] for model in client.get("/v1/models").json()["models"]] == ["loading", "loading"]
        gate.set()
        application.service.models.wait()
        assert post(client).status_code == 200
        response = client.post("/v1/panoptic?model=missing", content=IMAGE, headers=RAW)
        assert (response.status_code, response.json()["type"]) == (503, "urn:yoso:model-failed")
        assert client.get("/v2/models/quick/ready").status_code == 200
        application.service.queue.drain()
        assert post(client).json()["type"] == "urn:yoso:draining"
        assert client.get("/v2/health/ready").status_code == 503
        assert client.get("/v2/health/live").status_code == 200
