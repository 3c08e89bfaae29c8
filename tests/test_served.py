"""A served model: a server with OpenAI's completions API in this process, whose answers are those of a tiny model."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness import cli
from harness.experiment.naming import load_method
from harness.model import endpoint
from harness.model.endpoint import Endpoint
from harness.model.lm import ExtendedLM
from harness.model.load import load_model
from harness.records.ledger import _alike
from harness.rope.applied import applied
from harness.runner.served import parted
from harness.runner.serving import Serving, serving_of
from harness.store import Proof, Store

FILE = """
model: {model}
target_length: 512
lengths: [256, 512]
extenders: [none, {{yarn: {{label: YaRN}}}}]
tests: [{{passkey: {{samples: 3}}}}, {{needle: {{samples: 2, lengths: [512]}}}}]
"""
Complete = Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]


@contextmanager
def server(complete: Complete, names: tuple[str, ...] = ("tiny",)) -> Iterator[str]:
    """The address of a server that answers completions by that function."""

    class Handler(BaseHTTPRequestHandler):
        def send(self, code: int, content: dict[str, Any]) -> None:
            data = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self.send(200, {"data": [{"id": name} for name in names]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send(*complete(body))

        def log_message(self, *_: Any) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}/v1"
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


def completion(text: str, read: int, written: int, ended: bool = False) -> tuple[int, dict[str, Any]]:
    choice = {"index": 0, "text": text, "finish_reason": "stop" if ended else "length"}
    return 200, {"choices": [choice], "usage": {"prompt_tokens": read, "completion_tokens": written}}


@contextmanager
def model_server(folder: Path, method: str) -> Iterator[str]:
    """The tiny model under a method that is planned for 512 tokens at every length, as engines do."""
    loaded, alone = load_model(str(folder), dtype="float32"), threading.Lock()
    extender = load_method("test", method, [])(target_length=512)
    with applied(loaded.model, loaded.spec) as rotary:
        lm = ExtendedLM(loaded, extender, rotary)

        def complete(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            assert body["temperature"] == 0 and body["model"] == "tiny"
            with alone:
                [answer] = lm._greedy([body["prompt"]], body["max_tokens"], None)
            return completion(answer.text, len(body["prompt"]), answer.tokens, answer.finished)

        with server(complete) as address:
            yield address


@pytest.fixture
def place(tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(endpoint, "WAITS", (0.0, 0.0))
    (tmp_path / "mine.yaml").write_text(FILE.format(model=tiny_model_folder))
    return tmp_path


def answers(store: Store) -> dict[tuple[str, str, int], list[tuple[str, float, str]]]:
    rows = {}
    for planned, cell in store.cells():
        assert cell is not None and cell["status"] == "done", cell
        place = planned["label"], planned["task"], planned["length"]
        rows[place] = [(row["generation"], row["score"], row["prompt"]) for row in cell["rows"]]
    return rows


@pytest.mark.slow
def test_a_served_run_is_the_run_in_this_process(
    place: Path, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.answer(["run", "mine.yaml", "--out", "here", "--no-report"]) == 0
    words = ["--served-as", "a test, float32"]
    with model_server(tiny_model_folder, "none") as address:  # one after the other, as with one card
        one = ["--served", f"none={address}", "--no-report"]
        assert cli.answer(["run", "mine.yaml", "--out", "served", *one, *words]) == 0
    assert "left for later, because no server is named for them: YaRN" in capsys.readouterr().err
    with model_server(tiny_model_folder, "yarn") as address:
        assert cli.answer(["run", "mine.yaml", "--out", "served", "--served", f"YaRN={address}", *words]) == 0
    here, served = Store.open(Path("here")), Store.open(Path("served"))
    assert answers(here) == answers(served)
    assert not {cell["key"] for cell, _ in here.cells()} & {cell["key"] for cell, _ in served.cells()}
    for planned, cell in served.cells():
        assert cell is not None
        proof = cell["proof"][str(planned["length"])]
        assert proof["parity"] == {"prompts": 2, "parts_at": []} and "max_difference" not in proof
        assert cell["identity"]["dtype"] == cell["identity"]["attention"] == "a test, float32"
    lines = {line["condition"]: line for line in served.run()["ledger"]["conditions"]}
    assert lines["answers that transformers gives too"]["values"] == {"none": "4 of 4", "YaRN": "4 of 4"}
    assert "in 0 of 6 finished cells" in " ".join(Path("served/report.html").read_text().split())
    # Nothing is missing, so no server is asked, and there need not be one.
    gone = ["--served", "none=http://127.0.0.1:1/v1", "--served", "YaRN=http://127.0.0.1:1/v1"]
    assert cli.answer(["run", "mine.yaml", "--out", "served", *gone, "--served-as", "a test, float32"]) == 0


@pytest.mark.slow
def test_a_server_that_ignores_its_plan_is_found_out(place: Path, tiny_model_folder: Path) -> None:
    words = ["run", "mine.yaml", "--set", "extenders=[pi]", "--set", "tests=[{passkey: {samples: 3}}]", "--no-report"]

    def said(*more: str) -> tuple[list[dict[str, Any]], str]:
        assert cli.answer([*words, "--out", "served", *more]) == 0
        cells = [cell for _, cell in Store.open(Path("served")).cells() if cell is not None]
        lines = {line["condition"]: line for line in Store.open(Path("served")).run()["ledger"]["conditions"]}
        return [dict(cell["proof"]) for cell in cells], lines["answers that transformers gives too"]["values"]["pi"]

    with model_server(tiny_model_folder, "none") as none:
        proofs, line = said("--served", f"pi={none}")
        checked = {length: proof["parity"] for each in proofs for length, proof in each.items()}
        assert checked["512"]["parts_at"], "linear interpolation is asked for, and no extension is served"
        assert "parted first at token 1" in line
        proofs, line = said("--served", f"pi={none}", "--served-as", "not checked", "--parity", "0")
        assert line == "not checked" and all("parity" not in proof for each in proofs for proof in each.values())


def test_what_no_server_can_do_is_refused_before_anything_runs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = ["--served", "none=http://127.0.0.1:1/v1", "--served", "YaRN=http://127.0.0.1:1/v1"]
    searched = ["--set", "extenders=[longrope2]", "--served", "longrope2=http://x"]
    cases: list[tuple[list[str], str]] = [
        ([*both, "--served", "pi=http://x"], "names the method 'pi'"),
        ([*both[:2], "--served", "YaRN=localhost:8000"], "wants METHOD=URL"),
        ([*both, "--served", "none=http://x"], "given twice"),
        ([*both, "--served-as", " "], "wants words"),
        ([*both, "--set", "tests=[perplexity]"], "needs losses"),
        ([*both, "--set", "training=[none, {plain: {tokens: 1024, corpus: pocket}}]"], "not searched or trained"),
        (searched, "give what was found"),
    ]
    for words, said in cases:
        assert cli.answer(["run", "mine.yaml", "--out", "served", *words]) == 2
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert said in line, line
    assert not Path("served").exists()


def test_nobody_there_is_one_line_and_no_store_of_failures(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = ["--served", "none=http://127.0.0.1:1/v1", "--served", "YaRN=http://127.0.0.1:1/v1"]
    assert cli.answer(["run", "mine.yaml", "--out", "served", "--parity", "0", *both]) == 2
    assert "the server at http://127.0.0.1:1/v1 does not answer" in capsys.readouterr().err.splitlines()[-1]
    assert not list(Path("served/cells").glob("*.json"))


def test_a_server_that_takes_text_alone_is_given_text() -> None:
    asked: list[Any] = []

    def complete(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        asked.append(body["prompt"])
        if not isinstance(body["prompt"], str):
            return 400, {"detail": "prompt must be a string."}
        return completion("yes", 3, 1, ended=True)

    with server(complete) as address:
        one = Endpoint(address)
        assert [one.complete([5, 6, 7], "a b c", 8) for _ in range(2)] == [("yes", 1, True)] * 2
        with pytest.raises(ValueError, match="read 3 tokens where the prompt has 2"):
            one.complete([5, 6], "a b", 8)
    assert asked == [[5, 6, 7], "a b c", "a b c", "a b"]


def test_errors_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "WAITS", (0.0, 0.0))
    codes = iter([503, 429, 200, 503, 503, 503, 400, 200])

    def complete(_: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        code = next(codes)
        return completion("yes", 1, 1) if code == 200 else (code, {"error": "the context is 512 tokens"})

    with server(complete) as address:
        one = Endpoint(address + "/")
        assert one.complete([1], "a", 1) == ("yes", 1, False), "busy twice, then an answer"
        with pytest.raises(ValueError, match="answered 503"):
            one.complete([1], "a", 1)
        with pytest.raises(ValueError, match=r"answered 400: .*the context is 512 tokens"):
            one.complete([1], "a", 1)
    with server(lambda _: (200, {"choices": []})) as address, pytest.raises(ValueError, match="no completion"):
        Endpoint(address).complete([1], "a", 1)
    with server(complete, names=("a", "b")) as address:
        with pytest.raises(ValueError, match=r"names 2 models \(a, b\); add #NAME"):
            Endpoint(address).complete([1], "a", 1)
        assert Endpoint(address + "#b").complete([1], "a", 1) == ("yes", 1, False)
    with pytest.raises(ValueError, match="begins with http"):
        Endpoint("ftp://x")


def test_where_two_answers_part() -> None:
    assert parted([1, 2, 3], [1, 2, 3]) is None and parted([], []) is None
    assert (parted([1, 2, 3], [1, 9, 3]), parted([1, 2], [1, 2, 3]), parted([], [4])) == (2, 3, 1)


def test_parity_in_words() -> None:
    here: Proof = {"plan_hash": "p", "max_difference": 0.0}
    even: Proof = {"plan_hash": "p", "parity": {"prompts": 2, "parts_at": []}}
    odd: Proof = {"plan_hash": "p", "parity": {"prompts": 2, "parts_at": [7, 3]}}
    assert _alike([("512", here)]) == "in this process" and _alike([("512", {"plan_hash": "p"})]) == "not checked"
    assert _alike([("512", even), ("512", even), ("1024", even)]) == "4 of 4", "cells of a length share a check"
    assert _alike([("512", even), ("1024", odd)]) == "2 of 4, parted first at token 3"


def test_how_servers_are_named() -> None:
    assert serving_of([], "as served", 2) is None
    given = serving_of(["factors=[1,2]=http://h:1/v1", "none=https://h/v1#a"], " vllm ", 0)
    assert given == Serving({"factors=[1,2]": "http://h:1/v1", "none": "https://h/v1#a"}, "vllm", 0)
