"""YAML files that are damaged or made to do harm: settings, or one short line, soon."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import yaml
from eseg_export.card import card_of
from hypothesis import given, settings
from hypothesis import strategies as st

from eseg_zoo.config import load_run
from eseg_zoo.errors import ConfigError
from eseg_zoo.example_run import SMALLEST_RUN
from eseg_zoo.yaml_file import read_mapping
from fuzz.outcomes import CASES, altered, damaged, outcome, written

CARD = """
authors: [{name: Jane Doe, github_user: jane}]
license: MIT
cite: [{text: a paper, doi: 10.1000/x}]
description: membranes
tags: [EM, 1e3]
"""
RUN = SMALLEST_RUN + "\nnetwork: {filters: [4, 4], latents: 2}\ntraining: {steps: 2}\nfrequencies: {membrane: 1.5}\n"

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{one}: &{one} [{','.join([f'*{before}'] * 9)}]\n" for before, one in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{one}: &{one} {{<<: [{','.join([f'*{before}'] * 9)}]}}\n"
    for before, one in zip("abcdefgh", "bcdefghi", strict=True)
)
ATTACKS = {
    "an impossible date": ("seed: 2024-13-45", "line 1 has '2024-13-45', which is no timestamp"),
    "a timestamp of letters": ("seed: !!timestamp x", "line 1 has 'x', which is no timestamp"),
    "an integer of letters": ("seed: !!int x", "line 1 has 'x', which is no int"),
    "a long integer": ("seed: " + "9" * 4301, "line 1 has a number of 4301 digits"),
    "a long number of base 60": ("seed: 1" + ":59" * 3000, "a number of 9001 digits"),
    "nesting": ("seed: " + "[" * 2000 + "]" * 2000, "nested deeper than 50, in line 1"),
    "nesting of blocks": ("\n".join(" " * n + "a:" for n in range(2000)), "nested deeper than 50, in line"),
    "an alias bomb": (BOMB, "more than 100000 values, by its aliases"),
    "a bomb of merges": (MERGES, "more than 100000 values, by its aliases"),
    "a circle": ("a: &a [*a]", r"\*a stands within itself"),
    "a key of a list": ("[a]: 1", "cannot be a key"),
    "a key of a mapping": ("? {a: 1}\n: 1", "cannot be a key"),
    "code": ("a: !!python/object/apply:os.system [exit]", "could not determine a constructor"),
    "a mapping of text": ("!!map x", "is no mapping"),
    "a set of text": ("a: !!set x", "line 1"),
    "an ordered mapping of text": ("a: !!omap x", "line 1"),
    "binary of letters": ("a: !!binary ä", "line 1"),
    "control characters": ("a: \x07", "special characters are not allowed"),
    "a long text": ("'" + "x" * 10**5, "."),
    "a huge file": ("a: " + "x" * (5 << 20), "has more than 4194304 bytes"),
    "a merge of text": ("<<: x", "line 1"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_one_short_line_soon(tmp_path: Path, name: str) -> None:
    content, words = ATTACKS[name]
    path = written(tmp_path / "run.yaml", content.encode())
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(ConfigError, match=words) as caught:
        read_mapping(path, hint="keys")
    seconds, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(str(caught.value)) < 300 + len(str(path))
    assert str(caught.value).isprintable()
    assert seconds < 10
    assert peak < 100 << 20


@pytest.mark.parametrize(
    "changes",
    [
        {"images": "x" * 10**5}, {"seed": "x" * 10**5}, {"training": {"steps": list(range(10**4))}},
        {"classes": {1: "a", 2: "x" * 10**4}}, {"x" * 10**4: 1}, {"axes": {"a" * 999: ["b" * 999] * 99}},
        {"classes": {1: "a\nb", 2: "c"}}, {"classes": {1: "\x1b[31mred", 2: "c"}}, {"seed": -(10**900)},
    ],
    ids=lambda one: str(one)[:30],
)  # fmt: skip
def test_values_in_messages_are_short_and_printable(tmp_path: Path, changes: dict[str, object]) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(SMALLEST_RUN) | changes, allow_unicode=True), encoding="utf-8")
    text = outcome(lambda: load_run(path), lines=3)
    assert text or changes.keys() == {"images"}  # it is read later
    assert text.replace("\n", "").isprintable()


@settings(max_examples=CASES)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates() | st.binary(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=12,
    )
)
def test_what_yaml_writes_is_read_as_it_was(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("yaml") / "run.yaml"
    path.write_text(yaml.safe_dump({"a": value}, sort_keys=False), encoding="utf-8")
    assert repr(read_mapping(path, hint="keys")["a"]) == repr(value)


@pytest.mark.parametrize("kind", ["run", "card"])
def test_damaged_settings_are_one_line_or_settings(tmp_path: Path, kind: str) -> None:
    text = RUN if kind == "run" else CARD
    for case in range(CASES):
        rng = np.random.default_rng([case, len(kind)])
        if case % 2:
            content = damaged(text.encode(), rng)
        else:
            content = yaml.safe_dump(altered(yaml.safe_load(text), rng)[0], allow_unicode=case % 4 == 0).encode(
                "utf-8", "surrogatepass"
            )
        path = written(tmp_path / f"{kind}.yaml", content)
        try:
            outcome(lambda path=path: load_run(path) if kind == "run" else card_of(path), lines=11)  # type: ignore[misc]
        except BaseException as error:
            error.add_note(f"case {case}")
            raise
