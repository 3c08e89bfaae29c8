"""The gate's answer as text: lines for a terminal, a comment for a pull request, and JUnit XML for build servers."""

import html
import re
from pathlib import Path
from xml.etree import ElementTree

from reports.gate.gate import CannotCompare, GateResult
from reports.statistics.noninferiority import DROP, NO_SIGNAL, NOT_SHOWN, PASS, Decision

SIGNS = {PASS: "✅", NO_SIGNAL: "⚪", NOT_SHOWN: "❌", DROP: "❌"}


def value(amount: float, unit: str) -> str:
    """Percent with one decimal, or nats with four."""
    return f"{100 * amount:.1f}" if unit == "score" else f"{amount:.4f}"


def change(decision: Decision) -> str:
    """Candidate minus base with its sign turned for losses, and the limit that decides."""
    signed = f"{100 * decision.difference:+.2f}" if decision.group.unit == "score" else f"{decision.difference:+.4f}"
    low = (
        "none"
        if decision.low is None
        else f"{100 * decision.low:+.2f}"
        if decision.group.unit == "score"
        else f"{decision.low:+.4f}"
    )
    return f"{signed} (limit {low})"


def place(decision: Decision) -> str:
    return f"{decision.group.label} · {decision.group.category} · {decision.group.length:,} tokens"


def why(decision: Decision) -> str:
    """One sentence on this decision."""
    margin = (
        f"{100 * decision.margin:g} points"
        if decision.group.unit == "score"
        else f"{decision.margin:.4f} nats per token"
    )
    if decision.word == PASS:
        return f"a drop of {margin} is excluded"
    if decision.word == NO_SIGNAL:
        return "both sides score 0, so no drop could show"
    if decision.word == DROP:
        return f"a real drop (corrected p = {decision.p:.2g}), and {margin} or more is not excluded"
    if decision.low is None:
        return "one sample shows nothing; use more samples"
    return f"a drop of {margin} is not excluded; about {decision.needed:,} samples would do if nothing changed"


def summary(result: GateResult) -> str:
    bad = [decision for decision in result.decisions if not decision.passed]
    if not bad:
        return f"passed: no drop of {result.margin:g} points or more in {len(result.decisions)} groups of tests"
    real = sum(decision.word == DROP for decision in bad)
    words = [f"{real} with a real drop"] * bool(real) + [f"{len(bad) - real} not shown to be safe"] * (real < len(bad))
    return f"failed: {len(bad)} of {len(result.decisions)} groups of tests: {', '.join(words)}"


def lines(result: GateResult) -> list[list[str]]:
    """Rows of a table: place, base, candidate, change, samples, word."""
    return [
        [
            place(decision),
            value(decision.base, decision.group.unit),
            value(decision.candidate, decision.group.unit),
            change(decision),
            f"{decision.n:,}",
            decision.word,
            "" if decision.word == PASS else why(decision),
        ]
        for decision in result.decisions
    ]


HEAD = ["method · category · length", "base", "candidate", "change (limit)", "samples", "", ""]


def markdown(answer: GateResult | CannotCompare) -> str:
    """A comment for a pull request. Text that comes from files is escaped."""
    if isinstance(answer, CannotCompare):
        reasons = "".join(f"- {_escaped(reason)}\n" for reason in answer.reasons)
        return f"### ropebench gate: cannot compare\n\n{reasons}"
    head = f"### ropebench gate: {summary(answer)}\n\n"
    table = "| | method | category | length | base | candidate | change (limit) | samples |\n"
    table += "|---|---|---|--:|--:|--:|--:|--:|\n"
    for decision in answer.decisions:
        group = decision.group
        unit = " %" if group.unit == "score" else " nats"
        table += (
            f"| {SIGNS[decision.word]} {decision.word} | {_escaped(group.label)} | {_escaped(group.category)} "
            f"| {group.length:,} | {value(decision.base, group.unit)}{unit} "
            f"| {value(decision.candidate, group.unit)}{unit} | {change(decision)} | {decision.n:,} |\n"
        )
    open_cases = [decision for decision in answer.decisions if decision.word != PASS]
    remarks = [f"- **{_escaped(place(decision))}**: {_escaped(why(decision))}" for decision in open_cases]
    remarks += [f"- {_escaped(note)}" for note in answer.notes]
    rule = (
        f"\nMargin {answer.margin:g} points ({answer.margin:g} % of perplexity for losses). Below 0 is worse. A group "
        "passes when the one-sided 95 % lower limit of its paired difference lies above the margin.\n"
    )
    return head + table + ("\n" + "\n".join(remarks) + "\n" if remarks else "") + rule


def junit(answer: GateResult | CannotCompare) -> str:
    """JUnit XML: one suite, one case for each group; a comparison that could not be made is an error."""
    if isinstance(answer, CannotCompare):
        suite = ElementTree.Element("testsuite", name="ropebench compare", tests="1", failures="0", errors="1")
        case = ElementTree.SubElement(suite, "testcase", classname="ropebench", name="conditions")
        message = _printable("; ".join(answer.reasons))
        ElementTree.SubElement(case, "error", message=message).text = _printable("\n".join(answer.reasons))
    else:
        bad = sum(not decision.passed for decision in answer.decisions)
        suite = ElementTree.Element(
            "testsuite", name="ropebench compare", tests=str(len(answer.decisions)), failures=str(bad), errors="0"
        )
        for decision in answer.decisions:
            group = decision.group
            case = ElementTree.SubElement(
                suite,
                "testcase",
                classname=_printable(f"ropebench.{group.label}"),
                name=_printable(f"{group.category} at {group.length} tokens"),
            )
            told = f"{change(decision)}, {decision.n} samples: {why(decision)}"
            if decision.passed:
                ElementTree.SubElement(case, "system-out").text = _printable(told)
            else:
                ElementTree.SubElement(case, "failure", message=_printable(told), type=decision.word).text = _printable(
                    f"base {value(decision.base, group.unit)}, candidate {value(decision.candidate, group.unit)}\n"
                    f"tests: {', '.join(group.names)}"
                )
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def write(answer: GateResult | CannotCompare, junit_file: Path | None, markdown_file: Path | None) -> None:
    """Write the files that were asked for, folders included."""
    for path, text in ((junit_file, junit), (markdown_file, markdown)):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text(answer), encoding="utf-8")


def _escaped(text: str) -> str:
    """Inert in GitHub's Markdown: no HTML, no table or link syntax, no mentions."""
    plain = " ".join(_printable(text).split())
    return re.sub(r"([\\`*_\[\]|~#!@<>])", r"\\\1", html.escape(plain, quote=False).replace("@", "@\u200b"))


def _printable(text: str) -> str:
    """Without signs that XML cannot hold."""
    return "".join(c if c in "\n\t" or (c.isprintable() and not 0xD800 <= ord(c) <= 0xDFFF) else " " for c in text)
