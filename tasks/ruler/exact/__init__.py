"""RULER's 13 tasks as NVIDIA's own generator makes them, to the byte, in two profiles.

`ruler-head` is main at c3f5e3b, `ruler-paper` is e40fae1, the code behind the published table; docs/ruler.md lists
where they differ. Same tokenizer, word lists, files and seed give the same prompts as theirs.

What a sample is follows NVIDIA and not our own rule: all samples of a run come from one random stream, of which the
search for the size takes the beginning. Sample i is still the same however many samples are asked for, but it depends
on the tokenizer and the length, and no half of the keys is kept from training. Seed s is their 42 + s, that is their
chunk s. The document questions are asked in file order under every seed, only the other documents are drawn; a second
seed would count every question twice, so these rows run with one.

Their length counts the answer prefix and the new tokens, and no BOS: a prompt can be longer than the length by the
tokens that the tokenizer puts before it (and by `overhang`). It runs under the plan of the length all the same.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from tasks import text
from tasks.answers import PromptTask
from tasks.base import LM, Row, Tokenizer, later
from tasks.ruler import scoring
from tasks.ruler.exact import common, data, documents, frequent, niah, settings, standins, tracking
from tasks.ruler.exact.fitting import Draft, NotAdditive, Setting
from tasks.ruler.exact.templates import with_template
from tasks.ruler.niah import Niah
from tasks.ruler.wording import wording
from tasks.token_counts import LONG, counts_of

FIRST_SEED = 42
DEFAULT_SAMPLES = 500
VERSIONS = {"ruler-head": "head", "ruler-paper": "paper"}
STANDIN = "+standin"
PARAMETERS = ("folder", "template", "file", *settings.NAMES)


@dataclass(frozen=True)
class ExactRow:
    """One of the 13: its wording, category, budget of new tokens, what it needs, and how an answer is scored."""

    said: str  # the wording's name
    category: str
    new_tokens: int
    task: Niah | None = None
    file: str = ""  # the kind of file that it needs (or, for cwe, may need)
    score: Any = scoring.match_all

    @property
    def settings(self) -> dict[str, settings.Setting]:
        """How hard it is, by RULER's names."""
        if self.task is not None:
            return settings.own_of_needles(self.task.keys_hidden, self.task.values_per_key, self.task.keys_asked)
        return {name: own for name, (own, _, _) in settings.SETTINGS[self.said].items()}


ROWS: dict[str, ExactRow] = {
    "niah_single_1": ExactRow("niah", "retrieval", 128, Niah("noise")),
    "niah_single_2": ExactRow("niah", "retrieval", 128, Niah("essay"), "essay"),
    "niah_single_3": ExactRow("niah", "retrieval", 128, Niah("essay", values="uuids"), "essay"),
    "niah_multikey_1": ExactRow("niah", "retrieval", 128, Niah("essay", keys_hidden=4), "essay"),
    "niah_multikey_2": ExactRow("niah", "retrieval", 128, Niah("needle")),
    "niah_multikey_3": ExactRow("niah", "retrieval", 128, Niah("needle", keys="uuids", values="uuids")),
    "niah_multivalue": ExactRow("niah", "retrieval", 128, Niah("essay", values_per_key=4), "essay"),
    "niah_multiquery": ExactRow("niah", "retrieval", 128, Niah("essay", keys_asked=4), "essay"),
    "vt": ExactRow("vt", "tracking", 30),
    "cwe": ExactRow("cwe", "counting", 120, file="cwe"),
    "fwe": ExactRow("fwe", "counting", 50),
    "qa_1": ExactRow("qa", "qa", 32, file="qa_1", score=scoring.match_part),
    "qa_2": ExactRow("qa", "qa", 32, file="qa_2", score=scoring.match_part),
}

# Tokens by which e40fae1 passes the length: fwe keeps no room for its answer, vt counts its example apart.
OVERHANG = {("paper", "fwe"): 50, ("paper", "vt"): 8}


