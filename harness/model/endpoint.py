"""A server with OpenAI's completions API (vLLM, SGLang, llama.cpp, transformers serve) as tests see a model.

Prompts go as token ids, so that nothing is tokenised twice; a server that takes text alone is given text, and is
refused when it counts other tokens than we do. Answers are greedy. There are no losses: servers give them in forms of
their own.

The API: https://platform.openai.com/docs/api-reference/completions (`prompt` may be an array of token ids).
"""

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

from extenders.base import Extender, RopeSpec
from harness.model.tokens import Tokens
from harness.signals import stop_if_asked
from tasks.base import Generation

AT_ONCE = 8  # requests that a server has to work on together
TRIES = 4  # of one request
WAITS = (1.0, 4.0, 15.0)  # seconds before the next try
BUSY = (408, 429, 500, 502, 503, 504)  # worth another try
PATIENCE = 3600.0  # seconds for one answer
KEY = "OPENAI_API_KEY"


class Endpoint:
    """One model of one server. `address`: "http://host:8000/v1", or that with "#NAME" where it serves several."""

    def __init__(self, address: str) -> None:
        self.url, _, self._name = address.rstrip("/").partition("#")
        self.url = self.url.rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"a server's address begins with http:// or https://, got {address!r}")
        self._as_text = False

    @property
    def name(self) -> str:
        """The model's name there, asked for once. Raises ValueError where the server does not say one."""
        if not self._name:
            names = [str(entry.get("id")) for entry in self._asked("/models").get("data", [])]
            if len(names) != 1:
                listed = ", ".join(names[:5]) or "none"
                raise ValueError(
                    f"the server at {self.url} names {len(names)} models ({listed}); add #NAME to its address"
                )
            self._name = names[0]
        return self._name

    def complete(self, ids: Sequence[int], text: str, new_tokens: int) -> tuple[str, int, bool]:
        """(greedy answer, its tokens, whether the model ended by itself) to a prompt, given in both forms."""
        body = {"model": self.name, "max_tokens": new_tokens, "temperature": 0, "seed": 0, "stream": False}
        if not self._as_text:
            try:
                return self._answer(self._asked("/completions", {**body, "prompt": list(ids)}), len(ids))
            except TextOnly:
                self._as_text = True
        return self._answer(self._asked("/completions", {**body, "prompt": text}), len(ids))

    def _answer(self, content: dict[str, Any], tokens: int) -> tuple[str, int, bool]:
        try:
            choice, usage = content["choices"][0], content["usage"]
            read, written = int(usage["prompt_tokens"]), int(usage["completion_tokens"])
            answer = str(choice["text"]), written, choice["finish_reason"] == "stop"
        except (KeyError, IndexError, TypeError, ValueError):
            raise ValueError(
                f"the server at {self.url} gave no completion with its usage: {str(content)[:200]}"
            ) from None
        if read != tokens:
            raise ValueError(
                f"the server at {self.url} read {read} tokens where the prompt has {tokens}: its tokenizer or chat "
                "template is another, or it cut the prompt"
            )
        return answer

    def _asked(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        for wait in (*WAITS, None):
            try:
                return self._once(path, body)
            except urllib.error.HTTPError as error:
                said = _said(error)
                if body is not None and error.code in (400, 422) and "string" in said and "prompt" in said:
                    raise TextOnly from None
                if error.code not in BUSY or wait is None:
                    self._fail(f"answered {error.code}: {said}")
            except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
                if wait is None or (body is None and not self._name):  # nobody is there at the first question
                    self._fail(f"does not answer ({getattr(error, 'reason', error)})")
            except ValueError:
                self._fail("answered with what is no JSON")
            time.sleep(wait or 0.0)
        raise AssertionError

    def _once(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            content = json.loads(response.read())
        if not isinstance(content, dict):
            raise ValueError("no object")
        return content

    def _fail(self, words: str) -> NoReturn:
        raise ValueError(f"the server at {self.url} {words}") from None


class TextOnly(Exception):
    """The server takes no token ids."""


def _said(error: urllib.error.HTTPError) -> str:
    with error:  # it holds the connection
        return " ".join(error.read(2000).decode(errors="replace").split())[:300]


class ServedLM(Tokens):
    """A served model under the plan that its server was started with; implements `tasks.base.LM` but for losses.

    `extender` and `spec` say which plan that should be: what the answers carry is what was asked for, and only a
    comparison of answers shows that the server does it.
    """

    def __init__(self, tokenizer: Any, endpoint: Endpoint, extender: Extender, spec: RopeSpec) -> None:
        super().__init__(tokenizer)
        self.endpoint, self.extender, self.spec = endpoint, extender, spec
        self.token_forwards = 0

    def plan_hash(self, length: int) -> str:
        return self.extender.plan(self.spec, length).hash

    def generate(
        self,
        prompts: Sequence[str],
        new_tokens: int,
        longest: int | None = None,
        special: bool = False,
        around: tuple[Sequence[int], Sequence[int]] = ((), ()),
    ) -> Iterator[Generation]:
        """As `tasks.base.LM`; `around` are tokens before and behind every prompt."""
        rows = [self.with_start([*around[0], *self.encode(prompt, special), *around[1]]) for prompt in prompts]
        texts = [self.tokenizer.decode(self._without_start(row)) for row in rows] if any(around) else prompts

        def answered(row: list[int], text: str) -> Generation:
            began = time.perf_counter()
            answer, tokens, finished = self.endpoint.complete(row, text, new_tokens)
            length = len(row) + new_tokens
            seconds = time.perf_counter() - began
            return Generation(answer, tokens, finished, seconds, self.plan_hash(min(length, longest or length)))

        with ThreadPoolExecutor(AT_ONCE) as pool:
            for row, answer in zip(rows, pool.map(answered, rows, texts), strict=True):
                stop_if_asked()
                self.token_forwards += len(row) + answer.tokens
                yield answer

    def _without_start(self, row: list[int]) -> list[int]:
        """A server that is given text adds BOS by itself."""
        return row[len(self.before) :] if row[: len(self.before)] == self.before else row

    def losses(self, ids: Sequence[int], length: int | None = None, start: int = 1) -> list[float]:
        raise ValueError(NO_LOSSES)

    def answer_losses(self, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[float, bool]]:
        raise ValueError(NO_LOSSES)


NO_LOSSES = "a served model gives answers and no losses"