@dataclass(frozen=True, kw_only=True)
class RulerExact(PromptTask):
    """One row of a profile. `file` is the row's own data, `template` the name or the text of a chat template.

    The others are RULER's settings of how hard a row is, each for the rows that have it, and 0 for the row's own.
    """

    profile: str = "ruler-head"
    row: str = "niah_single_1"
    template: str = "base"
    file: str = ""
    num_needle_k: int = later(0)
    num_needle_v: int = later(0)
    num_needle_q: int = later(0)
    num_chains: int = later(0)
    num_hops: int = later(0)
    freq_cw: int = later(0)
    freq_ucw: int = later(0)
    num_cw: int = later(0)
    alpha: float = later(0.0)

    @property
    def name(self) -> str:
        return f"{self.profile}/{self.row}"

    @property
    def changed(self) -> dict[str, settings.Setting]:
        """The settings that are not the row's own."""
        return {name: value for name in settings.NAMES if (value := getattr(self, name))}

    @property
    def title(self) -> str:
        """With other settings it is no row of RULER's 13, and its name in tables says so."""
        said = "".join(f"+{name}={value}" for name, value in self.changed.items())
        return f"{self.profile}{said}/{self.row}" if said else ""

    @property
    def version(self) -> int:  # type: ignore[override]
        """2: prompts have NVIDIA's size also where the tokens of the parts are not those of the whole. 3, of
        `ruler-paper/vt`: a sample that is too long is drawn again with less noise, as e40fae1 does."""
        return 3 if (self.version_of, self.row) == ("paper", "vt") else 2

    @property
    def category(self) -> str:  # type: ignore[override]
        return ROWS[self.row].category

    @property
    def new_tokens(self) -> int:  # type: ignore[override]
        return ROWS[self.row].new_tokens

    @property
    def default_samples(self) -> int:  # type: ignore[override]
        return DEFAULT_SAMPLES

    @property
    def seeded(self) -> bool:  # type: ignore[override]
        """Whether another seed asks other questions: those about documents stay the same."""
        return ROWS[self.row].category != "qa"

    @property
    def standin(self) -> bool:
        """Whether its data are stand-ins: its score is then no score of RULER's and belongs in no mean of the 13."""
        return self.profile.endswith(STANDIN)

    @property
    def version_of(self) -> str:
        """ "head" or "paper"."""
        return VERSIONS[self.profile.removesuffix(STANDIN)]

    @property
    def special(self) -> bool:
        """Whether the prompt's special tokens are meant as such: those of a chat template."""
        return self.template != "base"

    @property
    def overhang(self) -> int:  # type: ignore[override]
        """Tokens by which a prompt of this row may pass the length, BOS aside."""
        return OVERHANG.get((self.version_of, self.row), 0)

    @property
    def missing(self) -> str:  # type: ignore[override]
        """What the row lacks on this machine, with the remedy; "" when it can run."""
        kind = ROWS[self.row].file
        if self.standin or kind in ("", "cwe"):
            return ""
        if self.file:
            return data.no_punkt() if kind == "essay" else ""
        return (
            f"{self.name} needs RULER's {data.FILES[kind]}: name the folder that has it (folder: …, or "
            f"$ROPEBENCH_RULER), write it with python -m tasks.ruler.fetch, or take {self.profile}{STANDIN}/{self.row}"
        )

    def prompts(self, lm: Tokenizer, length: int, seed: int, samples: int) -> Iterator[text.Sample]:
        drafts = islice(self.drafts(lm, length, seed), samples)
        return (self.sample(draft, length) for draft in drafts)

    def answers(self, lm: LM, prompts: Iterable[text.Sample], length: int) -> Iterator[Row]:
        others: dict[str, frozenset[str]] = {}

        def asked() -> Iterator[text.Sample]:
            for sample in prompts:
                others[sample.prompt] = sample.values
                yield sample

        score = ROWS[self.row].score
        rows = text.answer_rows(
            lm,
            asked(),
            self.new_tokens,
            lambda said, asked: score(said, asked.references),
            longest=length,
            special=self.special,
        )
        for row in rows:
            confused = not others.pop(row.prompt).isdisjoint(_words(row.generation))
            vague = row.failure in ("wrong value", "truncated", "repetition")
            yield replace(row, failure="other needle") if confused and vague else row

    def drafts(self, lm: Tokenizer, length: int, seed: int) -> Iterator[Draft]:
        """The prompts in order, unbuilt. Every prompt of up to LONG tokens is tokenised as a whole, of longer ones the
        first, second, fourth, eighth …, and the first that was too long. If a count is not the sum that was expected,
        the tokenizer does not count additively, and from there on every prompt is tokenised.
        """
        if self.missing:
            raise ValueError(self.missing)
        sound = 0
        try:
            for draft in self._stream(lm, length, seed, additive=True):
                checked = draft.tokens <= LONG or sound & (sound - 1) == 0
                if checked and counts_of(lm, self.special).whole(draft.build()) != draft.tokens:
                    raise NotAdditive
                yield draft
                sound += 1
        except NotAdditive:
            yield from islice(self._stream(lm, length, seed, additive=False), sound, None)

    def _stream(self, lm: Tokenizer, length: int, seed: int, additive: bool) -> Iterator[Draft]:
        row, said = ROWS[self.row], wording(self.version_of)
        template = with_template(self.template, getattr(said, f"{row.said}_template"))
        template += getattr(said, f"{row.said}_prefix")
        head = self.version_of == "head"
        counts = counts_of(lm, self.special)
        setting = Setting(self.version_of, length, row.new_tokens, FIRST_SEED + seed, template, counts, additive)
        hard: dict[str, Any] = {**row.settings, **self.changed}
        if row.task is not None:
            essay = None
            if row.file:
                essay = standins.essay(repeats=head) if self.standin else data.essay(self.file, repeats=head)
            keys, values, asked = (hard[name] for name in settings.OF_NEEDLES)
            task = replace(row.task, keys_hidden=keys, values_per_key=values, keys_asked=asked)
            return niah.stream(task, setting, essay)
        if self.row == "vt":
            return tracking.stream(setting, hard["num_chains"], hard["num_hops"])
        if self.row == "fwe":
            return frequent.stream(setting, hard["alpha"])
        if self.row == "cwe":
            more = standins.more_words() if self.standin else data.more_words(self.file) if self.file else []
            return common.stream(setting, more, (hard["freq_cw"], hard["freq_ucw"]), hard["num_cw"])
        library = standins.library(self.row) if self.standin else data.library(self.file, self.row)
        return documents.stream(setting, library)

    def sample(self, draft: Draft, length: int) -> text.Sample:
        """The built prompt with its length and depths; raises ValueError for one that passes the length."""
        prompt = draft.build()
        allowed = length + self.overhang
        if draft.tokens + self.new_tokens > allowed:
            raise ValueError(
                f"{self.name}: a prompt has {draft.tokens} tokens and {self.new_tokens} new ones, more than {allowed}; "
                "it is not cut, use a larger length"
            )
        found = [prompt.find(target) for target in draft.targets]
        depths = [round(place / len(prompt), 4) for place in found if place >= 0]
        extra: dict[str, Any] = {"depths": depths} if len(depths) > 1 else {}
        depth = depths[0] if depths else None
        return text.Sample(prompt, draft.references, draft.tokens, depth, extra=extra, values=draft.others)


def _words(generation: str) -> list[str]:
    return [word.strip(".,;:!?'\"()") for word in generation.split()]


def names() -> list[str]:
    own = [f"{profile}/{row}" for profile in VERSIONS for row in ROWS]
    return own + [f"{profile}{STANDIN}/{row}" for profile in VERSIONS for row in ROWS if ROWS[row].file]


def make(name: str, *, folder: str = "", template: str = "base", file: str = "", **hard: Any) -> RulerExact:
    """The test of that name. `folder` is a checkout of RULER or a folder with its files; `file` is this row's own;
    `hard` are RULER's settings of the row.

    Raises ValueError in one line.
    """
    profile, _, row = name.partition("/")
    changed = settings.checked(name, ROWS[row].said, ROWS[row].settings, hard)
    needles = ROWS[row].task
    if needles is not None and needles.haystack == "essay":
        keys, values, asked = ({**ROWS[row].settings, **changed}[one] for one in settings.OF_NEEDLES)
        if max(keys, asked) * values > settings.DEPTHS_OF_AN_ESSAY:
            most, wanted = settings.DEPTHS_OF_AN_ESSAY, f"{max(keys, asked)} keys with {values} values each"
            raise ValueError(f"{name} hides at most {most} needles, got {wanted}")
    for parameter, value in (("folder", folder), ("template", template), ("file", file)):
        if not isinstance(value, str):
            raise ValueError(f"{name}: {parameter} must be a text, got {value!r}")
    with_template(template, "")
    kind = ROWS[row].file
    if folder and file:
        raise ValueError(f"{name}: give a folder or a file, not both")
    if profile.endswith(STANDIN):
        if folder or file:
            raise ValueError(f"{name} takes no data from elsewhere; for yours take {name.replace(STANDIN, '')}")
        return RulerExact(profile=profile, row=row, template=template, **changed)  # type: ignore[arg-type]
    if file and not kind:
        raise ValueError(f"{name} needs no file, got {file!r}")
    place = data.found(kind, folder) if kind and not file else file
    if folder and kind not in ("", "cwe") and not place:
        raise ValueError(f"folder {folder!r} has no {data.FILES[kind]} for {name}; write it with tasks.ruler.fetch")
    return RulerExact(profile=profile, row=row, template=template, file=place, **changed)  # type: ignore[arg-type]
